//! SQLite's records: the values of a row (<https://www.sqlite.org/fileformat2.html#record_format>).

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(crate) fn integer(self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn blob(self) -> Option<&'a [u8]> {
        match self {
            Value::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// A number of up to nine bytes, the highest first; and what is behind it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for at in 0..8 {
        let byte = *bytes.get(at)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(8)?), &bytes[9..]))
}

/// More columns than a table of ours has: what has more is no record.
const MOST_COLUMNS: usize = 64;

/// The values of a record; `None` when it is none.
pub(crate) fn decode(record: &[u8]) -> Option<Vec<Value<'_>>> {
    let (header, behind) = varint(record)?;
    let header_end = usize::try_from(header).ok()?;
    let mut types = record.get(record.len() - behind.len()..header_end)?;
    let mut body = record.get(header_end..)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        let (serial, rest) = varint(types)?;
        types = rest;
        if values.len() == MOST_COLUMNS {
            return None;
        }
        let length = match serial {
            0 | 8 | 9 => 0,
            1..=4 => serial,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (serial - 12) / 2,
        };
        let (bytes, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
        body = rest;
        values.push(match serial {
            0 => Value::Null,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            1..=6 => Value::Integer(signed(bytes)),
            7 => Value::Real(f64::from_bits(signed(bytes) as u64)),
            _ if serial % 2 == 0 => Value::Blob(bytes),
            _ => Value::Text(std::str::from_utf8(bytes).ok()?),
        });
    }
    body.is_empty().then_some(values)
}

fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| number << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn numbers_come_back(number: i64) {
            let mut record = vec![2, 6];
            record.extend(number.to_be_bytes());
            prop_assert_eq!(decode(&record), Some(vec![Value::Integer(number)]));
        }
    }
}
