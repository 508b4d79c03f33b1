//! What rules do in a running engine. What they are, and in which order they are applied, is tested in the core.

use crate::world::{World, account, messages, texts};
use crate::{overrides, page};
use rosterkit::{
    Actor, Anchor, Answer, Command, Direction, Domain, ErrorKind, EventBody, HostEvent, Outcome, Overrides,
    Session, Word,
};
use std::time::Duration;

/// A document with one rule.
fn rule(stage: &str, conditions: &str, actions: &str) -> String {
    format!(
        r#"{{"rules": [{{"name": "r", "stage": {stage}, "priority": 5, "conditions": {conditions}, "actions": {actions}}}]}}"#
    )
}

fn at_once(actions: &str) -> String {
    rule(r#""immediate""#, "[]", actions)
}

fn ask(world: &World, user: &str, command: Command) -> rosterkit::Result<Answer> {
    world.engine.call(&Actor { account: account(user), session: None }, command)
}

fn set(world: &World, user: &str, json: &str) {
    ask(world, user, Command::SetRules(json.into())).unwrap();
}

fn rules_of(world: &World, user: &str) -> String {
    match ask(world, user, Command::ReadRules).unwrap() {
        Answer::Rules(json) => json,
        other => panic!("{other:?}"),
    }
}

fn host(world: &World) -> Vec<HostEvent> {
    world.engine.next_host_events(100, Duration::ZERO).unwrap()
}

fn history(session: &Session) -> Vec<String> {
    let page = page(session, Anchor::End, Direction::Older, 100);
    page.messages.iter().map(|m| m.content.as_text().unwrap().to_owned()).collect()
}

// behaviour: ruled.reject
#[test]
fn what_a_rule_rejects_is_refused_with_its_text_whether_anybody_is_there_or_not() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    set(&world, "bob", &at_once(r#"[{"reject-with": "No, thank you."}]"#));
    let offline = alice.send(&account("bob"), "hello").unwrap_err();
    let [bob] = world.sessions(["bob"]);
    let online = alice.send(&account("bob"), "hello").unwrap_err();
    assert_eq!((online.kind, online.details.as_str()), (ErrorKind::Forbidden, "No, thank you."));
    assert_eq!(offline, online);
    assert!(world.drain(&bob).is_empty() && history(&bob).is_empty() && history(&alice).is_empty());
}

// behaviour: ruled.redirect
#[test]
fn what_a_rule_redirects_goes_there_with_its_id_and_its_sender() {
    let world = World::new();
    let [alice, desk, bob, carol] = world.sessions(["alice", "alice", "bob", "carol"]);
    set(&world, "bob", &at_once(r#"[{"redirect-to": ["carol@example.org"]}]"#));
    let receipt = alice.send(&account("bob"), "hello").unwrap();
    assert_eq!(receipt.outcome, Word::Stored);
    let there = messages(&world.drain(&carol));
    assert_eq!(
        there.iter().map(|m| (m.id, m.sender.bare())).collect::<Vec<_>>(),
        [(receipt.id, account("alice"))]
    );
    assert_eq!(there[0].time, receipt.time);
    assert!(world.drain(&bob).is_empty() && history(&bob).is_empty());
    // The sender has it once, as sent to whom she sent it.
    assert_eq!(messages(&world.drain(&desk)).len(), 1);
    assert_eq!(history(&alice), ["hello"]);
    assert_eq!(history(&carol), ["hello"]);
    let world = world.reopen();
    let [bob, carol] = world.sessions(["bob", "carol"]);
    assert!(world.drain(&bob).is_empty() && world.drain(&carol).is_empty());
}

// behaviour: ruled.redirect, ruled.crash
#[test]
fn what_is_under_way_to_where_a_rule_sends_it_arrives_once_whatever_is_killed() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    for user in ["bob", "carol"] {
        world.create(user);
    }
    set(&world, "bob", &at_once(r#"[{"redirect-to": ["carol@example.org"]}]"#));
    let receipt = alice.send(&account("bob"), "hello").unwrap();
    // Her answer is there, and what follows from it is not done yet.
    let (between, under_way) = world.killed_and(|reader| reader.forwards(None, 10).unwrap().len());
    world.engine.advance(0).unwrap();
    let (behind, done) = world.killed_and(|reader| reader.forwards(None, 10).unwrap().len());
    assert_eq!((under_way, done), (1, 0));
    for killed in [between, behind] {
        let [carol, bob] = killed.sessions(["carol", "bob"]);
        let there = messages(&killed.drain(&carol));
        assert_eq!(there.iter().map(|m| m.id).collect::<Vec<_>>(), [receipt.id]);
        assert!(killed.drain(&bob).is_empty());
        let killed = killed.reopen();
        let [carol] = killed.sessions(["carol"]);
        assert_eq!(history(&carol), ["hello"]);
    }
}

// behaviour: ruled.redirect-refused
#[test]
fn what_is_refused_where_it_was_redirected_to_comes_back() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    set(&world, "bob", &at_once(r#"[{"redirect-to": ["carol@example.org"]}]"#));
    carol.block(&account("alice"), true).unwrap();
    world.drain(&carol);
    let receipt = alice.send(&account("bob"), "hello").unwrap();
    let back = messages(&world.drain(&bob));
    assert_eq!(back.iter().map(|m| m.id).collect::<Vec<_>>(), [receipt.id]);
    assert!(world.drain(&carol).is_empty());
    assert_eq!(history(&bob), ["hello"]);
}

// behaviour: ruled.loop
#[test]
fn rules_of_several_accounts_that_send_to_each_other_end() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    set(&world, "bob", &at_once(r#"[{"redirect-to": ["carol@example.org"]}]"#));
    set(&world, "carol", &at_once(r#"[{"redirect-to": ["bob@example.org"]}]"#));
    alice.send(&account("bob"), "round and round").unwrap();
    let (at_bob, at_carol) = (texts(&world.drain(&bob)), texts(&world.drain(&carol)));
    assert_eq!(at_bob.len() + at_carol.len(), 1, "{at_bob:?} {at_carol:?}");
    // Both answer everything: that ends too.
    let answer =
        |to: &str| at_once(&format!(r#"[{{"send-im": {{"to": "{to}@example.org", "text": "I am away"}}}}]"#));
    set(&world, "bob", &answer("carol"));
    set(&world, "carol", &answer("bob"));
    alice.send(&account("bob"), "hello").unwrap();
    let said = texts(&world.drain(&bob)).len() + texts(&world.drain(&carol)).len();
    assert!((2..40).contains(&said), "{said}");
}

// behaviour: ruled.fork
#[test]
fn what_a_rule_forks_comes_to_both() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    set(&world, "bob", &at_once(r#"[{"fork-to": ["carol@example.org", "dave@example.org"]}]"#.replace(", \"dave@example.org\"", "").as_str()));
    let receipt = alice.send(&account("bob"), "hello").unwrap();
    for session in [&bob, &carol] {
        let there = messages(&world.drain(session));
        assert_eq!(there.iter().map(|m| (m.id, m.copy)).collect::<Vec<_>>(), [(receipt.id, false)]);
    }
    assert!(world.drain(&alice).is_empty());
}

// behaviour: ruled.store, ruled.discard
#[test]
fn what_a_rule_stores_is_for_the_next_session_and_what_it_discards_for_nobody() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let tablet = world.device("bob", "tablet");
    set(&world, "bob", &at_once(r#"["store"]"#));
    assert_eq!(alice.send(&account("bob"), "later").unwrap().outcome, Word::Stored);
    assert!(world.drain(&bob).is_empty());
    assert_eq!(texts(&world.drain(&tablet)), ["later"], "a device gets everything");
    set(&world, "bob", &at_once(r#"["store"]"#));
    alice.send(&account("bob"), "later still").unwrap();
    let [phone] = world.sessions(["bob"]);
    assert_eq!(texts(&world.drain(&phone)), ["later still"]);
    world.drain(&tablet);
    set(&world, "bob", &at_once(r#"["discard"]"#));
    world.befriend(&alice, &bob);
    world.drain(&tablet);
    world.drain(&phone);
    let receipt = alice.send(&account("bob"), "never").unwrap();
    assert_eq!(receipt.outcome, Word::Delivered, "as if it had not been discarded");
    for session in [&bob, &phone, &tablet] {
        assert!(world.drain(session).is_empty());
    }
    assert_eq!(history(&bob), ["later", "later still"]);
    assert_eq!(history(&alice), ["later", "later still", "never"]);
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).is_empty(), "{receipt:?}");
}

// behaviour: ruled.delay
#[test]
fn rules_look_again_at_what_nobody_has_taken_for_a_time() {
    let delayed = rule(
        r#"{"after-delay": {"seconds": 600}}"#,
        "[]",
        r#"[{"send-im": {"to": "carol@example.org", "text": "bob is away"}}, {"redirect-to": ["carol@example.org"]}]"#,
    );
    for restart in [false, true] {
        let world = World::new();
        let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
        set(&world, "bob", &delayed);
        alice.send(&account("bob"), "taken").unwrap();
        world.drain(&bob);
        bob.close();
        alice.send(&account("bob"), "waits").unwrap();
        let (world, carol) = if restart {
            let world = world.reopen();
            let [carol] = world.sessions(["carol"]);
            (world, carol)
        } else {
            (world, carol)
        };
        world.engine.advance(599_000).unwrap();
        assert!(world.drain(&carol).is_empty());
        world.engine.advance(2_000).unwrap();
        let mut there = texts(&world.drain(&carol));
        there.sort_unstable();
        assert_eq!(there, ["bob is away", "waits"], "after a restart {restart}");
        let [bob] = world.sessions(["bob"]);
        assert!(texts(&world.drain(&bob)).is_empty());
    }
}

// behaviour: ruled.delay
#[test]
fn who_is_rejected_after_a_delay_is_told() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let stage = r#"{"after-delay": {"seconds": 60}}"#;
    set(&world, "bob", &rule(stage, "[]", r#"[{"reject-with": "Nobody reads this."}]"#));
    alice.send(&account("bob"), "hello").unwrap();
    world.engine.advance(61_000).unwrap();
    let told: Vec<Outcome> = world
        .drain(&alice)
        .into_iter()
        .filter_map(|e| match e.body {
            EventBody::Outcome { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Outcome::Failed { reason: "Nobody reads this.".into() }]);
    let [bob] = world.sessions(["bob"]);
    assert!(texts(&world.drain(&bob)).is_empty());
}

// behaviour: ruled.no-answer, ruled.failure
#[test]
fn rules_for_when_nobody_is_there_and_for_what_cannot_be_kept() {
    let world = World::new();
    let [alice, carol] = world.sessions(["alice", "carol"]);
    world.create("bob");
    set(&world, "bob", &rule(r#""no-answer""#, "[]", r#"[{"redirect-to": ["carol@example.org"]}]"#));
    alice.send(&account("bob"), "one").unwrap();
    assert_eq!(texts(&world.drain(&carol)), ["one"]);
    let [bob] = world.sessions(["bob"]);
    alice.send(&account("bob"), "two").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["two"]);
    assert!(world.drain(&carol).is_empty());
    bob.close();
    set(&world, "bob", &rule(r#""failure""#, "[]", r#"[{"redirect-to": ["carol@example.org"]}]"#));
    alice.send(&account("bob"), "three").unwrap();
    assert!(world.drain(&carol).is_empty(), "it is kept for him");
    overrides(&world, "bob", Overrides { offline_storage: Some(false), ..Overrides::default() });
    alice.send(&account("bob"), "four").unwrap();
    assert_eq!(texts(&world.drain(&carol)), ["four"]);
}

// behaviour: ruled.levels
#[test]
fn the_servers_rules_and_the_domains_come_before_and_after_the_accounts() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let domain = Domain::new("example.org").unwrap();
    let named = |name: &str, priority: u8, action: &str| {
        format!(r#"{{"rules": [{{"name": "{name}", "priority": {priority}, "actions": [{action}]}}]}}"#)
    };
    let engine = &world.engine;
    engine.set_rules(Some(domain.clone()), &named("low", 5, r#"{"reject-with": "the domain"}"#)).unwrap();
    let refused = || alice.send(&account("bob"), "x").unwrap_err().details;
    assert_eq!(refused(), "the domain");
    set(&world, "bob", &named("his", 1, r#"{"reject-with": "the account"}"#));
    assert_eq!(refused(), "the account");
    engine.set_rules(None, &named("high", 6, r#"{"reject-with": "the server"}"#)).unwrap();
    assert_eq!(refused(), "the server");
    assert!(engine.rules(None).unwrap().contains("the server"));
    assert!(engine.rules(Some(&domain)).unwrap().contains("the domain"));
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().details, "the server");
    for domain in [None, Some(domain)] {
        world.engine.set_rules(domain, r#"{"rules": []}"#).unwrap();
    }
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().details, "the account");
    set(&world, "bob", r#"{"rules": []}"#);
    alice.send(&account("bob"), "x").unwrap();
    assert_eq!(rules_of(&world, "bob"), r#"{"rules":[]}"#);
    drop(bob);
}

// behaviour: ruled.refused
#[test]
fn rules_that_loop_or_name_nobody_are_refused_with_the_place() {
    let world = World::new();
    world.create("bob");
    for (actions, place) in [
        (r#"[{"redirect-to": ["bob@example.org"]}]"#, "rules[0].actions[0]"),
        (r#"["store", {"redirect-to": ["carol@example.org"]}]"#, "rules[0]"),
        (r#"[{"send-im": {"to": "nobody@example.org", "text": "x"}}]"#, "rules[0].actions[0]"),
        (r#"["explode"]"#, "rules[0].actions[0]"),
    ] {
        let refused = ask(&world, "bob", Command::SetRules(at_once(actions))).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{actions}");
        assert!(refused.details.contains(place), "{}", refused.details);
        let refused = world.engine.set_rules(None, &at_once(actions)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{actions}");
    }
    assert_eq!(rules_of(&world, "bob"), r#"{"rules":[]}"#);
    let elsewhere = Domain::new("elsewhere.example").unwrap();
    assert_eq!(world.engine.rules(Some(&elsewhere)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(world.engine.set_rules(Some(elsewhere), "{}").unwrap_err().kind, ErrorKind::NotFound);
}

// behaviour: ruled.incarnation
#[test]
fn a_new_account_of_the_name_has_no_rules() {
    let world = World::new();
    let [alice, _carol] = world.sessions(["alice", "carol"]);
    world.create("bob");
    set(&world, "bob", &at_once(r#"["discard"]"#));
    world.engine.delete_account(&account("bob")).unwrap();
    let [bob] = world.sessions(["bob"]);
    alice.send(&account("bob"), "hello").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["hello"]);
    let world = world.reopen();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    alice.send(&account("bob"), "hello again").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["hello again"]);
}

// behaviour: ruled.effects
#[test]
fn rules_answer_remember_and_hand_things_to_the_host() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let actions = r#"[
        {"send-im": {"to": "alice@example.org", "text": "I am away"}},
        {"remember-from-in": "Callers"},
        {"send-url": "https://example.org/hook"},
        {"send-push": "a call"},
        {"write-to-log": "a line"}
    ]"#;
    set(&world, "bob", &rule(r#""immediate""#, r#"[{"body": {"is": "*away*"}}]"#, actions));
    alice.send(&account("bob"), "hello").unwrap();
    assert!(host(&world).is_empty() && texts(&world.drain(&alice)).is_empty());
    let receipt = alice.send(&account("bob"), "Are you AWAY?").unwrap();
    assert_eq!(texts(&world.drain(&alice)), ["I am away"]);
    // What he answered is in his name: his sessions have a copy.
    assert_eq!(texts(&world.drain(&bob)), ["hello", "Are you AWAY?", "I am away"]);
    let roster = bob.roster().unwrap();
    let [buddy] = &roster.buddies[..] else { panic!("{roster:?}") };
    assert_eq!((buddy.address.clone(), buddy.groups.join(",")), (account("alice"), "Callers".to_owned()));
    let host = host(&world);
    assert!(
        matches!(&host[..], [HostEvent::OpenUrl { url, message_id, .. }, HostEvent::RulePush { text, .. }]
        if &**url == "https://example.org/hook" && *message_id == receipt.id && &**text == "a call")
    );
}

// behaviour: ruled.after-admission
#[test]
fn no_rule_runs_for_who_is_refused() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    set(&world, "bob", &at_once(r#"[{"send-url": "https://example.org/hook"}]"#));
    bob.block(&account("alice"), true).unwrap();
    assert_eq!(alice.send(&account("bob"), "hello").unwrap_err().kind, ErrorKind::Forbidden);
    assert!(host(&world).is_empty());
    bob.block(&account("alice"), false).unwrap();
    alice.send(&account("bob"), "hello").unwrap();
    assert_eq!(host(&world).len(), 1);
}

// behaviour: ruled.explain
#[test]
fn a_dry_run_says_what_the_rules_would_do_and_does_nothing() {
    let world = World::new();
    let [_alice, bob] = world.sessions(["alice", "bob"]);
    let conditions = r#"[{"from": {"is": "*@example.org"}}, {"body": {"is": "*deal*"}}]"#;
    let actions = r#"[{"send-url": "https://example.org/hook"}, {"reject-with": "No."}]"#;
    set(&world, "bob", &rule(r#""immediate""#, conditions, actions));
    let explain = |text: &str| {
        let command = Command::ExplainRules { sender: account("alice"), text: text.into() };
        match ask(&world, "bob", command).unwrap() {
            Answer::Explanation(json) => json,
            other => panic!("{other:?}"),
        }
    };
    let (yes, no) = (explain("a good deal"), explain("hello"));
    assert!(yes.contains(r#""reject":"No.""#) && yes.contains(r#""found":"a good deal""#), "{yes}");
    assert!(no.contains(r#""held":false"#) && !no.contains("reject"), "{no}");
    assert!(host(&world).is_empty() && world.drain(&bob).is_empty());
}
