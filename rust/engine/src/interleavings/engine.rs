//! The whole engine on its threads, with a store in memory and a clock that stands still, while it is shut down.

use super::{Host, LONG, Notes, account, ends, explore};
use crate::clock::VirtualClock;
use crate::command::{Actor, Command, Consumer, Listener, ListenerError, Send, SessionOptions};
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::event::{EndReason, Event};
use crate::options::EngineOptions;
use crate::session::Session;
use crate::sync::thread::{self, JoinHandle};
use rosterkit_core::address::Domain;
use rosterkit_core::content::Content;
use rosterkit_core::id::{DeviceName, SessionId};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::time::Timestamp;
use rosterkit_store::memory::MemoryStore;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// An engine of two shards, with two accounts.
fn engine() -> Engine {
    let options =
        EngineOptions { shards: 2, ..EngineOptions::hosting([Domain::new("example.org").unwrap()]) };
    let clock = Arc::new(VirtualClock::starting_at(Timestamp(1_700_000_000_000)));
    let engine = Engine::open_on_threads(MemoryStore::new(), options, clock, 7).unwrap();
    engine.create_account(&account("ann")).unwrap();
    engine.create_account(&account("ben")).unwrap();
    engine
}

fn options() -> SessionOptions {
    SessionOptions { reads_messages: true, ..SessionOptions::default() }
}

/// What is asked while the engine is shut down is done, or answered `Closed`.
fn done_or_closed<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(|error| assert_eq!(error.kind, ErrorKind::Closed, "{error}")).ok()
}

fn closed<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind, ErrorKind::Closed);
}

/// Reads a session to its end.
fn read(session: Session) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut events: Vec<Event> = Vec::new();
        while let Some(some) = done_or_closed(session.next_events(8, LONG)) {
            session.ack(some.last().unwrap().seq);
            events.extend(some);
        }
        assert_eq!(ends(&events), [EndReason::Shutdown]);
        assert_eq!(ends(&events[events.len() - 1..]), [EndReason::Shutdown], "nothing follows");
    })
}

#[test]
fn calls_that_race_with_shutdown_are_answered_and_sessions_hear_of_it() {
    explore(600, || {
        let engine = engine();
        let host = Host::failing(0);
        let listening = SessionOptions { consumer: host.consumer(), ..options() };
        let ben = engine.open_session(&account("ben"), listening).unwrap();
        let ann = engine.open_session(&account("ann"), options()).unwrap();
        let calls = {
            let ann = ann.clone();
            thread::spawn(move || {
                done_or_closed(ann.send(&account("ben"), "hello"));
                done_or_closed(ann.roster());
            })
        };
        let domains = {
            let engine = engine.clone();
            thread::spawn(move || {
                done_or_closed(engine.set_domain(Domain::new("example.net").unwrap(), Overrides::default()));
            })
        };
        let late = {
            let engine = engine.clone();
            thread::spawn(move || {
                // A device that is new is written before its session is there.
                let device = Some(DeviceName::new("phone").unwrap());
                let options = SessionOptions { device, ..options() };
                if let Some(session) = done_or_closed(engine.open_session(&account("ben"), options)) {
                    read(session).join().unwrap();
                }
            })
        };
        let reading = read(ann);
        let shutdowns = [(); 2].map(|()| {
            let engine = engine.clone();
            thread::spawn(move || engine.shutdown(true).unwrap())
        });
        engine.shutdown(true).unwrap();
        // When this has returned no listener is called any more.
        assert!(!host.close(), "a listener is still called");
        for thread in shutdowns.into_iter().chain([calls, domains, late, reading]) {
            thread.join().unwrap();
        }
        assert_eq!(ends(&host.wait_until(|_| true)), [EndReason::Shutdown]);
        closed(ben.send(&account("ann"), "hello"));
        closed(engine.next_batches(1, 1_024, LONG));
        engine.shutdown(true).unwrap();
    });
}

#[test]
fn every_ticket_is_answered_once_before_the_answers_are_closed() {
    explore(600, || {
        let engine = engine();
        let tickets = Notes::new();
        let submitting = {
            let (engine, tickets) = (engine.clone(), Arc::clone(&tickets));
            thread::spawn(move || {
                let hello = || {
                    let content = Content::text("hello");
                    Command::Send(Send { recipient: account("ben"), content, client_id: None, expires: None })
                };
                let actor = || Actor { account: account("ann"), session: None };
                // The last one finds the engine closed.
                loop {
                    let commands = vec![(actor(), hello()), (actor(), Command::ReadBlocked)];
                    match done_or_closed(engine.submit(commands)) {
                        Some(taken) => tickets.note(&taken),
                        None => return,
                    }
                    thread::yield_now();
                }
            })
        };
        let answers = {
            let engine = engine.clone();
            thread::spawn(move || {
                let mut answered = Vec::new();
                while let Some(some) = done_or_closed(engine.next_answers(2, LONG)) {
                    some.into_iter().for_each(|answer| {
                        answered.push(answer.ticket);
                        done_or_closed(answer.result);
                    });
                }
                answered
            })
        };
        engine.shutdown(false).unwrap();
        submitting.join().unwrap();
        let mut answered = answers.join().unwrap();
        // What was submitted when everything was over already answers itself.
        while let Some(some) = done_or_closed(engine.next_answers(2, Duration::ZERO)) {
            answered.extend(some.into_iter().map(|answer| answer.ticket));
        }
        answered.sort_unstable();
        assert_eq!(answered, tickets.all());
        engine.shutdown(true).unwrap();
    });
}

#[test]
fn letting_go_of_the_last_clone_shuts_down() {
    explore(600, || {
        let engine = engine();
        let reading = read(engine.open_session(&account("ann"), options()).unwrap());
        drop(engine);
        reading.join().unwrap();
    });
}

/// Shuts its engine down as soon as it is called, and notes how that went.
struct ShutsDown {
    engine: OnceLock<Engine>,
    called: Arc<Notes<[Option<ErrorKind>; 2]>>,
}

impl Listener for ShutsDown {
    fn on_events(&self, _: SessionId, _: &[Event]) -> std::result::Result<(), ListenerError> {
        if let Some(engine) = self.engine.get() {
            self.called
                .note(&[[true, false].map(|wait| engine.shutdown(wait).err().map(|error| error.kind))]);
        }
        Ok(())
    }
}

#[test]
fn a_listener_may_shut_down_and_another_thread_wait_for_it() {
    explore(600, || {
        let engine = engine();
        let host = Arc::new(ShutsDown { engine: OnceLock::new(), called: Notes::new() });
        host.engine.set(engine.clone()).unwrap();
        let consumer = Consumer::Listener(Arc::clone(&host) as Arc<dyn Listener>);
        let _ben = engine.open_session(&account("ben"), SessionOptions { consumer, ..options() }).unwrap();
        let waiting = {
            let engine = engine.clone();
            thread::spawn(move || engine.shutdown(true).unwrap())
        };
        let send = Send {
            recipient: account("ben"),
            content: Content::text("hello"),
            client_id: None,
            expires: None,
        };
        done_or_closed(engine.send(&account("ann"), send));
        waiting.join().unwrap();
        // The end at least is told; and only waiting is refused.
        let called = host.called.all();
        assert!(!called.is_empty());
        assert!(called.iter().all(|result| *result == [Some(ErrorKind::Misuse), None]));
    });
}
