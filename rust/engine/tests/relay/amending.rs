//! Edits, retractions and expiry across a relay.

use crate::world::messages;
use crate::{Side, alice, bob, carry, history, outcomes, sides};
use rosterkit::{
    Actor, Amend, Amendment, Amends, Command, Content, Contents, DeviceName, EventBody, MessageId, Outcome,
    Outgoing, Parcel, RelayedMessage, Send, Session, SessionOptions, Settlement, Timestamp,
};

const NOW: i64 = 1_700_000_000_000;

fn amend(session: &Session, message_id: MessageId, amendment: Amendment) {
    let amend = Amend { recipient: bob(), message_id, amendment, client_id: None };
    session.amend(amend).unwrap();
}

fn texts(session: &Session) -> Vec<String> {
    history(session).iter().map(|m| m.content.as_text().unwrap().to_owned()).collect()
}

// behaviour: amend.relay
#[test]
fn amendments_and_replies_cross_a_relay_in_order_also_with_the_message_itself() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    let first = at_a.send(&bob(), "helo").unwrap();
    let second = at_a.send(&bob(), "delete me").unwrap();
    // None of it has left yet.
    amend(&at_a, first.id, Amendment::Edit(Content::text("hello")));
    let reply = Content { reply_to: Some(first.id), ..Content::text("anybody?") };
    at_a.send_message(Send { content: reply, ..Send::text(&bob(), "") }).unwrap();
    amend(&at_a, second.id, Amendment::Retract);
    carry(&a, &b);
    for session in [&at_a, &at_b] {
        assert_eq!(texts(session), ["hello", "", "anybody?"]);
    }
    let there = b.drain(&at_b);
    assert_eq!(messages(&there)[2].content.reply_to, Some(first.id));
    let amended = there.iter().filter_map(|e| match &e.body {
        EventBody::Amended(amended) => Some((amended.message_id, amended.sender.bare())),
        _ => None,
    });
    assert_eq!(amended.collect::<Vec<_>>(), [(first.id, alice()), (second.id, alice())]);
    assert_eq!(outcomes(&a.drain(&at_a)), vec![Outcome::Relayed; 5]);
}

// behaviour: amend.relay
#[test]
fn the_other_side_amends_what_its_account_sent_and_nothing_else() {
    let b = Side::new(crate::NET, crate::ORG);
    let at_b = b.session(&bob());
    let bobs = at_b.send(&bob(), "a note to myself").unwrap();
    let to_her = at_b.send(&alice(), "a note to you").unwrap();
    for (amends, nobodys) in [
        (Amends::Edit(bobs.id), false),
        (Amends::Retract(bobs.id), false),
        (Amends::Edit(to_her.id), false),
        (Amends::Retract(to_her.id), false),
        (Amends::Edit(MessageId(Default::default())), true),
    ] {
        let message =
            RelayedMessage { amends: Some(amends), ..RelayedMessage::new(Content::text("mine now")) };
        let parcel =
            Parcel { sender: alice(), recipient: bob(), contents: Contents::Messages(vec![message]) };
        let settled = b.relay.receive(parcel).unwrap();
        assert!(matches!(&settled[..], [Settlement::Failed { .. }]), "{nobodys} {settled:?}");
    }
    assert_eq!(texts(&at_b), ["a note to myself", "a note to you"]);
}

// behaviour: expiry.relay
#[test]
fn what_waits_for_a_relay_expires_there() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    let expires = Some(Timestamp(NOW + 60_000));
    let send = |text: &str| {
        at_a.send_message(Send { expires, ..Send::text(&bob(), text) }).unwrap();
    };
    send("in time");
    carry(&a, &b);
    a.relay.disconnect();
    send("too late");
    a.world.engine.advance(61_000).unwrap();
    assert_eq!(outcomes(&a.drain(&at_a)), [Outcome::Relayed, Outcome::Expired]);
    a.relay.connect();
    assert!(a.outgoing().iter().all(|out| !matches!(out, Outgoing::Parcel(_))));
    let there = messages(&b.drain(&at_b));
    assert_eq!(there.iter().map(|m| m.expires).collect::<Vec<_>>(), [expires]);
}

