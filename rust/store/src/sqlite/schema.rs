//! The tables, and how a file gets from one format to the next.

use crate::StoreError;
use rusqlite::Connection;

/// "RstK": what makes a file ours.
pub(super) const APPLICATION_ID: i32 = 0x5273_744b;
/// The highest `min_reader` that this version reads.
pub(super) const READS: u32 = 1;

/// Each brings the file one step on, in a transaction of its own; its place in the list is its number.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];

/// Applies the migrations that the file does not have yet.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let applied = apply(connection, &MIGRATIONS);
    applied.map_err(|e| StoreError::of(connection, "bringing the file to the present format", e))
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let from: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (number, migration) in migrations.iter().enumerate().skip(from.max(0) as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
