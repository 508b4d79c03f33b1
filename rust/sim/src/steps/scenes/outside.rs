//! Somebody outside, whose side of a relay this plays by hand: it takes, puts off, refuses, amends and is late.

use super::Random;
use super::scene::{Over, Play, Scene, differs, outcomes, play};
use crate::ledger::aside::{Kept, line};
use crate::people::wall;
use crate::world::{Step, World};
use rosterkit::{
    Address, Amend, Amendment, Amends, Command, Content, Contents, Domain, MessageId, Outcome, Outgoing,
    Parcel, Relay, RelayedMessage, Send, Serves, Session, Settlement, Word,
};
use std::time::Duration;

/// A relay for a domain of this scene's own, and somebody there.
struct Outside {
    relay: Relay,
    them: Address,
}

impl Outside {
    fn open(scene: &mut Scene<'_>) -> Play<Outside> {
        let name = format!("{}.example", scene.name(9));
        let domain = Domain::new(&name).map_err(|error| error.to_string())?;
        let them = Address::account(&format!("them@{name}")).map_err(|error| error.to_string())?;
        match scene.world.engine(scene.machine)?.open_relay(Serves::Domains(vec![domain])) {
            Ok(relay) => {
                relay.connect();
                Ok(Outside { relay, them })
            }
            Err(error) => scene.stumble("a relay", error),
        }
    }

    /// The messages that are given out.
    fn given(&self, scene: &mut Scene<'_>) -> Play<Vec<RelayedMessage>> {
        scene.settle()?;
        let out = match self.relay.next(1_000, Duration::ZERO) {
            Ok(out) => out,
            Err(error) => return scene.stumble("a relay", error),
        };
        let messages = out.into_iter().filter_map(|out| match out {
            Outgoing::Parcel(Parcel { contents: Contents::Messages(messages), .. }) => Some(messages),
            _ => None,
        });
        Ok(messages.flatten().collect())
    }

    fn settle(&self, scene: &mut Scene<'_>, given: &[RelayedMessage], so: &Settlement) -> Play<()> {
        for message in given {
            let id = message.delivery_id.clone().unwrap_or_default();
            if let Err(error) = self.relay.settle(&id, so.clone()) {
                return scene.stumble("settling", error);
            }
        }
        scene.settle()
    }

    /// A message of theirs comes in, as often as it takes.
    fn comes(&self, scene: &mut Scene<'_>, message: &RelayedMessage) -> Play<Settlement> {
        let contents = Contents::Messages(vec![message.clone()]);
        let parcel = Parcel { sender: self.them.clone(), recipient: scene.address(0), contents };
        for _ in 0..10 {
            let result = self.relay.receive(parcel.clone());
            if scene.world.machines[scene.machine].disk.is_off() {
                return Err(Over::Early);
            }
            match result {
                Ok(settlements) => return Ok(settlements[0].clone()),
                Err(error) if scene.is_smooth() => return differs(format!("{parcel:?}: {error}")),
                Err(error) => {
                    scene.world.came(scene.machine, Err(error))?;
                    scene.heal()?;
                }
            }
        }
        Err(Over::Early)
    }
}

fn texts(given: &[RelayedMessage]) -> Vec<&str> {
    given.iter().map(|message| message.content.as_text().unwrap_or_default()).collect()
}

fn queued(scene: &mut Scene<'_>, to: &Address, text: &str, expires: Option<u64>) -> Play<rosterkit::Receipt> {
    let send = Send { recipient: to.clone(), expires: expires.map(wall), ..scene.message(0, text) };
    match scene.send_it(0, send)? {
        Ok(receipt) if receipt.outcome == Word::Queued => Ok(receipt),
        other => differs(format!("{text:?} for {to} was answered {other:?}")),
    }
}

