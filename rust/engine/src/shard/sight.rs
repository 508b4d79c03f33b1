//! Who sees how much: what an account sets for one viewer, when it was last there, and presence directed to one address.

use super::change::{After, Changing};
use super::presence::check;
use super::sessions::{Attached, needs_session};
use super::{Residency, Resident, Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command, SetPresence};
use crate::event::EventBody;
use crate::messages::{Fetch, FoundPeer, Signal};
use crate::queue::Slot;
use crate::relay::Notice;
use rosterkit_core::account::Viewer;
use rosterkit_core::address::Address;
use rosterkit_core::admission::{Admission, Class, Sender, admit};
use rosterkit_core::id::{AddressId, SessionId};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::presence::{LastSeen, LastSeenPrecision, Presence, PresenceLayer, State, Visibility};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::roster::Relation;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;
use std::sync::Arc;

/// To how many addresses a session directs presence.
const MAX_DIRECTED: usize = 256;

/// Who asks when an account was last there.
pub(crate) struct AsksLastSeen {
    pub(crate) watcher: AddressId,
    pub(crate) watcher_address: Address,
    pub(crate) subject: Address,
    pub(crate) reply: ReplyTo,
}

/// Presence for one address; `None` takes it back.
pub(crate) struct Directed {
    pub(crate) sender: AddressId,
    pub(crate) sender_address: Address,
    pub(crate) recipient: Address,
    pub(crate) presence: Option<Presence>,
}

/// What goes with the whole of a session says nothing of one address.
fn check_directed(presence: &SetPresence) -> Result<(), Refusal> {
    let SetPresence { priority, until, invisible, layer, .. } = presence;
    if (*priority, *until, *invisible, *layer) != (0, None, false, PresenceLayer::Manual) {
        let what = "presence for one address has no priority, end time or layer, and is not invisible";
        return Err(Refusal::InvalidArgument(what.into()));
    }
    check(presence)
}

impl Resident {
    /// A person acted in this session: the account was there, where that could be seen. Says whether that is news.
    pub(super) fn acted(&mut self, attached: &Attached, now: Timestamp) -> bool {
        let is_seen = attached.contribution().is_some_and(|shown| !shown.invisible);
        let is_news = is_seen && now > self.progress.last_seen;
        if is_news {
            self.progress.last_seen = now;
        }
        is_news
    }

    /// When it was last there for those who see it.
    pub(super) fn last_seen(&self, now: Timestamp) -> Timestamp {
        if self.shown.state == State::Offline { self.progress.last_seen } else { now }
    }

    fn last_seen_by(&self, watcher: AddressId, address: &Address, now: Timestamp) -> Option<LastSeen> {
        let precision = self.preferences.last_seen;
        if watcher != self.id() && !self.record.roster.get(watcher).from() {
            return None;
        }
        // For who sees nothing any more it is as if the account had gone then, and not come back.
        if let Some(at) = self.record.hidden_since(watcher, address) {
            let at = if planted(Bug::LeakedLastSeen) { self.last_seen(now) } else { at };
            return precision.say(at, now);
        }
        match self.record.visibility(watcher) {
            Visibility::Full if precision == LastSeenPrecision::Nothing => None,
            Visibility::Full if self.shown.state != State::Offline => Some(LastSeen::Online),
            Visibility::Full => precision.say(self.progress.last_seen, now),
            Visibility::StateOnly | Visibility::Hidden => None,
        }
    }
}

impl Shard {
    // ---- visibility -------------------------------------------------------------------------------------------

    pub(super) fn look_up_viewer(&mut self, id: AddressId, command: Command, reply: ReplyTo) {
        if let Command::SetVisibility { viewer, .. } = &command {
            let peer = viewer.bare();
            let work = Work::Command { session: None, command: Box::new(command), reply };
            self.fetch_first(id, work, Fetch::Peer { account: id, peer, id: None });
        }
    }

