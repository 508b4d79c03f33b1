//! Named devices, their cursors, and what is claimed by whom.

use crate::overrides;
use crate::world::{World, account, kinds, messages, texts, without_limits};
use rosterkit::{Actor, Answer, Command, EndReason, ErrorKind, EventBody, Overrides};
use std::time::Duration;

// ---- devices and cursors ------------------------------------------------------------------------------------

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

// ---- claims -------------------------------------------------------------------------------------------------

// behaviour: delivery.passed-on, delivery.assigned
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

/// What it held stands behind what its heir has yet to read, in the log before it; where a page of large rows ends between the
/// two, nothing is taken for gone that was not looked for.
// behaviour: delivery.passed-on
#[test]
fn what_a_dying_session_held_comes_behind_large_messages() {
    let world = World::with(without_limits());
    let [alice, slow] = world.sessions(["alice", "bob"]);
    let send = |count: usize, size: usize| {
        let texts = (0..count).map(|number| format!("{number} of {size} {}", "-".repeat(size)));
        texts.inspect(|text| _ = alice.send(&account("bob"), text).unwrap()).collect::<Vec<_>>()
    };
    // As many as it takes at once, then a page of one size and one of another.
    let mut sent = [send(256, 1), send(35, 30_000), send(17, 65_000)].concat();
    let [heir] = world.sessions(["bob"]);
    slow.close();
    let mut came = texts(&world.drain(&heir));
    came.sort();
    sent.sort();
    assert!(came == sent, "{} of {} came", came.len(), sent.len());
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

/// What is in the hands of a session that acknowledges nothing is bounded, in rows and in bytes.
// behaviour: delivery.slow-session
#[test]
fn what_a_session_has_in_hand_is_bounded() {
    // Sixteen of them are less than a MiB, and more as they are stored.
    let large = "long ".repeat(13_100);
    for (waiting, text, most) in [(2_500, "short", 2_048), (80, &large, 40)] {
        for reads in ["bob's phone", "bob", "alice's phone"] {
            let world = World::with(without_limits());
            let [alice] = world.sessions(["alice"]);
            world.create("bob");
            // Of what her account sent the phone gets copies.
            world.device("alice", "phone").close();
            for _ in 0..waiting {
                alice.send(&account("bob"), text).unwrap();
            }
            let reader = match reads {
                "bob" => world.sessions(["bob"])[0].clone(),
                "bob's phone" => world.device("bob", "phone"),
                _ => world.device("alice", "phone"),
            };
            let read = || reader.next_events(10_000, Duration::ZERO).unwrap();
            let held: Vec<_> = std::iter::repeat_with(read).take_while(|batch| !batch.is_empty()).collect();
            let count = held.iter().map(Vec::len).sum::<usize>();
            assert!(count > most / 3 && count <= most, "{reads}: {count}");
            assert!(held.iter().all(|batch| batch.len() <= 512), "others come while it works on some");
            reader.ack(held[0].last().unwrap().seq);
            assert!(!read().is_empty(), "what is acknowledged makes room");
            reader.hand_back();
            assert_eq!(texts(&world.drain(&reader)).len(), waiting - held[0].len());
        }
    }
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
