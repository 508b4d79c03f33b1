//! Damage: bits of a file flip, or it is cut short. Each answer is the truth or says that the file is damaged; what the
//! write-ahead log loses is lost from some commit on.
//!
//! `ROSTERKIT_FLIPS` and `ROSTERKIT_TRUNCATIONS` say how many are tried of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::Disk;
use rosterkit::{Engine, ErrorKind, Send};
use rosterkit_promises::folder_in_memory;
use rosterkit_promises::truth::{Answers, ask, fill, told};
use rosterkit_promises::workload::{Run, START, Sent, USERS, address, open, options};
use rosterkit_sim::disk::{Change, Cut, Disk as Recorder, Entry, Image};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const FILE: &str = "im.db";
const LOG: &str = "im.db-wal";
const PAGE: usize = 4096;
/// In front of each page in the write-ahead log, and in front of them all.
const FRAME_HEADER: usize = 24;
const LOG_HEADER: usize = 32;

/// A file and its write-ahead log.
#[derive(Clone)]
struct Files {
    main: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(folder: &Path) -> Files {
        let of = |name| std::fs::read(folder.join(name)).unwrap_or_default();
        Files { main: of(FILE), log: of(LOG) }
    }

    fn write(&self, folder: &Path) {
        std::fs::write(folder.join(FILE), &self.main).unwrap();
        std::fs::write(folder.join(LOG), &self.log).unwrap();
    }
}

/// Everything that a file answers.
#[derive(Clone, Debug, PartialEq)]
struct Truth {
    answers: Answers,
    told: Vec<Vec<String>>,
}

impl Truth {
    fn of(engine: &Engine) -> Truth {
        let answers = ask(engine);
        let told = (0..USERS).map(|user| told(engine, user).unwrap().0).collect();
        Truth { answers, told }
    }
}

/// A file with all sorts of data, all of it in the main file; what was sent, and what it answers.
fn whole() -> (Files, Vec<Sent>, Truth) {
    let folder = folder_in_memory();
    let engine = open(folder.path(), Disk::plain()).unwrap();
    let sent = fill(&engine, 11, 120);
    engine.shutdown(true).unwrap();
    drop(engine);
    // Opening moves it there, and leaves a commit of its own behind.
    open(folder.path(), Disk::plain()).unwrap().shutdown(true).unwrap();
    let files = Files { main: std::fs::read(folder.path().join(FILE)).unwrap(), log: Vec::new() };
    let truth = truth(&files);
    (files, sent, truth)
}

/// What a whole file answers.
fn truth(files: &Files) -> Truth {
    let folder = folder_in_memory();
    files.write(folder.path());
    let engine = open(folder.path(), Disk::plain()).unwrap();
    let truth = Truth::of(&engine);
    assert!(truth.answers.values().filter(|answer| answer.is_ok()).count() > 100);
    engine.shutdown(true).unwrap();
    truth
}

/// What became of a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    RefusedAtOpen,
    RefusedAtRead,
    Unaffected,
}

/// Opens a damaged file, asks it for everything, and sends a message.
fn fate(files: &Files, header_is_damaged: bool, truth: &Truth) -> Fate {
    let folder = folder_in_memory();
    files.write(folder.path());
    let begun = Instant::now();
    let engine = match open(folder.path(), Disk::plain()) {
        Ok(engine) => engine,
        // What the header says is looked at first: it may say that the file is no file of ours.
        Err(error) if error.kind == ErrorKind::Damaged || header_is_damaged => return Fate::RefusedAtOpen,
        Err(error) => panic!("it is refused with {error}"),
    };
    let mut refused = false;
    for (question, answer) in ask(&engine) {
        match answer {
            Err(error) if error.kind == ErrorKind::Damaged => {
                assert!(error.details.contains("rosterkit check"), "{error}");
                refused = true;
            }
            answer => assert_eq!(answer, truth.answers[&question], "{question}"),
        }
    }
    for (user, truth) in truth.told.iter().enumerate() {
        match told(&engine, user) {
            Ok((told, ended)) => {
                assert!(truth.starts_with(&told), "user{user} was told {told:?}, and not {truth:?}");
                assert!(ended || told.len() == truth.len(), "user{user} waits for ever");
                refused |= ended;
            }
            Err(error) => refused |= is_damage(&error),
        }
    }
    match engine.send(&address(1), Send::text(&address(2), "after the damage")) {
        Ok(receipt) => match engine.call(
            &rosterkit::Actor { account: address(1), session: None },
            rosterkit::Command::ExplainDelivery(receipt.position),
        ) {
            Ok(_) => {}
            Err(error) => refused |= is_damage(&error),
        },
        Err(error) => refused |= is_damage(&error),
    }
    // Whatever is tried again, is so at a pace.
    engine.advance(30_000).unwrap();
    engine.shutdown(true).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it is busy with something");
    if refused { Fate::RefusedAtRead } else { Fate::Unaffected }
}

