//! Relays: two engines in virtual time, joined by a carrier that a test can make misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod amending;
mod strangers;
#[path = "../world/mod.rs"]
mod world;

use rosterkit::{
    Address, Anchor, ChatState, Contents, Direction, Domain, EngineOptions, ErrorKind, Event, EventBody,
    HistoryRequest, Message, Notice, Outcome, Outgoing, Overrides, Parcel, Presence, Relay, RelayedMessage,
    Serves, Session, SessionOptions, SetPresence, Settlement, State, Status, Timestamp, Word,
};
use std::time::Duration;
use world::{World, messages, texts};

const ORG: &str = "example.org";
const NET: &str = "example.net";

fn address(user: &str, domain: &str) -> Address {
    Address::account(&format!("{user}@{domain}")).unwrap()
}

fn alice() -> Address {
    address("alice", ORG)
}

fn bob() -> Address {
    address("bob", NET)
}

/// An engine that hosts one domain, and its relay to the other.
struct Side {
    world: World,
    relay: Relay,
}

impl Side {
    fn new(domain: &str, other: &str) -> Side {
        Side::on(World::with(EngineOptions::hosting([Domain::new(domain).unwrap()])), other)
    }

    fn on(world: World, other: &str) -> Side {
        let serves = Serves::Domains(vec![Domain::new(other).unwrap()]);
        let relay = world.engine.open_relay(serves).unwrap();
        relay.connect();
        Side { world, relay }
    }

    fn outgoing(&self) -> Vec<Outgoing> {
        self.relay.next(1_000, Duration::ZERO).unwrap()
    }

    fn parcels(&self) -> Vec<Parcel> {
        let parcel = |out| match out {
            Outgoing::Parcel(parcel) => Some(parcel),
            _ => None,
        };
        self.outgoing().into_iter().filter_map(parcel).collect()
    }

    fn settle(&self, parcel: &Parcel, settlements: &[Settlement]) {
        for (delivery, settlement) in deliveries(parcel).iter().zip(settlements) {
            self.relay.settle(delivery, settlement.clone()).unwrap();
        }
    }

    fn session(&self, account: &Address) -> Session {
        match self.world.engine.create_account(account) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind, ErrorKind::Conflict, "{error}"),
        }
        let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        self.world.engine.open_session(account, options).unwrap()
    }

    fn drain(&self, session: &Session) -> Vec<Event> {
        self.world.drain(session)
    }
}

fn deliveries(parcel: &Parcel) -> Vec<String> {
    let ids = match &parcel.contents {
        Contents::Messages(messages) => messages.iter().map(|m| m.delivery_id.clone()).collect(),
        Contents::Roster(signal) => vec![signal.delivery_id.clone()],
    };
    ids.into_iter().map(|id| id.unwrap().to_string()).collect()
}

fn in_parcel(parcel: &Parcel) -> Vec<&str> {
    match &parcel.contents {
        Contents::Messages(messages) => messages.iter().map(|m| m.content.as_text().unwrap()).collect(),
        Contents::Roster(_) => Vec::new(),
    }
}

fn sides() -> (Side, Side) {
    (Side::new(ORG, NET), Side::new(NET, ORG))
}

/// Carries everything there and back until nothing moves.
fn carry(a: &Side, b: &Side) {
    while carry_over(a, b) | carry_over(b, a) {}
}

fn carry_over(from: &Side, to: &Side) -> bool {
    let outgoing = from.outgoing();
    let any = !outgoing.is_empty();
    for out in outgoing {
        match out {
            Outgoing::Parcel(parcel) => {
                let settlements = to.relay.receive(parcel.clone()).unwrap();
                from.settle(&parcel, &settlements);
            }
            Outgoing::Notice(notice) => to.relay.notify(notice).unwrap(),
            Outgoing::Received { .. } => panic!("nothing was submitted"),
        }
    }
    any
}

