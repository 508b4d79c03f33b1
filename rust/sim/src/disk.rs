//! A disk that can be trusted with nothing: a layer of the store's VFS that writes down every call and every exit of
//! the engine in one order, fails when told to, and can be cut at any moment.
//!
//! The files are real, so that SQLite is; what would be on them after a cut is worked out from the calls. A sync is
//! only written down: whether the machine under the test really keeps what was synced is not what is tested.

use crate::history::History;
use rosterkit::store::vfs::{Call, Failure, FileKind, Layer};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What was done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

/// One entry of the ordered log.
#[derive(Clone, Debug)]
pub enum Entry<L> {
    Changed(Arc<str>, Change),
    Synced(Arc<str>),
    /// A sync failed. The system keeps what was written for whoever reads, and forgets that it is to be written: a later
    /// sync that works says nothing about it.
    SyncFailed(Arc<str>),
    Deleted(Arc<str>),
    /// Something left the engine.
    Left(L),
}

/// What is to go wrong. Numbers count from the next call of that sort, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One call is not made.
    Call { after: u64, failure: Failure },
    /// One sync is not made, and what it was for may be lost.
    Sync { after: u64 },
    /// The power goes before this call: nothing reaches the disk any more.
    PowerOff { after: u64 },
    /// There is no room until [`make_room`](Disk::make_room).
    Full,
}

/// What the disk did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub calls: u64,
    pub writes: u64,
    pub syncs: u64,
    /// Calls that were made to fail.
    pub failed: u64,
}

/// A faulty disk.
pub struct Disk<L> {
    inner: Mutex<Inner<L>>,
    /// It says that it synced, and did not.
    ignores_syncs: bool,
}

struct Inner<L> {
    entries: Vec<Entry<L>>,
    names: BTreeMap<String, Arc<str>>,
    counts: Counts,
    history: Arc<History>,
    fail_call: Option<(u64, Failure)>,
    fail_sync: Option<u64>,
    power_off: Option<u64>,
    is_full: bool,
    is_off: bool,
    failed: Option<String>,
}

