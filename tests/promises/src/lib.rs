//! What crosses rooms: the promises of the whole engine, tested from outside.
//!
//! [`recorder`] writes down every file call and everything that leaves the engine in one order; [`workload`] is what
//! the engine is put through and what must be true afterwards. [`reference`](mod@reference) says naively what the engine does, for the
//! model test; [`mortal`] is a store that dies when told to.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

pub mod audit;
pub mod kept;
pub mod mortal;
pub mod recorder;
pub mod reference;
pub mod truth;
pub mod workload;
pub mod worlds;
