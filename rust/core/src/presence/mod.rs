//! Presence: what a session shows, what an account's watchers see of it, and for how long.

mod aggregate;
mod last_seen;
mod layers;
mod lease;
mod slots;
mod state;
mod view;

pub use aggregate::{Contribution, Order, Presence, aggregate};
pub use last_seen::{LastSeen, LastSeenPrecision};
pub use layers::{Layers, PresenceLayer};
pub use lease::{Activity, Lease};
pub use slots::Slots;
pub use state::State;
pub use view::Visibility;
