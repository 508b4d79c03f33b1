//! Bugs that were planted, each found by running seeds: what the simulation would see.

use crate::arguments::Arguments;
use crate::many::in_processes;
use rosterkit_core::planted::Bug;
use std::time::{Duration, Instant};

/// How long each is looked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plants each bug by turns. Says how many seeds it took.
pub(crate) fn find_all(arguments: &Arguments) -> bool {
    let mut all_found = true;
    for bug in Bug::SIMULATED {
        let arguments =
            Arguments { bug: Some(bug), time: Some(arguments.time.unwrap_or(PATIENCE)), ..arguments.clone() };
        let begun = Instant::now();
        match in_processes(&arguments) {
            Ok(found) => {
                let (seeds, seconds) = (found.report.seeds, begun.elapsed().as_secs_f64());
                match found.failed.first() {
                    Some(failed) => {
                        let why: String =
                            failed.why.lines().next().unwrap_or_default().chars().take(110).collect();
                        println!(
                            "{bug:?}: found, {seeds} seeds, {seconds:.1} s: seed {}: {why}",
                            failed.seed
                        );
                    }
                    None => {
                        println!("{bug:?}: NOT FOUND, {seeds} seeds, {seconds:.1} s");
                        all_found = false;
                    }
                }
            }
            Err(error) => {
                println!("{bug:?}: {error}");
                all_found = false;
            }
        }
    }
    all_found
}
