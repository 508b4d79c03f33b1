//! The engine against a naive model: random commands, and after each one everything that can be seen is compared.
//!
//! `ROSTERKIT_SEED=N` runs the one sequence a failure names, `ROSTERKIT_SEQUENCES=N` so many on each ground,
//! `ROSTERKIT_TRACE=N` prints so many lines of what led to a difference instead of the last 60.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod amends;
mod events;
mod failures;
mod listeners;
mod looks;
mod rosters;
mod run;
mod sends;
mod sessions;
mod strangers;

use rosterkit::store::memory::MemoryStore;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_core::planted::{Bug, plant};
use rosterkit_promises::mortal::Mortal;
use run::{Drive, Mix, Run};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const COMMANDS: usize = 60;

/// What a sequence runs on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ground {
    Memory,
    Sqlite,
    Threads,
}

/// A planted bug is planted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One sequence. An error is what differed, and what led to it.
fn sequence(ground: Ground, seed: u64, mix: &Mix) -> Result<(), String> {
    let directory;
    let store: Arc<dyn rosterkit::store::Store> = match ground {
        Ground::Memory => MemoryStore::new(),
        Ground::Sqlite | Ground::Threads => {
            directory = tempfile::tempdir().unwrap();
            // So little that passes of the index, slices of them and checkpoints come all the time.
            let options = SqliteOptions { tail_rows: 16, checkpoint_pages: 40, ..SqliteOptions::small() };
            SqliteStore::new(directory.path().join("im.db"), options)
        }
    };
    let drive = if ground == Ground::Threads { Drive::Threads } else { Drive::Virtual };
    let mut run = Run::new(Mortal::new(store), drive, seed, mix);
    run.begin()?;
    for _ in 0..COMMANDS {
        run.command()?;
    }
    run.finish()
}

fn sequences(ground: Ground, count: u64) {
    let _alone = alone();
    plant(None);
    let mix = Mix::default();
    let chosen = std::env::var("ROSTERKIT_SEED").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("ROSTERKIT_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(count);
    for seed in chosen.map_or(0..count, |seed: u64| seed..seed + 1) {
        if let Err(difference) = sequence(ground, seed, &mix) {
            panic!("{ground:?}, ROSTERKIT_SEED={seed}: {difference}");
        }
    }
    println!("{ground:?}: {count} sequences of {COMMANDS} commands: {mix}");
}

#[test]
fn in_memory() {
    sequences(Ground::Memory, 10_000);
}

#[test]
fn on_sqlite() {
    sequences(Ground::Sqlite, 500);
}

#[test]
fn on_threads() {
    sequences(Ground::Threads, 200);
}

#[test]
fn every_planted_bug_is_found() {
    let _alone = alone();
    for bug in Bug::ALL {
        plant(Some(bug));
        // The index is SQLite's.
        let ground = if bug == Bug::IndexMarkTooEarly { Ground::Sqlite } else { Ground::Memory };
        let found = (0..1_000).find(|seed| sequence(ground, *seed, &Mix::default()).is_err());
        plant(None);
        let Some(seed) = found else { panic!("{bug:?} was not found in 1,000 sequences") };
        println!("{bug:?}: found by sequence {} on {ground:?}", seed + 1);
    }
}
