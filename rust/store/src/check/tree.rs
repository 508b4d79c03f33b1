//! SQLite's b-trees (<https://www.sqlite.org/fileformat2.html#b_tree_pages>), read so that broken pages are passed by.
//!
//! Every offset is looked at before it is followed, and no page is gone through twice: whatever the bytes are, a walk ends.
//! There is a crate that reads this format for forensics, `sqlite-core`: it takes the whole file into memory, and nothing
//! can tell it which pages not to believe.

use super::pages::{Bytes, Fault, Pages, word};
use super::record::{Value, decode, varint};
use crate::vfs::{PAGE_SIZE, RESERVED_BYTES};
use std::borrow::Cow;
use std::collections::HashMap;

/// Bytes of a page that SQLite uses.
const USABLE: usize = PAGE_SIZE - RESERVED_BYTES;
/// Bytes of content in an overflow page.
const IN_OVERFLOW: usize = USABLE - 4;
/// SQLite's own limit of a row.
const LONGEST_ROW: u64 = 1_000_000_000;

/// Which part a page has in a table or an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Leaf,
    Interior,
    Overflow,
    /// In the list of pages that are free.
    Free,
    /// A page of that list.
    FreeList,
    /// Nobody can say, for it is broken.
    Unknown,
}

/// What a page is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// The table's or index's place in the schema.
    pub(super) object: usize,
    pub(super) role: Role,
}

/// A page of a b-tree.
pub(super) struct Node<'a> {
    bytes: &'a [u8; PAGE_SIZE],
    start: usize,
    kind: u8,
    pub(super) cells: usize,
}

const TABLE_LEAF: u8 = 0x0d;
const TABLE_INTERIOR: u8 = 0x05;
const INDEX_LEAF: u8 = 0x0a;
const INDEX_INTERIOR: u8 = 0x02;

/// An entry of a page.
pub(super) struct Cell<'a> {
    /// In an interior page: what stands before it.
    pub(super) left: Option<u32>,
    /// In a table with row ids.
    pub(super) row_id: i64,
    /// How long the row is, and what of it stands here. Nothing in an interior page of a table with row ids.
    pub(super) length: u64,
    pub(super) local: &'a [u8],
    overflow: Option<u32>,
}

impl<'a> Node<'a> {
    pub(super) fn parse(number: u32, bytes: &'a [u8; PAGE_SIZE]) -> Option<Self> {
        let start = if number == 1 { 100 } else { 0 };
        let kind = bytes[start];
        if !matches!(kind, TABLE_LEAF | TABLE_INTERIOR | INDEX_LEAF | INDEX_INTERIOR) {
            return None;
        }
        let cells = usize::from(u16::from_be_bytes([bytes[start + 3], bytes[start + 4]]));
        let node = Node { bytes, start, kind, cells };
        (node.pointers() + 2 * cells <= USABLE).then_some(node)
    }

    /// Whether it belongs to a table with row ids.
    pub(super) fn has_row_ids(&self) -> bool {
        matches!(self.kind, TABLE_LEAF | TABLE_INTERIOR)
    }

    pub(super) fn is_leaf(&self) -> bool {
        matches!(self.kind, TABLE_LEAF | INDEX_LEAF)
    }

    /// Where the pointers to cells begin.
    fn pointers(&self) -> usize {
        self.start + if self.is_leaf() { 8 } else { 12 }
    }

    /// In an interior page: what stands behind the last cell.
    fn right(&self) -> u32 {
        word(self.bytes, self.start + 8)
    }

    pub(super) fn cell(&self, number: usize) -> Option<Cell<'a>> {
        let at = self.pointers() + 2 * number;
        let offset = usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]));
        if offset < self.pointers() + 2 * self.cells {
            return None;
        }
        let mut rest = self.bytes.get(offset..USABLE)?;
        let left = match self.is_leaf() {
            true => None,
            false => {
                let (four, behind) = rest.split_first_chunk::<4>()?;
                rest = behind;
                Some(u32::from_be_bytes(*four))
            }
        };
        let mut length = 0;
        if self.kind != TABLE_INTERIOR {
            (length, rest) = varint(rest)?;
            // A record says at least how long its header is.
            if length == 0 {
                return None;
            }
        }
        let mut row_id = 0;
        if self.has_row_ids() {
            (row_id, rest) = varint(rest)?;
        }
        let here = in_page(self.kind, length)?;
        let (local, behind) = rest.split_at_checked(here)?;
        let overflow = match here as u64 == length {
            true => None,
            false => Some(u32::from_be_bytes(*behind.first_chunk::<4>()?)),
        };
        Some(Cell { left, row_id: row_id as i64, length, local, overflow })
    }
}

/// How much of a row stands in its page.
fn in_page(kind: u8, length: u64) -> Option<usize> {
    if length > LONGEST_ROW {
        return None;
    }
    let length = length as usize;
    let most = if kind == TABLE_LEAF { USABLE - 35 } else { (USABLE - 12) * 64 / 255 - 23 };
    if length <= most {
        return Some(length);
    }
    let least = (USABLE - 12) * 32 / 255 - 23;
    let fitting = least + (length - least) % IN_OVERFLOW;
    Some(if fitting <= most { fitting } else { least })
}

