//! The way out: what goes to addresses that are not hosted here.
//!
//! Everything for an outside address passes its shard, as everything for an account passes the account's. Messages are rows
//! whose recipient's side is the relay's; roster signals are pending ones. Both wait in the [`Outbox`], which is what is
//! under way; on disk are the rows.

use super::{Deadline, Shard};
use crate::error::{Error, Result};
use crate::messages::{Deliver, Fetch, Flight, Forwarding, Job, RelayChange, RowAddresses, Settling, Signal};
use crate::relay::Settlement;
use crate::relay::outbox::{DeliveryKey, Next, PairKey, Settled};
use crate::relay::queue::RelayQueue;
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Entry, Kind, Outcome, Row, Side, Sides, Word};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Due;
use rosterkit_core::write::{Pending, Write};
use std::collections::VecDeque;
use std::sync::Arc;

/// How long a superseded roster signal waits for the newer one that is perhaps on its way.
const SUPERSEDED_MS: u64 = 2_000;
/// How many ids of outside addresses are remembered.
const MAX_IDS: usize = 16_384;

/// What is known of the id of an outside address.
pub(super) enum OutsideId {
    /// It has one. `new`: its address is perhaps not on disk, and written with whatever uses it.
    Known { id: AddressId, new: bool },
    /// It is looked up; this waits.
    Loading(VecDeque<ToOutside>),
}

/// Something durable for an outside address.
pub(super) enum ToOutside {
    /// A message that is to be accepted.
    Deliver(Box<Deliver>),
    /// A message that is on disk.
    Queued(Arc<Row>, RowAddresses),
    /// A roster signal that is on disk.
    Roster(Box<Pending>),
}

impl Shard {
    /// Takes something for an outside address, now or when its id is known.
    pub(super) fn send_outside(&mut self, recipient: Address, what: ToOutside) {
        match self.outside_ids.get_mut(&recipient) {
            Some(OutsideId::Known { id, new }) => {
                let (id, new) = (*id, *new);
                self.put_outside(id, new, &recipient, what);
            }
            Some(OutsideId::Loading(waiting)) => waiting.push_back(what),
            None => {
                self.outside_ids.insert(recipient.clone(), OutsideId::Loading(VecDeque::from([what])));
                self.fetch(Fetch::Outside { address: recipient });
            }
        }
    }

    /// An outside address was looked up.
    pub(super) fn take_outside(&mut self, address: &Address, result: Result<(AddressId, bool)>) {
        let Some(OutsideId::Loading(waiting)) = self.outside_ids.remove(address) else {
            return;
        };
        match result {
            Ok((id, new)) => {
                if self.outside_ids.len() >= MAX_IDS {
                    self.outside_ids.retain(|_, id| matches!(id, OutsideId::Loading(_)));
                }
                self.outside_ids.insert(address.clone(), OutsideId::Known { id, new });
                for what in waiting {
                    self.put_outside(id, new, address, what);
                }
            }
            Err(error) => {
                for what in waiting {
                    match what {
                        ToOutside::Deliver(deliver) => self.refuse(&deliver, None, error.clone()),
                        // These are on disk, and tried again.
                        ToOutside::Queued(row, addresses) => {
                            let slot = addresses.recipient.slot();
                            self.signal_again(&error, slot, Signal::Queued { row, addresses });
                        }
                        ToOutside::Roster(pending) => {
                            let slot = pending.recipient.slot();
                            self.signal_again(&error, slot, Signal::Pending(pending));
                        }
                    }
                }
            }
        }
    }

    fn put_outside(&mut self, id: AddressId, new: bool, address: &Address, what: ToOutside) {
        match what {
            ToOutside::Deliver(deliver) => self.queue_message(id, new, address, *deliver),
            ToOutside::Queued(row, addresses) => self.put_queued(&row, &addresses),
            ToOutside::Roster(pending) => {
                let pair = self.outbox.put_roster(id, pending);
                self.pump(pair);
            }
        }
    }

    /// Accepts a message for a relay.
    fn queue_message(&mut self, id: AddressId, new: bool, address: &Address, mut deliver: Deliver) {
        let size = deliver.entry.size();
        let limits = &self.shared.options.limits;
        if let Some(unsettled) = self.outbox.unsettled(id)
            && let Err(refusal) = limits.check_unclaimed(unsettled, deliver.entry.sender, size)
        {
            return self.refuse(&deliver, Some(id), refusal.into());
        }
        self.hold_sent_on(&mut deliver);
        deliver.entry.recipient = id;
        deliver.entry.word = Word::Queued;
        let mut sides = Sides::new(false, deliver.sender_history);
        if !deliver.sender_needs {
            sides = sides.cleared(Side::Sender);
        }
        let flight = Flight { sender: deliver.entry.sender, recipient: id, token: deliver.token };
        let addresses = RowAddresses { sender: deliver.sender, recipient: address.clone() };
        self.outbox.arriving(id, address);
        let mut writes = super::send::append(deliver.entry, sides);
        writes.extend(deliver.forwarding.map(Forwarding::settled));
        if new {
            writes.push(Write::Address { id, address: address.clone() });
        }
        self.write(Job::Append { writes, addresses, flight });
    }

