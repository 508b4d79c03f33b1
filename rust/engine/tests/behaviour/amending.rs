//! What the author of a message can do to it later, and replies.

use crate::world::{World, account, messages, texts};
use crate::{overrides, page};
use rosterkit::{
    AcceptedSenders, Amend, Amended, Amendment, Anchor, ClientId, Content, Direction, ErrorKind, Event,
    EventBody, Message, MessageAmended, MessageId, Overrides, Send, Session, Word,
};

fn amend(recipient: &str, message_id: MessageId, amendment: Amendment) -> Amend {
    Amend { recipient: account(recipient), message_id, amendment, client_id: None }
}

fn edit(recipient: &str, message_id: MessageId, text: &str) -> Amend {
    amend(recipient, message_id, Amendment::Edit(Content::text(text)))
}

fn amendments(events: &[Event]) -> Vec<MessageAmended> {
    let amended = events.iter().filter_map(|e| match &e.body {
        EventBody::Amended(amended) => Some((**amended).clone()),
        _ => None,
    });
    amended.collect()
}

fn history(session: &Session) -> Vec<Message> {
    page(session, Anchor::End, Direction::Older, 100).messages
}

// behaviour: amend.events, amend.history
#[test]
fn an_edit_and_a_retraction_reach_everybody_who_has_the_message() {
    let world = World::new();
    let [alice, desk, bob] = world.sessions(["alice", "alice", "bob"]);
    let tablet = world.device("bob", "tablet");
    let first = alice.send(&account("bob"), "helo").unwrap();
    let second = alice.send(&account("bob"), "delete me").unwrap();
    for session in [&desk, &bob, &tablet] {
        world.drain(session);
    }
    let edited = alice.amend(edit("bob", first.id, "hello")).unwrap();
    assert!(edited.position > second.position && edited.outcome == Word::Stored);
    alice.amend(amend("bob", second.id, Amendment::Retract)).unwrap();
    for (session, copy) in [(&desk, true), (&bob, false), (&tablet, false)] {
        let told = amendments(&world.drain(session));
        let what: Vec<_> = told.iter().map(|a| (a.message_id, a.message_position, a.copy)).collect();
        assert_eq!(what, [(first.id, first.position, copy), (second.id, second.position, copy)]);
        assert_eq!(told[0].amendment, Amendment::Edit(Content::text("hello")));
        assert_eq!(told[1].amendment, Amendment::Retract);
        assert_eq!(told[0].sender, alice.address());
    }
    // In both histories the messages are as they are now, at their places, and nothing else is there.
    for session in [&alice, &bob] {
        let all = history(session);
        assert_eq!(all.iter().map(|m| m.content.as_text().unwrap()).collect::<Vec<_>>(), ["hello", ""]);
        assert_eq!(all.iter().map(|m| m.id).collect::<Vec<_>>(), [first.id, second.id]);
        assert_eq!(all[0].amended, Some(Amended::Edited(edited.time)));
        assert!(matches!(all[1].amended, Some(Amended::Retracted(_))));
    }
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert_eq!(history(&bob)[0].content.as_text(), Some("hello"));
}

// behaviour: amend.events
#[test]
fn who_comes_later_gets_the_message_as_it_is_and_the_amendment_behind_it() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let sent = alice.send(&account("bob"), "helo").unwrap();
    alice.amend(edit("bob", sent.id, "hello")).unwrap();
    let [bob] = world.sessions(["bob"]);
    let events = world.drain(&bob);
    assert_eq!(texts(&events), ["hello"]);
    assert!(matches!(messages(&events)[0].amended, Some(Amended::Edited(_))));
    assert_eq!(amendments(&events).len(), 1);
    assert!(matches!(events.last().unwrap().body, EventBody::Amended(_)));
}

// behaviour: amend.author
#[test]
fn only_the_author_amends_and_only_what_was_sent_to_that_peer() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    let sent = alice.send(&account("bob"), "mine").unwrap();
    let refused = |session: &Session, amend| session.amend(amend).unwrap_err().kind;
    assert_eq!(refused(&bob, edit("alice", sent.id, "yours")), ErrorKind::NotFound);
    assert_eq!(refused(&carol, edit("bob", sent.id, "ours")), ErrorKind::NotFound);
    assert_eq!(refused(&alice, edit("carol", sent.id, "theirs")), ErrorKind::NotFound);
    assert_eq!(refused(&alice, edit("bob", MessageId(Default::default()), "none")), ErrorKind::NotFound);
    alice.amend(amend("bob", sent.id, Amendment::Retract)).unwrap();
    assert_eq!(refused(&alice, edit("bob", sent.id, "it is back")), ErrorKind::Conflict);
    assert_eq!(history(&bob)[0].content.as_text(), Some(""));
}

// behaviour: amend.admission
#[test]
fn an_amendment_is_admitted_as_a_message_is_and_a_refused_one_changes_nothing() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let sent = alice.send(&account("bob"), "before").unwrap();
    world.drain(&bob);
    let nobody = Overrides { accepted_senders: Some(AcceptedSenders::Nobody), ..Overrides::default() };
    overrides(&world, "bob", nobody);
    world.drain(&bob);
    assert_eq!(alice.amend(edit("bob", sent.id, "after")).unwrap_err().kind, ErrorKind::Forbidden);
    let large = "x".repeat(65_537);
    let too_large = alice.amend(edit("bob", sent.id, &large)).unwrap_err().kind;
    assert!(matches!(too_large, ErrorKind::LimitExceeded { .. }));
    assert!(world.drain(&bob).is_empty());
    for session in [&alice, &bob] {
        assert_eq!(
            (history(session)[0].content.as_text(), history(session)[0].amended),
            (Some("before"), None)
        );
    }
}

// behaviour: amend.client-id
#[test]
fn a_repeated_amendment_makes_nothing_new() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let sent = alice.send(&account("bob"), "helo").unwrap();
    let client_id = Some(ClientId::new("edit 1").unwrap());
    let once = |text| Amend { client_id: client_id.clone(), ..edit("bob", sent.id, text) };
    let first = alice.amend(once("hello")).unwrap();
    assert_eq!(alice.amend(once("hello")).unwrap(), first);
    assert_eq!(alice.amend(once("other")).unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(amendments(&world.drain(&bob)).len(), 1);
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(alice.amend(once("hello")).unwrap(), first);
    // Also of one after which nothing can be changed any more, or that came before it.
    let back = Amend {
        client_id: Some(ClientId::new("edit 2").unwrap()),
        amendment: Amendment::Retract,
        ..edit("bob", sent.id, "")
    };
    let last = alice.amend(back.clone()).unwrap();
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(alice.amend(back).unwrap(), last);
    assert_eq!(alice.amend(once("hello")).unwrap(), first);
    assert_eq!(alice.amend(edit("bob", sent.id, "hi")).unwrap_err().kind, ErrorKind::Conflict);
}

// behaviour: message.reply
#[test]
fn a_reply_names_the_message_that_it_answers() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let question = alice.send(&account("bob"), "when?").unwrap();
    let content = Content { reply_to: Some(question.id), ..Content::text("at noon") };
    bob.send_message(Send { content, ..Send::text(&account("alice"), "") }).unwrap();
    assert_eq!(messages(&world.drain(&alice))[0].content.reply_to, Some(question.id));
    assert_eq!(history(&alice)[1].content.reply_to, Some(question.id));
}
