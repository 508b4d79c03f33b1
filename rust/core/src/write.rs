//! What a decision asks to be persisted.
//!
//! A commit is a list of items, an item a list of [`Write`]s that stand or fall together. The writer gives each
//! item a position when it takes it; a write that needs that position says [`OWN`] until then.

use crate::account::{Progress, Record};
use crate::address::{Address, Domain};
use crate::delivery::marks::Marks;
use crate::id::{AddressId, ClientId, MessageId, Position};
use crate::preferences::Overrides;
use crate::roster::{Buddy, Signal};
use crate::row::{Amendment, Entry, Outcome, Row, Side, Sides, Word};
use crate::rules::RuleSet;
use crate::time::Timestamp;
use std::sync::Arc;

/// "The position of the item this stands in". [`Write::place`] puts the real one there.
pub const OWN: Position = Position(u64::MAX);

/// How long a relay's delivery is recognized, in ms: twice as long as its sender keeps trying.
pub const DELIVERIES_ARE_KNOWN_MS: i64 = 48 * 60 * 60 * 1_000;

/// One durable effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A row at the end of the log. One whose word is [`Word::Queued`] stands in the outbox from then on.
    Append(Arc<Row>),
    /// An address gets its id.
    Address {
        /// The id, never used before.
        id: AddressId,
        /// The bare address.
        address: Address,
    },
    /// A new account. Its item is refused as a conflict when it is there already.
    AccountCreated(Arc<Record>),
    /// An account as it is from now on; made when it was not there.
    Account(Arc<Record>),
    /// How far an account has come. Lazy: a later one replaces an earlier one.
    Progress(AddressId, Progress),
    /// An account is gone: its record, progress, buddies, files and credentials. Its id is retired with it, and kept
    /// among those whose rows are still to be cleared.
    AccountDeleted(AddressId),
    /// Every row of a deleted account is cleared, and none can follow.
    Swept(AddressId),
    /// A buddy as it is from now on. One that was removed stays as a tombstone: its stamps still tell older signals
    /// from newer ones, and its version tells clients that it is gone.
    Buddy(AddressId, Buddy),
    /// A buddy whose account is gone, and in whose place stands another of the same address.
    BuddyReplaced {
        /// Whose roster it is.
        account: AddressId,
        /// The one that is gone.
        former: AddressId,
    },
    /// A domain is hosted, with these preferences.
    Domain(Domain, Overrides),
    /// A domain is hosted no more. It must hold no account.
    DomainRemoved(Domain),
    /// A signal that changes the other end as well: sent on after the commit, and again at every open until it is
    /// settled.
    Pend(Pending),
    /// The receiver of a pending signal has committed what follows from it.
    Settle {
        /// The position of the change that caused it.
        position: Position,
        /// Where it went: one change can cause several.
        recipient: Address,
    },
    /// This account's side needs the row no more. When neither side does, the row goes, with its entries in the
    /// indexes, and its client id enters the ring.
    ClearSide {
        /// The row.
        position: Position,
        /// Whose side.
        side: Side,
    },
    /// A row in the outbox is settled: it leaves it, says what became of it, and the recipient's side needs it no more.
    Relayed {
        /// The row.
        position: Position,
        /// What became of it.
        outcome: Outcome,
    },
    /// A relay's delivery was accepted, and is recognized for [`DELIVERIES_ARE_KNOWN_MS`].
    Delivery {
        /// Who it came from.
        origin: AddressId,
        /// Who it went to.
        recipient: AddressId,
        /// What the relay calls it.
        delivery_id: Arc<str>,
        /// When it was accepted.
        time: Timestamp,
    },
    /// How far this file has taken in what another one sent: only ever rises.
    Seen {
        /// The other file's generation.
        file_generation: u64,
        /// The position, there, of the latest delivery.
        position: Position,
    },
    /// What the author of a message does to it, if it is there still. The row is a message's.
    Amend {
        /// The message's place.
        position: Position,
        /// What is done.
        amendment: Amendment,
        /// When.
        time: Timestamp,
    },
    /// What became of a message that is in nobody's outbox.
    Outcome {
        /// The message's place.
        position: Position,
        /// What became of it.
        outcome: Outcome,
    },
    /// A row is to be looked at again at this time.
    Due {
        /// The row.
        position: Position,
        /// To whom it is.
        recipient: AddressId,
        /// When.
        time: Timestamp,
        /// What for.
        what: Due,
    },
    /// A row that was to be looked at was dealt with, whatever came of it.
    DueDone {
        /// The row.
        position: Position,
        /// What it was looked at for.
        what: Due,
    },
    /// A rule sends a message on: it is sent after the commit, and again at every open until it is there.
    Forward(Forward),
    /// What a rule sent on is there, or will never be.
    Forwarded {
        /// The row that was sent on.
        position: Position,
        /// Where to.
        target: Address,
    },
    /// A row is in quarantine no more. When nobody needs it, it goes.
    Release {
        /// The row.
        position: Position,
        /// Where it stands for its recipient, when it was admitted.
        admitted_as: Option<Position>,
    },
    /// The rules of the server, a domain or an account, or that it has none any more.
    Rules(RulesOf, Option<Arc<RuleSet>>),
    /// What an account knows of its conversation with a peer. Only ever rises: joined with what is there.
    Marks {
        /// Whose knowledge it is.
        account: AddressId,
        /// Of the conversation with whom.
        peer: AddressId,
        /// What there is to know.
        marks: Marks,
    },
    /// The file is another one from now on: it was restored from a backup, and whoever knew it is to know.
    FileGeneration(u64),
    /// The client id of a send whose row was never written (relaxed mode) or is not indexed yet enters the ring.
    ClientId(AddressId, ClientIdEntry),
    /// A credential verifier.
    Credential(AddressId, Credential),
    /// A file in an account's storage, replaced as a whole.
    File(AddressId, File),
    /// A file is gone.
    FileRemoved(AddressId, String),
}

