//! The peer link: two engines joined over any ordered byte pipe that the host supplies.
//!
//! This crate is its protocol, without I/O, threads or a clock: bytes from the pipe go in, what they say comes out, and the
//! other way round. The wire format and what it promises are in `docs/peer-link.md`.
//!
//! ```
//! use rosterkit_peer::{FileMark, Hello, Incoming, Protocol};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = |generation| Hello { domains: vec![], file: FileMark { generation, log_end: 1 } };
//! let (mut here, mut there) = (Protocol::new(hello(1)), Protocol::new(hello(2)));
//! let mut incoming = Vec::new();
//! there.feed(&here.take(64 * 1024), &mut incoming)?; // what the pipe does
//! let Incoming::Hello(theirs) = &incoming[0] else { panic!("the first is always a Hello") };
//! assert_eq!(theirs.file.generation, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Read it in this order: `frame` is how the pipe is cut, `wire` is what a frame holds, `values` are the rules it is read by,
//! `window` and `lanes` are what is under way and what leaves next, [`Protocol`] is the conversation.

mod cbor;
mod error;
mod frame;
mod hello;
mod lanes;
mod link;
mod names;
mod protocol;
mod values;
mod window;
mod wire;

pub use error::{ProtocolError, Unsendable};
pub use hello::{FileMark, Hello, PeerHello};
pub use link::{LinkState, PeerLink};
pub use protocol::{Incoming, Protocol};
pub use values::{MAX_DELIVERY_ID_BYTES, MAX_ITEMS};

/// The versions of the protocol that this build speaks.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 1..=1;
/// The most bytes that the payload of a frame has. A parcel with more cannot be sent.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// How many parcels may be under way in each direction.
pub const WINDOW: usize = 256;
/// And how many bytes of them, less the last one.
pub const WINDOW_BYTES: usize = 4 << 20;
