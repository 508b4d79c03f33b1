//! Goes through everything that is in a file: what stands where, what is whole, and what is known of the rest.
//!
//! Each page is read once: those that the tables and indexes lead to, and then all others. A row of the log proves itself
//! by its own checksum, wherever it is found; another table's row by the page it stands in.

use super::pages::{Bytes, Fault, Pages, word};
use super::record::{Value, decode};
use super::rows::{
    HIGHEST_POSITION, INDEXED, LogRow, Sum, buddy_of, check_value, covers, decode_start, entries_of, held,
    is_derived, key, log_row, proves, record_of, root_of,
};
use super::tree::{Found, Gap, Node, Role, Row, Use, Walker};
use super::wal::{Frame, State, Wal};
use crate::sqlite::{Layout, Object};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::roster::Relation;
use rosterkit_core::row::{Side, Sides};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::ops::Range;

/// The schema's own table, and the list of free pages, beside the tables and indexes of the layout.
pub(super) const SCHEMA: usize = usize::MAX - 1;
pub(super) const FREE: usize = usize::MAX;

/// So many findings are kept; the rest is counted.
const FINDINGS_KEPT: usize = 1_000;

/// Something that contradicts itself on pages that are whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which table or index.
    pub table: String,
    /// Which row of it.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

/// Where a row stands that the tables do not lead to.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// A frame of the write-ahead log, or a page of the file.
    pub(super) source: Source,
    pub(super) cell: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Behind a broken frame: in which one, counted from 0. The lower the number, the earlier it was written.
    Frame(usize),
    /// Whole, and nothing leads to it.
    Stray(u32),
    /// Broken.
    Broken(u32),
}

/// A row of the log that proves itself, and may be one of those that are missing.
struct Candidate {
    position: u64,
    place: Place,
    sender: u64,
    recipient: u64,
    sides: Sides,
}

/// A row of the log that is to be brought back.
#[derive(Clone, Copy)]
pub(super) struct Rescued {
    pub(super) place: Place,
    pub(super) sides: Sides,
    pub(super) sender: u64,
    pub(super) recipient: u64,
}

/// What an index says of a row.
#[derive(Clone, Copy)]
struct Named {
    peer: u64,
    side: u8,
    time: i64,
}

/// A message that is lost, as much as is known of it.
pub(super) struct LostRow {
    pub(super) position: u64,
    pub(super) sender: Option<u64>,
    pub(super) recipient: Option<u64>,
    pub(super) time: Option<i64>,
}

/// What the index of a roster has of a buddy.
#[derive(Clone, Copy)]
pub(super) struct Listed {
    pub(super) account: u64,
    pub(super) peer: u64,
    pub(super) relation: Relation,
    /// Of the roster.
    pub(super) version: Position,
}

