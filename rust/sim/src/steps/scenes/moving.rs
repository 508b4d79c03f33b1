//! An export, and what another engine makes of it, of a part of it, and of it a second time.

use super::Random;
use super::scene::{Play, Scene, differs, play};
use crate::hosting::hosted;
use crate::ledger::aside::Kept;
use crate::people::{domain, wall};
use crate::world::{Step, World};
use rosterkit::store::memory::MemoryStore;
use rosterkit::{
    Actor, Answer, Command, Engine, EngineOptions, ErrorKind, EventBody, MessageId, Op, Position, RosterEdit,
    SessionOptions, Status, Timestamp,
};
use std::path::Path;
use std::time::Duration;

/// An engine with nothing in it, which hosts the same domains, or another one.
fn empty(scene: &Scene<'_>, is_same: bool) -> Result<Engine, String> {
    let options = match is_same {
        true => EngineOptions::hosting(hosted(scene.machine)),
        false => EngineOptions::hosting([domain(1 - scene.machine)]),
    };
    Engine::open_virtual(MemoryStore::new(), options, 1, wall(scene.world.now)).map_err(|e| e.to_string())
}

/// What waits for an account: ids, times and texts, in order.
fn waiting(
    engine: &Engine,
    scene: &Scene<'_>,
    who: usize,
) -> Result<Vec<(MessageId, Timestamp, String)>, String> {
    let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
    let session = engine.open_session(&scene.address(who), options).map_err(|e| e.to_string())?;
    let events = session.next_events(1_000, Duration::ZERO).map_err(|e| e.to_string())?;
    let message = |event: rosterkit::Event| match event.body {
        EventBody::Message(m) => Some((m.id, m.time, m.content.as_text().unwrap_or("data").to_owned())),
        _ => None,
    };
    Ok(events.into_iter().filter_map(message).collect())
}

/// What one believes of another.
fn status(engine: &Engine, scene: &Scene<'_>, (of, peer): (usize, usize)) -> Result<Status, String> {
    match engine.call(&scene.actor(of), Command::ReadRoster { since: Position::ZERO }) {
        Ok(Answer::Roster(roster)) => {
            let buddy = roster.buddies.iter().find(|buddy| buddy.address == scene.address(peer));
            Ok(buddy.map_or(Status::None, rosterkit::Buddy::status))
        }
        other => Err(format!("a roster was answered {other:?}")),
    }
}

/// Somebody who was asked and has messages waiting moves to another engine.
pub(super) fn moving(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let ask = RosterEdit::new(&scene.address(0), Op::Add);
        scene.must(1, Command::Roster(ask))?;
        let mut sent = Vec::new();
        for number in 0..random.usize(1..5) {
            let text = format!("text {number}");
            let receipt = scene.say(1, 0, &text)?;
            sent.push((receipt.id, receipt.time, text));
            scene.pass(random.u64(0..2_000))?;
        }
        scene.heal()?;
        let directory = crate::world::folder().map_err(|error| error.to_string())?;
        let path = directory.path().join("export.xml");
        if let Err(error) = scene.world.engine(machine)?.export_xep0227(&path) {
            return scene.stumble("an export", error);
        }
        let whole = std::fs::read(&path).map_err(|error| error.to_string())?;
        // What has the name stays as it is, and nothing else is there.
        let again = scene.world.engine(machine)?.export_xep0227(&path);
        let files = std::fs::read_dir(directory.path()).map_err(|error| error.to_string())?.count();
        let now = std::fs::read(&path).map_err(|error| error.to_string())?;
        let is_kept = again.as_ref().err().map(|error| error.kind) == Some(ErrorKind::Conflict);
        if scene.is_smooth() && !is_kept || now != whole || files != 1 {
            return differs(format!("an export was written over, or left something: {again:?}, {files}"));
        }
        scene.covered(&["export.name"]);
        comes_in(scene, &path, &sent)?;
        broken(scene, random, directory.path(), &whole)
    })
}

/// Messages keep their order, ids and times, and the request is answered there.
fn comes_in(scene: &mut Scene<'_>, path: &Path, sent: &[(MessageId, Timestamp, String)]) -> Play<()> {
    let there = empty(scene, true)?;
    there.import_xep0227(path, |_| Ok(())).map_err(|error| format!("an import: {error}"))?;
    let before = [status(&there, scene, (0, 1))?, status(&there, scene, (1, 0))?];
    if before != [Status::Asking, Status::Requested] {
        return differs(format!("a request came in as {before:?}"));
    }
    let confirm = RosterEdit::new(&scene.address(1), Op::Add);
    there.call(&scene.actor(0), Command::Roster(confirm)).map_err(|error| error.to_string())?;
    there.advance(0).map_err(|error| error.to_string())?;
    let after = [status(&there, scene, (0, 1))?, status(&there, scene, (1, 0))?];
    if after != [Status::Confirmed; 2] {
        return differs(format!("a request that came in was confirmed, and is {after:?}"));
    }
    let found = waiting(&there, scene, 0)?;
    if found != sent {
        return differs(format!("{found:?} came in, and {sent:?} waited"));
    }
    // A second time it brings nothing in, and changes nothing.
    let kept = Kept::Messages(scene.address(0)).read(&there)?;
    let again = there.import_xep0227(path, |_| Ok(()));
    if again.as_ref().err().map(|error| error.kind) != Some(ErrorKind::Conflict) {
        return differs(format!("accounts that exist came in again: {again:?}"));
    }
    if Kept::Messages(scene.address(0)).read(&there)? != kept {
        return differs("an import that was refused changed a history".into());
    }
    scene.covered(&["import.requests", "import.offline-messages", "import.all-or-nothing"]);
    there.shutdown(true).map_err(|error| error.to_string())?;
    Ok(())
}

/// A part of it, and one for a domain that is not hosted, bring nothing in.
fn broken(scene: &mut Scene<'_>, random: &mut Random, directory: &Path, whole: &[u8]) -> Play<()> {
    let part = directory.join("part.xml");
    let end = whole.iter().rposition(|byte| *byte == b'<').unwrap_or(0);
    std::fs::write(&part, &whole[..random.usize(..end.max(1))]).map_err(|error| error.to_string())?;
    let all = directory.join("export.xml");
    for (path, is_same) in [(&part, true), (&all, false)] {
        let engine = empty(scene, is_same)?;
        let result = engine.import_xep0227(path, |_| Ok(()));
        if result.is_ok() {
            return differs(format!("what is broken or not hosted here came in: {result:?}"));
        }
        for who in 0..3 {
            // Nobody is there: whoever is made now is new.
            let actor = Actor { account: scene.address(who), session: None };
            let read = engine.call(&actor, Command::ReadDevices);
            if read.as_ref().err().map(|error| error.kind) != Some(ErrorKind::NotFound) {
                return differs(format!("of an import that was refused there is {read:?}"));
            }
        }
        engine.shutdown(true).map_err(|error| error.to_string())?;
    }
    scene.covered(&["import.all-or-nothing"]);
    Ok(())
}
