//! Threads: any call inside a listener, stuck listeners, shutdown, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::{Call, Disk, Failure, FileKind, Layer};
use rosterkit::{
    Activity, Actor, Address, Amend, Amendment, Anchor, Body, ChatState, Command, Consumer, Content,
    Contents, ConversationsRequest, DeviceName, Direction, Domain, EndReason, Engine, EngineOptions,
    ErrorKind, Event, EventBody, HistoryRequest, InvitationToken, Limits, Listener, ListenerError, Notice,
    Op, Overrides, Parcel, Position, PresenceLayer, Quota, Rate, RelayedMessage, RosterEdit, SearchRequest,
    Send, Serves, Session, SessionId, SessionOptions, SetPresence, Settlement, State, Timestamp, Visibility,
    sent_at,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Each test has the process to itself: they count threads, descriptors and memory.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn account(user: &str) -> Address {
    Address::account(&format!("{user}@example.org")).unwrap()
}

fn options() -> EngineOptions {
    let free = Rate { burst: 1_000_000, per_minute: 1_000_000 };
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    let much = Quota { count: usize::MAX, bytes: u64::MAX };
    options.limits = Limits {
        sends: free,
        requests: free,
        unclaimed: much,
        unclaimed_from_one: much,
        ..Limits::default()
    };
    options
}

fn open(directory: &Path) -> Engine {
    Engine::open(SqliteStore::new(directory.join("im.db"), SqliteOptions::small()), options()).unwrap()
}

fn listening(listener: Arc<dyn Listener>) -> SessionOptions {
    SessionOptions {
        reads_messages: true,
        consumer: Consumer::Listener(listener),
        ..SessionOptions::default()
    }
}

/// A listener made of a function.
struct Calls<F>(F);

impl<F: Fn(&[Event]) + std::marker::Send + Sync> Listener for Calls<F> {
    fn on_events(&self, _session: SessionId, events: &[Event]) -> Result<(), ListenerError> {
        self.0(events);
        Ok(())
    }
}

/// Every function of [`Session`] and [`Engine`], by name: the list is compared with the source, so that one that is
/// forgotten here fails the test.
fn call_everything(engine: &Engine, session: &Session) -> Vec<&'static str> {
    let bob = account("bob");
    let mut called = Vec::new();
    let mut call = |name: &'static str, result: Result<(), ErrorKind>| {
        // In a listener everything works or says why not; nothing hangs.
        if let Err(kind) = result {
            let documented = matches!(
                kind,
                ErrorKind::Misuse | ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::InvalidArgument
            );
            assert!(documented, "{name}: {kind:?}");
        }
        called.push(name);
    };
    fn done<T>(result: rosterkit::Result<T>) -> Result<(), ErrorKind> {
        result.map(drop).map_err(|error| error.kind)
    }
    let send =
        || Send { recipient: account("bob"), content: Content::text("x"), client_id: None, expires: None };
    let page = || HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Older, limit: 5 };
    let edit = || RosterEdit::new(&account("bob"), Op::Update);
    call("id", {
        let _ = session.id();
        Ok(())
    });
    call("account", {
        let _ = session.account();
        Ok(())
    });
    call("address", {
        let _ = session.address();
        Ok(())
    });
    call("send", done(session.send(&bob, "x")));
    call("send_once", done(session.send_once(&bob, "x", rosterkit::ClientId::new("once").unwrap())));
    call("send_message", done(session.send_message(send())));
    let amend = Amend {
        recipient: bob.clone(),
        message_id: session.send(&bob, "y").unwrap().id,
        amendment: Amendment::Retract,
        client_id: None,
    };
    call("amend", done(session.amend(amend)));
    call("mark_read", done(session.mark_read(&bob, Position(1))));
    call("conversations", done(session.conversations(ConversationsRequest { before: None, limit: 10 })));
    call("typing", done(session.typing(&bob, ChatState::Composing)));
    let sought = SearchRequest { text: "x".into(), peer: None, before: None, limit: 5 };
    call("search_history", done(session.search_history(sought)));
    call("history", done(session.history(page())));
    call("add_buddy", done(session.add_buddy(&bob, None, None)));
    call("confirm_buddy", done(session.confirm_buddy(&bob)));
    call("decline_buddy", done(session.decline_buddy(&account("carol"))));
    call("edit_roster", done(session.edit_roster(edit())));
    call("remove_buddy", done(session.remove_buddy(&bob)));
    call("roster", done(session.roster()));
    call("roster_since", done(session.roster_since(Position::ZERO)));
    call("quarantined", done(session.quarantined(Position::ZERO, 10)));
    call("admit_sender", done(session.admit_sender(&account("carol"))));
    call("refuse_sender", done(session.refuse_sender(&account("carol"), false)));
    let token = InvitationToken::from_random([7; 16]);
    call("invite", done(session.invite(Timestamp(i64::MAX))));
    call("redeem_invitation", done(session.redeem_invitation(&bob, token.clone())));
    call("revoke_invitations", done(session.revoke_invitations(Some(token))));
    call("block", done(session.block(&account("carol"), true)));
    call("set_presence", done(session.set_presence(SetPresence::state(State::Busy))));
    let nowhere = bob.with_instance("nowhere").unwrap();
    call("forget", done(session.forget(Some(&account("carol")))));
    call("direct_presence", done(session.direct_presence(&bob, Some(SetPresence::state(State::Away)))));
    call("set_visibility", done(session.set_visibility(&bob, Visibility::Full)));
    call("last_seen", done(session.last_seen(&bob)));
    call("query", done(session.query(&nowhere, Body::Text("?".into()))));
    call("answer_query", done(session.answer_query(1, None)));
    call("presence_of", done(session.presence_of(&bob)));
    call("clear_presence", done(session.clear_presence(PresenceLayer::Automatic)));
    call("go_offline", done(session.go_offline()));
    call("set_activity", done(session.set_activity(Activity::Background)));
    call("touch", {
        session.touch();
        Ok(())
    });
    // Its own queue is being read, by this very listener.
    let misuse = done(session.next_events(1, Duration::ZERO));
    assert_eq!(misuse, Err(ErrorKind::Misuse));
    call("next_events", misuse);
    let misuse = done(session.run(&Calls(|_: &[Event]| {})));
    assert_eq!(misuse, Err(ErrorKind::Misuse));
    call("run", misuse);
    session.interrupt();
    call("interrupt", Ok(()));
    call("ack", {
        session.ack(0);
        Ok(())
    });
    call("call", done(session.call(Command::ReadBlocked)));
    call("create_account", done(engine.create_account(&account("dave"))));
    call("delete_account", done(engine.delete_account(&account("dave"))));
    call("set_domain", done(engine.set_domain(Domain::new("example.net").unwrap(), Overrides::default())));
    call("remove_domain", done(engine.remove_domain(Domain::new("example.net").unwrap())));
    call("domains", {
        let _ = engine.domains();
        Ok(())
    });
    call("import_xep0227", done(engine.import_xep0227("/nowhere", |_| Ok(()))));
    let copies = tempfile::tempdir().unwrap();
    call("backup_to", done(engine.backup_to(copies.path().join("copy"))));
    call("export_xep0227", done(engine.export_xep0227(copies.path().join("export.xml"))));
    call("open_session", done(engine.open_session(&bob, SessionOptions::default())));
    let actor = Actor { account: account("bob"), session: None };
    call("submit", done(engine.submit(vec![(actor, Command::ReadBlocked)])));
    call("next_answers", done(engine.next_answers(10, Duration::from_secs(5))));
    call("next_batches", done(engine.next_batches(10, 1_024, Duration::ZERO)));
    call("next_host_events", done(engine.next_host_events(10, Duration::ZERO)));
    call("set_rules", done(engine.set_rules(None, "[]")));
    call("rules", done(engine.rules(None)));
    engine.interrupt();
    call("wakeup_fd", done(engine.wakeup_fd()));
    call("advance", done(engine.advance(1)));
    call("failure", {
        assert_eq!(engine.failure(), None);
        Ok(())
    });
    let of_relays = call_every_relay_function(engine);
    let misuse = done(engine.shutdown(true));
    assert_eq!(misuse, Err(ErrorKind::Misuse), "waiting for itself");
    call("fail", Ok(()));
    call("hand_back", Ok(()));
    call("close", {
        session.close();
        Ok(())
    });
    call("shutdown", done(engine.shutdown(false)));
    // What makes an engine is no call on one.
    called.extend(of_relays);
    called.extend(["open_file", "open", "open_virtual"]);
    called
}

