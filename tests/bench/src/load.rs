//! An engine under load: accounts, and closed loops with one send in flight for each sender.

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::{Counters, Disk};
use rosterkit::{
    Actor, Address, ClientId, Command, Content, Domain, Durability, Engine, EngineOptions, Limits, Quota,
    Rate, Send,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const BODY: &str = "sixty-four bytes of text, which is about what people really say.";

pub fn address(user: usize) -> Address {
    Address::account(&format!("user{user}@example.org")).expect("an address")
}

pub fn options(idle: usize) -> EngineOptions {
    let mut options = EngineOptions::hosting([Domain::new("example.org").expect("a domain")]);
    let free = Rate { burst: u32::MAX, per_minute: u32::MAX };
    let much = Quota { count: usize::MAX, bytes: u64::MAX };
    options.limits = Limits {
        sends: free,
        requests: free,
        unclaimed: much,
        unclaimed_from_one: much,
        ..Limits::default()
    };
    options.idle_accounts = idle;
    options
}

pub struct Load {
    pub engine: Engine,
    pub counters: Arc<Counters>,
    pub random: fastrand::Rng,
    addresses: Vec<Address>,
    /// How many were sent: the next client id. Who opens a file again goes on from there.
    pub sent: u64,
    pub client_ids: bool,
}

impl Load {
    pub fn open(path: &Path, accounts: usize, idle: usize, durability: Durability) -> Load {
        Load::among(path, (0..accounts).map(address).collect(), idle, durability)
    }

    /// A load of these accounts.
    pub fn among(path: &Path, addresses: Vec<Address>, idle: usize, durability: Durability) -> Load {
        Load::on(path, addresses, idle, durability, |counters| Disk::through(counters))
    }

    /// The same, on a disk that is made so.
    pub fn on(
        path: &Path,
        addresses: Vec<Address>,
        idle: usize,
        durability: Durability,
        disk: fn(Arc<Counters>) -> Disk,
    ) -> Load {
        let counters = Arc::new(Counters::default());
        let sqlite = SqliteOptions { disk: disk(counters.clone()), ..SqliteOptions::default() };
        let options = EngineOptions { durability, ..options(idle) };
        let engine = Engine::open(SqliteStore::new(path, sqlite), options).expect("an engine");
        Load { engine, counters, random: fastrand::Rng::with_seed(1), addresses, sent: 0, client_ids: true }
    }

    pub fn make_accounts(&self) {
        self.run(self.addresses.iter().map(|account| (as_account(account), Command::CreateAccount)));
    }

    /// Runs commands, many under way.
    pub fn run(&self, commands: impl Iterator<Item = (Actor, Command)>) {
        let mut commands = commands.peekable();
        let mut open = 0;
        while open > 0 || commands.peek().is_some() {
            while open < 4_096
                && let Some(command) = commands.next()
            {
                open += self.engine.submit(vec![command]).expect("a ticket").len();
            }
            for answered in self.engine.next_answers(4_096, Duration::from_secs(10)).expect("answers") {
                answered.result.expect("done");
                open -= 1;
            }
        }
    }

    /// A message from anybody to anybody.
    fn send_command(&mut self) -> (Actor, Command) {
        let mut any = || self.random.usize(0..self.addresses.len());
        let (sender, recipient) = (any(), any());
        self.send_between(sender, recipient)
    }

    fn send_between(&mut self, sender: usize, recipient: usize) -> (Actor, Command) {
        self.sent += 1;
        let (sender, recipient) = (as_account(&self.addresses[sender]), self.addresses[recipient].clone());
        let client_id =
            self.client_ids.then(|| ClientId::new(&format!("c{:015}", self.sent)).expect("an id"));
        (sender, Command::Send(Send { recipient, content: Content::text(BODY), client_id, expires: None }))
    }

    /// A message from each account to the next: from then on all are in memory, if there is room.
    pub fn everybody_sends(&mut self) {
        let count = self.addresses.len();
        for first in (0..count).step_by(1_024) {
            let senders = first..count.min(first + 1_024);
            let sends: Vec<_> = senders.map(|s| self.send_between(s, (s + 1) % count)).collect();
            self.run(sends.into_iter());
        }
    }

    /// `count` messages, `in_flight` under way at once, each sender with one.
    pub fn messages(&mut self, count: usize, in_flight: usize) {
        let mut started = in_flight.min(count);
        let first: Vec<_> = (0..started).map(|_| self.send_command()).collect();
        self.engine.submit(first).expect("tickets");
        let mut done = 0;
        while done < count {
            let answers = self.engine.next_answers(in_flight, Duration::from_secs(10)).expect("answers");
            let mut next = Vec::with_capacity(answers.len());
            for answered in answers {
                answered.result.expect("a receipt");
                done += 1;
                if started < count {
                    started += 1;
                    next.push(self.send_command());
                }
            }
            self.engine.submit(next).expect("tickets");
        }
    }
}

pub fn actor(user: usize) -> Actor {
    as_account(&address(user))
}

fn as_account(account: &Address) -> Actor {
    Actor { account: account.clone(), session: None }
}
