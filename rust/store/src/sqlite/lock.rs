//! One writer process at a time: a lock on a side file.
//!
//! SQLite's own locks do not do it: they come and go with transactions, and any process may drop them all by closing
//! a second descriptor of the file (POSIX). The side file is opened by nobody else.

use super::beside;
use crate::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;

/// Held as long as any part of the open store lives; the system lets go of it when the process dies.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Lock, StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(beside(path, "-lock"))
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // Who checks a file shares the lock, and writes nothing: whoever is named there has let go of it.
                return Err(match file.try_lock_shared() {
                    Ok(()) => StoreError::Held {
                        path: path.display().to_string(),
                        holder: "a check, which reads it".into(),
                    },
                    Err(_) => held(path, &mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        file.write_all(format!("process {}\n", std::process::id()).as_bytes()).map_err(io)?;
        Ok(Lock { _file: file })
    }

    /// Keeps writers off as long as it is held, and changes nothing, not even the side file: where there is none, nobody is
    /// kept off.
    pub(crate) fn share(path: &Path) -> Result<Option<Lock>, StoreError> {
        let mut file = match File::open(beside(path, "-lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(held(path, &mut file)),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

fn io(source: std::io::Error) -> StoreError {
    StoreError::Io { doing: "locking the side file", source }
}

fn held(path: &Path, file: &mut File) -> StoreError {
    let mut holder = String::new();
    // Who holds it is a help for people; that somebody does is what counts.
    let _ = file.read_to_string(&mut holder);
    let holder = if holder.is_empty() { "another process" } else { holder.trim() };
    StoreError::Held { path: path.display().to_string(), holder: holder.into() }
}
