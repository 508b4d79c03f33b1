//! What goes wrong with a pipe, and what cannot be sent.

/// Why a connection ended. None of these texts holds anything that a person wrote, so all may be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// No peer link is at the other end.
    #[error("what is at the other end of the pipe is no peer link")]
    NotAPeer,
    /// Both sides are well and have nothing in common.
    #[error("the other side speaks versions {min} to {max} of the peer link, and this one none of them")]
    NoCommonVersion {
        /// Their lowest.
        min: u16,
        /// Their highest.
        max: u16,
    },
    /// A length that no frame has: the other side is broken, or bytes were lost or changed.
    #[error("a frame of {length} bytes, and at most {} are taken", crate::MAX_PAYLOAD_BYTES)]
    FrameTooLong {
        /// The length that was given.
        length: u32,
    },
    /// The bytes of a frame are not those that were sent.
    #[error("a frame was damaged on its way")]
    Damaged,
    /// Frames were lost.
    #[error("frame {found} came where {expected} was due: frames were lost")]
    Gap {
        /// Its number.
        found: u64,
        /// The number that was due.
        expected: u64,
    },
    /// A type of frame that this version does not know and may not skip.
    #[error("a frame of the unknown type {kind}")]
    UnknownFrame {
        /// Its number.
        kind: u8,
    },
    /// A frame that does not belong here.
    #[error("a {frame} frame came out of turn")]
    OutOfTurn {
        /// Which.
        frame: &'static str,
    },
    /// A frame whose content breaks the format.
    #[error("a {frame} frame has {what}")]
    Malformed {
        /// Which.
        frame: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More parcels than the window lets out.
    #[error("the other side sends more than it was allowed to")]
    WindowExceeded,
}

/// Why something was not queued. The connection is as good as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Not now: [`Protocol::may_send`](crate::Protocol::may_send) or [`may_notify`](crate::Protocol::may_notify) says no.
    #[error("there is no room for it now")]
    NoRoom,
    /// Never over this link, because no frame holds it. A parcel of several messages may pass in parts.
    #[error(
        "{bytes} bytes are too many for a frame of the peer link, which has at most {}",
        crate::MAX_PAYLOAD_BYTES
    )]
    TooLarge {
        /// How many it would have.
        bytes: usize,
    },
    /// Never, because the other side would not take it.
    #[error("the peer link does not carry {0}")]
    Malformed(&'static str),
}
