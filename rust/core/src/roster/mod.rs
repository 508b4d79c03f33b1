//! The roster: who is on it, and the handshake that puts them there.
//!
//! Every account has one. Inside it is two directed subscriptions for each buddy, as in RFC 6121; shown it is one
//! [`Status`].

mod buddy;
mod decide;
mod index;
mod subscription;

pub use buddy::{Buddy, MAX_GROUPS, MAX_NAME_BYTES};
pub use decide::{Asked, Decision, Edit, Received, decide, farewell, let_in, receive, renew};
pub use index::{Index, Relation};
pub use subscription::{Half, Halves, MAX_VERSION, Op, Signal, Status, Subscription};
