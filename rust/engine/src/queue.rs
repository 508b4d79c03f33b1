//! A session's queue: one, however it is read.
//!
//! Two sorts of event stand in it. Rows of the log come in order, each until it is acknowledged; there is room for
//! a few, the rest waits in the log. Everything else is state of which only the newest counts: it stands in slots,
//! one for each subject, so a slow reader finds the present and not a heap of the past.
//!
//! An event gets its number when it is handed out. What was handed out and not acknowledged comes again, with a new
//! number and the same position and id.

use crate::error::{Error, Result};
use crate::event::{EndReason, Event, EventBody};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, lock, until, wait, wait_for};
use crate::told::Told;
use rosterkit_core::id::{AddressId, Position, SessionId};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::presence::Slots;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many slots a session may fill before it is told to read state again.
const MAX_SLOTS: usize = 8_192;
/// How many events a consumer may have in hand; it gets no more until it acknowledges some.
const MAX_HANDED: usize = 8_192;
/// Where messages come and go, room for so many events outlives them: allocating for each, on one thread what another frees,
/// costs a third of a message that waits for no disk. State, which comes in bursts, leaves no room behind.
const KEPT: usize = 8;
/// After so many failures a message is parked.
const MAX_FAILURES: u8 = 3;
/// How many rows are handed out at once: while a consumer works on these, others are read.
const MAX_ROWS: usize = 512;
/// How many bytes of content are handed out at once. A single event may be larger.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// What a slot is about. One key, one slot, newest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Presence(AddressId),
    Roster(AddressId),
    Typing(AddressId),
    Delivered(AddressId),
    Displayed(AddressId),
    Read(AddressId),
    SnapshotEnd,
    Quarantine,
    BlockList,
    Conversation(AddressId),
    /// With this peer, hashed, or with everybody.
    Forgotten(Option<u64>),
    Preferences,
    /// A query to the session, and an answer to one of its own.
    Query(u64),
    Answer(u64),
    Parked(u128),
    Resync,
}

/// Tells whoever drives the consumer that there is something to read, or the shard that there is room again.
pub(crate) trait Wake: Send + Sync {
    /// The queue went from nothing to something.
    fn readable(&self, session: SessionId);
    /// Rows were acknowledged, in this attachment of the session.
    fn acknowledged(&self, session: SessionId, acks: Acks);
    /// The session is to end.
    fn close(&self, session: SessionId, reason: EndReason);
}

/// What an acknowledgement says to the shard.
#[derive(Debug)]
pub(crate) struct Acks {
    /// The attachment it belongs to: an ack of an older one does nothing.
    pub(crate) attachment: u64,
    /// The rows, in the order of the queue.
    pub(crate) positions: Vec<Position>,
}

pub(crate) struct SessionQueue {
    pub(crate) session: SessionId,
    inner: Mutex<Inner>,
    readable: Condvar,
    /// Bumped at each attachment; also guards against acks of an older one.
    attachment: AtomicU64,
    /// How much state waits before it is left out: what an observer is told of is bounded by what there is.
    max_slots: usize,
}

#[derive(Default)]
struct Inner {
    /// Nearly all queues are empty nearly always, and there are many: one that is not in use has no room.
    held: Option<Box<Held>>,
    next_seq: u64,
    ended: Option<EndReason>,
    end_told: bool,
    /// A consumer is reading or calling back right now.
    consumer: bool,
    /// A listener of the engine's, or whoever reads through the engine, is the consumer; not the holder of the session.
    promised: bool,
    /// The holder's wait, or when there is none its next one, is to end.
    interrupted: bool,
    /// Somebody was told that there is something and has not come yet.
    announced: bool,
    /// How many rows are still to be handed out one at a time: those of a batch that failed.
    singly: usize,
    failures_in_a_row: u32,
}

/// What is in a queue.
#[derive(Default)]
struct Held {
    rows: VecDeque<QueuedRow>,
    slots: Slots<Slot, EventBody>,
    handed: VecDeque<Handed>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.slots.is_empty() && self.handed.is_empty()
    }
}

