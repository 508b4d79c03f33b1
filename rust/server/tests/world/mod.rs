//! Files to break: made by the real engine, and read by it again.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use rosterkit::store::Store;
use rosterkit::store::check::{self, Report, Salvaged};
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Actor, Address, Anchor, Answer, ClientId, Command, Direction, Domain, Engine, EngineOptions,
    HistoryRequest, Limits, Op, Quota, Rate, RosterEdit, Send, SessionOptions, Timestamp,
};
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const PAGE: usize = 4096;
pub const ACCOUNTS: usize = 120;

pub fn account(number: usize) -> Address {
    Address::account(&format!("somebody-with-a-name-of-some-length-{number:03}@example.org")).unwrap()
}

pub fn open(path: &Path, checkpoint_pages: u64) -> Engine {
    let free = Rate { burst: 1_000_000, per_minute: 1_000_000 };
    let much = Quota { count: usize::MAX, bytes: u64::MAX };
    let limits = Limits { sends: free, unclaimed: much, unclaimed_from_one: much, ..Limits::default() };
    let options = EngineOptions { limits, ..EngineOptions::hosting([Domain::new("example.org").unwrap()]) };
    let store = SqliteStore::new(path, SqliteOptions { checkpoint_pages, ..SqliteOptions::small() });
    Engine::open_virtual(store, options, 7, Timestamp(1_700_000_000_000)).unwrap()
}

pub fn act(number: usize, command: Command) -> (Actor, Command) {
    (Actor { account: account(number), session: None }, command)
}

/// Runs commands, so many in one commit; each has to succeed.
pub fn run(engine: &Engine, commands: Vec<(Actor, Command)>, at_once: usize) {
    let mut commands = commands.into_iter().peekable();
    while commands.peek().is_some() {
        let some: Vec<_> = commands.by_ref().take(at_once).collect();
        let count = some.len();
        engine.submit(some).unwrap();
        let mut answered = 0;
        while answered < count {
            let answers = engine.next_answers(1_000, Duration::ZERO).unwrap();
            assert!(!answers.is_empty());
            for answer in &answers {
                answer.result.as_ref().unwrap();
            }
            answered += answers.len();
        }
    }
}

/// A message of some length between two of the accounts; one in fifty needs pages of its own.
pub fn message(random: &mut fastrand::Rng, number: usize) -> (Actor, Command) {
    let length = if random.usize(..50) == 0 { random.usize(5_000..20_000) } else { random.usize(400..900) };
    let text = format!("{number} {}", "x".repeat(length));
    let client_id = ClientId::new(&format!("client-{number}")).ok().filter(|_| number.is_multiple_of(4));
    let send = Send { client_id, ..Send::text(&account(random.usize(..ACCOUNTS)), &text) };
    act(random.usize(..ACCOUNTS), Command::Send(send))
}

/// A file with everything in it, closed.
pub fn make(path: &Path, messages: usize) {
    let engine = open(path, 1_000);
    let mut random = fastrand::Rng::with_seed(1);
    run(&engine, (0..ACCOUNTS).map(|number| act(number, Command::CreateAccount)).collect(), 64);
    let mut setting = Vec::new();
    for number in 0..ACCOUNTS {
        for peer in (1..=10).map(|step| (number + step * 7) % ACCOUNTS) {
            let edit = RosterEdit::new(&account(peer), Op::Add);
            setting.push(act(number, Command::Roster(edit)));
        }
        if number % 3 == 0 {
            let rules = r#"{ "rules": [{ "name": "all of them", "stage": "immediate", "priority": 5,
                "conditions": [], "actions": [{ "send-push": "a message" }] }] }"#;
            setting.push(act(number, Command::SetRules(rules.into())));
        }
        let bytes = vec![number as u8 + 1; random.usize(10..12_000)];
        setting.push(act(number, Command::WriteFile { path: "notes".into(), bytes }));
    }
    run(&engine, setting, 256);
    let sends = (0..messages).map(|number| message(&mut random, number)).collect();
    run(&engine, sends, 64);
    // Pages that are free.
    let large = Command::WriteFile { path: "large".into(), bytes: vec![7; 300_000] };
    run(&engine, vec![act(0, large)], 1);
    run(&engine, vec![act(0, Command::RemoveFile { path: "large".into() })], 1);
    // What is claimed is remembered in `progress`.
    for number in 0..ACCOUNTS {
        let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let session = engine.open_session(&account(number), options).unwrap();
        while let Some(last) = session.next_events(1_000, Duration::ZERO).unwrap().last() {
            session.ack(last.seq);
        }
        session.close();
    }
    engine.advance(5_000).unwrap();
    engine.shutdown(true).unwrap();
    drop(engine);
    settle(path);
}

