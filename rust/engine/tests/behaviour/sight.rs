//! How much somebody sees: visibility, when an account was last there, presence directed to one address.

use crate::world::{World, account, texts};
use crate::{online, overrides, seen};
use rosterkit::{
    Activity, Address, ErrorKind, LastSeen, LastSeenPrecision, Overrides, Presence, PresenceLayer, Session,
    SetPresence, State, Timestamp, Visibility, Word,
};

const START_MS: i64 = 1_700_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn busy(note: &str) -> SetPresence {
    SetPresence { note: Some(note.into()), extensions: vec![1, 2, 3], ..SetPresence::state(State::Busy) }
}

fn friends(world: &World) -> [Session; 2] {
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    [alice, bob]
}

fn exactly(world: &World, user: &str) {
    let exact = Overrides { last_seen: Some(LastSeenPrecision::Exact), ..Overrides::default() };
    overrides(world, user, exact);
}

fn at(millis: u64) -> Option<LastSeen> {
    Some(LastSeen::At(Timestamp(START_MS + millis as i64)))
}

// behaviour: presence.visibility, presence.extensions
#[test]
fn an_account_shows_one_buddy_everything_one_the_state_and_one_nothing() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    let [carol, dave] = world.sessions(["carol", "dave"]);
    world.befriend(&alice, &carol);
    world.befriend(&alice, &dave);
    alice.set_visibility(&account("carol"), Visibility::StateOnly).unwrap();
    alice.set_visibility(&account("dave"), Visibility::Hidden).unwrap();
    assert_eq!(seen(&world.drain(&dave), "alice"), Some(Presence::offline()));
    alice.set_presence(busy("in a call")).unwrap();
    let full = Presence {
        note: Some("in a call".into()),
        extensions: [1, 2, 3][..].into(),
        ..Presence::plain(State::Busy)
    };
    assert_eq!(seen(&world.drain(&bob), "alice"), Some(full.clone()));
    assert_eq!(seen(&world.drain(&carol), "alice"), Some(Presence::plain(State::Busy)));
    assert_eq!(seen(&world.drain(&dave), "alice"), None);
    // Who sees the state only is not told of another note.
    alice.set_presence(busy("in another call")).unwrap();
    assert!(seen(&world.drain(&bob), "alice").is_some());
    assert_eq!(seen(&world.drain(&carol), "alice"), None);
    // Asking, coming online and sending say the same.
    let asked = |session: &Session| session.presence_of(&account("alice")).unwrap();
    assert_eq!((asked(&carol), asked(&dave)), (Presence::plain(State::Busy), Presence::offline()));
    dave.go_offline().unwrap();
    online(&dave);
    assert_eq!(seen(&world.drain(&dave), "alice"), Some(Presence::offline()));
    assert_eq!(dave.send(&account("alice"), "there?").unwrap().outcome, Word::Stored);
    assert_eq!(carol.send(&account("alice"), "there?").unwrap().outcome, Word::Delivered);
    // It is there after a restart, and can be taken back.
    let world = world.killed();
    let [alice, bob, carol, dave] = world.sessions(["alice", "bob", "carol", "dave"]);
    [&bob, &carol, &dave].into_iter().for_each(online);
    alice.set_presence(busy("in a call")).unwrap();
    assert_eq!(asked(&carol), Presence::plain(State::Busy));
    for session in [&carol, &dave] {
        world.drain(session);
        alice.set_visibility(session.account(), Visibility::Full).unwrap();
        assert_eq!(seen(&world.drain(session), "alice"), Some(full.clone()));
    }
    // Of somebody with whom there is nothing there is nothing to say.
    world.create("eve");
    let stranger = alice.set_visibility(&account("eve"), Visibility::Hidden).unwrap_err();
    assert_eq!(stranger.kind, ErrorKind::NotFound);
}

// behaviour: presence.visibility
#[test]
fn who_was_removed_and_comes_back_is_somebody_new() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    alice.set_visibility(&account("bob"), Visibility::Hidden).unwrap();
    alice.remove_buddy(&account("bob")).unwrap();
    world.befriend(&alice, &bob);
    assert_eq!(bob.presence_of(&account("alice")).unwrap().state, State::Online);
}

// behaviour: presence.extensions
#[test]
fn what_only_clients_understand_is_bounded() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    let long = SetPresence { extensions: vec![0; 4_097], ..SetPresence::state(State::Online) };
    assert_eq!(alice.set_presence(long).unwrap_err().kind, ErrorKind::InvalidArgument);
}

