//! What strangers send waits aside, until its owner lets them in, turns them away, or it expires.

use super::Random;
use super::scene::{Play, Scene, differs, outcomes, play};
use crate::ledger::aside::{Kept, line};
use crate::people::wall;
use crate::world::{Step, World};
use rosterkit::{
    AcceptedSenders, Amend, Amendment, ChatState, Command, Content, ErrorKind, EventBody, MessageId, Outcome,
    Overrides, Receipt, Send, Session,
};

/// How much sessions were last told to wait.
fn told(events: &[EventBody]) -> Option<usize> {
    let count = |event: &EventBody| match event {
        EventBody::QuarantineChanged { messages } => Some(*messages),
        _ => None,
    };
    events.iter().rev().find_map(count)
}

/// Somebody who holds strangers, a stranger who writes and amends, and what becomes of it.
pub(super) fn strangers(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let before = scene.say(1, 0, "before")?;
        let holds = Some(AcceptedSenders::Quarantine);
        scene.prefer(0, Overrides { accepted_senders: holds, ..Overrides::default() })?;
        let session = scene.session(0, None)?;
        let stranger = scene.session(1, None)?;
        scene.took(&session)?;
        let expires = (random.u8(0..3) == 0).then(|| scene.world.now + 30_000);
        let first = Send { expires: expires.map(wall), ..scene.message(0, "first") };
        let first = taken(scene.send_it(1, first)?)?;
        let second = taken(scene.send(1, 0, "second")?)?;
        // What was taken before stays as it was read.
        let bait = amend(scene, before.id, "bait");
        scene.refused(1, bait, ErrorKind::Forbidden)?;
        let edit = amend(scene, second.id, "second, edited");
        scene.must(1, edit)?;
        let typing = Command::Typing { recipient: scene.address(0), state: ChatState::Composing };
        scene.must(1, typing)?;
        let name = scene.name(1);
        let lines = |first: bool, waits: &str| {
            let mut lines = vec![line(&name, "before")];
            if first {
                lines.push(format!("{waits}{}", line(&name, "first")));
            }
            lines.push(format!("{waits}{} (edited)", line(&name, "second, edited")));
            lines
        };
        let messages = Kept::Messages(scene.address(0));
        let held = lines(true, "waits ");
        let (sees, hears) = (scene.took(&session)?, scene.took(&stranger)?);
        if scene.is_smooth() {
            let only = |event: &EventBody| matches!(event, EventBody::QuarantineChanged { .. });
            // What comes back to who wrote through no session are copies.
            let is_copy = |event: &EventBody| match event {
                EventBody::Message(message) => message.copy,
                EventBody::Amended(amended) => amended.copy,
                _ => false,
            };
            if told(&sees) != Some(2) || !sees.iter().all(only) || !hears.iter().all(is_copy) {
                return differs(format!("of two that wait {sees:?} is told, and to their sender {hears:?}"));
            }
            scene.covered(&["quarantine.told", "quarantine.unseen"]);
        }
        match expires {
            None => scene.is(messages.clone(), held.clone(), &["quarantine.amended", "quarantine.read"])?,
            Some(_) => return expire(scene, &session, &stranger, first, (held, lines(false, "waits "))),
        }
        if random.bool() {
            return admit(scene, &session, held, lines(true, ""));
        }
        refuse(scene, random, [&session, &stranger], held)
    })
}

/// A stranger's message is answered as if it had come.
fn taken(answer: rosterkit::Result<Receipt>) -> Play<Receipt> {
    match answer {
        Ok(receipt) if receipt.outcome == rosterkit::Word::Stored => Ok(receipt),
        other => differs(format!("a stranger is answered {other:?}")),
    }
}

fn amend(scene: &Scene<'_>, message_id: MessageId, text: &str) -> Command {
    let amendment = Amendment::Edit(Content::text(text));
    Command::Amend(Amend { recipient: scene.address(0), message_id, amendment, client_id: None })
}

