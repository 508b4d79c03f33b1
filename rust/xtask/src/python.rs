//! The Python package: its wheel, its types, its tests.

use crate::{bindings, needs, run};
use std::fs;
use std::path::PathBuf;

/// What builds and checks it, from PyPI, as we know it to work.
const TOOLS: &[&str] = &["maturin==1.16.0", "mypy==2.4.1", "pytest==9.2.0"];

/// Builds the wheel, installs it in an environment of its own, checks its types and runs its tests: what pytest says.
pub(crate) fn test() -> Result<(bool, String), String> {
    needs::check(&[needs::PYTHON])?;
    let python = environment()?;
    let wheel = wheel(&python)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run::command(&python, &[&pip[..], &["--force-reinstall", "--no-deps", &wheel]].concat())?;
    run::command(
        &python,
        &[
            "-m",
            "mypy",
            "--config-file",
            "python/pyproject.toml",
            "python/src",
            "python/tests",
            "python/demo",
        ],
    )?;
    let exported = format!("ROSTERKIT_EXPORTED={}", exported()?.display());
    let pytest = ["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--durations=5", "python/tests"];
    run::captured("env", &[&[exported.as_str(), python.as_str()], &pytest[..]].concat())
}

/// Installs the wheel as its users do, in an environment of its own, and runs an ordinary program with it.
pub(crate) fn demo() -> Result<(), String> {
    let wheel = wheel(&environment()?)?;
    let folder = work().join("demo");
    let python = folder.join("bin/python").display().to_string();
    if !needs::works(&[&python, "--version"]) {
        run::command("python3", &["-m", "venv", "--clear", &folder.display().to_string()])?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run::command(&python, &[&pip[..], &["--force-reinstall", "--no-deps", &wheel]].concat())?;
    run::command(&python, &["python/demo/demo.py"])
}

/// Writes what the installed library exports into a file, for the test that calls all of it.
fn exported() -> Result<PathBuf, String> {
    let installed =
        run::quietly("find", &[&work().join("venv/lib").display().to_string(), "-name", "*rosterkit_ffi*"])?;
    let [library] = installed.lines().collect::<Vec<_>>()[..] else {
        return Err(format!("one library is installed, not these: {installed}"));
    };
    let generator = bindings::generator()?.display().to_string();
    let exported = run::quietly(&generator, &["exported", library])?;
    let file = work().join("exported.json");
    fs::write(&file, exported).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(file)
}

fn work() -> PathBuf {
    run::root().join(run::target()).join("python")
}

/// An environment with the tools in it: its Python.
fn environment() -> Result<String, String> {
    let folder = work().join("venv");
    let python = folder.join("bin/python").display().to_string();
    let stamp = folder.join("rosterkit-tools");
    let wanted = TOOLS.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) && needs::works(&[&python, "--version"])
    {
        return Ok(python);
    }
    run::say("installing maturin, mypy and pytest");
    run::command("python3", &["-m", "venv", "--clear", &folder.display().to_string()])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run::command(&python, &[&pip[..], TOOLS].concat())?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(python)
}

/// Builds the wheel: its file. Maturin looks for a generator of this name, and would else build one of another version.
fn wheel(python: &str) -> Result<String, String> {
    let generator = bindings::generator()?;
    let tools = work().join("path");
    let named = tools.join("uniffi-bindgen");
    fs::create_dir_all(&tools)
        .and_then(|()| fs::copy(&generator, &named).map(|_| ()))
        .map_err(|e| format!("{}: {e}", named.display()))?;
    let wheels = work().join("wheels");
    let _ = fs::remove_dir_all(&wheels);
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("PATH={}:{}:{path}", tools.display(), work().join("venv/bin").display());
    let folder = wheels.display().to_string();
    // As pip does it for everybody, with the maturin that is there.
    let build = ["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-build-isolation"];
    let command =
        [&[path.as_str(), python], &build[..], &["--no-deps", "--wheel-dir", &folder, "./python"]].concat();
    run::command("env", &command)?;
    let made: Vec<PathBuf> =
        fs::read_dir(&wheels).map_err(|e| e.to_string())?.filter_map(Result::ok).map(|e| e.path()).collect();
    match made.as_slice() {
        [wheel] => Ok(wheel.display().to_string()),
        _ => Err(format!("{} wheels were made, not one", made.len())),
    }
}
