//! What happens in a world, step by step. Each step has a generator of its own, so that leaving one out changes nothing
//! in the others but what they find.

use crate::audit::Depth;
use crate::disk::Fault;
use crate::facts::{Fact, Place, visibility};
use crate::handshake::View;
use crate::host::{Host, Manner};
use crate::ledger::{FIRST_EDIT, Fate, Left, Sent, number_sent, text};
use crate::people::{
    COMES_AND_GOES, FORKS, ORDINARY, REDIRECTS, Reader, User, actor, address, machine_of, user_of, wall,
};
use crate::world::{Came, Client, Machine, Step, World, look_after};
use rosterkit::store::vfs::Failure;
use rosterkit::{
    Amend, Amendment, Answer, ChatState, Command, Consumer, Content, ConversationsRequest, ErrorKind,
    EventBody, HistoryRequest, InvitationToken, MessageId, Op, Position, RosterEdit, SearchRequest, Session,
    SessionOptions, SetPresence, State, Status, Visibility,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Random = fastrand::Rng;
type Do = fn(&mut World, usize, &mut Random) -> Step;

/// How often, what it is called, and what it does, on a machine.
const STEPS: &[(u32, &str, Do)] = &[
    (20, "send", World::send),
    (5, "repeat a send", World::repeat),
    (5, "amend", World::amend),
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
    (3, "ask", World::ask),
    (12, "wait", World::wait),
    (8, "something fails", World::fail),
    (3, "the power goes", World::lose_power),
    (2, "restart", World::reopen),
    (3, "the link", World::bend_link),
    (1, "back up", World::back_up),
];

const STATES: [State; 5] = [State::Online, State::Busy, State::Away, State::Chat, State::ExtendedAway];

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
                self.edit_roster(machine, owner, peer, Op::Add)?;
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
        self.history.say(format_args!("-- the end"));
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
                if mail.receipt.is_some() && comes && !dated {
                    return Err(format!("{:?} has not crossed the link: {:?}", mail.sent, mail.receipt));
                }
                self.covered.add("relay.queued");
                self.covered.add("relay.inbound-once");
                self.covered.add("relay.restart");
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

    // ---- messages -----------------------------------------------------------------------------------------------

    fn send(&mut self, machine: usize, random: &mut Random) -> Step {
        let count = if random.bool() { 1 } else { random.usize(2..9) };
        let mut sends = Vec::new();
        for _ in 0..count {
            let everybody = if self.is_pair { 9 } else { 7 };
            let (mut sender, recipient) = (self.here(machine, random), random.usize(..everybody));
            // Rules send it on to somebody else than its sender, who has it already.
            if (recipient == REDIRECTS || recipient == FORKS) && sender < 2 {
                sender += 2;
            }
            let expires = (random.u8(0..8) == 0 && recipient < REDIRECTS && recipient != sender)
                .then(|| self.now + random.u64(20_000..4_000_000));
            let sent = Arc::new(Sent {
                number: self.number(),
                sender,
                recipient,
                expires,
                is_data: random.u8(0..10) == 0,
            });
            self.note(machine, Left::Sends(Arc::clone(&sent)));
            let to = machine_of(recipient);
            if to != machine {
                self.note(to, Left::Sends(Arc::clone(&sent)));
            }
            sends.push(sent);
        }
        self.submit(machine, &sends)
    }

    /// Many at once, so that one commit takes them all.
    fn submit(&mut self, machine: usize, sends: &[Arc<Sent>]) -> Step {
        let mut commands: Vec<_> = sends.iter().map(|sent| (actor(sent.sender), sent.command())).collect();
        // Somebody comes while they are under way: a session of theirs that is there already is replaced then.
        let here = |user: &User| machine_of(*user) == machine && ORDINARY.contains(user);
        let comes = sends.iter().map(|sent| sent.recipient).find(here).filter(|_| sends.len() > 3);
        let comes = comes.and_then(|user| Reader::of(user).first().copied());
        if let Some(reader) = comes {
            let device = reader.device_name();
            let options = SessionOptions { device, reads_messages: true, ..SessionOptions::default() };
            commands.push((actor(reader.user), Command::OpenSession(options)));
        }
        let mut tickets = match self.engine(machine)?.submit(commands) {
            Ok(tickets) => tickets,
            Err(_) if self.machines[machine].disk.is_off() => return Ok(()),
            Err(error) => return Err(format!("submitting: {error}")),
        };
        let mut newcomer = comes.and_then(|reader| Some((tickets.pop()?, reader)));
        let mut open: BTreeMap<_, _> = tickets.into_iter().zip(sends).collect();
        for _ in 0..40 {
            let answers = match self.engine(machine)?.next_answers(usize::MAX, Duration::ZERO) {
                Ok(answers) => answers,
                Err(_) if self.machines[machine].disk.is_off() => return Ok(()),
                Err(error) => return Err(format!("answers: {error}")),
            };
            let is_newcomer = |ticket| newcomer.filter(|(of, _)| *of == ticket);
            for answered in &answers {
                if let (Some((_, reader)), Ok(Answer::Session(session))) =
                    (is_newcomer(answered.ticket), &answered.result)
                    && !self.machines[machine].disk.is_off()
                {
                    newcomer = None;
                    self.come(machine, Client::new(reader, session.clone()))?;
                    break;
                }
            }
            let answers: Vec<_> =
                answers.into_iter().filter_map(|a| Some((open.remove(&a.ticket)?, a.result))).collect();
            for (sent, result) in answers {
                self.history.say(format_args!("{} {result:?}", sent.number));
                self.answered(machine, sent, result)?;
            }
            if open.is_empty() || self.machines[machine].disk.is_off() {
                return Ok(());
            }
            self.let_recover(machine)?;
        }
        Err(format!("{} sends were never answered", open.len()))
    }

    fn answered(&mut self, machine: usize, sent: &Arc<Sent>, result: rosterkit::Result<Answer>) -> Step {
        if self.machines[machine].disk.is_off() {
            return Ok(());
        }
        let is_local = machine_of(sent.recipient) == machine;
        let admits = self.machines[machine].ledger.admits(sent.recipient, sent.sender);
        match result {
            Ok(Answer::Receipt(receipt)) => {
                if is_local && admits == Ok(Some(false)) && sent.recipient != COMES_AND_GOES {
                    return Err(format!("{sent:?} was taken, and is to be refused: {receipt:?}"));
                }
                let word = match receipt.outcome {
                    rosterkit::Word::Queued => "relay.queued",
                    rosterkit::Word::Delivered => "delivery.one-answer",
                    rosterkit::Word::Stored => "delivery.stored",
                };
                self.covered.add(word);
                self.note(machine, Left::Answered(sent.number, receipt));
            }
            Ok(other) => return Err(format!("{sent:?} was answered {other:?}")),
            Err(error) => match error.kind {
                ErrorKind::Storage { outcome_unknown: true } | ErrorKind::Misuse => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                }
                ErrorKind::Storage { .. } => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                    self.note(machine, Left::Refused(sent.number));
                }
                ErrorKind::Forbidden if is_local && admits != Ok(Some(true)) => {
                    self.covered.add("admission.policy");
                    self.covered.add("admission.blocked");
                    self.covered.add("admission.one-answer");
                    self.note(machine, Left::Refused(sent.number));
                }
                ErrorKind::NotFound if sent.recipient == COMES_AND_GOES => {
                    self.covered.add("delivery.not-found");
                    self.note(machine, Left::Refused(sent.number));
                }
                ErrorKind::Forbidden if sent.recipient == REDIRECTS || sent.recipient == COMES_AND_GOES => {
                    self.note(machine, Left::Refused(sent.number));
                }
                _ => return Err(format!("{sent:?} was refused: {error}")),
            },
        }
        Ok(())
    }

    /// A client that does not know what became of its sends asks again.
    fn repeat(&mut self, machine: usize, random: &mut Random) -> Step {
        let ledger = &self.machines[machine].ledger;
        let known: Vec<Arc<Sent>> = ledger
            .mails
            .values()
            .filter(|mail| machine_of(mail.sent.sender) == machine && !mail.was_refused)
            .filter(|mail| mail.sent.expires.is_none_or(|expires| expires > self.now + 60_000))
            .map(|mail| Arc::clone(&mail.sent))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        for _ in 0..3 {
            let sent = &known[random.usize(..known.len())];
            let before = self.machines[machine].ledger.mails.get(&sent.number).and_then(|mail| mail.receipt);
            let result = self.engine(machine)?.call(&actor(sent.sender), sent.command());
            self.history.say(format_args!("{} {result:?}", sent.number));
            if let (Ok(Answer::Receipt(again)), Some(before)) = (&result, before)
                && *again != before
                && !self.machines[machine].disk.is_off()
            {
                return Err(format!("{sent:?} had {before:?}, and again {again:?}"));
            }
            if before.is_some() {
                self.covered.add("delivery.client-id");
                self.came(machine, result)?;
            } else {
                // That it cannot be asked says nothing of the first time.
                if result.is_ok() {
                    self.answered(machine, sent, result)?;
                } else {
                    self.came(machine, result)?;
                }
                self.let_recover(machine)?;
            }
        }
        let sent = &known[random.usize(..known.len())];
        if self.machines[machine].ledger.mails.get(&sent.number).is_some_and(|mail| mail.receipt.is_some()) {
            let mut other = rosterkit::Send::text(&address(sent.recipient), "another one");
            other.client_id = Some(sent.client_id());
            match self.call(machine, &actor(sent.sender), Command::Send(other))? {
                Came::Not(error) if error.kind == ErrorKind::Conflict => {
                    self.covered.add("delivery.client-id-conflict");
                }
                Came::Done(answer) => return Err(format!("{sent:?} became another one: {answer:?}")),
                _ => {}
            }
        }
        Ok(())
    }

    fn amend(&mut self, machine: usize, random: &mut Random) -> Step {
        let mails = &self.machines[machine].ledger.mails;
        let own: Vec<(Arc<Sent>, MessageId)> = mails
            .values()
            .filter(|mail| machine_of(mail.sent.sender) == machine && mail.fate == Fate::Comes)
            .filter(|mail| mail.sent.recipient < REDIRECTS && mail.gone_for.is_empty())
            .filter(|mail| mail.sent.expires.is_none())
            .filter_map(|mail| Some((Arc::clone(&mail.sent), mail.receipt?.id)))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let (sent, message_id) = &own[random.usize(..own.len())];
        let value = if random.u8(0..4) == 0 { 0 } else { u64::from(FIRST_EDIT + self.number()) };
        let amendment = match value {
            0 => Amendment::Retract,
            value => Amendment::Edit(Content::text(&text(value))),
        };
        let amend =
            Amend { recipient: address(sent.recipient), message_id: *message_id, amendment, client_id: None };
        self.note(machine, Left::TriesAmend(sent.number, value));
        let to = machine_of(sent.recipient);
        if to != machine {
            self.note(to, Left::TriesAmend(sent.number, value));
        }
        let came = self.call(machine, &actor(sent.sender), Command::Amend(amend))?;
        let was_retracted =
            self.machines[machine].ledger.mails.get(&sent.number).is_some_and(|mail| mail.texts.contains(&0));
        let did = match came {
            Came::Done(_) => Some(true),
            Came::Unknown => None,
            Came::Not(error) => match error.kind {
                ErrorKind::Storage { .. } => Some(false),
                ErrorKind::Conflict if was_retracted => Some(false),
                // Where history is off it may be gone; a stranger by now may be refused.
                ErrorKind::NotFound if sent.sender == 2 => Some(false),
                ErrorKind::Forbidden => Some(false),
                _ => return Err(format!("an amendment of {sent:?} was refused: {error}")),
            },
        };
        if value == 0 && did == Some(false) && was_retracted {
            // It says nothing already, or will not by this: either way that may be so.
            return Ok(());
        }
        if did == Some(true) {
            self.covered.add("amend.author");
        }
        self.note(machine, Left::Amended(sent.number, value, did));
        Ok(())
    }

    // ---- sessions -----------------------------------------------------------------------------------------------

    fn open(&mut self, machine: usize, random: &mut Random) -> Step {
        let user = self.here(machine, random);
        let readers = Reader::of(user);
        let reader = readers[random.usize(..readers.len())];
        let vanishes = reader.device.is_none() && random.u8(0..5) == 0;
        let host = (!vanishes && reader.device.is_none() && random.u8(0..3) == 0).then(|| {
            let manner = [Manner::Takes, Manner::Fails, Manner::Calls][random.usize(..3)];
            let Machine { engine, disk, .. } = &self.machines[machine];
            let host = |engine| Host::new(manner, engine, reader, disk, &self.clock);
            engine.as_ref().map(|engine| Arc::new(host(engine)))
        });
        let host = host.flatten();
        let consumer = match &host {
            Some(host) => Consumer::Listener(Arc::clone(host) as Arc<_>),
            None => Consumer::Pull,
        };
        let options = SessionOptions {
            device: reader.device_name(),
            lease_ms: vanishes.then_some(60_000),
            reads_messages: true,
            consumer,
            ..SessionOptions::default()
        };
        let session = match self.engine(machine)?.open_session(&address(user), options) {
            Ok(session) if !self.machines[machine].disk.is_off() => session,
            Ok(_) => return Ok(()),
            Err(error) => {
                self.history.say(format_args!("{error}"));
                let came = self.came(machine, Err(error))?;
                return self.has_failed(machine, "a session", &came);
            }
        };
        let mut client = Client { host, ..Client::new(reader, session) };
        if vanishes {
            // It shows itself, and is never heard of again.
            let shown = client.session.set_presence(SetPresence::state(State::Online));
            let came = self.came(machine, shown.map(|()| Answer::Done))?;
            if !matches!(came, Came::Done(_)) {
                return Ok(());
            }
            client.shows = Some((State::Online, self.now));
            client.ends_at = Some(self.now + 60_000);
        }
        self.come(machine, client)
    }

    /// A session is there. A newer one of a device takes over.
    fn come(&mut self, machine: usize, client: Client) -> Step {
        let reader = client.reader;
        if let Some(device) = reader.device {
            let clients = &mut self.machines[machine].clients;
            let old =
                clients.iter().find(|(_, c)| c.reader.user == reader.user && c.reader.device == Some(device));
            if let Some(old) = old.map(|(number, _)| *number)
                && let Some(old) = clients.remove(&old)
            {
                let events = old.session.next_events(10_000, Duration::ZERO).unwrap_or_default();
                let ended = |event: &rosterkit::Event| {
                    matches!(event.body, EventBody::Ended(rosterkit::EndReason::Replaced))
                };
                if !events.iter().any(ended) {
                    return Err(format!("a session of {reader:?} goes on beside its successor: {events:?}"));
                }
                self.covered.add("session.device-taken-over");
            }
        }
        let number = self.number();
        self.machines[machine].clients.insert(number, client);
        Ok(())
    }

    fn any_client(&mut self, machine: usize, random: &mut Random) -> Option<u32> {
        let clients = &self.machines[machine].clients;
        let here: Vec<u32> =
            clients.iter().filter(|(_, c)| c.ends_at.is_none()).map(|(number, _)| *number).collect();
        (!here.is_empty()).then(|| here[random.usize(..here.len())])
    }

    fn close(&mut self, machine: usize, random: &mut Random) -> Step {
        self.collect()?;
        if let Some(number) = self.any_client(machine, random)
            && let Some(client) = self.machines[machine].clients.remove(&number)
        {
            client.host.iter().for_each(|host| host.vanish());
            if random.bool() {
                client.session.close();
            }
            drop(client);
            self.covered.add("delivery.passed-on");
        }
        Ok(())
    }

    fn read(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some(number) = self.any_client(machine, random) else { return self.open(machine, random) };
        let max = random.usize(1..24);
        let does = random.u8(0..10);
        if self.machines[machine].clients[&number].host.is_some() {
            self.engine(machine)?.advance(0).ok();
            return Ok(());
        }
        if !self.take_events(machine, number, max)? {
            return Ok(());
        }
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(()) };
        match does {
            0 => {
                // What failed three times alone is parked, and no longer owed: nobody fails that often here.
                client.in_hand.clear();
                client.session.hand_back();
            }
            1 | 2 => {}
            _ => self.acknowledge(machine, number),
        }
        Ok(())
    }

    /// Takes what a session is told. False when it has ended.
    fn take_events(&mut self, machine: usize, number: u32, max: usize) -> Result<bool, String> {
        let Some(client) = self.machines[machine].clients.get(&number) else { return Ok(false) };
        let (session, reader): (Session, Reader) = (client.session.clone(), client.reader);
        let events = match session.next_events(max, Duration::ZERO) {
            Ok(events) => events,
            Err(error) => {
                self.history.say(format_args!("{reader:?}: {error}"));
                self.machines[machine].clients.remove(&number);
                return Ok(false);
            }
        };
        if self.machines[machine].disk.is_off() {
            return Ok(false);
        }
        let mut lefts = Vec::new();
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(false) };
        let mut is_over = false;
        for event in &events {
            self.history.say(format_args!("{reader:?} {event:?}"));
            match &event.body {
                EventBody::Message(message) => {
                    client.in_hand.push(message.id);
                    let number = number_sent(&message.content);
                    lefts.push(Left::Told { reader, id: message.id, position: message.position, number });
                }
                EventBody::Presence { subject, presence } => {
                    if let Some(user) = user_of(subject) {
                        client.saw.insert(user, presence.state);
                    }
                }
                EventBody::Resync => client.is_behind = true,
                EventBody::Ended(_) => is_over = true,
                _ => {}
            }
        }
        for left in lefts {
            self.check_told(machine, &left)?;
            self.note(machine, left);
        }
        if is_over {
            self.machines[machine].clients.remove(&number);
        }
        Ok(!is_over)
    }

    /// What a session is told was sent to it, and stands where it stood before.
    fn check_told(&self, machine: usize, left: &Left) -> Step {
        let Left::Told { reader, id, position, number } = left else { return Ok(()) };
        let ledger = &self.machines[machine].ledger;
        if let Some(before) = ledger.told.get(&(*reader, *id))
            && before != position
        {
            return Err(format!("{id} has moved for {reader:?}, from {before:?} to {position:?}"));
        }
        let mail = number.and_then(|number| ledger.mails.get(&number));
        if let Some(mail) = mail
            && mail.sent.sender != reader.user
            && !mail.sent.reaches().contains(&reader.user)
        {
            return Err(format!("{reader:?} was told {:?}, which is not for them", mail.sent));
        }
        if let Some(mail) = mail
            && mail.was_refused
        {
            return Err(format!("{reader:?} was told {:?}, which was refused", mail.sent));
        }
        Ok(())
    }

    fn acknowledge(&mut self, machine: usize, number: u32) {
        let now = self.now;
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return };
        client.session.ack(u64::MAX);
        let (reader, ids) = (client.reader, std::mem::take(&mut client.in_hand));
        for id in ids {
            self.note(machine, Left::Acked { reader, id, at: now });
        }
    }

    /// What listeners were given since the last time.
    pub fn collect(&mut self) -> Step {
        for machine in 0..self.machines.len() {
            let clients = &self.machines[machine].clients;
            let given: Vec<Left> =
                clients.values().filter_map(|client| Some(client.host.as_ref()?.take())).flatten().collect();
            for left in given {
                self.check_told(machine, &left)?;
                self.machines[machine].ledger.take(&left);
                self.covered.add("delivery.listener-fails");
            }
        }
        Ok(())
    }

    // ---- presence -----------------------------------------------------------------------------------------------

    fn set_presence(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some(number) = self.any_client(machine, random) else { return self.open(machine, random) };
        let (state, goes, hides) =
            (STATES[random.usize(..STATES.len())], random.u8(0..5) == 0, random.u8(0..6) == 0);
        let now = self.now;
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(()) };
        let result = if goes {
            client.session.go_offline()
        } else {
            let presence = SetPresence { invisible: hides, ..SetPresence::state(state) };
            client.session.set_presence(presence)
        };
        if result.is_ok() {
            client.shows = (!goes).then_some((state, now));
            client.is_invisible = hides && !goes;
            if goes {
                client.saw.clear();
            }
        }
        self.history.say(format_args!("{result:?}"));
        let came = match result {
            // It has ended; reading it says so.
            Err(error) if error.kind == ErrorKind::Closed && self.engine(machine)?.failure().is_none() => {
                self.machines[machine].clients.remove(&number);
                return Ok(());
            }
            result => self.came(machine, result.map(|()| Answer::Done))?,
        };
        self.has_failed(machine, "presence", &came)
    }

    /// What a user's watchers are to see.
    fn aggregate(&self, user: User) -> State {
        const ORDER: [State; 5] = [State::Busy, State::Chat, State::Online, State::Away, State::ExtendedAway];
        let clients = self.machines[machine_of(user)].clients.values();
        let shown: Vec<State> = clients
            .filter(|client| client.reader.user == user && !client.is_invisible)
            .filter(|client| client.ends_at.is_none_or(|ends_at| self.now < ends_at))
            .filter_map(|client| client.shows.map(|(state, _)| state))
            .collect();
        ORDER.into_iter().find(|state| shown.contains(state)).unwrap_or(State::Offline)
    }

    /// Every session sees what it may see, and nothing else.
    fn look_at_presence(&mut self, machine: usize, _: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.check_ended(machine)?;
        let numbers: Vec<u32> = self.machines[machine]
            .clients
            .iter()
            .filter(|(_, c)| c.ends_at.is_none() && c.host.is_none() && c.shows.is_some())
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            // Everything, so that nothing newer waits behind.
            loop {
                let before = self.next_seq(machine, number);
                if !self.take_events(machine, number, 1_000)? {
                    break;
                }
                self.acknowledge(machine, number);
                if self.next_seq(machine, number) == before {
                    break;
                }
            }
            let Some(client) = self.machines[machine].clients.get(&number) else { continue };
            let viewer = client.reader.user;
            for subject in ORDINARY.into_iter().filter(|s| machine_of(*s) == machine && *s != viewer) {
                let ledger = &self.machines[machine].ledger;
                let blocked = ledger.value(Place::Blocked(subject, viewer));
                let visible = ledger.value(Place::Visibility(subject, viewer));
                let (Ok(view), Ok(blocked), Ok(visible)) = (ledger.view(subject, viewer), blocked, visible)
                else {
                    continue;
                };
                let is_hidden = visible.map(visibility) == Some(Visibility::Hidden);
                let expected = if view.from() && blocked != Some(1) && !is_hidden {
                    self.aggregate(subject)
                } else {
                    State::Offline
                };
                let saw = client.saw.get(&subject).copied().unwrap_or(State::Offline);
                if !client.is_behind && saw != expected {
                    return Err(format!(
                        "user{viewer} saw user{subject} {saw:?}, who shows {expected:?} to them: {view:?}, blocked {blocked:?}"
                    ));
                }
                if expected == State::Offline {
                    self.covered.add("presence.who-sees");
                } else {
                    self.covered.add("presence.aggregate");
                    self.covered.add("presence.aggregate-order");
                    self.covered.add("presence.snapshot");
                    self.covered.add("presence.invisible");
                    self.covered.add("presence.visibility");
                }
            }
        }
        Ok(())
    }

    fn next_seq(&self, machine: usize, number: u32) -> (usize, usize) {
        let client = self.machines[machine].clients.get(&number);
        client.map_or((0, 0), |client| (client.in_hand.len(), self.machines[machine].ledger.acked.len()))
    }

    /// Whose lease has run out has ended, and knows it.
    fn check_ended(&mut self, machine: usize) -> Step {
        let now = self.now;
        let over: Vec<u32> = self.machines[machine]
            .clients
            .iter()
            .filter(|(_, client)| client.ends_at.is_some_and(|ends_at| ends_at <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            let Some(client) = self.machines[machine].clients.remove(&number) else { continue };
            let mut has_ended = false;
            while let Ok(events) = client.session.next_events(1_000, Duration::ZERO) {
                has_ended |= events.iter().any(|event| matches!(event.body, EventBody::Ended(_)));
                if events.is_empty() {
                    break;
                }
            }
            if !has_ended {
                return Err(format!("the session of {:?} is there, long after its lease", client.reader));
            }
            self.covered.add("presence.lease-expires");
            self.covered.add("presence.lease-bounds");
        }
        Ok(())
    }

    // ---- rosters ------------------------------------------------------------------------------------------------

    fn two(&self, machine: usize, random: &mut Random) -> Option<(User, User)> {
        let owner = self.here(machine, random);
        let others: Vec<User> =
            ORDINARY.into_iter().filter(|user| machine_of(*user) == machine && *user != owner).collect();
        (!others.is_empty()).then(|| (owner, others[random.usize(..others.len())]))
    }

    fn edit(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, peer)) = self.two(machine, random) else { return Ok(()) };
        // Who is asked mostly says yes.
        let asks = |of: User, by: User| {
            self.machines[machine].ledger.view(of, by).is_ok_and(|view| view.asking()) && of != by
        };
        let (owner, peer) = if asks(peer, owner) { (peer, owner) } else { (owner, peer) };
        let op = match random.u8(0..10) {
            0..6 => Op::Add,
            6 => Op::Remove,
            7 => Op::Subscribe,
            8 => Op::Unsubscribed,
            _ => Op::Unsubscribe,
        };
        self.edit_roster(machine, owner, peer, op)
    }

    fn edit_roster(&mut self, machine: usize, owner: User, peer: User, op: Op) -> Step {
        // Who asks somebody that blocks them is not heard, and does not learn it.
        let heard = self.machines[machine].ledger.value(Place::Blocked(peer, owner)) == Ok(Some(0));
        if !heard {
            self.note(machine, Left::LostSightOf(owner, peer));
        }
        if op == Op::Remove {
            self.note(machine, Left::LostSight(Place::Name(owner, peer)));
        }
        if matches!(op, Op::Remove | Op::Unsubscribe | Op::Unsubscribed) {
            // With the last that is between two goes what one shows to the other.
            self.note(machine, Left::LostSight(Place::Visibility(owner, peer)));
            self.note(machine, Left::LostSight(Place::Visibility(peer, owner)));
        }
        self.note(machine, Left::TriesEdit(owner, peer, op));
        let came = self.call(machine, &actor(owner), Command::Roster(RosterEdit::new(&address(peer), op)))?;
        let did = match &came {
            Came::Done(_) => Some(true),
            Came::Unknown => None,
            Came::Not(error) => match error.kind {
                ErrorKind::Storage { .. } | ErrorKind::NotFound => Some(false),
                _ => return Err(format!("{op:?} by user{owner} of user{peer}: {error}")),
            },
        };
        self.note(machine, Left::Edited(owner, peer, op, did));
        self.see_pair(machine, owner, peer)
    }

    /// Looks at what two believe, when nobody knows.
    fn see_pair(&mut self, machine: usize, a: User, b: User) -> Step {
        let ledger = &self.machines[machine].ledger;
        let is_known = ledger.view(a, b).is_ok();
        let Ok((of_a, of_b)) = self.both_views(machine, a, b) else { return Ok(()) };
        if !self.is_quiet(machine) {
            return Ok(());
        }
        if is_known {
            self.covered.add("roster.rfc6121-states");
            let expected =
                (self.machines[machine].ledger.view(a, b), self.machines[machine].ledger.view(b, a));
            if (expected.0.map(View::shown), expected.1.map(View::shown)) != (Ok(of_a), Ok(of_b)) {
                return Err(format!("user{a} and user{b} are {of_a:?} and {of_b:?}, not {expected:?}"));
            }
            return Ok(());
        }
        let blocks =
            |one, other| self.machines[machine].ledger.value(Place::Blocked(one, other)) != Ok(Some(0));
        let halves = |view: View| View { listed: false, ..view };
        if !blocks(a, b) && !blocks(b, a) && halves(of_a) == halves(of_b).mirrored() {
            self.note(machine, Left::Saw(a, b, of_a, of_b));
        }
        Ok(())
    }

    fn invite(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((host, guest)) = self.two(machine, random) else { return Ok(()) };
        let token = InvitationToken::from_random(u128::from(self.number()).to_le_bytes());
        let invite = Command::Invite { token: token.clone(), expires: wall(self.now + 3_600_000) };
        let came = self.call(machine, &actor(host), invite)?;
        if !matches!(came, Came::Done(_)) {
            // Too many are open: they last an hour.
            return Ok(());
        }
        self.note(machine, Left::LostSightOf(host, guest));
        let edit = RosterEdit { token: Some(token), ..RosterEdit::new(&address(host), Op::Add) };
        let came = self.call(machine, &actor(guest), Command::Roster(edit))?;
        self.note(machine, Left::Edited(guest, host, Op::Update, Some(true)));
        let hears =
            |one, other| self.machines[machine].ledger.value(Place::Blocked(one, other)) == Ok(Some(0));
        let heard = hears(host, guest) && hears(guest, host);
        if matches!(came, Came::Done(_)) && heard {
            if let Ok((of_host, of_guest)) = self.both_views(machine, host, guest)
                && self.is_quiet(machine)
                && (of_host.status() != Status::Confirmed || of_guest.status() != Status::Confirmed)
            {
                return Err(format!("user{guest} redeemed an invitation: {of_guest:?}, and {of_host:?}"));
            }
            self.covered.add("invitations.redeemed");
        }
        self.see_pair(machine, host, guest)
    }

    /// Somebody, and who sees their presence if anybody does.
    fn watched(&self, machine: usize, random: &mut Random) -> Option<(User, User)> {
        let ledger = &self.machines[machine].ledger;
        let here = || ORDINARY.into_iter().filter(|user| machine_of(*user) == machine);
        let all = here().flat_map(|owner| here().map(move |viewer| (owner, viewer)));
        let seen: Vec<(User, User)> =
            all.filter(|(owner, viewer)| ledger.view(*owner, *viewer).is_ok_and(View::from)).collect();
        match seen.is_empty() || random.u8(0..4) == 0 {
            true => self.two(machine, random),
            false => Some(seen[random.usize(..seen.len())]),
        }
    }

    /// An account hides from somebody, or shows itself again.
    fn hide(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, viewer)) = self.watched(machine, random) else { return Ok(()) };
        self.set(Fact { place: Place::Visibility(owner, viewer), value: random.u64(0..3) })
    }

    fn block(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, whom)) = self.watched(machine, random) else { return Ok(()) };
        if owner.is_multiple_of(2) {
            // Those whom rules send on to take everything.
            return Ok(());
        }
        self.set(Fact { place: Place::Blocked(owner, whom), value: u64::from(random.bool()) })
    }

    // ---- facts --------------------------------------------------------------------------------------------------

    fn set(&mut self, fact: Fact) -> Step {
        let owner = fact.place.owner();
        let machine = machine_of(owner);
        self.note(machine, Left::Tries(fact));
        let command = fact.command(self.now);
        if let Place::Name(owner, peer) = fact.place {
            self.note(machine, Left::TriesEdit(owner, peer, Op::Update));
        }
        let left = match self.call(machine, &actor(owner), command)? {
            Came::Done(_) => Left::Did(fact),
            Came::Unknown => Left::MayHaveDone(fact),
            Came::Not(error) => match error.kind {
                ErrorKind::Storage { .. } => Left::DidNot(fact),
                // There is no such buddy, or nothing to have read.
                ErrorKind::NotFound
                    if matches!(fact.place, Place::Name(..) | Place::Read(..) | Place::Visibility(..)) =>
                {
                    Left::DidNot(fact)
                }
                _ => return Err(format!("{fact:?} was refused: {error}")),
            },
        };
        if let Place::Name(owner, peer) = fact.place {
            let did = match left {
                Left::Did(_) => Some(true),
                Left::DidNot(_) => Some(false),
                _ => None,
            };
            // Who has a name is listed.
            self.note(machine, Left::Edited(owner, peer, Op::Update, did));
        }
        self.note(machine, left);
        Ok(())
    }

    fn set_fact(&mut self, machine: usize, random: &mut Random) -> Step {
        let user = self.here(machine, random);
        let value = u64::from(self.number());
        let place = match random.u8(0..10) {
            0 | 1 if user == 1 || user == 3 || user == 8 => Place::Preferences(user),
            0..3 => Place::File(user, random.u8(0..2)),
            3 => Place::Card(user),
            4 | 5 => Place::Registration(user),
            6 => Place::Rules([3, 8][machine]),
            7 => {
                let Some((owner, peer)) = self.two(machine, random) else { return Ok(()) };
                Place::Name(owner, peer)
            }
            _ => return self.mark_read(machine, random),
        };
        self.set(Fact { place, value })
    }

    /// Somebody has read what they were told last.
    fn mark_read(&mut self, machine: usize, random: &mut Random) -> Step {
        let told = &self.machines[machine].ledger.told;
        let received: Vec<(User, User, Position)> = told
            .iter()
            .filter_map(|((reader, id), position)| {
                let mail = self.machines[machine].ledger.mail_of(*id)?;
                let sender = mail.sent.sender;
                let kept = reader.user != 2 && mail.gone_for.is_empty() && mail.sent.expires.is_none();
                (sender != reader.user && kept && mail.fate == Fate::Comes).then_some((
                    reader.user,
                    sender,
                    *position,
                ))
            })
            .collect();
        if received.is_empty() {
            return Ok(());
        }
        let (user, peer, upto) = received[random.usize(..received.len())];
        self.set(Fact { place: Place::Read(user, peer), value: upto.0 })
    }

    fn decide(&mut self, machine: usize, random: &mut Random) -> Step {
        let owner = [3, 8][machine];
        let read = Command::ReadQuarantined { after: Position::ZERO, limit: 100 };
        let came = self.call(machine, &actor(owner), read)?;
        let Came::Done(Answer::History(page)) = came else { return Ok(()) };
        let waiting: Vec<(User, MessageId)> =
            page.messages.iter().filter_map(|m| Some((user_of(&m.sender.bare())?, m.id))).collect();
        for mail in self.machines[machine].ledger.mails.values() {
            let Some(id) = mail.id.filter(|_| mail.fate == Fate::Waits && mail.sent.recipient == owner)
            else {
                continue;
            };
            let dated = mail.sent.expires.is_some_and(|expires| expires <= self.now);
            if !dated && page.complete && waiting.iter().all(|(_, waits)| *waits != id) {
                return Err(format!("{:?} is to wait in quarantine, and does not", mail.sent));
            }
            self.covered.add("admission.quarantine");
            self.covered.add("quarantine.read");
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let (sender, _) = waiting[random.usize(..waiting.len())];
        if random.bool() {
            self.note(machine, Left::Admits(owner, sender));
            let came = self.call(machine, &actor(owner), Command::AdmitSender(address(sender)))?;
            self.covered.add("quarantine.admit");
            self.has_failed(machine, "admitting", &came)
        } else {
            self.note(machine, Left::Refuses(owner, sender));
            let refuse = Command::RefuseSender { sender: address(sender), block: false };
            let came = self.call(machine, &actor(owner), refuse)?;
            self.covered.add("quarantine.refuse");
            self.has_failed(machine, "refusing", &came)
        }
    }

    fn forget(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, peer)) = self.two(machine, random) else { return Ok(()) };
        let peer = (random.u8(0..4) > 0).then_some(peer);
        self.note(machine, Left::Forgets(owner, peer));
        let came = self.call(machine, &actor(owner), Command::Forget { peer: peer.map(address) })?;
        if matches!(came, Came::Done(_)) {
            let with = peer.map(address);
            let request = HistoryRequest {
                peer: with,
                anchor: rosterkit::Anchor::End,
                direction: rosterkit::Direction::Newer,
                limit: 10,
            };
            match self.call(machine, &actor(owner), Command::ReadHistory(request))? {
                Came::Done(Answer::History(page)) if !page.messages.is_empty() => {
                    return Err(format!(
                        "user{owner} has forgotten {peer:?}, and there is {:?}",
                        page.messages
                    ));
                }
                _ => self.covered.add("history.forget"),
            }
        }
        self.has_failed(machine, "forgetting", &came)
    }

    fn come_and_go(&mut self, machine: usize, _: &mut Random) -> Step {
        if machine != 0 {
            return Ok(());
        }
        match self.call(0, &actor(COMES_AND_GOES), Command::CreateAccount)? {
            Came::Not(error) if error.kind == ErrorKind::Conflict => {
                self.note(0, Left::Gone);
                let came = self.call(0, &actor(COMES_AND_GOES), Command::DeleteAccount)?;
                self.covered.add("account.incarnation");
                self.has_failed(0, "deleting", &came)
            }
            came => self.has_failed(0, "creating", &came),
        }
    }

    // ---- looking ------------------------------------------------------------------------------------------------

    fn look(&mut self, machine: usize, random: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.advance(1_500)?;
        if self.machines[machine].disk.is_off() {
            return Ok(());
        }
        self.audit(machine, Depth::Some(random.u64(..))).running()
    }

    /// Questions that change nothing, whatever the disk does meanwhile.
    fn ask(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((user, other)) = self.two(machine, random) else { return Ok(()) };
        let ask = match random.u8(0..6) {
            0 => Command::ReadConversations(ConversationsRequest { before: None, limit: 10 }),
            1 => Command::SearchHistory(SearchRequest {
                text: "NUMBER".into(),
                peer: None,
                before: None,
                limit: 20,
            }),
            2 => Command::ExplainPresence { viewer: address(other) },
            3 => Command::ExplainAdmission { sender: address(other) },
            4 => Command::ListFiles { prefix: String::new() },
            _ => Command::Typing { recipient: address(other), state: ChatState::Composing },
        };
        let came = self.call(machine, &actor(user), ask)?;
        match &came {
            Came::Done(Answer::Found(found)) => {
                if found.messages.iter().any(|message| message.content.as_text().is_none()) {
                    return Err("a search found what is no text".into());
                }
                self.covered.add("history.search");
            }
            Came::Done(Answer::Conversations(page)) => {
                if !page.conversations.is_sorted_by(|a, b| a.position > b.position) {
                    return Err("conversations are not the latest first".into());
                }
                self.covered.add("conversations.pages");
            }
            Came::Done(Answer::Explanation(_)) => self.covered.add("explain.admission"),
            _ => {}
        }
        self.has_failed(machine, "a question", &came)
    }

    fn wait(&mut self, _: usize, random: &mut Random) -> Step {
        let millis = match random.u8(0..10) {
            0..5 => random.u64(1..1_500),
            5..8 => random.u64(1_500..8_000),
            8 => random.u64(60_000..200_000),
            _ => random.u64(600_000..2_000_000),
        };
        self.advance(millis)?;
        for machine in 0..self.machines.len() {
            self.check_ended(machine)?;
        }
        Ok(())
    }

    // ---- what goes wrong ----------------------------------------------------------------------------------------

    fn fail(&mut self, machine: usize, random: &mut Random) -> Step {
        let fault = match random.u8(0..10) {
            0..4 => Fault::Call { after: random.u64(0..60), failure: Failure::Io },
            4 | 5 => Fault::Call { after: random.u64(0..60), failure: Failure::Full },
            6 => Fault::Sync { after: random.u64(0..4) },
            7 => Fault::Full,
            _ => Fault::PowerOff { after: random.u64(0..80) },
        };
        self.plan(machine, fault);
        Ok(())
    }

    fn lose_power(&mut self, machine: usize, _: &mut Random) -> Step {
        self.count_fault("the power goes between calls");
        self.machines[machine].disk.turn_off();
        Ok(())
    }

    fn reopen(&mut self, machine: usize, _: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.advance(3_000)?;
        self.count_fault("a restart in good order");
        self.covered.add("engine.shutdown");
        self.restart(machine)
    }

    fn bend_link(&mut self, _: usize, random: &mut Random) -> Step {
        let [a, b] = self.machines.as_slice() else { return Ok(()) };
        let (Some(left), Some(right)) = (&a.relay, &b.relay) else { return Ok(()) };
        if random.bool() {
            self.link.cut([left, right], random);
            self.count_fault("the link is cut");
        } else {
            self.link.connect([left, right]);
        }
        Ok(())
    }

    /// A backup is a whole file of its own, which owes what the engine owed when it was asked for.
    fn back_up(&mut self, machine: usize, random: &mut Random) -> Step {
        let directory = crate::world::folder().map_err(|e| e.to_string())?;
        let path = directory.path().join("im.db");
        let mut before = self.machines[machine].ledger.clone();
        self.machines[machine].disk.heal();
        match self.engine(machine)?.backup_to(&path) {
            Ok(()) => {}
            Err(_) if self.machines[machine].disk.is_off() => return Ok(()),
            Err(error) => {
                let came = self.came(machine, Err(error))?;
                return self.has_failed(machine, "a backup", &came);
            }
        }
        // Who takes something meanwhile is not owed it any more.
        self.collect()?;
        before.acked.extend(self.machines[machine].ledger.acked.clone());
        let bytes = std::fs::read(&path).map_err(|e| format!("the backup: {e}"))?;
        let mut image = crate::disk::Image::default();
        image.put("im.db", bytes);
        // What was acknowledged a moment ago may not be on disk yet.
        let depth = Depth::Some(random.u64(..));
        look_after(&image, &before, machine, depth, &self.covered)
            .map_err(|e| format!("in a backup: {e}"))?;
        self.covered.add("backup.whole");
        Ok(())
    }
}
