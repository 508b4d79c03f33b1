//! Durability and Delivery, on a disk that is cut at every exit, and on one of which every call fails once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::memory::MemoryStore;
use rosterkit::store::vfs::{Disk, Failure};
use rosterkit::{
    Durability, Engine, EngineOptions, Event, EventBody, MessageId, Position, Receipt, Session,
    SessionOptions, SetPresence, State,
};
use rosterkit_promises::kept::Ledger;
use rosterkit_promises::mortal::{Fate, Mortal};
use rosterkit_promises::workload::{
    ACCOUNTS, Drained, FORKS, Left, REDIRECTS, Run, START, Sent, USERS, address, drain, open, options,
};
use rosterkit_sim::disk::{Cut, Disk as Recorder, Entry, Fault, Image};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

const STEPS: usize = 60;

/// The ordered log of a run, and what its clients sent.
fn record(seed: u64, ignores_syncs: bool) -> (Vec<Entry<Left>>, Vec<Sent>) {
    let directory = tempfile::tempdir().unwrap();
    let recorder = if ignores_syncs { Recorder::ignoring_syncs() } else { Recorder::good() };
    let engine = open(directory.path(), Disk::through(recorder.clone())).unwrap();
    let left = |what: Left| {
        recorder.left(what);
    };
    let mut run = Run::new(engine, seed, &left);
    run.begin();
    for _ in 0..STEPS {
        run.step();
    }
    (recorder.take(), run.sent)
}

/// What left the engine before the cut must be true of the file after it.
#[derive(Default)]
struct Owed {
    answered: BTreeMap<usize, (Sent, Receipt)>,
    /// A message that rules sent on has a place in each account it comes to.
    told: BTreeMap<(usize, MessageId), Position>,
    acknowledged: BTreeSet<(usize, MessageId)>,
    kept: Ledger,
}

impl Owed {
    fn add(&mut self, left: &Left) {
        match left {
            Left::Answered(sent, receipt) => {
                let first = self.answered.entry(sent.number).or_insert_with(|| (sent.clone(), *receipt));
                assert_eq!(first.1, *receipt, "{sent:?} was answered twice, differently");
            }
            Left::Told { user, id, position } => {
                let first = self.told.entry((*user, *id)).or_insert(*position);
                assert_eq!(first, position, "{id} was told at two places");
            }
            Left::Tries(kept) => self.kept.tries(*kept),
            Left::Kept(kept) => self.kept.answers(*kept),
            Left::Acknowledged { user, id } => drop(self.acknowledged.insert((*user, *id))),
        }
    }

    fn check(&self, image: &Image, cut: Cut, is_late: bool) {
        let directory = tempfile::tempdir().unwrap();
        image.cut(cut).write(directory.path()).unwrap();
        let engine = open(directory.path(), Disk::plain()).unwrap();
        for (sent, receipt) in self.answered.values() {
            let again = sent.repeat(&engine).unwrap();
            assert_eq!(again, *receipt, "{sent:?} is another one after {cut:?}");
        }
        self.kept.check(&engine);
        if is_late {
            engine.advance(2 * 3_600_000).unwrap();
        }
        let drained: Vec<Drained> = (0..ACCOUNTS).map(|user| drain(&engine, user)).collect();
        for (user, Drained { messages: got, .. }) in drained.iter().enumerate() {
            assert!(got.is_sorted_by_key(|(position, _)| *position), "user{user} got them out of order");
            let ids: BTreeSet<MessageId> = got.iter().map(|(_, id)| *id).collect();
            assert_eq!(ids.len(), got.len(), "user{user} got one twice");
            for (position, id) in got {
                assert!(self.told.get(&(user, *id)).is_none_or(|p| p == position), "{id} moved");
            }
            for (sent, receipt) in self.answered.values().filter(|(sent, _)| sent.reaches().contains(&user)) {
                // The phone that sends to itself passes its own row without an event; these sends are by no device.
                let done = self.acknowledged.contains(&(user, receipt.id));
                if is_late && sent.expires().is_some() {
                    assert!(!ids.contains(&receipt.id), "{sent:?} comes too late");
                    let told = self.told.contains_key(&(user, receipt.id));
                    let learned = drained[sent.sender].expired.contains(&receipt.id);
                    assert!(done || told || learned, "nobody says that {sent:?} has expired, after {cut:?}");
                } else {
                    assert!(done || ids.contains(&receipt.id), "{sent:?} is lost after {cut:?}");
                }
            }
        }
        engine.shutdown(true).unwrap();
    }
}

