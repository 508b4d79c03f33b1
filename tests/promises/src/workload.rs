//! What the engine is put through, what left it, and what must be true of the file.

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::Disk;
use rosterkit::{
    Actor, Address, Answer, ClientId, Command, DeviceName, Domain, Engine, EngineOptions, ErrorKind, Event,
    EventBody, MessageId, Overrides, Position, Receipt, Send, Session, SessionOptions, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

pub const USERS: usize = 5;
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// A send, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub number: usize,
    pub sender: usize,
    pub recipient: usize,
}

/// What left the engine.
#[derive(Clone, Debug)]
pub enum Left {
    Answered(Sent, Receipt),
    /// An account's consumer was handed a message.
    Told {
        user: usize,
        id: MessageId,
        position: Position,
    },
    /// Its acknowledgement went in. Not a promise of the engine's, but after it the engine owes it nothing.
    Acknowledged {
        user: usize,
        id: MessageId,
    },
}

pub fn address(user: usize) -> Address {
    Address::account(&format!("user{user}@example.org")).unwrap()
}

pub fn options() -> EngineOptions {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.idle_accounts = 2;
    options
}

pub fn open(directory: &Path, disk: Disk) -> rosterkit::Result<Engine> {
    let sqlite = SqliteOptions { disk, tail_rows: 32, checkpoint_pages: 40, ..SqliteOptions::small() };
    Engine::open_virtual(SqliteStore::new(directory.join("im.db"), sqlite), options(), 1, START)
}

impl Sent {
    pub fn command(&self) -> (Actor, Command) {
        let text = format!("message {} of user{}", self.number, self.sender);
        let send = Send {
            client_id: Some(ClientId::new(&format!("c{}", self.number)).unwrap()),
            ..Send::text(&address(self.recipient), &text)
        };
        (Actor { account: address(self.sender), session: None }, Command::Send(send))
    }

    pub fn repeat(&self, engine: &Engine) -> rosterkit::Result<Receipt> {
        let (actor, command) = self.command();
        match engine.call(&actor, command)? {
            Answer::Receipt(receipt) => Ok(receipt),
            other => panic!("a send was answered with {other:?}"),
        }
    }
}

/// The world outside of an engine: clients that send, read and come and go by seed.
pub struct Run<'a> {
    pub engine: Engine,
    pub random: fastrand::Rng,
    pub sent: Vec<Sent>,
    pub sessions: BTreeMap<usize, Session>,
    pub left: &'a dyn Fn(Left),
    /// What was handed to each user's session and not acknowledged.
    pub in_hand: BTreeMap<usize, Vec<MessageId>>,
    /// Whose history is off: nothing of theirs stays that was dealt with.
    pub forgetful: BTreeSet<usize>,
}

impl<'a> Run<'a> {
    pub fn new(engine: Engine, seed: u64, left: &'a dyn Fn(Left)) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let forgetful = (0..USERS).filter(|_| random.u8(0..3) == 0).collect();
        Run {
            engine,
            random,
            sent: Vec::new(),
            sessions: BTreeMap::new(),
            in_hand: BTreeMap::new(),
            left,
            forgetful,
        }
    }

    /// Makes the accounts. Repeats what fails.
    pub fn begin(&mut self) {
        for user in 0..USERS {
            let overrides =
                Overrides { keep_history: Some(!self.forgetful.contains(&user)), ..Overrides::default() };
            let actor = Actor { account: address(user), session: None };
            self.insist(|engine| match engine.create_account(&address(user)) {
                Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
                other => other,
            });
            self.insist(|engine| engine.call(&actor, Command::SetPreferences(overrides.clone())).map(|_| ()));
        }
    }

