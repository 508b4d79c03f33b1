//! What was found, in words and as data.

use super::pages::Fault;
use super::survey::{FREE, Finding, LostRow, Source, Survey};
use super::tree::{Gap, Node, Role};
use super::wal::{State, Wal};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which file.
    pub path: String,
    /// A newer version wrote it: tables and columns that this one does not know were not looked at, and it does not salvage
    /// the file.
    pub newer: bool,
    /// Its making was cut off before there were tables: it holds nothing, and the next open makes it.
    pub unfinished: bool,
    /// Its pages, as a reader sees them.
    pub pages: PageCounts,
    /// Those that are broken.
    pub broken: Vec<BrokenPage>,
    /// The write-ahead log beside it, when it has one.
    pub wal: Option<WalReport>,
    /// Messages, and other rows of the log, that are whole.
    pub messages: u64,
    /// Rows of the log that stand on broken pages, or where nothing leads to any more, and prove themselves: reading the
    /// file does not find them, salvage brings them back. Those behind a broken frame are not among them.
    pub rescued: u64,
    /// What is lost.
    pub lost: Lost,
    /// What contradicts itself on pages that are whole; the first thousand.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
}

/// How many pages there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PageCounts {
    /// All.
    pub all: u64,
    /// Of them, broken.
    pub broken: u64,
    /// Never written, and not needed.
    pub never_written: u64,
    /// Free.
    pub free: u64,
    /// Without a checksum: with no log beside the file, what another SQLite moved from there. The next open makes them one, when
    /// the file is whole.
    pub unsealed: u64,
    /// Behind the end of a file that was cut short.
    pub cut_off: u64,
    /// Whole, and nothing leads to them: below a broken one, or left over. Salvage takes from them only what proves itself.
    pub unplaced: u64,
}

/// A page that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenPage {
    /// Counted from 1.
    pub page: u32,
    /// How.
    pub fault: Fault,
    /// The table or index that it is of, when one leads to it.
    pub table: Option<String>,
    /// What it is there.
    pub part: Part,
}

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It has rows.
    Leaf,
    /// It leads to others.
    Interior,
    /// Nobody can say which of the two.
    Tree,
    /// It has a part of one long row.
    Overflow,
    /// It is free.
    Free,
    /// It is part of the list of free pages.
    FreeList,
    /// Nothing leads to it that is whole.
    Unknown,
}

/// What was found in a write-ahead log. Frames are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalReport {
    /// How many frames there are, those that an earlier log left among them.
    pub frames: u64,
    /// Up to this one they are whole.
    pub valid: u64,
    /// Up to this one they are committed: a reader sees these.
    pub committed: u64,
    /// Its header is broken: a reader sees nothing of it.
    pub header_is_broken: bool,
    /// The first that a reader does not see, when it is damaged: with its header, or with a frame that has committed ones
    /// behind it. The next open would write over them.
    pub broken: Option<u64>,
    /// Behind what a reader sees: how many are as they were written.
    pub valid_behind: u64,
    /// How many are of this log, and no more can be said of them.
    pub doubtful_behind: u64,
    /// How many of the valid ones end a transaction.
    pub commits_behind: u64,
    /// Of which pages they are versions.
    pub pages_behind: Vec<u32>,
    /// Messages that stand in them and nowhere else. Salvage brings them back.
    pub messages_behind: Vec<Message>,
    /// At its end stands a transaction that is not whole. A process or a machine that died leaves the like, and nobody had an
    /// answer; damage to the very last commit looks no other. Of what it held stands in `messages_behind` what proves itself.
    pub unfinished: bool,
}

/// A message that is known of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its place in the log.
    pub position: u64,
    /// Who sent it, as far as that is known.
    pub sender: Option<String>,
    /// To whom.
    pub recipient: Option<String>,
}

/// A message that is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostMessage {
    /// What is known of it.
    #[serde(flatten)]
    pub message: Message,
    /// When it was accepted, in Unix ms, when an index knows.
    pub time: Option<i64>,
}

/// A buddy of which no more is left than that it is one, and in which state. Salvage makes it anew, without name and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostBuddy {
    /// Whose roster.
    pub account: String,
    /// Who was on it.
    pub peer: String,
}

