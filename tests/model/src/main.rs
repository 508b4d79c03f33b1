//! Prints each rule with the shortest schedule that breaks a promise without it, then searches with every rule on.
//!
//!     cargo run --release -p rosterkit-model [-- STATES]
//!
//! STATES bounds each search; without it they go on to the end.
#![allow(missing_docs, clippy::print_stdout)]

use rosterkit_model::rules::{LEFT_OUT, WHOLE};
use rosterkit_model::search::Outcome;
use std::time::Instant;

fn main() {
    let bound = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    println!("Each rule left out alone\n");
    for left_out in LEFT_OUT {
        match (left_out.search)(bound) {
            Outcome::Broken { what, schedule, states } => {
                println!(
                    "- without “{}”: {what} ({states} states)\n    {}",
                    left_out.rule,
                    schedule.join("\n    ")
                );
            }
            other => println!("- without “{}”: NOTHING FOUND, {other:?}", left_out.rule),
        }
    }
    println!("\nEvery rule on\n");
    let mut total = 0;
    for whole in WHOLE {
        let begun = Instant::now();
        let outcome = (whole.search)(bound);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Outcome::Complete { states } => {
                total += states;
                println!("- {}: complete, {states} states, {seconds:.1} s", whole.name);
            }
            Outcome::Bounded { states } => {
                total += states;
                println!("- {}: {states} states of more, {seconds:.1} s", whole.name);
            }
            Outcome::Broken { what, schedule, .. } => {
                println!("- {}: BROKEN, {what}\n    {}", whole.name, schedule.join("\n    "));
            }
        }
    }
    println!("\n{total} states");
}
