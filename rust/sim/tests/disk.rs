//! What the simulation found about disks, as tests of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::{Call, Disk as Vfs, Failure, FileKind, Layer};
use rosterkit::store::{Anchor, Direction};
use rosterkit::{
    Actor, Address, Answer, Answered, ClientId, Command, DeviceName, Domain, Engine, EngineOptions,
    ErrorKind, EventBody, HistoryRequest, Overrides, Position, Receipt, Registration, RegistrationKind, Send,
    Session, SessionOptions, SetPresence, State, Ticket, Timestamp,
};
use rosterkit_core::planted::{Bug, plant};
use rosterkit_sim::disk::{Cut, Disk, Entry, Fault, Image};
use rosterkit_sim::world::folder;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

type Told = (usize, Receipt);

fn open(directory: &Path, disk: Arc<impl Layer>) -> rosterkit::Result<Engine> {
    let sqlite = SqliteOptions {
        disk: Vfs::through(disk),
        tail_rows: 8,
        checkpoint_pages: 12,
        ..SqliteOptions::small()
    };
    let options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    Engine::open_virtual(
        SqliteStore::new(directory.join("im.db"), sqlite),
        options,
        1,
        Timestamp(1_700_000_000_000),
    )
}

/// Accounts of these names.
fn accounts<const N: usize>(engine: &Engine, names: [&str; N]) -> [Address; N] {
    let accounts = names.map(|name| Address::account(&format!("{name}@example.org")).unwrap());
    accounts.iter().for_each(|account| engine.create_account(account).unwrap());
    accounts
}

/// Sessions of two, who are each other's confirmed buddies.
fn buddies(engine: &Engine, both: [&Address; 2]) -> [Session; 2] {
    let sessions = both.map(|account| engine.open_session(account, SessionOptions::default()).unwrap());
    sessions[0].add_buddy(both[1], None, None).unwrap();
    sessions[1].add_buddy(both[0], None, None).unwrap();
    sessions
}

/// Registers a contact, for so many minutes from the beginning.
fn register(engine: &Engine, account: &Address, name: &str, minutes: i64) {
    let registration = Registration {
        name: DeviceName::new(name).unwrap(),
        kind: RegistrationKind::Contact,
        contact: name.into(),
        expires: Timestamp(1_700_000_000_000 + minutes * 60_000),
    };
    let actor = Actor { account: account.clone(), session: None };
    engine.call(&actor, Command::AddRegistration(registration)).unwrap();
}

fn send(engine: &Engine, number: usize) -> rosterkit::Result<Receipt> {
    let alice = Address::account("alice@example.org").unwrap();
    let client_id = Some(ClientId::new(&format!("c{number}")).unwrap());
    engine.send(&alice, Send { client_id, ..Send::text(&alice, &"x".repeat(number * 300)) })
}

/// A send whose sync fails, and the call of this number while the store is opened again. Says whether both did; from then on
/// none does.
fn fail_and_open_again(engine: &Engine, disk: &Disk<Told>, at: u64) -> (rosterkit::Result<Receipt>, bool) {
    disk.plan(Fault::Sync { after: 0 });
    let before = disk.counts().failed;
    disk.plan(Fault::Call { after: at, failure: Failure::Io });
    let sent = send(engine, 1);
    engine.advance(60_000).unwrap();
    let both = disk.counts().failed == before + 2;
    disk.heal();
    (sent, both)
}

/// A run in which this sync fails, and what was done to the disk.
fn run(failing: u64) -> Vec<Entry<Told>> {
    let directory = folder().unwrap();
    let disk = Disk::<Told>::new(&Arc::default());
    let engine = open(directory.path(), disk.clone()).unwrap();
    engine.create_account(&Address::account("alice@example.org").unwrap()).unwrap();
    disk.plan(Fault::Sync { after: failing });
    for number in 0..12 {
        for _ in 0..10 {
            if let Ok(receipt) = send(&engine, number) {
                disk.left((number, receipt));
                break;
            }
            engine.advance(2_000).unwrap();
        }
    }
    engine.advance(10_000).unwrap();
    disk.take()
}

