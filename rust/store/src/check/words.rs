//! What was found, in words.

use super::pages::Fault;
use super::report::{Lost, LostBuddy, LostFile, Message, PageCounts, Part, Report, WalReport};
use std::fmt;

/// So many of each are named one by one.
const NAMED: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PageCounts { all, broken, never_written, free, unsealed, cut_off, unplaced } = self.pages;
        let verdict = if self.is_whole() { "whole" } else { "DAMAGED" };
        writeln!(f, "{}: {verdict}", self.path)?;
        if self.newer {
            writeln!(f, "  a newer version wrote it: what this one does not know was not looked at")?;
        }
        if self.unfinished {
            writeln!(f, "  its making was cut off: it holds nothing yet")?;
        }
        write!(f, "  {all} pages, {broken} broken, {free} free")?;
        let also = [
            (never_written, "never written"),
            (unsealed, "without a checksum, as another SQLite writes them"),
            (cut_off, "cut off"),
            (unplaced, "to which nothing leads"),
        ];
        for (count, what) in also.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        writeln!(f)?;
        list(f, &self.broken, |f, page| {
            write!(f, "  page {}: {}; {}", page.page, fault(page.fault), part(page.part))?;
            match &page.table {
                Some(table) if page.part != Part::FreeList => write!(f, " of {table}{}", about(table)),
                _ => Ok(()),
            }
        })?;
        if let Some(wal) = &self.wal {
            wal.fmt(f)?;
        }
        write!(f, "  {} messages are whole", self.messages)?;
        if self.rescued > 0 {
            write!(f, "; {} more prove themselves, and salvage brings them back", self.rescued)?;
        }
        writeln!(f)?;
        self.lost.fmt(f)?;
        list(f, &self.findings, |f, finding| {
            write!(f, "  {} {}: {}", finding.table, finding.key, finding.what)
        })?;
        match self.more_findings {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more of the kind"),
        }
    }
}

impl fmt::Display for WalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WalReport { frames, valid, committed, .. } = self;
        writeln!(f, "  write-ahead log: {frames} frames, {valid} whole, {committed} committed")?;
        if self.unfinished {
            writeln!(
                f,
                "    at its end a transaction that is not whole: it was never finished, and never answered; or the last one is damaged"
            )?;
        }
        let messages = self.messages_behind.len();
        match self.broken {
            None if messages == 0 => return Ok(()),
            None => writeln!(
                f,
                "    {messages} messages stand in it; opening the file drops them, salvage brings them back"
            )?,
            Some(broken) => {
                match self.header_is_broken {
                    true => writeln!(f, "    its header is broken: a reader sees nothing of it")?,
                    false => {
                        writeln!(f, "    frame {broken} is broken: a reader sees nothing from there on")?
                    }
                }
                writeln!(
                    f,
                    "    behind it {} frames are as they were written, {} of them commits; {} more are of this log",
                    self.valid_behind, self.commits_behind, self.doubtful_behind
                )?;
                writeln!(
                    f,
                    "    opening the file would write over them; they are of pages {:?}",
                    self.pages_behind
                )?;
                writeln!(f, "    {messages} messages are there and nowhere else")?;
            }
        }
        list(f, &self.messages_behind, |f, message| write!(f, "    {message}"))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "somebody".into());
        write!(f, "at {}, from {} to {}", self.position, name(&self.sender), name(&self.recipient))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.messages.is_empty() {
            writeln!(f, "  {} messages are lost", self.messages.len())?;
        }
        list(f, &self.messages, |f, lost| {
            write!(f, "    {}", lost.message)?;
            lost.time.map_or(Ok(()), |time| write!(f, ", Unix time {}", time / 1_000))
        })?;
        if self.unnamed_messages {
            writeln!(f, "  messages may be lost of which nothing is known")?;
        }
        list(f, &self.accounts, |f, name| write!(f, "  the record of the account {name} is lost"))?;
        list(f, &self.progress, |f, name| write!(f, "  how far {name} has read is lost"))?;
        list(f, &self.buddies, |f, LostBuddy { account, peer }| {
            write!(f, "  what {account} calls {peer} is lost, and in which groups")
        })?;
        list(f, &self.files, |f, LostFile { account, path }| {
            write!(f, "  the file {path} of {account} is lost")
        })?;
        list(f, &self.tables, |f, table| {
            write!(f, "  something of {table}{} is lost, and not named elsewhere", about(table))
        })
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    each: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for one in all.iter().take(NAMED) {
        each(f, one)?;
        writeln!(f)?;
    }
    match all.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => writeln!(f, "    and {more} more"),
    }
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Checksum => "not what was written there",
        Fault::NeverWritten => "nothing was ever written there",
        Fault::CutOff => "the file ends before it",
        Fault::Unreadable => "the disk does not give it",
        Fault::Malformed => "whole, and no page of the kind that should be there",
        Fault::ClaimedTwice => "two places claim it",
    }
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Leaf => "rows",
        Part::Interior => "the way to rows",
        Part::Tree => "rows, or the way to them,",
        Part::Overflow => "a part of one long row",
        Part::Free => "it is free, and nothing is lost",
        Part::FreeList => "it is of the list of free pages, and nothing is lost",
        Part::Unknown => "nothing whole leads to it",
    }
}

/// What a table is for.
fn about(table: &str) -> &'static str {
    match table {
        "log" => " (messages)",
        "log_by_account"
        | "log_by_peer"
        | "address_live"
        | "account_registered"
        | "account_by_domain"
        | "due_by_position"
        | "delivery_by_time"
        | "sqlite_autoindex_file_1" => " (an index, which salvage makes anew)",
        "client_id" => " (what tells a repeated send)",
        "progress" => " (how far accounts have read)",
        "buddy" => " (rosters)",
        "mark" => " (receipts)",
        "pending" | "outbox" | "forward" => " (what is under way)",
        "delivery" | "seen" => " (what relays delivered)",
        "sqlite_schema" => " (the schema)",
        _ => "",
    }
}