/// A durable signal under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The position of the change that caused it.
    pub position: Position,
    /// Whose change it was. It stays when that account is deleted.
    pub origin: AddressId,
    /// That account's address, which outlives it here.
    pub origin_address: Address,
    /// Where it goes.
    pub recipient: Address,
    /// What it says.
    pub signal: Signal,
}

/// An entry of the ring of recent client ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdEntry {
    /// What the client calls the send.
    pub client_id: ClientId,
    /// The row's place, or the place it would have had.
    pub position: Position,
    /// The id that was given.
    pub message_id: MessageId,
    /// The answer that was given.
    pub word: Word,
    /// [`Entry::fingerprint`] of the send.
    pub fingerprint: u64,
    /// When it was accepted.
    pub time: Timestamp,
}

/// What a row is looked at again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// Its time is up.
    Expiry,
    /// Rules for what nobody took for so many seconds.
    Rules(u32),
}

/// A message that a rule sends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The row.
    pub position: Position,
    /// Where to.
    pub target: Address,
    /// It goes there instead: when it is refused it comes back.
    pub redirects: bool,
}

/// Whose rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RulesOf {
    /// The server's.
    Server,
    /// A domain's.
    Domain(Domain),
    /// An account's.
    Account(AddressId),
}

/// A verifier for a password; never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The mechanism it is for, such as `SCRAM-SHA-256`.
    pub mechanism: String,
    /// What that mechanism stores, as an import brought it or as the engine derived it.
    pub verifier: Vec<u8>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// A file of an account's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, such as `profile.vcf` or `private/IM/x`.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// When it was written.
    pub modified: Timestamp,
}

impl Pending {
    /// Puts the position of the change that caused it wherever it says [`OWN`].
    pub fn place(&mut self, position: Position) {
        if self.position == OWN {
            self.position = position;
        }
        if self.signal.stamp == OWN {
            self.signal.stamp = position;
        }
    }
}

impl ClientIdEntry {
    /// What the ring keeps of a row; `None` when it has no client id.
    pub fn of(row: &Row) -> Option<Self> {
        Some(ClientIdEntry {
            client_id: row.entry.client_id.clone()?,
            position: row.position,
            message_id: row.entry.message_id,
            word: row.entry.word,
            fingerprint: row.entry.fingerprint,
            time: row.entry.time,
        })
    }
}

impl Write {
    /// A row of this entry, wherever its item is placed.
    pub fn append(entry: Entry, sides: Sides) -> Write {
        Write::Append(Arc::new(Row { position: OWN, sides, entry }))
    }

    /// Puts the item's position wherever the write says [`OWN`].
    pub fn place(&mut self, position: Position) {
        let put = |p: &mut Position| {
            if *p == OWN {
                *p = position;
            }
        };
        match self {
            // A row that is not shared yet is changed in place.
            Write::Append(row) => put(&mut Arc::make_mut(row).position),
            Write::Account(record) | Write::AccountCreated(record) if record.roster_version == OWN => {
                put(&mut Arc::make_mut(record).roster_version);
            }
            Write::Buddy(_, buddy) => buddy.place(position),
            Write::Pend(pending) => pending.place(position),
            Write::Due { position: of, .. } => put(of),
            Write::Forward(forward) => put(&mut forward.position),
            Write::Release { admitted_as: Some(position), .. } => put(position),
            Write::ClientId(_, entry) => put(&mut entry.position),
            _ => {}
        }
    }
}
