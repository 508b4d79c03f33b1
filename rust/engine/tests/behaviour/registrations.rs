//! Registrations: contacts that the host delivers to, and devices that it wakes.

use crate::world::{World, account, texts};
use crate::{overrides, seen};
use rosterkit::{
    Activity, Actor, Answer, Command, DeviceName, ErrorKind, HostEvent, Overrides, PushReason, Registration,
    RegistrationKind, SessionOptions, State, Timestamp, Word,
};
use std::time::Duration;

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

fn ask(world: &World, user: &str, command: Command) -> rosterkit::Result<Answer> {
    world.engine.call(&Actor { account: account(user), session: None }, command)
}

fn registration(name: &str, kind: RegistrationKind, expires: i64) -> Registration {
    let name = DeviceName::new(name).unwrap();
    let contact = format!("sip:{}", name.as_str()).into();
    Registration { name, kind, contact, expires: Timestamp(expires) }
}

fn register(world: &World, user: &str, name: &str, kind: RegistrationKind) {
    ask(world, user, Command::AddRegistration(registration(name, kind, NOW + HOUR))).unwrap();
}

fn registered(world: &World, user: &str) -> Vec<String> {
    match ask(world, user, Command::ReadRegistrations).unwrap() {
        Answer::Registrations(all) => all.iter().map(|one| one.name.as_str().to_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

fn host(world: &World) -> Vec<HostEvent> {
    world.engine.next_host_events(100, Duration::ZERO).unwrap()
}

fn pushes(world: &World) -> Vec<(String, PushReason, usize)> {
    let push = |event| match event {
        HostEvent::Push { registration, reason, badge, .. } => {
            Some((registration.as_str().to_owned(), reason, badge))
        }
        _ => None,
    };
    host(world).into_iter().filter_map(push).collect()
}

// behaviour: registration.presence, registration.expires, registration.restored
#[test]
fn a_contact_shows_the_account_online_until_it_expires_also_after_a_restart() {
    for crash in [false, true] {
        let world = World::new();
        let [alice, bob] = world.sessions(["alice", "bob"]);
        world.befriend(&alice, &bob);
        bob.close();
        assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
        register(&world, "bob", "desk", RegistrationKind::Contact);
        assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online);
        let world = if crash { world.killed() } else { world.reopen() };
        let [alice] = world.sessions(["alice"]);
        crate::online(&alice);
        assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online);
        assert_eq!(registered(&world, "bob"), ["desk"]);
        world.engine.advance(HOUR as u64 + 1_000).unwrap();
        assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
        assert!(registered(&world, "bob").is_empty());
    }
}

// behaviour: registration.sessions-first, registration.replaced
#[test]
fn what_a_session_shows_comes_before_a_contact() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    register(&world, "bob", "desk", RegistrationKind::Contact);
    bob.set_presence(rosterkit::SetPresence::state(State::Away)).unwrap();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Away);
    bob.close();
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online);
    register(&world, "bob", "desk", RegistrationKind::Push);
    assert_eq!(registered(&world, "bob"), ["desk"]);
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
    ask(&world, "bob", Command::RemoveRegistration(DeviceName::new("desk").unwrap())).unwrap();
    let again =
        ask(&world, "bob", Command::RemoveRegistration(DeviceName::new("desk").unwrap())).unwrap_err();
    assert_eq!(again.kind, ErrorKind::NotFound);
}

