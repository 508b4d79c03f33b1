//! The word a sender is answered with, by who is there and what the sender may know of it.

use super::Random;
use super::scene::{differs, play, texts};
use crate::ledger::aside::{Kept, line};
use crate::world::{Step, World};
use rosterkit::{ErrorKind, Overrides, Word};

/// A buddy and a stranger write to somebody who is there, is not, or does not show it.
pub(super) fn words(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let (is_there, is_hidden, is_kept) = (random.u8(0..3) > 0, random.bool(), random.bool());
        scene.befriend(0, 1)?;
        if !is_kept {
            scene.prefer(0, Overrides { offline_storage: Some(false), ..Overrides::default() })?;
        }
        let session = if is_there { Some(scene.session(0, None)?) } else { None };
        if let Some(session) = &session {
            scene.show(session, is_hidden)?;
        }
        let mut kept = Vec::new();
        for from in [1, 2] {
            let text = format!("from {from}");
            let expected = match (is_there, is_kept) {
                (false, false) => None,
                (true, _) if from == 1 && !is_hidden => Some(Word::Delivered),
                _ => Some(Word::Stored),
            };
            let answer = scene.send(from, 0, &text)?;
            match (&answer, expected) {
                (Ok(receipt), Some(Word::Stored)) if receipt.outcome == Word::Stored => {}
                (Ok(receipt), Some(word)) if receipt.outcome == word || !scene.is_smooth() => {}
                (Err(error), None) if error.kind == ErrorKind::NotFound => {}
                // A disk that failed may have ended the session.
                (Err(error), Some(_)) if error.kind == ErrorKind::NotFound && !is_kept => scene.smooth()?,
                _ => {
                    return differs(format!(
                        "{from} is answered {answer:?}, not {expected:?}: there {is_there}, hidden {is_hidden}, kept {is_kept}"
                    ));
                }
            }
            scene.covered(match (expected, is_there, is_hidden, from) {
                (None, ..) => &["delivery.offline-storage-off"],
                (_, true, true, _) => &["delivery.invisible-only", "delivery.stored"],
                (_, true, _, 1) => &["delivery.one-answer"],
                (_, true, _, _) => &["delivery.unseen", "delivery.stored"],
                _ => &["delivery.stored"],
            });
            if answer.is_ok() {
                kept.push((scene.name(from), text));
            }
        }
        let lines: Vec<String> = kept.iter().map(|(name, text)| line(name, text)).collect();
        // What reached nobody is on no disk, and what was answered is on it.
        scene.is(Kept::Messages(scene.address(0)), lines.clone(), &["delivery.stored"])?;
        if kept.is_empty() {
            scene.covered(&["delivery.offline-off"]);
            scene.is(Kept::Messages(scene.address(1)), Vec::new(), &["delivery.offline-off"])?;
        }
        let Some(session) = session else {
            return scene.is(Kept::Waits(scene.address(0), None), lines, &["delivery.stored"]);
        };
        let got = texts(&scene.took(&session)?);
        let expected: Vec<&String> = kept.iter().map(|(_, text)| text).collect();
        if scene.is_smooth() && !got.iter().eq(expected) {
            return differs(format!("a session got {got:?}, and was sent {kept:?}"));
        }
        Ok(())
    })
}
