//! Durability through SIGKILL: a process under load, and an auditor in another that counts an answer only when it
//! crossed the pipe.
//!
//! `ROSTERKIT_KILLS=5000 cargo test --release -p rosterkit-promises --test kills -- --nocapture` kills more often.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::Store;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{Answer, Engine, EventBody, Position, SessionOptions, Timestamp};
use rosterkit_promises::audit::{
    REDIRECTS, USERS, address, ends, is_forgetful, kept, options, reaches, send,
};
use rosterkit_promises::kept::Ledger;
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How many sends are kept under way.
const IN_FLIGHT: usize = 1_024;

#[derive(Default)]
struct Auditor {
    next: u64,
    /// Sends that have no answer yet.
    open: BTreeSet<u64>,
    /// What was answered: id, position, word.
    answered: HashMap<u64, (String, u64, String)>,
    by_id: HashMap<String, u64>,
    /// Events seen: where each message stands for each user, as rules send some on.
    places: HashMap<(usize, String), u64>,
    ledger: Ledger,
    /// How many values beside messages were asked for.
    kept: u64,
    told: HashMap<String, u32>,
    kills: Kills,
}

#[derive(Debug, Default)]
struct Kills {
    all: u32,
    with_64_unanswered: u32,
    in_checkpoint: u32,
    in_open: u32,
    with_pending: u32,
    redelivered: u32,
    repeats: u32,
}

struct Life {
    child: Child,
    lines: Receiver<String>,
    sessions: HashMap<u64, (usize, u64)>,
}

impl Auditor {
    fn live(&mut self, file: &Path, status: &Path, random: &mut fastrand::Rng, kill_in_open: bool) -> Life {
        std::fs::write(status, ".").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_victim"))
            .args([file, status])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut life = Life { child, lines, sessions: HashMap::new() };
        let until = Instant::now() + Duration::from_secs(20);
        if kill_in_open {
            while !std::fs::read(status).is_ok_and(|s| s == b"o") {
                assert!(Instant::now() < until, "the victim does not begin to open");
                std::thread::sleep(Duration::from_micros(100));
            }
            std::thread::sleep(Duration::from_micros(random.u64(0..4_000)));
            return life;
        }
        loop {
            let line = life.lines.recv_timeout(until - Instant::now()).expect("the victim does not come up");
            if line == "READY" {
                break;
            }
            self.hear(&mut life, &line);
        }
        // Unanswered sends come again, and some answered ones.
        let mut again: Vec<u64> = self.open.iter().copied().collect();
        let answered: Vec<u64> = self.remembered().collect();
        again.extend((0..40).filter_map(|_| random.choice(&answered).copied()));
        self.kills.repeats += again.len() as u32;
        for number in again {
            self.say(&mut life, number);
        }
        life
    }

    /// Sends whose client ids are remembered for sure: an account's latest 256.
    fn remembered(&self) -> impl Iterator<Item = u64> {
        let oldest = self.next.saturating_sub(100 * USERS as u64);
        self.answered.keys().copied().filter(move |number| *number > oldest)
    }

    fn say(&mut self, life: &mut Life, number: u64) {
        self.open.insert(number);
        // It may be dead already; then the send stays open.
        let _ = writeln!(life.child.stdin.as_mut().unwrap(), "{number}");
    }