/// Cuts the power at each call behind a failed sync. Gives how often, or what was not true then.
fn cut_behind(failing: u64) -> Result<usize, String> {
    let mut cuts = 0;
    let (mut image, mut answered, mut behind) = (Image::default(), Vec::new(), false);
    for (at, entry) in run(failing).iter().enumerate() {
        image.apply(entry);
        match entry {
            Entry::Left(receipt) => answered.push(*receipt),
            Entry::SyncFailed(_) => behind = true,
            _ => {}
        }
        if !behind || matches!(entry, Entry::Left(_)) {
            continue;
        }
        for cut in [Cut::Dropped, Cut::Kept] {
            let directory = folder().unwrap();
            image.cut(cut).write(directory.path()).unwrap();
            let failed = |what: String| format!("sync {failing}, entry {at}, {cut:?}: {what}");
            let engine = open(directory.path(), Disk::<Told>::new(&Arc::default()));
            let engine = engine.map_err(|error| failed(error.to_string()))?;
            for (number, receipt) in &answered {
                let again = send(&engine, *number);
                if again.as_ref() != Ok(receipt) {
                    return Err(failed(format!("send {number} had {receipt:?}, and has {again:?}")));
                }
            }
            cuts += 1;
        }
    }
    Ok(cuts)
}

/// After a sync that failed, pages of the write-ahead log may be in the page cache for ever. Whoever recovers them from
/// there and moves them into the main file must not lose power in between with half of a commit in each.
#[test]
fn durability_the_power_goes_while_a_log_is_recovered_whose_sync_failed() {
    plant(Some(Bug::LogNotWrittenAgain));
    let without: Vec<String> = (0..12).filter_map(|failing| cut_behind(failing).err()).collect();
    assert!(!without.is_empty(), "the test sees nothing");
    plant(None);
    let cuts: usize = (0..12).map(|failing| cut_behind(failing).unwrap()).sum();
    println!("{cuts} power cuts behind a failed sync; else {without:?}");
    assert!(cuts > 500, "{cuts}");
}

/// A forgetting that is under way while the store is opened again was answered that the engine is shut down.
#[test]
fn a_forgetting_is_answered_for_what_it_is_whichever_file_call_fails() {
    let mut answers = std::collections::BTreeMap::new();
    let alice = Address::account("alice@example.org").unwrap();
    let actor = Actor { account: alice.clone(), session: None };
    // The checkpoint that is due behind one of the sends is what has to fail.
    for (before, at) in (0..12).flat_map(|before| (0..40).map(move |at| (before, at))) {
        let directory = folder().unwrap();
        let disk = Disk::<Told>::new(&Arc::default());
        let engine = open(directory.path(), disk.clone()).unwrap();
        engine.create_account(&alice).unwrap();
        for number in 0..before {
            send(&engine, number).unwrap();
        }
        disk.plan(Fault::Call { after: at, failure: Failure::Io });
        let sent = send(&engine, before);
        let forgotten = engine.call(&actor, Command::Forget { peer: None });
        let kind = forgotten.map(|_| ()).map_err(|error| error.kind);
        let is_storage = |kind: &ErrorKind| matches!(kind, ErrorKind::Storage { .. } | ErrorKind::Misuse);
        assert!(kind.as_ref().err().is_none_or(is_storage), "call {at} failed behind {sent:?}: {kind:?}");
        *answers.entry(format!("{kind:?}")).or_insert(0) += usize::from(disk.failed().is_some());
    }
    println!("{answers:?}");
    assert!(answers.values().sum::<usize>() > 100, "{answers:?}");
}

/// A disk on which a sync fails, and somebody asks something in the middle of it.
#[derive(Default)]
struct Asks {
    engine: OnceLock<Engine>,
    is_armed: AtomicBool,
    tickets: Mutex<Vec<Ticket>>,
}

