//! Sentences of docs/behaviour.md that only a running engine can show, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::{
    AcceptedSenders, Activity, Actor, Address, Anchor, Answer, ChatState, ClientId, Command, Consumer,
    Direction, Domain, Durability, EndReason, EngineOptions, ErrorKind, Event, EventBody, HistoryRequest,
    Limits, Listener, ListenerError, Op, Overrides, Presence, RosterEdit, Serves, Session, SessionId,
    SessionOptions, SetPresence, State, Status, Word,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use world::{World, account, kinds, messages, texts};

fn online(session: &Session) {
    session.set_presence(SetPresence::state(State::Online)).unwrap();
}

/// The last presence of somebody among events.
fn seen(events: &[Event], user: &str) -> Option<Presence> {
    events.iter().rev().find_map(|e| match &e.body {
        EventBody::Presence { subject, presence } if *subject == account(user) => Some(presence.clone()),
        _ => None,
    })
}

fn overrides(world: &World, user: &str, overrides: Overrides) {
    let actor = Actor { account: account(user), session: None };
    world.engine.call(&actor, Command::SetPreferences(overrides)).unwrap();
}

fn page(session: &Session, anchor: Anchor, direction: Direction, limit: usize) -> rosterkit::History {
    session.history(HistoryRequest { peer: None, anchor, direction, limit }).unwrap()
}

// ---- devices and cursors --------------------------------------------------------------------------------------

// behaviour: delivery.devices
#[test]
fn a_named_device_gets_every_message_whoever_claimed_it() {
    let world = World::new();
    let phone = world.device("bob", "phone");
    drop(phone);
    let [alice, bob] = world.sessions(["alice", "bob"]);
    alice.send(&account("bob"), "one").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["one"], "an anonymous session claims it");
    let phone = world.device("bob", "phone");
    assert_eq!(texts(&world.drain(&phone)), ["one"], "and the phone gets it all the same");
    let phone = {
        drop(phone);
        world.device("bob", "phone")
    };
    assert!(world.drain(&phone).is_empty(), "once");
}

// behaviour: delivery.devices
#[test]
fn a_new_device_has_its_cursor_whatever_was_acknowledged_right_before() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    alice.send(&account("bob"), "one").unwrap();
    world.drain(&bob);
    // The acknowledgement is handed to the writer, and waits there for company: the new device is that.
    world.engine.advance(600).unwrap();
    let _phone = world.device("bob", "phone");
    let world = world.killed();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.drain(&bob);
    alice.send(&account("bob"), "two").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["two"]);
    assert_eq!(texts(&world.drain(&world.device("bob", "phone"))), ["two"]);
}

// behaviour: delivery.own-rows-pass
#[test]
fn a_device_passes_what_it_sent_and_others_get_copies() {
    let world = World::new();
    let [phone, tablet] = [world.device("alice", "phone"), world.device("alice", "tablet")];
    world.create("bob");
    phone.send(&account("bob"), "one").unwrap();
    assert!(world.drain(&phone).is_empty());
    drop(tablet);
    phone.send(&account("bob"), "two").unwrap();
    let tablet = world.device("alice", "tablet");
    let copies = world.drain(&tablet);
    assert_eq!(texts(&copies), ["one", "two"]);
    assert!(messages(&copies).iter().all(|m| m.copy));
}

