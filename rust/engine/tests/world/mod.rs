//! A virtual engine on a file of its own, for tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use rosterkit::store::Store;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Address, DeviceName, Domain, Engine, EngineOptions, Event, EventBody, Limits, Message, Quota, Rate,
    Session, SessionOptions, Timestamp,
};
use std::time::Duration;

pub struct World {
    pub engine: Engine,
    pub options: EngineOptions,
    directory: tempfile::TempDir,
}

pub fn account(user: &str) -> Address {
    Address::account(&format!("{user}@example.org")).unwrap()
}

/// As many messages as one likes.
pub fn without_limits() -> EngineOptions {
    let free = Rate { burst: 1_000_000, per_minute: 1_000_000 };
    let much = Quota { count: usize::MAX, bytes: u64::MAX };
    let limits = Limits { sends: free, unclaimed: much, unclaimed_from_one: much, ..Limits::default() };
    EngineOptions { limits, ..EngineOptions::hosting([Domain::new("example.org").unwrap()]) }
}

pub fn messages(events: &[Event]) -> Vec<Message> {
    events
        .iter()
        .filter_map(|e| match &e.body {
            EventBody::Message(message) => Some((**message).clone()),
            _ => None,
        })
        .collect()
}

pub fn texts(events: &[Event]) -> Vec<String> {
    messages(events).iter().filter_map(|m| m.content.as_text().map(str::to_owned)).collect()
}

/// What sorts of event came, for a failing assertion.
pub fn kinds(events: &[Event]) -> Vec<String> {
    events.iter().map(|e| format!("{:?}", e.body).chars().take(120).collect()).collect()
}

impl World {
    pub fn new() -> World {
        World::with(EngineOptions::hosting([Domain::new("example.org").unwrap()]))
    }

    pub fn with(options: EngineOptions) -> World {
        let directory = tempfile::tempdir().unwrap();
        World::in_directory(directory, options)
    }

    fn in_directory(directory: tempfile::TempDir, options: EngineOptions) -> World {
        let store = SqliteStore::new(directory.path().join("im.db"), SqliteOptions::small());
        let start = Timestamp(1_700_000_000_000);
        let engine = Engine::open_virtual(store, options.clone(), 7, start).unwrap();
        World { engine, options, directory }
    }

    /// The same file, in a new engine.
    pub fn reopen(self) -> World {
        let World { engine, options, directory } = self;
        engine.shutdown(true).unwrap();
        World::in_directory(directory, options)
    }

    /// What the next process finds when this one is killed now.
    pub fn killed(&self) -> World {
        self.killed_and(|_| ()).0
    }

    /// The same, and what is in the file before the next engine has done anything.
    pub fn killed_and<T>(&self, read: impl FnOnce(&mut dyn rosterkit::store::Reader) -> T) -> (World, T) {
        let directory = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            let name = format!("im.db{suffix}");
            std::fs::copy(self.directory.path().join(&name), directory.path().join(&name)).unwrap();
        }
        let mut opened =
            SqliteStore::new(directory.path().join("im.db"), SqliteOptions::small()).open().unwrap();
        let found = read(opened.reader.as_mut());
        drop(opened);
        (World::in_directory(directory, self.options.clone()), found)
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("im.db")
    }

    pub fn create(&self, user: &str) {
        match self.engine.create_account(&account(user)) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind, rosterkit::ErrorKind::Conflict, "{error}"),
        }
    }

    /// Anonymous sessions that read messages, of accounts that are made when they are not there.
    pub fn sessions<const N: usize>(&self, users: [&str; N]) -> [Session; N] {
        users.map(|user| {
            self.create(user);
            let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
            self.engine.open_session(&account(user), options).unwrap()
        })
    }

    pub fn device(&self, user: &str, device: &str) -> Session {
        self.create(user);
        let device = Some(DeviceName::new(device).unwrap());
        let options = SessionOptions { reads_messages: true, device, ..SessionOptions::default() };
        self.engine.open_session(&account(user), options).unwrap()
    }

    /// Reads and acknowledges everything.
    pub fn drain(&self, session: &Session) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            // A session that has ended has nothing more to say.
            let Ok(events) = session.next_events(1_000, Duration::ZERO) else {
                return all;
            };
            let Some(last) = events.last() else { return all };
            session.ack(last.seq);
            all.extend(events);
        }
    }

    /// Why a session ended.
    pub fn drain_ended(&self, session: &Session) -> Option<rosterkit::EndReason> {
        self.drain(session).into_iter().find_map(|e| match e.body {
            EventBody::Ended(reason) => Some(reason),
            _ => None,
        })
    }

    pub fn befriend(&self, a: &Session, b: &Session) {
        a.add_buddy(b.account(), None, None).unwrap();
        self.drain(b);
        b.confirm_buddy(a.account()).unwrap();
        for (session, state) in [(a, rosterkit::State::Online), (b, rosterkit::State::Online)] {
            session.set_presence(rosterkit::SetPresence::state(state)).unwrap();
        }
        self.drain(a);
        self.drain(b);
    }
}
