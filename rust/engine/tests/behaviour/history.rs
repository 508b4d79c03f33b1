//! What is kept of a conversation, and read in pages.

use crate::world::{World, account, texts};
use crate::{overrides, page};
use rosterkit::{
    Amend, Amendment, Anchor, ClientId, Content, ConversationsRequest, Direction, ErrorKind, Event,
    EventBody, HistoryRequest, Overrides, Position, SearchRequest, Session,
};

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

// behaviour: history.search
#[test]
fn a_text_is_found_in_whatever_case_page_by_page_and_never_in_what_was_taken_back() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    let mut sent = Vec::new();
    for n in 0..2_500 {
        let (from, text) = match n % 500 {
            0 => (&bob, format!("Straßenfest {n}")),
            1 => (&carol, format!("STRASSE or STRAßENFEST {n}")),
            _ => (&bob, format!("nothing {n}")),
        };
        sent.push(from.send(&account("alice"), &text).unwrap());
        if n % 400 == 0 {
            world.engine.advance(60_000).unwrap();
            world.drain(&alice);
        }
    }
    let search = |text: &str, peer: Option<&str>, before, limit| {
        let peer = peer.map(account);
        alice.search_history(SearchRequest { text: text.into(), peer, before, limit })
    };
    let all = search("STRAßENFEST", None, None, 100).unwrap();
    let places: Vec<Position> = all.messages.iter().map(|message| message.position).collect();
    let wanted = |n: &usize| n % 500 < 2;
    let expected: Vec<Position> = (0..2_500).rev().filter(wanted).map(|n| sent[n].position).collect();
    assert_eq!((places, all.searched), (expected.clone(), None));
    // Page by page the same.
    let (mut before, mut paged) = (None, Vec::new());
    loop {
        let page = search("straßenfest", None, before, 3).unwrap();
        paged.extend(page.messages.iter().map(|message| message.position));
        before = page.searched;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(paged, expected);
    assert_eq!(search("fest", Some("carol"), None, 100).unwrap().messages.len(), 5);
    assert_eq!(search("fest", Some("nobody"), None, 100).unwrap().messages.len(), 0);
    // An edit is found as it is now, and what was retracted is not.
    for (at, amendment) in [(0, Amendment::Retract), (500, Amendment::Edit(Content::text("moved")))] {
        let amend = Amend {
            recipient: account("alice"),
            message_id: sent[at + 1_500].id,
            amendment,
            client_id: None,
        };
        bob.amend(amend).unwrap();
    }
    assert_eq!(search("fest", Some("bob"), None, 100).unwrap().messages.len(), 3);
    assert_eq!(search("MOVED", None, None, 100).unwrap().messages[0].id, sent[2_000].id);
    for (text, limit) in [("", 10), ("x", 0), ("x", 1_001), (&"x".repeat(1_025)[..], 10)] {
        assert_eq!(search(text, None, None, limit).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}

fn said(session: &Session) -> Vec<String> {
    let page = page(session, Anchor::End, Direction::Older, 1_000);
    page.messages.iter().map(|message| message.content.as_text().unwrap_or_default().to_owned()).collect()
}

fn peers(session: &Session) -> Vec<String> {
    let page = session.conversations(ConversationsRequest { before: None, limit: 100 }).unwrap();
    page.conversations.iter().map(|one| one.peer.user().unwrap().to_owned()).collect()
}

// behaviour: history.forget
#[test]
fn an_account_forgets_a_peer_or_everything_and_the_other_side_keeps_its_own() {
    for killed in [false, true] {
        let world = World::new();
        let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
        let phone = world.device("alice", "phone");
        alice.send(&account("bob"), "to bob").unwrap();
        let first = bob.send(&account("alice"), "from bob").unwrap();
        let amend = Amend {
            recipient: account("alice"),
            message_id: first.id,
            amendment: Amendment::Edit(Content::text("secret of bob's")),
            client_id: None,
        };
        bob.amend(amend).unwrap();
        carol.send(&account("alice"), "from carol").unwrap();
        world.drain(&alice);
        bob.send(&account("alice"), "waiting").unwrap();
        alice.forget(Some(&account("bob"))).unwrap();
        assert_eq!((said(&alice), peers(&alice)), (vec!["from carol".to_owned()], vec!["carol".to_owned()]));
        // Nobody gets it any more, and who keeps copies is told.
        let told = world.drain(&alice);
        let forgotten = |event: &Event| match &event.body {
            EventBody::HistoryForgotten { peer, .. } => Some(peer.clone()),
            _ => None,
        };
        assert_eq!(told.iter().filter_map(forgotten).collect::<Vec<_>>(), [Some(account("bob"))]);
        assert_eq!((texts(&told), texts(&world.drain(&phone))), (vec![], vec!["from carol".to_owned()]));
        assert_eq!(said(&bob).len(), 3);
        // What comes from now on stays.
        bob.send(&account("alice"), "hello again").unwrap();
        let world = if killed { world.killed() } else { world };
        let [alice] = world.sessions(["alice"]);
        world.drain(&alice);
        assert_eq!(said(&alice), ["from carol", "hello again"]);
        alice.forget(None).unwrap();
        let world = if killed { world.killed() } else { world.reopen() };
        let [alice, bob] = world.sessions(["alice", "bob"]);
        assert!(said(&alice).is_empty() && peers(&alice).is_empty() && world.drain(&alice).is_empty());
        assert_eq!(said(&bob), ["to bob", "secret of bob's", "waiting", "hello again"]);
    }
}

// behaviour: history.forget
#[test]
fn a_long_history_is_forgotten_and_client_ids_are_remembered() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    for n in 0..1_300 {
        alice.send(&account("bob"), &format!("{n}")).unwrap();
        if n % 3 == 0 {
            bob.send(&account("alice"), &format!("{n}")).unwrap();
        }
    }
    let id = ClientId::new("once").unwrap();
    let receipt = alice.send_once(&account("bob"), "once", id.clone()).unwrap();
    alice.forget(Some(&account("bob"))).unwrap();
    assert!(said(&alice).is_empty());
    assert_eq!(alice.send_once(&account("bob"), "once", id).unwrap(), receipt);
    assert!(world.drain(&bob).len() > 1_300);
    alice.forget(Some(&account("nobody"))).unwrap();
}

// behaviour: history.retention
#[test]
fn history_is_kept_so_many_days_and_so_many_messages_but_nothing_goes_that_somebody_waits_for() {
    const DAY_MS: u64 = 86_400_000;
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let phone = world.device("alice", "phone");
    for n in 0..4 {
        bob.send(&account("alice"), &format!("{n}")).unwrap();
        world.engine.advance(DAY_MS).unwrap();
    }
    world.drain(&alice);
    let keeps = |history_days, history_messages| Overrides {
        history_days: Some(history_days),
        history_messages: Some(history_messages),
        ..Overrides::default()
    };
    overrides(&world, "alice", keeps(2, 0));
    world.engine.advance(1).unwrap();
    assert_eq!(said(&alice).len(), 4, "a device has not seen them");
    assert_eq!(texts(&world.drain(&phone)).len(), 4);
    world.engine.advance(3_602_000).unwrap();
    assert_eq!(said(&alice), ["3"]);
    assert_eq!(said(&bob).len(), 4);
    // By count, also when the engine comes up.
    overrides(&world, "alice", keeps(0, 2));
    for n in 4..1_000 {
        bob.send(&account("alice"), &format!("{n}")).unwrap();
    }
    for session in [&alice, &phone] {
        assert_eq!(texts(&world.drain(session)).len(), 996);
    }
    world.engine.advance(3_602_000).unwrap();
    assert_eq!(said(&alice), ["998", "999"]);
    bob.send(&account("alice"), "last").unwrap();
    for session in [&alice, &phone] {
        world.drain(session);
    }
    world.engine.advance(2_000).unwrap();
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    world.engine.advance(2_000).unwrap();
    assert_eq!(said(&alice), ["999", "last"]);
}
