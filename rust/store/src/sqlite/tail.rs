//! The tail: rows of the log that the indexes have not reached, as much of them as finding them needs.

use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Row, Sides};
use rosterkit_core::time::Timestamp;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Rows above the index, in order, chained for each account from its newest to its oldest.
#[derive(Default)]
pub(super) struct Tail {
    rows: VecDeque<TailRow>,
    /// The number of the first row; numbers go on when rows leave at the front.
    first: u64,
    /// The newest row of each account.
    newest: FxHashMap<AddressId, u64>,
}

#[derive(Clone, Copy)]
pub(super) struct TailRow {
    pub(super) position: Position,
    pub(super) sender: AddressId,
    pub(super) recipient: AddressId,
    pub(super) sides: Sides,
    pub(super) size: u32,
    pub(super) time: Timestamp,
    /// The hash of its client id, when it has one.
    pub(super) client_id: Option<u64>,
    /// The row before it of the sender, and of the recipient; `NONE` is none.
    before: [u64; 2],
}

const NONE: u64 = u64::MAX;

impl Tail {
    pub(super) fn push(&mut self, row: &Row) {
        let number = self.first + self.rows.len() as u64;
        let entry = &row.entry;
        let before_sender = self.newest.insert(entry.sender, number).unwrap_or(NONE);
        let before_recipient = if entry.recipient == entry.sender {
            before_sender
        } else {
            self.newest.insert(entry.recipient, number).unwrap_or(NONE)
        };
        self.rows.push_back(TailRow {
            position: row.position,
            sender: entry.sender,
            recipient: entry.recipient,
            sides: row.sides,
            size: u32::try_from(entry.size()).unwrap_or(u32::MAX),
            time: entry.time,
            client_id: entry.client_id.as_ref().map(|id| id.hash64()),
            before: [before_sender, before_recipient],
        });
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn first_number(&self) -> u64 {
        self.first
    }

    pub(super) fn get(&self, number: u64) -> Option<&TailRow> {
        self.rows.get(number.checked_sub(self.first)? as usize)
    }

    /// The row at a position.
    pub(super) fn at(&self, position: Position) -> Option<&TailRow> {
        let at = self.rows.binary_search_by_key(&position, |row| row.position).ok()?;
        self.rows.get(at)
    }

    pub(super) fn set_sides(&mut self, position: Position, sides: Sides) {
        if let Ok(at) = self.rows.binary_search_by_key(&position, |row| row.position) {
            self.rows[at].sides = sides;
        }
    }

    pub(super) fn set_size(&mut self, position: Position, size: usize) {
        if let Ok(at) = self.rows.binary_search_by_key(&position, |row| row.position) {
            self.rows[at].size = u32::try_from(size).unwrap_or(u32::MAX);
        }
    }

    /// The rows of an account, newest first. Rows that both sides cleared are gone.
    pub(super) fn of(&self, account: AddressId) -> impl Iterator<Item = &TailRow> {
        let mut next = self.newest.get(&account).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            loop {
                let row = self.get(next)?;
                next = row.before[usize::from(row.sender != account)];
                if !row.sides.is_clear() {
                    return Some(row);
                }
            }
        })
    }

    /// Drops the rows below this number: the indexes have reached them.
    pub(super) fn trim(&mut self, upto: u64) {
        let indexed = (upto.saturating_sub(self.first) as usize).min(self.rows.len());
        self.rows.drain(..indexed);
        self.first += indexed as u64;
        let first = self.first;
        self.newest.retain(|_, newest| *newest >= first);
    }
}
