//! How much an account may send, have waiting for it, and have under way.

use super::Random;
use super::scene::{Scene, differs, play, texts};
use crate::ledger::aside::{Kept, line};
use crate::world::{IN_FLIGHT, SENDS, Step, UNCLAIMED_FROM_ONE, World};
use rosterkit::{AcceptedSenders, Answer, Command, ErrorKind, Overrides, Receipt, Send};

/// So many at once, and what each was answered: its receipt, or when to go on.
fn many(scene: &mut Scene<'_>, count: usize) -> super::scene::Play<Vec<Result<Receipt, Option<u64>>>> {
    let sends: Vec<Send> = (0..count).map(|number| scene.message(0, &format!("{number}"))).collect();
    let commands = sends.into_iter().map(|send| (scene.actor(1), Command::Send(send))).collect();
    let results = scene.at_once(commands)?;
    scene.smooth()?;
    let mut all = Vec::new();
    for result in results {
        all.push(match result {
            Ok(Answer::Receipt(receipt)) => Ok(receipt),
            Err(error) => match error.kind {
                ErrorKind::LimitExceeded { retry_after_ms } => Err(retry_after_ms),
                _ => return differs(format!("one of {count} was refused: {error}")),
            },
            Ok(other) => return differs(format!("a send was answered {other:?}")),
        });
    }
    Ok(all)
}

/// Who sends too much at once is told when to go on, and then can.
pub(super) fn rate(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        // Somebody takes what comes, so that it is not too much that waits; and who is counted stays in memory.
        let (session, _sender) = (scene.session(0, None)?, scene.session(1, None)?);
        let burst = SENDS.burst as usize;
        let half = random.usize(30..50);
        let mut answers = many(scene, half)?;
        let first = texts(&scene.took(&session)?);
        answers.extend(many(scene, burst - half + 3)?);
        let second = texts(&scene.took(&session)?);
        scene.smooth()?;
        let passed = answers.iter().take_while(|answer| answer.is_ok()).count();
        let wait = answers[passed..].first().and_then(|answer| answer.err()).flatten();
        let Some(wait) = wait.filter(|_| passed == burst && answers[passed..].iter().all(Result::is_err))
        else {
            return differs(format!(
                "of {} sends {passed} passed, and then {:?}",
                answers.len(),
                &answers[passed..]
            ));
        };
        if first.len() + second.len() != burst {
            return differs(format!("{burst} passed, and {} and {} came", first.len(), second.len()));
        }
        scene.covered(&["delivery.rate-limit"]);
        // Not a moment before.
        scene.pass(wait - 1)?;
        let early = scene.message(0, "early");
        scene.refused(1, Command::Send(early), ErrorKind::LimitExceeded { retry_after_ms: None })?;
        scene.pass(1)?;
        scene.smooth()?;
        let next = scene.message(0, "in time");
        if let Err(error) = scene.ask(1, Command::Send(next))? {
            // What was taken waits again when a disk failed under this.
            scene.smooth()?;
            return differs(format!("who goes on in time is refused: {error}"));
        }
        scene.covered(&["delivery.rate"]);
        Ok(())
    })
}

/// So much of one sender's waits for an account, or waits in its quarantine; others are heard still.
pub(super) fn unclaimed(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let is_held = random.bool();
        if is_held {
            let accepted_senders = Some(AcceptedSenders::Quarantine);
            scene.prefer(0, Overrides { accepted_senders, ..Overrides::default() })?;
        }
        // What is on its way is not counted yet.
        let mut answers = many(scene, UNCLAIMED_FROM_ONE)?;
        answers.extend(many(scene, 2)?);
        let passed = answers.iter().filter(|answer| answer.is_ok()).count();
        if passed != UNCLAIMED_FROM_ONE || answers[passed..].iter().any(Result::is_ok) {
            return differs(format!("{passed} of {} wait", answers.len()));
        }
        let other = line(&scene.name(2), "I too");
        scene.say(2, 0, "I too")?;
        let waits = if is_held { "waits " } else { "" };
        let name = scene.name(1);
        let mut lines: Vec<String> =
            (0..passed).map(|number| format!("{waits}{}", line(&name, &number.to_string()))).collect();
        lines.push(format!("{waits}{other}"));
        let kept = Kept::Messages(scene.address(0));
        let sentences: &'static [&'static str] =
            if is_held { &["quarantine.limits"] } else { &["delivery.unclaimed-limit"] };
        scene.is(kept.clone(), lines, sentences)?;
        // With room again the next one comes.
        scene.may_be(kept, Vec::new(), &[]);
        if is_held {
            let sender = scene.address(1);
            scene.must(0, Command::RefuseSender { sender, block: false })?;
        } else {
            let session = scene.session(0, None)?;
            let got = scene.took(&session)?.len();
            scene.smooth()?;
            if got != passed + 1 {
                return differs(format!("of {passed} that waited {got} came"));
            }
        }
        // What is taken is on disk a moment later.
        scene.pass(1_500)?;
        scene.smooth()?;
        scene.say(1, 0, "at last")?;
        Ok(())
    })
}

/// So many commands are under way, or answered and not taken; of more only the first are taken.
pub(super) fn in_flight(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 1, |scene, random| {
        let actor = scene.actor(0);
        let taken = random.usize(1..9);
        let engine = scene.world.engine(machine)?.clone();
        let submit = |count: usize| engine.submit(vec![(actor.clone(), Command::ReadDevices); count]);
        let first = submit(IN_FLIGHT + 2).map(|tickets| tickets.len());
        let under_way = submit(1).map(|tickets| tickets.len());
        let went = engine.advance(0);
        let answered = submit(1).map(|tickets| tickets.len());
        let some = engine.next_answers(taken, std::time::Duration::ZERO).map(|answers| answers.len());
        let again = submit(taken + 1).map(|tickets| tickets.len());
        // Nobody else's answers are to wait behind these.
        while engine.next_answers(usize::MAX, std::time::Duration::ZERO).is_ok_and(|all| !all.is_empty()) {}
        scene.smooth()?;
        let is_full = |result: &rosterkit::Result<usize>| matches!(result, Err(error) if matches!(error.kind, ErrorKind::LimitExceeded { .. }));
        let is_so = first == Ok(IN_FLIGHT)
            && is_full(&under_way)
            && went.is_ok()
            && is_full(&answered)
            && (some.as_ref(), again.as_ref()) == (Ok(&taken), Ok(&taken));
        if !is_so {
            return differs(format!(
                "of {IN_FLIGHT} that may be under way {first:?} were, then {under_way:?}, {answered:?}, {some:?}, {again:?}"
            ));
        }
        scene.covered(&["engine.bounded"]);
        Ok(())
    })
}
