//! `cargo xtask mutants`: breaks the rules of core one at a time, and sees what its unit tests do not notice.

use crate::needs::{self, C, RUST};
use crate::run;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// What is mutated: who may reach whom, the subscriptions and what edits make of them, and delivery.
const FILES: &[&str] = &[
    "rust/core/src/admission.rs",
    "rust/core/src/roster/subscription.rs",
    "rust/core/src/roster/decide.rs",
    "rust/core/src/delivery/**",
];

/// The mutants that may survive, each with its reason.
const SURVIVORS: &str = "rust/core/mutants.txt";

/// Each mutant is a build and a run of the tests: with more of them nobody waits for the end.
const MOST: usize = 300;

/// Without debug symbols a mutant is linked sooner. A property that fails has done its part: its input is neither
/// made smaller nor kept. The seed is fixed, so that what a property catches it catches every time.
const ENVIRONMENT: &[&str] = &[
    "CARGO_PROFILE_DEV_DEBUG=0",
    "CARGO_PROFILE_TEST_DEBUG=0",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE=true",
    "PROPTEST_MAX_SHRINK_ITERS=0",
    "PROPTEST_RNG_SEED=1",
];

/// The exit codes after which every mutant was tried: all were caught, some were missed, some hung.
const TRIED: &[i32] = &[0, 2, 3];

pub(crate) fn run() -> Result<(), String> {
    needs::check(&[RUST, C])?;
    let reasons = reasons(&read(&run::root().join(SURVIVORS))?)?;
    let program = needs::tool("cargo-mutants")?;
    let work = run::root().join(run::target()).join("mutants");
    let output = work.display().to_string();
    // The checkout is copied, so that a run that is killed leaves no mutant behind; what is built of the
    // dependencies outlives the copy.
    let target = format!("CARGO_TARGET_DIR={output}");
    let mut command = ENVIRONMENT.to_vec();
    command.extend([&target, &program, "mutants", "--no-config", "--package", "rosterkit-core"]);
    command.extend(FILES.iter().flat_map(|file| ["--file", file]));

    let list = run::quietly("env", &[command.as_slice(), &["--list"]].concat())?;
    let count = list.lines().count();
    if !(1..=MOST).contains(&count) {
        return Err(format!("there are {count} mutants, and from 1 to {MOST} are tried"));
    }
    // A few times what the tests take on a slow machine: whoever takes longer loops.
    command.extend([
        "--jobs",
        "1",
        "--cap-lints",
        "true",
        "--minimum-test-timeout",
        "20",
        "--output",
        &output,
    ]);
    command.extend(["--", "--lib"]);
    let begun = Instant::now();
    let status = run::status("env", &command)?;
    if !status.code().is_some_and(|code| TRIED.contains(&code)) {
        return Err(format!("not every mutant was tried: {status}"));
    }
    let ended = |how: &str| -> Result<Vec<String>, String> {
        let file = work.join("mutants.out").join(how).with_extension("txt");
        Ok(read(&file)?.lines().map(without_place).collect())
    };
    let [caught, hung, unviable, missed] =
        [ended("caught")?, ended("timeout")?, ended("unviable")?, ended("missed")?];
    println!(
        "{count} mutants in {:.0} s: {} caught, {} more by a test that hangs, {} do not compile, {} missed",
        begun.elapsed().as_secs_f64(),
        caught.len(),
        hung.len(),
        unviable.len(),
        missed.len()
    );
    compare(&missed, &reasons)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The mutants that the file gives a reason for.
fn reasons(file: &str) -> Result<Vec<String>, String> {
    let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once(" — ") {
            Some((mutant, reason)) if !reason.trim().is_empty() => Ok(mutant.trim().to_owned()),
            _ => Err(format!("{SURVIVORS}: no reason is given for: {line}")),
        })
        .collect()
}

/// A mutant without its line and column, which every edit above it would change.
fn without_place(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(line), Some(column), Some(text))
            if [line, column].iter().all(|number| number.parse::<u32>().is_ok()) =>
        {
            format!("{file}:{text}")
        }
        _ => mutant.to_owned(),
    }
}

/// Every missed mutant must have its reason, and every reason its mutant; a text as often as it is missed.
fn compare(missed: &[String], reasons: &[String]) -> Result<(), String> {
    let unexplained = without(missed, reasons);
    let stale = without(reasons, missed);
    let mut wrong = String::new();
    if !unexplained.is_empty() {
        wrong +=
            &format!("\nmissed, and without a reason in {SURVIVORS}:\n    {}", unexplained.join("\n    "));
    }
    if !stale.is_empty() {
        wrong += &format!("\nin {SURVIVORS}, and not missed any more:\n    {}", stale.join("\n    "));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.trim_start().to_owned()) }
}

/// What is left of `all` when each of `taken` is taken out once.
fn without(all: &[String], taken: &[String]) -> Vec<String> {
    let mut left = all.to_vec();
    for text in taken {
        if let Some(at) = left.iter().position(|other| other == text) {
            left.remove(at);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn mutants_and_reasons_are_read() {
        assert_eq!(
            without_place("core/a.rs:61:5: replace x -> a::B with b::C"),
            "core/a.rs: replace x -> a::B with b::C"
        );
        assert_eq!(without_place("core/a.rs: replace x::y with ()"), "core/a.rs: replace x::y with ()");
        let file = "# Comment.\n\na.rs: replace > with >= in f — equal is never asked\n";
        assert_eq!(reasons(file), Ok(texts(&["a.rs: replace > with >= in f"])));
        assert!(reasons("a.rs: replace > with >= in f\n").is_err());
        assert!(reasons("a.rs: replace > with >= in f — \n").is_err());
    }

    #[test]
    fn a_survivor_needs_a_reason_and_a_reason_a_survivor() {
        let (none, one, two) = (texts(&[]), texts(&["a"]), texts(&["a", "a"]));
        assert_eq!(compare(&none, &none), Ok(()));
        assert_eq!(compare(&two, &two), Ok(()));
        for (missed, reasons, word) in [
            (&one, &none, "without a reason"),
            (&two, &one, "without a reason"),
            (&one, &two, "not missed any more"),
        ] {
            assert!(compare(missed, reasons).is_err_and(|error| error.contains(word)));
        }
    }
}
