//! Relays: a transport of the host's to other systems.

use crate::boundary::{Boundary, Owned};
use crate::convert::{address, count, number, refused, signed, timeout};
use crate::error::RosterKitError;
use crate::event::MessageBody;
use crate::roster::Presence;
use crate::session::{ChatState, invitation};
use rosterkit::{Amends, Content, Contents, MessageId, Op, RosterSignal, Timestamp};
use std::sync::Arc;

type Result<T> = std::result::Result<T, RosterKitError>;

/// A relay, open. While it has no connection, messages to its domains are accepted and wait on disk, for 24 h.
#[derive(uniffi::Object)]
pub struct Relay {
    relay: Owned<rosterkit::Relay>,
}

/// What is to be carried.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Outgoing {
    /// Durable: each item of it is to be settled.
    ParcelReady {
        /// What it is.
        parcel: Parcel,
    },
    /// For now, or never.
    NoticeReady {
        /// What it is.
        notice: Notice,
    },
}

/// Durable signals of one sender to one recipient, in order. The next one of the two follows when this one is settled.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Parcel {
    /// Who it is from. What comes in must be of a domain that the relay serves.
    pub sender: String,
    /// Whom it is for.
    pub recipient: String,
    /// What it holds.
    pub contents: ParcelContents,
}

/// What a parcel holds.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum ParcelContents {
    /// Messages, in order.
    Messages {
        /// At least one.
        messages: Vec<RelayedMessage>,
    },
    /// A step of the buddy handshake.
    Handshake {
        /// What this delivery is called.
        delivery_id: Option<String>,
        /// What the sender did.
        step: HandshakeStep,
        /// The version of what is between the two that it made.
        stamp: i64,
        /// What was said with it.
        note: String,
        /// The invitation of the recipient's that lets who asks in.
        token: Option<String>,
    },
}

/// A message on its way between two systems.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct RelayedMessage {
    /// What this delivery is called, the same each time it is tried. One that comes in again within 48 h is not accepted
    /// again; without an id nothing is recognized.
    #[uniffi(default)]
    pub delivery_id: Option<String>,
    /// The id it has where it was accepted, a UUID; it keeps it. What comes in without one is given one.
    #[uniffi(default)]
    pub message_id: Option<String>,
    /// The instance part of its sender's address, when a session sent it.
    #[uniffi(default)]
    pub instance: Option<String>,
    /// When it was accepted, in Unix milliseconds. What comes in without a time is accepted now.
    #[uniffi(default)]
    pub time_ms: Option<i64>,
    /// What it says.
    pub body: MessageBody,
    /// An opaque payload.
    #[uniffi(default)]
    pub extensions: Option<Vec<u8>>,
    /// The id of the message that this one answers.
    #[uniffi(default)]
    pub reply_to: Option<String>,
    /// The id of the same sender's earlier message that has this one's body from now on.
    #[uniffi(default)]
    pub edits: Option<String>,
    /// The id of the same sender's earlier message that has no content any more. This one has none.
    #[uniffi(default)]
    pub retracts: Option<String>,
    /// When it is of no use any more, in Unix milliseconds.
    #[uniffi(default)]
    pub expires_ms: Option<i64>,
}

/// A step of the buddy handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum HandshakeStep {
    /// Asks for both directions, or confirms them.
    Add,
    /// Ends both directions.
    Remove,
    /// Asks to see the other's presence.
    Subscribe,
    /// Lets the other see one's own.
    Subscribed,
    /// Sees the other's no more.
    Unsubscribe,
    /// Lets the other see one's own no more.
    Unsubscribed,
}

/// What became of one item of a parcel.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Settlement {
    /// It is the other side's now.
    Relayed,
    /// It never will be.
    Failed {
        /// For the sender to read.
        reason: String,
    },
    /// Of a handshake step: the other side knows a newer version, and changed nothing.
    Superseded {
        /// The version it knows.
        stamp: i64,
    },
    /// Not now: it is given out again, with back-off.
    Retry,
}

