//! Explanations: what they say is what is so.

use crate::world::{World, account};
use crate::{online, overrides};
use rosterkit::{
    AcceptedSenders, Actor, Answer, Command, ErrorKind, Overrides, PresenceLayer, Registration,
    RegistrationKind, Send, SessionOptions, SetPresence, State, Timestamp,
};
use serde_json::{Value, json};

fn ask(world: &World, user: &str, command: Command) -> rosterkit::Result<Value> {
    let actor = Actor { account: account(user), session: None };
    match world.engine.call(&actor, command)? {
        Answer::Explanation(text) => Ok(serde_json::from_str(&text).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn presence(world: &World, user: &str, viewer: &str) -> Value {
    ask(world, user, Command::ExplainPresence { viewer: account(viewer) }).unwrap()
}

fn admission(world: &World, user: &str, sender: &str) -> Value {
    ask(world, user, Command::ExplainAdmission { sender: account(sender) }).unwrap()
}

// behaviour: explain.presence
#[test]
fn what_a_viewer_sees_is_what_the_explanation_says() {
    let world = World::new();
    let [alice, bob, eve] = world.sessions(["alice", "bob", "eve"]);
    world.befriend(&alice, &bob);
    alice.go_offline().unwrap();
    let desk = SessionOptions { instance: Some("desk".into()), ..SessionOptions::default() };
    let desk = world.engine.open_session(&account("alice"), desk).unwrap();
    let until = Some(Timestamp(1_700_000_060_000));
    let note = Some("writing".into());
    desk.set_presence(SetPresence { until, note, ..SetPresence::state(State::Busy) }).unwrap();
    let hidden = SessionOptions { instance: Some("hidden".into()), ..SessionOptions::default() };
    let hidden = world.engine.open_session(&account("alice"), hidden).unwrap();
    hidden.set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Chat) }).unwrap();
    let sip = Registration {
        name: rosterkit::DeviceName::new("sip").unwrap(),
        kind: RegistrationKind::Contact,
        contact: "sip:alice@192.0.2.1".into(),
        expires: Timestamp(1_700_000_090_000),
    };
    let actor = Actor { account: account("alice"), session: None };
    world.engine.call(&actor, Command::AddRegistration(sip)).unwrap();
    let found = presence(&world, "alice", "bob");
    assert_eq!(found["shown"], json!({"state": "busy", "note": "writing"}));
    assert_eq!((&found["because"], &found["shown"]), (&json!("subscribed"), &found["account"]));
    assert_eq!(found["contacts"], json!(["sip"]));
    let sessions = found["sessions"].as_array().unwrap();
    let of = |instance: &str| sessions.iter().find(|session| session["instance"] == instance).unwrap();
    assert_eq!(
        (&of("desk")["state"], &of("desk")["until_ms"]),
        (&json!("busy"), &json!(1_700_000_060_000i64))
    );
    assert_eq!((&of("hidden")["state"], &of("hidden")["invisible"]), (&json!("chat"), &json!(true)));
    assert_eq!(sessions.iter().filter(|session| session["state"].is_null()).count(), 1);
    // For each viewer, and as things change, what is explained is what is seen.
    let viewers = [("bob", &bob), ("eve", &eve), ("alice", &alice)];
    let check = |wanted: [(&str, &str); 3]| {
        for ((name, viewer), (because, state)) in viewers.into_iter().zip(wanted) {
            let found = presence(&world, "alice", name);
            let seen = viewer.presence_of(&account("alice")).unwrap();
            assert_eq!(
                (found["because"].as_str(), found["shown"]["state"].as_str()),
                (Some(because), Some(state))
            );
            assert_eq!(seen.state.as_str(), state, "{name}");
        }
    };
    check([("subscribed", "busy"), ("not-subscribed", "offline"), ("oneself", "busy")]);
    alice.block(&account("bob"), true).unwrap();
    check([("blocked", "offline"), ("not-subscribed", "offline"), ("oneself", "busy")]);
    alice.block(&account("bob"), false).unwrap();
    desk.clear_presence(PresenceLayer::Manual).unwrap();
    check([("subscribed", "online"), ("not-subscribed", "offline"), ("oneself", "online")]);
    world.engine.advance(100_000).unwrap();
    check([("subscribed", "offline"), ("not-subscribed", "offline"), ("oneself", "offline")]);
}

