//! Peer links.

use crate::boundary::{Boundary, Owned};
use crate::convert::{count, timeout};
use crate::error::RosterKitError;
use std::sync::Arc;

type Result<T> = std::result::Result<T, RosterKitError>;

/// A peer link: this engine and another one, joined over any ordered pipe of bytes that the host supplies. It has one
/// connection at a time; when the pipe breaks, `disconnect`, and `connect` with the next one: nothing is lost by it.
///
/// One thread feeds what comes while another takes what is to be sent. The pipe must be authenticated by the host.
#[derive(uniffi::Object)]
pub struct PeerLink {
    link: Owned<rosterkit_peer::PeerLink>,
}

/// How a link is.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LinkState {
    /// A connection was begun and has not ended.
    pub is_connected: bool,
    /// What the other side said it hosts, in this connection or the last one. It gives it no right.
    pub peer_domains: Vec<String>,
    /// The other side has seen more of this file than it holds: it was restored from a backup.
    pub restored_from_backup: bool,
    /// Why the last connection ended, when it was not the host that ended it.
    pub last_error: Option<String>,
}

impl PeerLink {
    pub(crate) fn new(link: rosterkit_peer::PeerLink, boundary: &Arc<Boundary>) -> Arc<Self> {
        Arc::new(PeerLink { link: Owned::new(link, boundary) })
    }
}

#[uniffi::export]
impl PeerLink {
    /// Begins a connection; one that was there ends.
    pub fn connect(&self) -> Result<()> {
        self.link.call(|link| Ok(link.connect()?))
    }

    /// Ends the connection, if there is one.
    pub fn disconnect(&self) -> Result<()> {
        self.link.call(|link| {
            link.disconnect();
            Ok(())
        })
    }

    /// Takes bytes from the pipe. `InvalidArgument` when they are none of the protocol's, `Closed` when the other side ended
    /// the connection: send what `take` still has, close the pipe, and connect again. `Misuse` without a connection.
    pub fn feed(&self, bytes: &[u8]) -> Result<()> {
        self.link.call(|link| Ok(link.feed(bytes)?))
    }

    /// Gives up to `max` bytes for the pipe, waiting for the first. Empty when there is nothing, perhaps before the time is
    /// over, and at once without a connection.
    pub fn take(&self, max: i32, timeout_ms: i64) -> Result<Vec<u8>> {
        self.link.call(|link| Ok(link.take(count("max", max)?, timeout(timeout_ms)?)?))
    }

    /// How it is.
    pub fn state(&self) -> Result<LinkState> {
        self.link.call(|link| {
            let state = link.state();
            Ok(LinkState {
                is_connected: state.connected,
                peer_domains: state.peer_domains.iter().map(|domain| domain.as_str().to_owned()).collect(),
                restored_from_backup: state.restored_from_backup,
                last_error: state.last_error,
            })
        })
    }

    /// Closes the link for good: its domains are unreachable from here on. Idempotent.
    pub fn shutdown(&self) -> Result<()> {
        self.link.call_even_if_failed(|link| {
            link.close();
            Ok(())
        })
    }
}
