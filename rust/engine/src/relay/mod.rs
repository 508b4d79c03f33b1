//! Relays: what carries signals to and from addresses that this engine does not host.

mod parcel;

pub use parcel::{Contents, Notice, Parcel, RelayedMessage, RosterSignal, Settlement};
