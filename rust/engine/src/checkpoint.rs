//! The checkpointer: moves what was committed out of the write-ahead log, beside the writer.

use crate::mailbox::Taken;
use crate::messages::{Countdown, Job, ToWrite};
use crate::shared::Shared;
use rosterkit_core::planted::{Bug, panic_if_planted};
use rosterkit_store::{Checkpointer, CommitError};
use std::collections::VecDeque;
use std::sync::Arc;

/// To the checkpointer.
pub(crate) enum ToCheckpointer {
    /// Something was committed.
    Look,
    /// Everything was written, and the engine ends.
    Last(Arc<Countdown>),
    /// Drop the connection.
    Reset(Arc<Countdown>),
    /// Use this one.
    Opened(Box<dyn Checkpointer>),
}

pub(crate) struct CheckpointStep {
    shared: Arc<Shared>,
    store: Option<Box<dyn Checkpointer>>,
    inbox: VecDeque<ToCheckpointer>,
}

impl CheckpointStep {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        CheckpointStep { shared, store: None, inbox: VecDeque::new() }
    }

    /// Waits for something to do. False when the engine is down.
    pub(crate) fn wait(&mut self) -> bool {
        self.shared.checkpointer.wait(&mut self.inbox, None) != Taken::Closed
    }

    /// Says whether it did anything.
    pub(crate) fn step(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        shared.checkpointer.take(&mut self.inbox);
        let mut look = false;
        let busy = !self.inbox.is_empty();
        while let Some(message) = self.inbox.pop_front() {
            match message {
                ToCheckpointer::Look => look = true,
                ToCheckpointer::Last(countdown) => {
                    self.empty_log();
                    drop(countdown);
                }
                ToCheckpointer::Reset(countdown) => {
                    self.store = None;
                    drop(countdown);
                }
                ToCheckpointer::Opened(store) => self.store = Some(store),
            }
        }
        if look {
            panic_if_planted(Bug::PanicInCheckpointer);
        }
        if let (true, Some(store)) = (look, &mut self.store)
            && let Err(error) = store.checkpoint_if_due()
        {
            tracing::warn!(%error, "a checkpoint failed");
            // Else nothing is lost by it: the log stays as it is, and the next one tries again.
            if matches!(error, CommitError::Unknown(_)) {
                self.store = None;
                let _ = shared.writer.put(ToWrite { generation: shared.generation(), job: Job::Reopen });
            }
        }
        busy
    }

    fn empty_log(&mut self) {
        match self.store.as_mut().map(|store| store.empty_log()) {
            Some(Ok(false)) => tracing::info!("somebody reads the file: its log is left to the next opening"),
            Some(Err(error)) => tracing::warn!(%error, "the log is left to the next opening"),
            Some(Ok(true)) | None => {}
        }
    }
}

impl Drop for CheckpointStep {
    fn drop(&mut self) {
        self.shared.checkpointer.abandon();
    }
}
