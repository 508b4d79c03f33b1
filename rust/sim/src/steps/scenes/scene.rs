//! A scene: some people who are there for one step alone, so that everything is known of them. What the disk does to
//! their calls is as everywhere; they ask again until they know, under the same ids, and find it done once.

use super::Random;
use crate::ledger::Left;
use crate::ledger::aside::{Kept, Owed, history};
use crate::people::domain;
use crate::world::{Came, Step, World};
use rosterkit::{
    Actor, Address, Answer, ClientId, Command, Content, Domain, Engine, Error, ErrorKind, EventBody, Message,
    Op, Overrides, Receipt, RosterEdit, Send, Session, SessionOptions, SetPresence, State,
};
use std::sync::Arc;
use std::time::Duration;

/// Why a scene is over before its end.
pub(super) enum Over {
    /// The power went, or a disk failed where that leaves nothing to compare with.
    Early,
    /// Something was not as it had to be.
    Differs(String),
}

pub(super) type Play<T> = Result<T, Over>;

impl From<String> for Over {
    fn from(what: String) -> Self {
        Over::Differs(what)
    }
}

/// Somebody of a scene, by number.
pub(super) type Who = usize;

pub(super) struct Scene<'w> {
    pub(super) world: &'w mut World,
    pub(super) machine: usize,
    name: u32,
    /// No call had failed for a time when it began, and so many had in all.
    was_quiet: bool,
    failed: u64,
    sends: u32,
}

