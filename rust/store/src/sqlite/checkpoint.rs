//! Checkpoints, on a connection of their own.

use super::SqliteOptions;
use super::open::{Parts, connect};
use crate::vfs::{Call, Disk, Failure, FileKind, Layer};
use crate::{Checkpointer, CommitError, StoreError};
use rusqlite::{Connection, ErrorCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) struct SqliteCheckpointer {
    connection: Connection,
    parts: Arc<Parts>,
    /// Used by the connection.
    _disk: Disk,
}

impl SqliteCheckpointer {
    pub(super) fn open(parts: &Arc<Parts>) -> Result<Self, StoreError> {
        let disk = parts.options.disk.behind(Arc::new(Watched(Arc::clone(parts))));
        let options = SqliteOptions { disk: disk.clone(), ..parts.options.clone() };
        let connection = connect(&parts.path, &options)?;
        Ok(SqliteCheckpointer { connection, parts: Arc::clone(parts), _disk: disk })
    }
}

/// Tells the writer of the checkpointer's syncs. Known only when the checkpoint returns, a failed one would leave a moment
/// in which a commit behind it is taken for good.
struct Watched(Arc<Parts>);

impl Layer for Watched {
    fn call(&self, file: FileKind, path: &str, call: Call<'_>) -> Result<(), Failure> {
        if matches!((file, call), (FileKind::Wal, Call::Sync)) {
            self.0.syncing.store(true, Ordering::SeqCst);
        }
        self.0.options.disk.layer().call(file, path, call)
    }

    fn syncs(&self) -> bool {
        self.0.options.disk.layer().syncs()
    }

    fn synced(&self, file: FileKind, path: &str, succeeded: bool) {
        self.0.options.disk.layer().synced(file, path, succeeded);
        self.0.suspect.fetch_or(!succeeded, Ordering::SeqCst);
        if file == FileKind::Wal {
            self.0.syncing.store(false, Ordering::SeqCst);
        }
    }
}

impl Parts {
    /// Whether a checkpoint failed to sync. Waits for one that is at it: both sync the same file, which takes no longer.
    pub(super) fn is_suspect(&self) -> bool {
        while self.syncing.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(50));
        }
        self.suspect.load(Ordering::SeqCst)
    }
}

impl Checkpointer for SqliteCheckpointer {
    fn wal_pages(&mut self) -> Result<u64, CommitError> {
        run(&self.connection, "NOOP").map(|ran| ran.pages)
    }

    /// Passive: it moves nearly everything, without holding up the writer.
    fn checkpoint_if_due(&mut self) -> Result<bool, CommitError> {
        if self.wal_pages()? < self.parts.options.checkpoint_pages {
            return Ok(false);
        }
        let ran = run(&self.connection, "PASSIVE").inspect_err(|error| {
            // The writer learns it before its next commit counts, also when something else failed than a sync.
            let unknown = matches!(error, CommitError::Unknown(_));
            self.parts.suspect.fetch_or(unknown, Ordering::SeqCst);
        })?;
        Ok(!ran.prevented && ran.pages == ran.moved)
    }

    /// Who opens the file with another SQLite then finds nothing to move: it would do so without our pages' checksums, also
    /// when it only reads.
    fn empty_log(&mut self) -> Result<bool, CommitError> {
        self.connection.busy_timeout(PATIENCE).map_err(|error| failed(&self.connection, error))?;
        run(&self.connection, "TRUNCATE").map(|ran| !ran.prevented)
    }
}

/// What a checkpoint did.
struct Ran {
    prevented: bool,
    /// Pages in the log, and those of them that are in the main file too.
    pages: u64,
    moved: u64,
}

fn run(connection: &Connection, mode: &str) -> Result<Ran, CommitError> {
    connection
        .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            let pages = |at| row.get::<_, i64>(at).map(|pages| super::bits(pages.max(0)));
            Ok(Ran { prevented: row.get::<_, i64>(0)? != 0, pages: pages(1)?, moved: pages(2)? })
        })
        .map_err(|error| failed(connection, error))
}

/// What a checkpoint that fails means. It syncs the write-ahead log first: when that fails, pages of it may never get to the
/// disk, although they read well and the next sync says that all is well. A full disk changes nothing, nor does a page
/// that was read and is broken.
fn failed(connection: &Connection, error: rusqlite::Error) -> CommitError {
    let io = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
    match StoreError::of(connection, "a checkpoint", error) {
        source @ StoreError::Sqlite { .. } if io => CommitError::Unknown(source),
        source => CommitError::RolledBack(source),
    }
}

/// Keeps the log from growing for ever. Under full load the writer is ahead again whenever a passive checkpoint ends, so
/// the log never begins anew by itself: past twice the mark the writer moves the little that is left, between two
/// transactions, and past three times it waits for a checkpoint that is at it. A reader that holds an old state can
/// prevent it; then the writer goes on after a moment, and the log grows as long as that reader reads.
pub(super) struct KeepShort {
    transactions: u32,
}

/// How many transactions pass between two looks at the log.
const LOOK_EVERY: u32 = 2;
const PATIENCE: Duration = Duration::from_millis(50);

impl KeepShort {
    pub(super) fn new() -> Self {
        KeepShort { transactions: 0 }
    }

    pub(super) fn before_transaction(
        &mut self,
        writer: &Connection,
        parts: &Parts,
    ) -> Result<(), CommitError> {
        self.transactions += 1;
        if self.transactions < LOOK_EVERY {
            return Ok(());
        }
        self.transactions = 0;
        let mark = parts.options.checkpoint_pages;
        if run(writer, "NOOP")?.pages < 2 * mark {
            return Ok(());
        }
        let timeout = |time| writer.busy_timeout(time).map_err(|error| failed(writer, error));
        timeout(PATIENCE)?;
        let begun = Instant::now();
        let result = loop {
            match run(writer, "RESTART") {
                // Another checkpoint is at it: two at once are refused, without waiting.
                Ok(ran) if ran.prevented && begun.elapsed() < PATIENCE && past_three_marks(writer, mark) => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                other => break other.map(|_| ()),
            }
        };
        timeout(Duration::from_millis(parts.options.busy_ms))?;
        result
    }
}

fn past_three_marks(writer: &Connection, mark: u64) -> bool {
    run(writer, "NOOP").is_ok_and(|ran| ran.pages >= 3 * mark)
}
