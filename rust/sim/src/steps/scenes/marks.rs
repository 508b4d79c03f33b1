//! What senders learn of their messages: that they were taken, and that a person has read them.

use super::Random;
use super::scene::{differs, play, texts};
use crate::ledger::aside::{Kept, line};
use crate::world::{Step, World};
use rosterkit::{Command, EventBody, Overrides, Position, Receipt, Receipts};

fn told(events: &[EventBody]) -> (Vec<Position>, Vec<Position>) {
    let delivered = |event: &EventBody| match event {
        EventBody::Delivered { upto, .. } => Some(*upto),
        _ => None,
    };
    let displayed = |event: &EventBody| match event {
        EventBody::Displayed { upto, .. } => Some(*upto),
        _ => None,
    };
    (events.iter().filter_map(delivered).collect(), events.iter().filter_map(displayed).collect())
}

/// A buddy and a stranger write to somebody who takes it, and then reads some of it.
pub(super) fn marks(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let lets_know = *random
            .choice(&[Receipts::All, Receipts::Delivered, Receipts::Nothing])
            .unwrap_or(&Receipts::All);
        let is_hidden = random.u8(0..3) == 0;
        scene.befriend(0, 1)?;
        if lets_know != Receipts::All {
            scene.prefer(0, Overrides { receipts: Some(lets_know), ..Overrides::default() })?;
        }
        let [session, buddy, stranger] =
            [scene.session(0, None)?, scene.session(1, None)?, scene.session(2, None)?];
        let elsewhere = scene.session(0, Some("tablet"))?;
        scene.show(&session, is_hidden)?;
        scene.show(&elsewhere, is_hidden)?;
        let all: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
        let of_buddy = scene.say_all(1, 0, &all)?;
        let of_stranger = scene.say_all(2, 0, &all)?;
        let places = |receipts: &[Receipt]| receipts.iter().map(|r| r.position).collect::<Vec<_>>();
        let (of_buddy, of_stranger) = (places(&of_buddy), places(&of_stranger));
        scene.took(&session)?;
        let (to_buddy, to_stranger) = (scene.took(&buddy)?, scene.took(&stranger)?);
        // A client has it: that is for who sees that somebody is there, when the account lets it be known.
        let knows_taken = !is_hidden && lets_know != Receipts::Nothing;
        let (delivered, displayed) = told(&to_buddy);
        let last = delivered.last().copied();
        let is_so = last == knows_taken.then_some(of_buddy[2]) && displayed.is_empty();
        if scene.is_smooth() && (!is_so || !delivered.is_sorted() || told(&to_stranger) != (vec![], vec![])) {
            return differs(format!(
                "a buddy learns {to_buddy:?} and a stranger {to_stranger:?}: hidden {is_hidden}, {lets_know:?}"
            ));
        }
        // A person has read two, says so once more of less, and once more of the same.
        let reads = [of_buddy[1], of_buddy[0], of_buddy[1]];
        for (peer, upto) in reads.iter().map(|upto| (1, *upto)).chain([(2, of_stranger[1])]) {
            let peer = scene.address(peer);
            scene.must(0, Command::MarkRead { peer, upto })?;
        }
        let (to_buddy, to_stranger, here) =
            (scene.took(&buddy)?, scene.took(&stranger)?, scene.took(&elsewhere)?);
        let (read_of_buddy, read_of_stranger) = match lets_know {
            Receipts::All => (vec![of_buddy[1]], vec![of_stranger[1]]),
            _ => (vec![], vec![]),
        };
        if scene.is_smooth() {
            let (buddy_knows, stranger_knows) = (told(&to_buddy), told(&to_stranger));
            if (&buddy_knows.1, &stranger_knows.1) != (&read_of_buddy, &read_of_stranger) {
                return differs(format!(
                    "of what was read {to_buddy:?} and {to_stranger:?} are told: {lets_know:?}"
                ));
            }
            let heard: Vec<Position> = here
                .iter()
                .filter_map(|event| match event {
                    EventBody::Read { peer, upto } if *peer == scene.address(1) => Some(*upto),
                    _ => None,
                })
                .collect();
            if heard != [of_buddy[1]] || texts(&here).len() != 6 {
                return differs(format!("another session is told {here:?} of what was read"));
            }
            scene.covered(&["receipts.read", "receipts.monotone"]);
            scene.covered(match (is_hidden, lets_know) {
                (false, Receipts::All) => &["receipts.delivered", "receipts.displayed"],
                (true, Receipts::All) => &["receipts.unseen", "receipts.displayed"],
                _ => &["receipts.preference", "receipts.unseen"],
            });
        }
        // What is known stays so, and what is not known is not known later.
        let name = scene.name(1);
        let mark = |number: usize| match (lets_know, number) {
            (Receipts::All, 0 | 1) => "Some(Displayed)",
            _ if knows_taken => "Some(Delivered)",
            _ => "None",
        };
        let lines = all.iter().enumerate().map(|(n, text)| format!("{} {}", line(&name, text), mark(n)));
        let lines: Vec<String> = lines.collect();
        scene.pass(6_000)?;
        if scene.is_smooth() {
            scene.is(Kept::Marks(scene.address(1)), lines, &["receipts.history"])?;
        }
        let unread = |peer| format!("{} {} 1", scene.address(peer), line(&scene.name(peer), "three"));
        let lines = vec![unread(2), unread(1)];
        scene.is(
            Kept::Conversations(scene.address(0)),
            lines,
            &["conversations.pages", "conversations.unread"],
        )
    })
}
