//! The way back: tickets, plain calls, and the credits that bound what is under way.

use crate::command::{Answer, Answered, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::relay::queue::RelayQueue;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, lock, until, wait, wait_for};
use crate::wakeup::{Interrupts, Source, Wakeup};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where the answer to a command goes. Dropped unanswered it says that the engine has ended, so no caller waits for ever.
pub(crate) struct ReplyTo {
    to: Option<To>,
    credit: Option<Credit>,
}

enum To {
    Ticket(Ticket, Arc<Answers>),
    Call(Arc<Call>),
    /// A parcel that came in, by its number in that connection of a relay.
    Relay {
        number: u64,
        epoch: u64,
        queue: Arc<RelayQueue>,
    },
}

impl ReplyTo {
    pub(crate) fn ticket(ticket: Ticket, answers: Arc<Answers>, credit: Credit) -> Self {
        ReplyTo { to: Some(To::Ticket(ticket, answers)), credit: Some(credit) }
    }

    pub(crate) fn call(call: Arc<Call>, credit: Credit) -> Self {
        ReplyTo { to: Some(To::Call(call)), credit: Some(credit) }
    }

    pub(crate) fn relay(number: u64, epoch: u64, queue: Arc<RelayQueue>, credit: Credit) -> Self {
        ReplyTo { to: Some(To::Relay { number, epoch, queue }), credit: Some(credit) }
    }

    /// Nobody asked.
    pub(crate) const fn nobody() -> Self {
        ReplyTo { to: None, credit: None }
    }

    pub(crate) fn answer(mut self, result: Result<Answer>) {
        self.put(result);
    }

    /// The same; an answer for the engine's queue joins others, which are put there together.
    pub(crate) fn answer_with_others(mut self, result: Result<Answer>, others: &mut Vec<Untaken>) {
        match self.to.take() {
            Some(To::Ticket(ticket, _)) => {
                others.push(Untaken { answered: Answered { ticket, result }, _credit: self.credit.take() });
            }
            to => {
                self.to = to;
                self.put(result);
            }
        }
    }

    fn put(&mut self, result: Result<Answer>) {
        match self.to.take() {
            Some(To::Ticket(ticket, answers)) => {
                let answered = Answered { ticket, result };
                answers.put_all(&mut vec![Untaken { answered, _credit: self.credit.take() }]);
            }
            Some(To::Call(call)) => {
                // First: whoever has the answer may ask the next thing at once.
                drop(self.credit.take());
                call.put(result);
            }
            Some(To::Relay { number, epoch, queue }) => {
                let result = result.and_then(|answer| match answer {
                    Answer::Received(settlements) => Ok(settlements),
                    _ => Err(Error::internal("a parcel was answered with something else")),
                });
                queue.put_received(epoch, number, result, self.credit.take());
            }
            None => {}
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        let ended = self.credit.as_ref().map_or_else(Error::closed, |credit| credit.credits.ended());
        self.put(Err(ended));
    }
}

/// One plain call that waits for its answer.
pub(crate) struct Call {
    result: Mutex<Option<Result<Answer>>>,
    there: Condvar,
}

impl Call {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Call { result: Mutex::new(None), there: Condvar::new() })
    }

    fn put(&self, result: Result<Answer>) {
        *lock(&self.result) = Some(result);
        self.there.notify_one();
    }

    pub(crate) fn take(&self) -> Option<Result<Answer>> {
        lock(&self.result).take()
    }

    pub(crate) fn wait(&self) -> Result<Answer> {
        let mut result = lock(&self.result);
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            result = wait(&self.there, result);
        }
    }
}

/// An answer that nobody took yet. Its credit is given back when it is taken, which bounds the queue.
pub(crate) struct Untaken {
    answered: Answered,
    _credit: Option<Credit>,
}

/// The engine's queue of answers to submitted commands.
pub(crate) struct Answers {
    inner: Mutex<Inner>,
    there: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Untaken>,
    closed: bool,
    interrupts: Interrupts,
    wakeup: Option<Arc<Wakeup>>,
}

impl Inner {
    /// Says on the descriptor whether there is something to take.
    fn show(&self) {
        if let Some(wakeup) = &self.wakeup {
            wakeup.show(Source::Answers, !self.queue.is_empty() || self.closed);
        }
    }
}

