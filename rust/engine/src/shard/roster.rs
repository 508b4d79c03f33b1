//! The handshake, on both sides.
//!
//! An edit changes one's own roster and leaves a pending signal in the same transaction. The other side takes it when
//! its account is in memory, changes its roster, and settles the signal in that transaction: from a crash on, the
//! signal is either still pending or has had its effect, never both.

use super::change::{After, Changing};
use super::{Resident, Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command, RosterEdit};
use crate::event::EventBody;
use crate::messages::{Fetch, FoundPeer, Job, RowAddresses};
use crate::queue::Slot;
use crate::relay::Settlement;
use rosterkit_core::account::Record;
use rosterkit_core::address::Address;
use rosterkit_core::admission::{Class, Sender, admit};
use rosterkit_core::id::{AddressId, MessageId, Position, SessionId};
use rosterkit_core::invitation::InvitationToken;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::roster::{self, Asked, Buddy, Edit, Halves, Op, Relation};
use rosterkit_core::row::{Entry, Kind, Side, Sides};
use rosterkit_core::write::{OWN, Pending, Write};
use std::sync::Arc;

/// A step of the handshake that a peer took.
pub(super) struct Step {
    /// The buddy as it is then.
    pub(super) buddy: Buddy,
    /// Whom the buddy replaces.
    pub(super) former: Option<AddressId>,
    pub(super) asked: Option<Asked>,
    /// The invitation that it came with.
    pub(super) token: Option<InvitationToken>,
}

/// How a step came.
pub(super) enum Came {
    /// It is pending on disk until it is settled.
    Pending(Box<Pending>),
    /// A relay brought it, and is answered when it is on disk.
    Relayed(Settlement, ReplyTo),
}

impl Shard {
    // ---- one's own edit -------------------------------------------------------------------------------------

    /// Reads what the roster has of the peer, then decides.
    pub(super) fn edit_roster(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        edit: RosterEdit,
        reply: ReplyTo,
    ) {
        let peer = edit.peer.bare();
        let work = Work::Command { session, command: Box::new(Command::Roster(edit)), reply };
        self.fetch_first(id, work, Fetch::Peer { account: id, peer, id: None });
    }

    pub(super) fn decide_edit(&mut self, id: AddressId, edit: RosterEdit, found: FoundPeer, reply: ReplyTo) {
        let peer = edit.peer.bare();
        let (hosted, reachable) = (self.hosts(&peer), self.reaches(&peer));
        let halves = found.buddy.as_ref().map(|buddy| buddy.halves).unwrap_or_default();
        let Some(at) = self.residents.get(&id).map(|r| self.stamp(&r.record.address, &peer, halves)) else {
            return;
        };
        let limits = self.shared.options.limits;
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let asks = matches!(edit.op, Op::Add | Op::Subscribe);
        let known = found.buddy.as_ref().is_some_and(|buddy| buddy.listed);
        if asks && hosted && !found.exists {
            return reply.answer(Err(Refusal::NotFound(format!("there is no account {peer}")).into()));
        }
        if asks && !reachable {
            return reply.answer(Err(Refusal::Unreachable(peer.domain().into()).into()));
        }
        if asks
            && !known
            && let Err(refusal) = resident.requests.take(&limits.requests, self.now.tick, "buddy requests")
        {
            return reply.answer(Err(refusal.into()));
        }
        let decided = roster::decide(
            id,
            found.buddy.as_ref(),
            (found.id, &peer),
            Edit {
                op: edit.op,
                name: edit.name,
                groups: edit.groups,
                note: edit.note.into(),
                token: edit.token,
            },
            at,
            resident.record.roster.listed(),
            resident.preferences.max_roster_items,
        );
        let (buddy, signal) = match decided {
            Ok(decision) => match decision.buddy {
                Some(buddy) => (buddy, decision.signal),
                None => return reply.answer(Ok(Answer::Done)),
            },
            Err(refusal) => return reply.answer(Err(refusal.into())),
        };
        let before = Arc::clone(&resident.record);
        let record = self.with_buddy(&before, &buddy, found.former);
        let pending = signal.map(|signal| Pending {
            position: OWN,
            origin: id,
            origin_address: before.address.clone(),
            recipient: peer.clone(),
            signal,
        });
        let mut writes = Vec::new();
        if found.minted {
            writes.push(Write::Address { id: found.id, address: peer });
        }
        writes.extend(buddy_writes(&record, &buddy, found.former));
        writes.extend(pending.clone().map(Write::Pend));
        let after = After::RosterEdited { buddy: Box::new(buddy), pending: pending.map(Box::new), reply };
        self.change(id, Changing { record: Some(record), after }, writes);
    }

