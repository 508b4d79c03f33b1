//! Presence and chat states: volatile, never written, never a reason to load an account.
//!
//! Who is not in memory is offline. A change of the aggregate goes to the shards of those who may see it, and from
//! there into one slot for each session and subject.

use super::later::DISK_FAILED_MS;
use super::sessions::needs_session;
use super::{Deadline, Gate, Shard};
use crate::answers::ReplyTo;
use crate::command::{Answer, SetPresence};
use crate::error::{Error, Result};
use crate::event::{EndReason, EventBody};
use crate::messages::{BuddiesFor, Fetch, Signal};
use crate::queue::Slot;
use rosterkit_core::address::Address;
use rosterkit_core::admission::{self, Admission, Class, Sender};
use rosterkit_core::content::ChatState;
use rosterkit_core::id::{AddressId, SessionId};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::presence::{Contribution, Presence, PresenceLayer, State, Visibility, aggregate};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::registration::RegistrationKind;
use rosterkit_core::roster::Buddy;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The longest a note may be, in bytes.
pub(super) const MAX_NOTE_BYTES: usize = 1_024;
/// The most that only clients understand of a presence, in bytes.
pub(super) const MAX_EXTENSIONS_BYTES: usize = 4_096;
/// How long a chat state holds without being repeated.
const TYPING_MS: u64 = 30_000;

impl Shard {
    // ---- what a session shows -------------------------------------------------------------------------------

    pub(super) fn set_presence(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        presence: SetPresence,
        reply: ReplyTo,
    ) {
        let Some(session) = session else {
            return reply.answer(Err(needs_session()));
        };
        if let Err(refusal) = check(&presence) {
            return reply.answer(Err(refusal.into()));
        }
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let comes_online = attached.contribution().is_none();
        let by_a_person = presence.layer == PresenceLayer::Manual;
        // Where they were to be seen before counts, and where they are now.
        if let Some(resident) = self.residents.get_mut(&id).filter(|_| by_a_person) {
            resident.acted(attached, self.now.wall);
        }
        self.next_token += 1;
        if let Some(lease) = &mut attached.lease {
            lease.renew(self.now.tick);
        }
        let contribution = Contribution {
            state: presence.state,
            note: presence.note.map(Into::into),
            priority: presence.priority,
            since: self.next_token,
            until: presence.until,
            invisible: presence.invisible,
            extensions: presence.extensions.into(),
        };
        attached.presence.set(presence.layer, contribution);
        if let Some(resident) = self.residents.get_mut(&id).filter(|_| by_a_person) {
            resident.acted(attached, self.now.wall);
        }
        if comes_online {
            self.mark_dirty(id);
        }
        if let Some(until) = presence.until {
            let millis = u64::try_from(until.0.saturating_sub(self.now.wall.0)).unwrap_or(0);
            self.schedule(self.now.tick.after(millis), Deadline::PresenceEnds(session));
        }
        self.priority_changed(id, session);
        self.presence_changed(id);
        reply.answer(Ok(Answer::Done));
        if comes_online && !self.sessions.get(&session).is_some_and(|attached| attached.observes) {
            self.begin_snapshot(id, session);
        }
    }

    /// A person, or a program, does not say any more what the session shows; when neither does, it is offline.
    pub(super) fn clear_presence(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        layers: &[PresenceLayer],
        reply: ReplyTo,
    ) {
        let Some(session) = session else {
            return reply.answer(Err(needs_session()));
        };
        if let Some(attached) = self.sessions.get_mut(&session) {
            let by_a_person = layers.contains(&PresenceLayer::Manual);
            if let Some(resident) = self.residents.get_mut(&id).filter(|_| by_a_person) {
                resident.acted(attached, self.now.wall);
            }
            layers.iter().for_each(|layer| attached.presence.clear(*layer));
            if attached.contribution().is_none() {
                if !attached.observes {
                    attached.snapshot = None;
                    attached.queue.forget_presence(&self.out.readable);
                }
                self.take_back_directed(id, session);
                self.leave_queries(session);
            }
        }
        self.mark_dirty(id);
        self.priority_changed(id, session);
        self.presence_changed(id);
        reply.answer(Ok(Answer::Done));
    }

