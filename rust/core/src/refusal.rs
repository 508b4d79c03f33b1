//! Why the engine says no.

/// A refusal that a rule decided. The engine's public error has the same kinds and a few more (storage, closed,
/// misuse) that no pure rule can cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was asked is malformed; the text says what to do.
    #[error("{0}")]
    InvalidArgument(String),
    /// There is no such domain, account, buddy, session or device.
    #[error("{0}")]
    NotFound(String),
    /// The recipient does not take signals from this sender. It is never said why: blocked and `nobody` read alike.
    #[error("the recipient does not accept this")]
    Forbidden,
    /// It is not the account's to do; the text says what.
    #[error("{0}")]
    NotAllowed(String),
    /// A limit is reached. `retry_after_ms` is there when waiting helps.
    #[error("{what}")]
    LimitExceeded {
        /// Which limit, and its size.
        what: String,
        /// Milliseconds after which a repeat may pass.
        retry_after_ms: Option<u64>,
    },
    /// The request contradicts an earlier one.
    #[error("{0}")]
    Conflict(String),
    /// The address is outside, and no relay serves its domain.
    #[error("no relay serves the domain {0}")]
    Unreachable(String),
}

impl Refusal {
    /// A limit that waiting does not lift.
    pub fn limit(what: impl Into<String>) -> Self {
        Refusal::LimitExceeded { what: what.into(), retry_after_ms: None }
    }
}
