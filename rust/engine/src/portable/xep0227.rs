//! XEP-0227, Portable Import/Export Format: what of it is understood, and what is kept as it stands.

use super::tree::{Element, parse};
use crate::error::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::{Body, Content};
use rosterkit_core::files::{FilePath, PROFILE};
use rosterkit_core::id::{ClientId, MessageId};
use rosterkit_core::time::Timestamp;
use rosterkit_core::vcard::avatar;
use rosterkit_core::write::{Credential, File};
use std::path::Path;
use std::sync::Arc;

pub(super) const PIE: &str = "urn:xmpp:pie:0";
const SCRAM: &str = "urn:xmpp:pie:0#scram";
const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";
pub(super) const CLIENT: &str = "jabber:client";
pub(super) const ROSTER: &str = "jabber:iq:roster";
const PRIVACY: &str = "jabber:iq:privacy";
pub(super) const BLOCKING: &str = "urn:xmpp:blocking";
const VCARD: &str = "vcard-temp";
pub(super) const DELAY: &str = "urn:xmpp:delay";
pub(super) const ORIGIN_ID: &str = "urn:xmpp:sid:0";
/// What only we write.
pub(super) const EXPORT: &str = "urn:rosterkit:export:0";

/// How often a file may include another.
const MAX_INCLUDES: usize = 4;

/// An account as an export has it.
#[derive(Debug)]
pub(super) struct ImportedAccount {
    pub(super) address: Address,
    pub(super) credentials: Vec<Credential>,
    pub(super) roster: Vec<ImportedBuddy>,
    /// Who asked and waits for an answer.
    pub(super) asking: Vec<Address>,
    pub(super) blocked: Vec<Address>,
    pub(super) messages: Vec<ImportedMessage>,
    /// The vCard, and what has no place of its own, as it stands: private XML, foreign namespaces.
    pub(super) files: Vec<File>,
    /// The hash of the image in its vCard, when it has one.
    pub(super) avatar: Option<Option<Arc<str>>>,
}

#[derive(Debug)]
pub(super) struct ImportedBuddy {
    pub(super) address: Address,
    pub(super) name: String,
    pub(super) groups: Vec<String>,
    pub(super) to: bool,
    pub(super) from: bool,
    pub(super) asked: bool,
}

#[derive(Debug)]
pub(super) struct ImportedMessage {
    pub(super) sender: Address,
    pub(super) time: Option<Timestamp>,
    pub(super) client_id: Option<ClientId>,
    pub(super) content: Content,
    /// As an export of ours has them.
    pub(super) id: Option<MessageId>,
    pub(super) expires: Option<Timestamp>,
}

/// Reads a file and those it includes.
pub(super) fn read(path: &Path) -> Result<Vec<(Domain, Vec<ImportedAccount>)>> {
    let root = document(path)?;
    let mut hosts = Vec::new();
    match root {
        root if root.is(PIE, "server-data") => {
            for element in included(&root, path, MAX_INCLUDES)? {
                if element.is(PIE, "host") {
                    hosts.push(host(&element, path)?);
                } else {
                    return Err(broken(path, &format!("<{}> is no host", element.name)));
                }
            }
        }
        root if root.is(PIE, "host") => hosts.push(host(&root, path)?),
        root => {
            let what = format!(
                "its element is <{} xmlns={:?}>, not XEP-0227's <server-data>",
                root.name, root.namespace
            );
            return Err(broken(path, &what));
        }
    }
    Ok(hosts)
}

fn document(path: &Path) -> Result<Element> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| broken(path, &format!("it cannot be read: {error}")))?;
    parse(&text).map_err(|what| broken(path, &what))
}

/// The child elements, with those that are included in place of their `xi:include`. Only files beside the including
/// one are taken: an import follows nobody out of its folder.
fn included(element: &Element, path: &Path, depth: usize) -> Result<Vec<Element>> {
    let mut children = Vec::new();
    for child in element.elements() {
        if !child.is(XINCLUDE, "include") {
            children.push(child.clone());
            continue;
        }
        let href = child.attribute("href").unwrap_or_default();
        let refused =
            |why: &str| Err(broken(path, &format!("the include of {href:?} is not followed: {why}")));
        if child.attribute("parse").is_some_and(|parse| parse != "xml")
            || child.attribute("xpointer").is_some()
        {
            return refused("only whole XML documents are");
        }
        if href.is_empty() || href.contains(['/', '\\', ':']) || href == ".." {
            return refused("only files in the same folder are");
        }
        if depth == 0 {
            return refused("it is nested too deeply");
        }
        let beside = path.with_file_name(href);
        let mut root = document(&beside)?;
        let nested = included(&root, &beside, depth - 1)?;
        root.children = nested.into_iter().map(super::tree::Node::Element).collect();
        children.push(root);
    }
    Ok(children)
}

