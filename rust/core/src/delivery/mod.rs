//! Delivery: who gets a message, what its sender learns, and what was read.

pub mod claims;
pub mod fork;
pub mod limits;
pub mod marks;
pub mod unclaimed;
