//! The file as a set of pages, as a reader would see it: the main file's, and over them those that the write-ahead log has.
//!
//! Nothing goes through SQLite, which writes to a file even to read it: it recovers the log, makes the side file of shared
//! memory, and stops at what is broken.

use super::wal::Wal;
use crate::vfs::{PAGE_SIZE, Seal, inspect};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

pub(super) type Bytes = Box<[u8; PAGE_SIZE]>;

/// The page that holds the byte at 1 GiB, where SQLite puts its locks: it holds nothing else.
const LOCK_PAGE: u32 = (0x4000_0000 / PAGE_SIZE as u32) + 1;

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is not what was written there: its checksum is another.
    Checksum,
    /// Nothing was ever written there, although the file counts on it.
    NeverWritten,
    /// The file ends before it.
    CutOff,
    /// The disk does not give it.
    Unreadable,
    /// Its checksum is right, and it is no page of a table where one should be: an old version of it, or an error in what
    /// wrote it.
    Malformed,
    /// Two places of the file claim it.
    ClaimedTwice,
}

/// A page as it is found. Bytes that are not proven may still prove themselves in part.
pub(super) struct Page {
    pub(super) bytes: Bytes,
    pub(super) fault: Option<Fault>,
}

/// Every page.
pub(super) struct Pages {
    main: File,
    /// Pages without a seal, where these count: with no log, they are those that another SQLite moved from there.
    bare: Option<RefCell<HashSet<u32>>>,
    /// How many whole pages the main file is long.
    in_main: u32,
    pub(super) wal: Option<Wal>,
    /// The frame with the latest version of a page.
    in_wal: HashMap<u32, usize>,
    /// How many pages a reader takes the file to have.
    pub(super) count: u32,
}

impl Pages {
    /// `None` for the log is none, or an empty one; when there is no such file, it `is_gone`.
    pub(super) fn new(main: File, wal: Option<Wal>, is_gone: bool) -> std::io::Result<Self> {
        let in_main = (main.metadata()?.len() / PAGE_SIZE as u64).min(u32::MAX.into()) as u32;
        let (in_wal, size) = wal.as_ref().map(Wal::committed_pages).unwrap_or_default();
        let mut pages =
            Pages { main, bare: is_gone.then(RefCell::default), in_main, wal, in_wal, count: in_main };
        pages.count = match size {
            Some(size) => size,
            // A first page that is broken says nothing of how many there are.
            None => match pages.read(1) {
                Page { bytes, fault: None } if bytes[28..32] != [0; 4] => word(&bytes[..], 28),
                _ => in_main,
            },
        };
        Ok(pages)
    }

    /// The highest page there is, in whichever file: what is behind the end that a reader sees may be of use still.
    pub(super) fn highest(&self) -> u32 {
        self.in_wal.keys().copied().max().unwrap_or(0).max(self.in_main)
    }

    /// Whether a reader takes this page from the write-ahead log.
    pub(super) fn is_in_wal(&self, number: u32) -> bool {
        self.in_wal.contains_key(&number)
    }

    /// Whether it is a page of ours: it has our checksum, and that is right.
    pub(super) fn is_sealed(&self, number: u32) -> bool {
        !self.is_in_wal(number) && self.read(number).fault.is_none()
    }

    /// How many of those that were read have no seal, and count all the same.
    pub(super) fn bare(&self) -> u64 {
        self.bare.as_ref().map_or(0, |bare| bare.borrow().len() as u64)
    }

    /// Whether SQLite never uses it.
    pub(super) fn is_lock_page(number: u32) -> bool {
        number == LOCK_PAGE
    }

    /// A page, counted from 1.
    pub(super) fn read(&self, number: u32) -> Page {
        if let Some((&frame, wal)) = self.in_wal.get(&number).zip(self.wal.as_ref()) {
            return match wal.page(frame) {
                Ok(bytes) => Page { bytes, fault: None },
                Err(_) => Page { bytes: Box::new([0; PAGE_SIZE]), fault: Some(Fault::Unreadable) },
            };
        }
        let mut bytes = Box::new([0; PAGE_SIZE]);
        if number == 0 || number > self.in_main {
            return Page { bytes, fault: Some(Fault::CutOff) };
        }
        let read = (&self.main)
            .seek(SeekFrom::Start(u64::from(number - 1) * PAGE_SIZE as u64))
            .and_then(|_| (&self.main).read_exact(&mut bytes[..]));
        let fault = match (read.map(|()| inspect(number, &bytes)), &self.bare) {
            (Ok(Seal::Whole), _) => None,
            (Ok(Seal::Bare), Some(bare)) => {
                bare.borrow_mut().insert(number);
                None
            }
            (Ok(Seal::Unwritten), _) => Some(Fault::NeverWritten),
            (Ok(Seal::Bare | Seal::Broken), _) => Some(Fault::Checksum),
            (Err(_), _) => Some(Fault::Unreadable),
        };
        Page { bytes, fault }
    }
}

/// A number of four bytes.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}
