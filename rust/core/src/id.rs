//! Identifiers. Every one is a type of its own, so that one cannot stand where another is meant.

use std::fmt;

/// An interned address, and at the same time an incarnation of an account: ids are never used again, so an
/// account that is deleted and made anew has another id and inherits nothing.
///
/// The low six bits are the address's [slot](AddressId::slot), which decides its shard: an id and the text it
/// stands for lead to the same shard without a look-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressId(u64);

impl AddressId {
    /// How many slots there are, and so how many shards there can be.
    pub const SLOTS: u64 = 64;
    /// Ids stay below 2^56, which leaves a byte beside an id in packed forms.
    pub const MAX: AddressId = AddressId((1 << 56) - 1);

    /// The id with this serial number for an address of this slot.
    pub const fn new(serial: u64, slot: u64) -> Self {
        AddressId(serial * Self::SLOTS + slot % Self::SLOTS)
    }

    /// The serial number, which only ever rises within a file.
    pub const fn serial(self) -> u64 {
        self.0 / Self::SLOTS
    }

    /// The slot, from 0 to 63.
    pub const fn slot(self) -> u64 {
        self.0 % Self::SLOTS
    }

    /// As stored.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From what was stored.
    pub const fn from_bits(bits: u64) -> Self {
        AddressId(bits)
    }
}

/// A row's place in the file's one log. Positions only rise and are never given twice; outside the library they
/// are opaque.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

impl Position {
    /// Below every row.
    pub const ZERO: Position = Position(0);
    /// Above every row: SQLite's integers are signed.
    pub const MAX: Position = Position(i64::MAX as u64);

    /// The position after this one.
    pub const fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

/// The id of a message, given once when it is accepted (UUID version 7, RFC 9562). A redirected message keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub uuid::Uuid);

impl MessageId {
    /// An id for a message accepted at `millis` (Unix milliseconds), with `random` bits for the rest.
    pub fn new(millis: i64, random: [u8; 10]) -> Self {
        let millis = u64::try_from(millis).unwrap_or(0);
        MessageId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// From its text: a UUID of any version, as another system gave it.
    pub fn parse(text: &str) -> Result<Self, crate::refusal::Refusal> {
        let invalid = |_| crate::refusal::Refusal::InvalidArgument("the id of a message is a UUID".into());
        uuid::Uuid::try_parse(text).map(MessageId).map_err(invalid)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client calls a send, so that a repeat is recognised: unique in its account, 1 to 128 bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// The longest a client id may be, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks the length.
    pub fn new(text: &str) -> Result<Self, crate::refusal::Refusal> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(crate::refusal::Refusal::InvalidArgument(format!(
                "a client_id has 1 to {} bytes, this one has {}",
                Self::MAX_BYTES,
                text.len()
            )));
        }
        Ok(ClientId(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the ring of recent client ids is keyed by. FNV-1a, because it must be the same in every build.
    pub fn hash64(&self) -> u64 {
        fnv1a(self.0.as_bytes())
    }
}

/// The name of a durable client of an account, such as `phone`: 1 to 64 bytes, no control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DeviceName(Box<str>);

impl DeviceName {
    /// The longest a device name may be, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, crate::refusal::Refusal> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(crate::refusal::Refusal::InvalidArgument(format!(
                "a device name has 1 to {} bytes and no control characters",
                Self::MAX_BYTES
            )));
        }
        Ok(DeviceName(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A device's number in its account: given once, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceNumber(pub u32);

/// A session of a running engine. It means nothing in another run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// FNV-1a over bytes: small, and the same in every build and on every machine, which what is stored needs.
pub const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}
