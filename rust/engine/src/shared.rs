//! What every step of an engine can reach: the mailboxes, the clock, and how the engine was opened.

use crate::answers::{Answers, Credits};
use crate::clock::Clock;
use crate::dispatch::Ready;
use crate::drive::virtual_time::World;
use crate::error::Error;
use crate::event::EndReason;
use crate::host::HostEvents;
use crate::mailbox::Mailbox;
use crate::messages::{Countdown, Domains, Job, ToReader, ToShard, ToWrite};
use crate::options::EngineOptions;
use crate::queue::{Acks, Wake};
use crate::readers::Readers;
use crate::relay::{FileIdentity, Relays};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::wakeup::Wakeup;
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, SessionId};
use std::sync::{Arc, OnceLock, Weak};

pub(crate) struct Shared {
    pub(crate) options: EngineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shards: Vec<Mailbox<ToShard>>,
    pub(crate) writer: Mailbox<ToWrite>,
    pub(crate) reader: Mailbox<ToReader>,
    pub(crate) checkpointer: Mailbox<crate::checkpoint::ToCheckpointer>,
    pub(crate) answers: Arc<Answers>,
    /// What hosts wait on that wait for many things, once one has asked for it.
    pub(crate) wakeup: Mutex<Option<Arc<Wakeup>>>,
    pub(crate) credits: Arc<Credits>,
    pub(crate) ready: Ready,
    /// What plain calls read with.
    pub(crate) readers: Readers,
    pub(crate) relays: Relays,
    /// What the host itself is asked to do.
    pub(crate) host: HostEvents,
    pub(crate) file: FileIdentity,
    /// Raised each time the store is opened anew: what belongs to an older one is discarded.
    pub(crate) generation: AtomicU64,
    /// Whether the engine takes no more commands.
    pub(crate) closed: AtomicBool,
    pub(crate) next_ticket: AtomicU64,
    pub(crate) next_session: AtomicU64,
    /// The table of domains as the writer last installed it, for listing.
    pub(crate) domains: Mutex<Domains>,
    /// Who runs the steps, when no threads do.
    pub(crate) world: OnceLock<Weak<World>>,
    /// Starts a thread that calls listeners back, when threads run the steps.
    pub(crate) more_dispatchers: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Shared {
    pub(crate) fn shard_of_slot(&self, slot: u64) -> usize {
        (slot % self.shards.len() as u64) as usize
    }

    pub(crate) fn shard_of(&self, id: AddressId) -> usize {
        self.shard_of_slot(id.slot())
    }

    pub(crate) fn shard_of_address(&self, address: &Address) -> usize {
        self.shard_of_slot(address.slot())
    }

    /// A session's number carries its account's slot, so that acknowledgements find their shard by it.
    pub(crate) fn new_session_id(&self, account: AddressId) -> SessionId {
        let serial = self.next_session.fetch_add(1, Ordering::Relaxed);
        SessionId(serial * AddressId::SLOTS + account.slot())
    }

    pub(crate) fn shard_of_session(&self, session: SessionId) -> usize {
        self.shard_of_slot(session.0 % AddressId::SLOTS)
    }

    /// To the shard of a session. A closed mailbox means the engine is down, and then nobody waits for this.
    pub(crate) fn tell_session(&self, session: SessionId, message: ToShard) {
        let _ = self.shards[self.shard_of_session(session)].put(message);
    }

    /// A step has panicked: nobody knows what is still true, so nothing more is taken in. What was decided is written, if
    /// it was not the writer, and whoever waits is answered by the steps as they end.
    pub(crate) fn fail(&self, failure: String) {
        tracing::error!(%failure, "the engine failed");
        self.credits.fail(failure);
        self.closed.store(true, Ordering::Release);
        let flush = Job::Flush(Countdown::new(|| {}));
        let _ = self.writer.put(ToWrite { generation: self.generation(), job: flush });
        self.close_mailboxes();
    }

    /// The steps end when they have done what is in their mailboxes.
    pub(crate) fn close_mailboxes(&self) {
        self.shards.iter().for_each(Mailbox::close);
        self.writer.close();
        self.reader.close();
        self.checkpointer.close();
    }

    /// Why nothing more is done.
    pub(crate) fn ended(&self) -> Error {
        self.credits.ended()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Sessions have something to read.
    pub(crate) fn all_readable(&self, sessions: &mut Vec<SessionId>) {
        if sessions.is_empty() {
            return;
        }
        let missing = self.ready.readable(sessions);
        if let Some(start) = self.more_dispatchers.get() {
            (0..missing).for_each(|_| start());
        }
    }
}

impl Wake for Shared {
    fn readable(&self, session: SessionId) {
        self.all_readable(&mut vec![session]);
    }

    fn acknowledged(&self, session: SessionId, acks: Acks) {
        self.tell_session(session, ToShard::Acknowledged(session, acks));
    }

    fn close(&self, session: SessionId, reason: EndReason) {
        self.tell_session(session, ToShard::Close(session, reason));
    }
}
