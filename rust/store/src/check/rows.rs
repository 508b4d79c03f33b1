//! What a row of each table is, and how it is told from what is none.

use super::record::{Value, decode, varint};
use super::tree::{Gap, Row};
use crate::codec::Malformed;
use crate::sqlite::Object;
use crate::values::{
    address_of, decode_buddy, decode_client_id, decode_overrides, decode_progress, decode_record, decode_row,
    decode_signal,
};
use rosterkit_core::account::Record;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{self, Sides};
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use std::hash::{DefaultHasher, Hash, Hasher};

/// No file gets as far. What has a higher one is no position, and none is to be given above it.
pub(super) const HIGHEST_POSITION: u64 = Position::MAX.0 >> 1;

/// What is remembered of a row of the log that is whole.
#[derive(Clone, Copy)]
pub(super) struct LogRow {
    pub(super) position: u64,
    pub(super) sender: u64,
    pub(super) recipient: u64,
    pub(super) sides: Sides,
    /// Which of its entries in the indexes were found.
    pub(super) indexed: u8,
}

/// A row of the log: itself, and what the table has of it. It proves itself.
pub(super) fn log_row(row: &Row<'_>) -> Result<(LogRow, row::Row), &'static str> {
    let record = row.record.as_deref().map_err(|_| "a page of it is missing")?;
    let values = decode(record).ok_or("it is no record")?;
    let [Value::Null, Value::Integer(from), Value::Integer(to), Value::Integer(sides), Value::Blob(body), ..] =
        values[..]
    else {
        return Err("its columns are not those of the table");
    };
    let (sender, recipient) = (AddressId::from_bits(from as u64), AddressId::from_bits(to as u64));
    if !(1..=HIGHEST_POSITION as i64).contains(&row.row_id) {
        return Err("its position is none");
    }
    let position = Position(row.row_id as u64);
    let sides = Sides(u8::try_from(sides).map_err(|_| "its sides are none")?);
    let entry = decode_row(position, sender, recipient, body).map_err(|malformed| malformed.0)?;
    let of = LogRow { position: position.0, sender: from as u64, recipient: to as u64, sides, indexed: 0 };
    Ok((of, row::Row { position, sides, entry }))
}

/// The integers at the start of a record of which only the start is known.
pub(super) fn decode_start(local: &[u8]) -> Vec<Option<i64>> {
    let Some((header, behind)) = varint(local) else { return Vec::new() };
    let Some(types) = local.get(local.len() - behind.len()..header as usize) else { return Vec::new() };
    // None of a record's types is longer than one byte but the last: the body's.
    let known = types.get(..4).unwrap_or_default();
    let lengths = known.iter().map(|serial| match serial {
        1..=4 => usize::from(*serial),
        5 => 6,
        6 => 8,
        _ => 0,
    });
    let end = header as usize + lengths.sum::<usize>();
    let Some(body) = local.get(header as usize..end) else { return Vec::new() };
    let start = [&[known.len() as u8 + 1], known, body].concat();
    decode(&start).unwrap_or_default().into_iter().map(Value::integer).collect()
}

/// A row that somebody else than its two sides keeps.
pub(super) fn held(sides: Sides) -> bool {
    sides.is_quarantined() || sides.0 & Sides::FORWARDING != 0
}

/// A table whose rows follow from the log.
pub(super) fn is_derived(name: &str) -> bool {
    matches!(name, "log_by_account" | "log_by_peer")
}

pub(super) fn covers(gap: &Gap, row_id: i64) -> bool {
    !gap.is_overflow && gap.between.0 < row_id && row_id <= gap.between.1
}

/// A table or an index, and its root page, out of a row of the schema.
pub(super) fn root_of(record: &[u8]) -> Option<(&str, u32)> {
    match decode(record)?[..] {
        [
            Value::Text("table" | "index"),
            Value::Text(name),
            Value::Text(_),
            Value::Integer(root),
            Value::Text(_) | Value::Null,
        ] => Some((name, u32::try_from(root).ok()?)),
        _ => None,
    }
}

/// How a row is called: by its id, or by its first columns.
pub(super) fn key(of: &Object, row_id: i64, values: &[Value<'_>]) -> String {
    if of.has_row_ids() {
        return row_id.to_string();
    }
    let first = values.iter().take(2).map(|value| match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => (*text).to_owned(),
        _ => "?".into(),
    });
    first.collect::<Vec<_>>().join(", ")
}

pub(super) fn record_of(row_id: i64, values: &[Value<'_>]) -> Option<Record> {
    let &[_, _, Value::Text(address), Value::Blob(record), ..] = values else { return None };
    decode_record(AddressId::from_bits(row_id as u64), Address::account(address).ok()?, record).ok()
}

/// A buddy, out of its row.
pub(super) fn buddy_of(values: &[Value<'_>]) -> Option<Buddy> {
    let &[_, Value::Integer(peer), Value::Integer(version), Value::Blob(value)] = values else { return None };
    decode_buddy(AddressId::from_bits(peer as u64), Position(version as u64), value).ok()
}

/// Whether what a row holds can be read.
pub(super) fn check_value(table: &str, row_id: i64, values: &[Value<'_>]) -> Result<(), &'static str> {
    let id = AddressId::from_bits(row_id as u64);
    let malformed = |malformed: Malformed| malformed.0;
    match (table, values) {
        ("account", &[_, Value::Text(domain), Value::Text(address), Value::Blob(record), _]) => {
            let address = Address::account(address).map_err(|_| "its address is none")?;
            if address.domain() != domain {
                return Err("its address is of another domain");
            }
            decode_record(id, address, record).map(drop).map_err(malformed)
        }
        ("progress", &[_, Value::Blob(value)]) => decode_progress(value).map(drop).map_err(malformed),
        ("buddy", &[_, Value::Integer(peer), Value::Integer(version), Value::Blob(value)]) => {
            let (peer, version) = (AddressId::from_bits(peer as u64), Position(version as u64));
            decode_buddy(peer, version, value).map(drop).map_err(malformed)
        }
        ("domain", &[Value::Text(name), Value::Blob(overrides)]) => {
            Domain::new(name).map_err(|_| "its name is none")?;
            decode_overrides(overrides).map(drop).map_err(malformed)
        }
        ("rules", &[_, Value::Text(json)]) => {
            RuleSet::load(json).map(drop).map_err(|_| "its rules cannot be read")
        }
        ("pending", &[_, Value::Text(recipient), _, Value::Text(sender), Value::Blob(signal)]) => {
            address_of(recipient.as_bytes()).map_err(malformed)?;
            address_of(sender.as_bytes()).map_err(malformed)?;
            decode_signal(signal).map(drop).map_err(malformed)
        }
        ("client_id", &[_, Value::Integer(position), _, _, Value::Blob(value)]) => {
            decode_client_id(Position(position as u64), value).map(drop).map_err(malformed)
        }
        ("address", &[_, Value::Text(text), _]) => {
            Address::new(text).map(drop).map_err(|_| "it is no address")
        }
        _ => Ok(()),
    }
}

/// Whether a row on a page that nothing leads to can only be one of this table.
pub(super) fn proves(table: &str, row_id: i64, values: &[Value<'_>]) -> bool {
    let id = AddressId::from_bits(row_id as u64);
    let is_his = |text: &str| Address::new(text).is_ok_and(|address| address.slot() == id.slot());
    let is_shaped = match (table, values) {
        ("address", [_, Value::Text(text), Value::Integer(0 | 1)]) => is_his(text),
        ("account", [_, _, Value::Text(address), ..]) => is_his(address),
        ("meta", [Value::Text(key), _]) => {
            let keys = ["file_generation", "min_reader", "minor", "features", "reserved", "indexed", "sent"];
            keys.contains(key)
        }
        ("client_id", [_, _, _, Value::Integer(time), _]) | ("file", [_, _, Value::Integer(time), _]) => {
            Timestamp(*time) > Timestamp(0)
        }
        // Four numbers could be anything.
        ("quarantine" | "due" | "outbox" | "unswept" | "seen" | "mark", _) => false,
        _ => true,
    };
    is_shaped && check_value(table, row_id, values).is_ok()
}

/// The tables that have an index of their own, and which.
pub(super) const INDEXED: [(&str, &str); 6] = [
    ("address", "address_live"),
    ("account", "account_registered"),
    ("account", "account_by_domain"),
    ("due", "due_by_position"),
    ("delivery", "delivery_by_time"),
    ("file", "sqlite_autoindex_file_1"),
];

/// What a row of a table has to be in its indexes, and what an entry of an index is there: by index, and the same values.
pub(super) fn entries_of<'v>(
    name: &str,
    row_id: i64,
    values: &[Value<'v>],
) -> Vec<(&'static str, Vec<Value<'v>>)> {
    let id = Value::Integer(row_id);
    match (name, values) {
        ("address", &[_, text, Value::Integer(0), ..]) => vec![("address_live", vec![text, id])],
        ("account", &[_, domain, address, _, until, ..]) => {
            let mut entries = vec![("account_by_domain", vec![domain, address, id])];
            if until != Value::Null {
                entries.push(("account_registered", vec![until, id]));
            }
            entries
        }
        ("due", &[time, position, what, ..]) => vec![("due_by_position", vec![position, what, time])],
        ("delivery", &[origin, recipient, delivery, time, ..]) => {
            vec![("delivery_by_time", vec![time, origin, recipient, delivery])]
        }
        ("file", &[account, path, ..]) => vec![("sqlite_autoindex_file_1", vec![account, path, id])],
        _ => match INDEXED.iter().find(|(_, index)| *index == name) {
            Some((_, index)) => vec![(index, values.to_vec())],
            None => Vec::new(),
        },
    }
}

/// What entries come to, in whichever order they are met.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    sum: u64,
}

impl Sum {
    pub(super) fn add(&mut self, entry: &[Value<'_>]) {
        let mut hasher = DefaultHasher::new();
        for value in entry {
            match *value {
                Value::Integer(number) => number.hash(&mut hasher),
                Value::Text(text) => text.hash(&mut hasher),
                Value::Blob(bytes) => bytes.hash(&mut hasher),
                Value::Null | Value::Real(_) => {}
            }
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}