impl Layer for Asks {
    fn call(&self, file: FileKind, _path: &str, call: Call<'_>) -> Result<(), Failure> {
        let now = (FileKind::Wal, true) == (file, matches!(call, Call::Sync));
        if !now || !self.is_armed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let actor = Actor { account: Address::account("alice@example.org").unwrap(), session: None };
        let (direction, anchor) = (Direction::Older, Anchor::End);
        let page = HistoryRequest { peer: None, anchor, direction, limit: 10 };
        let asks = [
            Command::ReadHistory(page),
            Command::ReadRoster { since: Position::ZERO },
            Command::ListFiles { prefix: String::new() },
            Command::Forget { peer: None },
            Command::SetPreferences(Overrides::default()),
        ];
        let commands = asks.into_iter().map(|command| (actor.clone(), command)).collect();
        *self.tickets.lock().unwrap() = self.engine.get().unwrap().submit(commands).unwrap();
        Err(Failure::Io)
    }
}

/// What was on its way to the reader when a sync failed was answered that the engine is shut down.
#[test]
fn what_is_asked_while_the_disk_fails_is_answered_for_what_it_is() {
    let directory = folder().unwrap();
    let disk = Arc::new(Asks::default());
    let engine = open(directory.path(), disk.clone()).unwrap();
    engine.create_account(&Address::account("alice@example.org").unwrap()).unwrap();
    assert!(disk.engine.set(engine.clone()).is_ok());
    disk.is_armed.store(true, Ordering::Relaxed);
    let sent = send(&engine, 1);
    assert!(matches!(sent.unwrap_err().kind, ErrorKind::Storage { outcome_unknown: true }));
    engine.advance(10_000).unwrap();
    let mut answered = engine.next_answers(10, Duration::ZERO).unwrap();
    answered.sort_by_key(|answered| answered.ticket);
    let tickets: Vec<Ticket> = answered.iter().map(|answered| answered.ticket).collect();
    assert_eq!(tickets, *disk.tickets.lock().unwrap());
    for Answered { result, .. } in answered {
        let kind = result.map(drop).map_err(|error| error.kind);
        assert!(matches!(kind, Ok(()) | Err(ErrorKind::Storage { .. })), "{kind:?}");
    }
}

/// What expired while the disk was full was looked for again each millisecond.
#[test]
fn a_full_disk_is_tried_again_each_second_and_not_more() {
    let directory = folder().unwrap();
    let disk = Disk::<Told>::good();
    let engine = open(directory.path(), disk.clone()).unwrap();
    let [alice, bob, carol] = accounts(&engine, ["alice", "bob", "carol"]);
    let rules = r#"{"rules": [{"name": "late", "priority": 5, "conditions": [], "stage": {"after-delay": {"seconds": 60}}, "actions": [{"redirect-to": ["alice@example.org"]}]}]}"#;
    engine.call(&Actor { account: carol.clone(), session: None }, Command::SetRules(rules.into())).unwrap();
    let expires = Some(Timestamp(1_700_000_000_000 + 60_000));
    let receipt = engine.send(&alice, Send { expires, ..Send::text(&bob, "for a minute") }).unwrap();
    engine.send(&bob, Send::text(&carol, "goes on in a minute")).unwrap();
    engine.advance(50_000).unwrap();
    disk.plan(Fault::Full);
    let before = disk.counts().calls;
    engine.advance(600_000).unwrap();
    let calls = disk.counts().calls - before;
    assert!(calls < 600 * 40, "{calls} file calls in ten minutes");
    disk.make_room();
    engine.advance(5_000).unwrap();
    let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
    let events = engine.open_session(&alice, options).unwrap().next_events(10, Duration::ZERO).unwrap();
    let told = |event: &rosterkit::Event| matches!(&event.body, EventBody::Outcome { message_id, .. } if *message_id == receipt.id);
    assert!(events.iter().any(told), "{events:?}");
    let sent_on = |event: &rosterkit::Event| matches!(&event.body, EventBody::Message(message) if message.sender == bob);
    assert!(events.iter().any(sent_on), "{events:?}");
}

