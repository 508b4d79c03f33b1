//! The file storage of an account.

use crate::convert::signed;

/// A file, but for what is in it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FileInfo {
    /// Its path.
    pub path: String,
    /// How long it is, in bytes; 0 for the messages with a peer, which are rendered when they are read.
    pub size: i64,
    /// When it was written, in Unix milliseconds.
    pub modified_ms: i64,
}

impl From<rosterkit::FileInfo> for FileInfo {
    fn from(file: rosterkit::FileInfo) -> Self {
        FileInfo { path: file.path, size: signed(file.size), modified_ms: file.modified.0 }
    }
}
