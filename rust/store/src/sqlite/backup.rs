//! Backups: a copy of one committed state, made beside the writer.

use super::open::connect;
use super::{SqliteOptions, sql};
use crate::StoreError;
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// So many positions are skipped by a file that is opened from a backup: what the original gave out after the backup was
/// made does not mean something else in the copy.
const SKIPPED: u64 = 1 << 32;

/// Copies what this connection reads now into a new file. The copy has its name when it is whole and synced, not before.
///
/// It is one read, as long as it takes: the writer goes on, and its write-ahead log is not cut meanwhile. SQLite's online
/// backup would begin anew with every commit of another connection, and under load never end.
pub(super) fn backup(connection: &Connection, options: &SqliteOptions, to: &Path) -> Result<(), StoreError> {
    let partial = beside(to, "-partial");
    // The name is taken first, so that two at once cannot both make it.
    OpenOptions::new().write(true).create_new(true).open(to).map_err(io("making the backup"))?;
    let result = copy(connection, options, &partial).and_then(|()| {
        std::fs::rename(&partial, to).map_err(io("naming the backup"))?;
        sync_directory_of(to)
    });
    if result.is_err() {
        for left in [to, &partial, &beside(&partial, "-journal"), &beside(&partial, "-wal")] {
            // It is of no use; that it cannot be removed says less than why it is not whole.
            let _ = std::fs::remove_file(left);
        }
    }
    result
}

fn copy(connection: &Connection, options: &SqliteOptions, partial: &Path) -> Result<(), StoreError> {
    // One that an earlier process left.
    match std::fs::remove_file(partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("making the backup")(error));
        }
        _ => {}
    }
    let name = partial.to_str().ok_or(StoreError::Refused("the path of a backup is to be UTF-8"))?;
    let failed = |e| StoreError::of("copying into the backup", e);
    connection.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    let copy = connect(partial, options)?;
    let mark = || -> rusqlite::Result<()> {
        copy.execute("UPDATE meta SET value = value + ?1 WHERE key = 'reserved'", [sql(SKIPPED)])?;
        copy.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        Ok(())
    };
    mark().map_err(failed)?;
    copy.close().map_err(|(_, e)| failed(e))?;
    for suffix in ["-wal", "-shm"] {
        // Nothing was written since it has one.
        let _ = std::fs::remove_file(beside(partial, suffix));
    }
    File::open(partial).and_then(|file| file.sync_all()).map_err(io("syncing the backup"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file that was renamed is there after a power cut when its directory is synced (POSIX).
fn sync_directory_of(path: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|file| file.sync_all())
            .map_err(io("syncing the backup's directory"))?;
    }
    Ok(())
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Conflict("there is a file of that name".into()),
        std::io::ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Io { doing, source },
    }
}