/// What nobody keeps.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Notice {
    /// What somebody shows to somebody.
    PresenceShown {
        /// Who shows it.
        subject: String,
        /// To whom.
        watcher: String,
        /// What.
        presence: Presence,
    },
    /// Somebody asks what somebody shows; the answer is a `PresenceShown`.
    PresenceAsked {
        /// Who asks.
        watcher: String,
        /// About whom.
        subject: String,
    },
    /// Somebody is typing, or stopped.
    TypingTold {
        /// Who.
        sender: String,
        /// For whom.
        recipient: String,
        /// What they do.
        state: ChatState,
    },
}

impl Relay {
    pub(crate) fn new(relay: rosterkit::Relay, boundary: &Arc<Boundary>) -> Arc<Self> {
        Arc::new(Relay { relay: Owned::new(relay, boundary) })
    }
}

#[uniffi::export]
impl Relay {
    /// There is a connection: what waits is given out, and presence is asked for and told anew.
    pub fn connect(&self) -> Result<()> {
        self.relay.call(|relay| {
            relay.connect();
            Ok(())
        })
    }

    /// The connection is gone: what it had in hand and did not settle is given out again to the next one. When that does not
    /// come within 90 s, the presence of everybody behind it is unknown.
    pub fn disconnect(&self) -> Result<()> {
        self.relay.call(|relay| {
            relay.disconnect();
            Ok(())
        })
    }

    /// Takes up to `max` things to carry, waiting for the first; empty when none came. One consumer at a time.
    pub fn next_outgoing(&self, max: i32, timeout_ms: i64) -> Result<Vec<Outgoing>> {
        self.relay.call(|relay| {
            let outgoing = relay.next(count("max", max)?, timeout(timeout_ms)?)?;
            Ok(outgoing.into_iter().filter_map(Outgoing::of).collect())
        })
    }

    /// Ends a wait in `next_outgoing`, or the next one.
    pub fn interrupt(&self) -> Result<()> {
        self.relay.call_even_if_failed(|relay| {
            relay.interrupt();
            Ok(())
        })
    }

    /// Says what became of an item, by its delivery id; also of one that an earlier run gave out. What is settled already
    /// stays as it is.
    pub fn settle(&self, delivery_id: String, settlement: Settlement) -> Result<()> {
        self.relay.call(|relay| Ok(relay.settle(&delivery_id, settlement.try_into()?)?))
    }

    /// Takes a parcel in: one settlement for each of its items, when what follows from it is on disk. When it throws, nothing
    /// of it was taken, and it may come again.
    pub fn receive(&self, parcel: Parcel) -> Result<Vec<Settlement>> {
        self.relay.call(|relay| {
            let settlements = relay.receive(parcel.try_into()?)?;
            Ok(settlements.into_iter().map(Settlement::from).collect())
        })
    }

    /// Takes a notice in.
    pub fn receive_notice(&self, notice: Notice) -> Result<()> {
        self.relay.call(|relay| Ok(relay.notify(notice.try_into()?)?))
    }

    /// Closes the relay: its domains are unreachable from here on. What waits stays on disk, for another relay or until it
    /// fails. Idempotent.
    pub fn shutdown(&self) -> Result<()> {
        self.relay.call_even_if_failed(|relay| {
            relay.close();
            Ok(())
        })
    }
}

impl Outgoing {
    fn of(outgoing: rosterkit::Outgoing) -> Option<Self> {
        match outgoing {
            rosterkit::Outgoing::Parcel(parcel) => Some(Outgoing::ParcelReady { parcel: parcel.into() }),
            rosterkit::Outgoing::Notice(notice) => Some(Outgoing::NoticeReady { notice: notice.into() }),
            // Nothing is submitted through this face.
            rosterkit::Outgoing::Received { .. } => None,
        }
    }
}