fn is_damage(error: &rosterkit::Error) -> bool {
    assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
    true
}

/// Runs so many trials on every core, and counts what they say. A trial that panics fails the test, with its number.
fn trials<T: Ord + core::marker::Send>(
    count: usize,
    trial: impl Fn(usize) -> T + Sync,
) -> BTreeMap<T, usize> {
    let (next, counts) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = catch_unwind(AssertUnwindSafe(|| trial(number)));
                    let result = result.unwrap_or_else(|_| panic!("trial {number}"));
                    *counts.lock().unwrap().entry(result).or_insert(0) += 1;
                }
            });
        }
    });
    counts.into_inner().unwrap()
}

/// How many are tried: in a long run more.
fn how_many(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect(variable))
}

fn flip(bytes: &mut [u8], random: &mut fastrand::Rng) -> usize {
    let at = random.usize(0..bytes.len());
    bytes[at] ^= 1 << random.u8(0..8);
    at
}

// behaviour: engine.damaged
#[test]
fn a_flipped_bit_is_noticed_or_of_no_account() {
    let (whole, _, truth) = whole();
    let count = how_many("ROSTERKIT_FLIPS", 2_000);
    let fates = trials(count, |number| {
        let mut random = fastrand::Rng::with_seed(number as u64);
        let mut files = whole.clone();
        let at = flip(&mut files.main, &mut random);
        fate(&files, at < 100, &truth)
    });
    println!("{count} bits flipped in {} pages: {fates:?}", whole.main.len() / PAGE);
    assert!(fates.len() == 3 && fates[&Fate::RefusedAtRead] > count / 10, "{fates:?}");
}

// behaviour: engine.damaged
#[test]
fn a_file_cut_short_is_refused() {
    let (whole, _, truth) = whole();
    // A log that does not hold what the file lost.
    let with_log = {
        let folder = folder_in_memory();
        whole.write(folder.path());
        let engine = open(folder.path(), Disk::plain()).unwrap();
        engine.send(&address(1), Send::text(&address(2), "in the log")).unwrap();
        let files = Files::read(folder.path());
        engine.shutdown(true).unwrap();
        files
    };
    let with_log = (with_log.clone(), self::truth(&with_log));
    let count = how_many("ROSTERKIT_TRUNCATIONS", 500);
    let fates = trials(count, |number| {
        let mut random = fastrand::Rng::with_seed(number as u64);
        let (files, truth) = if number % 2 == 0 { (&whole, &truth) } else { (&with_log.0, &with_log.1) };
        let mut files = files.clone();
        // Of nothing at all a new file is made.
        let mut length = random.usize(1..files.main.len());
        if number % 3 == 0 {
            length = (length / PAGE).max(1) * PAGE;
        }
        files.main.truncate(length);
        fate(&files, length < 100, truth)
    });
    println!("{count} files cut short: {fates:?}");
    assert!(fates.get(&Fate::RefusedAtOpen).is_some_and(|refused| *refused >= count / 2), "{fates:?}");
}