    /// A presence with an end time may have ended.
    pub(super) fn presence_ends(&mut self, session: SessionId) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let id = attached.account;
        attached.presence.end(self.now.wall);
        // Wall time may have gone back, or the other layer ends later.
        if let Some(until) = attached.presence.ends() {
            let millis = u64::try_from(until.0.saturating_sub(self.now.wall.0)).unwrap_or(0);
            self.schedule(self.now.tick.after(millis), Deadline::PresenceEnds(session));
        }
        self.priority_changed(id, session);
        self.presence_changed(id);
    }

    // ---- what watchers see ----------------------------------------------------------------------------------

    fn aggregate_of(&self, id: AddressId) -> Presence {
        let Some(resident) = self.residents.get(&id) else {
            return Presence::offline();
        };
        let contributions =
            resident.sessions.iter().filter_map(|s| self.sessions.get(s)).filter_map(|a| a.contribution());
        let now = self.now.wall;
        let presence = aggregate(&self.shared.options.presence_order, now, contributions);
        let registered = resident.registrations(RegistrationKind::Contact, now).next().is_some();
        let avatar = resident.record.avatar.clone();
        match presence.state {
            // Where no session shows anything a contact does.
            State::Offline if registered => Presence { avatar, ..Presence::plain(State::Online) },
            State::Offline => presence,
            _ => Presence { avatar, ..presence },
        }
    }

    /// Tells the watchers, when the aggregate is another.
    pub(super) fn presence_changed(&mut self, id: AddressId) {
        let now = self.aggregate_of(id);
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        if resident.shown == now {
            return;
        }
        let before = std::mem::replace(&mut resident.shown, now.clone());
        let address = resident.record.address.clone();
        let viewers = resident.record.viewers.clone();
        let mut by_shard: Vec<Vec<AddressId>> = vec![Vec::new(); self.shared.shards.len()];
        // The account's own sessions see it too.
        by_shard[self.index].push(id);
        let blocks = !resident.record.blocked.is_empty();
        for watcher in resident.record.roster.watchers() {
            by_shard[self.shared.shard_of(watcher)].push(watcher);
        }
        let excluded = if blocks { self.blocked_watchers.get(&id).cloned() } else { None };
        for (shard, mut watchers) in by_shard.into_iter().enumerate() {
            if let Some(excluded) = &excluded {
                watchers.retain(|w| !excluded.contains(w));
            }
            // The few who do not see everything.
            let some: Vec<AddressId> = watchers.extract_if(.., |w| viewers.contains_key(w)).collect();
            self.tell_watchers(shard, (id, &address), &now, watchers);
            for watcher in some {
                let visibility = viewers[&watcher].visibility;
                let (was, is) = (visibility.of(&before), visibility.of(&now));
                if was != is {
                    self.tell_watchers(shard, (id, &address), &is, vec![watcher]);
                }
            }
        }
        self.tell_outside(id, &address, &before, &now);
    }

    /// Tells watchers whose accounts are in one shard. Those of this shard are told at once, here as in a probe: if one
    /// way there were longer than the other, what was true before could come after what is.
    fn tell_watchers(
        &mut self,
        shard: usize,
        (subject, address): (AddressId, &Address),
        presence: &Presence,
        watchers: Vec<AddressId>,
    ) {
        if watchers.is_empty() {
            return;
        }
        if shard == self.index {
            return self.take_presence(subject, address, presence, &watchers);
        }
        let (address, presence) = (address.clone(), presence.clone());
        let signal = Signal::Presence { subject, address, presence, watchers };
        self.out.shards[shard].push(crate::messages::ToShard::Signal(signal));
    }

    /// A peer watches the account from now on, or does so no more. One that is blocked all the same sees nothing.
    pub(super) fn watcher_changed(
        &mut self,
        id: AddressId,
        (peer, address): (AddressId, &Address),
        watches: bool,
    ) {
        let blocked = self.residents.get(&id).is_some_and(|resident| resident.record.blocks(address));
        if watches && blocked {
            self.blocked_watchers.entry(id).or_default().push(peer);
        } else if let Some(watchers) = self.blocked_watchers.get_mut(&id) {
            watchers.retain(|watcher| *watcher != peer);
        }
        self.tell_watcher(id, peer, watches && !blocked);
    }

    /// Tells one watcher: what is, or that there is nothing to be seen any more.
    pub(super) fn tell_watcher(&mut self, id: AddressId, watcher: AddressId, may_see: bool) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let visibility = if may_see { resident.record.visibility(watcher) } else { Visibility::Hidden };
        let presence = visibility.of(&resident.shown);
        let address = resident.record.address.clone();
        self.tell_watchers(self.shared.shard_of(watcher), (id, &address), &presence, vec![watcher]);
    }

    /// Somebody's presence, for accounts of this shard.
    pub(super) fn take_presence(
        &mut self,
        subject: AddressId,
        address: &Address,
        presence: &Presence,
        watchers: &[AddressId],
    ) {
        for watcher in watchers {
            let Some(resident) = self.residents.get(watcher) else {
                continue;
            };
            for attached in resident.sessions.iter().filter_map(|s| self.sessions.get(s)) {
                if attached.sees_presence() {
                    let body = EventBody::Presence { subject: address.clone(), presence: presence.clone() };
                    attached.queue.put_slot(Slot::Presence(subject), body, &self.out.readable);
                }
            }
        }
    }

    /// The account does not see this peer any more.
    pub(super) fn lost_sight_of(&mut self, id: AddressId, peer: AddressId, address: &Address) {
        self.take_presence(peer, address, &Presence::offline(), &[id]);
    }

    // ---- snapshots and probes -------------------------------------------------------------------------------

    /// A session came online: it gets the presence of every buddy, and an end mark.
    pub(super) fn begin_snapshot(&mut self, id: AddressId, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|attached| attached.sees_presence()) {
            self.fetch(Fetch::Buddies { account: id, purpose: BuddiesFor::Snapshot(session) });
        }
    }

    /// What it is made of could not be read: it has no end mark, and begins again.
    pub(super) fn snapshot_failed(&mut self, id: AddressId, session: SessionId, error: &Error) {
        tracing::warn!(%error, "a snapshot cannot be read");
        if error.is_damage() {
            return self.end_session(session, EndReason::StorageFailed);
        }
        if let Some(attached) = self.sessions.get_mut(&session) {
            attached.snapshot = None;
        }
        self.signal_later(DISK_FAILED_MS, id.slot(), Signal::Snapshot { account: id, session });
    }

    pub(super) fn take_snapshot(&mut self, id: AddressId, session: SessionId, result: Result<Vec<Buddy>>) {
        let buddies = match result {
            Ok(buddies) => buddies,
            Err(error) => return self.snapshot_failed(id, session, &error),
        };
        let seen: Vec<(AddressId, Address)> =
            buddies.iter().filter(|b| b.halves.to()).map(|b| (b.peer, b.address.clone())).collect();
        self.probe(id, Some(session), seen);
        self.observe_roster(id, session, &buddies);
    }

    /// Asks for the presence of these accounts, for one session or for all of them.
    pub(super) fn probe(
        &mut self,
        watcher: AddressId,
        session: Option<SessionId>,
        seen: Vec<(AddressId, Address)>,
    ) {
        let mut by_shard: FxHashMap<usize, Vec<(AddressId, Address)>> = FxHashMap::default();
        let mut outside = Vec::new();
        for (subject, address) in seen {
            if self.hosts(&address) {
                by_shard.entry(self.shared.shard_of(subject)).or_default().push((subject, address));
            } else {
                self.probe_outside(watcher, &address);
                let presence = self.shown_outside(watcher, &address);
                outside.push((subject, address, presence));
            }
        }
        // Of what is outside there is what was last heard; the answer of a relay follows as a change.
        if let Some(attached) = session.and_then(|s| self.sessions.get_mut(&s)) {
            // An observer's conversations are a part too.
            attached.snapshot = Some(by_shard.len() as u32 + 1 + u32::from(attached.observes));
        }
        for (shard, subjects) in by_shard {
            let probe = Signal::Probe { watcher, session, subjects };
            self.out.shards[shard].push(crate::messages::ToShard::Signal(probe));
        }
        self.take_probed(watcher, session, outside);
    }

    pub(super) fn take_probe(
        &mut self,
        watcher: AddressId,
        session: Option<SessionId>,
        subjects: Vec<(AddressId, Address)>,
    ) {
        let presences = subjects
            .into_iter()
            .map(|(subject, address)| {
                let resident = self.residents.get(&subject);
                let presence = resident.map_or_else(Presence::offline, |it| self.shown_to(it, watcher));
                (subject, address, presence)
            })
            .collect();
        if self.shared.shard_of(watcher) == self.index {
            return self.take_probed(watcher, session, presences);
        }
        self.signal(watcher.slot(), Signal::Probed { watcher, session, presences });
    }

    /// What an account in memory shows to somebody.
    pub(super) fn shown_to(&self, resident: &super::Resident, watcher: AddressId) -> Presence {
        self.visible_to(resident, watcher).of(&resident.shown)
    }

    /// How much of an account in memory somebody sees.
    pub(super) fn visible_to(&self, resident: &super::Resident, watcher: AddressId) -> Visibility {
        if planted(Bug::LeakedPresence) {
            return Visibility::Full;
        }
        let blocked = self.blocked_watchers.get(&resident.id()).is_some_and(|all| all.contains(&watcher));
        match resident.record.roster.get(watcher).from() && !blocked {
            true => resident.record.visibility(watcher),
            false => Visibility::Hidden,
        }
    }

    pub(super) fn shows_to(&self, resident: &super::Resident, watcher: AddressId) -> bool {
        self.visible_to(resident, watcher) != Visibility::Hidden
    }

    pub(super) fn take_probed(
        &mut self,
        watcher: AddressId,
        session: Option<SessionId>,
        presences: Vec<(AddressId, Address, Presence)>,
    ) {
        let Some(resident) = self.residents.get(&watcher) else {
            return;
        };
        let sessions = match session {
            Some(session) => vec![session],
            None => resident.sessions.clone(),
        };
        for one in sessions {
            let Some(attached) = self.sessions.get_mut(&one) else {
                continue;
            };
            if !attached.sees_presence() {
                continue;
            }
            for (subject, address, presence) in &presences {
                let body = EventBody::Presence { subject: address.clone(), presence: presence.clone() };
                attached.queue.put_slot(Slot::Presence(*subject), body, &self.out.readable);
            }
            if session.is_some() {
                attached.snapshot_part(&self.out.readable);
            }
        }
    }

    pub(super) fn read_presence(&mut self, id: AddressId, address: &Address, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        if resident.record.address == address.bare() {
            return reply.answer(Ok(Answer::Presence(resident.shown.clone())));
        }
        let Some(_) = address.user() else {
            return reply.answer(Err(Refusal::InvalidArgument("presence is of user@domain".into()).into()));
        };
        if !self.hosts(address) {
            return reply.answer(Ok(Answer::Presence(self.shown_outside(id, &address.bare()))));
        }
        self.signal(address.slot(), Signal::ReadPresence { watcher: id, subject: address.bare(), reply });
    }

    /// What a viewer sees of an account: nothing, unless it may.
    pub(super) fn answer_presence(&self, watcher: AddressId, subject: &Address, reply: ReplyTo) {
        let presence = match self.accounts.get(subject) {
            Some(super::Residency::Here(id)) => match self.residents.get(id) {
                Some(resident) => self.shown_to(resident, watcher),
                None => Presence::offline(),
            },
            _ => Presence::offline(),
        };
        reply.answer(Ok(Answer::Presence(presence)));
    }

    /// A block was set or lifted: the blocked see the account go offline, or come back.
    pub(super) fn look_up_sight(&mut self, id: AddressId, reply: Option<ReplyTo>) {
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.gate = Gate::LookingUpSight(reply);
        }
        self.fetch(Fetch::Buddies { account: id, purpose: BuddiesFor::Sight });
    }

    /// It could not be read before.
    pub(super) fn look_up_sight_again(&mut self, id: AddressId) {
        match self.residents.get(&id).map(|resident| &resident.gate) {
            Some(Gate::Open) => self.look_up_sight(id, None),
            Some(_) => self.signal_later(DISK_FAILED_MS, id.slot(), Signal::Sight(id)),
            // It is worked out when it is loaded.
            None => {}
        }
    }

    /// Who of the watchers is blocked is worked out when the block changes or the account is loaded, not with every
    /// change of presence: addresses are on disk, ids in memory.
    pub(super) fn take_sight(&mut self, id: AddressId, result: Result<Vec<Buddy>>) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let Gate::LookingUpSight(reply) = std::mem::replace(&mut resident.gate, Gate::Open) else {
            return;
        };
        let record = Arc::clone(&resident.record);
        let blocked: Vec<AddressId> = match &result {
            Ok(buddies) => buddies
                .iter()
                .filter(|b| b.halves.from() && record.blocks(&b.address))
                .map(|b| b.peer)
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "who is blocked cannot be read: until it can, nobody sees the account");
                record.roster.watchers().collect()
            }
        };
        let before = self.blocked_watchers.remove(&id).unwrap_or_default();
        let newly: Vec<AddressId> = blocked.iter().copied().filter(|w| !before.contains(w)).collect();
        let lifted: Vec<AddressId> = before.into_iter().filter(|w| !blocked.contains(w)).collect();
        if !blocked.is_empty() {
            self.blocked_watchers.insert(id, blocked);
        }
        for watcher in newly {
            self.tell_watcher(id, watcher, false);
        }
        for watcher in lifted {
            self.tell_watcher(id, watcher, true);
        }
        match result {
            Ok(buddies) => self.learn_outside(id, &record, &buddies),
            Err(error) => self.signal_again(&error, id.slot(), Signal::Sight(id)),
        }
        if let Some(reply) = reply {
            reply.answer(Ok(Answer::Done));
        }
        self.open_gate(id);
    }

    // ---- chat states ----------------------------------------------------------------------------------------

    pub(super) fn send_typing(
        &mut self,
        id: AddressId,
        recipient: &Address,
        state: ChatState,
        reply: ReplyTo,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let sender_address = resident.record.address.clone();
        // Never answered by the other side: whether anybody is there does not show.
        reply.answer(Ok(Answer::Done));
        if self.hosts(recipient) {
            let recipient = recipient.bare();
            self.signal(recipient.slot(), Signal::Typing { sender: id, sender_address, recipient, state });
        } else {
            self.send_typing_outside(&sender_address, recipient, state);
        }
    }

    pub(super) fn take_typing(
        &mut self,
        (sender, sender_address, hosted): (AddressId, &Address, bool),
        recipient: &Address,
        state: ChatState,
    ) {
        let Some(super::Residency::Here(id)) = self.accounts.get(recipient) else {
            return;
        };
        let Some(resident) = self.residents.get(id) else {
            return;
        };
        let from = Sender { id: sender, address: sender_address, hosted };
        let admission = admission::admit(&resident.record, &resident.preferences, from, Class::Typing);
        if admission != Ok(Admission::Admitted) {
            return;
        }
        let until = self.now.tick.after(TYPING_MS);
        let mut deadlines = Vec::new();
        for session in resident.sessions.clone() {
            let Some(attached) = self.sessions.get_mut(&session) else {
                continue;
            };
            if matches!(attached.feed, super::feed::Feed::None) {
                continue;
            }
            let typing = attached.typing.get_or_insert_default();
            if state == ChatState::Composing {
                typing.insert(sender, (sender_address.clone(), until));
                deadlines.push(session);
            } else {
                typing.remove(&sender);
            }
            let body = EventBody::Typing { sender: sender_address.clone(), state };
            attached.queue.put_slot(Slot::Typing(sender), body, &self.out.readable);
        }
        for session in deadlines {
            self.schedule(until, Deadline::TypingEnds(session, sender));
        }
    }

    /// Somebody was typing and has not said so again.
    pub(super) fn typing_ends(&mut self, session: SessionId, sender: AddressId) {
        let now = self.now.tick;
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(typing) = &mut attached.typing else {
            return;
        };
        let Some(until) = typing.get(&sender).map(|(_, until)| *until) else {
            return;
        };
        if until > now {
            return self.schedule(until, Deadline::TypingEnds(session, sender));
        }
        if let Some((address, _)) = typing.remove(&sender) {
            let body = EventBody::Typing { sender: address, state: ChatState::Paused };
            attached.queue.put_slot(Slot::Typing(sender), body, &self.out.readable);
        }
    }
}

pub(super) fn check(presence: &SetPresence) -> std::result::Result<(), Refusal> {
    if matches!(presence.state, State::Offline | State::Unknown) {
        let what = format!("{} is no state to set: go offline instead", presence.state);
        return Err(Refusal::InvalidArgument(what));
    }
    if presence.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE_BYTES) {
        return Err(Refusal::InvalidArgument(format!("a note has at most {MAX_NOTE_BYTES} bytes")));
    }
    if presence.extensions.len() > MAX_EXTENSIONS_BYTES {
        let what = format!("the extensions of a presence have at most {MAX_EXTENSIONS_BYTES} bytes");
        return Err(Refusal::InvalidArgument(what));
    }
    Ok(())
}
