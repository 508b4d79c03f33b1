//! Files of other versions: older ones open and answer what they did; what newer ones wrote beside what is known here
//! stays, whatever is written; the making of a file that is cut off anywhere is done at the next opening.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::vfs::Disk;
use rosterkit::{
    Actor, Address, Amend, Amendment, Anchor, Answer, Command, Content, Direction, Domain, Engine, ErrorKind,
    HistoryRequest, Op, Overrides, Position, RosterEdit, Send, Status,
};
use rosterkit_promises::folder_in_memory;
use rosterkit_promises::truth::{RICH, ask, fill, told};
use rosterkit_promises::workload::{USERS, address, open};
use rosterkit_sim::disk::{Cut, Disk as Recorder, Image};
use rosterkit_sim::visitor::look_in;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/databases");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect()
}

fn stop(engine: Engine) {
    engine.shutdown(true).unwrap();
}

// behaviour: engine.older-file
#[test]
fn a_file_of_each_release_opens_and_answers_what_it_did() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let expected = std::fs::read_to_string(fixture.with_extension("json")).unwrap();
        let expected: BTreeMap<String, Vec<String>> = serde_json::from_str(&expected).unwrap();
        let directory = folder_in_memory();
        std::fs::copy(&fixture, directory.path().join("im.db")).unwrap();
        let engine = open(directory.path(), Disk::plain()).unwrap();
        let answers = ask(&engine);
        for (question, answer) in &expected {
            assert_eq!(answers[question].as_ref(), Ok(answer), "{}: {question}", fixture.display());
        }
        // It is written to as any other.
        let rich = Address::account(RICH).unwrap();
        engine.send(&rich, Send::text(&address(0), "of today")).unwrap();
        stop(engine);
        let engine = open(directory.path(), Disk::plain()).unwrap();
        let history = ask(&engine).remove(&format!("{RICH}: history")).unwrap().unwrap();
        let (last, old) = history.split_last().unwrap();
        assert!(last.ends_with("of today") && *old == expected[&format!("{RICH}: history")]);
        stop(engine);
        println!("{}: {} answers", fixture.file_name().unwrap().display(), expected.len());
    }
}

/// A connection for what a later version does, on whose pages there are seals.
fn by_sql(path: &Path, disk: &Disk) -> Connection {
    Connection::open_with_flags_and_vfs(path, OpenFlags::default(), disk.vfs_name()).unwrap()
}

/// A field that this version does not know: tag 99, and what is in it.
const LATER: &[u8] = b"\x63\x05later";

fn has_it(value: &[u8]) -> bool {
    value.windows(LATER.len()).any(|bytes| bytes == LATER)
}

/// Values of ours that are written again and again.
const VALUES: [(&str, &str); 4] =
    [("buddy", "value"), ("progress", "value"), ("account", "record"), ("domain", "overrides")];

// behaviour: engine.newer-kept
#[test]
fn what_a_newer_version_wrote_stays() {
    let directory = folder_in_memory();
    let path = directory.path().join("im.db");
    let engine = open(directory.path(), Disk::plain()).unwrap();
    fill(&engine, 3, 40);
    // Attached once, so that there is progress to be kept.
    (0..USERS).for_each(|user| drop(told(&engine, user).unwrap()));
    engine.advance(5_000).unwrap();
    let before = ask(&engine);
    stop(engine);

    let disk = Disk::plain();
    let sql = by_sql(&path, &disk);
    let tables = |sql: &Connection| -> Vec<String> {
        let mut select =
            sql.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    for table in tables(&sql) {
        sql.execute_batch(&format!(
            "ALTER TABLE {table} ADD COLUMN later TEXT; UPDATE {table} SET later = 'kept';"
        ))
        .unwrap();
    }
    sql.execute_batch(
        "CREATE TABLE later (number INTEGER PRIMARY KEY) STRICT; INSERT INTO later VALUES (7);
         UPDATE meta SET value = 42 WHERE key = 'minor'; INSERT INTO meta (key, value) VALUES ('later', 5);",
    )
    .unwrap();
    for (table, value) in VALUES {
        sql.execute(&format!("UPDATE {table} SET {value} = CAST({value} || ?1 AS BLOB)"), [LATER]).unwrap();
    }
    // A row of the log has its checksum at the end.
    let rows: Vec<(i64, i64, i64, Vec<u8>)> = {
        let mut select = sql.prepare("SELECT position, sender, recipient, body FROM log").unwrap();
        let rows =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for (position, sender, recipient, mut body) in rows {
        body.truncate(body.len() - 4);
        body.extend_from_slice(LATER);
        let mut crc = crc32fast::Hasher::new();
        [position, sender, recipient].iter().for_each(|key| crc.update(&key.to_le_bytes()));
        crc.update(&body);
        body.extend_from_slice(&crc.finalize().to_le_bytes());
        sql.execute("UPDATE log SET body = ?2 WHERE position = ?1", (position, body)).unwrap();
    }
    drop(sql);

    let engine = open(directory.path(), Disk::plain()).unwrap();
    assert_eq!(ask(&engine), before);
    // Whatever is rewritten is so with what was there.
    let rich = Address::account(RICH).unwrap();
    let call = |account: &Address, command| {
        engine.call(&Actor { account: account.clone(), session: None }, command).unwrap()
    };
    let rename =
        |of: &Address| RosterEdit { name: Some("renamed".into()), ..RosterEdit::new(of, Op::Update) };
    call(&rich, Command::Roster(rename(&address(0))));
    call(&rich, Command::Block { address: address(2), blocked: true });
    call(&rich, Command::SetPreferences(Overrides { history_days: Some(3_650), ..Overrides::default() }));
    let domain = Domain::new("example.org").unwrap();
    engine.set_domain(domain, Overrides { max_roster_items: Some(901), ..Overrides::default() }).unwrap();
    let amended = amend_one(&engine);
    for user in 0..USERS {
        engine.send(&address(user), Send::text(&address((user + 1) % USERS), "after it")).unwrap();
        told(&engine, user).unwrap();
    }
    engine.advance(5_000).unwrap();
    stop(engine);

    let sql = by_sql(&path, &disk);
    let number = |of: &str| sql.query_row(of, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT number FROM later"), 7);
    assert_eq!(number("SELECT value FROM meta WHERE key = 'minor'"), 42);
    assert_eq!(number("SELECT value FROM meta WHERE key = 'later'"), 5);
    for (table, value) in VALUES {
        let mut select = sql.prepare(&format!("SELECT {value}, later FROM {table}")).unwrap();
        let rows =
            select.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<String>>(1)?)));
        let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
        let kept =
            rows.iter().filter(|(value, later)| has_it(value) && later.as_deref() == Some("kept")).count();
        assert!(
            kept > 0 && rows.iter().all(|(value, later)| has_it(value) == later.is_some()),
            "{table}: {rows:?}"
        );
    }
    let changed = |table: &str, which: &str| {
        number(&format!("SELECT count(*) FROM {table} WHERE {which} AND later = 'kept'"))
    };
    assert_eq!(changed("domain", "name = 'example.org'"), 1);
    assert_eq!(changed("account", "address = 'rich@example.org'"), 1);
    let body: Vec<u8> = sql
        .query_row("SELECT body FROM log WHERE position = ?1 AND later = 'kept'", [amended.0 as i64], |row| {
            row.get(0)
        })
        .unwrap();
    assert!(has_it(&body), "an amended row lost a field");
}

