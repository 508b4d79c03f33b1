//! Which domains a machine answers for; and that a file with others is refused.

use crate::people::{START, domain, visitors};
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{Domain, Engine, EngineOptions, ErrorKind};
use std::path::Path;

/// Those of a machine: its people's, and one for visitors, which comes and goes.
pub fn hosted(machine: usize) -> [Domain; 2] {
    [domain(machine), visitors()]
}

/// A host that answers for other domains cannot open a machine's file. What it has done to it is seen by who opens it next.
pub fn check_refused_elsewhere(path: &Path, sqlite: &SqliteOptions) -> Result<(), String> {
    let elsewhere = EngineOptions::hosting([visitors()]);
    let store = SqliteStore::new(path, sqlite.clone());
    match Engine::open_virtual(store, elsewhere, 1, START) {
        Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
        Err(error) => Err(format!("a file of other domains was refused otherwise: {error}")),
        Ok(_) => Err("a file of other domains was opened".to_owned()),
    }
}
