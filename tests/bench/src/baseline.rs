//! What is measured against: rusqlite writing the same rows, as plainly as it goes. The log row in the commit, the
//! indexes behind in sorted slices; same pragmas, page size and reserved bytes, prepared statements, same bodies.

use rusqlite::{Connection, FileControl, params};
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Baseline {
    connection: Connection,
    position: i64,
    tail: Vec<(i64, i64, i64)>,
    pass: Vec<(u8, i64, i64, i64)>,
    random: fastrand::Rng,
    accounts: i64,
}

const BODY: usize = 132;
const CLIENT_ID: usize = 66;

impl Baseline {
    pub fn open(path: &Path, accounts: usize) -> rusqlite::Result<Baseline> {
        let connection = Connection::open(path)?;
        connection.file_control(None::<&str>, FileControl::ReserveBytes(&mut 8))?;
        connection.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
             CREATE TABLE log (position INTEGER PRIMARY KEY, sender INTEGER NOT NULL, recipient INTEGER NOT NULL,
                 sides INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
             CREATE TABLE by_account (account INTEGER, position INTEGER, peer INTEGER, side INTEGER, size INTEGER,
                 time INTEGER, PRIMARY KEY (account, position)) STRICT, WITHOUT ROWID;
             CREATE TABLE by_peer (account INTEGER, peer INTEGER, position INTEGER, time INTEGER,
                 PRIMARY KEY (account, peer, position)) STRICT, WITHOUT ROWID;
             CREATE TABLE client_id (account INTEGER, hash INTEGER, position INTEGER, value BLOB,
                 PRIMARY KEY (account, hash, position)) STRICT, WITHOUT ROWID;",
        )?;
        connection.set_prepared_statement_cache_capacity(64);
        let (tail, pass, random) = (Vec::new(), Vec::new(), fastrand::Rng::with_seed(1));
        Ok(Baseline { connection, position: 0, tail, pass, random, accounts: accounts as i64 })
    }

    /// One transaction of `count` messages, synced; then a slice of the indexes when one is due.
    pub fn send(&mut self, count: usize) -> rusqlite::Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        {
            let mut insert = self.connection.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, 15, ?4)")?;
            for _ in 0..count {
                self.position += 1;
                let row = (
                    self.position,
                    self.random.i64(0..self.accounts) * 64,
                    self.random.i64(0..self.accounts) * 64,
                );
                insert.execute(params![row.0, row.1, row.2, [7u8; BODY]])?;
                self.tail.push(row);
            }
        }
        self.run("COMMIT")?;
        if self.tail.len() >= 32_768 && self.pass.is_empty() {
            for (position, sender, recipient) in self.tail.drain(..) {
                for (account, peer) in [(sender, recipient), (recipient, sender)] {
                    self.pass.extend([(1, account, peer, position), (2, account, peer, position)]);
                }
                self.pass.push((3, sender, position.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64), position));
            }
            self.pass.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.slice()
    }

    fn slice(&mut self) -> rusqlite::Result<()> {
        if self.pass.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        self.connection.execute_batch("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE")?;
        while let Some((table, account, peer, position)) = self.pass.pop() {
            let insert = |sql| self.connection.prepare_cached(sql);
            match table {
                1 => insert("INSERT OR REPLACE INTO by_account VALUES (?1, ?3, ?2, 1, 64, ?3)")?,
                2 => insert("INSERT OR REPLACE INTO by_peer VALUES (?1, ?2, ?3, ?3)")?,
                _ => {
                    let sql = "INSERT OR REPLACE INTO client_id VALUES (?1, ?2, ?3, ?4)";
                    insert(sql)?.execute(params![account, peer, position, [7u8; CLIENT_ID]])?;
                    continue;
                }
            }
            .execute([account, peer, position])?;
            if self.pass.len().is_multiple_of(32) && begun.elapsed() > Duration::from_millis(1) {
                break;
            }
        }
        self.connection.execute_batch("COMMIT; PRAGMA synchronous = FULL")
    }

    fn run(&self, sql: &str) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute([])
    }
}