fn call_every_relay_function(engine: &Engine) -> [&'static str; 16] {
    let relay = engine.open_relay(Serves::Everything).unwrap();
    let eve = Address::account("eve@example.com").unwrap();
    relay.connect();
    let content = Content::text("from outside");
    let message = RelayedMessage { delivery_id: Some("1".into()), ..RelayedMessage::new(content) };
    let contents = Contents::Messages(vec![message]);
    let parcel = Parcel { sender: eve.clone(), recipient: account("carol"), contents };
    assert_eq!(relay.receive(parcel.clone()).unwrap(), [Settlement::Relayed]);
    relay.submit(7, parcel).unwrap();
    relay.notify(Notice::Probe { watcher: eve, subject: account("carol") }).unwrap();
    assert!(!relay.next(10, Duration::from_secs(5)).unwrap().is_empty());
    relay.interrupt();
    assert!(relay.settle("not ours", Settlement::Retry).is_err());
    assert_eq!(relay.hosted().len(), 1);
    assert_eq!(relay.seen(relay.file_generation()).unwrap(), None);
    relay.remember_seen(7, Position(1));
    assert!(!relay.was_restored(relay.file_generation(), relay.sent()).unwrap());
    assert_eq!(sent_at("not ours"), None);
    relay.disconnect();
    relay.close();
    [
        "open_relay",
        "connect",
        "receive",
        "submit",
        "notify",
        "next",
        "settle",
        "hosted",
        "seen",
        "file_generation",
        "remember_seen",
        "was_restored",
        "sent",
        "sent_at",
        "disconnect",
        "interrupt",
    ]
}

