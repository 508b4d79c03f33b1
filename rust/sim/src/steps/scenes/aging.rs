//! What time does to messages: they expire, and a history keeps only so much.

use super::Random;
use super::scene::{Play, Scene, differs, outcomes, play, texts};
use crate::hosting::hosted;
use crate::ledger::aside::{Kept, line};
use crate::people::wall;
use crate::world::{Step, World};
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Anchor, Answer, Command, Direction, Engine, EngineOptions, HistoryRequest, Outcome, Overrides, Send,
    SessionOptions, Timestamp,
};
use std::time::Duration;

/// One message that expires, and one that stays, for somebody who takes them in time or not.
pub(super) fn expire(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let (is_buddy, is_taken, is_hidden) = (random.bool(), random.u8(0..3) == 0, random.u8(0..3) == 0);
        if is_buddy {
            scene.befriend(0, 1)?;
        }
        let sender = scene.session(1, None)?;
        let expires = Some(wall(scene.world.now + 40_000));
        let short = Send { expires, ..scene.message(0, "short") };
        let short = match scene.send_it(1, short)? {
            Ok(receipt) => receipt,
            Err(error) => return differs(format!("what expires later was refused: {error}")),
        };
        scene.say(1, 0, "stays")?;
        let name = scene.name(1);
        let both = vec![line(&name, "short"), line(&name, "stays")];
        let after = if is_taken { both.clone() } else { both[1..].to_vec() };
        let [to, from] = [0, 1].map(|who| Kept::Messages(scene.address(who)));
        if is_taken {
            let session = scene.session(0, None)?;
            scene.show(&session, is_hidden)?;
            let got = texts(&scene.took(&session)?);
            scene.smooth()?;
            if got != ["short", "stays"] {
                return differs(format!("in time a session got {got:?}"));
            }
            session.close();
            // That it took them is on disk within a second.
            scene.pass(3_000)?;
            scene.smooth()?;
        }
        let knows = is_taken && is_buddy && !is_hidden;
        let told_early = outcomes(&scene.took(&sender)?);
        if scene.is_smooth() && !told_early.is_empty() {
            return differs(format!("before its time a sender is told {told_early:?}"));
        }
        if random.u8(0..3) == 0 && scene.is_smooth() {
            down(scene, short.position, &after, knows)?;
        }
        scene.may_be(to.clone(), vec![both.clone(), after.clone()], &["expiry.undelivered"]);
        scene.pass(100_000)?;
        scene.heal()?;
        scene.is(to, after, &["expiry.undelivered", "expiry.restart"])?;
        scene.is(from, both, &["expiry.told"])?;
        let told = outcomes(&scene.took(&sender)?);
        let expected = if knows { Vec::new() } else { vec![(short.position, Outcome::Expired)] };
        scene.smooth()?;
        if told != expected {
            return differs(format!(
                "a sender is told {told:?}, not {expected:?}: buddy {is_buddy}, taken {is_taken}, hidden {is_hidden}"
            ));
        }
        scene.covered(if is_taken && !knows { &["expiry.told", "expiry.unseen"] } else { &["expiry.told"] });
        Ok(())
    })
}

/// The same machine, had it been down until behind that time.
fn down(scene: &mut Scene<'_>, position: rosterkit::Position, after: &[String], knows: bool) -> Play<()> {
    let directory = crate::world::folder().map_err(|error| error.to_string())?;
    let path = directory.path().join("im.db");
    if let Err(error) = scene.world.engine(scene.machine)?.backup_to(&path) {
        return scene.stumble("a backup", error);
    }
    let store = SqliteStore::new(path, SqliteOptions::small());
    let options = EngineOptions::hosting(hosted(scene.machine));
    let engine = Engine::open_virtual(store, options, 1, wall(scene.world.now + 100_000))
        .map_err(|error| format!("opening a backup: {error}"))?;
    engine.advance(2_000).map_err(|error| error.to_string())?;
    let found = Kept::Messages(scene.address(0)).read(&engine)?;
    let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
    let sender = engine.open_session(&scene.address(1), options).map_err(|error| error.to_string())?;
    let events = sender.next_events(1_000, Duration::ZERO).map_err(|error| error.to_string())?;
    let told = outcomes(&events.into_iter().map(|event| event.body).collect::<Vec<_>>());
    let expected = if knows { Vec::new() } else { vec![(position, Outcome::Expired)] };
    engine.shutdown(true).map_err(|error| error.to_string())?;
    if found != after || told != expected {
        return differs(format!("after it was down there is {found:?}, and its sender is told {told:?}"));
    }
    scene.covered(&["expiry.restart"]);
    Ok(())
}

