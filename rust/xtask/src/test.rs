//! `cargo xtask test`: every step, and a table of what ran and what did not.

use crate::needs::{self, C, GIT, JDK, MAVEN, PYTHON, RUST};
use crate::{behaviour, bindings, broken, docs, fuzz, kotlin, python, run, sim, swift};
use std::time::{Duration, Instant};

/// How a step ended.
enum Outcome {
    Ran,
    Skipped(String),
    /// It needs the network beyond the package registries; allowed even with `--all`.
    Offline(String),
    Failed(String),
}

struct Step {
    name: &'static str,
    /// Minutes it may take on two cores; over it is said, not failed: machines differ.
    budget: u64,
    run: fn() -> (Outcome, Counts),
}

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// What everybody runs.
const STEPS: &[Step] = &[
    Step {
        name: "build",
        budget: 8,
        run: || {
            // What only the measurements use is built there.
            let measured = &["check", "--package", "rosterkit-ffi", "--features", "bench"];
            of(run::cargo(&["build", "--workspace", "--all-targets"]).and_then(|()| run::cargo(measured)))
        },
    },
    Step {
        name: "unit, model and scenario tests",
        budget: 4,
        run: || {
            cargo_test(&[
                "test",
                "--workspace",
                "--exclude",
                "rosterkit-promises",
                "--exclude",
                "rosterkit-sim",
            ])
        },
    },
    Step { name: "model: random commands, planted bugs", budget: 3, run: || promises(&["model"]) },
    Step {
        // Not optimized: building it would take longer than running it takes.
        name: "interleavings: mailboxes, credits, shutdown",
        budget: 2,
        run: || {
            cargo_test(&["test", "--package", "rosterkit", "--features", "shuttle", "--lib", "interleavings"])
        },
    },
    Step { name: "simulated world: 1,000 seeds", budget: 4, run: || of(sim::test()) },
    Step {
        name: "simulated world: planted bugs, equal histories",
        budget: 3,
        run: || cargo_test(&["test", "--release", "--package", "rosterkit-sim"]),
    },
    Step { name: "recorded disk", budget: 4, run: || promises(&["recorded_disk"]) },
    Step {
        name: "damage, files of other versions",
        budget: 2,
        run: || promises(&["damage", "damaged_rows", "another_sqlite", "growing_old"]),
    },
    Step { name: "kills", budget: 3, run: || promises(&["kills"]) },
    Step { name: "two worlds: a bad pipe, kills", budget: 3, run: || promises(&["two_worlds"]) },
    Step { name: "hours and days in virtual time", budget: 2, run: || promises(&["long_runs"]) },
    Step {
        name: "threads, shutdown, nothing left behind",
        budget: 2,
        run: || promises(&["lifecycle", "panics", "logs", "sight", "admission"]),
    },
    Step { name: "bindings are what the generator makes", budget: 3, run: || of(bindings::check()) },
    Step { name: "Python: wheel, mypy, pytest", budget: 3, run: || counted(python::test(), count_of_pytest) },
    Step { name: "Kotlin on the JVM: Maven, JUnit", budget: 2, run: kotlin_tests },
    Step { name: "Swift on Linux: build, XCTest", budget: 4, run: swift_tests },
    Step { name: "the Python reference is what the sources say", budget: 1, run: || of(docs::check()) },
    Step { name: "demo", budget: 2, run: || of(python::demo()) },
    Step {
        name: "behaviour: each sentence has a test",
        budget: 1,
        run: || of(behaviour::check().and_then(|_| broken::check()).map(|_| ())),
    },
];

/// What CI runs besides.
const CHECKS: &[Step] = &[
    Step { name: "format", budget: 1, run: || of(run::cargo(&["fmt", "--all", "--check"])) },
    Step {
        name: "lints",
        budget: 2,
        run: || of(run::cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])),
    },
    Step { name: "licences, bans, sources", budget: 4, run: || deny(&["bans", "licenses", "sources"]) },
    Step { name: "advisories", budget: 1, run: advisories },
    Step { name: "fuzzing", budget: 4, run: || of(fuzz::run(fuzz::SECONDS)) },
    Step {
        name: "XEP-0227 fixture made anew",
        budget: 3,
        run: || {
            of(run::cargo(&["run", "--quiet", "--package", "xtask", "--", "fixture", "xep0227", "--check"]))
        },
    },
];