fn outcomes(events: &[Event]) -> Vec<Outcome> {
    let outcome = |e: &Event| match &e.body {
        EventBody::Outcome { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

fn failed(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed { reason } => reason,
        other => panic!("it has not failed: {other:?}"),
    }
}

fn history(session: &Session) -> Vec<Message> {
    let request = HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Newer, limit: 100 };
    session.history(request).unwrap().messages
}

fn seen(events: &[Event], of: &Address) -> Vec<State> {
    let presence = |e: &Event| match &e.body {
        EventBody::Presence { subject, presence } if subject == of => Some(presence.state),
        _ => None,
    };
    events.iter().filter_map(presence).collect()
}

fn online(session: &Session) {
    session.set_presence(SetPresence::state(State::Online)).unwrap();
}

fn status(session: &Session, peer: &Address) -> Status {
    let roster = session.roster().unwrap();
    roster.buddies.iter().find(|b| b.address == *peer).map_or(Status::None, |b| b.status())
}

// ---- messages -------------------------------------------------------------------------------------------------

// behaviour: relay.queued, relay.outcome
#[test]
fn a_message_is_queued_then_relayed_and_its_sender_is_told_until_acknowledged() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    let phone = a.world.device("alice", "phone");
    let receipt = at_a.send(&bob(), "hello").unwrap();
    assert_eq!(receipt.outcome, Word::Queued);
    carry(&a, &b);
    let there = messages(&b.drain(&at_b));
    assert_eq!(
        there.iter().map(|m| (m.id, m.sender.bare(), m.time)).collect::<Vec<_>>(),
        [(receipt.id, alice(), receipt.time)]
    );
    for session in [&at_a, &phone] {
        assert_eq!(outcomes(&session.next_events(9, Duration::ZERO).unwrap()), [Outcome::Relayed]);
    }
    // Not acknowledged: the next session is told as well, and a device that was away.
    drop((at_a, phone));
    let at_a = a.session(&alice());
    assert_eq!(outcomes(&a.drain(&at_a)), [Outcome::Relayed]);
    assert_eq!(outcomes(&a.drain(&a.world.device("alice", "phone"))), [Outcome::Relayed]);
    assert_eq!(outcomes(&a.drain(&a.world.device("alice", "phone"))), [], "once");
    assert_eq!(
        history(&at_a).iter().map(|m| m.outcome.clone()).collect::<Vec<_>>(),
        [Some(Outcome::Relayed)]
    );
}

// behaviour: relay.failed
#[test]
fn what_the_other_side_refuses_fails_with_its_reason() {
    let (a, b) = sides();
    let at_a = a.session(&alice());
    let nobody = address("nobody", NET);
    at_a.send(&nobody, "hello").unwrap();
    carry(&a, &b);
    let told = outcomes(&a.drain(&at_a));
    assert!(failed(&told[0]).contains("no account"), "{told:?}");
    let at_b = b.session(&bob());
    at_b.block(&alice(), true).unwrap();
    b.drain(&at_b);
    at_a.send(&bob(), "hello").unwrap();
    carry(&a, &b);
    assert!(failed(&outcomes(&a.drain(&at_a))[0]).contains("does not accept"));
    assert!(b.drain(&at_b).is_empty());
}

// behaviour: delivery.not-found
#[test]
fn without_a_relay_an_address_is_unreachable_and_with_one_that_is_away_messages_wait() {
    let a = Side::new(ORG, NET);
    let at_a = a.session(&alice());
    a.relay.disconnect();
    at_a.send(&bob(), "waits").unwrap();
    assert!(a.outgoing().is_empty());
    assert_eq!(at_a.send(&address("x", "elsewhere.example"), "x").unwrap_err().kind, ErrorKind::Unreachable);
    a.relay.close();
    assert_eq!(at_a.send(&bob(), "x").unwrap_err().kind, ErrorKind::Unreachable);
    assert_eq!(at_a.add_buddy(&bob(), None, None).unwrap_err().kind, ErrorKind::Unreachable);
    // Another one takes over what waits.
    let everything = a.world.engine.open_relay(Serves::Everything).unwrap();
    everything.connect();
    let out = everything.next(9, Duration::ZERO).unwrap();
    assert!(matches!(&out[..], [Outgoing::Parcel(parcel)] if in_parcel(parcel) == ["waits"]));
}

