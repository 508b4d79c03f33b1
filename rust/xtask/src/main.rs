//! One entry for people and for CI: `cargo xtask demo`, `cargo xtask test`, and what they are made of.

mod behaviour;
mod bench;
mod bindings;
mod broken;
mod docs;
mod fuzz;
mod kotlin;
mod mended;
mod mutants;
mod needs;
mod python;
mod run;
mod sim;
mod swift;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo                      runs the main job on real accounts, and checks itself
cargo xtask test [--all]              runs every test; --all also format, lints and licences, and fails on SKIPPED
cargo xtask behaviour [--check]       writes docs/behaviour-tests.md: which test proves which sentence
cargo xtask bindings [--check]        generates bindings/ from the built library, and checks what it exports
cargo xtask python                    the Python package: wheel, mypy, pytest
cargo xtask kotlin                    the generated Kotlin on the JVM: Maven, JUnit
cargo xtask swift                     the generated Swift: build, XCTest
cargo xtask docs [--check]            writes docs/python-api.md, the reference of the Python package
cargo xtask broken SEED|ID|all         breaks sentences of docs/behaviour.md, 30 drawn by a seed, and sees their tests fail
cargo xtask mutants                   breaks core's rules one by one; fails on what no test notices (minutes)
cargo xtask fuzz [seconds]            looks for bytes that the peer link or the C boundary cannot take (20 s each)
cargo xtask sim [--seeds N] [--minutes M] [--json FILE]  runs worlds by seed, on disks and links that fail; --bugs finds planted bugs
cargo xtask bench engine [--json F] [NAME …]  measures the engine against raw SQLite, Python against a bare callback
cargo xtask fixture xep0227 [--check] makes the XEP-0227 export anew with a real server and a real client (Debian)
cargo xtask fixture database          makes the database of this version that later ones must open";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["demo"] => needs::check(&[needs::RUST, needs::C, needs::PYTHON]).and_then(|()| {
            run::say("building the wheel");
            python::demo()
        }),
        ["test", rest @ ..] if rest.iter().all(|a| *a == "--all") => test::all(!rest.is_empty()),
        ["behaviour"] => behaviour::write(),
        ["behaviour", "--check"] => behaviour::check().and_then(|count| {
            println!("{count} sentences, each with its test; {} with a switch", broken::check()?);
            Ok(())
        }),
        ["broken", which] => broken::run(which),
        ["bindings"] => needs::check(&[needs::RUST, needs::C]).and_then(|()| bindings::write()),
        ["bindings", "--check"] => needs::check(&[needs::RUST, needs::C]).and_then(|()| bindings::check()),
        ["python"] => needs::check(&[needs::RUST, needs::C]).and_then(|()| passed(python::test()?)),
        ["kotlin"] => needs::check(&[needs::RUST, needs::C, needs::JDK, needs::MAVEN])
            .and_then(|()| passed(kotlin::test()?)),
        ["swift"] => {
            needs::check(&[needs::RUST, needs::C]).and_then(|()| passed(swift::test(&swift::compiler()?)?))
        }
        ["docs"] => needs::check(&[needs::PYTHON]).and_then(|()| docs::write()),
        ["docs", "--check"] => needs::check(&[needs::PYTHON]).and_then(|()| docs::check()),
        ["mutants"] => mutants::run(),
        ["fuzz"] => fuzz::run(fuzz::SECONDS),
        ["fuzz", seconds] => seconds.parse().map_err(|_| HELP.to_owned()).and_then(fuzz::run),
        ["sim", rest @ ..] => sim::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["fixture", "xep0227", rest @ ..] if rest.iter().all(|a| *a == "--check") => {
            needs::check(&[needs::PYTHON]).and_then(|()| {
                let script = run::root().join("tests/fixtures/xep0227/make.py");
                let script = script.display().to_string();
                let work = run::target().join("fixture").display().to_string();
                let mut command = vec![script.as_str(), work.as_str()];
                command.extend(rest);
                run::command("python3", &command)
            })
        }
        ["fixture", "database"] => {
            let place = run::root().join("tests/fixtures/databases").display().to_string();
            let program =
                ["run", "--release", "--quiet", "--package", "rosterkit-promises", "--bin", "fixture"];
            run::cargo(&[&program[..], &["--", &place]].concat())
        }
        [] | ["--help" | "help"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("there is no such command\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn passed((success, _): (bool, String)) -> Result<(), String> {
    if success { Ok(()) } else { Err("the tests failed".into()) }
}
