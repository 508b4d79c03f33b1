//! What a person wrote goes to no log at `info` and above: a sign stands in every text that anybody can give the engine, and
//! then things go well, are refused, and fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Actor, Address, Amend, Amendment, Body, ChatState, ClientId, Command, Consumer, Content, Contents,
    DeviceName, Domain, Engine, EngineOptions, Event, EventBody, InvitationToken, Listener, ListenerError,
    Notice, Op, Parcel, Presence, Registration, RegistrationKind, RelayedMessage, RosterEdit, SearchRequest,
    Send, Serves, Session, SessionId, SessionOptions, SetPresence, Settlement, State, Timestamp, Visibility,
};
use rosterkit_promises::mortal::{Fate, Mortal};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// It stands in every text, in lower case, as addresses are prepared.
const SIGN: &str = "zqsign";

/// What was logged at `info` and above, each with everything that stands in it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        self.0.lock().unwrap().push(line.0);
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

fn signed(text: &str) -> String {
    format!("{SIGN} {text}")
}

fn account(user: &str) -> Address {
    Address::account(&format!("{SIGN}.{user}@example.org")).unwrap()
}

fn actor(user: &str) -> Actor {
    Actor { account: account(user), session: None }
}

struct Fails;

impl Listener for Fails {
    fn on_events(&self, _: SessionId, _: &[Event]) -> Result<(), ListenerError> {
        Err(ListenerError(signed("the host says")))
    }
}

/// Says that it was done, however it ended: what is refused is part of it.
fn call(engine: &Engine, user: &str, command: Command) {
    let _ = engine.call(&actor(user), command);
}

fn drain(session: &Session) {
    while let Some(last) = session.next_events(100, Duration::ZERO).unwrap_or_default().last() {
        session.ack(last.seq);
    }
}

