//! Signals that are sent again after a while: what they stand for is on disk, and only what they need could not be read.

use super::{Deadline, Shard};
use crate::error::Error;
use crate::messages::Signal;
use rosterkit_core::time::Tick;
use std::collections::BTreeMap;

/// How long one waits that met a failing disk.
pub(super) const DISK_FAILED_MS: u64 = 1_000;

/// What waits, by when it is due; with the slot it goes to.
pub(super) type Later = BTreeMap<(Tick, u64), (u64, Signal)>;

impl Shard {
    /// Sends a signal then. An opening of the store comes first, and sends everything itself.
    pub(super) fn signal_later(&mut self, millis: u64, slot: u64, signal: Signal) {
        let due = self.now.tick.after(millis);
        self.next_token += 1;
        self.later.insert((due, self.next_token), (slot, signal));
        self.schedule(due, Deadline::Later);
    }

    /// Sends a signal again that met a failing disk. One that met a broken page would meet it again: it waits on disk for the
    /// next opening.
    pub(super) fn signal_again(&mut self, error: &Error, slot: u64, signal: Signal) {
        if error.is_damage() {
            return tracing::error!(%error, "something waits for the file to be mended");
        }
        self.signal_later(DISK_FAILED_MS, slot, signal);
    }

    pub(super) fn later_due(&mut self) {
        while let Some(first) = self.later.first_entry() {
            let due = first.key().0;
            if due > self.now.tick {
                return self.schedule(due, Deadline::Later);
            }
            let (slot, signal) = first.remove();
            self.signal(slot, signal);
        }
    }
}
