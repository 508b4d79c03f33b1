//! Accounts that a step makes for itself. Nothing is between them and anybody else, so that what they are told is known
//! exactly; and they stay, so that what lives on is a file of some size.

mod across;
mod asking;
mod inviting;
mod leaving;
mod observing;
mod reaching;
mod requests;
mod shown;
mod signals;
mod staying;
mod watching;

use super::{Do, Random};
use crate::people::domain;
use crate::world::{Step, World};
use rosterkit::{
    Actor, Address, Answer, Command, Event, EventBody, Op, RosterEdit, Session, SessionOptions, SetPresence,
    State, Status,
};
use std::time::Duration;

/// An account, and a session of it.
pub(super) struct Guest {
    pub(super) address: Address,
    pub(super) session: Session,
}

impl Guest {
    pub(super) fn actor(&self) -> Actor {
        Actor { account: self.address.clone(), session: None }
    }

    /// What its session asks, which nothing may refuse.
    pub(super) fn ask(&self, command: Command) -> Result<Answer, String> {
        let said = format!("{command:?}");
        self.session.call(command).map_err(|error| format!("{} asks {said}: {error}", self.address))
    }

    /// It shows a state, and nothing else.
    pub(super) fn shows(&self, state: State) -> Result<(), String> {
        self.ask(Command::SetPresence(SetPresence::state(state))).map(drop)
    }
}

/// What somebody asks somebody else, or says of them.
pub(super) fn edit(peer: &Address, op: Op) -> Command {
    Command::Roster(RosterEdit::new(peer, op))
}

/// What guests come for.
const SCENES: &[Do] = &[
    World::watch,
    World::stay,
    World::ask_at_length,
    World::observe_at_length,
    World::reach,
    World::leave,
    World::ask_too_many,
    World::invite_too_many,
    World::hear_signals,
];

impl World {
    /// Guests come, for one thing or another.
    pub(super) fn come_as_guests(&mut self, machine: usize, random: &mut Random) -> Step {
        let scene = random.usize(..SCENES.len());
        self.history.say(format_args!("scene {scene}"));
        SCENES[scene](self, machine, random)
    }

    /// From here on nothing fails, and what failed before has been got over. False when there is no power.
    pub(super) fn calm(&mut self, machine: usize) -> Result<bool, String> {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        Ok(!self.machines[machine].disk.is_off())
    }

    /// New accounts, with a session each that reads messages and shows nothing.
    pub(super) fn guests<const N: usize>(&mut self, machine: usize) -> Result<[Guest; N], String> {
        let addresses = self.accounts(machine, N)?;
        let mut guests = Vec::new();
        for address in addresses {
            let session = self.session_of(machine, &address, SessionOptions::default())?;
            guests.push(Guest { address, session });
        }
        guests.try_into().map_err(|_| "as many guests as were asked for".to_owned())
    }

    /// New accounts.
    pub(super) fn accounts(&mut self, machine: usize, count: usize) -> Result<Vec<Address>, String> {
        let name = |number| Address::account(&format!("guest{number}@{}", domain(machine)));
        let addresses: Vec<Address> = (0..count)
            .map(|_| name(self.number()).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        let create =
            |address: &Address| (Actor { account: address.clone(), session: None }, Command::CreateAccount);
        self.all_done(machine, addresses.iter().map(create).collect())?;
        Ok(addresses)
    }

    /// A session that reads messages.
    pub(super) fn session_of(
        &self,
        machine: usize,
        account: &Address,
        options: SessionOptions,
    ) -> Result<Session, String> {
        let options = SessionOptions { reads_messages: true, ..options };
        let opened = self.engine(machine)?.open_session(account, options);
        opened.map_err(|error| format!("a session for {account}: {error}"))
    }

    /// Many commands at once, so that they share commits. Gives what each came to.
    pub(super) fn at_once(
        &mut self,
        machine: usize,
        commands: Vec<(Actor, Command)>,
    ) -> Result<Vec<rosterkit::Result<Answer>>, String> {
        let engine = self.engine(machine)?;
        let tickets = engine.submit(commands).map_err(|error| format!("submitting: {error}"))?;
        let answers = engine.next_answers(usize::MAX, Duration::ZERO);
        let mut answers = answers.map_err(|error| format!("answers: {error}"))?;
        answers.sort_by_key(|answered| answered.ticket);
        let answered: Vec<_> = answers.iter().map(|answered| answered.ticket).collect();
        if answered != tickets {
            return Err(format!("{tickets:?} were submitted, and {answered:?} answered"));
        }
        Ok(answers.into_iter().map(|answered| answered.result).collect())
    }

    /// The same, of what nothing may refuse.
    pub(super) fn all_done(&mut self, machine: usize, commands: Vec<(Actor, Command)>) -> Result<(), String> {
        let asked = commands.clone();
        for (command, result) in asked.iter().zip(self.at_once(machine, commands)?) {
            result.map_err(|error| format!("{command:?}, one of {}: {error}", asked.len()))?;
        }
        Ok(())
    }

    /// Both ask each other at once, and are buddies.
    pub(super) fn befriend_guests(&mut self, machine: usize, a: &Guest, b: &Guest) -> Result<(), String> {
        let asks = vec![(a.actor(), edit(&b.address, Op::Add)), (b.actor(), edit(&a.address, Op::Add))];
        self.all_done(machine, asks)?;
        self.settle(machine)?;
        let statuses =
            (self.status(machine, &a.address, &b.address)?, self.status(machine, &b.address, &a.address)?);
        if statuses != (Status::Confirmed, Status::Confirmed) {
            return Err(format!("{} and {} asked each other, and are {statuses:?}", a.address, b.address));
        }
        self.covered.add("roster.both-ask");
        Ok(())
    }

    /// What follows by itself from what was answered follows.
    pub(super) fn settle(&self, machine: usize) -> Result<(), String> {
        self.engine(machine)?.advance(0).map_err(|error| error.to_string())
    }

    /// Everything that a session is told, which it acknowledges.
    pub(super) fn told(&self, machine: usize, session: &Session) -> Result<Vec<EventBody>, String> {
        self.settle(machine)?;
        let mut told = Vec::new();
        loop {
            let events = session.next_events(10_000, Duration::ZERO);
            let events: Vec<Event> = events.map_err(|error| format!("{}: {error}", session.address()))?;
            let Some(last) = events.last() else { return Ok(told) };
            self.history.say(format_args!("{} {events:?}", session.account()));
            session.ack(last.seq);
            let is_over = matches!(last.body, EventBody::Ended(_));
            told.extend(events.into_iter().map(|event| event.body));
            if is_over {
                return Ok(told);
            }
        }
    }
}