/// Everything that a person can write, to where it is taken and where it is refused.
fn write_everywhere(engine: &Engine, alice: &Session, bob: &Session) {
    let rules = |action: &str| {
        format!(
            r#"{{"rules": [{{"name": "{SIGN} rule", "priority": 5,
            "conditions": [{{"Body": {{"is": "*{SIGN}*"}}}}], "actions": [{action}]}}]}}"#
        )
    };
    let actions = [
        r#""Write To Log": "ZQSIGN to the log""#,
        r#""SendURL": "https://zqsign.example/""#,
        r#""SendPush": "zqsign push""#,
        r#""Reject with": "zqsign no""#,
        r#""Redirect to": ["nobody@zqsign.example"]"#,
        r#""Remember 'From' in": "zqsign group""#,
    ];
    for action in actions {
        call(engine, "bob", Command::SetRules(rules(&format!("{{{action}}}"))));
        let _ = alice.send(&account("bob"), &signed("a text"));
        call(engine, "bob", Command::ExplainRules { sender: account("alice"), text: signed("dry") });
    }
    call(engine, "bob", Command::SetRules(r#"{"rules": []}"#.into()));
    let data = Body::Data { media_type: format!("text/{SIGN}").into(), bytes: SIGN.as_bytes().into() };
    let content = Content { body: data, extensions: SIGN.as_bytes().into(), ..Content::text("") };
    let client_id = Some(ClientId::new(&signed("id")).unwrap());
    for text in ["one", "one", "two"] {
        let content = Content {
            reply_to: None,
            ..if text == "two" { content.clone() } else { Content::text(&signed(text)) }
        };
        let send = Send { content, client_id: client_id.clone(), ..Send::text(&account("bob"), "") };
        let _ = alice.send_message(send);
    }
    let sent = alice.send(&account("bob"), &signed("to edit")).unwrap();
    for amendment in
        [Amendment::Edit(Content::text(&signed("edited"))), Amendment::Retract, Amendment::Retract]
    {
        let amend = Amend { recipient: account("bob"), message_id: sent.id, amendment, client_id: None };
        let _ = alice.amend(amend);
    }
    for state in [State::Busy, State::Offline] {
        let _ = alice.set_presence(SetPresence { note: Some(signed("note")), ..SetPresence::state(state) });
    }
    for peer in ["bob", "nobody", "alice"] {
        let edit = RosterEdit {
            name: Some(signed("name")),
            groups: Some(vec![signed("group")]),
            note: signed("let me in"),
            ..RosterEdit::new(&account(peer), Op::Add)
        };
        let _ = alice.edit_roster(edit);
        let _ = alice.typing(&account(peer), ChatState::Composing);
        let _ = alice.presence_of(&account(peer));
        let _ = alice.mark_read(&account(peer), sent.position);
    }
    let _ = bob.confirm_buddy(&account("alice"));
    for (path, bytes) in
        [("public/zqsign", "zqsign"), ("profile.vcf", "zqsign is no card"), ("../zqsign", "x")]
    {
        call(engine, "alice", Command::WriteFile { path: path.into(), bytes: bytes.into() });
        call(engine, "bob", Command::ReadFile { owner: Some(account("alice")), path: path.into() });
    }
    let push = Registration {
        name: DeviceName::new(&format!("{SIGN}-phone")).unwrap(),
        kind: RegistrationKind::Push,
        contact: signed("token").into(),
        expires: Timestamp(1_800_000_000_000),
    };
    call(engine, "carol", Command::AddRegistration(push));
    let _ = alice.send(&account("carol"), &signed("wake up"));
    let sought = SearchRequest { text: signed(""), peer: Some(account("bob")), before: None, limit: 10 };
    let _ = alice.search_history(sought);
    whoever_sees(engine, alice, bob);
    let _ = alice.block(&Address::new(&format!("{SIGN}.example")).unwrap(), true);
    let _ = Address::new(&format!("{SIGN}@@{SIGN}"));
    drain(alice);
    drain(bob);
}

/// What goes between sessions, and what is forgotten.
fn whoever_sees(engine: &Engine, alice: &Session, bob: &Session) {
    let presence = || SetPresence {
        note: Some(signed("note")),
        extensions: signed("only for clients").into(),
        ..SetPresence::state(State::Away)
    };
    for to in [account("bob"), Address::account(&format!("{SIGN}@example.net")).unwrap()] {
        let _ = alice.direct_presence(&to, Some(presence()));
        let _ = alice.set_visibility(&to, Visibility::StateOnly);
        let _ = alice.last_seen(&to);
        let _ = alice.query(&to.with_instance(SIGN).unwrap(), Body::Text(signed("who?").into()));
        let _ = alice.redeem_invitation(&to, InvitationToken::new(&format!("{SIGN}.{SIGN}.{SIGN}")).unwrap());
    }
    let _ = alice.set_presence(presence());
    let _ = bob.set_presence(presence());
    let _ = alice.query(&bob.address(), Body::Text(signed("who are you?").into()));
    for event in bob.next_events(1_000, Duration::ZERO).unwrap_or_default() {
        if let EventBody::Query { query, .. } = event.body {
            let _ = bob.answer_query(query, Some(Body::Text(signed("me").into())));
        }
    }
    let observes = SessionOptions { observes: true, ..SessionOptions::default() };
    let observer = engine.open_session(&account("alice"), observes).unwrap();
    drain(&observer);
    let _ = bob.forget(Some(&account("alice")));
    let _ = bob.forget(Some(&Address::account(&format!("{SIGN}@{SIGN}.example")).unwrap()));
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let _ = engine.export_xep0227(directory.path().join(signed("export")));
    }
}

fn relays(engine: &Engine, alice: &Session) {
    let outside = Address::account(&format!("{SIGN}@example.net")).unwrap();
    let relay = engine.open_relay(Serves::Domains(vec![Domain::new("example.net").unwrap()])).unwrap();
    relay.connect();
    let _ = alice.send(&outside, &signed("far away"));
    let _ = alice.add_buddy(&outside, Some(&signed("name")), None);
    for outgoing in relay.next(100, Duration::ZERO).unwrap() {
        if let rosterkit::Outgoing::Parcel(Parcel { contents: Contents::Messages(all), .. }) = outgoing {
            for message in all {
                let id = message.delivery_id.unwrap();
                let _ = relay.settle(&id, Settlement::Failed { reason: signed("no").into() });
            }
        }
    }
    let _ = relay.settle(SIGN, Settlement::Retry);
    for sender in [outside.clone(), account("forged")] {
        let delivery_id = Some(signed("delivery").into());
        let message = RelayedMessage { delivery_id, ..RelayedMessage::new(Content::text(&signed("hello"))) };
        let contents = Contents::Messages(vec![message]);
        let _ = relay.receive(Parcel { sender: sender.clone(), recipient: account("alice"), contents });
        let presence = Presence { note: Some(signed("note").into()), ..Presence::plain(State::Online) };
        let _ = relay.notify(Notice::Presence { subject: sender, watcher: account("alice"), presence });
    }
    drain(alice);
}

