//! What a host can ask, as values: `submit` takes them in batches, the plain calls make one each.

use crate::error::{Error, Result};
use crate::event::Message;
use crate::session::Session;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::{Body, ChatState, Content};
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{ClientId, DeviceName, MessageId, Position, SessionId};
use rosterkit_core::invitation::InvitationToken;
use rosterkit_core::preferences::{Overrides, Preferences};
use rosterkit_core::presence::{Activity, LastSeen, Presence, PresenceLayer, State, Visibility};
use rosterkit_core::registration::Registration;
use rosterkit_core::roster::{Buddy, Op};
use rosterkit_core::row::{Amendment, Word};
use rosterkit_core::time::Timestamp;

/// Something to do for an account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Makes an account. Answer: `Done`.
    CreateAccount,
    /// Deletes the account: its buddies are told, its sessions end, its rows are swept. Answer: `Done`.
    DeleteAccount,
    /// Opens a session. Answer: `Session`.
    OpenSession(SessionOptions),
    /// Sends a message. Answer: `Receipt`.
    Send(Send),
    /// Amends a message that the account sent. Answer: `Receipt`.
    Amend(Amend),
    /// The account's people have read what a peer sent, up to there. Answer: `Done`, when it is on disk.
    MarkRead {
        /// Who sent it.
        peer: Address,
        /// The latest that was read.
        upto: Position,
    },
    /// Tells a chat state to an address. Ephemeral: never stored. Answer: `Done`.
    Typing {
        /// Whom to tell.
        recipient: Address,
        /// What to tell.
        state: ChatState,
    },
    /// Sets the presence of the session it is given with. Answer: `Done`.
    SetPresence(SetPresence),
    /// What a person or a program set for the session counts no more: what the other set does; when there is nothing, the
    /// session is offline. Answer: `Done`.
    ClearPresence(PresenceLayer),
    /// Takes the session's presence away: it is offline for others, and gets no presence. Answer: `Done`.
    GoOffline,
    /// What the person does with the app; traffic never says so. Answer: `Done`.
    SetActivity(Activity),
    /// Changes the roster. Answer: `Done`, when it is on disk; the other side follows.
    Roster(RosterEdit),
    /// Reads the roster, or what changed in it. Answer: `Roster`.
    ReadRoster {
        /// Only changes above this version; removals come as buddies that are not listed.
        since: Position,
    },
    /// Reads the presence of one buddy, or the account's own. Answer: `Presence`.
    ReadPresence(Address),
    /// Shows the session's presence to an address of its own, whoever sees it otherwise, until the session is offline or takes
    /// it back (RFC 6121, section 4.6): this state and note, or nothing any more. Who is there and takes messages of the
    /// account is told; nobody else. At most 256 a session. Answer: `Done`.
    DirectPresence {
        /// To whom.
        recipient: Address,
        /// A state, with note and extensions; `None` takes it back. With a priority, an end time, a layer of its own or
        /// `invisible` it is `InvalidArgument`.
        presence: Option<SetPresence>,
    },
    /// Sets how much somebody sees of the account's presence who is subscribed to it. Answer: `Done`.
    SetVisibility {
        /// Who.
        viewer: Address,
        /// How much.
        visibility: Visibility,
    },
    /// When a buddy was last there, as precisely as they say to who sees all of their presence (compare XEP-0012). Answer:
    /// `LastSeen`.
    ReadLastSeen(Address),
    /// Asks another session. Its answer comes as [`QueryAnswered`](crate::EventBody::QueryAnswered): within 30 s, or at once and
    /// empty when nobody is there for who asks. For a session. Answer: `Query`, with the number that it comes under.
    Query {
        /// Which session: `user@domain/instance`.
        recipient: Address,
        /// What, at most as long as a message.
        body: Body,
    },
    /// Answers a query that came to the session. Answer: `Done`, or `NotFound` when nobody waits for it any more.
    AnswerQuery {
        /// Which.
        query: u64,
        /// The answer; `None` says that there is none.
        body: Option<Body>,
    },
    /// Reads a page of history. Answer: `History`.
    ReadHistory(HistoryRequest),
    /// Forgets what the account has with a peer, or everything: messages that wait too, but not what waits in quarantine. The
    /// other side keeps its own. Answer: `Done`, when it is on disk.
    Forget {
        /// With whom; `None` forgets everything.
        peer: Option<Address>,
    },
    /// Looks through the account's history for a text. Answer: `Found`.
    SearchHistory(SearchRequest),
    /// Reads a page of the account's conversations, the latest first. Answer: `Conversations`.
    ReadConversations(ConversationsRequest),
    /// Blocks an address or a whole domain, or lifts the block. Answer: `Done`.
    Block {
        /// Whom.
        address: Address,
        /// Whether to block or to lift.
        blocked: bool,
    },
    /// Reads who is blocked. Answer: `Blocked`.
    ReadBlocked,
    /// Replaces what the account set for itself. Answer: `Done`.
    SetPreferences(Overrides),
    /// Reads what is in force for the account. Answer: `Preferences`.
    ReadPreferences,
    /// Replaces the account's rules by those of this JSON document (`docs/rules.md`). What would loop, or names an account that
    /// is not there, is `InvalidArgument` and says where it stands. Answer: `Done`.
    SetRules(String),
    /// Reads the account's own rules. Answer: `Rules`.
    ReadRules,
    /// What the rules in force for the account would do with a text from this sender now, and why. Answer: `Explanation`, a
    /// JSON list with an object for each stage.
    ExplainRules {
        /// Who would send it.
        sender: Address,
        /// What it would say.
        text: String,
    },
    /// Why a viewer sees of the account what they see. Answer: `Explanation`, a JSON object.
    ExplainPresence {
        /// Who looks.
        viewer: Address,
    },
    /// Whether the account would take a message of this sender now, and why. Answer: `Explanation`, a JSON object.
    ExplainAdmission {
        /// Who would send it.
        sender: Address,
    },
    /// What became of a message that the account sent or was sent: its place in the log says which. Of one that it sent it
    /// is told what a sender may learn. Answer: `Explanation`, a JSON object.
    ExplainDelivery(Position),
    /// Registers a contact that is no session, until it expires; under a name that there is it replaces that one. Answer:
    /// `Done`.
    AddRegistration(Registration),
    /// Takes a registration away. Answer: `Done`.
    RemoveRegistration(DeviceName),
    /// Reads the account's registrations that have not expired. Answer: `Registrations`.
    ReadRegistrations,
    /// The host has delivered these messages to a contact: they are claimed. Answer: `Done`.
    Claim(Vec<Position>),
    /// Lists the account's files whose paths begin so. Answer: `Files`.
    ListFiles {
        /// Empty lists all of them.
        prefix: String,
    },
    /// Reads a file: one of the account's, or of another account what is under `public/`, or its `profile.vcf` when its
    /// presence may be seen. Answer: `File`.
    ReadFile {
        /// Whose, when it is another's.
        owner: Option<Address>,
        /// Which.
        path: String,
    },
    /// Writes a file of the account's, in place of what was there. `profile.vcf` must be a vCard, and its image is the
    /// account's avatar. Answer: `Done`, when it is on disk.
    WriteFile {
        /// Which.
        path: String,
        /// What is in it; at most 4 MiB.
        bytes: Vec<u8>,
    },
    /// Removes a file of the account's. Answer: `Done`.
    RemoveFile {
        /// Which.
        path: String,
    },
    /// Reads a page of the messages in quarantine, oldest first. Answer: `History`.
    ReadQuarantined {
        /// Behind this one.
        after: Position,
        /// How many, at most 1,000.
        limit: usize,
    },
    /// Admits a sender out of quarantine: what waits from them is delivered, in order, and what they send from now on is
    /// not held. Answer: `Done`.
    AdmitSender(Address),
    /// Refuses a sender: what waits from them is gone, and they are strangers again. They are not told. Answer: `Done`.
    RefuseSender {
        /// Whom.
        sender: Address,
        /// Whether to block them too.
        block: bool,
    },
    /// Lets one person in ahead: whoever redeems the token becomes a buddy, confirmed on both sides, without the account being
    /// asked. Answer: `Invitation`, when it is on disk.
    Invite {
        /// The token. It is a secret between the account and whom it is given to.
        token: InvitationToken,
        /// Until when; at most a year from now.
        expires: Timestamp,
    },
    /// Takes an invitation back, or all of them. Answer: `Done`.
    RevokeInvitations(Option<InvitationToken>),
    /// Retires a named device: its cursor is forgotten. Answer: `Done`.
    RetireDevice(DeviceName),
    /// Reads the account's named devices. Answer: `Devices`.
    ReadDevices,
}

