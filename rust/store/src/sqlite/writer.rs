//! The writer: one transaction and one sync for each batch.

use super::checkpoint::KeepShort;
use super::index::{ENTRIES_A_ROW, Pass, trim_ring_by_turns};
use super::open::{Parts, RESERVE, row_of};
use super::{bits, sql};
use crate::values::{
    decode_row, encode_buddy, encode_client_id, encode_overrides, encode_progress, encode_record, encode_row,
    encode_signal,
};
use crate::{CommitError, Item, StoreError, Writer};
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Entry, Row, Side, Sides};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{ClientIdEntry, DELIVERIES_ARE_KNOWN_MS, Due, Forward, RulesOf, Write};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, params};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

pub(super) struct SqliteWriter {
    pub(super) connection: Connection,
    pub(super) parts: Arc<Parts>,
    reserved: Position,
    /// The mark of the indexes: below it they are whole.
    pub(super) indexed: Position,
    pub(super) pass: Option<Pass>,
    /// How many passes were begun, from somewhere: whose ring is trimmed goes by turns.
    pub(super) passes: u64,
    /// How many entries the indexes are behind their pace.
    pub(super) behind: usize,
    /// A page of the indexes is broken: no pass gets past it.
    pub(super) stuck: bool,
    keep_short: KeepShort,
    /// After a commit whose result is unknown nothing more is done.
    broken: bool,
}

impl SqliteWriter {
    pub(super) fn new(
        connection: Connection,
        parts: Arc<Parts>,
        reserved: Position,
        indexed: Position,
    ) -> Self {
        SqliteWriter {
            connection,
            parts,
            reserved,
            indexed,
            pass: None,
            passes: indexed.0,
            behind: 0,
            stuck: false,
            keep_short: KeepShort::new(),
            broken: false,
        }
    }

    /// Runs `write` in a transaction. What fails before the commit is rolled back; what fails in it is unknown.
    pub(super) fn transact(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<(), CommitError>,
    ) -> Result<(), CommitError> {
        if self.broken || self.parts.suspect.load(Ordering::SeqCst) {
            self.broken = true;
            let source = StoreError::Io {
                doing: "writing after a failure",
                source: std::io::Error::other("the store is to be opened again"),
            };
            return Err(CommitError::Unknown(source));
        }
        match self.keep_short.before_transaction(&self.connection, &self.parts) {
            Ok(()) => {}
            Err(CommitError::Unknown(source)) => {
                self.broken = true;
                return Err(CommitError::Unknown(source));
            }
            // Nothing is lost by it: the log goes on where it is.
            Err(error) => tracing::warn!(%error, "the write-ahead log was not begun anew"),
        }
        let run = |sql: &str| self.connection.prepare_cached(sql).and_then(|mut s| s.execute([]));
        let begun = run("BEGIN IMMEDIATE")
            .map_err(|e| CommitError::RolledBack(StoreError::of(&self.connection, "beginning", e)));
        let result = begun.and_then(|_| write(&self.connection)).and_then(|()| {
            run("COMMIT").map(|_| ()).map_err(|e| match StoreError::of(&self.connection, "committing", e) {
                // The pages did not all get into the log, so no commit mark did either.
                StoreError::Full => CommitError::RolledBack(StoreError::Full),
                source => CommitError::Unknown(source),
            })
        });
        match result {
            Ok(()) if self.parts.is_suspect() => {
                self.broken = true;
                let source = std::io::Error::other("a checkpoint could not sync");
                Err(CommitError::Unknown(StoreError::Io { doing: "committing", source }))
            }
            Err(CommitError::Unknown(source)) => {
                self.broken = true;
                Err(CommitError::Unknown(source))
            }
            Err(error) if !self.connection.is_autocommit() => match run("ROLLBACK") {
                Ok(_) => Err(error),
                Err(source) => {
                    self.broken = true;
                    Err(CommitError::Unknown(StoreError::of(&self.connection, "rolling back", source)))
                }
            },
            other => other,
        }
    }
}

impl Writer for SqliteWriter {
    fn reserved(&self) -> Position {
        self.reserved
    }

