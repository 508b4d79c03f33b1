//! What can go wrong with a file.

use crate::vfs::take_broken_page;
use rosterkit_core::address::Address;
use rosterkit_core::id::Position;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, ffi};
use std::path::Path;

/// Why a store cannot do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is no RosterKit file.
    #[error("{path} is not a RosterKit file: {why}")]
    Foreign {
        /// Which file.
        path: String,
        /// How it was seen.
        why: String,
    },
    /// A newer version wrote the file and asks older ones to keep off.
    #[error("{path} needs a reader of format {needs}, this one reads up to {reads}: update the library")]
    Newer {
        /// Which file.
        path: String,
        /// The file's `min_reader`.
        needs: u32,
        /// What this version reads.
        reads: u32,
    },
    /// The file is damaged or cut short. What is whole of it stays readable.
    #[error("{path} is damaged: {what}; run `rosterkit check {path}`")]
    Damaged {
        /// Which file.
        path: String,
        /// What was found, and where: in which page, or at which place in the log.
        what: String,
    },
    /// Another process writes the file.
    #[error("{path} is in use by {holder}")]
    Held {
        /// Which file.
        path: String,
        /// Who holds it, as the side file says.
        holder: String,
    },
    /// A reader prevents what was recovered from being made durable; nothing of it may be shown.
    #[error("{path} cannot be recovered while another connection reads it")]
    ReaderPresent {
        /// Which file.
        path: String,
    },
    /// What was asked cannot be, as the file stands.
    #[error("{0}")]
    Refused(&'static str),
    /// It contradicts what the file holds already.
    #[error("{0}")]
    Conflict(String),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The disk or SQLite failed.
    #[error("{doing}: {source}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file system failed outside SQLite.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How a commit failed. The difference decides what may go on.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Rolled back cleanly, because of this item: without it the others can be tried again.
    #[error("item {item} cannot be written: {source}")]
    Item {
        /// Its place in the batch.
        item: usize,
        /// Why.
        source: StoreError,
    },
    /// Rolled back cleanly; nothing was written.
    #[error("nothing was written: {0}")]
    RolledBack(StoreError),
    /// Nobody knows whether it is on disk: every part of the store is to be dropped and the store opened again.
    #[error("the result of the commit is unknown: {0}")]
    Unknown(StoreError),
}

/// A row of the log that does not decode, on its way through SQLite's errors.
#[derive(Debug, thiserror::Error)]
#[error("at {} in the log: {what}", position.0)]
pub(crate) struct BrokenRow {
    pub(crate) position: Position,
    pub(crate) what: &'static str,
}

impl From<BrokenRow> for rusqlite::Error {
    fn from(row: BrokenRow) -> Self {
        rusqlite::Error::FromSqlConversionFailure(4, Type::Blob, Box::new(row))
    }
}

impl CommitError {
    /// Why it failed.
    pub fn source(&self) -> &StoreError {
        match self {
            CommitError::Item { source, .. }
            | CommitError::RolledBack(source)
            | CommitError::Unknown(source) => source,
        }
    }
}

impl StoreError {
    /// Whether the file is damaged: doing it again would meet the same.
    pub fn is_damage(&self) -> bool {
        matches!(self, StoreError::Damaged { .. })
    }

    /// What SQLite could not do on this connection.
    pub(crate) fn of(connection: &Connection, doing: &'static str, source: rusqlite::Error) -> Self {
        StoreError::about(Path::new(connection.path().unwrap_or_default()), doing, source)
    }

    /// What SQLite could not do with this file.
    pub(crate) fn about(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let damaged = |what| StoreError::Damaged { path: path.display().to_string(), what };
        if let rusqlite::Error::FromSqlConversionFailure(_, _, error) = &source
            && let Some(BrokenRow { position, what }) = error.downcast_ref()
        {
            return StoreError::row(path, *position, what);
        }
        if source.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_DATA) {
            return damaged(match take_broken_page() {
                Some(page) => format!("page {page} is not what was written there"),
                None => "a page is not what was written there".into(),
            });
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                damaged(format!("{doing}: {source}"))
            }
            Some(ErrorCode::DiskFull) => StoreError::Full,
            _ => StoreError::Sqlite { doing, source },
        }
    }

    /// A row that does not decode.
    pub(crate) fn row(path: &Path, position: Position, what: &str) -> Self {
        StoreError::Damaged {
            path: path.display().to_string(),
            what: format!("at {} in the log: {what}", position.0),
        }
    }

    pub(crate) fn account_exists(address: &Address) -> Self {
        StoreError::Conflict(format!("the account {address} exists"))
    }

    /// A value that does not decode.
    pub(crate) fn malformed(path: &Path, what: crate::codec::Malformed) -> Self {
        StoreError::Damaged { path: path.display().to_string(), what: what.0.into() }
    }
}
