//! Imports, and who is told how far they have come.

use crate::convert::signed;
use crate::error::CallbackError;
use rosterkit::{ImportProgress, ListenerError};

/// What an import brought, or has read so far.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ImportSummary {
    /// Accounts.
    pub accounts: i64,
    /// Buddies on their rosters.
    pub buddies: i64,
    /// Messages waiting for them.
    pub messages: i64,
}

/// How much an export holds.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ExportSummary {
    /// Accounts.
    pub accounts: i64,
    /// Buddies on their rosters.
    pub buddies: i64,
    /// Messages waiting for them.
    pub messages: i64,
}

impl From<rosterkit::ExportSummary> for ExportSummary {
    fn from(held: rosterkit::ExportSummary) -> Self {
        let [accounts, buddies, messages] =
            [held.accounts, held.buddies, held.messages].map(|count| signed(count as u64));
        ExportSummary { accounts, buddies, messages }
    }
}

/// Who is told how far an import has come, on the thread that called for it.
#[uniffi::export(foreign)]
pub trait ImportListener: Send + Sync {
    /// So much was read so far. Throwing calls the import off.
    fn on_progress(&self, progress: ImportSummary) -> Result<(), CallbackError>;
}

pub(crate) fn tell_progress(
    listener: &dyn ImportListener,
    progress: ImportSummary,
) -> Result<(), ListenerError> {
    listener.on_progress(progress).map_err(|CallbackError::Failed { details }| ListenerError(details))
}

impl From<ImportProgress> for ImportSummary {
    fn from(found: ImportProgress) -> Self {
        let [accounts, buddies, messages] =
            [found.accounts, found.buddies, found.messages].map(|n| signed(n as u64));
        ImportSummary { accounts, buddies, messages }
    }
}
