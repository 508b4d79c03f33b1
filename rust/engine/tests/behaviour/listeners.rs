//! Sessions that are called back.

use crate::page;
use crate::world::{World, account, texts};
use rosterkit::{
    Anchor, Consumer, Direction, Event, Listener, ListenerError, SessionId, SessionOptions, SetPresence,
    State,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// A listener that fails as often as it is told, for messages with a certain text.
struct Stubborn {
    fails_for: &'static str,
    failures: AtomicU32,
    got: Mutex<Vec<String>>,
}

impl Listener for Stubborn {
    fn on_events(&self, _session: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        if texts(events).iter().any(|t| t == self.fails_for) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if self.failures.load(Ordering::Relaxed).is_multiple_of(2) {
                panic!("a host's own bug");
            }
            return Err(ListenerError("no".into()));
        }
        self.got.lock().unwrap().extend(texts(events));
        Ok(())
    }
}

// behaviour: delivery.copies
#[test]
fn a_listener_that_went_offline_is_told_of_messages_still() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let stubborn =
        Arc::new(Stubborn { fails_for: "nothing", failures: AtomicU32::new(0), got: Mutex::default() });
    let consumer = Consumer::Listener(Arc::clone(&stubborn) as Arc<_>);
    let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
    let bob = world.engine.open_session(&account("bob"), options).unwrap();
    // What was announced is gone before anybody looks at it: the presence that the session does not show any more.
    bob.set_presence(SetPresence::state(State::Busy)).unwrap();
    bob.go_offline().unwrap();
    world.engine.advance(0).unwrap();
    alice.send(&account("bob"), "hello").unwrap();
    world.engine.advance(0).unwrap();
    assert_eq!(*stubborn.got.lock().unwrap(), ["hello"]);
}

/// A listener that never deals with anything.
struct Useless;

impl Listener for Useless {
    fn on_events(&self, _session: SessionId, _events: &[Event]) -> Result<(), ListenerError> {
        Err(ListenerError("never".into()))
    }
}

// behaviour: delivery.listener-fails
#[test]
fn a_listener_that_only_fails_is_let_go_with_its_session() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let useless = Arc::new(Useless);
    let consumer = Consumer::Listener(Arc::clone(&useless) as Arc<_>);
    let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
    let bob = world.engine.open_session(&account("bob"), options).unwrap();
    bob.set_presence(SetPresence::state(State::Online)).unwrap();
    alice.send(&account("bob"), "one").unwrap();
    alice.send(&account("bob"), "two").unwrap();
    bob.close();
    world.engine.advance(0).unwrap();
    assert_eq!(Arc::strong_count(&useless), 1);
    let [next] = world.sessions(["bob"]);
    assert_eq!(texts(&world.drain(&next)), ["one", "two"], "what it did not deal with is there for the next");
}

// behaviour: delivery.parked, delivery.listener-fails
#[test]
fn a_message_that_fails_three_times_alone_is_parked() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let listener =
        Arc::new(Stubborn { fails_for: "bad", failures: AtomicU32::new(0), got: Mutex::default() });
    for text in ["good", "bad", "better"] {
        alice.send(&account("bob"), text).unwrap();
    }
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let options = SessionOptions {
        reads_messages: true,
        consumer: Consumer::Listener(listener.clone()),
        ..SessionOptions::default()
    };
    let bob = world.engine.open_session(&account("bob"), options).unwrap();
    world.engine.advance(1).unwrap();
    std::panic::set_hook(quiet);
    assert_eq!(*listener.got.lock().unwrap(), ["good", "better"]);
    // Once with the others, then three times alone.
    assert_eq!(listener.failures.load(Ordering::Relaxed), 4);
    let history = page(&bob, Anchor::End, Direction::Older, 10);
    assert_eq!(history.messages.len(), 3, "parked is kept");
}
