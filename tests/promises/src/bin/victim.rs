//! A process under load, to be killed: it takes sends on its input and tells answers, deliveries and acknowledgements on
//! its output. Nothing it says is buffered: what the auditor read is what it promised.
//!
//!     victim FILE STATUS
//!
//! STATUS is a file whose first byte says what the disk is doing: `o` opening, `c` a checkpoint, `.` neither.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::{Call, Disk, Failure, FileKind, Layer};
use rosterkit::{
    Actor, Answer, Command, Consumer, Engine, EventBody, Op, Overrides, RosterEdit, SessionOptions, Ticket,
    Timestamp,
};
use rosterkit_promises::audit::{
    ACCOUNTS, FORKS, REDIRECTS, USERS, address, is_forgetful, kept, options, reads, send,
};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Says in the status file when a checkpoint writes to the main file.
struct Status {
    file: File,
    open: AtomicBool,
    checkpoint: AtomicBool,
}

impl Layer for Status {
    fn call(&self, file: FileKind, _path: &str, call: Call<'_>) -> Result<(), Failure> {
        if file == FileKind::Main && self.open.load(Ordering::Relaxed) {
            let checkpoint = matches!(call, Call::Write { .. });
            let over = matches!(call, Call::Sync);
            if checkpoint && !self.checkpoint.swap(true, Ordering::Relaxed) {
                self.file.write_at(b"c", 0).unwrap();
            } else if over && self.checkpoint.swap(false, Ordering::Relaxed) {
                self.file.write_at(b".", 0).unwrap();
            }
        }
        Ok(())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let status = Arc::new(Status {
        file: File::options().write(true).create(true).truncate(false).open(&arguments[2]).unwrap(),
        open: AtomicBool::new(false),
        checkpoint: AtomicBool::new(false),
    });
    status.file.write_at(b"o", 0).unwrap();
    let sqlite = SqliteOptions {
        disk: Disk::through(status.clone()),
        checkpoint_pages: 100,
        tail_rows: 512,
        ..SqliteOptions::small()
    };
    let engine = Engine::open(SqliteStore::new(&arguments[1], sqlite), options()).unwrap();
    status.file.write_at(b".", 0).unwrap();
    status.open.store(true, Ordering::Relaxed);
    begin(&engine);
    say("READY");
    let tickets: Arc<Mutex<HashMap<Ticket, u64>>> = Arc::default();
    let answers = {
        let (engine, tickets) = (engine.clone(), tickets.clone());
        std::thread::spawn(move || tell_answers(&engine, &tickets))
    };
    let events = {
        let engine = engine.clone();
        std::thread::spawn(move || tell_events(&engine))
    };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("K ") {
            let now = Timestamp(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
            kept(number.parse().unwrap()).keep(&engine, now).unwrap();
            say(&format!("K {number}"));
            continue;
        }
        let number: u64 = line.parse().unwrap();
        // The lock is held so that no answer is looked for before its ticket is known.
        let mut tickets = tickets.lock().unwrap();
        let ticket = engine.submit(vec![send(number)]).unwrap()[0];
        tickets.insert(ticket, number);
    }
    engine.shutdown(true).unwrap();
    answers.join().unwrap();
    events.join().unwrap();
}

fn begin(engine: &Engine) {
    for user in 0..ACCOUNTS {
        // Making an account that is there already is refused, and that is all right.
        if engine.create_account(&address(user)).is_ok() && is_forgetful(user) {
            let overrides = Overrides { keep_history: Some(false), ..Overrides::default() };
            let actor = Actor { account: address(user), session: None };
            engine.call(&actor, Command::SetPreferences(overrides)).unwrap();
        }
    }
    for (user, does, to) in [(REDIRECTS, "redirect-to", 0), (FORKS, "fork-to", 2)] {
        let to = address(to);
        let rules =
            format!(r#"{{"rules": [{{"name": "on", "priority": 5, "actions": [{{"{does}": ["{to}"]}}]}}]}}"#);
        let actor = Actor { account: address(user), session: None };
        engine.call(&actor, Command::SetRules(rules)).unwrap();
    }
    for user in (0..USERS).filter(|u| reads(*u)) {
        let options =
            SessionOptions { reads_messages: true, consumer: Consumer::Engine, ..SessionOptions::default() };
        let session = engine.open_session(&address(user), options).unwrap();
        say(&format!("SESSION {user} {}", session.id().0));
        // The process ends before the session does.
        std::mem::forget(session);
    }
    // Requests that are under way all the time; invitations are redeemed between others.
    let pairs = (0..USERS).map(|user| {
        let peer = address((user + 1) % USERS);
        let op = if fastrand::bool() { Op::Add } else { Op::Remove };
        let edit = RosterEdit::new(&peer, op);
        (Actor { account: address(user), session: None }, Command::Roster(edit))
    });
    engine.submit(pairs.collect()).unwrap();
}

fn tell_answers(engine: &Engine, tickets: &Mutex<HashMap<Ticket, u64>>) {
    while let Ok(answers) = engine.next_answers(256, Duration::from_secs(1)) {
        for answered in answers {
            let Some(number) = tickets.lock().unwrap().remove(&answered.ticket) else {
                continue;
            };
            match answered.result {
                Ok(Answer::Receipt(receipt)) => {
                    say(&format!("A {number} {} {:?} {:?}", receipt.id, receipt.position.0, receipt.outcome));
                }
                other => say(&format!("F {number} {other:?}")),
            }
        }
    }
}

fn tell_events(engine: &Engine) {
    while let Ok(batches) = engine.next_batches(64, 1 << 20, Duration::from_secs(1)) {
        for batch in batches {
            for event in &batch.events {
                if let EventBody::Message(message) = &event.body {
                    say(&format!("E {} {} {}", batch.session.0, message.id, message.position.0));
                }
            }
            // Now and then somebody is slow, so that there is something to come again.
            if fastrand::u8(0..4) > 0
                && let Some(last) = batch.events.last()
            {
                engine.ack(batch.session, last.seq);
            }
        }
    }
}

/// One line, at once: a line is one write, and a pipe keeps small writes whole.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}