fn host(element: &Element, path: &Path) -> Result<(Domain, Vec<ImportedAccount>)> {
    let jid = element.attribute("jid").ok_or_else(|| broken(path, "a host without a jid"))?;
    let domain = Domain::new(jid)?;
    let mut accounts = Vec::new();
    for child in included(element, path, MAX_INCLUDES)? {
        if child.is(PIE, "user") {
            accounts.push(account(&child, &domain, path)?);
        }
    }
    Ok((domain, accounts))
}

fn account(element: &Element, domain: &Domain, document: &Path) -> Result<ImportedAccount> {
    let name = element.attribute("name").ok_or_else(|| broken(document, "a user without a name"))?;
    let address = Address::account(&format!("{name}@{domain}"))?;
    let mut account = ImportedAccount {
        address,
        credentials: Vec::new(),
        roster: Vec::new(),
        asking: Vec::new(),
        blocked: Vec::new(),
        messages: Vec::new(),
        files: Vec::new(),
        avatar: None,
    };
    if element.attribute("password").is_some() {
        let what =
            format!("{name} has a plain password, which is not stored: export SCRAM credentials instead");
        return Err(broken(document, &what));
    }
    for child in included(element, document, MAX_INCLUDES)? {
        match (child.namespace.as_str(), child.name.as_str()) {
            (SCRAM, "scram-credentials") => account.credentials.push(Credential {
                mechanism: child.attribute("mechanism").unwrap_or_default().to_owned(),
                verifier: child.to_xml().into_bytes(),
            }),
            (ROSTER, "query") => {
                for item in child.elements().filter(|e| e.is(ROSTER, "item")) {
                    account.roster.push(buddy(item)?);
                }
            }
            (CLIENT, "presence") if child.attribute("type") == Some("subscribe") => {
                let sender = child.attribute("from").unwrap_or_default();
                account.asking.push(Address::new(sender)?.bare());
            }
            (PIE, "offline-messages") => {
                for message in child.elements().filter(|e| e.is(CLIENT, "message")) {
                    account.messages.extend(self::message(message, document)?);
                }
            }
            (PRIVACY, "query") => {
                account.blocked.extend(denied(&child)?);
                account.keep(&child);
            }
            (BLOCKING, "blocklist") => {
                for item in child.elements() {
                    account.blocked.push(Address::new(item.attribute("jid").unwrap_or_default())?.bare());
                }
            }
            (EXPORT, "file") => {
                let path = child.attribute("path").unwrap_or_default();
                let path = FilePath::new(path)?;
                let modified = child.attribute("modified").and_then(|time| time.parse().ok()).unwrap_or(0);
                let bytes = STANDARD
                    .decode(child.content())
                    .map_err(|_| broken(document, &format!("{} is not in base64", path.as_str())))?;
                if path.as_str() == PROFILE {
                    account.avatar = Some(avatar(&bytes)?);
                }
                let (path, modified) = (path.as_str().to_owned(), Timestamp(modified));
                account.files.push(File { path, bytes, modified });
            }
            _ => account.keep(&child),
        }
    }
    Ok(account)
}

impl ImportedAccount {
    /// Keeps an element that has no place of its own, as a file, so that an export can give it back.
    fn keep(&mut self, element: &Element) {
        let number = self.files.len();
        let (bytes, is_new) = (element.to_xml().into_bytes(), self.avatar.is_none());
        let vcard = Some(&bytes).filter(|_| is_new && element.is(VCARD, "vCard"));
        let avatar = vcard.and_then(|bytes| avatar(bytes).ok());
        let path = match avatar {
            Some(_) => PROFILE.to_owned(),
            None => format!("private/xep0227/{number:03}-{}.xml", element.name),
        };
        self.avatar = self.avatar.take().or(avatar);
        self.files.push(File { path, bytes, modified: Timestamp(0) });
    }
}

fn buddy(item: &Element) -> Result<ImportedBuddy> {
    let subscription = item.attribute("subscription").unwrap_or("none");
    Ok(ImportedBuddy {
        address: Address::new(item.attribute("jid").unwrap_or_default())?.bare(),
        name: item.attribute("name").unwrap_or_default().to_owned(),
        groups: item
            .elements()
            .filter(|e| e.is(ROSTER, "group"))
            .map(Element::content)
            .filter(|g| !g.is_empty())
            .collect(),
        to: matches!(subscription, "to" | "both"),
        from: matches!(subscription, "from" | "both"),
        asked: item.attribute("ask") == Some("subscribe"),
    })
}

