//! Events on their way to hosts: who reads which session, and the threads that call back.

use crate::command::{Consumer, Listener};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EndReason, Event, EventBody};
use crate::queue::{SessionQueue, Wake};
use crate::sync::{Condvar, Mutex, lock, thread_local, until, wait, wait_for};
use crate::wakeup::{Interrupts, Source, Wakeup};
use rosterkit_core::id::SessionId;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How many events a listener gets at once.
pub(crate) const BATCH: usize = 64;
/// After so many failures in a row a listener's session is ended.
const MAX_FAILURES: u32 = 100;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a listener right now.
pub(crate) fn is_in_callback() -> bool {
    IN_CALLBACK.with(Cell::get)
}

fn in_callback<T>(host: impl FnOnce() -> T) -> std::thread::Result<T> {
    // What a listener calls may call another one on its thread: it is inside until the outermost has returned.
    let outside = IN_CALLBACK.with(|here| here.replace(true));
    let result = catch_unwind(AssertUnwindSafe(host));
    IN_CALLBACK.with(|here| here.set(outside));
    result
}

/// Calls a listener with a batch, which acknowledges it, or not. Says whether nothing follows.
pub(crate) fn deliver(
    queue: &SessionQueue,
    listener: &dyn Listener,
    events: &[Event],
    wake: &dyn Wake,
) -> bool {
    let Some(last) = events.last() else { return false };
    let is_the_end = matches!(last.body, EventBody::Ended(_));
    match in_callback(|| listener.on_events(queue.session, events)) {
        Ok(Ok(())) => {
            queue.ack(last.seq, wake);
            is_the_end
        }
        Ok(Err(_)) | Err(_) => {
            let too_often = queue.fail(wake) >= MAX_FAILURES;
            if too_often && !is_the_end {
                wake.close(queue.session, EndReason::ListenerFailed);
            }
            // One that fails at the end of its session is told no more.
            too_often && is_the_end
        }
    }
}

/// Whether a listener failed too often to be called with anything but the end.
pub(crate) fn only_the_end_follows(queue: &SessionQueue) -> bool {
    queue.failures() >= MAX_FAILURES
}

/// Sessions that are read by a listener or through the engine, and which of them have something to read.
pub(crate) struct Ready {
    inner: Mutex<Inner>,
    for_listeners: Condvar,
    for_engine: Condvar,
}

#[derive(Default)]
struct Inner {
    consumers: FxHashMap<SessionId, Registered>,
    listeners: usize,
    /// Sessions with a listener that have something to read.
    to_call: VecDeque<SessionId>,
    /// The same, read through the engine.
    to_hand: VecDeque<SessionId>,
    /// Dispatchers that wait for work, and all there are.
    waiting: usize,
    closed: bool,
    interrupts: Interrupts,
    wakeup: Option<Arc<Wakeup>>,
}

impl Inner {
    /// Says on the descriptor whether there is something to hand out.
    fn show(&self) {
        if let Some(wakeup) = &self.wakeup {
            wakeup.show(Source::Batches, !self.to_hand.is_empty() || self.closed);
        }
    }
}

struct Registered {
    queue: Weak<SessionQueue>,
    listener: Option<Arc<dyn Listener>>,
}

/// A batch for a server that reads all its sessions in one place.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose.
    pub session: SessionId,
    /// What. Acknowledge with [`Engine::ack`](crate::Engine::ack), by the last one's number.
    pub events: Vec<Event>,
}

fn notify(waiters: &Condvar, many: usize) {
    match many {
        0 => {}
        1 => waiters.notify_one(),
        _ => waiters.notify_all(),
    }
}

/// Whether nothing follows these.
fn is_the_end(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event { body: EventBody::Ended(_), .. }))
}

impl Ready {
    pub(crate) fn new() -> Self {
        Ready {
            inner: Mutex::new(Inner::default()),
            for_listeners: Condvar::new(),
            for_engine: Condvar::new(),
        }
    }