impl<L: Clone + Send + 'static> Disk<L> {
    /// A good one, so far, which adds its calls to a history.
    pub fn new(history: &Arc<History>) -> Arc<Self> {
        Self::make(history, false)
    }

    /// A good one, so far, whose history nobody reads.
    pub fn good() -> Arc<Self> {
        Self::make(&Arc::default(), false)
    }

    /// One with which something goes wrong.
    pub fn with(fault: Fault) -> Arc<Self> {
        let disk = Self::good();
        disk.plan(fault);
        disk
    }

    /// One that only says it syncs.
    pub fn ignoring_syncs() -> Arc<Self> {
        Self::make(&Arc::default(), true)
    }

    fn make(history: &Arc<History>, ignores_syncs: bool) -> Arc<Self> {
        let inner = Inner {
            entries: Vec::new(),
            names: BTreeMap::new(),
            counts: Counts::default(),
            history: Arc::clone(history),
            fail_call: None,
            fail_sync: None,
            power_off: None,
            is_full: false,
            is_off: false,
            failed: None,
        };
        Arc::new(Disk { inner: Mutex::new(inner), ignores_syncs })
    }

    /// Makes something go wrong. Of each sort the latest counts.
    pub fn plan(&self, fault: Fault) {
        let mut inner = self.lock();
        let (calls, syncs) = (inner.counts.calls, inner.counts.syncs);
        match fault {
            Fault::Call { after, failure } => inner.fail_call = Some((calls + after + 1, failure)),
            Fault::Sync { after } => inner.fail_sync = Some(syncs + after + 1),
            Fault::PowerOff { after } => inner.power_off = Some(calls + after + 1),
            Fault::Full => inner.is_full = true,
        }
    }

    /// Whether there was none.
    pub fn make_room(&self) -> bool {
        std::mem::take(&mut self.lock().is_full)
    }

    /// Nothing more is to go wrong.
    pub fn heal(&self) {
        let mut inner = self.lock();
        (inner.fail_call, inner.fail_sync, inner.power_off) = (None, None, None);
        inner.is_full = false;
    }

    /// The power is gone: what the engine says from here on nobody hears.
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Turns the power off.
    pub fn turn_off(&self) {
        self.lock().is_off = true;
    }

    /// Something left the engine, if there still is one; says whether there is.
    pub fn left(&self, what: L) -> bool {
        let mut inner = self.lock();
        if !inner.is_off {
            inner.entries.push(Entry::Left(what));
        }
        !inner.is_off
    }

    /// The ordered log since the last time.
    pub fn take(&self) -> Vec<Entry<L>> {
        std::mem::take(&mut self.lock().entries)
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// What was made to fail last.
    pub fn failed(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<L>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Inner<L> {
    fn fails(&mut self, file: FileKind, call: Call<'_>) -> Option<Failure> {
        let calls = self.counts.calls;
        if self.is_off || self.power_off.is_some_and(|at| at <= calls) {
            self.is_off = true;
            return Some(Failure::Io);
        }
        let planned = self.fail_call.take_if(|(at, _)| *at <= calls).map(|(_, failure)| failure);
        let grows = matches!(call, Call::Write { .. } | Call::Open);
        let failure = planned.or_else(|| (self.is_full && grows).then_some(Failure::Full))?;
        let what = match call {
            Call::Write { offset, bytes } => format!("a write of {} bytes at {offset}", bytes.len()),
            Call::Read { offset, length } => format!("a read of {length} bytes at {offset}"),
            other => format!("{other:?}"),
        };
        self.failed = Some(format!("{what} in {file:?}: {failure:?}"));
        Some(failure)
    }
}

impl<L: Clone + Send + 'static> Layer for Disk<L> {
    fn call(&self, file: FileKind, path: &str, call: Call<'_>) -> Result<(), Failure> {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        // What is made beside the file has another name each time.
        let name = if name.starts_with('.') { "beside".into() } else { name };
        let mut inner = self.lock();
        let name = match inner.names.get(&*name) {
            Some(name) => Arc::clone(name),
            None => Arc::clone(inner.names.entry(name.to_string()).or_insert_with(|| name.into())),
        };
        inner.counts.calls += 1;
        let mut failure = inner.fails(file, call);
        if matches!(call, Call::Sync) && failure.is_none() {
            inner.counts.syncs += 1;
            let syncs = inner.counts.syncs;
            if inner.fail_sync.take_if(|at| *at <= syncs).is_some() {
                inner.failed = Some(format!("a sync of {file:?}"));
                inner.entries.push(Entry::SyncFailed(Arc::clone(&name)));
                failure = Some(Failure::Io);
            }
        }
        inner.history.call(&name, call, failure);
        if let Some(failure) = failure {
            inner.counts.failed += 1;
            return Err(failure);
        }
        let entry = match call {
            // Reads fail as well, but change nothing.
            Call::Open | Call::Read { .. } => return Ok(()),
            Call::Write { offset, bytes } => {
                inner.counts.writes += 1;
                Entry::Changed(name, Change::Write { offset, bytes: bytes.into() })
            }
            Call::Truncate(size) => Entry::Changed(name, Change::Truncate(size)),
            Call::Delete => Entry::Deleted(name),
            Call::Sync => {
                if self.ignores_syncs {
                    return Ok(());
                }
                Entry::Synced(name)
            }
        };
        inner.entries.push(entry);
        Ok(())
    }

    fn syncs(&self) -> bool {
        false
    }
}

/// The files as they would be found after a power cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    files: BTreeMap<Arc<str>, Contents>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

/// What becomes of writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
                self.files.entry(Arc::clone(name)).or_default().unsynced.push(change.clone());
            }
            Entry::Synced(name) => {
                let file = self.files.entry(Arc::clone(name)).or_default();
                for change in std::mem::take(&mut file.unsynced) {
                    change.apply(&mut file.durable);
                }
            }
            Entry::SyncFailed(name) => {
                self.files.entry(Arc::clone(name)).or_default().unsynced.clear();
            }
            Entry::Deleted(name) => drop(self.files.remove(name)),
            Entry::Left(_) => {}
        }
    }

    /// The files as a cut leaves them: what is on the disk then is there to stay.
    pub fn cut(&self, cut: Cut) -> Image {
        let cut_file = |(name, file): (&Arc<str>, &Contents)| {
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
            (Arc::clone(name), Contents { durable: bytes, unsynced: Vec::new() })
        };
        Image { files: self.files.iter().map(cut_file).collect() }
    }

    /// What was not synced, file by file: for who reads of a cut.
    pub fn unsynced(&self) -> Vec<String> {
        let changes = self.files.iter().flat_map(|(name, file)| {
            file.unsynced.iter().map(move |change| match change {
                Change::Write { offset, bytes } => format!("{name} {offset}+{}", bytes.len()),
                Change::Truncate(size) => format!("{name} cut to {size}"),
            })
        });
        changes.collect()
    }

    /// What lies in a folder, but for what belongs to a process.
    pub fn of(folder: &Path) -> std::io::Result<Image> {
        let mut image = Image::default();
        for name in ["im.db", "im.db-wal", "im.db-journal"] {
            match std::fs::read(folder.join(name)) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => image.put(name, bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(image)
    }

    /// Whether there is something in a file.
    pub fn has(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|file| !file.durable.is_empty())
    }

    /// Puts a whole file there.
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.into(), Contents { durable: bytes, unsynced: Vec::new() });
    }

    /// Writes what is durable into files.
    pub fn write(&self, into: &Path) -> std::io::Result<()> {
        for (name, file) in &self.files {
            std::fs::write(into.join(&**name), &file.durable)?;
        }
        Ok(())
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