/// What is put off comes again with back-off, and nothing overtakes it.
pub(super) fn put_off(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 1, |scene, random| {
        let outside = Outside::open(scene)?;
        let sender = scene.session(0, None)?;
        let first = queued(scene, &outside.them, "one", None)?;
        let mut given = outside.given(scene)?;
        scene.smooth()?;
        let second = queued(scene, &outside.them, "two", None)?;
        let more = outside.given(scene)?;
        scene.smooth()?;
        if texts(&given) != ["one"] || !more.is_empty() {
            return differs(format!("a pair has more than one under way: {given:?}"));
        }
        let name = scene.name(0);
        let lines = vec![line(&name, "one"), line(&name, "two")];
        scene.is(Kept::Messages(scene.address(0)), lines, &["relay.queued"])?;
        let mut waited = Vec::new();
        for _ in 0..random.usize(2..4) {
            outside.settle(scene, &given, &Settlement::Retry)?;
            let mut seconds = 0;
            loop {
                scene.pass(1_000)?;
                seconds += 1;
                given = outside.given(scene)?;
                scene.smooth()?;
                if !given.is_empty() {
                    break;
                }
                if seconds > 20 {
                    return differs(format!("what was put off did not come again: {waited:?}"));
                }
            }
            if texts(&given)[0] != "one" {
                return differs(format!("what was put off was overtaken: {given:?}"));
            }
            waited.push(seconds);
        }
        if waited[0] != 1 || !waited.is_sorted() || waited.last() == Some(&1) {
            return differs(format!("there is no back-off: {waited:?}"));
        }
        scene.covered(&["relay.back-off"]);
        let mut expected = Vec::new();
        for position in [first.position, second.position] {
            expected.push((position, Outcome::Relayed));
        }
        for _ in 0..2 {
            outside.settle(scene, &given, &Settlement::Relayed)?;
            given = outside.given(scene)?;
        }
        let told = outcomes(&scene.took(&sender)?);
        scene.smooth()?;
        if told != expected {
            return differs(format!("of what was relayed a sender is told {told:?}"));
        }
        scene.covered(&["relay.outcome"]);
        outside.relay.close();
        Ok(())
    })
}

/// What is amended before and behind its way out; what expires before a relay takes it.
pub(super) fn goes_out(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 1, |scene, random| {
        let outside = Outside::open(scene)?;
        let sender = scene.session(0, None)?;
        let first = queued(scene, &outside.them, "helo", None)?;
        if random.bool() {
            return waits_too_long(scene, &outside, &sender);
        }
        let mut given = outside.given(scene)?;
        let amendment = Amendment::Edit(Content::text("hello"));
        let amend =
            Amend { recipient: outside.them.clone(), message_id: first.id, amendment, client_id: None };
        scene.must(0, Command::Amend(amend))?;
        outside.settle(scene, &given, &Settlement::Relayed)?;
        given = outside.given(scene)?;
        scene.smooth()?;
        if given.len() != 1 || given[0].amends != Some(Amends::Edit(first.id)) || texts(&given) != ["hello"] {
            return differs(format!("an amendment is given out as {given:?}"));
        }
        let refuses = Settlement::Failed { reason: "not here".into() };
        let so = if random.bool() { refuses } else { Settlement::Relayed };
        outside.settle(scene, &given, &so)?;
        let told = outcomes(&scene.took(&sender)?);
        scene.smooth()?;
        if told.len() != 2 || told[0] != (first.position, Outcome::Relayed) {
            return differs(format!("of a message and its amendment a sender is told {told:?}"));
        }
        scene.covered(&["amend.relay"]);
        let lines = vec![format!("{} (edited)", line(&scene.name(0), "hello"))];
        scene.is(Kept::Messages(scene.address(0)), lines, &["amend.relay"])?;
        outside.relay.close();
        Ok(())
    })
}

/// Nobody takes it out in time.
fn waits_too_long(scene: &mut Scene<'_>, outside: &Outside, sender: &Session) -> Play<()> {
    let given = outside.given(scene)?;
    outside.settle(scene, &given, &Settlement::Relayed)?;
    outside.relay.disconnect();
    let expires = scene.world.now + 30_000;
    let late = queued(scene, &outside.them, "late", Some(expires))?;
    scene.pass(60_000)?;
    scene.heal()?;
    outside.relay.connect();
    let given = outside.given(scene)?;
    if !given.is_empty() && scene.is_smooth() {
        return differs(format!("what expired is given out: {given:?}"));
    }
    let told = outcomes(&scene.took(sender)?);
    scene.smooth()?;
    if told.last() != Some(&(late.position, Outcome::Expired)) {
        return differs(format!("of what expired before a relay took it a sender is told {told:?}"));
    }
    scene.covered(&["expiry.relay"]);
    outside.relay.close();
    Ok(())
}

