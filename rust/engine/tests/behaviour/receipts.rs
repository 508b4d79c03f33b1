//! Receipts, read marks, and conversations.

use crate::world::{World, account};
use crate::{online, overrides, page};
use rosterkit::{
    Anchor, Conversation, ConversationsRequest, Direction, Event, EventBody, Overrides, Position,
    ReceiptState, Receipts, Session, SetPresence, State,
};

fn delivered(events: &[Event]) -> Vec<Position> {
    let upto = events.iter().filter_map(|e| match &e.body {
        EventBody::Delivered { upto, .. } => Some(*upto),
        _ => None,
    });
    upto.collect()
}

fn displayed(events: &[Event]) -> Vec<Position> {
    let upto = events.iter().filter_map(|e| match &e.body {
        EventBody::Displayed { upto, .. } => Some(*upto),
        _ => None,
    });
    upto.collect()
}

fn conversations(session: &Session) -> Vec<Conversation> {
    let page = session.conversations(ConversationsRequest { before: None, limit: 100 }).unwrap();
    assert!(page.complete);
    page.conversations
}

/// What her history says of each of her own messages.
fn receipts(session: &Session) -> Vec<Option<ReceiptState>> {
    let page = page(session, Anchor::End, Direction::Older, 100);
    page.messages.iter().filter(|m| m.copy).map(|m| m.receipt).collect()
}

// behaviour: receipts.delivered, receipts.displayed, receipts.history, receipts.monotone
#[test]
fn a_buddy_is_told_what_was_taken_and_what_was_read() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    let sent: Vec<Position> =
        (0..3).map(|n| alice.send(&account("bob"), &format!("{n}")).unwrap().position).collect();
    assert_eq!(receipts(&alice), [None; 3]);
    // He takes two and leaves the third.
    let two = bob.next_events(2, std::time::Duration::ZERO).unwrap();
    bob.ack(two[1].seq);
    assert_eq!(delivered(&world.drain(&alice)), [sent[1]]);
    world.drain(&bob);
    assert_eq!(delivered(&world.drain(&alice)), [sent[2]]);
    bob.mark_read(&account("alice"), sent[1]).unwrap();
    assert_eq!(displayed(&world.drain(&alice)), [sent[1]]);
    // What is known already, or less, is not told again.
    bob.mark_read(&account("alice"), sent[0]).unwrap();
    bob.mark_read(&account("alice"), sent[1]).unwrap();
    assert!(world.drain(&alice).is_empty());
    world.engine.advance(2_000).unwrap();
    let known = [Some(ReceiptState::Displayed), Some(ReceiptState::Displayed), Some(ReceiptState::Delivered)];
    assert_eq!(receipts(&alice), known);
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(receipts(&alice), known);
}

// behaviour: receipts.delivered
#[test]
fn a_receipt_does_not_speak_for_what_is_still_in_another_hand() {
    let world = World::new();
    let [alice, phone] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &phone);
    let first = alice.send(&account("bob"), "first").unwrap().position;
    // The phone has it in hand when the desk comes, which then takes a later one.
    phone.next_events(10, std::time::Duration::ZERO).unwrap();
    let [desk] = world.sessions(["bob"]);
    let second = alice.send(&account("bob"), "second").unwrap().position;
    world.drain(&desk);
    assert!(delivered(&world.drain(&alice)).iter().all(|upto| *upto < first));
    world.drain(&phone);
    assert_eq!(delivered(&world.drain(&alice)).last(), Some(&second));
}

// behaviour: receipts.unseen
#[test]
fn who_does_not_see_the_recipient_learns_of_a_persons_acts_only() {
    let world = World::new();
    let [stranger, buddy, bob] = world.sessions(["stranger", "buddy", "bob"]);
    world.befriend(&buddy, &bob);
    bob.set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Online) }).unwrap();
    world.drain(&buddy);
    for sender in [&stranger, &buddy] {
        let sent = sender.send(&account("bob"), "are you there?").unwrap().position;
        world.drain(&bob);
        world.engine.advance(5_000).unwrap();
        assert!(delivered(&world.drain(sender)).is_empty());
        assert_eq!(receipts(sender), [None]);
        bob.mark_read(sender.account(), sent).unwrap();
        let told = world.drain(sender);
        assert_eq!((delivered(&told), displayed(&told)), (vec![sent], vec![sent]));
        assert_eq!(receipts(sender), [Some(ReceiptState::Displayed)]);
    }
}

