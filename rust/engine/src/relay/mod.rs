//! Relays: what carries signals to and from addresses that this engine does not host.
//!
//! A relay is one more consumer of what the engine has on disk: it takes parcels, and settling them is its
//! acknowledgement. What its holder does with them, and who may speak for which domain, is the host's business.

mod acquaintance;
pub(crate) mod outbox;
mod parcel;
pub(crate) mod queue;

pub(crate) use acquaintance::FileIdentity;
pub use acquaintance::sent_at;
pub use parcel::{Amends, Contents, Notice, Parcel, RelayedMessage, RosterSignal, Settlement};
pub use queue::{Outgoing, Serves};

use crate::answers::ReplyTo;
use crate::command::Answer;
use crate::engine::Handle;
use crate::error::{Error, Result};
use crate::messages::{RelayChange, ToShard};
use crate::shared::Shared;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use outbox::DeliveryKey;
use queue::RelayQueue;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;

/// A relay, open. Clones are the same relay; it is closed by [`close`](Relay::close) or when the last clone is dropped.
///
/// It begins without a connection. While it has none, messages to the domains it serves are accepted and wait on disk,
/// for 24 h; [`connect`](Relay::connect) lets them out. Every call may be made from any thread.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<RelayQueue>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("serves", &self.inner.queue.serves).finish_non_exhaustive()
    }
}

impl Relay {
    /// Opens a relay. `Conflict` when a domain is hosted here, or another relay serves it.
    pub(crate) fn open(shared: &Arc<Shared>, serves: Serves) -> Result<Relay> {
        if let Serves::Domains(domains) = &serves {
            let hosted = Arc::clone(&lock(&shared.domains));
            if let Some(domain) = domains.iter().find(|domain| hosted.hosts(domain.as_str())) {
                return Err(Refusal::Conflict(format!("the domain {domain} is hosted here")).into());
            }
        }
        let queue = shared.relays.add(serves)?;
        Ok(Relay { inner: Arc::new(Inner { shared: Arc::clone(shared), queue }) })
    }

    // ---- the connection ---------------------------------------------------------------------------------------

    /// There is a connection: what waits is given out, and presence is asked for and told anew. Nothing changes when there
    /// was one.
    pub fn connect(&self) {
        if self.inner.queue.connect().is_some() {
            self.inner.tell_shards(|| RelayChange::Connected(Arc::clone(&self.inner.queue)));
        }
    }

    /// The connection is gone: what it had in hand and did not settle is given out again to the next one. When that does
    /// not come within 90 s, the presence of everybody behind it is unknown.
    pub fn disconnect(&self) {
        self.inner.disconnect();
    }

    /// Closes the relay: from here on its domains are unreachable. What waits stays on disk, for another relay that serves
    /// them or until it fails. Idempotent.
    pub fn close(&self) {
        self.inner.close();
    }

    /// The domains that this engine hosts.
    pub fn hosted(&self) -> Vec<Domain> {
        let table = Arc::clone(&lock(&self.inner.shared.domains));
        table.domains.keys().filter_map(|name| Domain::new(name).ok()).collect()
    }

    // ---- from here --------------------------------------------------------------------------------------------

    /// Takes up to `max` things to carry, waiting up to `timeout` for the first; empty when none came. One consumer at a time,
    /// a second is `Misuse`.
    pub fn next(&self, max: usize, timeout: Duration) -> Result<Vec<Outgoing>> {
        let queue = &self.inner.queue;
        Handle(&self.inner.shared).next(timeout, |wait| queue.take(max, wait.unwrap_or_default()))
    }

    /// Makes a waiting [`next`](Relay::next) return, or the next one that would wait.
    pub fn interrupt(&self) {
        self.inner.queue.interrupt();
    }

    /// Says what became of an item of a parcel, by its delivery id; also of one that an earlier run gave out. Returns at
    /// once; what is settled already, or unknown, stays as it is.
    pub fn settle(&self, delivery_id: &str, settlement: Settlement) -> Result<()> {
        let Some(key) = DeliveryKey::parse(delivery_id) else {
            return Err(Refusal::InvalidArgument("this is no delivery id of ours".into()).into());
        };
        let shared = &self.inner.shared;
        let _ = shared.shards[shared.shard_of(key.recipient)].put(ToShard::Settled(key, settlement));
        Ok(())
    }

    // ---- from outside -----------------------------------------------------------------------------------------

    /// Takes a parcel in: one settlement for each of its items, when what follows from it is on disk. On an error nothing of it
    /// was taken, and it may come again.
    pub fn receive(&self, parcel: Parcel) -> Result<Vec<Settlement>> {
        self.check(&parcel.sender)?;
        let handle = Handle(&self.inner.shared);
        let (call, reply) = handle.prepare_call(size(&parcel))?;
        self.put(parcel, reply)?;
        match handle.wait_for(&call)? {
            Answer::Received(settlements) => Ok(settlements),
            _ => Err(Error::internal("a parcel was answered with something else")),
        }
    }

