//! `cargo xtask docs`: the reference of the Python package, made from its sources and committed.

use crate::run;
use std::fs;

const PYTHON: &str = "docs/python-api.md";

pub(crate) fn write() -> Result<(), String> {
    fs::write(run::root().join(PYTHON), python()?).map_err(|e| format!("{PYTHON}: {e}"))
}

/// Fails when what is committed is something else.
pub(crate) fn check() -> Result<(), String> {
    if fs::read_to_string(run::root().join(PYTHON)).is_ok_and(|committed| Ok(committed) == python()) {
        return Ok(());
    }
    Err(format!("{PYTHON} is not what the sources say: run `cargo xtask docs`"))
}

fn python() -> Result<String, String> {
    run::quietly("python3", &["python/api.py"])
}
