//! The demo: a host program that links the engine, on the accounts of a real server.
//!
//! Without arguments it is the director: it runs each act in a process of its own, kills one of them in the middle of a
//! callback, and checks at the end that everything that was to be shown was seen.

mod acts;
mod stage;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] => direct(),
        ["import", file] => acts::import(Path::new(file)),
        ["conversation", file] => acts::conversation(Path::new(file)),
        ["killed", file] => acts::killed(Path::new(file)),
        ["again", file, id] => acts::again(Path::new(file), id),
        ["offline", file] => acts::offline(Path::new(file)),
        _ => Err("usage: rosterkit-host".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What must have been seen when the curtain falls, in the order in which it is seen.
const SHOWN: [&str; 14] = [
    "import",
    "roster by groups",
    "buddy request",
    "confirmed on both sides",
    "presence aggregated",
    "typing",
    "message delivered by callback",
    "copy",
    "idempotent repeat",
    "killed between delivery and return",
    "redelivered with its id",
    "offline messages in order",
    "original times",
    "history",
];

fn direct() -> Outcome {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("im.db");
    let file = file.to_str().ok_or("the temporary folder has a strange name")?;
    let mut seen = Vec::new();
    println!("RosterKit: a host program, an SQLite file, and the accounts of an ejabberd\n");
    act(&["import", file], "The accounts come in", &mut seen, false)?;
    act(&["conversation", file], "A conversation", &mut seen, false)?;
    let killed = act(&["killed", file], "A host dies in the middle of a callback", &mut seen, true)?;
    let id = killed.ok_or("the host that was to be killed got no message")?;
    stage_note("the process was killed with SIGKILL; its listener never returned");
    seen.push("killed between delivery and return".into());
    act(&["again", file, &id], "The next host on the same file", &mut seen, false)?;
    act(&["offline", file], "Who was away", &mut seen, false)?;
    let missing: Vec<&&str> = SHOWN.iter().filter(|what| !seen.iter().any(|s| s == **what)).collect();
    if !missing.is_empty() {
        return Err(format!("not seen: {missing:?}").into());
    }
    println!("\nseen: {}", SHOWN.join(", "));
    Ok(())
}

fn stage_note(text: &str) {
    println!("  · {text}");
}

/// Runs an act in a process of its own and shows what it says. With `kill` it is killed as soon as it says that a
/// message is in its listener's hands, whose id is given back.
fn act(
    arguments: &[&str],
    title: &str,
    seen: &mut Vec<String>,
    kill: bool,
) -> Result<Option<String>, Box<dyn std::error::Error>> {
    println!("── {title}");
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("a process without an output")?;
    let mut in_hand = None;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(what) = line.strip_prefix("SEEN ") {
            seen.push(what.into());
        } else if let Some(id) = line.strip_prefix("IN HAND ") {
            in_hand = Some(id.to_owned());
            if kill {
                child.kill()?;
            }
        } else {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !kill && !status.success() {
        return Err(format!("the act {:?} failed: {status}", arguments[0]).into());
    }
    Ok(in_hand)
}
