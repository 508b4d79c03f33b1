//! A shard: the accounts of some slots, touched by nobody else.
//!
//! A step takes everything in the mailbox, in order, and sends what follows at its end. Accounts that are not in
//! memory are read off the shard, and only their own signals wait.

pub(crate) mod change;
mod commands;
mod deleted;
mod due;
mod explain;
mod feed;
mod files;
mod forget;
mod inbound;
mod invitations;
mod later;
mod lazy;
mod marks;
mod observing;
mod outbox;
mod outside;
mod presence;
mod queries;
mod registrations;
mod residence;
mod resident;
mod roster;
mod rule_sets;
mod rules;
mod send;
mod sending_on;
mod sessions;
mod sight;
mod strangers;

pub(crate) use explain::{Known, delivery};
pub(crate) use feed::FedRow;
pub(crate) use forget::{Forgets, Forgetting, Slice};
pub(crate) use queries::Query;
pub(crate) use resident::{Gate, InFlight, Resident, Ring, Sending, Waiting, Work};
pub(crate) use rule_sets::{check_named, json, named};
pub(crate) use rules::Consequences;
pub(crate) use sending_on::forwarding;
pub(crate) use sight::{AsksLastSeen, Directed};
pub(crate) use strangers::Held;

use crate::answers::Untaken;
use crate::error::Error;
use crate::event::{EndReason, EventBody};
use crate::mailbox::Taken;
use crate::messages::{
    Countdown, Deliver, Domains, Done, Fetch, Fetched, Job, Signal, ToReader, ToShard, ToWrite,
};
use crate::options::Durability;
use crate::queue::{Acks, Slot, Wake};
use crate::relay::outbox::Outbox;
use crate::relay::queue::RelayQueue;
use crate::shared::Shared;
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, lock};
use later::Later;
use outbox::{OutsideId, ToOutside};
use outside::OutsideBuddies;
use rosterkit_core::address::Address;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, Position, SessionId};
use rosterkit_core::planted::{Bug, panic_if_planted};
use rosterkit_core::time::{Now, Tick};
use rustc_hash::FxHashMap;
use sessions::Attached;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Shard {
    index: usize,
    shared: Arc<Shared>,
    inbox: VecDeque<ToShard>,
    now: Now,
    /// What belongs to another generation is discarded.
    generation: u64,
    /// Between a reset and the resume that follows, nothing is taken in.
    open: bool,
    domains: Domains,
    accounts: FxHashMap<Address, Residency>,
    residents: FxHashMap<AddressId, Box<Resident>>,
    sessions: FxHashMap<SessionId, Box<Attached>>,
    /// Watchers that an account blocks, for the few accounts that do.
    blocked_watchers: FxHashMap<AddressId, Vec<AddressId>>,
    /// What waits for addresses outside, and the ids of those.
    outbox: Outbox,
    /// Signals that are sent again.
    later: Later,
    outside_ids: FxHashMap<Address, OutsideId>,
    /// The outside buddies of accounts that have any.
    outside: FxHashMap<AddressId, Box<OutsideBuddies>>,
    /// Relays that lost their connection, while what their buddies showed still holds.
    away: FxHashMap<u64, (Tick, Arc<RelayQueue>)>,
    /// The highest position installed by this shard.
    mark: Position,
    deadlines: BTreeMap<(Tick, u64), Deadline>,
    /// When each deadline falls due: it stands among them once.
    armed: FxHashMap<Deadline, (Tick, u64)>,
    next_deadline: u64,
    /// Numbers what is told apart or put in order within the shard: sends under way, presences set.
    next_token: u64,
    /// Deleted accounts whose rows are not all cleared.
    deleted: FxHashMap<AddressId, deleted::Deleted>,
    dirty: Vec<AddressId>,
    /// What rules decided beside, of messages on their way to the disk, by sender and number.
    ruled: FxHashMap<(AddressId, u64), Consequences>,
    /// Conversations that are being read for observers, and whether they changed meanwhile.
    observed: FxHashMap<(AddressId, AddressId), bool>,
    /// What rules sent on to accounts here, on its way to the disk.
    sent_on: FxHashMap<u64, Box<Deliver>>,
    /// Marks that were told and are not on disk, of an account and its peer.
    marks: FxHashMap<(AddressId, AddressId), Marks>,
    flush_due: bool,
    idle: VecDeque<AddressId>,
    random: fastrand::Rng,
    out: Outgoing,
}

/// What whoever comes while the store is closed is told.
const BEING_OPENED: &str = "the store is being opened again after a failure of the disk";

/// The furthest that a deadline is ahead, in ms: one of a session that has ended is gone after that.
const LONGEST_MS: u64 = 60 * 60 * 1_000;

/// Whether an account is in memory.
enum Residency {
    Here(AddressId),
    /// It is being read; this waits for it.
    Loading(Box<Waiting>),
}

