//! Measures the engine: `rosterkit-bench engine [--json FILE] [NAME …]`.
//!
//! Ratios are against a baseline of the same run; machines differ, and are busy.
#![allow(missing_docs)]

mod baseline;
mod checksums;
mod drain;
mod engine;
mod heap;
mod load;
mod many;
mod measure;
mod memory;
mod population;
mod python;
mod rules;

use measure::{Row, json, table};
use std::path::Path;
use std::process::ExitCode;

/// A measurement: its name, and what makes its rows in a folder of its own.
type Measurement = (&'static str, fn(&Path) -> Vec<Row>);

const ENGINE: [Measurement; 10] = [
    ("durable_accept", engine::durable_accept),
    ("page_checksums", checksums::page_checksums),
    ("relaxed", engine::relaxed),
    ("presence", engine::presence),
    ("reading", engine::reading),
    ("rules_100", rules::rules_100),
    ("offline_drain", drain::offline_drain),
    ("many_accounts", many::many_accounts),
    ("bytes_per_account", memory::bytes_per_account),
    ("python", python::python),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut file, mut names) = (None, Vec::new());
    let mut rest = arguments.iter();
    if rest.next().map(String::as_str) != Some("engine") {
        eprintln!("usage: rosterkit-bench engine [--json FILE] [NAME …]");
        return ExitCode::FAILURE;
    }
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" => file = rest.next(),
            name => names.push(name),
        }
    }
    let mut rows = Vec::new();
    for (name, run) in ENGINE {
        if names.is_empty() || names.contains(&name) {
            eprintln!("measuring {name} …");
            let directory = tempfile::tempdir().expect("a temporary folder");
            rows.extend(run(directory.path()));
        }
    }
    println!("{}", table(&rows));
    println!("the baseline of durable_accept is tests/bench/src/baseline.rs");
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, json(&rows))
    {
        eprintln!("{file}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
