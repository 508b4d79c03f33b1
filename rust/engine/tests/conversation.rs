//! The main job, in virtual time: accounts, the handshake, presence, messages, copies, redelivery.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::{EventBody, SetPresence, State, Status, Word};
use world::{World, account, kinds, messages};

// behaviour: roster.add-asks-both, roster.confirm, presence.confirmed-see-each-other
#[test]
fn a_buddy_request_is_confirmed_and_both_see_each_other() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    alice.set_presence(SetPresence::state(State::Online)).unwrap();
    bob.set_presence(SetPresence::state(State::Away)).unwrap();
    world.drain(&alice);
    world.drain(&bob);

    alice.add_buddy(&account("bob"), Some("Bob"), Some(&["Friends", "Work"])).unwrap();
    let events = world.drain(&bob);
    assert!(
        events.iter().any(
            |e| matches!(&e.body, EventBody::BuddyRequest { sender, .. } if *sender == account("alice"))
        )
    );
    assert_eq!(bob.roster().unwrap().buddies[0].status(), Status::Asking);
    assert_eq!(alice.roster().unwrap().buddies[0].status(), Status::Requested);

    bob.confirm_buddy(&account("alice")).unwrap();
    for (session, peer, state) in [(&alice, "bob", State::Away), (&bob, "alice", State::Online)] {
        let events = world.drain(session);
        let seen = events.iter().find_map(|e| match &e.body {
            EventBody::Presence { subject, presence } if *subject == account(peer) => Some(presence.state),
            _ => None,
        });
        assert_eq!(seen, Some(state), "{peer} as seen: {:?}", kinds(&events));
        assert_eq!(session.roster().unwrap().buddies[0].status(), Status::Confirmed);
    }
    assert_eq!(alice.roster().unwrap().buddies[0].groups, ["Friends", "Work"]);
}

// behaviour: delivery.one-answer, delivery.stored, delivery.offline-messages
#[test]
fn messages_are_delivered_or_stored_and_come_in_order() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    for text in ["one", "two", "three"] {
        assert_eq!(alice.send(&account("bob"), text).unwrap().outcome, Word::Stored);
        world.engine.advance(1_000).unwrap();
    }
    let [bob] = world.sessions(["bob"]);
    let events = bob.next_events(10, std::time::Duration::ZERO).unwrap();
    let got = messages(&events);
    assert_eq!(got.iter().map(|m| m.content.as_text().unwrap()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(got[1].time.0 - got[0].time.0, 1_000, "with their original times");
    bob.ack(events.last().unwrap().seq);

    // They see each other, so a live session is told as such.
    world.befriend(&alice, &bob);
    assert_eq!(alice.send(&account("bob"), "live").unwrap().outcome, Word::Delivered);
    assert_eq!(messages(&world.drain(&bob))[0].content.as_text(), Some("live"));
}

// behaviour: delivery.copies
#[test]
fn other_sessions_of_the_sender_get_a_copy() {
    let world = World::new();
    let [phone, laptop, bob] = world.sessions(["alice", "alice", "bob"]);
    phone.send(&account("bob"), "hello").unwrap();
    assert!(world.drain(&phone).is_empty(), "no copy to the session that sent it");
    let copies = world.drain(&laptop);
    assert!(messages(&copies)[0].copy);
    assert!(!messages(&world.drain(&bob))[0].copy);
}

// behaviour: delivery.redelivery
#[test]
fn what_was_not_acknowledged_comes_again_after_reopening() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let receipt = alice.send(&account("bob"), "hello").unwrap();
    let first = bob.next_events(10, std::time::Duration::ZERO).unwrap();
    assert_eq!(messages(&first)[0].id, receipt.id);
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    let again = bob.next_events(10, std::time::Duration::ZERO).unwrap();
    assert_eq!(messages(&again)[0].id, receipt.id);
    bob.ack(again.last().unwrap().seq);
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert!(messages(&world.drain(&bob)).is_empty());
}
