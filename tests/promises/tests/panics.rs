//! A panic on one of the engine's own threads: a defect of ours, and still nobody waits for ever.
//!
//! A test of its own binary: a planted bug is everybody's in a process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Actor, Address, Command, Consumer, Content, Domain, EndReason, Engine, EngineOptions, ErrorKind,
    EventBody, Listener, ListenerError, Send, Serves, SessionId, SessionOptions,
};
use rosterkit_core::planted::{Bug, plant};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECONDS: Duration = Duration::from_secs(20);

fn account(user: &str) -> Address {
    Address::account(&format!("{user}@example.org")).unwrap()
}

/// Says when its session ends.
struct Ends(Mutex<Sender<EndReason>>);

impl Listener for Ends {
    fn on_events(&self, _: SessionId, events: &[rosterkit::Event]) -> Result<(), ListenerError> {
        for event in events {
            if let EventBody::Ended(reason) = event.body {
                let _ = self.0.lock().unwrap().send(reason);
            }
        }
        Ok(())
    }
}

fn send(text: &str) -> Command {
    Command::Send(Send {
        recipient: account("bob"),
        content: Content::text(text),
        client_id: None,
        expires: None,
    })
}

/// Runs it in a thread of its own, and fails when it does not come back.
fn in_time<T: std::marker::Send + 'static>(
    what: &str,
    run: impl FnOnce() -> T + std::marker::Send + 'static,
) -> T {
    let (sender, result) = channel();
    std::thread::spawn(move || sender.send(run()));
    result.recv_timeout(SECONDS).unwrap_or_else(|_| panic!("{what} hangs"))
}

// behaviour: engine.panic
#[test]
fn whichever_step_panics_whoever_waits_is_answered_and_the_engine_shuts_down() {
    let hook = std::panic::take_hook();
    // What is planted need not be read by anybody.
    std::panic::set_hook(Box::new(|_| {}));
    for bug in [Bug::PanicInShard, Bug::PanicInWriter, Bug::PanicInReader, Bug::PanicInCheckpointer] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("im.db");
        // A page is enough for a checkpoint.
        let store = SqliteStore::new(&file, SqliteOptions { checkpoint_pages: 1, ..SqliteOptions::small() });
        let engine =
            Engine::open(store, EngineOptions::hosting([Domain::new("example.org").unwrap()])).unwrap();
        engine.create_account(&account("alice")).unwrap();
        engine.create_account(&account("bob")).unwrap();
        let (sender, ended) = channel();
        let options = SessionOptions {
            reads_messages: true,
            consumer: Consumer::Listener(Arc::new(Ends(Mutex::new(sender)))),
            ..SessionOptions::default()
        };
        let session = engine.open_session(&account("bob"), options).unwrap();
        let relay = engine.open_relay(Serves::Everything).unwrap();
        relay.connect();
        let relayed = std::thread::spawn(move || relay.next(1, Duration::from_secs(3_600)));
        let answers = engine.clone();
        let answered = std::thread::spawn(move || {
            let mut last = answers.next_answers(1, Duration::from_secs(3_600));
            while last.is_ok() {
                last = answers.next_answers(64, Duration::from_secs(3_600));
            }
            last
        });

        plant(Some(bug));
        let actor = Actor { account: account("alice"), session: None };
        let caller = engine.clone();
        let calls = in_time("a call", move || {
            let mut calls = Vec::new();
            for number in 0..200 {
                let call = match number % 3 {
                    0 => caller.call(&actor, send("hello")).map(|_| ()),
                    1 => caller.create_account(&account(&format!("new{number}"))),
                    _ => caller.submit(vec![(actor.clone(), send("hello"))]).map(|_| ()),
                };
                calls.push(call);
                if matches!(&calls[number], Err(error) if error.kind == ErrorKind::Internal) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            calls
        });
        let last = calls.last().unwrap().clone().unwrap_err();
        assert_eq!(last.kind, ErrorKind::Internal, "{bug:?}: {last}");
        let text = in_time("what it failed by", {
            let engine = engine.clone();
            move || loop {
                if let Some(failure) = engine.failure() {
                    return failure;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        assert!(text.contains(&format!("{bug:?}")), "{text}");
        let after = engine.create_account(&account("late")).unwrap_err();
        assert!(after.kind == ErrorKind::Internal && after.details.contains(&text), "{after}");
        let ending = engine.clone();
        in_time("shutdown", move || ending.shutdown(true)).unwrap();
        plant(None);
        assert!(ended.recv_timeout(SECONDS).is_ok(), "{bug:?}: the session was not told its end");
        let waits = in_time("a relay", move || relayed.join().unwrap());
        assert!(waits.is_err(), "{bug:?}: {waits:?}");
        assert!(in_time("answers", move || answered.join().unwrap()).is_err());
        drop((session, engine));

        // The file is whole, and let go.
        let again = Engine::open_file(&file, EngineOptions::hosting([Domain::new("example.org").unwrap()]));
        again.unwrap().shutdown(true).unwrap();
    }
    std::panic::set_hook(hook);
}
