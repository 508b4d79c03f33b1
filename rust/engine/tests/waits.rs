//! Waiting for events and answers: on a thread that the host lends, interrupted, and bounded in bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::store::memory::MemoryStore;
use rosterkit::{
    Consumer, Content, Domain, EndReason, Engine, EngineOptions, ErrorKind, Event, EventBody, Listener,
    ListenerError, Send, Session, SessionId, SessionOptions, Timestamp,
};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use world::{World, account, texts};

const LONG: Duration = Duration::from_secs(600);
/// Longer than it takes a thread to get from a call to its wait.
const A_WHILE: Duration = Duration::from_millis(50);

fn options() -> EngineOptions {
    EngineOptions::hosting([Domain::new("example.org").unwrap()])
}

fn engine() -> Engine {
    let engine = Engine::open(MemoryStore::new(), options()).unwrap();
    for user in ["alice", "bob"] {
        engine.create_account(&account(user)).unwrap();
    }
    engine
}

fn session(engine: &Engine, consumer: Consumer) -> Session {
    let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
    engine.open_session(&account("bob"), options).unwrap()
}

fn to_bob(text: &str) -> Send {
    Send { recipient: account("bob"), content: Content::text(text), client_id: None, expires: None }
}

fn say(engine: &Engine, text: &str) {
    engine.send(&account("alice"), to_bob(text)).unwrap();
}

/// A listener that tells what it is called with, and does what it is told.
struct Tells<F>(Mutex<Sender<Vec<Event>>>, F);

impl<F: Fn(&[Event]) -> Result<(), ListenerError> + std::marker::Send + Sync> Listener for Tells<F> {
    fn on_events(&self, _: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        self.0.lock().unwrap().send(events.to_vec()).unwrap();
        self.1(events)
    }
}

#[test]
fn a_lent_thread_is_called_back_until_the_session_ends() {
    let engine = engine();
    let bob = session(&engine, Consumer::Pull);
    let (sender, told) = channel();
    let runner = {
        let bob = bob.clone();
        thread::spawn(move || {
            let me = thread::current().id();
            let listener = Tells(Mutex::new(sender), move |_: &[Event]| {
                assert_eq!(thread::current().id(), me);
                Ok(())
            });
            bob.run(&listener).unwrap();
            bob.run(&listener).unwrap_err().kind
        })
    };
    say(&engine, "one");
    assert_eq!(texts(&told.recv().unwrap()), ["one"]);
    assert_eq!(bob.next_events(1, Duration::ZERO).unwrap_err().kind, ErrorKind::Misuse);
    engine.shutdown(true).unwrap();
    assert_eq!(told.recv().unwrap()[0].body, EventBody::Ended(EndReason::Shutdown));
    assert_eq!(runner.join().unwrap(), ErrorKind::Closed);
}

#[test]
fn what_the_listener_returned_from_is_acknowledged_and_what_it_failed_comes_again() {
    let world = World::new();
    world.create("alice");
    let [bob] = world.sessions(["bob"]);
    let (sender, told) = channel();
    let fails = Tells(Mutex::new(sender), |events: &[Event]| match texts(events).as_slice() {
        [only] if only == "two" => Err(ListenerError("not this one".into())),
        [_, _, ..] => Err(ListenerError("not so many".into())),
        _ => Ok(()),
    });
    for text in ["one", "two", "three"] {
        say(&world.engine, text);
    }
    // In virtual time it returns when there is nothing left to do.
    bob.run(&fails).unwrap();
    let calls: Vec<Vec<String>> = told.try_iter().map(|events| texts(&events)).collect();
    let wanted: [&[&str]; 7] =
        [&["one", "two", "three"], &["one"], &["two"], &["two"], &["two"], &["three"], &[]];
    assert_eq!(calls, wanted, "the last is told that a message was parked");
    bob.close();
    let [again] = world.sessions(["bob"]);
    assert_eq!(texts(&world.drain(&again)), [""; 0]);
}

