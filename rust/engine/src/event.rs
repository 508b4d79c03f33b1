//! What a session is told.

use crate::command::Conversation;
use rosterkit_core::address::Address;
use rosterkit_core::content::{Body, ChatState, Content};
use rosterkit_core::id::{MessageId, Position};
use rosterkit_core::presence::Presence;
use rosterkit_core::roster::{Buddy, Status};
use rosterkit_core::row::{Amended, Amendment, Outcome};
use rosterkit_core::time::Timestamp;
use std::sync::Arc;

/// An event and its number in its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Rises by one with each event handed out; what [`ack`](crate::Session::ack) takes. It never restarts within a
    /// session, and an event that comes again has a new one.
    pub seq: u64,
    /// What happened.
    pub body: EventBody,
}

/// What happened. New kinds may be added: match with a wildcard.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventBody {
    /// A message to the account, or a copy of one that another session of it sent. Comes until acknowledged.
    Message(Arc<Message>),
    /// The author of a message changed it, or took it back. Comes until acknowledged, to whoever gets messages.
    Amended(Arc<MessageAmended>),
    /// Somebody asks to be a buddy. Comes until acknowledged; the answer is
    /// [`confirm_buddy`](crate::Session::confirm_buddy) or [`decline_buddy`](crate::Session::decline_buddy).
    BuddyRequest {
        /// Its place, for display in order.
        position: Position,
        /// Who asks.
        sender: Address,
        /// What they said with it.
        note: Arc<str>,
        /// When.
        time: Timestamp,
    },
    /// What became of a message: the relay's last word, of one that was answered with [`Queued`](crate::Word::Queued), or
    /// that its time is up. Comes until acknowledged, once to each device; in the history it stands with the message.
    Outcome {
        /// The message's place.
        position: Position,
        /// The message's id.
        message_id: MessageId,
        /// Whom it was sent to.
        recipient: Address,
        /// What became of it.
        outcome: Outcome,
    },
    /// What the account sent to this peer was taken by a client of theirs, all of it up to there.
    Delivered {
        /// Who has it.
        peer: Address,
        /// The latest.
        upto: Position,
    },
    /// What the account sent to this peer was read by a person, all of it up to there.
    Displayed {
        /// Who has read it.
        peer: Address,
        /// The latest.
        upto: Position,
    },
    /// What this peer sent was read in a session of the account's, all of it up to there.
    Read {
        /// Who sent it.
        peer: Address,
        /// The latest.
        upto: Position,
    },
    /// A buddy's presence, or the account's own as others see it.
    Presence {
        /// Whose.
        subject: Address,
        /// What it is now.
        presence: Presence,
    },
    /// Every buddy's presence has been told since this session came online; from here on come changes.
    SnapshotEnd,
    /// The roster changed. `buddy` is as it is now; one that is gone has status `none` and is not listed.
    RosterChanged {
        /// Who.
        buddy: Arc<Buddy>,
        /// As shown.
        status: Status,
    },
    /// For an [observer](crate::SessionOptions::observes): a conversation of the account's is another.
    ConversationChanged(Arc<Conversation>),
    /// So many messages of strangers wait in [`quarantine`](crate::AcceptedSenders::Quarantine).
    QuarantineChanged {
        /// How many.
        messages: usize,
    },
    /// Somebody is typing, or stopped. Ends by itself after 30 s.
    Typing {
        /// Who.
        sender: Address,
        /// What they do.
        state: ChatState,
    },
    /// Whom the account blocks is another: read it again.
    BlockListChanged,
    /// What is in force for the account is another: read it again.
    PreferencesChanged,
    /// The account's owner made its history forget what there was up to there; what a client keeps of it should go too.
    HistoryForgotten {
        /// With whom; `None` with everybody.
        peer: Option<Address>,
        /// The latest.
        upto: Position,
    },
    /// Another session asks this one: [`AnswerQuery`](crate::Command::AnswerQuery) answers, within 30 s. What is not answered
    /// is lost with the session.
    Query {
        /// What the answer names.
        query: u64,
        /// Who asks, with its instance.
        sender: Address,
        /// What.
        body: Body,
    },
    /// What became of a query of this session's.
    QueryAnswered {
        /// Which.
        query: u64,
        /// The answer; `None` when nobody is there for who asks, or did not answer in time.
        body: Option<Body>,
    },
    /// A message failed three times in this session's hands. It is kept in the log, and delivery has moved on.
    Parked {
        /// Which.
        message_id: MessageId,
    },
    /// Something was left out (the session was too slow, or the engine recovered from a failed disk): read roster
    /// and presence again. Messages are not affected, they come from the log.
    Resync,
    /// The session has ended; nothing follows.
    Ended(EndReason),
}

