//! A sequence: what is done to the engine, done to the model as well, and what is compared.

use crate::listeners::Host;
use rosterkit::store::Store;
use rosterkit::{
    Address, DeviceName, Domain, Durability, Engine, EngineOptions, Error, ErrorKind, Limits, Position,
    Quota, Rate, Receipt, Session, SessionId, State, Timestamp,
};
use rosterkit_promises::mortal::{Fate, Mortal};
use rosterkit_promises::reference::{Reference, Who};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const USERS: [&str; 4] =
    ["alice@example.org", "bob@example.org", "carol@example.org", "dave@example.net"];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Drive {
    Virtual,
    Threads,
}

/// How often each command was done.
#[derive(Default, Clone)]
pub(crate) struct Mix(Rc<RefCell<BTreeMap<&'static str, u64>>>);

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.0.borrow().iter() {
            write!(f, "{name} {count}, ")?;
        }
        Ok(())
    }
}

pub(crate) type Step = Result<(), String>;

/// A session that is open, from outside.
pub(crate) struct Live {
    pub(crate) session: Session,
    pub(crate) host: Option<Arc<Host>>,
    /// What it was last told of everybody, since it came online.
    pub(crate) seen: BTreeMap<Address, (State, Option<String>)>,
}

/// A send that was answered.
pub(crate) struct Past {
    pub(crate) sender: Who,
    pub(crate) recipient: Address,
    pub(crate) text: String,
    pub(crate) client_id: String,
    pub(crate) receipt: Receipt,
}

pub(crate) struct Run {
    pub(crate) engine: Option<Engine>,
    pub(crate) store: Arc<Mortal>,
    pub(crate) options: EngineOptions,
    pub(crate) drive: Drive,
    pub(crate) random: fastrand::Rng,
    pub(crate) model: Reference,
    pub(crate) live: BTreeMap<SessionId, Live>,
    pub(crate) past: Vec<Past>,
    /// The highest position ever told.
    pub(crate) highest: Position,
    pub(crate) sent: u64,
    pub(crate) opened: i64,
    /// A process is about to be killed.
    pub(crate) dying: bool,
    /// What differed for good.
    pub(crate) broken: Option<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) mix: Mix,
}

pub(crate) fn address(user: &str) -> Address {
    Address::account(user).unwrap()
}

impl Run {
    pub(crate) fn new(store: Arc<Mortal>, drive: Drive, seed: u64, mix: &Mix) -> Run {
        let mut random = fastrand::Rng::with_seed(seed);
        let domains = ["example.org", "example.net"].map(|name| Domain::new(name).unwrap());
        let mut options = EngineOptions::hosting(domains);
        options.shards = [1, 2, 8][random.usize(..3)];
        options.idle_accounts = [0, 1, 2, 10_000][random.usize(..4)];
        if random.u8(..3) == 0 {
            options.durability = Durability::Relaxed;
        }
        let free = Rate { burst: 1_000_000, per_minute: 1_000_000 };
        let much = Quota { count: usize::MAX, bytes: u64::MAX };
        options.limits = Limits {
            sends: free,
            requests: free,
            unclaimed: much,
            unclaimed_from_one: much,
            ..Limits::default()
        };
        let mut run = Run {
            engine: None,
            store,
            options,
            drive,
            random,
            model: Reference::default(),
            live: BTreeMap::new(),
            past: Vec::new(),
            highest: Position::ZERO,
            sent: 0,
            opened: 0,
            dying: false,
            broken: None,
            trace: Vec::new(),
            mix: mix.clone(),
        };
        run.open_engine();
        run
    }

