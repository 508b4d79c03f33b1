//! Every combination of whom an account takes messages from, how it stands with a sender, where the sender is, what they
//! send, and whether anybody is there: through a whole engine. What is refused runs no rule and leaves nothing. From outside
//! there are strangers and who is blocked, and messages and their amendments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::memory::MemoryStore;
use rosterkit::{
    AcceptedSenders, Actor, Address, Amend, Amendment, Amends, Anchor, ChatState, Command, Content, Contents,
    Direction, Domain, Engine, EngineOptions, ErrorKind, Event, EventBody, HistoryRequest, MessageId, Op,
    Overrides, Parcel, Position, RelayedMessage, RosterEdit, Send, Serves, Session, SessionOptions,
    SetPresence, Settlement, State, Timestamp,
};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Stranger,
    /// The account asked them.
    Requested,
    /// They asked the account.
    Asking,
    /// The account sees them.
    To,
    /// They see the account.
    From,
    Both,
    Blocked,
    DomainBlocked,
    BlockedBuddy,
}

const RELATIONS: [Relation; 9] = [
    Relation::Stranger,
    Relation::Requested,
    Relation::Asking,
    Relation::To,
    Relation::From,
    Relation::Both,
    Relation::Blocked,
    Relation::DomainBlocked,
    Relation::BlockedBuddy,
];

const POLICIES: [AcceptedSenders; 5] = [
    AcceptedSenders::Everybody,
    AcceptedSenders::Authenticated,
    AcceptedSenders::SameDomain,
    AcceptedSenders::Nobody,
    AcceptedSenders::Quarantine,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum There {
    Nobody,
    Somebody,
    Invisible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Admitted,
    Refused,
    Held,
}

/// What `docs/behaviour.md` says, as a table of its own.
fn verdict(policy: AcceptedSenders, relation: Relation, sender: &Address) -> Verdict {
    let (same_domain, outside) = (sender.domain() == "example.org", sender.domain() == "example.com");
    match (relation, policy) {
        (Relation::Blocked | Relation::DomainBlocked | Relation::BlockedBuddy, _) => Verdict::Refused,
        (Relation::To | Relation::From | Relation::Both, _) => Verdict::Admitted,
        (_, AcceptedSenders::Everybody) => Verdict::Admitted,
        (_, AcceptedSenders::Authenticated) if !outside => Verdict::Admitted,
        (_, AcceptedSenders::SameDomain) if same_domain => Verdict::Admitted,
        (_, AcceptedSenders::Quarantine) => Verdict::Held,
        _ => Verdict::Refused,
    }
}

fn address(text: &str) -> Address {
    Address::account(text).unwrap()
}

fn drain(session: &Session) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).unwrap();
        let Some(last) = events.last() else { return all };
        session.ack(last.seq);
        all.extend(events);
    }
}

/// What somebody is told that an earlier drain does not hold.
fn saw(events: &[Event], text: &str) -> bool {
    events.iter().any(|event| format!("{:?}", event.body).contains(text))
}

struct World {
    engine: Engine,
    alice: Address,
    sender: Address,
    /// Gets a message for each that a rule of the account's saw.
    witness: Session,
    there: Option<Session>,
}

