//! The check itself under bytes of any kind, and what it refuses. What it finds and brings back is tested with files of a
//! real engine, in `rust/server/tests`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rosterkit_core::account::Record;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::Content;
use rosterkit_core::id::{AddressId, ClientId, MessageId, Position};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{Entry, Kind, Sides};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{File, Write};
use rosterkit_store::check::{Progress, check, salvage};
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::{Item, Store, StoreError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

const PAGE: usize = 4096;

fn open(path: &Path) -> rosterkit_store::Opened {
    SqliteStore::new(path, SqliteOptions::small()).open().unwrap()
}

/// A file and its write-ahead log, with something in most tables and of every kind of page, as a kill leaves them.
fn make(path: &Path) {
    let mut store = open(path);
    let first = store.facts.first_position.0;
    let address = |number: u64| Address::account(&format!("a{number}@example.org")).unwrap();
    let id = |number: u64| AddressId::new(number + 1, address(number).slot());
    let mut writes = vec![Write::Domain(Domain::new("example.org").unwrap(), Overrides::default())];
    for number in 0..60 {
        writes.push(Write::Address { id: id(number), address: address(number) });
        let mut record = Record::new(id(number), address(number));
        let buddy = Buddy { listed: true, ..Buddy::new(id((number + 1) % 60), address((number + 1) % 60)) };
        record.roster.set(buddy.peer, buddy.relation());
        writes.push(Write::AccountCreated(Arc::new(record)));
        writes.push(Write::Buddy(id(number), buddy));
        let bytes = vec![3; number as usize * 150];
        writes.push(Write::File(id(number), File { path: "f".into(), modified: Timestamp(1), bytes }));
    }
    store.writer.commit(&[Item { writes }]).unwrap();
    for number in 0..600 {
        let text = "x".repeat(if number % 40 == 0 { 9_000 } else { 200 });
        let message = Kind::Message(Content::text(&text));
        let (from, to) = (id(number % 60), id(number * 7 % 60));
        let message_id = MessageId::new(number as i64, [1; 10]);
        let mut entry = Entry::new(from, to, message_id, Timestamp(number as i64), message);
        entry.client_id = (number % 3 == 0).then(|| ClientId::new(&format!("c{number}")).unwrap());
        let mut write = Write::append(entry, Sides::new(true, true));
        write.place(Position(first + number));
        store.writer.commit(&[Item { writes: vec![write] }]).unwrap();
        if number == 400 {
            while store.writer.index(true).unwrap() {}
            drop(store);
            store = open(path);
        }
    }
}

/// Every page gets the checksum that goes with what is in it.
fn seal(bytes: &mut [u8]) {
    for (number, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            let mut crc = crc32fast::Hasher::new();
            crc.update(&(number as u32 + 1).to_be_bytes());
            crc.update(&page[..PAGE - 8]);
            page[PAGE - 8..PAGE - 4].copy_from_slice(&crc.finalize().to_le_bytes());
            page[PAGE - 4..].copy_from_slice(b"RKc1");
        }
    }
}

/// A whole file, and its write-ahead log.
static FILES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let main = std::fs::read(&path).unwrap();
    [main, std::fs::read(directory.path().join("im.db-wal")).unwrap()]
});

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

fn nothing(_: Progress) {}