#[test]
fn what_waits_for_a_relay_that_is_closed_goes_to_another_that_was_there_all_the_time() {
    let a = Side::new(ORG, NET);
    let everything = a.world.engine.open_relay(Serves::Everything).unwrap();
    everything.connect();
    let at_a = a.session(&alice());
    a.relay.disconnect();
    at_a.send(&bob(), "waits").unwrap();
    assert!(everything.next(9, Duration::ZERO).unwrap().is_empty());
    a.relay.close();
    let out = everything.next(9, Duration::ZERO).unwrap();
    assert!(matches!(&out[..], [Outgoing::Parcel(parcel)] if in_parcel(parcel) == ["waits"]), "{out:?}");
}

// behaviour: relay.expires
#[test]
fn what_is_not_settled_in_a_day_fails_whether_a_relay_has_it_or_not() {
    let a = Side::new(ORG, NET);
    let at_a = a.session(&alice());
    at_a.send(&bob(), "taken and never settled").unwrap();
    let parcel = a.parcels().remove(0);
    at_a.send(&address("carol", NET), "never taken").unwrap();
    a.world.engine.advance(24 * 60 * 60 * 1_000 - 1).unwrap();
    assert!(outcomes(&a.drain(&at_a)).is_empty());
    a.world.engine.advance(1).unwrap();
    let told = outcomes(&a.drain(&at_a));
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|outcome| failed(outcome).contains("24 hours")));
    // Too late: it has failed, and stays so.
    a.settle(&parcel, &[Settlement::Relayed]);
    a.world.engine.advance(1).unwrap();
    assert!(outcomes(&a.drain(&at_a)).is_empty());
    assert!(history(&at_a).iter().all(|m| matches!(m.outcome, Some(Outcome::Failed { .. }))));
}

// behaviour: relay.back-off
#[test]
fn a_pair_is_tried_again_with_back_off_and_nothing_overtakes() {
    let a = Side::new(ORG, NET);
    let at_a = a.session(&alice());
    at_a.send(&bob(), "one").unwrap();
    let mut first = a.parcels().remove(0);
    at_a.send(&bob(), "two").unwrap();
    assert!(a.outgoing().is_empty(), "one parcel of a pair under way");
    let mut waited = Vec::new();
    for _ in 0..12 {
        a.settle(&first, &[Settlement::Retry]);
        if waited.len() == 3 {
            // What is sent meanwhile is no reason to try sooner.
            at_a.send(&bob(), "three").unwrap();
            assert!(a.outgoing().is_empty());
        }
        let mut seconds = 0;
        first = loop {
            a.world.engine.advance(1_000).unwrap();
            seconds += 1;
            if let Some(parcel) = a.parcels().pop() {
                break parcel;
            }
        };
        assert_eq!(in_parcel(&first)[0], "one");
        let again = Parcel { contents: first.contents.clone(), ..first.clone() };
        first = again;
        let settled = vec![Settlement::Retry; in_parcel(&first).len() - 1];
        let rest = &deliveries(&first)[1..];
        for (delivery, settlement) in rest.iter().zip(settled) {
            a.relay.settle(delivery, settlement).unwrap();
        }
        waited.push(seconds);
    }
    assert!(waited.is_sorted(), "{waited:?}");
    assert_eq!((waited[0], waited[11]), (1, 300));
}

