//! Listeners as hosts write them: they fail, panic, take their time, and call the engine.

use rosterkit::{
    ClientId, Content, Engine, Event, EventBody, Listener, ListenerError, Position, Receipt, Send, SessionId,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Takes everything.
    Takes,
    /// Fails, then panics, then takes it; and again for the next.
    Fails,
    /// Answers what it gets, from inside the call.
    Answers,
    /// Stands still until told to go on.
    Blocks,
    /// Drops its engine, and fails.
    Drops,
}

/// A reply that a listener sent.
pub(crate) struct Reply {
    pub(crate) receipt: Receipt,
    pub(crate) to: rosterkit::Address,
    pub(crate) text: String,
}

pub(crate) struct Host {
    pub(crate) manner: Manner,
    /// Gone when it dropped it.
    engine: Mutex<Option<Engine>>,
    account: rosterkit::Address,
    taken: Mutex<Vec<Event>>,
    replies: Mutex<Vec<Reply>>,
    /// The positions of what it answered, or tried to.
    answered: Mutex<BTreeSet<Position>>,
    calls: AtomicU32,
    go_on: Mutex<bool>,
    told: Condvar,
}

impl Host {
    pub(crate) fn new(manner: Manner, engine: &Engine, account: rosterkit::Address) -> Host {
        Host {
            manner,
            engine: Mutex::new(matches!(manner, Manner::Answers | Manner::Drops).then(|| engine.clone())),
            account,
            taken: Mutex::new(Vec::new()),
            replies: Mutex::new(Vec::new()),
            answered: Mutex::new(BTreeSet::new()),
            calls: AtomicU32::new(0),
            go_on: Mutex::new(manner != Manner::Blocks),
            told: Condvar::new(),
        }
    }

    /// What it took since the last time.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_replies(&self) -> Vec<Reply> {
        std::mem::take(&mut self.replies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has_answered(&self, position: Position) -> bool {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).contains(&position)
    }

    pub(crate) fn was_called(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn stand_still(&self) {
        *self.go_on.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    pub(crate) fn let_go_on(&self) {
        *self.go_on.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_all();
    }

    pub(crate) fn stands(&self) -> bool {
        !*self.go_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets its engine: an engine that is to end must not be held by those it calls.
    pub(crate) fn forget(&self) {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(engine);
    }

    fn wait(&self) {
        let mut go_on = self.go_on.lock().unwrap_or_else(PoisonError::into_inner);
        while !*go_on {
            go_on = self.told.wait(go_on).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reply(&self, event: &Event) {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let EventBody::Message(message) = &event.body else { return };
        let text = message.content.as_text().unwrap_or_default();
        let Some(engine) = engine.filter(|_| !message.copy && !text.starts_with("re ")) else { return };
        let (to, text) = (message.sender.bare(), format!("re {text}"));
        // Tried again under the same id, this is the same reply.
        let client_id = Some(ClientId::new(&format!("{text} {}", message.position.0)).unwrap());
        let send = Send { recipient: to.clone(), content: Content::text(&text), client_id, expires: None };
        if let Ok(receipt) = engine.send(&self.account, send) {
            let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
            if replies.iter().all(|r| r.receipt.position != receipt.position) {
                replies.push(Reply { receipt, to, text });
            }
        }
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(message.position);
    }
}

impl Listener for Host {
    fn on_events(&self, _session: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.manner {
            Manner::Fails if call.is_multiple_of(3) => return Err(ListenerError("not now".into())),
            Manner::Fails if call % 3 == 1 => std::panic::resume_unwind(Box::new("a listener panics")),
            Manner::Drops => {
                self.forget();
                self.wait();
                return Err(ListenerError("the engine is gone".into()));
            }
            Manner::Answers => events.iter().for_each(|event| self.reply(event)),
            _ => {}
        }
        self.wait();
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(events);
        Ok(())
    }
}