// behaviour: last-seen.read, last-seen.precision, last-seen.acts
#[test]
fn a_buddy_was_last_there_when_a_person_last_acted_where_it_could_be_seen() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    let last_seen = || alice.last_seen(&account("bob")).unwrap();
    exactly(&world, "bob");
    assert_eq!(last_seen(), Some(LastSeen::Online));
    world.engine.advance(60_000).unwrap();
    bob.close();
    let gone = last_seen();
    assert_eq!(gone, at(60_000));
    // Neither an invisible session nor a program's word is a person's act.
    world.engine.advance(60_000).unwrap();
    let [bob] = world.sessions(["bob"]);
    bob.set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Online) }).unwrap();
    bob.set_activity(Activity::Foreground).unwrap();
    bob.close();
    assert_eq!(last_seen(), gone);
    let [bob] = world.sessions(["bob"]);
    let idle = SetPresence { layer: PresenceLayer::Automatic, ..SetPresence::state(State::Away) };
    bob.set_presence(idle).unwrap();
    world.engine.advance(60_000).unwrap();
    bob.set_activity(Activity::Background).unwrap();
    assert_eq!(last_seen(), Some(LastSeen::Online));
    let world = {
        bob.close();
        world.engine.advance(2_000).unwrap();
        world.reopen()
    };
    let [alice] = world.sessions(["alice"]);
    let last_seen = || alice.last_seen(&account("bob")).unwrap();
    assert_eq!(last_seen(), at(180_000), "it is there after a restart");
    // Roughly, which is what an account says of itself, or nothing.
    overrides(&world, "bob", Overrides::default());
    assert_eq!(last_seen(), Some(LastSeen::Recently));
    world.engine.advance(4 * DAY_MS).unwrap();
    assert_eq!(last_seen(), Some(LastSeen::WithinWeek));
    let nothing = Overrides { last_seen: Some(LastSeenPrecision::Nothing), ..Overrides::default() };
    overrides(&world, "bob", nothing);
    assert_eq!(last_seen(), None);
}

// behaviour: last-seen.lease, last-seen.acts
#[test]
fn a_lease_that_ran_out_says_nothing_of_when_somebody_was_there() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    exactly(&world, "bob");
    let options = rosterkit::SessionOptions { lease_ms: Some(60_000), ..Default::default() };
    let leased = world.engine.open_session(&account("bob"), options).unwrap();
    bob.close();
    world.engine.advance(10_000).unwrap();
    leased.set_presence(SetPresence::state(State::Online)).unwrap();
    world.engine.advance(25_000).unwrap();
    // Nor does what a program does meanwhile, nor a message.
    let idle = SetPresence { layer: PresenceLayer::Automatic, ..SetPresence::state(State::Away) };
    leased.set_presence(idle).unwrap();
    leased.clear_presence(PresenceLayer::Automatic).unwrap();
    leased.send(&account("alice"), "later").unwrap();
    world.engine.advance(25_000).unwrap();
    leased.touch();
    world.engine.advance(100_000).unwrap();
    assert_eq!(alice.last_seen(&account("bob")).unwrap(), at(10_000));
}

// behaviour: last-seen.hidden
#[test]
fn for_who_is_blocked_or_sees_nothing_an_account_has_not_come_back() {
    for hides in ["blocks", "hides", "blocks the domain"] {
        let [there, away] = [true, false].map(|hidden| {
            let world = World::new();
            let [alice, bob] = friends(&world);
            exactly(&world, "bob");
            world.engine.advance(5_000).unwrap();
            match (hidden, hides) {
                (false, _) => bob.close(),
                (true, "blocks") => bob.block(&account("alice"), true).unwrap(),
                (true, "hides") => bob.set_visibility(&account("alice"), Visibility::Hidden).unwrap(),
                (true, _) => bob.block(&Address::new("example.org").unwrap(), true).unwrap(),
            }
            let mut trace = vec![format!("{:?}", alice.last_seen(&account("bob")))];
            for _ in 0..5 {
                world.engine.advance(2 * DAY_MS).unwrap();
                if hidden {
                    bob.set_presence(SetPresence::state(State::Chat)).unwrap();
                    bob.set_activity(Activity::Foreground).unwrap();
                }
                trace.push(format!("{:?}", alice.last_seen(&account("bob"))));
            }
            trace
        });
        assert_eq!(there, away, "{hides}");
        assert_eq!(there[0], format!("{:?}", rosterkit::Result::Ok(at(5_000))));
    }
}