// behaviour: session.device-taken-over
#[test]
fn a_newer_session_of_a_device_takes_over() {
    let world = World::new();
    let old = world.device("alice", "phone");
    let new = world.device("alice", "phone");
    let last = world.drain(&old).pop();
    assert_eq!(last.map(|e| e.body), Some(EventBody::Ended(EndReason::Replaced)));
    assert_eq!(old.next_events(1, Duration::ZERO).unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(old.send(&account("alice"), "x").unwrap_err().kind, ErrorKind::Closed);
    new.send(&account("alice"), "note to self").unwrap();
}

// behaviour: delivery.retired-device
#[test]
fn a_retired_device_is_forgotten() {
    let world = World::new();
    let phone = world.device("bob", "phone");
    let name = rosterkit::DeviceName::new("phone").unwrap();
    let actor = Actor { account: account("bob"), session: None };
    world.engine.call(&actor, Command::RetireDevice(name.clone())).unwrap();
    assert!(matches!(world.drain(&phone).pop().unwrap().body, EventBody::Ended(_)));
    let Answer::Devices(devices) = world.engine.call(&actor, Command::ReadDevices).unwrap() else { panic!() };
    assert!(devices.is_empty());
    let again = world.engine.call(&actor, Command::RetireDevice(name)).unwrap_err();
    assert_eq!(again.kind, ErrorKind::NotFound);
}

// ---- claims ---------------------------------------------------------------------------------------------------

// behaviour: delivery.passed-on
#[test]
fn what_a_dying_session_held_goes_to_the_oldest_live_one() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    for text in ["one", "two"] {
        alice.send(&account("bob"), text).unwrap();
    }
    let [first, second, third] = world.sessions(["bob", "bob", "bob"]);
    let held = first.next_events(1, Duration::ZERO).unwrap();
    assert_eq!(texts(&held), ["one"]);
    assert!(world.drain(&second).is_empty(), "a later session gets what is not assigned");
    alice.send(&account("bob"), "three").unwrap();
    first.close();
    let got = world.drain(&second);
    assert_eq!(texts(&got).len(), 3, "{:?}", kinds(&got));
    assert_eq!(
        messages(&got).iter().filter(|m| m.id == messages(&held)[0].id).count(),
        1,
        "with its id, once"
    );
    assert_eq!(texts(&world.drain(&third)), ["three"]);
}

// behaviour: delivery.slow-session
#[test]
fn a_slow_session_reads_the_log_and_misses_nothing() {
    let world = World::new();
    let [alice, slow, device] = [
        world.sessions(["alice"])[0].clone(),
        world.sessions(["bob"])[0].clone(),
        world.device("bob", "phone"),
    ];
    for number in 0..700 {
        alice.send(&account("bob"), &number.to_string()).unwrap();
    }
    let expected: Vec<String> = (0..700).map(|n| n.to_string()).collect();
    assert_eq!(texts(&world.drain(&slow)), expected);
    assert_eq!(texts(&world.drain(&device)), expected);
    alice.send(&account("bob"), "live again").unwrap();
    assert_eq!(texts(&world.drain(&slow)), ["live again"]);
}

// behaviour: delivery.slow-session, history.off
#[test]
fn a_slow_session_misses_nothing_that_others_claimed_meanwhile_with_history_off() {
    for phone in [None, Some("phone")] {
        let world = World::new();
        let [alice, slow] = world.sessions(["alice", "bob"]);
        let off = Overrides { keep_history: Some(false), ..Overrides::default() };
        overrides(&world, "bob", off);
        for number in 0..700 {
            alice.send(&account("bob"), &number.to_string()).unwrap();
        }
        let quick = match phone {
            Some(name) => world.device("bob", name),
            None => world.sessions(["bob"])[0].clone(),
        };
        world.drain(&quick);
        world.engine.advance(5_000).unwrap();
        let expected: Vec<String> = (0..700).map(|n| n.to_string()).collect();
        assert_eq!(texts(&world.drain(&slow)), expected, "beside {phone:?}");
    }
}

// ---- listeners ------------------------------------------------------------------------------------------------

/// A listener that fails as often as it is told, for messages with a certain text.
struct Stubborn {
    fails_for: &'static str,
    failures: AtomicU32,
    got: Mutex<Vec<String>>,
}

impl Listener for Stubborn {
    fn on_events(&self, _session: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        if texts(events).iter().any(|t| t == self.fails_for) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if self.failures.load(Ordering::Relaxed).is_multiple_of(2) {
                panic!("a host's own bug");
            }
            return Err(ListenerError("no".into()));
        }
        self.got.lock().unwrap().extend(texts(events));
        Ok(())
    }
}

// behaviour: delivery.copies
#[test]
fn a_listener_that_went_offline_is_told_of_messages_still() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let stubborn =
        Arc::new(Stubborn { fails_for: "nothing", failures: AtomicU32::new(0), got: Mutex::default() });
    let consumer = Consumer::Listener(Arc::clone(&stubborn) as Arc<_>);
    let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
    let bob = world.engine.open_session(&account("bob"), options).unwrap();
    // What was announced is gone before anybody looks at it: the presence that the session does not show any more.
    bob.set_presence(SetPresence::state(State::Busy)).unwrap();
    bob.go_offline().unwrap();
    world.engine.advance(0).unwrap();
    alice.send(&account("bob"), "hello").unwrap();
    world.engine.advance(0).unwrap();
    assert_eq!(*stubborn.got.lock().unwrap(), ["hello"]);
}