// behaviour: relay.restart
#[test]
fn what_was_queued_is_given_out_again_after_a_kill_under_the_same_id_and_taken_once() {
    let (mut a, b) = sides();
    let at_b = b.session(&bob());
    let at_a = a.session(&alice());
    for text in ["one", "two", "three"] {
        at_a.send(&bob(), text).unwrap();
    }
    let before: Vec<Parcel> = a.parcels();
    for parcel in &before {
        b.relay.receive(parcel.clone()).unwrap();
    }
    // Delivered, and killed before it was settled.
    a = Side::on(a.world.killed(), NET);
    // Settled by id from what an earlier run gave out.
    a.relay.settle(&deliveries(&before[0])[0], Settlement::Relayed).unwrap();
    carry(&a, &b);
    assert_eq!(texts(&b.drain(&at_b)), ["one", "two", "three"]);
    let at_a = a.session(&alice());
    assert_eq!(outcomes(&a.drain(&at_a)).len(), 3);
    // The other side is killed, and the same parcels come once more.
    let b = Side::on(b.world.killed(), ORG);
    for parcel in &before {
        let settlements = b.relay.receive(parcel.clone()).unwrap();
        assert!(settlements.iter().all(|s| *s == Settlement::Relayed));
    }
    assert_eq!(history(&b.session(&bob())).len(), 3);
}

// behaviour: relay.inbound-once
#[test]
fn a_delivery_is_recognized_for_two_days_and_one_without_an_id_never() {
    let b = Side::new(NET, ORG);
    let at_b = b.session(&bob());
    let parcel = |id: Option<&str>| {
        let message = RelayedMessage {
            delivery_id: id.map(Into::into),
            time: Some(Timestamp(i64::MAX)),
            ..RelayedMessage::new(rosterkit::Content::text("hello"))
        };
        Parcel { sender: alice(), recipient: bob(), contents: Contents::Messages(vec![message]) }
    };
    for _ in 0..3 {
        assert_eq!(b.relay.receive(parcel(Some("x"))).unwrap(), [Settlement::Relayed]);
    }
    b.world.engine.advance(48 * 60 * 60 * 1_000 - 1).unwrap();
    b.relay.receive(parcel(Some("x"))).unwrap();
    let there = messages(&b.drain(&at_b));
    assert_eq!(there.len(), 1);
    assert!(there[0].time < Timestamp(2_000_000_000_000), "a clock that is ahead counts for nothing");
    b.relay.receive(parcel(None)).unwrap();
    b.relay.receive(parcel(None)).unwrap();
    assert_eq!(texts(&b.drain(&at_b)).len(), 2);
}

// behaviour: relay.speaks-for
#[test]
fn a_relay_speaks_for_its_domains_and_nobody_else() {
    let b = Side::new(NET, ORG);
    let at_b = b.session(&bob());
    let forged = |sender: Address| {
        let message = RelayedMessage::new(rosterkit::Content::text("it is me"));
        Parcel { sender, recipient: bob(), contents: Contents::Messages(vec![message]) }
    };
    for sender in [address("carol", NET), address("alice", "elsewhere.example")] {
        assert_eq!(b.relay.receive(forged(sender.clone())).unwrap_err().kind, ErrorKind::Forbidden);
        let presence = Presence { state: State::Online, ..Presence::offline() };
        let notice = Notice::Presence { subject: sender, watcher: bob(), presence };
        assert_eq!(b.relay.notify(notice).unwrap_err().kind, ErrorKind::Forbidden);
    }
    assert!(b.drain(&at_b).is_empty());
    let engine = &b.world.engine;
    let conflict = |serves| engine.open_relay(serves).unwrap_err().kind;
    assert_eq!(conflict(Serves::Domains(vec![Domain::new(ORG).unwrap()])), ErrorKind::Conflict);
    assert_eq!(conflict(Serves::Domains(vec![Domain::new(NET).unwrap()])), ErrorKind::Conflict);
    let hosted = engine.set_domain(Domain::new(ORG).unwrap(), Overrides::default());
    assert_eq!(hosted.unwrap_err().kind, ErrorKind::Conflict);
}

