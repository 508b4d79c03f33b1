//! The one error that hosts see, and the one they give back.

use rosterkit::ErrorKind;

/// Why a call did not do what it was asked. The kind is stable; `details` says what happened, to what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum RosterKitError {
    /// What was asked is malformed.
    #[error("invalid argument: {details}")]
    InvalidArgument {
        /// What is wrong with it.
        details: String,
    },
    /// There is no such domain, account, buddy, session or device.
    #[error("not found: {details}")]
    NotFound {
        /// What is not there.
        details: String,
    },
    /// The recipient, or the rules, do not allow it.
    #[error("forbidden: {details}")]
    Forbidden {
        /// It never says why.
        details: String,
    },
    /// A limit is reached.
    #[error("limit exceeded: {details}")]
    LimitExceeded {
        /// Which one.
        details: String,
        /// Milliseconds after which a repeat may pass, when waiting helps.
        retry_after_ms: Option<i64>,
    },
    /// It contradicts something that is already so.
    #[error("conflict: {details}")]
    Conflict {
        /// What is so.
        details: String,
    },
    /// The address is outside and no relay serves its domain.
    #[error("unreachable: {details}")]
    Unreachable {
        /// Which domain.
        details: String,
    },
    /// The disk failed, or the file is none that this version can use.
    #[error("storage: {details}")]
    Storage {
        /// What failed.
        details: String,
        /// Nobody knows whether the operation is on disk: repeat it with the same `client_id` to learn it.
        outcome_unknown: bool,
    },
    /// The file is damaged: what is whole stays readable; run `rosterkit check`.
    #[error("damaged: {details}")]
    Damaged {
        /// What is broken, and where.
        details: String,
    },
    /// The engine or the session is shut down, or this process is a fork of the one that opened it.
    #[error("closed: {details}")]
    Closed {
        /// Which of them.
        details: String,
    },
    /// The call is not allowed in this place, for instance waiting for shutdown inside a callback.
    #[error("misuse: {details}")]
    Misuse {
        /// What to do instead.
        details: String,
    },
    /// A defect of the library. The engine takes no more work.
    #[error("internal: {details}")]
    Internal {
        /// What to report.
        details: String,
    },
}

impl RosterKitError {
    pub(crate) fn invalid(details: impl Into<String>) -> Self {
        RosterKitError::InvalidArgument { details: details.into() }
    }

    pub(crate) fn internal(details: impl Into<String>) -> Self {
        RosterKitError::Internal { details: details.into() }
    }
}

impl From<rosterkit::Error> for RosterKitError {
    fn from(error: rosterkit::Error) -> Self {
        let details = error.details;
        match error.kind {
            ErrorKind::InvalidArgument => RosterKitError::InvalidArgument { details },
            ErrorKind::NotFound => RosterKitError::NotFound { details },
            ErrorKind::Forbidden => RosterKitError::Forbidden { details },
            ErrorKind::LimitExceeded { retry_after_ms } => RosterKitError::LimitExceeded {
                details,
                retry_after_ms: retry_after_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            },
            ErrorKind::Conflict => RosterKitError::Conflict { details },
            ErrorKind::Unreachable => RosterKitError::Unreachable { details },
            ErrorKind::Storage { outcome_unknown } => RosterKitError::Storage { details, outcome_unknown },
            ErrorKind::Damaged => RosterKitError::Damaged { details },
            ErrorKind::Closed => RosterKitError::Closed { details },
            ErrorKind::Misuse => RosterKitError::Misuse { details },
            ErrorKind::Internal => RosterKitError::Internal { details },
        }
    }
}

/// What a callback of the host's gives back when it could not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// It failed.
    #[error("the callback failed: {details}")]
    Failed {
        /// For the log.
        details: String,
    },
}

/// An exception that the host did not catch arrives as this: without it, it would be a panic.
impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        CallbackError::Failed { details: error.reason }
    }
}
