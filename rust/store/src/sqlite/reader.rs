//! Reads: each a short transaction of its own, joined with the tail.
//!
//! The tail is looked at first and the file afterwards: a row that leaves the tail in between is in the indexes by
//! then, so it is found twice at the worst and never not at all.

use super::backup::backup;
use super::open::{Parts, connect, head_of, row_of};
use super::tail::TailRow;
use super::{bits, sql};
use crate::values::{decode_buddy, decode_client_id, decode_progress, decode_record, decode_signal};
use crate::{
    Anchor, Direction, DueRow, FileInfo, Head, HistoryPage, HistoryQuery, Loaded, Reader, StoreError,
    StoredRows, UnclaimedRow,
};
use rosterkit_core::account::Progress;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, ClientId, Position};
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{Row, Side};
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{ClientIdEntry, Credential, File, Forward, Pending};
use rusqlite::types::Value;
use rusqlite::vtab::array;
use rusqlite::{Connection, OptionalExtension, Params, params};
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

pub(super) struct SqliteReader {
    pub(super) connection: Connection,
    parts: Arc<Parts>,
}

impl SqliteReader {
    pub(super) fn open(parts: &Arc<Parts>) -> Result<Self, StoreError> {
        let connection = connect(&parts.path, &parts.options)?;
        array::load_module(&connection).map_err(|e| StoreError::of(&connection, "opening the file", e))?;
        Ok(SqliteReader { connection, parts: Arc::clone(parts) })
    }

