//! The bytes of what is stored: fields with a tag and a length, so that a version can keep what it does not know.
//!
//! A value is a format number and then fields, `tag length bytes`, tag and length as LEB128. A field whose tag is
//! unknown is kept as it stands and written back behind the known ones.

/// Appends fields to a value.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn new(format: u8) -> Self {
        Encoder(vec![format])
    }

    pub(crate) fn bytes(&mut self, tag: u64, bytes: &[u8]) {
        varint(&mut self.0, tag);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, tag: u64, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    pub(crate) fn number(&mut self, tag: u64, number: u64) {
        varint(&mut self.0, tag);
        let at = self.0.len();
        self.0.push(0);
        varint(&mut self.0, number);
        // A varint has at most ten bytes, so the length is one byte long.
        self.0[at] = (self.0.len() - at - 1) as u8;
    }

    /// Ends the value with the fields that were not known when it was read.
    pub(crate) fn finish(mut self, unknown: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(unknown);
        self.0
    }
}

/// What is wrong with stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Walks the fields of a value.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
    unknown: Vec<u8>,
}

impl<'a> Decoder<'a> {
    /// Checks the format number.
    pub(crate) fn new(value: &'a [u8], format: u8) -> Result<Self, Malformed> {
        match value.split_first() {
            Some((first, rest)) if *first == format => Ok(Decoder { rest, unknown: Vec::new() }),
            Some(_) => Err(Malformed("a format number that this version does not know")),
            None => Err(Malformed("an empty value")),
        }
    }

    /// The next field.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &'a [u8])>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = take_varint(&mut self.rest)?;
        // Nobody writes it: these are zeros where something was.
        if tag == 0 {
            return Err(Malformed("a field without a tag"));
        }
        let length = take_varint(&mut self.rest)? as usize;
        if length > self.rest.len() {
            return Err(Malformed("a field that is longer than its value"));
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(Some((tag, bytes)))
    }

    /// Keeps a field that is not known.
    pub(crate) fn keep(&mut self, tag: u64, bytes: &[u8]) {
        varint(&mut self.unknown, tag);
        varint(&mut self.unknown, bytes.len() as u64);
        self.unknown.extend_from_slice(bytes);
    }

    /// What was kept.
    pub(crate) fn into_unknown(self) -> Vec<u8> {
        self.unknown
    }
}

pub(crate) fn number(mut bytes: &[u8]) -> Result<u64, Malformed> {
    let number = take_varint(&mut bytes)?;
    if bytes.is_empty() { Ok(number) } else { Err(Malformed("a number with something behind it")) }
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text that is not UTF-8"))
}

pub(crate) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else {
            return Err(Malformed("a number that is cut short"));
        };
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed("a number that is too long"))
}

/// A signed number as an unsigned one with small absolute values small.
pub(crate) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// And back.
pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(fields in proptest::collection::vec((0u64..1 << 40, proptest::collection::vec(any::<u8>(), 0..300)), 0..10)) {
            let mut encoder = Encoder::new(7);
            for (tag, bytes) in &fields {
                encoder.bytes(*tag, bytes);
            }
            let value = encoder.finish(&[]);
            let mut decoder = Decoder::new(&value, 7).unwrap();
            let mut found = Vec::new();
            while let Some((tag, bytes)) = decoder.next().unwrap() {
                decoder.keep(tag, bytes);
                found.push((tag, bytes.to_vec()));
            }
            prop_assert_eq!(&found, &fields);
            prop_assert_eq!(decoder.into_unknown(), &value[1..]);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut decoder) = Decoder::new(&bytes, 1) {
                while let Ok(Some((_, field))) = decoder.next() {
                    let _ = (number(field), text(field));
                }
            }
        }

        #[test]
        fn zigzag_comes_back(number: i64) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}
