//! An account in memory.

use crate::answers::ReplyTo;
use crate::command::Command;
use crate::messages::{Deliver, DueRow, Settling};
use crate::relay::Parcel;
use crate::shard::AsksLastSeen;
use crate::shard::change::Changing;
use rosterkit_core::account::{Progress, Record};
use rosterkit_core::address::Address;
use rosterkit_core::delivery::limits::TokenBucket;
use rosterkit_core::delivery::unclaimed::Unclaimed;
use rosterkit_core::id::{AddressId, ClientId, MessageId, Position, SessionId};
use rosterkit_core::preferences::Preferences;
use rosterkit_core::presence::Presence;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::Kind;
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Pending;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::sync::Arc;

/// An account in memory: what is durable, what is lazy, and what is under way. Sessions are beside it, in the
/// shard: what is volatile is not part of an account.
pub(crate) struct Resident {
    pub(crate) record: Arc<Record>,
    /// The record's overrides over its domain's over the server's.
    pub(crate) preferences: Preferences,
    pub(crate) progress: Progress,
    /// Its own rules.
    pub(crate) rules: Option<Arc<RuleSet>>,
    pub(crate) unclaimed: Unclaimed,
    /// Rows of strangers, on whom the account has not decided.
    pub(crate) quarantined: Option<Box<Unclaimed>>,
    /// Rows that nobody is to get any more, as long as the log may say otherwise.
    pub(crate) taken_away: Option<Box<FxHashSet<Position>>>,
    /// The latest row claimed of a sender of whom a lower one is unclaimed: a receipt cannot speak for it yet.
    pub(crate) held_back: Option<Box<FxHashMap<AddressId, Position>>>,
    /// The highest row installed.
    pub(crate) last: Position,
    pub(crate) ring: Ring,
    /// Its own sends under way.
    pub(crate) in_flight: Vec<InFlight>,
    /// Rows to it under way.
    pub(crate) arriving: u32,
    pub(crate) gate: Gate,
    /// What came while the gate was closed. Boxed, as it is seldom there.
    pub(crate) waiting: Option<Box<Waiting>>,
    /// Its sessions, oldest first.
    pub(crate) sessions: Vec<SessionId>,
    /// What its watchers were last told.
    pub(crate) shown: Presence,
    /// How far the rows were looked through for sides to clear, and how far they have to be, with history off.
    pub(crate) swept: Position,
    pub(crate) to_sweep: Position,
    pub(crate) sweeping: bool,
    /// Progress is ahead of the disk.
    pub(crate) dirty: bool,
    /// How often it was handed to the writer and is not on disk yet: read from there it would be an older one.
    pub(crate) being_saved: u16,
    /// Rows passed since progress was last written, for accounts that only send.
    pub(crate) unsaved: u16,
    /// It stands in the queue of idle accounts, once.
    pub(crate) in_idle_queue: bool,
    /// It was used since it got there.
    pub(crate) used_again: bool,
    pub(crate) sends: TokenBucket,
    pub(crate) requests: TokenBucket,
}

/// Whether the account takes input.
pub(crate) enum Gate {
    Open,
    /// What this work needs is being read.
    Fetching(Box<Work>),
    /// Who of the watchers is blocked, and who is outside, is being read: until then nobody is told what it shows.
    LookingUpSight(Option<ReplyTo>),
    /// A change is on its way to the disk.
    Changing(Box<Changing>),
}

/// What waits for an account, in order.
#[derive(Default)]
pub(crate) struct Waiting(pub(crate) VecDeque<Work>);

/// Something that concerns one account.
pub(crate) enum Work {
    Command {
        session: Option<SessionId>,
        command: Box<Command>,
        reply: ReplyTo,
    },
    /// Something that the account sends, when what it needs is read.
    Send {
        session: Option<SessionId>,
        send: Box<Sending>,
        reply: ReplyTo,
    },
    Deliver(Box<Deliver>),
    /// A contact of this account was registered when the file was opened: in memory it is seen by itself.
    Registered(Address),
    /// A row to the account is to be looked at again.
    Due(Box<DueRow>),
    /// A rule puts this peer into this group.
    Remember {
        peer: Address,
        group: String,
    },
    Pending(Box<Pending>),
    /// What a relay brings.
    Parcel {
        parcel: Box<Parcel>,
        reply: ReplyTo,
    },
    /// What became of a message that a relay carried.
    Outcome(Box<Settling>),
    /// An outside peer knows something newer than this signal of the account.
    Superseded {
        pending: Box<Pending>,
        known: Position,
    },
    /// Somebody asks when the account was last there.
    LastSeen(Box<AsksLastSeen>),
    /// A session is attached again after the store was opened anew.
    Reattach(SessionId),
}

/// What an account sends, before it is accepted.
pub(crate) struct Sending {
    pub(crate) recipient: Address,
    /// A message, or an amendment.
    pub(crate) kind: Kind,
    pub(crate) client_id: Option<ClientId>,
    pub(crate) expires: Option<Timestamp>,
    /// How often rules have sent what it answers.
    pub(crate) hops: u8,
    /// Of an amendment: the message came into quarantine and did not get out: it is its author's only.
    pub(crate) is_authors_only: bool,
    /// It is refused, unless it repeats what was accepted.
    pub(crate) refused: Option<Refusal>,
}

/// What is known of the client ids of earlier sends.
pub(crate) enum Ring {
    /// Nothing was read yet.
    Unread,
    /// The hashes of all that were remembered on disk when it was read, and of those used since. One that is not here is
    /// remembered nowhere.
    Known(Box<FxHashSet<u64>>),
}

/// A send of this account that was not answered yet.
pub(crate) struct InFlight {
    pub(crate) token: u64,
    pub(crate) client_id: Option<ClientId>,
    pub(crate) fingerprint: u64,
    pub(crate) message_id: MessageId,
    /// The first caller, and those who repeated the send meanwhile.
    pub(crate) replies: Vec<ReplyTo>,
}

impl Resident {
    pub(crate) fn id(&self) -> AddressId {
        self.record.id
    }

    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.0.is_empty())
    }

    /// Whether nothing holds it in memory.
    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.in_flight.is_empty()
            && self.arriving == 0
            && matches!(self.gate, Gate::Open)
            && self.nobody_waits()
            && !self.sweeping
            && !self.dirty
            && self.being_saved == 0
            && self.record.registrations.is_empty()
    }

    /// The lowest row that nobody claimed moves the mark of claimed rows.
    pub(crate) fn advance_claims(&mut self) {
        self.progress.claims.advance(self.unclaimed.lowest(), self.last);
    }
}