    fn hear(&mut self, life: &mut Life, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["A", number, id, position, word] => {
                let number: u64 = number.parse().unwrap();
                let answer = ((*id).to_owned(), position.parse().unwrap(), (*word).to_owned());
                self.open.remove(&number);
                let first = self.answered.entry(number).or_insert_with(|| answer.clone());
                assert_eq!(*first, answer, "send {number} has two answers");
                let of = *self.by_id.entry(answer.0.clone()).or_insert(number);
                assert_eq!(of, number, "two sends have one id");
            }
            ["E", session, id, position] => {
                let position: u64 = position.parse().unwrap();
                let session = session.parse().unwrap();
                let user = life.sessions.get(&session).expect("a session that is known").0;
                let place = *self.places.entry((user, (*id).to_owned())).or_insert(position);
                assert_eq!(place, position, "{id} has two rows");
                *self.told.entry((*id).to_owned()).or_default() += 1;
                let session = life.sessions.get_mut(&session).expect("a session that is known");
                assert!(position > session.1, "user{} is told {position} after {}", session.0, session.1);
                session.1 = position;
            }
            ["SESSION", user, session] => {
                life.sessions.insert(session.parse().unwrap(), (user.parse().unwrap(), 0));
            }
            ["K", number] => self.ledger.answers(kept(number.parse().unwrap())),
            ["READY"] => {}
            other => panic!("the victim says {other:?}"),
        }
    }

    /// Keeps it under load until the moment comes, kills it, and hears what was still in the pipe.
    fn load_and_kill(&mut self, mut life: Life, status: &Path, millis: u64, wait_for_checkpoint: bool) {
        let until = Instant::now() + Duration::from_millis(millis);
        let latest = until + Duration::from_millis(200);
        loop {
            while self.open.len() < IN_FLIGHT {
                self.next += 1;
                let number = self.next;
                self.say(&mut life, number);
                if number.is_multiple_of(16) {
                    self.kept += 1;
                    self.ledger.tries(kept(self.kept));
                    let _ = writeln!(life.child.stdin.as_mut().unwrap(), "K {}", self.kept);
                }
            }
            match life.lines.recv_timeout(Duration::from_millis(1)) {
                Ok(line) => self.hear(&mut life, &line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the victim died by itself"),
            }
            let now = Instant::now();
            let in_checkpoint = std::fs::read(status).is_ok_and(|s| s == b"c");
            if now >= latest || now >= until && (!wait_for_checkpoint || in_checkpoint) {
                break;
            }
        }
        self.kill(life, status);
    }

    fn kill(&mut self, mut life: Life, status: &Path) {
        life.child.kill().unwrap();
        life.child.wait().unwrap();
        while let Ok(line) = life.lines.recv() {
            // The last line may have been cut off with the process.
            let is_whole = line.starts_with("SESSION") || line.split(' ').count() >= 4;
            if !line.is_empty() && is_whole {
                self.hear(&mut life, &line);
            }
        }
        self.kills.all += 1;
        self.kills.with_64_unanswered += u32::from(self.open.len() >= 64);
        match std::fs::read(status).unwrap_or_default().first() {
            Some(b'c') => self.kills.in_checkpoint += 1,
            Some(b'o') => self.kills.in_open += 1,
            _ => {}
        }
    }
}

/// How many signals are under way in a copy of the file as the kill left it.
fn pending(file: &Path) -> usize {
    let directory = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("im.db{suffix}");
        if let Ok(bytes) = std::fs::read(file.with_file_name(&name)) {
            std::fs::write(directory.path().join(&name), bytes).unwrap();
        }
    }
    let store = SqliteStore::new(directory.path().join("im.db"), SqliteOptions::small());
    store.open().map_or(0, |mut opened| opened.reader.pending(None, 1_000).unwrap().len())
}