// behaviour: explain.admission
#[test]
fn who_is_refused_is_who_the_explanation_refuses() {
    let world = World::new();
    let [alice, bob, eve] = world.sessions(["alice", "bob", "eve"]);
    world.befriend(&alice, &bob);
    let policies = [
        (AcceptedSenders::Everybody, "admitted"),
        (AcceptedSenders::Nobody, "forbidden"),
        (AcceptedSenders::Quarantine, "quarantined"),
    ];
    for (policy, verdict) in policies {
        overrides(&world, "alice", Overrides { accepted_senders: Some(policy), ..Overrides::default() });
        let found = admission(&world, "alice", "eve");
        assert_eq!(found["verdict"], verdict);
        let decided =
            json!({"fact": "accepted-senders", "policy": policy.as_str(), "held": verdict == "admitted"});
        assert_eq!(found["facts"].as_array().unwrap().last(), Some(&decided));
        let sent = eve.send(&account("alice"), "hello").map_err(|error| error.kind);
        assert_eq!(sent.is_err(), verdict == "forbidden");
        let found = admission(&world, "alice", "bob");
        let facts = json!([
            {"fact": "blocked", "held": false},
            {"fact": "oneself", "held": false},
            {"fact": "buddy", "held": true},
        ]);
        assert_eq!((&found["verdict"], &found["facts"]), (&json!("admitted"), &facts));
    }
    assert_eq!(alice.quarantined(rosterkit::Position::ZERO, 10).unwrap().messages.len(), 1);
    alice.admit_sender(&account("eve")).unwrap();
    assert_eq!(admission(&world, "alice", "eve")["verdict"], "admitted");
    alice.block(&account("eve"), true).unwrap();
    assert_eq!(admission(&world, "alice", "eve")["facts"], json!([{"fact": "blocked", "held": true}]));
    // Who is not there is nobody's buddy.
    assert_eq!(admission(&world, "alice", "nobody")["verdict"], "quarantined");
}

// behaviour: explain.delivery
#[test]
fn what_became_of_a_message_is_told_to_its_two_accounts_each_what_they_may_know() {
    let world = World::new();
    let [bob, eve] = world.sessions(["bob", "eve"]);
    let phone = world.device("alice", "phone");
    let tablet = world.device("alice", "tablet");
    world.befriend(&phone, &bob);
    online(&phone);
    let explain = |user: &str, position| ask(&world, user, Command::ExplainDelivery(position));
    let sent = bob.send(&account("alice"), "hello").unwrap();
    let found = explain("alice", sent.position).unwrap();
    assert_eq!((&found["answer"], &found["received"]["place"]), (&json!("delivered"), &json!("unclaimed")));
    assert_eq!(found["message_id"], sent.id.to_string());
    world.drain(&phone);
    let found = explain("alice", sent.position).unwrap();
    let received = json!({"ruled": null, "hops": 0, "place": "claimed", "devices": [["phone", true], ["tablet", false]]});
    assert_eq!(found["received"], received);
    world.drain(&tablet);
    assert_eq!(explain("alice", sent.position).unwrap()["received"]["devices"][1], json!(["tablet", true]));
    // Its sender is told nothing of devices and rules, and nobody else anything.
    let found = explain("bob", sent.position).unwrap();
    assert_eq!((&found["answer"], &found["received"]), (&json!("delivered"), &Value::Null));
    assert_eq!(explain("eve", sent.position).unwrap_err().kind, ErrorKind::NotFound);
    // What a rule discarded only this shows.
    let actor = Actor { account: account("alice"), session: None };
    let rules = r#"{"rules": [{"name": "no ads", "priority": 5,
        "conditions": [{"Body": {"is": "*buy*"}}], "actions": ["Discard"]}]}"#;
    world.engine.call(&actor, Command::SetRules(rules.into())).unwrap();
    let spam = eve.send(&account("alice"), "buy this").unwrap();
    let received = explain("alice", spam.position).unwrap()["received"].clone();
    assert_eq!((&received["ruled"], &received["place"]), (&json!("discarded"), &json!("gone")));
    assert_eq!(explain("eve", spam.position).unwrap()["answer"], "stored");
    // And what waits in quarantine, and leaves it.
    let careful = Overrides { accepted_senders: Some(AcceptedSenders::Quarantine), ..Overrides::default() };
    overrides(&world, "alice", careful);
    let expires = Some(Timestamp(1_700_000_500_000));
    let held = eve.send_message(Send { expires, ..Send::text(&account("alice"), "psst") }).unwrap();
    let place = || explain("alice", held.position).unwrap()["received"]["place"].clone();
    assert_eq!(place(), "quarantine");
    assert_eq!(explain("eve", held.position).unwrap()["expires_ms"], 1_700_000_500_000i64);
    phone.admit_sender(&account("eve")).unwrap();
    assert_eq!(place(), "admitted");
    phone.refuse_sender(&account("eve"), false).unwrap();
    let refused = eve.send(&account("alice"), "again").unwrap();
    phone.refuse_sender(&account("eve"), false).unwrap();
    assert_eq!(explain("alice", refused.position).unwrap()["received"]["place"], "gone");
}
