//! The files that are rendered from the log: an account's messages with a peer, and those that wait.
//!
//! A line is a message, as CommuniGate Pro has it: its time in GMT, `<` when it came in and `>` when it went out, and the
//! text in quotes. In the text `\e` is a line break; `\"` and `\\` are themselves.

use crate::error::Result;
use crate::event::Message;
use crate::readers::ReadConnection;
use rosterkit_core::address::Address;
use rosterkit_core::content::Body;
use rosterkit_core::files::FilePath;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::rules::LocalTime;
use rosterkit_core::time::Timestamp;
use rosterkit_store::{Anchor, Direction, FileInfo, HistoryQuery};
use std::fmt::Write as _;

/// How many messages a file shows at the most: the latest.
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
        while messages.len() < MOST {
            let direction = Direction::Older;
            let query = HistoryQuery { account, peer: Some(peer), anchor, direction, limit: PAGE };
            let mut page = self.history(query, None)?;
            let Some(first) = page.messages.first() else { break };
            anchor = Anchor::Row(first.position);
            page.messages.append(&mut messages);
            messages = page.messages;
            if page.complete {
                break;
            }
        }
        Ok((!messages.is_empty()).then(|| rendered(&messages)))
    }

    /// The account's unclaimed messages; `None` when there are none.
    pub(crate) fn waiting(&mut self, unclaimed: &[Position]) -> Result<Option<Vec<u8>>> {
        let rows = self.store.rows_at(&unclaimed[..unclaimed.len().min(MOST)])?;
        let rows = self.named(rows)?;
        let messages: Vec<Message> =
            rows.iter().filter_map(|(row, addresses)| crate::view::message(row, addresses, false)).collect();
        Ok((!messages.is_empty()).then(|| rendered(&messages)))
    }

    /// The files that are rendered, as far as there are any.
    pub(crate) fn rendered_files(
        &mut self,
        account: AddressId,
        unclaimed: &[Position],
    ) -> Result<Vec<FileInfo>> {
        let mut files = Vec::new();
        if let Some(bytes) = self.waiting(unclaimed)? {
            let path = FilePath::offline().as_str().to_owned();
            files.push(FileInfo { path, size: bytes.len() as u64, modified: Timestamp(0) });
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
            // How long it is takes reading all of it.
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