/// A listener that never deals with anything.
struct Useless;

impl Listener for Useless {
    fn on_events(&self, _session: SessionId, _events: &[Event]) -> Result<(), ListenerError> {
        Err(ListenerError("never".into()))
    }
}

// behaviour: delivery.listener-fails
#[test]
fn a_listener_that_only_fails_is_let_go_with_its_session() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let useless = Arc::new(Useless);
    let consumer = Consumer::Listener(Arc::clone(&useless) as Arc<_>);
    let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
    let bob = world.engine.open_session(&account("bob"), options).unwrap();
    bob.set_presence(SetPresence::state(State::Online)).unwrap();
    alice.send(&account("bob"), "one").unwrap();
    alice.send(&account("bob"), "two").unwrap();
    bob.close();
    world.engine.advance(0).unwrap();
    assert_eq!(Arc::strong_count(&useless), 1);
    let [next] = world.sessions(["bob"]);
    assert_eq!(texts(&world.drain(&next)), ["one", "two"], "what it did not deal with is there for the next");
}

// behaviour: delivery.parked, delivery.listener-fails
#[test]
fn a_message_that_fails_three_times_alone_is_parked() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    let listener =
        Arc::new(Stubborn { fails_for: "bad", failures: AtomicU32::new(0), got: Mutex::default() });
    for text in ["good", "bad", "better"] {
        alice.send(&account("bob"), text).unwrap();
    }
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let options = SessionOptions {
        reads_messages: true,
        consumer: Consumer::Listener(listener.clone()),
        ..SessionOptions::default()
    };
    let bob = world.engine.open_session(&account("bob"), options).unwrap();
    world.engine.advance(1).unwrap();
    std::panic::set_hook(quiet);
    assert_eq!(*listener.got.lock().unwrap(), ["good", "better"]);
    // Once with the others, then three times alone.
    assert_eq!(listener.failures.load(Ordering::Relaxed), 4);
    let history = page(&bob, Anchor::End, Direction::Older, 10);
    assert_eq!(history.messages.len(), 3, "parked is kept");
}

// ---- presence -------------------------------------------------------------------------------------------------

// behaviour: presence.snapshot
#[test]
fn coming_online_brings_every_buddy_and_an_end_mark() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    world.befriend(&alice, &bob);
    world.befriend(&alice, &carol);
    alice.go_offline().unwrap();
    carol.go_offline().unwrap();
    world.drain(&alice);
    online(&alice);
    let events = world.drain(&alice);
    assert_eq!(seen(&events, "bob").unwrap().state, State::Online);
    assert_eq!(seen(&events, "carol").unwrap().state, State::Offline);
    assert!(matches!(events.last().unwrap().body, EventBody::SnapshotEnd), "{:?}", kinds(&events));
}

// behaviour: presence.unchanged-aggregate, presence.restart
#[test]
fn an_unchanged_aggregate_tells_nobody_and_a_restart_ends_contributions() {
    let world = World::new();
    let [alice, bob, second] = world.sessions(["alice", "bob", "bob"]);
    world.befriend(&alice, &bob);
    second.set_presence(SetPresence::state(State::Away)).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob"), None, "online still wins");
    bob.close();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Away);
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    online(&alice);
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
    assert_eq!(alice.presence_of(&account("bob")).unwrap().state, State::Offline);
}

// behaviour: presence.invisible-receives
#[test]
fn an_invisible_session_receives_and_is_not_seen() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    bob.set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Online) }).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
    assert_eq!(alice.send(&account("bob"), "hello").unwrap().outcome, Word::Stored);
    assert_eq!(texts(&world.drain(&bob)), ["hello"]);
    alice.set_presence(SetPresence::state(State::Busy)).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Busy);
}