impl Inner {
    fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_default()
    }

    /// How many events the consumer has in hand.
    fn in_hand(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.handed.len())
    }

    /// What was not handed out stays in the log for the next session; the slots die with this one.
    fn end(&mut self, reason: EndReason) {
        self.ended.get_or_insert(reason);
        if let Some(held) = &mut self.held {
            held.rows.clear();
            held.slots = Slots::default();
        }
    }

    /// Takes what comes next. After the last event of an ended session, `Closed`.
    fn hand_out(&mut self, max: usize, max_bytes: usize, alone: bool) -> Result<Vec<(u64, Told)>> {
        self.announced = false;
        let max = if self.singly > 0 { 1 } else { max };
        let (mut taken, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while taken.len() < max && self.has_more() {
            let fits = |size: usize| alone && taken.is_empty() || bytes + size <= max_bytes;
            let held = self.held();
            if held.rows.front().is_some_and(|row| rows == MAX_ROWS || !fits(row.told.size())) {
                break;
            }
            let (told, place) = if let Some(row) = held.rows.pop_front() {
                rows += 1;
                (row.told.clone(), Place::Row(row))
            } else if let Some((slot, body)) = held.slots.pop_front() {
                if !fits(body.size()) {
                    held.slots.give_back(slot, body);
                    break;
                }
                (Told::Event(body.clone()), Place::Slot(slot, body))
            } else if let (Some(reason), false) = (self.ended, self.end_told) {
                self.end_told = true;
                (Told::Event(EventBody::Ended(reason)), Place::End)
            } else {
                break;
            };
            bytes += told.size();
            let seq = self.next_seq;
            self.next_seq += 1;
            self.held().handed.push_back(Handed { seq, place });
            taken.push((seq, told));
        }
        if taken.is_empty() && self.end_told {
            return Err(Error::session_closed());
        }
        Ok(taken)
    }

    /// Puts back what was handed out under this number or a later one and not acknowledged. Gives the rows that are `to_blame`
    /// once too often, which are not.
    fn take_back(&mut self, first: u64, to_blame: bool) -> Vec<QueuedRow> {
        let mut parked = Vec::new();
        let over = self.ended.is_some();
        while let Some(held) = self.held.as_deref_mut()
            && held.handed.back().is_some_and(|handed| handed.seq >= first)
            && let Some(Handed { place, .. }) = held.handed.pop_back()
        {
            match place {
                Place::End => self.end_told = false,
                // Of a session that has ended only the end comes again; its rows are in the log for the next one.
                _ if over => {}
                Place::Row(mut row) => {
                    row.failures += u8::from(to_blame);
                    match row.failures >= MAX_FAILURES {
                        true => parked.push(row),
                        false => held.rows.push_front(row),
                    }
                }
                // State comes again as it is by then.
                Place::Slot(slot, body) => held.slots.give_back(slot, body),
            }
        }
        parked
    }

    fn has_more(&self) -> bool {
        let anything = self.held.as_ref().is_some_and(|h| !h.rows.is_empty() || !h.slots.is_empty())
            || self.ended.is_some() && !self.end_told;
        anything && self.in_hand() < MAX_HANDED
    }
}

struct QueuedRow {
    position: Position,
    told: Told,
    failures: u8,
}

struct Handed {
    seq: u64,
    place: Place,
}

/// What was handed out, as it goes back to where it stood when it could not be dealt with.
enum Place {
    Row(QueuedRow),
    Slot(Slot, EventBody),
    End,
}

impl Place {
    const fn row(&self) -> Option<Position> {
        match self {
            Place::Row(row) => Some(row.position),
            Place::Slot(..) | Place::End => None,
        }
    }
}

impl SessionQueue {
    pub(crate) fn new(session: SessionId) -> Self {
        SessionQueue {
            session,
            inner: Mutex::new(Inner { next_seq: 1, ..Inner::default() }),
            readable: Condvar::new(),
            attachment: AtomicU64::new(1),
            max_slots: MAX_SLOTS,
        }
    }

