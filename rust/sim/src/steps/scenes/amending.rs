//! What an author does to a message: everybody who has it is told, in order, and both histories have it so.

use super::Random;
use super::scene::{Play, Scene, differs, play};
use crate::ledger::aside::{Kept, line};
use crate::world::{Step, World};
use rosterkit::{
    AcceptedSenders, Amend, Amendment, Answer, ClientId, Command, Content, ErrorKind, EventBody,
    MessageAmended, MessageId, Overrides,
};

fn amendments(events: &[EventBody]) -> Vec<MessageAmended> {
    let amended = |event: &EventBody| match event {
        EventBody::Amended(amended) => Some((**amended).clone()),
        _ => None,
    };
    events.iter().filter_map(amended).collect()
}

fn amend(scene: &Scene<'_>, to: usize, message_id: MessageId, amendment: Amendment, name: &str) -> Command {
    let client_id = ClientId::new(name).ok();
    Command::Amend(Amend { recipient: scene.address(to), message_id, amendment, client_id })
}

fn edit(text: &str) -> Amendment {
    Amendment::Edit(Content::text(text))
}

/// One message is changed and another one taken back, and some try what they may not.
pub(super) fn amending(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        let sessions = [scene.session(0, None)?, scene.session(0, Some("phone"))?, scene.session(1, None)?];
        let sent = scene.say_all(1, 0, &["first".to_owned(), "second".to_owned()])?;
        for session in &sessions {
            scene.took(session)?;
        }
        let name = scene.name(1);
        let lines = |edited: bool, retracted: bool| {
            let first = line(&name, if edited { "first, edited" } else { "first" });
            let second = line(&name, if retracted { "" } else { "second" });
            let after = |did: bool, what: &str| if did { format!(" ({what})") } else { String::new() };
            vec![
                format!("{first}{}", after(edited, "edited")),
                format!("{second}{}", after(retracted, "retracted")),
            ]
        };
        let both = [Kept::Messages(scene.address(0)), Kept::Messages(scene.address(1))];
        let becomes = |scene: &mut Scene<'_>, before: Vec<String>, after: &Vec<String>| {
            for kept in &both {
                scene.may_be(kept.clone(), vec![before.clone(), after.clone()], &["amend.history"]);
            }
        };
        becomes(scene, lines(false, false), &lines(true, false));
        let first = amend(scene, 0, sent[0].id, edit("first, edited"), "e1");
        let Answer::Receipt(receipt) = scene.must(1, first.clone())? else {
            return differs("an amendment was answered otherwise".into());
        };
        if receipt.position <= sent[1].position {
            return differs(format!("an amendment has {receipt:?} behind {sent:?}"));
        }
        becomes(scene, lines(true, false), &lines(true, true));
        let second = amend(scene, 0, sent[1].id, Amendment::Retract, "e2");
        scene.must(1, second)?;
        for kept in &both {
            scene.is(kept.clone(), lines(true, true), &["amend.history"])?;
        }
        // The same once more is the same, and another under its name is refused.
        match scene.must(1, first)? {
            Answer::Receipt(again) if again == receipt => {}
            other => return differs(format!("an amendment had {receipt:?}, and again {other:?}")),
        }
        let other = amend(scene, 0, sent[0].id, edit("another"), "e1");
        scene.refused(1, other, ErrorKind::Conflict)?;
        may_not(scene, random, [sent[0].id, sent[1].id])?;
        scene.covered(&["amend.client-id", "amend.author"]);
        for kept in both {
            scene.is(kept, lines(true, true), &["amend.history", "amend.client-id", "amend.admission"])?;
        }
        for session in &sessions {
            let is_copy = *session.account() == scene.address(1);
            let told = amendments(&scene.took(session)?);
            scene.smooth()?;
            // Who amended through no session is told in all of theirs.
            let what: Vec<_> = told.iter().map(|a| (a.message_id, a.message_position, a.copy)).collect();
            let expected = [0, 1].map(|n: usize| (sent[n].id, sent[n].position, is_copy));
            let says = told.first().map(|a| a.amendment.clone()) == Some(edit("first, edited"))
                && told.get(1).map(|a| a.amendment.clone()) == Some(Amendment::Retract);
            if what != expected || !says {
                return differs(format!("{} is told {told:?} of {sent:?}", session.account()));
            }
        }
        scene.covered(&["amend.events"]);
        Ok(())
    })
}

/// What was retracted stays so; nobody else amends; who is not admitted does not.
fn may_not(scene: &mut Scene<'_>, random: &mut Random, [first, second]: [MessageId; 2]) -> Play<()> {
    let again = amend(scene, 0, second, edit("it is back"), "n1");
    scene.refused(1, again, ErrorKind::Conflict)?;
    let (other, to) = if random.bool() { (0, 1) } else { (2, 0) };
    let foreign = amend(scene, to, first, edit("not mine"), "n2");
    scene.refused(other, foreign, ErrorKind::NotFound)?;
    let nobody = Overrides { accepted_senders: Some(AcceptedSenders::Nobody), ..Overrides::default() };
    scene.prefer(0, nobody)?;
    let late = amend(scene, 0, first, edit("too late"), "n3");
    scene.refused(1, late, ErrorKind::Forbidden)?;
    scene.covered(&["amend.admission"]);
    Ok(())
}
