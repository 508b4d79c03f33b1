//! What can go wrong with a file.

use rosterkit_core::address::Address;

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
    /// The file is damaged or cut short.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: String,
        /// What was found, and where.
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

impl StoreError {
    pub(crate) fn of(doing: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
            _ => StoreError::Sqlite { doing, source },
        }
    }

    pub(crate) fn account_exists(address: &Address) -> Self {
        StoreError::Conflict(format!("the account {address} exists"))
    }

    /// A value that does not decode.
    pub(crate) fn malformed(path: &std::path::Path, what: crate::codec::Malformed) -> Self {
        StoreError::Damaged { path: path.display().to_string(), what: what.0.into() }
    }
}
