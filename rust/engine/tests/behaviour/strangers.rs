//! Quarantine: what strangers send, and what becomes of it.

use crate::world::{World, account, messages, texts};
use crate::{online, overrides, page};
use rosterkit::{
    AcceptedSenders, Actor, Amend, Amendment, Anchor, ChatState, Command, Content, Direction, ErrorKind,
    Event, EventBody, MessageId, Outcome, Overrides, Position, Send, Session, Timestamp, Word,
};

/// Alice takes strangers into quarantine; Eve is one.
fn careful(world: &World) -> [Session; 2] {
    let [alice, eve] = world.sessions(["alice", "eve"]);
    careful_is(world, "alice");
    [alice, eve]
}

fn careful_is(world: &World, user: &str) {
    let quarantine =
        Overrides { accepted_senders: Some(AcceptedSenders::Quarantine), ..Overrides::default() };
    overrides(world, user, quarantine);
}

/// How much the session was last told to be in quarantine.
fn told(events: &[Event]) -> Option<usize> {
    events.iter().rev().find_map(|event| match event.body {
        EventBody::QuarantineChanged { messages } => Some(messages),
        _ => None,
    })
}

fn held(session: &Session) -> Vec<String> {
    let page = session.quarantined(Position::ZERO, 100).unwrap();
    assert!(page.complete);
    page.messages.iter().map(|message| message.content.as_text().unwrap().to_owned()).collect()
}

fn history(session: &Session) -> Vec<String> {
    let page = page(session, Anchor::End, Direction::Older, 100);
    page.messages.iter().map(|message| message.content.as_text().unwrap().to_owned()).collect()
}

fn history_ids(session: &Session) -> Vec<MessageId> {
    page(session, Anchor::End, Direction::Older, 100).messages.iter().map(|message| message.id).collect()
}

fn amend(session: &Session, message_id: MessageId, amendment: Amendment) -> rosterkit::Result<()> {
    let amend = Amend { recipient: account("alice"), message_id, amendment, client_id: None };
    session.amend(amend).map(|_| ())
}

// behaviour: admission.quarantine, quarantine.unseen, quarantine.told, quarantine.read
#[test]
fn what_a_stranger_sends_waits_aside_and_nobody_sees_it() {
    let world = World::new();
    let [alice, eve] = careful(&world);
    let phone = world.device("alice", "phone");
    online(&alice);
    world.drain(&alice);
    let actor = Actor { account: account("alice"), session: None };
    let rules = r#"{"rules": [{"name": "echo", "priority": 5,
        "actions": [{"SendIM": {"to": "eve@example.org", "text": "thanks"}}]}]}"#;
    world.engine.call(&actor, Command::SetRules(rules.into())).unwrap();
    let receipt = eve.send(&account("alice"), "psst").unwrap();
    assert_eq!(receipt.outcome, Word::Stored);
    eve.typing(&account("alice"), ChatState::Composing).unwrap();
    for session in [&alice, &phone] {
        let events = world.drain(session);
        assert_eq!(told(&events), Some(1));
        assert_eq!(events.len(), 1, "{events:?}");
    }
    assert!(history(&alice).is_empty());
    assert_eq!(held(&alice), ["psst"]);
    assert_eq!(held(&phone), ["psst"]);
    // That she reads it there nobody learns.
    alice.mark_read(&account("eve"), receipt.position).unwrap();
    world.engine.advance(60_000).unwrap();
    assert!(world.drain(&eve).is_empty());
    assert_eq!(history(&eve), ["psst"], "it is a message of hers as any other");
    // Who comes later is told what is there.
    assert_eq!(told(&world.drain(&world.device("alice", "tablet"))), Some(1));
    // A page ends, and the next one goes on.
    eve.send(&account("alice"), "again").unwrap();
    let first = alice.quarantined(Position::ZERO, 1).unwrap();
    assert_eq!((first.messages.len(), first.complete), (1, false));
    let second = alice.quarantined(first.messages[0].position, 1).unwrap();
    assert_eq!((second.messages[0].content.as_text(), second.complete), (Some("again"), true));
    assert_eq!(alice.quarantined(Position::ZERO, 0).unwrap_err().kind, ErrorKind::InvalidArgument);
}