// behaviour: registration.delivery, registration.claim
#[test]
fn messages_go_to_contacts_when_they_are_to_and_wait_until_the_host_has_delivered_them() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    bob.close();
    register(&world, "bob", "desk", RegistrationKind::Contact);
    assert_eq!(alice.send(&account("bob"), "kept").unwrap().outcome, Word::Stored);
    assert!(host(&world).is_empty());
    let deliver = Overrides { deliver_to_devices: Some(true), ..Overrides::default() };
    overrides(&world, "bob", deliver);
    let receipt = alice.send(&account("bob"), "to the desk").unwrap();
    assert_eq!(receipt.outcome, Word::Delivered);
    let host = host(&world);
    let [HostEvent::Deliver { registration, contact, message, .. }] = &host[..] else { panic!("{host:?}") };
    assert_eq!((registration.as_str(), &**contact), ("desk", "sip:desk"));
    assert_eq!((message.id, message.content.as_text()), (receipt.id, Some("to the desk")));
    ask(&world, "bob", Command::Claim(vec![message.position])).unwrap();
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert_eq!(texts(&world.drain(&bob)), ["kept"], "nobody said that this one was delivered");
    // With nothing kept offline a contact is somebody who is there.
    overrides(
        &world,
        "bob",
        Overrides { deliver_to_devices: Some(true), offline_storage: Some(false), ..Overrides::default() },
    );
    bob.close();
    let [alice] = world.sessions(["alice"]);
    assert_eq!(alice.send(&account("bob"), "hello").unwrap().outcome, Word::Delivered);
}

// behaviour: registration.push
#[test]
fn devices_are_to_be_woken_when_no_session_is_there_to_take_what_comes() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    register(&world, "bob", "phone", RegistrationKind::Push);
    alice.send(&account("bob"), "he is there").unwrap();
    world.drain(&bob);
    assert!(pushes(&world).is_empty());
    bob.close();
    alice.send(&account("bob"), "one").unwrap();
    alice.send(&account("bob"), "two").unwrap();
    alice.add_buddy(&account("bob"), None, None).unwrap();
    let phone = || "phone".to_owned();
    let (message, request) = (PushReason::NewMessage, PushReason::BuddyRequest);
    assert_eq!(pushes(&world), [(phone(), message, 1), (phone(), message, 2), (phone(), request, 3)]);
    // An app that is suspended takes nothing.
    let options =
        SessionOptions { reads_messages: true, lease_ms: Some(u64::MAX), ..SessionOptions::default() };
    let suspended = world.engine.open_session(&account("bob"), options).unwrap();
    suspended.set_activity(Activity::Suspended).unwrap();
    alice.send(&account("bob"), "three").unwrap();
    assert_eq!(pushes(&world), [(phone(), message, 4)]);
    suspended.set_activity(Activity::Foreground).unwrap();
    alice.send(&account("bob"), "four").unwrap();
    assert!(pushes(&world).is_empty());
}

// behaviour: registration.refused
#[test]
fn registrations_are_checked_and_bounded() {
    let world = World::new();
    world.create("bob");
    let refused = |registration| ask(&world, "bob", Command::AddRegistration(registration)).unwrap_err().kind;
    let push = RegistrationKind::Push;
    assert_eq!(refused(registration("phone", push, NOW)), ErrorKind::InvalidArgument);
    let empty = Registration { contact: "".into(), ..registration("phone", push, NOW + HOUR) };
    assert_eq!(refused(empty), ErrorKind::InvalidArgument);
    for number in 0..64 {
        register(&world, "bob", &format!("phone {number}"), push);
    }
    assert!(matches!(refused(registration("one more", push, NOW + HOUR)), ErrorKind::LimitExceeded { .. }));
    register(&world, "bob", "phone 3", push);
    assert_eq!(registered(&world, "bob").len(), 64);
}

// behaviour: host.missed
#[test]
fn what_the_host_does_not_take_is_lost_and_told() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    for number in 0..64 {
        register(&world, "bob", &format!("phone {number}"), RegistrationKind::Push);
    }
    for number in 0..130 {
        alice.send(&account("bob"), &format!("{number}")).unwrap();
    }
    assert_eq!(host(&world)[0], HostEvent::Missed { count: 130 * 64 - 8_192 });
    let rest: usize = std::iter::repeat_with(|| host(&world).len()).take_while(|count| *count > 0).sum();
    assert_eq!(rest, 8_192 - 99);
}
