//! An engine that is shut down, and a session that two would read.

use super::Random;
use super::scene::{Over, differs, play};
use crate::world::{Step, World};
use rosterkit::{
    Command, EndReason, ErrorKind, Event, EventBody, Listener, ListenerError, Session, SessionId,
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Reads its own session while it is called.
struct Greedy {
    session: Session,
    found: Mutex<Vec<Option<ErrorKind>>>,
}

impl Listener for Greedy {
    fn on_events(&self, _: SessionId, _: &[Event]) -> Result<(), ListenerError> {
        let result = self.session.next_events(1, Duration::ZERO);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push(result.err().map(|error| error.kind));
        Ok(())
    }
}

/// A session has one consumer at a time, and says at the end why it is over; after that the engine says nothing more.
pub(super) fn shut_down(world: &mut World, machine: usize, random: &mut Random) -> Step {
    // In every third world nothing ends.
    let ends = !world.seed.is_multiple_of(3);
    play(world, machine, random, 2, |scene, random| {
        let session = scene.session(0, None)?;
        scene.say(1, 0, "hello")?;
        let greedy = Greedy { session: session.clone(), found: Mutex::default() };
        let result = session.run(&greedy);
        let found = greedy.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if scene.is_smooth() && (result.is_err() || found != [Some(ErrorKind::Misuse)]) {
            return differs(format!("a second consumer is answered {found:?}, and the first {result:?}"));
        }
        drop(greedy);
        if !ends {
            return Ok(());
        }
        let engine = scene.world.engine(machine)?.clone();
        let failed = scene.world.report.faults.get("a restart in good order").copied();
        scene.world.reopen(machine, random)?;
        if scene.world.report.faults.get("a restart in good order").copied() == failed {
            return Err(Over::Early);
        }
        if let Err(error) = engine.shutdown(true) {
            return differs(format!("a second shutdown is answered {error}"));
        }
        let mut events = Vec::new();
        let closed = loop {
            match session.next_events(100, Duration::ZERO) {
                Ok(more) if more.is_empty() => break None,
                Ok(more) => events.extend(more),
                Err(error) => break Some(error.kind),
            }
        };
        let last = events.last().map(|event| &event.body);
        let why = match last {
            Some(EventBody::Ended(why)) => Some(*why),
            _ => None,
        };
        // What failed before may have ended it before.
        let is_why =
            why == Some(EndReason::Shutdown) || why == Some(EndReason::StorageFailed) && !scene.is_smooth();
        if closed != Some(ErrorKind::Closed) || !is_why {
            return differs(format!("after a shutdown a session says {last:?} and {closed:?}"));
        }
        for command in [Command::ReadDevices, Command::CreateAccount] {
            let answer = engine.call(&scene.actor(0), command.clone());
            if answer.as_ref().err().map(|error| error.kind) != Some(ErrorKind::Closed) {
                return differs(format!("after a shutdown {command:?} is answered {answer:?}"));
            }
        }
        scene.covered(&["engine.shutdown", "engine.one-consumer"]);
        Ok(())
    })
}