/// One change of bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    /// In the first bytes of a page, where it says what it is and where its rows are.
    Head {
        page: prop::sample::Index,
        at: usize,
        byte: u8,
    },
    Garbage {
        at: prop::sample::Index,
        length: usize,
        seed: u8,
    },
    /// One page in the place of another.
    Move {
        from: prop::sample::Index,
        to: prop::sample::Index,
    },
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<prop::sample::Index>();
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        4 => (at(), 0usize..40, any::<u8>()).prop_map(|(page, at, byte)| Change::Head { page, at, byte }),
        2 => (at(), 1usize..5_000, any::<u8>()).prop_map(|(at, length, seed)| Change::Garbage { at, length, seed }),
        3 => (at(), at()).prop_map(|(from, to)| Change::Move { from, to }),
        1 => at().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let pages = bytes.len() / PAGE;
    if pages == 0 {
        return;
    }
    match change {
        Change::Flip { at, bit } => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Change::Head { page, at, byte } => bytes[page.index(pages) * PAGE + at] = *byte,
        Change::Garbage { at, length, seed } => {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            fastrand::Rng::with_seed(u64::from(*seed)).fill(&mut bytes[at..end]);
        }
        Change::Move { from, to } => {
            let from = from.index(pages) * PAGE;
            bytes.copy_within(from..from + PAGE, to.index(pages) * PAGE);
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// With checksums that fit, every part of the format is met by bytes that nobody wrote.
    #[test]
    fn whatever_the_bytes_are_it_ends_and_changes_nothing(
        main in prop::collection::vec(change(), 0..12),
        wal in prop::collection::vec(change(), 0..4),
        sealed: bool,
        has_wal: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("im.db");
        let mut bytes = FILES.clone();
        main.iter().for_each(|change| apply(&mut bytes[0], change));
        wal.iter().for_each(|change| apply(&mut bytes[1], change));
        if sealed {
            seal(&mut bytes[0]);
        }
        std::fs::write(&path, &bytes[0]).unwrap();
        if has_wal {
            std::fs::write(directory.path().join("im.db-wal"), &bytes[1]).unwrap();
        }
        let before = contents(directory.path());
        let found = check(&path, &mut nothing);
        if main.is_empty() && wal.is_empty() && has_wal {
            prop_assert!(found.as_ref().unwrap().is_whole(), "{}", found.unwrap());
        }
        let new = tempfile::tempdir().unwrap();
        match salvage(&path, &new.path().join("new.db"), &mut nothing) {
            Ok((report, Ok(salvaged))) => {
                prop_assert_eq!(&report, found.as_ref().unwrap());
                // What a reader would see of the log, and what proves itself, is in it, and no more.
                let behind = report.wal.as_ref().map_or(0, |wal| wal.messages_behind.len() as u64);
                prop_assert_eq!(salvaged.messages, report.messages + report.rescued + behind, "{}", report);
                drop(open(&new.path().join("new.db")));
            }
            Err(StoreError::Foreign { .. } | StoreError::Newer { .. }) | Ok((_, Err(StoreError::Refused(_)))) => {}
            Err(error) | Ok((_, Err(error))) => prop_assert!(false, "{error}\n{}", found.unwrap()),
        }
        prop_assert!(contents(directory.path()) == before, "the original was changed");
    }
}

#[test]
fn bytes_of_no_file_at_all_are_foreign() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    let mut noise = vec![0; 100_000];
    fastrand::Rng::with_seed(5).fill(&mut noise);
    for bytes in [&b""[..], b"hello", &noise] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(check(&path, &mut nothing), Err(StoreError::Foreign { .. })));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(check(&path, &mut nothing), Err(StoreError::Io { .. })));
    assert!(contents(directory.path()).is_empty());
}

#[test]
fn a_file_that_is_open_is_left_alone_and_one_that_is_checked_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    let store = open(&path);
    let error = check(&path, &mut nothing).unwrap_err();
    assert!(matches!(&error, StoreError::Held { holder, .. } if holder.contains("process")), "{error}");
    drop(store);
    let mut was_refused = None;
    let _ = check(&path, &mut |_| {
        let opened = SqliteStore::new(&path, SqliteOptions::small()).open();
        was_refused = opened.err().map(|error| error.to_string());
    });
    // In the side file stands who had it last.
    assert!(was_refused.as_ref().is_some_and(|why| why.contains("in use by a check")), "{was_refused:?}");
    drop(open(&path));
}

#[test]
fn a_new_file_is_made_where_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    let taken = directory.path().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    let before = contents(directory.path());
    for to in [&taken, &path] {
        assert!(matches!(salvage(&path, to, &mut nothing), Err(StoreError::Conflict(_))));
    }
    // What was found is told all the same.
    let (report, salvaged) = salvage(&path, &directory.path().join("no/where"), &mut nothing).unwrap();
    assert!(report.messages > 0 && salvaged.is_err());
    assert_eq!(contents(directory.path()), before);
    salvage(&path, &directory.path().join("new"), &mut nothing).unwrap().1.unwrap();
    let names: Vec<String> = contents(directory.path()).into_keys().collect();
    assert_eq!(names, ["im.db", "new", "taken"], "nothing but the file is left");
}

