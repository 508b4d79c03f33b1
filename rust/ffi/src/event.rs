//! What a session is told.

use crate::conversation::{Amended, Conversation, MessageChange, ReceiptState};
use crate::convert::signed;
use crate::roster::{Buddy, Presence};
use crate::session::ChatState;
use rosterkit::SessionId;

/// Events of one session, in order.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct EventBatch {
    /// Whose.
    pub session_id: i64,
    /// What. Acknowledged by the last one's number.
    pub events: Vec<Event>,
}

/// An event and its number in its session.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Event {
    /// Rises with each event handed out. One that comes again has a new one.
    pub seq: i64,
    /// What happened.
    pub body: EventBody,
}

/// What happened. Kinds that are added come as `Other`: nothing that was compiled before breaks by them.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum EventBody {
    /// A message to the account, or a copy of one that another session of it sent. Comes until acknowledged.
    MessageReceived {
        /// The message.
        message: Message,
    },
    /// Somebody asks to be a buddy: confirm or decline. Comes until acknowledged.
    BuddyRequested {
        /// Its place, for display in order.
        position: i64,
        /// Who asks.
        sender: String,
        /// What they said with it.
        note: String,
        /// When, in Unix milliseconds.
        time_ms: i64,
    },
    /// What became of a message: the relay's last word, when it was answered with `Queued`, or that its time is up. Comes
    /// until acknowledged, once to each device; in the history it stands with the message.
    OutcomeTold {
        /// The message's place.
        position: i64,
        /// The message's id.
        message_id: String,
        /// Whom it was sent to.
        recipient: String,
        /// What became of it.
        outcome: FinalOutcome,
    },
    /// The author of a message changed it, or took it back. Comes until acknowledged, to whoever gets messages.
    MessageAmended {
        /// The place of this change in the log.
        position: i64,
        /// The message's place.
        message_position: i64,
        /// The message's id.
        message_id: String,
        /// Whose message it is.
        sender: String,
        /// Whom it was sent to.
        recipient: String,
        /// When, in Unix milliseconds.
        time_ms: i64,
        /// Whether another session of the account's own did it.
        is_copy: bool,
        /// What was done.
        change: MessageChange,
    },
    /// What the account sent to this peer was taken by a client of theirs, all of it up to there.
    MessagesDelivered {
        /// Who has it.
        peer: String,
        /// The latest.
        upto: i64,
    },
    /// What the account sent to this peer was read by a person, all of it up to there.
    MessagesDisplayed {
        /// Who has read it.
        peer: String,
        /// The latest.
        upto: i64,
    },
    /// What this peer sent was read in another session of the account's, all of it up to there.
    MessagesRead {
        /// Who sent it.
        peer: String,
        /// The latest.
        upto: i64,
    },
    /// A buddy's presence, or the account's own as others see it.
    PresenceChanged {
        /// Whose.
        subject: String,
        /// What it is now.
        presence: Presence,
    },
    /// Every buddy's presence has been told since this session came online; from here on come changes.
    SnapshotEnded,
    /// The roster changed: the buddy as it is now. One that is gone is `Unrelated` and not listed.
    RosterChanged {
        /// Who.
        buddy: Buddy,
    },
    /// Somebody is typing, or stopped. Ends by itself after 30 s.
    TypingChanged {
        /// Who.
        sender: String,
        /// What they do.
        state: ChatState,
    },
    /// A message failed three times in this session's hands. It is kept in the log, and delivery has moved on.
    MessageParked {
        /// Which.
        message_id: String,
    },
    /// So many messages are in quarantine now.
    QuarantineChanged {
        /// How many.
        messages: i64,
    },
    /// For an observer: a conversation of the account's is another.
    ConversationChanged {
        /// As it is now.
        conversation: Conversation,
    },
    /// Whom the account blocks is another: read it again.
    BlockListChanged,
    /// What is in force for the account is another: read it again.
    PreferencesChanged,
    /// The account's owner made its history forget what there was up to there; what a client keeps of it should go too.
    HistoryForgotten {
        /// With whom; none with everybody.
        peer: Option<String>,
        /// The position of the latest.
        upto: i64,
    },
    /// Another session asks this one; `answer_query` answers, within 30 s.
    QueryAsked {
        /// What the answer names.
        query: i64,
        /// Who asks, with its instance.
        sender: String,
        /// What.
        body: MessageBody,
    },
    /// What became of a query of this session's.
    QueryAnswered {
        /// Which.
        query: i64,
        /// The answer. None when nobody is there for who asks, or did not answer in time.
        body: Option<MessageBody>,
    },
    /// Something was left out: read roster and presence again. Messages are not affected.
    ResyncNeeded,
    /// The session has ended; nothing follows.
    SessionEnded {
        /// Why.
        reason: EndReason,
    },
    /// Something that this interface has no case for.
    Other {
        /// What sort of event.
        kind: String,
        /// What it carries.
        json: String,
    },
}