/// What they send is decided by rules, comes once, and can be amended by them and by nobody else.
pub(super) fn comes_in(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let outside = Outside::open(scene)?;
        let does = random.u8(0..4);
        let to = scene.address(1);
        match does {
            0 => scene.rule(0, r#""actions": ["discard"]"#)?,
            1 => scene.rule(0, r#""actions": [{"reject-with": "Not today."}]"#)?,
            2 => scene.rule(0, &format!(r#""actions": [{{"redirect-to": ["{to}"]}}]"#))?,
            _ => {}
        }
        let id = MessageId::new(wall(scene.world.now).0, std::array::from_fn(|_| random.u8(..)));
        let message = RelayedMessage {
            delivery_id: Some(format!("d{}", random.u32(..)).into()),
            id: Some(id),
            ..RelayedMessage::new(Content::text("from outside"))
        };
        // Whoever is asked by a rule is asked about these alone.
        if does == 1 {
            let refused = outside.comes(scene, &message)?;
            if refused != (Settlement::Failed { reason: "Not today.".into() }) {
                return differs(format!("what a rule rejects is settled {refused:?}"));
            }
            scene.is(Kept::Messages(scene.address(0)), Vec::new(), &["ruled.relay"])?;
            return Ok(());
        }
        if does == 3 {
            scene.say(1, 0, "mine")?;
        }
        let it = line("them", "from outside");
        let mine = line(&scene.name(1), "mine");
        let (here, there) = match does {
            0 => (vec![], vec![]),
            2 => (vec![], vec![it.clone()]),
            _ => (vec![mine.clone(), it.clone()], vec![mine.clone()]),
        };
        for _ in 0..2 {
            let settled = outside.comes(scene, &message)?;
            if settled != Settlement::Relayed {
                return differs(format!("a message from outside is settled {settled:?}"));
            }
        }
        scene.settle()?;
        scene.heal()?;
        scene.is(Kept::Messages(scene.address(0)), here.clone(), &["ruled.relay", "relay.inbound-once"])?;
        scene.is(Kept::Messages(scene.address(1)), there, &["ruled.relay"])?;
        if does != 3 {
            return Ok(());
        }
        // Too late; and an amendment of theirs, and one of what is not theirs.
        let expires = Some(wall(scene.world.now.saturating_sub(1)));
        let late = RelayedMessage { expires, ..RelayedMessage::new(Content::text("late")) };
        let amends = |id: MessageId, text: &str, name: &str| RelayedMessage {
            amends: Some(Amends::Edit(id)),
            delivery_id: Some(name.into()),
            ..RelayedMessage::new(Content::text(text))
        };
        let is_failed = |settled: &Settlement| matches!(settled, Settlement::Failed { .. });
        let settled = outside.comes(scene, &late)?;
        if !is_failed(&settled) {
            return differs(format!("what comes too late is settled {settled:?}"));
        }
        let found = scene.history(0)?;
        let foreign = found.first().map_or(id, |message| message.id);
        let settled = outside.comes(scene, &amends(foreign, "theirs now", "a1"))?;
        if !is_failed(&settled) {
            return differs(format!("an amendment of what is not theirs is settled {settled:?}"));
        }
        scene.is(Kept::Messages(scene.address(0)), here, &["expiry.relay", "amend.relay"])?;
        let mine_before = mine.clone();
        let after = vec![mine, format!("{} (edited)", line("them", "edited outside"))];
        let here = vec![mine_before, it];
        scene.may_be(Kept::Messages(scene.address(0)), vec![here, after.clone()], &["amend.relay"]);
        let settled = outside.comes(scene, &amends(id, "edited outside", "a2"))?;
        if settled != Settlement::Relayed {
            return differs(format!("an amendment of theirs is settled {settled:?}"));
        }
        scene.is(Kept::Messages(scene.address(0)), after, &["amend.relay"])?;
        outside.relay.close();
        Ok(())
    })
}
