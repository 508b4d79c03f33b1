//! Who sees whom, for how long; and chat states.

use crate::world::{World, account, kinds, texts};
use crate::{online, page, seen};
use rosterkit::{
    Activity, Actor, Address, Anchor, ChatState, Command, Direction, Domain, EndReason, ErrorKind, Event,
    EventBody, PresenceLayer, Serves, Session, SessionOptions, SetPresence, State, Status, Word,
};

// ---- presence -----------------------------------------------------------------------------------------------

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
    let [_bob] = world.sessions(["bob"]);
    assert_eq!(alice.presence_of(&account("bob")).unwrap().state, State::Offline, "nothing is shown anew");
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

// behaviour: presence.layers
#[test]
fn a_program_does_not_overwrite_what_a_person_set() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    let automatic = |state| SetPresence { layer: PresenceLayer::Automatic, ..SetPresence::state(state) };
    let shows = |state: State| assert_eq!(bob.presence_of(&account("bob")).unwrap().state, state);
    bob.go_offline().unwrap();
    world.drain(&alice);
    bob.set_presence(automatic(State::Online)).unwrap();
    bob.set_presence(automatic(State::Away)).unwrap();
    shows(State::Away);
    let until = Some(rosterkit::Timestamp(1_700_000_000_000 + 60_000));
    bob.set_presence(SetPresence { until, ..SetPresence::state(State::Busy) }).unwrap();
    world.drain(&alice);
    // The program goes on, and nobody sees it.
    for state in [State::Online, State::OnPhone, State::Away] {
        bob.set_presence(automatic(state)).unwrap();
    }
    shows(State::Busy);
    assert!(seen(&world.drain(&alice), "bob").is_none());
    world.engine.advance(60_000).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Away);
    // The person gives it back before it ends.
    bob.set_presence(SetPresence::state(State::Busy)).unwrap();
    bob.clear_presence(PresenceLayer::Manual).unwrap();
    shows(State::Away);
    bob.clear_presence(PresenceLayer::Automatic).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
    // Who is offline gets no presence, and comes online by either.
    alice.set_presence(SetPresence::state(State::Chat)).unwrap();
    assert!(seen(&world.drain(&bob), "alice").is_none());
    bob.set_presence(automatic(State::Away)).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Chat);
    // A person's priority counts as their state does.
    bob.set_presence(SetPresence { priority: -1, ..SetPresence::state(State::Busy) }).unwrap();
    alice.send(&account("bob"), "later").unwrap();
    assert!(texts(&world.drain(&bob)).is_empty());
    bob.clear_presence(PresenceLayer::Manual).unwrap();
    assert_eq!(texts(&world.drain(&bob)), ["later"]);
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

// behaviour: presence.blocked-sees-offline
#[test]
fn what_was_true_before_is_not_told_after_what_is() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    alice.block(&account("bob"), true).unwrap();
    world.drain(&bob);
    // She is gone while what she showed is on its way to him.
    let actor = Actor { account: account("alice"), session: Some(alice.id()) };
    let lifts = Command::Block { address: account("bob"), blocked: false };
    let goes = Command::ClearPresence(PresenceLayer::Manual);
    world.engine.submit(vec![(actor.clone(), lifts), (actor, goes)]).unwrap();
    world.engine.advance(1_000).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Offline);
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

// ---- typing -------------------------------------------------------------------------------------------------

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