/// A file of an account that is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostFile {
    /// Whose.
    pub account: String,
    /// Its path.
    pub path: String,
}

/// What is lost, as far as something else still names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Messages that the indexes name, or of which a part is left.
    pub messages: Vec<LostMessage>,
    /// There may be more messages: on pages of which the indexes know nothing, or know it on broken pages.
    pub unnamed_messages: bool,
    /// Accounts whose record is lost. Salvage makes them anew, with their messages and what is left of their rosters.
    pub accounts: Vec<String>,
    /// Accounts of which it is not known how far they have read: what they have not deleted comes to them again.
    pub progress: Vec<String>,
    /// What is known of buddies but who they are.
    pub buddies: Vec<LostBuddy>,
    /// Files of accounts.
    pub files: Vec<LostFile>,
    /// Other tables with broken pages: what stood there is not named anywhere else. Indexes are not among them: salvage
    /// makes them anew, and nothing is lost.
    pub tables: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong with the file.
    pub fn is_whole(&self) -> bool {
        let wal_is_whole = self.wal.as_ref().is_none_or(|wal| wal.broken.is_none());
        let is_all_there = self.pages.cut_off == 0 && self.lost == Lost::default();
        self.broken.is_empty() && is_all_there && self.findings.is_empty() && wal_is_whole
    }

    pub(super) fn of(path: &Path, survey: &Survey<'_>) -> Report {
        let pages = survey.pages;
        let broken = broken_pages(survey);
        let unfinished = survey.is_unfinished();
        let lost = if unfinished { Lost::default() } else { Lost::of(survey, &broken) };
        let findings = if unfinished { Vec::new() } else { survey.findings.clone() };
        let all = u64::from(pages.count);
        let behind = |rescued: &super::survey::Rescued| matches!(rescued.place.source, Source::Frame(_));
        Report {
            path: path.display().to_string(),
            newer: survey.is_newer,
            unfinished,
            pages: PageCounts {
                all,
                broken: broken.len() as u64,
                never_written: survey.unwritten,
                free: survey.free,
                unsealed: pages.bare(),
                cut_off: survey.cut_off,
                unplaced: survey.unplaced,
            },
            broken,
            wal: pages.wal.as_ref().map(|wal| WalReport::of(wal, survey)),
            messages: survey.log.len() as u64,
            rescued: survey.rescued.values().filter(|rescued| !behind(rescued)).count() as u64,
            lost,
            findings,
            more_findings: survey.more_findings,
        }
    }
}

fn broken_pages(survey: &Survey<'_>) -> Vec<BrokenPage> {
    let mut broken = BTreeMap::new();
    for gap in &survey.gaps {
        let part = part_of(survey, gap);
        let table = Some(survey.name_of(gap.object).to_owned());
        broken.entry(gap.page).or_insert(BrokenPage { page: gap.page, fault: gap.fault, table, part });
    }
    for &(page, fault) in &survey.adrift {
        let is_free = survey.reached.get(&page).is_some_and(|of| of.role == Role::Free);
        let part = if is_free { Part::Free } else { Part::Unknown };
        broken.entry(page).or_insert(BrokenPage { page, fault, table: None, part });
    }
    broken.into_values().collect()
}

/// What a page is there for that a table leads to.
fn part_of(survey: &Survey<'_>, gap: &Gap) -> Part {
    let is_leaf = || match survey.leaf_depths.get(&gap.object) {
        Some(depth) => Some(gap.depth == *depth),
        // None of its leaves was found: it may look as what it was.
        None => {
            let bytes = survey.pages.read(gap.page).bytes;
            Node::parse(gap.page, &bytes).map(|node| node.is_leaf())
        }
    };
    match (gap.object, gap.is_overflow) {
        (FREE, _) => Part::FreeList,
        (_, true) => Part::Overflow,
        _ => match is_leaf() {
            Some(true) => Part::Leaf,
            Some(false) => Part::Interior,
            None => Part::Tree,
        },
    }
}

