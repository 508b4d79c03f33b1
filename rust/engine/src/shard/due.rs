//! Messages that are looked at again at their time: because they have expired, or because rules say so of what nobody took.
//!
//! Who has not taken one that has expired does not get it. Its sender is told, unless they know that it was taken: what they
//! learn follows from what they know, so that it says nothing of who is there.

use super::later::DISK_FAILED_MS;
use super::{Deadline, Shard, Work};
use crate::error::Result;
use crate::messages::{DueRow, Fetch, FoundDue, Job, RowAddresses, Settling, Signal};
use crate::relay::outbox::DeliveryKey;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::{Outcome, Row, Side};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{Due, Write};

impl Shard {
    /// A row is to be looked at then.
    pub(super) fn due_at(&mut self, at: Timestamp) {
        let millis = u64::try_from(at.0.saturating_sub(self.now.wall.0)).unwrap_or(0);
        self.schedule(self.now.tick.after(millis.max(1)), Deadline::Due);
    }

    /// The disk failed under what was due: it is looked for again, and not at once.
    pub(super) fn due_again(&mut self) {
        self.schedule(self.now.tick.after(DISK_FAILED_MS), Deadline::Due);
    }

    pub(super) fn look_for_due(&mut self) {
        let (shard, upto) = (self.index, self.now.wall);
        self.fetch(Fetch::Due { shard, upto });
    }

    pub(super) fn take_due(&mut self, result: Result<FoundDue>) {
        match result {
            Ok(FoundDue { due, next }) => {
                for found in due {
                    match &found.row {
                        // What waits for a relay is looked after there.
                        Some((row, addresses)) if !row.entry.is_queued() => {
                            let recipient = addresses.recipient.clone();
                            self.work(recipient, Work::Due(Box::new(found)));
                        }
                        _ => self.due_done(found.position, found.what),
                    }
                }
                if let Some(next) = next {
                    self.due_at(next);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what is to be looked at cannot be read");
                if !error.is_damage() {
                    self.due_again();
                }
            }
        }
    }

    /// The recipient's side.
    pub(super) fn due(&mut self, id: AddressId, found: DueRow) {
        let DueRow { position, what, row, marks } = found;
        match (row.filter(|(row, _)| row.entry.recipient == id), what) {
            (Some((row, addresses)), Due::Expiry) => self.expire(id, &row, addresses, marks),
            (Some((row, addresses)), Due::Rules(seconds)) => self.rules_due(id, seconds, row, addresses),
            (None, what) => self.due_done(position, what),
        }
    }

    /// Nobody gets it any more.
    fn expire(&mut self, id: AddressId, row: &Row, addresses: RowAddresses, marks: Marks) {
        let position = row.position;
        self.expire_in_quarantine(id, position);
        let was_there = self.take_away(id, position);
        if was_there {
            // Written before what follows, or with it.
            self.write(Job::Lazy { writes: vec![Write::ClearSide { position, side: Side::Recipient }] });
        }
        let known = marks.joined(self.unsaved_marks(row.entry.sender, id)).delivered >= position;
        let known = known || !was_there && planted(Bug::LeakedExpiry);
        if known || row.entry.sender == id || !self.hosts(&addresses.sender) {
            return self.due_done(position, Due::Expiry);
        }
        let delivery = DeliveryKey {
            recipient: id,
            sender: row.entry.sender,
            position,
            message_id: row.entry.message_id,
        };
        let slot = addresses.sender.slot();
        let settling = Settling { delivery, addresses, outcome: Outcome::Expired };
        self.signal(slot, Signal::Outcome(Box::new(settling)));
    }

    /// A message that nobody has taken yet is nobody's to take any more. Says whether it was.
    pub(super) fn take_away(&mut self, id: AddressId, position: Position) -> bool {
        let Some(resident) = self.residents.get_mut(&id) else {
            return false;
        };
        let Some(sender) = resident.unclaimed.remove(position) else {
            return false;
        };
        resident.taken_away.get_or_insert_default().insert(position);
        resident.progress.claims.claim(position);
        resident.advance_claims();
        for session in &resident.sessions {
            if let Some(attached) = self.sessions.get_mut(session)
                && attached.queue.drop_row(position)
            {
                attached.outstanding = attached.outstanding.saturating_sub(1);
            }
        }
        self.mark_dirty(id);
        self.conversation_will_change(id, sender);
        true
    }

    /// Nothing is left to be done about it.
    pub(super) fn due_done(&mut self, position: Position, what: Due) {
        self.write(Job::Lazy { writes: vec![Write::DueDone { position, what }] });
    }
}