// behaviour: quarantine.admit, quarantine.durable
#[test]
fn who_is_admitted_has_what_waited_delivered_to_every_device_in_order() {
    for killed in [false, true] {
        let world = World::new();
        let [_, eve] = careful(&world);
        let [dan] = world.sessions(["dan"]);
        // This device has seen everything that came when the strangers are admitted.
        let phone = world.device("alice", "phone");
        let ids: Vec<MessageId> =
            (0..3).map(|n| eve.send(&account("alice"), &format!("{n}")).unwrap().id).collect();
        dan.send(&account("alice"), "me too").unwrap();
        world.drain(&phone);
        world.engine.advance(2_000).unwrap();
        let world = if killed { world.killed() } else { world.reopen() };
        let phone = world.device("alice", "phone");
        let [alice, eve] = world.sessions(["alice", "eve"]);
        assert_eq!(told(&world.drain(&phone)), Some(4));
        world.drain(&alice);
        alice.admit_sender(&account("eve")).unwrap();
        let world = if killed { world.killed() } else { world };
        let phone = if killed { world.device("alice", "phone") } else { phone };
        let events = world.drain(&phone);
        assert_eq!(texts(&events), ["0", "1", "2"]);
        assert_eq!(told(&events), Some(1));
        let of = |message: &rosterkit::Message| (message.id, message.sender.bare());
        let wanted: Vec<_> = ids.iter().map(|id| (*id, account("eve"))).collect();
        assert_eq!(messages(&events).iter().map(of).collect::<Vec<_>>(), wanted);
        assert_eq!(held(&phone), ["me too"]);
        // From now on she is heard, and he is not.
        let eve = if killed { world.sessions(["eve"])[0].clone() } else { eve };
        eve.send(&account("alice"), "3").unwrap();
        assert_eq!(texts(&world.drain(&phone)), ["3"]);
        assert_eq!(history(&phone), ["0", "1", "2", "3"]);
        assert_eq!(history(&eve), ["0", "1", "2", "3"]);
        // Once more changes nothing.
        phone.admit_sender(&account("eve")).unwrap();
        assert!(texts(&world.drain(&phone)).is_empty());
        assert_eq!(phone.admit_sender(&account("nobody")).unwrap_err().kind, ErrorKind::NotFound);
        // Who comes later under her name is another.
        world.engine.delete_account(&account("eve")).unwrap();
        world.sessions(["eve"])[0].send(&account("alice"), "it's me").unwrap();
        assert_eq!(held(&phone), ["me too", "it's me"]);
    }
}

// behaviour: quarantine.refuse
#[test]
fn who_is_refused_learns_nothing_and_what_waited_is_gone() {
    let world = World::new();
    let [alice, eve] = careful(&world);
    eve.send(&account("alice"), "psst").unwrap();
    world.drain(&alice);
    alice.refuse_sender(&account("eve"), false).unwrap();
    assert_eq!(told(&world.drain(&alice)), Some(0));
    assert!(held(&alice).is_empty() && world.drain(&eve).is_empty());
    assert_eq!(history(&eve), ["psst"]);
    // She is a stranger still.
    assert_eq!(eve.send(&account("alice"), "again").unwrap().outcome, Word::Stored);
    assert_eq!(held(&alice), ["again"]);
    // Who was admitted can be refused later.
    alice.admit_sender(&account("eve")).unwrap();
    world.drain(&alice);
    alice.refuse_sender(&account("eve"), false).unwrap();
    eve.send(&account("alice"), "and again").unwrap();
    assert_eq!(held(&alice), ["and again"]);
    alice.refuse_sender(&account("eve"), true).unwrap();
    assert!(held(&alice).is_empty());
    assert_eq!(eve.send(&account("alice"), "no").unwrap_err().kind, ErrorKind::Forbidden);
    // She changes what she sent, and cannot tell by it what became of that.
    alice.block(&account("eve"), false).unwrap();
    let id = history_ids(&eve)[0];
    amend(&eve, id, Amendment::Edit(Content::text("psst!"))).unwrap();
    assert_eq!(history(&eve)[0], "psst!");
    assert!(held(&alice).is_empty() && !history(&alice).contains(&"psst!".to_owned()));
    // Nothing of hers is left when she keeps nothing either.
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!((told(&world.drain(&alice)), history(&alice)), (None, vec!["again".to_owned()]));
}

// behaviour: quarantine.amended
#[test]
fn what_is_amended_in_quarantine_is_amended_there_and_after() {
    let world = World::new();
    let [alice, eve] = world.sessions(["alice", "eve"]);
    let before = eve.send(&account("alice"), "before").unwrap().id;
    careful_is(&world, "alice");
    world.drain(&alice);
    // What was taken before stays as it was read.
    let refused = amend(&eve, before, Amendment::Edit(Content::text("bait"))).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Forbidden);
    let [first, second] = ["first", "second"].map(|text| eve.send(&account("alice"), text).unwrap().id);
    amend(&eve, first, Amendment::Edit(Content::text("edited"))).unwrap();
    amend(&eve, second, Amendment::Retract).unwrap();
    assert_eq!(held(&alice), ["edited", ""]);
    assert!(
        world.drain(&alice).iter().all(|event| matches!(event.body, EventBody::QuarantineChanged { .. }))
    );
    alice.admit_sender(&account("eve")).unwrap();
    assert_eq!(texts(&world.drain(&alice)), ["edited", ""]);
    // The same message, wherever it stands.
    amend(&eve, first, Amendment::Edit(Content::text("edited again"))).unwrap();
    let amended = world.drain(&alice).into_iter().find_map(|event| match event.body {
        EventBody::Amended(amended) => Some(amended.message_id),
        _ => None,
    });
    assert_eq!(amended, Some(first));
    assert_eq!(history(&alice), ["before", "edited again", ""]);
    assert_eq!(history(&eve), ["before", "edited again", ""]);
}

