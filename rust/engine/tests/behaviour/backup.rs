//! Backups, made while the engine works.

use crate::page;
use crate::world::{account, without_limits};
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Actor, Anchor, Answer, Command, Direction, Engine, ErrorKind, Send, SessionOptions, Timestamp,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn texts(engine: &Engine) -> Vec<String> {
    let alice = engine.open_session(&account("alice"), SessionOptions::default()).unwrap();
    let mut all = Vec::new();
    let mut anchor = Anchor::End;
    loop {
        let page = page(&alice, anchor, Direction::Older, 1_000);
        all.extend(page.messages.iter().rev().map(|m| m.content.as_text().unwrap().to_owned()));
        match page.messages.first() {
            Some(first) if !page.complete => anchor = Anchor::Row(first.position),
            _ => return all,
        }
    }
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

// behaviour: backup.whole, backup.name, backup.positions
#[test]
fn a_backup_under_load_is_one_moment_with_all_that_was_answered_before() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open_file(directory.path().join("world"), without_limits()).unwrap();
    for user in ["alice", "bob"] {
        engine.create_account(&account(user)).unwrap();
    }
    let bob_himself = Actor { account: account("bob"), session: None };
    let write = Command::WriteFile { path: "notes".into(), bytes: b"mine".to_vec() };
    engine.call(&bob_himself, write).unwrap();
    let send =
        |n: usize| engine.send(&account("bob"), Send::text(&account("alice"), &format!("{n}"))).unwrap();
    let before: Vec<_> = (0..2_000).map(send).collect();
    let (ended, mut after) = (AtomicBool::new(false), Vec::new());
    let copy = directory.path().join("copy");
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut n = 2_000;
            while !ended.load(Ordering::Relaxed) || n == 2_000 {
                // Nothing has the name before it is whole.
                assert!(!std::fs::metadata(&copy).is_ok_and(|file| file.len() == 0));
                send(n);
                n += 1;
            }
            n
        });
        engine.backup_to(&copy).unwrap();
        ended.store(true, Ordering::Relaxed);
        after.extend(0..sending.join().unwrap());
    });
    let last = send(after.len());
    assert_eq!(texts(&engine).len(), after.len() + 1, "the original is as it was");
    // A second one of that name is refused, and leaves the first alone.
    assert_eq!(engine.backup_to(&copy).unwrap_err().kind, ErrorKind::Conflict);
    let nowhere = engine.backup_to(directory.path().join("no/where")).unwrap_err();
    assert!(matches!(nowhere.kind, ErrorKind::Storage { .. }), "{nowhere}");
    engine.shutdown(true).unwrap();
    let ours = files(directory.path());
    assert!(ours.iter().all(|name| name.starts_with("world") || name == "copy"), "{ours:?}");

    let engine = Engine::open_file(&copy, without_limits()).unwrap();
    let there: Vec<usize> = texts(&engine).iter().rev().map(|text| text.parse().unwrap()).collect();
    assert!(there.len() >= 2_000, "{}", there.len());
    assert_eq!(there, (0..there.len()).collect::<Vec<_>>(), "a moment, and nothing out of order");
    let bob = engine.open_session(&account("bob"), SessionOptions::default()).unwrap();
    let read = engine.call(&bob_himself, Command::ReadFile { owner: None, path: "notes".into() });
    assert!(matches!(read.unwrap(), Answer::File(bytes) if bytes == b"mine"));
    let next = bob.send(&account("alice"), "next").unwrap();
    // However long the original goes on.
    assert!(next.position.0 > last.position.0 + (1 << 31) && last.position > before[1_999].position);
    assert_eq!(texts(&engine)[0], "next");
}

// behaviour: backup.name
#[test]
fn what_is_in_memory_only_has_no_backup() {
    let directory = tempfile::tempdir().unwrap();
    let memory = rosterkit::store::memory::MemoryStore::new();
    let engine = Engine::open_virtual(memory, without_limits(), 1, Timestamp(0)).unwrap();
    let refused = engine.backup_to(directory.path().join("copy")).unwrap_err();
    assert_eq!((refused.kind, files(directory.path()).len()), (ErrorKind::Misuse, 0));
    // In virtual time as well, and from small caches.
    let store = SqliteStore::new(directory.path().join("world"), SqliteOptions::small());
    let engine = Engine::open_virtual(store, without_limits(), 1, Timestamp(0)).unwrap();
    engine.create_account(&account("alice")).unwrap();
    engine.backup_to(directory.path().join("copy")).unwrap();
    engine.shutdown(true).unwrap();
    let engine = Engine::open_file(directory.path().join("copy"), without_limits()).unwrap();
    assert!(texts(&engine).is_empty());
}
