//! RosterKit for other languages, by UniFFI.
//!
//! A thin face over the crate `rosterkit`: it checks and converts values, keeps panics in, and decides nothing. Its rules
//! (every function returns a `Result`, no async, signed numbers and milliseconds, names that no language reserves) are
//! held by `rosterkit-bindgen lint`, which reads UniFFI's own metadata of the built library.

#[cfg(feature = "bench")]
mod bench;
mod boundary;
mod command;
mod conversation;
mod convert;
mod engine;
mod error;
mod event;
mod files;
mod host;
mod import;
mod link;
mod listener;
mod logging;
mod options;
mod relay;
mod roster;
mod session;

#[cfg(feature = "bench")]
pub use bench::deliver_for_bench;
pub use command::{Answer, Answered, Command, SubmittedCommand};
pub use engine::{Engine, HostedDomain};
pub use error::{CallbackError, RosterKitError};
pub use event::{EndReason, Event, EventBatch, EventBody, FinalOutcome, Message, MessageBody};
pub use import::{ExportSummary, ImportListener, ImportSummary};
pub use link::{LinkState, PeerLink};
pub use listener::SessionListener;
pub use logging::{LogLevel, LogRecord, LogSink, add_log_sink, remove_log_sink};
pub use options::{EngineOptions, LimitOptions, PreferenceOverrides, Preferences, SessionOptions};
pub use relay::{HandshakeStep, Notice, Outgoing, Parcel, ParcelContents, Relay, RelayedMessage, Settlement};
pub use roster::{
    AcceptedSenders, Buddy, BuddyStatus, Presence, PresenceLayer, PresenceState, PresenceUpdate, Roster,
};
pub use session::{
    Activity, ChatState, HistoryPage, HistoryRequest, Receipt, SendOptions, SendOutcome, Session,
};

uniffi::setup_scaffolding!("rosterkit");

/// The version of the library.
#[uniffi::export]
pub fn version() -> Result<String, RosterKitError> {
    Ok(env!("CARGO_PKG_VERSION").into())
}

/// The revision of the sources that the library was built from; `unknown` when they were in no repository.
#[uniffi::export]
pub fn git_revision() -> Result<String, RosterKitError> {
    Ok(env!("ROSTERKIT_GIT_REVISION").into())
}