    /// A message for a relay is on disk.
    pub(super) fn put_queued(&mut self, row: &Arc<Row>, addresses: &RowAddresses) {
        if let Some(OutsideId::Known { new, .. }) = self.outside_ids.get_mut(&addresses.recipient) {
            *new = false;
        }
        let pair = self.outbox.put_row(&addresses.recipient, &addresses.sender, row);
        let tried = Timestamp(row.entry.time.0.saturating_add(crate::relay::outbox::TRIED_FOR_MS));
        self.expire_at(row.entry.expires.map_or(tried, |expires| expires.min(tried)));
        self.pump(pair);
    }

    // ---- into a relay's hands ---------------------------------------------------------------------------------

    /// Gives the pair's next parcel to the relay, when there is one of each and a connection.
    pub(super) fn pump(&mut self, pair: PairKey) {
        let Some((recipient, _)) = self.outbox.addresses(pair) else {
            return;
        };
        let Some(relay) = self.shared.relays.serving(recipient.domain()) else {
            return;
        };
        if relay.epoch().is_none() {
            return;
        }
        match self.outbox.next(pair, relay.id, self.now.tick) {
            Next::Nothing => {}
            Next::At(tick) => self.schedule(tick, Deadline::Outbox(pair.0, pair.1)),
            Next::Read(positions) => self.fetch(Fetch::Outbox { pair, positions }),
            Next::Parcel(parcel) => {
                let items = parcel.items();
                if let Some(epoch) = relay.put_parcel(parcel) {
                    self.outbox.handed(pair, items, relay.id, epoch);
                }
            }
        }
    }

    /// Rows of the outbox were read.
    pub(super) fn take_outbox(&mut self, pair: PairKey, asked: &[Position], result: Result<Vec<Arc<Row>>>) {
        if let Err(error) = &result {
            tracing::warn!(%error, "messages for a relay cannot be read now");
        }
        self.outbox.put_read(pair, asked, result.as_deref(), self.now.tick);
        self.pump(pair);
    }

    /// A relay has a connection, or lost it, or is no more.
    pub(super) fn relay_changed(&mut self, change: RelayChange) {
        match change {
            RelayChange::Connected(relay) => {
                self.pump_all(&relay);
                self.outside_is_back(&relay);
            }
            RelayChange::Disconnected(relay, epoch) => {
                self.outbox.take_back(relay.id, epoch);
                self.outside_is_away(relay);
            }
            RelayChange::Closed(relay) => {
                self.outbox.forget_relay(relay.id);
                // Another one may serve the same addresses.
                self.pump_all(&relay);
            }
        }
    }

    /// Looks at every pair that this relay is for, when there is nobody else.
    fn pump_all(&mut self, relay: &RelayQueue) {
        for pair in self.outbox.pairs_to(|address| relay.covers(address.domain())) {
            self.pump(pair);
        }
    }

    // ---- settled ----------------------------------------------------------------------------------------------

    /// A relay says what became of something.
    pub(super) fn settled(&mut self, delivery: DeliveryKey, settlement: Settlement) {
        let (to, from) = (delivery.recipient, delivery.sender);
        match settlement {
            Settlement::Relayed => self.settle(delivery, Outcome::Relayed),
            Settlement::Failed { reason } => self.settle(delivery, Outcome::Failed { reason }),
            Settlement::Retry => {
                if let Some(at) = self.outbox.put_back(delivery, self.now.tick) {
                    self.schedule(at, Deadline::Outbox(to, from));
                }
            }
            Settlement::Superseded { stamp } => {
                if let Some(pending) = self.outbox.superseded(delivery) {
                    let (slot, known) = (pending.origin_address.slot(), Position(stamp));
                    self.signal_later(SUPERSEDED_MS, slot, Signal::Superseded { pending, known });
                    self.pump((to, from));
                }
            }
        }
        self.pump_held_up();
    }

    fn settle(&mut self, delivery: DeliveryKey, outcome: Outcome) {
        let pair = (delivery.recipient, delivery.sender);
        let Some((recipient, sender)) = self.outbox.addresses(pair) else {
            return;
        };
        let addresses = RowAddresses { sender: sender.clone(), recipient: recipient.clone() };
        match self.outbox.settle(delivery) {
            Some(Settled::Message(delivery)) => {
                // The sender's shard decides how it is told.
                let slot = addresses.sender.slot();
                self.signal(slot, Signal::Outcome(Box::new(Settling { delivery, addresses, outcome })));
            }
            Some(Settled::Roster(pending)) => {
                self.settle_nowhere(&pending);
                self.outbox.done(pair, pending.position);
                self.pump(pair);
            }
            None => {}
        }
    }

