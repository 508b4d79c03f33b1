//! In whose hands messages are: sessions without a name, devices, and hosts that do not deal with what they are given.

use super::Random;
use super::scene::{Scene, differs, messages, play, texts};
use crate::ledger::aside::{Kept, line};
use crate::world::{Step, World};
use rosterkit::{
    Command, Consumer, DeviceName, Event, EventBody, Listener, ListenerError, MessageId, SessionId,
    SessionOptions,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What is sent to the account: some texts.
fn some_texts(random: &mut Random) -> Vec<String> {
    (0..random.usize(2..7)).map(|number| format!("text {number}")).collect()
}

/// What waited is in the hands of one session without a name, until it takes it or ends: then in those of the oldest.
pub(super) fn hands(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let all = some_texts(random);
        let receipts = scene.say_all(1, 0, &all)?;
        let ids: Vec<(MessageId, _)> = receipts.iter().map(|r| (r.id, r.position)).collect();
        let sessions = [scene.session(0, None)?, scene.session(0, None)?, scene.session(0, None)?];
        let held = |events: &[EventBody]| -> Vec<(MessageId, _)> {
            messages(events).iter().map(|message| (message.id, message.position)).collect()
        };
        let mut in_hand = Vec::new();
        for session in &sessions {
            in_hand.push(held(&scene.told(session)?));
        }
        scene.smooth()?;
        let both: BTreeSet<_> = in_hand.iter().flatten().copied().collect();
        if both != ids.iter().copied().collect() || both.len() != in_hand.iter().flatten().count() {
            return differs(format!("{ids:?} are in the hands {in_hand:?}"));
        }
        scene.covered(&["delivery.assigned"]);
        // Who has some takes a part of it, and dies.
        let [oldest, middle, newest] = &sessions;
        let (dies, lives, youngest) = match in_hand.iter().position(|held| !held.is_empty()) {
            Some(0) => (oldest, middle, newest),
            Some(1) => (middle, oldest, newest),
            _ => (newest, oldest, middle),
        };
        let took = random.usize(0..=ids.len());
        dies.ack(took as u64);
        scene.settle()?;
        dies.close();
        let (got, others) = (held(&scene.told(lives)?), held(&scene.told(youngest)?));
        scene.smooth()?;
        if got != ids[took..] || !others.is_empty() {
            return differs(format!(
                "{ids:?} were in the hands of who died and took {took}; {got:?} went to the oldest, {others:?} to another"
            ));
        }
        scene.covered(&["delivery.passed-on"]);
        if random.bool() {
            lives.ack(u64::MAX);
        }
        let lines = all.iter().map(|text| line(&scene.name(1), text)).collect();
        scene.is(Kept::Messages(scene.address(0)), lines, &["delivery.passed-on"])
    })
}

/// Fails for one text as often as it is given it, by turns with an error and a panic.
struct Stubborn {
    fails_for: String,
    given: Mutex<Given>,
}

/// How many there were in each batch and whether that failed, and what was dealt with.
type Given = (Vec<(usize, bool)>, Vec<String>);

impl Listener for Stubborn {
    fn on_events(&self, _: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        let bodies: Vec<EventBody> = events.iter().map(|event| event.body.clone()).collect();
        let said = texts(&bodies);
        if said.is_empty() {
            return Ok(());
        }
        let fails = said.contains(&self.fails_for);
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.0.push((said.len(), fails));
        if !fails {
            given.1.extend(said);
            return Ok(());
        }
        let count = given.0.len();
        drop(given);
        if count.is_multiple_of(2) {
            std::panic::resume_unwind(Box::new("a listener panics"));
        }
        Err(ListenerError("not this one".into()))
    }
}