// behaviour: last-seen.read
#[test]
fn strangers_and_those_who_see_the_state_only_learn_nothing() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    let [eve] = world.sessions(["eve"]);
    alice.set_visibility(&account("bob"), Visibility::StateOnly).unwrap();
    for session in [&eve, &bob] {
        assert_eq!(session.last_seen(&account("alice")).unwrap(), None);
        assert_eq!(session.last_seen(&account("nobody")).unwrap(), None);
        let outside = Address::account("somebody@example.net").unwrap();
        assert_eq!(session.last_seen(&outside).unwrap(), None);
    }
    assert_eq!(alice.last_seen(&account("alice")).unwrap(), Some(LastSeen::Online));
    let domain = Address::new("example.org").unwrap();
    assert_eq!(alice.last_seen(&domain).unwrap_err().kind, ErrorKind::InvalidArgument);
}

// behaviour: presence.directed
#[test]
fn presence_is_directed_to_one_address_until_it_is_taken_back_or_the_session_goes() {
    let world = World::new();
    let [alice, eve, bob] = world.sessions(["alice", "eve", "bob"]);
    [&alice, &eve, &bob].into_iter().for_each(online);
    let (to_eve, shown) = (account("eve"), |session: &Session| seen(&world.drain(session), "alice"));
    alice.direct_presence(&to_eve, Some(busy("for you"))).unwrap();
    assert_eq!(shown(&eve).map(|it| (it.state, it.note)), Some((State::Busy, Some("for you".into()))));
    assert_eq!(shown(&bob), None);
    alice.direct_presence(&to_eve, None).unwrap();
    assert_eq!(shown(&eve), Some(Presence::offline()));
    alice.direct_presence(&to_eve, None).unwrap();
    assert_eq!(shown(&eve), None);
    // Whatever ends the session ends it.
    for end in [0, 1, 2] {
        let [there] = world.sessions(["alice"]);
        online(&there);
        there.direct_presence(&to_eve, Some(busy("again"))).unwrap();
        assert_eq!(shown(&eve).map(|it| it.state), Some(State::Busy));
        match end {
            0 => there.close(),
            1 => there.go_offline().unwrap(),
            _ => there.block(&to_eve, true).unwrap(),
        }
        assert_eq!(shown(&eve), Some(Presence::offline()), "{end}");
    }
    // Nobody who is blocked, here or there, is shown or shows anything.
    alice.direct_presence(&to_eve, Some(busy("psst"))).unwrap();
    eve.direct_presence(&account("alice"), Some(busy("psst"))).unwrap();
    assert_eq!((shown(&eve), seen(&world.drain(&alice), "eve")), (None, None));
}

// behaviour: presence.directed
#[test]
fn a_buddy_to_whom_presence_was_directed_sees_what_they_see_anyway_when_it_is_taken_back() {
    let world = World::new();
    let [alice, bob] = friends(&world);
    alice.direct_presence(&account("bob"), Some(busy("for you"))).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Busy);
    alice.direct_presence(&account("bob"), None).unwrap();
    assert_eq!(seen(&world.drain(&bob), "alice").unwrap().state, State::Online);
    assert!(texts(&world.drain(&bob)).is_empty());
    for n in 0..256 {
        alice.direct_presence(&account(&format!("user{n}")), Some(busy("hello"))).unwrap();
    }
    let over = alice.direct_presence(&account("bob"), Some(busy("hello"))).unwrap_err();
    assert!(matches!(over.kind, ErrorKind::LimitExceeded { .. }));
    let offline = alice.direct_presence(&account("bob"), Some(SetPresence::state(State::Offline)));
    assert_eq!(offline.unwrap_err().kind, ErrorKind::InvalidArgument);
    // What goes with the whole session is not said to one address.
    let whole = [
        SetPresence { priority: 1, ..busy("psst") },
        SetPresence { until: Some(Timestamp(START_MS + 1_000)), ..busy("psst") },
        SetPresence { invisible: true, ..busy("psst") },
        SetPresence { layer: PresenceLayer::Automatic, ..busy("psst") },
    ];
    for presence in whole {
        let refused = alice.direct_presence(&account("user1"), Some(presence)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidArgument);
    }
}
