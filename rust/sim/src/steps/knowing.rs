//! Rosters as clients know them: by what changed since they asked last, and by what their sessions are told.

use super::Random;
use crate::kept::{Known, is_something, seen};
use crate::people::actor;
use crate::world::{Came, Step, World};
use rosterkit::{Answer, Buddy, Command, Position, Roster};

impl World {
    /// A client asks for what has changed since it asked last, whatever happened in between, and knows the whole roster.
    pub(super) fn know_roster(&mut self, machine: usize, random: &mut Random) -> Step {
        // Mostly somebody whose session listens already.
        let listens = self.machines[machine].clients.values().find(|c| c.roster.version > Position::ZERO);
        let user = match listens.map(|client| client.reader.user) {
            Some(user) if random.u8(0..4) > 0 => user,
            _ => self.here(machine, random),
        };
        self.settle_quietly(machine);
        let mut known = self.machines[machine].kept.rosters.get(&user).cloned().unwrap_or_default();
        let Some(changed) = self.roster_of(machine, user, known.version)? else { return Ok(()) };
        let Some(whole) = self.roster_of(machine, user, Position::ZERO)? else { return Ok(()) };
        if changed.version != whole.version {
            // Something came between the two.
            return Ok(());
        }
        let is_change = known.version > Position::ZERO && !changed.buddies.is_empty();
        for buddy in changed.buddies {
            if buddy.version <= known.version {
                return Err(format!("user{user} asked for what is new since {:?}: {buddy:?}", known.version));
            }
            match is_something(&buddy) {
                true => drop(known.buddies.insert(buddy.address.clone(), buddy)),
                false => drop(known.buddies.remove(&buddy.address)),
            }
        }
        let whole_of = |buddies: &mut dyn Iterator<Item = &Buddy>| {
            let mut all: Vec<_> = buddies.map(seen).collect();
            all.sort();
            all
        };
        let found = whole_of(&mut known.buddies.values());
        let expected = whole_of(&mut whole.buddies.iter().filter(|buddy| is_something(buddy)));
        if found != expected {
            return Err(format!(
                "user{user} knows {found:?} by what changed, and the roster is {expected:?}"
            ));
        }
        if is_change {
            self.covered.add("roster.versions");
        }
        let version = whole.version;
        let buddies = known.buddies;
        self.machines[machine].kept.rosters.insert(user, Known { version, buddies });
        self.compare_pushed(machine, user, version)
    }

    /// What follows from what was answered, when the disk lets it.
    fn settle_quietly(&self, machine: usize) {
        if let Ok(engine) = self.engine(machine) {
            let _ = engine.advance(0);
        }
    }

    fn roster_of(&mut self, machine: usize, user: usize, since: Position) -> Result<Option<Roster>, String> {
        match self.call(machine, &actor(user), Command::ReadRoster { since })? {
            Came::Done(Answer::Roster(roster)) => Ok(Some(roster)),
            came => self.has_failed(machine, "a roster", &came).map(|()| None),
        }
    }

    /// Of every buddy that has changed since a session began to listen it was told, as it is by now.
    fn compare_pushed(&mut self, machine: usize, user: usize, version: Position) -> Step {
        let clients = self.machines[machine].clients.iter();
        let session = clients
            .filter(|(_, client)| {
                client.reader.user == user && client.host.is_none() && client.ends_at.is_none()
            })
            .map(|(number, client)| (*number, client.roster.version))
            .next();
        let Some((number, since)) = session else { return Ok(()) };
        // Everything, so that nothing newer waits behind.
        if !self.calm(machine)? || !self.take_all(machine, number)? {
            return Ok(());
        }
        let Some(changed) = self.roster_of(machine, user, since)? else { return Ok(()) };
        if changed.version != version {
            // What came meanwhile is looked at the next time.
            return Ok(());
        }
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(()) };
        let (told, is_behind) = (std::mem::take(&mut client.roster.buddies), client.is_behind);
        client.roster.version = version;
        if since == Position::ZERO || is_behind {
            return Ok(());
        }
        for buddy in &changed.buddies {
            let it_was_told = told.get(&buddy.address).map(seen);
            if it_was_told.as_ref() != Some(&seen(buddy)) {
                return Err(format!("user{user} was told {it_was_told:?} of {buddy:?}, since {since:?}"));
            }
            self.covered.add("roster.pushed");
        }
        Ok(())
    }
}
