//! Strangers from outside.

use crate::world::texts;
use crate::{NET, ORG, Side, alice, bob, carry, history, sides, status};
use rosterkit::{
    AcceptedSenders, Actor, Amends, Command, Content, Contents, EventBody, MessageId, Overrides, Parcel,
    Position, RelayedMessage, Settlement, Status, Timestamp,
};
use uuid::Uuid;

// behaviour: quarantine.relayed
#[test]
fn what_comes_from_strangers_outside_waits_and_is_amended_there() {
    let b = Side::new(NET, ORG);
    let at_b = b.session(&bob());
    let careful = AcceptedSenders::Quarantine;
    let actor = Actor { account: bob(), session: None };
    let overrides = Overrides { accepted_senders: Some(careful), ..Overrides::default() };
    b.world.engine.call(&actor, Command::SetPreferences(overrides)).unwrap();
    b.drain(&at_b);
    let named = |id: u8| MessageId(Uuid::from_bytes([id; 16]));
    let give = |delivery: &str, id: u8, amends: Option<Amends>, text: &str| {
        let message = RelayedMessage {
            delivery_id: Some(delivery.into()),
            id: Some(named(id)),
            amends,
            ..RelayedMessage::new(Content::text(text))
        };
        let contents = Contents::Messages(vec![message]);
        b.relay.receive(Parcel { sender: alice(), recipient: bob(), contents }).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(give("1", 1, None, "psst"), [Settlement::Relayed]);
        assert_eq!(give("2", 2, None, "you there?"), [Settlement::Relayed]);
    }
    assert_eq!(give("3", 3, Some(Amends::Edit(named(1))), "hello"), [Settlement::Relayed]);
    let events = b.drain(&at_b);
    assert!(events.iter().all(|e| matches!(e.body, EventBody::QuarantineChanged { .. })), "{events:?}");
    let held = at_b.quarantined(Position::ZERO, 10).unwrap().messages;
    let held: Vec<_> = held.iter().map(|message| message.content.as_text().unwrap()).collect();
    assert_eq!(held, ["hello", "you there?"]);
    assert!(history(&at_b).is_empty());
    at_b.admit_sender(&alice()).unwrap();
    assert_eq!(texts(&b.drain(&at_b)), ["hello", "you there?"]);
    assert_eq!(history(&at_b).len(), 2);
    // What was refused is amended for nobody, and the other side is told as ever.
    at_b.refuse_sender(&alice(), false).unwrap();
    give("5", 5, None, "once more");
    at_b.refuse_sender(&alice(), false).unwrap();
    assert_eq!(give("6", 6, Some(Amends::Edit(named(5))), "more"), [Settlement::Relayed]);
    assert!(at_b.quarantined(Position::ZERO, 10).unwrap().messages.is_empty());
    at_b.admit_sender(&alice()).unwrap();
    b.drain(&at_b);
    // What came once is not taken again, and who is admitted is heard.
    give("1", 1, None, "psst");
    give("4", 4, None, "thanks");
    assert_eq!(texts(&b.drain(&at_b)), ["thanks"]);
}

// behaviour: invitations.relayed
#[test]
fn an_invitation_lets_in_who_comes_from_outside() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    let token = at_b.invite(Timestamp(1_700_000_060_000)).unwrap();
    at_a.redeem_invitation(&bob(), token.clone()).unwrap();
    // What was under way when both were killed goes on.
    let (a, b) = (Side::on(a.world.killed(), NET), Side::on(b.world.killed(), ORG));
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    carry(&a, &b);
    assert_eq!((status(&at_a, &bob()), status(&at_b, &alice())), (Status::Confirmed, Status::Confirmed));
    let events = b.drain(&at_b);
    assert!(!events.iter().any(|e| matches!(e.body, EventBody::BuddyRequest { .. })), "{events:?}");
}