    /// One of an observer's.
    pub(crate) fn observing(session: SessionId) -> Self {
        SessionQueue { max_slots: usize::MAX, ..SessionQueue::new(session) }
    }

    /// Puts rows at the end; how many, the shard decides. A session that has ended does not get them.
    pub(crate) fn put_rows(&self, new: impl IntoIterator<Item = (Position, Told)>, wake: &dyn Wake) {
        let mut inner = lock(&self.inner);
        // What is to be put is made on the way, and counted: also where nobody gets it.
        for (position, told) in new {
            if inner.ended.is_some() {
                continue;
            }
            let rows = &mut inner.held().rows;
            rows.push_back(QueuedRow { position, told, failures: 0 });
            if planted(Bug::Reorder) && rows.len() > 1 {
                rows.swap(rows.len() - 2, rows.len() - 1);
            }
        }
        self.announce(inner, wake);
    }

    /// Puts state into its slot, in place of what stood there.
    pub(crate) fn put_slot(&self, slot: Slot, body: EventBody, wake: &dyn Wake) {
        let mut inner = lock(&self.inner);
        if inner.ended.is_some() {
            return;
        }
        let slots = &mut inner.held().slots;
        if slots.len() >= self.max_slots && !slots.contains(&slot) {
            *slots = Slots::default();
            slots.put(Slot::Resync, EventBody::Resync);
        } else {
            slots.put(slot, body);
        }
        self.announce(inner, wake);
    }

    /// The session sees nobody any more: what it was to be told of them is of no use, and does not come again.
    pub(crate) fn forget_presence(&self, wake: &dyn Wake) {
        let of_presence = |slot: &Slot| matches!(slot, Slot::Presence(_) | Slot::SnapshotEnd);
        let mut inner = lock(&self.inner);
        if let Some(held) = &mut inner.held {
            held.handed.retain(|h| !matches!(&h.place, Place::Slot(slot, _) if of_presence(slot)));
            held.slots.retain(|slot| !of_presence(slot));
        }
        // The consumer may have had as many in hand as it gets.
        self.announce(inner, wake);
    }

    /// The consumer need not be told this any more. In its hands it stays.
    pub(crate) fn forget(&self, slot: Slot) {
        if let Some(held) = &mut lock(&self.inner).held {
            held.slots.retain(|one| *one != slot);
        }
    }

    /// Nothing follows what is in the queue but the reason.
    pub(crate) fn end(&self, reason: EndReason, wake: &dyn Wake) {
        let mut inner = lock(&self.inner);
        inner.end(reason);
        self.announce(inner, wake);
        // Whoever waits for the end looks at nothing else, so what was announced before does not count.
        self.readable.notify_all();
    }

    /// Starts over, for the same session in a new attachment: rows come again from the log.
    pub(crate) fn reattach(&self, wake: &dyn Wake) {
        let mut inner = lock(&self.inner);
        if let Some(held) = &mut inner.held {
            held.rows.clear();
            held.handed.clear();
        }
        self.attachment.fetch_add(1, Ordering::Relaxed);
        self.announce(inner, wake);
    }

    pub(crate) fn attachment(&self) -> u64 {
        self.attachment.load(Ordering::Relaxed)
    }

    /// Drops a row that is of no use any more, unless it was handed out. Says whether it was here.
    pub(crate) fn drop_row(&self, position: Position) -> bool {
        let mut inner = lock(&self.inner);
        let Some(held) = &mut inner.held else { return false };
        let before = held.rows.len();
        held.rows.retain(|row| row.position != position);
        held.rows.len() < before
    }

    /// Whether this row waits here, handed out or not.
    pub(crate) fn holds(&self, position: Position) -> bool {
        let inner = lock(&self.inner);
        inner.held.as_ref().is_some_and(|held| {
            held.rows.iter().any(|r| r.position == position)
                || held.handed.iter().any(|h| h.place.row() == Some(position))
        })
    }

