//! Makes a database of this version for those that come after it, and says what it answers: `cargo xtask fixture database`.
//!
//!     fixture FOLDER
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use rosterkit::store::vfs::Disk;
use rosterkit_promises::truth::{ask, fill};
use rosterkit_promises::workload::open;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn main() {
    let place = PathBuf::from(std::env::args().nth(1).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), Disk::plain()).unwrap();
    fill(&engine, 1, 60);
    engine.shutdown(true).unwrap();
    drop(engine);
    // Opening moves everything into the main file.
    let engine = open(folder.path(), Disk::plain()).unwrap();
    let bytes = std::fs::read(folder.path().join("im.db")).unwrap();
    let answers: BTreeMap<_, _> =
        ask(&engine).into_iter().filter_map(|(question, answer)| Some((question, answer.ok()?))).collect();
    engine.shutdown(true).unwrap();
    let name = concat!("rosterkit-", env!("CARGO_PKG_VERSION"));
    std::fs::write(place.join(format!("{name}.db")), &bytes).unwrap();
    std::fs::write(
        place.join(format!("{name}.json")),
        serde_json::to_string_pretty(&answers).unwrap() + "\n",
    )
    .unwrap();
    println!("{name}.db: {} bytes, {} answers", bytes.len(), answers.len());
}
