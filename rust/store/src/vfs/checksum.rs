//! The checksum of a page of the main file, in the bytes that SQLite leaves alone at its end.
//!
//! CRC-32 finds every flipped bit and every burst of up to 32; the page's number is part of it, so that a page written
//! to another's place is found too. Pages of the write-ahead log are not sealed: its frames have checksums of their own,
//! over the page as SQLite knows it. SQLite never gets to see a seal, so that none goes into the log: a page that an SQLite
//! without this layer moves from there into the main file has none, which tells it from one that is broken.

/// Bytes of a page of ours.
pub(crate) const PAGE_SIZE: usize = 4096;
/// Bytes at the end of each page that SQLite leaves alone.
pub(crate) const RESERVED_BYTES: usize = 8;

const CONTENT: usize = PAGE_SIZE - RESERVED_BYTES;
/// Says how the page is sealed, so that a later version can do it otherwise.
const MARK: [u8; 4] = *b"RKc1";

/// What a page's checksum says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// It is as it was written.
    Whole,
    /// Nothing was ever written here: SQLite skips pages of which it knows that nobody reads them.
    Unwritten,
    /// It has no seal: another SQLite wrote it, or the end of it is lost.
    Bare,
    /// It is not what was written, or was written for another place.
    Broken,
}

/// Writes the checksum into a page that goes to this place, counted from 1.
pub(crate) fn seal(number: u32, page: &mut [u8; PAGE_SIZE]) {
    let sum = checksum(number, page).to_le_bytes();
    page[CONTENT..CONTENT + 4].copy_from_slice(&sum);
    page[CONTENT + 4..].copy_from_slice(&MARK);
}

/// Takes the seal away, for SQLite.
pub(crate) fn bare(page: &mut [u8; PAGE_SIZE]) {
    page[CONTENT..].fill(0);
}

/// Looks whether a page read from this place is what was written there.
pub(crate) fn inspect(number: u32, page: &[u8; PAGE_SIZE]) -> Seal {
    let (sum, mark) = page[CONTENT..].split_at(4);
    if mark == MARK && sum == checksum(number, page).to_le_bytes() {
        return Seal::Whole;
    }
    match page[CONTENT..].iter().all(|byte| *byte == 0) {
        true if page[..CONTENT].iter().all(|byte| *byte == 0) => Seal::Unwritten,
        true => Seal::Bare,
        false => Seal::Broken,
    }
}

fn checksum(number: u32, page: &[u8; PAGE_SIZE]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_be_bytes());
    crc.update(&page[..CONTENT]);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(number: u32) -> [u8; PAGE_SIZE] {
        let mut page = std::array::from_fn(|at| (at * 31 % 251) as u8);
        seal(number, &mut page);
        page
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let whole = sealed(7);
        assert_eq!(inspect(7, &whole), Seal::Whole);
        for bit in 0..PAGE_SIZE * 8 {
            let mut page = whole;
            page[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(inspect(7, &page), Seal::Broken, "bit {bit}");
        }
    }

    #[test]
    fn a_page_is_whole_in_its_own_place_only() {
        assert_eq!(inspect(8, &sealed(7)), Seal::Broken);
    }

    #[test]
    fn a_page_that_sqlite_saw_has_no_seal() {
        let mut page = sealed(7);
        bare(&mut page);
        assert_eq!(inspect(7, &page), Seal::Bare);
    }

    #[test]
    fn what_was_never_written_is_not_broken() {
        assert_eq!(inspect(7, &[0; PAGE_SIZE]), Seal::Unwritten);
    }
}
