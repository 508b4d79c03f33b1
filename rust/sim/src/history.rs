//! What happened in a run, in order: every file call, every answer, every event. Equal histories have equal digests.

use rosterkit::store::vfs::{Call, Failure};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// The history of a run.
#[derive(Default)]
pub struct History {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    digest: Sha256,
    line: String,
    entries: u64,
    /// The lines themselves, when somebody wants to read them.
    kept: Option<Vec<String>>,
}

impl History {
    /// One that can be read.
    pub fn readable() -> Self {
        History { inner: Mutex::new(Inner { kept: Some(Vec::new()), ..Inner::default() }) }
    }

    pub(crate) fn call(&self, file: &str, call: Call<'_>, failure: Option<Failure>) {
        self.add(|line| {
            let _ = match call {
                Call::Open => write!(line, "{file} open"),
                Call::Write { offset, bytes } => {
                    write!(line, "{file} write {offset}+{} {:08x}", bytes.len(), crc32fast::hash(bytes))
                }
                Call::Truncate(size) => write!(line, "{file} truncate {size}"),
                Call::Sync => write!(line, "{file} sync"),
                Call::Delete => write!(line, "{file} delete"),
                Call::Read { offset, length } => write!(line, "{file} read {offset}+{length}"),
            };
            if let Some(failure) = failure {
                let _ = write!(line, " fails: {failure:?}");
            }
        });
    }

    /// Something was said: an answer, an event, what a client does.
    pub fn say(&self, what: std::fmt::Arguments<'_>) {
        self.add(|line| {
            let _ = line.write_fmt(what);
        });
    }

    fn add(&self, write: impl FnOnce(&mut String)) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { digest, line, entries, kept } = &mut *inner;
        line.clear();
        write(line);
        line.push('\n');
        digest.update(line.as_bytes());
        *entries += 1;
        if let Some(kept) = kept {
            kept.push(line.trim_end().to_owned());
        }
    }

    /// How many entries there are, and their digest, as hex.
    pub fn digest(&self) -> (u64, String) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = inner.digest.clone().finalize();
        let hex = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        (inner.entries, hex)
    }

    /// The latest entries, when they are kept.
    pub fn latest(&self, count: usize) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = inner.kept.as_deref().unwrap_or_default();
        kept[kept.len().saturating_sub(count)..].to_vec()
    }
}