/// Everything that is known of a file.
pub(super) struct Survey<'p> {
    pub(super) pages: &'p Pages,
    pub(super) layout: &'p Layout,
    pub(super) reached: HashMap<u32, Use>,
    pub(super) leaf_depths: HashMap<usize, u32>,
    /// Where each table and index begins, in the order of the layout.
    pub(super) roots: Vec<Option<u32>>,
    /// A newer version wrote the file: it may have tables and columns that this one does not know.
    pub(super) is_newer: bool,
    pub(super) gaps: Vec<Gap>,
    /// Broken pages that nothing leads to.
    pub(super) adrift: Vec<(u32, Fault)>,
    pub(super) findings: Vec<Finding>,
    pub(super) more_findings: u64,
    pub(super) meta: HashMap<String, i64>,
    pub(super) log: Vec<LogRow>,
    pub(super) rescued: BTreeMap<u64, Rescued>,
    /// Rows of other tables on pages that are whole and that nothing leads to.
    pub(super) strays: Vec<(usize, Place)>,
    /// Pages that are whole, that nothing leads to and that may be of several tables, or of none.
    pub(super) unplaced: u64,
    pub(super) lost_rows: Vec<LostRow>,
    pub(super) addresses: HashMap<u64, Box<str>>,
    /// Addresses that only frames behind a broken one know.
    pub(super) lost_addresses: HashMap<u64, Box<str>>,
    /// The highest position and the highest id that stand anywhere.
    pub(super) highest_position: u64,
    pub(super) highest_id: u64,
    pub(super) domains: HashSet<String>,
    pub(super) accounts: HashSet<u64>,
    pub(super) account_names: HashMap<u64, String>,
    pub(super) with_progress: HashSet<u64>,
    pub(super) buddies: HashSet<(u64, u64)>,
    rosters: Vec<Listed>,
    files: HashSet<i64>,
    pub(super) file_names: Vec<(u64, String, i64)>,
    /// Addresses that nothing but somebody's roster knows.
    pub(super) from_rosters: HashSet<u64>,
    /// The latest frame of each page behind a broken one.
    behind: HashMap<u32, usize>,
    dangling: BTreeMap<(u64, u64), Named>,
    candidates: Vec<Candidate>,
    bad_rows: Vec<LostRow>,
    pub(super) free: u64,
    pub(super) unwritten: u64,
    /// Pages that should be there, that the file ends before, and that nothing leads to.
    pub(super) cut_off: u64,
    /// Pages that were never written, that are not free, and that nothing leads to.
    pub(super) unwritten_astray: u64,
    /// The first page is broken: nobody says which version wrote the file.
    format_is_unknown: bool,
    /// Of each index: what the rows of its table and its own entries come to.
    pub(super) sums: HashMap<&'static str, [Sum; 2]>,
}

impl<'p> Survey<'p> {
    pub(super) fn of(pages: &'p Pages, layout: &'p Layout, on_page: &'p dyn Fn()) -> Self {
        let mut survey = Survey {
            pages,
            layout,
            reached: HashMap::new(),
            leaf_depths: HashMap::new(),
            roots: vec![None; layout.objects.len()],
            is_newer: false,
            gaps: Vec::new(),
            adrift: Vec::new(),
            findings: Vec::new(),
            more_findings: 0,
            meta: HashMap::new(),
            log: Vec::new(),
            rescued: BTreeMap::new(),
            strays: Vec::new(),
            unplaced: 0,
            lost_rows: Vec::new(),
            addresses: HashMap::new(),
            lost_addresses: HashMap::new(),
            highest_position: 0,
            highest_id: 0,
            domains: HashSet::new(),
            accounts: HashSet::new(),
            account_names: HashMap::new(),
            with_progress: HashSet::new(),
            buddies: HashSet::new(),
            rosters: Vec::new(),
            files: HashSet::new(),
            file_names: Vec::new(),
            from_rosters: HashSet::new(),
            behind: HashMap::new(),
            dangling: BTreeMap::new(),
            candidates: Vec::new(),
            bad_rows: Vec::new(),
            free: 0,
            unwritten: 0,
            cut_off: u64::from(pages.count.saturating_sub(pages.highest())),
            unwritten_astray: 0,
            format_is_unknown: false,
            sums: HashMap::new(),
        };
        let mut walker = Walker::new(pages, on_page);
        let first = pages.read(1);
        survey.is_newer = first.fault.is_none() && word(&first.bytes[..], 60) > layout.format;
        survey.format_is_unknown = first.fault.is_some();
        survey.schema(&mut walker);
        survey.each_object(&mut walker, &mut |survey, object, found| survey.take(object, found));
        if first.fault.is_none() {
            let gaps = &mut survey.gaps;
            walker.free_pages(FREE, word(&first.bytes[..], 32), &mut |gap| gaps.push(gap));
        }
        survey.reached = std::mem::take(&mut walker.reached);
        survey.leaf_depths = std::mem::take(&mut walker.leaf_depths);
        survey.others(&mut walker);
        survey.behind_the_break(&mut walker);
        survey.decide();
        survey.compare();
        survey
    }

    /// Whether something whole says how many pages there are to be.
    pub(super) fn length_is_known(&self) -> bool {
        !self.format_is_unknown
    }

