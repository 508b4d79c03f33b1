//! The indexes behind the log.
//!
//! A pass takes the whole tail as it is and writes its entries, sorted, in slices between commits. The mark moves
//! and the tail is trimmed when the pass is done; until then a crash costs nothing but doing it again, because every
//! entry has a key. Slices are not synced by themselves: the next commit's sync covers them.

use super::open::durable;
use super::sql;
use super::tail::Tail;
use super::writer::SqliteWriter;
use crate::{CommitError, StoreError};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::Side;
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use std::sync::{Arc, PoisonError};

/// How long the ring remembers, in ms, and how many it remembers at least and at most.
const RING_MS: i64 = 24 * 60 * 60 * 1_000;
const RING_LEAST: i64 = 256;
const RING_MOST: i64 = 1_024;
/// Of the accounts that sent, a pass trims the rings of one in so many, by turns; and of each that sent as many in it.
const TRIM_EVERY: u64 = 16;

/// A pass starts when the tail is three quarters full: the longer it is, the fewer pages a row costs. While it goes on,
/// each row that is committed is paid for with so many entries, which ends it before the tail is full. They are counted
/// and not timed, so that the same run writes the same file.
pub(super) const ENTRIES_A_ROW: usize = 16;
/// How many entries a slice writes at the most, which takes about a millisecond, and at the least.
const SLICE_MOST: usize = 1_024;
const SLICE_LEAST: usize = 64;

/// So many entries are sorted at once: it takes a fraction of what it takes to write them.
const SORTED_AT_ONCE: usize = 4 * SLICE_MOST;

/// A pass under way.
pub(super) struct Pass {
    entries: Sorting,
    /// Whose rings are trimmed by turns.
    turn: u64,
    done: usize,
    /// The number of the first row behind it, and the highest position in it.
    upto: u64,
    position: Position,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Account { account: AddressId, row: u64 },
    Peer { account: AddressId, peer: AddressId, row: u64 },
    ClientId { account: AddressId, row: u64 },
    TrimRing { account: AddressId },
}

