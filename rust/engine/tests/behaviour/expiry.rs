//! Messages that are of no use after a time.

use crate::page;
use crate::world::{World, account, texts};
use rosterkit::{
    Anchor, ClientId, Direction, ErrorKind, Event, EventBody, Outcome, Position, Receipt, Send, Session,
    SetPresence, State, Timestamp,
};

const NOW: i64 = 1_700_000_000_000;

fn send(from: &Session, text: &str, expires: i64) -> rosterkit::Result<Receipt> {
    let expires = Some(Timestamp(expires));
    from.send_message(Send { expires, ..Send::text(&account("bob"), text) })
}

fn expired(events: &[Event]) -> Vec<Position> {
    let expired = events.iter().filter_map(|e| match &e.body {
        EventBody::Outcome { position, outcome: Outcome::Expired, .. } => Some(*position),
        _ => None,
    });
    expired.collect()
}

// behaviour: expiry.undelivered, expiry.told
#[test]
fn who_has_not_taken_it_in_time_does_not_get_it() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    let tablet = world.device("bob", "tablet");
    tablet.close();
    let sent = send(&alice, "lunch?", NOW + 60_000).unwrap();
    alice.send(&account("bob"), "stays").unwrap();
    world.engine.advance(59_000).unwrap();
    assert!(expired(&world.drain(&alice)).is_empty());
    world.engine.advance(2_000).unwrap();
    assert_eq!(expired(&world.drain(&alice)), [sent.position]);
    let [bob] = world.sessions(["bob"]);
    assert_eq!(texts(&world.drain(&bob)), ["stays"]);
    let tablet = world.device("bob", "tablet");
    assert_eq!(texts(&world.drain(&tablet)), ["stays"]);
    let all = page(&alice, Anchor::End, Direction::Older, 10).messages;
    assert_eq!(all[0].outcome, Some(Outcome::Expired));
    let his = page(&bob, Anchor::End, Direction::Older, 10).messages;
    assert_eq!(his.len(), 1, "what never reached him is not in his history");
}

// behaviour: expiry.undelivered, expiry.told
#[test]
fn what_was_taken_in_time_stays() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    send(&alice, "taken", NOW + 60_000).unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["taken"]);
    world.engine.advance(120_000).unwrap();
    assert!(expired(&world.drain(&alice)).is_empty());
    assert_eq!(page(&bob, Anchor::End, Direction::Older, 10).messages.len(), 1);
}

// behaviour: expiry.undelivered
#[test]
fn a_session_that_did_not_read_its_queue_in_time_does_not_find_it_there() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    send(&alice, "quick", NOW + 1_000).unwrap();
    alice.send(&account("bob"), "slow").unwrap();
    world.engine.advance(5_000).unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["slow"]);
    // It has room again, and goes on as before.
    alice.send(&account("bob"), "next").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["next"]);
}

// behaviour: expiry.restart
#[test]
fn what_expires_while_the_engine_is_down_is_found_when_it_is_opened() {
    for crash in [false, true] {
        let world = World::new();
        let [alice] = world.sessions(["alice"]);
        world.create("bob");
        let sent = send(&alice, "lunch?", NOW + 60_000).unwrap();
        let world = if crash { world.killed() } else { world.reopen() };
        world.engine.advance(61_000).unwrap();
        let [alice, bob] = world.sessions(["alice", "bob"]);
        assert_eq!(expired(&world.drain(&alice)), [sent.position]);
        assert!(texts(&world.drain(&bob)).is_empty());
        // Told once.
        let world = world.reopen();
        let [alice] = world.sessions(["alice"]);
        world.engine.advance(61_000).unwrap();
        assert!(expired(&world.drain(&alice)).is_empty());
    }
}

// behaviour: expiry.unseen
#[test]
fn who_does_not_see_the_recipient_cannot_tell_by_it_whether_anybody_is_there() {
    let told = |there: bool| {
        let world = World::new();
        let [alice] = world.sessions(["alice"]);
        world.create("bob");
        let bob = there.then(|| world.sessions(["bob"]));
        if let Some([bob]) = &bob {
            bob.set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Online) }).unwrap();
        }
        let mut trace = Vec::new();
        let receipt = send(&alice, "anybody there?", NOW + 60_000).unwrap();
        trace.push(format!("{:?} {:?}", receipt.outcome, receipt.time));
        bob.iter().flatten().for_each(|bob| drop(world.drain(bob)));
        for _ in 0..130 {
            world.engine.advance(1_000).unwrap();
            trace.extend(world.drain(&alice).iter().map(|event| match &event.body {
                EventBody::Outcome { outcome, .. } => format!("{outcome:?}"),
                other => format!("{other:?}"),
            }));
        }
        trace
    };
    assert_eq!(told(true), told(false));
}

// behaviour: expiry.past
#[test]
fn what_has_expired_already_is_refused() {
    let world = World::new();
    let [alice, _bob] = world.sessions(["alice", "bob"]);
    assert_eq!(send(&alice, "late", NOW).unwrap_err().kind, ErrorKind::InvalidArgument);
}

// behaviour: delivery.client-id
#[test]
fn a_repeat_learns_what_became_of_a_message_after_its_expiry() {
    let world = World::new();
    let [alice, _bob] = world.sessions(["alice", "bob"]);
    let client_id = Some(ClientId::new("once").unwrap());
    let expires = Some(Timestamp(NOW + 1_000));
    let once = Send { client_id, expires, ..Send::text(&account("bob"), "in time") };
    let first = alice.send_message(once.clone()).unwrap();
    world.engine.advance(10_000).unwrap();
    assert_eq!(alice.send_message(once).unwrap(), first);
}
