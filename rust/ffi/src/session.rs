//! Sessions, and what goes through them.

use crate::boundary::{Boundary, Owned};
use crate::conversation::{ConversationsPage, SearchPage, amend, page, search};
use crate::convert::{address, count, number, position, refused, same_cases, signed, timeout};
use crate::error::RosterKitError;
use crate::event::{Event, Message, MessageBody};
use crate::files::FileInfo;
use crate::host::Registration;
use crate::listener::{HostListener, SessionListener};
use crate::options::{PreferenceOverrides, Preferences};
use crate::roster::{LastSeen, Presence, PresenceLayer, PresenceUpdate, Roster, Visibility};
use rosterkit::{
    Anchor, Body, ClientId, Command, Content, Direction, InvitationToken, MessageId, Op, RosterEdit, Send,
    Timestamp,
};
use std::sync::Arc;

type Result<T> = std::result::Result<T, RosterKitError>;

/// How a message is sent.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct SendOptions {
    /// A name of the client's own: repeating a send with the same one sends nothing twice.
    #[uniffi(default)]
    pub client_id: Option<String>,
    /// An opaque payload, stored and forwarded unread.
    #[uniffi(default)]
    pub extensions: Option<Vec<u8>>,
    /// The id of the message that this one answers.
    #[uniffi(default)]
    pub reply_to: Option<String>,
    /// When it is of no use any more, in Unix milliseconds: who has not taken it by then does not get it.
    #[uniffi(default)]
    pub expires_ms: Option<i64>,
}

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Receipt {
    /// The id it was given.
    pub message_id: String,
    /// Its place in the log.
    pub position: i64,
    /// All of them mean: on disk.
    pub outcome: SendOutcome,
    /// When it was accepted, in Unix milliseconds.
    pub time_ms: i64,
}

/// The word with which a send is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SendOutcome {
    /// On disk, and forked to at least one live session.
    Delivered,
    /// On disk; nobody is there, or the sender may not know.
    Stored,
    /// On disk; a relay carries it and the final outcome follows.
    Queued,
}

same_cases!(SendOutcome = rosterkit::Word { Delivered = Delivered, Stored = Stored, Queued = Queued });

/// What somebody does in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ChatState {
    /// Typing.
    Composing,
    /// Stopped typing for now.
    Paused,
    /// In the conversation, not typing.
    Active,
    /// Away from the conversation.
    Inactive,
    /// Has left the conversation.
    Gone,
}

same_cases!(ChatState = rosterkit::ChatState {
    Composing = Composing,
    Paused = Paused,
    Active = Active,
    Inactive = Inactive,
    Gone = Gone,
});

/// What the person does with the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Activity {
    /// Looked at.
    Foreground,
    /// Running, not looked at.
    Background,
    /// Not running.
    Suspended,
}

same_cases!(Activity = rosterkit::Activity {
    Foreground = Foreground,
    Background = Background,
    Suspended = Suspended,
});

/// Which page of history. Without a place to begin it is the newest page, or the oldest when going forward.
#[derive(Clone, Debug, uniffi::Record)]
pub struct HistoryRequest {
    /// Only with this peer.
    #[uniffi(default)]
    pub peer: Option<String>,
    /// Begin next to this message, which is not part of the page.
    #[uniffi(default)]
    pub beside_position: Option<i64>,
    /// Begin at this time, in Unix milliseconds.
    #[uniffi(default)]
    pub at_time_ms: Option<i64>,
    /// Go forward in time, not back.
    #[uniffi(default = false)]
    pub newer: bool,
    /// How many messages, at most 1,000.
    #[uniffi(default = 50)]
    pub limit: i32,
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct HistoryPage {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Whether there is nothing further in the direction asked for.
    pub complete: bool,
}

/// One connected client of an account. It ends by `shutdown`, when the last handle is dropped, or as a `SessionEnded`
/// event says. Every call may be made from any thread, also from inside a listener.
#[derive(uniffi::Object)]
pub struct Session {
    session: Owned<rosterkit::Session>,
}

impl Session {
    pub(crate) fn new(session: rosterkit::Session, boundary: &Arc<Boundary>) -> Arc<Self> {
        Arc::new(Session { session: Owned::new(session, boundary) })
    }

    fn call<T>(&self, work: impl FnOnce(&rosterkit::Session) -> Result<T>) -> Result<T> {
        self.session.call(work)
    }