/// A history keeps so many messages; what a device has not taken stays.
pub(super) fn keep(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let (count, keeps) = (random.usize(4..9), random.usize(1..4));
        let all: Vec<String> = (0..count).map(|number| format!("text {number}")).collect();
        let has_device = random.bool();
        let device = if has_device { Some(scene.session(0, Some("phone"))?) } else { None };
        let history_messages = Some(keeps as u32);
        scene.prefer(0, Overrides { history_messages, ..Overrides::default() })?;
        // What comes while both are there is in the hands of both.
        let session = scene.session(0, None)?;
        scene.say_all(1, 0, &all)?;
        let got = texts(&scene.took(&session)?);
        scene.smooth()?;
        if got != all {
            return differs(format!("a session got {got:?}"));
        }
        session.close();
        scene.pass(3_000)?;
        scene.smooth()?;
        let lines: Vec<String> = all.iter().map(|text| line(&scene.name(1), text)).collect();
        let [to, from] = [0, 1].map(|who| Kept::Messages(scene.address(who)));
        let after = lines[count - keeps..].to_vec();
        if let Some(device) = device {
            scene.pass(3_700_000)?;
            scene.is(to.clone(), lines.clone(), &["history.retention"])?;
            let got = texts(&scene.took(&device)?);
            scene.smooth()?;
            if got != all {
                return differs(format!("a device got {got:?}"));
            }
        }
        scene.may_be(to.clone(), vec![lines.clone(), after.clone()], &["history.retention"]);
        scene.pass(3_700_000)?;
        scene.smooth()?;
        // Who is not in memory is looked at when somebody asks.
        scene.must(0, Command::ReadDevices)?;
        scene.pass(3_000)?;
        scene.smooth()?;
        scene.is(to, after, &["history.retention"])?;
        scene.is(from, lines, &["history.retention"])
    })
}

/// With history off a message goes when everybody has it, and its `client_id` is remembered.
pub(super) fn keep_nothing(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        scene.prefer(0, Overrides { keep_history: Some(false), ..Overrides::default() })?;
        let has_device = random.bool();
        let device = if has_device { Some(scene.session(0, Some("phone"))?) } else { None };
        let session = scene.session(0, None)?;
        let send = scene.message(0, "secret");
        let Ok(receipt) = scene.send_it(1, send.clone())? else {
            return differs("a message was refused".into());
        };
        let lines = vec![line(&scene.name(1), "secret")];
        let got = texts(&scene.took(&session)?);
        scene.smooth()?;
        if got != ["secret"] {
            return differs(format!("with history off a session got {got:?}"));
        }
        scene.pass(3_000)?;
        scene.smooth()?;
        if let Some(device) = device {
            let got = texts(&scene.took(&device)?);
            scene.smooth()?;
            if got != ["secret"] {
                return differs(format!("with history off a device got {got:?}"));
            }
        }
        let kept = Kept::Messages(scene.address(0));
        scene.pass(3_000)?;
        scene.smooth()?;
        scene.is(kept, Vec::new(), &["history.off"])?;
        scene.is(
            Kept::Waits(scene.address(0), has_device.then_some("phone")),
            Vec::new(),
            &["history.off"],
        )?;
        match scene.send_it(1, send)? {
            Ok(again) if again == receipt => {}
            other => return differs(format!("a send had {receipt:?}, and again {other:?}")),
        }
        scene.is(Kept::Messages(scene.address(1)), lines, &["history.off"])
    })
}

/// Pages that begin at a time, and a search.
pub(super) fn by_time(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let mut sent: Vec<(Timestamp, String)> = Vec::new();
        for number in 0..random.usize(2..5) {
            let texts: Vec<String> = (0..random.usize(1..3)).map(|n| format!("Text {number}.{n}")).collect();
            let receipts = scene.say_all(1, 0, &texts)?;
            sent.extend(receipts.iter().map(|receipt| receipt.time).zip(texts));
            scene.pass(random.u64(1..5_000))?;
        }
        let middle = sent[random.usize(..sent.len())].0;
        let at = Timestamp(middle.0 + random.i64(-1..2));
        for (direction, expected) in [
            (Direction::Newer, sent.iter().filter(|(time, _)| *time >= at).collect::<Vec<_>>()),
            (Direction::Older, sent.iter().filter(|(time, _)| *time < at).collect()),
        ] {
            let request = HistoryRequest { peer: None, anchor: Anchor::Time(at), direction, limit: 1_000 };
            let Answer::History(page) = scene.must(0, Command::ReadHistory(request))? else {
                return differs("a page of history was answered otherwise".into());
            };
            let found = page.messages.iter().map(|m| (m.time, m.content.as_text().unwrap_or_default()));
            if !found.clone().eq(expected.iter().map(|(time, text)| (*time, text.as_str()))) {
                return differs(format!(
                    "{direction:?} than {at:?} is {:?}, not {expected:?}",
                    page.messages
                ));
            }
        }
        scene.covered(&["history.by-time", "delivery.offline-messages"]);
        Ok(())
    })
}
