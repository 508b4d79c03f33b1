//! The indexes behind the log.
//!
//! A pass takes the whole tail as it is, sorts its entries, and writes them in slices between commits. The mark moves
//! and the tail is trimmed when the pass is done; until then a crash costs nothing but doing it again, because every
//! entry has a key. Slices are not synced by themselves: the next commit's sync covers them.

use super::sql;
use super::writer::{SqliteWriter, put_client_id};
use crate::{CommitError, StoreError};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::Side;
use rosterkit_core::write::ClientIdEntry;
use rusqlite::{Connection, params};
use std::sync::{Arc, PoisonError};

/// How long the ring remembers, in ms, and how many it remembers at least and at most.
const RING_MS: i64 = 24 * 60 * 60 * 1_000;
const RING_LEAST: i64 = 256;
const RING_MOST: i64 = 1_024;

/// A slice writes this part of the tail's length in entries: about a millisecond with the defaults. It is counted and
/// not timed, so that the same run writes the same file.
const SLICES: usize = 128;

/// A pass under way.
pub(super) struct Pass {
    entries: Vec<Entry>,
    done: usize,
    /// The number of the first row behind it, and the highest position in it.
    upto: u64,
    position: Position,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Account { account: AddressId, row: u64 },
    Peer { account: AddressId, peer: AddressId, row: u64 },
    ClientId { account: AddressId, hash: u64, row: u64 },
    TrimRing { account: AddressId },
}

impl SqliteWriter {
    /// See [`Writer::index`](crate::Writer::index).
    pub(super) fn index_slice(&mut self, all: bool) -> Result<bool, CommitError> {
        if self.pass.is_none() {
            let tail = self.parts.tail.read().unwrap_or_else(PoisonError::into_inner);
            let worth_it = if all { 1 } else { (self.parts.options.tail_rows / 2).max(1) };
            if tail.len() < worth_it {
                return Ok(false);
            }
            drop(tail);
            self.pass = Some(self.begin_pass());
        }
        let Some(mut pass) = self.pass.take() else {
            return Ok(false);
        };
        let result = self.write_slice(&mut pass);
        match result {
            Ok(true) => {
                self.indexed = pass.position;
                self.parts.tail.write().unwrap_or_else(PoisonError::into_inner).trim(pass.upto);
                Ok(false)
            }
            Ok(false) => {
                self.pass = Some(pass);
                Ok(true)
            }
            // What was not written is written the next time.
            Err(error) => {
                self.pass = Some(pass);
                Err(error)
            }
        }
    }

    fn begin_pass(&self) -> Pass {
        let tail = self.parts.tail.read().unwrap_or_else(PoisonError::into_inner);
        let first = tail.first_number();
        let upto = first + tail.len() as u64;
        let mut entries = Vec::with_capacity(tail.len() * 5);
        let mut position = self.indexed;
        for row in first..upto {
            let Some(of) = tail.get(row) else { continue };
            position = of.position;
            for (account, peer) in [(of.sender, of.recipient), (of.recipient, of.sender)] {
                entries.push(Entry::Account { account, row });
                entries.push(Entry::Peer { account, peer, row });
            }
            if let Some(hash) = of.client_id {
                entries.push(Entry::ClientId { account: of.sender, hash, row });
                entries.push(Entry::TrimRing { account: of.sender });
            }
        }
        // Sorted by table and key, so that a slice touches few pages.
        entries.sort_unstable();
        entries.dedup();
        Pass { entries, done: 0, upto, position }
    }

    /// Writes a slice's entries. True when the pass is done and its mark is written.
    fn write_slice(&mut self, pass: &mut Pass) -> Result<bool, CommitError> {
        let parts = Arc::clone(&self.parts);
        let failed = |e| CommitError::RolledBack(StoreError::of("indexing", e));
        self.connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        let from = pass.done;
        let upto = pass.entries.len().min(from + (parts.options.tail_rows / SLICES).max(1));
        let result = self.transact(|connection| {
            for entry in &pass.entries[from..upto] {
                write_entry(connection, &parts, entry).map_err(failed)?;
            }
            pass.done = upto;
            if pass.done == pass.entries.len() || planted(Bug::IndexMarkTooEarly) {
                connection
                    .execute("UPDATE meta SET value = ?1 WHERE key = 'indexed'", [sql(pass.position.0)])
                    .map_err(failed)?;
            }
            Ok(())
        });
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        if let Err(error) = result {
            pass.done = from;
            return Err(error);
        }
        Ok(pass.done == pass.entries.len())
    }
}