pub(crate) fn all(everything: bool) -> Result<(), String> {
    needs::check(&[RUST, C, GIT, PYTHON])?;
    let steps: Vec<&Step> = STEPS.iter().chain(CHECKS.iter().filter(|_| everything)).collect();
    let mut rows = Vec::new();
    let mut total = Counts::default();
    let (mut failed, mut skipped) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        run::say(&format!("[{}/{}] {}", number + 1, steps.len(), step.name));
        let begun = Instant::now();
        let (outcome, counts) = (step.run)();
        let took = begun.elapsed();
        total.passed += counts.passed;
        total.failed += counts.failed;
        let (word, why) = match outcome {
            Outcome::Ran => ("RAN", String::new()),
            Outcome::Offline(why) => ("SKIPPED-OFFLINE", why),
            Outcome::Skipped(why) => {
                skipped += 1;
                ("SKIPPED", why)
            }
            Outcome::Failed(why) => {
                failed += 1;
                ("FAILED", why)
            }
        };
        let over = if took > Duration::from_secs(step.budget * 60) { " (over its budget)" } else { "" };
        rows.push(format!(
            "{word:<16} {:>5.0} s  {:>4}  {}{over} {why}",
            took.as_secs_f64(),
            counts.passed,
            step.name
        ));
    }
    println!("\n{:<16} {:>7}  {:>4}  step", "", "time", "ok");
    for row in rows {
        println!("{row}");
    }
    // Steps that count no tests of their own count as one.
    println!("\n{} passed, {} failed, {skipped} skipped", total.passed, total.failed.max(failed));
    if failed > 0 {
        return Err(format!("{failed} steps failed"));
    }
    if everything && skipped > 0 {
        return Err(format!("{skipped} steps were skipped"));
    }
    Ok(())
}

fn of(result: Result<(), String>) -> (Outcome, Counts) {
    (result.map_or_else(Outcome::Failed, |()| Outcome::Ran), Counts::default())
}

/// Tests of what crosses rooms, optimized.
fn promises(tests: &[&str]) -> (Outcome, Counts) {
    let mut command = vec!["test", "--release", "--package", "rosterkit-promises"];
    command.extend(tests.iter().flat_map(|test| ["--test", test]));
    cargo_test(&command)
}

/// Runs `cargo test` and adds up its closing lines.
fn cargo_test(arguments: &[&str]) -> (Outcome, Counts) {
    counted(run::captured(&run::cargo_program(), arguments), count)
}

/// What a run of tests said, and how many there were by it.
fn counted(said: Result<(bool, String), String>, count: fn(&str) -> Counts) -> (Outcome, Counts) {
    match said {
        Err(error) => (Outcome::Failed(error), Counts::default()),
        Ok((success, output)) => {
            let counts = count(&output);
            let outcome = match (success, counts.passed) {
                (false, _) => Outcome::Failed("see above".into()),
                (true, 0) => Outcome::Failed("no test ran".into()),
                (true, _) => Outcome::Ran,
            };
            (outcome, counts)
        }
    }
}

fn kotlin_tests() -> (Outcome, Counts) {
    match needs::check(&[JDK, MAVEN]) {
        Err(missing) => (Outcome::Skipped(missing), Counts::default()),
        Ok(()) => counted(kotlin::test(), count_of_surefire),
    }
}

fn swift_tests() -> (Outcome, Counts) {
    match swift::compiler() {
        Err(missing) => (Outcome::Skipped(missing), Counts::default()),
        Ok(compiler) => counted(swift::test(&compiler), count_of_xctest),
    }
}