/// Plays a scene with so many people.
pub(super) fn play(
    world: &mut World,
    machine: usize,
    random: &mut Random,
    people: Who,
    scene: impl FnOnce(&mut Scene<'_>, &mut Random) -> Play<()>,
) -> Step {
    let was_quiet = world.is_quiet(machine);
    let failed = world.machines[machine].disk.counts().failed;
    let mut it = Scene { world, machine, name: random.u32(..), was_quiet, failed, sends: 0 };
    match it.come(people).and_then(|()| scene(&mut it, random)) {
        Ok(()) | Err(Over::Early) => Ok(()),
        Err(Over::Differs(what)) => Err(what),
    }
}

/// What a comparison came to.
pub(super) fn differs<T>(what: String) -> Play<T> {
    Err(Over::Differs(what))
}

impl Scene<'_> {
    pub(super) fn address(&self, who: Who) -> Address {
        let address = Address::account(&format!("{}@{}", self.name(who), domain(self.machine)));
        address.expect("an address")
    }

    /// The part of an address before the domain.
    pub(super) fn name(&self, who: Who) -> String {
        format!("p{:08x}-{who}", self.name)
    }

    pub(super) fn actor(&self, who: Who) -> Actor {
        Actor { account: self.address(who), session: None }
    }

    /// Whether no call has failed since before it began: then what nobody keeps is known as well.
    pub(super) fn is_smooth(&self) -> bool {
        let disk = &self.world.machines[self.machine].disk;
        self.was_quiet && !disk.is_off() && disk.counts().failed == self.failed
    }

    /// From here on only what is kept can be compared.
    pub(super) fn smooth(&self) -> Play<()> {
        if self.is_smooth() { Ok(()) } else { Err(Over::Early) }
    }

    pub(super) fn covered(&self, sentences: &[&'static str]) {
        sentences.iter().for_each(|sentence| self.world.covered.add(sentence));
    }

    /// All accounts in one commit.
    fn come(&mut self, people: Who) -> Play<()> {
        let commands = (0..people).map(|who| (self.actor(who), Command::CreateAccount)).collect();
        for (who, result) in self.at_once(commands)?.into_iter().enumerate() {
            // Who does not know asks again, and may hear that it is there.
            if result.is_err() {
                match self.ask(who, Command::CreateAccount)? {
                    Err(error) if error.kind != ErrorKind::Conflict => {
                        return differs(format!("an account cannot be made: {error}"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Several commands together. What a failing disk left unanswered is an error like others.
    pub(super) fn at_once(
        &mut self,
        commands: Vec<(Actor, Command)>,
    ) -> Play<Vec<rosterkit::Result<Answer>>> {
        let count = commands.len();
        let tickets = match self.world.engine(self.machine)?.submit(commands) {
            Ok(tickets) if tickets.len() == count => tickets,
            Ok(_) => return differs("only some commands were taken".into()),
            Err(error) => return self.stumble("submitting", error),
        };
        let mut results: Vec<Option<rosterkit::Result<Answer>>> = vec![None; count];
        for _ in 0..40 {
            let answers = match self.world.engine(self.machine)?.next_answers(usize::MAX, Duration::ZERO) {
                Ok(answers) => answers,
                Err(error) => return self.stumble("answers", error),
            };
            if self.world.machines[self.machine].disk.is_off() {
                return Err(Over::Early);
            }
            for answered in answers {
                self.world.history.say(format_args!("{:?}", answered.result));
                if let Some(at) = tickets.iter().position(|ticket| *ticket == answered.ticket) {
                    results[at] = Some(answered.result);
                }
            }
            if let Some(results) = results.iter().cloned().collect::<Option<Vec<_>>>() {
                if results.iter().any(is_unclear) {
                    self.recover()?;
                }
                return Ok(results);
            }
            self.recover()?;
        }
        differs("commands were never answered".into())
    }

    fn recover(&mut self) -> Play<()> {
        let now = self.world.now;
        self.world.note(self.machine, Left::Trouble(now));
        self.world.machines[self.machine].disk.heal();
        self.world.let_recover(self.machine)?;
        if self.world.machines[self.machine].disk.is_off() { Err(Over::Early) } else { Ok(()) }
    }

    /// An error where only a failing disk may be one.
    pub(super) fn stumble<T>(&mut self, what: &str, error: Error) -> Play<T> {
        if self.is_smooth() {
            return differs(format!("{what}: {error}"));
        }
        Err(Over::Early)
    }

    /// Asks until there is an answer. For what may be asked twice.
    pub(super) fn ask(&mut self, who: Who, command: Command) -> Play<rosterkit::Result<Answer>> {
        let actor = self.actor(who);
        self.ask_as(&actor, command)
    }

    pub(super) fn ask_as(&mut self, actor: &Actor, command: Command) -> Play<rosterkit::Result<Answer>> {
        for _ in 0..20 {
            match self.world.call(self.machine, actor, command.clone())? {
                Came::Done(answer) => return Ok(Ok(answer)),
                Came::Not(error) if !matches!(error.kind, ErrorKind::Storage { .. }) => {
                    return Ok(Err(error));
                }
                _ => self.recover()?,
            }
        }
        differs(format!("{command:?} is never answered"))
    }

    /// Something that has to be done.
    pub(super) fn must(&mut self, who: Who, command: Command) -> Play<Answer> {
        match self.ask(who, command.clone())? {
            Ok(answer) => Ok(answer),
            Err(error) => differs(format!("{command:?} of {} was refused: {error}", self.name(who))),
        }
    }

    /// Something that has to be refused so.
    pub(super) fn refused(&mut self, who: Who, command: Command, kind: ErrorKind) -> Play<Error> {
        match self.ask(who, command.clone())? {
            Err(error) if is_alike(error.kind, kind) => Ok(error),
            other => differs(format!("{command:?} of {} came to {other:?}, not {kind:?}", self.name(who))),
        }
    }

    pub(super) fn prefer(&mut self, who: Who, overrides: Overrides) -> Play<()> {
        self.must(who, Command::SetPreferences(overrides)).map(drop)
    }

    /// The rules of the server or a domain.
    pub(super) fn set_level(&mut self, level: Option<Domain>, json: &str) -> Play<()> {
        for _ in 0..20 {
            let result = self.world.engine(self.machine)?.set_rules(level.clone(), json);
            match self.world.came(self.machine, result.map(|()| Answer::Done))? {
                Came::Done(_) => return Ok(()),
                Came::Not(error) if !matches!(error.kind, ErrorKind::Storage { .. }) => {
                    return differs(format!("rules {json} were refused: {error}"));
                }
                _ => self.recover()?,
            }
        }
        differs("rules are never answered".into())
    }

    /// One rule of an account's own, and nothing else.
    pub(super) fn rule(&mut self, who: Who, rest: &str) -> Play<()> {
        let json = format!(r#"{{"rules": [{{"name": "r", "priority": 5, {rest}}}]}}"#);
        self.must(who, Command::SetRules(json)).map(drop)
    }

    /// Both are confirmed.
    pub(super) fn befriend(&mut self, a: Who, b: Who) -> Play<()> {
        for (owner, peer) in [(a, b), (b, a)] {
            let edit = RosterEdit::new(&self.address(peer), Op::Add);
            self.must(owner, Command::Roster(edit))?;
        }
        self.settle()
    }

    /// What follows from what was answered has followed.
    pub(super) fn settle(&mut self) -> Play<()> {
        match self.world.engine(self.machine)?.advance(0) {
            Ok(()) => Ok(()),
            Err(error) => self.stumble("going on", error),
        }
    }

    /// Time passes. With a failing disk that has to come to rest first.
    pub(super) fn pass(&mut self, millis: u64) -> Play<()> {
        self.world.advance(millis)?;
        if self.world.machines[self.machine].disk.is_off() { Err(Over::Early) } else { Ok(()) }
    }

    /// Whatever failed works again, and what was put off is done.
    pub(super) fn heal(&mut self) -> Play<()> {
        if !self.is_smooth() {
            self.recover()?;
            self.pass(2_500)?;
        }
        Ok(())
    }

    /// A message with an id of its own, so that it is sent once however often it is asked for.
    pub(super) fn message(&mut self, to: Who, text: &str) -> Send {
        self.sends += 1;
        let client_id = ClientId::new(&format!("s{}", self.sends)).expect("a client id");
        let client_id = Some(client_id);
        Send { recipient: self.address(to), content: Content::text(text), client_id, expires: None }
    }

    pub(super) fn send(&mut self, from: Who, to: Who, text: &str) -> Play<rosterkit::Result<Receipt>> {
        let send = self.message(to, text);
        self.send_it(from, send)
    }

    pub(super) fn send_it(&mut self, from: Who, send: Send) -> Play<rosterkit::Result<Receipt>> {
        match self.ask(from, Command::Send(send))? {
            Ok(Answer::Receipt(receipt)) => Ok(Ok(receipt)),
            Ok(other) => differs(format!("a send was answered {other:?}")),
            Err(error) => Ok(Err(error)),
        }
    }

    /// One that has to be taken.
    pub(super) fn say(&mut self, from: Who, to: Who, text: &str) -> Play<Receipt> {
        match self.send(from, to, text)? {
            Ok(receipt) => Ok(receipt),
            Err(error) => differs(format!("{text:?} for {} was refused: {error}", self.name(to))),
        }
    }

    /// Several that have to be taken, in one commit when nothing fails.
    pub(super) fn say_all(&mut self, from: Who, to: Who, texts: &[String]) -> Play<Vec<Receipt>> {
        let sends: Vec<Send> = texts.iter().map(|text| self.message(to, text)).collect();
        let commands = sends.iter().map(|send| (self.actor(from), Command::Send(send.clone()))).collect();
        let mut receipts = Vec::new();
        let results = self.at_once(commands)?;
        // Who has one that was not done sends all of them again: else they would not stay in order.
        let again = results.iter().any(is_unclear);
        for (result, send) in results.into_iter().zip(sends) {
            let result = match result {
                Ok(Answer::Receipt(receipt)) if !again => Ok(receipt),
                Err(error) if !again => Err(error),
                _ => self.send_it(from, send.clone())?,
            };
            match result {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => return differs(format!("{send:?} was refused: {error}")),
            }
        }
        if again && !receipts.is_sorted_by_key(|receipt| receipt.position) {
            // Some of them were done the first time, and others not.
            return Err(Over::Early);
        }
        Ok(receipts)
    }

    /// A session that takes messages.
    pub(super) fn session(&mut self, who: Who, device: Option<&str>) -> Play<Session> {
        let device = device.map(|name| rosterkit::DeviceName::new(name).expect("a device's name"));
        self.session_with(who, SessionOptions { device, reads_messages: true, ..SessionOptions::default() })
    }

    pub(super) fn session_with(&mut self, who: Who, options: SessionOptions) -> Play<Session> {
        match self.must(who, Command::OpenSession(options))? {
            Answer::Session(session) => Ok(session),
            other => differs(format!("a session was answered {other:?}")),
        }
    }

    /// It shows itself, or is there and does not.
    pub(super) fn show(&mut self, session: &Session, invisible: bool) -> Play<()> {
        let actor = Actor { account: session.account().clone(), session: Some(session.id()) };
        let presence = SetPresence { invisible, ..SetPresence::state(State::Online) };
        match self.ask_as(&actor, Command::SetPresence(presence))? {
            Ok(_) => Ok(()),
            Err(error) => self.stumble("a presence", error),
        }
    }

    /// Everything that a session is told, not acknowledged.
    pub(super) fn told(&mut self, session: &Session) -> Play<Vec<EventBody>> {
        self.settle()?;
        let mut all: Vec<EventBody> = Vec::new();
        loop {
            match session.next_events(1_000, Duration::ZERO) {
                Ok(_) if self.world.machines[self.machine].disk.is_off() => return Err(Over::Early),
                Ok(events) if events.is_empty() => return Ok(all),
                Ok(events) => all.extend(events.into_iter().map(|event| {
                    self.world.history.say(format_args!("{event:?}"));
                    event.body
                })),
                Err(_) if matches!(all.last(), Some(EventBody::Ended(_))) => return Ok(all),
                Err(error) => return self.stumble("events", error),
            }
        }
    }

    /// The same, acknowledged.
    pub(super) fn took(&mut self, session: &Session) -> Play<Vec<EventBody>> {
        let all = self.told(session)?;
        session.ack(u64::MAX);
        self.settle()?;
        Ok(all)
    }

    pub(super) fn history(&mut self, who: Who) -> Play<Vec<Message>> {
        let account = self.address(who);
        self.look(|engine| history(engine, &account))
    }

    /// Looks at an engine that has come to rest; again when its disk failed under that.
    pub(super) fn look<T>(&mut self, look: impl Fn(&Engine) -> Result<T, String>) -> Play<T> {
        self.heal()?;
        let failed = self.world.machines[self.machine].disk.counts().failed;
        let found = look(self.world.engine(self.machine)?);
        let disk = &self.world.machines[self.machine].disk;
        match found {
            Err(_) if disk.is_off() => Err(Over::Early),
            Err(_) if disk.counts().failed > failed => {
                self.heal()?;
                Ok(look(self.world.engine(self.machine)?)?)
            }
            found => Ok(found?),
        }
    }

    /// Somebody may find one of these, and nothing else, whatever fails from here on.
    pub(super) fn may_be(
        &mut self,
        kept: Kept,
        may_be: Vec<Vec<String>>,
        sentences: &'static [&'static str],
    ) {
        self.until(kept, may_be, sentences, None);
    }

    pub(super) fn until(
        &mut self,
        kept: Kept,
        may_be: Vec<Vec<String>>,
        sentences: &'static [&'static str],
        until: Option<u64>,
    ) {
        self.world.note(self.machine, Left::Aside(Arc::new(Owed { kept, may_be, sentences, until })));
    }

    /// Somebody finds this now, and from here on.
    pub(super) fn is(
        &mut self,
        kept: Kept,
        found: Vec<String>,
        sentences: &'static [&'static str],
    ) -> Play<()> {
        self.is_until(kept, found, sentences, None)
    }

    /// The same, until something becomes due.
    pub(super) fn is_until(
        &mut self,
        kept: Kept,
        found: Vec<String>,
        sentences: &'static [&'static str],
        until: Option<u64>,
    ) -> Play<()> {
        let owed = Owed { kept, may_be: vec![found], sentences, until };
        if !matches!(owed.kept, Kept::Waits(..)) {
            self.look(|engine| owed.check(engine))?;
            self.covered(sentences);
        }
        self.world.note(self.machine, Left::Aside(Arc::new(owed)));
        Ok(())
    }
}

/// Whether nobody says what became of it, or it surely was not done.
fn is_unclear(result: &rosterkit::Result<Answer>) -> bool {
    let kind = result.as_ref().err().map(|error| error.kind);
    matches!(kind, Some(ErrorKind::Storage { .. } | ErrorKind::Misuse))
}

/// The same sort of refusal, whatever it says of the time.
fn is_alike(one: ErrorKind, other: ErrorKind) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// What the messages among events say, in their order.
pub(super) fn texts(events: &[EventBody]) -> Vec<String> {
    messages(events).iter().map(|message| message.content.as_text().unwrap_or("data").to_owned()).collect()
}

pub(super) fn messages(events: &[EventBody]) -> Vec<Arc<Message>> {
    let message = |event: &EventBody| match event {
        EventBody::Message(message) => Some(Arc::clone(message)),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

/// What became of messages, as their sender is told.
pub(super) fn outcomes(events: &[EventBody]) -> Vec<(rosterkit::Position, rosterkit::Outcome)> {
    let outcome = |event: &EventBody| match event {
        EventBody::Outcome { position, outcome, .. } => Some((*position, outcome.clone())),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}