/// Moves everything into the main file.
pub fn settle(path: &Path) {
    drop(SqliteStore::new(path, SqliteOptions::small()).open().unwrap());
    // Opening leaves a mark of its own in the log, which is of no account here.
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", path.display())).unwrap();
    }
}

/// What the accounts have.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Held {
    /// By account and position: who wrote it, and what.
    pub messages: BTreeMap<(usize, u64), (String, String)>,
    pub buddies: BTreeSet<(usize, String)>,
    pub files: BTreeMap<usize, Vec<u8>>,
}

/// Reads it all through an engine.
pub fn read(path: &Path) -> Held {
    read_some(path, 1)
}

/// The same, but for the messages: only those that one account in so many has.
pub fn read_some(path: &Path, one_in: usize) -> Held {
    let engine = open(path, 1_000);
    let mut held = Held::default();
    for number in 0..ACCOUNTS {
        let session = engine.open_session(&account(number), SessionOptions::default()).unwrap();
        let mut anchor = Anchor::End;
        while number.is_multiple_of(one_in) {
            let request = HistoryRequest { peer: None, anchor, direction: Direction::Newer, limit: 1_000 };
            let page = session.history(request).unwrap();
            for message in &page.messages {
                let text = message.content.as_text().unwrap().to_owned();
                let from = message.sender.as_str().to_owned();
                held.messages.insert((number, message.position.0), (from, text));
            }
            match page.messages.last() {
                Some(last) if !page.complete => anchor = Anchor::Row(last.position),
                _ => break,
            }
        }
        let roster = session.roster().unwrap();
        held.buddies.extend(roster.buddies.iter().map(|buddy| (number, buddy.address.as_str().to_owned())));
        let read = Command::ReadFile { owner: None, path: "notes".into() };
        if let Ok(Answer::File(bytes)) = session.call(read) {
            held.files.insert(number, bytes);
        }
        session.close();
    }
    engine.shutdown(true).unwrap();
    held
}

/// Salvages what has to go well.
pub fn salvage(path: &Path, new: &Path) -> (Report, Salvaged) {
    let (report, salvaged) = check::salvage(path, new, &mut |_| {}).unwrap();
    (report, salvaged.unwrap())
}

/// The pages of a file, by the table or index they are of and what they are there: SQLite's own account of it.
pub fn pages(path: &Path) -> BTreeMap<(String, String), Vec<(u32, u32)>> {
    let uri = format!("file:{}?immutable=1", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).unwrap();
    let mut statement = connection.prepare("SELECT name, path, pagetype, pageno, ncell FROM dbstat").unwrap();
    let rows = statement.query_map([], |row| {
        let (name, path, kind): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let kind = if path == "/" { format!("root, {kind}") } else { kind };
        Ok(((name, kind), (row.get(3)?, row.get(4)?)))
    });
    let mut pages: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows.unwrap() {
        let (key, page) = row.unwrap();
        pages.entry(key).or_default().push(page);
    }
    pages
}

/// The first page of the list of free pages, and one that is in it.
pub fn free_pages(path: &Path) -> [u32; 2] {
    let bytes = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let list = word(32);
    [list, word((list as usize - 1) * PAGE + 8)]
}

/// A folder with a copy of a file in it, and of what lies beside it.
pub fn copy(path: &Path) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("im.db");
    for suffix in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{suffix}", path.display()));
        if from.exists() {
            std::fs::copy(from, directory.path().join(format!("im.db{suffix}"))).unwrap();
        }
    }
    (directory, to)
}

/// Every file of a folder, with what is in it.
pub fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// Changes bytes of a file.
pub fn change(path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

pub fn page_of(bytes: &mut [u8], number: u32) -> &mut [u8] {
    &mut bytes[(number as usize - 1) * PAGE..][..PAGE]
}