/// A message as a session sees it.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Message {
    /// Its place in the log: opaque, rising.
    pub position: i64,
    /// Its id, the same each time it comes and in every place it is shown.
    pub id: String,
    /// Who sent it; with an instance when the sending session had one.
    pub sender: String,
    /// Whom it was sent to.
    pub recipient: String,
    /// When it was accepted, in Unix milliseconds. An offline message has its original time.
    pub time_ms: i64,
    /// Whether this is the account's own message, sent from another of its sessions or devices.
    pub is_copy: bool,
    /// What it says.
    pub body: MessageBody,
    /// An opaque payload of the host's or a gateway's. Empty when there is none.
    pub extensions: Vec<u8>,
    /// What became of it, when it was given to a relay or could expire. None until that is known, and for all others.
    pub outcome: Option<FinalOutcome>,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// When its author last changed it; the body is what it says since.
    pub amended: Option<Amended>,
    /// When it is of no use any more to who has not taken it, in Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// In the history, of one's own message: what is known of its recipient. None as long as nothing is.
    pub receipt: Option<ReceiptState>,
}

/// What became of a message after it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum FinalOutcome {
    /// The other system has taken it.
    Relayed,
    /// It never will.
    Failed {
        /// For the sender to read.
        reason: String,
    },
    /// Nobody is known to have taken it in time.
    Expired,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum MessageBody {
    /// Text in any language; line breaks are kept.
    Text {
        /// The text.
        text: String,
    },
    /// Data with its media type.
    Data {
        /// For instance `image/png`.
        media_type: String,
        /// The data.
        bytes: Vec<u8>,
    },
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum EndReason {
    /// The host ended it.
    Requested,
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
    /// One that this interface has no case for.
    Other {
        /// Its name.
        name: String,
    },
}

impl EventBatch {
    pub(crate) fn new(session: SessionId, events: &[rosterkit::Event]) -> Self {
        EventBatch { session_id: signed(session.0), events: events.iter().map(Event::from).collect() }
    }
}

impl From<&rosterkit::Event> for Event {
    fn from(event: &rosterkit::Event) -> Self {
        Event { seq: signed(event.seq), body: EventBody::from(&event.body) }
    }
}

impl From<&rosterkit::EventBody> for EventBody {
    fn from(body: &rosterkit::EventBody) -> Self {
        use rosterkit::EventBody as Body;
        match body {
            Body::Message(message) => EventBody::MessageReceived { message: (&**message).into() },
            Body::BuddyRequest { position, sender, note, time } => EventBody::BuddyRequested {
                position: signed(position.0),
                sender: sender.to_string(),
                note: note.to_string(),
                time_ms: time.0,
            },
            Body::Outcome { position, message_id, recipient, outcome } => EventBody::OutcomeTold {
                position: signed(position.0),
                message_id: message_id.to_string(),
                recipient: recipient.to_string(),
                outcome: outcome.into(),
            },
            Body::Amended(amended) => EventBody::MessageAmended {
                position: signed(amended.position.0),
                message_position: signed(amended.message_position.0),
                message_id: amended.message_id.to_string(),
                sender: amended.sender.to_string(),
                recipient: amended.recipient.to_string(),
                time_ms: amended.time.0,
                is_copy: amended.copy,
                change: (&amended.amendment).into(),
            },
            Body::Delivered { peer, upto } => {
                EventBody::MessagesDelivered { peer: peer.to_string(), upto: signed(upto.0) }
            }
            Body::Displayed { peer, upto } => {
                EventBody::MessagesDisplayed { peer: peer.to_string(), upto: signed(upto.0) }
            }
            Body::Read { peer, upto } => {
                EventBody::MessagesRead { peer: peer.to_string(), upto: signed(upto.0) }
            }
            Body::Presence { subject, presence } => {
                EventBody::PresenceChanged { subject: subject.to_string(), presence: presence.into() }
            }
            Body::SnapshotEnd => EventBody::SnapshotEnded,
            Body::RosterChanged { buddy, .. } => EventBody::RosterChanged { buddy: (&**buddy).into() },
            Body::Typing { sender, state } => {
                EventBody::TypingChanged { sender: sender.to_string(), state: (*state).into() }
            }
            Body::Parked { message_id } => EventBody::MessageParked { message_id: message_id.to_string() },
            Body::QuarantineChanged { messages } => {
                EventBody::QuarantineChanged { messages: signed(*messages as u64) }
            }
            Body::ConversationChanged(conversation) => {
                EventBody::ConversationChanged { conversation: (&**conversation).into() }
            }
            Body::BlockListChanged => EventBody::BlockListChanged,
            Body::PreferencesChanged => EventBody::PreferencesChanged,
            Body::HistoryForgotten { peer, upto } => EventBody::HistoryForgotten {
                peer: peer.as_ref().map(ToString::to_string),
                upto: signed(upto.0),
            },
            Body::Query { query, sender, body } => {
                EventBody::QueryAsked { query: signed(*query), sender: sender.to_string(), body: body.into() }
            }
            Body::QueryAnswered { query, body } => {
                EventBody::QueryAnswered { query: signed(*query), body: body.as_ref().map(MessageBody::from) }
            }
            Body::Resync => EventBody::ResyncNeeded,
            Body::Ended(reason) => EventBody::SessionEnded { reason: (*reason).into() },
            // A kind is given its name and its JSON here when the engine gets it.
            _ => EventBody::Other { kind: "unknown".into(), json: "{}".into() },
        }
    }
}

impl From<&rosterkit::Message> for Message {
    fn from(message: &rosterkit::Message) -> Self {
        Message {
            position: signed(message.position.0),
            id: message.id.to_string(),
            sender: message.sender.to_string(),
            recipient: message.recipient.to_string(),
            time_ms: message.time.0,
            is_copy: message.copy,
            body: (&message.content.body).into(),
            extensions: message.content.extensions.to_vec(),
            outcome: message.outcome.as_ref().map(FinalOutcome::from),
            reply_to: message.content.reply_to.map(|id| id.to_string()),
            amended: message.amended.map(Amended::from),
            expires_ms: message.expires.map(|time| time.0),
            receipt: message.receipt.map(ReceiptState::from),
        }
    }
}

impl From<&rosterkit::Body> for MessageBody {
    fn from(body: &rosterkit::Body) -> Self {
        match body {
            rosterkit::Body::Text(text) => MessageBody::Text { text: text.to_string() },
            rosterkit::Body::Data { media_type, bytes } => {
                MessageBody::Data { media_type: media_type.to_string(), bytes: bytes.to_vec() }
            }
        }
    }
}

impl From<MessageBody> for rosterkit::Body {
    fn from(body: MessageBody) -> Self {
        match body {
            MessageBody::Text { text } => rosterkit::Body::Text(text.into()),
            MessageBody::Data { media_type, bytes } => {
                rosterkit::Body::Data { media_type: media_type.into(), bytes: bytes.into() }
            }
        }
    }
}

impl From<&rosterkit::Outcome> for FinalOutcome {
    fn from(outcome: &rosterkit::Outcome) -> Self {
        match outcome {
            rosterkit::Outcome::Relayed => FinalOutcome::Relayed,
            rosterkit::Outcome::Failed { reason } => FinalOutcome::Failed { reason: reason.to_string() },
            rosterkit::Outcome::Expired => FinalOutcome::Expired,
        }
    }
}

impl From<rosterkit::EndReason> for EndReason {
    fn from(reason: rosterkit::EndReason) -> Self {
        use rosterkit::EndReason as Reason;
        match reason {
            Reason::Closed => EndReason::Requested,
            Reason::Shutdown => EndReason::Shutdown,
            Reason::LeaseExpired => EndReason::LeaseExpired,
            Reason::Replaced => EndReason::Replaced,
            Reason::AccountDeleted => EndReason::AccountDeleted,
            Reason::ListenerFailed => EndReason::ListenerFailed,
            Reason::StorageFailed => EndReason::StorageFailed,
            other => EndReason::Other { name: format!("{other:?}") },
        }
    }
}
