//! What Python costs, measured in Python: `tests/bench/python/events.py`, with the package that `cargo xtask bench` makes.

use crate::measure::Row;
use std::path::Path;
use std::process::Command;

/// Where the package is; without it there is nothing to measure.
const PACKAGE: &str = "ROSTERKIT_BENCH_PYTHON";

/// Events delivered to Python against a bare callback with the same records, sends in flight against one by one, and how long
/// it takes until two people can talk in a test.
pub fn python(directory: &Path) -> Vec<Row> {
    let Some(package) = std::env::var_os(PACKAGE) else {
        eprintln!("left out: `cargo xtask bench engine python` makes the package that it needs");
        return Vec::new();
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/events.py");
    let output = Command::new("python3").arg(script).arg(directory).env("PYTHONPATH", package).output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(row).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split(' ').collect();
    let number = |text: &str| text.parse().expect("a number");
    match fields[..] {
        [name, value, "ms"] => Row::plain(name, number(value), "ms"),
        [name, value, "events/s", baseline] => Row::rate(name, number(value), "events/s", number(baseline)),
        [name, value, _, baseline] => Row::rate(name, number(value), "messages/s", number(baseline)),
        _ => panic!("no figure: {line}"),
    }
}
