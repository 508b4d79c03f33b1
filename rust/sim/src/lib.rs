//! The simulated world: real engines on real SQLite files, on one thread, in virtual time, on disks and links that fail.
//!
//! A seed is a whole history: which machines there are, what their clients ask, what fails and when. The same seed in the
//! same build is the same history, down to each file call. [`ledger`] folds what left an engine into what it owes;
//! [`audit`] asks an engine for it, after each cut and at the end; [`crash`] cuts every life of a machine again, at
//! points between its file calls.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod audit;
pub mod crash;
pub mod disk;
pub mod facts;
pub mod handshake;
pub mod history;
pub mod host;
pub mod hosting;
pub mod kept;
pub mod ledger;
pub mod link;
pub mod order;
pub mod people;
pub mod report;
pub mod run;
pub mod shrink;
pub mod steps;
pub mod visitor;
pub mod world;
