//! What must hold whichever thread runs next: the pieces that threads share, and the whole engine on its threads,
//! under the scheduler of `shuttle`.
//!
//! `cargo test --package rosterkit --features shuttle --lib interleavings` runs them; plain `cargo test` does not know
//! them. Under `shuttle` nothing times out, so whoever sleeps over something that is there sleeps for ever, and the
//! run fails as a deadlock: every test here is also a test for lost wake-ups.
//!
//! The seeds are fixed, a failure is one everywhere; SHUTTLE_RANDOM_SEED tries others. What is beyond `shuttle`: it
//! takes every atomic for sequentially consistent, it does not wake anybody for nothing, and what happens inside the
//! store, whose locks are the standard ones, is a single step to it.

#![allow(clippy::unwrap_used)]

mod answers;
mod engine;
mod mailbox;
mod queue;
mod ready;

use crate::command::{Consumer, Listener, ListenerError};
use crate::event::{EndReason, Event, EventBody, Message};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, lock, wait};
use crate::told::Told;
use rosterkit_core::address::Address;
use rosterkit_core::content::Content;
use rosterkit_core::id::{MessageId, Position, SessionId};
use rosterkit_core::time::Timestamp;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use std::sync::Arc;
use std::time::Duration;

const SEED: u64 = 0x0527;
/// How many changes of priority a schedule of the second kind has: most races need one or two.
const DEPTH: usize = 3;
/// Longer than any run. Nothing here may depend on a time-out.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs it under so many schedules of either kind: the thread that runs next by lot at each step; and the one of the
/// highest priority, with a few changes of priority.
fn explore(schedules: usize, run: fn()) {
    let config = || {
        let mut config = Config::new();
        // An engine's steps need more than the default.
        config.stack_size = 0x4_0000;
        config.silence_warnings = true;
        config
    };
    Runner::new(RandomScheduler::new_from_seed(SEED, schedules), config()).run(run);
    Runner::new(PctScheduler::new_from_seed(SEED, DEPTH, schedules), config()).run(run);
}

/// What threads noted, in the order of noting.
struct Notes<T> {
    all: Mutex<Vec<T>>,
    noted: Condvar,
}

impl<T: Clone> Notes<T> {
    fn new() -> Arc<Self> {
        Arc::new(Notes { all: Mutex::new(Vec::new()), noted: Condvar::new() })
    }

    fn note(&self, what: &[T]) {
        lock(&self.all).extend_from_slice(what);
        self.noted.notify_all();
    }

    fn all(&self) -> Vec<T> {
        lock(&self.all).clone()
    }

    fn wait_until(&self, enough: impl Fn(&[T]) -> bool) -> Vec<T> {
        let mut all = lock(&self.all);
        while !enough(&all) {
            all = wait(&self.noted, all);
        }
        all.clone()
    }
}

/// A listener that notes what it takes, and fails before it does. What it panics with is caught where it is called, so
/// it notes as well whether it was called when it must not be.
struct Host {
    closed: AtomicBool,
    misused: AtomicBool,
    /// How many calls it still fails.
    fails: AtomicUsize,
    taken: Arc<Notes<Event>>,
}

impl Host {
    fn failing(calls: usize) -> Arc<Self> {
        let closed = AtomicBool::new(false);
        let misused = AtomicBool::new(false);
        Arc::new(Host { closed, misused, fails: AtomicUsize::new(calls), taken: Notes::new() })
    }

    fn consumer(self: &Arc<Self>) -> Consumer {
        Consumer::Listener(Arc::clone(self) as Arc<dyn Listener>)
    }

    /// From here on nobody may call it. While somebody does, neither.
    fn close(&self) -> bool {
        self.closed.swap(true, Ordering::AcqRel)
    }

    /// What it took, once it is enough.
    fn wait_until(&self, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let taken = self.taken.wait_until(enough);
        assert!(!self.misused.load(Ordering::Acquire), "one batch at a time, and none after the end");
        taken
    }
}

impl Listener for Host {
    fn on_events(&self, _: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        if self.close() || events.is_empty() {
            self.misused.store(true, Ordering::Release);
        }
        let fails =
            self.fails.fetch_update(Ordering::AcqRel, Ordering::Acquire, |fails| fails.checked_sub(1));
        if fails.is_err() {
            self.taken.note(events);
        }
        self.closed.store(false, Ordering::Release);
        if fails.is_ok() { Err(ListenerError("not now".into())) } else { Ok(()) }
    }
}

fn account(user: &str) -> Address {
    Address::account(&format!("{user}@example.org")).unwrap()
}

fn row(position: u64) -> (Position, Told) {
    let position = Position(position);
    let message = Message {
        position,
        id: MessageId::new(position.0 as i64, [0; 10]),
        sender: account("ann"),
        recipient: account("ben"),
        time: Timestamp(0),
        copy: false,
        content: Content::text("hello"),
        outcome: None,
        amended: None,
        expires: None,
        receipt: None,
    };
    (position, Told::Event(EventBody::Message(Arc::new(message))))
}

/// The positions of the messages among these events.
fn positions(events: &[Event]) -> Vec<u64> {
    let position = |event: &Event| match &event.body {
        EventBody::Message(message) => Some(message.position.0),
        _ => None,
    };
    events.iter().filter_map(position).collect()
}

fn ends(events: &[Event]) -> Vec<EndReason> {
    let reason = |event: &Event| match event.body {
        EventBody::Ended(reason) => Some(reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}