#[test]
fn a_listener_that_only_fails_is_told_why_it_ends() {
    for virtually in [true, false] {
        let world = World::new();
        let engine = if virtually {
            world.engine.clone()
        } else {
            Engine::open(MemoryStore::new(), options()).unwrap()
        };
        for user in ["alice", "bob"] {
            engine.create_account(&account(user)).unwrap();
        }
        let bob = session(&engine, Consumer::Pull);
        for n in 0..60 {
            say(&engine, &n.to_string());
        }
        let (sender, told) = channel();
        bob.run(&Tells(Mutex::new(sender), |_: &[Event]| Err(ListenerError("never".into())))).unwrap();
        let calls: Vec<Vec<Event>> = told.try_iter().collect();
        assert_eq!(calls.last().unwrap()[0].body, EventBody::Ended(EndReason::ListenerFailed));
        assert_eq!(calls.len(), 101, "a hundred failures, and the end");
    }
}

#[test]
fn an_interrupt_ends_a_wait_that_has_begun_or_else_the_next() {
    let engine = engine();
    let bob = session(&engine, Consumer::Pull);
    let (sender, _told) = channel();
    let listener = Arc::new(Tells(Mutex::new(sender), |_: &[Event]| Ok(())));
    type Wait = Box<dyn Fn() + std::marker::Send>;
    type Make<'a> = Box<dyn Fn() -> Wait + 'a>;
    let waits: Vec<(&str, Make<'_>)> = vec![
        (
            "next_events",
            Box::new(|| {
                let bob = bob.clone();
                Box::new(move || assert!(bob.next_events(1, LONG).unwrap().is_empty()))
            }),
        ),
        (
            "run",
            Box::new(|| {
                let (bob, listener) = (bob.clone(), Arc::clone(&listener));
                Box::new(move || bob.run(&*listener).unwrap())
            }),
        ),
        (
            "next_answers",
            Box::new(|| {
                let engine = engine.clone();
                Box::new(move || assert!(engine.next_answers(1, LONG).unwrap().is_empty()))
            }),
        ),
        (
            "next_batches",
            Box::new(|| {
                let engine = engine.clone();
                Box::new(move || assert!(engine.next_batches(1, 1, LONG).unwrap().is_empty()))
            }),
        ),
    ];
    for (name, wait) in waits {
        let interrupt = || match name {
            "next_events" | "run" => bob.interrupt(),
            _ => engine.interrupt(),
        };
        let waiting = thread::spawn(wait());
        thread::sleep(A_WHILE);
        let begun = Instant::now();
        interrupt();
        waiting.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{name}");
        // Nobody waits: it is kept for the next one, once, however often it was said.
        if name == "next_batches" {
            engine.next_answers(1, A_WHILE).unwrap();
        }
        interrupt();
        interrupt();
        wait()();
        let waiting = thread::spawn(wait());
        thread::sleep(A_WHILE);
        assert!(!waiting.is_finished(), "{name}: it was used up");
        interrupt();
        waiting.join().unwrap();
    }
    // It takes nothing away.
    bob.interrupt();
    say(&engine, "hello");
    assert_eq!(texts(&bob.next_events(1, LONG).unwrap()), ["hello"]);
    engine.shutdown(true).unwrap();
}

#[test]
fn a_session_with_a_listener_is_read_by_nobody_else() {
    let engine = engine();
    let (sender, _told) = channel();
    let listener = Arc::new(Tells(Mutex::new(sender), |_: &[Event]| Ok(())));
    for consumer in [Consumer::Listener(Arc::clone(&listener) as _), Consumer::Engine] {
        let bob = session(&engine, consumer);
        assert_eq!(bob.next_events(1, Duration::ZERO).unwrap_err().kind, ErrorKind::Misuse);
        assert_eq!(bob.run(&*listener).unwrap_err().kind, ErrorKind::Misuse);
    }
    engine.shutdown(true).unwrap();
}

#[test]
fn batches_are_bounded_in_bytes() {
    let world = World::new();
    world.create("alice");
    world.create("bob");
    let bob = session(&world.engine, Consumer::Engine);
    for size in [400, 400, 5_000, 400] {
        say(&world.engine, &"x".repeat(size));
    }
    let sizes = || -> Vec<usize> {
        let batches = world.engine.next_batches(100, 1_000, Duration::ZERO).unwrap();
        batches.iter().flat_map(|batch| texts(&batch.events)).map(|text| text.len()).collect()
    };
    assert_eq!(sizes(), [400, 400]);
    assert_eq!(sizes(), [5_000], "it comes alone, or it never would");
    assert_eq!(sizes(), [400]);
    assert_eq!(sizes(), [0; 0]);
    // Of several sessions, together.
    let carol = {
        world.create("carol");
        let options =
            SessionOptions { reads_messages: true, consumer: Consumer::Engine, ..SessionOptions::default() };
        world.engine.open_session(&account("carol"), options).unwrap()
    };
    for user in ["bob", "carol"] {
        let send = Send { recipient: account(user), ..to_bob(&"x".repeat(600)) };
        world.engine.send(&account("alice"), send).unwrap();
    }
    let first = world.engine.next_batches(100, 1_000, Duration::ZERO).unwrap();
    let second = world.engine.next_batches(100, 1_000, Duration::ZERO).unwrap();
    assert_eq!([first.len(), second.len()], [1, 1]);
    let mut both = [first[0].session, second[0].session];
    both.sort_unstable();
    let mut wanted = [bob.id(), carol.id()];
    wanted.sort_unstable();
    assert_eq!(both, wanted);
}

