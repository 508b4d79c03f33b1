//! Backups: a copy of one committed state, made beside the writer.

use super::open::connect;
use super::{SIDE_FILES, SqliteOptions, beside, resolved, sql};
use crate::StoreError;
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;
use tempfile::TempPath;

/// So many positions are skipped by a file that is opened from a backup: what the original gave out after the backup was
/// made does not mean something else in the copy.
pub(super) const SKIPPED: u64 = 1 << 32;

/// Copies what this connection reads now into a new file. Nothing has its name before it is whole and synced, and what has
/// it already is not touched; until then it is a file beside it, which is gone when this fails.
///
/// It is one read, as long as it takes: the writer goes on, and its write-ahead log is not cut meanwhile. SQLite's online
/// backup would begin anew with every commit of another connection, and under load never end.
pub(super) fn backup(connection: &Connection, options: &SqliteOptions, to: &Path) -> Result<(), StoreError> {
    let partial = Partial::beside(to, ".backup-")?;
    copy(connection, options, partial.path())?;
    partial.publish()
}

/// A file that is being made beside where it is to be, and is gone when it is not published.
pub(super) struct Partial<'a> {
    path: TempPath,
    to: &'a Path,
    directory: &'a Path,
}

impl<'a> Partial<'a> {
    /// What it is named until then begins so.
    pub(super) fn beside(to: &'a Path, prefix: &str) -> Result<Self, StoreError> {
        check_free(to)?;
        // Closed at once: SQLite's locks on a file are gone when anybody in the process closes it (POSIX).
        let directory = directory_of(to);
        let partial = tempfile::Builder::new().prefix(prefix).tempfile_in(directory);
        let path = partial.map_err(io("making the new file"))?.into_temp_path();
        Ok(Partial { path, to, directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name. What is in it has been closed, and is all in it.
    pub(super) fn publish(self) -> Result<(), StoreError> {
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(io("syncing the new file"))?;
        self.path.persist_noclobber(self.to).map_err(|error| io("naming the new file")(error.error))?;
        sync_directory(self.directory)
    }
}

/// What SQLite and the lock make beside a file that is being made: of no use once it is closed, and everything is in it.
pub(super) struct SideFiles<'a>(pub(super) &'a Path);

impl Drop for SideFiles<'_> {
    fn drop(&mut self) {
        for suffix in SIDE_FILES {
            let _ = std::fs::remove_file(beside(self.0, suffix));
        }
    }
}

fn copy(connection: &Connection, options: &SqliteOptions, to: &Path) -> Result<(), StoreError> {
    let name = to.to_str().ok_or(StoreError::Refused("the path of a backup is to be UTF-8"))?;
    let failed = |e| StoreError::of(connection, "copying into the backup", e);
    connection.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    let _beside = SideFiles(to);
    let copy = connect(to, options)?;
    let mark = || -> rusqlite::Result<()> {
        copy.execute("UPDATE meta SET value = value + ?1 WHERE key = 'reserved'", [sql(SKIPPED)])?;
        copy.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        Ok(())
    };
    let marked = mark();
    let closed = copy.close().map_err(|(_, e)| e);
    marked.and(closed).map_err(failed)
}

/// A file that was named is there after a power cut when its directory is synced (POSIX).
fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(directory)
            .and_then(|file| file.sync_all())
            .map_err(io("syncing the new file's directory"))?;
    }
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fails with `Conflict` where there is a file of that name, and where one is left over beside it: SQLite would take that for
/// the new file's, and what is in it for a part of it. A lock file that is left over does no harm.
pub(super) fn check_free(to: &Path) -> Result<(), StoreError> {
    let is_there = |path: &Path| {
        path.symlink_metadata().map(|_| true).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(false),
            _ => Err(io("looking for the new file")(error)),
        })
    };
    if is_there(to)? {
        return Err(taken());
    }
    for suffix in SIDE_FILES.into_iter().filter(|suffix| *suffix != "-lock") {
        let left = beside(to, suffix);
        if is_there(&left)? {
            let what = format!("{} is left over from another file of that name", left.display());
            return Err(StoreError::Conflict(what));
        }
    }
    Ok(())
}

/// The same, of a new file that is not to be taken for what lies beside this one.
pub(crate) fn check_new(path: &Path, to: &Path) -> Result<(), StoreError> {
    check_free(to)?;
    let directory = resolved(directory_of(to));
    let is_his = |suffix: &str| {
        let his = beside(path, suffix);
        his.file_name() == to.file_name() && his.parent() == Some(&directory)
    };
    match SIDE_FILES.into_iter().any(is_his) {
        true => Err(StoreError::Conflict("a file of that name belongs to the one that is read".into())),
        false => Ok(()),
    }
}

fn taken() -> StoreError {
    StoreError::Conflict("there is a file of that name".into())
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => taken(),
        std::io::ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Io { doing, source },
    }
}
