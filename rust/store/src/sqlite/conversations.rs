//! What is read of an account's conversations, and of rows that are to be looked at again or sent on.

use super::reader::SqliteReader;
use super::{bits, sql};
use crate::values::address_of;
use crate::{DueRow, StoreError};
use rosterkit_core::address::Address;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::Side;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{Due, Forward};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

/// Goes from peer to peer by the index: as many steps as there are peers, however many rows.
const PEERS: &str = "WITH RECURSIVE peers (peer) AS (
    SELECT min(peer) FROM log_by_peer WHERE account = ?1
    UNION ALL
    SELECT (SELECT min(peer) FROM log_by_peer WHERE account = ?1 AND peer > peers.peer) FROM peers
    WHERE peers.peer IS NOT NULL
) SELECT peer, (SELECT max(position) FROM log_by_peer WHERE account = ?1 AND peer = peers.peer)
  FROM peers WHERE peer IS NOT NULL";

impl SqliteReader {
    /// See [`Reader::latest_of_peers`](crate::Reader::latest_of_peers).
    pub(super) fn latest_rows(
        &mut self,
        account: AddressId,
        before: Position,
    ) -> Result<Vec<(AddressId, Position)>, StoreError> {
        let in_tail = self.tail_of(account, |row| {
            let sent = row.sender == account && row.sides.needed_by(Side::Sender);
            let received = row.recipient == account && row.sides.needed_by(Side::Recipient);
            let peer = if row.sender == account { row.recipient } else { row.sender };
            Some((sent || received).then_some((peer, row.position)))
        });
        let indexed = self.read(|reader| {
            let mut select = reader.connection.prepare_cached(PEERS)?;
            let rows = select.query_map([sql(account.to_bits())], |row| {
                Ok((AddressId::from_bits(bits(row.get(0)?)), Position(bits(row.get(1)?))))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut latest = BTreeMap::new();
        for (peer, position) in in_tail.into_iter().flatten().chain(indexed) {
            let newest = latest.entry(peer).or_insert(position);
            *newest = position.max(*newest);
        }
        let mut latest: Vec<_> = latest.into_iter().filter(|(_, position)| *position < before).collect();
        latest.sort_unstable_by_key(|(_, position)| std::cmp::Reverse(*position));
        Ok(latest)
    }

    /// See [`Reader::marks_with`](crate::Reader::marks_with). All in one transaction, whose locks cost more than what it reads.
    pub(super) fn marks_of(
        &mut self,
        account: AddressId,
        peers: &[AddressId],
    ) -> Result<Vec<Marks>, StoreError> {
        if peers.is_empty() {
            return Ok(Vec::new());
        }
        self.read(|reader| {
            let mut select = reader.connection.prepare_cached(
                "SELECT read, delivered, displayed FROM mark WHERE account = ?1 AND peer = ?2",
            )?;
            let marks = peers.iter().map(|peer| {
                let marks = select.query_row([sql(account.to_bits()), sql(peer.to_bits())], |row| {
                    let position = |column| Ok::<_, rusqlite::Error>(Position(bits(row.get(column)?)));
                    Ok(Marks { read: position(0)?, delivered: position(1)?, displayed: position(2)? })
                });
                Ok(marks.optional()?.unwrap_or_default())
            });
            marks.collect()
        })
    }

    /// See [`Reader::due`](crate::Reader::due).
    pub(super) fn due_rows(
        &mut self,
        upto: Timestamp,
        of: &dyn Fn(&DueRow) -> bool,
        limit: usize,
    ) -> Result<Vec<DueRow>, StoreError> {
        self.read(|reader| {
            let mut select = reader.connection.prepare_cached(
                "SELECT time, position, recipient, what FROM due WHERE time <= ?1 ORDER BY time, position, what",
            )?;
            let rows = select.query_map(params![upto.0], |row| {
                Ok(DueRow {
                    what: match row.get(3)? {
                        0 => Due::Expiry,
                        seconds => Due::Rules(seconds),
                    },
                    time: Timestamp(row.get(0)?),
                    position: Position(bits(row.get(1)?)),
                    recipient: AddressId::from_bits(bits(row.get(2)?)),
                })
            })?;
            let theirs = rows.filter(|row| row.as_ref().map_or(true, of));
            theirs.take(limit).collect()
        })
    }

    /// See [`Reader::forwards`](crate::Reader::forwards).
    pub(super) fn forwards_behind(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Forward>, StoreError> {
        let (position, target) = match &after {
            Some((position, target)) => (sql(position.0), target.as_str()),
            None => (-1, ""),
        };
        let rows = self.read(|reader| {
            let mut select = reader.connection.prepare_cached(
                "SELECT position, target, redirects FROM forward
                 WHERE (position, target) > (?1, ?2) ORDER BY position, target LIMIT ?3",
            )?;
            let rows = select.query_map(params![position, target, limit as i64], |row| {
                Ok((Position(bits(row.get(0)?)), row.get::<_, String>(1)?, row.get(2)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(position, target, redirects)| {
                let target = address_of(target.as_bytes()).map_err(self.malformed())?;
                Ok(Forward { position, target, redirects })
            })
            .collect()
    }
}
