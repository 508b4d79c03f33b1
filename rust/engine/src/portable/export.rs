//! XEP-0227, Portable Import/Export Format: an engine's accounts, written for whoever reads it.
//!
//! What the format has no element for, and an import of ours wants back, is in a namespace of our own: other servers pass it by.

use super::tree::{Element, parse};
use super::xep0227::{BLOCKING, CLIENT, DELAY, EXPORT, ORIGIN_ID, PIE, ROSTER};
use crate::error::{Error, Result};
use crate::messages::RowAddresses;
use crate::readers::ReadConnection;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::Body;
use rosterkit_core::files::PROFILE;
use rosterkit_core::id::Position;
use rosterkit_core::roster::{Buddy, Subscription};
use rosterkit_core::row::{Kind, Row};
use rosterkit_core::rules::LocalTime;
use rosterkit_core::time::Timestamp;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// How many accounts are listed, and how many messages read, at once.
const ACCOUNTS: usize = 1_000;
const MESSAGES: usize = 256;

/// How much an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Accounts.
    pub accounts: usize,
    /// Buddies on their rosters.
    pub buddies: usize,
    /// Messages waiting for them.
    pub messages: usize,
}

/// Writes the accounts of these domains into a new file, which has its name when it is whole and synced.
pub(crate) fn write(connection: &mut ReadConnection, domains: &[Domain], to: &Path) -> Result<ExportSummary> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::from(rosterkit_core::refusal::Refusal::Conflict(
            "there is a file of that name: an export replaces none".into(),
        )),
        _ => Error::storage(format!("the export cannot be written: {error}")),
    };
    if to.try_exists().map_err(failed)? {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
    }
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = tempfile::Builder::new().prefix(".export-").tempfile_in(directory).map_err(failed)?;
    let mut out = BufWriter::new(partial);
    let mut found = ExportSummary::default();
    writeln!(out, "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns=\"{PIE}\">").map_err(failed)?;
    for domain in domains {
        let host = Element::new(PIE, "host").with("jid", domain.as_str()).to_xml();
        writeln!(out, "{}", host.replace("/>", ">")).map_err(failed)?;
        let mut after: Option<Address> = None;
        loop {
            let accounts = connection.store.accounts(domain, after.as_ref(), ACCOUNTS)?;
            let Some(last) = accounts.last() else { break };
            after = Some(last.clone());
            for account in accounts {
                // One that was deleted since is not there any more.
                if let Some(user) = user(connection, &account, &mut found)? {
                    writeln!(out, "{}", user.to_xml()).map_err(failed)?;
                }
            }
        }
        writeln!(out, "</host>").map_err(failed)?;
    }
    writeln!(out, "</server-data>").map_err(failed)?;
    let whole = out.into_inner().map_err(|error| failed(error.into_error()))?;
    whole.as_file().sync_all().map_err(failed)?;
    whole.persist_noclobber(to).map_err(|error| failed(error.error))?;
    Ok(found)
}

fn user(
    connection: &mut ReadConnection,
    account: &Address,
    found: &mut ExportSummary,
) -> Result<Option<Element>> {
    let Some(loaded) = connection.store.account(account)? else {
        return Ok(None);
    };
    let id = loaded.record.id;
    let mut user = Element::new(PIE, "user").with("name", account.user().unwrap_or_default());
    for credential in connection.store.credentials(id)? {
        user = user.maybe(xml(&credential.verifier));
    }
    let buddies = connection.store.buddies(id, Position::ZERO)?;
    let listed: Vec<&Buddy> = buddies.iter().filter(|buddy| buddy.listed).collect();
    found.accounts += 1;
    found.buddies += listed.len();
    if !listed.is_empty() {
        let items = listed.into_iter().map(item);
        user = user.child(items.fold(Element::new(ROSTER, "query"), Element::child));
    }
    for asking in buddies.iter().filter(|buddy| buddy.halves.pending_in()) {
        let presence = Element::new(CLIENT, "presence").with("type", "subscribe");
        user = user.child(presence.with("from", asking.address.as_str()).with("to", account.as_str()));
    }
    if !loaded.record.blocked.is_empty() {
        let item = |address: &Address| Element::new(BLOCKING, "item").with("jid", address.as_str());
        let items = loaded.record.blocked.keys().map(item);
        user = user.child(items.fold(Element::new(BLOCKING, "blocklist"), Element::child));
    }
    for info in connection.store.files(id)? {
        if let Some(file) = connection.store.file(id, &info.path)? {
            let as_it_stands = info.path == PROFILE || info.path.starts_with("private/xep0227/");
            let element = as_it_stands.then(|| xml(&file.bytes)).flatten();
            user = user.child(element.unwrap_or_else(|| {
                let modified = info.modified.0.to_string();
                let file_element = Element::new(EXPORT, "file").with("path", &info.path);
                file_element.with("modified", &modified).text(&STANDARD.encode(&file.bytes))
            }));
        }
    }
    let waiting: Vec<Position> = loaded.unclaimed.iter().map(|row| row.position).collect();
    let mut messages = Element::new(PIE, "offline-messages");
    let mut any = false;
    for positions in waiting.chunks(MESSAGES) {
        let rows = connection.store.rows_at(positions)?;
        for (row, addresses) in connection.named(rows)? {
            if let Some(message) = message(&row, &addresses) {
                any = true;
                found.messages += 1;
                messages = messages.child(message);
            }
        }
    }
    Ok(Some(if any { user.child(messages) } else { user }))
}

