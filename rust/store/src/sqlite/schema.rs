//! The tables, and how a file gets from one format to the next.

use crate::StoreError;
use crate::check::Value;
use rusqlite::Connection;

/// "RstK": what makes a file ours.
pub(crate) const APPLICATION_ID: i32 = 0x5273_744b;
/// The highest `min_reader` that this version reads.
pub(crate) const READS: u32 = 1;

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

/// The tables and indexes of the present format, as SQLite knows them.
pub(crate) struct Layout {
    /// In the order in which they were made.
    pub(crate) objects: Vec<Object>,
    /// The number of the format, in a file's `user_version`.
    pub(crate) format: u32,
}

/// A table or an index.
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) is_index: bool,
    /// A table's columns.
    columns: Vec<Column>,
    without_rowid: bool,
}

struct Column {
    kind: Kind,
    /// It is the row's id, and stored as nothing.
    is_row_id: bool,
    may_be_null: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Text,
    Blob,
}

impl Layout {
    /// Made by making the tables, in memory.
    pub(crate) fn present() -> Result<Layout, StoreError> {
        let make = || -> rusqlite::Result<Layout> {
            let connection = Connection::open_in_memory()?;
            MIGRATIONS.iter().try_for_each(|migration| connection.execute_batch(migration))?;
            let mut objects = connection.prepare(
                "SELECT s.name, s.type = 'index', coalesce(l.wr, 0) FROM sqlite_schema s
                 LEFT JOIN pragma_table_list l ON l.name = s.name AND l.schema = 'main' ORDER BY s.rowid",
            )?;
            let mut columns =
                connection.prepare("SELECT type, pk, \"notnull\" FROM pragma_table_info(?1) ORDER BY cid")?;
            let objects = objects.query_map([], |row| {
                let (name, is_index, without_rowid): (String, bool, bool) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let columns = columns.query_map([&name], |row| {
                    let kind = match row.get_ref(0)?.as_str()? {
                        "INTEGER" => Kind::Integer,
                        "TEXT" => Kind::Text,
                        _ => Kind::Blob,
                    };
                    Ok((kind, row.get::<_, u32>(1)?, row.get::<_, bool>(2)?))
                })?;
                let columns: Vec<_> = columns.collect::<rusqlite::Result<_>>()?;
                let keys = columns.iter().filter(|(_, key, _)| *key > 0).count();
                let columns = columns.into_iter().map(|(kind, key, not_null)| {
                    let is_row_id = keys == 1 && key == 1 && matches!(kind, Kind::Integer) && !without_rowid;
                    Column { kind, is_row_id, may_be_null: !not_null && key == 0 }
                });
                Ok(Object { is_index, columns: columns.collect(), without_rowid, name })
            })?;
            let objects = objects.collect::<rusqlite::Result<_>>()?;
            Ok(Layout { objects, format: MIGRATIONS.len() as u32 })
        };
        make().map_err(|source| StoreError::Sqlite { doing: "making the tables in memory", source })
    }
}

impl Object {
    /// Whether its rows have ids, and are in their order.
    pub(crate) fn has_row_ids(&self) -> bool {
        !self.is_index && !self.without_rowid
    }

    /// Whether these can be the values of a row of the table, as they are stored.
    pub(crate) fn fits(&self, values: &[Value<'_>]) -> bool {
        values.len() == self.columns.len() && self.begins(values)
    }

    /// The same, of a row to which a newer version may have added columns.
    pub(crate) fn begins(&self, values: &[Value<'_>]) -> bool {
        let fits = |column: &Column, value: &Value<'_>| match (column.kind, value) {
            (_, Value::Null) => column.is_row_id || column.may_be_null,
            (Kind::Integer, Value::Integer(_)) => !column.is_row_id,
            (Kind::Text, Value::Text(_)) | (Kind::Blob, Value::Blob(_)) => true,
            _ => false,
        };
        values.len() >= self.columns.len()
            && self.columns.iter().zip(values).all(|(column, value)| fits(column, value))
    }

    /// A row's values as a statement has them: its id stands where it belongs.
    pub(crate) fn with_row_id<'a>(&self, row_id: i64, values: &[Value<'a>]) -> Vec<Value<'a>> {
        let value = |(column, value): (&Column, &Value<'a>)| match column.is_row_id {
            true => Value::Integer(row_id),
            false => *value,
        };
        self.columns.iter().zip(values).map(value).collect()
    }
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