#[test]
fn threads_every_function_inside_a_listener() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    for user in ["alice", "bob", "carol"] {
        engine.create_account(&account(user)).unwrap();
    }
    let (sender, called) = channel();
    let own: Arc<OnceLock<(Engine, Session)>> = Arc::default();
    let listener = {
        let (own, once) = (own.clone(), AtomicUsize::new(0));
        let sender: Mutex<Sender<Vec<&'static str>>> = Mutex::new(sender);
        Arc::new(Calls(move |_: &[Event]| {
            if once.fetch_add(1, Ordering::Relaxed) == 0 {
                let (engine, session) = own.wait();
                sender.lock().unwrap().send(call_everything(engine, session)).unwrap();
            }
        }))
    };
    let session = engine.open_session(&account("alice"), listening(listener)).unwrap();
    own.set((engine.clone(), session)).unwrap();
    engine
        .send(
            &account("bob"),
            Send {
                recipient: account("alice"),
                content: Content::text("go"),
                client_id: None,
                expires: None,
            },
        )
        .unwrap();
    let mut called = called.recv_timeout(Duration::from_secs(30)).expect("something hangs");
    engine.shutdown(true).unwrap();
    called.sort_unstable();
    called.dedup();
    let sources = [
        include_str!("../../../rust/engine/src/session.rs"),
        include_str!("../../../rust/engine/src/engine.rs"),
        include_str!("../../../rust/engine/src/relay/mod.rs"),
        include_str!("../../../rust/engine/src/relay/acquaintance.rs"),
    ];
    let mut public: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.trim().strip_prefix("pub fn ")?.split(['(', '<']).next())
        .collect();
    public.sort_unstable();
    public.dedup();
    assert_eq!(called, public);
}

#[test]
fn threads_a_stuck_listener_delays_only_its_own_session() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    for user in ["alice", "stuck", "bob"] {
        engine.create_account(&account(user)).unwrap();
    }
    let (release, stuck): (Sender<()>, Receiver<()>) = channel();
    let stuck = Mutex::new(stuck);
    let hangs = Arc::new(Calls(move |_: &[Event]| _ = stuck.lock().unwrap().recv()));
    let mut sessions = Vec::new();
    // More than there are spare threads.
    for device in 0..8 {
        let device = Some(DeviceName::new(&format!("d{device}")).unwrap());
        let options = SessionOptions { device, ..listening(hangs.clone()) };
        sessions.push(engine.open_session(&account("stuck"), options).unwrap());
    }
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let listener = Arc::new(Calls(move |events: &[Event]| {
        for event in events {
            if let EventBody::Message(message) = &event.body {
                sender.lock().unwrap().send(message.content.as_text().unwrap().to_owned()).unwrap();
            }
        }
    }));
    let _bob = engine.open_session(&account("bob"), listening(listener)).unwrap();
    let alice = engine.open_session(&account("alice"), SessionOptions::default()).unwrap();
    for number in 0..50 {
        alice.send(&account("stuck"), "x").unwrap();
        alice.send(&account("bob"), &number.to_string()).unwrap();
        assert_eq!(heard.recv_timeout(Duration::from_secs(10)).unwrap(), number.to_string());
    }
    drop(release);
    engine.shutdown(true).unwrap();
}

