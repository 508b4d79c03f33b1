//! The write-ahead log, frame by frame (<https://www.sqlite.org/fileformat2.html#walformat>).
//!
//! A frame's checksum is over all before it, so that SQLite stops at the first that is broken, and the next open writes
//! over what is behind it. It goes on from the checksum that is *stored* in the frame before: behind a broken one, a frame
//! whose checksum goes on from there is as it was written, though what is between is not. The salts in each tell it from
//! what an earlier log left in the file.

use super::pages::word;
use crate::vfs::PAGE_SIZE;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + PAGE_SIZE;

/// What a frame proves to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Whole, as is everything before it: SQLite reads it.
    Valid,
    /// Behind a broken one, and itself as it was written.
    Proven,
    /// Of this log, by its salts, and no more: it is broken, or what is before it is.
    Doubtful,
    /// Of another log, or of none.
    Foreign,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// The page it is a version of.
    pub(super) page: u32,
    /// Of a frame that ends a transaction: how many pages the file has then. 0 of any other.
    pub(super) size: u32,
    pub(super) state: State,
}

/// A write-ahead log.
pub(super) struct Wal {
    file: File,
    pub(super) frames: Vec<Frame>,
    /// Its header is broken: SQLite takes nothing of it.
    pub(super) header_is_broken: bool,
    /// How many frames from the first are valid.
    pub(super) valid: usize,
    /// How many frames from the first end with the last transaction that SQLite reads.
    pub(super) committed: usize,
    /// Up to here go transactions that were committed, by the last proven frame that ends one. Not above `committed` when
    /// nothing is lost.
    pub(super) once_committed: usize,
}

impl Wal {
    /// Reads the log beside a file; `None` when there is none, or an empty one.
    pub(super) fn read(path: &Path) -> std::io::Result<Option<Wal>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut header = [0; HEADER];
        match file.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut reading = Reading::new(&header);
        let mut frames = Vec::new();
        let length = file.metadata()?.len();
        let count = (length.saturating_sub(HEADER as u64) / FRAME as u64).min(u32::MAX.into()) as usize;
        let mut bytes = vec![0; FRAME];
        for number in 0..count {
            // What the disk does not give is like any other frame that is broken.
            if read_at(&file, number, &mut bytes).is_err() {
                bytes.fill(0);
            }
            reading.frame(&bytes, &mut frames);
        }
        let valid = frames.iter().take_while(|frame| frame.state == State::Valid).count();
        let end = |frames: &[Frame], state| {
            frames.iter().rposition(|frame| frame.size != 0 && frame.state == state).map_or(0, |at| at + 1)
        };
        let committed = end(&frames[..valid], State::Valid);
        let once_committed = end(&frames, State::Proven).max(committed);
        Ok(Some(Wal {
            file,
            header_is_broken: !reading.header_is_whole,
            frames,
            valid,
            committed,
            once_committed,
        }))
    }

    /// The page in a frame.
    pub(super) fn page(&self, frame: usize) -> std::io::Result<Box<[u8; PAGE_SIZE]>> {
        let mut bytes = vec![0; FRAME];
        read_at(&self.file, frame, &mut bytes)?;
        let mut page = Box::new([0; PAGE_SIZE]);
        page.copy_from_slice(&bytes[FRAME_HEADER..]);
        Ok(page)
    }

    /// The latest frame of each page among those that SQLite reads, and how many pages the file has by them.
    pub(super) fn committed_pages(&self) -> (HashMap<u32, usize>, Option<u32>) {
        let frames = &self.frames[..self.committed];
        let pages = frames.iter().enumerate().map(|(number, frame)| (frame.page, number)).collect();
        (pages, frames.last().map(|frame| frame.size))
    }

    /// Frames that hold what SQLite does not read and was committed once, of each page the latest first. A version that is
    /// proven makes older ones superfluous.
    pub(super) fn lost_frames(&self) -> Vec<usize> {
        let mut superseded = HashMap::new();
        let behind = (self.committed..self.once_committed).rev();
        behind
            .filter(|&number| {
                let Frame { page, state, .. } = self.frames[number];
                let known = *superseded.get(&page).unwrap_or(&false);
                if matches!(state, State::Valid | State::Proven) {
                    superseded.insert(page, true);
                }
                !known && state != State::Foreign
            })
            .collect()
    }
}

