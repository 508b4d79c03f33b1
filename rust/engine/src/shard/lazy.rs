//! What is written lazily, and who leaves memory.
//!
//! Acknowledgements, cursors and claims only ever move up. They count in memory at once and are on disk within a
//! second; losing them costs a redelivery, which the ids absorb.

use super::{Deadline, Residency, Shard};
use crate::messages::{Fetch, Job};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::Side;
use rosterkit_core::write::Write;

/// How long a lazy effect stays in memory only. The writer may add as much again.
const FLUSH_MS: u64 = 500;
/// After so many rows passed, an account that only sends has its progress written, so that loading it stays quick.
const UNSAVED_ROWS: u16 = 64;
/// How many accounts' progress one item carries.
const SLICE: usize = 256;

impl Shard {
    /// The account's progress is ahead of the disk.
    pub(super) fn mark_dirty(&mut self, id: AddressId) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        if resident.dirty {
            return;
        }
        resident.dirty = true;
        self.dirty.push(id);
        self.flush_soon();
    }

    /// Something lazy is ahead of the disk.
    pub(super) fn flush_soon(&mut self) {
        if !self.flush_due {
            self.flush_due = true;
            self.schedule(self.now.tick.after(FLUSH_MS), Deadline::LazyFlush);
        }
    }

    /// Hands the progress of every dirty account to the writer.
    pub(super) fn flush_lazy(&mut self) {
        self.flush_due = false;
        let dirty = std::mem::take(&mut self.dirty);
        for slice in dirty.chunks(SLICE) {
            let mut writes = Vec::with_capacity(slice.len());
            for &id in slice {
                let Some(resident) = self.residents.get_mut(&id) else {
                    continue;
                };
                resident.dirty = false;
                if matches!(resident.gate, super::Gate::Changing(_)) {
                    // The change may say something else of its progress: written behind it, this would undo that.
                    self.mark_dirty(id);
                    continue;
                }
                resident.unsaved = 0;
                if planted(Bug::LostCursor) && !resident.record.devices.is_empty() {
                    continue;
                }
                resident.being_saved += 1;
                writes.push(Write::Progress(id, resident.progress.clone()));
                self.sweep(id);
            }
            self.write(Job::Lazy { writes });
        }
        let marks = self.marks_to_write();
        if !marks.is_empty() {
            self.write(Job::Lazy { writes: marks });
        }
    }

    /// What was handed to the writer is on disk: who was kept in memory for it can leave.
    pub(super) fn saved(&mut self, accounts: Vec<AddressId>) {
        for id in accounts {
            if let Some(resident) = self.residents.get_mut(&id) {
                resident.being_saved = resident.being_saved.saturating_sub(1);
                self.forget_taken_away(id);
                self.maybe_idle(id);
            }
        }
    }

    /// With history off a row goes when it is claimed, every cursor has passed it, and no slow session has yet to read
    /// it.
    pub(super) fn sweep(&mut self, id: AddressId) {
        let to_read = self.lowest_to_read(id);
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let passed = resident.progress.passed_by_all();
        let upto = to_read.map_or(passed, |position| passed.min(Position(position.0.saturating_sub(1))));
        let upto = upto.min(resident.to_sweep);
        if resident.preferences.keep_history || resident.sweeping || upto <= resident.swept {
            return;
        }
        resident.sweeping = true;
        let after = resident.swept;
        self.fetch(Fetch::Needed { account: id, after, upto });
    }

    /// Rows up to this one are not needed, or will not be, and were not cleared at once.
    pub(super) fn leave_to_sweep(&mut self, id: AddressId, highest: Option<&Position>) {
        if let (Some(resident), Some(highest)) = (self.residents.get_mut(&id), highest) {
            resident.to_sweep = resident.to_sweep.max(*highest);
        }
    }

    /// The lowest row that an anonymous session, which has no cursor, has yet to read from the log.
    pub(super) fn lowest_to_read(&self, id: AddressId) -> Option<Position> {
        let sessions = &self.residents.get(&id)?.sessions;
        let attached = sessions.iter().filter_map(|session| self.sessions.get(session));
        attached.filter(|a| a.device.is_none()).filter_map(|a| a.feed.next()).min()
    }

    /// A slice of a sweep was read: these sides are cleared.
    pub(super) fn take_needed(
        &mut self,
        id: AddressId,
        upto: Position,
        rows: Option<Vec<(Position, Side)>>,
        complete: bool,
    ) {
        let Some(rows) = rows else {
            if let Some(resident) = self.residents.get_mut(&id) {
                resident.sweeping = false;
                self.maybe_idle(id);
            }
            return;
        };
        let reached = if complete { Some(upto) } else { rows.last().map(|(position, _)| *position) };
        let writes: Vec<Write> =
            rows.into_iter().map(|(position, side)| Write::ClearSide { position, side }).collect();
        if !writes.is_empty() {
            self.write(Job::Lazy { writes });
        }
        match self.residents.get_mut(&id) {
            Some(resident) => {
                resident.sweeping = false;
                resident.swept = reached.unwrap_or(upto);
                self.sweep(id);
                self.maybe_idle(id);
            }
            None if complete => self.swept_deleted(id),
            // The account is deleted: nothing of it is needed any more, whatever its progress.
            None => {
                let after = reached.unwrap_or(upto);
                self.fetch(Fetch::Needed { account: id, after, upto });
            }
        }
    }

    /// An account that nothing holds in memory any more joins the queue of idle ones; the longest idle leave.
    pub(super) fn maybe_idle(&mut self, id: AddressId) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        if !resident.is_idle() {
            return;
        }
        if resident.unsaved >= UNSAVED_ROWS {
            return self.mark_dirty(id);
        }
        if resident.in_idle_queue {
            resident.used_again = true;
            return;
        }
        resident.in_idle_queue = true;
        self.idle.push_back(id);
        let cap = self.shared.options.idle_accounts / self.shared.shards.len();
        while self.idle.len() > cap {
            let Some(oldest) = self.idle.pop_front() else {
                break;
            };
            let Some(resident) = self.residents.get_mut(&oldest) else {
                continue;
            };
            // Who was used since gets a second chance, who is in use comes back when it is idle.
            if !resident.is_idle() {
                resident.in_idle_queue = false;
            } else if std::mem::take(&mut resident.used_again) {
                self.idle.push_back(oldest);
            } else {
                self.evict(oldest);
            }
        }
    }

    fn evict(&mut self, id: AddressId) {
        let Some(resident) = self.residents.remove(&id) else {
            return;
        };
        self.blocked_watchers.remove(&id);
        self.outside.remove(&id);
        // An account of the same name may have been made since: then the address is that one's.
        if matches!(self.accounts.get(&resident.record.address), Some(Residency::Here(here)) if *here == id) {
            self.accounts.remove(&resident.record.address);
        }
    }
}
