//! The generated Swift: the compiler of the machine, or on Debian one in a folder of its own; XCTest.

use crate::{needs, run};

/// The program and its first arguments that are `swift` here; why there is none.
pub(crate) fn compiler() -> Result<Vec<String>, String> {
    if needs::works(&["swift", "--version"]) {
        return Ok(vec!["swift".into()]);
    }
    let is_debian = needs::works(&["grep", "-q", "^ID=debian$", "/etc/os-release"]);
    if !needs::is_root() || !is_debian {
        return Err("missing: Swift. Install it from swift.org, or run this as root on Debian".into());
    }
    let target = run::root().join(run::target());
    let [root, target, repository] =
        [target.join("swift/root"), target, run::root()].map(|folder| folder.display().to_string());
    let inside = ["bash", "rust/xtask/swift-root.sh", &root, &repository, &target, "swift"];
    run::say("Swift in a folder of its own");
    run::command(inside[0], &[&inside[1..], &["--version"]].concat())
        .map_err(|error| format!("missing: Swift, which could not be fetched: {error}"))?;
    Ok(inside.map(String::from).to_vec())
}

/// Builds the library and runs `tests/swift`: what XCTest says.
pub(crate) fn test(compiler: &[String]) -> Result<(bool, String), String> {
    run::cargo(&["build", "--quiet", "--package", "rosterkit-ffi"])?;
    let [program, before @ ..] = compiler else {
        return Err("no compiler".into());
    };
    let target = run::root().join(run::target());
    let package = run::root().join("tests/swift").display().to_string();
    let build = target.join("swift/build").display().to_string();
    let library = target.join("debug").display().to_string();
    // Found when it is linked, and when it is run.
    let linking = ["-Xlinker", "-L", "-Xlinker", &library, "-Xlinker", "-rpath", "-Xlinker", &library];
    let test = ["test", "--disable-swift-testing", "--package-path", &package, "--scratch-path", &build];
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    run::captured(program, &[&before[..], &test, &linking].concat())
}
