//! What the engine is put through, what left it, and what must be true of the file.

use crate::kept::Kept;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::Disk;
use rosterkit::{
    Actor, Address, Answer, ClientId, Command, DeviceName, Domain, Engine, EngineOptions, ErrorKind, Event,
    EventBody, MessageId, Outcome, Overrides, Position, Receipt, Send, Session, SessionOptions, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Who sends and reads.
pub const USERS: usize = 5;
/// Sends what comes on to user0, by a rule.
pub const REDIRECTS: usize = 5;
/// Keeps what comes, and forks it to user1.
pub const FORKS: usize = 6;
/// All of them.
pub const ACCOUNTS: usize = 7;
/// Until when some messages are of use.
pub const EXPIRY: Timestamp = Timestamp(START.0 + 3_600_000);
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
    /// A client asks to have this kept; that is no exit.
    Tries(Kept),
    /// That it is was answered.
    Kept(Kept),
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
    /// To whom it comes in the end.
    pub fn reaches(&self) -> Vec<usize> {
        match self.recipient {
            REDIRECTS => vec![0],
            FORKS => vec![FORKS, 1],
            user => vec![user],
        }
    }

    pub fn expires(&self) -> Option<Timestamp> {
        (self.number % 7 == 3 && self.recipient < USERS && self.recipient != self.sender).then_some(EXPIRY)
    }

    pub fn command(&self) -> (Actor, Command) {
        let text = format!("message {} of user{}", self.number, self.sender);
        let send = Send {
            client_id: Some(ClientId::new(&format!("c{}", self.number)).unwrap()),
            expires: self.expires(),
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
    /// The latest message each was told, and from whom.
    latest: BTreeMap<usize, (usize, Position)>,
    /// Numbers what is kept.
    number: u64,
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
            latest: BTreeMap::new(),
            number: 0,
            left,
            forgetful,
        }
    }

    /// Makes the accounts. Repeats what fails.
    pub fn begin(&mut self) {
        for user in 0..ACCOUNTS {
            let overrides =
                Overrides { keep_history: Some(!self.forgetful.contains(&user)), ..Overrides::default() };
            let actor = Actor { account: address(user), session: None };
            self.insist(|engine| match engine.create_account(&address(user)) {
                Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
                other => other,
            });
            self.insist(|engine| engine.call(&actor, Command::SetPreferences(overrides.clone())).map(|_| ()));
        }
        for (user, does, to) in [(REDIRECTS, "redirect-to", 0), (FORKS, "fork-to", 1)] {
            let actor = Actor { account: address(user), session: None };
            let to = address(to);
            let rules = format!(
                r#"{{"rules": [{{"name": "on", "priority": 5, "actions": [{{"{does}": ["{to}"]}}]}}]}}"#
            );
            self.insist(|engine| engine.call(&actor, Command::SetRules(rules.clone())).map(|_| ()));
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
            0..20 => self.send(1),
            20..35 => self.keep(),
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
            .map(|i| {
                let (sender, recipient) = (self.random.usize(0..USERS), self.random.usize(0..ACCOUNTS));
                // Rules send it on to somebody else than its sender, who has it already.
                let sender = if recipient < USERS { sender } else { 2 + sender % 3 };
                Sent { number: self.sent.len() + i, sender, recipient }
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

    /// Has something else kept than a message.
    fn keep(&mut self) {
        self.number += 1;
        let (user, number) = (self.random.usize(0..USERS), self.number);
        let kept = match self.random.u8(0..4) {
            0 => Kept::Registered { user, number },
            1 => Kept::Written { user, number },
            2 => {
                let guest = (user + self.random.usize(1..USERS)) % USERS;
                Kept::Redeemed { host: user.min(guest), guest: user.max(guest) }
            }
            _ => match self.latest.get(&user) {
                // Where nothing stays there is no conversation to look at.
                Some(&(peer, upto)) if !self.forgetful.contains(&user) => Kept::Read { user, peer, upto },
                _ => return,
            },
        };
        (self.left)(Left::Tries(kept));
        match kept.keep(&self.engine, START) {
            Ok(()) => (self.left)(Left::Kept(kept)),
            Err(error) => assert!(matches!(error.kind, ErrorKind::Storage { .. }), "{error}"),
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
                if let Some(sender) = (0..USERS).find(|sender| address(*sender) == message.sender.bare())
                    && sender != user
                {
                    self.latest.insert(user, (sender, message.position));
                }
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

/// What a user was owed.
#[derive(Debug, Default, PartialEq)]
pub struct Drained {
    /// Messages, in the order of their coming.
    pub messages: Vec<(Position, MessageId)>,
    /// Messages of theirs that nobody took in time.
    pub expired: BTreeSet<MessageId>,
}

/// Reads and acknowledges everything a user is owed.
pub fn drain(engine: &Engine, user: usize) -> Drained {
    let session = engine.open_session(&address(user), session_options(user)).unwrap();
    let mut all = Drained::default();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).unwrap();
        let Some(last) = events.last() else { return all };
        session.ack(last.seq);
        for event in events {
            match event.body {
                EventBody::Message(message) => all.messages.push((message.position, message.id)),
                EventBody::Outcome { message_id, outcome: Outcome::Expired, .. } => {
                    all.expired.insert(message_id);
                }
                _ => {}
            }
        }
    }
}
