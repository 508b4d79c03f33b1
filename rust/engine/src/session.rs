//! A session, as its holder has it.

use crate::command::{
    Amend, Answer, Command, Conversations, ConversationsRequest, Found, HistoryRequest, Listener, Receipt,
    Roster, RosterEdit, SearchRequest, Send, SetPresence,
};
use crate::dispatch::{BATCH, deliver, only_the_end_follows};
use crate::engine::Handle;
use crate::error::{Error, Result};
use crate::event::{EndReason, Event};
use crate::messages::ToShard;
use crate::options::Durability;
use crate::queue::SessionQueue;
use crate::readers::history_query;
use crate::shared::Shared;
use rosterkit_core::address::Address;
use rosterkit_core::content::{Body, ChatState};
use rosterkit_core::id::{AddressId, ClientId, Position, SessionId};
use rosterkit_core::invitation::InvitationToken;
use rosterkit_core::presence::{Activity, LastSeen, Presence, PresenceLayer, Visibility};
use rosterkit_core::roster::Op;
use rosterkit_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// One connected client of an account. Clones are the same session; it ends when [`close`](Session::close) is
/// called, when the last clone is dropped, or as an [`Ended`](crate::EventBody::Ended) event says.
///
/// Every call may be made from any thread, also from inside a listener.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<SessionQueue>,
    account: AddressId,
    address: Address,
    instance: Arc<str>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Arc<SessionQueue>,
        account: AddressId,
        address: Address,
        instance: Arc<str>,
    ) -> Self {
        Session { inner: Arc::new(Inner { shared, queue, account, address, instance }) }
    }

    /// Its number in this run of the engine.
    pub fn id(&self) -> SessionId {
        self.inner.queue.session
    }

    /// The account's address.
    pub fn account(&self) -> &Address {
        &self.inner.address
    }

    /// The session's full address.
    pub fn address(&self) -> Address {
        self.inner.address.with_prepared_instance(&self.inner.instance)
    }

    // ---- messages -------------------------------------------------------------------------------------------

    /// Sends a text. Returns when it is on disk.
    pub fn send(&self, recipient: &Address, text: &str) -> Result<Receipt> {
        self.send_message(Send::text(recipient, text))
    }

    /// Sends a text under a name of the client's own: repeating it with the same `client_id` sends nothing twice.
    pub fn send_once(&self, recipient: &Address, text: &str, client_id: ClientId) -> Result<Receipt> {
        self.send_message(Send { client_id: Some(client_id), ..Send::text(recipient, text) })
    }

    /// Sends a message.
    pub fn send_message(&self, send: Send) -> Result<Receipt> {
        match self.call(Command::Send(send))? {
            Answer::Receipt(receipt) => Ok(receipt),
            _ => Err(unexpected()),
        }
    }

    /// Changes a message that the account sent, or takes it back.
    pub fn amend(&self, amend: Amend) -> Result<Receipt> {
        match self.call(Command::Amend(amend))? {
            Answer::Receipt(receipt) => Ok(receipt),
            _ => Err(unexpected()),
        }
    }

    /// The account's people have read what this peer sent, up to there. Returns when that is on disk; marks only ever
    /// rise. The peer learns it as [`Receipts`](crate::Receipts) say.
    pub fn mark_read(&self, peer: &Address, upto: Position) -> Result<()> {
        self.done(Command::MarkRead { peer: peer.clone(), upto })
    }

    /// Reads a page of the messages of strangers that wait in quarantine, oldest first, behind this one.
    pub fn quarantined(&self, after: Position, limit: usize) -> Result<crate::command::History> {
        match self.call(Command::ReadQuarantined { after, limit })? {
            Answer::History(history) => Ok(history),
            _ => Err(unexpected()),
        }
    }

    /// Admits a sender out of quarantine; what waits from them is delivered.
    pub fn admit_sender(&self, sender: &Address) -> Result<()> {
        self.done(Command::AdmitSender(sender.clone()))
    }

    /// Refuses a sender: what waits from them is gone. They are not told.
    pub fn refuse_sender(&self, sender: &Address, block: bool) -> Result<()> {
        self.done(Command::RefuseSender { sender: sender.clone(), block })
    }

    /// Tells somebody that the person is typing, or has stopped. Goes to sessions that are there now and nowhere else.
    pub fn typing(&self, recipient: &Address, state: ChatState) -> Result<()> {
        self.done(Command::Typing { recipient: recipient.clone(), state })
    }

    /// Reads a page of history, on this thread.
    pub fn history(&self, request: HistoryRequest) -> Result<crate::command::History> {
        let Inner { shared, queue, account, .. } = &*self.inner;
        if shared.options.durability == Durability::Full {
            let (query, peer) = history_query(*account, request)?;
            return Handle(shared).read(queue, |connection| connection.history(query, peer));
        }
        // What a relaxed engine has told and not written is written first.
        match self.call(Command::ReadHistory(request))? {
            Answer::History(history) => Ok(history),
            _ => Err(unexpected()),
        }
    }

    /// Forgets what the account has with a peer, or everything, messages that wait too. Returns when it is on disk.
    pub fn forget(&self, peer: Option<&Address>) -> Result<()> {
        self.done(Command::Forget { peer: peer.cloned() })
    }

    /// Looks through the account's history for a text, the newest messages first, on this thread. A call looks at no more than
    /// 10,000 messages: while [`Found::searched`] is there, the next page begins there.
    pub fn search_history(&self, request: SearchRequest) -> Result<Found> {
        let Inner { shared, queue, account, .. } = &*self.inner;
        if shared.options.durability == Durability::Full {
            return Handle(shared).read(queue, |connection| connection.search(*account, &request));
        }
        match self.call(Command::SearchHistory(request))? {
            Answer::Found(found) => Ok(found),
            _ => Err(unexpected()),
        }
    }

    /// Reads a page of the account's conversations, the latest first, on this thread.
    pub fn conversations(&self, request: ConversationsRequest) -> Result<Conversations> {
        let Inner { shared, queue, account, .. } = &*self.inner;
        if shared.options.durability == Durability::Full {
            return Handle(shared).read(queue, |connection| connection.conversations(*account, request));
        }
        match self.call(Command::ReadConversations(request))? {
            Answer::Conversations(conversations) => Ok(conversations),
            _ => Err(unexpected()),
        }
    }

    // ---- roster ---------------------------------------------------------------------------------------------

    /// Asks somebody to be a buddy, both ways; confirms who asked already.
    pub fn add_buddy(&self, peer: &Address, name: Option<&str>, groups: Option<&[&str]>) -> Result<()> {
        self.edit_roster(RosterEdit {
            name: name.map(str::to_owned),
            groups: groups.map(|g| g.iter().map(|g| (*g).to_owned()).collect()),
            ..RosterEdit::new(peer, Op::Add)
        })
    }

    /// Makes an invitation for one person, until then: who redeems it becomes a buddy, confirmed on both sides. At most 64 are
    /// open at a time.
    pub fn invite(&self, expires: Timestamp) -> Result<InvitationToken> {
        match self.call(Command::invite(expires)?)? {
            Answer::Invitation(token) => Ok(token),
            _ => Err(unexpected()),
        }
    }

    /// Adds who gave this invitation. Both are confirmed, whatever fails on the way; when it is used up, has expired or never
    /// was, it is a request as any other.
    pub fn redeem_invitation(&self, peer: &Address, token: InvitationToken) -> Result<()> {
        self.edit_roster(RosterEdit { token: Some(token), ..RosterEdit::new(peer, Op::Add) })
    }

    /// Takes an invitation back, or all of them.
    pub fn revoke_invitations(&self, token: Option<InvitationToken>) -> Result<()> {
        self.done(Command::RevokeInvitations(token))
    }

    /// Confirms who asked. The same as adding them.
    pub fn confirm_buddy(&self, peer: &Address) -> Result<()> {
        self.edit_roster(RosterEdit::new(peer, Op::Add))
    }

    /// Declines who asked, or takes back the grant: both directions end, and they are not on the roster.
    pub fn decline_buddy(&self, peer: &Address) -> Result<()> {
        self.edit_roster(RosterEdit::new(peer, Op::Remove))
    }

    /// Removes a buddy: both directions end.
    pub fn remove_buddy(&self, peer: &Address) -> Result<()> {
        self.edit_roster(RosterEdit::new(peer, Op::Remove))
    }

    /// Any change of the roster, one direction at a time as RFC 6121 has it too.
    pub fn edit_roster(&self, edit: RosterEdit) -> Result<()> {
        self.done(Command::Roster(edit))
    }

    /// The roster, whole.
    pub fn roster(&self) -> Result<Roster> {
        self.roster_since(Position::ZERO)
    }

    /// What changed since that version; who was removed comes as a buddy that is not listed.
    pub fn roster_since(&self, version: Position) -> Result<Roster> {
        match self.call(Command::ReadRoster { since: version })? {
            Answer::Roster(roster) => Ok(roster),
            _ => Err(unexpected()),
        }
    }

    /// Blocks an address or a domain, or lifts the block.
    pub fn block(&self, address: &Address, blocked: bool) -> Result<()> {
        self.done(Command::Block { address: address.clone(), blocked })
    }

    // ---- presence -------------------------------------------------------------------------------------------

    /// Shows a presence. The first one brings a snapshot of the buddies' presence, then their changes.
    pub fn set_presence(&self, presence: SetPresence) -> Result<()> {
        self.done(Command::SetPresence(presence))
    }

    /// What a person, or a program, set does not count any more; when there is nothing left the session is offline.
    pub fn clear_presence(&self, layer: PresenceLayer) -> Result<()> {
        self.done(Command::ClearPresence(layer))
    }

    /// Shows nothing and sees nothing any more; messages still come.
    pub fn go_offline(&self) -> Result<()> {
        self.done(Command::GoOffline)
    }

    /// Shows this session's presence to an address of its own, or takes that back.
    pub fn direct_presence(&self, recipient: &Address, presence: Option<SetPresence>) -> Result<()> {
        self.done(Command::DirectPresence { recipient: recipient.clone(), presence })
    }

    /// Sets how much a buddy sees of the account's presence.
    pub fn set_visibility(&self, viewer: &Address, visibility: Visibility) -> Result<()> {
        self.done(Command::SetVisibility { viewer: viewer.clone(), visibility })
    }

    /// When a buddy was last there, as precisely as they say; `None` when nothing is known of it, or to be known.
    pub fn last_seen(&self, buddy: &Address) -> Result<Option<LastSeen>> {
        match self.call(Command::ReadLastSeen(buddy.clone()))? {
            Answer::LastSeen(seen) => Ok(seen),
            _ => Err(unexpected()),
        }
    }

    /// Asks another session; the answer comes as an event under this number.
    pub fn query(&self, recipient: &Address, body: Body) -> Result<u64> {
        match self.call(Command::Query { recipient: recipient.clone(), body })? {
            Answer::Query(number) => Ok(number),
            _ => Err(unexpected()),
        }
    }

    /// Answers a query that came to this session.
    pub fn answer_query(&self, query: u64, body: Option<Body>) -> Result<()> {
        self.done(Command::AnswerQuery { query, body })
    }

    /// What a buddy shows.
    pub fn presence_of(&self, buddy: &Address) -> Result<Presence> {
        match self.call(Command::ReadPresence(buddy.clone()))? {
            Answer::Presence(presence) => Ok(presence),
            _ => Err(unexpected()),
        }
    }

    /// What the person does with the app.
    pub fn set_activity(&self, activity: Activity) -> Result<()> {
        self.done(Command::SetActivity(activity))
    }

    /// A sign of life, for sessions with a lease. Costs nothing to speak of.
    pub fn touch(&self) {
        self.inner.shared.tell_session(self.id(), ToShard::Touch(self.id()));
    }

    // ---- events ---------------------------------------------------------------------------------------------

    /// Takes up to `max` events, of them 512 messages and a MiB of content, waiting up to `timeout` for the first; empty when
    /// none came or it was [interrupted](Session::interrupt). Acknowledges nothing.
    ///
    /// One consumer at a time: a second gets `Misuse`, and so does everybody when the session has a listener or is read
    /// through the engine. After the last event of an ended session, `Closed`.
    pub fn next_events(&self, max: usize, timeout: Duration) -> Result<Vec<Event>> {
        let reading = self.inner.queue.begin_as_holder(&*self.inner.shared)?;
        self.handle().next(timeout, |wait| match wait {
            Some(time) => reading.wait(max, time),
            None => reading.take(max),
        })
    }

    /// Calls a listener with the session's events on this thread, as the engine would on one of its own, until the session
    /// has ended or it is [interrupted](Session::interrupt); in virtual time, until there is nothing left to do.
    ///
    /// It is the one consumer meanwhile. What it was called with last is acknowledged, or comes again, when it returns.
    pub fn run(&self, listener: &dyn Listener) -> Result<()> {
        let Inner { shared, queue, .. } = &*self.inner;
        let reading = queue.begin_as_holder(&**shared)?;
        while !reading.was_interrupted() {
            let events = self.handle().next(Duration::MAX, |wait| match wait {
                Some(time) => reading.wait(BATCH, time),
                None => reading.take(BATCH),
            })?;
            if events.is_empty() || deliver(queue, listener, &events, &**shared) {
                break;
            }
            if only_the_end_follows(queue) {
                self.handle().next(Duration::MAX, |wait| {
                    if wait.is_some() {
                        reading.wait_for_end();
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Ends the wait in [`next_events`](Session::next_events), which then returns nothing, or
    /// [`run`](Session::run), after the call that it is in. When nobody waits, the next wait ends at once.
    pub fn interrupt(&self) {
        self.inner.queue.interrupt();
    }

    /// Acknowledges every event up to this number. Cumulative and idempotent.
    pub fn ack(&self, seq: u64) {
        self.inner.queue.ack(seq, &*self.inner.shared);
    }

    /// The consumer could not deal with what it was handed: it comes again one by one, and a message that fails three
    /// times is parked.
    pub fn fail(&self) {
        self.inner.queue.fail(&*self.inner.shared);
    }

    /// The consumer has no use for what it was handed, for instance because it was stopped: it comes again, and unlike
    /// with [`fail`](Session::fail) nothing is held against it.
    pub fn hand_back(&self) {
        self.inner.queue.hand_back(&*self.inner.shared);
    }

    /// Ends the session.
    pub fn close(&self) {
        self.inner.shared.tell_session(self.id(), ToShard::Close(self.id(), EndReason::Closed));
    }

    /// Asks anything for this session.
    pub fn call(&self, command: Command) -> Result<Answer> {
        self.handle().call(&self.inner.address, Some(self.id()), command)
    }

    fn done(&self, command: Command) -> Result<()> {
        self.call(command).map(|_| ())
    }

    fn handle(&self) -> Handle<'_> {
        Handle(&self.inner.shared)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let session = self.queue.session;
        self.shared.tell_session(session, ToShard::Close(session, EndReason::Closed));
    }
}

fn unexpected() -> Error {
    Error::internal("the answer is of another kind than the question")
}
