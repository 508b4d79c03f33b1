//! What waits for a relay's holder: parcels, notices, and answers to parcels that came in.
//!
//! Parcels are put by the shards, who keep to a number of them (see [`Outbox`](super::outbox::Outbox)); of notices only
//! the newest of each sort and pair waits. Both wait only while the relay is connected: parcels are in the log, and
//! whoever connects is told the present.

use super::parcel::{Notice, Parcel, Settlement};
use crate::answers::Credit;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, until, wait_for};
use rosterkit_core::address::Domain;
use rosterkit_core::id::fnv1a;
use rosterkit_core::presence::Slots;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Which addresses a relay serves: where it carries to, and for whom it may speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Those of these domains.
    Domains(Vec<Domain>),
    /// Every address that is not hosted here and that no other relay serves.
    Everything,
}

/// What a relay's holder is handed.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// Durable signals. Each of them is to be settled.
    Parcel(Parcel),
    /// Something for now, or never.
    Notice(Notice),
    /// What became of a parcel that was submitted under this number: one settlement for each of its items; or an error, and
    /// then nothing of it was taken.
    Received {
        /// The holder's number.
        number: u64,
        /// What became of it.
        result: Result<Vec<Settlement>>,
    },
}

/// What a notice is about, hashed: of the same only the newest waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NoticeKey(u8, u64, u64);

impl NoticeKey {
    fn of(notice: &Notice) -> Self {
        let (sort, from, to) = match notice {
            Notice::Presence { subject, watcher, .. } => (0, subject, watcher),
            Notice::Probe { watcher, subject } => (1, watcher, subject),
            Notice::Typing { sender, recipient, .. } => (2, sender, recipient),
        };
        NoticeKey(sort, fnv1a(from.as_str().as_bytes()), fnv1a(to.as_str().as_bytes()))
    }
}

pub(crate) struct RelayQueue {
    pub(crate) id: u64,
    pub(crate) serves: Serves,
    inner: Mutex<Inner>,
    readable: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Raised with each connection: what was handed out in an older one is given out again.
    epoch: u64,
    connected: bool,
    closed: bool,
    /// Somebody waits for what comes.
    consumer: bool,
    interrupted: bool,
    parcels: VecDeque<Parcel>,
    notices: Slots<NoticeKey, Notice>,
    received: VecDeque<Received>,
    /// Whose turn it is: a flood of one sort does not keep the other waiting.
    notice_next: bool,
}

/// An answer nobody took yet holds its credit, which bounds how many there are.
struct Received {
    number: u64,
    result: Result<Vec<Settlement>>,
    _credit: Option<Credit>,
}

impl RelayQueue {
    pub(crate) fn new(id: u64, serves: Serves) -> Self {
        RelayQueue { id, serves, inner: Mutex::new(Inner::default()), readable: Condvar::new() }
    }

    /// Whether it may serve this domain, when nobody else does.
    pub(crate) fn covers(&self, domain: &str) -> bool {
        self.serves == Serves::Everything || self.names(domain)
    }

    /// Whether it serves this domain by name.
    pub(crate) fn names(&self, domain: &str) -> bool {
        match &self.serves {
            Serves::Domains(domains) => domains.iter().any(|served| served.as_str() == domain),
            Serves::Everything => false,
        }
    }

    /// A connection is there. Gives its epoch; `None` when there is one already, or the relay is closed.
    pub(crate) fn connect(&self) -> Option<u64> {
        let mut inner = lock(&self.inner);
        if inner.connected || inner.closed {
            return None;
        }
        inner.connected = true;
        inner.epoch += 1;
        Some(inner.epoch)
    }

    /// It is gone. Gives the epoch that ended; `None` when there was none.
    pub(crate) fn disconnect(&self) -> Option<u64> {
        let mut inner = lock(&self.inner);
        if !std::mem::take(&mut inner.connected) {
            return None;
        }
        inner.forget();
        Some(inner.epoch)
    }

    /// The store is opened again: the shards will put everything anew.
    pub(crate) fn start_over(&self) {
        lock(&self.inner).parcels.clear();
    }