// behaviour: presence.lease-expires, presence.open-session-lives
#[test]
fn a_lease_that_is_not_renewed_ends_the_session_with_an_event() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    let options = SessionOptions { lease_ms: Some(600_000), ..SessionOptions::default() };
    let remote = world.engine.open_session(&account("bob"), options).unwrap();
    remote.set_presence(SetPresence::state(State::Busy)).unwrap();
    world.engine.advance(80_000).unwrap();
    remote.touch();
    world.engine.advance(80_000).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Busy, "renewed");
    world.engine.advance(11_000).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online, "gone within 90 s");
    assert_eq!(world.drain(&remote).pop().unwrap().body, EventBody::Ended(EndReason::LeaseExpired));
    world.engine.advance(24 * 3_600_000).unwrap();
    assert_eq!(
        alice.presence_of(&account("bob")).unwrap().state,
        State::Online,
        "an open session never goes by itself"
    );
}

// behaviour: presence.background-lease
#[test]
fn in_background_a_lease_lasts_fifteen_minutes() {
    let world = World::new();
    world.create("bob");
    let options = SessionOptions { lease_ms: Some(3_600_000), ..SessionOptions::default() };
    let remote = world.engine.open_session(&account("bob"), options).unwrap();
    remote.set_activity(Activity::Background).unwrap();
    world.engine.advance(14 * 60_000).unwrap();
    assert!(world.drain(&remote).is_empty());
    world.engine.advance(61_000).unwrap();
    assert_eq!(world.drain(&remote).pop().unwrap().body, EventBody::Ended(EndReason::LeaseExpired));
}

// behaviour: presence.ends-by-itself
#[test]
fn a_presence_with_an_end_time_ends() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    let until = Some(rosterkit::Timestamp(1_700_000_000_000 + 60_000));
    bob.set_presence(SetPresence { until, ..SetPresence::state(State::InMeeting) }).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::InMeeting);
    world.engine.advance(60_000).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online);
}

// behaviour: presence.removed-sees-offline
#[test]
fn a_removed_buddy_sees_the_account_go_offline() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    alice.remove_buddy(&account("bob")).unwrap();
    for (session, peer) in [(&bob, "alice"), (&alice, "bob")] {
        assert_eq!(seen(&world.drain(session), peer).unwrap().state, State::Offline);
    }
    assert_eq!(bob.roster().unwrap().buddies[0].status(), Status::None);
    assert!(alice.roster().unwrap().buddies.is_empty());
}

// behaviour: presence.who-sees
#[test]
fn who_is_blocked_sees_nothing_from_the_moment_the_block_is_answered_and_after_a_restart() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    bob.block(&account("alice"), true).unwrap();
    assert_eq!(alice.presence_of(&account("bob")).unwrap().state, State::Offline);
    let world = world.reopen();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    alice.set_presence(SetPresence::state(State::Online)).unwrap();
    bob.set_presence(SetPresence::state(State::Busy)).unwrap();
    let seen = world.drain(&alice).into_iter().filter_map(|event| match event.body {
        EventBody::Presence { subject, presence } if subject == account("bob") => Some(presence.state),
        _ => None,
    });
    assert!(seen.into_iter().all(|state| state == State::Offline));
}

// behaviour: presence.blocked-sees-offline
#[test]
fn a_blocked_buddy_is_shown_offline_until_the_block_is_lifted() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    alice.block(&account("bob"), true).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Offline);
    alice.set_presence(SetPresence::state(State::Busy)).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice"), None);
    assert_eq!(bob.presence_of(&account("alice")).unwrap().state, State::Offline);
    assert_eq!(bob.send(&account("alice"), "x").unwrap_err().kind, ErrorKind::Forbidden);
    alice.block(&account("bob"), false).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Busy);
}

// behaviour: presence.unknown-outside
#[test]
fn an_outside_buddy_is_unknown_and_cannot_be_reached_without_a_relay() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    let friend = Address::account("friend@elsewhere.example").unwrap();
    let served = Serves::Domains(vec![Domain::new("elsewhere.example").unwrap()]);
    let relay = world.engine.open_relay(served).unwrap();
    alice.add_buddy(&friend, None, None).unwrap();
    relay.close();
    assert_eq!(alice.presence_of(&friend).unwrap().state, State::Unknown);
    assert_eq!(alice.send(&friend, "x").unwrap_err().kind, ErrorKind::Unreachable);
}

