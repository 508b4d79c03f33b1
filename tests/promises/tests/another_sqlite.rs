//! Somebody opens the file with an SQLite of their own, to look: nothing is lost by it, whenever they do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit::store::check::check;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Address, Anchor, Direction, Domain, Engine, EngineOptions, ErrorKind, HistoryRequest, Send,
    SessionOptions,
};
use rosterkit_promises::folder_in_memory;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SENT: usize = 200;

fn account(name: &str) -> Address {
    Address::account(&format!("{name}@example.org")).unwrap()
}

fn open(path: &Path) -> rosterkit::Result<Engine> {
    let options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    Engine::open(SqliteStore::new(path, SqliteOptions::small()), options)
}

/// An engine at work: some of what it wrote is in the log, some in the main file, a file of pages of its own among it.
fn at_work(path: &Path) -> Engine {
    let engine = open(path).unwrap();
    for name in ["a", "b"] {
        engine.create_account(&account(name)).unwrap();
    }
    let session = engine.open_session(&account("a"), SessionOptions::default()).unwrap();
    for number in 0..SENT {
        let text = format!("text {number} {}", "x".repeat(number % 7 * 1_000));
        session.send_message(Send::text(&account("b"), &text)).unwrap();
    }
    engine
}

fn history(engine: &Engine) -> usize {
    let session = engine.open_session(&account("b"), SessionOptions::default()).unwrap();
    let request =
        HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Older, limit: 1_000 };
    session.history(request).unwrap().messages.len()
}

/// What anybody does who wants to look.
fn look(path: &Path) -> usize {
    let other = Connection::open(path).unwrap();
    other.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0)).unwrap() as usize
}

fn is_whole(path: &Path) -> bool {
    let report = check(path, &mut |_| {}).unwrap();
    assert_eq!(report.broken, [], "{report}");
    report.is_whole()
}

/// The files as a process leaves them that is killed now.
fn killed(path: &Path) -> (TempDir, PathBuf) {
    let folder = folder_in_memory();
    let left = folder.path().join("im.db");
    std::fs::copy(path, &left).unwrap();
    std::fs::copy(path.with_file_name("im.db-wal"), folder.path().join("im.db-wal")).unwrap();
    (folder, left)
}

// behaviour: engine.other-sqlite
#[test]
fn who_looks_after_a_shutdown_changes_nothing() {
    let folder = folder_in_memory();
    let path = folder.path().join("im.db");
    at_work(&path).shutdown(true).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(look(&path), SENT);
    assert!(std::fs::read(&path).unwrap() == before, "pages were moved without their checksums");
    assert!(is_whole(&path));
    let engine = open(&path).unwrap();
    assert_eq!(history(&engine), SENT);
    engine.shutdown(true).unwrap();
}

// behaviour: engine.other-sqlite
#[test]
fn who_looks_while_the_engine_works_changes_nothing() {
    let folder = folder_in_memory();
    let path = folder.path().join("im.db");
    let engine = at_work(&path);
    assert_eq!(look(&path), SENT);
    let session = engine.open_session(&account("a"), SessionOptions::default()).unwrap();
    session.send(&account("b"), "and goes on").unwrap();
    engine.shutdown(true).unwrap();
    assert!(is_whole(&path));
    assert_eq!(look(&path), SENT + 1);
}

// behaviour: engine.other-sqlite
#[test]
fn what_somebody_moved_who_looked_after_a_kill_is_taken_over() {
    let folder = folder_in_memory();
    let engine = at_work(&folder.path().join("im.db"));
    let (_left_in, left) = killed(&folder.path().join("im.db"));
    engine.shutdown(true).unwrap();
    assert_eq!(look(&left), SENT);
    assert!(!left.with_file_name("im.db-wal").exists(), "they moved the log, and deleted it");
    let report = check(&left, &mut |_| {}).unwrap();
    assert!(report.pages.unsealed > 0, "pages were moved without their checksums: {report}");
    assert!(report.is_whole(), "{report}");
    let engine = open(&left).unwrap();
    assert_eq!(history(&engine), SENT);
    engine.shutdown(true).unwrap();
    // From here on they are as all others.
    let report = check(&left, &mut |_| {}).unwrap();
    assert_eq!((report.is_whole(), report.pages.unsealed), (true, 0), "{report}");
}

// behaviour: engine.other-sqlite
#[test]
fn pages_without_a_checksum_are_not_taken_over_when_anything_is_wrong_with_them() {
    let folder = folder_in_memory();
    let engine = at_work(&folder.path().join("im.db"));
    let (_left_in, left) = killed(&folder.path().join("im.db"));
    engine.shutdown(true).unwrap();
    look(&left);
    let moved = std::fs::read(&left).unwrap();
    let is_bare = |page: &usize| moved[page * 4096 + 4088..][..8] == [0; 8];
    let bare: Vec<usize> = (0..moved.len() / 4096).filter(is_bare).collect();
    let mut refused = 0;
    for &page in &bare {
        // A sector that is gone.
        let mut bytes = moved.clone();
        bytes[page * 4096 + 3584..page * 4096 + 4096].fill(0);
        if bytes == moved {
            continue;
        }
        std::fs::write(&left, &bytes).unwrap();
        match open(&left) {
            Err(error) => {
                assert!(error.kind == ErrorKind::Damaged, "{error}");
                assert!(std::fs::read(&left).unwrap() == bytes, "a damaged file is left as it is");
                refused += 1;
            }
            // Nobody needed what stood there.
            Ok(engine) => {
                assert_eq!(history(&engine), SENT, "page {page}");
                engine.shutdown(true).unwrap();
            }
        }
        for suffix in ["-wal", "-shm", "-lock"] {
            let _ = std::fs::remove_file(left.with_file_name(format!("im.db{suffix}")));
        }
    }
    assert!(refused * 10 > bare.len() * 8, "{refused} of {} are refused", bare.len());
}

// behaviour: engine.other-sqlite
#[test]
fn a_page_without_a_checksum_is_damage_where_there_is_a_log() {
    let folder = folder_in_memory();
    let path = folder.path().join("im.db");
    at_work(&path).shutdown(true).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4088..4096].fill(0);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(open(&path), Err(error) if error.kind == ErrorKind::Damaged));
    let report = check(&path, &mut |_| {}).unwrap();
    assert_eq!(report.broken.len(), 1, "{report}");
}
