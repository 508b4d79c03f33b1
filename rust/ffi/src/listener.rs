//! Callbacks with a session's events.

use crate::boundary::Boundary;
use crate::error::CallbackError;
use crate::event::EventBatch;
use rosterkit::{ListenerError, SessionId};
use std::sync::Arc;

/// What the engine calls with a session's events, on a thread of its own, one batch at a time.
///
/// Returning acknowledges the batch. Throwing does not: its events come again one by one, and a message that fails three
/// times is parked. Any function may be called from inside; only waiting for shutdown is refused.
#[uniffi::export(foreign)]
pub trait SessionListener: Send + Sync {
    /// Takes a batch.
    fn on_events(&self, batch: EventBatch) -> Result<(), CallbackError>;
}

/// A host's listener, as the engine has it.
pub(crate) struct HostListener {
    listener: Arc<dyn SessionListener>,
    boundary: Arc<Boundary>,
}

impl HostListener {
    pub(crate) fn new(listener: Arc<dyn SessionListener>, boundary: &Arc<Boundary>) -> Self {
        HostListener { listener, boundary: Arc::clone(boundary) }
    }
}

impl rosterkit::Listener for HostListener {
    fn on_events(&self, session: SessionId, events: &[rosterkit::Event]) -> Result<(), ListenerError> {
        let batch = EventBatch::new(session, events);
        self.listener.on_events(batch).map_err(|CallbackError::Failed { details }| {
            // Not what it says: that may be what somebody wrote.
            tracing::warn!(target: "rosterkit", engine = self.boundary.id, session = session.0, "a listener failed");
            ListenerError(details)
        })
    }
}