fn item(buddy: &Buddy) -> Element {
    let subscription = match buddy.halves.subscription() {
        Subscription::None => "none",
        Subscription::To => "to",
        Subscription::From => "from",
        Subscription::Both => "both",
    };
    let mut item = Element::new(ROSTER, "item").with("jid", buddy.address.as_str());
    if !buddy.name.is_empty() {
        item = item.with("name", &writable(&buddy.name));
    }
    item = item.with("subscription", subscription);
    if buddy.halves.pending_out() {
        item = item.with("ask", "subscribe");
    }
    let groups = buddy.groups.iter().map(|group| Element::new(ROSTER, "group").text(&writable(group)));
    groups.fold(item, Element::child)
}

fn message(row: &Row, addresses: &RowAddresses) -> Option<Element> {
    let Kind::Message(content) = &row.entry.kind else { return None };
    let from = match &row.entry.instance {
        Some(instance) => addresses.sender.with_prepared_instance(instance),
        None => addresses.sender.clone(),
    };
    let text = content.as_text().filter(|text| is_xml(text));
    let mut kept = Element::new(EXPORT, "kept").with("id", &row.entry.message_id.to_string());
    if let Some(reply_to) = content.reply_to {
        kept = kept.with("reply-to", &reply_to.to_string());
    }
    if let Some(expires) = row.entry.expires {
        kept = kept.with("expires", &expires.0.to_string());
    }
    match (&content.body, text) {
        (_, Some(_)) => {}
        (Body::Text(text), None) => {
            kept = kept.child(Element::new(EXPORT, "text").text(&STANDARD.encode(&**text)));
        }
        (Body::Data { media_type, bytes }, None) => {
            let data = Element::new(EXPORT, "data").with("type", media_type);
            kept = kept.child(data.text(&STANDARD.encode(bytes)));
        }
    }
    if !content.extensions.is_empty() {
        let bytes = STANDARD.encode(&content.extensions);
        kept = kept.child(Element::new(EXPORT, "extensions").text(&bytes));
    }
    let stamp = Element::new(DELAY, "delay").with("stamp", &stamp(row.entry.time));
    let mut message = Element::new(CLIENT, "message").with("from", from.as_str());
    message = message.with("to", addresses.recipient.as_str()).with("type", "chat");
    message = message.child(Element::new(CLIENT, "body").text(text.unwrap_or_default()));
    if let Some(client_id) = &row.entry.client_id {
        message = message.child(Element::new(ORIGIN_ID, "origin-id").with("id", client_id.as_str()));
    }
    // What came in by an import, or from an XMPP client, is there for others as it was.
    let original = xml(&content.extensions).filter(|element| element.is(CLIENT, "message"));
    for child in original.iter().flat_map(Element::elements) {
        let there = ["body", "delay", "origin-id", "kept"].contains(&child.name.as_str());
        if !there {
            message = message.child(child.clone());
        }
    }
    Some(message.child(stamp).child(kept))
}

/// What is an XML document.
fn xml(bytes: &[u8]) -> Option<Element> {
    parse(std::str::from_utf8(bytes).ok()?).ok()
}

/// Whether a text comes back out of XML 1.0 as it went in: it has no place for most control characters, and makes one line
/// break of all sorts.
fn is_xml(text: &str) -> bool {
    text.chars().all(|c| !matches!(c, '\0'..='\x08' | '\x0b'..='\x1f' | '\u{fffe}' | '\u{ffff}'))
}

/// A name, without what XML has no place for.
fn writable(name: &str) -> String {
    let writable = |c: char| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { ' ' } else { c };
    name.chars().map(writable).collect()
}

/// XEP-0082, in UTC.
fn stamp(time: Timestamp) -> String {
    let local = LocalTime::at(time, 0);
    let (seconds, millis) = (time.0.div_euclid(1_000).rem_euclid(60), time.0.rem_euclid(1_000));
    format!("{}T{}:{seconds:02}.{millis:03}Z", local.date, local.time)
}
