//! What two files remember of each other, so that one that was restored from a backup is told.
//!
//! A restored file has forgotten what it sent since. Nothing of that is lost, as the other side has it, and nothing that is
//! sent anew is taken for it, as ids are never given twice. But its clients hold cursors of the file that is gone, and its
//! owner wants to know.

use super::Relay;
use super::outbox::DeliveryKey;
use crate::engine::Handle;
use crate::error::Result;
use crate::messages::{Job, ToShard, ToWrite};
use crate::sync::atomic::{AtomicU64, Ordering};
use rosterkit_core::id::Position;
use rosterkit_core::write::Write;

/// What the file is known by, outside.
#[derive(Default)]
pub(crate) struct FileIdentity {
    generation: AtomicU64,
    /// The highest position of anything that a relay was to carry.
    sent: AtomicU64,
}

impl FileIdentity {
    /// The store is open.
    pub(crate) fn learn(&self, generation: u64, sent: Position) {
        self.generation.store(generation, Ordering::Release);
        self.sent.fetch_max(sent.0, Ordering::AcqRel);
    }

    /// These were committed as one item, at this position.
    pub(crate) fn committed(&self, writes: &[Write]) {
        let sent = writes.iter().filter_map(|write| match write {
            Write::Append(row) if row.entry.is_queued() => Some(row.position),
            Write::Pend(pending) => Some(pending.position),
            _ => None,
        });
        if let Some(sent) = sent.max() {
            self.sent.fetch_max(sent.0, Ordering::AcqRel);
        }
    }
}

/// The position at which the engine that gave this delivery id has the item; `None` when it is no engine's.
pub fn sent_at(delivery_id: &str) -> Option<Position> {
    DeliveryKey::parse(delivery_id).map(|key| key.position)
}

impl Relay {
    /// The number this engine's file is known by: another one after it was found to be restored from a backup.
    pub fn file_generation(&self) -> u64 {
        self.shared().file.generation.load(Ordering::Acquire)
    }

    /// The highest position of anything that a relay of this file was to carry.
    pub fn sent(&self) -> Position {
        Position(self.shared().file.sent.load(Ordering::Acquire))
    }

    /// How far another engine's file was taken in, as far as is remembered: the position, there, of the latest delivery.
    pub fn seen(&self, file_generation: u64) -> Result<Option<Position>> {
        Handle(self.shared()).read_file(|connection| Ok(connection.store.seen(file_generation)?))
    }

    /// Remembers it, within a second.
    pub fn remember_seen(&self, file_generation: u64, position: Position) {
        let shared = self.shared();
        let writes = vec![Write::Seen { file_generation, position }];
        let job = Job::Lazy { writes };
        let _ = shared.writer.put(ToWrite { generation: shared.generation(), job });
    }

    /// Compares with what the other side has seen of this file. When it is more than this file ever sent, the file is older
    /// than that, restored from a backup: then it gets another generation, every session is told to read its state again,
    /// and this says so.
    pub fn was_restored(&self, file_generation: u64, seen: Position) -> Result<bool> {
        let shared = self.shared();
        if file_generation != self.file_generation() || seen <= self.sent() {
            return Ok(false);
        }
        tracing::warn!(
            "the file is older than what another engine has seen of it: it was restored from a backup"
        );
        let new = fastrand::u64(1..=i64::MAX as u64);
        let handle = Handle(shared);
        let (call, reply) = handle.prepare_call(0)?;
        let job = Job::Other { writes: vec![Write::FileGeneration(new)], reply };
        let _ = shared.writer.put(ToWrite { generation: shared.generation(), job });
        handle.wait_for(&call)?;
        shared.file.generation.store(new, Ordering::Release);
        for shard in &shared.shards {
            let _ = shard.put(ToShard::ResyncAll);
        }
        Ok(true)
    }
}
