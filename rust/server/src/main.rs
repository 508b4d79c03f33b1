//! `rosterkit`: what there is to do with a file outside of a program that has it open.

mod check;
mod progress;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

const HELP: &str = "\
rosterkit check FILE [--salvage NEW] [--json]
    Looks at every page of a file and of the write-ahead log beside it, and says what is damaged and what that affects.
    The file is to be closed; nothing of it is changed.
    --salvage NEW  brings everything that is whole into a new file
    --json         says it as JSON
    Exit codes: 0 the file is whole, 1 damage was found, 2 it could not be checked, or not be salvaged.
rosterkit help";

/// The file is damaged.
const DAMAGED: u8 = 1;
/// What was asked could not be done.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    let result = match words.as_slice() {
        ["check", rest @ ..] if rest.contains(&"--help") => help(),
        ["check", ..] => check::Asked::parse(&arguments[1..]).and_then(|asked| check::run(&asked)),
        [] | ["help" | "--help" | "-h"] => help(),
        _ => Err(format!("there is no such command\n\n{HELP}")),
    };
    result.unwrap_or_else(|error| {
        // Where this cannot be said either, the exit code says it.
        let _ = writeln!(std::io::stderr(), "rosterkit: {error}");
        ExitCode::from(FAILED)
    })
}

fn help() -> Result<ExitCode, String> {
    say(&format!("{HELP}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to the output. Who reads it may have seen enough; that it has no room is a failure.
fn say(text: &str) -> Result<(), String> {
    let mut output = std::io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("writing the output: {error}")),
        _ => Ok(()),
    }
}
