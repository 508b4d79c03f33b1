//! `cargo xtask sim`: the simulated world.

use crate::{needs, run};

/// How many seeds CI runs.
const SEEDS: &str = "1000";

pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    needs::check(&[needs::RUST, needs::C])?;
    let mut command = vec!["run", "--release", "--quiet", "--package", "rosterkit-sim", "--"];
    command.extend(arguments);
    run::cargo(&command)
}

/// What CI runs of it.
pub(crate) fn test() -> Result<(), String> {
    run(&["--seeds", SEEDS])
}