// ---- typing ---------------------------------------------------------------------------------------------------

// behaviour: typing.ephemeral, typing.ends
#[test]
fn typing_goes_to_live_sessions_and_ends_after_thirty_seconds() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.create("carol");
    let states = |session: &Session| -> Vec<ChatState> {
        let typing = |e: &Event| match e.body {
            EventBody::Typing { state, .. } => Some(state),
            _ => None,
        };
        world.drain(session).iter().filter_map(typing).collect()
    };
    alice.typing(&account("bob"), ChatState::Composing).unwrap();
    assert_eq!(states(&bob), [ChatState::Composing]);
    world.engine.advance(20_000).unwrap();
    alice.typing(&account("bob"), ChatState::Composing).unwrap();
    assert_eq!(states(&bob), [ChatState::Composing]);
    world.engine.advance(29_999).unwrap();
    assert!(states(&bob).is_empty(), "it was said again");
    world.engine.advance(1).unwrap();
    assert_eq!(states(&bob), [ChatState::Paused]);
    // Nobody there, or nobody at all: it goes nowhere, and is not answered.
    for user in ["carol", "nobody"] {
        alice.typing(&account(user), ChatState::Composing).unwrap();
    }
    let [carol] = world.sessions(["carol"]);
    assert!(world.drain(&carol).is_empty());
    assert!(page(&alice, Anchor::End, Direction::Older, 10).messages.is_empty());
}

// ---- sending --------------------------------------------------------------------------------------------------

// behaviour: delivery.client-id, delivery.client-id-conflict
#[test]
fn a_repeat_gets_the_first_answer_and_makes_nothing_new() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let id = ClientId::new("c1").unwrap();
    let first = alice.send_once(&account("bob"), "hello", id.clone()).unwrap();
    assert_eq!(alice.send_once(&account("bob"), "hello", id.clone()).unwrap(), first);
    let other = alice.send_once(&account("bob"), "other", id.clone()).unwrap_err();
    assert_eq!(other.kind, ErrorKind::Conflict);
    let elsewhere = alice.send_once(&account("alice"), "hello", id.clone()).unwrap_err();
    assert_eq!(elsewhere.kind, ErrorKind::Conflict);
    assert_eq!(texts(&world.drain(&bob)), ["hello"]);
    let world = world.reopen();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(alice.send_once(&account("bob"), "hello", id).unwrap(), first);
}

// behaviour: delivery.not-found
#[test]
fn unknown_accounts_and_malformed_sends_are_refused() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    let to = |text: &str| Address::new(text).unwrap();
    assert_eq!(alice.send(&account("nobody"), "x").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(alice.send(&to("example.org"), "x").unwrap_err().kind, ErrorKind::InvalidArgument);
    let large = "x".repeat(65_537);
    assert!(matches!(
        alice.send(&account("alice"), &large).unwrap_err().kind,
        ErrorKind::LimitExceeded { .. }
    ));
    assert_eq!(alice.add_buddy(&account("nobody"), None, None).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(alice.remove_buddy(&account("nobody")).unwrap_err().kind, ErrorKind::NotFound);
    let none = world.engine.open_session(&account("nobody"), SessionOptions::default()).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound);
    let elsewhere = world.engine.create_account(&Address::account("a@other.example").unwrap()).unwrap_err();
    assert_eq!(elsewhere.kind, ErrorKind::NotFound);
    let again = world.engine.create_account(&account("alice")).unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict);
    let history = HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Older, limit: 0 };
    assert_eq!(alice.history(history).unwrap_err().kind, ErrorKind::InvalidArgument);
}

// behaviour: admission.nobody
#[test]
fn an_account_that_takes_from_nobody_takes_from_buddies() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    overrides(
        &world,
        "bob",
        Overrides { accepted_senders: Some(AcceptedSenders::Nobody), ..Overrides::default() },
    );
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().kind, ErrorKind::Forbidden);
    world.befriend(&alice, &bob);
    alice.send(&account("bob"), "as a buddy").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["as a buddy"]);
}

