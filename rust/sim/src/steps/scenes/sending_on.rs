//! What rules send on, answer and look at again later.

use super::Random;
use super::scene::{Play, Scene, differs, outcomes, play, texts};
use crate::ledger::aside::{Kept, line};
use crate::people::wall;
use crate::world::{Step, World};
use rosterkit::{Answer, Command, ErrorKind, Outcome, Overrides, Word};

/// To whom a rule of one's sends on.
fn sends_on(scene: &Scene<'_>, to: usize) -> String {
    format!(r#""actions": [{{"redirect-to": ["{}"]}}]"#, scene.address(to))
}

/// Rules that look again at what nobody has taken for a time.
pub(super) fn later(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let seconds = random.u64(20..300);
        let rejects = random.bool();
        let does = match rejects {
            true => r#""actions": [{"reject-with": "Nobody reads this."}]"#.to_owned(),
            false => sends_on(scene, 2),
        };
        scene.rule(0, &format!(r#""stage": {{"after-delay": {{"seconds": {seconds}}}}}, {does}"#))?;
        let is_taken = random.u8(0..4) == 0;
        let receipt = scene.say(1, 0, "in time?")?;
        let lines = vec![line(&scene.name(1), "in time?")];
        let [to, from, third] = [0, 1, 2].map(|who| Kept::Messages(scene.address(who)));
        let due = receipt.time.0.saturating_sub(wall(0).0) as u64 + seconds * 1_000;
        scene.is_until(to.clone(), lines.clone(), &["ruled.delay"], Some(due))?;
        if is_taken {
            let session = scene.session(0, None)?;
            let got = texts(&scene.took(&session)?);
            if scene.is_smooth() && got != ["in time?"] {
                return differs(format!("who comes in time got {got:?}"));
            }
            session.close();
            scene.pass(1_500)?;
            scene.smooth()?;
        }
        let (mine, theirs) = match (is_taken, rejects) {
            (true, _) => (lines.clone(), Vec::new()),
            (_, true) => (Vec::new(), Vec::new()),
            _ => (Vec::new(), lines.clone()),
        };
        // Not before its time.
        let before = due.saturating_sub(20_000).saturating_sub(scene.world.now);
        scene.pass(before)?;
        if scene.world.now < due - 15_000 {
            scene.is_until(to.clone(), lines.clone(), &["rules.due"], Some(due))?;
            scene.is_until(third.clone(), Vec::new(), &["rules.due"], Some(due))?;
        }
        scene.may_be(to.clone(), vec![lines.clone(), mine.clone()], &["ruled.delay"]);
        scene.may_be(third.clone(), vec![Vec::new(), theirs.clone()], &["ruled.delay"]);
        if random.u8(0..3) == 0 && !scene.world.seed.is_multiple_of(3) {
            scene.world.reopen(machine, random)?;
            if scene.world.machines[machine].disk.is_off() {
                return Ok(());
            }
        }
        scene.pass(due.saturating_sub(scene.world.now) + 6_000)?;
        scene.heal()?;
        scene.pass(3_000)?;
        scene.is(to, mine, &["ruled.delay", "rules.due"])?;
        scene.is(third, theirs, &["ruled.delay", "rules.due"])?;
        scene.is(from, lines, &["ruled.delay"])?;
        let sender = scene.session(1, None)?;
        let told = outcomes(&scene.took(&sender)?);
        let failed = Outcome::Failed { reason: "Nobody reads this.".into() };
        let expected = if rejects && !is_taken { vec![(receipt.position, failed)] } else { Vec::new() };
        if scene.is_smooth() && told != expected {
            return differs(format!("a sender is told {told:?}, not {expected:?}"));
        }
        Ok(())
    })
}

/// Rules for when nobody is there, and for what could not be kept.
pub(super) fn unanswered(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let (is_there, fails) = (random.bool(), random.bool());
        if fails {
            scene.prefer(0, Overrides { offline_storage: Some(false), ..Overrides::default() })?;
        }
        let stage = if fails { "failure" } else { "no-answer" };
        let to = sends_on(scene, 2);
        scene.rule(0, &format!(r#""stage": "{stage}", {to}"#))?;
        let session = if is_there { Some(scene.session(0, None)?) } else { None };
        let lines = vec![line(&scene.name(1), "anybody?")];
        let (mine, theirs) = if is_there { (lines.clone(), Vec::new()) } else { (Vec::new(), lines.clone()) };
        let all = [(0, mine), (1, lines), (2, theirs)];
        let sentences: &'static [&'static str] =
            if fails { &["ruled.failure"] } else { &["ruled.no-answer"] };
        for (who, after) in &all {
            scene.may_be(Kept::Messages(scene.address(*who)), vec![Vec::new(), after.clone()], sentences);
        }
        scene.say(1, 0, "anybody?")?;
        if is_there && !scene.is_smooth() {
            // The session may have ended before it came.
            for (who, _) in all {
                scene.may_be(Kept::Messages(scene.address(who)), Vec::new(), &[]);
            }
            return Ok(());
        }
        scene.settle()?;
        for (who, after) in all {
            scene.is(Kept::Messages(scene.address(who)), after, sentences)?;
        }
        drop(session);
        Ok(())
    })
}

