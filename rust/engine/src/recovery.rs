//! The one path for every commit whose result is unknown.
//!
//! Stop, drop what is resident, close, open as from nothing, attach every session again. Nobody may look at what the
//! old connections say: after a failed sync they say "rolled back" while the file still holds the row. The very first
//! opening of an engine takes the second half of this path, so that there is one way to come up.

use crate::checkpoint::ToCheckpointer;
use crate::messages::{Countdown, Deliver, Hosted, Hosting, RowAddresses, Signal, ToReader, ToShard};
use crate::shard::forwarding;
use crate::sync::atomic::Ordering;
use crate::writer::WriterStep;
use rosterkit_core::address::Address;
use rosterkit_core::id::Position;
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::Row;
use rosterkit_core::time::{Tick, Timestamp};
use rosterkit_core::write::RulesOf;
use rosterkit_store::{Facts, Opened, Reader, StoreError};
use std::sync::{Arc, Weak};

const FIRST_BACK_OFF_MS: u64 = 50;
const LONGEST_BACK_OFF_MS: u64 = 10_000;
/// How many pending signals are read at once.
const PENDING_PAGE: usize = 1_000;

/// A recovery under way.
pub(crate) struct Recovery {
    /// Everybody who holds a part of the store, or state that was read from it.
    letting_go: Weak<Countdown>,
    next_try: Tick,
    back_off_ms: u64,
}

impl Recovery {
    /// When to try again; until everybody has let go there is no deadline, the last one nudges the writer.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        (self.letting_go.strong_count() == 0).then_some(self.next_try)
    }
}

impl WriterStep {
    /// Stops input and makes everybody let go of the store.
    pub(crate) fn begin_recovery(&mut self) {
        self.open = None;
        let generation = self.shared.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.drop_batch();
        let shared = Arc::clone(&self.shared);
        let letting_go = Countdown::new(move || shared.writer.nudge());
        for shard in &self.shared.shards {
            let _ = shard.put(ToShard::Reset(generation, Arc::clone(&letting_go)));
        }
        let _ = self.shared.reader.put(ToReader::Reset(Arc::clone(&letting_go)));
        let _ = self.shared.checkpointer.put(ToCheckpointer::Reset(Arc::clone(&letting_go)));
        self.shared.readers.close();
        self.shared.relays.start_over();
        self.recovery = Some(Recovery {
            letting_go: Arc::downgrade(&letting_go),
            next_try: Tick::default(),
            back_off_ms: FIRST_BACK_OFF_MS,
        });
    }

    /// Opens the store when everybody has let go and the back-off is over. Says whether it did anything.
    pub(crate) fn try_to_recover(&mut self) -> bool {
        let now = self.shared.clock.now().tick;
        let Some(recovery) = &mut self.recovery else {
            return false;
        };
        if recovery.letting_go.strong_count() > 0 || recovery.next_try > now {
            return false;
        }
        match self.store.open().and_then(|opened| self.come_up(opened)) {
            Ok(()) => {
                tracing::info!("the store is open again");
                self.recovery = None;
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be opened again yet");
                if let Some(recovery) = &mut self.recovery {
                    if error.is_damage() {
                        recovery.back_off_ms = LONGEST_BACK_OFF_MS;
                    }
                    recovery.next_try = now.after(recovery.back_off_ms);
                    recovery.back_off_ms = (recovery.back_off_ms * 2).min(LONGEST_BACK_OFF_MS);
                }
            }
        }
        true
    }

