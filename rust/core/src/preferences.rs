//! Preferences: account over domain over server defaults, changeable at run time.
//!
//! The names in brackets are CommuniGate Pro's own, accepted as aliases by name.

use crate::presence::LastSeenPrecision;
use crate::refusal::Refusal;

/// Whose messages an account takes when the sender is no confirmed buddy [`RosterIMMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AcceptedSenders {
    /// Anybody who is not blocked.
    #[default]
    Everybody,
    /// Accounts of this system.
    Authenticated,
    /// Accounts of the same domain.
    SameDomain,
    /// Confirmed buddies only.
    Nobody,
    /// Anybody, but what comes from others than confirmed buddies waits aside until the account admits or refuses them.
    Quarantine,
}

/// What an account lets those know who write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Receipts {
    /// That a client took their messages, if they may see that one is there, and that a person has read them.
    #[default]
    All,
    /// The former only.
    Delivered,
    /// Neither.
    Nothing,
}

/// What was set on one level. What is `None` falls through to the level below.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Whose messages are taken.
    pub accepted_senders: Option<AcceptedSenders>,
    /// Whether messages are kept for an account nobody is there for [`DelayedIM`].
    pub offline_storage: Option<bool>,
    /// Whether messages stay in the log once they are claimed [`IMHistory`].
    pub keep_history: Option<bool>,
    /// Whether registrations take part in the fork [`SIPIMMode`].
    pub deliver_to_devices: Option<bool>,
    /// How many buddies a roster may hold [`MaxRosterItems`].
    pub max_roster_items: Option<u32>,
    /// What senders learn of their messages.
    pub receipts: Option<Receipts>,
    /// How many files an account may keep.
    pub storage_files: Option<u32>,
    /// How many bytes they may have in all.
    pub storage_bytes: Option<u64>,
    /// How far the account's clock is ahead of UTC, for rules that ask for the time; -1,080 to 1,080 minutes.
    pub utc_offset_minutes: Option<i16>,
    /// What its watchers learn of when it was last there.
    pub last_seen: Option<LastSeenPrecision>,
    /// How many days a message stays in the history; 0 is for ever.
    pub history_days: Option<u32>,
    /// How many of the latest messages stay in the history; 0 is all of them.
    pub history_messages: Option<u32>,
    /// Fields that a newer version wrote and this one does not know, as stored. They stay, whatever is set.
    pub unknown: Vec<u8>,
}

/// What is in force for an account: every level folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// See [`Overrides::accepted_senders`].
    pub accepted_senders: AcceptedSenders,
    /// See [`Overrides::offline_storage`].
    pub offline_storage: bool,
    /// See [`Overrides::keep_history`].
    pub keep_history: bool,
    /// See [`Overrides::deliver_to_devices`].
    pub deliver_to_devices: bool,
    /// See [`Overrides::max_roster_items`].
    pub max_roster_items: u32,
    /// See [`Overrides::receipts`].
    pub receipts: Receipts,
    /// See [`Overrides::storage_files`].
    pub storage_files: u32,
    /// See [`Overrides::storage_bytes`].
    pub storage_bytes: u64,
    /// See [`Overrides::utc_offset_minutes`].
    pub utc_offset_minutes: i16,
    /// See [`Overrides::last_seen`].
    pub last_seen: LastSeenPrecision,
    /// See [`Overrides::history_days`].
    pub history_days: u32,
    /// See [`Overrides::history_messages`].
    pub history_messages: u32,
}

impl Default for Preferences {
    /// The server's defaults.
    fn default() -> Self {
        Preferences {
            accepted_senders: AcceptedSenders::Everybody,
            offline_storage: true,
            keep_history: true,
            deliver_to_devices: false,
            max_roster_items: 5_000,
            receipts: Receipts::All,
            storage_files: 1_000,
            storage_bytes: 64 << 20,
            utc_offset_minutes: 0,
            last_seen: LastSeenPrecision::Rough,
            history_days: 0,
            history_messages: 0,
        }
    }
}

impl Preferences {
    /// With this level laid over what is below.
    #[must_use]
    pub fn under(self, over: &Overrides) -> Preferences {
        Preferences {
            accepted_senders: over.accepted_senders.unwrap_or(self.accepted_senders),
            offline_storage: over.offline_storage.unwrap_or(self.offline_storage),
            keep_history: over.keep_history.unwrap_or(self.keep_history),
            deliver_to_devices: over.deliver_to_devices.unwrap_or(self.deliver_to_devices),
            max_roster_items: over.max_roster_items.unwrap_or(self.max_roster_items),
            receipts: over.receipts.unwrap_or(self.receipts),
            storage_files: over.storage_files.unwrap_or(self.storage_files),
            storage_bytes: over.storage_bytes.unwrap_or(self.storage_bytes),
            utc_offset_minutes: over.utc_offset_minutes.unwrap_or(self.utc_offset_minutes),
            last_seen: over.last_seen.unwrap_or(self.last_seen),
            history_days: over.history_days.unwrap_or(self.history_days),
            history_messages: over.history_messages.unwrap_or(self.history_messages),
        }
    }
}

