//! Who is in memory: work brings an account there and waits for it, one thing after the other; all leave at once when the disk
//! failed, and their sessions bring them back.

use super::later::DISK_FAILED_MS;
use super::{Gate, Residency, Resident, Ring, Shard, Waiting, Work, inbound};
use crate::command::{Answer, Command};
use crate::error::Error;
use crate::event::EndReason;
use crate::messages::{Domains, Fetch, FoundAccount, Signal};
use crate::relay::outbox::Outbox;
use rosterkit_core::address::Address;
use rosterkit_core::delivery::limits::TokenBucket;
use rosterkit_core::delivery::unclaimed::Unclaimed;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::presence::Presence;
use rosterkit_core::refusal::Refusal;
use rosterkit_store::Loaded;
use std::collections::VecDeque;
use std::sync::Arc;

impl Shard {
    /// Does the work now, or when its account is in memory and its gate is open.
    pub(super) fn work(&mut self, account: Address, work: Work) {
        match self.accounts.get_mut(&account) {
            Some(Residency::Here(id)) => {
                let id = *id;
                self.work_on(id, work);
            }
            Some(Residency::Loading(waiting)) => waiting.0.push_back(work),
            None => {
                let mint = makes_account(&work);
                self.accounts
                    .insert(account.clone(), Residency::Loading(Box::new(Waiting(VecDeque::from([work])))));
                self.fetch(Fetch::Account { address: account, mint });
            }
        }
    }

