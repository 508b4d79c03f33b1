//! Listeners as hosts write them: they take, fail, panic, and call the engine from inside a call.

use crate::disk::Disk;
use crate::ledger::{Left, number_sent};
use crate::people::{Reader, address};
use rosterkit::{Engine, Event, EventBody, Listener, ListenerError, SessionId};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a host takes what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Takes,
    /// It fails, then panics, then takes it; and again for the next.
    Fails,
    /// It calls the engine from inside the call, and then takes it.
    Calls,
}

pub struct Host {
    manner: Manner,
    engine: Mutex<Option<Engine>>,
    reader: Reader,
    /// Where what it is given is written down, at its place between the file calls.
    disk: Arc<Disk<Left>>,
    now: Arc<AtomicU64>,
    calls: AtomicU32,
    given: Mutex<Vec<Left>>,
}

impl Host {
    pub fn new(
        manner: Manner,
        engine: &Engine,
        reader: Reader,
        disk: &Arc<Disk<Left>>,
        now: &Arc<AtomicU64>,
    ) -> Self {
        let engine = (manner == Manner::Calls).then(|| engine.clone());
        Host {
            manner,
            engine: Mutex::new(engine),
            reader,
            disk: Arc::clone(disk),
            now: Arc::clone(now),
            calls: AtomicU32::new(0),
            given: Mutex::default(),
        }
    }

    /// What it was given since the last time, and took.
    pub fn take(&self) -> Vec<Left> {
        std::mem::take(&mut self.given.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It vanishes: an engine that is to end must not be held by those it calls.
    pub fn vanish(&self) {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(engine);
    }
}

impl Listener for Host {
    fn on_events(&self, session: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let taken = match self.manner {
            Manner::Fails if call.is_multiple_of(3) => false,
            Manner::Fails if call % 3 == 1 => false,
            _ => true,
        };
        let (reader, at) = (self.reader, self.now.load(Ordering::Relaxed));
        let mut given = Vec::new();
        // Not of what it says itself.
        let mut is_news = false;
        for event in events {
            let EventBody::Message(message) = &event.body else { continue };
            let number = number_sent(&message.content);
            is_news |= number.is_some();
            given.push(Left::Told { reader, id: message.id, position: message.position, number });
            if taken {
                given.push(Left::Acked { reader, id: message.id, at });
            }
        }
        given.retain(|left| self.disk.left(left.clone()));
        self.given.lock().unwrap_or_else(PoisonError::into_inner).extend(given);
        if !taken {
            if call % 3 == 1 {
                std::panic::resume_unwind(Box::new("a listener panics"));
            }
            return Err(ListenerError("not now".into()));
        }
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(engine) = engine.filter(|_| is_news) {
            // Whatever it answers: a call from inside a call must come back.
            let account = address(reader.user);
            let _ = engine.send(&account, rosterkit::Send::text(&account, "from inside"));
            let actor = rosterkit::Actor { account, session: Some(session) };
            let _ = engine.call(&actor, rosterkit::Command::ReadDevices);
        }
        Ok(())
    }
}