// behaviour: receipts.preference, receipts.displayed
#[test]
fn the_recipient_decides_what_senders_learn() {
    for (preference, takes, reads) in
        [(Receipts::All, true, true), (Receipts::Delivered, true, false), (Receipts::Nothing, false, false)]
    {
        let world = World::new();
        let [alice, bob] = world.sessions(["alice", "bob"]);
        world.befriend(&alice, &bob);
        overrides(&world, "bob", Overrides { receipts: Some(preference), ..Overrides::default() });
        let sent = alice.send(&account("bob"), "hello").unwrap().position;
        world.drain(&bob);
        assert_eq!(!delivered(&world.drain(&alice)).is_empty(), takes, "{preference:?}");
        bob.mark_read(&account("alice"), sent).unwrap();
        assert_eq!(!displayed(&world.drain(&alice)).is_empty(), reads, "{preference:?}");
    }
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    let sent = alice.send(&account("bob"), "hello").unwrap().position;
    bob.block(&account("alice"), true).unwrap();
    world.drain(&bob);
    bob.mark_read(&account("alice"), sent).unwrap();
    let told = world.drain(&alice);
    assert!(delivered(&told).is_empty() && displayed(&told).is_empty());
}

// behaviour: receipts.read, conversations.unread, conversations.pages
#[test]
fn conversations_have_their_latest_message_and_what_is_unread() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    let [other] = world.sessions(["alice"]);
    let from_bob: Vec<Position> =
        (0..4).map(|n| bob.send(&account("alice"), &format!("{n}")).unwrap().position).collect();
    let to_bob = alice.send(&account("bob"), "yes?").unwrap();
    carol.send(&account("alice"), "and me").unwrap();
    let all = conversations(&alice);
    let shown: Vec<(&str, &str, u32)> =
        all.iter().map(|c| (c.peer.as_str(), c.latest.content.as_text().unwrap(), c.unread)).collect();
    assert_eq!(shown, [("carol@example.org", "and me", 1), ("bob@example.org", "yes?", 4)]);
    assert_eq!(all[1].latest.id, to_bob.id);
    world.drain(&alice);
    world.drain(&other);
    alice.mark_read(&account("bob"), from_bob[2]).unwrap();
    assert_eq!(conversations(&alice).iter().map(|c| c.unread).collect::<Vec<_>>(), [1, 1]);
    let read_elsewhere = |e: &Event| e.body == EventBody::Read { peer: account("bob"), upto: from_bob[2] };
    assert!(world.drain(&other).iter().any(read_elsewhere));
    assert!(world.drain(&alice).is_empty(), "who did it is not told");
    // What is above everything there is was not read: the next message is new.
    alice.mark_read(&account("bob"), Position(u64::MAX >> 1)).unwrap();
    assert_eq!(conversations(&alice)[1].unread, 0);
    bob.send(&account("alice"), "one more").unwrap();
    let killed = world.killed();
    let [alice] = killed.sessions(["alice"]);
    assert_eq!(conversations(&alice)[0].unread, 1);
    // In pages of one.
    let first = alice.conversations(ConversationsRequest { before: None, limit: 1 }).unwrap();
    assert_eq!((first.conversations[0].peer.clone(), first.complete), (account("bob"), false));
    let before = Some(first.conversations[0].position);
    let second = alice.conversations(ConversationsRequest { before, limit: 1 }).unwrap();
    assert_eq!((second.conversations[0].peer.clone(), second.complete), (account("carol"), true));
}

/// Messages of the account's own, however many, do not hide what is unread behind them; a thousand unread ones are enough.
// behaviour: conversations.unread
#[test]
fn what_is_unread_is_counted_behind_any_number_of_ones_own() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    for _ in 0..1_100 {
        alice.send(&account("bob"), "anybody there?").unwrap();
    }
    for unread in 1..=2 {
        bob.send(&account("alice"), "yes").unwrap();
        assert_eq!(conversations(&alice)[0].unread, unread);
    }
    assert_eq!(conversations(&bob)[0].unread, 1_000);
}

// behaviour: conversations.pages
#[test]
fn a_peer_with_whom_there_was_no_message_is_no_conversation() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    online(&alice);
    bob.add_buddy(&account("alice"), None, None).unwrap();
    assert!(conversations(&alice).is_empty());
    let unknown = alice.mark_read(&account("nobody"), Position(1)).unwrap_err();
    assert_eq!(unknown.kind, rosterkit::ErrorKind::NotFound);
}
