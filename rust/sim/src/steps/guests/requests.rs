//! Requests that wait for who is away, whatever happens meanwhile; how they are answered; and how many there may be.

use super::Random;
use super::{Guest, edit};
use crate::kept::Request;
use crate::world::{Came, MOST_UNANSWERED, Step, World};
use rosterkit::{
    Actor, Address, Answer, Command, ErrorKind, EventBody, Op, Overrides, Position, RosterEdit, Session,
    SessionOptions, Status,
};
use std::time::Duration;

fn of(account: &Address) -> Actor {
    Actor { account: account.clone(), session: None }
}

impl World {
    /// Somebody asks somebody who is away; another time they come, and later they answer.
    pub(in crate::steps) fn wait_for_answer(&mut self, machine: usize, random: &mut Random) -> Step {
        match self.machines[machine].kept.request.take() {
            None => self.ask_who_is_away(machine, random),
            Some(request) if !request.is_settled => self.see_request(machine, request, random),
            Some(request) => self.answer_request(machine, request, random),
        }
    }

    /// It is asked on whatever disk there is.
    fn ask_who_is_away(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let addresses = self.accounts(machine, 2)?;
        let [asks, asked] = addresses.as_slice() else { return Ok(()) };
        if random.bool() {
            let failure = rosterkit::store::vfs::Failure::Io;
            self.plan(machine, crate::disk::Fault::Call { after: random.u64(0..12), failure });
        }
        let note = format!("note {}", self.number());
        let edit = RosterEdit { note: note.clone(), ..RosterEdit::new(asked, Op::Add) };
        let is_sure = match self.call(machine, &of(asks), Command::Roster(edit))? {
            Came::Done(_) => true,
            Came::Unknown => false,
            Came::Not(error) if matches!(error.kind, ErrorKind::Storage { .. }) => return Ok(()),
            Came::Not(error) => return Err(format!("{asks} asks {asked}: {error}")),
        };
        let request = Request { asks: asks.clone(), asked: asked.clone(), note, is_sure, is_settled: false };
        self.machines[machine].kept.request = Some(request);
        Ok(())
    }

    /// Who was asked comes: they are told, once, and again until they have acknowledged it.
    fn see_request(&mut self, machine: usize, mut request: Request, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        // What met a failing disk is tried again each second.
        self.advance(1_500)?;
        if request.is_sure && random.bool() {
            self.ask_twice(machine, &request)?;
        }
        let times = if random.bool() { 2 } else { 1 };
        for time in 1..=times {
            let session = self.session_of(machine, &request.asked, SessionOptions::default())?;
            let told = self.requests_told(machine, &session, &request, time == times)?;
            session.close();
            if told > 1 || told == 0 && request.is_sure {
                return Err(format!("{request:?} was told {told} times"));
            }
            if told == 0 {
                // It was not asked: that is as well.
                return match self.status(machine, &request.asks, &request.asked)? {
                    Status::None => Ok(()),
                    status => Err(format!("{request:?} was told to nobody, and is {status:?}")),
                };
            }
            request.is_sure = true;
        }
        // What is acknowledged is on disk soon.
        self.advance(3_000)?;
        request.is_settled = true;
        if random.bool() {
            return self.answer_request(machine, request, random);
        }
        self.machines[machine].kept.request = Some(request);
        Ok(())
    }

    /// Who asks again has asked already: nothing is another, and nothing more is told.
    fn ask_twice(&mut self, machine: usize, request: &Request) -> Step {
        let read = || Command::ReadRoster { since: Position::ZERO };
        let asks = of(&request.asks);
        let roster = |answer| match answer {
            Ok(Answer::Roster(roster)) => Ok(roster),
            other => Err(format!("a roster was answered {other:?}")),
        };
        let before = roster(self.engine(machine)?.call(&asks, read()))?;
        self.all_done(machine, vec![(asks.clone(), edit(&request.asked, Op::Add))])?;
        self.settle(machine)?;
        let after = roster(self.engine(machine)?.call(&asks, read()))?;
        if before != after {
            return Err(format!("{request:?} was asked again: {before:?} became {after:?}"));
        }
        self.covered.add("roster.asking-twice");
        Ok(())
    }

    /// How often a session is told of a request; what it was told is acknowledged or not.
    fn requests_told(
        &self,
        machine: usize,
        session: &Session,
        request: &Request,
        acknowledges: bool,
    ) -> Result<usize, String> {
        let is_it = |body: &EventBody| match body {
            EventBody::BuddyRequest { sender, note, .. } => {
                *sender == request.asks && **note == *request.note
            }
            _ => false,
        };
        if acknowledges {
            return Ok(self.told(machine, session)?.iter().filter(|body| is_it(body)).count());
        }
        self.settle(machine)?;
        let events = session.next_events(1_000, Duration::ZERO).map_err(|error| error.to_string())?;
        Ok(events.iter().filter(|event| is_it(&event.body)).count())
    }