// behaviour: delivery.rate
#[test]
fn a_sender_that_is_too_fast_is_told_when_to_go_on() {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.limits = Limits { sends: rosterkit::Rate { burst: 2, per_minute: 60 }, ..Limits::default() };
    let world = World::with(options);
    let [alice] = world.sessions(["alice"]);
    alice.send(&account("alice"), "1").unwrap();
    alice.send(&account("alice"), "2").unwrap();
    let error = alice.send(&account("alice"), "3").unwrap_err();
    let ErrorKind::LimitExceeded { retry_after_ms: Some(wait) } = error.kind else { panic!("{error}") };
    world.engine.advance(wait).unwrap();
    alice.send(&account("alice"), "3").unwrap();
}

// behaviour: roster.request-limit
#[test]
fn an_over_full_roster_is_refused() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    world.create("carol");
    overrides(&world, "alice", Overrides { max_roster_items: Some(1), ..Overrides::default() });
    alice.add_buddy(&account("bob"), None, None).unwrap();
    let error = alice.add_buddy(&account("carol"), None, None).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::LimitExceeded { .. }), "{error}");
}

// ---- relaxed --------------------------------------------------------------------------------------------------

fn relaxed(idle_accounts: usize) -> World {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.durability = Durability::Relaxed;
    options.idle_accounts = idle_accounts;
    World::with(options)
}

// behaviour: relaxed.attach, relaxed.client-id
#[test]
fn a_relaxed_engine_reads_what_it_told_and_has_not_written() {
    let world = relaxed(0);
    drop(world.device("bob", "phone"));
    world.create("alice");
    let send = |text: &str| {
        let (recipient, content) = (account("bob"), rosterkit::Content::text(text));
        let client_id = Some(ClientId::new(text).unwrap());
        world.engine.send(&account("alice"), rosterkit::Send { recipient, content, client_id }).unwrap()
    };
    let first = send("one");
    send("two");
    // Nobody stays in memory, and nothing has been written by itself: time stands still.
    assert_eq!(send("one"), first);
    let phone = world.device("bob", "phone");
    assert_eq!(texts(&world.drain(&phone)), ["one", "two"]);
    send("three");
    assert_eq!(texts(&world.drain(&phone)), ["three"]);
}

// behaviour: relaxed.written
#[test]
fn a_relaxed_engine_writes_within_200_ms() {
    let world = relaxed(10);
    let [alice] = world.sessions(["alice"]);
    let receipt = alice.send(&account("alice"), "x").unwrap();
    world.engine.advance(200).unwrap();
    let path = world.path();
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("im.db{suffix}");
        std::fs::copy(path.with_file_name(&name), copy.path().join(&name)).unwrap();
    }
    let sqlite = rosterkit::store::sqlite::SqliteStore::new(copy.path().join("im.db"), Default::default());
    let mut store = rosterkit::store::Store::open(&*sqlite).unwrap();
    assert_eq!(store.reader.rows_at(&[receipt.position]).unwrap().len(), 1);
}

// ---- history --------------------------------------------------------------------------------------------------

// behaviour: history.pages, history.by-peer, history.by-time
#[test]
fn history_comes_in_pages_by_position_peer_and_time() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    world.create("carol");
    for number in 0..10 {
        let to = if number % 2 == 0 { "bob" } else { "carol" };
        alice.send(&account(to), &number.to_string()).unwrap();
        world.engine.advance(1_000).unwrap();
    }
    let text = |history: &rosterkit::History| -> Vec<String> {
        history.messages.iter().map(|m| m.content.as_text().unwrap().to_owned()).collect()
    };
    let latest = page(&alice, Anchor::End, Direction::Older, 4);
    assert_eq!(
        (text(&latest), latest.complete),
        (vec!["6".into(), "7".into(), "8".into(), "9".into()], false)
    );
    let before = page(&alice, Anchor::Row(latest.messages[0].position), Direction::Older, 6);
    assert_eq!((text(&before).len(), before.complete), (6, true));
    let first = page(&alice, Anchor::End, Direction::Newer, 3);
    assert_eq!((text(&first), first.complete), (vec!["0".into(), "1".into(), "2".into()], false));
    let at = Anchor::Time(before.messages[3].time);
    assert_eq!(text(&page(&alice, at, Direction::Newer, 2)), ["3", "4"]);
    assert_eq!(text(&page(&alice, at, Direction::Older, 2)), ["1", "2"]);
    let bob = HistoryRequest {
        peer: Some(account("bob")),
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 2,
    };
    assert_eq!(text(&alice.history(bob).unwrap()), ["6", "8"]);
    let nobody = HistoryRequest {
        peer: Some(account("x")),
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 2,
    };
    assert!(alice.history(nobody).unwrap().complete);
}