    /// Whether there is something to hand out. When there is not, whoever was told so has come, and is told again of what
    /// comes next: what was announced may be gone by now.
    pub(crate) fn has_more(&self) -> bool {
        let mut inner = lock(&self.inner);
        let has_more = inner.has_more();
        inner.announced &= has_more;
        has_more
    }

    /// How many batches failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        lock(&self.inner).failures_in_a_row
    }

    /// Whether nothing follows what is in it.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.inner).ended.is_some()
    }

    fn announce(&self, mut inner: crate::sync::MutexGuard<'_, Inner>, wake: &dyn Wake) {
        if inner.announced || !inner.has_more() {
            return;
        }
        inner.announced = true;
        drop(inner);
        self.readable.notify_one();
        wake.readable(self.session);
    }

    /// From here on it is not the holder of the session who reads.
    pub(crate) fn promise(&self) {
        lock(&self.inner).promised = true;
    }

    /// Ends the holder's wait; when there is none, its next one ends at once.
    pub(crate) fn interrupt(&self) {
        lock(&self.inner).interrupted = true;
        self.readable.notify_all();
    }

    /// The same as [`begin`](Self::begin), for the holder of the session.
    pub(crate) fn begin_as_holder<'a>(&'a self, wake: &'a dyn Wake) -> Result<Reading<'a>> {
        if lock(&self.inner).promised {
            return Err(Error::misuse("the session is read by its listener, or through the engine"));
        }
        self.begin(wake)
    }

    /// Takes the right to read. Two at once are a mistake of the host.
    pub(crate) fn begin<'a>(&'a self, wake: &'a dyn Wake) -> Result<Reading<'a>> {
        let mut inner = lock(&self.inner);
        if inner.consumer {
            return Err(Error::misuse("the session is being read already: one consumer at a time"));
        }
        inner.consumer = true;
        Ok(Reading { queue: self, wake })
    }

    /// Acknowledges every event up to `seq`. Cumulative and idempotent.
    pub(crate) fn ack(&self, seq: u64, wake: &dyn Wake) {
        let mut positions = Vec::new();
        let attachment;
        {
            let mut inner = lock(&self.inner);
            // Of the attachment in which they were handed out: behind the lock there may be another.
            attachment = self.attachment();
            let was_full = inner.in_hand() >= MAX_HANDED;
            if let Some(held) = &mut inner.held {
                while held.handed.front().is_some_and(|h| h.seq <= seq) {
                    positions.extend(held.handed.pop_front().and_then(|h| h.place.row()));
                }
            }
            let talking = !positions.is_empty();
            inner.held.take_if(|held| held.is_empty() && !(talking && held.handed.capacity() <= KEPT));
            inner.singly = inner.singly.saturating_sub(positions.len());
            inner.failures_in_a_row = 0;
            if was_full {
                self.announce(inner, wake);
            }
        }
        if !positions.is_empty() {
            wake.acknowledged(self.session, Acks { attachment, positions });
        }
    }

    /// What was handed out and not acknowledged could not be dealt with: it comes again, one by one. A row that
    /// failed three times is parked: acknowledged, and told. Returns how many batches failed in a row.
    pub(crate) fn fail(&self, wake: &dyn Wake) -> u32 {
        self.take_back(true, wake)
    }

    /// What was handed out and not acknowledged comes again, and nothing is to blame for it.
    pub(crate) fn hand_back(&self, wake: &dyn Wake) {
        self.take_back(false, wake);
    }

    fn take_back(&self, failed_at_it: bool, wake: &dyn Wake) -> u32 {
        let (parked, attachment, failures) = {
            let mut inner = lock(&self.inner);
            // Only a row that failed alone is to blame; a failed batch is tried again in ones first.
            let in_hand = inner.held.as_ref().map(|held| held.handed.iter());
            let failed = in_hand.into_iter().flatten().filter(|h| h.place.row().is_some()).count();
            let parked = inner.take_back(0, failed_at_it && failed == 1);
            let singly = if failed_at_it { inner.singly.max(failed) - parked.len() } else { inner.singly };
            inner.singly = if inner.ended.is_some() { 0 } else { singly };
            inner.failures_in_a_row += u32::from(failed_at_it);
            (parked, self.attachment(), inner.failures_in_a_row)
        };
        for QueuedRow { position, told, .. } in parked {
            if let Ok(EventBody::Message(message)) = told.into_event() {
                let slot = Slot::Parked(message.id.0.as_u128());
                self.put_slot(slot, EventBody::Parked { message_id: message.id }, wake);
            }
            wake.acknowledged(self.session, Acks { attachment, positions: vec![position] });
        }
        self.announce(lock(&self.inner), wake);
        failures
    }
}