    /// Runs `read` on one state of the file.
    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = |sql: &str| self.connection.prepare_cached(sql).and_then(|mut s| s.execute([]));
        let result = run("BEGIN").and_then(|_| read(self));
        // A read that failed leaves nothing behind; ending it cannot fail in a way that matters.
        let _ = run("COMMIT").or_else(|_| run("ROLLBACK"));
        result.map_err(|error| StoreError::of(&self.connection, "reading", error))
    }

    /// What the tail has of an account, newest first.
    pub(super) fn tail_of<T>(
        &self,
        account: AddressId,
        mut each: impl FnMut(&TailRow) -> Option<T>,
    ) -> Vec<T> {
        let tail = self.parts.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.of(account).map_while(&mut each).collect()
    }

    /// Looks rows up with one statement, in the order of their places, until `each` has had enough; those that are gone are
    /// left out. A statement for each would cost more than what it reads, and would go down the tree again where its neighbour
    /// is next to the one before.
    fn look_up(
        &self,
        positions: &[Position],
        mut each: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let mut select = self.connection.prepare_cached(
            "SELECT l.position, l.sender, l.recipient, l.sides, l.body FROM rarray(?1) wanted
             CROSS JOIN log l ON l.position = wanted.value",
        )?;
        let wanted: Vec<Value> = positions.iter().map(|p| Value::Integer(sql(p.0))).collect();
        let mut rows = select.query([Rc::new(wanted)])?;
        while let Some(row) = rows.next()? {
            if each(row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// All of these rows.
    fn found_at(&self, positions: &[Position]) -> rusqlite::Result<Vec<Row>> {
        let mut found = Vec::with_capacity(positions.len());
        let _ = self.look_up(positions, |row| {
            found.push(row_of(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Those of these rows that are `wanted`, as they are stored, until there are `limit` of them or they have `max_bytes`.
    fn stored(
        &self,
        positions: &[Position],
        wanted: impl Fn(&Head) -> bool,
        (limit, max_bytes): (usize, usize),
    ) -> rusqlite::Result<StoredRows> {
        let mut found = StoredRows::of(&self.parts.path);
        // The tail may be long, and what is wanted of it short.
        for some in positions.chunks(limit.max(1)) {
            let full = self.look_up(some, |row| {
                let head = head_of(row)?;
                if wanted(&head) {
                    found.push(head, row.get_ref(4)?.as_blob().unwrap_or_default());
                }
                Ok(match found.heads().len() >= limit || found.size() >= max_bytes {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
            })?;
            if full.is_break() {
                break;
            }
        }
        Ok(found)
    }

    fn positions(&self, select: &str, params: impl Params) -> rusqlite::Result<Vec<Position>> {
        let mut statement = self.connection.prepare_cached(select)?;
        let rows = statement.query_map(params, |row| Ok(Position(bits(row.get(0)?))))?;
        rows.collect()
    }

    pub(super) fn malformed(&self) -> impl Fn(crate::codec::Malformed) -> StoreError + use<'_> {
        |what| StoreError::malformed(&self.parts.path, what)
    }

    /// An account out of its record and progress, with what the log has above its claims.
    fn load(
        &mut self,
        id: AddressId,
        address: Address,
        record: &[u8],
        progress: Option<&[u8]>,
        rules: Option<&str>,
    ) -> Result<Loaded, StoreError> {
        let record = decode_record(id, address, record).map_err(self.malformed())?;
        let progress = match progress {
            Some(stored) => decode_progress(stored).map_err(self.malformed())?,
            None => Progress::default(),
        };
        let upto = progress.claims.upto();
        let mut last = Position::ZERO;
        let mut unclaimed = self.tail_of(id, |row| {
            let received = row.recipient == id && row.sides.needed_by(Side::Recipient);
            if received || row.sender == id && row.sides.needed_by(Side::Sender) {
                last = last.max(row.position);
            }
            (row.position > upto).then(|| {
                received.then_some(UnclaimedRow {
                    position: row.position,
                    sender: row.sender,
                    size: row.size,
                })
            })
        });
        let indexed = self.read(|reader| {
            let mut select = reader.connection.prepare_cached(
                "SELECT position, side, peer, size FROM log_by_account WHERE account = ?1 AND position > ?2",
            )?;
            let rows = select.query_map(params![sql(id.to_bits()), sql(upto.0)], |row| {
                let position = Position(bits(row.get(0)?));
                let received = row.get::<_, i64>(1)? & 1 != 0;
                let sender = AddressId::from_bits(bits(row.get(2)?));
                Ok((position, received.then_some(UnclaimedRow { position, sender, size: row.get(3)? })))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (position, row) in indexed {
            last = last.max(position);
            unclaimed.push(row);
        }
        let mut unclaimed: Vec<UnclaimedRow> =
            unclaimed.into_iter().flatten().filter(|row| !progress.claims.is_claimed(row.position)).collect();
        unclaimed.sort_unstable_by_key(|row| row.position);
        unclaimed.dedup();
        let rules = rules.map(|json| read_rules(&self.parts.path, json)).transpose()?;
        let (record, last, quarantined) = (Arc::new(record), last.max(upto), Vec::new());
        Ok(Loaded { record, progress, unclaimed, quarantined, last, rules })
    }

    fn quarantined(&mut self, account: AddressId) -> Result<Vec<UnclaimedRow>, StoreError> {
        self.read(|reader| {
            let mut select = reader.connection.prepare_cached(
                "SELECT position, sender, size FROM quarantine WHERE account = ?1 ORDER BY position",
            )?;
            let rows = select.query_map([sql(account.to_bits())], |row| {
                let sender = AddressId::from_bits(bits(row.get(1)?));
                Ok(UnclaimedRow { position: Position(bits(row.get(0)?)), sender, size: row.get(2)? })
            })?;
            rows.collect()
        })
    }
}

/// Rules as they were stored.
pub(super) fn read_rules(path: &std::path::Path, json: &str) -> Result<Arc<RuleSet>, StoreError> {
    RuleSet::load(json).map(Arc::new).map_err(|error| StoreError::Damaged {
        path: path.display().to_string(),
        what: format!("rules: {error}"),
    })
}

impl Reader for SqliteReader {
    fn again(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.parts)?))
    }

    fn address_id(&mut self, address: &Address) -> Result<Option<AddressId>, StoreError> {
        self.connection
            .prepare_cached("SELECT id FROM address WHERE text = ?1 AND retired = 0")
            .and_then(|mut s| s.query_row([address.bare_str()], |row| row.get::<_, i64>(0)).optional())
            .map(|id| id.map(|id| AddressId::from_bits(bits(id))))
            .map_err(|e| StoreError::of(&self.connection, "looking up an address", e))
    }

    fn addresses(&mut self, ids: &[AddressId]) -> Result<Vec<Option<Address>>, StoreError> {
        ids.iter()
            .map(|id| {
                let text = self
                    .connection
                    .prepare_cached("SELECT text FROM address WHERE id = ?1")
                    .and_then(|mut s| {
                        s.query_row([sql(id.to_bits())], |row| row.get::<_, String>(0)).optional()
                    })
                    .map_err(|e| StoreError::of(&self.connection, "looking up an id", e))?;
                Ok(text.and_then(|text| Address::new(&text).ok()))
            })
            .collect()
    }

    fn account(&mut self, address: &Address) -> Result<Option<Loaded>, StoreError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT a.id, c.record, p.value, r.json, EXISTS (SELECT 1 FROM quarantine q WHERE q.account = a.id)
                 FROM address a JOIN account c ON c.id = a.id
                 LEFT JOIN progress p ON p.account = a.id LEFT JOIN rules r ON r.owner = CAST(a.id AS TEXT)
                 WHERE a.text = ?1 AND a.retired = 0",
            )
            .and_then(|mut s| {
                s.query_row([address.bare_str()], |row| {
                    let id = AddressId::from_bits(bits(row.get(0)?));
                    let progress = row.get::<_, Option<Vec<u8>>>(2)?;
                    let rules = row.get::<_, Option<String>>(3)?;
                    Ok((id, row.get::<_, Vec<u8>>(1)?, progress, rules, row.get(4)?))
                })
                .optional()
            })
            .map_err(|e| StoreError::of(&self.connection, "loading an account", e))?;
        let Some((id, record, progress, rules, has_quarantined)) = found else {
            return Ok(None);
        };
        let mut loaded = self.load(id, address.bare(), &record, progress.as_deref(), rules.as_deref())?;
        if has_quarantined {
            loaded.quarantined = self.quarantined(id)?;
        }
        Ok(Some(loaded))
    }

    fn accounts(
        &mut self,
        domain: &Domain,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError> {
        let select =
            "SELECT address FROM account WHERE domain = ?1 AND address > ?2 ORDER BY address LIMIT ?3";
        let after = after.map_or("", Address::as_str);
        let texts = self
            .connection
            .prepare_cached(select)
            .and_then(|mut s| {
                s.query_map(params![domain.as_str(), after, limit as i64], |row| row.get::<_, String>(0))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(|e| StoreError::of(&self.connection, "listing accounts", e))?;
        Ok(texts.iter().filter_map(|text| Address::new(text).ok()).collect())
    }

    fn registered(
        &mut self,
        beyond: Timestamp,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError> {
        let after = after.map_or("", Address::as_str);
        let texts = self.read(|reader| {
            let mut select = reader.connection.prepare_cached(
                "SELECT address FROM account WHERE registered_until > ?1 AND address > ?2 ORDER BY address LIMIT ?3",
            )?;
            let rows = select.query_map(params![beyond.0, after, limit as i64], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(texts.iter().filter_map(|text| Address::new(text).ok()).collect())
    }

    fn buddy(&mut self, account: AddressId, peer: AddressId) -> Result<Option<Buddy>, StoreError> {
        self.connection
            .prepare_cached("SELECT version, value FROM buddy WHERE account = ?1 AND peer = ?2")
            .and_then(|mut s| {
                s.query_row([sql(account.to_bits()), sql(peer.to_bits())], |row| {
                    Ok((Position(bits(row.get(0)?)), row.get::<_, Vec<u8>>(1)?))
                })
                .optional()
            })
            .map_err(|e| StoreError::of(&self.connection, "reading a buddy", e))?
            .map(|(version, value)| decode_buddy(peer, version, &value).map_err(self.malformed()))
            .transpose()
    }

    fn former_buddy(
        &mut self,
        account: AddressId,
        address: &Address,
        id: AddressId,
    ) -> Result<Option<Buddy>, StoreError> {
        // Ids of one address have one slot.
        let select = "SELECT max(b.peer) FROM buddy b JOIN address a ON a.id = b.peer
             WHERE b.account = ?1 AND b.peer < ?3 AND b.peer % ?4 = ?3 % ?4 AND a.text = ?2";
        let (of, slots) = (sql(account.to_bits()), sql(AddressId::SLOTS));
        let peer: Option<i64> = self
            .connection
            .prepare_cached(select)
            .and_then(|mut s| {
                s.query_row(params![of, address.as_str(), sql(id.to_bits()), slots], |row| row.get(0))
            })
            .map_err(|e| StoreError::of(&self.connection, "reading a former buddy", e))?;
        match peer {
            Some(peer) => self.buddy(account, AddressId::from_bits(bits(peer))),
            None => Ok(None),
        }
    }

    fn buddies(&mut self, account: AddressId, since: Position) -> Result<Vec<Buddy>, StoreError> {
        let rows = self
            .connection
            .prepare_cached("SELECT peer, version, value FROM buddy WHERE account = ?1")
            .and_then(|mut s| {
                s.query_map([sql(account.to_bits())], |row| {
                    let peer = AddressId::from_bits(bits(row.get(0)?));
                    Ok((peer, Position(bits(row.get(1)?)), row.get::<_, Vec<u8>>(2)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(|e| StoreError::of(&self.connection, "reading a roster", e))?;
        let mut buddies = rows
            .into_iter()
            .filter(|(_, version, _)| *version > since || since == Position::ZERO)
            .map(|(peer, version, value)| decode_buddy(peer, version, &value).map_err(self.malformed()))
            .collect::<Result<Vec<_>, _>>()?;
        buddies.sort_unstable_by(|a, b| (&a.address, a.peer).cmp(&(&b.address, b.peer)));
        Ok(buddies)
    }

    fn stored(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
        max_bytes: usize,
    ) -> Result<StoredRows, StoreError> {
        // The chain goes from the newest to the oldest, and ends where the account was read to.
        let mut positions = self.tail_of(account, |row| (row.position > after).then_some(row.position));
        self.read(|reader| {
            let select = "SELECT position FROM log_by_account
                 WHERE account = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";
            let id = sql(account.to_bits());
            positions.extend(reader.positions(select, params![id, sql(after.0), sql(upto.0), limit as i64])?);
            positions.retain(|p| *p <= upto);
            positions.sort_unstable();
            positions.dedup();
            reader.stored(&positions, |head| head.is_needed_by(account), (limit, max_bytes))
        })
    }

    fn stored_at(&mut self, positions: &[Position], max_bytes: usize) -> Result<StoredRows, StoreError> {
        self.read(|reader| reader.stored(positions, |_| true, (positions.len(), max_bytes)))
    }

    fn history(&mut self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let mut most = query.limit.saturating_add(1);
        loop {
            if let Some(page) = self.history_page(query, most)? {
                return Ok(page);
            }
            // What was taken of the tail was not enough: too much of it is no history.
            most = most.saturating_mul(8);
        }
    }

    fn needed(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Vec<(Position, Side)>, StoreError> {
        let rows = self.rows(account, after, upto, limit, usize::MAX)?;
        Ok(rows
            .iter()
            .flat_map(|row| {
                let sides = row.entry.sides_of(account).filter(|side| row.sides.needed_by(*side));
                sides.map(|side| (row.position, side))
            })
            .collect())
    }

    fn client_id(&mut self, account: AddressId, id: &ClientId) -> Result<Option<ClientIdEntry>, StoreError> {
        let hash = id.hash64();
        let in_tail = self.tail_of(account, |row| {
            Some((row.sender == account && row.client_id == Some(hash)).then_some(row.position))
        });
        let (rows, entries) = self.read(|reader| {
            let mut positions: Vec<Position> = in_tail.into_iter().flatten().collect();
            let mut select = reader
                .connection
                .prepare_cached("SELECT position, value FROM client_id WHERE account = ?1 AND hash = ?2")?;
            let mut entries = Vec::new();
            for ring in select.query_map([sql(account.to_bits()), sql(hash)], |row| {
                Ok((Position(bits(row.get(0)?)), row.get::<_, Option<Vec<u8>>>(1)?))
            })? {
                match ring? {
                    (position, Some(value)) => entries.push((position, value)),
                    (position, None) => positions.push(position),
                }
            }
            Ok((reader.found_at(&positions)?, entries))
        })?;
        let mut found = None;
        for row in rows {
            found = ClientIdEntry::of(&row).filter(|e| e.client_id == *id).or(found);
        }
        for (position, value) in entries {
            let entry = decode_client_id(position, &value).map_err(self.malformed())?;
            found = Some(entry).filter(|e| e.client_id == *id).or(found);
        }
        Ok(found)
    }

    fn client_id_hashes(&mut self, account: AddressId) -> Result<Vec<u64>, StoreError> {
        let mut hashes: Vec<u64> = self
            .tail_of(account, |row| Some(row.client_id.filter(|_| row.sender == account)))
            .into_iter()
            .flatten()
            .collect();
        let indexed = self.read(|reader| {
            let mut select =
                reader.connection.prepare_cached("SELECT hash FROM client_id WHERE account = ?1")?;
            let rows = select.query_map([sql(account.to_bits())], |row| row.get::<_, i64>(0).map(bits))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        hashes.extend(indexed);
        Ok(hashes)
    }

    fn pending(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let (position, recipient) = match &after {
            Some((position, recipient)) => (sql(position.0), recipient.as_str()),
            None => (-1, ""),
        };
        let select = "SELECT position, recipient, origin, sender, signal FROM pending
             WHERE (position, recipient) > (?1, ?2) ORDER BY position, recipient LIMIT ?3";
        let rows = self
            .connection
            .prepare_cached(select)
            .and_then(|mut s| {
                s.query_map(params![position, recipient, limit as i64], |row| {
                    let key = (Position(bits(row.get(0)?)), row.get::<_, String>(1)?);
                    Ok((key, bits(row.get(2)?), row.get::<_, String>(3)?, row.get::<_, Vec<u8>>(4)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(|e| StoreError::of(&self.connection, "reading pending signals", e))?;
        rows.into_iter()
            .map(|((position, recipient), origin, sender, signal)| {
                let address =
                    |text: &str| crate::values::address_of(text.as_bytes()).map_err(self.malformed());
                Ok(Pending {
                    position,
                    origin: AddressId::from_bits(origin),
                    origin_address: address(&sender)?,
                    recipient: address(&recipient)?,
                    signal: decode_signal(&signal).map_err(self.malformed())?,
                })
            })
            .collect()
    }

    fn outbox(&mut self, after: Position, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.read(|reader| {
            reader
                .connection
                .prepare_cached(
                    "SELECT l.position, l.sender, l.recipient, l.sides, l.body FROM outbox o
                     JOIN log l ON l.position = o.position WHERE o.position > ?1 ORDER BY o.position LIMIT ?2",
                )?
                .query_map(params![sql(after.0), limit as i64], row_of)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })
    }

    fn is_delivered(
        &mut self,
        origin: AddressId,
        recipient: AddressId,
        delivery_id: &str,
    ) -> Result<bool, StoreError> {
        self.read(|reader| {
            reader
                .connection
                .prepare_cached(
                    "SELECT 1 FROM delivery WHERE origin = ?1 AND recipient = ?2 AND delivery_id = ?3",
                )?
                .exists(params![sql(origin.to_bits()), sql(recipient.to_bits()), delivery_id])
        })
    }

    fn seen(&mut self, file_generation: u64) -> Result<Option<Position>, StoreError> {
        self.read(|reader| {
            reader
                .connection
                .prepare_cached("SELECT position FROM seen WHERE file_generation = ?1")?
                .query_row([sql(file_generation)], |row| row.get(0))
                .optional()
        })
        .map(|position| position.map(|position| Position(bits(position))))
    }

    fn latest_of_peers(
        &mut self,
        account: AddressId,
        before: Position,
    ) -> Result<Vec<(AddressId, Position)>, StoreError> {
        self.latest_rows(account, before)
    }

    fn marks_with(&mut self, account: AddressId, peers: &[AddressId]) -> Result<Vec<Marks>, StoreError> {
        self.marks_of(account, peers)
    }

    fn due(
        &mut self,
        upto: Timestamp,
        of: &dyn Fn(&DueRow) -> bool,
        limit: usize,
    ) -> Result<Vec<DueRow>, StoreError> {
        self.due_rows(upto, of, limit)
    }

    fn forwards(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Forward>, StoreError> {
        self.forwards_behind(after, limit)
    }

    fn credentials(&mut self, account: AddressId) -> Result<Vec<Credential>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT mechanism, verifier FROM credential WHERE account = ?1 ORDER BY mechanism",
            )
            .and_then(|mut s| {
                s.query_map([sql(account.to_bits())], |row| {
                    Ok(Credential { mechanism: row.get(0)?, verifier: row.get(1)? })
                })?
                .collect()
            })
            .map_err(|e| StoreError::of(&self.connection, "reading credentials", e))
    }

    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        backup(&self.connection, &self.parts.options, to)
    }

    fn files(&mut self, account: AddressId) -> Result<Vec<FileInfo>, StoreError> {
        let select = "SELECT path, length(bytes), modified FROM file WHERE account = ?1 ORDER BY path";
        self.connection
            .prepare_cached(select)
            .and_then(|mut s| {
                s.query_map([sql(account.to_bits())], |row| {
                    let size = row.get::<_, i64>(1)?.unsigned_abs();
                    Ok(FileInfo { path: row.get(0)?, size, modified: Timestamp(row.get(2)?) })
                })?
                .collect()
            })
            .map_err(|e| StoreError::of(&self.connection, "listing files", e))
    }

    fn file(&mut self, account: AddressId, path: &str) -> Result<Option<File>, StoreError> {
        self.connection
            .prepare_cached("SELECT modified, bytes FROM file WHERE account = ?1 AND path = ?2")
            .and_then(|mut s| {
                s.query_row(params![sql(account.to_bits()), path], |row| {
                    Ok(File { path: path.to_owned(), modified: Timestamp(row.get(0)?), bytes: row.get(1)? })
                })
                .optional()
            })
            .map_err(|e| StoreError::of(&self.connection, "reading a file", e))
    }
}

impl SqliteReader {
    /// A page of the history with the newest `most` candidates of the tail at the most; `None` when older ones could belong
    /// to it.
    fn history_page(&mut self, query: &HistoryQuery, most: usize) -> Result<Option<HistoryPage>, StoreError> {
        let HistoryQuery { account, peer, anchor, direction, limit } = *query;
        let older = direction == Direction::Older;
        let wanted = |position: Position, time: Timestamp| match anchor {
            Anchor::End => true,
            Anchor::Row(at) => {
                if older {
                    position < at
                } else {
                    position > at
                }
            }
            Anchor::Time(at) => {
                if older {
                    time < at
                } else {
                    time >= at
                }
            }
        };
        // The rows of the tail come before (older) or behind (newer) those of the index.
        let mut tail = Vec::new();
        let mut cut = false;
        self.tail_of(account, |row| {
            let with = if row.sender == account { row.recipient } else { row.sender };
            if peer.is_none_or(|p| p == with) && wanted(row.position, row.time) {
                cut = older && tail.len() == most;
                if !cut {
                    tail.push(row.position);
                }
            }
            let passed = !older && matches!(anchor, Anchor::Row(at) if row.position <= at);
            (!cut && !passed).then_some(())
        });
        let (mut rows, complete) = self.read(|reader| {
            let mut candidates = tail;
            // Enough for the page and one more, which says whether there is more; rows that turn out not to be
            // history are made up for by further rounds.
            let mut bound = match (anchor, older) {
                (Anchor::Row(at), _) => at,
                (_, true) => Position::MAX,
                (_, false) => Position::ZERO,
            };
            let mut page: Vec<Row> = Vec::new();
            loop {
                let indexed = match cut {
                    // All of the index is older than what is left of the tail.
                    true => Vec::new(),
                    false => reader.history_positions(account, peer, anchor, older, bound, limit + 1)?,
                };
                let exhausted = indexed.len() <= limit;
                let reached = indexed.last().copied();
                // From the tail only what lies within what the index was read for: order is one over both.
                let horizon = |p: &Position| match reached {
                    Some(reached) if !exhausted => {
                        if older {
                            *p >= reached
                        } else {
                            *p <= reached
                        }
                    }
                    _ => true,
                };
                let mut round: Vec<Position> = candidates.iter().copied().filter(|p| horizon(p)).collect();
                candidates.retain(|p| !horizon(p));
                round.extend(indexed);
                round.sort_unstable();
                round.dedup();
                if older {
                    round.reverse();
                }
                let full = reader.look_up(&round, |row| {
                    let row = row_of(row);
                    let counts = row.as_ref().map_or(true, |row| {
                        row.entry.sides_of(account).any(|side| row.sides.in_history_of(side))
                            && matches!(row.entry.kind, rosterkit_core::row::Kind::Message(_))
                    });
                    // One more says that there is more.
                    if counts && page.len() == limit {
                        return Ok(ControlFlow::Break(()));
                    }
                    if counts {
                        page.push(row?);
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
                if full.is_break() {
                    return Ok((page, false));
                }
                match reached {
                    Some(reached) if !exhausted => bound = reached,
                    _ => return Ok((page, true)),
                }
            }
        })?;
        if cut && complete {
            return Ok(None);
        }
        if older {
            rows.reverse();
        }
        Ok(Some(HistoryPage { rows, complete }))
    }

    /// Positions of an account's indexed rows from `bound` on, in the direction asked for.
    fn history_positions(
        &self,
        account: AddressId,
        peer: Option<AddressId>,
        anchor: Anchor,
        older: bool,
        bound: Position,
        limit: usize,
    ) -> rusqlite::Result<Vec<Position>> {
        let (table, with) = match peer {
            Some(_) => ("log_by_peer", "AND peer = ?2"),
            None => ("log_by_account", "AND ?2 IS NULL"),
        };
        let (beyond, order) = if older { ("<", "DESC") } else { (">", "ASC") };
        let (when, time) = match anchor {
            Anchor::Time(at) if older => ("AND time < ?5", Some(at.0)),
            Anchor::Time(at) => ("AND time >= ?5", Some(at.0)),
            _ => ("AND ?5 IS NULL", None),
        };
        let select = format!(
            "SELECT position FROM {table} WHERE account = ?1 {with} AND position {beyond} ?3 {when}
             ORDER BY position {order} LIMIT ?4"
        );
        let peer = peer.map(|p| sql(p.to_bits()));
        self.positions(&select, params![sql(account.to_bits()), peer, sql(bound.0), limit as i64, time])
    }
}