    /// Hands the parts of an opened store to those who use them, and starts the shards: sessions are attached, then
    /// pending signals go out again, before anything new can leave.
    pub(crate) fn come_up(&mut self, opened: Opened) -> Result<(), StoreError> {
        let Opened { writer, mut reader, checkpointer, facts } = opened;
        let mut pending = Vec::new();
        let mut after = None;
        loop {
            let page = reader.pending(after, PENDING_PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some((last.position, last.recipient.clone()));
            if !planted(Bug::PendingNotSentAgain) {
                pending.extend(page);
            }
        }
        let outbox = read_outbox(reader.as_mut())?;
        let forwards = read_forwards(reader.as_mut())?;
        let registered = read_registered(reader.as_mut(), self.shared.clock.now().wall)?;
        let for_calls = reader.again()?;
        // From here on nothing fails: who holds a part of a store that did not come up would keep it from being opened again.
        let Facts { file_generation, sent, first_position, next_serial, domains, unswept, rules } = facts;
        self.shared.file.learn(file_generation, sent);
        let mut hosting = Hosting::default();
        for (domain, overrides) in domains {
            hosting.domains.insert(domain.as_str().to_owned(), Hosted { overrides, rules: None });
        }
        for (owner, rules) in rules {
            match owner {
                RulesOf::Server => hosting.rules = Some(rules),
                RulesOf::Domain(domain) => {
                    if let Some(hosted) = hosting.domains.get_mut(domain.as_str()) {
                        hosted.rules = Some(rules);
                    }
                }
                RulesOf::Account(_) => {}
            }
        }
        self.domains = Arc::new(hosting);
        *crate::sync::lock(&self.shared.domains) = Arc::clone(&self.domains);
        self.next = first_position;
        self.open = Some(writer);
        let generation = self.shared.generation();
        self.shared.readers.open(for_calls);
        let _ = self.shared.reader.put(ToReader::Opened { reader, next_serial, generation });
        let _ = self.shared.checkpointer.put(ToCheckpointer::Opened(checkpointer));
        let installed = Position(first_position.0.saturating_sub(1));
        for shard in &self.shared.shards {
            let _ = shard.put(ToShard::Resume(generation, installed, Arc::clone(&self.domains)));
        }
        // Before anybody asks what they show.
        for account in registered {
            let shard = self.shared.shard_of_address(&account);
            let _ = self.shared.shards[shard].put(ToShard::Signal(Signal::Registered(account)));
        }
        for id in unswept {
            let _ = self.shared.shards[self.shared.shard_of(id)].put(ToShard::Signal(Signal::Unswept(id)));
        }
        let pending = pending.into_iter().map(|pending| {
            let recipient = pending.recipient.clone();
            (pending.position, recipient, Signal::Pending(Box::new(pending)))
        });
        let rows = outbox.into_iter().map(|(row, addresses)| {
            let recipient = addresses.recipient.clone();
            (row.position, recipient, Signal::Queued { row, addresses })
        });
        let sent_on = forwards.into_iter().map(|deliver| {
            let recipient = deliver.recipient.clone();
            let position = deliver.forwarding.as_ref().map_or(Position::ZERO, |of| of.position);
            (position, recipient, Signal::Deliver(Box::new(deliver)))
        });
        let mut signals: Vec<_> = pending.chain(rows).chain(sent_on).collect();
        // A pair's signals and messages go in one order.
        signals.sort_by_key(|(position, ..)| *position);
        for (_, recipient, signal) in signals {
            let shard = self.shared.shard_of_address(&recipient);
            let _ = self.shared.shards[shard].put(ToShard::Signal(signal));
        }
        Ok(())
    }
}

/// Every account of which a contact is registered.
fn read_registered(reader: &mut dyn Reader, now: Timestamp) -> Result<Vec<Address>, StoreError> {
    let mut all: Vec<Address> = Vec::new();
    loop {
        let page = reader.registered(now, all.last(), PENDING_PAGE)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Every message that rules send on.
fn read_forwards(reader: &mut dyn Reader) -> Result<Vec<Deliver>, StoreError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = reader.forwards(after, PENDING_PAGE)?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some((last.position, last.target.clone()));
        for forward in page {
            let Some(row) = reader.rows_at(&[forward.position])?.pop() else { continue };
            let ids = [row.entry.sender, row.entry.recipient];
            if let [Some(sender), Some(recipient)] = &reader.addresses(&ids)?[..] {
                let addresses = RowAddresses { sender: sender.clone(), recipient: recipient.clone() };
                let mut deliver = forwarding(&row, &addresses, row.entry.recipient, forward);
                // Each is told from the others under way.
                deliver.token |= all.len() as u64 | 1 << 62;
                all.push(deliver);
            }
        }
    }
}

/// Every message that a relay has to settle, with its addresses.
fn read_outbox(reader: &mut dyn Reader) -> Result<Vec<(Arc<Row>, RowAddresses)>, StoreError> {
    let (mut all, mut after) = (Vec::new(), Position::ZERO);
    loop {
        let rows = reader.outbox(after, PENDING_PAGE)?;
        let Some(last) = rows.last() else { return Ok(all) };
        after = last.position;
        let ids: Vec<_> = rows.iter().flat_map(|row| [row.entry.sender, row.entry.recipient]).collect();
        let mut addresses = reader.addresses(&ids)?.into_iter();
        for row in rows {
            match (addresses.next().flatten(), addresses.next().flatten()) {
                (Some(sender), Some(recipient)) => {
                    all.push((Arc::new(row), RowAddresses { sender, recipient }))
                }
                _ => {
                    let position = row.position.0;
                    tracing::error!(position, "a queued message names an unknown address: check the file");
                }
            }
        }
    }
}