impl World {
    fn new(
        policy: AcceptedSenders,
        relation: Relation,
        sender: &Address,
        there: There,
    ) -> (World, MessageId) {
        let hosted = ["example.org", "example.net"].map(|domain| Domain::new(domain).unwrap());
        let options = EngineOptions::hosting(hosted);
        let start = Timestamp(1_700_000_000_000);
        let engine = Engine::open_virtual(MemoryStore::new(), options, 1, start).unwrap();
        let alice = address("alice@example.org");
        let witness = address("witness@example.org");
        let is_outside = sender.domain() == "example.com";
        for account in [&alice, &witness].into_iter().chain((!is_outside).then_some(sender)) {
            engine.create_account(account).unwrap();
        }
        let reading = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let witness = engine.open_session(&witness, reading.clone()).unwrap();
        let mut world = World { engine, alice, sender: sender.clone(), witness, there: None };
        // There is something to amend, of the time before.
        let earlier = world.send("earlier").map(|id| id.unwrap_or(MessageId::new(1, [0; 10]))).unwrap();
        let rules = r#"{"rules": [{"name": "tell", "priority": 5,
            "actions": [{"SendIM": {"to": "witness@example.org", "text": "a rule has run"}}]}]}"#;
        world.ask(&world.alice, Command::SetRules(rules.into()));
        world.relate(relation);
        let overrides = Overrides { accepted_senders: Some(policy), ..Overrides::default() };
        world.ask(&world.alice, Command::SetPreferences(overrides));
        if there != There::Nobody {
            let session = world.engine.open_session(&world.alice, reading).unwrap();
            let invisible = there == There::Invisible;
            session.set_presence(SetPresence { invisible, ..SetPresence::state(State::Online) }).unwrap();
            drain(&session);
            world.there = Some(session);
        }
        (world, earlier)
    }

    fn ask(&self, account: &Address, command: Command) {
        let actor = Actor { account: account.clone(), session: None };
        self.engine.call(&actor, command).unwrap();
    }

    fn relate(&self, relation: Relation) {
        let edit = |of: &Address, peer: &Address, op| {
            self.ask(of, Command::Roster(RosterEdit::new(peer, op)));
            self.engine.advance(10).unwrap();
        };
        let (alice, sender) = (&self.alice, &self.sender);
        let block = |address| self.ask(alice, Command::Block { address, blocked: true });
        match relation {
            Relation::Stranger => {}
            Relation::Requested => edit(alice, sender, Op::Add),
            Relation::Asking => edit(sender, alice, Op::Add),
            Relation::To => {
                edit(alice, sender, Op::Subscribe);
                edit(sender, alice, Op::Subscribed);
            }
            Relation::From => {
                edit(sender, alice, Op::Subscribe);
                edit(alice, sender, Op::Subscribed);
            }
            Relation::Both | Relation::BlockedBuddy => {
                edit(sender, alice, Op::Add);
                edit(alice, sender, Op::Add);
                if relation == Relation::BlockedBuddy {
                    block(sender.clone());
                }
            }
            Relation::Blocked => block(sender.clone()),
            Relation::DomainBlocked => block(Address::new(sender.domain()).unwrap()),
        }
    }

    /// Sends as the sender can: as an account, or by a relay. Says which id it has, when that is known.
    fn send(&self, text: &str) -> Result<Option<MessageId>, String> {
        if self.sender.domain() == "example.com" {
            let id = MessageId::new(1, [text.len() as u8; 10]);
            let message = RelayedMessage {
                delivery_id: Some(text.into()),
                id: Some(id),
                ..RelayedMessage::new(Content::text(text))
            };
            return self.bring(message).map(|()| Some(id));
        }
        let send = Send::text(&self.alice, text);
        match self.engine.send(&self.sender, send) {
            Ok(receipt) => Ok(Some(receipt.id)),
            Err(error) => Err(self.refused(error.kind == ErrorKind::Forbidden, error.details)),
        }
    }

    fn bring(&self, message: RelayedMessage) -> Result<(), String> {
        let serves = Serves::Domains(vec![Domain::new("example.com").unwrap()]);
        let relay = self.engine.open_relay(serves).unwrap();
        let contents = Contents::Messages(vec![message]);
        let parcel = Parcel { sender: self.sender.clone(), recipient: self.alice.clone(), contents };
        match &relay.receive(parcel).unwrap()[..] {
            [Settlement::Relayed] => Ok(()),
            [Settlement::Failed { reason }] => Err(reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, forbidden: bool, details: String) -> String {
        assert!(forbidden, "{details}");
        details
    }

    fn amend(&self, message_id: MessageId) -> Result<(), String> {
        let amendment = Amendment::Edit(Content::text("amended"));
        if self.sender.domain() == "example.com" {
            return self.bring(RelayedMessage {
                delivery_id: Some("amended".into()),
                amends: Some(Amends::Edit(message_id)),
                ..RelayedMessage::new(Content::text("amended"))
            });
        }
        let amend = Amend { recipient: self.alice.clone(), message_id, amendment, client_id: None };
        let actor = Actor { account: self.sender.clone(), session: None };
        match self.engine.call(&actor, Command::Amend(amend)) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(error.kind == ErrorKind::Forbidden, error.details)),
        }
    }

    /// What the account has of them in its history, and in quarantine.
    fn kept(&self) -> (Vec<String>, Vec<String>) {
        let session = self.engine.open_session(&self.alice, SessionOptions::default()).unwrap();
        let request = HistoryRequest {
            peer: Some(self.sender.clone()),
            anchor: Anchor::End,
            direction: Direction::Older,
            limit: 100,
        };
        let texts = |history: rosterkit::History| -> Vec<String> {
            history.messages.iter().map(|m| m.content.as_text().unwrap().to_owned()).collect()
        };
        let kept = texts(session.history(request).unwrap());
        (kept, texts(session.quarantined(Position::ZERO, 100).unwrap()))
    }
}