    pub(crate) fn admits_listener(&self, max: usize) -> bool {
        lock(&self.inner).listeners < max
    }

    pub(crate) fn register(&self, queue: &Arc<SessionQueue>, consumer: Consumer) {
        let listener = match consumer {
            Consumer::Pull => return,
            Consumer::Listener(listener) => Some(listener),
            Consumer::Engine => None,
        };
        queue.promise();
        let mut inner = lock(&self.inner);
        inner.listeners += usize::from(listener.is_some());
        inner.consumers.insert(queue.session, Registered { queue: Arc::downgrade(queue), listener });
    }

    /// Sessions have something to read. Says how many listeners nobody is free to call.
    pub(crate) fn readable(&self, sessions: &mut Vec<SessionId>) -> usize {
        let mut guard = lock(&self.inner);
        let inner = &mut *guard;
        let (called, handed) = (inner.to_call.len(), inner.to_hand.len());
        for session in sessions.drain(..) {
            match inner.consumers.get(&session) {
                None => {}
                Some(Registered { listener: Some(_), .. }) => inner.to_call.push_back(session),
                Some(Registered { listener: None, .. }) => inner.to_hand.push_back(session),
            }
        }
        let (called, handed) = (inner.to_call.len() - called, inner.to_hand.len() - handed);
        let nobody = inner.to_call.len().saturating_sub(inner.waiting).min(called);
        inner.show();
        drop(guard);
        notify(&self.for_listeners, called);
        notify(&self.for_engine, handed);
        nobody
    }

    /// The queue of a session that is read through the engine.
    pub(crate) fn queue(&self, session: SessionId) -> Option<Arc<SessionQueue>> {
        lock(&self.inner).consumers.get(&session).and_then(|r| r.queue.upgrade())
    }

    /// Forgets a session whose last event was handed out. Its listener is dropped outside of the lock: a host's
    /// destructor may call the engine.
    fn forget(&self, session: SessionId) {
        let gone = {
            let mut inner = lock(&self.inner);
            let gone = inner.consumers.remove(&session);
            inner.listeners -= usize::from(gone.as_ref().is_some_and(|r| r.listener.is_some()));
            gone
        };
        drop(gone);
    }

    // ---- read through the engine ----------------------------------------------------------------------------

    /// Batches of sessions that have something, up to so many events and bytes in all; waits for the first, or until it is
    /// interrupted.
    pub(crate) fn next_batches(
        &self,
        max_events: usize,
        max_bytes: usize,
        timeout: Duration,
        wake: &dyn Wake,
    ) -> Result<Vec<Batch>> {
        let until = until(timeout);
        let begun = lock(&self.inner).interrupts.begin();
        loop {
            let batches = self.take_batches(max_events, max_bytes, wake)?;
            let left = until.saturating_duration_since(Instant::now());
            if !batches.is_empty() || left.is_zero() {
                return Ok(batches);
            }
            let mut inner = lock(&self.inner);
            if inner.interrupts.end(begun) {
                return Ok(batches);
            }
            if inner.to_hand.is_empty() && !inner.closed {
                drop(wait_for(&self.for_engine, inner, left));
            }
        }
    }

    fn take_batches(&self, max_events: usize, max_bytes: usize, wake: &dyn Wake) -> Result<Vec<Batch>> {
        let (mut batches, mut events, mut bytes) = (Vec::new(), 0, 0);
        while events < max_events {
            let (session, queue) = {
                let mut inner = lock(&self.inner);
                let first = inner.to_hand.pop_front();
                inner.show();
                match first {
                    Some(session) => (session, inner.consumers.get(&session).and_then(|r| r.queue.upgrade())),
                    None if inner.closed && batches.is_empty() => return Err(Error::closed()),
                    None => break,
                }
            };
            let Some(queue) = queue else { continue };
            let (most, room, alone) =
                (max_events - events, max_bytes.saturating_sub(bytes), batches.is_empty());
            match queue.begin(wake).and_then(|reading| reading.take_within(most, room, alone)) {
                Ok(taken) => {
                    events += taken.len();
                    bytes += taken.iter().map(|event| event.body.size()).sum::<usize>();
                    // Also when there was nothing: whoever was told of more meanwhile was turned away.
                    let has_more = queue.has_more();
                    if has_more {
                        wake.readable(session);
                    }
                    if has_more && taken.is_empty() {
                        // What is next is too large for what is left of the bytes.
                        return Ok(batches);
                    }
                    if is_the_end(&taken) {
                        // Nobody looks at it again.
                        self.forget(session);
                    }
                    if !taken.is_empty() {
                        batches.push(Batch { session, events: taken });
                    }
                }
                Err(error) if error.kind == ErrorKind::Closed => self.forget(session),
                // Somebody else reads it at this moment, and looks again when done.
                Err(_) => {}
            }
        }
        Ok(batches)
    }