    fn commit(&mut self, items: &[Item]) -> Result<(), CommitError> {
        let highest = items.iter().flat_map(|item| &item.writes).filter_map(placed_at).max();
        // Half of what was reserved is left when more is: a relaxed engine gives positions between commits.
        let low = self.reserved.0 - RESERVE / 2;
        let reserve = (items.is_empty() || highest.is_some_and(|p| p.0 >= low))
            .then(|| Position(self.reserved.0.max(highest.unwrap_or_default().0 + 1) + RESERVE));
        let parts = Arc::clone(&self.parts);
        let mut found = Found::default();
        self.transact(|connection| {
            // One statement for the rows of all items.
            let mut append = connection
                .prepare_cached(APPEND)
                .map_err(|e| blame(0, StoreError::of(connection, "writing", e)))?;
            for (number, item) in items.iter().enumerate() {
                for write in &item.writes {
                    apply(connection, &parts, &mut append, &mut found, write)
                        .map_err(|source| blame(number, source))?;
                }
            }
            drop(append);
            if let Some(reserve) = reserve {
                connection
                    .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'reserved'")
                    .and_then(|mut s| s.execute([sql(reserve.0)]))
                    .map_err(|e| {
                        CommitError::RolledBack(StoreError::of(connection, "reserving positions", e))
                    })?;
            }
            Ok(())
        })?;
        self.reserved = reserve.unwrap_or(self.reserved);
        let mut tail = self.parts.tail.write().unwrap_or_else(PoisonError::into_inner);
        for (position, change) in found.sides {
            if let Some(sides) = tail.at(position).map(|row| row.sides) {
                tail.set_sides(position, change(sides));
            }
        }
        for (position, size) in found.sizes {
            tail.set_size(position, size);
        }
        for write in items.iter().flat_map(|item| &item.writes) {
            match write {
                Write::Append(row) => {
                    tail.push(row);
                    self.behind += ENTRIES_A_ROW;
                }
                Write::Relayed { position, .. } => {
                    if let Some(sides) = tail.at(*position).map(|row| row.sides) {
                        tail.set_sides(*position, sides.cleared(Side::Recipient));
                    }
                }
                Write::Forward(Forward { position, .. }) => {
                    if let Some(sides) = tail.at(*position).map(|row| row.sides) {
                        tail.set_sides(*position, sides.forwarding(true));
                    }
                }
                Write::ClearSide { position, side } => {
                    if let Some(sides) = tail.at(*position).map(|row| row.sides) {
                        tail.set_sides(*position, sides.cleared(*side));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn index(&mut self, all: bool) -> Result<bool, CommitError> {
        self.index_slice(all)
    }
}

fn placed_at(write: &Write) -> Option<Position> {
    match write {
        Write::Append(row) => Some(row.position),
        Write::Buddy(_, buddy) => Some(buddy.version),
        Write::Account(record) | Write::AccountCreated(record) => Some(record.roster_version),
        Write::Pend(pending) => Some(pending.position),
        _ => None,
    }
}

/// A statement failed: because of the item, or of what it touches in the file, or because of the disk.
fn blame(item: usize, source: StoreError) -> CommitError {
    match &source {
        StoreError::Full => CommitError::RolledBack(source),
        StoreError::Sqlite { source: error, .. } => match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                CommitError::Item { item, source }
            }
            _ => CommitError::RolledBack(source),
        },
        StoreError::Refused(_) | StoreError::Conflict(_) | StoreError::Damaged { .. } => {
            CommitError::Item { item, source }
        }
        _ => CommitError::RolledBack(source),
    }
}

/// What becomes of the sides of a row.
type ChangeSides = fn(Sides) -> Sides;

/// What only the file knew of the rows that the writes are about: the tail in memory follows when it is committed.
#[derive(Default)]
struct Found {
    sides: Vec<(Position, ChangeSides)>,
    sizes: Vec<(Position, usize)>,
}

impl Found {
    fn change_sides(
        &mut self,
        connection: &Connection,
        parts: &Parts,
        position: Position,
        change: ChangeSides,
    ) -> Result<(), StoreError> {
        self.sides.push((position, change));
        change_sides(connection, parts, position, change)
    }
}

const APPEND: &str = "INSERT INTO log (position, sender, recipient, sides, body) VALUES (?1, ?2, ?3, ?4, ?5)";

fn apply(
    connection: &Connection,
    parts: &Parts,
    append: &mut CachedStatement<'_>,
    found: &mut Found,
    write: &Write,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::of(connection, "writing", e);
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(failed)
    };
    match write {
        Write::Append(row) => {
            let entry = &row.entry;
            let (sender, recipient) = (sql(entry.sender.to_bits()), sql(entry.recipient.to_bits()));
            let body = encode_row(row.position, entry);
            append
                .execute(params![sql(row.position.0), sender, recipient, row.sides.0, body])
                .map_err(failed)?;
            if entry.is_queued() && row.sides.needed_by(Side::Recipient) {
                run("INSERT INTO outbox (position) VALUES (?1)", &[&sql(row.position.0)])?;
                note_sent(connection, row.position)?;
            }
            if row.sides.is_quarantined() {
                let size = i64::try_from(entry.size()).unwrap_or(i64::MAX);
                let insert =
                    "INSERT INTO quarantine (account, position, sender, size) VALUES (?1, ?2, ?3, ?4)";
                run(insert, &[&recipient, &sql(row.position.0), &sender, &size])?;
            }
            if let Some(expires) = entry.expires {
                put_due(connection, entry.recipient, row.position, expires, Due::Expiry)?;
            }
        }
        Write::Marks { account, peer, marks } => {
            let Marks { read, delivered, displayed } = marks;
            let upsert = "INSERT INTO mark (account, peer, read, delivered, displayed) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (account, peer) DO UPDATE SET read = max(read, excluded.read),
                     delivered = max(delivered, excluded.delivered), displayed = max(displayed, excluded.displayed)";
            let key = (sql(account.to_bits()), sql(peer.to_bits()));
            run(upsert, &[&key.0, &key.1, &sql(read.0), &sql(delivered.0), &sql(displayed.0)])?;
        }
        Write::Amend { position, amendment, time } => {
            let size = i64::try_from(amendment.size()).unwrap_or(i64::MAX);
            let mut next = Some(*position);
            while let Some(position) = next.take() {
                let mut accounts = Vec::new();
                rewrite(connection, position, |entry| {
                    entry.amend(amendment, *time);
                    accounts = vec![entry.sender, entry.recipient];
                    next = entry.admitted_as;
                })?;
                // It counts against limits as it is now.
                found.sizes.push((position, amendment.size()));
                for account in accounts {
                    let key = (sql(account.to_bits()), sql(position.0));
                    for update in [
                        "UPDATE log_by_account SET size = ?3 WHERE account = ?1 AND position = ?2",
                        "UPDATE quarantine SET size = ?3 WHERE account = ?1 AND position = ?2",
                    ] {
                        run(update, &[&key.0, &key.1, &size])?;
                    }
                }
            }
        }
        Write::Outcome { position, outcome } => {
            rewrite(connection, *position, |entry| entry.outcome = Some(outcome.clone()))?;
        }
        Write::Due { position, recipient, time, what } => {
            // Whatever it was due at before.
            let delete = "DELETE FROM due WHERE position = ?1 AND what = ?2";
            run(delete, &[&sql(position.0), &due_number(*what)])?;
            put_due(connection, *recipient, *position, *time, *what)?;
        }
        Write::DueDone { position, what } => {
            let delete = "DELETE FROM due WHERE position = ?1 AND what = ?2";
            run(delete, &[&sql(position.0), &due_number(*what)])?;
        }
        Write::Forward(Forward { position, target, redirects }) => {
            let insert = "INSERT OR REPLACE INTO forward (position, target, redirects) VALUES (?1, ?2, ?3)";
            run(insert, &[&sql(position.0), &target.as_str(), redirects])?;
            let under_way = "UPDATE log SET sides = sides | ?2 WHERE position = ?1";
            run(under_way, &[&sql(position.0), &Sides::FORWARDING])?;
        }
        Write::Forwarded { position, target } => {
            let delete = "DELETE FROM forward WHERE position = ?1 AND target = ?2";
            run(delete, &[&sql(position.0), &target.as_str()])?;
            let left = connection
                .prepare_cached("SELECT 1 FROM forward WHERE position = ?1")
                .and_then(|mut s| s.exists([sql(position.0)]))
                .map_err(failed)?;
            if !left {
                found.change_sides(connection, parts, *position, |sides| sides.forwarding(false))?;
            }
        }
        Write::Release { position, admitted_as } => {
            let row = sides_of(connection, *position)?;
            if let Some((_, recipient, _)) = row.filter(|(.., sides)| sides.is_quarantined()) {
                let delete = "DELETE FROM quarantine WHERE account = ?1 AND position = ?2";
                run(delete, &[&sql(recipient.to_bits()), &sql(position.0)])?;
                if admitted_as.is_some() {
                    rewrite(connection, *position, |entry| entry.admitted_as = *admitted_as)?;
                }
                found.change_sides(connection, parts, *position, |sides| sides.quarantined(false))?;
            }
        }
        Write::Rules(owner, rules) => {
            let owner = rules_owner(owner);
            match rules {
                Some(rules) => {
                    let upsert = "INSERT INTO rules (owner, json) VALUES (?1, ?2)
                         ON CONFLICT (owner) DO UPDATE SET json = excluded.json";
                    run(upsert, &[&owner, &rules.to_json()])?;
                }
                None => drop(run("DELETE FROM rules WHERE owner = ?1", &[&owner])?),
            }
        }
        Write::Address { id, address } => {
            // Two accounts can make the same outside address known in one batch; it has one id all the same.
            let insert = "INSERT INTO address (id, text) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
            run(insert, &[&sql(id.to_bits()), &address.as_str()])?;
        }
        Write::Account(record) | Write::AccountCreated(record) => {
            let id = sql(record.id.to_bits());
            let exists = || connection.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([id]);
            if matches!(write, Write::AccountCreated(_)) && exists().map_err(failed)? {
                return Err(StoreError::account_exists(&record.address));
            }
            let upsert = "INSERT INTO account (id, domain, address, record, registered_until)
                 SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM domain WHERE name = ?2)
                 ON CONFLICT (id) DO UPDATE
                     SET record = excluded.record, registered_until = excluded.registered_until";
            let domain = record.address.domain();
            let until = Some(record.registered_until().0).filter(|until| *until != 0);
            if run(upsert, &[&id, &domain, &record.address.as_str(), &encode_record(record), &until])? == 0 {
                return Err(StoreError::Refused("the domain of the account is not hosted"));
            }
        }
        Write::Progress(account, progress) => {
            let upsert = "INSERT INTO progress (account, value) VALUES (?1, ?2)
                 ON CONFLICT (account) DO UPDATE SET value = excluded.value";
            run(upsert, &[&sql(account.to_bits()), &encode_progress(progress)])?;
        }
        Write::AccountDeleted(account) => {
            let id = sql(account.to_bits());
            let held: Vec<i64> = connection
                .prepare_cached("DELETE FROM quarantine WHERE account = ?1 RETURNING position")
                .and_then(|mut s| s.query_map([id], |row| row.get(0))?.collect())
                .map_err(failed)?;
            for position in held {
                let position = Position(bits(position));
                found.change_sides(connection, parts, position, |sides| sides.quarantined(false))?;
            }
            for delete in [
                "DELETE FROM account WHERE id = ?1",
                "DELETE FROM progress WHERE account = ?1",
                "DELETE FROM buddy WHERE account = ?1",
                "DELETE FROM client_id WHERE account = ?1",
                "DELETE FROM credential WHERE account = ?1",
                "DELETE FROM file WHERE account = ?1",
                "DELETE FROM mark WHERE account = ?1",
                "DELETE FROM rules WHERE owner = CAST(?1 AS TEXT)",
                "UPDATE address SET retired = 1 WHERE id = ?1",
                "INSERT OR IGNORE INTO unswept (account) VALUES (?1)",
            ] {
                run(delete, &[&id])?;
            }
        }
        Write::Swept(account) => {
            run("DELETE FROM unswept WHERE account = ?1", &[&sql(account.to_bits())])?;
        }
        Write::Buddy(account, buddy) => {
            let upsert = "INSERT INTO buddy (account, peer, version, value) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (account, peer) DO UPDATE SET version = excluded.version, value = excluded.value";
            let key = (sql(account.to_bits()), sql(buddy.peer.to_bits()));
            run(upsert, &[&key.0, &key.1, &sql(buddy.version.0), &encode_buddy(buddy)])?;
        }
        Write::BuddyReplaced { account, former } => {
            let delete = "DELETE FROM buddy WHERE account = ?1 AND peer = ?2";
            run(delete, &[&sql(account.to_bits()), &sql(former.to_bits())])?;
        }
        Write::Domain(domain, overrides) => {
            let upsert = "INSERT INTO domain (name, overrides) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET overrides = excluded.overrides";
            run(upsert, &[&domain.as_str(), &encode_overrides(overrides)])?;
        }
        Write::DomainRemoved(domain) => {
            let delete = "DELETE FROM domain WHERE name = ?1
                 AND NOT EXISTS (SELECT 1 FROM account WHERE domain = ?1)";
            if run(delete, &[&domain.as_str()])? == 0 {
                return Err(StoreError::Refused("the domain is not there, or has accounts still"));
            }
            run("DELETE FROM rules WHERE owner = ?1", &[&domain.as_str()])?;
        }
        Write::Pend(pending) => {
            let insert = "INSERT INTO pending (position, recipient, origin, sender, signal)
                 VALUES (?1, ?2, ?3, ?4, ?5)";
            connection
                .prepare_cached(insert)
                .and_then(|mut s| {
                    s.execute(params![
                        sql(pending.position.0),
                        pending.recipient.as_str(),
                        sql(pending.origin.to_bits()),
                        pending.origin_address.as_str(),
                        encode_signal(&pending.signal)
                    ])
                })
                .map_err(failed)?;
            note_sent(connection, pending.position)?;
        }
        Write::Settle { position, recipient } => {
            let delete = "DELETE FROM pending WHERE position = ?1 AND recipient = ?2";
            run(delete, &[&sql(position.0), &recipient.as_str()])?;
        }
        Write::ClearSide { position, side } => clear_side(connection, parts, *position, *side)?,
        Write::Relayed { position, outcome } => {
            run("DELETE FROM outbox WHERE position = ?1", &[&sql(position.0)])?;
            rewrite(connection, *position, |entry| entry.outcome = Some(outcome.clone()))?;
            clear_side(connection, parts, *position, Side::Recipient)?;
        }
        Write::Delivery { origin, recipient, delivery_id, time } => {
            let (from, to) = (sql(origin.to_bits()), sql(recipient.to_bits()));
            let insert = "INSERT OR REPLACE INTO delivery (origin, recipient, delivery_id, time)
                 VALUES (?1, ?2, ?3, ?4)";
            run(insert, &[&from, &to, &&**delivery_id, &time.0])?;
            // Two for one: it never grows for long.
            let forget = "DELETE FROM delivery WHERE (origin, recipient, delivery_id) IN
                 (SELECT origin, recipient, delivery_id FROM delivery WHERE time < ?1 ORDER BY time LIMIT 2)";
            run(forget, &[&(time.0 - DELIVERIES_ARE_KNOWN_MS)])?;
        }
        Write::Seen { file_generation, position } => {
            let upsert = "INSERT INTO seen (file_generation, position) VALUES (?1, ?2)
                 ON CONFLICT (file_generation) DO UPDATE SET position = max(position, excluded.position)";
            run(upsert, &[&sql(*file_generation), &sql(position.0)])?;
        }
        Write::FileGeneration(generation) => {
            run("UPDATE meta SET value = ?1 WHERE key = 'file_generation'", &[&sql(*generation)])?;
        }
        Write::ClientId(account, entry) => {
            put_client_id(connection, *account, entry)
                .and_then(|()| trim_ring_by_turns(connection, *account, entry.position))
                .map_err(failed)?;
        }
        Write::Credential(account, credential) => {
            let upsert = "INSERT INTO credential (account, mechanism, verifier) VALUES (?1, ?2, ?3)
                 ON CONFLICT (account, mechanism) DO UPDATE SET verifier = excluded.verifier";
            run(upsert, &[&sql(account.to_bits()), &credential.mechanism, &credential.verifier])?;
        }
        Write::FileRemoved(account, path) => {
            run("DELETE FROM file WHERE account = ?1 AND path = ?2", &[&sql(account.to_bits()), path])?;
        }
        Write::File(account, file) => {
            let upsert = "INSERT INTO file (account, path, modified, bytes) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (account, path) DO UPDATE SET modified = excluded.modified, bytes = excluded.bytes";
            run(upsert, &[&sql(account.to_bits()), &file.path, &file.modified.0, &file.bytes])?;
        }
    }
    Ok(())
}

fn put_due(
    connection: &Connection,
    recipient: AddressId,
    position: Position,
    time: Timestamp,
    what: Due,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO due (time, position, what, recipient) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut s| {
            s.execute(params![time.0, sql(position.0), due_number(what), sql(recipient.to_bits())])
        })
        .map_err(|e| StoreError::of(connection, "writing", e))?;
    Ok(())
}