/// SQLite would take a log that is left over for the new file's own.
#[test]
fn a_new_file_is_made_where_nothing_is_left_over_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    let backup = |to: &Path| open(&path).reader.backup(to);
    let new = directory.path().join("new");
    for (suffix, is_taken) in [("-wal", true), ("-shm", true), ("-journal", true), ("-lock", false)] {
        let left = directory.path().join(format!("new{suffix}"));
        std::fs::write(&left, &FILES[1]).unwrap();
        for salvages in [true, false] {
            let result = match salvages {
                true => salvage(&path, &new, &mut nothing).map(drop),
                false => backup(&new),
            };
            assert_eq!(matches!(result, Err(StoreError::Conflict(_))), is_taken, "{suffix}: {result:?}");
            assert_eq!(new.exists(), !is_taken);
            if !is_taken {
                assert!(check(&new, &mut nothing).unwrap().is_whole());
                std::fs::remove_file(&new).unwrap();
            }
        }
        std::fs::remove_file(&left).unwrap();
    }
    // Nor is it made of what belongs to the original, by whichever way one gets there.
    std::fs::create_dir(directory.path().join("a")).unwrap();
    for suffix in ["-wal", "-shm", "-journal", "-lock"] {
        let _ = std::fs::remove_file(directory.path().join(format!("im.db{suffix}")));
        let to = directory.path().join(format!("a/../im.db{suffix}"));
        assert!(matches!(salvage(&path, &to, &mut nothing), Err(StoreError::Conflict(_))), "{suffix}");
        assert!(!to.exists());
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_the_file_it_points_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    std::fs::write(directory.path().join("im.db-wal"), &FILES[1]).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let [mut direct, linked] = [&path, &link].map(|path| check(path, &mut nothing).unwrap());
    assert!(linked.wal.is_some());
    direct.path = linked.path.clone();
    assert_eq!(linked, direct);
    let _store = open(&path);
    assert!(matches!(check(&link, &mut nothing), Err(StoreError::Held { .. })));
}

#[cfg(unix)]
#[test]
fn who_could_read_the_file_can_read_the_new_one() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    for mode in [0o640, 0o400, 0o600] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let new = directory.path().join("new");
        salvage(&path, &new, &mut nothing).unwrap().1.unwrap();
        assert_eq!(std::fs::metadata(&new).unwrap().permissions().mode() & 0o777, mode);
        std::fs::remove_file(&new).unwrap();
    }
}

/// Where there is no lock file nobody is kept off.
#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    let mut all = 0;
    check(&path, &mut |progress| all = progress.all).unwrap();
    let new = directory.path().join("new");
    // While it is looked at, and while it is salvaged.
    for at in [all / 2, all * 3 / 2] {
        std::fs::write(&path, &FILES[0]).unwrap();
        let mut write = |progress: Progress| {
            if progress.done == at {
                std::fs::write(directory.path().join("im.db-wal"), b"somebody").unwrap();
            }
        };
        let result = match salvage(&path, &new, &mut write) {
            Ok((_, salvaged)) => salvaged.map(drop),
            Err(error) => Err(error),
        };
        assert!(
            matches!(&result, Err(StoreError::Held { holder, .. }) if holder.contains("wrote to it")),
            "{result:?}"
        );
        assert!(!new.exists());
        std::fs::remove_file(directory.path().join("im.db-wal")).unwrap();
    }
}

/// Progress begins low, only rises, and ends at the end.
#[test]
fn progress_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    std::fs::write(directory.path().join("im.db-wal"), &FILES[1]).unwrap();
    let mut told = Vec::new();
    check(&path, &mut |progress| told.push(progress)).unwrap();
    let all = told[0].all;
    assert!(all >= (FILES[0].len() / PAGE) as u64 && told.iter().all(|progress| progress.all == all));
    assert!(told.is_sorted_by_key(|progress| progress.done));
    assert_eq!((told[0].done, told.last().unwrap().done), (1, all));
}

/// A row that an index knows and the log does not, and the other way round, on pages that are whole.
#[test]
fn what_contradicts_itself_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    std::fs::write(directory.path().join("im.db-wal"), &FILES[1]).unwrap();
    drop(open(&path));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let indexed: i64 =
        connection.query_row("SELECT value FROM meta WHERE key = 'indexed'", [], |row| row.get(0)).unwrap();
    assert!(indexed > 300);
    let run = |sql: &str| assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    run("DELETE FROM log WHERE position = (SELECT min(position) + 10 FROM log)");
    run("DELETE FROM log_by_peer WHERE (account, position) IN
         (SELECT sender, position FROM log WHERE position = (SELECT min(position) + 20 FROM log))");
    run("UPDATE log SET body = zeroblob(50) WHERE position = (SELECT min(position) + 30 FROM log)");
    run("UPDATE buddy SET value = x'07' WHERE account = (SELECT min(account) FROM buddy)");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&path).unwrap();
    seal(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let report = check(&path, &mut nothing).unwrap();
    assert!(report.broken.is_empty() && !report.is_whole(), "{report}");
    let told = report.to_string();
    for what in ["has no such row in the log", "log_by_peer", "checksum is wrong", "buddy"] {
        assert!(told.contains(what), "{what}\n{told}");
    }
    assert_eq!(report.lost.messages.len(), 2, "{report}");
}

