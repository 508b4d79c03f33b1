//! How engines and sessions are opened.

use crate::convert::{device, domain, number, refused, same_cases, signed};
use crate::error::RosterKitError;
use crate::roster::{AcceptedSenders, LastSeenPrecision, PresenceState};
use rosterkit::{Consumer, Durability, Limits, Order, Overrides, State};

type Result<T> = std::result::Result<T, RosterKitError>;

/// What an engine is to be. What is left out is as the engine has it.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct EngineOptions {
    /// The domains the host answers for. They are made when the file does not have them; a file that holds another one
    /// is refused.
    pub domains: Vec<String>,
    /// How many engine threads, 1 to 64.
    #[uniffi(default)]
    pub shards: Option<i32>,
    /// How many idle accounts stay in memory.
    #[uniffi(default)]
    pub idle_accounts: Option<i32>,
    /// Messages are answered before they are on disk, where they are within 200 ms. A crash loses at most those.
    #[uniffi(default = false)]
    pub relaxed: bool,
    /// The server's preferences, below every domain's and account's.
    #[uniffi(default)]
    pub preferences: Option<PreferenceOverrides>,
    /// Sizes, rates and counts.
    #[uniffi(default)]
    pub limits: Option<LimitOptions>,
    /// Which presence state wins over which: each once, without `Unknown`, `Offline` last.
    #[uniffi(default)]
    pub presence_order: Option<Vec<PresenceState>>,
    /// How many commands may be under way at once; beyond it they are refused with `LimitExceeded`.
    #[uniffi(default)]
    pub max_in_flight: Option<i32>,
    /// How many bytes they may hold.
    #[uniffi(default)]
    pub max_in_flight_bytes: Option<i64>,
    /// How many sessions may have a listener. Each may block a thread of its own.
    #[uniffi(default)]
    pub max_listeners: Option<i32>,
}

/// Sizes, rates and counts. What is left out is as the engine has it.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct LimitOptions {
    /// The largest message, in bytes of content.
    #[uniffi(default)]
    pub message_bytes: Option<i64>,
    /// How many messages an account may send at once.
    #[uniffi(default)]
    pub send_burst: Option<i32>,
    /// How many a minute after that.
    #[uniffi(default)]
    pub sends_per_minute: Option<i32>,
    /// How many buddy requests an account may send at once.
    #[uniffi(default)]
    pub request_burst: Option<i32>,
    /// How many a minute after that.
    #[uniffi(default)]
    pub requests_per_minute: Option<i32>,
    /// How many buddy requests may wait for an account's answer.
    #[uniffi(default)]
    pub unanswered_requests: Option<i32>,
    /// How many unclaimed messages an account may have.
    #[uniffi(default)]
    pub unclaimed_count: Option<i64>,
    /// How many bytes of content they may hold.
    #[uniffi(default)]
    pub unclaimed_bytes: Option<i64>,
    /// How many of them from one sender.
    #[uniffi(default)]
    pub unclaimed_from_one_count: Option<i64>,
    /// How many bytes of content those may hold.
    #[uniffi(default)]
    pub unclaimed_from_one_bytes: Option<i64>,
}

/// What is set on one level. What is left out falls through to the level below.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct PreferenceOverrides {
    /// Whose messages are taken.
    #[uniffi(default)]
    pub accepted_senders: Option<AcceptedSenders>,
    /// Whether messages are kept for an account nobody is there for.
    #[uniffi(default)]
    pub offline_storage: Option<bool>,
    /// Whether messages stay in the log once they are claimed.
    #[uniffi(default)]
    pub keep_history: Option<bool>,
    /// Whether registrations take part in the fork.
    #[uniffi(default)]
    pub deliver_to_devices: Option<bool>,
    /// How many buddies a roster may hold.
    #[uniffi(default)]
    pub max_roster_items: Option<i64>,
    /// What senders learn of their messages.
    #[uniffi(default)]
    pub receipts: Option<Receipts>,
    /// How many files the account may keep.
    #[uniffi(default)]
    pub storage_files: Option<i64>,
    /// How many bytes they may have in all.
    #[uniffi(default)]
    pub storage_bytes: Option<i64>,
    /// How far the account's clock is ahead of UTC, for rules that ask for the time; -1,080 to 1,080 minutes.
    #[uniffi(default)]
    pub utc_offset_minutes: Option<i32>,
    /// What watchers learn of when the account was last there.
    #[uniffi(default)]
    pub last_seen: Option<LastSeenPrecision>,
    /// How many days a message stays in the history; 0 is for ever.
    #[uniffi(default)]
    pub history_days: Option<i64>,
    /// How many of the latest messages stay in the history; 0 is all of them.
    #[uniffi(default)]
    pub history_messages: Option<i64>,
}