impl SqliteWriter {
    /// See [`Writer::index`](crate::Writer::index).
    pub(super) fn index_slice(&mut self, all: bool) -> Result<bool, CommitError> {
        if self.stuck {
            return Ok(false);
        }
        if self.pass.is_none() {
            let tail = self.parts.tail.read().unwrap_or_else(PoisonError::into_inner);
            let worth_it = if all { 1 } else { (self.parts.options.tail_rows / 4 * 3).max(1) };
            if tail.len() < worth_it {
                self.behind = 0;
                return Ok(false);
            }
            drop(tail);
            self.passes += 1;
            self.pass = Some(self.begin_pass());
        }
        let Some(mut pass) = self.pass.take() else {
            return Ok(false);
        };
        let done = pass.done;
        match self.write_slice(&mut pass) {
            Ok(true) => {
                self.indexed = pass.position;
                self.behind = 0;
                self.parts.tail.write().unwrap_or_else(PoisonError::into_inner).trim(pass.upto);
                Ok(false)
            }
            Ok(false) => {
                self.behind = self.behind.saturating_sub(pass.done - done);
                self.pass = Some(pass);
                let tail = self.parts.tail.read().unwrap_or_else(PoisonError::into_inner);
                Ok(all || self.behind > 0 || tail.len() >= self.parts.options.tail_rows)
            }
            // It would be met again each time. What is not indexed is found in the tail, which grows until the file is
            // mended; an entry left out would be a row that nobody finds.
            Err(error) if error.source().is_damage() => {
                self.stuck = true;
                Err(error)
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
        Pass::over(&tail, self.passes % TRIM_EVERY, self.indexed)
    }

    /// Writes a slice's entries. True when the pass is done and its mark is written.
    fn write_slice(&mut self, pass: &mut Pass) -> Result<bool, CommitError> {
        let parts = Arc::clone(&self.parts);
        let failed = |e| CommitError::RolledBack(StoreError::about(&parts.path, "indexing", e));
        self.connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        let from = pass.done;
        let least = SLICE_LEAST.min(parts.options.tail_rows / 16).max(1);
        let upto = pass.sort(from + self.behind.clamp(least, SLICE_MOST));
        let result = self.transact(|connection| {
            let tail = parts.tail.read().unwrap_or_else(PoisonError::into_inner);
            let mut inserts = Inserts::prepare(connection).map_err(failed)?;
            let lost = if planted(Bug::IndexSliceLost) && upto - from > 3 { upto - 1 } else { upto };
            for entry in &pass.entries.all[from..lost] {
                inserts.write(&tail, entry).map_err(failed)?;
            }
            inserts.finish().map_err(failed)?;
            drop(tail);
            pass.done = upto;
            if pass.is_done() || planted(Bug::IndexMarkTooEarly) {
                connection
                    .execute("UPDATE meta SET value = ?1 WHERE key = 'indexed'", [sql(pass.position.0)])
                    .map_err(failed)?;
            }
            Ok(())
        });
        self.connection.pragma_update(None, "synchronous", durable()).map_err(failed)?;
        if let Err(error) = result {
            pass.done = from;
            return Err(error);
        }
        Ok(pass.is_done())
    }
}

/// Writes all entries of these rows.
pub(super) fn index_all(connection: &Connection, tail: &Tail) -> rusqlite::Result<()> {
    let mut pass = Pass::over(tail, 0, Position::ZERO);
    pass.sort(usize::MAX);
    let mut inserts = Inserts::prepare(connection)?;
    pass.entries.all.iter().try_for_each(|entry| inserts.write(tail, entry))?;
    inserts.finish()
}

impl Pass {
    fn over(tail: &Tail, turn: u64, indexed: Position) -> Pass {
        let first = tail.first_number();
        let upto = first + tail.len() as u64;
        let mut entries = Vec::with_capacity(tail.len() * 5);
        let mut position = indexed;
        for row in first..upto {
            let Some(of) = tail.get(row) else { continue };
            position = of.position;
            let both = [(of.sender, of.recipient), (of.recipient, of.sender)];
            // A message to oneself has one entry for both sides.
            for &(account, peer) in &both[usize::from(of.sender == of.recipient)..] {
                entries.push(Entry::Account { account, row });
                entries.push(Entry::Peer { account, peer, row });
            }
            if of.client_id.is_some() {
                entries.push(Entry::ClientId { account: of.sender, row });
            }
        }
        // By table and key, so that a slice touches few pages.
        Pass { entries: Sorting::new(entries), turn, done: 0, upto, position }
    }

    /// Has the entries below this one sorted, when there are so many; says how many there are. Behind the last come the
    /// rings to trim, which are known when all are sorted.
    fn sort(&mut self, upto: usize) -> usize {
        let was_sorted = self.entries.is_sorted();
        self.entries.sort(upto);
        if self.entries.is_sorted() && !was_sorted {
            let mut trims = Vec::new();
            for sent in self.entries.all.chunk_by(|a, b| a.of_ring().is_some() && a.of_ring() == b.of_ring())
            {
                if let Some(account) = sent[0].of_ring()
                    && (sent.len() as u64 >= TRIM_EVERY || account.serial() % TRIM_EVERY == self.turn)
                {
                    trims.push(Entry::TrimRing { account });
                }
            }
            self.entries.all.extend(trims);
        }
        upto.min(self.entries.all.len())
    }

    fn is_done(&self) -> bool {
        self.entries.is_sorted() && self.done == self.entries.all.len()
    }
}

/// Entries that are sorted as they are needed, from the lowest: all at once would hold up whoever waits for a commit.
struct Sorting {
    all: Vec<Entry>,
    /// Below each of these are lower entries than from there on; the lowest stands last, and below it nothing is sorted
    /// but the entries up to `sorted`.
    parted: Vec<usize>,
    sorted: usize,
}

impl Sorting {
    fn new(all: Vec<Entry>) -> Self {
        Sorting { parted: vec![all.len()], sorted: 0, all }
    }

    fn is_sorted(&self) -> bool {
        self.parted.is_empty()
    }

    /// The entries below this one are in order.
    fn sort(&mut self, upto: usize) {
        while let (true, Some(&end)) = (self.sorted < upto, self.parted.last()) {
            let part = &mut self.all[self.sorted..end];
            if part.len() > SORTED_AT_ONCE {
                let half = part.len() / 2;
                part.select_nth_unstable(half);
                self.parted.push(self.sorted + half);
            } else {
                part.sort_unstable();
                self.sorted = end;
                self.parted.pop();
            }
        }
    }
}

impl Entry {
    /// Whose ring it is about.
    const fn of_ring(&self) -> Option<AddressId> {
        match self {
            Entry::ClientId { account, .. } => Some(*account),
            _ => None,
        }
    }
}

/// What a slice inserts.
struct Inserts<'c> {
    connection: &'c Connection,
    account: Rows<'c, 6>,
    peer: Rows<'c, 4>,
    client_id: Rows<'c, 4>,
}

impl<'c> Inserts<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Inserts {
            connection,
            account: Rows::prepare(connection, "log_by_account (account, position, peer, side, size, time)")?,
            peer: Rows::prepare(connection, "log_by_peer (account, peer, position, time)")?,
            client_id: Rows::prepare(connection, "client_id (account, position, hash, time)")?,
        })
    }

    /// Sides are looked at now, not when the pass began: what was cleared meanwhile gets no entry.
    fn write(&mut self, tail: &Tail, entry: &Entry) -> rusqlite::Result<()> {
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
                let (account, position, peer) =
                    (sql(account.to_bits()), sql(row.position.0), sql(peer.to_bits()));
                self.account.insert([account, position, peer, sides, i64::from(row.size), row.time.0])
            }
            Entry::Peer { account, peer, row } => {
                let Some(row) = tail.get(row) else { return Ok(()) };
                let needed = row.sender == account && row.sides.needed_by(Side::Sender)
                    || row.recipient == account && row.sides.needed_by(Side::Recipient);
                if !needed {
                    return Ok(());
                }
                let (account, peer, position) =
                    (sql(account.to_bits()), sql(peer.to_bits()), sql(row.position.0));
                self.peer.insert([account, peer, position, row.time.0])
            }
            Entry::ClientId { account, row } => {
                // One that was deleted meanwhile went into the ring with the deletion.
                let Some(row) = tail.get(row).filter(|row| !row.sides.is_clear()) else { return Ok(()) };
                let Some(hash) = row.client_id else { return Ok(()) };
                self.client_id.insert([sql(account.to_bits()), sql(row.position.0), sql(hash), row.time.0])
            }
            Entry::TrimRing { account } => {
                self.client_id.flush()?;
                trim_ring(self.connection, account)
            }
        }
    }

    fn finish(mut self) -> rusqlite::Result<()> {
        self.account.flush()?;
        self.peer.flush()?;
        self.client_id.flush()
    }
}

