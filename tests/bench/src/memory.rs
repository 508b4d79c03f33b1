//! `engine`: what an account costs in memory.

use crate::heap;
use crate::load::{Load, address};
use crate::measure::Row;
use crate::population::Population;
use rosterkit::{Consumer, Durability, Session, SessionOptions, SetPresence, State};
use std::path::Path;
use std::time::Duration;

const ACCOUNTS: usize = 10_000;
/// What is wanted.
const BYTES: f64 = 1_024.0;

/// Bytes of heap that an account costs: with 18 buddies, all there, and one anonymous session that reads messages and
/// has read what there is. Then the same when each has sent a message and read one: its ring of client ids is in memory
/// by then, and the rows themselves are in the tail of the log, which has an end.
pub fn bytes_per_account(directory: &Path) -> Vec<Row> {
    let path = directory.join("memory.db");
    let population = Population { accounts: ACCOUNTS, active: ACCOUNTS };
    population.make(&path);
    let mut load = Load::among(&path, population.addresses(), 2 * ACCOUNTS, Durability::Full);
    let mut sessions: Vec<Session> = Vec::with_capacity(ACCOUNTS);
    heap::begin();
    for user in 0..ACCOUNTS {
        let options =
            SessionOptions { reads_messages: true, consumer: Consumer::Engine, ..SessionOptions::default() };
        let session = load.engine.open_session(&address(user), options).expect("a session");
        session.set_presence(SetPresence::state(State::Online)).expect("online");
        sessions.push(session);
        if sessions.len().is_multiple_of(256) {
            read_all(&load, Duration::ZERO);
        }
    }
    let settled = Duration::from_millis(500);
    read_all(&load, settled);
    let there = heap::grown() as f64 / ACCOUNTS as f64;
    load.everybody_sends();
    read_all(&load, settled);
    let used = heap::grown() as f64 / ACCOUNTS as f64;
    heap::end();
    load.engine.shutdown(true).expect("down");
    vec![
        Row::cost("bytes_per_account", there, "bytes", BYTES),
        Row::plain("bytes_per_account_after_messages", used, "bytes"),
    ]
}

/// Reads and acknowledges until nothing has come for so long.
fn read_all(load: &Load, quiet: Duration) {
    loop {
        let batches = load.engine.next_batches(256, 1 << 20, quiet).expect("batches");
        if batches.is_empty() {
            return;
        }
        for batch in batches {
            if let Some(last) = batch.events.last() {
                load.engine.ack(batch.session, last.seq);
            }
        }
    }
}
