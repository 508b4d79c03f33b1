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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::sqlite::open::connect;
    use crate::sqlite::{SqliteOptions, SqliteStore};
    use crate::vfs::{Call, Disk, Failure, FileKind, Layer};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// As a later version could have it: it changes a table and fills it, over several pages.
    const SECOND: &str = "ALTER TABLE domain ADD COLUMN later INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE later (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20)
            INSERT INTO later SELECT n, zeroblob(1000) FROM n;
        UPDATE meta SET value = 1 WHERE key = 'minor';";

    /// From some call on the process is dead.
    struct Dying {
        calls: AtomicU64,
        last: u64,
    }

    impl Layer for Dying {
        fn call(&self, _file: FileKind, _path: &str, _call: Call<'_>) -> Result<(), Failure> {
            if self.calls.fetch_add(1, Ordering::Relaxed) < self.last { Ok(()) } else { Err(Failure::Io) }
        }
    }

    #[test]
    fn a_migration_that_is_cut_off_at_any_file_call_is_done_at_the_next_opening() {
        let migrations = [MIGRATIONS[0], SECOND];
        let (mut cuts, mut last) = (0, 0);
        loop {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("im.db");
            drop(SqliteStore::new(&path, SqliteOptions::small()).open().unwrap());
            let disk = Disk::through(Arc::new(Dying { calls: AtomicU64::new(0), last }));
            let dying = SqliteOptions { disk, ..SqliteOptions::small() };
            let died = match connect(&path, &dying) {
                Ok(mut connection) => apply(&mut connection, &migrations).is_err(),
                Err(_) => true,
            };
            let options = SqliteOptions::small();
            let mut connection = connect(&path, &options).unwrap();
            apply(&mut connection, &migrations).unwrap();
            let of = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(of("PRAGMA user_version"), 2);
            assert_eq!(of("SELECT count(*) FROM later"), 20);
            assert_eq!(of("SELECT value FROM meta WHERE key = 'minor'"), 1);
            assert_eq!(of("SELECT count(later) FROM domain"), 0);
            drop(connection);
            // This version knows the first alone, and goes on with what it finds.
            drop(SqliteStore::new(&path, options).open().unwrap());
            if !died {
                break;
            }
            (cuts, last) = (cuts + 1, last + 1);
        }
        assert!(cuts > 15, "{cuts}");
    }
}
