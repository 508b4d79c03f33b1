//! What a relay carries, both ways.

use rosterkit_core::address::Address;
use rosterkit_core::content::{ChatState, Content};
use rosterkit_core::id::MessageId;
use rosterkit_core::invitation::InvitationToken;
use rosterkit_core::presence::Presence;
use rosterkit_core::roster::Op;
use rosterkit_core::time::Timestamp;
use std::sync::Arc;

/// Durable signals of one sender to one recipient, in order. A pair has one parcel under way at a time, and the next one
/// follows when this one is settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// Who it is from, without an instance. Inbound it must be of a domain that the relay may speak for.
    pub sender: Address,
    /// Whom it is for, without an instance.
    pub recipient: Address,
    /// What it holds.
    pub contents: Contents,
}

impl Parcel {
    /// How many items it has: each of them is settled.
    pub fn items(&self) -> usize {
        match &self.contents {
            Contents::Messages(messages) => messages.len(),
            Contents::Roster(_) => 1,
        }
    }
}

/// What a parcel holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// Messages, in order. At least one.
    Messages(Vec<RelayedMessage>),
    /// A change of the sender's roster that concerns the recipient.
    Roster(RosterSignal),
}

/// A message on its way between two systems.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayedMessage {
    /// What this delivery is called, the same each time it is tried. Inbound, one that was accepted within the last 48 h
    /// from the same sender for the same recipient is not accepted again; without an id nothing is recognized.
    pub delivery_id: Option<Arc<str>>,
    /// The id the message was given where it was accepted; it keeps it. Inbound without one, it is given one.
    pub id: Option<MessageId>,
    /// The instance part of the sender's address, when a session sent it.
    pub instance: Option<Arc<str>>,
    /// When it was accepted. Inbound without a time, it is accepted now.
    pub time: Option<Timestamp>,
    /// What it carries.
    pub content: Content,
    /// The earlier message of the same sender that this one edits or retracts. Inbound it must be one of the latest 1,000
    /// of the recipient's history with the sender.
    pub amends: Option<Amends>,
    /// When it is of no use any more.
    pub expires: Option<Timestamp>,
}

impl RelayedMessage {
    /// One that is known by nothing but what it carries.
    pub const fn new(content: Content) -> Self {
        RelayedMessage {
            delivery_id: None,
            id: None,
            instance: None,
            time: None,
            content,
            amends: None,
            expires: None,
        }
    }
}

/// What a message does to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amends {
    /// That one has this one's content from now on.
    Edit(MessageId),
    /// That one has no content any more, and this one has none.
    Retract(MessageId),
}

impl Amends {
    /// Which message.
    pub const fn of(self) -> MessageId {
        match self {
            Amends::Edit(id) | Amends::Retract(id) => id,
        }
    }
}

/// A step of the buddy handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct RosterSignal {
    /// What this delivery is called; see [`RelayedMessage::delivery_id`]. The stamp makes repeating it harmless.
    pub delivery_id: Option<Arc<str>>,
    /// What the sender did.
    pub op: Op,
    /// The version of what is between the two that it made: above every version the sender had seen.
    pub stamp: u64,
    /// What was said with it.
    pub note: Arc<str>,
    /// The invitation of the recipient's that lets who asks in.
    pub token: Option<InvitationToken>,
}

/// What became of one item of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is the other side's now.
    Relayed,
    /// It never will be, and this is why.
    Failed {
        /// For the sender to read.
        reason: Arc<str>,
    },
    /// Of a roster signal: the other side knows a newer version, this one, and changed nothing.
    Superseded {
        /// The version it knows.
        stamp: u64,
    },
    /// Not now: it is given out again, with back-off.
    Retry,
}

/// What nobody keeps: of a presence only the newest counts, and what cannot be told now need not be told later.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// What `subject` shows to `watcher`.
    Presence {
        /// Whose.
        subject: Address,
        /// For whom.
        watcher: Address,
        /// What.
        presence: Presence,
    },
    /// `watcher` asks what `subject` shows; the answer is a `Presence`.
    Probe {
        /// Who asks.
        watcher: Address,
        /// About whom.
        subject: Address,
    },
    /// A chat state.
    Typing {
        /// Who is typing, or has stopped.
        sender: Address,
        /// For whom.
        recipient: Address,
        /// What they do.
        state: ChatState,
    },
}