impl From<rosterkit::Parcel> for Parcel {
    fn from(parcel: rosterkit::Parcel) -> Self {
        let contents = match parcel.contents {
            Contents::Messages(messages) => ParcelContents::Messages {
                messages: messages.into_iter().map(RelayedMessage::from).collect(),
            },
            Contents::Roster(signal) => ParcelContents::Handshake {
                delivery_id: signal.delivery_id.map(|id| id.to_string()),
                step: step_of(signal.op),
                stamp: signed(signal.stamp),
                note: signal.note.to_string(),
                token: signal.token.map(|token| token.as_str().to_owned()),
            },
        };
        Parcel { sender: parcel.sender.to_string(), recipient: parcel.recipient.to_string(), contents }
    }
}

impl TryFrom<Parcel> for rosterkit::Parcel {
    type Error = RosterKitError;

    fn try_from(parcel: Parcel) -> Result<Self> {
        let contents = match parcel.contents {
            ParcelContents::Messages { messages } if messages.is_empty() => {
                return Err(RosterKitError::invalid("a parcel has at least one message"));
            }
            ParcelContents::Messages { messages } => Contents::Messages(
                messages.into_iter().map(rosterkit::RelayedMessage::try_from).collect::<Result<_>>()?,
            ),
            ParcelContents::Handshake { delivery_id, step, stamp, note, token } => {
                Contents::Roster(RosterSignal {
                    delivery_id: delivery_id.map(Into::into),
                    op: step.into(),
                    stamp: number("a stamp", stamp)?,
                    note: note.into(),
                    token: invitation(token)?,
                })
            }
        };
        let (sender, recipient) = (address(&parcel.sender)?, address(&parcel.recipient)?);
        Ok(rosterkit::Parcel { sender, recipient, contents })
    }
}

impl From<rosterkit::RelayedMessage> for RelayedMessage {
    fn from(message: rosterkit::RelayedMessage) -> Self {
        let (edits, retracts) = match message.amends {
            None => (None, None),
            Some(Amends::Edit(id)) => (Some(id), None),
            Some(Amends::Retract(id)) => (None, Some(id)),
        };
        RelayedMessage {
            delivery_id: message.delivery_id.map(|id| id.to_string()),
            message_id: message.id.map(|id| id.to_string()),
            instance: message.instance.map(|instance| instance.to_string()),
            time_ms: message.time.map(|time| time.0),
            body: MessageBody::from(&message.content.body),
            extensions: Some(message.content.extensions.to_vec()).filter(|bytes| !bytes.is_empty()),
            reply_to: message.content.reply_to.map(|id| id.to_string()),
            edits: edits.map(|id| id.to_string()),
            retracts: retracts.map(|id| id.to_string()),
            expires_ms: message.expires.map(|time| time.0),
        }
    }
}

impl TryFrom<RelayedMessage> for rosterkit::RelayedMessage {
    type Error = RosterKitError;

    fn try_from(message: RelayedMessage) -> Result<Self> {
        let id_of = |id: Option<String>| id.map(|id| MessageId::parse(&id)).transpose().map_err(refused);
        let amends = match (id_of(message.edits)?, id_of(message.retracts)?) {
            (None, None) => None,
            (Some(id), None) => Some(Amends::Edit(id)),
            (None, Some(id)) => Some(Amends::Retract(id)),
            (Some(_), Some(_)) => {
                return Err(RosterKitError::invalid("a message edits or retracts another, not both"));
            }
        };
        let body = message.body.into();
        Ok(rosterkit::RelayedMessage {
            delivery_id: message.delivery_id.map(Into::into),
            id: id_of(message.message_id)?,
            instance: message.instance.map(Into::into),
            time: message.time_ms.map(Timestamp),
            content: Content {
                body,
                extensions: message.extensions.unwrap_or_default().into(),
                reply_to: id_of(message.reply_to)?,
            },
            amends,
            expires: message.expires_ms.map(Timestamp),
        })
    }
}

