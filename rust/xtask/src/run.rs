//! Running other programs from the root of the checkout.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from)
}

/// Cargo's target directory, wherever its variable puts it.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Says what is going on.
pub(crate) fn say(what: &str) {
    println!("── {what}");
}

pub(crate) fn cargo(arguments: &[&str]) -> Result<(), String> {
    command(&cargo_program(), arguments)
}

pub(crate) fn cargo_program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// Runs a program, showing what it prints.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let status = status(program, arguments)?;
    if status.success() { Ok(()) } else { Err(format!("{program} {} failed: {status}", arguments.join(" "))) }
}

/// The same for a program whose ends mean different things.
pub(crate) fn status(program: &str, arguments: &[&str]) -> Result<ExitStatus, String> {
    Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{program} cannot be run: {error}"))
}

/// Runs a program, keeping what it prints and showing its errors only.
pub(crate) fn quietly(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} {} failed: {}", arguments.join(" "), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program, showing what it prints and keeping it.
pub(crate) fn captured(program: &str, arguments: &[&str]) -> Result<(bool, String), String> {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let mut kept = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    let status = child.wait().map_err(|error| format!("{program}: {error}"))?;
    Ok((status.success(), kept))
}
