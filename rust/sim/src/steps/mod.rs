//! What happens in a world, step by step. Each step has a generator of its own, so that leaving one out changes nothing
//! in the others but what they find.

mod admission;
mod faults;
mod guests;
mod knowing;
mod lasting;
mod looking;
mod messages;
mod presence;
mod rosters;
mod scenes;
mod sessions;
mod settings;

use crate::audit::Depth;
use crate::facts::{Fact, Place};
use crate::ledger::{Fate, Left};
use crate::people::{COMES_AND_GOES, FORKS, ORDINARY, REDIRECTS, Reader, User, actor, machine_of};
use crate::world::{Came, Step, World};
use rosterkit::{Command, ErrorKind, Op};

type Random = fastrand::Rng;
type Do = fn(&mut World, usize, &mut Random) -> Step;

/// How often, what it is called, and what it does, on a machine.
const STEPS: &[(u32, &str, Do)] = &[
    (20, "send", World::send),
    (5, "repeat a send", World::repeat),
    (5, "amend", World::amend),
    (2, "send badly", World::send_badly),
    (2, "set badly", World::set_badly),
    (1, "export", World::export),
    (22, "read", World::read),
    (9, "open a session", World::open),
    (4, "close a session", World::close),
    (12, "set presence", World::set_presence),
    (8, "edit a roster", World::edit),
    (3, "invite", World::invite),
    (5, "block", World::block),
    (5, "hide", World::hide),
    (12, "set a fact", World::set_fact),
    (3, "decide on a stranger", World::decide),
    (2, "forget", World::forget),
    (2, "come and go", World::come_and_go),
    (4, "look", World::look),
    (8, "look at presence", World::look_at_presence),
    (4, "ask", World::ask),
    (3, "query", World::query),
    (2, "observe", World::observe),
    (12, "wait", World::wait),
    (13, "something fails", World::fail),
    (4, "the power goes", World::lose_power),
    (3, "restart", World::reopen),
    (3, "the link", World::bend_link),
    (1, "back up", World::back_up),
    (2, "guests come", World::come_as_guests),
    (1, "invite for later", World::invite_for_later),
    (1, "keep observing", World::keep_observing),
    (1, "come while it fails", World::come_while_it_fails),
    (1, "look across", World::look_across),
    (2, "know a roster", World::know_roster),
    (2, "wait for an answer", World::wait_for_answer),
    (3, "a scene", scenes::any),
];

impl World {
    /// Makes the accounts, their devices, and the rules of those who send on.
    pub fn begin(&mut self) -> Step {
        for number in 0..self.machines.len() {
            for user in (0..9).filter(|user| machine_of(*user) == number && *user != COMES_AND_GOES) {
                match self.call(number, &actor(user), Command::CreateAccount)? {
                    Came::Done(_) => self.note(number, Left::Created(user)),
                    _ => return Err(format!("user{user} cannot be made")),
                }
                if ORDINARY.contains(&user) {
                    self.set(Fact { place: Place::Preferences(user), value: 5 })?;
                }
                for reader in Reader::of(user).into_iter().filter(|reader| reader.device.is_some()) {
                    let session = crate::audit::session(self.engine(number)?, reader);
                    session.map_err(|error| format!("the first session of {reader:?}: {error}"))?;
                }
            }
        }
        self.set(Fact { place: Place::Rules(REDIRECTS), value: 1 })?;
        self.set(Fact { place: Place::Rules(FORKS), value: 1 })?;
        self.next = 10;
        self.befriend()
    }

    /// Some know each other from the beginning.
    fn befriend(&mut self) -> Step {
        let mut random = Random::with_seed(self.seed);
        for (machine, a, b) in [(0, 0, 1), (0, 0, 2), (0, 1, 3), (0, 2, 3), (0, 1, 2), (1, 7, 8)] {
            if random.bool() || machine >= self.machines.len() {
                continue;
            }
            for (owner, peer) in [(a, b), (b, a)] {
                self.edit_roster(machine, owner, peer, Op::Add, None)?;
            }
        }
        Ok(())
    }

