//! A row of the log: what a message is once it is durable.

use crate::content::Content;
use crate::id::{AddressId, ClientId, DeviceNumber, MessageId, Position};
use crate::time::Timestamp;
use std::sync::Arc;

/// The word with which a send was answered. It is fixed by the decision and stored in the row, so that a repeat
/// of the send gets the same word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Durable, and forked to at least one live session or registration.
    Delivered,
    /// Durable; nobody is there, or the sender may not know.
    Stored,
    /// Durable in the outbox; a relay carries it and the final outcome follows.
    Queued,
}

/// One side of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The account it came from.
    Sender,
    /// The account it went to.
    Recipient,
}

/// What the two accounts still want of a row, a bit for each. The writer deletes a row when neither side needs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sides(pub u8);

impl Sides {
    /// The recipient has not claimed it, a cursor of theirs is below it, or their history keeps it.
    pub const RECIPIENT_NEEDS: u8 = 1;
    /// The same for the sender.
    pub const SENDER_NEEDS: u8 = 2;
    /// It is part of the recipient's history.
    pub const RECIPIENT_HISTORY: u8 = 4;
    /// It is part of the sender's history.
    pub const SENDER_HISTORY: u8 = 8;
    /// It waits in the recipient's quarantine.
    pub const QUARANTINED: u8 = 16;
    /// A rule sends it on, and it is not there yet.
    pub const FORWARDING: u8 = 32;

    /// It came into the recipient's quarantine, and is there still or not.
    pub const HELD_ONCE: u8 = 64;

    /// Both sides need it; each keeps it as history or not.
    pub const fn new(recipient_history: bool, sender_history: bool) -> Self {
        Sides(
            Self::RECIPIENT_NEEDS
                | Self::SENDER_NEEDS
                | if recipient_history { Self::RECIPIENT_HISTORY } else { 0 }
                | if sender_history { Self::SENDER_HISTORY } else { 0 },
        )
    }

    /// Whether this side still needs the row.
    pub const fn needed_by(self, side: Side) -> bool {
        self.0 & Self::needs_bit(side) != 0
    }

    /// Whether it is part of this side's history.
    pub const fn in_history_of(self, side: Side) -> bool {
        self.0 & Self::history_bit(side) != 0
    }

    /// Without this side: it neither needs the row nor shows it as history.
    #[must_use]
    pub const fn cleared(self, side: Side) -> Self {
        Sides(self.0 & !(Self::needs_bit(side) | Self::history_bit(side)))
    }

    /// Whether nobody needs the row.
    pub const fn is_clear(self) -> bool {
        self.0 & (Self::RECIPIENT_NEEDS | Self::SENDER_NEEDS | Self::QUARANTINED | Self::FORWARDING) == 0
    }

    /// Needed until it is sent on, or that no more.
    #[must_use]
    pub const fn forwarding(self, is_under_way: bool) -> Self {
        match is_under_way {
            true => Sides(self.0 | Self::FORWARDING),
            false => Sides(self.0 & !Self::FORWARDING),
        }
    }

    /// In quarantine, where the recipient's side is not a side yet; or out of it.
    #[must_use]
    pub const fn quarantined(self, is_held: bool) -> Self {
        match is_held {
            true => Sides(self.cleared(Side::Recipient).0 | Self::QUARANTINED | Self::HELD_ONCE),
            false => Sides(self.0 & !Self::QUARANTINED),
        }
    }

    /// Whether it came into quarantine, wherever it is now.
    pub const fn was_quarantined(self) -> bool {
        self.0 & Self::HELD_ONCE != 0
    }

    /// Whether it waits in quarantine.
    pub const fn is_quarantined(self) -> bool {
        self.0 & Self::QUARANTINED != 0
    }

    const fn needs_bit(side: Side) -> u8 {
        match side {
            Side::Sender => Self::SENDER_NEEDS,
            Side::Recipient => Self::RECIPIENT_NEEDS,
        }
    }

    const fn history_bit(side: Side) -> u8 {
        match side {
            Side::Sender => Self::SENDER_HISTORY,
            Side::Recipient => Self::RECIPIENT_HISTORY,
        }
    }
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An instant message.
    Message(Content),
    /// Somebody asks to be a buddy; the note is what they said with it.
    BuddyRequest {
        /// Empty when nothing was said.
        note: Arc<str>,
    },
    /// The author of a message has changed it, or taken it back. The message itself is changed in the same commit; this row
    /// is how every session and device hears of it, in order.
    Amendment {
        /// The message's place.
        of: Position,
        /// The message's id.
        of_id: MessageId,
        /// What is done to it.
        amendment: Amendment,
    },
    /// What became of a message that a relay carried. It goes from the message's recipient to its sender, whose devices
    /// pass it like any other row: that is how each of them is told.
    Outcome {
        /// The message's place; its id is the row's.
        of: Position,
        /// What became of it.
        outcome: Outcome,
    },
}