#[test]
fn many_pairs_pass_in_order_with_few_parcels_at_a_time() {
    let (a, b) = sides();
    let senders: Vec<(Address, Session)> = (0..20)
        .map(|n| address(&format!("s{n}"), ORG))
        .map(|address| (address.clone(), a.session(&address)))
        .collect();
    let at_b: Vec<Session> = (0..20).map(|n| b.session(&address(&format!("r{n}"), NET))).collect();
    a.relay.disconnect();
    for round in 0..4 {
        for (n, (_, session)) in senders.iter().enumerate() {
            for m in 0..20 {
                let text = format!("{n} {round}");
                session.send(&address(&format!("r{m}"), NET), &text).unwrap();
            }
        }
    }
    a.relay.connect();
    let first = a.parcels();
    assert!(first.len() < 400, "{} parcels at once", first.len());
    for parcel in &first {
        let settlements = b.relay.receive(parcel.clone()).unwrap();
        a.settle(parcel, &settlements);
    }
    carry(&a, &b);
    for session in &at_b {
        let there = texts(&b.drain(session));
        assert_eq!(there.len(), 80);
        for n in 0..20 {
            let mine: Vec<&String> = there.iter().filter(|text| text.starts_with(&format!("{n} "))).collect();
            assert!(mine.is_sorted() && mine.len() == 4, "{mine:?}");
        }
    }
}

#[test]
fn a_relay_that_settles_nothing_holds_up_no_other() {
    let a = Side::new(ORG, NET);
    let other = a.world.engine.open_relay(Serves::Everything).unwrap();
    other.connect();
    let at_a = a.session(&alice());
    for n in 0..300 {
        at_a.send(&address(&format!("r{n}"), NET), "never settled").unwrap();
    }
    let taken = a.parcels();
    assert!(taken.len() < 300 && a.outgoing().is_empty(), "{} at once", taken.len());
    at_a.send(&address("bob", "elsewhere.example"), "passes").unwrap();
    let out = other.next(9, Duration::ZERO).unwrap();
    assert!(matches!(&out[..], [Outgoing::Parcel(parcel)] if in_parcel(parcel) == ["passes"]), "{out:?}");
    // And the rest follows what is settled.
    let mut all = taken.len();
    let mut parcels = taken;
    while !parcels.is_empty() {
        parcels.iter().for_each(|parcel| a.settle(parcel, &[Settlement::Relayed]));
        parcels = a.parcels();
        all += parcels.len();
    }
    assert_eq!(all, 300);
}

// ---- rosters and presence -------------------------------------------------------------------------------------

fn befriend(a: &Side, at_a: &Session, b: &Side, at_b: &Session) {
    at_a.add_buddy(&bob(), None, None).unwrap();
    carry(a, b);
    at_b.confirm_buddy(&alice()).unwrap();
    carry(a, b);
}

