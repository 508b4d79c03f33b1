//! Messages whose time is up.
//!
//! Who has not taken one by then does not get it. Its sender is told, unless they know that it was taken: what they learn
//! follows from what they know, so that it says nothing of who is there.

use super::{Deadline, Shard, Work};
use crate::error::Result;
use crate::messages::{Expired, Fetch, FoundExpiring, Job, Settling, Signal};
use crate::relay::outbox::DeliveryKey;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Outcome, Side};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;

/// How long to wait when the disk cannot be read.
const RETRY_MS: i64 = 10_000;

impl Shard {
    /// The time of a row is up then.
    pub(super) fn expires_at(&mut self, at: Timestamp) {
        let millis = u64::try_from(at.0.saturating_sub(self.now.wall.0)).unwrap_or(0);
        // Not at once: what cannot be dealt with now is not looked for all the time.
        self.schedule(self.now.tick.after(millis.max(1)), Deadline::Expiry);
    }

    pub(super) fn look_for_expired(&mut self) {
        let (shard, upto) = (self.index, self.now.wall);
        self.fetch(Fetch::Expiring { shard, upto });
    }

    pub(super) fn take_expired(&mut self, result: Result<FoundExpiring>) {
        match result {
            Ok(FoundExpiring { due, next }) => {
                for expired in due {
                    match &expired.row {
                        // What waits for a relay is looked after there.
                        Some((row, addresses)) if !row.entry.is_queued() => {
                            let recipient = addresses.recipient.clone();
                            self.work(recipient, Work::Expire(Box::new(expired)));
                        }
                        _ => self.expiry_done(expired.position),
                    }
                }
                if let Some(next) = next {
                    self.expires_at(next);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what has expired cannot be read");
                self.expires_at(Timestamp(self.now.wall.0 + RETRY_MS));
            }
        }
    }

    /// The recipient's side: nobody gets it any more.
    pub(super) fn expire(&mut self, id: AddressId, expired: Expired) {
        let Expired { position, row, marks } = expired;
        let Some((row, addresses)) = row.filter(|(row, _)| row.entry.recipient == id) else {
            return self.expiry_done(position);
        };
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        if resident.unclaimed.remove(position).is_some() {
            resident.progress.claims.claim(position);
            resident.advance_claims();
            for session in &resident.sessions {
                if let Some(attached) = self.sessions.get_mut(session)
                    && attached.queue.drop_row(position)
                {
                    attached.outstanding = attached.outstanding.saturating_sub(1);
                }
            }
            // Written before what follows, or with it.
            self.write(Job::Lazy { writes: vec![Write::ClearSide { position, side: Side::Recipient }] });
            self.mark_dirty(id);
        }
        let known = marks.joined(self.unsaved_marks(row.entry.sender, id)).delivered >= position;
        if known || row.entry.sender == id || !self.hosts(&addresses.sender) {
            return self.expiry_done(position);
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

    /// Nothing is left to be done about it.
    pub(super) fn expiry_done(&mut self, position: Position) {
        self.write(Job::Lazy { writes: vec![Write::ExpiryDone(position)] });
    }
}