// behaviour: history.off
#[test]
fn with_history_off_a_message_goes_when_everybody_is_done_with_it() {
    let world = World::new();
    let off = Overrides { keep_history: Some(false), ..Overrides::default() };
    let [alice, bob] = world.sessions(["alice", "bob"]);
    let phone = world.device("bob", "phone");
    overrides(&world, "alice", off.clone());
    overrides(&world, "bob", off);
    let id = ClientId::new("c").unwrap();
    let receipt = alice.send_once(&account("bob"), "secret", id.clone()).unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["secret"]);
    world.engine.advance(5_000).unwrap();
    assert_eq!(texts(&world.drain(&phone)), ["secret"], "the phone has not had it yet");
    world.engine.advance(5_000).unwrap();
    let path = world.path();
    assert!(page(&bob, Anchor::End, Direction::Older, 5).messages.is_empty());
    assert_eq!(
        alice.send_once(&account("bob"), "secret", id).unwrap(),
        receipt,
        "its client_id is remembered"
    );
    world.engine.shutdown(true).unwrap();
    let mut store = rosterkit::store::Store::open(&*rosterkit::store::sqlite::SqliteStore::new(
        &path,
        Default::default(),
    ))
    .unwrap();
    assert!(store.reader.rows_at(&[receipt.position]).unwrap().is_empty(), "the row is gone");
}

// behaviour: delivery.offline-off
#[test]
fn with_offline_storage_off_nobody_there_is_an_error_and_keeps_nothing() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    overrides(&world, "bob", Overrides { offline_storage: Some(false), ..Overrides::default() });
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().kind, ErrorKind::NotFound);
    let [bob] = world.sessions(["bob"]);
    alice.send(&account("bob"), "y").unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["y"]);
}

// ---- roster ---------------------------------------------------------------------------------------------------

// behaviour: roster.versions
#[test]
fn a_client_that_names_its_version_gets_only_what_changed() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    for user in ["bob", "carol"] {
        world.create(user);
        alice.add_buddy(&account(user), None, None).unwrap();
    }
    let version = alice.roster().unwrap().version;
    assert!(alice.roster_since(version).unwrap().buddies.is_empty());
    alice.remove_buddy(&account("bob")).unwrap();
    let changed = alice.roster_since(version).unwrap();
    assert_eq!(changed.buddies.len(), 1);
    assert!(!changed.buddies[0].listed && changed.buddies[0].address == account("bob"));
    assert_eq!(alice.roster().unwrap().buddies.len(), 1);
}

// behaviour: roster.pushed, roster.one-direction
#[test]
fn other_sessions_are_told_and_one_direction_is_possible() {
    let world = World::new();
    let [alice, other, bob] = world.sessions(["alice", "alice", "bob"]);
    let edit = |op| RosterEdit { peer: account("bob"), op, name: None, groups: None, note: "hi".into() };
    alice.edit_roster(edit(Op::Subscribe)).unwrap();
    let told = world.drain(&other);
    assert!(
        matches!(told[0].body, EventBody::RosterChanged { status: Status::Requested, .. }),
        "{:?}",
        kinds(&told)
    );
    let asked = world.drain(&bob);
    assert!(asked.iter().any(|e| matches!(&e.body, EventBody::BuddyRequest { note, .. } if &**note == "hi")));
    bob.edit_roster(RosterEdit { peer: account("alice"), ..edit(Op::Subscribed) }).unwrap();
    online(&alice);
    online(&bob);
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online);
    assert_eq!(seen(&world.drain(&bob), "alice"), None, "bob sees nothing of alice");
}

// behaviour: roster.request-waits
#[test]
fn a_request_waits_for_who_is_away() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    alice.add_buddy(&account("bob"), None, None).unwrap();
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).iter().any(|e| matches!(e.body, EventBody::BuddyRequest { .. })));
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).is_empty(), "acknowledged, it is told once");
}