    fn ask(&self, command: Command) -> Result<rosterkit::Answer> {
        self.call(|session| Ok(session.call(command)?))
    }

    fn explain(&self, command: Command) -> Result<String> {
        match self.ask(command)? {
            rosterkit::Answer::Explanation(json) => Ok(json),
            _ => Err(unexpected()),
        }
    }
}

#[uniffi::export]
impl Session {
    /// Its number in this run of the engine.
    pub fn session_id(&self) -> Result<i64> {
        self.call(|session| Ok(signed(session.id().0)))
    }

    /// Its full address.
    pub fn address(&self) -> Result<String> {
        self.call(|session| Ok(session.address().to_string()))
    }

    // ---- messages -------------------------------------------------------------------------------------------

    /// Sends a text. Returns when it is on disk; a refusal is thrown.
    #[uniffi::method(default(options))]
    pub fn send(&self, recipient: String, text: String, options: SendOptions) -> Result<Receipt> {
        self.call(|session| {
            let body = Body::Text(text.into());
            Ok(session.send_message(message(&recipient, body, options)?)?.into())
        })
    }

    /// Sends data. Returns when it is on disk; a refusal is thrown. In Kotlin the bytes are a direct `ByteBuffer`.
    #[uniffi::method(default(options))]
    pub fn send_data(
        &self,
        recipient: String,
        media_type: String,
        bytes: &[u8],
        options: SendOptions,
    ) -> Result<Receipt> {
        self.call(|session| {
            let body = Body::Data { media_type: media_type.into(), bytes: bytes.into() };
            Ok(session.send_message(message(&recipient, body, options)?)?.into())
        })
    }

    /// Changes what a message says that the account sent to this peer, one of the latest 1,000 between them. It comes to
    /// everybody who has the message. Returns when it is on disk.
    #[uniffi::method(default(client_id = None))]
    pub fn edit_message(
        &self,
        recipient: String,
        message_id: String,
        text: String,
        client_id: Option<String>,
    ) -> Result<Receipt> {
        self.call(|session| Ok(session.amend(amend(&recipient, &message_id, Some(text), client_id)?)?.into()))
    }

    /// Takes back a message that the account sent to this peer: its content is gone everywhere. Returns when it is on disk.
    #[uniffi::method(default(client_id = None))]
    pub fn retract_message(
        &self,
        recipient: String,
        message_id: String,
        client_id: Option<String>,
    ) -> Result<Receipt> {
        self.call(|session| Ok(session.amend(amend(&recipient, &message_id, None, client_id)?)?.into()))
    }

    /// The account's people have read what this peer sent, up to that position. Returns when it is on disk; the peer learns
    /// it as the account's preferences say.
    pub fn mark_read(&self, peer: String, upto: i64) -> Result<()> {
        self.call(|session| Ok(session.mark_read(&address(&peer)?, position(upto)?)?))
    }

    /// A page of the account's conversations, the latest first: those behind this position.
    #[uniffi::method(default(before = None, limit = 50))]
    pub fn conversations(&self, before: Option<i64>, limit: i32) -> Result<ConversationsPage> {
        self.call(|session| Ok(session.conversations(page(before, limit)?)?.into()))
    }

    /// Tells somebody what the person does in the conversation. Goes to sessions that are there now and nowhere else.
    pub fn tell_typing(&self, recipient: String, state: ChatState) -> Result<()> {
        self.call(|session| Ok(session.typing(&address(&recipient)?, state.into())?))
    }

    /// Reads a page of history.
    pub fn history(&self, request: HistoryRequest) -> Result<HistoryPage> {
        self.call(|session| Ok(session.history(request.try_into()?)?.into()))
    }

    /// Looks through the history for a text, upper and lower case alike, the newest messages first: those before this position.
    /// A call looks at no more than 10,000; while the answer says how far that was, the next page begins there.
    #[uniffi::method(default(peer = None, before = None, limit = 50))]
    pub fn search_history(
        &self,
        text: String,
        peer: Option<String>,
        before: Option<i64>,
        limit: i32,
    ) -> Result<SearchPage> {
        self.call(|session| Ok(session.search_history(search(text, peer, before, limit)?)?.into()))
    }

    /// Forgets what the account has with a peer, or everything, messages that wait too. Returns when it is on disk; the other
    /// side keeps its own.
    #[uniffi::method(default(peer = None))]
    pub fn forget_history(&self, peer: Option<String>) -> Result<()> {
        let peer = peer.map(|peer| address(&peer)).transpose()?;
        self.call(|session| Ok(session.forget(peer.as_ref())?))
    }