// behaviour: relay.handshake, relay.presence
#[test]
fn the_handshake_and_presence_go_both_ways() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    online(&at_a);
    online(&at_b);
    at_a.add_buddy(&bob(), Some("Bob"), None).unwrap();
    assert_eq!(status(&at_a, &bob()), Status::Requested);
    carry(&a, &b);
    let asked = b.drain(&at_b);
    assert!(
        asked.iter().any(|e| matches!(&e.body, EventBody::BuddyRequest { sender, .. } if *sender == alice()))
    );
    assert_eq!(status(&at_b, &alice()), Status::Asking);
    at_b.confirm_buddy(&alice()).unwrap();
    carry(&a, &b);
    assert_eq!((status(&at_a, &bob()), status(&at_b, &alice())), (Status::Confirmed, Status::Confirmed));
    assert_eq!(seen(&a.drain(&at_a), &bob()).last(), Some(&State::Online));
    assert_eq!(seen(&b.drain(&at_b), &alice()).last(), Some(&State::Online));
    at_b.set_presence(SetPresence::state(State::Busy)).unwrap();
    at_b.set_presence(SetPresence::state(State::Away)).unwrap();
    at_b.typing(&alice(), ChatState::Composing).unwrap();
    carry(&a, &b);
    let told = a.drain(&at_a);
    assert_eq!(seen(&told, &bob()), [State::Away], "the newest counts");
    assert!(told.iter().any(|e| matches!(&e.body, EventBody::Typing { sender, .. } if *sender == bob())));
    // A session that comes online later is shown the same.
    let later = a.session(&alice());
    online(&later);
    carry(&a, &b);
    assert_eq!(seen(&a.drain(&later), &bob()), [State::Away]);
    assert_eq!(later.presence_of(&bob()).unwrap().state, State::Away);
    drop(at_b);
    carry(&a, &b);
    assert_eq!(seen(&a.drain(&at_a), &bob()), [State::Offline]);
    // Removed on one side, gone on the other.
    at_a.remove_buddy(&bob()).unwrap();
    carry(&a, &b);
    let at_b = b.session(&bob());
    assert_eq!(status(&at_b, &alice()), Status::None);
    online(&at_b);
    carry(&a, &b);
    assert!(seen(&b.drain(&at_b), &alice()).is_empty(), "not seen any more");
}

// behaviour: relay.blocked-sees-offline
#[test]
fn who_is_blocked_sees_the_account_go_offline_and_come_back() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    online(&at_a);
    online(&at_b);
    befriend(&a, &at_a, &b, &at_b);
    b.drain(&at_b);
    at_a.block(&bob(), true).unwrap();
    at_a.set_presence(SetPresence::state(State::Busy)).unwrap();
    carry(&a, &b);
    assert_eq!(seen(&b.drain(&at_b), &alice()), [State::Offline]);
    at_a.block(&bob(), false).unwrap();
    carry(&a, &b);
    assert_eq!(seen(&b.drain(&at_b), &alice()), [State::Busy]);
}

// behaviour: relay.away
#[test]
fn without_a_connection_presence_holds_for_a_while_then_it_is_unknown_and_comes_back_with_it() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    online(&at_a);
    online(&at_b);
    befriend(&a, &at_a, &b, &at_b);
    a.drain(&at_a);
    a.relay.disconnect();
    a.world.engine.advance(89_999).unwrap();
    assert!(seen(&a.drain(&at_a), &bob()).is_empty());
    a.world.engine.advance(1).unwrap();
    assert_eq!(seen(&a.drain(&at_a), &bob()), [State::Unknown]);
    at_b.set_presence(SetPresence::state(State::Busy)).unwrap();
    b.outgoing();
    a.relay.connect();
    carry(&a, &b);
    assert_eq!(seen(&a.drain(&at_a), &bob()), [State::Busy]);
    // One that comes back in time goes unnoticed.
    a.relay.disconnect();
    a.world.engine.advance(60_000).unwrap();
    a.relay.connect();
    carry(&a, &b);
    a.world.engine.advance(120_000).unwrap();
    assert!(seen(&a.drain(&at_a), &bob()).is_empty());
    // Each time counts from its own beginning.
    a.relay.disconnect();
    a.world.engine.advance(80_000).unwrap();
    a.relay.connect();
    a.relay.disconnect();
    a.world.engine.advance(80_000).unwrap();
    assert!(seen(&a.drain(&at_a), &bob()).is_empty());
    a.world.engine.advance(10_000).unwrap();
    assert_eq!(seen(&a.drain(&at_a), &bob()), [State::Unknown]);
}