#[test]
fn threads_a_thousand_engines_leave_nothing_behind() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    // The first ones warm up what stays: allocator arenas, the default VFS.
    let mut before = (0, 0, 0);
    for cycle in 0..1_000 {
        let engine = open(directory.path());
        if cycle == 0 {
            engine.create_account(&account("alice")).unwrap();
        }
        // A listener that points back at the engine: the cycle is cut by shutdown.
        let own: Arc<OnceLock<Engine>> = Arc::default();
        own.set(engine.clone()).unwrap();
        let listener = Arc::new(Calls(move |_: &[Event]| drop(own.get().unwrap().domains())));
        let session = engine.open_session(&account("alice"), listening(listener)).unwrap();
        session.set_presence(SetPresence::state(State::Online)).unwrap();
        engine.shutdown(true).unwrap();
        drop((engine, session));
        if cycle == 199 {
            before = left_behind();
        }
    }
    let after = left_behind();
    println!("threads, descriptors, KiB: {before:?} before, {after:?} after 800 more");
    assert!(after.0 <= before.0 + 1, "threads: {before:?} {after:?}");
    assert!(after.1 <= before.1, "descriptors: {before:?} {after:?}");
    assert!(after.2 < before.2 + 8 * 1024, "memory: {before:?} {after:?}");
}

#[test]
fn threads_ten_thousand_sessions_leave_nothing_behind() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    engine.create_account(&account("alice")).unwrap();
    let mut before = (0, 0, 0);
    for round in 0..100 {
        let sessions: Vec<Session> = (0..100)
            .map(|_| engine.open_session(&account("alice"), SessionOptions::default()).unwrap())
            .collect();
        sessions[0].set_presence(SetPresence::state(State::Online)).unwrap();
        drop(sessions);
        if round == 20 {
            before = left_behind();
        }
    }
    let after = left_behind();
    println!("threads, descriptors, KiB: {before:?} before, {after:?} after");
    assert!(
        after.0 <= before.0 && after.1 <= before.1 && after.2 < before.2 + 8 * 1024,
        "{before:?} {after:?}"
    );
    engine.shutdown(true).unwrap();
}

/// Threads, descriptors, and resident memory in KiB.
fn left_behind() -> (usize, usize, u64) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (count("task"), count("fd"), rss.trim().trim_end_matches(" kB").parse().unwrap())
}

/// The furthest write into the write-ahead log.
#[derive(Default)]
struct Furthest(AtomicU64);