fn read_at(mut file: &File, frame: usize, bytes: &mut [u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start((HEADER + frame * FRAME) as u64))?;
    file.read_exact(bytes)
}

/// The two sums of a checksum.
type Sum = (u32, u32);

fn sum_at(bytes: &[u8], at: usize) -> Sum {
    (word(bytes, at), word(bytes, at + 4))
}

/// Where the walk through the frames stands.
struct Reading {
    big_endian: bool,
    header_is_whole: bool,
    salts: Sum,
    /// What the next frame's checksum may go on from: what is stored before it, and what was reckoned there.
    stored: Sum,
    reckoned: Option<Sum>,
    /// Nothing was broken yet.
    unbroken: bool,
}

impl Reading {
    fn new(header: &[u8; HEADER]) -> Self {
        let magic = word(header, 0);
        let mut reading = Reading {
            big_endian: magic & 1 == 1,
            header_is_whole: false,
            salts: sum_at(header, 16),
            stored: sum_at(header, 24),
            reckoned: None,
            unbroken: true,
        };
        let sum = reading.sum((0, 0), &header[..24]);
        reading.header_is_whole =
            magic & !1 == 0x377f_0682 && word(header, 8) == PAGE_SIZE as u32 && sum == reading.stored;
        reading.reckoned = Some(sum);
        reading.unbroken = reading.header_is_whole;
        reading
    }

    fn frame(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) {
        let (page, size, stored) = (word(bytes, 0), word(bytes, 4), sum_at(bytes, 16));
        let salts = sum_at(bytes, 8);
        if frames.is_empty() && !self.header_is_whole {
            // The salts of a broken header may be what is broken in it.
            self.salts = salts;
        }
        let goes_on_from = |from: Sum| {
            let sum = self.sum(self.sum(from, &bytes[..8]), &bytes[FRAME_HEADER..]);
            (sum == stored, sum)
        };
        let (from_stored, sum) = goes_on_from(self.stored);
        // Of the frame before only the checksum was broken, when this one goes on from what it should have been.
        let from_reckoned = !from_stored
            && self.reckoned.is_some_and(|reckoned| reckoned != self.stored && goes_on_from(reckoned).0);
        // What an earlier log left goes on from what that left, and not from what is ours.
        let is_behind_ours =
            frames.last().is_some_and(|before| matches!(before.state, State::Valid | State::Proven));
        let has_salts = salts == self.salts && page != 0;
        let is_ours = has_salts || page != 0 && is_behind_ours && from_stored;
        let state = match is_ours && (from_stored || from_reckoned) {
            true if self.unbroken && has_salts => State::Valid,
            true => State::Proven,
            false if is_ours => State::Doubtful,
            false => State::Foreign,
        };
        if from_reckoned
            && is_ours
            && let Some(before) = frames.last_mut()
        {
            before.state = State::Proven;
        }
        self.unbroken &= state == State::Valid;
        // Only from what is proven can be told what the next should go on from.
        self.reckoned = match frames.last() {
            Some(before) if matches!(before.state, State::Valid | State::Proven) => Some(sum),
            None => self.header_is_whole.then_some(sum),
            _ => None,
        };
        self.stored = stored;
        frames.push(Frame { page, size, state });
    }

    fn sum(&self, from: Sum, bytes: &[u8]) -> Sum {
        let (mut a, mut b) = from;
        for eight in bytes.as_chunks::<8>().0 {
            let [w, x, y, z, rest @ ..] = *eight;
            let (first, second) = ([w, x, y, z], rest);
            let word = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            a = a.wrapping_add(word(first)).wrapping_add(b);
            b = b.wrapping_add(word(second)).wrapping_add(a);
        }
        (a, b)
    }
}