#[test]
fn durability_through_kills() {
    let kills: u32 = std::env::var("ROSTERKIT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut directory = tempfile::tempdir().unwrap();
    directory.disable_cleanup(std::env::var_os("ROSTERKIT_KEEP").is_some());
    println!("{}", directory.path().display());
    let (file, status) = (directory.path().join("im.db"), directory.path().join("status"));
    let mut auditor = Auditor::default();
    for kill in 0..kills {
        let in_open = kill % 10 == 9;
        let life = auditor.live(&file, &status, &mut random, in_open);
        if in_open {
            auditor.kill(life, &status);
        } else if kill % 10 == 5 {
            // At once: what the handshake left under way is not settled yet.
            auditor.kill(life, &status);
        } else {
            auditor.load_and_kill(life, &status, random.u64(10..120), kill % 3 == 0);
        }
        if kill % 2 == 1 {
            auditor.kills.with_pending += u32::from(pending(&file) > 0);
        }
    }
    auditor.kills.redelivered = auditor.told.values().filter(|times| **times > 1).count() as u32;
    check_the_end(&auditor, &file);
    let kills = &auditor.kills;
    println!("{} sends answered; {kills:#?}", auditor.answered.len());
    assert!(kills.with_64_unanswered * 5 >= kills.all * 4, "{kills:?}");
    for (what, count) in [
        ("during a checkpoint", kills.in_checkpoint),
        ("during opening", kills.in_open),
        ("with redelivery", kills.redelivered),
        ("between a pending row and its settlement", kills.with_pending),
    ] {
        assert!(count > 0, "no kill {what}: {kills:?}");
    }
}

/// What was kept beside messages is there, and what rules sent on has arrived, once.
fn check_what_was_kept(auditor: &Auditor, file: &Path) {
    let store = SqliteStore::new(file, SqliteOptions::small());
    let now = Timestamp(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
    let engine = Engine::open_virtual(store, options(), 1, now).unwrap();
    engine.advance(5_000).unwrap();
    auditor.ledger.check(&engine);
    let mut arrived: HashMap<(usize, String), u32> = HashMap::new();
    for user in [0, 2] {
        let reading = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let session = engine.open_session(&address(user), reading).unwrap();
        while let Some(last) = {
            let events = session.next_events(1_000, Duration::ZERO).unwrap();
            for event in &events {
                if let EventBody::Message(message) = &event.body {
                    let place = (user, message.id.to_string());
                    assert!(
                        auditor.places.get(&place).is_none_or(|at| *at == message.position.0),
                        "{place:?}"
                    );
                    *arrived.entry(place).or_default() += 1;
                }
            }
            events.last().map(|event| event.seq)
        } {
            session.ack(last);
        }
    }
    assert!(arrived.values().all(|times| *times == 1), "something arrived twice");
    let (mut redirected, mut forked) = (0, 0);
    for (number, (id, ..)) in &auditor.answered {
        let recipient = ends(*number).1;
        let user = reaches(recipient);
        if user != recipient {
            let place = (user, id.clone());
            let came = auditor.places.contains_key(&place) || arrived.contains_key(&place);
            assert!(came, "send {number} was not sent on to user{user}");
            *(if recipient == REDIRECTS { &mut redirected } else { &mut forked }) += 1;
        }
    }
    engine.shutdown(true).unwrap();
    let [_, registered, written, redeemed] = auditor.ledger.mix();
    println!(
        "{redirected} redirected, {forked} forked; {registered} registrations, {written} files, {redeemed} invitations"
    );
    assert!(redirected > 100 && forked > 100 && registered > 5 && written > 5 && redeemed > 5);
}

/// Every answered send is in the file, once, where it was said to be, unless both its ends forget what they have read.
fn check_the_end(auditor: &Auditor, file: &Path) {
    let mut opened = SqliteStore::new(file, SqliteOptions::small()).open().unwrap();
    let mut kept = 0;
    let mut seen = BTreeSet::new();
    for (number, (id, position, word)) in &auditor.answered {
        assert!(seen.insert(*position), "position {position} was given twice");
        let rows = opened.reader.rows_at(&[Position(*position)]).unwrap();
        let (sender, recipient) = ends(*number);
        match rows.first() {
            Some(row) => {
                kept += 1;
                let found = (row.entry.message_id.to_string(), format!("{:?}", row.entry.word));
                assert_eq!(found, (id.clone(), word.clone()), "send {number}");
            }
            None => {
                // What rules redirect is its sender's only.
                let claimed = is_forgetful(recipient) && auditor.told.contains_key(id);
                let forgotten = is_forgetful(sender) && (claimed || recipient == REDIRECTS);
                assert!(
                    forgotten,
                    "send {number} of user{sender} to user{recipient} is lost: {id} at {position}"
                );
            }
        }
    }
    drop(opened);
    check_what_was_kept(auditor, file);
    let store = SqliteStore::new(file, SqliteOptions::small());
    let engine = Engine::open_virtual(store, options(), 1, Timestamp(1_900_000_000_000)).unwrap();
    let mut repeated = 0;
    for number in auditor.remembered() {
        let (actor, command) = send(number);
        match engine.call(&actor, command) {
            Ok(Answer::Receipt(receipt)) => {
                let again = (receipt.id.to_string(), receipt.position.0, format!("{:?}", receipt.outcome));
                assert_eq!(again, auditor.answered[&number], "send {number}");
                repeated += 1;
            }
            other => panic!("send {number}: {other:?}"),
        }
    }
    engine.shutdown(true).unwrap();
    println!("{kept} rows in place, {repeated} repeats got the first answer");
}
