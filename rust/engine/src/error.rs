//! The one error a host sees.

use rosterkit_core::refusal::Refusal;
use rosterkit_store::StoreError;
use std::fmt;

/// Why a call did not do what it was asked. The kind is stable; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What sort of error it is.
    pub kind: ErrorKind,
    /// What happened, to what, and what to do.
    pub details: String,
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// The sorts of error. New ones are not added lightly: hosts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was asked is malformed.
    InvalidArgument,
    /// There is no such domain, account, buddy, session or device.
    NotFound,
    /// The recipient, or the rules, do not allow it.
    Forbidden,
    /// A limit is reached.
    LimitExceeded {
        /// Milliseconds after which a repeat may pass, when waiting helps.
        retry_after_ms: Option<u64>,
    },
    /// It contradicts something that is already so.
    Conflict,
    /// The address is outside and no relay serves its domain.
    Unreachable,
    /// The disk failed, or the file is none that this version can use.
    Storage {
        /// Nobody knows whether the operation is on disk: repeat it with the same `client_id` to learn it.
        outcome_unknown: bool,
    },
    /// The file is damaged: what is whole stays readable; run `rosterkit check`.
    Damaged,
    /// The engine or the session is shut down, or its files are released.
    Closed,
    /// The call is not allowed in this place, for instance waiting for shutdown inside a callback.
    Misuse,
    /// A defect of the library.
    Internal,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, details: impl Into<String>) -> Self {
        Error { kind, details: details.into() }
    }

    pub(crate) fn closed() -> Self {
        Error::new(ErrorKind::Closed, "the engine is shut down")
    }

    pub(crate) fn session_closed() -> Self {
        Error::new(ErrorKind::Closed, "the session has ended: open a new one")
    }

    pub(crate) fn relay_closed() -> Self {
        Error::new(ErrorKind::Closed, "the relay is closed: open a new one")
    }

    pub(crate) fn misuse(details: &str) -> Self {
        Error::new(ErrorKind::Misuse, details)
    }

    pub(crate) fn internal(details: &str) -> Self {
        Error::new(ErrorKind::Internal, details)
    }

    /// Whether the same may pass later: the disk failed now, and may not then.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.kind, ErrorKind::Storage { .. })
    }

    /// Whether the file is damaged: the same would meet the same again.
    pub(crate) fn is_damage(&self) -> bool {
        self.kind == ErrorKind::Damaged
    }

    /// Nothing was done: the disk said no before anything was written.
    pub(crate) fn storage(details: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Storage { outcome_unknown: false }, details.to_string())
    }

    /// It may or may not have been done.
    pub(crate) fn outcome_unknown() -> Self {
        Error::new(
            ErrorKind::Storage { outcome_unknown: true },
            "the disk failed while this was being written: repeat it with the same client_id to learn what became of it",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.details)
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let details = refusal.to_string();
        let kind = match refusal {
            Refusal::InvalidArgument(_) => ErrorKind::InvalidArgument,
            Refusal::NotFound(_) => ErrorKind::NotFound,
            Refusal::Forbidden | Refusal::NotAllowed(_) => ErrorKind::Forbidden,
            Refusal::LimitExceeded { retry_after_ms, .. } => ErrorKind::LimitExceeded { retry_after_ms },
            Refusal::Conflict(_) => ErrorKind::Conflict,
            Refusal::Unreachable(_) => ErrorKind::Unreachable,
        };
        Error { kind, details }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Held { .. } | StoreError::Conflict(_) => ErrorKind::Conflict,
            StoreError::Damaged { .. } => ErrorKind::Damaged,
            _ => ErrorKind::Storage { outcome_unknown: false },
        };
        Error { kind, details: error.to_string() }
    }
}
