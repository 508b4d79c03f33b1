//! Who runs the steps: threads, or a caller in virtual time.

pub(crate) mod threads;
pub(crate) mod virtual_time;

use crate::checkpoint::CheckpointStep;
use crate::reader::ReaderStep;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::writer::WriterStep;
use rosterkit_store::Store;
use std::sync::Arc;

/// The step functions of an engine.
pub(crate) struct Steps {
    pub(crate) shards: Vec<Shard>,
    pub(crate) writer: WriterStep,
    pub(crate) reader: ReaderStep,
    pub(crate) checkpointer: CheckpointStep,
}

impl Steps {
    pub(crate) fn new(shared: &Arc<Shared>, store: Arc<dyn Store>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Steps {
            shards: (0..shared.shards.len())
                .map(|i| Shard::new(i, Arc::clone(shared), random.u64(..)))
                .collect(),
            writer: WriterStep::new(Arc::clone(shared), store),
            reader: ReaderStep::new(Arc::clone(shared)),
            checkpointer: CheckpointStep::new(Arc::clone(shared)),
        }
    }
}