/// A newer version may have added to the file what this one does not know.
#[test]
fn what_a_newer_version_added_is_no_damage_and_is_not_left_behind_unsaid() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    std::fs::write(&path, &FILES[0]).unwrap();
    drop(open(&path));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE address ADD COLUMN later INTEGER NOT NULL DEFAULT 0;
             UPDATE address SET later = 7;
             CREATE TABLE later (number INTEGER PRIMARY KEY) STRICT;
             INSERT INTO later VALUES (1);
             PRAGMA user_version = 2;",
        )
        .unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&path).unwrap();
    seal(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let report = check(&path, &mut nothing).unwrap();
    assert!(report.is_whole() && report.newer, "{report}");
    let new = directory.path().join("new");
    assert!(matches!(salvage(&path, &new, &mut nothing), Ok((_, Err(StoreError::Refused(_))))));
    assert!(!new.exists());
    // Also when what says so is broken.
    let whole = std::fs::read(&path).unwrap();
    for later in [true, false] {
        let mut bytes = std::fs::read(&path).unwrap();
        seal(&mut bytes);
        bytes[90] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let report = check(&path, &mut nothing).unwrap();
        assert!(!report.is_whole() && report.newer, "{report}");
        assert!(matches!(salvage(&path, &new, &mut nothing), Ok((_, Err(StoreError::Refused(_))))));
        assert!(!new.exists());
        if later {
            // Without the new table the new column tells.
            std::fs::write(&path, &whole).unwrap();
            let connection = rusqlite::Connection::open(&path).unwrap();
            connection.execute_batch("DROP TABLE later;").unwrap();
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            drop(connection);
        }
    }
}

/// Changes a file by SQL, with seals that are right.
fn run(path: &Path, statements: &str) -> BTreeMap<String, usize> {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(statements).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut statement = connection.prepare("SELECT name, rootpage FROM sqlite_schema").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize))).unwrap();
    let roots = rows.map(Result::unwrap).collect();
    drop(statement);
    drop(connection);
    let mut bytes = std::fs::read(path).unwrap();
    seal(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    roots
}

/// A disk that says it has written a page and has not: the old one is whole.
#[test]
fn a_lost_write_is_told() {
    let files = |names: &str, length: u32| {
        format!(
            "INSERT INTO file SELECT 1, value, 1700000000000, zeroblob({length}) FROM json_each('{names}');"
        )
    };
    let few = files(r#"["a", "b", "c"]"#, 900);
    let many = files(r#"["1", "2", "3", "4", "5", "6", "7", "8", "9"]"#, 900);
    let address = "INSERT INTO address VALUES ((SELECT max(id) + 65536 FROM address), 'zoe@example.org', 0);";
    let rules = "INSERT INTO rules SELECT value, printf('%.*c', 900, ' ') || '{\"rules\":[]}'
        FROM json_each('[1, 2, 3, 4, 5, 6, 7, 8, 9]');";
    let account = "UPDATE account SET registered_until = 5 WHERE id = (SELECT min(id) FROM account);";
    // What was there, what was written, of which the root was not, and what is said.
    type Lost<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);
    let cases: [Lost<'_>; 5] = [
        ("", &few, &["file"], &["it is in the index alone", "a of the account 1"]),
        (&few, &many, &["file", "sqlite_autoindex_file_1"], &["nothing leads to it, and it is not free"]),
        ("", address, &["address_live"], &["address_live address: its"]),
        ("", rules, &["rules"], &["nothing leads to it"]),
        ("", account, &["account_registered"], &["account_registered account: its 0 entries"]),
    ];
    for (before, written, old, said) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("im.db");
        std::fs::write(&path, &FILES[0]).unwrap();
        drop(open(&path));
        // In `file` there is room for a few.
        run(&path, &format!("DELETE FROM file; {before}"));
        let earlier = std::fs::read(&path).unwrap();
        let roots = run(&path, written);
        let report = check(&path, &mut nothing).unwrap();
        assert!(report.is_whole(), "{report}");
        let mut bytes = std::fs::read(&path).unwrap();
        for name in old {
            let root = (roots[*name] - 1) * PAGE;
            assert_ne!(bytes[root..][..PAGE], earlier[root..][..PAGE]);
            bytes[root..][..PAGE].copy_from_slice(&earlier[root..][..PAGE]);
        }
        std::fs::write(&path, bytes).unwrap();
        let report = check(&path, &mut nothing).unwrap();
        assert!(report.broken.is_empty() && !report.is_whole(), "{old:?}: {report}");
        let told = report.to_string();
        assert!(said.iter().all(|what| told.contains(what)), "{said:?}\n{told}");
    }
}