/// A row as it is found.
pub(super) struct Row<'r> {
    /// Where: which page, and which entry of it.
    pub(super) page: u32,
    pub(super) cell: usize,
    pub(super) row_id: i64,
    /// Its record; or which page of it is missing.
    pub(super) record: Result<Cow<'r, [u8]>, u32>,
    /// What of the record stands in the page itself.
    pub(super) local: &'r [u8],
    /// A table leads to its page, which is whole.
    pub(super) is_in_place: bool,
    /// Everything it stands in is as it was written.
    pub(super) is_proven: bool,
}

impl Row<'_> {
    /// Its values, when all of it was found and it is a record.
    pub(super) fn values(&self) -> Option<Vec<Value<'_>>> {
        self.record.as_deref().ok().and_then(decode)
    }
}

/// Something of a table that cannot be read, with all that is below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) object: usize,
    pub(super) page: u32,
    pub(super) fault: Fault,
    /// In a table with row ids: the row ids it may have, above the first and up to the second.
    pub(super) between: (i64, i64),
    /// It holds a part of one row.
    pub(super) is_overflow: bool,
    /// How far below the root it is. All leaves are equally far.
    pub(super) depth: u32,
}

/// What a walk comes to.
pub(super) enum Found<'r> {
    Row(Row<'r>),
    Gap(Gap),
}

/// Goes through trees, and remembers what it has seen.
pub(super) struct Walker<'p> {
    pub(super) pages: &'p Pages,
    pub(super) reached: HashMap<u32, Use>,
    /// How far below the root the leaves of a table or an index are.
    pub(super) leaf_depths: HashMap<usize, u32>,
    /// How many overflow pages are looked at yet for rows that nothing leads to: otherwise bytes made for it could lead
    /// through the same ones again and again.
    budget: u64,
    pub(super) on_page: &'p dyn Fn(),
}

/// A page to go to.
struct Step {
    page: u32,
    depth: u32,
    between: (i64, i64),
}

impl<'p> Walker<'p> {
    pub(super) fn new(pages: &'p Pages, on_page: &'p dyn Fn()) -> Self {
        let budget = 4 * u64::from(pages.highest()) + 1_000;
        Walker { pages, reached: HashMap::new(), leaf_depths: HashMap::new(), budget, on_page }
    }

    /// Every row of a table or an index, in order where rows have ids, and every gap in it.
    pub(super) fn walk(
        &mut self,
        object: usize,
        root: u32,
        has_row_ids: bool,
        found: &mut dyn FnMut(Found<'_>),
    ) {
        let pages = self.pages;
        let mut steps = vec![Step { page: root, depth: 0, between: (i64::MIN, i64::MAX) }];
        while let Some(Step { page: number, depth, between }) = steps.pop() {
            let gap = |fault| Gap { object, page: number, fault, between, is_overflow: false, depth };
            if self.reached.contains_key(&number) {
                found(Found::Gap(gap(Fault::ClaimedTwice)));
                continue;
            }
            let page = self.pages.read(number);
            (self.on_page)();
            let node = Node::parse(number, &page.bytes).filter(|node| node.has_row_ids() == has_row_ids);
            let role = match (&node, page.fault) {
                (Some(node), None) if node.is_leaf() => Role::Leaf,
                (Some(_), None) => Role::Interior,
                _ => Role::Unknown,
            };
            self.reached.insert(number, Use { object, role });
            if role == Role::Leaf {
                self.leaf_depths.insert(object, depth);
            }
            match (page.fault, node) {
                (Some(fault), node) => {
                    found(Found::Gap(gap(fault)));
                    if let Some(node) = node {
                        self.rows(number, &node, &mut |row| found(Found::Row(row)));
                    }
                }
                (None, None) => found(Found::Gap(gap(Fault::Malformed))),
                (None, Some(node)) => {
                    let mut is_malformed = false;
                    let mut children = Vec::new();
                    let mut low = between.0;
                    for at in 0..node.cells {
                        let Some(cell) = node.cell(at) else {
                            is_malformed = true;
                            continue;
                        };
                        // What is not in order does not belong here, whatever is right of the page itself.
                        let is_in_order = !has_row_ids
                            || (low == i64::MIN || low < cell.row_id) && cell.row_id <= between.1;
                        is_malformed |= !is_in_order;
                        let upto = match has_row_ids {
                            true if is_in_order => cell.row_id,
                            true => low,
                            false => between.1,
                        };
                        children.extend(cell.left.map(|page| Step {
                            page,
                            depth: depth + 1,
                            between: (low, upto),
                        }));
                        if has_row_ids {
                            low = upto;
                        }
                        if cell.length > 0 && is_in_order {
                            let row = self.row(object, number, at, &cell, found);
                            found(Found::Row(row));
                        } else {
                            self.row_at(number, &node, at, &|page| pages.read(page).bytes, &mut |row| {
                                found(Found::Row(row));
                            });
                        }
                    }
                    if !node.is_leaf() {
                        children.push(Step {
                            page: node.right(),
                            depth: depth + 1,
                            between: (low, between.1),
                        });
                    }
                    if is_malformed {
                        found(Found::Gap(gap(Fault::Malformed)));
                    }
                    steps.extend(children.into_iter().rev());
                }
            }
        }
    }

    /// A row of a page that is whole, with its overflow pages, which are its own.
    fn row<'r>(
        &mut self,
        object: usize,
        page: u32,
        number: usize,
        cell: &Cell<'r>,
        found: &mut dyn FnMut(Found<'_>),
    ) -> Row<'r> {
        let mut is_proven = true;
        let record = follow(cell, &mut |next| {
            if !is_proven {
                // Where a broken page leads is not sure: what comes of it has to prove itself.
                self.budget = self.budget.checked_sub(1)?;
                return Some(self.pages.read(next).bytes);
            }
            let mut gap = |fault| {
                found(Found::Gap(Gap {
                    object,
                    page: next,
                    fault,
                    between: (0, 0),
                    is_overflow: true,
                    depth: 0,
                }));
            };
            if self.reached.contains_key(&next) {
                gap(Fault::ClaimedTwice);
                return None;
            }
            self.reached.insert(next, Use { object, role: Role::Overflow });
            let page = self.pages.read(next);
            (self.on_page)();
            if let Some(fault) = page.fault {
                gap(fault);
                is_proven = false;
            }
            matches!(page.fault, None | Some(Fault::Checksum)).then_some(page.bytes)
        });
        Row {
            page,
            cell: number,
            row_id: cell.row_id,
            record,
            local: cell.local,
            is_in_place: true,
            is_proven,
        }
    }

