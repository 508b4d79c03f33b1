//! The files that are rendered from the log: an account's messages with a peer, and those that wait.
//!
//! A line is a message, as CommuniGate Pro has it: its time in GMT, `<` when it came in and `>` when it went out, and the
//! text in quotes. In the text `\e` is a line break; `\"` and `\\` are themselves.

use crate::error::Result;
use crate::event::Message;
use crate::readers::ReadConnection;
use rosterkit_core::address::Address;
use rosterkit_core::content::Body;
use rosterkit_core::files::{FilePath, MAX_FILE_BYTES};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::rules::LocalTime;
use rosterkit_store::{Anchor, Direction, FileInfo, HistoryQuery};
use std::fmt::Write as _;

/// How much of what they say a log shows at the most, in bytes: the latest messages that fit.
const MOST_BYTES: usize = MAX_FILE_BYTES;
/// How many messages it shows at the most.
const MOST: usize = 10_000;
/// How many are read at once.
const PAGE: usize = 1_000;

impl ReadConnection {
    /// The account's messages with a peer; `None` when there are none.
    pub(crate) fn log_with(&mut self, account: AddressId, peer: &str) -> Result<Option<Vec<u8>>> {
        let Ok(peer) = Address::account(peer) else { return Ok(None) };
        let Some(peer) = self.store.address_id(&peer)? else { return Ok(None) };
        let mut messages: Vec<Message> = Vec::new();
        let mut anchor = Anchor::End;
        let mut room = MOST_BYTES;
        while messages.len() < MOST {
            let direction = Direction::Older;
            let query = HistoryQuery { account, peer: Some(peer), anchor, direction, limit: PAGE };
            let mut page = self.history(query, None)?;
            let Some(first) = page.messages.first() else { break };
            anchor = Anchor::Row(first.position);
            let found = page.messages.len();
            let fitting = page.messages.iter().rev().take_while(|message| {
                let left = room.checked_sub(message.content.size());
                room = left.unwrap_or(0);
                left.is_some()
            });
            let mut fitting = page.messages.split_off(found - fitting.count());
            let full = fitting.len() < found;
            fitting.append(&mut messages);
            messages = fitting;
            if page.complete || full {
                break;
            }
        }
        Ok((!messages.is_empty()).then(|| rendered(&messages)))
    }

    /// The account's unclaimed messages; `None` when there are none.
    pub(crate) fn waiting(&mut self, unclaimed: &[Position]) -> Result<Option<Vec<u8>>> {
        let messages = self.messages_at(&unclaimed[..unclaimed.len().min(MOST)])?;
        Ok((!messages.is_empty()).then(|| rendered(&messages)))
    }

    fn messages_at(&mut self, positions: &[Position]) -> Result<Vec<Message>> {
        let rows = self.store.rows_at(positions)?;
        let rows = self.named(rows)?;
        Ok(rows
            .into_iter()
            .filter_map(|(row, addresses)| crate::view::message(row, &addresses, false))
            .collect())
    }

    /// The files that are rendered, as far as there are any whose paths begin so. How long they are takes reading all of
    /// them: their size is given as 0.
    pub(crate) fn rendered_files(
        &mut self,
        account: AddressId,
        prefix: &str,
        unclaimed: &[Position],
    ) -> Result<Vec<FileInfo>> {
        let mut files = Vec::new();
        if !FilePath::is_rendered_under(prefix) {
            return Ok(files);
        }
        let offline = FilePath::offline();
        if offline.as_str().starts_with(prefix)
            && let Some(latest) = unclaimed.last()
            && let Some(latest) = self.messages_at(&[*latest])?.pop()
        {
            let path = offline.as_str().to_owned();
            files.push(FileInfo { path, size: 0, modified: latest.time });
        }
        for (peer, _) in self.store.latest_of_peers(account, Position::MAX)? {
            let query = HistoryQuery {
                account,
                peer: Some(peer),
                anchor: Anchor::End,
                direction: Direction::Older,
                limit: 1,
            };
            let Some(latest) = self.history(query, None)?.messages.pop() else { continue };
            let peer = if latest.copy { &latest.recipient } else { &latest.sender };
            let path = FilePath::log_of(peer.bare_str());
            files.push(FileInfo { path, size: 0, modified: latest.time });
        }
        Ok(files)
    }
}

fn rendered(messages: &[Message]) -> Vec<u8> {
    let mut out = String::new();
    for message in messages {
        let local = LocalTime::at(message.time, 0);
        let date = local.date.to_string().replace('-', "");
        let time = local.time.to_string().replace(':', "");
        let seconds = message.time.0.div_euclid(1_000).rem_euclid(60);
        let direction = if message.copy { '>' } else { '<' };
        // Writing to a string cannot fail.
        let _ = write!(out, "{date}T{time}{seconds:02} {direction}\"");
        match &message.content.body {
            Body::Text(text) => out.extend(text.chars().map(escaped)),
            Body::Data { media_type, bytes } => {
                let _ = write!(out, "[{media_type}, {} bytes]", bytes.len());
            }
        }
        out.push_str("\"\n");
    }
    out.into_bytes()
}

fn escaped(c: char) -> String {
    match c {
        '\n' => "\\e".into(),
        '\r' => String::new(),
        '"' | '\\' => format!("\\{c}"),
        c => c.into(),
    }
}