    pub(super) fn work_on(&mut self, id: AddressId, work: Work) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        if matches!(resident.gate, Gate::Open) && resident.nobody_waits() {
            self.perform(id, work);
            self.maybe_idle(id);
        } else {
            resident.waiting.get_or_insert_default().0.push_back(work);
        }
    }

    /// Takes up what waited, until something closes the gate again.
    pub(super) fn open_gate(&mut self, id: AddressId) {
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.gate = Gate::Open;
        }
        while let Some(resident) = self.residents.get_mut(&id)
            && matches!(resident.gate, Gate::Open)
        {
            let Some(work) = resident.waiting.as_mut().and_then(|waiting| waiting.0.pop_front()) else {
                resident.waiting = None;
                break;
            };
            self.perform(id, work);
        }
        self.maybe_idle(id);
    }

    pub(super) fn perform(&mut self, id: AddressId, work: Work) {
        match work {
            Work::Command { session, command, reply } => self.command(id, session, *command, reply),
            Work::Send { session, send, reply } => self.send(id, session, send, false, reply),
            Work::Deliver(deliver) => self.deliver(id, *deliver),
            Work::Registered(_) => {}
            Work::Due(found) => self.due(id, *found),
            Work::Remember { ref peer, .. } => {
                let peer = peer.clone();
                self.fetch_first(id, work, Fetch::Peer { account: id, peer, id: None });
            }
            Work::Pending(pending) => self.fetch_peer_of_pending(id, pending),
            Work::Parcel { parcel, reply } => self.look_at_parcel(id, parcel, reply),
            Work::Outcome(settling) => self.take_outcome(id, settling),
            Work::Superseded { pending, known } => {
                let peer = pending.recipient.bare();
                let work = Work::Superseded { pending, known };
                self.fetch_first(id, work, Fetch::Peer { account: id, peer, id: None });
            }
            Work::Reattach(session) => self.reattach(id, session),
            Work::LastSeen(asks) => self.answer_last_seen(id, *asks),
        }
    }

    pub(super) fn take_account(&mut self, address: &Address, result: Result<FoundAccount, Error>) {
        let Some(Residency::Loading(waiting)) = self.accounts.remove(address) else {
            return;
        };
        match result {
            Ok(FoundAccount::Here(loaded)) => {
                let id = loaded.record.id;
                self.reside(*loaded, waiting);
                self.continue_gate(id);
            }
            Ok(FoundAccount::Absent(id)) => self.absent(address, id, waiting),
            Err(error) => {
                for work in waiting.0 {
                    self.cannot(work, &error);
                }
            }
        }
    }

    pub(super) fn reside(&mut self, loaded: Loaded, waiting: Box<Waiting>) {
        let Loaded { record, progress, unclaimed: rows, quarantined, last, rules } = loaded;
        let mut unclaimed = Unclaimed::default();
        for row in rows {
            unclaimed.insert(row.position, row.sender, row.size);
        }
        let quarantined = (!quarantined.is_empty()).then(|| {
            let mut held = Box::<Unclaimed>::default();
            for row in quarantined {
                held.insert(row.position, row.sender, row.size);
            }
            held
        });
        let limits = &self.shared.options.limits;
        let mut resident = Resident {
            preferences: self.preferences_of(&record),
            progress,
            rules,
            unclaimed,
            quarantined,
            taken_away: None,
            held_back: None,
            last,
            ring: Ring::Unread,
            in_flight: Vec::new(),
            arriving: 0,
            gate: Gate::Open,
            waiting: Some(waiting),
            sessions: Vec::new(),
            shown: Presence::offline(),
            swept: Position::ZERO,
            to_sweep: last,
            sweeping: false,
            dirty: false,
            being_saved: 0,
            unsaved: 0,
            in_idle_queue: false,
            used_again: false,
            sends: TokenBucket::full(&limits.sends, self.now.tick),
            requests: TokenBucket::full(&limits.requests, self.now.tick),
            record,
        };
        // What was written of an account that only sends may lie behind.
        resident.advance_claims();
        self.accounts.insert(resident.record.address.clone(), Residency::Here(resident.id()));
        let (id, record) = (resident.id(), Arc::clone(&resident.record));
        self.residents.insert(id, Box::new(resident));
        if !record.blocked.is_empty() || record.roster.reaches_outside() {
            self.look_up_sight(id, None);
        }
        if !record.registrations.is_empty() {
            self.registrations_changed(id);
        }
        self.look_at_retention(id);
    }

    /// There is no such account. The first who wants to make it does; what came before that is refused.
    pub(super) fn absent(&mut self, address: &Address, id: Option<AddressId>, mut waiting: Box<Waiting>) {
        while let Some(work) = waiting.0.pop_front() {
            match (work, id) {
                (Work::Command { command, reply, .. }, Some(id))
                    if matches!(*command, Command::CreateAccount) =>
                {
                    return self.create_account(id, address.clone(), reply, waiting);
                }
                (work, None) if makes_account(&work) => {
                    waiting.0.push_front(work);
                    self.accounts.insert(address.clone(), Residency::Loading(waiting));
                    return self.fetch(Fetch::Account { address: address.clone(), mint: true });
                }
                (Work::Pending(pending) | Work::Superseded { pending, .. }, _) => {
                    self.settle_nowhere(&pending);
                }
                (Work::Outcome(settling), _) => self.settle_untold(settling),
                (Work::Parcel { parcel, reply }, _) => {
                    inbound::refuse_parcel(&parcel, &format!("there is no account {address}"), reply);
                }
                (Work::Reattach(session), _) => self.end_session(session, EndReason::AccountDeleted),
                (Work::Due(found), _) => self.due_done(found.position, found.what),
                (Work::Remember { .. } | Work::Registered(_), _) => {}
                // Who is not there is seen by nobody.
                (Work::LastSeen(asks), _) => asks.reply.answer(Ok(Answer::LastSeen(None))),
                (work, _) => {
                    let error = Refusal::NotFound(format!("there is no account {address}")).into();
                    self.cannot(work, &error);
                }
            }
        }
    }

    /// Answers work that cannot be done. A pending signal stays pending, and is sent again.
    pub(super) fn cannot(&mut self, work: Work, error: &Error) {
        match work {
            Work::Command { reply, .. } | Work::Send { reply, .. } => reply.answer(Err(error.clone())),
            // It is looked for again, at the latest by the next opening.
            Work::Due(_) if error.is_damage() => tracing::error!(%error, "a message cannot be looked at"),
            Work::Due(_) => self.due_again(),
            Work::Deliver(deliver) => self.refuse(&deliver, None, error.clone()),
            Work::Pending(pending) => {
                let slot = pending.recipient.slot();
                self.signal_again(error, slot, Signal::Pending(pending));
            }
            Work::Superseded { pending, known } => {
                let slot = pending.origin_address.slot();
                self.signal_again(error, slot, Signal::Superseded { pending, known });
            }
            Work::Registered(account) => {
                self.signal_again(error, account.slot(), Signal::Registered(account));
            }
            Work::Remember { .. } => {}
            Work::Parcel { reply, .. } => reply.answer(Err(error.clone())),
            Work::LastSeen(asks) => asks.reply.answer(Err(error.clone())),
            Work::Outcome(settling) => self.outcome_failed(settling, error),
            Work::Reattach(session) if error.is_damage() => {
                self.end_session(session, EndReason::StorageFailed);
            }
            Work::Reattach(session) => {
                if let Some(attached) = self.sessions.get(&session) {
                    let (slot, attachment) = (attached.account.slot(), attached.queue.attachment());
                    self.signal_later(DISK_FAILED_MS, slot, Signal::Reattach { session, attachment });
                }
            }
        }
    }

    // ---- the disk failed ------------------------------------------------------------------------------------

    /// Drops what is resident. Whoever waits is told that nobody knows.
    pub(super) fn reset(&mut self, generation: u64) {
        self.open = false;
        self.generation = generation;
        for (_, state) in self.accounts.drain() {
            if let Residency::Loading(waiting) = state {
                for work in waiting.0 {
                    answer_unknown(work);
                }
            }
        }
        for (_, resident) in self.residents.drain() {
            for flight in resident.in_flight {
                for reply in flight.replies {
                    reply.answer(Err(Error::outcome_unknown()));
                }
            }
            match resident.gate {
                Gate::Open => {}
                Gate::Fetching(work) => answer_unknown(*work),
                Gate::Changing(changing) => changing.answer_unknown(),
                // The change is on disk; what it makes others see follows when the account is read again.
                Gate::LookingUpSight(Some(reply)) => reply.answer(Ok(Answer::Done)),
                Gate::LookingUpSight(None) => {}
            }
            for work in resident.waiting.into_iter().flat_map(|waiting| waiting.0) {
                answer_unknown(work);
            }
        }
        self.blocked_watchers.clear();
        self.outside.clear();
        self.outside_ids.clear();
        self.outbox = Outbox::default();
        self.later.clear();
        self.deleted.clear();
        self.dirty.clear();
        self.marks.clear();
        self.ruled.clear();
        self.sent_on.clear();
        self.observed.clear();
        self.idle.clear();
        // What is on its way to the writer and the reader is answered there, as of a generation that is gone.
        for messages in &mut self.out.shards {
            messages.clear();
        }
    }

    /// The store is open: attach every session as if it were new.
    pub(super) fn resume(&mut self, generation: u64, installed: Position, domains: Domains) {
        self.open = true;
        self.generation = generation;
        self.mark = installed;
        self.domains = domains;
        self.attach_all_again();
        self.look_for_due();
    }
}

fn makes_account(work: &Work) -> bool {
    matches!(work, Work::Command { command, .. } if matches!(**command, Command::CreateAccount))
}

fn answer_unknown(work: Work) {
    let reply = match work {
        Work::Command { reply, .. } | Work::Send { reply, .. } | Work::Parcel { reply, .. } => reply,
        Work::LastSeen(asks) => asks.reply,
        _ => return,
    };
    reply.answer(Err(Error::outcome_unknown()));
}
