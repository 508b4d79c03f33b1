//! A disk that writes down what is done to it, and can be cut at any moment.

use rosterkit::store::vfs::{Call, Failure, FileKind, Layer};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What was done to a file.
#[derive(Clone, Debug)]
pub enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

/// One entry of the ordered log.
#[derive(Clone, Debug)]
pub enum Entry<L> {
    Changed(String, Change),
    Synced(String),
    /// A sync failed. The system keeps what was written for whoever reads, and forgets that it is to be written: a later
    /// sync that works says nothing about it.
    SyncFailed(String),
    Deleted(String),
    /// Something left the engine.
    Left(L),
}

/// The ordered log, and whether a call is to fail.
pub struct Recorder<L> {
    inner: Mutex<Inner<L>>,
    /// A disk that says it synced and did not.
    ignores_syncs: bool,
}

struct Inner<L> {
    entries: Vec<Entry<L>>,
    calls: u64,
    fail: Option<(u64, Failure)>,
    syncs: u64,
    /// The number of the sync that is to fail.
    fail_sync: Option<u64>,
    failed: Option<String>,
}

impl<L: Send + 'static> Recorder<L> {
    pub fn new(ignores_syncs: bool) -> Arc<Self> {
        let inner =
            Inner { entries: Vec::new(), calls: 0, fail: None, syncs: 0, fail_sync: None, failed: None };
        Arc::new(Recorder { inner: Mutex::new(inner), ignores_syncs })
    }

    /// Makes the call with this number fail, once.
    pub fn failing(at: u64, failure: Failure) -> Arc<Self> {
        let recorder = Recorder::new(false);
        recorder.inner.lock().unwrap().fail = Some((at, failure));
        recorder
    }

    /// Makes the sync with this number fail, once.
    pub fn failing_sync(number: u64) -> Arc<Self> {
        let recorder = Recorder::new(false);
        recorder.inner.lock().unwrap().fail_sync = Some(number);
        recorder
    }

    pub fn left(&self, what: L) {
        self.inner.lock().unwrap().entries.push(Entry::Left(what));
    }

    pub fn take(&self) -> Vec<Entry<L>> {
        std::mem::take(&mut self.inner.lock().unwrap().entries)
    }

    /// How many calls were made, and which was made to fail.
    pub fn calls(&self) -> (u64, Option<String>) {
        let inner = self.inner.lock().unwrap();
        (inner.calls, inner.failed.clone())
    }
}

impl<L: Send + 'static> Layer for Recorder<L> {
    fn call(&self, file: FileKind, path: &str, call: Call<'_>) -> Result<(), Failure> {
        let name = || Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entry = match call {
            // Reads fail as well, but change nothing.
            Call::Open | Call::Read { .. } => None,
            Call::Write { offset, bytes } => {
                Some(Entry::Changed(name(), Change::Write { offset, bytes: bytes.into() }))
            }
            Call::Truncate(size) => Some(Entry::Changed(name(), Change::Truncate(size))),
            Call::Sync if self.ignores_syncs => None,
            Call::Sync => Some(Entry::Synced(name())),
            Call::Delete => Some(Entry::Deleted(name())),
        };
        let mut inner = self.inner.lock().unwrap();
        inner.calls += 1;
        let calls = inner.calls;
        if let Some((_, failure)) = inner.fail.take_if(|(at, _)| *at <= calls) {
            let what = match call {
                Call::Write { offset, bytes } => format!("a write of {} bytes at {offset}", bytes.len()),
                Call::Read { offset, length } => format!("a read of {length} bytes at {offset}"),
                other => format!("{other:?}"),
            };
            inner.failed = Some(format!("{what} in {file:?}: {failure:?}"));
            return Err(failure);
        }
        if matches!(call, Call::Sync) {
            inner.syncs += 1;
            if inner.fail_sync == Some(inner.syncs) {
                inner.entries.push(Entry::SyncFailed(name()));
                inner.failed = Some(format!("a sync of {file:?}"));
                return Err(Failure::Io);
            }
        }
        inner.entries.extend(entry);
        Ok(())
    }
}

/// The files as they would be found after a power cut.
#[derive(Clone, Default)]
pub struct Image {
    files: BTreeMap<String, Contents>,
}

#[derive(Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

/// What becomes of writes that were not synced.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// None of them happened.
    Dropped,
    /// All of them did: a kill, which leaves the page cache.
    Kept,
    /// By seed each happened, did not, or half did; in any order.
    Torn(u64),
}

impl Image {
    pub fn apply<L>(&mut self, entry: &Entry<L>) {
        match entry {
            Entry::Changed(name, change) => {
                self.files.entry(name.clone()).or_default().unsynced.push(change.clone());
            }
            Entry::Synced(name) => {
                let file = self.files.entry(name.clone()).or_default();
                for change in std::mem::take(&mut file.unsynced) {
                    change.apply(&mut file.durable);
                }
            }
            Entry::SyncFailed(name) => self.files.entry(name.clone()).or_default().unsynced.clear(),
            Entry::Deleted(name) => drop(self.files.remove(name)),
            Entry::Left(_) => {}
        }
    }

    /// Writes the files as a cut leaves them.
    pub fn cut(&self, cut: Cut, into: &Path) {
        for (name, file) in &self.files {
            let mut bytes = file.durable.clone();
            match cut {
                Cut::Dropped => {}
                Cut::Kept => file.unsynced.iter().for_each(|change| change.apply(&mut bytes)),
                Cut::Torn(seed) => {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let mut changes: Vec<Change> = file.unsynced.clone();
                    random.shuffle(&mut changes);
                    for mut change in changes {
                        match random.u8(0..3) {
                            0 => continue,
                            1 => change.tear(&mut random),
                            _ => {}
                        }
                        change.apply(&mut bytes);
                    }
                }
            }
            std::fs::write(into.join(name), bytes).unwrap();
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes: new } => {
                let (from, to) = (*offset as usize, *offset as usize + new.len());
                if bytes.len() < to {
                    bytes.resize(to, 0);
                }
                bytes[from..to].copy_from_slice(new);
            }
            Change::Truncate(size) => bytes.resize(*size as usize, 0),
        }
    }

    /// Only the first sectors of a write got to the disk.
    fn tear(&mut self, random: &mut fastrand::Rng) {
        if let Change::Write { bytes, .. } = self {
            let sectors = bytes.len() / 512;
            bytes.truncate(random.usize(0..=sectors) * 512);
        }
    }
}
