//! `rosterkit-sim`: runs seeds, replays one, or looks for bugs that were planted.
//!
//! Seeds run in as many processes as there are processors: SQLite's own generator is the process's, so that two seeds at
//! once in one process would not be themselves.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod arguments;
mod bugs;
mod many;

use arguments::{Arguments, HELP};
use rosterkit_sim::history::History;
use rosterkit_sim::run::{Plan, run};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    // A listener that panics is part of the world.
    std::panic::set_hook(Box::new(|_| {}));
    rosterkit_core::planted::plant(arguments.bug);
    let passed = match &arguments {
        Arguments { part: Some(part), .. } => many::part(&arguments, *part),
        Arguments { seed: Some(seed), .. } => replay(&arguments.plan(*seed), arguments.trace),
        Arguments { bugs: true, .. } => bugs::find_all(&arguments),
        _ => many::run(&arguments),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed, and shows what happened last.
fn replay(plan: &Plan, trace: usize) -> bool {
    let history = Arc::new(if trace > 0 { History::readable() } else { History::default() });
    let outcome = run(plan, &history);
    for line in history.latest(trace) {
        println!("{}", line.chars().take(400).collect::<String>());
    }
    let (entries, digest) = &outcome.history;
    println!(
        "seed {}: {} steps, {} crash points",
        plan.seed, outcome.report.steps, outcome.report.crash_points
    );
    println!("history of {entries} entries: {digest}");
    if let Some(failure) = &outcome.failure {
        println!("{failure}");
    }
    outcome.failure.is_none()
}
