//! What is kept of a conversation, and read in pages.

use crate::world::{World, account, texts};
use crate::{overrides, page};
use rosterkit::{Anchor, ClientId, Direction, ErrorKind, HistoryRequest, Overrides};

// behaviour: history.pages, history.by-peer, history.by-time
#[test]
fn history_comes_in_pages_by_position_peer_and_time() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    world.create("carol");
    for number in 0..10 {
        let to = if number % 2 == 0 { "bob" } else { "carol" };
        alice.send(&account(to), &number.to_string()).unwrap();
        world.engine.advance(1_000).unwrap();
    }
    let text = |history: &rosterkit::History| -> Vec<String> {
        history.messages.iter().map(|m| m.content.as_text().unwrap().to_owned()).collect()
    };
    let latest = page(&alice, Anchor::End, Direction::Older, 4);
    assert_eq!(
        (text(&latest), latest.complete),
        (vec!["6".into(), "7".into(), "8".into(), "9".into()], false)
    );
    let before = page(&alice, Anchor::Row(latest.messages[0].position), Direction::Older, 6);
    assert_eq!((text(&before).len(), before.complete), (6, true));
    let first = page(&alice, Anchor::End, Direction::Newer, 3);
    assert_eq!((text(&first), first.complete), (vec!["0".into(), "1".into(), "2".into()], false));
    let at = Anchor::Time(before.messages[3].time);
    assert_eq!(text(&page(&alice, at, Direction::Newer, 2)), ["3", "4"]);
    assert_eq!(text(&page(&alice, at, Direction::Older, 2)), ["1", "2"]);
    let bob = HistoryRequest {
        peer: Some(account("bob")),
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 2,
    };
    assert_eq!(text(&alice.history(bob).unwrap()), ["6", "8"]);
    let nobody = HistoryRequest {
        peer: Some(account("x")),
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 2,
    };
    assert!(alice.history(nobody).unwrap().complete);
}

// behaviour: history.off
#[test]
fn with_history_off_a_message_goes_when_everybody_is_done_with_it() {
    let world = World::new();
    let off = Overrides { keep_history: Some(false), ..Overrides::default() };
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let phone = world.device("bob", "phone");
    overrides(&world, "alice", off.clone());
    overrides(&world, "bob", off);
    let id = ClientId::new("c").unwrap();
    let receipt = alice.send_once(&account("bob"), "secret", id.clone()).unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["secret"]);
    world.engine.advance(5_000).unwrap();
    assert_eq!(texts(&world.drain(&phone)), ["secret"], "the phone has not had it yet");
    world.engine.advance(5_000).unwrap();
    let path = world.path();
    assert!(page(&bob, Anchor::End, Direction::Older, 5).messages.is_empty());
    assert_eq!(
        alice.send_once(&account("bob"), "secret", id).unwrap(),
        receipt,
        "its client_id is remembered"
    );
    world.engine.shutdown(true).unwrap();
    let mut store = rosterkit::store::Store::open(&*rosterkit::store::sqlite::SqliteStore::new(
        &path,
        Default::default(),
    ))
    .unwrap();
    assert!(store.reader.rows_at(&[receipt.position]).unwrap().is_empty(), "the row is gone");
}

// behaviour: delivery.offline-off
#[test]
fn with_offline_storage_off_nobody_there_is_an_error_and_keeps_nothing() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    overrides(&world, "bob", Overrides { offline_storage: Some(false), ..Overrides::default() });
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().kind, ErrorKind::NotFound);
    let [bob] = world.sessions(["bob"]);
    alice.send(&account("bob"), "y").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["y"]);
}
