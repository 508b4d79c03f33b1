//! What is written before SQLite opens a file: the log as it is, and seals that are missing.

use super::checksum::{PAGE_SIZE, Seal, inspect, seal};
use super::{Call, Disk, Failure, FileKind};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are read at once: whole pages.
const CHUNK: usize = 1 << 20;

impl Disk {
    /// Writes a file again as it is, and syncs it.
    ///
    /// What is read may be in the page cache alone, for ever: after a sync that failed the system keeps the pages and
    /// forgets that they are to be written, so that the next sync succeeds without them. Written again they are on disk
    /// once this returns. A file that is not there is all right.
    pub(crate) fn write_again(&self, kind: FileKind, path: &Path) -> io::Result<()> {
        let Some(mut file) = Open::at(self, kind, path)? else { return Ok(()) };
        let (mut chunk, mut offset) = (vec![0; CHUNK], 0);
        loop {
            let length = file.read(offset, &mut chunk)?;
            if length == 0 {
                break;
            }
            file.write(offset, &chunk[..length])?;
            offset += length as u64;
        }
        if offset > 0 { file.sync() } else { Ok(()) }
    }

    /// The pages of a main file that have no seal, counted from 1. There are none in a file that is not there, nor where pages
    /// are not sealed at all.
    pub(crate) fn unsealed(&self, path: &Path) -> io::Result<Vec<u32>> {
        let mut unsealed = Vec::new();
        let file = if self.0.seals() { Open::at(self, FileKind::Main, path)? } else { None };
        let Some(mut file) = file else { return Ok(unsealed) };
        let (mut chunk, mut number) = (vec![0; CHUNK], 1);
        loop {
            let length = file.read(u64::from(number - 1) * PAGE_SIZE as u64, &mut chunk)?;
            let (pages, _) = chunk[..length].as_chunks();
            if pages.is_empty() {
                return Ok(unsealed);
            }
            for page in pages {
                if inspect(number, page) == Seal::Bare {
                    unsealed.push(number);
                }
                number += 1;
            }
        }
    }

    /// Seals these pages of a main file as they stand, and syncs it. Only their last bytes change, so that no power cut
    /// leaves one in pieces.
    pub(crate) fn seal(&self, path: &Path, pages: &[u32]) -> io::Result<()> {
        let Some(mut file) = Open::at(self, FileKind::Main, path)? else { return Ok(()) };
        let mut page = [0; PAGE_SIZE];
        for &number in pages {
            let offset = u64::from(number - 1) * PAGE_SIZE as u64;
            if file.read(offset, &mut page)? == PAGE_SIZE {
                seal(number, &mut page);
                file.write(offset, &page)?;
            }
        }
        file.sync()
    }
}

/// A file that is open, and the layer that its calls pass through.
struct Open<'d> {
    disk: &'d Disk,
    kind: FileKind,
    name: String,
    file: File,
}

impl<'d> Open<'d> {
    /// `None` when there is no such file.
    fn at(disk: &'d Disk, kind: FileKind, path: &Path) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Open { disk, kind, name: path.to_string_lossy().into_owned(), file }))
    }

    fn ask(&self, call: Call<'_>) -> io::Result<()> {
        match self.disk.layer().call(self.kind, &self.name, call) {
            Ok(()) => Ok(()),
            Err(Failure::Full) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Err(Failure::Io) => Err(io::Error::other("the disk failed")),
        }
    }

    /// Reads as much as there is. Says how much.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.ask(Call::Read { offset, length: into.len() })?;
        self.file.seek(SeekFrom::Start(offset))?;
        let mut length = 0;
        while length < into.len() {
            match self.file.read(&mut into[length..])? {
                0 => break,
                more => length += more,
            }
        }
        Ok(length)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ask(Call::Write { offset, bytes })?;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.ask(Call::Sync).and_then(|()| match self.disk.layer().syncs() {
            true => self.file.sync_all(),
            false => Ok(()),
        });
        self.disk.layer().synced(self.kind, &self.name, synced.is_ok());
        synced
    }
}