/// Cuts the recording at every exit. Gives how many cuts there were, and what was kept beside messages.
fn cut_everywhere(entries: &[Entry<Left>], seed: u64) -> (usize, [usize; 4]) {
    let (mut image, mut owed, mut cuts) = (Image::default(), Owed::default(), 0);
    for (number, entry) in entries.iter().enumerate() {
        image.apply(entry);
        let Entry::Left(left) = entry else { continue };
        owed.add(left);
        // Several things that leave at once are one exit.
        if matches!(left, Left::Tries(_)) || matches!(entries.get(number + 1), Some(Entry::Left(_))) {
            continue;
        }
        for cut in [Cut::Dropped, Cut::Kept, Cut::Torn(seed ^ number as u64)] {
            owed.check(&image, cut, cuts % 5 == 4);
            cuts += 1;
        }
    }
    (cuts, owed.kept.mix())
}

// behaviour: invitations.killed
#[test]
fn durability_every_exit_of_a_recorded_disk() {
    let (mut cuts, mut mix, mut sends) = (0, [0; 4], BTreeMap::<&str, usize>::new());
    for seed in 0..8 {
        let (entries, sent) = record(seed, false);
        let (more, kept) = cut_everywhere(&entries, seed);
        cuts += more;
        mix.iter_mut().zip(kept).for_each(|(all, more)| *all += more);
        for one in sent {
            let sort = match one.recipient {
                REDIRECTS => "redirected",
                FORKS => "forked",
                _ if one.expires().is_some() => "expiring",
                _ => "plain",
            };
            *sends.entry(sort).or_default() += 1;
        }
    }
    let [read, registered, written, redeemed] = mix;
    println!(
        "{cuts} cuts, nothing lost, doubled or moved: {sends:?}, {read} conversations read, {registered} registrations, {written} files, {redeemed} invitations"
    );
    assert!(cuts > 500 && sends.len() == 4 && mix.iter().all(|kept| *kept > 4), "{cuts} {sends:?} {mix:?}");
}

/// A kill leaves the page cache: the next process finds rows that are not on the disk yet, answers from them, and then
/// the power goes. Gives how many cuts there were.
fn two_faults(seed: u64, reader_present: bool) -> usize {
    let (entries, sent) = record(seed, false);
    let mut random = fastrand::Rng::with_seed(seed);
    // Right before a sync of the write-ahead log: a commit is written, and only in the page cache.
    let syncs: Vec<usize> = (0..entries.len())
        .filter(|at| matches!(&entries[*at], Entry::Synced(name) if &**name == "im.db-wal"))
        .collect();
    let (mut image, mut owed) = (Image::default(), Owed::default());
    let kill_at = *random.choice(&syncs[syncs.len() / 3..]).unwrap();
    for entry in &entries[..kill_at] {
        image.apply(entry);
        if let Entry::Left(left) = entry {
            owed.add(left);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    image.cut(Cut::Kept).write(directory.path()).unwrap();
    // Somebody else has the file open, and reads nothing at the moment.
    let reader = reader_present.then(|| {
        let reader = rusqlite::Connection::open(directory.path().join("im.db")).unwrap();
        reader.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0)).unwrap();
        reader
    });
    let recorder = Recorder::good();
    let engine = open(directory.path(), Disk::through(recorder.clone())).unwrap();
    // Sends that were under way when the process was killed are repeated first: some have a row, some do not.
    let (answered, under_way): (Vec<Sent>, Vec<Sent>) =
        sent.into_iter().partition(|sent| owed.answered.contains_key(&sent.number));
    for sent in under_way.into_iter().take(12).chain(answered.into_iter().rev().take(8)) {
        let receipt = sent.repeat(&engine).unwrap();
        recorder.left(Left::Answered(sent, receipt));
    }
    let mut cuts = 0;
    for entry in recorder.take() {
        image.apply(&entry);
        if let Entry::Left(left) = &entry {
            owed.add(left);
            owed.check(&image, Cut::Dropped, false);
            cuts += 1;
        }
    }
    drop(reader);
    cuts
}

