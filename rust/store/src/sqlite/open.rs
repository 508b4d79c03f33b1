//! Opening a file.
//!
//! First everything is read and checked, and nothing is changed: a file that is newer, foreign or damaged is left as
//! it was. Then what the last process left in the write-ahead log is moved into the main file, whole, and a commit of
//! our own is synced behind it. Only then may anything that was read be shown: before that it may be there in the page
//! cache and gone after a power cut.

use super::checkpoint::SqliteCheckpointer;
use super::lock::Lock;
use super::reader::{SqliteReader, read_rules};
use super::schema::{APPLICATION_ID, READS, migrate};
use super::tail::Tail;
use super::writer::SqliteWriter;
use super::{SqliteOptions, beside, bits, resolved, sql};
use crate::check::is_whole;
use crate::error::BrokenRow;
use crate::values::{decode_overrides, decode_row};
use crate::vfs::{FileKind, PAGE_SIZE, RESERVED_BYTES};
use crate::{Facts, Head, Opened, StoreError};
use rosterkit_core::address::Domain;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::{Row, Sides};
use rosterkit_core::write::RulesOf;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// How many positions are reserved at once.
pub(super) const RESERVE: u64 = 1 << 20;

/// What the parts of an open store share.
pub(super) struct Parts {
    pub(super) path: Arc<Path>,
    pub(super) options: SqliteOptions,
    pub(super) tail: RwLock<Tail>,
    /// A checkpoint syncs the write-ahead log at this moment.
    pub(super) syncing: AtomicBool,
    /// A sync failed outside of a commit: a commit that succeeds behind it may not be on disk.
    pub(super) suspect: AtomicBool,
    _lock: Lock,
}

pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    let path = &resolved(path);
    let lock = Lock::take(path)?;
    check_header(path)?;
    seal_what_another_wrote(path, options)?;
    write_log_again(path, options)?;
    let mut connection = connect(path, options)?;
    if is_unfinished(path, &connection)? {
        create(&mut connection)?;
    }
    check_meta(path, &connection)?;
    let (tail, indexed, highest) = read_tail(path, &connection)?;
    migrate(&mut connection)?;
    let reserved = make_durable(path, &mut connection, highest)?;
    let facts = facts(path, &connection, reserved)?;
    let parts = Arc::new(Parts {
        path: Arc::from(&**path),
        options: options.clone(),
        tail: RwLock::new(tail),
        syncing: AtomicBool::new(false),
        suspect: AtomicBool::new(false),
        _lock: lock,
    });
    let reader = SqliteReader::open(&parts)?;
    let checkpointer = SqliteCheckpointer::open(&parts)?;
    let reserved = Position(reserved.0 + RESERVE);
    let writer = SqliteWriter::new(connection, parts, reserved, indexed);
    Ok(Opened {
        writer: Box::new(writer),
        reader: Box::new(reader),
        checkpointer: Box::new(checkpointer),
        facts,
    })
}

/// A connection with our settings. It never checkpoints by itself, also not when it is closed.
pub(super) fn connect(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let doing = "opening the file";
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, options.disk.vfs_name());
    let connection = connection.map_err(|e| StoreError::about(path, doing, e))?;
    let set = || -> rusqlite::Result<()> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // A plan does not depend on what is bound: otherwise a statement is prepared anew for each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.busy_timeout(Duration::from_millis(options.busy_ms))?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "synchronous", durable())?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
        if cfg!(target_vendor = "apple") {
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        }
        Ok(())
    };
    set().map_err(|e| StoreError::about(path, doing, e))?;
    Ok(connection)
}

/// How a connection syncs whose commits are answers.
pub(super) fn durable() -> &'static str {
    if planted(Bug::SkippedSync) { "NORMAL" } else { "FULL" }
}

/// Who opens the file with an SQLite of their own after a crash, and be it to look, moves the log into the main file when they
/// close it, pages without a seal, and deletes the log. We never delete it. When the file is whole as it stands, these pages
/// are ours again.
fn seal_what_another_wrote(path: &Path, options: &SqliteOptions) -> Result<(), StoreError> {
    let is_there = |suffix: &str| std::fs::metadata(beside(path, suffix)).is_ok();
    if is_there("-wal") || is_there("-journal") {
        return Ok(());
    }
    let pages =
        options.disk.unsealed(path).map_err(|source| failed("looking for pages without a seal", source))?;
    if pages.is_empty() {
        return Ok(());
    }
    if !is_whole(path)? {
        let what = format!("{} pages have no checksum, and not all is in order with them", pages.len());
        return Err(StoreError::Damaged { path: path.display().to_string(), what });
    }
    tracing::warn!(pages = pages.len(), "another SQLite has written to the file; what it left is whole");
    options.disk.seal(path, &pages).map_err(|source| failed("sealing pages", source))
}