    // ---- roster ---------------------------------------------------------------------------------------------

    /// Asks somebody to be a buddy, both ways; confirms who asked already. A name or groups left out stay as they are.
    #[uniffi::method(default(name = None, groups = None, note = None))]
    pub fn add_buddy(
        &self,
        peer: String,
        name: Option<String>,
        groups: Option<Vec<String>>,
        note: Option<String>,
    ) -> Result<()> {
        self.call(|session| {
            let note = note.unwrap_or_default();
            Ok(session.edit_roster(RosterEdit { note, ..edit(&peer, Op::Add, name, groups)? })?)
        })
    }

    /// Makes an invitation for one person, until then (Unix milliseconds, within a year): who redeems it becomes a buddy,
    /// confirmed on both sides, without this account being asked. The token is a secret; at most 64 are open at a time.
    pub fn invite(&self, expires_ms: i64) -> Result<String> {
        self.call(|session| Ok(session.invite(Timestamp(expires_ms))?.as_str().to_owned()))
    }

    /// Adds who gave this invitation. Both are confirmed, whatever fails on the way; when it is used up, has expired or never
    /// was, it is a request as any other.
    pub fn redeem_invitation(&self, peer: String, token: String) -> Result<()> {
        let token = InvitationToken::new(&token).map_err(refused)?;
        self.call(|session| Ok(session.redeem_invitation(&address(&peer)?, token)?))
    }

    /// Takes an invitation back, or all of them.
    #[uniffi::method(default(token = None))]
    pub fn revoke_invitations(&self, token: Option<String>) -> Result<()> {
        let token = invitation(token)?;
        self.call(|session| Ok(session.revoke_invitations(token)?))
    }

    /// Confirms who asked.
    pub fn confirm_buddy(&self, peer: String) -> Result<()> {
        self.call(|session| Ok(session.confirm_buddy(&address(&peer)?)?))
    }

    /// Declines who asked: both directions end.
    pub fn decline_buddy(&self, peer: String) -> Result<()> {
        self.call(|session| Ok(session.decline_buddy(&address(&peer)?)?))
    }

    /// Removes a buddy: both directions end.
    pub fn remove_buddy(&self, peer: String) -> Result<()> {
        self.call(|session| Ok(session.remove_buddy(&address(&peer)?)?))
    }

    /// Changes a buddy's name or groups; they are not told. What is left out stays.
    #[uniffi::method(default(name = None, groups = None))]
    pub fn update_buddy(
        &self,
        peer: String,
        name: Option<String>,
        groups: Option<Vec<String>>,
    ) -> Result<()> {
        self.call(|session| Ok(session.edit_roster(edit(&peer, Op::Update, name, groups)?)?))
    }

    /// The roster; or what changed in it since a version.
    #[uniffi::method(default(since = None))]
    pub fn roster(&self, since: Option<i64>) -> Result<Roster> {
        self.call(|session| Ok(session.roster_since(position(since.unwrap_or(0))?)?.into()))
    }

    /// Blocks an address or a domain, or lifts the block.
    #[uniffi::method(default(blocked = true))]
    pub fn block(&self, peer: String, blocked: bool) -> Result<()> {
        self.call(|session| Ok(session.block(&address(&peer)?, blocked)?))
    }

    /// Who is blocked: addresses and domains.
    pub fn blocked(&self) -> Result<Vec<String>> {
        match self.ask(Command::ReadBlocked)? {
            rosterkit::Answer::Blocked(all) => Ok(all.iter().map(ToString::to_string).collect()),
            _ => Err(unexpected()),
        }
    }

    /// A page of what waits in quarantine, oldest first: those behind this position. Nobody learns that it was read.
    #[uniffi::method(default(after = 0, limit = 50))]
    pub fn quarantined(&self, after: i64, limit: i32) -> Result<HistoryPage> {
        self.call(|session| Ok(session.quarantined(position(after)?, count("limit", limit)?)?.into()))
    }

    /// Takes a sender out of quarantine for good: what waits from them is delivered, in order, to every device.
    pub fn admit_sender(&self, sender: String) -> Result<()> {
        self.call(|session| Ok(session.admit_sender(&address(&sender)?)?))
    }