/// A message that a host cannot deal with does not keep back the others: it comes alone three times, and is parked.
pub(super) fn park(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let all = some_texts(random);
        let bad = random.choice(&all).cloned().unwrap_or_default();
        scene.say_all(1, 0, &all)?;
        let stubborn = Arc::new(Stubborn { fails_for: bad.clone(), given: Mutex::default() });
        let consumer = Consumer::Listener(Arc::clone(&stubborn) as Arc<_>);
        let options = SessionOptions { reads_messages: true, consumer, ..SessionOptions::default() };
        let session = scene.session_with(0, options)?;
        scene.pass(1)?;
        scene.heal()?;
        session.close();
        scene.settle()?;
        let lines: Vec<String> = all.iter().map(|text| line(&scene.name(1), text)).collect();
        let is_smooth = scene.is_smooth();
        scene.is(Kept::Messages(scene.address(0)), lines, &["delivery.parked"])?;
        if !is_smooth {
            return Ok(());
        }
        let (given, dealt) = &*stubborn.given.lock().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<&String> = all.iter().filter(|text| **text != bad).collect();
        if dealt.iter().ne(others) {
            return differs(format!("of {all:?} all but {bad:?} was dealt with, and {dealt:?} was"));
        }
        // Once with others behind or before it, and three times alone.
        let failed = |count: fn(usize) -> bool| given.iter().filter(|(n, fails)| *fails && count(*n)).count();
        let (alone, together) = (failed(|count| count == 1), failed(|count| count > 1));
        if (alone, together) != (3, 1) {
            return differs(format!("{bad:?} of {all:?} was given in {given:?}"));
        }
        scene.covered(&["delivery.listener-fails", "delivery.parked"]);
        // Who comes next is not given it.
        scene.pass(2_000)?;
        scene.smooth()?;
        scene.is(Kept::Waits(scene.address(0), None), Vec::new(), &["delivery.parked"])
    })
}

/// Two devices, of which one writes, and then is retired.
pub(super) fn retire(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let names = ["desk", "phone"];
        let (writes, other) = if random.bool() { (0, 1) } else { (1, 0) };
        let sessions = [scene.session(0, Some(names[0]))?, scene.session(0, Some(names[1]))?];
        let actor = rosterkit::Actor { account: scene.address(0), session: Some(sessions[writes].id()) };
        let mine = scene.message(1, "mine");
        if let Err(error) = scene.ask_as(&actor, Command::Send(mine))? {
            return scene.stumble("a message of a device", error);
        }
        scene.say(1, 0, "theirs")?;
        let own = texts(&scene.told(&sessions[writes])?);
        let others = texts(&scene.told(&sessions[other])?);
        if scene.is_smooth() && (own != ["theirs"] || others != ["mine", "theirs"]) {
            return differs(format!("a device that wrote got {own:?}, and the other one {others:?}"));
        }
        if scene.is_smooth() {
            scene.covered(&["delivery.own-rows-pass"]);
        }
        let lines = vec![line(&scene.name(0), "mine"), line(&scene.name(1), "theirs")];
        let waits = Kept::Waits(scene.address(0), Some(names[other]));
        if random.bool() {
            // It is still its own row after whatever fails: here nobody has taken anything.
            let waits = Kept::Waits(scene.address(0), Some(names[writes]));
            return scene.is(waits, vec![line(&scene.name(1), "theirs")], &["delivery.own-rows-pass"]);
        }
        let devices = Kept::Devices(scene.address(0));
        let before: Vec<String> = names.map(str::to_owned).into();
        let after = vec![names[other].to_owned()];
        scene.may_be(devices.clone(), vec![before, after.clone()], &[]);
        retire_it(scene, names[writes])?;
        scene.is(devices, after, &["delivery.retired-device"])?;
        scene.is(waits, lines, &["delivery.devices"])?;
        let events = scene.told(&sessions[writes])?;
        if scene.is_smooth() && !matches!(events.last(), Some(EventBody::Ended(_))) {
            return differs(format!("the session of a retired device goes on: {events:?}"));
        }
        Ok(())
    })
}

/// Asked for again it may be done already.
fn retire_it(scene: &mut Scene<'_>, name: &str) -> super::scene::Play<()> {
    let retire = Command::RetireDevice(DeviceName::new(name).expect("a device's name"));
    match scene.ask(0, retire)? {
        Err(error) if error.kind != rosterkit::ErrorKind::NotFound => {
            differs(format!("a device cannot be retired: {error}"))
        }
        Err(error) if scene.is_smooth() => differs(format!("a device cannot be retired: {error}")),
        _ => Ok(()),
    }
}
