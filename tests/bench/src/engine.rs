//! `engine`: the figures of the running engine, each against what it is fair to hold it against.

use crate::baseline::Baseline;
use crate::load::{BODY, Load, actor, address};
use crate::measure::{Row, cpu_seconds, median};
use rosterkit::store::vfs::{Counters, Disk};
use rosterkit::{
    Anchor, ChatState, Command, Consumer, Direction, Durability, EventBody, HistoryRequest, Op, Overrides,
    RosterEdit, Session, SessionOptions, SetPresence, State,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const ACCOUNTS: usize = 10_000;
const ROUNDS: usize = 7;

/// What an engine does against raw SQLite with the same number in a transaction, interleaved, median of seven. Each number
/// on files of its own; a round is as long as a pass of the index takes to come by, so that each pays for one.
pub fn durable_accept(directory: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for (in_flight, count) in [(1, 1_000), (64, 49_152), (1_024, 49_152)] {
        let file = |of: &str| directory.join(format!("{of}-{in_flight}.db"));
        let mut load = Load::open(&file("engine"), ACCOUNTS, 2 * ACCOUNTS, Durability::Full);
        load.make_accounts();
        let disk = Disk::through(Arc::new(Counters::default()));
        let mut baseline = Baseline::open(&file("baseline"), ACCOUNTS, disk).expect("a baseline");
        // Both have indexed for a while before anything counts.
        load.messages(50_000, 1_024);
        (0..49).for_each(|_| baseline.send(1_024).expect("sent"));
        let (mut ours, mut theirs, mut best, mut cpu) = (vec![], vec![], vec![], vec![]);
        let (mut per_sync, mut wal) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            let before = (cpu_seconds(), counts(&load));
            let begun = Instant::now();
            load.messages(count, in_flight);
            ours.push(count as f64 / begun.elapsed().as_secs_f64());
            cpu.push((cpu_seconds() - before.0) * 1e6 / count as f64);
            let after = counts(&load);
            per_sync.push(count as f64 / (after.0 - before.1.0) as f64);
            wal.push((after.1 - before.1.1) as f64 / count as f64);
            let begun = Instant::now();
            (0..count / in_flight).for_each(|_| baseline.send(in_flight).expect("sent"));
            theirs.push((count / in_flight * in_flight) as f64 / begun.elapsed().as_secs_f64());
        }
        // At its best size, on the same file, behind what was compared.
        for _ in 0..if in_flight > 1 { 3 } else { 0 } {
            let begun = Instant::now();
            (0..count / 512).for_each(|_| baseline.send(512).expect("sent"));
            best.push((count / 512 * 512) as f64 / begun.elapsed().as_secs_f64());
        }
        let name = |what: &str| format!("{what}_{in_flight}");
        rows.push(Row::rate(&name("durable_accept"), median(ours), "messages/s", median(theirs)));
        if in_flight > 1 {
            rows.push(Row::plain(&name("baseline_best_size"), median(best), "messages/s"));
            rows.push(Row::plain(&name("messages_per_sync"), median(per_sync), "messages"));
            rows.push(Row::plain(&name("cpu_us_per_message"), median(cpu), "µs"));
            rows.push(Row::plain(&name("wal_bytes_per_message"), median(wal), "bytes"));
        }
        load.engine.shutdown(true).expect("down");
    }
    rows
}

fn counts(load: &Load) -> (u64, u64) {
    (load.counters.syncs.load(Ordering::Relaxed), load.counters.wal_bytes.load(Ordering::Relaxed))
}

/// History off, everybody there, claimed at once; answers leave before the disk.
pub fn relaxed(directory: &Path) -> Vec<Row> {
    let accounts = 1_000;
    let mut load = Load::open(&directory.join("relaxed.db"), accounts, 2 * accounts, Durability::Relaxed);
    load.client_ids = false;
    load.make_accounts();
    let off = Overrides { keep_history: Some(false), ..Overrides::default() };
    load.run((0..accounts).map(|user| (actor(user), Command::SetPreferences(off.clone()))));
    let sessions = open_sessions(&load, accounts, true);
    let reader = {
        let engine = load.engine.clone();
        std::thread::spawn(move || {
            while let Ok(batches) = engine.next_batches(4_096, 1 << 20, Duration::from_secs(1)) {
                for batch in batches {
                    if let Some(last) = batch.events.last() {
                        engine.ack(batch.session, last.seq);
                    }
                }
            }
        })
    };
    load.messages(50_000, 1_024);
    let mut cpu = vec![];
    for _ in 0..ROUNDS {
        let before = cpu_seconds();
        load.messages(100_000, 1_024);
        cpu.push((cpu_seconds() - before) * 1e6 / 100_000.0);
    }
    load.engine.shutdown(true).expect("down");
    reader.join().expect("a reader");
    drop(sessions);
    vec![Row::plain("relaxed_cpu_us_per_message_1024", median(cpu), "µs")]
}

fn open_sessions(load: &Load, accounts: usize, engine: bool) -> Vec<Session> {
    (0..accounts)
        .map(|user| {
            let consumer = if engine { Consumer::Engine } else { Consumer::Pull };
            let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
            load.engine.open_session(&address(user), options).expect("a session")
        })
        .collect()
}