/// When a contact expired while the disk was full, nobody was ever told.
#[test]
fn a_contact_ends_in_time_whatever_the_disk_says() {
    let directory = folder().unwrap();
    let disk = Disk::<Told>::good();
    let engine = open(directory.path(), disk.clone()).unwrap();
    let [alice, bob] = accounts(&engine, ["alice", "bob"]);
    let [at_alice, at_bob] = buddies(&engine, [&alice, &bob]);
    at_bob.close();
    register(&engine, &bob, "desk", 1);
    register(&engine, &bob, "hall", 3);
    at_alice.set_presence(SetPresence::state(State::Online)).unwrap();
    let sees = || at_alice.presence_of(&bob).unwrap().state;
    engine.advance(50_000).unwrap();
    disk.plan(Fault::Full);
    engine.advance(100_000).unwrap();
    assert_eq!(sees(), State::Online, "one is there still");
    engine.advance(60_000).unwrap();
    assert_eq!(sees(), State::Offline);
    let told = at_alice.next_events(100, Duration::ZERO).unwrap();
    let last = told.iter().rev().find_map(|event| match &event.body {
        EventBody::Presence { subject, presence } if subject.bare() == bob => Some(presence.state),
        _ => None,
    });
    assert_eq!(last, Some(State::Offline), "{told:?}");
}

/// When the roster could not be read behind a change of who is blocked, nobody saw the account from then on.
#[test]
fn who_sees_an_account_sees_it_again_whichever_file_call_fails() {
    let mut failed = 0;
    for at in 0..40 {
        let directory = folder().unwrap();
        let disk = Disk::<Told>::good();
        let engine = open(directory.path(), disk.clone()).unwrap();
        let [alice, bob] = accounts(&engine, ["alice", "bob"]);
        let carol = Address::account("carol@example.org").unwrap();
        let [at_alice, at_bob] = buddies(&engine, [&alice, &bob]);
        for session in [&at_alice, &at_bob] {
            session.set_presence(SetPresence::state(State::Busy)).unwrap();
        }
        assert_eq!(at_alice.presence_of(&bob).unwrap().state, State::Busy);
        disk.plan(Fault::Call { after: at, failure: Failure::Io });
        let blocked = at_bob.block(&carol, true);
        failed += usize::from(disk.failed().is_some());
        disk.heal();
        engine.advance(5_000).unwrap();
        // Where the store was opened again, presence is set anew, as contributions are of one run.
        if at_alice.presence_of(&alice).unwrap().state == State::Busy {
            let saw = at_alice.presence_of(&bob).unwrap().state;
            assert_eq!(saw, State::Busy, "call {at} failed: {blocked:?}");
        }
    }
    assert!(failed > 5, "{failed} calls failed");
}

/// When the last file to be opened could not be, the one that writes was kept, and its lock: the engine never came back.
#[test]
fn the_store_is_open_again_whichever_file_call_of_the_opening_fails() {
    let mut failed = 0;
    for at in 0..120 {
        let directory = folder().unwrap();
        let disk = Disk::<Told>::good();
        let engine = open(directory.path(), disk.clone()).unwrap();
        let [alice, bob] = accounts(&engine, ["alice", "bob"]);
        buddies(&engine, [&alice, &bob]).iter().for_each(Session::close);
        register(&engine, &bob, "desk", 60);
        let (sent, both) = fail_and_open_again(&engine, &disk, at);
        failed += usize::from(both);
        let again = send(&engine, 2);
        assert!(again.is_ok(), "call {at} failed behind {sent:?}: {again:?}");
        let actor = Actor { account: alice.clone(), session: None };
        match engine.call(&actor, Command::ReadPresence(bob.clone())).unwrap() {
            Answer::Presence(presence) => assert_eq!(presence.state, State::Online, "call {at} failed"),
            other => panic!("{other:?}"),
        }
    }
    assert!(failed > 40, "{failed} calls failed while the store was opened");
}