#[test]
fn a_pull_is_bounded_in_bytes() {
    let world = World::new();
    world.create("alice");
    let [bob] = world.sessions(["bob"]);
    let text = "x".repeat(60_000);
    for _ in 0..20 {
        say(&world.engine, &text);
    }
    let pulled = [(); 2].map(|()| bob.next_events(100, Duration::ZERO).unwrap().len());
    assert_eq!(pulled, [17, 3], "a MiB at once");
}

#[test]
fn what_is_handed_back_comes_again_and_is_never_parked() {
    let world = World::new();
    world.create("alice");
    let [bob] = world.sessions(["bob"]);
    for text in ["one", "two"] {
        say(&world.engine, text);
    }
    for _ in 0..5 {
        assert_eq!(texts(&bob.next_events(10, Duration::ZERO).unwrap()), ["one", "two"]);
        bob.hand_back();
    }
    for _ in 0..5 {
        assert_eq!(texts(&bob.next_events(1, Duration::ZERO).unwrap()), ["one"]);
        bob.hand_back();
    }
    // It says nothing of what it failed at before: that still comes one by one, and is parked at the third time.
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(texts(&bob.next_events(10, Duration::ZERO).unwrap()).join(" "));
        bob.fail();
        bob.next_events(10, Duration::ZERO).unwrap();
        bob.hand_back();
    }
    assert_eq!(seen, ["one two", "one", "one", "one"]);
    assert_eq!(texts(&bob.next_events(10, Duration::ZERO).unwrap()), ["two"]);
}

#[test]
fn a_descriptor_is_refused_where_there_is_nothing_to_wait_for() {
    assert_eq!(World::new().engine.wakeup_fd().unwrap_err().kind, ErrorKind::Misuse);
    let engine = engine();
    let descriptor = engine.wakeup_fd().unwrap();
    assert_eq!(engine.wakeup_fd(), Ok(descriptor), "one for all");
    engine.shutdown(true).unwrap();
    assert_eq!(engine.wakeup_fd().unwrap_err().kind, ErrorKind::Closed);
}

#[test]
fn inside_is_inside_until_the_outermost_listener_has_returned() {
    let engine = engine();
    let inner = Engine::open_virtual(MemoryStore::new(), options(), 1, Timestamp(0)).unwrap();
    for user in ["alice", "bob"] {
        inner.create_account(&account(user)).unwrap();
    }
    let (sender, _called) = channel();
    let outer: Arc<OnceLock<Engine>> = Arc::default();
    let (result, waited) = channel();
    let listener = {
        let (outer, result) = (Arc::clone(&outer), Mutex::new(result));
        Tells(Mutex::new(sender), move |_: &[Event]| {
            // The listener of another engine is called on this thread, and returns.
            let bob = session(&inner, Consumer::Pull);
            inner.send(&account("alice"), to_bob("inside")).unwrap();
            let (sender, told) = channel();
            bob.run(&Tells(Mutex::new(sender), |_: &[Event]| Ok(()))).unwrap();
            assert_eq!(texts(&told.recv().unwrap()), ["inside"]);
            let waited = outer.wait().shutdown(true);
            result.lock().unwrap().send(waited.map_err(|error| error.kind)).unwrap();
            Ok(())
        })
    };
    let bob = session(&engine, Consumer::Listener(Arc::new(listener)));
    outer.set(engine.clone()).unwrap();
    say(&engine, "hello");
    let waited = waited.recv_timeout(Duration::from_secs(20)).expect("it waits for itself");
    assert_eq!(waited, Err(ErrorKind::Misuse));
    drop(bob);
    engine.shutdown(true).unwrap();
}