impl Overrides {
    /// Sets one preference by name; `None` takes the override away. Values are written `true`, `false`, a number,
    /// or by name: `everybody`, `authenticated`, `same-domain`, `nobody` for senders, `all`, `delivered`, `nothing` for receipts,
    /// `exact`, `rough`, `nothing` for last seen.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Refusal> {
        match name {
            "accepted_senders" | "RosterIMMode" => self.accepted_senders = value.map(senders).transpose()?,
            "offline_storage" | "DelayedIM" => self.offline_storage = value.map(boolean).transpose()?,
            "keep_history" | "IMHistory" => self.keep_history = value.map(boolean).transpose()?,
            "deliver_to_devices" | "SIPIMMode" => self.deliver_to_devices = value.map(boolean).transpose()?,
            "max_roster_items" | "MaxRosterItems" => self.max_roster_items = value.map(number).transpose()?,
            "storage_files" => self.storage_files = value.map(number).transpose()?,
            "storage_bytes" => self.storage_bytes = value.map(bytes).transpose()?,
            "utc_offset_minutes" => self.utc_offset_minutes = value.map(offset).transpose()?,
            "receipts" => self.receipts = value.map(receipts).transpose()?,
            "history_days" => self.history_days = value.map(number).transpose()?,
            "history_messages" => self.history_messages = value.map(number).transpose()?,
            "last_seen" => self.last_seen = value.map(last_seen).transpose()?,
            _ => {
                return Err(Refusal::InvalidArgument(format!("there is no preference named {name:?}")));
            }
        }
        Ok(())
    }
}

impl AcceptedSenders {
    const ALL: [AcceptedSenders; 5] = [
        AcceptedSenders::Everybody,
        AcceptedSenders::Authenticated,
        AcceptedSenders::SameDomain,
        AcceptedSenders::Nobody,
        AcceptedSenders::Quarantine,
    ];

    /// Its name, as in `same-domain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            AcceptedSenders::Everybody => "everybody",
            AcceptedSenders::Authenticated => "authenticated",
            AcceptedSenders::SameDomain => "same-domain",
            AcceptedSenders::Nobody => "nobody",
            AcceptedSenders::Quarantine => "quarantine",
        }
    }
}

fn senders(value: &str) -> Result<AcceptedSenders, Refusal> {
    let named = |policy: &AcceptedSenders| policy.as_str().eq_ignore_ascii_case(value);
    AcceptedSenders::ALL.into_iter().find(named).ok_or_else(|| {
        let all = AcceptedSenders::ALL.map(AcceptedSenders::as_str).join(", ");
        Refusal::InvalidArgument(format!("{value:?} is none of {all}"))
    })
}

fn bytes(value: &str) -> Result<u64, Refusal> {
    value.parse().map_err(|_| Refusal::InvalidArgument(format!("{value:?} is no number of bytes")))
}

fn offset(value: &str) -> Result<i16, Refusal> {
    let minutes = value.parse().ok().filter(|minutes| (-1_080..=1_080).contains(minutes));
    minutes
        .ok_or_else(|| Refusal::InvalidArgument(format!("{value:?} is no offset of -1080 to 1080 minutes")))
}

fn receipts(value: &str) -> Result<Receipts, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "all" => Ok(Receipts::All),
        "delivered" => Ok(Receipts::Delivered),
        "nothing" => Ok(Receipts::Nothing),
        _ => Err(Refusal::InvalidArgument(format!("{value:?} is none of all, delivered, nothing"))),
    }
}

fn last_seen(value: &str) -> Result<LastSeenPrecision, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "exact" => Ok(LastSeenPrecision::Exact),
        "rough" => Ok(LastSeenPrecision::Rough),
        "nothing" => Ok(LastSeenPrecision::Nothing),
        _ => Err(Refusal::InvalidArgument(format!("{value:?} is none of exact, rough, nothing"))),
    }
}

fn boolean(value: &str) -> Result<bool, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(Refusal::InvalidArgument(format!("{value:?} is neither true nor false"))),
    }
}

fn number(value: &str) -> Result<u32, Refusal> {
    value
        .parse()
        .map_err(|_| Refusal::InvalidArgument(format!("{value:?} is no number from 0 to {}", u32::MAX)))
}