    /// The relay is no more. Who waits is told.
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        inner.connected = false;
        inner.forget();
        drop(inner);
        self.readable.notify_all();
    }

    /// The epoch, while there is a connection.
    pub(crate) fn epoch(&self) -> Option<u64> {
        let inner = lock(&self.inner);
        inner.connected.then_some(inner.epoch)
    }

    /// Puts a parcel; gives the epoch it was put in, or `None` when there is no connection.
    pub(crate) fn put_parcel(&self, parcel: Parcel) -> Option<u64> {
        let mut inner = lock(&self.inner);
        if !inner.connected {
            return None;
        }
        inner.parcels.push_back(parcel);
        let epoch = inner.epoch;
        self.announce(inner);
        Some(epoch)
    }

    /// Puts a notice, in place of an older one about the same. Without a connection it is dropped.
    pub(crate) fn put_notice(&self, notice: Notice) {
        let mut inner = lock(&self.inner);
        if inner.connected {
            inner.notices.put(NoticeKey::of(&notice), notice);
            self.announce(inner);
        }
    }

    /// Puts what became of a parcel that came in by the connection of this epoch; its number means nothing in another.
    pub(crate) fn put_received(
        &self,
        epoch: u64,
        number: u64,
        result: Result<Vec<Settlement>>,
        credit: Option<Credit>,
    ) {
        let mut inner = lock(&self.inner);
        if inner.connected && inner.epoch == epoch {
            inner.received.push_back(Received { number, result, _credit: credit });
            self.announce(inner);
        }
    }

    fn announce(&self, inner: MutexGuard<'_, Inner>) {
        drop(inner);
        self.readable.notify_one();
    }

    /// Wakes whoever waits, or whoever does so next: it finds nothing, and comes back.
    pub(crate) fn interrupt(&self) {
        let mut inner = lock(&self.inner);
        inner.interrupted = true;
        self.announce(inner);
    }

    /// Takes up to `max`, waiting up to `timeout` for the first; empty when none came.
    pub(crate) fn take(&self, max: usize, timeout: Duration) -> Result<Vec<Outgoing>> {
        let until = until(timeout);
        let mut inner = lock(&self.inner);
        if inner.consumer {
            return Err(Error::misuse("the relay is being read already: one consumer at a time"));
        }
        inner.consumer = true;
        let taken = loop {
            if inner.closed {
                break Err(Error::relay_closed());
            }
            let taken = inner.hand_out(max);
            let left = until.saturating_duration_since(Instant::now());
            if !taken.is_empty() || left.is_zero() || std::mem::take(&mut inner.interrupted) {
                break Ok(taken);
            }
            inner = wait_for(&self.readable, inner, left);
        };
        inner.consumer = false;
        taken
    }
}

impl Inner {
    /// What waits for a connection that is gone.
    fn forget(&mut self) {
        self.parcels.clear();
        self.notices = Slots::default();
        // Whoever asked is gone with it; the same parcels come again.
        self.received.clear();
    }

    fn hand_out(&mut self, max: usize) -> Vec<Outgoing> {
        let mut out = Vec::new();
        while out.len() < max {
            // They are the other side's leave to send more.
            if let Some(Received { number, result, .. }) = self.received.pop_front() {
                out.push(Outgoing::Received { number, result });
                continue;
            }
            let parcel_first = !std::mem::replace(&mut self.notice_next, false);
            if parcel_first && let Some(parcel) = self.parcels.pop_front() {
                self.notice_next = true;
                out.push(Outgoing::Parcel(parcel));
            } else if let Some((_, notice)) = self.notices.pop_front() {
                out.push(Outgoing::Notice(notice));
            } else if let Some(parcel) = self.parcels.pop_front() {
                out.push(Outgoing::Parcel(parcel));
            } else {
                break;
            }
        }
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parcel::Contents;
    use super::*;
    use rosterkit_core::address::Address;
    use rosterkit_core::content::ChatState;

    fn address(text: &str) -> Address {
        Address::account(text).unwrap()
    }

    fn parcel() -> Parcel {
        let (sender, recipient) = (address("alice@a.example"), address("bob@b.example"));
        Parcel { sender, recipient, contents: Contents::Messages(Vec::new()) }
    }

    fn typing(state: ChatState) -> Notice {
        let (sender, recipient) = (address("alice@a.example"), address("bob@b.example"));
        Notice::Typing { sender, recipient, state }
    }

    #[test]
    fn nothing_waits_for_a_connection_that_is_not_there() {
        let queue = RelayQueue::new(1, Serves::Everything);
        assert_eq!(queue.put_parcel(parcel()), None);
        queue.put_notice(typing(ChatState::Active));
        assert_eq!(queue.take(9, Duration::ZERO).unwrap(), []);
        let first = queue.connect().unwrap();
        assert_eq!(queue.connect(), None, "there is one");
        assert_eq!(queue.put_parcel(parcel()), Some(first));
        assert_eq!(queue.disconnect(), Some(first));
        assert_eq!(queue.disconnect(), None);
        assert!(queue.connect().unwrap() > first);
        assert_eq!(queue.take(9, Duration::ZERO).unwrap(), [], "what was put waits for no other connection");
    }

    #[test]
    fn the_newest_notice_counts_and_neither_sort_starves_the_other() {
        let queue = RelayQueue::new(1, Serves::Everything);
        queue.connect().unwrap();
        for _ in 0..3 {
            queue.put_parcel(parcel()).unwrap();
        }
        queue.put_notice(typing(ChatState::Composing));
        queue.put_notice(typing(ChatState::Gone));
        let taken = queue.take(2, Duration::ZERO).unwrap();
        assert_eq!(taken, [Outgoing::Parcel(parcel()), Outgoing::Notice(typing(ChatState::Gone))]);
        assert_eq!(queue.take(9, Duration::ZERO).unwrap().len(), 2);
    }

    #[test]
    fn who_waits_is_interrupted_and_told_the_end() {
        let queue = RelayQueue::new(1, Serves::Everything);
        queue.interrupt();
        assert_eq!(queue.take(1, Duration::from_secs(3_600)).unwrap(), [], "before it waits, too");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.take(1, Duration::from_secs(3_600)));
            while !lock(&queue.inner).consumer {
                std::thread::yield_now();
            }
            assert!(queue.take(1, Duration::ZERO).is_err(), "one consumer at a time");
            queue.interrupt();
            assert_eq!(waiting.join().unwrap().unwrap(), []);
        });
        queue.close();
        assert!(queue.take(1, Duration::ZERO).is_err());
    }
}