/// Changes of the aggregate to twenty online watchers, each reading its own queue.
pub fn presence(directory: &Path) -> Vec<Row> {
    const SUBJECTS: usize = 32;
    const WATCHERS: usize = 20;
    let accounts = SUBJECTS + WATCHERS;
    let load = Load::open(&directory.join("presence.db"), accounts, 2 * accounts, Durability::Full);
    load.make_accounts();
    for round in 0..2 {
        // The watchers ask for all, then the subjects confirm.
        load.run((0..SUBJECTS * WATCHERS).map(|pair| {
            let (subject, watcher) = (pair / WATCHERS, SUBJECTS + pair % WATCHERS);
            let (from, to) = if round == 0 { (watcher, subject) } else { (subject, watcher) };
            let op = if round == 0 { Op::Subscribe } else { Op::Subscribed };
            let edit = RosterEdit::new(&address(to), op);
            (actor(from), Command::Roster(edit))
        }));
    }
    let sessions = open_sessions(&load, accounts, false);
    for session in &sessions {
        session.set_presence(SetPresence::state(State::Online)).expect("online");
    }
    std::thread::sleep(Duration::from_millis(200));
    let drain = |session: &Session| -> usize {
        let mut seen = 0;
        while let Ok(events) = session.next_events(1_024, Duration::ZERO)
            && let Some(last) = events.last()
        {
            session.ack(last.seq);
            seen += events.iter().filter(|e| matches!(e.body, EventBody::Presence { .. })).count();
        }
        seen
    };
    sessions.iter().for_each(|s| _ = drain(s));
    let (mut per_core, mut typing) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let (before, mut delivered) = (cpu_seconds(), 0);
        let mut round = 0;
        while cpu_seconds() - before < 0.4 {
            round += 1;
            let state = if round % 2 == 0 { State::Online } else { State::Busy };
            let changes = sessions[..SUBJECTS].iter().map(|session| {
                let actor =
                    rosterkit::Actor { account: session.account().clone(), session: Some(session.id()) };
                (actor, Command::SetPresence(SetPresence::state(state)))
            });
            let mut open = load.engine.submit(changes.collect()).expect("tickets").len();
            while open > 0 {
                open -= load.engine.next_answers(64, Duration::from_secs(1)).expect("answers").len();
            }
            delivered += sessions[SUBJECTS..].iter().map(drain).sum::<usize>();
        }
        per_core.push(delivered as f64 / (cpu_seconds() - before));
        sessions[..SUBJECTS].iter().for_each(|s| _ = drain(s));
        let (before, mut typed) = (cpu_seconds(), 0);
        while cpu_seconds() - before < 0.2 {
            load.run((0..SUBJECTS).map(|user| {
                let recipient = address(SUBJECTS + user % WATCHERS);
                (actor(user), Command::Typing { recipient, state: ChatState::Composing })
            }));
            typed += SUBJECTS;
        }
        typing.push(typed as f64 / (cpu_seconds() - before));
        sessions.iter().for_each(|s| _ = drain(s));
    }
    load.engine.shutdown(true).expect("down");
    vec![
        Row::plain("presence_fanout", median(per_core), "1/s and core"),
        Row::plain("typing_route", median(typing), "1/s and core"),
    ]
}

/// Opening a file with a long tail, and a page of history against the same page by hand.
pub fn reading(directory: &Path) -> Vec<Row> {
    let path = directory.join("reading.db");
    let mut load = Load::open(&path, 100, 1_000, Durability::Full);
    load.make_accounts();
    load.messages(100_000, 1_024);
    load.engine.shutdown(true).expect("down");
    let mut open = vec![];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let load = Load::open(&path, 100, 1_000, Durability::Full);
        open.push(begun.elapsed().as_secs_f64() * 1e3);
        load.engine.shutdown(true).expect("down");
    }
    let load = Load::open(&path, 100, 1_000, Durability::Full);
    let sessions = open_sessions(&load, 100, false);
    let raw = rusqlite::Connection::open(&path).expect("a connection");
    let by_hand = "SELECT l.position, l.sender, l.recipient, l.sides, l.body FROM log_by_account a
         JOIN log l ON l.position = a.position WHERE a.account = ?1 AND a.position < ?2
         ORDER BY a.position DESC LIMIT 50";
    let ids: Vec<i64> = {
        let mut select = raw.prepare("SELECT id FROM account").expect("a statement");
        let rows = select.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("ids")
    };
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let before = cpu_seconds();
        let mut pages = 0.0;
        while cpu_seconds() - before < 0.3 {
            for session in &sessions {
                let direction = Direction::Older;
                let page =
                    session.history(HistoryRequest { peer: None, anchor: Anchor::End, direction, limit: 50 });
                assert_eq!(page.expect("a page").messages.len(), 50);
                pages += 1.0;
            }
        }
        ours.push(pages / (cpu_seconds() - before));
        let before = cpu_seconds();
        let mut pages = 0.0;
        while cpu_seconds() - before < 0.3 {
            for id in &ids {
                let mut select = raw.prepare_cached(by_hand).expect("a statement");
                let rows = select.query_map([*id, i64::MAX], |row| row.get::<_, Vec<u8>>(4)).expect("rows");
                assert_eq!(
                    rows.map(|body| body.expect("a body").len()).filter(|n| *n > BODY.len()).count(),
                    50
                );
                pages += 1.0;
            }
        }
        theirs.push(pages / (cpu_seconds() - before));
    }
    load.engine.shutdown(true).expect("down");
    vec![
        Row::plain("open_100k_messages", median(open), "ms"),
        Row::rate("history_page", median(ours), "pages/s, CPU", median(theirs)),
    ]
}