impl EventBody {
    /// How many bytes of content it carries: what people wrote, as far as it can be long.
    pub(crate) fn size(&self) -> usize {
        match self {
            EventBody::Message(message) => message.content.size(),
            EventBody::ConversationChanged(conversation) => conversation.latest.content.size(),
            EventBody::BuddyRequest { note, .. } => note.len(),
            EventBody::Presence { presence, .. } => {
                presence.note.as_ref().map_or(0, |note| note.len()) + presence.extensions.len()
            }
            EventBody::RosterChanged { buddy, .. } => {
                buddy.name.len() + buddy.groups.iter().map(|group| group.len()).sum::<usize>()
            }
            EventBody::Outcome { outcome: Outcome::Failed { reason }, .. } => reason.len(),
            EventBody::Query { body, .. } | EventBody::QueryAnswered { body: Some(body), .. } => body.size(),
            EventBody::Amended(amended) => amended.amendment.size(),
            EventBody::Outcome { outcome: Outcome::Relayed | Outcome::Expired, .. }
            | EventBody::Delivered { .. }
            | EventBody::Displayed { .. }
            | EventBody::Read { .. }
            | EventBody::QueryAnswered { body: None, .. }
            | EventBody::BlockListChanged
            | EventBody::PreferencesChanged
            | EventBody::HistoryForgotten { .. }
            | EventBody::SnapshotEnd
            | EventBody::QuarantineChanged { .. }
            | EventBody::Typing { .. }
            | EventBody::Parked { .. }
            | EventBody::Resync
            | EventBody::Ended(_) => 0,
        }
    }
}

/// A message as a session sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its place in the log; opaque, rising.
    pub position: Position,
    /// Its id, the same each time it comes and in every place it is shown.
    pub id: MessageId,
    /// Who sent it; with an instance when the sending session had one.
    pub sender: Address,
    /// Whom it was sent to.
    pub recipient: Address,
    /// When it was accepted. An offline message has its original time.
    pub time: Timestamp,
    /// Whether this is the account's own message, sent from another of its sessions or devices.
    pub copy: bool,
    /// What it carries.
    pub content: Content,
    /// What became of it, when it was given to a relay or could expire; `None` until that is known, and for all others.
    pub outcome: Option<Outcome>,
    /// When its author last amended it; the content is what it says since.
    pub amended: Option<Amended>,
    /// When it is of no use any more to who has not taken it.
    pub expires: Option<Timestamp>,
    /// In the history, of one's own message: what is known of its recipient. `None` as long as nothing is.
    pub receipt: Option<ReceiptState>,
}

/// What is known of the recipient of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReceiptState {
    /// A client of theirs took it.
    Delivered,
    /// A person has read it.
    Displayed,
}

/// What the author of a message did to it, as a session sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageAmended {
    /// The place of this change in the log.
    pub position: Position,
    /// The message's place.
    pub message_position: Position,
    /// The message's id.
    pub message_id: MessageId,
    /// Whose message it is.
    pub sender: Address,
    /// Whom it was sent to.
    pub recipient: Address,
    /// When it was changed.
    pub time: Timestamp,
    /// Whether another session of the account's own did it.
    pub copy: bool,
    /// What was done.
    pub amendment: Amendment,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The host closed it.
    Closed,
    /// The engine was shut down.
    Shutdown,
    /// Its lease ran out.
    LeaseExpired,
    /// A newer session of the same device took over.
    Replaced,
    /// The account was deleted.
    AccountDeleted,
    /// Its listener failed too many times in a row.
    ListenerFailed,
    /// The disk failed, or the file is damaged, and what the session needs cannot be read.
    StorageFailed,
}