/// The right to read a queue, until dropped.
pub(crate) struct Reading<'a> {
    queue: &'a SessionQueue,
    wake: &'a dyn Wake,
}

impl Reading<'_> {
    /// Hands out up to `max` events without waiting. Empty when there are none. After the last one of an ended
    /// session, `Closed`.
    pub(crate) fn take(&self, max: usize) -> Result<Vec<Event>> {
        self.take_within(max, MAX_BYTES, true)
    }

    /// The same, with no more content than so many bytes. When nothing else is handed out with it, an event that is larger
    /// still passes, or it never would.
    pub(crate) fn take_within(&self, max: usize, max_bytes: usize, alone: bool) -> Result<Vec<Event>> {
        loop {
            let handed = lock(&self.queue.inner).hand_out(max, max_bytes, alone)?;
            if handed.is_empty() {
                return Ok(Vec::new());
            }
            let events = self.show(handed);
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Whether somebody asked the holder to stop.
    pub(crate) fn was_interrupted(&self) -> bool {
        std::mem::take(&mut lock(&self.queue.inner).interrupted)
    }

    /// Waits until the session has ended.
    pub(crate) fn wait_for_end(&self) {
        let mut inner = lock(&self.queue.inner);
        while inner.ended.is_none() {
            inner = wait(&self.queue.readable, inner);
        }
    }

    /// The same, waiting up to `timeout` for the first, or until it is interrupted.
    pub(crate) fn wait(&self, max: usize, timeout: Duration) -> Result<Vec<Event>> {
        let until = until(timeout);
        let mut inner = lock(&self.queue.inner);
        loop {
            let handed = inner.hand_out(max, MAX_BYTES, true)?;
            if !handed.is_empty() {
                drop(inner);
                let events = self.show(handed);
                if !events.is_empty() {
                    return Ok(events);
                }
                inner = lock(&self.queue.inner);
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || std::mem::take(&mut inner.interrupted) {
                return Ok(Vec::new());
            }
            inner = wait_for(&self.queue.readable, inner, left);
        }
    }

    /// The events of what is handed out, without the lock: a shard does not wait for it. Behind a row that is not what was
    /// written nothing comes, and the session ends when what is in front of it was dealt with.
    fn show(&self, handed: Vec<(u64, Told)>) -> Vec<Event> {
        let mut events = Vec::with_capacity(handed.len());
        for (seq, told) in handed {
            match told.into_event() {
                Ok(body) => events.push(Event { seq, body }),
                Err(error) => {
                    let mut inner = lock(&self.queue.inner);
                    inner.take_back(seq, false);
                    if events.is_empty() {
                        tracing::warn!(%error, "a row cannot be read");
                        inner.end(EndReason::StorageFailed);
                        drop(inner);
                        self.wake.close(self.queue.session, EndReason::StorageFailed);
                    }
                    break;
                }
            }
        }
        events
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut inner = lock(&self.queue.inner);
        inner.consumer = false;
        // Who was told meanwhile came and was turned away: what is put from here on is told again. What is there
        // already is found by looking again, as whoever is not asked anew by its host has to.
        inner.announced = false;
    }
}
