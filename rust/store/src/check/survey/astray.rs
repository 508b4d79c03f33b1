//! What the tables do not lead to: all other pages, and frames of the write-ahead log behind a broken one.

use super::{FREE, Survey};
use crate::check::pages::{Bytes, Fault, Pages};
use crate::check::record::Value;
use crate::check::rows::{LogRow, covers, is_derived, log_row, proves};
use crate::check::tree::{Node, Role, Row, Use, Walker};
use crate::check::wal::State;
use rosterkit_core::row::Sides;
use std::collections::HashMap;

/// Where a row stands that the tables do not lead to.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// A frame of the write-ahead log, or a page of the file.
    pub(crate) source: Source,
    pub(crate) cell: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// Behind a broken frame: in which one, counted from 0. The lower the number, the earlier it was written.
    Frame(usize),
    /// Whole, and nothing leads to it.
    Stray(u32),
    /// Broken.
    Broken(u32),
}

/// A row of the log that proves itself, and may be one of those that are missing.
pub(super) struct Candidate {
    pub(super) position: u64,
    pub(super) place: Place,
    pub(super) sender: u64,
    pub(super) recipient: u64,
    pub(super) sides: Sides,
}

impl Survey<'_> {
    pub(super) fn candidate(&mut self, of: LogRow, place: Place) {
        let LogRow { position, sender, recipient, sides, .. } = of;
        self.candidates.push(Candidate { position, place, sender, recipient, sides });
    }

    pub(super) fn others(&mut self, walker: &mut Walker<'_>) {
        let torn: Vec<usize> = (0..self.layout.objects.len())
            .filter(|&object| {
                let of = &self.layout.objects[object];
                !of.is_index && !is_derived(&of.name) && self.is_torn(&of.name)
            })
            .collect();
        let log_is_torn = self.is_torn("log");
        let free_is_whole =
            self.gaps.iter().all(|gap| gap.object != FREE) && self.pages.read(1).fault.is_none();
        for number in 1..=self.pages.highest() {
            let used = self.reached.get(&number).copied();
            let is_free = used.is_some_and(|of| of.role == Role::Free);
            if Pages::is_lock_page(number) || (used.is_some() && !is_free) {
                continue;
            }
            let page = self.pages.read(number);
            (walker.on_page)();
            if is_free {
                self.free += 1;
            }
            let is_counted = number <= self.pages.count;
            match page.fault {
                Some(Fault::CutOff) if is_counted && !is_free => self.cut_off += 1,
                Some(Fault::NeverWritten | Fault::CutOff) => {
                    self.unwritten += 1;
                    self.unwritten_astray += u64::from(is_counted && !is_free);
                }
                // Behind the end nobody reads.
                Some(fault) if is_counted => self.adrift.push((number, fault)),
                _ => {}
            }
            // Below something broken there have to be such; and a newer version knows what leads to them.
            if is_counted && !is_free && self.gaps.is_empty() && !self.is_newer && is_readable(page.fault) {
                self.note("the pages", number, "nothing leads to it, and it is not free: a write was lost");
            }
            let Some(node) = Node::parse(number, &page.bytes).filter(|_| !is_free) else { continue };
            if log_is_torn && node.has_row_ids() && node.is_leaf() {
                let is_whole = page.fault.is_none();
                let source = if is_whole { Source::Stray(number) } else { Source::Broken(number) };
                walker.rows(number, &node, &mut |row| {
                    if let Ok((of, _)) = log_row(&row) {
                        self.candidate(of, Place { source, cell: row.cell });
                    }
                });
            }
            if page.fault.is_none() && !torn.is_empty() && free_is_whole {
                self.place(walker, number, &node, &torn);
            }
        }
    }

    /// Which table a page belongs to that nothing leads to, by what stands in it: all of its rows fit one table that has a
    /// gap, and no other.
    pub(super) fn place(&mut self, walker: &mut Walker<'_>, number: u32, node: &Node<'_>, torn: &[usize]) {
        let mut fitting: Vec<usize> = torn
            .iter()
            .copied()
            .filter(|object| self.layout.objects[*object].has_row_ids() == node.has_row_ids())
            .collect();
        let mut cells = Vec::new();
        walker.rows(number, node, &mut |row| {
            let values = row.values().unwrap_or_default();
            cells.push(row.cell);
            fitting.retain(|&object| {
                let of = &self.layout.objects[object];
                let is_missing = !of.has_row_ids()
                    || self.roots[object].is_none()
                    || self.gaps.iter().any(|gap| gap.object == object && covers(gap, row.row_id));
                is_missing && of.fits(&values) && proves(&of.name, row.row_id, &values)
            });
        });
        match (fitting.as_slice(), cells.is_empty()) {
            (_, true) => {}
            (&[object], _) if self.layout.objects[object].name != "log" => {
                let layout = self.layout;
                self.reached.insert(number, Use { object, role: Role::Unknown });
                let places = cells.into_iter().map(|cell| Place { source: Source::Stray(number), cell });
                self.strays.extend(places.map(|place| (object, place)));
                walker.rows(number, node, &mut |row| {
                    if let Some(values) = row.values() {
                        self.take_row(&layout.objects[object], row.row_id, &values);
                    }
                });
            }
            (&[_], _) => {}
            _ => self.unplaced += 1,
        }
    }

    /// What stands in frames behind a broken one, and was committed once.
    pub(super) fn behind_the_break(&mut self, walker: &mut Walker<'_>) {
        let Some(wal) = &self.pages.wal else { return };
        let frames = &wal.lost;
        let mut latest = HashMap::new();
        for &frame in frames {
            latest.entry(wal.frames[frame].page).or_insert(frame);
        }
        self.behind = latest;
        for &frame in frames {
            let Ok(page) = wal.page(frame) else { continue };
            let number = wal.frames[frame].page;
            let Some(node) = Node::parse(number, &page).filter(|n| n.has_row_ids() && n.is_leaf()) else {
                continue;
            };
            let mut addresses = Vec::new();
            let mut others = 0;
            walker.rows_with(
                number,
                &node,
                &|page| read_behind(self.pages, &self.behind, page),
                &mut |row| {
                    if let Ok((of, _)) = log_row(&row) {
                        let (sender, recipient) = (of.sender, of.recipient);
                        self.candidates.push(Candidate {
                            position: of.position,
                            place: Place { source: Source::Frame(frame), cell: row.cell },
                            sender,
                            recipient,
                            sides: of.sides,
                        });
                        return;
                    }
                    let values = row.values().unwrap_or_default();
                    match values.as_slice() {
                        [Value::Null, Value::Text(text), Value::Integer(0 | 1)]
                            if proves("address", row.row_id, &values) =>
                        {
                            addresses.push((row.row_id as u64, Box::from(*text)));
                        }
                        _ => others += 1,
                    }
                },
            );
            if others == 0 && matches!(wal.frames[frame].state, State::Proven | State::Valid) {
                self.lost_addresses.extend(addresses);
            }
        }
    }

    /// A row that nothing leads to.
    pub(crate) fn at(&self, Place { source, cell }: Place, found: &mut dyn FnMut(Row<'_>)) {
        let (number, bytes) = match source {
            Source::Stray(number) | Source::Broken(number) => (number, self.pages.read(number).bytes),
            Source::Frame(frame) => {
                let Some(wal) = &self.pages.wal else { return };
                let Ok(bytes) = wal.page(frame) else { return };
                (wal.frames[frame].page, bytes)
            }
        };
        let Some(node) = Node::parse(number, &bytes) else { return };
        let read = |page| match source {
            Source::Frame(_) => read_behind(self.pages, &self.behind, page),
            _ => self.pages.read(page).bytes,
        };
        Walker::new(self.pages, &|| {}).row_at(number, &node, cell, &read, found);
    }
}

/// Whether a page was found where it should be, or nothing was ever written there.
fn is_readable(fault: Option<Fault>) -> bool {
    matches!(fault, None | Some(Fault::NeverWritten))
}

/// A page as it was when what is behind a broken frame was committed.
fn read_behind(pages: &Pages, behind: &HashMap<u32, usize>, page: u32) -> Bytes {
    let frame = behind.get(&page).zip(pages.wal.as_ref());
    let bytes = frame.and_then(|(frame, wal)| wal.page(*frame).ok());
    bytes.unwrap_or_else(|| pages.read(page).bytes)
}