const fn step_of(op: Op) -> HandshakeStep {
    match op {
        // An update concerns nobody else: it is in no parcel.
        Op::Add | Op::Update => HandshakeStep::Add,
        Op::Remove => HandshakeStep::Remove,
        Op::Subscribe => HandshakeStep::Subscribe,
        Op::Subscribed => HandshakeStep::Subscribed,
        Op::Unsubscribe => HandshakeStep::Unsubscribe,
        Op::Unsubscribed => HandshakeStep::Unsubscribed,
    }
}

impl From<HandshakeStep> for Op {
    fn from(step: HandshakeStep) -> Self {
        match step {
            HandshakeStep::Add => Op::Add,
            HandshakeStep::Remove => Op::Remove,
            HandshakeStep::Subscribe => Op::Subscribe,
            HandshakeStep::Subscribed => Op::Subscribed,
            HandshakeStep::Unsubscribe => Op::Unsubscribe,
            HandshakeStep::Unsubscribed => Op::Unsubscribed,
        }
    }
}

impl From<rosterkit::Settlement> for Settlement {
    fn from(settlement: rosterkit::Settlement) -> Self {
        match settlement {
            rosterkit::Settlement::Relayed => Settlement::Relayed,
            rosterkit::Settlement::Failed { reason } => Settlement::Failed { reason: reason.to_string() },
            rosterkit::Settlement::Superseded { stamp } => Settlement::Superseded { stamp: signed(stamp) },
            rosterkit::Settlement::Retry => Settlement::Retry,
        }
    }
}

impl TryFrom<Settlement> for rosterkit::Settlement {
    type Error = RosterKitError;

    fn try_from(settlement: Settlement) -> Result<Self> {
        Ok(match settlement {
            Settlement::Relayed => rosterkit::Settlement::Relayed,
            Settlement::Failed { reason } => rosterkit::Settlement::Failed { reason: reason.into() },
            Settlement::Superseded { stamp } => {
                rosterkit::Settlement::Superseded { stamp: number("a stamp", stamp)? }
            }
            Settlement::Retry => rosterkit::Settlement::Retry,
        })
    }
}

impl From<rosterkit::Notice> for Notice {
    fn from(notice: rosterkit::Notice) -> Self {
        match notice {
            rosterkit::Notice::Presence { subject, watcher, presence } => Notice::PresenceShown {
                subject: subject.to_string(),
                watcher: watcher.to_string(),
                presence: (&presence).into(),
            },
            rosterkit::Notice::Probe { watcher, subject } => {
                Notice::PresenceAsked { watcher: watcher.to_string(), subject: subject.to_string() }
            }
            rosterkit::Notice::Typing { sender, recipient, state } => Notice::TypingTold {
                sender: sender.to_string(),
                recipient: recipient.to_string(),
                state: state.into(),
            },
        }
    }
}

impl TryFrom<Notice> for rosterkit::Notice {
    type Error = RosterKitError;

    fn try_from(notice: Notice) -> Result<Self> {
        Ok(match notice {
            Notice::PresenceShown { subject, watcher, presence } => rosterkit::Notice::Presence {
                subject: address(&subject)?,
                watcher: address(&watcher)?,
                presence: rosterkit::Presence {
                    state: presence.state.into(),
                    note: presence.note.map(Into::into),
                    avatar: presence.avatar.map(Into::into),
                    extensions: presence.extensions.into(),
                },
            },
            Notice::PresenceAsked { watcher, subject } => {
                rosterkit::Notice::Probe { watcher: address(&watcher)?, subject: address(&subject)? }
            }
            Notice::TypingTold { sender, recipient, state } => rosterkit::Notice::Typing {
                sender: address(&sender)?,
                recipient: address(&recipient)?,
                state: state.into(),
            },
        })
    }
}