    /// Drops what waits from a sender. They are not told; what they send next waits again, unless they are blocked.
    #[uniffi::method(default(block = false))]
    pub fn refuse_sender(&self, sender: String, block: bool) -> Result<()> {
        self.call(|session| Ok(session.refuse_sender(&address(&sender)?, block)?))
    }

    // ---- presence -------------------------------------------------------------------------------------------

    /// Shows a presence. The first one brings a snapshot of the buddies' presence, then their changes.
    pub fn set_presence(&self, presence: PresenceUpdate) -> Result<()> {
        self.call(|session| Ok(session.set_presence(presence.try_into()?)?))
    }

    /// What a person, or a program, set does not count any more; when there is nothing left the session is offline.
    pub fn clear_presence(&self, layer: PresenceLayer) -> Result<()> {
        self.call(|session| Ok(session.clear_presence(layer.into())?))
    }

    /// Shows nothing and sees nothing any more; messages still come.
    pub fn go_offline(&self) -> Result<()> {
        self.call(|session| Ok(session.go_offline()?))
    }

    /// Shows this session's presence to an address of its own, whoever sees it otherwise, until the session is offline; or
    /// takes that back. At most 256 addresses a session. With a priority, an end time, a layer of its own or `invisible` it is
    /// `InvalidArgument`.
    pub fn direct_presence(&self, recipient: String, presence: Option<PresenceUpdate>) -> Result<()> {
        let presence = presence.map(TryInto::try_into).transpose()?;
        self.call(|session| Ok(session.direct_presence(&address(&recipient)?, presence)?))
    }

    /// Sets how much a buddy sees of the account's presence.
    pub fn set_visibility(&self, viewer: String, visibility: Visibility) -> Result<()> {
        self.call(|session| Ok(session.set_visibility(&address(&viewer)?, visibility.into())?))
    }

    /// When a buddy was last there, as precisely as they say. None when nothing is known of it, or to be known.
    pub fn last_seen(&self, buddy: String) -> Result<Option<LastSeen>> {
        self.call(|session| Ok(session.last_seen(&address(&buddy)?)?.map(LastSeen::from)))
    }

    /// Asks another session, `user@domain/instance`. Returns the number under which its answer comes as an event: within 30 s,
    /// or at once and empty when nobody is there for who asks.
    pub fn query(&self, recipient: String, body: MessageBody) -> Result<i64> {
        self.call(|session| Ok(signed(session.query(&address(&recipient)?, body.into())?)))
    }

    /// Answers a query that came to this session; without a body there is no answer.
    #[uniffi::method(default(body = None))]
    pub fn answer_query(&self, query: i64, body: Option<MessageBody>) -> Result<()> {
        let query = number("a query", query)?;
        self.call(|session| Ok(session.answer_query(query, body.map(Into::into))?))
    }

    /// What a buddy shows, or the account itself.
    pub fn presence(&self, buddy: String) -> Result<Presence> {
        self.call(|session| Ok((&session.presence_of(&address(&buddy)?)?).into()))
    }

    /// What the person does with the app.
    pub fn set_activity(&self, activity: Activity) -> Result<()> {
        self.call(|session| Ok(session.set_activity(activity.into())?))
    }

    /// A sign of life, for sessions with a lease.
    pub fn touch(&self) -> Result<()> {
        self.call(|session| {
            session.touch();
            Ok(())
        })
    }

    // ---- the account ----------------------------------------------------------------------------------------

    /// What is in force for the account.
    pub fn preferences(&self) -> Result<Preferences> {
        match self.ask(Command::ReadPreferences)? {
            rosterkit::Answer::Preferences(preferences) => Ok(preferences.into()),
            _ => Err(unexpected()),
        }
    }

    /// Replaces what the account set for itself.
    pub fn set_preferences(&self, overrides: PreferenceOverrides) -> Result<()> {
        self.call(|session| Ok(session.call(Command::SetPreferences(overrides.try_into()?)).map(|_| ())?))
    }

    /// The account's named devices.
    pub fn devices(&self) -> Result<Vec<String>> {
        match self.ask(Command::ReadDevices)? {
            rosterkit::Answer::Devices(all) => Ok(all.iter().map(|d| d.as_str().to_owned()).collect()),
            _ => Err(unexpected()),
        }
    }

    /// Forgets a named device.
    pub fn retire_device(&self, device: String) -> Result<()> {
        self.call(|session| {
            let device = crate::convert::device(&device)?;
            Ok(session.call(Command::RetireDevice(device)).map(|_| ())?)
        })
    }