    /// The rows of a page that nothing leads to, or that is broken: they have to prove themselves.
    pub(super) fn rows(&mut self, page: u32, node: &Node<'_>, found: &mut dyn FnMut(Row<'_>)) {
        let pages = self.pages;
        self.rows_with(page, node, &|number| pages.read(number).bytes, found);
    }

    /// The same, with its overflow pages from elsewhere.
    pub(super) fn rows_with(
        &mut self,
        page: u32,
        node: &Node<'_>,
        read: &dyn Fn(u32) -> Bytes,
        found: &mut dyn FnMut(Row<'_>),
    ) {
        for number in 0..node.cells {
            self.row_at(page, node, number, read, found);
        }
    }

    /// One of them.
    pub(super) fn row_at(
        &mut self,
        page: u32,
        node: &Node<'_>,
        number: usize,
        read: &dyn Fn(u32) -> Bytes,
        found: &mut dyn FnMut(Row<'_>),
    ) {
        if number >= node.cells {
            return;
        }
        let Some(cell) = node.cell(number).filter(|cell| cell.length > 0) else { return };
        let record = follow(&cell, &mut |next| {
            self.budget = self.budget.checked_sub(1)?;
            Some(read(next))
        });
        let (row_id, local) = (cell.row_id, cell.local);
        found(Row { page, cell: number, row_id, record, local, is_in_place: false, is_proven: false });
    }

    /// The list of free pages.
    pub(super) fn free_pages(&mut self, object: usize, first: u32, found: &mut dyn FnMut(Gap)) {
        let mut next = first;
        while next != 0 {
            let number = next;
            let mut gap = |fault| {
                found(Gap { object, page: number, fault, between: (0, 0), is_overflow: false, depth: 0 });
            };
            if self.reached.contains_key(&number) {
                return gap(Fault::ClaimedTwice);
            }
            self.reached.insert(number, Use { object, role: Role::FreeList });
            let page = self.pages.read(number);
            (self.on_page)();
            if let Some(fault) = page.fault {
                return gap(fault);
            }
            let leaves = word(&page.bytes[..], 4) as usize;
            if leaves > USABLE / 4 - 2 {
                return gap(Fault::Malformed);
            }
            for leaf in 0..leaves {
                let leaf = word(&page.bytes[..], 8 + 4 * leaf);
                match self.reached.contains_key(&leaf) {
                    true => gap(Fault::ClaimedTwice),
                    false => drop(self.reached.insert(leaf, Use { object, role: Role::Free })),
                }
            }
            next = word(&page.bytes[..], 0);
        }
    }
}

/// The whole of a row, with its overflow pages. Fails with the page that is missing.
fn follow<'r>(cell: &Cell<'r>, read: &mut dyn FnMut(u32) -> Option<Bytes>) -> Result<Cow<'r, [u8]>, u32> {
    let Some(mut next) = cell.overflow else {
        return Ok(Cow::Borrowed(cell.local));
    };
    let mut record = cell.local.to_vec();
    loop {
        let page = read(next).ok_or(next)?;
        let left = (cell.length as usize - record.len()).min(IN_OVERFLOW);
        record.extend_from_slice(&page[4..4 + left]);
        if record.len() as u64 == cell.length {
            return Ok(Cow::Owned(record));
        }
        next = word(&page[..], 0);
    }
}