fn write_entry(connection: &Connection, parts: &super::open::Parts, entry: &Entry) -> rusqlite::Result<()> {
    let tail = parts.tail.read().unwrap_or_else(PoisonError::into_inner);
    // Sides are looked at now, not when the pass began: what was cleared meanwhile gets no entry.
    match *entry {
        Entry::Account { account, row } => {
            let Some(row) = tail.get(row) else { return Ok(()) };
            let side = |side, id, bit| {
                if id == account && row.sides.needed_by(side) { bit } else { 0 }
            };
            let sides = side(Side::Recipient, row.recipient, 1) | side(Side::Sender, row.sender, 2);
            if sides == 0 {
                return Ok(());
            }
            let peer = if row.sender == account { row.recipient } else { row.sender };
            let insert = "INSERT OR REPLACE INTO log_by_account (account, position, peer, side, size, time)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            connection.prepare_cached(insert)?.execute(params![
                sql(account.to_bits()),
                sql(row.position.0),
                sql(peer.to_bits()),
                sides,
                row.size,
                row.time.0
            ])?;
        }
        Entry::Peer { account, peer, row } => {
            let Some(row) = tail.get(row) else { return Ok(()) };
            let needed = row.sender == account && row.sides.needed_by(Side::Sender)
                || row.recipient == account && row.sides.needed_by(Side::Recipient);
            if needed {
                let insert = "INSERT OR REPLACE INTO log_by_peer (account, peer, position, time)
                     VALUES (?1, ?2, ?3, ?4)";
                connection.prepare_cached(insert)?.execute(params![
                    sql(account.to_bits()),
                    sql(peer.to_bits()),
                    sql(row.position.0),
                    row.time.0
                ])?;
            }
        }
        Entry::ClientId { account, row, .. } => {
            let Some(position) = tail.get(row).filter(|r| !r.sides.is_clear()).map(|r| r.position) else {
                // Deleted: its client id went into the ring with the deletion.
                return Ok(());
            };
            drop(tail);
            let select = "SELECT position, sender, recipient, sides, body FROM log WHERE position = ?1";
            let mut statement = connection.prepare_cached(select)?;
            let mut rows = statement.query([sql(position.0)])?;
            if let Some(Ok(row)) = rows.next()?.map(super::open::row_of).transpose()?
                && let Some(entry) = ClientIdEntry::of(&row)
            {
                put_client_id(connection, account, &entry)?;
            }
        }
        Entry::TrimRing { account } => {
            drop(tail);
            trim_ring(connection, account)?;
        }
    }
    Ok(())
}

/// The ring keeps 24 hours or the latest 256, whichever is more, and never more than 1,024.
fn trim_ring(connection: &Connection, account: AddressId) -> rusqlite::Result<()> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM client_id WHERE account = ?1")?
        .query_row([sql(account.to_bits())], |row| row.get(0))?;
    if count <= RING_LEAST {
        return Ok(());
    }
    let mut select = connection.prepare_cached(
        "SELECT position, hash, value FROM client_id WHERE account = ?1 ORDER BY position DESC",
    )?;
    let entries = select
        .query_map([sql(account.to_bits())], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut newest = i64::MIN;
    for (number, (position, hash, value)) in entries.into_iter().enumerate() {
        // One that does not decode is of no use to anybody.
        let time = crate::values::decode_client_id(Position(super::bits(position)), &value)
            .map_or(i64::MIN, |entry| entry.time.0);
        newest = newest.max(time);
        let number = number as i64;
        if number >= RING_MOST || number >= RING_LEAST && time < newest.saturating_sub(RING_MS) {
            connection
                .prepare_cached("DELETE FROM client_id WHERE account = ?1 AND hash = ?2 AND position = ?3")?
                .execute(params![sql(account.to_bits()), hash, position])?;
        }
    }
    Ok(())
}
