//! A row of the log that is broken: it holds up nothing but what has to come behind it, and nothing is tried at it all the
//! time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::Disk as Vfs;
use rosterkit::{
    Address, Contents, DeviceName, Domain, Engine, EngineOptions, Event, EventBody, Outgoing, Send, Serves,
    SessionOptions, Timestamp,
};
use rosterkit_promises::folder_in_memory;
use rosterkit_sim::disk::Disk;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const START: i64 = 1_700_000_000_000;
const PAGE: usize = 4096;

fn open(folder: &Path, disk: Arc<Disk<()>>) -> Engine {
    open_through(folder, Vfs::through(disk))
}

fn open_through(folder: &Path, disk: Vfs) -> Engine {
    // What is read is read from the file.
    let small = SqliteOptions { tail_rows: 1, cache_kib: 16, ..SqliteOptions::small() };
    let sqlite = SqliteOptions { disk, ..small };
    let options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    let store = SqliteStore::new(folder.join("im.db"), sqlite);
    Engine::open_virtual(store, options, 1, Timestamp(START)).unwrap()
}

fn account(user: &str) -> Address {
    Address::account(user).unwrap()
}

/// A text that has pages of its own.
fn long(word: &str) -> String {
    word.repeat(30_000 / word.len())
}

/// Fills a file, and moves everything into its main part.
fn filled(fill: impl FnOnce(&Engine)) -> tempfile::TempDir {
    let folder = folder_in_memory();
    let engine = open(folder.path(), Disk::good());
    fill(&engine);
    engine.shutdown(true).unwrap();
    drop(engine);
    open(folder.path(), Disk::good()).shutdown(true).unwrap();
    folder
}

/// Breaks the row with this text.
fn break_row(folder: &Path, word: &str) {
    let path = folder.join("im.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let text = word.repeat(PAGE / word.len() - 20);
    let is_of_it = |page: &[u8]| page.windows(text.len()).any(|window| window == text.as_bytes());
    // One that holds nothing else.
    let page = bytes.chunks_exact(PAGE).position(is_of_it).expect("it is in the main file");
    bytes[page * PAGE + PAGE / 2] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

fn reading() -> SessionOptions {
    SessionOptions { reads_messages: true, ..SessionOptions::default() }
}

fn drain(engine: &Engine, user: &str) -> Vec<Event> {
    let session = engine.open_session(&account(user), reading()).unwrap();
    session.next_events(100, Duration::ZERO).unwrap()
}

/// What expires behind a broken row expires in time.
// behaviour: engine.damaged
#[test]
fn what_is_due_behind_a_broken_row_is_done() {
    let (alice, bob) = (account("alice@example.org"), account("bob@example.org"));
    let mut ids = Vec::new();
    let folder = filled(|engine| {
        for address in [&alice, &bob] {
            engine.create_account(address).unwrap();
        }
        for (number, word) in ["broken", "whole"].into_iter().enumerate() {
            let expires = Some(Timestamp(START + 60_000 + number as i64));
            ids.push(engine.send(&alice, Send { expires, ..Send::text(&bob, &long(word)) }).unwrap().id);
        }
    });
    break_row(folder.path(), "broken");
    let disk = Disk::good();
    let engine = open(folder.path(), Arc::clone(&disk));
    engine.advance(70_000).unwrap();
    let calls = disk.counts().calls;
    engine.advance(600_000).unwrap();
    assert!(disk.counts().calls - calls < 600, "it is busy with what is broken");
    let expired: Vec<_> = drain(&engine, alice.as_str())
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::Outcome { message_id, .. } => Some(message_id),
            _ => None,
        })
        .collect();
    assert_eq!(expired, ids[1..]);
    engine.shutdown(true).unwrap();
}

