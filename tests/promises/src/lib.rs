//! What crosses rooms: the promises of the whole engine, tested from outside.
//!
//! `rosterkit_sim::disk` writes down every file call and everything that leaves the engine in one order; [`workload`] is
//! what the engine is put through and what must be true afterwards. [`reference`](mod@reference) says naively what the engine does, for the
//! model test; [`mortal`] is a store that dies when told to.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

pub mod audit;
pub mod kept;
pub mod mortal;
pub mod reference;
pub mod truth;
pub mod workload;
pub mod worlds;

/// A folder in memory, where that can be: for tests that open a file anew thousands of times, each time with a sync.
pub fn folder_in_memory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
