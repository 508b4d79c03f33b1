//! What it comes to: what comes back, what contradicts itself, what is lost.

use super::astray::Candidate;
use super::tables::Named;
use super::{Listed, Place, Source, Survey};
use crate::check::rows::{INDEXED, held};
use crate::check::tree::{Node, Role};
use crate::check::wal::{Frame, State, Wal};
use rosterkit_core::row::{Side, Sides};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A row of the log that is to be brought back.
#[derive(Clone, Copy)]
pub(crate) struct Rescued {
    pub(crate) place: Place,
    pub(crate) sides: Sides,
    pub(crate) sender: u64,
    pub(crate) recipient: u64,
}

/// A message that is lost, as much as is known of it.
pub(crate) struct LostRow {
    pub(crate) position: u64,
    pub(crate) sender: Option<u64>,
    pub(crate) recipient: Option<u64>,
    pub(crate) time: Option<i64>,
}

impl Survey<'_> {
    /// Which of the rows that prove themselves are those that are missing. A row that was deleted may still stand on a
    /// page that is free by now: it is left where it is, as far as the indexes can tell.
    pub(super) fn decide(&mut self) {
        let log = self.layout.objects.iter().position(|object| object.name == "log");
        let root_is_known = log.is_some_and(|log| self.roots[log].is_some());
        let mut gaps: Vec<(i64, i64)> = self
            .gaps
            .iter()
            .filter(|gap| Some(gap.object) == log && !gap.is_overflow)
            .map(|gap| gap.between)
            .collect();
        // They may lie in each other, where a page is malformed and what is below it is broken.
        gaps.sort_unstable();
        gaps.dedup_by(|next, before| {
            let is_joined = next.0 <= before.1;
            if is_joined {
                before.1 = before.1.max(next.1);
            }
            is_joined
        });
        let is_in_a_gap = |position: i64| {
            let behind = gaps.partition_point(|&(low, _)| low < position);
            behind > 0 && position <= gaps[behind - 1].1
        };
        let last = self.log.last().map_or(0, |row| row.position);
        let indexed = self.meta.get("indexed").map(|indexed| *indexed as u64);
        let index_is_whole = !self.is_torn("log_by_account");
        let bad: BTreeSet<u64> = self.bad_rows.iter().map(|row| row.position).collect();
        let mut candidates = std::mem::take(&mut self.candidates);
        // Of frames the latest stands first.
        candidates.sort_by_key(|candidate| match candidate.place.source {
            Source::Frame(_) => 0,
            Source::Stray(_) => 1,
            Source::Broken(_) => 2,
        });
        for candidate in candidates {
            let Candidate { position, place, sender, recipient, mut sides } = candidate;
            let is_above = matches!(place.source, Source::Frame(_)) && position > last;
            let is_in_gap = !root_is_known || bad.contains(&position) || is_in_a_gap(position as i64);
            let is_there = self.log.binary_search_by_key(&position, |row| row.position).is_ok();
            if is_there || !(is_above || is_in_gap) || self.rescued.contains_key(&position) {
                continue;
            }
            let named = |account| self.dangling.get(&(position, account)).map(|named| named.side);
            if index_is_whole && indexed.is_some_and(|indexed| position <= indexed) {
                let (to, from) = (named(recipient), named(sender));
                if to.is_none() && from.is_none() && !held(sides) {
                    continue;
                }
                if matches!(place.source, Source::Broken(_)) {
                    // Who needs it is not under its checksum.
                    let needs = to.unwrap_or_default() & 1 | from.unwrap_or_default() & 2;
                    sides = Sides(sides.0 & !(Sides::RECIPIENT_NEEDS | Sides::SENDER_NEEDS) | needs);
                }
            }
            self.raise(&[position], &[sender, recipient]);
            self.rescued.insert(position, Rescued { place, sides, sender, recipient });
        }
    }

    /// What contradicts itself, and what is lost.
    pub(super) fn compare(&mut self) {
        let mut lost: BTreeMap<u64, LostRow> =
            std::mem::take(&mut self.bad_rows).into_iter().map(|row| (row.position, row)).collect();
        let log_is_torn = self.is_torn("log");
        for ((position, account), Named { peer, side, time }) in std::mem::take(&mut self.dangling) {
            if !log_is_torn && !lost.contains_key(&position) {
                let table = "log_by_account and log_by_peer";
                self.note(table, position, format_args!("account {account} has no such row in the log"));
            }
            let row = lost.entry(position).or_insert(LostRow {
                position,
                sender: None,
                recipient: None,
                time: None,
            });
            row.time = Some(time);
            if side & 1 != 0 {
                (row.recipient, row.sender) = (Some(account), Some(peer));
            }
            if side & 2 != 0 {
                (row.sender, row.recipient) = (Some(account), Some(peer));
            }
        }
        lost.retain(|position, _| !self.rescued.contains_key(position));
        self.lost_rows = lost.into_values().collect();

        let indexed = self.meta.get("indexed").map_or(0, |indexed| *indexed as u64);
        let (by_account, by_peer) = (!self.is_torn("log_by_account"), !self.is_torn("log_by_peer"));
        let mut missing = Vec::new();
        let mut unknown = BTreeMap::new();
        for row in &self.log {
            let needed = u8::from(row.sides.needed_by(Side::Recipient))
                | u8::from(row.sides.needed_by(Side::Sender)) << 1;
            let is_missing = |shift: u8| row.position <= indexed && (row.indexed >> shift) & 3 != needed;
            if by_account && is_missing(0) {
                missing.push(("log_by_account", row.position));
            }
            if by_peer && is_missing(2) {
                missing.push(("log_by_peer", row.position));
            }
            for id in [row.sender, row.recipient] {
                if !self.addresses.contains_key(&id) {
                    unknown.entry(id).or_insert(row.position);
                }
            }
        }
        for (table, position) in missing {
            self.note(table, position, "the row of the log is not in it");
        }
        if !self.is_torn("address") {
            for (id, position) in unknown {
                self.note("log", position, format_args!("the address {id} is not known"));
            }
        }
        for (id, name) in self.lost_accounts() {
            if !self.is_torn("account") {
                self.note("account", name, format_args!("the account {id} is in account_by_domain alone"));
            }
        }
        if !self.is_torn("file") {
            let lost = self.lost_files().map(|(account, path)| format!("{path} of the account {account}"));
            for file in lost.collect::<Vec<_>>() {
                self.note("file", file, "it is in the index alone");
            }
        }
        let pairs = INDEXED.iter().filter(|(table, index)| !self.is_torn(table) && !self.is_torn(index));
        // A newer version may index otherwise.
        for &(table, index) in pairs.filter(|_| !self.is_newer).collect::<Vec<_>>() {
            let [rows, entries] = self.sums.get(index).copied().unwrap_or_default();
            if rows != entries {
                let what =
                    format_args!("its {} entries are not those of the {} rows", entries.count, rows.count);
                self.note(index, table, what);
            }
        }
        if !self.is_torn("buddy") {
            for Listed { account, peer, .. } in self.lost_buddies() {
                self.note(
                    "buddy",
                    account,
                    format_args!("the roster has a buddy {peer} of which there is nothing"),
                );
            }
        }
        for key in ["file_generation", "min_reader", "reserved", "indexed", "sent"] {
            if !self.meta.contains_key(key) && !self.is_torn("meta") {
                self.note("meta", key, "it is missing");
            }
        }
    }

    /// Accounts that are known of, and are not there.
    pub(crate) fn lost_accounts(&self) -> BTreeMap<u64, String> {
        let names = self.account_names.iter().filter(|(id, _)| !self.accounts.contains(id));
        names.map(|(id, name)| (*id, name.clone())).collect()
    }

    /// Buddies that the rosters name, and that are not there.
    pub(crate) fn lost_buddies(&self) -> Vec<Listed> {
        let listed = self.rosters.iter().copied();
        listed.filter(|one| !self.buddies.contains(&(one.account, one.peer))).collect()
    }

    /// Files that are known of, and are not there: whose, and their paths.
    pub(crate) fn lost_files(&self) -> impl Iterator<Item = (u64, &str)> {
        let lost = self.file_names.iter().filter(|(.., row_id)| !self.files.contains(row_id));
        lost.map(|(account, path, _)| (*account, path.as_str()))
    }

    /// Whether the write-ahead log has lost what was answered.
    ///
    /// A commit that is an answer is synced before the next is written; a slice of a pass of the index is not. So a power cut can
    /// leave in pieces, in whichever order the disk took them, slices and one other transaction behind them. Where there are two
    /// others, the first was answered.
    pub(crate) fn log_is_damaged(&self) -> bool {
        let Some(wal) = &self.pages.wal else { return false };
        let is_answer = |frames: &Range<usize>| frames.clone().any(|frame| self.is_of_answer(wal, frame));
        wal.is_without_header() || wal.transactions_behind().filter(is_answer).nth(1).is_some()
    }

    /// Whether no pass of the index can have written this frame.
    pub(super) fn is_of_answer(&self, wal: &Wal, frame: usize) -> bool {
        let Frame { page, state, .. } = wal.frames[frame];
        if state == State::Foreign || page == 1 {
            return false;
        }
        match self.reached.get(&page) {
            Some(of) if matches!(of.role, Role::Free | Role::FreeList) => false,
            Some(of) => {
                !matches!(self.name_of(of.object), "log_by_account" | "log_by_peer" | "client_id" | "meta")
            }
            // A page that is new. None of the four has row ids.
            None => wal
                .page(frame)
                .is_ok_and(|bytes| Node::parse(page, &bytes).is_some_and(|node| node.has_row_ids())),
        }
    }
}