impl Command {
    /// An invitation with a token of the operating system's randomness.
    pub fn invite(expires: Timestamp) -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|_| Error::internal("the operating system gave no randomness"))?;
        Ok(Command::Invite { token: InvitationToken::from_random(bytes), expires })
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// Whom to: an account, or one of its sessions by instance.
    pub recipient: Address,
    /// What.
    pub content: Content,
    /// What the client calls this send: a repeat with the same id gets the first one's answer and makes nothing new.
    pub client_id: Option<ClientId>,
    /// When it is of no use any more: who has not taken it by then does not get it, and the sender is told
    /// [`Expired`](rosterkit_core::row::Outcome::Expired) unless it is known to have been taken.
    pub expires: Option<Timestamp>,
}

impl Send {
    /// A text, plain.
    pub fn text(recipient: &Address, text: &str) -> Self {
        Send { recipient: recipient.clone(), content: Content::text(text), client_id: None, expires: None }
    }
}

/// A change of a message that the account itself sent, one of the latest 1,000 of its history with that peer.
///
/// It travels as a message does: it is durable, in order, and comes to every session and device of both accounts. In both
/// histories the message stands as it is then.
#[derive(Clone, Debug)]
pub struct Amend {
    /// Whom the message was sent to.
    pub recipient: Address,
    /// The message's id.
    pub message_id: MessageId,
    /// What to do to it. What was retracted stays so: amending it again is `Conflict`.
    pub amendment: Amendment,
    /// As with [`Send::client_id`].
    pub client_id: Option<ClientId>,
}