impl Layer for Furthest {
    fn call(&self, file: FileKind, _path: &str, call: Call<'_>) -> Result<(), Failure> {
        if let (FileKind::Wal, Call::Write { offset, bytes }) = (file, call) {
            self.0.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn durability_the_write_ahead_log_is_bounded_under_load() {
    let _alone = alone();
    // The mark of a phone.
    const MARK: u64 = 1_000;
    let seconds = std::env::var("ROSTERKIT_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let directory = tempfile::tempdir().unwrap();
    let furthest = Arc::new(Furthest::default());
    let sqlite = SqliteOptions {
        checkpoint_pages: MARK,
        disk: Disk::through(furthest.clone()),
        ..SqliteOptions::small()
    };
    let engine = Engine::open(SqliteStore::new(directory.path().join("im.db"), sqlite), options()).unwrap();
    for user in 0..200 {
        engine.create_account(&account(&format!("u{user}"))).unwrap();
    }
    let send = |number: usize| {
        let actor = Actor { account: account(&format!("u{}", number % 200)), session: None };
        let recipient = account(&format!("u{}", (number * 7 + 3) % 200));
        (
            actor,
            Command::Send(Send {
                recipient,
                content: Content::text("under load"),
                client_id: None,
                expires: None,
            }),
        )
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut sent = engine.submit((0..1_024).map(send).collect()).unwrap().len();
    while Instant::now() < until {
        let answers = engine.next_answers(1_024, Duration::from_secs(5)).unwrap();
        assert!(answers.iter().all(|a| a.result.is_ok()));
        sent += engine.submit((sent..sent + answers.len()).map(send).collect()).unwrap().len();
    }
    engine.shutdown(true).unwrap();
    let pages = furthest.0.load(Ordering::Relaxed) / 4_120;
    println!("{sent} messages in {seconds} s, the log at most {pages} pages with a mark of {MARK}");
    assert!(pages <= 4 * MARK, "{pages} pages");
}

#[test]
fn threads_one_two_and_eight_shards_end_equal() {
    let _alone = alone();
    let ends: Vec<String> = [1, 2, 8].map(|shards| run_on(shards, 10_000)).into();
    assert!(ends[0].len() > 1_000);
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
    assert_eq!(ends[0], run_on(2, 1), "with one idle account in memory");
    assert_eq!(ends[0], run_on(2, 0), "with none");
}

/// The same commands on so many shards; what everybody sees at rest.
fn run_on(shards: usize, idle_accounts: usize) -> String {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(directory.path().join("im.db"), SqliteOptions::small());
    let options = EngineOptions { shards, idle_accounts, ..options() };
    let engine = Engine::open_virtual(store, options, 1, rosterkit::Timestamp(1_700_000_000_000)).unwrap();
    let user = |n: usize| account(&format!("u{n}"));
    for n in 0..9 {
        engine.create_account(&user(n)).unwrap();
    }
    let mut random = fastrand::Rng::with_seed(5);
    let mut sessions: Vec<Option<Session>> = (0..9).map(|_| None).collect();
    for step in 0..600 {
        let (a, b) = (random.usize(0..9), random.usize(0..9));
        match random.u8(0..10) {
            0..5 => {
                let content = Content::text(&format!("{step}"));
                engine
                    .send(&user(a), Send { recipient: user(b), content, client_id: None, expires: None })
                    .unwrap();
            }
            5 | 6 if a != b => {
                let op = if random.bool() { Op::Add } else { Op::Remove };
                let edit = RosterEdit::new(&user(b), op);
                // Removing who is not on the roster is refused, on however many shards.
                let _ = engine.call(&Actor { account: user(a), session: None }, Command::Roster(edit));
            }
            7 => {
                let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
                sessions[a] = Some(engine.open_session(&user(a), options).unwrap());
            }
            8 => {
                if let Some(session) = &sessions[a] {
                    session.set_presence(SetPresence::state(State::ALL[b])).unwrap();
                    while let Ok(events) = session.next_events(50, Duration::ZERO)
                        && let Some(last) = events.last()
                    {
                        session.ack(last.seq);
                    }
                }
            }
            _ => engine.advance(700).unwrap(),
        }
    }
    let mut end = String::new();
    for n in 0..9 {
        let session = engine.open_session(&user(n), SessionOptions::default()).unwrap();
        for buddy in session.roster().unwrap().buddies {
            let presence = session.presence_of(&buddy.address).unwrap();
            end += &format!(
                "{n} {} {:?} {:?} {}\n",
                buddy.address,
                buddy.status(),
                buddy.listed,
                presence.state
            );
        }
        let request =
            HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Newer, limit: 1_000 };
        for message in session.history(request).unwrap().messages {
            end += &format!(
                "{n} {} {} {:?}\n",
                message.sender.bare(),
                message.recipient,
                message.content.as_text()
            );
        }
    }
    drop(sessions);
    engine.shutdown(true).unwrap();
    end
}

#[test]
fn delivery_dropping_the_engine_in_a_listener_ends_it() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    engine.create_account(&account("alice")).unwrap();
    let (sender, ended) = channel();
    let sender = Mutex::new(sender);
    let own: Arc<Mutex<Option<Engine>>> = Arc::default();
    let listener = {
        let own = own.clone();
        Arc::new(Calls(move |events: &[Event]| {
            drop(own.lock().unwrap().take());
            for event in events {
                if let EventBody::Ended(reason) = event.body {
                    sender.lock().unwrap().send(reason).unwrap();
                }
            }
        }))
    };
    let session = engine.open_session(&account("alice"), listening(listener)).unwrap();
    *own.lock().unwrap() = Some(engine.clone());
    engine
        .send(
            &account("alice"),
            Send { recipient: account("alice"), content: Content::text("x"), client_id: None, expires: None },
        )
        .unwrap();
    drop(engine);
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)).unwrap(), EndReason::Shutdown);
    drop(session);
    // The file is let go.
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = Engine::open_file(directory.path().join("im.db"), options()) {
        assert!(error.kind == ErrorKind::Conflict && Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
}
