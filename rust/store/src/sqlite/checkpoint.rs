//! Checkpoints, on a connection of their own.

use super::open::{Parts, connect};
use crate::{Checkpointer, StoreError};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) struct SqliteCheckpointer {
    connection: Connection,
    parts: Arc<Parts>,
}

impl SqliteCheckpointer {
    pub(super) fn open(parts: &Arc<Parts>) -> Result<Self, StoreError> {
        Ok(SqliteCheckpointer { connection: connect(&parts.path, &parts.options)?, parts: Arc::clone(parts) })
    }

    /// Runs a checkpoint in this mode: (whether it was prevented, pages in the log, pages moved).
    fn run(&self, mode: &str) -> Result<(bool, u64, u64), StoreError> {
        self.connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                Ok((row.get::<_, i64>(0)? != 0, super::bits(row.get(1)?), super::bits(row.get(2)?)))
            })
            .map_err(|e| StoreError::of("a checkpoint", e))
    }
}

impl Checkpointer for SqliteCheckpointer {
    fn wal_pages(&mut self) -> Result<u64, StoreError> {
        self.run("NOOP").map(|(_, pages, _)| pages)
    }

    /// Passive: it moves nearly everything without holding up the writer. Under full load the writer is ahead again by
    /// then and the log would grow for ever; past twice the mark the writer is asked to begin it anew, see
    /// [`begin_anew`]. It does so itself, between two commits, because another connection would seldom get its lock.
    fn checkpoint_if_due(&mut self) -> Result<bool, StoreError> {
        let mark = self.parts.options.checkpoint_pages;
        if self.wal_pages()? < mark {
            return Ok(false);
        }
        let (prevented, pages, moved) = self.run("PASSIVE")?;
        if pages >= 2 * mark {
            self.parts.begin_anew.store(true, Ordering::Release);
        }
        Ok(!prevented && pages == moved)
    }
}

/// Moves the little that is left after a passive checkpoint, so that the next commit begins the log anew. A reader may
/// prevent it; then the next checkpoint asks again.
pub(super) fn begin_anew(writer: &Connection, parts: &Parts) -> Result<(), StoreError> {
    if parts.begin_anew.swap(false, Ordering::Acquire) {
        writer
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
            .map_err(|e| StoreError::of("a checkpoint", e))?;
    }
    Ok(())
}
