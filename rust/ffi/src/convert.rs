//! Numbers and texts on their way in and out. Everything signed is checked here.

use crate::error::RosterKitError;
use rosterkit::{Address, DeviceName, Domain, Position, SessionId};
use std::time::Duration;

type Result<T> = std::result::Result<T, RosterKitError>;

/// A number that must not be negative nor too large for where it goes.
pub(crate) fn number<T: TryFrom<i64>>(what: &str, number: i64) -> Result<T> {
    T::try_from(number).map_err(|_| RosterKitError::invalid(format!("{what} cannot be {number}")))
}

/// How many of something are asked for: at least one.
pub(crate) fn count(what: &str, number: i32) -> Result<usize> {
    match usize::try_from(number) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(RosterKitError::invalid(format!("{what} is at least 1, not {number}"))),
    }
}

/// A time to wait.
pub(crate) fn timeout(millis: i64) -> Result<Duration> {
    number("a timeout in milliseconds", millis).map(Duration::from_millis)
}

/// Numbers of the engine's rise from one, one by one: none of them gets near the end.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn session(number: i64) -> Result<SessionId> {
    self::number("a session's number", number).map(SessionId)
}

pub(crate) fn position(number: i64) -> Result<Position> {
    self::number("a position", number).map(Position)
}

pub(crate) fn address(text: &str) -> Result<Address> {
    Address::new(text).map_err(refused)
}

pub(crate) fn account(text: &str) -> Result<Address> {
    Address::account(text).map_err(refused)
}

pub(crate) fn domain(text: &str) -> Result<Domain> {
    Domain::new(text).map_err(refused)
}

pub(crate) fn device(text: &str) -> Result<DeviceName> {
    DeviceName::new(text).map_err(refused)
}

/// A refusal of core's, as every other error.
pub(crate) fn refused(refusal: impl Into<rosterkit::Error>) -> RosterKitError {
    refusal.into().into()
}

/// Two enums with the same cases, one here and one in the engine, and the ways between them.
macro_rules! same_cases {
    ($here:ident = $there:path { $($mine:ident = $theirs:ident),* $(,)? }) => {
        impl From<$there> for $here {
            fn from(there: $there) -> Self {
                use $there as There;
                match there { $(There::$theirs => $here::$mine),* }
            }
        }
        impl From<$here> for $there {
            fn from(here: $here) -> Self {
                use $there as There;
                match here { $($here::$mine => There::$theirs),* }
            }
        }
    };
}
pub(crate) use same_cases;