/// One of two has expired: it is gone, and its sender told; the other waits.
fn expire(
    scene: &mut Scene<'_>,
    session: &Session,
    stranger: &Session,
    first: Receipt,
    (before, after): (Vec<String>, Vec<String>),
) -> Play<()> {
    let messages = Kept::Messages(scene.address(0));
    scene.may_be(messages.clone(), vec![before, after.clone()], &[]);
    // Whether anybody took it is not for its sender to know: who is told is told as late as when nobody may know.
    scene.pass(100_000)?;
    scene.heal()?;
    scene.is(messages, after, &["quarantine.expiry"])?;
    let sees = scene.took(session)?;
    let hears = outcomes(&scene.took(stranger)?);
    scene.smooth()?;
    if told(&sees) != Some(1) || hears != [(first.position, Outcome::Expired)] {
        return differs(format!("one of two has expired, {sees:?} is told, and to its sender {hears:?}"));
    }
    scene.covered(&["quarantine.expiry", "quarantine.told", "expiry.unseen"]);
    Ok(())
}

/// Who is let in has everything delivered, wholly or not at all.
fn admit(scene: &mut Scene<'_>, session: &Session, before: Vec<String>, after: Vec<String>) -> Play<()> {
    let messages = Kept::Messages(scene.address(0));
    let sentences: &[&str] = &["quarantine.durable", "quarantine.admit"];
    scene.may_be(messages.clone(), vec![before, after.clone()], sentences);
    scene.must(0, Command::AdmitSender(scene.address(1)))?;
    scene.is(messages.clone(), after.clone(), sentences)?;
    let sees = scene.took(session)?;
    let got: Vec<String> =
        super::scene::messages(&sees).iter().map(|m| crate::ledger::aside::line_of(m)).collect();
    if scene.is_smooth() && (got != after[1..] || told(&sees) != Some(0)) {
        return differs(format!("who was let in has {sees:?} delivered, not {after:?}"));
    }
    // From here on nothing of theirs waits.
    let mut later = after.clone();
    later.push(line(&scene.name(1), "third"));
    scene.may_be(messages.clone(), vec![after, later.clone()], sentences);
    scene.say(1, 0, "third")?;
    scene.is(messages.clone(), later.clone(), sentences)?;
    // Until they are turned away: what was delivered stays, and what comes waits.
    let refuse = Command::RefuseSender { sender: scene.address(1), block: false };
    match scene.ask(0, refuse)? {
        Err(error) if error.kind == ErrorKind::NotFound => scene.smooth()?,
        Err(error) => return differs(format!("who was let in cannot be refused: {error}")),
        Ok(_) => {}
    }
    let mut held = later.clone();
    held.push(format!("waits {}", line(&scene.name(1), "fourth")));
    scene.may_be(messages.clone(), vec![later, held.clone()], &["quarantine.refuse"]);
    taken(scene.send(1, 0, "fourth")?)?;
    scene.is(messages, held, &["quarantine.refuse"])
}

/// Who is turned away is not told, and a stranger still.
fn refuse(
    scene: &mut Scene<'_>,
    random: &mut Random,
    [session, stranger]: [&Session; 2],
    before: Vec<String>,
) -> Play<()> {
    let messages = Kept::Messages(scene.address(0));
    let (blocks, after) = (random.bool(), before[..1].to_vec());
    scene.may_be(messages.clone(), vec![before, after.clone()], &["quarantine.durable"]);
    let refuse = Command::RefuseSender { sender: scene.address(1), block: blocks };
    match scene.ask(0, refuse)? {
        // The first try may have done it.
        Err(error) if error.kind == ErrorKind::NotFound => scene.smooth()?,
        Err(error) => return differs(format!("a stranger cannot be refused: {error}")),
        Ok(_) => {}
    }
    scene.is(messages.clone(), after.clone(), &["quarantine.refuse"])?;
    let (sees, hears) = (scene.took(session)?, scene.took(stranger)?);
    if scene.is_smooth() && (told(&sees) != Some(0) || !hears.is_empty()) {
        return differs(format!("after a refusal {sees:?} is told, and to who was refused {hears:?}"));
    }
    let next = scene.message(0, "again");
    if blocks {
        scene.refused(1, Command::Send(next), ErrorKind::Forbidden)?;
        return scene.is(messages, after, &["quarantine.refuse", "admission.blocked"]);
    }
    let mut later = after.clone();
    later.push(format!("waits {}", line(&scene.name(1), "again")));
    scene.may_be(messages.clone(), vec![after, later.clone()], &[]);
    taken(scene.send_it(1, next)?)?;
    scene.is(messages, later, &["quarantine.refuse"])
}