    /// Replaces the account's rules by those of this JSON document. What would loop, or names an account that is not there, is
    /// `InvalidArgument` and says where it stands.
    pub fn set_rules(&self, json: String) -> Result<()> {
        self.ask(Command::SetRules(json)).map(|_| ())
    }

    /// The account's own rules, as JSON.
    pub fn rules(&self) -> Result<String> {
        match self.ask(Command::ReadRules)? {
            rosterkit::Answer::Rules(json) => Ok(json),
            _ => Err(unexpected()),
        }
    }

    /// What the rules in force for the account would do with a text from this sender now, and why: a JSON list with an
    /// object for each stage. Nothing is done.
    pub fn explain_rules(&self, sender: String, text: String) -> Result<String> {
        self.explain(Command::ExplainRules { sender: address(&sender)?, text })
    }

    /// Why a viewer sees of the account what they see, as a JSON object: whether they may, and what each session shows.
    pub fn explain_presence(&self, viewer: String) -> Result<String> {
        self.explain(Command::ExplainPresence { viewer: address(&viewer)? })
    }

    /// Whether the account would take a message of this sender now, as a JSON object: what was looked at, up to what decided.
    pub fn explain_admission(&self, sender: String) -> Result<String> {
        self.explain(Command::ExplainAdmission { sender: address(&sender)? })
    }

    /// What became of the message at this position, as a JSON object: the answer, and of one that came in what rules did with
    /// it, where it waits, and which devices have it. Of one's own it says what a sender may learn.
    pub fn explain_delivery(&self, position: i64) -> Result<String> {
        self.explain(Command::ExplainDelivery(crate::convert::position(position)?))
    }

    /// Registers a contact that is no session, until it expires; under a name that there is it replaces that one.
    pub fn add_registration(&self, registration: Registration) -> Result<()> {
        self.ask(Command::AddRegistration(registration.try_into()?)).map(|_| ())
    }

    /// Takes a registration away.
    pub fn remove_registration(&self, name: String) -> Result<()> {
        self.ask(Command::RemoveRegistration(crate::convert::device(&name)?)).map(|_| ())
    }

    /// The account's registrations that have not expired.
    pub fn registrations(&self) -> Result<Vec<Registration>> {
        match self.ask(Command::ReadRegistrations)? {
            rosterkit::Answer::Registrations(all) => Ok(all.into_iter().map(Registration::from).collect()),
            _ => Err(unexpected()),
        }
    }

    // ---- files ----------------------------------------------------------------------------------------------

    /// The account's files whose paths begin so, in order.
    #[uniffi::method(default(prefix = ""))]
    pub fn files(&self, prefix: String) -> Result<Vec<FileInfo>> {
        match self.ask(Command::ListFiles { prefix })? {
            rosterkit::Answer::Files(files) => Ok(files.into_iter().map(FileInfo::from).collect()),
            _ => Err(unexpected()),
        }
    }

    /// Reads a file: one of the account's, or of another account what is under `public/`, or its `profile.vcf` when its
    /// presence may be seen.
    #[uniffi::method(default(owner = None))]
    pub fn read_file(&self, path: String, owner: Option<String>) -> Result<Vec<u8>> {
        let owner = owner.map(|owner| crate::convert::account(&owner)).transpose()?;
        match self.ask(Command::ReadFile { owner, path })? {
            rosterkit::Answer::File(bytes) => Ok(bytes),
            _ => Err(unexpected()),
        }
    }

    /// Writes a file of the account's, at most 4 MiB, in place of what was there. `profile.vcf` must be a vCard, and its
    /// image is the account's avatar. Returns when it is on disk. In Kotlin the bytes are a direct `ByteBuffer`.
    pub fn write_file(&self, path: String, bytes: &[u8]) -> Result<()> {
        self.ask(Command::WriteFile { path, bytes: bytes.to_vec() }).map(|_| ())
    }

    /// Removes a file of the account's.
    pub fn remove_file(&self, path: String) -> Result<()> {
        self.ask(Command::RemoveFile { path }).map(|_| ())
    }

    // ---- events ---------------------------------------------------------------------------------------------

    /// Takes up to `max` events, of them 512 messages and a MiB of content, waiting for the first; empty when none came or it
    /// was interrupted. Acknowledges nothing. One consumer at a time; after the last event of an ended session it is `Closed`.
    pub fn next_events(&self, max: i32, timeout_ms: i64) -> Result<Vec<Event>> {
        self.call(|session| {
            let events = session.next_events(count("max", max)?, timeout(timeout_ms)?)?;
            Ok(events.iter().map(Event::from).collect())
        })
    }