/// What is in force for an account.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Preferences {
    /// Whose messages are taken.
    pub accepted_senders: AcceptedSenders,
    /// Whether messages are kept for an account nobody is there for.
    pub offline_storage: bool,
    /// Whether messages stay in the log once they are claimed.
    pub keep_history: bool,
    /// Whether registrations take part in the fork.
    pub deliver_to_devices: bool,
    /// How many buddies a roster may hold.
    pub max_roster_items: i64,
    /// What senders learn of their messages.
    pub receipts: Receipts,
    /// How many files the account may keep.
    pub storage_files: i64,
    /// How many bytes they may have in all.
    pub storage_bytes: i64,
    /// How far the account's clock is ahead of UTC.
    pub utc_offset_minutes: i32,
    /// What watchers learn of when the account was last there.
    pub last_seen: LastSeenPrecision,
    /// How many days a message stays in the history; 0 is for ever.
    pub history_days: i64,
    /// How many of the latest messages stay in the history; 0 is all of them.
    pub history_messages: i64,
}

/// What an account lets those know who write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Receipts {
    /// That a client took their messages, if they may see that one is there, and that a person has read them.
    All,
    /// The former only.
    Delivered,
    /// Neither.
    Nothing,
}

same_cases!(Receipts = rosterkit::Receipts { All = All, Delivered = Delivered, Nothing = Nothing });

/// How a session is opened.
#[derive(Clone, Debug, uniffi::Record)]
pub struct SessionOptions {
    /// The name of the durable device it speaks for; without one it is an anonymous session.
    #[uniffi(default)]
    pub device: Option<String>,
    /// The instance part of its full address; the engine makes one up when there is none.
    #[uniffi(default)]
    pub instance: Option<String>,
    /// For hosts that stand for remote clients: the session ends when it is not renewed for so long.
    #[uniffi(default)]
    pub lease_ms: Option<i64>,
    /// Whether it is to get messages.
    #[uniffi(default = true)]
    pub reads_messages: bool,
    /// Its queue is read by the engine's `next_batches`, not by its own `next_events`. Not with a listener.
    #[uniffi(default = false)]
    pub read_through_engine: bool,
    /// It is an observer of the account's state: it gets the roster, the presence of all buddies and the latest 1,000
    /// conversations, `SnapshotEnded`, then what of it is another, of each only the newest; and no messages. It does not count as
    /// somebody who is there, and an account has any number of them.
    #[uniffi(default = false)]
    pub observes: bool,
}

impl TryFrom<EngineOptions> for rosterkit::EngineOptions {
    type Error = RosterKitError;

    fn try_from(given: EngineOptions) -> Result<Self> {
        let domains = given.domains.iter().map(|name| domain(name)).collect::<Result<Vec<_>>>()?;
        let mut options = rosterkit::EngineOptions::hosting(domains);
        set("shards", &mut options.shards, given.shards)?;
        set("idle_accounts", &mut options.idle_accounts, given.idle_accounts)?;
        set("max_in_flight", &mut options.max_in_flight, given.max_in_flight)?;
        set("max_in_flight_bytes", &mut options.max_in_flight_bytes, given.max_in_flight_bytes)?;
        set("max_listeners", &mut options.max_listeners, given.max_listeners)?;
        if given.relaxed {
            options.durability = Durability::Relaxed;
        }
        if let Some(overrides) = given.preferences {
            options.preferences = options.preferences.under(&overrides.try_into()?);
        }
        if let Some(limits) = given.limits {
            limits.put_into(&mut options.limits)?;
        }
        if let Some(states) = given.presence_order {
            let states: Vec<State> = states.into_iter().map(State::from).collect();
            let states = <[State; 10]>::try_from(states)
                .map_err(|_| RosterKitError::invalid("presence_order names ten states"))?;
            options.presence_order = Order::new(states).map_err(refused)?;
        }
        Ok(options)
    }
}