/// What is recovered from the write-ahead log goes into the main file next. If the log were in the page cache only, a power
/// cut in the middle of that would leave pages of a commit of which the log knows nothing.
fn write_log_again(path: &Path, options: &SqliteOptions) -> Result<(), StoreError> {
    if planted(Bug::LogNotWrittenAgain) {
        return Ok(());
    }
    let again = options.disk.write_again(FileKind::Wal, &beside(path, "-wal"));
    again.map_err(|source| failed("writing the write-ahead log again", source))
}

fn failed(doing: &'static str, source: std::io::Error) -> StoreError {
    match source.kind() {
        ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Io { doing, source },
    }
}

/// Looks at the first bytes of the file, if there are any.
fn check_header(path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { doing: "reading the file's header", source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    let length = file.metadata().map_err(io)?.len();
    let length_of =
        |suffix: &str| std::fs::metadata(beside(path, suffix)).map_or(0, |metadata| metadata.len());
    // While a file is made it has a journal; with one left over, SQLite first has to take back what was half done.
    if length == 0 || length_of("-journal") > 0 {
        return Ok(());
    }
    let name = path.display().to_string();
    let foreign = |why: &str| StoreError::Foreign { path: name.clone(), why: why.into() };
    let mut header = [0u8; 100];
    if let Err(error) = file.read_exact(&mut header) {
        return Err(match error.kind() {
            ErrorKind::UnexpectedEof => foreign("it is too short for a database"),
            _ => io(error),
        });
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(foreign("it is no SQLite database"));
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if word(68) as i32 != APPLICATION_ID {
        return Err(foreign("another application made it"));
    }
    if usize::from(header[20]) != RESERVED_BYTES
        || u16::from_be_bytes([header[16], header[17]]) as usize != PAGE_SIZE
    {
        return Err(foreign("its pages are laid out otherwise"));
    }
    let wal_is_empty = length_of("-wal") == 0;
    let pages = u64::from(word(28));
    // With a write-ahead log the main file may be behind; without one it is all there is.
    if wal_is_empty && length < pages * PAGE_SIZE as u64 {
        let what = format!("it is cut short: {length} bytes of {}", pages * PAGE_SIZE as u64);
        return Err(StoreError::Damaged { path: name, what });
    }
    Ok(())
}

/// Whether the file is empty, or its making was cut off before the tables were there.
fn is_unfinished(path: &Path, connection: &Connection) -> Result<bool, StoreError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let read = || Ok((number("user_version")?, number("page_count")?, number("application_id")?));
    let (version, pages, application): (i64, i64, i64) =
        read().map_err(|e| StoreError::about(path, "reading its header", e))?;
    if pages > 0 && application != i64::from(APPLICATION_ID) {
        let why = "another application made it".into();
        return Err(StoreError::Foreign { path: path.display().to_string(), why });
    }
    Ok(version == 0)
}

fn create(connection: &mut Connection) -> Result<(), StoreError> {
    let make = |connection: &mut Connection| -> rusqlite::Result<()> {
        connection
            .file_control(None::<&str>, rusqlite::FileControl::ReserveBytes(&mut (RESERVED_BYTES as i32)))?;
        connection.pragma_update(None, "page_size", PAGE_SIZE as i64)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        Ok(())
    };
    make(connection).map_err(|e| StoreError::of(connection, "making the file", e))?;
    migrate(connection)?;
    connection
        .execute(
            "UPDATE meta SET value = abs(random()) % 9007199254740992 + 1 WHERE key = 'file_generation'",
            [],
        )
        .map_err(|e| StoreError::of(connection, "making the file", e))?;
    Ok(())
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).map(bits)
}

fn check_meta(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let needs = meta(connection, "min_reader").map_err(|e| missing(path, "reading its meta table", e))?;
    if needs > u64::from(READS) {
        let needs = u32::try_from(needs).unwrap_or(u32::MAX);
        return Err(StoreError::Newer { path: path.display().to_string(), needs, reads: READS });
    }
    Ok(())
}

