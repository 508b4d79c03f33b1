//! `cargo xtask bench`: the measurements, and what those in other languages need.

use crate::{bindings, needs, run};
use std::fs;
use std::path::Path;

pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    needs::check(&[needs::RUST, needs::C, needs::PYTHON])?;
    let package = python_package()?;
    let cargo = run::cargo_program();
    let mut command = vec![package.as_str(), cargo.as_str(), "run", "--release", "--quiet"];
    command.extend(["--package", "rosterkit-bench", "--"]);
    command.extend(arguments);
    run::command("env", &command)
}

/// The Python package with a library that has the baseline in it: where it is, as a variable.
fn python_package() -> Result<String, String> {
    run::cargo(&["build", "--release", "--quiet", "--package", "rosterkit-ffi", "--features", "bench"])?;
    let target = run::root().join(run::target());
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = format!("{prefix}rosterkit_ffi{suffix}");
    let built = target.join("release").join(&library);
    let place = target.join("bench-python");
    let package = place.join("rosterkit");
    let generated = package.join("_generated");
    let _ = fs::remove_dir_all(&place);
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(&generated).map_err(|e| failed(&generated, e))?;
    let sources = run::root().join("python/src/rosterkit");
    for entry in fs::read_dir(&sources).map_err(|e| failed(&sources, e))?.filter_map(Result::ok) {
        if entry.path().is_file() {
            fs::copy(entry.path(), package.join(entry.file_name())).map_err(|e| failed(&entry.path(), e))?;
        }
    }
    let (from, to) = (built.display().to_string(), generated.display().to_string());
    let generator = bindings::generator()?.display().to_string();
    run::quietly(&generator, &["generate", &from, "--language", "python", "--no-format", "--out-dir", &to])?;
    fs::copy(&built, generated.join(&library)).map_err(|e| failed(&built, e))?;
    let module = generated.join("__init__.py");
    fs::write(&module, "from . import rosterkit\n").map_err(|e| failed(&module, e))?;
    Ok(format!("ROSTERKIT_BENCH_PYTHON={}", place.display()))
}