impl LimitOptions {
    fn put_into(self, limits: &mut Limits) -> Result<()> {
        set("message_bytes", &mut limits.message_bytes, self.message_bytes)?;
        set("send_burst", &mut limits.sends.burst, self.send_burst)?;
        set("sends_per_minute", &mut limits.sends.per_minute, self.sends_per_minute)?;
        set("request_burst", &mut limits.requests.burst, self.request_burst)?;
        set("requests_per_minute", &mut limits.requests.per_minute, self.requests_per_minute)?;
        set("unanswered_requests", &mut limits.unanswered_requests, self.unanswered_requests)?;
        set("unclaimed_count", &mut limits.unclaimed.count, self.unclaimed_count)?;
        set("unclaimed_bytes", &mut limits.unclaimed.bytes, self.unclaimed_bytes)?;
        set("unclaimed_from_one_count", &mut limits.unclaimed_from_one.count, self.unclaimed_from_one_count)?;
        set("unclaimed_from_one_bytes", &mut limits.unclaimed_from_one.bytes, self.unclaimed_from_one_bytes)
    }
}

fn utc_offset(minutes: i32) -> Result<i16> {
    match i16::try_from(minutes) {
        Ok(minutes) if minutes.unsigned_abs() <= 1_080 => Ok(minutes),
        _ => Err(RosterKitError::invalid(format!("no clock is {minutes} minutes ahead of UTC"))),
    }
}

/// Puts what was given, where it fits.
fn set<T: TryFrom<i64>>(what: &str, place: &mut T, given: Option<impl Into<i64>>) -> Result<()> {
    if let Some(given) = given {
        *place = number(what, given.into())?;
    }
    Ok(())
}

impl TryFrom<PreferenceOverrides> for Overrides {
    type Error = RosterKitError;

    fn try_from(given: PreferenceOverrides) -> Result<Self> {
        Ok(Overrides {
            accepted_senders: given.accepted_senders.map(Into::into),
            offline_storage: given.offline_storage,
            keep_history: given.keep_history,
            deliver_to_devices: given.deliver_to_devices,
            max_roster_items: given.max_roster_items.map(|n| number("max_roster_items", n)).transpose()?,
            receipts: given.receipts.map(Into::into),
            storage_files: given.storage_files.map(|n| number("storage_files", n)).transpose()?,
            storage_bytes: given.storage_bytes.map(|n| number("storage_bytes", n)).transpose()?,
            utc_offset_minutes: given.utc_offset_minutes.map(utc_offset).transpose()?,
            last_seen: given.last_seen.map(Into::into),
            history_days: given.history_days.map(|n| number("history_days", n)).transpose()?,
            history_messages: given.history_messages.map(|n| number("history_messages", n)).transpose()?,
            unknown: Vec::new(),
        })
    }
}

impl From<Overrides> for PreferenceOverrides {
    fn from(overrides: Overrides) -> Self {
        PreferenceOverrides {
            accepted_senders: overrides.accepted_senders.map(Into::into),
            offline_storage: overrides.offline_storage,
            keep_history: overrides.keep_history,
            deliver_to_devices: overrides.deliver_to_devices,
            max_roster_items: overrides.max_roster_items.map(i64::from),
            receipts: overrides.receipts.map(Into::into),
            storage_files: overrides.storage_files.map(i64::from),
            storage_bytes: overrides.storage_bytes.map(signed),
            utc_offset_minutes: overrides.utc_offset_minutes.map(i32::from),
            last_seen: overrides.last_seen.map(Into::into),
            history_days: overrides.history_days.map(i64::from),
            history_messages: overrides.history_messages.map(i64::from),
        }
    }
}

impl From<rosterkit::Preferences> for Preferences {
    fn from(preferences: rosterkit::Preferences) -> Self {
        Preferences {
            accepted_senders: preferences.accepted_senders.into(),
            offline_storage: preferences.offline_storage,
            keep_history: preferences.keep_history,
            deliver_to_devices: preferences.deliver_to_devices,
            max_roster_items: preferences.max_roster_items.into(),
            receipts: preferences.receipts.into(),
            storage_files: preferences.storage_files.into(),
            storage_bytes: signed(preferences.storage_bytes),
            utc_offset_minutes: preferences.utc_offset_minutes.into(),
            last_seen: preferences.last_seen.into(),
            history_days: preferences.history_days.into(),
            history_messages: preferences.history_messages.into(),
        }
    }
}

impl TryFrom<SessionOptions> for rosterkit::SessionOptions {
    type Error = RosterKitError;

    fn try_from(given: SessionOptions) -> Result<Self> {
        Ok(rosterkit::SessionOptions {
            device: given.device.map(|name| device(&name)).transpose()?,
            instance: given.instance,
            lease_ms: given.lease_ms.map(|ms| number("lease_ms", ms)).transpose()?,
            reads_messages: given.reads_messages,
            observes: given.observes,
            consumer: if given.read_through_engine { Consumer::Engine } else { Consumer::Pull },
        })
    }
}