/// A file whose write-ahead log has many commits, and what it answers after each: with how long the log is then.
fn many_commits() -> (Files, Vec<(usize, Truth)>) {
    let (base, sent, before) = whole();
    let folder = folder_in_memory();
    base.write(folder.path());
    let recorder = Recorder::<()>::good();
    let disk = Disk::through(recorder.clone());
    let never =
        SqliteOptions { disk, tail_rows: 32, checkpoint_pages: u64::MAX / 4, ..SqliteOptions::small() };
    let store = SqliteStore::new(folder.path().join(FILE), never);
    let engine = Engine::open_virtual(store, options(), 1, START).unwrap();
    let mut run = Run::new(engine.clone(), 5, &|_| {});
    run.sent = sent;
    for _ in 0..80 {
        run.step();
    }
    drop(run);
    let files = Files::read(folder.path());
    engine.shutdown(true).unwrap();
    let mut image = Image::default();
    let main = Change::Write { offset: 0, bytes: base.main.clone() };
    image.apply::<()>(&Entry::Changed(FILE.into(), main));
    image.apply::<()>(&Entry::Synced(FILE.into()));
    let mut commits = vec![(0, before)];
    for entry in recorder.take() {
        image.apply(&entry);
        if !matches!(&entry, Entry::Synced(name) if &**name == LOG) {
            continue;
        }
        let folder = folder_in_memory();
        image.cut(Cut::Dropped).write(folder.path()).unwrap();
        let then = Files::read(folder.path());
        // The log grows from here on: nothing of it is in the main file yet.
        if then.main == base.main
            && files.log.starts_with(&then.log)
            && then.log.len() > commits.last().unwrap().0
        {
            commits.push((then.log.len(), truth(&then)));
        }
    }
    (Files { main: base.main, log: files.log }, commits)
}

// behaviour: engine.damaged-log
#[test]
fn a_damaged_log_loses_commits_from_some_one_on() {
    let (files, commits) = many_commits();
    assert!(commits.len() > 30, "{} commits", commits.len());
    let different = commits.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert!(different > 15, "{different} of {} commits can be told from the one before", commits.len());
    let count = how_many("ROSTERKIT_FLIPS", 2_000) / 4;
    let left = trials(count, |number| {
        let mut random = fastrand::Rng::with_seed(number as u64);
        let mut files = files.clone();
        let at = if number % 4 == 0 {
            let length = random.usize(0..files.log.len());
            files.log.truncate(length);
            length
        } else {
            flip(&mut files.log, &mut random)
        };
        // What ends before the frame that was hit.
        let frame = at.saturating_sub(LOG_HEADER) / (FRAME_HEADER + PAGE);
        let intact = if at < LOG_HEADER { 0 } else { LOG_HEADER + frame * (FRAME_HEADER + PAGE) };
        let kept = commits.iter().rposition(|(length, _)| *length <= intact).unwrap();
        let folder = folder_in_memory();
        files.write(folder.path());
        let engine = open(folder.path(), Disk::plain()).unwrap();
        let found = Truth::of(&engine);
        engine.shutdown(true).unwrap();
        assert_eq!(found, commits[kept].1, "hit at {at}, after commit {kept}");
        kept
    });
    println!(
        "{count} logs damaged: each of {} prefixes of {} commits was found",
        left.len(),
        commits.len() - 1
    );
    assert!(left.len() > commits.len() / 2, "{left:?}");
}

/// What two accounts acknowledge goes to the disk together; a page that one of them needs is not the other's.
#[test]
fn what_touches_nothing_broken_is_written_beside_what_does() {
    let (whole, ..) = whole();
    let (mut kept, mut met) = (0, 0);
    for page in 0..whole.main.len() / PAGE {
        let mut files = whole.clone();
        files.main[page * PAGE + 3_333] ^= 1;
        let folder = folder_in_memory();
        files.write(folder.path());
        let Ok(engine) = open(folder.path(), Disk::plain()) else { continue };
        let all = (0..USERS).filter_map(|user| Some((user, told(&engine, user).ok()?)));
        let done: Vec<usize> = all.filter(|(_, (_, ended))| !ended).map(|(user, _)| user).collect();
        engine.advance(5_000).unwrap();
        engine.shutdown(true).unwrap();
        // Somebody mends the page, if it is broken still.
        let mut found = Files::read(folder.path());
        let place = page * PAGE..(page + 1) * PAGE;
        if found.main[place.clone()] == files.main[place.clone()] {
            found.main[place.clone()].copy_from_slice(&whole.main[place]);
        }
        found.write(folder.path());
        let engine = open(folder.path(), Disk::plain()).unwrap();
        let again: usize = done.iter().map(|user| told(&engine, *user).unwrap().0.len()).sum();
        engine.shutdown(true).unwrap();
        if again == 0 { kept += 1 } else { met += 1 }
    }
    println!("{kept} broken pages kept nobody's acknowledgement from the disk, {met} did");
    assert!(kept > 20 && met == 0, "{kept}, {met}");
}