/// What falls due by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Deadline {
    Lease(SessionId),
    PresenceEnds(SessionId),
    TypingEnds(SessionId, AddressId),
    LazyFlush,
    /// Some rows are to be looked at again.
    Due,
    /// A pair of recipient and sender is tried again.
    Outbox(AddressId, AddressId),
    OutboxExpires,
    Later,
    OutsideIsAway(u64),
    /// A session's query has had its time.
    Query(SessionId, u64),
    /// What an account keeps no longer is looked for again.
    Retention(AddressId),
    Registration(AddressId),
}

/// What a step sends, at its end.
struct Outgoing {
    shards: Vec<Vec<ToShard>>,
    writer: Vec<ToWrite>,
    reader: Vec<ToReader>,
    answers: Vec<Untaken>,
    readable: Readable,
}

/// Sessions that have something to read: whoever reads them is woken once for all.
struct Readable {
    shared: Arc<Shared>,
    sessions: Mutex<Vec<SessionId>>,
}

impl Wake for Readable {
    fn readable(&self, session: SessionId) {
        lock(&self.sessions).push(session);
    }

    fn acknowledged(&self, session: SessionId, acks: Acks) {
        self.shared.acknowledged(session, acks);
    }

    fn close(&self, session: SessionId, reason: EndReason) {
        self.shared.close(session, reason);
    }
}

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, seed: u64) -> Self {
        let shards = shared.shards.iter().map(|_| Vec::new()).collect();
        Shard {
            index,
            inbox: VecDeque::new(),
            now: shared.clock.now(),
            generation: 0,
            open: false,
            domains: Domains::default(),
            accounts: FxHashMap::default(),
            residents: FxHashMap::default(),
            sessions: FxHashMap::default(),
            blocked_watchers: FxHashMap::default(),
            outbox: Outbox::default(),
            later: Later::new(),
            sent_on: FxHashMap::default(),
            observed: FxHashMap::default(),
            outside_ids: FxHashMap::default(),
            outside: FxHashMap::default(),
            away: FxHashMap::default(),
            mark: Position::ZERO,
            deadlines: BTreeMap::new(),
            armed: FxHashMap::default(),
            next_deadline: 0,
            next_token: 0,
            deleted: FxHashMap::default(),
            dirty: Vec::new(),
            ruled: FxHashMap::default(),
            marks: FxHashMap::default(),
            flush_due: false,
            idle: VecDeque::new(),
            random: fastrand::Rng::with_seed(seed),
            out: Outgoing {
                shards,
                writer: Vec::new(),
                reader: Vec::new(),
                answers: Vec::new(),
                readable: Readable { shared: Arc::clone(&shared), sessions: Mutex::new(Vec::new()) },
            },
            shared,
        }
    }

    /// Waits for something to do. False when the engine is down.
    pub(crate) fn wait(&mut self) -> bool {
        let timeout = self
            .deadline()
            .map(|due| Duration::from_millis(due.0.saturating_sub(self.shared.clock.now().tick.0)));
        let shared = Arc::clone(&self.shared);
        shared.shards[self.index].wait(&mut self.inbox, timeout) != Taken::Closed
    }

    /// When it has something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        self.deadlines.keys().next().map(|(tick, _)| *tick)
    }

    /// Takes what is in the mailbox and what is due. Says whether there was anything.
    pub(crate) fn step(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        shared.shards[self.index].take(&mut self.inbox);
        self.now = self.shared.clock.now();
        let mut busy = !self.inbox.is_empty();
        while let Some(message) = self.inbox.pop_front() {
            self.take(message);
        }
        while let Some((&key, _)) = self.deadlines.first_key_value()
            && key.0 <= self.now.tick
        {
            busy = true;
            if let Some(deadline) = self.deadlines.remove(&key) {
                self.armed.remove(&deadline);
                self.fall_due(deadline);
            }
        }
        self.send_out();
        busy
    }

    fn take(&mut self, message: ToShard) {
        match message {
            ToShard::Command { reply, .. } if !self.open => {
                reply.answer(Err(match self.shared.closed.load(Ordering::Acquire) {
                    true => self.shared.ended(),
                    false => Error::storage(BEING_OPENED),
                }));
            }
            ToShard::Command { account, session, command, reply } => {
                panic_if_planted(Bug::PanicInShard);
                self.work(account, Work::Command { session, command, reply });
            }
            ToShard::Signal(_) if !self.open => {}
            ToShard::Signal(signal) => self.take_signal(signal),
            ToShard::Fetched(of, fetched) if of == self.generation => self.take_fetched(fetched),
            ToShard::Done(of, done) if of == self.generation => self.take_done(done),
            ToShard::Fetched(_, Fetched::Forgotten { forgetting, .. }) => forgetting.cut_short(),
            ToShard::Fetched(..) | ToShard::Done(..) => {}
            ToShard::Parcel(_, reply) if !self.open => reply.answer(Err(Error::storage(BEING_OPENED))),
            ToShard::Parcel(parcel, reply) => self.take_parcel(parcel, reply),
            ToShard::Settled(..) | ToShard::Notice(_) if !self.open => {}
            ToShard::Settled(delivery, settlement) => self.settled(delivery, settlement),
            ToShard::Notice(notice) => self.take_notice(notice),
            ToShard::ResyncAll => {
                let (observers, others): (Vec<_>, Vec<_>) =
                    self.sessions.iter().partition(|(_, attached)| attached.observes);
                for (_, attached) in others {
                    attached.queue.put_slot(Slot::Resync, EventBody::Resync, &self.out.readable);
                }
                let observers: Vec<_> = observers.into_iter().map(|(s, a)| (a.account, *s)).collect();
                observers.into_iter().for_each(|(id, session)| self.begin_observing(id, session));
            }
            ToShard::Relay(change) => self.relay_changed(change),
            ToShard::Acknowledged(session, acks) => self.acknowledged(session, acks),
            ToShard::Touch(session) => self.touch(session),
            ToShard::Close(session, reason) => self.end_session(session, reason),
            ToShard::Reset(generation, countdown) => {
                self.reset(generation);
                drop(countdown);
            }
            ToShard::Resume(generation, installed, domains) => self.resume(generation, installed, domains),
            ToShard::Shutdown(countdown) => {
                self.shut_down();
                drop(countdown);
            }
        }
    }

    fn take_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Deliver(deliver) => self.route_message(deliver),
            Signal::Pending(pending) => match self.hosts(&pending.recipient) {
                true => self.work(pending.recipient.bare(), Work::Pending(pending)),
                false => self.send_outside(pending.recipient.bare(), ToOutside::Roster(pending)),
            },
            Signal::Queued { row, addresses } => {
                self.send_outside(addresses.recipient.clone(), ToOutside::Queued(row, addresses));
            }
            Signal::Outcome(settling) => {
                self.work(settling.addresses.sender.bare(), Work::Outcome(settling));
            }
            Signal::Superseded { pending, known } => {
                self.work(pending.origin_address.bare(), Work::Superseded { pending, known });
            }
            Signal::Refused { flight, error } => self.answer_flight(flight, Err(error)),
            Signal::Marked { account, peer, address, marks } => {
                self.take_marks(account, peer, &address, marks, None);
            }
            Signal::Registered(account) => self.work(account.clone(), Work::Registered(account)),
            Signal::Unswept(id) => self.sweep_deleted(id, 0, self.mark),
            Signal::Typing { sender, sender_address, recipient, state } => {
                self.take_typing((sender, &sender_address, true), &recipient, state);
            }
            Signal::LookForDue => self.look_for_due(),
            Signal::Feed(session) => self.read_on(session),
            Signal::Reattach { session, attachment } => self.attach_later(session, attachment),
            Signal::Sight(account) => self.look_up_sight_again(account),
            Signal::Snapshot { account, session } => self.begin_snapshot(account, session),
            Signal::Conversation { account, peer } => self.conversation_changed(account, peer),
            Signal::LastSeen(asks) => self.work(asks.subject.clone(), Work::LastSeen(asks)),
            Signal::Directed(directed) => self.take_directed(*directed),
            Signal::Query(query) => self.take_query(*query),
            Signal::Answered { session, number, body } => self.take_answer(session, number, body),
            Signal::ReadPresence { watcher, subject, reply } => {
                self.answer_presence(watcher, &subject, reply)
            }
            Signal::Presence { subject, address, presence, watchers } => {
                self.take_presence(subject, &address, &presence, &watchers);
            }
            Signal::Probe { watcher, session, subjects } => self.take_probe(watcher, session, subjects),
            Signal::Probed { watcher, session, presences } => self.take_probed(watcher, session, presences),
        }
    }

    fn take_fetched(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Account { address, result } => self.take_account(&address, result),
            Fetched::Peer { account, result } => self.take_peer(account, result),
            Fetched::Buddies { account, purpose, result } => self.take_buddies(account, purpose, result),
            Fetched::Ring { account, result } => self.take_ring(account, result),
            Fetched::ClientId { account, result } => self.take_client_id(account, result),
            Fetched::Outside { address, result } => self.take_outside(&address, result),
            Fetched::Outbox { pair, asked, result } => self.take_outbox(pair, &asked, result),
            Fetched::Deliveries { account, result } => self.take_deliveries(account, result),
            Fetched::Own { account, result } => self.take_own(account, result),
            Fetched::Due(result) => self.take_due(result),
            Fetched::Files { account, result } => self.take_files(account, result),
            Fetched::Quarantined { account, result } => self.take_quarantined(account, result),
            Fetched::Exist { account, result } => self.take_existing(account, result),
            Fetched::Rows(rows) => self.take_rows(rows),
            Fetched::Observed { session, result } => self.take_observed(session, result),
            Fetched::Conversation { account, peer, result } => self.take_conversation(account, peer, *result),
            Fetched::Forgotten { forgetting, slice } => self.take_forgotten(*forgetting, slice),
            Fetched::Needed { account, upto, rows, complete } => {
                self.take_needed(account, upto, rows, complete)
            }
        }
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Row { row, addresses, flight } => self.install_row(&row, &addresses, flight),
            Done::RowFailed { flight, error } => self.row_failed(flight, error),
            Done::Change { account, result } => self.install_change(account, result),
            Done::Settled { settling, result } => self.install_settled(&settling, result),
            Done::Saved(accounts) => self.saved(accounts),
            Done::Domains { table, installed } => {
                self.install_domains(table);
                installed.done();
            }
        }
    }

    fn fall_due(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Lease(session) => self.lease_due(session),
            Deadline::PresenceEnds(session) => self.presence_ends(session),
            Deadline::TypingEnds(session, sender) => self.typing_ends(session, sender),
            Deadline::LazyFlush => self.flush_lazy(),
            Deadline::Due => self.look_for_due(),
            Deadline::Outbox(to, from) => self.pump((to, from)),
            Deadline::OutboxExpires => self.outbox_expires(),
            Deadline::Later => self.later_due(),
            Deadline::Retention(id) => self.look_at_retention(id),
            Deadline::Query(session, number) => self.query_expires(session, number),
            Deadline::Registration(id) => self.registration_due(id),
            Deadline::OutsideIsAway(relay) => self.outside_is_unknown(relay),
        }
    }

    fn install_domains(&mut self, table: Domains) {
        self.domains = table;
        let ids: Vec<AddressId> = self.residents.keys().copied().collect();
        for id in ids {
            self.adopt_preferences(id);
        }
    }

    // ---- small things ---------------------------------------------------------------------------------------

    fn hosts(&self, address: &Address) -> bool {
        self.domains.hosts(address.domain())
    }

    /// Whether an address is an account's here, or a relay carries to it.
    fn reaches(&self, address: &Address) -> bool {
        self.hosts(address) || self.shared.relays.serving(address.domain()).is_some()
    }

    /// Has a deadline looked at then, or earlier: whatever falls due looks whether its time has come, and comes again.
    fn schedule(&mut self, at: Tick, deadline: Deadline) {
        let at = at.min(self.now.tick.after(LONGEST_MS));
        if let Some(armed) = self.armed.get(&deadline) {
            if armed.0 <= at {
                return;
            }
            self.deadlines.remove(armed);
        }
        self.next_deadline += 1;
        let key = (at, self.next_deadline);
        self.deadlines.insert(key, deadline);
        self.armed.insert(deadline, key);
    }

    /// Asks the reader. In a relaxed engine rows are told before they are written: there the writer first writes what it
    /// has taken, so that whoever reads finds everything that was told.
    fn fetch(&mut self, fetch: Fetch) {
        let message = ToReader::Fetch { shard: self.index, generation: self.generation, fetch };
        if self.shared.options.durability == Durability::Full {
            return self.out.reader.push(message);
        }
        let (shared, message) = (Arc::clone(&self.shared), Mutex::new(Some(message)));
        let written = Countdown::new(move || {
            if let Some(message) = lock(&message).take() {
                let _ = shared.reader.put(message);
            }
        });
        self.write(Job::Flush(written));
    }

    fn write(&mut self, job: Job) {
        self.out.writer.push(ToWrite { generation: self.generation, job });
    }

    /// Sends a signal to an account's shard; to this one too, at the end of the step.
    fn signal(&mut self, slot: u64, signal: Signal) {
        let shard = self.shared.shard_of_slot(slot);
        self.out.shards[shard].push(ToShard::Signal(signal));
    }

    fn send_out(&mut self) {
        self.shared.writer.put_all(&mut self.out.writer);
        self.shared.reader.put_all(&mut self.out.reader);
        for (mailbox, messages) in self.shared.shards.iter().zip(&mut self.out.shards) {
            mailbox.put_all(messages);
        }
        // Events before the answer that came with them.
        self.shared.all_readable(&mut lock(&self.out.readable.sessions));
        self.shared.answers.put_all(&mut self.out.answers);
    }
}

impl Drop for Shard {
    /// Shut down it has nothing left. After a panic, here or on another thread, whoever waits for it is answered, and who
    /// reads one of its sessions is told the end.
    fn drop(&mut self) {
        self.shared.shards[self.index].abandon();
        for attached in self.sessions.values() {
            attached.queue.end(EndReason::Shutdown, &*self.shared);
        }
    }
}