/// That it is over is on disk a second later when nobody here has to be told: until then the log says otherwise.
// behaviour: expiry.undelivered
#[test]
fn who_comes_right_after_it_expired_does_not_get_it() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    let device = Some(DeviceName::new("tablet").unwrap());
    let options = SessionOptions { reads_messages: true, device, ..SessionOptions::default() };
    b.world.engine.open_session(&bob(), options.clone()).unwrap().close();
    at_b.close();
    let expires = Some(Timestamp(NOW + 60_000));
    at_a.send_message(Send { expires, ..Send::text(&bob(), "lunch?") }).unwrap();
    at_a.send(&bob(), "stays").unwrap();
    carry(&a, &b);
    b.world.engine.advance(60_001).unwrap();
    let tablet = b.world.engine.open_session(&bob(), options).unwrap();
    let told = messages(&b.drain(&tablet));
    assert_eq!(told.iter().map(|m| m.content.as_text().unwrap()).collect::<Vec<_>>(), ["stays"]);
}

// behaviour: expiry.relay
#[test]
fn what_was_too_long_on_its_way_is_refused() {
    let (_, b) = sides();
    let at_b = b.session(&bob());
    let mut late = RelayedMessage::new(Content::text("too late"));
    late.expires = Some(Timestamp(NOW + 60_000));
    b.world.engine.advance(60_000).unwrap();
    let parcel = Parcel { sender: alice(), recipient: bob(), contents: Contents::Messages(vec![late]) };
    let settled = b.relay.receive(parcel).unwrap();
    assert!(matches!(&settled[..], [Settlement::Failed { .. }]), "{settled:?}");
    assert!(b.drain(&at_b).is_empty() && history(&at_b).is_empty());
}

// behaviour: ruled.relay
#[test]
fn rules_decide_on_what_comes_from_outside_and_send_on_to_there() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    let carol = crate::address("carol", crate::NET);
    let at_carol = b.session(&carol);
    let set = |side: &Side, account, actions: &str| {
        let rules = format!(r#"{{"rules": [{{"name": "r", "priority": 5, "actions": [{actions}]}}]}}"#);
        side.world.engine.call(&Actor { account, session: None }, Command::SetRules(rules)).unwrap();
    };
    set(&b, bob(), r#"{"redirect-to": ["carol@example.net"]}"#);
    let sent = at_a.send(&bob(), "hello").unwrap();
    carry(&a, &b);
    assert_eq!(messages(&b.drain(&at_carol)).iter().map(|m| m.id).collect::<Vec<_>>(), [sent.id]);
    assert!(b.drain(&at_b).is_empty() && history(&at_b).is_empty());
    set(&b, bob(), r#""discard""#);
    at_a.send(&bob(), "into the void").unwrap();
    set(&b, carol.clone(), r#"{"reject-with": "Not today."}"#);
    at_a.send(&carol, "hello").unwrap();
    carry(&a, &b);
    assert!(b.drain(&at_b).is_empty() && b.drain(&at_carol).is_empty());
    let refused = Outcome::Failed { reason: "Not today.".into() };
    let told = outcomes(&a.drain(&at_a));
    assert_eq!(told, [Outcome::Relayed, Outcome::Relayed, refused]);
    // And the other way round: what comes to an account here goes on to one there.
    set(&a, alice(), r#"{"fork-to": ["bob@example.net"]}"#);
    set(&b, bob(), r#""stop-processing""#);
    at_a.send(&alice(), "a note to myself").unwrap();
    let dave = a.session(&crate::address("dave", crate::ORG));
    let forked = dave.send(&alice(), "for both").unwrap();
    carry(&a, &b);
    assert_eq!(messages(&b.drain(&at_b)).iter().map(|m| m.id).collect::<Vec<_>>(), [forked.id]);
}