/// Whom the default privacy list denies everything (XEP-0016): what blocking (XEP-0191) is kept as by servers.
fn denied(query: &Element) -> Result<Vec<Address>> {
    let default = query.find(PRIVACY, "default").and_then(|e| e.attribute("name"));
    let list = query.elements().find(|e| e.is(PRIVACY, "list") && e.attribute("name") == default);
    let items = list.into_iter().flat_map(Element::elements);
    items
        .filter(|i| i.attribute("type") == Some("jid") && i.attribute("action") == Some("deny"))
        // An item with children denies only some sorts of stanza.
        .filter(|i| i.elements().next().is_none())
        .map(|i| Ok(Address::new(i.attribute("value").unwrap_or_default())?.bare()))
        .collect()
}

/// A stored message. One without a body (a receipt, say) is none that a person reads.
fn message(element: &Element, path: &Path) -> Result<Option<ImportedMessage>> {
    let Some(body) = element.find(CLIENT, "body") else {
        return Ok(None);
    };
    let delay = element.find(DELAY, "delay").and_then(|e| e.attribute("stamp"));
    let time = match delay {
        Some(stamp) => Some(
            timestamp(stamp)
                .ok_or_else(|| broken(path, &format!("{stamp:?} is no time as XEP-0082 has it")))?,
        ),
        None => None,
    };
    let origin_id = element.find(ORIGIN_ID, "origin-id").and_then(|e| e.attribute("id"));
    let sender = Address::new(element.attribute("from").unwrap_or_default())?;
    // A name that is no client id deduplicates nothing; it stays in the extensions.
    let client_id = origin_id.and_then(|id| ClientId::new(id).ok());
    if let Some(kept) = element.find(EXPORT, "kept") {
        let (content, id, expires) = self::kept(kept, &body.content())
            .ok_or_else(|| broken(path, "a message that we exported is not as we wrote it"))?;
        return Ok(Some(ImportedMessage { sender, time, client_id, content, id, expires }));
    }
    let known = |e: &&Element| e.is(CLIENT, "body") || e.is(DELAY, "delay");
    let extensions: Arc<[u8]> = match element.elements().all(|e| known(&e)) {
        true => Arc::default(),
        false => element.to_xml().into_bytes().into(),
    };
    let content = Content { extensions, ..Content::text(&body.content()) };
    Ok(Some(ImportedMessage { sender, time, client_id, content, id: None, expires: None }))
}

/// What an export of ours says of a message besides.
fn kept(kept: &Element, text: &str) -> Option<(Content, Option<MessageId>, Option<Timestamp>)> {
    let id_of = |name: &str| match kept.attribute(name) {
        Some(id) => MessageId::parse(id).ok().map(Some),
        None => Some(None),
    };
    let decoded = |name: &str| match kept.find(EXPORT, name) {
        Some(element) => STANDARD.decode(element.content()).ok().map(Some),
        None => Some(None),
    };
    let body = match (decoded("text")?, decoded("data")?) {
        (Some(text), _) => Body::Text(String::from_utf8(text).ok()?.into()),
        (_, Some(bytes)) => {
            let media_type = kept.find(EXPORT, "data")?.attribute("type")?.into();
            Body::Data { media_type, bytes: bytes.into() }
        }
        (None, None) => Body::Text(text.into()),
    };
    let extensions = decoded("extensions")?.unwrap_or_default().into();
    let expires = match kept.attribute("expires") {
        Some(expires) => Some(Timestamp(expires.parse().ok()?)),
        None => None,
    };
    Some((Content { body, extensions, reply_to: id_of("reply-to")? }, id_of("id")?, expires))
}

/// XEP-0082: `2026-11-24T12:53:55.952865Z`, or with an offset such as `+02:00`.
fn timestamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, offset) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (hours, minutes) = time[at + 1..].split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            (&time[..at], if time[at..].starts_with('-') { -minutes } else { minutes })
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && (0..=9999).contains(&year);
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Days since 1970-01-01, by Howard Hinnant's `days_from_civil`.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let days =
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
    in_range.then_some(Timestamp(seconds * 1_000 + millis))
}

fn broken(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{} cannot be imported: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some(Timestamp(0)));
        assert_eq!(timestamp("2026-11-24T12:53:55.952865Z"), Some(Timestamp(1_795_524_835_952)));
        assert_eq!(timestamp("2000-02-29T23:59:59+02:30"), timestamp("2000-02-29T21:29:59.000Z"));
        for wrong in ["", "2026-11-24", "2026-13-24T00:00:00Z", "2026-11-24T00:00Z", "2026-11-24T24:00:00Z"] {
            assert_eq!(timestamp(wrong), None, "{wrong}");
        }
    }
}
