//! What every file call of SQLite passes through: a thin layer over its default VFS.
//!
//! It seals each page of the main file as it is written, and looks at the seal when the page is read: a page that is not
//! what was written there fails that read, and nothing is made of it. Tests and measurements put a [`Layer`] in between,
//! which sees every call in order, with the bytes that really go to the disk, and may make one fail; that is how the
//! promises about the disk are tested.

mod again;
mod checksum;
mod shim;

pub(crate) use checksum::{PAGE_SIZE, RESERVED_BYTES, Seal, inspect};
pub(crate) use shim::take_broken_page;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The way to the disk.
#[derive(Clone)]
pub struct Disk(Arc<shim::Registered>);

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

    /// Whether a sync goes on to the system. A disk that is only simulated keeps nothing, and is quicker.
    fn syncs(&self) -> bool {
        true
    }

    /// A sync is over.
    fn synced(&self, _file: FileKind, _path: &str, _succeeded: bool) {}
}

impl Disk {
    /// Makes SQLite's own generator, which is the process's, begin at this number: what it draws (the salts of the
    /// write-ahead log) is the same in each run then.
    pub fn seed_randomness(seed: i32) {
        shim::seed_randomness(seed);
    }

    /// Straight to the system's disk.
    pub fn plain() -> Self {
        static PLAIN: LazyLock<Disk> = LazyLock::new(|| Disk::through(Arc::new(Nothing)));
        PLAIN.clone()
    }

    /// Through a layer.
    pub fn through(layer: Arc<dyn Layer>) -> Self {
        Disk(shim::Registered::new(layer, true))
    }

    /// Through a layer, and pages are neither sealed nor looked at: what they are measured against. A file made so is not
    /// to be opened otherwise, nor any other so.
    #[doc(hidden)]
    pub fn without_checksums(layer: Arc<dyn Layer>) -> Self {
        Disk(shim::Registered::new(layer, false))
    }

    /// A disk as this one is, with another layer before its own.
    pub(crate) fn behind(&self, layer: Arc<dyn Layer>) -> Self {
        Disk(shim::Registered::new(layer, self.0.seals()))
    }

    /// The layer it goes through.
    pub(crate) fn layer(&self) -> &dyn Layer {
        self.0.layer()
    }

    /// The name of the VFS that SQLite is to use. It is known to SQLite as long as a copy of this lives.
    pub fn vfs_name(&self) -> &str {
        self.0.name()
    }
}

impl Default for Disk {
    fn default() -> Self {
        Disk::plain()
    }
}

/// A layer that lets everything pass.
struct Nothing;

impl Layer for Nothing {
    fn call(&self, _file: FileKind, _path: &str, _call: Call<'_>) -> Result<(), Failure> {
        Ok(())
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
