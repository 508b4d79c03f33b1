//! Says which revision of the sources the library is made of.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let revision = git(&["rev-parse", "HEAD"]);
    println!("cargo:rustc-env=ROSTERKIT_GIT_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    // The log of HEAD gets a line whenever the revision changes.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