    pub(super) fn set_visibility(
        &mut self,
        id: AddressId,
        (address, visibility): (&Address, Visibility),
        viewer: &FoundPeer,
        reply: ReplyTo,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let before = resident.record.visibility(viewer.id);
        if resident.record.roster.get(viewer.id) == Relation::default() {
            let what = format!("nothing is between the account and {}", address.bare());
            return reply.answer(Err(Refusal::NotFound(what).into()));
        }
        if before == visibility {
            return reply.answer(Ok(Answer::Done));
        }
        let mut record = (*resident.record).clone();
        if visibility == Visibility::Full {
            record.viewers.remove(&viewer.id);
        } else {
            let last_seen = resident.last_seen(self.now.wall);
            record.viewers.insert(viewer.id, Viewer { visibility, last_seen });
        }
        let record = Arc::new(record);
        let writes = vec![Write::Account(Arc::clone(&record))];
        // Who sees it is worked out anew, for those outside too, and whoever sees something else is told.
        let after = After::Blocked { reply, viewer: Some((viewer.id, before)) };
        self.change(id, Changing { record: Some(record), after }, writes);
    }

    /// A viewer sees more or less than before.
    pub(super) fn viewer_changed(&mut self, id: AddressId, (viewer, before): (AddressId, Visibility)) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let relation = resident.record.roster.get(viewer);
        let is = self.visible_to(resident, viewer);
        let differs = before.of(&resident.shown) != is.of(&resident.shown);
        let is_blocked = is == Visibility::Hidden && resident.record.visibility(viewer) != Visibility::Hidden;
        if relation.from() && !relation.is_outside() && differs && !is_blocked {
            self.tell_watcher(id, viewer, true);
        }
    }

    // ---- last seen --------------------------------------------------------------------------------------------

    pub(super) fn ask_last_seen(&mut self, id: AddressId, subject: &Address, reply: ReplyTo) {
        if subject.user().is_none() {
            let what = format!("{subject} is no user@domain");
            return reply.answer(Err(Refusal::InvalidArgument(what).into()));
        }
        if !self.hosts(subject) {
            // What other systems know of it crosses no relay.
            return reply.answer(Ok(Answer::LastSeen(None)));
        }
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let watcher_address = resident.record.address.clone();
        let asks = AsksLastSeen { watcher: id, watcher_address, subject: subject.bare(), reply };
        self.signal(subject.slot(), Signal::LastSeen(Box::new(asks)));
    }

    pub(super) fn answer_last_seen(&mut self, id: AddressId, asks: AsksLastSeen) {
        let seen = self
            .residents
            .get(&id)
            .and_then(|resident| resident.last_seen_by(asks.watcher, &asks.watcher_address, self.now.wall));
        asks.reply.answer(Ok(Answer::LastSeen(seen)));
    }

    // ---- directed presence ------------------------------------------------------------------------------------

    pub(super) fn direct_presence(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        (recipient, presence): (Address, Option<SetPresence>),
        reply: ReplyTo,
    ) {
        let Some(session) = session else {
            return reply.answer(Err(needs_session()));
        };
        if recipient.user().is_none() {
            let what = format!("{recipient} is no user@domain");
            return reply.answer(Err(Refusal::InvalidArgument(what).into()));
        }
        if let Some(Err(refusal)) = presence.as_ref().map(check_directed) {
            return reply.answer(Err(refusal.into()));
        }
        let (Some(resident), Some(attached)) = (self.residents.get(&id), self.sessions.get_mut(&session))
        else {
            return;
        };
        let recipient = recipient.bare();
        let presence = presence.map(|given| Presence {
            state: given.state,
            note: given.note.map(Into::into),
            avatar: resident.record.avatar.clone(),
            extensions: given.extensions.into(),
        });
        let blocked = resident.record.blocks(&recipient);
        let directed = &mut attached.directed;
        match presence {
            // Who is blocked is shown nothing, and the account need not know that it asked for it.
            Some(_) if blocked => return reply.answer(Ok(Answer::Done)),
            Some(_) if directed.len() >= MAX_DIRECTED && !directed.contains(&recipient) => {
                let what = format!("a session directs presence to at most {MAX_DIRECTED} addresses");
                return reply.answer(Err(Refusal::limit(what).into()));
            }
            Some(_) => drop(directed.insert(recipient.clone())),
            None if !directed.remove(&recipient) => return reply.answer(Ok(Answer::Done)),
            None => {}
        }
        self.send_directed(id, recipient, presence);
        reply.answer(Ok(Answer::Done));
    }

    fn send_directed(&mut self, id: AddressId, recipient: Address, presence: Option<Presence>) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let sender_address = resident.record.address.clone();
        if self.hosts(&recipient) {
            let slot = recipient.slot();
            let directed = Directed { sender: id, sender_address, recipient, presence };
            return self.signal(slot, Signal::Directed(Box::new(directed)));
        }
        // Outside, what is taken back is what the other side sees anyway.
        let seen = self.seen_outside(id, &recipient);
        let presence = presence.unwrap_or_else(|| seen.of(&resident.shown));
        self.notify_outside(
            &recipient.clone(),
            Notice::Presence { subject: sender_address, watcher: recipient, presence },
        );
    }

    /// A session shows nothing any more to those it showed itself to.
    pub(super) fn take_back_directed(&mut self, id: AddressId, session: SessionId) {
        if let Some(attached) = self.sessions.get_mut(&session) {
            let directed = std::mem::take(&mut attached.directed);
            directed.into_iter().for_each(|recipient| self.send_directed(id, recipient, None));
        }
    }

    /// Tells the account's sessions that something is to be read again.
    pub(super) fn tell_sessions(&self, id: AddressId, slot: Slot, body: &EventBody) {
        let sessions = self.residents.get(&id).into_iter().flat_map(|resident| &resident.sessions);
        for attached in sessions.filter_map(|session| self.sessions.get(session)) {
            attached.queue.put_slot(slot, body.clone(), &self.out.readable);
        }
    }

    /// Whom the account blocks is another.
    pub(super) fn block_list_changed(&mut self, id: AddressId) {
        self.tell_sessions(id, Slot::BlockList, &EventBody::BlockListChanged);
        self.take_back_from_blocked(id);
    }

    /// Who is blocked from now on is shown nothing any more.
    fn take_back_from_blocked(&mut self, id: AddressId) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let (record, mut blocked) = (Arc::clone(&resident.record), Vec::new());
        for session in &resident.sessions {
            if let Some(directed) = self.sessions.get_mut(session).map(|it| &mut it.directed) {
                blocked.extend(directed.iter().filter(|recipient| record.blocks(recipient)).cloned());
                directed.retain(|recipient| !record.blocks(recipient));
            }
        }
        blocked.into_iter().for_each(|recipient| self.send_directed(id, recipient, None));
    }

    /// Presence directed to an account of this shard.
    pub(super) fn take_directed(&mut self, directed: Directed) {
        let Directed { sender, sender_address, recipient, presence } = directed;
        let Some(Residency::Here(id)) = self.accounts.get(&recipient) else {
            return;
        };
        let (id, from) = (*id, Sender { id: sender, address: &sender_address, hosted: true });
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let admission = admit(&resident.record, &resident.preferences, from, Class::Typing);
        let sees_anyway = resident.record.roster.get(sender).to();
        match presence {
            Some(presence) if admission == Ok(Admission::Admitted) => {
                self.take_presence(sender, &sender_address, &presence, &[id]);
            }
            Some(_) => {}
            None if sees_anyway => self.probe(id, None, vec![(sender, sender_address)]),
            None => self.take_presence(sender, &sender_address, &Presence::offline(), &[id]),
        }
    }
}