impl Answers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Answers { inner: Mutex::new(Inner::default()), there: Condvar::new() })
    }

    /// Puts all of them, in order.
    pub(crate) fn put_all(&self, answered: &mut Vec<Untaken>) {
        if answered.is_empty() {
            return;
        }
        let mut inner = lock(&self.inner);
        let was_empty = inner.queue.is_empty();
        inner.queue.extend(answered.drain(..));
        inner.show();
        if was_empty {
            self.there.notify_one();
        }
    }

    /// Takes up to `max` answers; waits for the first for `timeout` at most, or until it is interrupted. Empty when none
    /// came.
    pub(crate) fn take(&self, max: usize, timeout: Duration) -> Result<Vec<Answered>> {
        let until = until(timeout);
        let mut inner = lock(&self.inner);
        let begun = inner.interrupts.begin();
        loop {
            if !inner.queue.is_empty() {
                let n = max.min(inner.queue.len());
                let taken = inner.queue.drain(..n).map(|untaken| untaken.answered).collect();
                inner.show();
                if !inner.queue.is_empty() {
                    // Only the first was announced: what this one leaves is the next one's.
                    self.there.notify_one();
                }
                return Ok(taken);
            }
            if inner.closed {
                return Err(Error::closed());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || inner.interrupts.end(begun) {
                return Ok(Vec::new());
            }
            inner = wait_for(&self.there, inner, left);
        }
    }

    /// Wakes every waiter; what is in the queue can still be taken.
    pub(crate) fn close(&self) {
        {
            let mut inner = lock(&self.inner);
            inner.closed = true;
            inner.show();
        }
        self.there.notify_all();
    }

    /// Ends the waits for answers; when there are none, the next one ends at once.
    pub(crate) fn interrupt(&self) {
        lock(&self.inner).interrupts.raise();
        self.there.notify_all();
    }

    /// From here on the descriptor says whether there is something to take.
    pub(crate) fn watch(&self, wakeup: &Arc<Wakeup>) {
        let mut inner = lock(&self.inner);
        inner.wakeup = Some(Arc::clone(wakeup));
        inner.show();
    }
}

/// How much may be under way at once, in commands and in bytes: the bound of the engine's memory at its edge. And why
/// nothing is any more.
pub(crate) struct Credits {
    commands: AtomicUsize,
    bytes: AtomicUsize,
    max_commands: usize,
    max_bytes: usize,
    /// What a step said when it panicked.
    failure: OnceLock<String>,
}

/// A part of the credits, given back when dropped.
pub(crate) struct Credit {
    credits: Arc<Credits>,
    bytes: usize,
}

impl Credits {
    pub(crate) fn new(max_commands: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Credits {
            commands: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_commands,
            max_bytes,
            failure: OnceLock::new(),
        })
    }

    /// A step has panicked. The first one is what is told.
    pub(crate) fn fail(&self, failure: String) {
        let _ = self.failure.set(failure);
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Why nothing more is done.
    pub(crate) fn ended(&self) -> Error {
        match self.failure() {
            Some(failure) => {
                Error::internal(&format!("the engine has failed, shut it down; it failed by: {failure}"))
            }
            // What a step that panics had in hand is dropped before anybody can be told why.
            None if std::thread::panicking() => Error::internal("the engine has failed, shut it down"),
            None => Error::closed(),
        }
    }

    /// Takes a credit for a command that holds so many bytes.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Credit> {
        let commands = self.commands.fetch_add(1, Ordering::Relaxed);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let credit = Credit { credits: Arc::clone(self), bytes };
        // A single command larger than the cap still passes when nothing else is under way: size limits are the
        // rules' business, and a cap that refuses for ever would be no back-pressure.
        if commands >= self.max_commands || (held > 0 && held + bytes > self.max_bytes) {
            return Err(Error::new(
                ErrorKind::LimitExceeded { retry_after_ms: Some(10) },
                "too much is under way: take answers before you submit more",
            ));
        }
        Ok(credit)
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.credits.commands.fetch_sub(1, Ordering::Relaxed);
        self.credits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
