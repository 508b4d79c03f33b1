//! A new file, out of rows that were read without SQLite.

use super::backup::{Partial, SKIPPED, SideFiles};
use super::index::index_all;
use super::open::{connect, open};
use super::tail::Tail;
use super::{SqliteOptions, sql};
use crate::StoreError;
use crate::check::Value;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Row, Side};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use std::path::Path;

/// So many rows of the log are written at once, and then indexed.
const ROWS_AT_ONCE: usize = 65_536;

/// A file that is being filled.
pub(crate) struct Rebuild<'c> {
    connection: &'c Connection,
    tail: Tail,
    last: Position,
}

/// What the new file is told of the old one.
pub(crate) struct Known {
    /// Above these nothing was given.
    pub(crate) reserved: u64,
    pub(crate) highest_id: u64,
    /// Whether ids above that may have been given: the addresses are not all known.
    pub(crate) skip_ids: bool,
    pub(crate) sent: u64,
}

/// Makes a new file, has it filled, and opens it once as any other is opened. Nothing has its name before that. Who could read
/// the old one can read it.
pub(crate) fn rebuild<T>(
    from: &Path,
    to: &Path,
    fill: impl FnOnce(&mut Rebuild<'_>) -> Result<(T, Known), StoreError>,
) -> Result<T, StoreError> {
    let partial = Partial::beside(to, ".salvage-")?;
    let options = SqliteOptions::default();
    let filled = {
        let path = partial.path();
        let _beside = SideFiles(path);
        drop(open(path, &options)?);
        let connection = connect(path, &options)?;
        let filled = {
            let mut rebuild =
                Rebuild { connection: &connection, tail: Tail::default(), last: Position::ZERO };
            // It is synced as a whole, before it has its name.
            rebuild.run("PRAGMA synchronous = OFF", &[])?;
            rebuild.run("BEGIN", &[])?;
            let (filled, known) = fill(&mut rebuild)?;
            rebuild.finish(&known)?;
            filled
        };
        let closed = connection.close().map_err(|(_, error)| error);
        closed.map_err(|source| StoreError::Sqlite { doing: "closing the new file", source })?;
        drop(open(path, &options)?);
        // Opening leaves a commit of its own in the log.
        let connection = connect(path, &options)?;
        move_all(&connection)?;
        filled
    };
    std::fs::metadata(from)
        .and_then(|metadata| std::fs::set_permissions(partial.path(), metadata.permissions()))
        .map_err(|source| StoreError::Io { doing: "giving the new file the old one's mode", source })?;
    partial.publish()?;
    Ok(filled)
}

/// Everything into the main file.
fn move_all(connection: &Connection) -> Result<(), StoreError> {
    let moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    moved.map_err(|source| filling(connection, source))
}

fn filling(connection: &Connection, source: rusqlite::Error) -> StoreError {
    StoreError::of(connection, "filling the new file", source)
}

impl Rebuild<'_> {
    fn run(&self, statement: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(params_from_iter(values)))
            .map_err(|source| filling(self.connection, source))
    }

    /// A row of the log, in the order of positions. The indexes follow it; so does what it waits for, when it `waits` and
    /// nothing else says so. Says whether there was none at its position.
    pub(crate) fn append(&mut self, row: &Row, body: &[u8], waits: bool) -> Result<bool, StoreError> {
        let number = |bits: u64| Value::Integer(sql(bits));
        let (sender, recipient) = (number(row.entry.sender.to_bits()), number(row.entry.recipient.to_bits()));
        let position = number(row.position.0);
        let sides = Value::Integer(row.sides.0.into());
        if !self.insert("log", &[position, sender, recipient, sides, Value::Blob(body)])? {
            return Ok(false);
        }
        let is_needed = row.sides.needed_by(Side::Recipient);
        if waits && row.entry.is_queued() && is_needed {
            self.insert("outbox", &[position])?;
        }
        if waits && row.sides.is_quarantined() {
            let size = Value::Integer(row.entry.size() as i64);
            self.insert("quarantine", &[recipient, position, sender, size])?;
        }
        if let Some(expires) = row.entry.expires.filter(|_| waits && is_needed) {
            let expires = Value::Integer(expires.0);
            self.insert("due", &[expires, position, Value::Integer(0), recipient])?;
        }
        self.tail.push(row);
        self.last = row.position;
        if self.tail.len() == ROWS_AT_ONCE {
            self.index()?;
        }
        Ok(true)
    }

    fn index(&mut self) -> Result<(), StoreError> {
        index_all(self.connection, &self.tail)
            .map_err(|source| StoreError::of(self.connection, "indexing the new file", source))?;
        self.tail = Tail::default();
        self.run("COMMIT", &[])?;
        move_all(self.connection)?;
        self.run("BEGIN", &[])?;
        Ok(())
    }

    /// A row of another table; says whether it is there now and was not before.
    pub(crate) fn insert(&mut self, table: &str, values: &[Value<'_>]) -> Result<bool, StoreError> {
        let places = vec!["?"; values.len()].join(", ");
        self.run(&format!("INSERT OR IGNORE INTO {table} VALUES ({places})"), values).map(|rows| rows > 0)
    }

    /// A row of the ring whose row of the log is gone.
    pub(crate) fn insert_client_id(&mut self, values: &[Value<'_>]) -> Result<(), StoreError> {
        self.run("INSERT OR REPLACE INTO client_id VALUES (?, ?, ?, ?, ?)", values).map(drop)
    }

    /// Whether there is such a row in the log.
    pub(crate) fn has_row(&self, position: i64) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached("SELECT 1 FROM log WHERE position = ?1")
            .and_then(|mut statement| statement.exists([position]))
            .map_err(|source| filling(self.connection, source))
    }

    fn finish(&mut self, known: &Known) -> Result<(), StoreError> {
        self.index()?;
        let number = |bits: u64| Value::Integer(sql(bits));
        let reserved = known.reserved.max(self.last.0 + 1).saturating_add(SKIPPED);
        for (key, value) in [("reserved", reserved), ("indexed", self.last.0), ("sent", known.sent)] {
            self.run("UPDATE meta SET value = ? WHERE key = ?", &[number(value), Value::Text(key)])?;
        }
        if known.skip_ids {
            // Ids are never used again: what they stood for is not known, so many are passed by.
            let serial = AddressId::from_bits(known.highest_id).serial() + (1 << 20);
            let serial = serial.min(AddressId::MAX.serial());
            let id = AddressId::new(serial, 0).to_bits();
            let text = format!("skipped-{id}@{LOST}");
            self.insert("address", &[number(id), Value::Text(&text), Value::Integer(1)])?;
        }
        self.run("COMMIT", &[])?;
        move_all(self.connection)
    }
}

/// The domain of addresses that are lost, in the place of which something has to stand.
pub(crate) const LOST: &str = "lost.invalid";

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
