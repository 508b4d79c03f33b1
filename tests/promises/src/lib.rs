//! What crosses rooms: the promises of the whole engine, tested from outside.
//!
//! [`recorder`] writes down every file call and everything that leaves the engine in one order; [`workload`] is what
//! the engine is put through and what must be true afterwards.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

pub mod audit;
pub mod recorder;
pub mod workload;
