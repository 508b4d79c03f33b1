//! The program: its words, its JSON and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::path::Path;
use std::process::{Command, Output};
use world::{change, contents, page_of, pages};

fn rosterkit(arguments: &[&str]) -> (i32, String, String) {
    let program = Command::new(env!("CARGO_BIN_EXE_rosterkit")).args(arguments).output().unwrap();
    let Output { status, stdout, stderr } = program;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn it_says_what_it_finds_and_exits_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 300);
    let (code, out, err) = rosterkit(&["check", name(&path)]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with(&format!("{}: whole\n", path.display())), "{out}");

    let leaf = pages(&path)[&("log".into(), "leaf".into())][5].0;
    change(&path, |bytes| page_of(bytes, leaf)[100] ^= 1);
    let before = contents(directory.path());
    let (code, out, _) = rosterkit(&["check", name(&path)]);
    assert_eq!(code, 1);
    assert!(
        out.contains("DAMAGED") && out.contains(&format!("page {leaf}: not what was written there")),
        "{out}"
    );
    assert!(out.contains("log (messages)"), "{out}");
    let (code, out, _) = rosterkit(&["check", "--json", name(&path)]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["whole"]), (1, &false.into()));
    assert_eq!(json["report"]["broken"][0]["page"], leaf);
    assert_eq!(json["report"]["broken"][0]["fault"], "checksum");
    assert_eq!(json["report"]["broken"][0]["part"], "leaf");
    assert!(json["salvaged"].is_null());

    let elsewhere = tempfile::tempdir().unwrap();
    let new = elsewhere.path().join("new.db");
    let (code, out, _) = rosterkit(&["check", name(&path), "--salvage", name(&new)]);
    assert_eq!(code, 1);
    assert!(out.contains(&format!("{}: ", new.display())) && out.contains("120 accounts"), "{out}");
    assert_eq!(contents(elsewhere.path()).len(), 1, "nothing is left beside it");
    assert_eq!(rosterkit(&["check", name(&new)]).0, 0);
    // It is there now.
    let (code, out, err) = rosterkit(&["check", name(&path), "--salvage", name(&new)]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("there is a file of that name"), "{err}");
    assert_eq!(contents(directory.path()), before, "the original is as it was");
}

#[test]
fn what_cannot_be_checked_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    let (code, _, err) = rosterkit(&["check", name(&path)]);
    assert!(code == 2 && !err.is_empty());
    std::fs::write(&path, [1; 9_000]).unwrap();
    let (code, _, err) = rosterkit(&["check", name(&path)]);
    assert!(code == 2 && err.contains("not a RosterKit file"), "{err}");
    std::fs::remove_file(&path).unwrap();
    let engine = world::open(&path, 1_000);
    let (code, _, err) = rosterkit(&["check", name(&path)]);
    assert!(code == 2 && err.contains("is in use by process"), "{err}");
    engine.shutdown(true).unwrap();
}

/// What it cannot say is not said twice, and is no panic.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_or_that_nobody_reads_is_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    drop(world::open(&path, 1_000));
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = |arguments: &[&str], out: std::process::Stdio, err: std::process::Stdio| {
        let program =
            Command::new(env!("CARGO_BIN_EXE_rosterkit")).args(arguments).stdout(out).stderr(err).output();
        let Output { status, stderr, .. } = program.unwrap();
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    };
    let check = ["check", name(&path)];
    for arguments in [&check[..], &["help"]] {
        let (code, err) = run(arguments, full().into(), std::process::Stdio::piped());
        assert!(code == 2 && err.contains("writing the output"), "{err}");
        assert_eq!(run(arguments, full().into(), full().into()).0, 2);
        // Who reads it may have seen enough.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, writer.into(), std::process::Stdio::piped()), (0, String::new()));
    }
    assert_eq!(run(&["chek"], full().into(), full().into()).0, 2);
}

#[test]
fn what_was_found_is_said_also_when_nothing_comes_of_the_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    drop(world::open(&path, 1_000));
    let nowhere = directory.path().join("no/where");
    let (code, out, err) = rosterkit(&["check", name(&path), "--salvage", name(&nowhere), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["whole"], json["salvaged"].is_null()), (2, &true.into(), true));
    assert!(err.contains("nothing was salvaged"), "{err}");
}

#[test]
fn what_it_does_not_understand_it_says() {
    for arguments in [
        &["chek"][..],
        &["check"],
        &["check", "a", "b"],
        &["check", "a", "--salvage"],
        &["check", "--now", "a"],
    ] {
        let (code, out, err) = rosterkit(arguments);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("rosterkit check FILE"), "{err}");
    }
    for arguments in [&["help"][..], &[], &["--help"], &["check", "--help"]] {
        let (code, out, _) = rosterkit(arguments);
        assert!(code == 0 && out.contains("Exit codes: 0 the file is whole"));
    }
}