// behaviour: relay.presence-after-restart
#[test]
fn after_a_kill_watchers_outside_are_told_what_is() {
    let (a, mut b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    online(&at_a);
    online(&at_b);
    befriend(&a, &at_a, &b, &at_b);
    assert_eq!(seen(&a.drain(&at_a), &bob()).last(), Some(&State::Online));
    b = Side::on(b.world.killed(), ORG);
    a.relay.disconnect();
    a.relay.connect();
    carry(&a, &b);
    assert_eq!(seen(&a.drain(&at_a), &bob()), [State::Offline]);
    let at_b = b.session(&bob());
    online(&at_b);
    carry(&a, &b);
    assert_eq!(seen(&a.drain(&at_a), &bob()), [State::Online]);
    assert_eq!(seen(&b.drain(&at_b), &alice()).last(), Some(&State::Online));
}

// behaviour: relay.deleted
#[test]
fn a_deleted_account_takes_leave_of_buddies_outside_and_its_name_can_be_used_again() {
    let (a, b) = sides();
    let (at_a, at_b) = (a.session(&alice()), b.session(&bob()));
    online(&at_a);
    online(&at_b);
    befriend(&a, &at_a, &b, &at_b);
    b.drain(&at_b);
    a.world.engine.delete_account(&alice()).unwrap();
    carry(&a, &b);
    assert_eq!(status(&at_b, &alice()), Status::None);
    assert_eq!(seen(&b.drain(&at_b), &alice()).last(), Some(&State::Offline));
    // The new account knows nothing of the old one's versions; the other side does, and says so.
    let at_a = a.session(&alice());
    at_a.add_buddy(&bob(), None, None).unwrap();
    at_a.send(&bob(), "held up by nothing").unwrap();
    carry(&a, &b);
    assert_eq!(texts(&b.drain(&at_b)), ["held up by nothing"]);
    a.world.engine.advance(2_000).unwrap();
    carry(&a, &b);
    assert_eq!(status(&at_b, &alice()), Status::Asking);
    at_b.confirm_buddy(&alice()).unwrap();
    carry(&a, &b);
    assert_eq!(status(&at_a, &bob()), Status::Confirmed);
}

// behaviour: relay.restored
#[test]
fn a_side_restored_from_an_older_backup_loses_nothing_new_and_is_told() {
    let (mut a, b) = sides();
    let at_b = b.session(&bob());
    let at_a = a.session(&alice());
    at_a.send(&bob(), "before").unwrap();
    carry(&a, &b);
    let backup = a.world.killed();
    for n in 0..5 {
        at_a.send(&bob(), &format!("lost {n}")).unwrap();
    }
    carry(&a, &b);
    let seen = |side: &Side, deliveries: &[String]| {
        deliveries
            .iter()
            .filter_map(|id| rosterkit::sent_at(id))
            .max()
            .map(|at| (side.relay.file_generation(), at))
    };
    at_a.send(&bob(), "lost 5").unwrap();
    let last = a.parcels().remove(0);
    b.relay.receive(last.clone()).unwrap();
    let (generation, latest) = seen(&a, &deliveries(&last)).unwrap();
    assert!(!a.relay.was_restored(generation, latest).unwrap(), "it has sent that");
    b.relay.remember_seen(generation, latest);
    b.world.engine.advance(1_000).unwrap();
    a = Side::on(backup, NET);
    let at_a = a.session(&alice());
    let remembered = b.relay.seen(a.relay.file_generation()).unwrap();
    assert_eq!(remembered, Some(latest));
    assert!(a.relay.was_restored(generation, latest).unwrap());
    assert_ne!(a.relay.file_generation(), generation);
    assert!(a.drain(&at_a).iter().any(|e| e.body == EventBody::Resync), "its clients are told");
    assert!(!a.relay.was_restored(generation, latest).unwrap(), "once");
    for n in 0..9 {
        at_a.send(&bob(), &format!("new {n}")).unwrap();
    }
    at_a.add_buddy(&bob(), None, None).unwrap();
    carry(&a, &b);
    let there = texts(&b.drain(&at_b));
    assert_eq!(there.iter().filter(|text| text.starts_with("new")).count(), 9);
    assert_eq!(there.len(), 16, "{there:?}");
    assert_eq!(status(&at_b, &alice()), Status::Asking);
}
