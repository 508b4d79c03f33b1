//! Threads: one for each shard, one each to write, to read and to checkpoint, and as many that call listeners back as
//! are busy doing so.

use super::Steps;
use crate::checkpoint::{CheckpointStep, ToCheckpointer};
use crate::error::{Error, Result};
use crate::messages::{Countdown, Job, ToShard, ToWrite};
use crate::reader::ReaderStep;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::sync::atomic::Ordering;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, lock, wait};
use crate::writer::WriterStep;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// How many threads wait for the next callback when there is none to make.
const SPARE_DISPATCHERS: usize = 2;

pub(crate) struct Threads {
    joins: Arc<Joins>,
}

/// What is left to wait for at shutdown.
struct Joins {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    steps: Vec<JoinHandle<()>>,
    dispatchers: usize,
    shutting_down: bool,
    down: bool,
}

impl Threads {
    pub(crate) fn start(shared: &Arc<Shared>, steps: Steps) -> Result<Self> {
        let Steps { shards, writer, reader, checkpointer } = steps;
        let joins = Arc::new(Joins {
            state: Mutex::new(State { steps: Vec::new(), dispatchers: 0, shutting_down: false, down: false }),
            changed: Condvar::new(),
        });
        start_dispatchers_when_needed(shared, &joins);
        let threads = Threads { joins: Arc::clone(&joins) };
        // Held until all are there: one that fails at once is waited for like any other.
        let mut state = lock(&joins.state);
        for (number, shard) in shards.into_iter().enumerate() {
            let run = |shard: &mut Shard| {
                while shard.wait() {
                    shard.step();
                }
            };
            state.steps.push(threads.start_step(&format!("rosterkit-{number}"), shared, shard, run)?);
        }
        let write = |writer: &mut WriterStep| {
            while writer.wait() {
                while writer.step() {}
            }
        };
        state.steps.push(threads.start_step("rosterkit-write", shared, writer, write)?);
        let read = |reader: &mut ReaderStep| {
            while reader.wait() {
                reader.step();
            }
        };
        state.steps.push(threads.start_step("rosterkit-read", shared, reader, read)?);
        let checkpoint = |checkpointer: &mut CheckpointStep| {
            while checkpointer.wait() {
                checkpointer.step();
            }
        };
        state.steps.push(threads.start_step("rosterkit-ckpt", shared, checkpointer, checkpoint)?);
        drop(state);
        Ok(threads)
    }

    /// Starts a thread that runs a step until the engine ends. One that panics ends it.
    fn start_step<S: Send + 'static>(
        &self,
        name: &str,
        shared: &Arc<Shared>,
        mut step: S,
        run: fn(&mut S),
    ) -> Result<JoinHandle<()>> {
        let (shared, threads) = (Arc::clone(shared), Threads { joins: Arc::clone(&self.joins) });
        start(name, move || {
            let failed = is_failing(&shared, || run(&mut step));
            // Answers whoever waits for it, now that what made it fail is known.
            drop(step);
            if failed {
                threads.shut_down(&shared, false);
            }
        })
    }

    /// See [`Engine::shutdown`](crate::Engine::shutdown).
    pub(crate) fn shut_down(&self, shared: &Arc<Shared>, wait_for_it: bool) {
        let first = {
            let mut state = lock(&self.joins.state);
            !std::mem::replace(&mut state.shutting_down, true)
        };
        if first {
            shared.closed.store(true, Ordering::Release);
            let (joins, engine) = (Arc::clone(&self.joins), Arc::clone(shared));
            if wait_for_it {
                run_down(&engine, &joins);
            } else if start("rosterkit-down", move || run_down(&engine, &joins)).is_err() {
                // No thread to be had: the caller's has to do.
                run_down(shared, &self.joins);
            }
        }
        if wait_for_it {
            let mut state = lock(&self.joins.state);
            while !state.down {
                state = wait(&self.joins.changed, state);
            }
        }
    }
}

fn run_down(shared: &Arc<Shared>, joins: &Arc<Joins>) {
    await_countdown(|countdown| {
        for shard in &shared.shards {
            let _ = shard.put(ToShard::Shutdown(Arc::clone(countdown)));
        }
    });
    await_countdown(|countdown| {
        let job = Job::Flush(Arc::clone(countdown));
        let _ = shared.writer.put(ToWrite { generation: shared.generation(), job });
    });
    await_countdown(|countdown| {
        let _ = shared.checkpointer.put(ToCheckpointer::Last(Arc::clone(countdown)));
    });
    shared.close_mailboxes();
    let steps = std::mem::take(&mut lock(&joins.state).steps);
    // One that failed may run this, when there was no other thread to be had.
    for step in steps.into_iter().filter(|step| step.thread().id() != thread::current().id()) {
        let _ = step.join();
    }
    // What the steps had under way has been answered now, so nothing of it comes after `Closed`; and a step wakes the
    // readers of what it told them when it is over, the ends of sessions too.
    shared.answers.close();
    shared.host.close();
    shared.readers.close();
    shared.relays.close();
    shared.ready.close();
    let mut state = lock(&joins.state);
    while state.dispatchers > 0 {
        state = wait(&joins.changed, state);
    }
    drop(state);
    shared.ready.forget_all();
    lock(&joins.state).down = true;
    joins.changed.notify_all();
}

/// Waits until everybody who got the countdown has let go of it.
fn await_countdown(hand_out: impl FnOnce(&Arc<Countdown>)) {
    let over = Arc::new((Mutex::new(false), Condvar::new()));
    let signal = Arc::clone(&over);
    let countdown = Countdown::new(move || {
        *lock(&signal.0) = true;
        signal.1.notify_all();
    });
    hand_out(&countdown);
    drop(countdown);
    let mut is_over = lock(&over.0);
    while !*is_over {
        is_over = wait(&over.1, is_over);
    }
}

fn start_dispatchers_when_needed(shared: &Arc<Shared>, joins: &Arc<Joins>) {
    let weak: Weak<Shared> = Arc::downgrade(shared);
    let joins = Arc::clone(joins);
    let start_one = move || {
        let Some(shared) = weak.upgrade() else { return };
        let most = shared.options.max_listeners;
        let mut state = lock(&joins.state);
        if state.down || state.dispatchers >= most {
            return;
        }
        state.dispatchers += 1;
        drop(state);
        let mine = Arc::clone(&joins);
        let started = start("rosterkit-call", move || {
            let failed = is_failing(&shared, || {
                while let Some(session) = shared.ready.wait_call(SPARE_DISPATCHERS) {
                    shared.ready.call(session, &*shared);
                }
            });
            lock(&mine.state).dispatchers -= 1;
            mine.changed.notify_all();
            if failed {
                Threads { joins: mine }.shut_down(&shared, false);
            }
        });
        if started.is_err() {
            tracing::error!("no thread could be started to call a listener back");
            lock(&joins.state).dispatchers -= 1;
            joins.changed.notify_all();
        }
    };
    // Set once, here, before anything runs.
    let _ = shared.more_dispatchers.set(Box::new(start_one));
}

/// Runs this. Says whether it panicked, which fails the engine: nobody knows what is still true of it.
fn is_failing(shared: &Shared, run: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else {
        return false;
    };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    shared.fail(text.unwrap_or_else(|| "a panic without a text".into()));
    true
}

/// Starts a thread in the span of its starter, so that a host can tell by it which engine logs.
fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let span = tracing::Span::current();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || span.in_scope(run))
        .map_err(|error| Error::storage(format!("the system gives no thread: {error}")))
}