#[test]
fn durability_a_kill_then_a_power_cut() {
    let cuts: usize = (20..44).map(|seed| two_faults(seed, seed % 2 == 1)).sum();
    println!("{cuts} power cuts after a kill, nothing lost");
    assert!(cuts > 300, "{cuts} cuts");
}

/// A sync fails, and the pages still read well; the engine goes on, and then the power goes. Gives which sync it was, and
/// how many cuts there were behind it.
fn failed_sync(seed: u64, number: u64, reader_present: bool) -> Option<(String, usize)> {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(Fault::Sync { after: number - 1 });
    let opened = open(directory.path(), Disk::through(recorder.clone()));
    let engine = opened.or_else(|_| open(directory.path(), Disk::through(recorder.clone()))).unwrap();
    let reader = reader_present.then(|| {
        let reader = rusqlite::Connection::open(directory.path().join("im.db")).unwrap();
        reader.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0)).unwrap();
        reader
    });
    let left = |what: Left| {
        recorder.left(what);
    };
    let mut run = Run::new(engine, seed, &left);
    run.begin();
    for _ in 0..STEPS {
        run.step();
    }
    let failed = recorder.failed()?;
    let (mut image, mut owed, mut behind, mut cuts) = (Image::default(), Owed::default(), false, 0);
    for entry in recorder.take() {
        image.apply(&entry);
        behind |= matches!(entry, Entry::SyncFailed(_));
        if let Entry::Left(left) = &entry {
            owed.add(left);
            // Not every one: what was not lost at one is not lost at the next.
            if behind
                && (cuts < 8 || matches!(left, Left::Answered(sent, _) if sent.number.is_multiple_of(16)))
            {
                owed.check(&image, Cut::Dropped, false);
                cuts += 1;
            }
        }
    }
    drop(reader);
    Some((failed, cuts))
}

#[test]
fn durability_a_failed_sync_then_a_power_cut() {
    let (mut failures, mut cuts): (BTreeMap<String, usize>, usize) = (BTreeMap::new(), 0);
    for number in 1.. {
        let Some((what, cut)) = failed_sync(7, number, number % 3 == 0) else { break };
        *failures.entry(what).or_default() += 1;
        cuts += cut;
    }
    println!("{failures:?}: {cuts} power cuts after a failed sync, nothing lost");
    let of = |file: &str| failures.keys().any(|what| what.ends_with(file));
    assert!(of("Main") && of("Wal") && cuts > 300, "{failures:?}, {cuts} cuts");
}

/// What a relaxed engine has told, and what is lazy, outlives a commit that was rolled back: a full disk, which has room again
/// later.
#[test]
fn durability_what_was_told_is_written_when_the_disk_has_room_again() {
    let store = Mortal::new(MemoryStore::new());
    let options = EngineOptions { durability: Durability::Relaxed, ..options() };
    let open = |seed| Engine::open_virtual(store.clone(), options.clone(), seed, START).unwrap();
    let engine = open(1);
    (0..USERS).for_each(|user| engine.create_account(&address(user)).unwrap());
    engine.advance(3_000).unwrap();
    store.decide(Fate::RolledBack);
    let sent = Sent { number: 1, sender: 0, recipient: 1 };
    let receipt = sent.repeat(&engine).unwrap();
    engine.advance(300).unwrap();
    assert_eq!(store.fate(), Fate::Written, "a commit was rolled back");
    engine.advance(3_000).unwrap();
    store.decide(Fate::Dead);
    drop(engine);
    store.decide(Fate::Written);
    let engine = open(2);
    assert_eq!(drain(&engine, 1).messages, [(receipt.position, receipt.id)]);
    assert_eq!(sent.repeat(&engine).unwrap(), receipt);
}