/// A row that is not what was written, on a page that is: what is in front of it is delivered and claimed, nothing behind it is,
/// and the session ends each time it gets there.
// behaviour: engine.damaged
#[test]
fn a_session_gets_what_is_in_front_of_a_broken_row_and_ends() {
    let (alice, bob) = (account("alice@example.org"), account("bob@example.org"));
    let folder = folder_in_memory();
    let bare = || Vfs::without_checksums(Disk::<()>::good());
    let engine = open_through(folder.path(), bare());
    for address in [&alice, &bob] {
        engine.create_account(address).unwrap();
    }
    let words = ["first", "second", "broken", "behind"];
    let places = words.map(|word| engine.send(&alice, Send::text(&bob, word)).unwrap().position);
    let with_a_device = SessionOptions { device: Some(DeviceName::new("phone").unwrap()), ..reading() };
    engine.open_session(&bob, with_a_device.clone()).unwrap().close();
    engine.shutdown(true).unwrap();
    drop(engine);
    let other = rusqlite::Connection::open(folder.path().join("im.db")).unwrap();
    let broken = "UPDATE log SET body = CAST(replace(body, 'broken', 'BROKEN') AS BLOB) WHERE position = ?1";
    assert_eq!(other.execute(broken, [places[2].0 as i64]).unwrap(), 1);
    drop(other);
    for options in [reading(), with_a_device] {
        let engine = open_through(folder.path(), bare());
        let mut came = Vec::new();
        for _ in 0..2 {
            let session = engine.open_session(&bob, options.clone()).unwrap();
            loop {
                let events = session.next_events(100, Duration::ZERO).unwrap();
                came.extend(events.iter().map(|event| match &event.body {
                    EventBody::Message(message) => message.content.as_text().unwrap().to_owned(),
                    EventBody::Ended(reason) => format!("{reason:?}"),
                    other => panic!("{other:?}"),
                }));
                session.ack(events.last().unwrap().seq);
                if matches!(events.last().unwrap().body, EventBody::Ended(_)) {
                    break;
                }
            }
        }
        assert_eq!(came, ["first", "second", "StorageFailed", "StorageFailed"]);
        engine.shutdown(true).unwrap();
    }
}

/// What a relay is to have in front of a broken row it gets.
// behaviour: engine.damaged
#[test]
fn what_waits_for_a_relay_in_front_of_a_broken_row_goes() {
    let (alice, bob) = (account("alice@example.org"), account("bob@elsewhere.example"));
    let serves = || Serves::Domains(vec![Domain::new("elsewhere.example").unwrap()]);
    let folder = filled(|engine| {
        engine.create_account(&alice).unwrap();
        let _relay = engine.open_relay(serves()).unwrap();
        // More than it keeps in memory.
        for _ in 0..150 {
            engine.send(&alice, Send::text(&account("carol@elsewhere.example"), &long("others"))).unwrap();
        }
        for word in ["first", "second", "broken", "behind"] {
            engine.send(&alice, Send::text(&bob, &long(word))).unwrap();
        }
    });
    let disk = Disk::good();
    let engine = open(folder.path(), Arc::clone(&disk));
    break_row(folder.path(), "broken");
    let relay = engine.open_relay(serves()).unwrap();
    relay.connect();
    let mut came = Vec::new();
    for _ in 0..40 {
        for out in relay.next(1_000, Duration::ZERO).unwrap() {
            let Outgoing::Parcel(parcel) = out else { continue };
            let Contents::Messages(messages) = parcel.contents else { panic!("a roster signal") };
            for message in messages {
                let is_bobs = parcel.recipient == bob;
                came.extend(
                    is_bobs.then(|| message.content.as_text().unwrap().chars().take(6).collect::<String>()),
                );
                let delivery = message.delivery_id.unwrap();
                relay.settle(&delivery, rosterkit::Settlement::Relayed).unwrap();
            }
        }
        engine.advance(1_000).unwrap();
    }
    assert_eq!(came, ["firstf", "second"]);
    let calls = disk.counts().calls;
    engine.advance(600_000).unwrap();
    assert!(disk.counts().calls - calls < 600, "it is busy with what is broken");
    engine.shutdown(true).unwrap();
}