    pub(crate) fn open_engine(&mut self) {
        self.opened += 1;
        let (store, options) = (Arc::clone(&self.store) as Arc<dyn Store>, self.options.clone());
        let engine = match self.drive {
            // One that ends by itself may need a moment to let go of the file.
            Drive::Threads => (0..1_000)
                .find_map(|_| match Engine::open(Arc::clone(&store), options.clone()) {
                    Err(Error { kind: ErrorKind::Conflict, .. }) => {
                        std::thread::sleep(Duration::from_millis(5));
                        None
                    }
                    other => Some(other),
                })
                .unwrap(),
            Drive::Virtual => {
                let now = Timestamp(1_700_000_000_000 + self.opened * 1_000_000);
                Engine::open_virtual(store, options, self.random.u64(..), now)
            }
        };
        self.engine = Some(engine.unwrap());
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    /// Most accounts are there from the beginning.
    pub(crate) fn begin(&mut self) -> Step {
        USERS.iter().take(3).try_for_each(|user| self.create_as(address(user)))
    }

    /// Does something, and compares.
    pub(crate) fn command(&mut self) -> Step {
        type Do = fn(&mut Run) -> Step;
        let everywhere: [(u32, &'static str, Do); 23] = [
            (14, "send", |run| run.send(Fate::Written)),
            (3, "send a repeat", Run::repeat),
            (5, "send several at once", Run::send_at_once),
            (4, "amend", Run::amend),
            (4, "mark as read", Run::mark_read),
            (5, "create account", Run::create),
            (1, "delete account", Run::delete),
            (8, "open session", Run::open),
            (4, "close session", Run::close),
            (14, "read", Run::read),
            (8, "acknowledge", Run::acknowledge),
            (3, "fail", Run::fail),
            (12, "edit roster", |run| run.edit(Fate::Written)),
            (3, "block", Run::block),
            (3, "visibility", Run::set_visibility),
            (3, "invitation", Run::redeem),
            (4, "decide on a stranger", Run::decide_on_stranger),
            (3, "set preferences", Run::set_preferences),
            (9, "set presence", Run::set_presence),
            (2, "go offline", Run::go_offline),
            (1, "retire device", Run::retire),
            (1, "reopen", Run::reopen),
            (3, "look", Run::look),
        ];
        // What needs time that stands still: on threads it would be a matter of luck what had been written, or which
        // session had the rows in hand that do not fit.
        let in_virtual_time: [(u32, &'static str, Do); 5] = [
            (1, "send many", Run::send_many),
            (3, "advance", Run::advance),
            (4, "wait a moment", Run::wait_a_moment),
            (3, "commit fails", Run::fail_commit),
            (2, "kill", Run::kill),
        ];
        let mut commands = everywhere.to_vec();
        if self.drive == Drive::Virtual {
            commands.extend(in_virtual_time);
        }
        let total: u32 = commands.iter().map(|c| c.0).sum();
        let mut at = self.random.u32(..total);
        let (_, name, run) = commands
            .into_iter()
            .find(|c| match at.checked_sub(c.0) {
                Some(left) => {
                    at = left;
                    false
                }
                None => true,
            })
            .unwrap();
        *self.mix.0.borrow_mut().entry(name).or_default() += 1;
        self.trace.push(format!("-- {name}"));
        self.dying = false;
        let result = run(self).and_then(|()| self.absorb(Vec::new()));
        result.map_err(|difference| self.explain(&difference))
    }

    /// What differed, and what led to it.
    fn explain(&self, difference: &str) -> String {
        let lines = std::env::var("ROSTERKIT_TRACE").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
        let last = self.trace.len().saturating_sub(lines);
        format!("{difference}\n{}", self.trace[last..].join("\n"))
    }

    pub(crate) fn say(&mut self, what: String) {
        self.trace.push(what);
    }

    pub(crate) fn any_user(&mut self) -> Address {
        address(USERS[self.random.usize(..USERS.len())])
    }

    /// An account that is there.
    pub(crate) fn any_account(&mut self) -> Option<(Who, Address)> {
        let address = self.any_user();
        self.model.who(&address).map(|who| (who, address))
    }

    /// A session, of those that a listener reads or of the others.
    pub(crate) fn any_session(&mut self, listened: bool) -> Option<SessionId> {
        let these: Vec<SessionId> =
            self.live.iter().filter(|(_, l)| l.host.is_some() == listened).map(|(id, _)| *id).collect();
        (!these.is_empty()).then(|| these[self.random.usize(..these.len())])
    }

    pub(crate) fn session_of(&mut self, who: Who) -> Option<SessionId> {
        let these: Vec<SessionId> =
            self.model.sessions.iter().filter(|(_, s)| s.who == who).map(|(id, _)| *id).collect();
        (!these.is_empty() && self.random.bool()).then(|| these[self.random.usize(..these.len())])
    }

    pub(crate) fn settle(&self) {
        if self.drive == Drive::Virtual {
            // One that is shut down, or gone, has nothing left to do.
            let _ = self.engine.as_ref().map(|engine| engine.advance(0));
        }
    }

    /// At the end everything is looked at; then in a new engine on the same store, where each device and one
    /// anonymous session of each account gets what it is owed.
    pub(crate) fn finish(mut self) -> Step {
        self.trace.push("-- the end".into());
        let result = self.at_rest().and_then(|()| self.audit());
        for live in self.live.values() {
            if let Some(host) = &live.host {
                host.let_go_on();
                host.forget();
            }
        }
        result.map_err(|difference| self.explain(&difference))
    }

    pub(crate) fn at_rest(&mut self) -> Step {
        for live in self.live.values() {
            if let Some(host) = &live.host {
                host.let_go_on();
            }
        }
        self.absorb(Vec::new())?;
        self.look()?;
        if self.random.u8(..3) == 0 {
            self.end_in_a_listener()?;
        } else {
            self.reopen()?;
        }
        for user in USERS {
            let Some(who) = self.model.who(&address(user)) else { continue };
            let devices: Vec<DeviceName> = self.model.accounts[who].devices.keys().cloned().collect();
            for device in devices.iter().map(|d| Some(d.as_str())).chain([None]) {
                self.open_as(&address(user), device, true, None)?;
            }
        }
        self.look()
    }

    /// In virtual time everything that follows has followed; on threads it does soon.
    pub(crate) fn eventually(&mut self, mut check: impl FnMut(&mut Run) -> Step) -> Step {
        let until = Instant::now() + Duration::from_secs(10);
        self.settle();
        loop {
            let result = check(self);
            if let Some(difference) = &self.broken {
                return Err(difference.clone());
            }
            match result {
                Err(_) if self.drive == Drive::Threads && Instant::now() < until => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                result => return result,
            }
        }
    }
}
