//! Events on their way to hosts: who reads which session, and the threads that call back.

use crate::command::{Consumer, Listener};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EndReason, Event, EventBody};
use crate::queue::{SessionQueue, Wake};
use crate::sync::{Condvar, Mutex, lock, thread_local, until, wait, wait_for};
use rosterkit_core::id::SessionId;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How many events a listener gets at once.
const BATCH: usize = 64;
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
    IN_CALLBACK.with(|here| here.set(true));
    let result = catch_unwind(AssertUnwindSafe(host));
    IN_CALLBACK.with(|here| here.set(false));
    result
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

    /// Batches of sessions that have something, up to so many events in all; waits for the first.
    pub(crate) fn next_batches(
        &self,
        max_events: usize,
        timeout: Duration,
        wake: &dyn Wake,
    ) -> Result<Vec<Batch>> {
        let until = until(timeout);
        loop {
            let batches = self.take_batches(max_events, wake)?;
            let left = until.saturating_duration_since(Instant::now());
            if !batches.is_empty() || left.is_zero() {
                return Ok(batches);
            }
            let inner = lock(&self.inner);
            if inner.to_hand.is_empty() && !inner.closed {
                drop(wait_for(&self.for_engine, inner, left));
            }
        }
    }

    fn take_batches(&self, max_events: usize, wake: &dyn Wake) -> Result<Vec<Batch>> {
        let (mut batches, mut events) = (Vec::new(), 0);
        while events < max_events {
            let (session, queue) = {
                let mut inner = lock(&self.inner);
                match inner.to_hand.pop_front() {
                    Some(session) => (session, inner.consumers.get(&session).and_then(|r| r.queue.upgrade())),
                    None if inner.closed && batches.is_empty() => return Err(Error::closed()),
                    None => break,
                }
            };
            let Some(queue) = queue else { continue };
            match queue.begin().and_then(|reading| reading.take(max_events - events)) {
                Ok(taken) => {
                    events += taken.len();
                    // Also when there was nothing: whoever was told of more meanwhile was turned away.
                    if queue.has_more() {
                        wake.readable(session);
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
            let Ok(reading) = queue.begin() else { return };
            // One that failed too often is called once more: to be told the end.
            while queue.failures() < MAX_FAILURES || queue.has_ended() {
                let events = match reading.take(BATCH) {
                    Ok(events) => events,
                    Err(_) => return self.forget(session),
                };
                let Some(last) = events.last().map(|e| e.seq) else {
                    continue 'look;
                };
                let result = in_callback(|| listener.on_events(session, &events));
                match result {
                    Ok(Ok(())) => queue.ack(last, wake),
                    Ok(Err(_)) | Err(_) => {
                        if queue.fail(wake) >= MAX_FAILURES {
                            // One that fails at the end of its session is told no more.
                            if is_the_end(&events) {
                                return self.forget(session);
                            }
                            wake.close(session, EndReason::ListenerFailed);
                        }
                    }
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
        lock(&self.inner).closed = true;
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