/// Two that send on to each other, or answer each other: it ends, and what was sent is in one place.
pub(super) fn loops(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let answers = random.bool();
        for (who, other) in [(0, 1), (1, 0)] {
            let address = scene.address(other);
            let does = match answers {
                true => format!(r#""actions": [{{"send-im": {{"to": "{address}", "text": "I am away"}}}}]"#),
                false => sends_on(scene, other),
            };
            scene.rule(who, &does)?;
        }
        scene.say(2, 0, "round")?;
        scene.settle()?;
        scene.heal()?;
        scene.pass(3_000)?;
        let found = [scene.history(0)?, scene.history(1)?];
        let said = |text: &str| {
            let all = found.iter().flatten();
            all.filter(|m| m.content.as_text() == Some(text) && !m.copy).count()
        };
        let (rounds, is_so) = match answers {
            // An answer that meets a disk that fails is given up.
            true => {
                let least = usize::from(scene.is_smooth());
                (said("I am away"), (least..=17).contains(&said("I am away")) && said("round") == 1)
            }
            false => (said("round"), said("round") == 1),
        };
        if !is_so {
            return differs(format!("what goes round came {rounds} times: {found:?}"));
        }
        scene.covered(&["ruled.loop", "rules.hops"]);
        for (who, found) in found.iter().enumerate() {
            let lines = found.iter().map(crate::ledger::aside::line_of).collect();
            scene.is(Kept::Messages(scene.address(who)), lines, &["ruled.loop", "ruled.crash"])?;
        }
        Ok(())
    })
}

/// Where it was sent on to it is refused: it comes back. And a new account of a name has none of the rules of the old one.
pub(super) fn back(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let to = sends_on(scene, 2);
        scene.rule(0, &to)?;
        let is_new = random.bool();
        let kept = Kept::Messages(scene.address(0));
        if is_new {
            for command in [Command::DeleteAccount, Command::CreateAccount] {
                match scene.ask(0, command.clone())? {
                    Ok(_) => {}
                    // Asked for again it is done already.
                    Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {
                        scene.smooth().and_then(|()| differs(format!("{command:?}: {error}")))?;
                    }
                    Err(error) => return differs(format!("{command:?}: {error}")),
                }
            }
            scene.is(
                Kept::Rules(scene.address(0)),
                vec![r#"{"rules":[]}"#.into()],
                &["ruled.incarnation"],
            )?;
        } else {
            let address = scene.address(1);
            scene.must(2, Command::Block { address, blocked: true })?;
        }
        let sentences: &'static [&'static str] =
            if is_new { &["ruled.incarnation"] } else { &["ruled.redirect-refused"] };
        let lines = vec![line(&scene.name(1), "to whom?")];
        scene.may_be(kept.clone(), vec![Vec::new(), lines.clone()], sentences);
        let receipt = scene.say(1, 0, "to whom?")?;
        if receipt.outcome != Word::Stored {
            return differs(format!("what was sent on was answered {receipt:?}"));
        }
        scene.settle()?;
        scene.heal()?;
        scene.is(kept, lines.clone(), sentences)?;
        scene.is(Kept::Messages(scene.address(2)), Vec::new(), sentences)?;
        scene.is(Kept::Waits(scene.address(0), None), lines.clone(), sentences)?;
        // The id is that of who sent it.
        let found = scene.history(0)?;
        if found.iter().any(|message| message.id != receipt.id) {
            return differs(format!("{receipt:?} came back as {found:?}"));
        }
        explains(scene, receipt, is_new)
    })
}

/// Both accounts learn what became of a message, each what it may know; and nobody else.
fn explains(scene: &mut Scene<'_>, receipt: rosterkit::Receipt, is_new: bool) -> Play<()> {
    let mut told = Vec::new();
    for who in 0..3 {
        told.push(match scene.ask(who, Command::ExplainDelivery(receipt.position))? {
            Ok(Answer::Explanation(json)) => Some(json),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            other => return differs(format!("{receipt:?} is explained by {other:?}")),
        });
    }
    let says = |who: usize, what: &str| told[who].as_ref().is_some_and(|json| json.contains(what));
    let id = format!(r#""message_id":"{}""#, receipt.id);
    // Its sender is told nothing of rules, and who blocks them is no part of it.
    let sender = says(1, &id) && says(1, r#""answer":"stored""#) && !says(1, "received");
    let (ruled, place) = match is_new {
        true => (r#""ruled":null"#, r#""place":"unclaimed""#),
        // What came back stands at another place.
        false => (r#""ruled":"redirected""#, r#""place":"gone""#),
    };
    let is_there = says(0, &id) && says(0, ruled) && says(0, place);
    if !sender || !is_there || told[2].is_some() {
        return differs(format!("{receipt:?} is explained by {told:?}"));
    }
    scene.covered(&["explain.delivery"]);
    Ok(())
}