// ---- accounts and domains -------------------------------------------------------------------------------------

// behaviour: account.deleted, account.incarnation
#[test]
fn deleting_an_account_tells_its_buddies_and_a_new_one_inherits_nothing() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    alice.send(&account("bob"), "old").unwrap();
    world.engine.delete_account(&account("bob")).unwrap();
    assert_eq!(world.drain(&bob).pop().unwrap().body, EventBody::Ended(EndReason::AccountDeleted));
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
    assert_eq!(alice.roster().unwrap().buddies[0].status(), Status::None);
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().kind, ErrorKind::NotFound);
    world.create("bob");
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).is_empty());
    assert!(bob.roster().unwrap().buddies.is_empty());
    assert_eq!(alice.presence_of(&account("bob")).unwrap().state, State::Offline);
    alice.add_buddy(&account("bob"), None, None).unwrap();
    assert!(world.drain(&bob).iter().any(|e| matches!(e.body, EventBody::BuddyRequest { .. })));
}

// behaviour: domain.run-time, domain.refused
#[test]
fn domains_come_and_go_at_run_time() {
    let world = World::new();
    let net = Domain::new("example.net").unwrap();
    world
        .engine
        .set_domain(net.clone(), Overrides { keep_history: Some(false), ..Overrides::default() })
        .unwrap();
    let carol = Address::account("carol@example.net").unwrap();
    world.engine.create_account(&carol).unwrap();
    let actor = Actor { account: carol.clone(), session: None };
    let Answer::Preferences(preferences) = world.engine.call(&actor, Command::ReadPreferences).unwrap()
    else {
        panic!()
    };
    assert!(!preferences.keep_history, "the domain's preference is in force");
    assert_eq!(world.engine.domains().len(), 2);
    assert!(world.engine.remove_domain(net.clone()).is_err(), "it has an account");
    world.engine.delete_account(&carol).unwrap();
    world.engine.remove_domain(net.clone()).unwrap();
    assert_eq!(world.engine.create_account(&carol).unwrap_err().kind, ErrorKind::NotFound);
    // A file that holds a domain that the host does not answer for is refused.
    world.engine.set_domain(net, Overrides::default()).unwrap();
    let path = world.path();
    world.engine.shutdown(true).unwrap();
    let only_org = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    let refused = rosterkit::Engine::open_file(&path, only_org).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
}

// behaviour: engine.shutdown, engine.one-consumer
#[test]
fn after_shutdown_everything_is_closed_and_two_consumers_are_a_mistake() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.engine.shutdown(true).unwrap();
    world.engine.shutdown(true).unwrap();
    assert_eq!(world.drain_ended(&alice), Some(EndReason::Shutdown));
    assert_eq!(alice.send(&account("alice"), "x").unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(world.engine.create_account(&account("x")).unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(alice.next_events(1, Duration::ZERO).unwrap_err().kind, ErrorKind::Closed);
}

// behaviour: account.deleted
#[test]
fn buddies_are_told_of_a_deletion_when_no_idle_account_stays_in_memory() {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.idle_accounts = 0;
    let world = World::with(options);
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    world.engine.delete_account(&account("bob")).unwrap();
    world.engine.advance(0).unwrap();
    assert_eq!(alice.roster().unwrap().buddies[0].status(), Status::None);
}

// behaviour: engine.bounded
#[test]
fn what_is_under_way_or_answered_and_not_taken_is_bounded() {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.max_in_flight = 8;
    let world = World::with(options);
    world.create("alice");
    let actor = Actor { account: account("alice"), session: None };
    let submit = || world.engine.submit((0..10).map(|_| (actor.clone(), Command::ReadDevices)).collect());
    let full = ErrorKind::LimitExceeded { retry_after_ms: Some(10) };
    assert_eq!(submit().unwrap().len(), 8, "a prefix is taken");
    assert_eq!(submit().unwrap_err().kind, full, "under way");
    world.engine.advance(0).unwrap();
    assert_eq!(submit().unwrap_err().kind, full, "answered, and not taken");
    assert_eq!(world.engine.next_answers(3, Duration::MAX).unwrap().len(), 3);
    assert_eq!(submit().unwrap().len(), 3);
}
