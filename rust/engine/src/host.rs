//! What the host itself is asked to do: what rules hand to it, and pushes for devices that have no session.
//!
//! None of it is kept: what nobody takes while there is room is lost, and that it was is told.

use crate::error::{Error, Result};
use crate::event::Message;
use crate::sync::{Condvar, Mutex, lock, until, wait_for};
use crate::wakeup::Interrupts;
use rosterkit_core::address::Address;
use rosterkit_core::id::{DeviceName, MessageId, Position};
use rosterkit_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many wait. Beyond it the oldest are lost.
const ROOM: usize = 8_192;

/// Something for the host to do. New kinds may be added: match with a wildcard.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HostEvent {
    /// A rule says that a URL is to be opened. The library opens no connection of its own.
    OpenUrl {
        /// Whose message it was about.
        account: Address,
        /// Which rule: its level and its name.
        rule: String,
        /// Which URL.
        url: Arc<str>,
        /// The message's id.
        message_id: MessageId,
    },
    /// A rule says that the account's devices are to be sent a notification.
    RulePush {
        /// Whose.
        account: Address,
        /// Which rule: its level and its name.
        rule: String,
        /// What it is to say.
        text: Arc<str>,
        /// The message's id.
        message_id: MessageId,
    },
    /// A message is to be delivered to a contact that is registered. Who has it says so by
    /// [`Claim`](crate::Command::Claim); until then it waits for whoever else comes.
    Deliver {
        /// Whose contact.
        account: Address,
        /// Which.
        registration: DeviceName,
        /// How to reach it.
        contact: Arc<str>,
        /// What.
        message: Message,
    },
    /// A device is to be woken: something came, and none of the account's sessions is there to take it.
    Push {
        /// Whose device.
        account: Address,
        /// Which.
        registration: DeviceName,
        /// How to reach it.
        contact: Arc<str>,
        /// What came.
        reason: PushReason,
        /// From whom. What is pushed of one sender may take the place of what was before: the collapse key.
        sender: Address,
        /// The message's id.
        message_id: MessageId,
        /// Its place.
        position: Position,
        /// How many messages wait.
        badge: usize,
        /// When it is of no use any more.
        expires: Option<Timestamp>,
    },
    /// So many were lost before the next: nobody took them in time.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Why a device is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushReason {
    /// A message came.
    NewMessage,
    /// Somebody asks to be a buddy.
    BuddyRequest,
}

/// The queue of them.
#[derive(Default)]
pub(crate) struct HostEvents {
    inner: Mutex<Inner>,
    there: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<HostEvent>,
    missed: u64,
    closed: bool,
    interrupts: Interrupts,
}

impl HostEvents {
    pub(crate) fn put(&self, event: HostEvent) {
        let mut inner = lock(&self.inner);
        if inner.queue.len() >= ROOM {
            inner.queue.pop_front();
            inner.missed += 1;
        }
        inner.queue.push_back(event);
        drop(inner);
        self.there.notify_one();
    }

    /// Takes up to `max`; waits for the first for `timeout` at most, or until it is interrupted. Empty when none came.
    pub(crate) fn take(&self, max: usize, timeout: Duration) -> Result<Vec<HostEvent>> {
        let until = until(timeout);
        let mut inner = lock(&self.inner);
        let begun = inner.interrupts.begin();
        loop {
            if !inner.queue.is_empty() && max > 0 {
                let missed = std::mem::take(&mut inner.missed);
                let missed = (missed > 0).then_some(HostEvent::Missed { count: missed });
                let room = max - usize::from(missed.is_some()).min(max);
                let n = room.min(inner.queue.len());
                return Ok(missed.into_iter().chain(inner.queue.drain(..n)).collect());
            }
            if inner.closed {
                return Err(Error::closed());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || inner.interrupts.end(begun) {
                return Ok(Vec::new());
            }
            inner = wait_for(&self.there, inner, left);
        }
    }

    /// Ends the waits; when there are none, the next one ends at once.
    pub(crate) fn interrupt(&self) {
        lock(&self.inner).interrupts.raise();
        self.there.notify_all();
    }

    /// Wakes every waiter; what is in the queue can still be taken.
    pub(crate) fn close(&self) {
        lock(&self.inner).closed = true;
        self.there.notify_all();
    }
}