    /// Ends the waits for batches; when there are none, the next one ends at once.
    pub(crate) fn interrupt(&self) {
        lock(&self.inner).interrupts.raise();
        self.for_engine.notify_all();
    }

    /// From here on the descriptor says whether there is something to hand out.
    pub(crate) fn watch(&self, wakeup: &Arc<Wakeup>) {
        let mut inner = lock(&self.inner);
        inner.wakeup = Some(Arc::clone(wakeup));
        inner.show();
    }

    // ---- called back ----------------------------------------------------------------------------------------

    /// Takes a session whose listener is to be called, without waiting.
    pub(crate) fn take_call(&self) -> Option<SessionId> {
        lock(&self.inner).to_call.pop_front()
    }

    /// The same, waiting. `None` when the engine is down, or when more dispatchers wait than are worth keeping.
    pub(crate) fn wait_call(&self, spare: usize) -> Option<SessionId> {
        let mut inner = lock(&self.inner);
        inner.waiting += 1;
        let session = loop {
            if let Some(session) = inner.to_call.pop_front() {
                break Some(session);
            }
            if inner.closed || inner.waiting > spare {
                break None;
            }
            inner = wait(&self.for_listeners, inner);
        };
        inner.waiting -= 1;
        session
    }

    /// Calls a session's listener until it has nothing to read. A listener that fails, or panics, gets the same
    /// again, one by one.
    pub(crate) fn call(&self, session: SessionId, wake: &dyn Wake) {
        let found = {
            let inner = lock(&self.inner);
            inner.consumers.get(&session).and_then(|r| Some((r.queue.upgrade()?, r.listener.clone()?)))
        };
        let Some((queue, listener)) = found else { return };
        // The right to read is kept while the host runs: batches come one at a time. Whatever is put after the last
        // look and before the right is given back is found by looking again.
        'look: while queue.has_more() {
            let Ok(reading) = queue.begin(wake) else { return };
            // One that failed too often is called once more: to be told the end.
            while !only_the_end_follows(&queue) || queue.has_ended() {
                let events = match reading.take(BATCH) {
                    Ok(events) => events,
                    Err(_) => return self.forget(session),
                };
                if events.is_empty() {
                    continue 'look;
                }
                if deliver(&queue, &*listener, &events, wake) {
                    return self.forget(session);
                }
            }
            drop(reading);
            // An end that comes from here on is announced, one that came before is told now.
            if !queue.has_ended() {
                return;
            }
        }
    }

    /// Wakes everybody who waits, and lets go of listeners that were told the end.
    pub(crate) fn close(&self) {
        {
            let mut inner = lock(&self.inner);
            inner.closed = true;
            inner.show();
        }
        self.for_listeners.notify_all();
        self.for_engine.notify_all();
    }

    /// Lets go of every listener. Who reads through the engine may still come for the ends of its sessions.
    pub(crate) fn forget_all(&self) {
        let all = std::mem::take(&mut lock(&self.inner).consumers);
        let (listeners, read): (FxHashMap<_, _>, _) =
            all.into_iter().partition(|(_, r)| r.listener.is_some());
        lock(&self.inner).consumers = read;
        drop(listeners);
    }
}