/// Presence to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPresence {
    /// The state. `Offline` is [`Command::GoOffline`], and `Unknown` is refused.
    pub state: State,
    /// A note, at most 1,024 bytes.
    pub note: Option<String>,
    /// The session's priority (RFC 6121, section 4.7.2.3). A negative one takes no messages.
    pub priority: i8,
    /// When it ends by itself and the session is plainly online again.
    pub until: Option<Timestamp>,
    /// Receive presence and messages, and contribute nothing.
    pub invisible: bool,
    /// Who sets it.
    pub layer: PresenceLayer,
    /// What only clients understand, at most 4 KiB: watchers who see everything get it as it is.
    pub extensions: Vec<u8>,
}

impl SetPresence {
    /// A state, plain.
    pub fn state(state: State) -> Self {
        SetPresence {
            state,
            note: None,
            priority: 0,
            until: None,
            invisible: false,
            layer: PresenceLayer::Manual,
            extensions: Vec::new(),
        }
    }
}

/// A change of the roster.
#[derive(Clone, Debug)]
pub struct RosterEdit {
    /// Who it is about.
    pub peer: Address,
    /// What to do.
    pub op: Op,
    /// The display name; `None` leaves it.
    pub name: Option<String>,
    /// The groups; `None` leaves them.
    pub groups: Option<Vec<String>>,
    /// What to say with a request.
    pub note: String,
    /// The invitation of theirs to redeem with [`Op::Add`] or [`Op::Subscribe`]: both are confirmed then, whatever fails on the
    /// way. One that is used up, has expired or never was makes it an ordinary request.
    pub token: Option<InvitationToken>,
}

impl RosterEdit {
    /// One that says nothing else.
    pub fn new(peer: &Address, op: Op) -> Self {
        RosterEdit { peer: peer.clone(), op, name: None, groups: None, note: String::new(), token: None }
    }
}

/// How a session is opened.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The name of the durable device it speaks for; none is an anonymous session.
    pub device: Option<DeviceName>,
    /// The instance part of its full address; the engine makes one up when there is none.
    pub instance: Option<String>,
    /// For hosts that stand for remote clients: the session ends when it is not renewed for so long. The engine holds
    /// it to 90 s in foreground and 15 min in background.
    pub lease_ms: Option<u64>,
    /// Whether it is to get messages.
    pub reads_messages: bool,
    /// Whether it is an observer of the account's state: it gets the roster, the presence of all buddies and the latest 1,000
    /// conversations as a snapshot, then [`SnapshotEnd`](crate::EventBody::SnapshotEnd), then what of it is another, of each only
    /// the newest; without being online, or counting as somebody who is there. The `seq` of an event is the version of what it
    /// has told up to there. An account has any number of them. After a disk that failed the snapshot comes again by itself.
    pub observes: bool,
    /// Who reads its queue.
    pub consumer: Consumer,
}

/// Who reads a session's queue. One consumer at a time.
#[derive(Clone, Default)]
pub enum Consumer {
    /// The holder of the session, by [`Session::next_events`] or [`Session::run`](crate::Session::run).
    #[default]
    Pull,
    /// The engine calls this.
    Listener(std::sync::Arc<dyn Listener>),
    /// Whoever calls [`Engine::next_batches`](crate::Engine::next_batches).
    Engine,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Consumer::Pull => "Pull",
            Consumer::Listener(_) => "Listener",
            Consumer::Engine => "Engine",
        })
    }
}