const fn due_number(what: Due) -> u32 {
    match what {
        Due::Expiry => 0,
        Due::Rules(seconds) => seconds,
    }
}

pub(super) fn rules_owner(owner: &RulesOf) -> String {
    match owner {
        RulesOf::Server => String::new(),
        RulesOf::Domain(domain) => domain.as_str().to_owned(),
        RulesOf::Account(id) => sql(id.to_bits()).to_string(),
    }
}

/// Something was put where relays take from, at this position.
fn note_sent(connection: &Connection, position: Position) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE meta SET value = max(value, ?1) WHERE key = 'sent'")
        .and_then(|mut s| s.execute([sql(position.0)]))
        .map_err(|e| StoreError::of(connection, "writing", e))?;
    Ok(())
}

/// Changes what a row says, if it is there still.
fn rewrite(
    connection: &Connection,
    position: Position,
    change: impl FnOnce(&mut Entry),
) -> Result<(), StoreError> {
    let failed = |e| StoreError::of(connection, "changing a row", e);
    let found = connection
        .prepare_cached("SELECT position, sender, recipient, sides, body FROM log WHERE position = ?1")
        .and_then(|mut s| s.query_row([sql(position.0)], row_of).optional())
        .map_err(failed)?;
    let Some(mut row) = found else { return Ok(()) };
    change(&mut row.entry);
    connection
        .prepare_cached("UPDATE log SET body = ?2 WHERE position = ?1")
        .and_then(|mut s| s.execute(params![sql(position.0), encode_row(position, &row.entry)]))
        .map_err(failed)?;
    Ok(())
}

