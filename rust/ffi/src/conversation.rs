//! Conversations, receipts, and what an author does to a message later.

use crate::convert::{address, count, position, refused, signed};
use crate::error::RosterKitError;
use crate::event::{Message, MessageBody};
use rosterkit::{Amend, Amendment, ClientId, Content, ConversationsRequest, MessageId, SearchRequest};

type Result<T> = std::result::Result<T, RosterKitError>;

/// What is known of the recipient of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ReceiptState {
    /// A client of theirs took it.
    Delivered,
    /// A person has read it.
    Displayed,
}

crate::convert::same_cases!(ReceiptState = rosterkit::ReceiptState {
    Delivered = Delivered,
    Displayed = Displayed,
});

/// What the author of a message did to it.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum MessageChange {
    /// It says something else from now on.
    Edited {
        /// What.
        body: MessageBody,
    },
    /// It says nothing any more.
    Retracted,
}

/// When the author of a message last changed it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Amended {
    /// In Unix milliseconds.
    pub time_ms: i64,
    /// Whether it was taken back: its content is gone then.
    pub is_retracted: bool,
}

/// How far an account and a peer are with what one sent to the other. Positions; 0 is before everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Marks {
    /// The account's people have read what the peer sent, up to here.
    pub read: i64,
    /// The peer's clients have taken what the account sent, up to here.
    pub delivered: i64,
    /// The peer's people have read what the account sent, up to here.
    pub displayed: i64,
}

/// What went between the account and a peer, in short.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Conversation {
    /// Who.
    pub peer: String,
    /// Its place among the others.
    pub position: i64,
    /// The latest message.
    pub latest: Message,
    /// How many messages of the peer's are unread; at most 1,000 are counted.
    pub unread: i32,
    /// How far both are.
    pub marks: Marks,
}

/// A page of conversations.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct ConversationsPage {
    /// The latest first.
    pub conversations: Vec<Conversation>,
    /// Whether there are no more.
    pub complete: bool,
}

/// What was found in a history.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SearchPage {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Everything was looked through down to here: the next page is asked for before it. None when there is nothing older.
    pub searched: Option<i64>,
}

impl From<rosterkit::Found> for SearchPage {
    fn from(found: rosterkit::Found) -> Self {
        SearchPage {
            messages: found.messages.iter().map(Message::from).collect(),
            searched: found.searched.map(|at| signed(at.0)),
        }
    }
}

/// What to look for.
pub(crate) fn search(
    text: String,
    peer: Option<String>,
    before: Option<i64>,
    limit: i32,
) -> Result<SearchRequest> {
    Ok(SearchRequest {
        text,
        peer: peer.map(|peer| address(&peer)).transpose()?,
        before: before.map(position).transpose()?,
        limit: count("limit", limit)?,
    })
}

/// A page of the conversations, behind the one at this position.
pub(crate) fn page(before: Option<i64>, limit: i32) -> Result<ConversationsRequest> {
    Ok(ConversationsRequest { before: before.map(position).transpose()?, limit: count("limit", limit)? })
}

/// An edit, or a retraction when there is no text.
pub(crate) fn amend(
    recipient: &str,
    message_id: &str,
    text: Option<String>,
    client_id: Option<String>,
) -> Result<Amend> {
    Ok(Amend {
        recipient: address(recipient)?,
        message_id: MessageId::parse(message_id).map_err(refused)?,
        amendment: match text {
            Some(text) => Amendment::Edit(Content::text(&text)),
            None => Amendment::Retract,
        },
        client_id: client_id.map(|id| ClientId::new(&id)).transpose().map_err(refused)?,
    })
}

impl From<&rosterkit::Amendment> for MessageChange {
    fn from(amendment: &rosterkit::Amendment) -> Self {
        match amendment {
            Amendment::Edit(content) => MessageChange::Edited { body: (&content.body).into() },
            Amendment::Retract => MessageChange::Retracted,
        }
    }
}

impl From<rosterkit::Amended> for Amended {
    fn from(amended: rosterkit::Amended) -> Self {
        match amended {
            rosterkit::Amended::Edited(time) => Amended { time_ms: time.0, is_retracted: false },
            rosterkit::Amended::Retracted(time) => Amended { time_ms: time.0, is_retracted: true },
        }
    }
}

impl From<rosterkit::Conversations> for ConversationsPage {
    fn from(page: rosterkit::Conversations) -> Self {
        let rosterkit::Conversations { conversations, complete } = page;
        ConversationsPage { conversations: conversations.iter().map(Conversation::from).collect(), complete }
    }
}

impl From<&rosterkit::Conversation> for Conversation {
    fn from(conversation: &rosterkit::Conversation) -> Self {
        let rosterkit::Marks { read, delivered, displayed } = conversation.marks;
        Conversation {
            peer: conversation.peer.to_string(),
            position: signed(conversation.position.0),
            latest: (&conversation.latest).into(),
            unread: conversation.unread.try_into().unwrap_or(i32::MAX),
            marks: Marks {
                read: signed(read.0),
                delivered: signed(delivered.0),
                displayed: signed(displayed.0),
            },
        }
    }
}