fn imports(engine: &Engine, directory: &std::path::Path) {
    let user = |name: &str| {
        format!(
            "<user xmlns='urn:xmpp:pie:0' name='{SIGN}.{name}'><query xmlns='jabber:iq:roster'><item jid='{SIGN}@example.org' name='{SIGN}' subscription='both'><group>{SIGN}</group></item></query></user>"
        )
    };
    let file = |users: &str| {
        let text = format!(
            "<server-data xmlns='urn:xmpp:pie:0'><host jid='example.org'>{users}</host></server-data>"
        );
        let path = directory.join("export.xml");
        std::fs::write(&path, text).unwrap();
        path
    };
    for users in [user("erin"), user("erin"), format!("<{SIGN}>"), "<user/>".to_owned()] {
        let _ = engine.import_xep0227(file(&users), |_| Err(ListenerError(signed("stop"))));
        let _ = engine.import_xep0227(file(&users), |_| Ok(()));
    }
    // The account comes while the import that brings it is on its way: the file refuses the later one.
    let path = file(&user("frank"));
    engine.submit(vec![(actor("frank"), Command::CreateAccount)]).unwrap();
    let _ = engine.import_xep0227(path, |_| Ok(()));
    let refused = engine.next_answers(10, Duration::ZERO).unwrap();
    assert!(refused.iter().any(|answered| answered.result.is_err()), "nobody was refused: {refused:?}");
}

// contract: logs at info and above hold nothing that a person wrote
// behaviour: engine.log
#[test]
fn nothing_that_a_person_wrote_is_in_the_log() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let directory = tempfile::tempdir().unwrap();
        let store = Mortal::new(SqliteStore::new(directory.path().join("im.db"), SqliteOptions::small()));
        let options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
        let engine =
            Engine::open_virtual(Arc::clone(&store) as Arc<_>, options, 1, Timestamp(1_700_000_000_000));
        let engine = engine.unwrap();
        for user in ["alice", "bob", "carol", "dave"] {
            engine.create_account(&account(user)).unwrap();
        }
        let reading = SessionOptions {
            reads_messages: true,
            device: Some(DeviceName::new(&format!("{SIGN}-desk")).unwrap()),
            instance: Some(SIGN.into()),
            ..SessionOptions::default()
        };
        let alice = engine.open_session(&account("alice"), reading.clone()).unwrap();
        let bob = engine.open_session(&account("bob"), reading.clone()).unwrap();
        let failing = SessionOptions { consumer: Consumer::Listener(Arc::new(Fails)), ..reading };
        let _dave = engine.open_session(&account("dave"), failing).unwrap();
        let _ = alice.send(&account("dave"), &signed("fails"));
        write_everywhere(&engine, &alice, &bob);
        relays(&engine, &alice);
        imports(&engine, directory.path());
        for fate in [Fate::RolledBack, Fate::Lost, Fate::WrittenUnknown] {
            store.decide(fate);
            let _ = alice.send(&account("bob"), &signed("on a bad disk"));
            write_everywhere(&engine, &alice, &bob);
            engine.advance(60_000).unwrap();
        }
        engine.delete_account(&account("carol")).unwrap();
        engine.advance(60_000).unwrap();
        engine.shutdown(true).unwrap();
    });
    let lines = log.0.lock().unwrap();
    // Every sort is there, or this shows nothing.
    for wanted in [
        "contradicts what the file holds",
        "nothing was written",
        "result of a commit is unknown",
        "writes to the log",
    ] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "no {wanted:?} in {lines:?}");
    }
    let written: Vec<&String> = lines.iter().filter(|line| line.to_lowercase().contains(SIGN)).collect();
    assert!(written.is_empty(), "{written:#?}");
}