    // ---- somebody's signal ----------------------------------------------------------------------------------

    pub(super) fn fetch_peer_of_pending(&mut self, id: AddressId, pending: Box<Pending>) {
        let fetch =
            Fetch::Peer { account: id, peer: pending.origin_address.clone(), id: Some(pending.origin) };
        self.fetch_first(id, Work::Pending(pending), fetch);
    }

    /// Takes a signal and settles it, in one transaction.
    pub(super) fn receive(&mut self, id: AddressId, pending: Pending, found: FoundPeer) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let settle = Write::Settle { position: pending.position, recipient: pending.recipient.clone() };
        let came = Box::new(pending.clone());
        let sender = Sender {
            id: pending.origin,
            address: &pending.origin_address,
            hosted: self.hosts(&pending.origin_address),
        };
        let received = self.hears(resident, sender, &pending.signal).then(|| {
            roster::receive(found.buddy.as_ref(), (pending.origin, &pending.origin_address), &pending.signal)
        });
        let Some((buddy, asked)) = received.and_then(|r| Some((r.buddy?, r.asked))) else {
            // Nothing changes: that it was received is all there is to write.
            return self.write(Job::Lazy { writes: vec![settle] });
        };
        let origin =
            RowAddresses { sender: pending.origin_address, recipient: resident.record.address.clone() };
        let step = Step { buddy, former: found.former, asked, token: pending.signal.token };
        self.roster_received(id, step, origin, vec![settle], Came::Pending(came));
    }

    /// Whether a step of the handshake is taken at all.
    pub(super) fn hears(&self, resident: &Resident, sender: Sender<'_>, signal: &roster::Signal) -> bool {
        // What ends a relation always is: refusing it would leave the two sides disagreeing.
        if matches!(signal.op, Op::Remove | Op::Unsubscribe | Op::Unsubscribed) {
            return true;
        }
        let Resident { record, preferences, .. } = resident;
        let known = record.roster.get(sender.id) != Relation::default();
        let invited = signal.token.as_ref().is_some_and(|token| record.invites(token.hash(), self.now.wall));
        admit(record, preferences, sender, Class::BuddyRequest).is_ok()
            && (known || invited || record.roster.asking() < self.shared.options.limits.unanswered_requests)
    }

    /// What a peer did changes this account's roster; `writes` are to be written with it.
    pub(super) fn roster_received(
        &mut self,
        id: AddressId,
        step: Step,
        origin: RowAddresses,
        mut writes: Vec<Write>,
        came: Came,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let before = &resident.record;
        let invitation = step.token.map(|token| token.hash());
        let let_in = invitation.filter(|token| before.invites(*token, self.now.wall)).and_then(|token| {
            let at = self.stamp(&before.address, &step.buddy.address, step.buddy.halves);
            let (listed, max) = (before.roster.listed(), resident.preferences.max_roster_items);
            Some((token, roster::let_in(&step.buddy, at, listed, max)?))
        });
        let (buddy, asked, pending, used) = match let_in {
            Some((token, (buddy, signal))) => {
                let pending = Pending {
                    position: OWN,
                    origin: id,
                    origin_address: before.address.clone(),
                    recipient: buddy.address.clone(),
                    signal,
                };
                (buddy, None, Some(pending), Some(token))
            }
            None => (step.buddy, step.asked, None, None),
        };
        let mut record = self.with_buddy(before, &buddy, step.former);
        if let Some(used) = used {
            Arc::make_mut(&mut record).invitations.retain(|open| open.token != used);
        }
        writes.extend(buddy_writes(&record, &buddy, step.former));
        writes.extend(pending.clone().map(Write::Pend));
        if let Some(asked) = asked {
            let now = self.now.wall;
            let message_id = MessageId::new(now.0, super::send::random_bytes(&mut self.random));
            let request = Kind::BuddyRequest { note: asked.note };
            let entry = Entry::new(buddy.peer, id, message_id, now, request);
            // A request waits in the recipient's log only, and is no part of their history.
            writes.push(Write::append(entry, Sides::new(false, false).cleared(Side::Sender)));
        }
        let (taken, came) = match came {
            Came::Pending(pending) => (None, Some(pending)),
            Came::Relayed(settlement, reply) => (Some((settlement, reply)), None),
        };
        let after = After::RosterReceived {
            buddy: Box::new(buddy),
            pending: pending.map(Box::new),
            origin,
            taken,
            came,
        };
        self.change(id, Changing { record: Some(record), after }, writes);
    }

    /// The recipient of a signal is gone: there is nothing to change, and nobody to send it to again.
    pub(super) fn settle_nowhere(&mut self, pending: &Pending) {
        let settle = Write::Settle { position: pending.position, recipient: pending.recipient.clone() };
        self.write(Job::Lazy { writes: vec![settle] });
    }

    // ---- both -----------------------------------------------------------------------------------------------

    /// The roster changed: sessions are told, and who may see whom from now on sees it at once.
    pub(super) fn roster_changed(&mut self, id: AddressId, before: &Record, buddy: Buddy) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let (peer, address) = (buddy.peer, buddy.address.clone());
        let (was, is) = (before.roster.get(peer), buddy.relation());
        let status = buddy.status();
        let record = Arc::clone(&resident.record);
        let buddy = Arc::new(buddy);
        let event = EventBody::RosterChanged { buddy: Arc::clone(&buddy), status };
        for attached in resident.sessions.iter().filter_map(|s| self.sessions.get(s)) {
            attached.queue.put_slot(Slot::Roster(peer), event.clone(), &self.out.readable);
        }
        match self.hosts(&address) {
            true => self.sight_changed(id, (peer, &address), was, is),
            false => self.outside_changed(id, &record, &buddy),
        }
    }

    /// Presence follows the roster: a new watcher gets it, one who lost the right sees the account go offline; whom
    /// the account sees anew is asked, whom it lost goes offline for it.
    fn sight_changed(
        &mut self,
        id: AddressId,
        (peer, address): (AddressId, &Address),
        was: Relation,
        is: Relation,
    ) {
        if was.from() != is.from() {
            self.watcher_changed(id, (peer, address), is.from());
        }
        if is.to() && !was.to() {
            self.probe(id, None, vec![(peer, address.clone())]);
        }
        if was.to() && !is.to() {
            self.lost_sight_of(id, peer, address);
        }
    }

    /// The account with this buddy in its index, in the place of one that is gone.
    pub(super) fn with_buddy(
        &self,
        record: &Record,
        buddy: &Buddy,
        former: Option<AddressId>,
    ) -> Arc<Record> {
        let mut record = record.clone();
        if let Some(former) = former {
            record.roster.remove(former);
            record.viewers.remove(&former);
        }
        let relation = buddy.relation();
        let here = self.hosts(&buddy.address);
        record.roster.set(buddy.peer, if here { relation } else { relation.outside() });
        if relation == Relation::default() {
            // Who comes back is somebody new.
            record.viewers.remove(&buddy.peer);
        }
        record.roster_version = OWN;
        Arc::new(record)
    }

    /// What tells an act of an account from older ones: its position, or towards a peer outside, whose file has positions of
    /// its own, a version of the pair.
    pub(super) fn stamp(&self, account: &Address, peer: &Address, halves: Halves) -> Position {
        if self.hosts(peer) { OWN } else { halves.next_version(account, peer) }
    }
}

/// What is written of a buddy, who stands in the place of one that is gone.
pub(super) fn buddy_writes(
    record: &Arc<Record>,
    buddy: &Buddy,
    former: Option<AddressId>,
) -> impl Iterator<Item = Write> {
    let account = record.id;
    let replaced = former.map(|former| Write::BuddyReplaced { account, former });
    replaced.into_iter().chain([Write::Buddy(account, buddy.clone()), Write::Account(Arc::clone(record))])
}