// contract: one admission decision, the same for every kind of signal and whether or not anybody is there
// behaviour: admission.one-answer, ruled.after-admission
#[test]
fn every_combination_of_policy_relation_sender_kind_and_presence() {
    let mut counted: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut refusals: Vec<String> = Vec::new();
    let senders = ["eve@example.org", "eve@example.net", "eve@example.com"].map(address);
    for policy in POLICIES {
        for relation in RELATIONS {
            for sender in &senders {
                let outside = sender.domain() == "example.com";
                let possible = [Relation::Stranger, Relation::Blocked, Relation::DomainBlocked];
                // The handshake over relays has its own tests.
                if outside && !possible.contains(&relation) {
                    continue;
                }
                for there in [There::Nobody, There::Somebody, There::Invisible] {
                    let expected = verdict(policy, relation, sender);
                    let case = format!("{policy:?} {relation:?} {sender} {there:?}: {expected:?}");
                    let (world, earlier) = World::new(policy, relation, sender, there);
                    drain(&world.witness);

                    // A message.
                    let sent = world.send("hello");
                    let (kept, held) = world.kept();
                    let told = world.there.as_ref().map(drain).unwrap_or_default();
                    let witnessed = saw(&drain(&world.witness), "a rule has run");
                    *counted.entry(expected).or_default() += 1;
                    match expected {
                        Verdict::Refused => {
                            refusals.push(sent.clone().expect_err(&case));
                            assert_eq!(
                                (kept, held, witnessed),
                                (vec!["earlier".into()], vec![], false),
                                "{case}"
                            );
                            assert!(!saw(&told, "hello"), "{case}");
                        }
                        Verdict::Held => {
                            sent.expect(&case);
                            let (kept, held) = (kept.as_slice(), held.as_slice());
                            assert_eq!(
                                (kept, held, witnessed),
                                (&["earlier".into()][..], &["hello".into()][..], false),
                                "{case}"
                            );
                            assert!(!saw(&told, "\"hello\""), "{case}");
                        }
                        Verdict::Admitted => {
                            sent.expect(&case);
                            assert_eq!((kept.len(), held.len(), witnessed), (2, 0, true), "{case}");
                            assert_eq!(saw(&told, "hello"), there != There::Nobody, "{case}");
                        }
                    }

                    // An amendment of what came before anybody was so careful.
                    let amended = world.amend(earlier);
                    let is_amended = world.kept().0.contains(&"amended".to_owned());
                    assert_eq!(
                        (amended.is_ok(), is_amended),
                        (expected == Verdict::Admitted, expected == Verdict::Admitted),
                        "{case}: {amended:?}"
                    );

                    if outside {
                        continue;
                    }
                    // A chat state is never answered, and shows where it is admitted.
                    let actor = Actor { account: sender.clone(), session: None };
                    let typing =
                        Command::Typing { recipient: world.alice.clone(), state: ChatState::Composing };
                    world.engine.call(&actor, typing).unwrap();
                    world.engine.advance(10).unwrap();
                    let told = world.there.as_ref().map(drain).unwrap_or_default();
                    let shows = told.iter().any(|event| matches!(event.body, EventBody::Typing { .. }));
                    assert_eq!(shows, expected == Verdict::Admitted && there != There::Nobody, "{case}");

                    // That a person has read something is told to whom they take messages from.
                    let reading = SessionOptions { reads_messages: true, ..SessionOptions::default() };
                    let eve = world.engine.open_session(sender, reading).unwrap();
                    drain(&eve);
                    let upto = Position(u64::MAX >> 1);
                    world.ask(&world.alice, Command::MarkRead { peer: sender.clone(), upto });
                    let learned =
                        drain(&eve).iter().any(|event| matches!(event.body, EventBody::Displayed { .. }));
                    assert_eq!(learned, expected == Verdict::Admitted, "{case}");

                    // Nor is presence shown to who takes no messages of the sender.
                    let busy = SetPresence::state(State::Busy);
                    eve.direct_presence(&world.alice, Some(busy)).unwrap();
                    world.engine.advance(10).unwrap();
                    let told = world.there.as_ref().map(drain).unwrap_or_default();
                    let shown = told.iter().any(|event| {
                        matches!(&event.body, EventBody::Presence { subject, presence }
                            if subject == sender && presence.state == State::Busy)
                    });
                    assert_eq!(shown, expected == Verdict::Admitted && there != There::Nobody, "{case}");

                    // A request passes the block list only.
                    if matches!(relation, Relation::Stranger | Relation::Blocked | Relation::DomainBlocked) {
                        eve.add_buddy(&world.alice, None, None).unwrap();
                        world.engine.advance(10).unwrap();
                        let session =
                            world.engine.open_session(&world.alice, SessionOptions::default()).unwrap();
                        let is_asked =
                            session.roster().unwrap().buddies.iter().any(|buddy| buddy.address == *sender);
                        assert_eq!(is_asked, relation == Relation::Stranger, "{case}");
                    }
                    world.engine.shutdown(true).unwrap();
                }
            }
        }
    }
    refusals.sort();
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "a refusal says why: {refusals:?}");
    println!("{counted:?}");
    assert!(counted.values().all(|count| *count > 20) && counted.len() == 3, "{counted:?}");
}
