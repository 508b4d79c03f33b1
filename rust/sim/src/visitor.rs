//! Somebody who opens a file that no engine has open with an SQLite of their own, to look.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Looks, and closes it again: what a log holds goes into the main file then. What they make of a file that is half made is
/// their business.
pub fn look_in(folder: &Path) {
    if let Ok(other) = Connection::open_with_flags(folder.join("im.db"), OpenFlags::SQLITE_OPEN_READ_WRITE) {
        let _ = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    }
}