    fn pump_held_up(&mut self) {
        while let Some(pair) = self.outbox.held_up() {
            self.pump(pair);
        }
    }

    /// The sender's side: what became of a message is written, with a row that tells it to the account's devices and
    /// sessions. With too many of them waiting already, it stands with the message alone.
    pub(super) fn take_outcome(&mut self, id: AddressId, settling: Box<Settling>) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let delivery = settling.delivery;
        let limits = &self.shared.options.limits;
        let same = delivery.sender == id;
        if !same || limits.check_unclaimed(&resident.unclaimed, delivery.recipient, 0).is_err() {
            return self.settle_untold(settling);
        }
        resident.arriving += 1;
        let outcome = Kind::Outcome { of: delivery.position, outcome: settling.outcome.clone() };
        let told = Entry::new(delivery.recipient, id, delivery.message_id, self.now.wall, outcome);
        let sides = Sides::new(false, false).cleared(Side::Sender);
        let writes =
            std::iter::once(Write::append(told, sides)).chain(self.settle_writes(&settling)).collect();
        self.write(Job::Settle { writes, settling });
    }

    /// The same when there is nobody to be told.
    pub(super) fn settle_untold(&mut self, settling: Box<Settling>) {
        let writes = self.settle_writes(&settling);
        self.write(Job::Settle { writes, settling });
    }

    /// What is written of a message that came to its end.
    fn settle_writes(&self, settling: &Settling) -> Vec<Write> {
        let (position, outcome) = (settling.delivery.position, settling.outcome.clone());
        match self.hosts(&settling.addresses.recipient) {
            true => {
                vec![Write::Outcome { position, outcome }, Write::DueDone { position, what: Due::Expiry }]
            }
            false => vec![Write::Relayed { position, outcome }],
        }
    }

    /// What became of a message is on disk, or is not.
    pub(super) fn install_settled(&mut self, settling: &Settling, result: Result<Option<Arc<Row>>>) {
        let Settling { delivery, addresses, .. } = settling;
        let told = matches!(result, Ok(Some(_)));
        if let Ok(Some(row)) = &result {
            self.mark = self.mark.max(row.position);
        }
        if self.shared.shard_of(delivery.sender) == self.index {
            if let Ok(Some(row)) = &result {
                let from =
                    RowAddresses { sender: addresses.recipient.clone(), recipient: addresses.sender.clone() };
                self.install_for_recipient(delivery.sender, row, &from);
            }
            if let Some(resident) = self.residents.get_mut(&delivery.sender)
                && (told || result.is_err())
            {
                resident.arriving = resident.arriving.saturating_sub(1);
            }
            self.maybe_idle(delivery.sender);
        }
        if self.shared.shard_of(delivery.recipient) == self.index && self.hosts(&addresses.recipient) {
            // It had expired; what could not be written is looked for again.
            if result.is_err_and(|error| error.may_pass()) {
                self.due_again();
            }
        } else if self.shared.shard_of(delivery.recipient) == self.index {
            let pair = (delivery.recipient, delivery.sender);
            match result {
                Ok(_) => self.outbox.done(pair, delivery.position),
                Err(error) => self.outbox.not_done(pair, delivery.position, &error, self.now.tick),
            }
            self.pump(pair);
        }
    }

    /// It could not be worked out what the sender is to be told: the message waits again.
    pub(super) fn outcome_failed(&mut self, settling: Box<Settling>, error: &Error) {
        tracing::warn!(%error, "what became of a message cannot be written now");
        let shard = self.shared.shard_of(settling.delivery.recipient);
        let done = crate::messages::Done::Settled { settling, result: Err(error.clone()) };
        self.out.shards[shard].push(crate::messages::ToShard::Done(self.generation, done));
    }

    // ---- too late ---------------------------------------------------------------------------------------------

    fn expire_at(&mut self, at: Timestamp) {
        let millis = u64::try_from(at.0.saturating_sub(self.now.wall.0)).unwrap_or(0);
        self.schedule(self.now.tick.after(millis), Deadline::OutboxExpires);
    }

    /// Messages that were tried for a day fail.
    pub(super) fn outbox_expires(&mut self) {
        let (expired, next) = self.outbox.expired(self.now.wall);
        for (delivery, expires) in expired {
            let reason = "it could not be delivered within 24 hours".into();
            let failed = Outcome::Failed { reason };
            self.settle(delivery, if expires { Outcome::Expired } else { failed });
        }
        if let Some(next) = next {
            self.expire_at(next);
        }
        self.pump_held_up();
    }
}
