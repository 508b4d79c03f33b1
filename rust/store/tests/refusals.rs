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
use rosterkit_store::{Item, Store, StoreError};
use std::path::Path;

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
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
    drop(other);
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));
}

#[test]
fn a_newer_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE meta SET value = 2 WHERE key = 'min_reader'", []).unwrap();
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(raw);
    assert!(matches!(refused(&path), StoreError::Newer { needs: 2, reads: 1, .. }));
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
    let mut bytes = std::fs::read(&path).unwrap();
    // In the middle of each text; some of the first copies found are left over from pages that were split.
    for at in 0..bytes.len() - 200 {
        if bytes[at..at + 200] == [b'x'; 200] {
            bytes[at + 100] ^= 1;
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    let error = refused(&path);
    assert!(matches!(&error, StoreError::Damaged { what, .. } if what.contains("checksum")), "{error}");
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

#[test]
fn a_reader_does_not_keep_what_was_recovered_from_being_made_durable_unseen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    make(&path);
    let open = SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
    drop(open);
    // A reader in the middle of a transaction on the write-ahead log.
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("BEGIN; SELECT * FROM meta;").unwrap();
    let result = SqliteStore::new(&path, SqliteOptions { busy_ms: 50, ..SqliteOptions::small() }).open();
    assert!(matches!(result.err(), Some(StoreError::ReaderPresent { .. })));
    raw.execute_batch("COMMIT").unwrap();
    SqliteStore::new(&path, SqliteOptions::small()).open().unwrap();
}