    /// One step. Gives what it was.
    pub fn step(&mut self, number: usize) -> Result<&'static str, String> {
        let mut random =
            Random::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64 + 1));
        let total: u32 = STEPS.iter().map(|step| step.0).sum();
        let mut at = random.u32(..total);
        let chosen = STEPS.iter().find(|(weight, ..)| match at.checked_sub(*weight) {
            Some(left) => {
                at = left;
                false
            }
            None => true,
        });
        let Some((_, name, run)) = chosen else { return Ok("nothing") };
        // In every third world nothing fails, so that more comes about.
        let (name, run) = match *name {
            "something fails" | "the power goes" if self.seed.is_multiple_of(3) => {
                (&"set presence", &(World::set_presence as Do))
            }
            "restart" if self.seed.is_multiple_of(3) => {
                (&"look at presence", &(World::look_at_presence as Do))
            }
            _ => (name, run),
        };
        let machine = random.usize(..self.machines.len());
        self.history.say(format_args!("-- {number}: {name} on {machine} at {}", self.now));
        *self.report.mix.entry((*name).to_owned()).or_default() += 1;
        self.report.steps += 1;
        run(self, machine, &mut random)?;
        self.collect()?;
        self.carry()?;
        self.revive(&mut random)?;
        Ok(name)
    }

    /// At the end everything works again: everybody is told everything, and it stays so in the next engine.
    pub fn finish(&mut self) -> Step {
        self.history.say(format_args!("-- the end at {}", self.now));
        for number in 0..self.machines.len() {
            self.machines[number].disk.heal();
        }
        self.link.is_good = true;
        for _ in 0..40 {
            self.connect();
            self.advance(10_000)?;
            if self.link.is_quiet() {
                break;
            }
        }
        self.advance(310_000)?;
        self.advance(5_000)?;
        self.collect()?;
        for number in 0..self.machines.len() {
            self.look_at_presence(number, &mut Random::with_seed(0))?;
        }
        self.check_carried()?;
        self.check_across()?;
        self.check_brought_across()?;
        for number in 0..self.machines.len() {
            self.restart(number)?;
            self.advance(5_000)?;
            // What is read now is for no client of this world.
            self.machines[number].end_life();
            self.audit(number, Depth::All).run()?;
        }
        Ok(())
    }

    /// What was accepted for the other machine has come there, or its sender was told that it has not.
    fn check_carried(&mut self) -> Step {
        let [a, b] = self.machines.as_slice() else { return Ok(()) };
        for (from, to) in [(a, b), (b, a)] {
            for mail in from.ledger.mails.values().filter(|mail| machine_of(mail.sent.recipient) == to.number)
            {
                let there = to.ledger.mails.get(&mail.sent.number);
                let comes = there.is_some_and(|there| there.fate == Fate::Comes && there.id.is_none());
                let dated = mail.sent.expires.is_some_and(|expires| expires <= self.now);
                if let (Some(receipt), false) = (mail.receipt, dated) {
                    self.check_outcome(from, receipt, mail)?;
                }
                if mail.receipt.is_some() && comes && !dated {
                    return Err(format!("{:?} has not crossed the link: {:?}", mail.sent, mail.receipt));
                }
                if self.link.counts.doubled > 0 {
                    self.covered.add("relay.inbound-once");
                }
                if from.lives.len() > 1 {
                    self.covered.add("relay.restart");
                }
            }
        }
        Ok(())
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn here(&self, machine: usize, random: &mut Random) -> User {
        let here: Vec<User> = ORDINARY.into_iter().filter(|user| machine_of(*user) == machine).collect();
        here[random.usize(..here.len())]
    }

    fn has_failed(&mut self, machine: usize, what: &str, came: &Came) -> Step {
        match came {
            Came::Not(error) if !matches!(error.kind, ErrorKind::Storage { .. }) => {
                Err(format!("{what} on machine {machine} was refused: {error}"))
            }
            _ => Ok(()),
        }
    }
}
