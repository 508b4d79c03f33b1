//! What every file call of SQLite passes through: a thin layer over its default VFS.
//!
//! Production goes straight to the default VFS, but for checkpoints, whose syncs the writer has to know of. Tests and
//! measurements put a [`Layer`] in between, which sees every call in order and may make one fail; that is how the promises
//! about the disk are tested.

mod checksum;
mod shim;

pub(crate) use checksum::{PAGE_SIZE, RESERVED_BYTES, Seal, inspect};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The way to the disk.
#[derive(Clone, Default)]
pub struct Disk(Option<Arc<shim::Registered>>);

/// Which file a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// The database file.
    Main,
    /// Its write-ahead log.
    Wal,
    /// Journals and temporary files.
    Other,
}

/// A call that changes what is on the disk, or makes it last.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// A file is opened, and made when it is not there.
    Open,
    /// Bytes are written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// The file is cut, or extended, to so many bytes.
    Truncate(u64),
    /// Everything written so far is to last.
    Sync,
    /// The file is deleted.
    Delete,
    /// Bytes are read.
    Read {
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
    },
}

/// How a layer makes a call fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The disk is full.
    Full,
    /// The disk does not do it.
    Io,
}

/// Sees every call before it is made, and what became of a sync. Called with SQLite's locks held: it must not use the store.
pub trait Layer: Send + Sync + 'static {
    /// Lets the call pass, or makes it fail without being made.
    fn call(&self, file: FileKind, path: &str, call: Call<'_>) -> Result<(), Failure>;

    /// A sync is over.
    fn synced(&self, _file: FileKind, _path: &str, _succeeded: bool) {}
}

impl Disk {
    /// Straight to SQLite's default VFS.
    pub fn plain() -> Self {
        Disk(None)
    }

    /// Through a layer.
    pub fn through(layer: Arc<dyn Layer>) -> Self {
        Disk(Some(shim::Registered::new(layer)))
    }

    /// The layer it goes through.
    pub(crate) fn layer(&self) -> Option<&dyn Layer> {
        self.0.as_ref().map(|registered| registered.layer())
    }

    /// The name of the VFS that SQLite is to use; `None` is its default.
    pub fn vfs_name(&self) -> Option<&str> {
        self.0.as_ref().map(|registered| registered.name())
    }
}

/// A layer that lets everything pass and counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Syncs of any file.
    pub syncs: AtomicU64,
    /// Bytes written into the write-ahead log.
    pub wal_bytes: AtomicU64,
    /// Bytes written into the main file.
    pub main_bytes: AtomicU64,
}

impl Layer for Counters {
    fn call(&self, file: FileKind, _path: &str, call: Call<'_>) -> Result<(), Failure> {
        match (file, call) {
            (_, Call::Sync) => drop(self.syncs.fetch_add(1, Ordering::Relaxed)),
            (FileKind::Wal, Call::Write { bytes, .. }) => {
                self.wal_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            (FileKind::Main, Call::Write { bytes, .. }) => {
                self.main_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            _ => {}
        }
        Ok(())
    }
}