    /// The same without waiting: the answer comes by [`next`](Relay::next), under this number, while the present connection
    /// lasts.
    pub fn submit(&self, number: u64, parcel: Parcel) -> Result<()> {
        self.check(&parcel.sender)?;
        let Some(epoch) = self.inner.queue.epoch() else {
            return Err(Error::misuse("the relay has no connection: connect it first"));
        };
        let credit = Handle(&self.inner.shared).credit_for(size(&parcel))?;
        let reply = ReplyTo::relay(number, epoch, Arc::clone(&self.inner.queue), credit);
        self.put(parcel, reply)
    }

    /// Takes a notice in.
    pub fn notify(&self, notice: Notice) -> Result<()> {
        let (from, to) = match &notice {
            Notice::Presence { subject, watcher, .. } => (subject, watcher),
            Notice::Probe { watcher, subject } => (watcher, subject),
            Notice::Typing { sender, recipient, .. } => (sender, recipient),
        };
        self.check(from)?;
        let shared = &self.inner.shared;
        let _ = shared.shards[shared.shard_of_address(to)].put(ToShard::Notice(notice));
        Ok(())
    }

    /// Whether this relay may speak for an address: it serves its domain.
    fn check(&self, sender: &Address) -> Result<()> {
        let served = self.inner.shared.relays.serving(sender.domain());
        let hosted = lock(&self.inner.shared.domains).hosts(sender.domain());
        if hosted || served.is_none_or(|relay| relay.id != self.inner.queue.id) {
            return Err(Refusal::Forbidden.into());
        }
        Ok(())
    }

    fn put(&self, parcel: Parcel, reply: ReplyTo) -> Result<()> {
        if parcel.sender.user().is_none() || parcel.recipient.user().is_none() {
            return Err(
                Refusal::InvalidArgument("a parcel goes from user@domain to user@domain".into()).into()
            );
        }
        let shared = &self.inner.shared;
        let shard = shared.shard_of_address(&parcel.recipient);
        let _ = shared.shards[shard].put(ToShard::Parcel(Box::new(parcel), reply));
        Ok(())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

impl Inner {
    fn close(&self) {
        self.disconnect();
        if self.shared.relays.remove(self.queue.id) {
            self.tell_shards(|| RelayChange::Closed(Arc::clone(&self.queue)));
        }
        self.queue.close();
    }

    fn disconnect(&self) {
        if let Some(epoch) = self.queue.disconnect() {
            self.tell_shards(|| RelayChange::Disconnected(Arc::clone(&self.queue), epoch));
        }
    }

    fn tell_shards(&self, change: impl Fn() -> RelayChange) {
        for shard in &self.shared.shards {
            let _ = shard.put(ToShard::Relay(change()));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a parcel holds, in bytes, as far as it matters.
fn size(parcel: &Parcel) -> usize {
    match &parcel.contents {
        Contents::Messages(messages) => messages.iter().map(|m| m.content.size()).sum(),
        Contents::Roster(signal) => signal.note.len(),
    }
}

/// The open relays: the one place that knows which of them serves an address.
pub(crate) struct Relays {
    open: Mutex<Arc<Vec<Arc<RelayQueue>>>>,
    /// No two have the same number, also one after the other: what is said of a closed one is of no other.
    next: AtomicU64,
}

impl Relays {
    pub(crate) fn new() -> Self {
        Relays { open: Mutex::new(Arc::default()), next: AtomicU64::new(1) }
    }

    fn add(&self, serves: Serves) -> Result<Arc<RelayQueue>> {
        let mut open = lock(&self.open);
        let taken = open.iter().any(|other| match &serves {
            Serves::Domains(domains) => domains.iter().any(|domain| other.names(domain.as_str())),
            Serves::Everything => other.serves == Serves::Everything,
        });
        if taken {
            return Err(Refusal::Conflict("another relay serves this: close it first".into()).into());
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(RelayQueue::new(id, serves));
        Arc::make_mut(&mut open).push(Arc::clone(&queue));
        Ok(queue)
    }

    /// Says whether it was there.
    fn remove(&self, id: u64) -> bool {
        let mut open = lock(&self.open);
        let before = open.len();
        Arc::make_mut(&mut open).retain(|relay| relay.id != id);
        open.len() < before
    }

    /// The relay for a domain that is not hosted: the one that names it, or the one for everything.
    pub(crate) fn serving(&self, domain: &str) -> Option<Arc<RelayQueue>> {
        let open = Arc::clone(&lock(&self.open));
        let named = open.iter().find(|relay| relay.names(domain));
        named.or_else(|| open.iter().find(|relay| relay.serves == Serves::Everything)).cloned()
    }

    /// The store is opened again: what the relays were to be given comes anew.
    pub(crate) fn start_over(&self) {
        lock(&self.open).iter().for_each(|relay| relay.start_over());
    }

    /// The engine is down.
    pub(crate) fn close(&self) {
        let open = std::mem::take(&mut *lock(&self.open));
        open.iter().for_each(|relay| relay.close());
    }
}