/// As in `2 failed, 31 passed, 1 skipped in 12.34s`.
fn count_of_pytest(output: &str) -> Counts {
    let last = output.lines().rev().find(|line| line.contains(" passed") || line.contains(" failed"));
    let words: Vec<&str> =
        last.unwrap_or_default().split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let number = |what: &str| {
        let pair = words.windows(2).find(|pair| pair[1] == what)?;
        pair[0].parse::<u64>().ok()
    };
    Counts { passed: number("passed").unwrap_or(0), failed: number("failed").unwrap_or(0) }
}

/// As in `Tests run: 26, Failures: 1, Errors: 0, Skipped: 0`, after such a line for each class.
fn count_of_surefire(output: &str) -> Counts {
    let last = output.lines().rev().find(|line| line.contains("Tests run: ")).unwrap_or_default();
    let number = |what: &str| number_after(last, what);
    let failed = number("Failures: ") + number("Errors: ");
    Counts { passed: number("Tests run: ").saturating_sub(failed + number("Skipped: ")), failed }
}

/// As in `Executed 25 tests, with 1 failure (0 unexpected) in 1.2 (1.2) seconds`, the last of which is of all.
fn count_of_xctest(output: &str) -> Counts {
    let last = output.lines().rev().find(|line| line.contains("Executed ")).unwrap_or_default();
    let failed = number_after(last, "with ");
    Counts { passed: number_after(last, "Executed ").saturating_sub(failed), failed }
}

/// The number that stands behind a word; 0 where it is not.
fn number_after(line: &str, what: &str) -> u64 {
    let after = line.split_once(what).map_or("", |(_, after)| after);
    let digits = after.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

fn count(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let number = |what: &str| {
            let before = line.split(what).next()?;
            before.rsplit([' ', '.', ';']).find(|word| !word.is_empty())?.parse::<u64>().ok()
        };
        counts.passed += number(" passed").unwrap_or(0);
        counts.failed += number(" failed").unwrap_or(0);
    }
    counts
}

fn deny(checks: &[&str]) -> (Outcome, Counts) {
    let program = match needs::tool("cargo-deny") {
        Ok(program) => program,
        Err(error) => return (Outcome::Skipped(error), Counts::default()),
    };
    let mut command = vec!["--all-features", "check"];
    command.extend(checks);
    of(run::command(&program, &command))
}

fn advisories() -> (Outcome, Counts) {
    let reachable = needs::works(&["git", "ls-remote", "--exit-code", ADVISORIES, "HEAD"]);
    if !reachable {
        return (Outcome::Offline("the advisory database is out of reach".into()), Counts::default());
    }
    deny(&["advisories"])
}

/// Where the advisories are kept.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pytest_is_understood() {
        let counts = count_of_pytest("....F\n1 failed, 4 passed, 2 skipped in 3.21s\n");
        assert_eq!((counts.passed, counts.failed), (4, 1));
        let counts = count_of_pytest("12 passed in 0.10s\n");
        assert_eq!((counts.passed, counts.failed), (12, 0));
    }

    #[test]
    fn surefire_is_understood() {
        let counts = count_of_surefire(
            "[INFO] Tests run: 9, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.4 s -- in OneTest\n\
             [ERROR] Tests run: 26, Failures: 2, Errors: 1, Skipped: 3\n[INFO] BUILD FAILURE\n",
        );
        assert_eq!((counts.passed, counts.failed), (20, 3));
        assert_eq!(count_of_surefire("[INFO] BUILD FAILURE").passed, 0);
    }

    #[test]
    fn xctest_is_understood() {
        let counts = count_of_xctest(
            "\t Executed 4 tests, with 0 failures (0 unexpected) in 0.1 (0.1) seconds\n\
             \t Executed 25 tests, with 1 failure (0 unexpected) in 1.2 (1.2) seconds\n",
        );
        assert_eq!((counts.passed, counts.failed), (24, 1));
    }

    #[test]
    fn closing_lines_are_added_up() {
        let output = "running 3 tests\n\
            test result: ok. 31 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.08s\n\
            test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\n";
        let counts = count(output);
        assert_eq!((counts.passed, counts.failed), (35, 1));
    }
}
