//! What a send is answered, once and on a relaxed engine too.

use crate::overrides;
use crate::world::{World, account, texts};
use rosterkit::{
    AcceptedSenders, Address, Anchor, ClientId, Direction, Domain, Durability, EngineOptions, ErrorKind,
    HistoryRequest, Limits, Overrides, SessionOptions,
};

// ---- sending ------------------------------------------------------------------------------------------------

// behaviour: delivery.client-id, delivery.client-id-conflict
#[test]
fn a_repeat_gets_the_first_answer_and_makes_nothing_new() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let id = ClientId::new("c1").unwrap();
    let first = alice.send_once(&account("bob"), "hello", id.clone()).unwrap();
    assert_eq!(alice.send_once(&account("bob"), "hello", id.clone()).unwrap(), first);
    let other = alice.send_once(&account("bob"), "other", id.clone()).unwrap_err();
    assert_eq!(other.kind, ErrorKind::Conflict);
    let elsewhere = alice.send_once(&account("alice"), "hello", id.clone()).unwrap_err();
    assert_eq!(elsewhere.kind, ErrorKind::Conflict);
    assert_eq!(texts(&world.drain(&bob)), ["hello"]);
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(alice.send_once(&account("bob"), "hello", id).unwrap(), first);
}

// behaviour: delivery.not-found
#[test]
fn unknown_accounts_and_malformed_sends_are_refused() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    let to = |text: &str| Address::new(text).unwrap();
    assert_eq!(alice.send(&account("nobody"), "x").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(alice.send(&to("example.org"), "x").unwrap_err().kind, ErrorKind::InvalidArgument);
    let large = "x".repeat(65_537);
    assert!(matches!(
        alice.send(&account("alice"), &large).unwrap_err().kind,
        ErrorKind::LimitExceeded { .. }
    ));
    assert_eq!(alice.add_buddy(&account("nobody"), None, None).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(alice.remove_buddy(&account("nobody")).unwrap_err().kind, ErrorKind::NotFound);
    let none = world.engine.open_session(&account("nobody"), SessionOptions::default()).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound);
    let elsewhere = world.engine.create_account(&Address::account("a@other.example").unwrap()).unwrap_err();
    assert_eq!(elsewhere.kind, ErrorKind::NotFound);
    let again = world.engine.create_account(&account("alice")).unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict);
    let history = HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Older, limit: 0 };
    assert_eq!(alice.history(history).unwrap_err().kind, ErrorKind::InvalidArgument);
}

// behaviour: admission.nobody
#[test]
fn an_account_that_takes_from_nobody_takes_from_buddies() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    overrides(
        &world,
        "bob",
        Overrides { accepted_senders: Some(AcceptedSenders::Nobody), ..Overrides::default() },
    );
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().kind, ErrorKind::Forbidden);
    world.befriend(&alice, &bob);
    alice.send(&account("bob"), "as a buddy").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["as a buddy"]);
}

// behaviour: delivery.rate
#[test]
fn a_sender_that_is_too_fast_is_told_when_to_go_on() {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.limits = Limits { sends: rosterkit::Rate { burst: 2, per_minute: 60 }, ..Limits::default() };
    let world = World::with(options);
    let [alice] = world.sessions(["alice"]);
    alice.send(&account("alice"), "1").unwrap();
    alice.send(&account("alice"), "2").unwrap();
    let error = alice.send(&account("alice"), "3").unwrap_err();
    let ErrorKind::LimitExceeded { retry_after_ms: Some(wait) } = error.kind else { panic!("{error}") };
    world.engine.advance(wait).unwrap();
    alice.send(&account("alice"), "3").unwrap();
}

// behaviour: roster.request-limit
#[test]
fn an_over_full_roster_is_refused() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    world.create("carol");
    overrides(&world, "alice", Overrides { max_roster_items: Some(1), ..Overrides::default() });
    alice.add_buddy(&account("bob"), None, None).unwrap();
    let error = alice.add_buddy(&account("carol"), None, None).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::LimitExceeded { .. }), "{error}");
}

// ---- relaxed ------------------------------------------------------------------------------------------------

fn relaxed(idle_accounts: usize) -> World {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.durability = Durability::Relaxed;
    options.idle_accounts = idle_accounts;
    World::with(options)
}

// behaviour: relaxed.attach, relaxed.client-id
#[test]
fn a_relaxed_engine_reads_what_it_told_and_has_not_written() {
    let world = relaxed(0);
    drop(world.device("bob", "phone"));
    world.create("alice");
    let send = |text: &str| {
        let (recipient, content) = (account("bob"), rosterkit::Content::text(text));
        let client_id = Some(ClientId::new(text).unwrap());
        world
            .engine
            .send(&account("alice"), rosterkit::Send { recipient, content, client_id, expires: None })
            .unwrap()
    };
    let first = send("one");
    send("two");
    // Nobody stays in memory, and nothing has been written by itself: time stands still.
    assert_eq!(send("one"), first);
    let phone = world.device("bob", "phone");
    assert_eq!(texts(&world.drain(&phone)), ["one", "two"]);
    send("three");
    assert_eq!(texts(&world.drain(&phone)), ["three"]);
    drop(phone);
    send("four");
    let phone = world.device("bob", "phone");
    assert_eq!(texts(&world.drain(&phone)), ["four"]);
}

// behaviour: relaxed.written
#[test]
fn a_relaxed_engine_writes_within_200_ms() {
    let world = relaxed(10);
    let [alice] = world.sessions(["alice"]);
    let receipt = alice.send(&account("alice"), "x").unwrap();
    world.engine.advance(200).unwrap();
    let path = world.path();
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("im.db{suffix}");
        std::fs::copy(path.with_file_name(&name), copy.path().join(&name)).unwrap();
    }
    let sqlite = rosterkit::store::sqlite::SqliteStore::new(copy.path().join("im.db"), Default::default());
    let mut store = rosterkit::store::Store::open(&*sqlite).unwrap();
    assert_eq!(store.reader.rows_at(&[receipt.position]).unwrap().len(), 1);
}
