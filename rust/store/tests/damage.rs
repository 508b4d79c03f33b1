//! What a broken page costs: the call that needs it, and no other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::Content;
use rosterkit_core::id::{AddressId, MessageId, Position};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::row::{Entry, Kind, Sides};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{File, Write};
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::vfs::Disk;
use rosterkit_store::{Anchor, CommitError, Direction, HistoryQuery, Item, Opened, Store, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use tempfile::TempDir;

const ID: fn() -> AddressId = || AddressId::new(1, 1);

fn open(path: &Path) -> Opened {
    SqliteStore::new(path, SqliteOptions { tail_rows: 64, ..SqliteOptions::small() }).open().unwrap()
}

fn messages(from: Position, count: u64) -> Item {
    let rows = (0..count).map(|number| {
        let message = Kind::Message(Content::text("a text"));
        let id = MessageId::new((from.0 + number) as i64, [1; 10]);
        let mut write =
            Write::append(Entry::new(ID(), ID(), id, Timestamp(0), message), Sides::new(true, true));
        write.place(Position(from.0 + number));
        write
    });
    Item { writes: rows.collect() }
}

fn file(path: &str, byte: u8) -> Write {
    Write::File(ID(), File { path: path.into(), modified: Timestamp(0), bytes: vec![byte; 9_000] })
}

/// A whole file in which the root page of this table is broken.
fn broken(table: &str) -> (TempDir, std::path::PathBuf, u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    let mut first = open(&path);
    let address = Address::account("a@example.org").unwrap();
    let mut writes = vec![Write::Domain(Domain::new("example.org").unwrap(), Overrides::default())];
    writes.extend([Write::Address { id: ID(), address }, file("one", 1), file("two", 2)]);
    let from = first.facts.first_position;
    first.writer.commit(&[Item { writes }, messages(from, 100)]).unwrap();
    while first.writer.index(true).unwrap() {}
    drop(first);
    // Opening moves everything into the main file.
    drop(open(&path));
    let disk = Disk::plain();
    let raw = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), disk.vfs_name()).unwrap();
    let root: u32 = raw
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
        .unwrap();
    drop(raw);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[root as usize * 4096 - 2_000] ^= 16;
    std::fs::write(&path, bytes).unwrap();
    (directory, path, root)
}

fn is_page(error: &StoreError, page: u32) -> bool {
    matches!(error, StoreError::Damaged { what, .. } if what.contains(&format!("page {page} ")))
}

#[test]
fn an_item_that_meets_a_broken_page_fails_alone() {
    let (_directory, path, page) = broken("file");
    let Opened { mut writer, mut reader, facts, .. } = open(&path);
    let more = messages(facts.first_position, 1);
    let item = Item { writes: vec![file("three", 3)] };
    match writer.commit(&[more, item]) {
        Err(CommitError::Item { item: 1, source }) => assert!(is_page(&source, page), "{source}"),
        other => panic!("{other:?}"),
    }
    writer.commit(&[messages(facts.first_position, 1)]).unwrap();
    assert_eq!(reader.rows_at(&[facts.first_position]).unwrap().len(), 1);
    assert!(is_page(&reader.files(ID()).unwrap_err(), page));
    assert!(is_page(&reader.file(ID(), "one").unwrap_err(), page));
    assert_eq!(reader.buddies(ID(), Position::ZERO).unwrap(), []);
}

#[test]
fn a_pass_of_the_index_that_meets_a_broken_page_is_given_up() {
    let (_directory, path, page) = broken("log_by_peer");
    let Opened { mut writer, mut reader, facts, .. } = open(&path);
    let (mut next, mut failed) = (facts.first_position, 0);
    for _ in 0..40 {
        writer.commit(&[messages(next, 10)]).unwrap();
        next = Position(next.0 + 10);
        loop {
            match writer.index(false) {
                Ok(true) => {}
                Ok(false) => break,
                Err(CommitError::RolledBack(source)) => {
                    assert!(is_page(&source, page), "{source}");
                    failed += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert_eq!(failed, 1, "it was tried again");
    // Where the other index is whole, nothing is missing: not what was written since, nor what was before.
    let all = |peer| HistoryQuery {
        account: ID(),
        peer,
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 1_000,
    };
    assert_eq!(reader.history(&all(None)).unwrap().rows.len(), 500);
    assert!(is_page(&reader.history(&all(Some(ID()))).unwrap_err(), page));
    drop((writer, reader));
    let Opened { mut reader, .. } = open(&path);
    assert_eq!(reader.history(&all(None)).unwrap().rows.len(), 500);
}