/// What became of a send whose row is gone, or was never written.
fn put_client_id(connection: &Connection, account: AddressId, entry: &ClientIdEntry) -> rusqlite::Result<()> {
    let upsert =
        "INSERT OR REPLACE INTO client_id (account, position, hash, time, value) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(upsert)?.execute(params![
        sql(account.to_bits()),
        sql(entry.position.0),
        sql(entry.client_id.hash64()),
        entry.time.0,
        encode_client_id(entry)
    ])?;
    Ok(())
}

/// What became of a send whose row goes. One that the index had reached has its entry in the ring, or had it and was
/// forgotten; a deleted account has no ring.
fn leave_client_id(
    connection: &Connection,
    account: AddressId,
    entry: &ClientIdEntry,
    indexed: bool,
) -> rusqlite::Result<()> {
    let (id, position) = (sql(account.to_bits()), sql(entry.position.0));
    let changed = connection
        .prepare_cached("UPDATE client_id SET value = ?3 WHERE account = ?1 AND position = ?2")?
        .execute(params![id, position, encode_client_id(entry)])?;
    let has_ring = || connection.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([id]);
    if changed == 0 && !indexed && has_ring()? {
        put_client_id(connection, account, entry)?;
    }
    Ok(())
}

/// One side needs the row no more. Its entries in the indexes go with it, and when it was the last side the row
/// itself goes, leaving its client id in the ring.
fn clear_side(
    connection: &Connection,
    parts: &Parts,
    position: Position,
    side: Side,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::of(connection, "clearing a side", e);
    let Some((sender, recipient, before)) = sides_of(connection, position)? else {
        return Ok(());
    };
    // Clearing twice changes nothing.
    let sides = before.cleared(side);
    if sides == before {
        return Ok(());
    }
    let (account, peer) = match side {
        Side::Sender => (sender, recipient),
        Side::Recipient => (recipient, sender),
    };
    let account_needs = sides.needed_by(Side::Sender) && sender == account
        || sides.needed_by(Side::Recipient) && recipient == account;
    let unindex = || -> rusqlite::Result<()> {
        let key = (sql(account.to_bits()), sql(position.0));
        if account_needs {
            // A message to oneself: the account keeps its entry for the other side.
            let left = if side == Side::Recipient { 2 } else { 1 };
            connection
                .prepare_cached("UPDATE log_by_account SET side = ?3 WHERE account = ?1 AND position = ?2")?
                .execute(params![key.0, key.1, left])?;
        } else {
            connection
                .prepare_cached("DELETE FROM log_by_account WHERE account = ?1 AND position = ?2")?
                .execute(params![key.0, key.1])?;
            connection
                .prepare_cached("DELETE FROM log_by_peer WHERE account = ?1 AND peer = ?2 AND position = ?3")?
                .execute(params![key.0, sql(peer.to_bits()), key.1])?;
        }
        Ok(())
    };
    unindex().map_err(failed)?;
    change_sides(connection, parts, position, |sides| sides.cleared(side))
}

