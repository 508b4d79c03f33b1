//! Frames: how the pipe is cut, so that what is lost, doubled, moved or changed on the way is noticed.
//!
//! `length u32 · sequence u64 · type u8 · payload · CRC-32 u32`, numbers with their highest byte first. The length is that of
//! the payload, the CRC covers everything before it.

use crate::MAX_PAYLOAD_BYTES;
use crate::error::ProtocolError;
use std::collections::VecDeque;

const HEADER: usize = 4 + 8 + 1;
const CRC: usize = 4;

/// Types from here on may be skipped by who does not know them.
const SKIPPABLE: u8 = 128;

/// What a frame is. The numbers are the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hello = 1,
    Seen = 2,
    Goodbye = 3,
    Messages = 4,
    Roster = 5,
    Settle = 6,
    Presence = 7,
    Probe = 8,
    Typing = 9,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Hello,
        Kind::Seen,
        Kind::Goodbye,
        Kind::Messages,
        Kind::Roster,
        Kind::Settle,
        Kind::Presence,
        Kind::Probe,
        Kind::Typing,
    ];

    /// `None` when it is to be skipped.
    fn known(number: u8) -> Result<Option<Kind>, ProtocolError> {
        match Kind::ALL.into_iter().find(|kind| *kind as u8 == number) {
            Some(kind) => Ok(Some(kind)),
            None if number >= SKIPPABLE => Ok(None),
            None => Err(ProtocolError::UnknownFrame { kind: number }),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Hello => "Hello",
            Kind::Seen => "Seen",
            Kind::Goodbye => "Goodbye",
            Kind::Messages => "Messages",
            Kind::Roster => "Roster",
            Kind::Settle => "Settle",
            Kind::Presence => "Presence",
            Kind::Probe => "Probe",
            Kind::Typing => "Typing",
        }
    }
}

/// What a frame holds, without its numbers.
#[derive(Debug)]
pub(crate) struct Frame<B> {
    pub(crate) kind: Kind,
    pub(crate) payload: B,
}

/// Numbers the frames that leave.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    last: u64,
}

impl FrameWriter {
    pub(crate) fn write(&mut self, frame: &Frame<Vec<u8>>, out: &mut VecDeque<u8>) {
        self.last += 1;
        let mut header = [0; HEADER];
        // Nothing longer than the limit, which a u32 holds, is ever queued.
        header[..4].copy_from_slice(&(frame.payload.len() as u32).to_be_bytes());
        header[4..12].copy_from_slice(&self.last.to_be_bytes());
        header[12] = frame.kind as u8;
        let crc = crc_of(&header, &frame.payload);
        out.extend(&header);
        out.extend(&frame.payload);
        out.extend(&crc.to_be_bytes());
    }
}

/// Finds the frames in what arrives. Holds at most one that is not complete, and what was pushed last.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    /// What is before it has been read.
    at: usize,
    last: u64,
}

impl FrameReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that is complete, new and known.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<&[u8]>>, ProtocolError> {
        loop {
            let Some(Raw { size, sequence, kind }) = self.look()? else {
                return Ok(None);
            };
            let payload = self.at + HEADER..self.at + size - CRC;
            self.at += size;
            // The pipe said something twice: it is known already.
            if sequence <= self.last {
                continue;
            }
            if sequence != self.last + 1 {
                return Err(ProtocolError::Gap { found: sequence, expected: self.last + 1 });
            }
            self.last = sequence;
            if let Some(kind) = Kind::known(kind)? {
                return Ok(Some(Frame { kind, payload: &self.buffer[payload] }));
            }
        }
    }

    /// Checks the length as soon as it is there, and the rest when all of it is.
    fn look(&self) -> Result<Option<Raw>, ProtocolError> {
        let rest = &self.buffer[self.at..];
        let Some((length, _)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        if length as usize > MAX_PAYLOAD_BYTES {
            return Err(ProtocolError::FrameTooLong { length });
        }
        let size = HEADER + length as usize + CRC;
        let (Some(frame), Some((header, _))) = (rest.get(..size), rest.split_first_chunk::<HEADER>()) else {
            return Ok(None);
        };
        let crc = crc_of(header, &frame[HEADER..size - CRC]);
        if frame[size - CRC..] != crc.to_be_bytes() {
            return Err(ProtocolError::Damaged);
        }
        let [_, _, _, _, sequence @ .., kind] = *header;
        Ok(Some(Raw { size, sequence: u64::from_be_bytes(sequence), kind }))
    }
}

struct Raw {
    size: usize,
    sequence: u64,
    kind: u8,
}

fn crc_of(header: &[u8; HEADER], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}
