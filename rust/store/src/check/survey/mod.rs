//! Goes through everything that is in a file: what stands where, what is whole, and what is known of the rest.
//!
//! Each page is read once: those that the tables and indexes lead to, and then all others. A row of the log proves itself
//! by its own checksum, wherever it is found; another table's row by the page it stands in.

mod astray;
mod tables;
mod verdict;

pub(super) use astray::{Place, Source};
pub(super) use tables::Listed;
pub(super) use verdict::{LostRow, Rescued};

use crate::check::pages::{Fault, Pages, word};
use crate::check::rows::{HIGHEST_POSITION, LogRow, Sum};
use crate::check::tree::{Found, Gap, Use, Walker};
use crate::sqlite::Layout;
use astray::Candidate;
use rosterkit_core::id::AddressId;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use tables::Named;

/// The schema's own table, and the list of free pages, beside the tables and indexes of the layout.
pub(crate) const SCHEMA: usize = usize::MAX - 1;
pub(crate) const FREE: usize = usize::MAX;

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

/// Everything that is known of a file.
pub(crate) struct Survey<'p> {
    pub(crate) pages: &'p Pages,
    pub(crate) layout: &'p Layout,
    pub(crate) reached: HashMap<u32, Use>,
    pub(crate) leaf_depths: HashMap<usize, u32>,
    /// Where each table and index begins, in the order of the layout.
    pub(crate) roots: Vec<Option<u32>>,
    /// A newer version wrote the file: it may have tables and columns that this one does not know.
    pub(crate) is_newer: bool,
    pub(crate) gaps: Vec<Gap>,
    /// Broken pages that nothing leads to.
    pub(crate) adrift: Vec<(u32, Fault)>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) more_findings: u64,
    pub(crate) meta: HashMap<String, i64>,
    pub(crate) log: Vec<LogRow>,
    pub(crate) rescued: BTreeMap<u64, Rescued>,
    /// Rows of other tables on pages that are whole and that nothing leads to.
    pub(crate) strays: Vec<(usize, Place)>,
    /// Pages that are whole, that nothing leads to and that may be of several tables, or of none.
    pub(crate) unplaced: u64,
    pub(crate) lost_rows: Vec<LostRow>,
    pub(crate) addresses: HashMap<u64, Box<str>>,
    /// Addresses that only frames behind a broken one know.
    pub(crate) lost_addresses: HashMap<u64, Box<str>>,
    /// The highest position and the highest id that stand anywhere.
    pub(crate) highest_position: u64,
    pub(crate) highest_id: u64,
    pub(crate) domains: HashSet<String>,
    pub(crate) accounts: HashSet<u64>,
    pub(crate) account_names: HashMap<u64, String>,
    pub(crate) with_progress: HashSet<u64>,
    pub(crate) buddies: HashSet<(u64, u64)>,
    rosters: Vec<Listed>,
    files: HashSet<i64>,
    pub(crate) file_names: Vec<(u64, String, i64)>,
    /// Addresses that nothing but somebody's roster knows.
    pub(crate) from_rosters: HashSet<u64>,
    /// The latest frame of each page behind a broken one.
    behind: HashMap<u32, usize>,
    dangling: BTreeMap<(u64, u64), Named>,
    candidates: Vec<Candidate>,
    bad_rows: Vec<LostRow>,
    pub(crate) free: u64,
    pub(crate) unwritten: u64,
    /// Pages that should be there, that the file ends before, and that nothing leads to.
    pub(crate) cut_off: u64,
    /// Pages that were never written, that are not free, and that nothing leads to.
    pub(crate) unwritten_astray: u64,
    /// The first page is broken: nobody says which version wrote the file.
    format_is_unknown: bool,
    /// Of each index: what the rows of its table and its own entries come to.
    pub(crate) sums: HashMap<&'static str, [Sum; 2]>,
}

impl<'p> Survey<'p> {
    pub(crate) fn of(pages: &'p Pages, layout: &'p Layout, on_page: &'p dyn Fn()) -> Self {
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

    /// Whether the file is as it is made first: a page that is whole, and says that there are no tables yet.
    pub(crate) fn is_unfinished(&self) -> bool {
        let first = self.pages.read(1);
        self.pages.count == 1 && first.fault.is_none() && word(&first.bytes[..], 60) == 0
    }

    /// Whether something whole says how many pages there are to be.
    pub(crate) fn length_is_known(&self) -> bool {
        !self.format_is_unknown
    }

    /// Goes through the file once more: it finds the same.
    pub(crate) fn again(&self, on_page: &'p dyn Fn()) -> Walker<'p> {
        let mut walker = Walker::new(self.pages, on_page);
        let schema = self.reached.iter().filter(|(_, of)| of.object == SCHEMA);
        walker.reached = schema.map(|(page, of)| (*page, *of)).collect();
        walker
    }

    /// Every row and every gap of every table and index, in the order of the layout.
    pub(crate) fn each_object(
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
    pub(crate) fn name_of(&self, object: usize) -> &str {
        match object {
            SCHEMA => "sqlite_schema",
            FREE => "the list of free pages",
            _ => &self.layout.objects[object].name,
        }
    }

    /// Whether something of this table, or index, cannot be read.
    pub(crate) fn is_torn(&self, name: &str) -> bool {
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

    fn raise(&mut self, positions: &[u64], ids: &[u64]) {
        let highest = |known: u64, new: &[u64], most: u64| {
            new.iter().copied().filter(|number| *number <= most).fold(known, u64::max)
        };
        self.highest_position = highest(self.highest_position, positions, HIGHEST_POSITION);
        self.highest_id = highest(self.highest_id, ids, AddressId::MAX.to_bits());
    }

    /// Everybody whose messages there are.
    pub(crate) fn correspondents(&self) -> HashSet<u64> {
        let whole = self.log.iter().flat_map(|row| [row.sender, row.recipient]);
        whole.chain(self.rescued.values().flat_map(|row| [row.sender, row.recipient])).collect()
    }

    /// Who an id stands for.
    pub(crate) fn address(&self, id: u64) -> Option<&str> {
        let known = self.addresses.get(&id).or_else(|| self.lost_addresses.get(&id));
        known.map(|text| &**text).or_else(|| self.account_names.get(&id).map(String::as_str))
    }
}
