//! A state that is held misses nothing when the indexes overtake it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit_core::account::Record;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::Content;
use rosterkit_core::id::{AddressId, ClientId, MessageId, Position};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::row::{Entry, Kind, Sides, Word};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::{Item, Reader, Store};
use std::sync::Arc;

/// To oneself, with a client id.
fn row(id: AddressId, position: u64) -> Write {
    let entry = Entry {
        sender: id,
        recipient: id,
        message_id: MessageId::new(position as i64, [1; 10]),
        time: Timestamp(position as i64),
        device: None,
        instance: None,
        client_id: Some(ClientId::new(&format!("c{position}")).unwrap()),
        fingerprint: 0,
        word: Word::Stored,
        kind: Kind::Message(Content::text("x")),
        unknown: Vec::new(),
    };
    let mut write = Write::append(entry, Sides::new(true, true));
    write.place(Position(position));
    write
}

#[test]
fn rows_that_left_the_tail_since_are_found_in_a_newer_state() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(directory.path().join("im.db"), SqliteOptions::small());
    let mut open = store.open().unwrap();
    let address = Address::account("a@example.org").unwrap();
    let id = AddressId::new(1, address.slot());
    let first = open.facts.first_position.0;
    let mut writes = vec![
        Write::Domain(Domain::new("example.org").unwrap(), Overrides::default()),
        Write::Address { id, address: address.clone() },
        Write::Account(Arc::new(Record::new(id, address.clone()))),
    ];
    writes.extend((first..first + 20).map(|position| row(id, position)));
    open.writer.commit(&[Item { writes }]).unwrap();
    let rows = |reader: &mut dyn Reader| {
        let found = reader.rows(id, Position::ZERO, Position::MAX, 100, usize::MAX).unwrap();
        (found.len(), reader.client_id_hashes(id).unwrap().len())
    };
    let reader = open.reader.as_mut();
    reader.hold().unwrap();
    assert_eq!(rows(reader), (20, 20));
    // Behind the state that is held, everything gets into the indexes and leaves the tail.
    while open.writer.index(true).unwrap() {}
    assert_eq!(rows(reader), (20, 20));
    let unclaimed = reader.account(&address).unwrap().unwrap().unclaimed.len();
    assert_eq!(unclaimed, 20);
    reader.release();
    let writes = vec![row(id, first + 20)];
    open.writer.commit(&[Item { writes }]).unwrap();
    assert_eq!(rows(reader), (21, 21));
}