/// Who a row is from and to, and what both still want of it; `None` when it is gone.
fn sides_of(
    connection: &Connection,
    position: Position,
) -> Result<Option<(AddressId, AddressId, Sides)>, StoreError> {
    connection
        .prepare_cached("SELECT sender, recipient, sides FROM log WHERE position = ?1")
        .and_then(|mut s| {
            s.query_row([sql(position.0)], |row| {
                let (sender, recipient): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok((
                    AddressId::from_bits(bits(sender)),
                    AddressId::from_bits(bits(recipient)),
                    Sides(row.get(2)?),
                ))
            })
            .optional()
        })
        .map_err(|e| StoreError::of(connection, "looking at the sides of a row", e))
}

/// What is wanted of a row is less from now on. One that nobody wants goes, and its client id enters the ring.
fn change_sides(
    connection: &Connection,
    parts: &Parts,
    position: Position,
    change: impl FnOnce(Sides) -> Sides,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::of(connection, "changing the sides of a row", e);
    let Some((sender, _, before)) = sides_of(connection, position)? else {
        return Ok(());
    };
    let sides = change(before);
    if !sides.is_clear() {
        connection
            .prepare_cached("UPDATE log SET sides = ?2 WHERE position = ?1")
            .and_then(|mut s| s.execute(params![sql(position.0), sides.0]))
            .map_err(failed)?;
        return Ok(());
    }
    let row = take_row(connection, parts, position)?;
    if let Some(entry) = row.as_ref().and_then(ClientIdEntry::of) {
        let indexed = parts.tail.read().unwrap_or_else(PoisonError::into_inner).at(position).is_none();
        leave_client_id(connection, sender, &entry, indexed).map_err(failed)?;
    }
    Ok(())
}

fn take_row(connection: &Connection, parts: &Parts, position: Position) -> Result<Option<Row>, StoreError> {
    let delete = "DELETE FROM log WHERE position = ?1 RETURNING sender, recipient, sides, body";
    connection
        .prepare_cached(delete)
        .and_then(|mut statement| {
            statement
                .query_row([sql(position.0)], |row| {
                    let sender = AddressId::from_bits(bits(row.get(0)?));
                    let recipient = AddressId::from_bits(bits(row.get(1)?));
                    let body = row.get_ref(3)?.as_blob().unwrap_or_default();
                    Ok((Sides(row.get(2)?), decode_row(position, sender, recipient, body)))
                })
                .optional()
        })
        .map_err(|e| StoreError::of(connection, "deleting a row", e))?
        .map(|(sides, entry)| {
            let entry = entry.map_err(|e| StoreError::row(&parts.path, position, e.0))?;
            Ok(Row { position, sides, entry })
        })
        .transpose()
}