    /// Goes through the file once more: it finds the same.
    pub(super) fn again(&self, on_page: &'p dyn Fn()) -> Walker<'p> {
        let mut walker = Walker::new(self.pages, on_page);
        let schema = self.reached.iter().filter(|(_, of)| of.object == SCHEMA);
        walker.reached = schema.map(|(page, of)| (*page, *of)).collect();
        walker
    }

    /// Every row and every gap of every table and index, in the order of the layout.
    pub(super) fn each_object(
        &mut self,
        walker: &mut Walker<'_>,
        each: &mut dyn FnMut(&mut Self, usize, Found<'_>),
    ) {
        for object in 0..self.roots.len() {
            if let Some(root) = self.roots[object] {
                let has_row_ids = self.layout.objects[object].has_row_ids();
                walker.walk(object, root, has_row_ids, &mut |found| each(self, object, found));
            }
        }
    }

    /// What a table, an index or one of the two others is called.
    pub(super) fn name_of(&self, object: usize) -> &str {
        match object {
            SCHEMA => "sqlite_schema",
            FREE => "the list of free pages",
            _ => &self.layout.objects[object].name,
        }
    }

    /// Whether something of this table, or index, cannot be read.
    pub(super) fn is_torn(&self, name: &str) -> bool {
        self.layout
            .objects
            .iter()
            .zip(&self.roots)
            .any(|(object, root)| object.name == name && root.is_none())
            || self.gaps.iter().any(|gap| self.name_of(gap.object) == name)
    }

    fn note(&mut self, table: &str, key: impl Display, what: impl Display) {
        match self.findings.len() < FINDINGS_KEPT {
            true => self.findings.push(Finding {
                table: table.to_owned(),
                key: key.to_string(),
                what: what.to_string(),
            }),
            false => self.more_findings += 1,
        }
    }

    // ---- the tables ---------------------------------------------------------------------------------------------

    /// Where each table begins. When pages of the schema are broken, the others are looked for among all pages.
    fn schema(&mut self, walker: &mut Walker<'_>) {
        let mut roots = HashMap::new();
        let (mut gaps, mut is_malformed) = (Vec::new(), false);
        walker.walk(SCHEMA, 1, true, &mut |found| match found {
            Found::Row(row) if row.is_proven => match row.record.as_deref().ok().and_then(root_of) {
                Some((name, root)) => drop(roots.insert(name.to_owned(), root)),
                None => is_malformed = true,
            },
            Found::Row(_) => {}
            Found::Gap(gap) => gaps.push(gap),
        });
        if is_malformed {
            self.note("sqlite_schema", 1, "a row of it is none");
        }
        if is_malformed || !gaps.is_empty() {
            for number in 2..=self.pages.highest() {
                if walker.reached.contains_key(&number) {
                    continue;
                }
                let page = self.pages.read(number);
                let Some(node) = Node::parse(number, &page.bytes).filter(|node| node.has_row_ids()) else {
                    continue;
                };
                if page.fault.is_some() || !node.is_leaf() {
                    continue;
                }
                let mut of_schema = Vec::new();
                let mut rows = 0;
                walker.rows(number, &node, &mut |row| {
                    rows += 1;
                    let root = row.record.as_deref().ok().and_then(root_of);
                    of_schema.extend(root.map(|(name, root)| (name.to_owned(), root)));
                });
                if rows > 0 && rows == of_schema.len() {
                    walker.reached.insert(number, Use { object: SCHEMA, role: Role::Leaf });
                    for (name, root) in of_schema {
                        roots.entry(name).or_insert(root);
                    }
                }
            }
        }
        for (object, root) in self.layout.objects.iter().zip(&mut self.roots) {
            *root = roots.get(&object.name).copied();
        }
        let is_known = |name: &String| self.layout.objects.iter().any(|object| object.name == *name);
        self.is_newer |= self.format_is_unknown && !roots.keys().all(is_known);
        if !is_malformed && gaps.is_empty() {
            let missing: Vec<_> = self.layout.objects.iter().zip(&self.roots).collect();
            let missing: Vec<String> =
                missing.into_iter().filter(|(_, root)| root.is_none()).map(|(o, _)| o.name.clone()).collect();
            for name in missing {
                self.note("sqlite_schema", name, "there is no such table or index");
            }
        }
        self.gaps = gaps;
    }

    /// What a walk through a table or an index came to.
    fn take(&mut self, object: usize, found: Found<'_>) {
        let layout = self.layout;
        let of = &layout.objects[object];
        match found {
            Found::Gap(gap) => self.gaps.push(gap),
            Found::Row(row) if of.name == "log" => self.take_log_row(row),
            Found::Row(row) if row.is_proven => match row.record.as_deref().map(decode) {
                Ok(Some(values)) => self.take_row(of, row.row_id, &values),
                Ok(None) => self.note(&of.name, key(of, row.row_id, &[]), "it is no record"),
                // Which page is missing is a gap.
                Err(_) => {}
            },
            Found::Row(_) => {}
        }
    }

    fn take_log_row(&mut self, row: Row<'_>) {
        let is_reached = row.is_in_place;
        let position = row.row_id as u64;
        match log_row(&row) {
            Ok((of, _)) if is_reached => {
                self.raise(&[position], &[of.sender, of.recipient]);
                self.log.push(of);
            }
            Ok((of, _)) => self.candidate(of, Place { source: Source::Broken(row.page), cell: row.cell }),
            Err(what) if is_reached => {
                if row.is_proven && row.record.is_ok() {
                    self.note("log", position, what);
                }
                let ids = decode_start(row.local);
                let id = |at: usize| ids.get(at).and_then(|id| *id).map(|id| id as u64);
                self.bad_rows.push(LostRow { position, sender: id(1), recipient: id(2), time: None });
            }
            Err(_) => {}
        }
    }

    fn candidate(&mut self, of: LogRow, place: Place) {
        let LogRow { position, sender, recipient, sides, .. } = of;
        self.candidates.push(Candidate { position, place, sender, recipient, sides });
    }

    fn raise(&mut self, positions: &[u64], ids: &[u64]) {
        let highest = |known: u64, new: &[u64], most: u64| {
            new.iter().copied().filter(|number| *number <= most).fold(known, u64::max)
        };
        self.highest_position = highest(self.highest_position, positions, HIGHEST_POSITION);
        self.highest_id = highest(self.highest_id, ids, AddressId::MAX.to_bits());
    }

    /// A row of another table than the log, or of an index.
    fn take_row(&mut self, of: &Object, row_id: i64, values: &[Value<'_>]) {
        let number = |at: usize| values.get(at).and_then(|value| value.integer()).unwrap_or_default() as u64;
        let text = |at: usize| values.get(at).and_then(|value| value.text()).unwrap_or_default();
        let has_more = !of.is_index && of.begins(values) && !of.fits(values);
        self.is_newer |= self.format_is_unknown && has_more;
        let is_shaped = if self.is_newer { of.begins(values) } else { of.fits(values) };
        if !of.is_index && !is_shaped {
            return self.note(&of.name, key(of, row_id, values), "its columns are not those of the table");
        }
        if let Err(what) = check_value(&of.name, row_id, values) {
            self.note(&of.name, key(of, row_id, values), what);
        }
        for (index, entry) in entries_of(&of.name, row_id, values) {
            self.sums.entry(index).or_default()[usize::from(of.is_index)].add(&entry);
        }
        match of.name.as_str() {
            "meta" => drop(self.meta.insert(text(0).to_owned(), number(1) as i64)),
            "log_by_account" => {
                self.raise(&[number(1)], &[number(0), number(2)]);
                let named = Named { peer: number(2), side: number(3) as u8, time: number(5) as i64 };
                self.named(of, (number(1), number(0)), named, 0);
            }
            "log_by_peer" => {
                self.raise(&[number(2)], &[number(0), number(1)]);
                let named = Named { peer: number(1), side: 0, time: number(3) as i64 };
                self.named(of, (number(2), number(0)), named, 2);
            }
            "client_id" => self.raise(&[number(1)], &[number(0)]),
            "address" => {
                self.raise(&[], &[row_id as u64]);
                self.addresses.insert(row_id as u64, text(1).into());
            }
            "address_live" => {
                // The table leads to it as well, but for what is broken of it.
                self.raise(&[], &[number(1)]);
                self.addresses.entry(number(1)).or_insert_with(|| text(0).into());
            }
            "account" => {
                self.raise(&[], &[row_id as u64]);
                self.accounts.insert(row_id as u64);
                self.account_names.insert(row_id as u64, text(2).to_owned());
                if let Some(record) = record_of(row_id, values) {
                    self.raise(&[record.roster_version.0], &[]);
                    let version = record.roster_version;
                    let listed = |(peer, relation): (AddressId, Relation)| Listed {
                        account: row_id as u64,
                        peer: peer.to_bits(),
                        relation,
                        version,
                    };
                    self.rosters.extend(record.roster.iter().map(listed));
                }
            }
            "account_by_domain" => {
                self.account_names.entry(number(2)).or_insert_with(|| text(1).to_owned());
            }
            "progress" => drop(self.with_progress.insert(row_id as u64)),
            "domain" => drop(self.domains.insert(text(0).to_owned())),
            "buddy" => {
                // What the table of addresses does not have any more.
                if let (None, Some(buddy)) = (self.addresses.get(&number(1)), buddy_of(values)) {
                    self.addresses.insert(number(1), buddy.address.as_str().into());
                    self.from_rosters.insert(number(1));
                }
                self.raise(&[number(2)], &[number(0), number(1)]);
                self.buddies.insert((number(0), number(1)));
            }
            "mark" => self.raise(&[number(2), number(3), number(4)], &[number(0), number(1)]),
            "pending" => self.raise(&[number(0)], &[number(2)]),
            "file" => drop(self.files.insert(row_id)),
            "sqlite_autoindex_file_1" => {
                self.file_names.push((number(0), text(1).to_owned(), number(2) as i64));
            }
            _ => {}
        }
    }

    /// An index names a row. `shift` tells the indexes apart.
    fn named(&mut self, of: &Object, (position, account): (u64, u64), named: Named, shift: u8) {
        let Ok(at) = self.log.binary_search_by_key(&position, |row| row.position) else {
            let known = self.dangling.entry((position, account)).or_insert(named);
            known.side |= named.side;
            return;
        };
        let row = &mut self.log[at];
        let side = |id, side: Side, bit: u8| if id == account && row.sides.needed_by(side) { bit } else { 0 };
        let sides = side(row.recipient, Side::Recipient, 1) | side(row.sender, Side::Sender, 2);
        row.indexed |= sides << shift;
        if sides == 0 || (shift == 0 && sides != named.side) {
            self.note(&of.name, position, format_args!("account {account} does not need the row so"));
        }
    }

    // ---- all other pages ----------------------------------------------------------------------------------------

    fn others(&mut self, walker: &mut Walker<'_>) {
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
    fn place(&mut self, walker: &mut Walker<'_>, number: u32, node: &Node<'_>, torn: &[usize]) {
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
    fn behind_the_break(&mut self, walker: &mut Walker<'_>) {
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

    // ---- what it comes to ---------------------------------------------------------------------------------------

    /// Which of the rows that prove themselves are those that are missing. A row that was deleted may still stand on a
    /// page that is free by now: it is left where it is, as far as the indexes can tell.
    fn decide(&mut self) {
        let log = self.layout.objects.iter().position(|object| object.name == "log");
        let root_is_known = log.is_some_and(|log| self.roots[log].is_some());
        let mut gaps: Vec<(i64, i64)> = self
            .gaps
            .iter()
            .filter(|gap| Some(gap.object) == log && !gap.is_overflow)
            .map(|gap| gap.between)
            .collect();
        // They may lie in each other, where a page is malformed and what is below it is broken.
        gaps.sort_unstable();
        gaps.dedup_by(|next, before| {
            let is_joined = next.0 <= before.1;
            if is_joined {
                before.1 = before.1.max(next.1);
            }
            is_joined
        });
        let is_in_a_gap = |position: i64| {
            let behind = gaps.partition_point(|&(low, _)| low < position);
            behind > 0 && position <= gaps[behind - 1].1
        };
        let last = self.log.last().map_or(0, |row| row.position);
        let indexed = self.meta.get("indexed").map(|indexed| *indexed as u64);
        let index_is_whole = !self.is_torn("log_by_account");
        let bad: BTreeSet<u64> = self.bad_rows.iter().map(|row| row.position).collect();
        let mut candidates = std::mem::take(&mut self.candidates);
        // Of frames the latest stands first.
        candidates.sort_by_key(|candidate| match candidate.place.source {
            Source::Frame(_) => 0,
            Source::Stray(_) => 1,
            Source::Broken(_) => 2,
        });
        for candidate in candidates {
            let Candidate { position, place, sender, recipient, mut sides } = candidate;
            let is_above = matches!(place.source, Source::Frame(_)) && position > last;
            let is_in_gap = !root_is_known || bad.contains(&position) || is_in_a_gap(position as i64);
            let is_there = self.log.binary_search_by_key(&position, |row| row.position).is_ok();
            if is_there || !(is_above || is_in_gap) || self.rescued.contains_key(&position) {
                continue;
            }
            let named = |account| self.dangling.get(&(position, account)).map(|named| named.side);
            if index_is_whole && indexed.is_some_and(|indexed| position <= indexed) {
                let (to, from) = (named(recipient), named(sender));
                if to.is_none() && from.is_none() && !held(sides) {
                    continue;
                }
                if matches!(place.source, Source::Broken(_)) {
                    // Who needs it is not under its checksum.
                    let needs = to.unwrap_or_default() & 1 | from.unwrap_or_default() & 2;
                    sides = Sides(sides.0 & !(Sides::RECIPIENT_NEEDS | Sides::SENDER_NEEDS) | needs);
                }
            }
            self.raise(&[position], &[sender, recipient]);
            self.rescued.insert(position, Rescued { place, sides, sender, recipient });
        }
    }

    /// What contradicts itself, and what is lost.
    fn compare(&mut self) {
        let mut lost: BTreeMap<u64, LostRow> =
            std::mem::take(&mut self.bad_rows).into_iter().map(|row| (row.position, row)).collect();
        let log_is_torn = self.is_torn("log");
        for ((position, account), Named { peer, side, time }) in std::mem::take(&mut self.dangling) {
            if !log_is_torn && !lost.contains_key(&position) {
                let table = "log_by_account and log_by_peer";
                self.note(table, position, format_args!("account {account} has no such row in the log"));
            }
            let row = lost.entry(position).or_insert(LostRow {
                position,
                sender: None,
                recipient: None,
                time: None,
            });
            row.time = Some(time);
            if side & 1 != 0 {
                (row.recipient, row.sender) = (Some(account), Some(peer));
            }
            if side & 2 != 0 {
                (row.sender, row.recipient) = (Some(account), Some(peer));
            }
        }
        lost.retain(|position, _| !self.rescued.contains_key(position));
        self.lost_rows = lost.into_values().collect();

        let indexed = self.meta.get("indexed").map_or(0, |indexed| *indexed as u64);
        let (by_account, by_peer) = (!self.is_torn("log_by_account"), !self.is_torn("log_by_peer"));
        let mut missing = Vec::new();
        let mut unknown = BTreeMap::new();
        for row in &self.log {
            let needed = u8::from(row.sides.needed_by(Side::Recipient))
                | u8::from(row.sides.needed_by(Side::Sender)) << 1;
            let is_missing = |shift: u8| row.position <= indexed && (row.indexed >> shift) & 3 != needed;
            if by_account && is_missing(0) {
                missing.push(("log_by_account", row.position));
            }
            if by_peer && is_missing(2) {
                missing.push(("log_by_peer", row.position));
            }
            for id in [row.sender, row.recipient] {
                if !self.addresses.contains_key(&id) {
                    unknown.entry(id).or_insert(row.position);
                }
            }
        }
        for (table, position) in missing {
            self.note(table, position, "the row of the log is not in it");
        }
        if !self.is_torn("address") {
            for (id, position) in unknown {
                self.note("log", position, format_args!("the address {id} is not known"));
            }
        }
        for (id, name) in self.lost_accounts() {
            if !self.is_torn("account") {
                self.note("account", name, format_args!("the account {id} is in account_by_domain alone"));
            }
        }
        if !self.is_torn("file") {
            let lost = self.lost_files().map(|(account, path)| format!("{path} of the account {account}"));
            for file in lost.collect::<Vec<_>>() {
                self.note("file", file, "it is in the index alone");
            }
        }
        let pairs = INDEXED.iter().filter(|(table, index)| !self.is_torn(table) && !self.is_torn(index));
        // A newer version may index otherwise.
        for &(table, index) in pairs.filter(|_| !self.is_newer).collect::<Vec<_>>() {
            let [rows, entries] = self.sums.get(index).copied().unwrap_or_default();
            if rows != entries {
                let what =
                    format_args!("its {} entries are not those of the {} rows", entries.count, rows.count);
                self.note(index, table, what);
            }
        }
        if !self.is_torn("buddy") {
            for Listed { account, peer, .. } in self.lost_buddies() {
                self.note(
                    "buddy",
                    account,
                    format_args!("the roster has a buddy {peer} of which there is nothing"),
                );
            }
        }
        for key in ["file_generation", "min_reader", "reserved", "indexed", "sent"] {
            if !self.meta.contains_key(key) && !self.is_torn("meta") {
                self.note("meta", key, "it is missing");
            }
        }
    }

    /// Accounts that are known of, and are not there.
    pub(super) fn lost_accounts(&self) -> BTreeMap<u64, String> {
        let names = self.account_names.iter().filter(|(id, _)| !self.accounts.contains(id));
        names.map(|(id, name)| (*id, name.clone())).collect()
    }

    /// Buddies that the rosters name, and that are not there.
    pub(super) fn lost_buddies(&self) -> Vec<Listed> {
        let listed = self.rosters.iter().copied();
        listed.filter(|one| !self.buddies.contains(&(one.account, one.peer))).collect()
    }

    /// Files that are known of, and are not there: whose, and their paths.
    pub(super) fn lost_files(&self) -> impl Iterator<Item = (u64, &str)> {
        let lost = self.file_names.iter().filter(|(.., row_id)| !self.files.contains(row_id));
        lost.map(|(account, path, _)| (*account, path.as_str()))
    }

    /// Whether the write-ahead log has lost what was answered.
    ///
    /// A commit that is an answer is synced before the next is written; a slice of a pass of the index is not. So a power cut can
    /// leave in pieces, in whichever order the disk took them, slices and one other transaction behind them. Where there are two
    /// others, the first was answered.
    pub(super) fn log_is_damaged(&self) -> bool {
        let Some(wal) = &self.pages.wal else { return false };
        let is_answer = |frames: &Range<usize>| frames.clone().any(|frame| self.is_of_answer(wal, frame));
        wal.is_without_header() || wal.transactions_behind().filter(is_answer).nth(1).is_some()
    }

    /// Whether no pass of the index can have written this frame.
    fn is_of_answer(&self, wal: &Wal, frame: usize) -> bool {
        let Frame { page, state, .. } = wal.frames[frame];
        if state == State::Foreign || page == 1 {
            return false;
        }
        match self.reached.get(&page) {
            Some(of) if matches!(of.role, Role::Free | Role::FreeList) => false,
            Some(of) => {
                !matches!(self.name_of(of.object), "log_by_account" | "log_by_peer" | "client_id" | "meta")
            }
            // A page that is new. None of the four has row ids.
            None => wal
                .page(frame)
                .is_ok_and(|bytes| Node::parse(page, &bytes).is_some_and(|node| node.has_row_ids())),
        }
    }

    /// A row that nothing leads to.
    pub(super) fn at(&self, Place { source, cell }: Place, found: &mut dyn FnMut(Row<'_>)) {
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

    /// Everybody whose messages there are.
    pub(super) fn correspondents(&self) -> HashSet<u64> {
        let whole = self.log.iter().flat_map(|row| [row.sender, row.recipient]);
        whole.chain(self.rescued.values().flat_map(|row| [row.sender, row.recipient])).collect()
    }

    /// Who an id stands for.
    pub(super) fn address(&self, id: u64) -> Option<&str> {
        let known = self.addresses.get(&id).or_else(|| self.lost_addresses.get(&id));
        known.map(|text| &**text).or_else(|| self.account_names.get(&id).map(String::as_str))
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
