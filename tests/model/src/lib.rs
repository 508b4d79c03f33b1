//! A model of the write path, small enough to be searched whole.
//!
//! Each part of the write path that a promise rests on is a little state machine here, and each rule is a switch.
//! [`search`] walks every schedule of steps, kills, power cuts and failed commits breadth first: with every rule on it
//! finds nothing, with one off it finds the shortest schedule that breaks a promise.
//!
//! Read [`pipeline`] first: it is the way of a message from its send to its acknowledgement. [`handshake`], [`pending`],
//! [`index`] and [`claims`] are the parts it leaves out; [`relay`] is what two engines do between them.
#![allow(missing_docs)]

pub mod claims;
pub mod handshake;
pub mod index;
pub mod pending;
pub mod pipeline;
pub mod relay;
pub mod rules;
pub mod search;
