//! A queue into a step function. Many put, one takes everything at once.

use crate::sync::{Condvar, Mutex, lock, wait, wait_for};
use std::collections::VecDeque;
use std::time::Duration;

/// A mailbox. Putting never blocks: memory is bounded where work enters the engine (see
/// [`Credits`](crate::answers::Credits)), so queues between steps never have to refuse.
pub(crate) struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
}

struct Inner<T> {
    queue: VecDeque<T>,
    /// Somebody wants the taker to come back although nothing was put.
    nudged: bool,
    closed: bool,
}

/// What a taker finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There may be something to do.
    Some,
    /// The mailbox is closed and empty.
    Closed,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Self {
        Mailbox {
            inner: Mutex::new(Inner { queue: VecDeque::new(), nudged: false, closed: false }),
            filled: Condvar::new(),
        }
    }

    /// Puts one; gives it back when the mailbox is closed.
    pub(crate) fn put(&self, item: T) -> Result<(), T> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(item);
        }
        inner.queue.push_back(item);
        if inner.queue.len() == 1 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Puts all of them, in order, as one.
    pub(crate) fn put_all(&self, items: &mut Vec<T>) {
        if items.is_empty() {
            return;
        }
        let mut inner = lock(&self.inner);
        if inner.closed {
            // What an item does when it is dropped is not done under the lock.
            drop(inner);
            return items.clear();
        }
        let was_empty = inner.queue.is_empty();
        inner.queue.extend(items.drain(..));
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Makes a waiting taker look around.
    pub(crate) fn nudge(&self) {
        lock(&self.inner).nudged = true;
        self.filled.notify_one();
    }

    /// Nothing more can be put; what is in it can still be taken.
    pub(crate) fn close(&self) {
        lock(&self.inner).closed = true;
        self.filled.notify_all();
    }

    /// Nobody takes from it any more: what is in it is dropped.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut left = VecDeque::new();
        self.take(&mut left);
    }

    /// Moves everything into `into`, without waiting.
    pub(crate) fn take(&self, into: &mut VecDeque<T>) {
        let mut inner = lock(&self.inner);
        inner.nudged = false;
        into.append(&mut inner.queue);
    }

    /// Waits until there is something, for `timeout` at most (for ever without one), and moves it into `into`.
    pub(crate) fn wait(&self, into: &mut VecDeque<T>, timeout: Option<Duration>) -> Taken {
        let mut inner = lock(&self.inner);
        if inner.queue.is_empty() && !inner.nudged && !inner.closed {
            inner = match timeout {
                // Woken early for nothing, the taker finds nothing and comes again.
                Some(time) => wait_for(&self.filled, inner, time),
                None => wait(&self.filled, inner),
            };
        }
        inner.nudged = false;
        into.append(&mut inner.queue);
        if into.is_empty() && inner.closed { Taken::Closed } else { Taken::Some }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.inner).queue.is_empty()
    }
}
