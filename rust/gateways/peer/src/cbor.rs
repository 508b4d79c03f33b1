//! What this format asks of CBOR (RFC 8949) beyond what the codec does.

use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder, Error};
use minicbor::encode::{Encode, Encoder, Error as EncodeError, Write};

/// How deep a payload may be. What is in use now is 4 deep; a later version has room.
const MAX_DEPTH: usize = 8;

/// Reads a payload: one value, its lengths given at the front, not too deep, nothing behind it.
pub(crate) fn from_bytes<'b, T: Decode<'b, ()>>(payload: &'b [u8]) -> Result<T, Error> {
    let mut decoder = Decoder::new(payload);
    walk(&mut decoder, MAX_DEPTH)?;
    if decoder.position() != payload.len() {
        return Err(Error::message("something behind the value"));
    }
    minicbor::decode(payload)
}

/// Passes one value, known or not. Each step consumes a byte at least, so a count that lies ends at the end of the input.
fn walk(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), Error> {
    let inside = || depth.checked_sub(1).ok_or_else(|| Error::message("too deep"));
    let values = match decoder.datatype()? {
        Type::Array => decoder.array()?,
        Type::Map => decoder.map()?.map(|pairs| pairs.saturating_mul(2)),
        Type::Tag => decoder.tag().map(|_| Some(1))?,
        Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef | Type::Break => None,
        _ => return decoder.skip(),
    };
    let values = values.ok_or_else(|| Error::message("an indefinite length"))?;
    let depth = inside()?;
    (0..values).try_for_each(|_| walk(decoder, depth))
}

/// A list of at most `MOST`, so that a few bytes cannot ask for much memory.
pub(crate) struct List<T, const MOST: usize>(pub(crate) Vec<T>);

impl<'b, C, T: Decode<'b, C>, const MOST: usize> Decode<'b, C> for List<T, MOST> {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        match decoder.array()? {
            Some(count) if count <= MOST as u64 => {
                let values = (0..count).map(|_| T::decode(decoder, context));
                values.collect::<Result<_, _>>().map(List)
            }
            _ => Err(Error::message("too long a list")),
        }
    }
}

impl<C, T: Encode<C>, const MOST: usize> Encode<C> for List<T, MOST> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        self.0.encode(encoder, context)
    }
}

pub(crate) fn to_bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = minicbor::encode(value, &mut bytes);
    // Memory takes everything, and none of our values refuses to be written.
    debug_assert!(written.is_ok());
    bytes
}