/// Amends a message that was there before: its row is rewritten. Gives its place.
fn amend_one(engine: &Engine) -> Position {
    for user in 0..USERS {
        let actor = Actor { account: address(user), session: None };
        let request =
            HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Older, limit: 1_000 };
        let Ok(Answer::History(page)) = engine.call(&actor, Command::ReadHistory(request)) else { continue };
        let own = page.messages.iter().rev().find(|message| {
            message.sender.bare() == address(user) && message.amended.is_none() && message.expires.is_none()
        });
        let Some(own) = own else { continue };
        let amend = Amend {
            recipient: own.recipient.bare(),
            message_id: own.id,
            amendment: Amendment::Edit(Content::text("amended by an older version")),
            client_id: None,
        };
        if engine.call(&actor, Command::Amend(amend)).is_ok() {
            return own.position;
        }
    }
    panic!("nobody has a message to amend")
}

// behaviour: engine.newer-refused
#[test]
fn a_file_for_newer_versions_is_refused_and_not_a_byte_of_it_changes() {
    let directory = folder_in_memory();
    let path = directory.path().join("im.db");
    let engine = open(directory.path(), Disk::plain()).unwrap();
    fill(&engine, 3, 10);
    stop(engine);
    let disk = Disk::plain();
    let sql = by_sql(&path, &disk);
    sql.execute("UPDATE meta SET value = 2 WHERE key = 'min_reader'", []).unwrap();
    drop(sql);
    let before = std::fs::read(&path).unwrap();
    for _ in 0..2 {
        let Err(error) = open(directory.path(), Disk::plain()) else { panic!("it was opened") };
        assert!(matches!(error.kind, ErrorKind::Storage { outcome_unknown: false }), "{error}");
        assert!(error.details.contains("update the library"), "{error}");
        assert!(before == std::fs::read(&path).unwrap(), "it was changed");
    }
}

#[test]
fn making_a_file_that_is_cut_off_anywhere_is_done_at_the_next_opening() {
    let directory = folder_in_memory();
    let recorder = Recorder::<()>::good();
    let engine = open(directory.path(), Disk::through(recorder.clone())).unwrap();
    let entries = recorder.take();
    stop(engine);
    let (mut image, mut cuts) = (Image::default(), 0);
    for (number, entry) in entries.iter().enumerate() {
        image.apply(entry);
        for cut in [Cut::Dropped, Cut::Kept, Cut::Torn(number as u64), Cut::Torn(!(number as u64))] {
            let directory = folder_in_memory();
            image.cut(cut).write(directory.path()).unwrap();
            // Whoever looks at what is there, with an SQLite of their own.
            let is_looked_into = cuts % 8 >= 4;
            if is_looked_into {
                look_in(directory.path());
            }
            let engine = open(directory.path(), Disk::plain()).unwrap_or_else(|error| {
                panic!("cut after {number}, {cut:?}, looked into: {is_looked_into}: {error}")
            });
            engine.create_account(&address(0)).unwrap();
            engine.create_account(&address(1)).unwrap();
            let session = engine.open_session(&address(0), Default::default()).unwrap();
            session.add_buddy(&address(1), None, None).unwrap();
            assert_eq!(session.roster().unwrap().buddies[0].status(), Status::Requested);
            stop(engine);
            cuts += 1;
        }
    }
    println!("{cuts} cuts of {} calls", entries.len());
    assert!(cuts > 60, "{cuts}");
}
