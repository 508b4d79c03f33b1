//! What the simulation promises of itself: it is the same each time, and it would see what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rosterkit-sim");

/// Runs seeds in a process of its own.
fn seeds(count: u64, more: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["--part", "0/1", "--seeds", &count.to_string(), "--crash-points", "10"]).args(more);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What a process said of each seed: its history, and how it failed.
fn said(child: Child) -> BTreeMap<u64, (String, Option<String>)> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .map(|line| {
            let history = line["history"].as_str().unwrap().to_owned();
            (line["seed"].as_u64().unwrap(), (history, line["failure"].as_str().map(str::to_owned)))
        })
        .collect()
}

#[test]
fn twenty_seeds_have_equal_histories_in_two_processes() {
    let (one, other) = (seeds(20, &[]), seeds(20, &[]));
    let (one, other) = (said(one), said(other));
    assert_eq!(one.len(), 20);
    assert_eq!(one, other);
    let histories: std::collections::BTreeSet<&String> = one.values().map(|(history, _)| history).collect();
    assert_eq!(histories.len(), 20, "two seeds have one history");
}

#[test]
fn what_it_covers_are_sentences() {
    let output = seeds(30, &[]).wait_with_output().unwrap();
    let all = rosterkit_sim::report::all_sentences();
    assert!(all.len() > 200, "{}", all.len());
    let mut covered = std::collections::BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        covered.extend(line["covered"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    }
    let unknown: Vec<_> = covered.iter().filter(|id| !all.contains(id.as_str())).collect();
    assert!(unknown.is_empty(), "there are no such sentences: {unknown:?}");
    assert!(covered.len() > 60, "only {covered:?}");
}

#[test]
fn every_planted_bug_is_found_within_a_minute() {
    let output = Command::new(PROGRAM).arg("--bugs").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    println!("{said}");
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains(": found,")).count(), 18, "{said}");
}

#[test]
fn a_failing_run_is_made_shorter_and_fails_again() {
    let arguments = ["--seeds", "10", "--plant", "ClaimBeforeAcknowledgement", "--crash-points", "10"];
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let replay = said.lines().last().unwrap().strip_prefix("cargo xtask sim ").expect(&said);
    let steps = replay.split("--only ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(steps.split(',').count() < 12, "{steps}");
    let again = Command::new(PROGRAM).args(replay.split(' ')).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{}", String::from_utf8_lossy(&again.stdout));
}
