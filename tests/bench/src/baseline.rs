//! What is measured against: rusqlite writing the same rows, as plainly as it goes. The log row in the commit, the
//! indexes behind in sorted slices, as far behind as ours; same VFS, pragmas, page size, reserved bytes, prepared
//! statements, same bodies.

use rosterkit::store::vfs::Disk;
use rusqlite::{Connection, FileControl, OpenFlags, params};
use std::path::Path;

const BODY: [u8; 132] = [7; 132];
const TAIL_ROWS: usize = 65_536;
const HASH: i64 = 0x1e37_79b9_7f4a_7c15;

pub struct Baseline {
    connection: Connection,
    _disk: Disk,
    position: i64,
    tail: Vec<(i64, i64, i64)>,
    /// What is to be indexed: table, key, position; the next at the end.
    pass: Vec<(u8, [i64; 3], i64)>,
    random: fastrand::Rng,
    accounts: i64,
}

impl Baseline {
    pub fn open(path: &Path, accounts: usize, disk: Disk) -> rusqlite::Result<Baseline> {
        let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(path, flags, disk.vfs_name())?;
        connection.file_control(None::<&str>, FileControl::ReserveBytes(&mut 8))?;
        connection.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -8192;
             CREATE TABLE log (position INTEGER PRIMARY KEY, sender INTEGER NOT NULL, recipient INTEGER NOT NULL,
                 sides INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
             CREATE TABLE by_account (account INTEGER, position INTEGER, peer INTEGER, side INTEGER, size INTEGER,
                 time INTEGER, PRIMARY KEY (account, position)) STRICT, WITHOUT ROWID;
             CREATE TABLE by_peer (account INTEGER, peer INTEGER, position INTEGER, time INTEGER,
                 PRIMARY KEY (account, peer, position)) STRICT, WITHOUT ROWID;
             CREATE TABLE client_id (account INTEGER, position INTEGER, hash INTEGER, time INTEGER, value BLOB,
                 PRIMARY KEY (account, position)) STRICT, WITHOUT ROWID;",
        )?;
        connection.set_prepared_statement_cache_capacity(64);
        let (tail, pass, random) = (Vec::new(), Vec::new(), fastrand::Rng::with_seed(1));
        Ok(Baseline { connection, _disk: disk, position: 0, tail, pass, random, accounts: accounts as i64 })
    }

    /// One transaction of `count` messages, synced; then slices of the indexes, so that they keep up.
    pub fn send(&mut self, count: usize) -> rusqlite::Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        let mut insert = self.connection.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, 15, ?4)")?;
        for _ in 0..count {
            self.position += 1;
            let mut account = || self.random.i64(0..self.accounts) * 64;
            let row = (self.position, account(), account());
            insert.execute(params![row.0, row.1, row.2, BODY])?;
            self.tail.push(row);
        }
        drop(insert);
        self.run("COMMIT")?;
        loop {
            if self.tail.len() >= TAIL_ROWS / 4 * 3 && self.pass.is_empty() {
                for (position, sender, recipient) in self.tail.drain(..) {
                    for (account, peer) in [(sender, recipient), (recipient, sender)] {
                        self.pass.push((1, [account, position, peer], position));
                        self.pass.push((2, [account, peer, position], position));
                    }
                    self.pass.push((3, [sender, position, 0], position));
                }
                self.pass.sort_unstable_by(|a, b| b.cmp(a));
            }
            self.slice(16 * count)?;
            if self.pass.len() / 5 + self.tail.len() < TAIL_ROWS {
                return Ok(());
            }
        }
    }

    fn slice(&mut self, entries: usize) -> rusqlite::Result<()> {
        if self.pass.is_empty() {
            return Ok(());
        }
        self.connection.execute_batch("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE")?;
        let insert = |sql| self.connection.prepare_cached(sql);
        let mut by_account = insert("INSERT OR REPLACE INTO by_account VALUES (?1, ?2, ?3, 1, 64, ?4)")?;
        let mut by_peer = insert("INSERT OR REPLACE INTO by_peer VALUES (?1, ?2, ?3, ?4)")?;
        let mut client_id = insert("INSERT OR REPLACE INTO client_id VALUES (?1, ?2, ?3, ?4, NULL)")?;
        for (table, [account, second, third], position) in
            self.pass.drain(self.pass.len().saturating_sub(entries)..).rev()
        {
            match table {
                1 => by_account.execute([account, second, third, position])?,
                2 => by_peer.execute([account, second, third, position])?,
                _ => client_id.execute([account, second, position.wrapping_mul(HASH), position])?,
            };
        }
        drop((by_account, by_peer, client_id));
        self.connection.execute_batch("COMMIT; PRAGMA synchronous = FULL")
    }

    fn run(&self, sql: &str) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute([])
    }
}
