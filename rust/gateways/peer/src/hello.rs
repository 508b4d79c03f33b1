//! How a connection begins: who we are, and what each remembers of the other's file.

use crate::cbor::{List, from_bytes, to_bytes};
use crate::error::ProtocolError;
use crate::frame::{Frame, Kind};
use crate::values::{MAX_DOMAINS, malformed};
use crate::wire::{self, MAGIC};
use crate::{WINDOW, WINDOW_BYTES};
use rosterkit::Domain;
use std::ops::RangeInclusive;

/// What we say of ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The domains we host, for people to read: who may speak for which domain the other side knows from its host. When
    /// there are more than a frame holds, the first ones are said.
    pub domains: Vec<Domain>,
    /// Where our file stands.
    pub file: FileMark,
}

/// Where a file stands, so that it can be told whether it was replaced by an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// The file's generation: a file that is made, and one that is restored, has another.
    pub generation: u64,
    /// The position that its log gives next.
    pub log_end: u64,
}

/// What the other side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// The version that is now spoken: the highest that both know.
    pub version: u16,
    /// What it says that it hosts. Informational: it proves nothing.
    pub domains: Vec<Domain>,
    /// Where its file stands.
    pub file: FileMark,
}

/// How much the other side lets us have under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) parcels: usize,
    pub(crate) bytes: usize,
}

impl Window {
    /// What we announce.
    pub(crate) const OURS: Window = Window { parcels: WINDOW, bytes: WINDOW_BYTES };
}

pub(crate) fn write_hello(hello: &Hello, versions: &RangeInclusive<u16>) -> Frame<Vec<u8>> {
    let domains = hello.domains.iter().map(Domain::as_str).take(MAX_DOMAINS);
    let hello = wire::Hello {
        magic: MAGIC,
        min_version: *versions.start(),
        max_version: *versions.end(),
        domains: List(domains.collect()),
        file: write_mark(hello.file),
        window: WINDOW as u32,
        window_bytes: WINDOW_BYTES as u64,
    };
    Frame { kind: Kind::Hello, payload: to_bytes(&hello) }
}

pub(crate) fn read_hello(
    payload: &[u8],
    versions: &RangeInclusive<u16>,
) -> Result<(PeerHello, Window), ProtocolError> {
    let hello: wire::Hello<'_> = from_bytes(payload).map_err(|_| ProtocolError::NotAPeer)?;
    if hello.magic != MAGIC {
        return Err(ProtocolError::NotAPeer);
    }
    let (min, max) = (hello.min_version, hello.max_version);
    if min > max {
        return Err(malformed(Kind::Hello, "a range of versions that is none"));
    }
    let version = max.min(*versions.end());
    if version < min || version < *versions.start() {
        return Err(ProtocolError::NoCommonVersion { min, max });
    }
    if hello.window == 0 || hello.window_bytes == 0 {
        return Err(malformed(Kind::Hello, "a window that lets nothing out"));
    }
    let domains = hello.domains.0.iter().map(|name| Domain::new(name)).collect::<Result<_, _>>();
    let domains = domains.map_err(|_| malformed(Kind::Hello, "a domain that is none"))?;
    let window = Window {
        // More than we allow ourselves is no use to us, and would cost us memory.
        parcels: WINDOW.min(hello.window as usize),
        bytes: usize::try_from(hello.window_bytes).unwrap_or(usize::MAX).min(WINDOW_BYTES),
    };
    Ok((PeerHello { version, domains, file: read_mark(hello.file) }, window))
}

pub(crate) fn write_seen(file: Option<FileMark>) -> Frame<Vec<u8>> {
    Frame { kind: Kind::Seen, payload: to_bytes(&wire::Seen { file: file.map(write_mark) }) }
}

pub(crate) fn read_seen(payload: &[u8]) -> Result<Option<FileMark>, ProtocolError> {
    let seen: wire::Seen =
        from_bytes(payload).map_err(|_| malformed(Kind::Seen, "fields that are not its own"))?;
    Ok(seen.file.map(read_mark))
}

fn write_mark(mark: FileMark) -> wire::FileMark {
    wire::FileMark { generation: mark.generation, log_end: mark.log_end }
}

fn read_mark(mark: wire::FileMark) -> FileMark {
    FileMark { generation: mark.generation, log_end: mark.log_end }
}