/// When the account of a session could not be read behind an opening, the session ended.
#[test]
fn a_session_stays_whichever_file_call_of_the_opening_fails() {
    let mut failed = 0;
    for at in 0..160 {
        let directory = folder().unwrap();
        let disk = Disk::<Told>::good();
        let engine = open(directory.path(), disk.clone()).unwrap();
        let [alice] = accounts(&engine, ["alice"]);
        let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let session = engine.open_session(&alice, options).unwrap();
        let (sent, both) = fail_and_open_again(&engine, &disk, at);
        failed += usize::from(both);
        send(&engine, 2).unwrap();
        let events = session.next_events(100, Duration::ZERO).unwrap();
        let ended = events.iter().any(|event| matches!(event.body, EventBody::Ended(_)));
        let came = events.iter().filter(|event| matches!(event.body, EventBody::Message(_))).count();
        assert!(!ended && came > 0, "call {at} failed behind {sent:?}: {events:?}");
    }
    assert!(failed > 40, "{failed} calls failed while the store was opened");
}

/// When what waits could not be read for a session, it came only once something else happened to the session.
#[test]
fn what_waits_comes_by_itself_whichever_file_call_fails() {
    let mut failed = 0;
    for at in 0..30 {
        let directory = folder().unwrap();
        let engine = open(directory.path(), Disk::<Told>::good()).unwrap();
        let [alice, bob] = accounts(&engine, ["alice", "bob"]);
        for number in 0..20 {
            engine.send(&alice, Send::text(&bob, &format!("{number} {}", "x".repeat(3_000)))).unwrap();
        }
        engine.shutdown(true).unwrap();
        drop(engine);
        let disk = Disk::<Told>::good();
        let engine = open(directory.path(), disk.clone()).unwrap();
        disk.plan(Fault::Call { after: at, failure: Failure::Io });
        let options = || SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let session = engine.open_session(&bob, options());
        let was_refused = session.is_err();
        disk.heal();
        let session = session.or_else(|_| engine.open_session(&bob, options())).unwrap();
        engine.advance(5_000).unwrap();
        failed += usize::from(disk.failed().is_some() && !was_refused);
        let events = session.next_events(100, Duration::ZERO).unwrap();
        assert_eq!(events.len(), 20, "call {at} failed");
    }
    assert!(failed > 5, "{failed} calls failed");
}

/// When a buddy was removed and the disk failed under that, an observer was told everything again, and still knew the buddy.
#[test]
fn an_observer_learns_who_was_removed_whatever_the_disk_says() {
    let mut unknown = 0;
    for at in 0..6 {
        let directory = folder().unwrap();
        let disk = Disk::<Told>::good();
        let engine = open(directory.path(), disk.clone()).unwrap();
        let [alice, bob] = accounts(&engine, ["alice", "bob"]);
        let session = |options| engine.open_session(&alice, options).unwrap();
        let at_alice = session(SessionOptions::default());
        let observer = session(SessionOptions { observes: true, ..SessionOptions::default() });
        let mut knows = false;
        let mut look = || {
            for event in observer.next_events(100, Duration::ZERO).unwrap() {
                observer.ack(event.seq);
                if let EventBody::RosterChanged { buddy, .. } = event.body {
                    knows = buddy.listed;
                }
            }
            knows
        };
        at_alice.add_buddy(&bob, None, None).unwrap();
        assert!(look());
        disk.plan(Fault::Sync { after: at });
        let removed = at_alice.remove_buddy(&bob);
        disk.heal();
        engine.advance(10_000).unwrap();
        unknown += usize::from(removed.is_err());
        let is_there = at_alice.roster().unwrap().buddies.iter().any(|buddy| buddy.listed);
        assert_eq!(look(), is_there, "{removed:?}");
    }
    assert!(unknown > 0);
}
