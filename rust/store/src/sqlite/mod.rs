//! The default store: one SQLite file in WAL mode.
//!
//! Append now, index behind: a commit writes one row a message at the end of the log; the indexes follow in sorted
//! slices between commits, and what they have not reached yet, the [tail](tail::Tail), is in memory.

mod backup;
mod checkpoint;
mod conversations;
mod index;
mod lock;
mod open;
mod reader;
mod rebuild;
mod schema;
mod tail;
mod writer;

pub(crate) use backup::check_new;
pub(crate) use lock::Lock;
pub(crate) use rebuild::{Known, LOST, Rebuild, rebuild};
pub(crate) use schema::{APPLICATION_ID, Layout, Object, READS};

use crate::vfs::Disk;
use crate::{Opened, Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone)]
pub struct SqliteOptions {
    /// When a checkpoint is due, in pages of the write-ahead log.
    pub checkpoint_pages: u64,
    /// How many rows may wait to be indexed. They are held in memory, some 64 bytes each, and read again at open.
    pub tail_rows: usize,
    /// SQLite's page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// How long to wait for another connection's lock, in ms.
    pub busy_ms: u64,
    /// What every file call passes through.
    pub disk: Disk,
}

impl Default for SqliteOptions {
    /// For servers and desktops.
    fn default() -> Self {
        SqliteOptions {
            checkpoint_pages: 4_000,
            tail_rows: 65_536,
            cache_kib: 8_192,
            busy_ms: 10_000,
            disk: Disk::plain(),
        }
    }
}

impl SqliteOptions {
    /// For phones: less memory, shorter files.
    pub fn small() -> Self {
        SqliteOptions { checkpoint_pages: 1_000, tail_rows: 4_096, cache_kib: 2_048, ..Self::default() }
    }
}

/// A store in an SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    options: SqliteOptions,
}

impl SqliteStore {
    /// A store at this path; the file is made when it is not there.
    pub fn new(path: impl AsRef<Path>, options: SqliteOptions) -> Arc<Self> {
        Arc::new(SqliteStore { path: path.as_ref().to_owned(), options })
    }
}

impl Store for SqliteStore {
    fn open(&self) -> Result<Opened, StoreError> {
        open::open(&self.path, &self.options)
    }
}

/// What SQLite and the lock may make beside a file.
const SIDE_FILES: [&str; 4] = ["-wal", "-shm", "-journal", "-lock"];

/// What lies beside a file, by how its name ends.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SQLite puts what lies beside a file beside the one that a link points to; so do we.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// An id or a position as SQLite has it: signed, and never negative.
fn sql(bits: u64) -> i64 {
    bits as i64
}

fn bits(sql: i64) -> u64 {
    sql as u64
}