// behaviour: observers.again
#[test]
fn an_observer_is_told_everything_again_after_a_failed_commit() {
    for fate in [Fate::Lost, Fate::WrittenUnknown] {
        let store = Mortal::new(MemoryStore::new());
        let engine = Engine::open_virtual(store.clone(), options(), 1, START).unwrap();
        (0..2).for_each(|user| engine.create_account(&address(user)).unwrap());
        let observes = SessionOptions { observes: true, ..SessionOptions::default() };
        let observer = engine.open_session(&address(1), observes).unwrap();
        let conversations = || {
            let events = observer.next_events(1_000, Duration::ZERO).unwrap();
            observer.ack(events.last().map_or(0, |event| event.seq));
            let of = |event: &Event| match &event.body {
                EventBody::ConversationChanged(one) => one.latest.content.as_text().map(str::to_owned),
                EventBody::SnapshotEnd => Some("whole".to_owned()),
                other => panic!("an observer is told {other:?}"),
            };
            events.iter().filter_map(of).collect::<Vec<_>>()
        };
        Sent { number: 1, sender: 0, recipient: 1 }.repeat(&engine).unwrap();
        let told = conversations();
        assert_eq!(told, ["whole", "message 1 of user0"]);
        store.decide(fate);
        assert!(Sent { number: 2, sender: 0, recipient: 1 }.repeat(&engine).is_err());
        engine.advance(30_000).unwrap();
        let number = if fate == Fate::Lost { 1 } else { 2 };
        assert_eq!(conversations(), [format!("message {number} of user0"), "whole".to_owned()]);
    }
}

/// What a session that observes and one that comes online are told of a file that is there already, when one call
/// fails; and which did.
fn told_of_a_snapshot(directory: &Path, fail: Option<u64>) -> (Vec<String>, u64, Option<String>) {
    let recorder = match fail {
        Some(at) => Recorder::<()>::with(Fault::Call { after: at - 1, failure: Failure::Io }),
        None => Recorder::good(),
    };
    let disk = || Disk::through(recorder.clone());
    let engine = open(directory, disk()).or_else(|_| open(directory, disk())).unwrap();
    let attach = |observes| {
        let options = || SessionOptions { observes, ..SessionOptions::default() };
        (0..20).find_map(|_| {
            let session = engine.open_session(&address(1), options());
            engine.advance(1_000).unwrap();
            session.ok()
        })
    };
    let sessions = [attach(true).unwrap(), attach(false).unwrap()];
    while sessions[1].set_presence(SetPresence::state(State::Online)).is_err() {
        engine.advance(1_000).unwrap();
    }
    engine.advance(30_000).unwrap();
    let of = |event: &Event| match &event.body {
        EventBody::ConversationChanged(one) => Some(format!("conversation with {}", one.peer)),
        EventBody::RosterChanged { buddy, .. } => Some(format!("buddy {}", buddy.address)),
        EventBody::Presence { subject, .. } => Some(format!("presence of {subject}")),
        EventBody::SnapshotEnd => Some("whole".to_owned()),
        _ => None,
    };
    let told = |session: &Session| {
        session.next_events(1_000, Duration::ZERO).unwrap().iter().filter_map(of).collect::<BTreeSet<_>>()
    };
    let told =
        sessions.iter().enumerate().flat_map(|(i, s)| told(s).into_iter().map(move |t| format!("{i}: {t}")));
    let told = told.collect();
    let (calls, failed) = (recorder.counts().calls, recorder.failed());
    engine.shutdown(true).unwrap();
    (told, calls, failed)
}

// behaviour: presence.snapshot-again, observers.again
#[test]
fn a_snapshot_is_whole_whichever_file_call_fails() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), Disk::plain()).unwrap();
    (0..3).for_each(|user| engine.create_account(&address(user)).unwrap());
    for (one, other) in [(1, 0), (0, 1), (1, 2), (2, 1)] {
        let session = engine.open_session(&address(one), SessionOptions::default()).unwrap();
        session.add_buddy(&address(other), None, None).unwrap();
        engine.advance(100).unwrap();
    }
    Sent { number: 1, sender: 0, recipient: 1 }.repeat(&engine).unwrap();
    engine.shutdown(true).unwrap();

    let (whole, calls, _) = told_of_a_snapshot(directory.path(), None);
    let parts = |session| whole.iter().filter(|told| told.starts_with(session)).count();
    assert_eq!((parts("0"), parts("1")), (7, 4), "{whole:?}");
    let mut failures = 0;
    for at in 1..=calls {
        let (told, _, failed) = told_of_a_snapshot(directory.path(), Some(at));
        failures += usize::from(failed.is_some());
        assert_eq!(told, whole, "call {at} failed: {failed:?}");
    }
    println!("{failures} calls, each failed once");
    assert!(failures > 20);
}