    /// Repeats a call until the disk lets it pass.
    pub fn insist<T>(&self, call: impl Fn(&Engine) -> rosterkit::Result<T>) -> T {
        for _ in 0..20 {
            match call(&self.engine) {
                Ok(value) => return value,
                Err(error) if matches!(error.kind, ErrorKind::Storage { .. }) => {
                    self.engine.advance(2_000).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the disk does not come back")
    }

    pub fn step(&mut self) {
        match self.random.u8(0..100) {
            0..35 => self.send(1),
            35..50 => {
                let burst = self.random.usize(2..12);
                self.send(burst);
            }
            50..80 => {
                let user = self.random.usize(0..USERS);
                self.read(user);
            }
            80..86 => {
                let user = self.random.usize(0..USERS);
                self.leave(user);
            }
            86..92 => {
                let again: Vec<Sent> =
                    (0..3).filter_map(|_| self.random.choice(&self.sent).cloned()).collect();
                self.submit(again);
            }
            _ => {
                let millis = self.random.u64(1..1_500);
                self.engine.advance(millis).unwrap();
            }
        }
    }

    fn send(&mut self, count: usize) {
        let sends: Vec<Sent> = (0..count)
            .map(|i| Sent {
                number: self.sent.len() + i,
                sender: self.random.usize(0..USERS),
                recipient: self.random.usize(0..USERS),
            })
            .collect();
        self.sent.extend(sends.iter().cloned());
        self.submit(sends);
    }

    /// Many at once, so that one commit takes them all. What fails is repeated at the end.
    fn submit(&mut self, sends: Vec<Sent>) {
        let tickets = self.engine.submit(sends.iter().map(Sent::command).collect()).unwrap();
        assert_eq!(tickets.len(), sends.len());
        let by_ticket: BTreeMap<_, _> = tickets.into_iter().zip(sends).collect();
        for answered in self.engine.next_answers(usize::MAX, Duration::ZERO).unwrap() {
            let Some(sent) = by_ticket.get(&answered.ticket) else {
                continue;
            };
            match answered.result {
                Ok(Answer::Receipt(receipt)) => (self.left)(Left::Answered(sent.clone(), receipt)),
                Ok(other) => panic!("a send was answered with {other:?}"),
                Err(error) => assert!(matches!(error.kind, ErrorKind::Storage { .. }), "{error}"),
            }
        }
    }

    fn leave(&mut self, user: usize) {
        self.sessions.remove(&user);
        self.in_hand.remove(&user);
    }

    fn read(&mut self, user: usize) {
        if !self.sessions.contains_key(&user) {
            let options = session_options(user);
            match self.engine.open_session(&address(user), options) {
                Ok(session) => drop(self.sessions.insert(user, session)),
                Err(error) => return assert!(matches!(error.kind, ErrorKind::Storage { .. }), "{error}"),
            }
        }
        let max = self.random.usize(1..20);
        let acknowledges = self.random.u8(0..10) > 2;
        let Some(session) = self.sessions.get(&user) else {
            return;
        };
        let Ok(events) = session.next_events(max, Duration::ZERO) else {
            self.leave(user);
            return;
        };
        let (session, last) = (session.clone(), events.last().map(|e| e.seq));
        self.told(user, &events);
        if acknowledges && let Some(last) = last {
            session.ack(last);
            // Acknowledging is cumulative: what was only looked at before goes with it.
            for id in self.in_hand.remove(&user).unwrap_or_default() {
                (self.left)(Left::Acknowledged { user, id });
            }
        }
    }

    pub fn told(&mut self, user: usize, events: &[Event]) {
        for event in events {
            if let EventBody::Message(message) = &event.body {
                self.in_hand.entry(user).or_default().push(message.id);
                (self.left)(Left::Told { user, id: message.id, position: message.position });
            }
        }
    }
}

/// Even users have a named device, odd ones are anonymous.
pub fn session_options(user: usize) -> SessionOptions {
    SessionOptions {
        device: (user.is_multiple_of(2)).then(|| DeviceName::new("phone").unwrap()),
        reads_messages: true,
        ..SessionOptions::default()
    }
}

/// Reads and acknowledges everything a user is owed: ids in the order of their coming.
pub fn drain(engine: &Engine, user: usize) -> Vec<(Position, MessageId)> {
    let session = engine.open_session(&address(user), session_options(user)).unwrap();
    let mut all = Vec::new();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).unwrap();
        let Some(last) = events.last() else { return all };
        session.ack(last.seq);
        all.extend(events.iter().filter_map(|e| match &e.body {
            EventBody::Message(message) => Some((message.position, message.id)),
            _ => None,
        }));
    }
}