/// Rows of integers for one table, inserted many at a time: a statement's way in and out costs as much as a row.
struct Rows<'c, const COLUMNS: usize> {
    many: CachedStatement<'c>,
    one: CachedStatement<'c>,
    waiting: Vec<[i64; COLUMNS]>,
}

/// How many rows one statement inserts.
const MANY: usize = 32;

impl<'c, const COLUMNS: usize> Rows<'c, COLUMNS> {
    fn prepare(connection: &'c Connection, table: &str) -> rusqlite::Result<Self> {
        let row = format!("({})", ["?"; COLUMNS].join(", "));
        let insert = |rows: usize| {
            connection.prepare_cached(&format!(
                "INSERT OR REPLACE INTO {table} VALUES {}",
                vec![row.as_str(); rows].join(", ")
            ))
        };
        Ok(Rows { many: insert(MANY)?, one: insert(1)?, waiting: Vec::with_capacity(MANY) })
    }

    fn insert(&mut self, row: [i64; COLUMNS]) -> rusqlite::Result<()> {
        self.waiting.push(row);
        if self.waiting.len() == MANY {
            execute(&mut self.many, &self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }

    fn flush(&mut self) -> rusqlite::Result<()> {
        self.waiting.drain(..).try_for_each(|row| execute(&mut self.one, &[row]))
    }
}

fn execute<const COLUMNS: usize>(
    statement: &mut CachedStatement<'_>,
    rows: &[[i64; COLUMNS]],
) -> rusqlite::Result<()> {
    for (number, value) in rows.iter().flatten().enumerate() {
        statement.raw_bind_parameter(number + 1, value)?;
    }
    statement.raw_execute().map(|_| ())
}

/// Trims the ring of who puts ids into it without rows, every so often.
pub(super) fn trim_ring_by_turns(
    connection: &Connection,
    account: AddressId,
    position: Position,
) -> rusqlite::Result<()> {
    if position.0.is_multiple_of(TRIM_EVERY) { trim_ring(connection, account) } else { Ok(()) }
}

/// The ring keeps 24 hours or the latest 256, whichever is more, and never more than 1,024; and, between two trims, what
/// was sent since.
fn trim_ring(connection: &Connection, account: AddressId) -> rusqlite::Result<()> {
    let account = sql(account.to_bits());
    let newest = |number: i64| {
        connection
            .prepare_cached(
                "SELECT position FROM client_id WHERE account = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2",
            )?
            .query_row([account, number], |row| row.get::<_, i64>(0))
            .optional()
    };
    let Some(kept) = newest(RING_LEAST - 1)? else {
        return Ok(());
    };
    let too_many = newest(RING_MOST - 1)?.unwrap_or(i64::MIN);
    connection
        .prepare_cached(
            "DELETE FROM client_id WHERE account = ?1 AND (position < ?3 OR position < ?2
                 AND time < (SELECT max(time) FROM client_id WHERE account = ?1) - ?4)",
        )?
        .execute([account, kept, too_many, RING_MS])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        #[test]
        fn what_is_sorted_in_steps_is_sorted(
            entries in prop::collection::vec((0u64..200, any::<bool>()), 0..20_000),
            steps in prop::collection::vec(1usize..2_000, 1..10),
        ) {
            let entries: Vec<Entry> = (0..)
                .zip(entries)
                .map(|(row, (id, sent))| match (AddressId::from_bits(id), sent) {
                    (account, true) => Entry::ClientId { account, row },
                    (account, false) => Entry::Account { account, row },
                })
                .collect();
            let mut expected = entries.clone();
            expected.sort_unstable();
            let mut sorting = Sorting::new(entries);
            let mut upto = 0;
            for step in steps.into_iter().cycle() {
                upto = expected.len().min(upto + step);
                sorting.sort(upto);
                prop_assert!(sorting.all[..upto] == expected[..upto]);
                if upto == expected.len() {
                    break;
                }
            }
        }
    }
}