/// Reads what the indexes have not reached, and checks each row. Gives the tail, the index mark, and the highest
/// position there is.
fn read_tail(path: &Path, connection: &Connection) -> Result<(Tail, Position, Position), StoreError> {
    let unreadable = |e| missing(path, "reading its log", e);
    let indexed = Position(meta(connection, "indexed").map_err(unreadable)?);
    let mut tail = Tail::default();
    let mut highest = indexed;
    let mut statement = connection
        .prepare(
            "SELECT position, sender, recipient, sides, body FROM log WHERE position > ?1 ORDER BY position",
        )
        .map_err(unreadable)?;
    let mut rows = statement.query([sql(indexed.0)]).map_err(unreadable)?;
    while let Some(row) = rows.next().map_err(unreadable)? {
        let row = row_of(row).map_err(unreadable)?;
        highest = row.position;
        tail.push(&row);
    }
    Ok((tail, indexed, highest))
}

/// A row of a query for `position, sender, recipient, sides, body`.
pub(super) fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let Head { position, sender, recipient, sides } = head_of(row)?;
    let body = row.get_ref(4)?.as_blob().unwrap_or_default();
    match decode_row(position, sender, recipient, body) {
        Ok(entry) => Ok(Row { position, sides, entry }),
        Err(malformed) => Err(BrokenRow { position, what: malformed.0 }.into()),
    }
}

/// The same without its body.
pub(super) fn head_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        position: Position(bits(row.get(0)?)),
        sender: AddressId::from_bits(bits(row.get(1)?)),
        recipient: AddressId::from_bits(bits(row.get(2)?)),
        sides: Sides(row.get(3)?),
    })
}

/// Makes what was read durable. Gives the first position that may be given.
fn make_durable(path: &Path, connection: &mut Connection, highest: Position) -> Result<Position, StoreError> {
    let doing = "making durable what was recovered";
    let failed = |e| StoreError::about(path, doing, e);
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
    if busy != 0 {
        return Err(StoreError::ReaderPresent { path: path.display().to_string() });
    }
    let reserved = meta(connection, "reserved").map_err(failed)?;
    let first = if planted(Bug::PositionGivenAgain) { 0 } else { reserved }.max(highest.0 + 1);
    connection
        .execute("UPDATE meta SET value = ?1 WHERE key = 'reserved'", [sql(first + RESERVE)])
        .map_err(failed)?;
    Ok(Position(first))
}

fn facts(path: &Path, connection: &Connection, first_position: Position) -> Result<Facts, StoreError> {
    let doing = "reading what the file holds";
    let failed = |e| StoreError::about(path, doing, e);
    let highest: Option<i64> =
        connection.query_row("SELECT max(id) FROM address", [], |row| row.get(0)).map_err(failed)?;
    let mut statement = connection.prepare("SELECT name, overrides FROM domain").map_err(failed)?;
    let domains = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .and_then(|rows| rows.collect::<rusqlite::Result<Vec<_>>>())
        .map_err(failed)?
        .into_iter()
        .map(|(name, overrides)| {
            let name = Domain::new(&name).ok();
            name.zip(decode_overrides(&overrides).ok()).ok_or_else(|| StoreError::Damaged {
                path: path.display().to_string(),
                what: "a domain cannot be read".into(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let unswept = connection
        .prepare("SELECT account FROM unswept ORDER BY account")
        .and_then(|mut s| {
            s.query_map([], |row| row.get(0).map(|id| AddressId::from_bits(bits(id))))?.collect()
        })
        .map_err(failed)?;
    let mut statement =
        connection.prepare("SELECT owner, json FROM rules WHERE owner NOT GLOB '[0-9]*'").map_err(failed)?;
    let rules = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .and_then(|rows| rows.collect::<rusqlite::Result<Vec<_>>>())
        .map_err(failed)?
        .into_iter()
        .map(|(owner, json)| {
            let owner = match Domain::new(&owner) {
                Ok(domain) => RulesOf::Domain(domain),
                Err(_) => RulesOf::Server,
            };
            Ok((owner, read_rules(path, &json)?))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Facts {
        file_generation: meta(connection, "file_generation").map_err(failed)?,
        sent: Position(meta(connection, "sent").map_err(failed)?),
        first_position,
        next_serial: highest.map_or(1, |id| AddressId::from_bits(bits(id)).serial() + 1),
        domains,
        unswept,
        rules,
    })
}

/// A file that is ours and has not what every one has is damaged.
fn missing(path: &Path, doing: &'static str, error: rusqlite::Error) -> StoreError {
    match StoreError::about(path, doing, error) {
        StoreError::Sqlite { source, .. }
            if source.sqlite_error_code() != Some(ErrorCode::SystemIoFailure) =>
        {
            StoreError::Damaged { path: path.display().to_string(), what: format!("{doing}: {source}") }
        }
        error => error,
    }
}
