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
use std::ops::Range;
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

impl Frame {
    /// Whether it ends a transaction of this log.
    fn ends(&self) -> bool {
        self.size != 0 && self.state != State::Foreign
    }
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
    /// Up to here go the frames that SQLite does not read and that may have been committed: up to the last that ends a
    /// transaction of this log. `committed` when there is none.
    pub(super) once_committed: usize,
    /// Frames that hold what SQLite does not read, of each page the latest first. A version that is proven makes older ones
    /// superfluous.
    pub(super) lost: Vec<usize>,
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
        let length = file.metadata()?.len();
        let count = (length.saturating_sub(HEADER as u64) / FRAME as u64).min(u32::MAX.into()) as usize;
        let mut reading = Reading::new(&header);
        if !reading.header_is_whole {
            reading.look_for_salts(&header, &file, count);
        }
        let mut frames = Vec::new();
        let mut bytes = vec![0; FRAME];
        for number in 0..count {
            read_or_zero(&file, number, &mut bytes);
            reading.frame(&bytes, &mut frames);
        }
        let valid = frames.iter().take_while(|frame| frame.state == State::Valid).count();
        let end = |frames: &[Frame]| frames.iter().rposition(Frame::ends).map_or(0, |at| at + 1);
        let committed = end(&frames[..valid]);
        let once_committed = committed + end(&frames[committed..]);
        let lost = lost(&frames, committed..once_committed);
        Ok(Some(Wal {
            file,
            header_is_broken: !reading.header_is_whole,
            frames,
            valid,
            committed,
            once_committed,
            lost,
        }))
    }

    /// Its header is broken, and there is something behind it. No power cut leaves that: a header is synced before any frame is
    /// written.
    pub(super) fn is_without_header(&self) -> bool {
        self.header_is_broken && !self.frames.is_empty()
    }

    /// The frames that SQLite does not read and that may have been committed, by transaction.
    pub(super) fn transactions_behind(&self) -> impl Iterator<Item = Range<usize>> {
        let mut from = self.committed;
        let ends = (self.committed..self.once_committed).filter(|&at| self.frames[at].ends());
        ends.map(move |end| std::mem::replace(&mut from, end + 1)..end + 1)
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
}

/// The frames among these that say something, of each page the latest first.
fn lost(frames: &[Frame], among: Range<usize>) -> Vec<usize> {
    let mut superseded = HashMap::new();
    let mut lost = Vec::new();
    for number in among.rev() {
        let Frame { page, state, .. } = frames[number];
        let known = *superseded.get(&page).unwrap_or(&false);
        if matches!(state, State::Valid | State::Proven) {
            superseded.insert(page, true);
        }
        if !known && state != State::Foreign {
            lost.push(number);
        }
    }
    lost
}

/// What the disk does not give is like any other frame that is broken.
fn read_or_zero(file: &File, frame: usize, bytes: &mut [u8]) {
    if read_at(file, frame, bytes).is_err() {
        bytes.fill(0);
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
        let sum = sum(reading.big_endian, (0, 0), &header[..24]);
        reading.header_is_whole =
            magic & !1 == 0x377f_0682 && word(header, 8) == PAGE_SIZE as u32 && sum == reading.stored;
        reading.reckoned = Some(sum);
        reading.unbroken = reading.header_is_whole;
        reading
    }

    /// A broken header says nothing of the log's salts, nor how its numbers are summed up; and the frame behind it stands in
    /// the same block of the disk. The first frame that goes on from what is before it says both.
    fn look_for_salts(&mut self, header: &[u8; HEADER], file: &File, count: usize) {
        let mut before = self.stored;
        let mut bytes = vec![0; FRAME];
        for number in 0..count {
            read_or_zero(file, number, &mut bytes);
            if number == 0 {
                self.salts = sum_at(&bytes, 8);
            }
            for big_endian in [false, true] {
                let reckoned = sum(big_endian, (0, 0), &header[..24]);
                let goes_on = sum_of_frame(big_endian, before, &bytes) == sum_at(&bytes, 16)
                    || number == 0 && sum_of_frame(big_endian, reckoned, &bytes) == sum_at(&bytes, 16);
                // Of nothing but zeros the sum is zero.
                if goes_on && word(&bytes, 0) != 0 {
                    (self.big_endian, self.salts, self.reckoned) =
                        (big_endian, sum_at(&bytes, 8), Some(reckoned));
                    return;
                }
            }
            before = sum_at(&bytes, 16);
        }
    }

    fn frame(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) {
        let (page, size, stored) = (word(bytes, 0), word(bytes, 4), sum_at(bytes, 16));
        let salts = sum_at(bytes, 8);
        let goes_on_from = |from: Sum| {
            let sum = sum_of_frame(self.big_endian, from, bytes);
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
}

/// The checksum of a frame that goes on from this one.
fn sum_of_frame(big_endian: bool, from: Sum, frame: &[u8]) -> Sum {
    sum(big_endian, sum(big_endian, from, &frame[..8]), &frame[FRAME_HEADER..])
}

fn sum(big_endian: bool, from: Sum, bytes: &[u8]) -> Sum {
    let (mut a, mut b) = from;
    let word = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    for eight in bytes.as_chunks::<8>().0 {
        let [w, x, y, z, rest @ ..] = *eight;
        a = a.wrapping_add(word([w, x, y, z])).wrapping_add(b);
        b = b.wrapping_add(word(rest)).wrapping_add(a);
    }
    (a, b)
}