/// What the engine calls with a session's events, on a thread of its own, one batch at a time.
///
/// Returning `Ok` acknowledges the batch. An error (or a panic) does not: the events come again one by one, and a
/// message that fails three times is parked.
pub trait Listener: std::marker::Send + Sync {
    /// Takes a batch.
    fn on_events(
        &self,
        session: SessionId,
        events: &[crate::event::Event],
    ) -> std::result::Result<(), ListenerError>;
}

/// A listener could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerError(
    /// What it says went wrong.
    pub String,
);

/// Which page of history.
#[derive(Clone, Debug)]
pub struct HistoryRequest {
    /// Only with this peer.
    pub peer: Option<Address>,
    /// Where it begins.
    pub anchor: rosterkit_store::Anchor,
    /// Which way it goes.
    pub direction: rosterkit_store::Direction,
    /// How many messages, at most 1,000.
    pub limit: usize,
}

/// What to look for in the account's history.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// What a message is to contain, upper and lower case alike; at most 1,024 bytes, and not empty.
    pub text: String,
    /// Only with this peer.
    pub peer: Option<Address>,
    /// Older than this one: [`Found::searched`] of the page before. `None` begins with the newest.
    pub before: Option<Position>,
    /// How many messages, at most 1,000.
    pub limit: usize,
}

/// Which page of the account's conversations.
#[derive(Clone, Copy, Debug)]
pub struct ConversationsRequest {
    /// Behind this one: [`Conversation::position`] of the last one of the page before.
    pub before: Option<Position>,
    /// How many, at most 1,000.
    pub limit: usize,
}

/// What a command is answered with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// It is done, and on disk when it is durable.
    Done,
    /// The session.
    Session(Session),
    /// What became of a send.
    Receipt(Receipt),
    /// Buddies, in the order of their addresses, and the version they are of.
    Roster(Roster),
    /// A presence.
    Presence(Presence),
    /// A query, by the number that its answer comes under.
    Query(u64),
    /// When somebody was last there; `None` when nothing is known of it, or to be known.
    LastSeen(Option<LastSeen>),
    /// A page of history.
    History(History),
    /// A page of conversations.
    Conversations(Conversations),
    /// What was found in the history.
    Found(Found),
    /// The invitation that was made.
    Invitation(InvitationToken),
    /// Blocked addresses and domains.
    Blocked(Vec<Address>),
    /// What is in force.
    Preferences(Preferences),
    /// Named devices.
    Devices(Vec<DeviceName>),
    /// Registrations.
    Registrations(Vec<Registration>),
    /// Files, in the order of their paths.
    Files(Vec<rosterkit_store::FileInfo>),
    /// What is in a file.
    File(Vec<u8>),
    /// Rules, as JSON.
    Rules(String),
    /// A chain of facts, as JSON.
    Explanation(String),
    /// What became of the items of a parcel that a relay brought.
    Received(Vec<crate::relay::Settlement>),
    /// Hosted domains.
    Domains(Vec<(Domain, Overrides)>),
}

/// A roster, or what changed in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    /// In the order of their addresses. When only changes were asked for, those that are gone are there, not listed.
    pub buddies: Vec<Buddy>,
    /// The version: give it back to get only what changes from here on.
    pub version: Position,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id it was given.
    pub id: MessageId,
    /// Its place in the log.
    pub position: Position,
    /// Delivered, stored or queued; all of them mean: on disk.
    pub outcome: Word,
    /// When it was accepted.
    pub time: Timestamp,
}

/// A page of history.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Whether there is nothing further in the direction asked for.
    pub complete: bool,
}

/// What was found in a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Everything was looked through down to this one: the next page begins there. `None` when there is nothing older.
    pub searched: Option<Position>,
}

/// A page of conversations.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversations {
    /// The latest first.
    pub conversations: Vec<Conversation>,
    /// Whether there are no more.
    pub complete: bool,
}

/// What went between the account and a peer, in short.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// Who.
    pub peer: Address,
    /// Its place among the others.
    pub position: Position,
    /// The latest message.
    pub latest: Message,
    /// How many messages of the peer's are above [`Marks::read`]; at most 1,000 are counted.
    pub unread: u32,
    /// How far both are.
    pub marks: Marks,
}

/// The number of a submitted command; its answer comes under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The answer to a submitted command.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Which command.
    pub ticket: Ticket,
    /// What became of it.
    pub result: Result<Answer>,
}

/// Whom a command is for: an account, and the session of it that speaks, when one does.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account.
    pub account: Address,
    /// The session.
    pub session: Option<SessionId>,
}