    /// They come again and are not told again; and say yes, or no.
    fn answer_request(&mut self, machine: usize, request: Request, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let session = self.session_of(machine, &request.asked, SessionOptions::default())?;
        let told = self.requests_told(machine, &session, &request, true)?;
        if told > 0 {
            return Err(format!("{request:?} was acknowledged long ago, and is told again"));
        }
        self.covered.add("roster.request-waits");
        let statuses = |world: &World| {
            Ok::<_, String>((
                world.status(machine, &request.asks, &request.asked)?,
                world.status(machine, &request.asked, &request.asks)?,
            ))
        };
        let before = statuses(self)?;
        let (op, after, sentence) = match random.bool() {
            true => (Op::Add, Status::Confirmed, "roster.confirm"),
            false => (Op::Remove, Status::None, "roster.decline"),
        };
        self.all_done(machine, vec![(of(&request.asked), edit(&request.asks, op))])?;
        self.settle(machine)?;
        let now = statuses(self)?;
        if before != (Status::Requested, Status::Asking) || now != (after, after) {
            return Err(format!("{request:?} was {before:?}, and after {op:?} it is {now:?}"));
        }
        // Who is answered is not asked.
        let session = self.session_of(machine, &request.asks, SessionOptions::default())?;
        let told = self.told(machine, &session)?;
        if told.iter().any(|body| matches!(body, EventBody::BuddyRequest { .. })) {
            return Err(format!("{request:?} was answered, and who asked is asked: {told:?}"));
        }
        self.covered.add(sentence);
        Ok(())
    }

    /// A roster that is full, and one account that too many ask.
    pub(super) fn ask_too_many(&mut self, machine: usize, _: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let [host] = self.guests(machine)?;
        let others = self.accounts(machine, MOST_UNANSWERED)?;
        self.fill_roster(machine, &host, &others)?;
        self.covered.add("roster.limit");
        let asks = |account: &Address| (of(account), edit(&host.address, Op::Add));
        self.all_done(machine, others.iter().map(asks).collect())?;
        self.settle(machine)?;
        // Two of them had been asked, and are confirmed: so there is room for two more.
        let late = self.accounts(machine, 4)?;
        for (number, account) in late.iter().enumerate() {
            self.all_done(machine, vec![asks(account)])?;
            self.settle(machine)?;
            let statuses = (
                self.status(machine, account, &host.address)?,
                self.status(machine, &host.address, account)?,
            );
            let expected = if number < 2 { Status::Asking } else { Status::None };
            if statuses != (Status::Requested, expected) {
                return Err(format!("{account} asks, as one of the last: {statuses:?}, not {expected:?}"));
            }
        }
        for (number, account) in others.iter().enumerate() {
            let status = self.status(machine, &host.address, account)?;
            if status != if number < 2 { Status::Confirmed } else { Status::Asking } {
                return Err(format!("{account} is one of {MOST_UNANSWERED} who asked, and is {status:?}"));
            }
        }
        self.covered.add("roster.request-flood");
        Ok(())
    }

    /// The account's own limit stands before its domain's; over it adding is refused, and changing is not.
    fn fill_roster(&mut self, machine: usize, host: &Guest, others: &[Address]) -> Step {
        let limit =
            |most| Command::SetPreferences(Overrides { max_roster_items: most, ..Overrides::default() });
        host.ask(limit(Some(2)))?;
        let add = |account: &Address| (host.actor(), edit(account, Op::Add));
        let mut results = self.at_once(machine, others.iter().take(3).map(add).collect())?;
        let over = results.pop();
        if results.iter().any(Result::is_err)
            || !matches!(&over, Some(Err(error)) if matches!(error.kind, ErrorKind::LimitExceeded { .. }))
        {
            return Err(format!("of three who are added two are listed: {results:?}, then {over:?}"));
        }
        let named = RosterEdit { name: Some("a name".to_owned()), ..RosterEdit::new(&others[0], Op::Update) };
        host.ask(Command::Roster(named))?;
        // Without a limit of its own it is the domain's, which is higher.
        host.ask(limit(None))?;
        host.ask(edit(&others[2], Op::Add))?;
        host.ask(edit(&others[2], Op::Remove))?;
        self.covered.add("roster.request-limit");
        Ok(())
    }
}