    /// Calls the listener with the session's events on this thread until the session has ended or it is interrupted; in
    /// virtual time, until there is nothing left to do. For a session that was opened without a listener.
    pub fn run(&self, listener: Arc<dyn SessionListener>) -> Result<()> {
        let listener = HostListener::new(listener, self.session.boundary());
        self.call(|session| Ok(session.run(&listener)?))
    }

    /// Ends the wait in `next_events`, which then returns nothing, or in `run`, after the call that it is in. When nobody
    /// waits, the next wait ends at once.
    pub fn interrupt(&self) -> Result<()> {
        self.session.call_even_if_failed(|session| {
            session.interrupt();
            Ok(())
        })
    }

    /// Acknowledges every event up to this number. Cumulative and idempotent.
    pub fn ack(&self, seq: i64) -> Result<()> {
        self.call(|session| {
            session.ack(number("an event's number", seq)?);
            Ok(())
        })
    }

    /// The consumer could not deal with what it was handed: it comes again one by one, and a message that fails three
    /// times is parked.
    pub fn fail(&self) -> Result<()> {
        self.call(|session| {
            session.fail();
            Ok(())
        })
    }

    /// The consumer has no use for what it was handed, for instance because it was stopped: it comes again, and unlike with
    /// `fail` nothing is held against it.
    pub fn hand_back(&self) -> Result<()> {
        self.call(|session| {
            session.hand_back();
            Ok(())
        })
    }

    /// Ends the session. Idempotent.
    pub fn shutdown(&self) -> Result<()> {
        self.session.call_even_if_failed(|session| {
            session.close();
            Ok(())
        })
    }
}

pub(crate) fn unexpected() -> RosterKitError {
    RosterKitError::internal("the answer is of another kind than the question")
}

/// A message to send.
pub(crate) fn message(recipient: &str, body: Body, options: SendOptions) -> Result<Send> {
    let client_id = options.client_id.map(|id| ClientId::new(&id)).transpose();
    Ok(Send {
        recipient: address(recipient)?,
        content: Content {
            body,
            extensions: options.extensions.unwrap_or_default().into(),
            reply_to: options.reply_to.map(|id| MessageId::parse(&id)).transpose().map_err(refused)?,
        },
        client_id: client_id.map_err(refused)?,
        expires: options.expires_ms.map(Timestamp),
    })
}

/// The token of an invitation.
pub(crate) fn invitation(token: Option<String>) -> Result<Option<InvitationToken>> {
    token.map(|token| InvitationToken::new(&token).map_err(refused)).transpose()
}

/// A change of the roster.
pub(crate) fn edit(
    peer: &str,
    op: Op,
    name: Option<String>,
    groups: Option<Vec<String>>,
) -> Result<RosterEdit> {
    Ok(RosterEdit { name, groups, ..RosterEdit::new(&address(peer)?, op) })
}

impl From<rosterkit::Receipt> for Receipt {
    fn from(receipt: rosterkit::Receipt) -> Self {
        Receipt {
            message_id: receipt.id.to_string(),
            position: signed(receipt.position.0),
            outcome: receipt.outcome.into(),
            time_ms: receipt.time.0,
        }
    }
}

impl TryFrom<HistoryRequest> for rosterkit::HistoryRequest {
    type Error = RosterKitError;

    fn try_from(request: HistoryRequest) -> Result<Self> {
        let anchor = match (request.beside_position, request.at_time_ms) {
            (None, None) => Anchor::End,
            (Some(at), None) => Anchor::Row(position(at)?),
            (None, Some(time)) => Anchor::Time(Timestamp(time)),
            (Some(_), Some(_)) => {
                return Err(RosterKitError::invalid("a page begins beside a message or at a time, not both"));
            }
        };
        Ok(rosterkit::HistoryRequest {
            peer: request.peer.map(|peer| address(&peer)).transpose()?,
            anchor,
            direction: if request.newer { Direction::Newer } else { Direction::Older },
            limit: count("limit", request.limit)?,
        })
    }
}

impl From<rosterkit::History> for HistoryPage {
    fn from(history: rosterkit::History) -> Self {
        HistoryPage {
            messages: history.messages.iter().map(Message::from).collect(),
            complete: history.complete,
        }
    }
}
