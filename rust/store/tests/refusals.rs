//! Files that are refused: each with its typed error, and not a byte changed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::Content;
use rosterkit_core::id::{AddressId, MessageId, Position};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::row::{Entry, Kind, Sides};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::vfs::{Counters, Disk};
use rosterkit_store::{Item, Store, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A whole file with a few rows, closed.
fn make(path: &Path) {
    let mut open = SqliteStore::new(path, SqliteOptions::small()).open().unwrap();
    let mut writes = vec![Write::Domain(Domain::new("example.org").unwrap(), Overrides::default())];
    let id = AddressId::new(1, 1);
    writes.push(Write::Address { id, address: Address::account("a@example.org").unwrap() });
    for number in 0..50 {
        let message = Kind::Message(Content::text(&"x".repeat(200)));
        let entry = Entry::new(id, id, MessageId::new(number, [1; 10]), Timestamp(number), message);
        let mut write = Write::append(entry, Sides::new(true, true));
        write.place(Position(open.facts.first_position.0 + number as u64));
        writes.push(write);
    }
    open.writer.commit(&[Item { writes }]).unwrap();
    drop(open);
    // Opening again moves everything into the main file.
    drop(SqliteStore::new(path, SqliteOptions::small()).open().unwrap());
    let _ = std::fs::remove_file(path.with_extension("db-wal"));
    let _ = std::fs::remove_file(path.with_extension("db-shm"));
}

/// Changes a file by SQL, with its pages sealed.
fn alter(path: &Path, sql: &str) {
    let disk = Disk::plain();
    let raw = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), disk.vfs_name()).unwrap();
    raw.execute_batch(sql).unwrap();
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// Opening fails, and the file is as it was.
fn refused(path: &Path) -> StoreError {
    let before = (std::fs::read(path).unwrap(), std::fs::metadata(path).unwrap().modified().unwrap());
    let Err(error) = SqliteStore::new(path, SqliteOptions::small()).open() else { panic!("it was opened") };
    let after = (std::fs::read(path).unwrap(), std::fs::metadata(path).unwrap().modified().unwrap());
    assert!(before == after, "the refused file was changed: {error}");
    error
}

#[test]
fn a_foreign_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    for bytes in [b"hello".as_slice(), &[7; 5_000]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(refused(&path), StoreError::Foreign { .. }));
    }
    std::fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
    drop(other);
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));
}

#[test]
fn a_newer_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    alter(&path, "UPDATE meta SET value = 2 WHERE key = 'min_reader'");
    assert!(matches!(refused(&path), StoreError::Newer { needs: 2, reads: 1, .. }));
}

#[test]
fn a_newer_file_is_refused_also_when_only_its_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let disk = Disk::plain();
    let raw = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), disk.vfs_name()).unwrap();
    raw.execute("UPDATE meta SET value = 7 WHERE key = 'min_reader'", []).unwrap();
    // As a kill leaves it: the connection would move the log into the file.
    let killed = directory.path().join("killed.db");
    let log = directory.path().join("killed.db-wal");
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(directory.path().join("im.db-wal"), &log).unwrap();
    let before = std::fs::read(&log).unwrap();
    assert!(matches!(refused(&killed), StoreError::Newer { needs: 7, reads: 1, .. }));
    assert!(before == std::fs::read(&log).unwrap(), "the log was changed");
}

#[test]
fn a_truncated_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let whole = std::fs::read(&path).unwrap();
    for pages in [1, 2, whole.len() / 4096 - 1] {
        std::fs::write(&path, &whole[..pages * 4096]).unwrap();
        assert!(matches!(refused(&path), StoreError::Damaged { .. }), "{pages} pages");
    }
    std::fs::write(&path, &whole[..60]).unwrap();
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));
}

#[test]
fn a_damaged_row_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    // Its page is whole: it was damaged before it was written.
    alter(&path, "UPDATE log SET body = CAST(replace(body, 'xxx', 'xyx') AS BLOB) WHERE position % 7 = 3");
    let error = refused(&path);
    assert!(
        error.to_string().contains("in the log: a row whose checksum is wrong; run `rosterkit check "),
        "{error}"
    );
}

#[test]
fn a_broken_page_that_opening_needs_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let whole = std::fs::read(&path).unwrap();
    let (mut refusals, pages) = (0, whole.len() / 4096);
    for page in 0..pages {
        let mut bytes = whole.clone();
        bytes[page * 4096 + 3_000] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        match SqliteStore::new(&path, SqliteOptions::small()).open() {
            Ok(_) => {}
            Err(StoreError::Damaged { what, .. }) => {
                assert_eq!(what, format!("page {} is not what was written there", page + 1));
                refusals += 1;
            }
            Err(other) => panic!("page {page}: {other}"),
        }
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(directory.path().join(format!("im.db{suffix}")));
        }
    }
    // The header, the log and its rows, meta, what is hosted and what is under way; not what is read when it is asked for.
    assert!(refusals > 5 && refusals < pages - 5, "{refusals} of {pages}");
}

#[test]
fn a_page_that_was_lost_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..2 * 4096].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(refused(&path), StoreError::Damaged { what, .. } if what.contains("page 2 ")));
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let first = SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
    let Err(StoreError::Held { holder, .. }) = SqliteStore::new(&path, SqliteOptions::small()).open() else {
        panic!("two writers")
    };
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    drop(first);
    SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
}

/// SQLite puts what lies beside a file beside the one that a link points to.
#[cfg(unix)]
#[test]
fn a_link_to_a_file_is_that_file() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("im.db"), directory.path().join("link.db"));
    make(&path);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let open = SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
    assert!(matches!(refused(&link), StoreError::Held { .. }));
    drop(open);
    let [log_bytes, by_link] = [&path, &link].map(|path| {
        let counters = Arc::new(Counters::default());
        let disk = Disk::through(counters.clone());
        SqliteStore::new(path, SqliteOptions { disk, ..SqliteOptions::small() }).open().unwrap();
        counters.wal_bytes.load(Ordering::Relaxed)
    });
    assert_eq!(by_link, log_bytes, "the log that it found was not written again");
}

#[test]
fn a_reader_does_not_keep_what_was_recovered_from_being_made_durable_unseen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let open = SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
    drop(open);
    // A reader in the middle of a transaction on the write-ahead log.
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("BEGIN; SELECT * FROM meta;").unwrap();
    let result = SqliteStore::new(&path, SqliteOptions { busy_ms: 50, ..SqliteOptions::small() }).open();
    assert!(matches!(result.err(), Some(StoreError::ReaderPresent { .. })));
    raw.execute_batch("COMMIT").unwrap();
    SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
}
