//! Queries: a question of one session to another.

use crate::world::{World, account};
use crate::{online, page};
use rosterkit::{
    Anchor, Body, Command, Direction, ErrorKind, Event, EventBody, Session, SessionOptions, SetPresence,
    State, Visibility,
};

const WHO: &str = "who are you?";

fn text(text: &str) -> Body {
    Body::Text(text.into())
}

/// What it was asked.
fn asked(events: &[Event]) -> Vec<(u64, Body)> {
    let query = |event: &Event| match &event.body {
        EventBody::Query { query, body, .. } => Some((*query, body.clone())),
        _ => None,
    };
    events.iter().filter_map(query).collect()
}

/// What it was answered.
fn answers(events: &[Event]) -> Vec<(u64, Option<Body>)> {
    let answer = |event: &Event| match &event.body {
        EventBody::QueryAnswered { query, body } => Some((*query, body.clone())),
        _ => None,
    };
    events.iter().filter_map(answer).collect()
}

fn desk(world: &World, user: &str) -> Session {
    world.create(user);
    let instance = Some("desk".to_owned());
    let options = SessionOptions { instance, reads_messages: true, ..SessionOptions::default() };
    world.engine.open_session(&account(user), options).unwrap()
}

fn friends(world: &World) -> [Session; 2] {
    let (alice, bob) = (desk(world, "alice"), desk(world, "bob"));
    world.befriend(&alice, &bob);
    [alice, bob]
}

// behaviour: queries.answered
#[test]
fn a_session_asks_another_and_gets_its_answer() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    let other = world.sessions(["bob"]);
    online(&other[0]);
    let query = alice.query(&bob.address(), text(WHO)).unwrap();
    let events = world.drain(&bob);
    let [(number, body)] = asked(&events).try_into().unwrap();
    assert_eq!(body, text(WHO));
    let from =
        |event: &Event| matches!(&event.body, EventBody::Query { sender, .. } if *sender == alice.address());
    assert!(events.iter().any(from), "{events:?}");
    assert!(asked(&world.drain(&other[0])).is_empty());
    let data = Body::Data { media_type: "application/json".into(), bytes: b"{}"[..].into() };
    bob.answer_query(number, Some(data.clone())).unwrap();
    assert_eq!(answers(&world.drain(&alice)), [(query, Some(data))]);
    // Once.
    assert_eq!(bob.answer_query(number, None).unwrap_err().kind, ErrorKind::NotFound);
    world.engine.advance(60_000).unwrap();
    assert!(answers(&world.drain(&alice)).is_empty());
    // None of it is a message, and none of it is there afterwards.
    let stored = |session: &Session| page(session, Anchor::End, Direction::Older, 10).messages.len();
    assert_eq!((stored(&alice), stored(&bob)), (0, 0));
    let world = world.killed();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    assert_eq!((stored(&alice), stored(&bob)), (0, 0));
    assert!(asked(&world.drain(&bob)).is_empty());
}

// behaviour: queries.nobody
#[test]
fn who_may_not_see_and_who_asks_where_nobody_is_are_answered_alike_and_at_once() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    let eve = desk(&world, "eve");
    online(&eve);
    let nobody = |session: &Session, to: &rosterkit::Address| {
        let query = session.query(to, text(WHO)).unwrap();
        assert_eq!(answers(&world.drain(session)), [(query, None)], "{to}");
    };
    nobody(&eve, &bob.address());
    nobody(&eve, &account("nobody").with_instance("desk").unwrap());
    nobody(&alice, &account("bob").with_instance("elsewhere").unwrap());
    nobody(&alice, &rosterkit::Address::new("bob@example.net/desk").unwrap());
    bob.set_visibility(&account("alice"), Visibility::Hidden).unwrap();
    nobody(&alice, &bob.address());
    bob.set_visibility(&account("alice"), Visibility::StateOnly).unwrap();
    bob.set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Online) }).unwrap();
    nobody(&alice, &bob.address());
    bob.go_offline().unwrap();
    nobody(&alice, &bob.address());
    online(&bob);
    bob.block(&account("alice"), true).unwrap();
    nobody(&alice, &bob.address());
    assert!(asked(&world.drain(&bob)).is_empty());
}

// behaviour: queries.late
#[test]
fn who_does_not_answer_in_time_or_goes_has_not_answered() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    let query = alice.query(&bob.address(), text(WHO)).unwrap();
    let [(late, _)] = asked(&world.drain(&bob)).try_into().unwrap();
    world.engine.advance(29_999).unwrap();
    assert!(answers(&world.drain(&alice)).is_empty());
    world.engine.advance(1).unwrap();
    assert_eq!(answers(&world.drain(&alice)), [(query, None)]);
    assert_eq!(bob.answer_query(late, Some(text("me"))).unwrap_err().kind, ErrorKind::NotFound);
    assert!(answers(&world.drain(&alice)).is_empty());
    for close in [false, true] {
        let query = alice.query(&bob.address(), text(WHO)).unwrap();
        world.drain(&bob);
        match close {
            false => bob.go_offline().unwrap(),
            true => bob.close(),
        }
        assert_eq!(answers(&world.drain(&alice)), [(query, None)]);
        if !close {
            online(&bob);
        }
    }
}

// behaviour: queries.bounds
#[test]
fn queries_go_to_sessions_and_are_bounded() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    assert_eq!(alice.query(&account("bob"), text(WHO)).unwrap_err().kind, ErrorKind::InvalidArgument);
    let long = text(&"x".repeat(64 * 1024 + 1));
    let over = alice.query(&bob.address(), long.clone()).unwrap_err();
    assert!(matches!(over.kind, ErrorKind::LimitExceeded { .. }));
    let first = alice.query(&bob.address(), text(WHO)).unwrap();
    let [(number, _)] = asked(&world.drain(&bob)).try_into().unwrap();
    assert!(matches!(
        bob.answer_query(number, Some(long)).unwrap_err().kind,
        ErrorKind::LimitExceeded { .. }
    ));
    for _ in 1..64 {
        alice.query(&bob.address(), text(WHO)).unwrap();
    }
    let over = alice.query(&bob.address(), text(WHO)).unwrap_err();
    assert!(matches!(over.kind, ErrorKind::LimitExceeded { retry_after_ms: Some(_) }), "{over}");
    bob.answer_query(number, None).unwrap();
    assert_eq!(answers(&world.drain(&alice)), [(first, None)]);
    alice.query(&bob.address(), text(WHO)).unwrap();
    // What was not answered in time is in nobody's way, nor told to who looks late.
    let queries = || (0..64).filter(|_| alice.query(&bob.address(), text(WHO)).is_ok()).count();
    for _ in 0..3 {
        world.engine.advance(30_000).unwrap();
        assert_eq!((answers(&world.drain(&alice)).len(), queries()), (64, 64));
    }
    assert!(answers(&world.drain(&alice)).is_empty());
    assert_eq!(asked(&world.drain(&bob)).len(), 64);
    // It is a session's.
    let actor = rosterkit::Actor { account: account("alice"), session: None };
    let command = Command::Query { recipient: bob.address(), body: text(WHO) };
    assert!(world.engine.call(&actor, command).is_err());
}