impl Kind {
    /// Bytes of content.
    pub fn size(&self) -> usize {
        match self {
            Kind::Message(content) => content.size(),
            Kind::Amendment { amendment, .. } => amendment.size(),
            Kind::BuddyRequest { note } => note.len(),
            Kind::Outcome { .. } => 0,
        }
    }
}

/// What the author of a message does to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// It says something else from now on (XEP-0308).
    Edit(Content),
    /// It says nothing any more (XEP-0424).
    Retract,
}

impl Amendment {
    /// Bytes of content that the message has from then on.
    pub fn size(&self) -> usize {
        match self {
            Amendment::Edit(content) => content.size(),
            Amendment::Retract => 0,
        }
    }
}

/// When a message was last amended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amended {
    /// Its content is a later one.
    Edited(Timestamp),
    /// Its content is gone.
    Retracted(Timestamp),
}

/// What became of a message after it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other system has taken it.
    Relayed,
    /// It never will.
    Failed {
        /// For the sender to read.
        reason: Arc<str>,
    },
    /// Nobody took it in time.
    Expired,
}

/// What a rule of the recipient's did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruled {
    /// Kept, and not forked to the sessions that were there.
    Stored,
    /// Taken, and delivered to nobody.
    Discarded,
    /// Sent on to others, and not delivered here.
    Redirected,
}

/// A row that has its place in the log. Rows are shared (`Arc<Row>`) between the sessions they are forked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place.
    pub position: Position,
    /// What both sides still want of it.
    pub sides: Sides,
    /// Everything that was fixed when it was accepted.
    pub entry: Entry,
}

/// What was accepted, before the writer gave it a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The account it came from.
    pub sender: AddressId,
    /// The account it goes to. The same as `sender` in a message to oneself.
    pub recipient: AddressId,
    /// The id of the message.
    pub message_id: MessageId,
    /// When it was accepted. For an imported message, its original time.
    pub time: Timestamp,
    /// The device that sent it: that device's cursor passes the row without an event.
    pub device: Option<DeviceNumber>,
    /// The instance part of the sender's address, when the session had one.
    pub instance: Option<Arc<str>>,
    /// What the sending client calls it.
    pub client_id: Option<ClientId>,
    /// A hash of recipient and content, kept beside the client id to tell a repeat from another send. 0 without one.
    pub fingerprint: u64,
    /// The answer the sender got.
    pub word: Word,
    /// What it is about.
    pub kind: Kind,
    /// Of a message that a relay carries: what became of it. `None` while it is under way, and for all others.
    pub outcome: Option<Outcome>,
    /// Of a message: when its author last amended it.
    pub amended: Option<Amended>,
    /// Of a message: when it is of no use any more to whoever has not taken it by then.
    pub expires: Option<Timestamp>,
    /// What a rule did with it.
    pub ruled: Option<Ruled>,
    /// Of a message that a rule sent on: whose rule it was. Its sender and its id are those of the one it comes from.
    pub via: Option<AddressId>,
    /// How often rules sent it on.
    pub hops: u8,
    /// Of a message that was admitted out of quarantine: where it stands for its recipient.
    pub admitted_as: Option<Position>,
    /// Fields that a newer version wrote and this one does not know, as stored.
    pub unknown: Vec<u8>,
}

impl Entry {
    /// Of what, between whom; everything else as it mostly is.
    pub fn new(
        sender: AddressId,
        recipient: AddressId,
        message_id: MessageId,
        time: Timestamp,
        kind: Kind,
    ) -> Self {
        Entry {
            sender,
            recipient,
            message_id,
            time,
            device: None,
            instance: None,
            client_id: None,
            fingerprint: 0,
            word: Word::Stored,
            kind,
            outcome: None,
            amended: None,
            expires: None,
            ruled: None,
            via: None,
            hops: 0,
            admitted_as: None,
            unknown: Vec::new(),
        }
    }

    /// What counts against limits of unclaimed messages, in bytes.
    pub fn size(&self) -> usize {
        self.kind.size()
    }

    /// What an amendment makes of the message.
    pub fn amend(&mut self, amendment: &Amendment, time: Timestamp) {
        if let Kind::Message(content) = &mut self.kind {
            match amendment {
                Amendment::Edit(later) => {
                    *content = later.clone();
                    self.amended = Some(Amended::Edited(time));
                }
                Amendment::Retract => {
                    *content = Content { reply_to: content.reply_to, ..Content::text("") };
                    self.amended = Some(Amended::Retracted(time));
                }
            }
        }
    }

    /// Whether a relay has it to carry. Its recipient's side is the relay's then: needed until it is settled.
    pub fn is_queued(&self) -> bool {
        self.word == Word::Queued
    }

    /// The sides on which this account stands. A message to oneself stands on both.
    pub fn sides_of(&self, account: AddressId) -> impl Iterator<Item = Side> + use<> {
        let sender = (self.sender == account).then_some(Side::Sender);
        let recipient = (self.recipient == account).then_some(Side::Recipient);
        recipient.into_iter().chain(sender)
    }
}