// behaviour: quarantine.expiry
#[test]
fn what_expires_in_quarantine_is_gone_and_what_was_admitted_stays() {
    let world = World::new();
    let [alice, eve] = careful(&world);
    let until = |ms: i64| Some(Timestamp(1_700_000_000_000 + ms));
    for (text, ms) in [("early", 10_000), ("late", 60_000)] {
        let send = Send { expires: until(ms), ..Send::text(&account("alice"), text) };
        eve.send_message(send).unwrap();
    }
    world.drain(&alice);
    world.engine.advance(11_000).unwrap();
    assert_eq!((told(&world.drain(&alice)), held(&alice)), (Some(1), vec!["late".to_owned()]));
    let outcomes = |events: Vec<Event>| {
        let outcome = |event: Event| match event.body {
            EventBody::Outcome { outcome, .. } => Some(outcome),
            _ => None,
        };
        events.into_iter().filter_map(outcome).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(world.drain(&eve)), [Outcome::Expired]);
    alice.admit_sender(&account("eve")).unwrap();
    world.engine.advance(60_000).unwrap();
    assert_eq!(texts(&world.drain(&alice)), ["late"]);
    assert!(outcomes(world.drain(&eve)).is_empty());
}

// behaviour: quarantine.limits
#[test]
fn quarantine_is_bounded_as_what_waits_is() {
    let mut options = rosterkit::EngineOptions::hosting([rosterkit::Domain::new("example.org").unwrap()]);
    options.limits.unclaimed_from_one.count = 3;
    let world = World::with(options);
    let [alice, eve] = careful(&world);
    for n in 0..3 {
        eve.send(&account("alice"), &format!("{n}")).unwrap();
    }
    let full = eve.send(&account("alice"), "3").unwrap_err().kind;
    assert!(matches!(full, ErrorKind::LimitExceeded { .. }));
    alice.refuse_sender(&account("eve"), false).unwrap();
    eve.send(&account("alice"), "3").unwrap();
}

// behaviour: quarantine.durable
#[test]
fn what_waits_goes_with_the_account_and_its_sender_keeps_hers() {
    let world = World::new();
    let [_, eve] = careful(&world);
    eve.send(&account("alice"), "psst").unwrap();
    world.engine.delete_account(&account("alice")).unwrap();
    let [alice] = world.sessions(["alice"]);
    assert_eq!((held(&alice), told(&world.drain(&alice))), (Vec::new(), None));
    assert_eq!(history(&eve), ["psst"]);
}

// behaviour: quarantine.admit
#[test]
fn what_is_on_its_way_when_its_sender_is_admitted_waits_no_more() {
    let world = World::new();
    let [alice, _] = careful(&world);
    let mut sent = Vec::new();
    let mut got = Vec::new();
    for round in 0..20 {
        alice.refuse_sender(&account("eve"), false).unwrap();
        let commands = (0..6).map(|number| {
            let text = format!("{round} {number}");
            sent.push(text.clone());
            let content = Content::text(&text);
            let send = Send { recipient: account("alice"), content, client_id: None, expires: None };
            (Actor { account: account("eve"), session: None }, Command::Send(send))
        });
        let mut commands: Vec<(Actor, Command)> = commands.collect();
        let admit = Command::AdmitSender(account("eve"));
        commands.insert(round % 7, (Actor { account: account("alice"), session: None }, admit));
        world.engine.submit(commands).unwrap();
        world.engine.advance(1_000).unwrap();
        assert!(held(&alice).is_empty(), "round {round}: {:?} waits", held(&alice));
        got.extend(texts(&world.drain(&alice)));
    }
    assert_eq!(got, sent);
}

// behaviour: history.forget, quarantine.unseen
#[test]
fn a_sender_forgets_what_waits_in_quarantine_as_everything_else() {
    let world = World::new();
    let [alice, eve] = careful(&world);
    eve.send(&account("alice"), "psst").unwrap();
    eve.forget(Some(&account("alice"))).unwrap();
    assert!(history(&eve).is_empty(), "by what stays Eve sees that it waits: {:?}", history(&eve));
    assert_eq!(held(&alice), ["psst"]);
    alice.admit_sender(&account("eve")).unwrap();
    assert_eq!((texts(&world.drain(&alice)), history(&alice)), (vec!["psst".into()], vec!["psst".into()]));
    assert!(history(&eve).is_empty());
}
