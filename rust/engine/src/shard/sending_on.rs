//! What rules send on: a row of its own, with the sender and the id of the one it comes from.
//!
//! The first one's commit says where it goes, and the second one's that it is there. In between it is sent at every opening.

use super::Shard;
use super::later::DISK_FAILED_MS;
use crate::error::{Error, ErrorKind};
use crate::messages::{Deliver, Forwarding, Job, RowAddresses, Signal};
use rosterkit_core::id::AddressId;
use rosterkit_core::row::{Entry, Row};
use rosterkit_core::write::{Forward, Write};

/// Whose token a message that is sent on has: it is nobody's send under way.
pub(super) const SENT_ON: u64 = 1 << 63;

impl Shard {
    pub(super) fn send_on(&mut self, mut deliver: Box<Deliver>) {
        self.next_token += 1;
        deliver.token = SENT_ON | self.next_token;
        let slot = deliver.recipient.slot();
        if self.shared.shard_of_slot(slot) == self.index {
            self.route_message(deliver);
        } else {
            self.signal(slot, Signal::Deliver(deliver));
        }
    }

    /// Keeps what was sent on here until it is on disk.
    pub(super) fn hold_sent_on(&mut self, deliver: &mut Deliver) {
        if deliver.forwarding.is_some() {
            // One of this shard's own, whoever sent it on.
            self.next_token += 1;
            deliver.token = SENT_ON | self.next_token;
            self.sent_on.insert(deliver.token, Box::new(deliver.clone()));
        }
    }

    /// It could not be written.
    pub(super) fn sent_on_not_written(&mut self, token: u64, error: &Error) {
        if let Some(deliver) = self.sent_on.remove(&token)
            && let Some(forwarding) = &deliver.forwarding
        {
            self.sending_on_failed(&deliver, forwarding, error);
        }
    }

    /// What was sent on is refused there. What was to go there instead comes back; nothing is lost.
    pub(super) fn sending_on_failed(&mut self, deliver: &Deliver, forwarding: &Forwarding, error: &Error) {
        match error.kind {
            // It is on disk still: the next opening sends it on.
            ErrorKind::Closed => return,
            ErrorKind::Damaged => {
                return tracing::error!(%error, "what a rule sends on waits for the file to be mended");
            }
            ErrorKind::Storage { .. } => {
                let (slot, again) = (deliver.recipient.slot(), Signal::Deliver(Box::new(deliver.clone())));
                return self.signal_later(DISK_FAILED_MS, slot, again);
            }
            _ => {}
        }
        tracing::debug!(kind = ?error.kind, "what a rule sent on was refused");
        if !forwarding.redirects || forwarding.comes_back {
            let (position, target) = (forwarding.position, forwarding.target.clone());
            return self.write(Job::Lazy { writes: vec![Write::Forwarded { position, target }] });
        }
        let back = Deliver {
            entry: Entry { via: None, ..deliver.entry.clone() },
            sender: deliver.sender.clone(),
            recipient: forwarding.by_address.clone(),
            sender_history: false,
            sender_needs: false,
            token: 0,
            forwarding: Some(Forwarding { comes_back: true, ..forwarding.clone() }),
            is_authors_only: false,
        };
        self.send_on(Box::new(back));
    }
}

/// A message on its way to where a rule sends it: the same sender, the same id.
pub(crate) fn forwarding(row: &Row, addresses: &RowAddresses, by: AddressId, forward: Forward) -> Deliver {
    let Forward { position, target, redirects } = forward;
    Deliver {
        entry: Entry {
            instance: row.entry.instance.clone(),
            expires: row.entry.expires,
            via: Some(by),
            hops: row.entry.hops.saturating_add(1),
            ..Entry::new(
                row.entry.sender,
                row.entry.recipient,
                row.entry.message_id,
                row.entry.time,
                row.entry.kind.clone(),
            )
        },
        sender: addresses.sender.clone(),
        recipient: target.clone(),
        sender_history: false,
        sender_needs: false,
        token: SENT_ON,
        forwarding: Some(Forwarding {
            position,
            by_address: addresses.recipient.bare(),
            target,
            redirects,
            comes_back: false,
        }),
        is_authors_only: false,
    }
}