#[test]
fn durability_is_lost_without_syncs() {
    let (entries, _) = record(1, true);
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| cut_everywhere(&entries, 1)));
    std::panic::set_hook(quiet);
    assert!(result.is_err(), "a disk that never syncs passed: the test sees nothing");
}

/// One run in which one call fails; everything is true at the end, and stays true in a new engine.
fn fail_once(seed: u64, at: u64, failure: Failure) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::<()>::with(Fault::Call { after: at - 1, failure });
    let engine = match open(directory.path(), Disk::through(recorder.clone())) {
        Ok(engine) => engine,
        // It failed while opening, said so, and lets itself be opened now.
        Err(_) => open(directory.path(), Disk::through(recorder.clone())).unwrap(),
    };
    let owed = std::cell::RefCell::new(Owed::default());
    let left = |what: Left| owed.borrow_mut().add(&what);
    let mut run = Run::new(engine, seed, &left);
    run.begin();
    for _ in 0..25 {
        run.step();
    }
    run.engine.advance(30_000).unwrap();
    let mut by_id = BTreeMap::new();
    for sent in run.sent.clone() {
        let receipt = run.insist(|engine| sent.repeat(engine));
        left(Left::Answered(sent.clone(), receipt));
        assert!(by_id.insert(receipt.id, sent).is_none(), "two sends have one id");
    }
    run.engine.advance(30_000).unwrap();
    // Live sessions have been told every row, or are told it now.
    let sessions: Vec<_> = run.sessions.iter().map(|(user, session)| (*user, session.clone())).collect();
    let told_live: BTreeMap<usize, BTreeSet<MessageId>> = sessions
        .into_iter()
        .map(|(user, session)| {
            let mut told: BTreeSet<MessageId> =
                run.in_hand.get(&user).into_iter().flatten().copied().collect();
            while let Ok(events) = session.next_events(100, Duration::ZERO)
                && let Some(last) = events.last()
            {
                session.ack(last.seq);
                run.told(user, &events);
                told.extend(events.iter().filter_map(|e| match &e.body {
                    rosterkit::EventBody::Message(message) => Some(message.id),
                    _ => None,
                }));
            }
            (user, told)
        })
        .collect();
    let engine = run.engine.clone();
    owed.borrow().kept.check(&engine);
    for (user, told) in told_live {
        for (sent, receipt) in
            owed.borrow().answered.values().filter(|(sent, _)| sent.reaches().contains(&user))
        {
            let done = owed.borrow().acknowledged.contains(&(user, receipt.id));
            assert!(
                done || told.contains(&receipt.id),
                "a live session of user{user} was never told {sent:?}; call {at} failed, {failure:?}: {:?}",
                recorder.failed()
            );
        }
    }
    drop(run);
    engine.shutdown(true).unwrap();
    let engine = open(directory.path(), Disk::plain()).unwrap();
    for (sent, receipt) in owed.borrow().answered.values() {
        assert_eq!(sent.repeat(&engine).unwrap(), *receipt, "memory and file differ about {sent:?}");
    }
    owed.borrow().kept.check(&engine);
    recorder.failed()
}

// behaviour: engine.tried-again
#[test]
fn durability_every_file_call_fails_once() {
    let calls = {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::<()>::good();
        let engine = open(directory.path(), Disk::through(recorder.clone())).unwrap();
        let mut run = Run::new(engine, 3, &|_| {});
        run.begin();
        for _ in 0..25 {
            run.step();
        }
        recorder.counts().calls
    };
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    for at in 1..=calls {
        for failure in [Failure::Io, Failure::Full] {
            if let Some(what) = fail_once(3, at, failure) {
                let what = what
                    .split(" bytes at")
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches(char::is_numeric)
                    .to_owned();
                *failures.entry(format!("{what} {failure:?}")).or_default() += 1;
            }
        }
    }
    println!("{calls} calls, each failed once: {failures:#?}");
    assert!(failures.values().sum::<usize>() as u64 >= calls, "{failures:?}");
}
