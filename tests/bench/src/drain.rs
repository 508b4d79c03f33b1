//! Who was away comes back.

use crate::load::{BODY, Load, actor, address};
use crate::measure::{Row, median};
use rosterkit::{Command, Content, Durability, EventBody, Send, SessionOptions};
use std::path::Path;
use std::time::{Duration, Instant};

const WAITING: usize = 20_000;
const ROUNDS: usize = 5;
/// So many more get messages, so that the indexes have reached those of the first.
const MORE: usize = 4;

/// A session that reads and acknowledges all that waits for its account, against the query that reads the same rows.
pub fn offline_drain(directory: &Path) -> Vec<Row> {
    let path = directory.join("drain.db");
    let load = Load::open(&path, ROUNDS + MORE + 1, 100, Durability::Full);
    load.make_accounts();
    let raw = rusqlite::Connection::open(&path).expect("a connection");
    let by_hand = "SELECT l.position, l.sender, l.recipient, l.sides, l.body FROM log_by_account a
         JOIN log l ON l.position = a.position
         WHERE a.account = (SELECT id FROM account WHERE address = ?1) ORDER BY a.position";
    let (mut ours, mut theirs) = (vec![], vec![]);
    for user in 1..=ROUNDS + MORE {
        load.run((0..WAITING).map(|_| {
            let (recipient, content) = (address(user), Content::text(BODY));
            (actor(0), Command::Send(Send { recipient, content, client_id: None, expires: None }))
        }));
    }
    for user in 1..=ROUNDS {
        let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let begun = Instant::now();
        let session = load.engine.open_session(&address(user), options).expect("a session");
        let mut read = 0;
        while read < WAITING {
            let events = session.next_events(1_024, Duration::from_secs(10)).expect("events");
            let last = events.last().expect("what waits comes").seq;
            read += events.iter().filter(|event| matches!(event.body, EventBody::Message(_))).count();
            session.ack(last);
        }
        ours.push(WAITING as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let mut select = raw.prepare(by_hand).expect("a statement");
        let number = |row: &rusqlite::Row, column| row.get::<_, i64>(column);
        let rows = select.query_map([address(user).as_str()], |row| {
            Ok((
                [number(row, 0)?, number(row, 1)?, number(row, 2)?, number(row, 3)?],
                row.get::<_, Vec<u8>>(4)?,
            ))
        });
        let rows = rows.expect("rows").map(|row| row.expect("a row"));
        let rows = rows.filter(|(_, body)| body.len() > BODY.len()).count();
        theirs.push(rows as f64 / begun.elapsed().as_secs_f64());
        assert_eq!(rows, WAITING, "the same rows");
    }
    load.engine.shutdown(true).expect("down");
    vec![Row::rate("offline_drain", median(ours), "messages/s", median(theirs))]
}
