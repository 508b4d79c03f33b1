//! Virtual time: no thread and no waiting. Whoever calls runs the steps, and time moves when it is told to.

use super::Steps;
use crate::checkpoint::ToCheckpointer;
use crate::clock::{Clock, VirtualClock};
use crate::error::{Error, Result};
use crate::messages::{Countdown, Job, ToShard, ToWrite};
use crate::shared::Shared;
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, lock};
use rosterkit_core::time::Tick;
use std::sync::Arc;
use std::thread::ThreadId;

pub(crate) struct World {
    shared: Arc<Shared>,
    clock: Arc<VirtualClock>,
    /// Taken out while the steps run, which never call the host; gone after shutdown.
    steps: Mutex<Option<Box<Steps>>>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    thread: Option<ThreadId>,
    depth: usize,
    /// A listener runs: callbacks never nest.
    calling: bool,
}

impl World {
    pub(crate) fn new(shared: &Arc<Shared>, steps: Steps, clock: Arc<VirtualClock>) -> Arc<Self> {
        let world = Arc::new(World {
            shared: Arc::clone(shared),
            clock,
            steps: Mutex::new(Some(Box::new(steps))),
            inside: Mutex::new(Inside::default()),
        });
        // Set once, here.
        let _ = shared.world.set(Arc::downgrade(&world));
        world
    }

    /// Does everything that can be done without moving time.
    pub(crate) fn pump(&self) -> Result<()> {
        let _entered = self.enter()?;
        self.run(&mut || false)
    }

    /// Does what is needed for an answer.
    pub(crate) fn pump_until<T>(&self, mut answer: impl FnMut() -> Option<T>) -> Result<T> {
        let _entered = self.enter()?;
        let mut found = None;
        self.run(&mut || {
            found = answer();
            found.is_some()
        })?;
        found.ok_or_else(|| Error::misuse("this cannot be answered before time moves: advance it"))
    }

    /// Moves time, deadline by deadline.
    pub(crate) fn advance(&self, millis: u64) -> Result<()> {
        let _entered = self.enter()?;
        self.run(&mut || false)?;
        let target = self.clock.now().tick.after(millis);
        loop {
            let now = self.clock.now().tick;
            let due = self.deadline().filter(|due| *due <= target);
            let next = due.unwrap_or(target).max(now);
            self.clock.advance(next.0 - now.0);
            self.run(&mut || false)?;
            if due.is_none() {
                return Ok(());
            }
        }
    }

    pub(crate) fn shut_down(&self) -> Result<()> {
        let _entered = self.enter()?;
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let countdown = Countdown::new(|| {});
        for shard in &self.shared.shards {
            let _ = shard.put(ToShard::Shutdown(Arc::clone(&countdown)));
        }
        self.run(&mut || false)?;
        let flush = Job::Flush(Countdown::new(|| {}));
        let _ = self.shared.writer.put(ToWrite { generation: self.shared.generation(), job: flush });
        self.run(&mut || false)?;
        let _ = self.shared.checkpointer.put(ToCheckpointer::Last(Countdown::new(|| {})));
        self.run(&mut || false)?;
        self.shared.close_mailboxes();
        self.shared.ready.close();
        self.shared.answers.close();
        self.shared.host.close();
        self.shared.readers.close();
        self.shared.relays.close();
        let steps = lock(&self.steps).take();
        drop(steps);
        if !lock(&self.inside).calling {
            self.shared.ready.forget_all();
        }
        Ok(())
    }

    fn run(&self, done: &mut dyn FnMut() -> bool) -> Result<()> {
        loop {
            if done() {
                return Ok(());
            }
            if self.step() {
                continue;
            }
            if done() || !self.call_back() {
                return Ok(());
            }
        }
    }

    /// One round of every step. Says whether anything happened.
    fn step(&self) -> bool {
        let Some(mut steps) = lock(&self.steps).take() else {
            return false;
        };
        let mut busy = false;
        for shard in &mut steps.shards {
            busy |= shard.step();
        }
        busy |= steps.reader.step();
        // The writer comes when nothing else is to do, so that one commit takes all there is; or when it has a store
        // to open, which whoever repeats a command waits for.
        if !busy || steps.writer.recovery.is_some() {
            busy |= steps.writer.step();
            busy |= steps.checkpointer.step();
        }
        *lock(&self.steps) = Some(steps);
        busy
    }

    /// Calls one listener, unless one is running.
    fn call_back(&self) -> bool {
        if std::mem::replace(&mut lock(&self.inside).calling, true) {
            return false;
        }
        let session = self.shared.ready.take_call();
        if let Some(session) = session {
            self.shared.ready.call(session, &*self.shared);
        }
        lock(&self.inside).calling = false;
        session.is_some()
    }

    fn deadline(&self) -> Option<Tick> {
        let steps = lock(&self.steps);
        let steps = steps.as_ref()?;
        steps.shards.iter().filter_map(|s| s.deadline()).chain(steps.writer.deadline()).min()
    }

    fn enter(&self) -> Result<Entered<'_>> {
        let mut inside = lock(&self.inside);
        let me = std::thread::current().id();
        if inside.thread.is_some_and(|other| other != me) {
            return Err(Error::misuse("a virtual engine runs on one thread at a time"));
        }
        inside.thread = Some(me);
        inside.depth += 1;
        Ok(Entered(self))
    }
}

struct Entered<'a>(&'a World);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut inside = lock(&self.0.inside);
        inside.depth -= 1;
        if inside.depth == 0 {
            inside.thread = None;
        }
    }
}