impl WalReport {
    fn of(wal: &Wal, survey: &Survey<'_>) -> WalReport {
        let is_damaged = survey.log_is_damaged();
        let behind = wal.frames.get(wal.valid..wal.once_committed).unwrap_or_default();
        let count = |wanted: State| behind.iter().filter(|frame| frame.state == wanted).count() as u64;
        let proven = behind.iter().filter(|frame| frame.state == State::Proven);
        let rescued = survey.rescued.iter().filter(|(_, one)| matches!(one.place.source, Source::Frame(_)));
        let goes_on = wal.once_committed > wal.committed
            || wal.frames.get(wal.committed).is_some_and(|frame| frame.state != State::Foreign);
        WalReport {
            frames: wal.frames.len() as u64,
            valid: wal.valid as u64,
            committed: wal.committed as u64,
            header_is_broken: wal.header_is_broken,
            broken: is_damaged.then_some(wal.valid as u64 + 1),
            valid_behind: count(State::Proven),
            doubtful_behind: count(State::Doubtful),
            commits_behind: proven.clone().filter(|frame| frame.size != 0).count() as u64,
            pages_behind: proven.map(|frame| frame.page).collect::<BTreeSet<_>>().into_iter().collect(),
            messages_behind: rescued
                .map(|(position, one)| message(survey, *position, Some(one.sender), Some(one.recipient)))
                .collect(),
            unfinished: !is_damaged && goes_on,
        }
    }
}

fn message(survey: &Survey<'_>, position: u64, sender: Option<u64>, recipient: Option<u64>) -> Message {
    let name = |id: Option<u64>| id.map(|id| name(survey, id));
    Message { position, sender: name(sender), recipient: name(recipient) }
}

/// An address, or its number when it is not known.
fn name(survey: &Survey<'_>, id: u64) -> String {
    survey.address(id).map_or_else(|| format!("address {id}"), str::to_owned)
}

impl Lost {
    fn of(survey: &Survey<'_>, broken: &[BrokenPage]) -> Lost {
        let message = |row: &LostRow| LostMessage {
            message: message(survey, row.position, row.sender, row.recipient),
            time: row.time,
        };
        let indexed = survey.meta.get("indexed").copied();
        let index_is_whole = !survey.is_torn("log_by_account");
        // Below a page that only leads to others nothing is lost when all of those are there.
        let is_found = survey.cut_off == 0 && survey.unwritten_astray == 0 && survey.length_is_known();
        let are_all_there = is_found && !broken.iter().any(|page| page.part == Part::Unknown);
        let is_unnamed = |gap: &Gap| {
            let is_named = index_is_whole && indexed.is_some_and(|indexed| gap.between.1 <= indexed);
            let leads_to_others = are_all_there && part_of(survey, gap) == Part::Interior;
            survey.name_of(gap.object) == "log" && !(gap.is_overflow || is_named || leads_to_others)
        };
        let has_no_root =
            survey.is_torn("log") && survey.gaps.iter().all(|gap| survey.name_of(gap.object) != "log");
        let without = |known: &dyn Fn(&u64) -> bool| {
            let names = survey.account_names.iter().filter(|(id, _)| !known(id));
            names.map(|(_, name)| name.clone()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        let is_torn = |table: &str| survey.is_torn(table);
        let told = ["log", "account", "progress", "buddy", "file", "log_by_account", "log_by_peer", "meta"];
        let tables: BTreeSet<&str> = survey
            .layout
            .objects
            .iter()
            .filter(|object| !object.is_index && !told.contains(&object.name.as_str()))
            .map(|object| object.name.as_str())
            .filter(|table| is_torn(table))
            .collect();
        Lost {
            messages: survey.lost_rows.iter().map(message).collect(),
            unnamed_messages: survey.gaps.iter().any(is_unnamed) || has_no_root && !are_all_there,
            accounts: without(&|id| survey.accounts.contains(id)),
            progress: match is_torn("progress") {
                true => without(&|id| survey.with_progress.contains(id)),
                false => Vec::new(),
            },
            buddies: survey
                .lost_buddies()
                .into_iter()
                .map(|one| LostBuddy { account: name(survey, one.account), peer: name(survey, one.peer) })
                .collect(),
            files: survey
                .lost_files()
                .map(|(account, path)| LostFile { account: name(survey, account), path: path.to_owned() })
                .collect(),
            tables: tables.into_iter().map(str::to_owned).collect(),
        }
    }
}
