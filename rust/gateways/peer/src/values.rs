//! Parcels and notices, and the rules by which they are written and read. What breaks a rule is not sent, so that it never
//! costs a connection that others use too.

use crate::MAX_PAYLOAD_BYTES;
use crate::cbor::{List, from_bytes, to_bytes};
use crate::error::{ProtocolError, Unsendable};
use crate::frame::{Frame, Kind};
use crate::names::{CHAT_STATES, OPS, name_of, named};
use crate::wire;
use minicbor::Decode;
use minicbor::bytes::ByteSlice;
use rosterkit::{
    Address, Amends, Body, Content, Contents, InvitationToken, MessageId, Notice, Parcel, Position, Presence,
    RelayedMessage, RosterSignal, State, Timestamp,
};
use std::sync::Arc;

/// The most items that a parcel has.
pub const MAX_ITEMS: usize = 256;
/// The longest that a delivery id is; the shortest is a byte.
pub const MAX_DELIVERY_ID_BYTES: usize = 256;
/// The most domains that a Hello has, as many as it holds if all are as long as can be.
pub(crate) const MAX_DOMAINS: usize = 1000;
/// The most that only clients understand of a presence, as the engine has it.
const MAX_PRESENCE_EXTENSIONS_BYTES: usize = 4_096;
/// The longest note of a presence, as the engine has it.
const MAX_PRESENCE_NOTE_BYTES: usize = 1024;
/// The longest reason of a failure or a goodbye. Longer ones are shortened, not refused: they are for people.
const MAX_REASON_BYTES: usize = 1024;

/// What a value breaks; as a text it follows "a frame has" and "the peer link does not carry".
type Broken = &'static str;

const ADDRESS: Broken = "an address that is not user@domain, or with an instance where none belongs";
const DELIVERY_ID: Broken = "a delivery id that does not have 1 to 256 bytes";
const COUNT: Broken = "no messages, or more than 256";
const OP: Broken = "an op that the other side is not told";
const STAMP: Broken = "a stamp that is no position";
const EXTENSIONS: Broken = "a presence with extensions of more than 4,096 bytes";
const TOKEN: Broken = "a handshake with an invitation token that is none";
const NOTE: Broken = "a presence with a note of more than 1,024 bytes";
const AVATAR: Broken = "an avatar that is no SHA-1 in lower-case hex";
const STATE: Broken = "a state that there is not";
const FIELDS: Broken = "fields that are missing or of another type";

pub(crate) fn malformed(kind: Kind, what: Broken) -> ProtocolError {
    ProtocolError::Malformed { frame: kind.name(), what }
}

fn read<'b, T: Decode<'b, ()>>(payload: &'b [u8]) -> Result<T, Broken> {
    from_bytes(payload).map_err(|_| FIELDS)
}

fn sendable(frame: Frame<Vec<u8>>) -> Result<Frame<Vec<u8>>, Unsendable> {
    match frame.payload.len() {
        bytes if bytes > MAX_PAYLOAD_BYTES => Err(Unsendable::TooLarge { bytes }),
        _ => Ok(frame),
    }
}

pub(crate) fn write_parcel(parcel: &Parcel) -> Result<Frame<Vec<u8>>, Unsendable> {
    let checked = bare(&parcel.sender).and_then(|()| bare(&parcel.recipient));
    checked.map_err(Unsendable::Malformed)?;
    let (sender, recipient) = (parcel.sender.as_str(), parcel.recipient.as_str());
    let (kind, payload) = match &parcel.contents {
        Contents::Messages(messages) => {
            count(messages.len()).map_err(Unsendable::Malformed)?;
            let messages = messages.iter().map(write_message).collect::<Result<_, _>>();
            let messages = List(messages.map_err(Unsendable::Malformed)?);
            (Kind::Messages, to_bytes(&wire::Messages { sender, recipient, messages }))
        }
        Contents::Roster(signal) => {
            let roster = write_roster(sender, recipient, signal).map_err(Unsendable::Malformed)?;
            (Kind::Roster, to_bytes(&roster))
        }
    };
    sendable(Frame { kind, payload })
}

pub(crate) fn read_messages(payload: &[u8]) -> Result<Parcel, Broken> {
    let parcel: wire::Messages<'_> = read(payload)?;
    let (sender, recipient) = (address(parcel.sender)?, address(parcel.recipient)?);
    bare(&sender).and_then(|()| bare(&recipient))?;
    count(parcel.messages.0.len())?;
    let messages = parcel.messages.0.iter().map(|message| read_message(&sender, message));
    let contents = Contents::Messages(messages.collect::<Result<_, _>>()?);
    Ok(Parcel { sender, recipient, contents })
}

fn write_message(message: &RelayedMessage) -> Result<wire::Message<'_>, Broken> {
    let (text, media_type, data) = match &message.content.body {
        Body::Text(text) => (Some(&**text), None, None),
        Body::Data { media_type, bytes } => (None, Some(&**media_type), Some((&**bytes).into())),
    };
    let extensions = &message.content.extensions;
    let (edits, retracts) = match &message.amends {
        None => (None, None),
        Some(Amends::Edit(id)) => (Some(id), None),
        Some(Amends::Retract(id)) => (None, Some(id)),
    };
    Ok(wire::Message {
        delivery_id: delivery_id(message.delivery_id.as_deref())?,
        id: message.id.as_ref().map(id_bytes),
        instance: message.instance.as_deref(),
        time: message.time.map(|time| time.0),
        text,
        media_type,
        data,
        extensions: (!extensions.is_empty()).then(|| (&**extensions).into()),
        edits: edits.map(id_bytes),
        retracts: retracts.map(id_bytes),
        expires: message.expires.map(|time| time.0),
        reply_to: message.content.reply_to.as_ref().map(id_bytes),
    })
}

fn id_bytes(id: &MessageId) -> &ByteSlice {
    id.0.as_bytes().as_slice().into()
}

fn id_of(bytes: Option<&ByteSlice>) -> Result<Option<MessageId>, Broken> {
    let id = bytes.map(|bytes| uuid::Uuid::from_slice(bytes).map(MessageId));
    id.transpose().map_err(|_| "a message id that does not have 16 bytes")
}

fn read_message(sender: &Address, message: &wire::Message<'_>) -> Result<RelayedMessage, Broken> {
    let body = match (message.text, message.media_type, message.data) {
        (Some(text), None, None) => Body::Text(text.into()),
        (None, Some(media_type), Some(bytes)) => {
            Body::Data { media_type: media_type.into(), bytes: (**bytes).into() }
        }
        _ => return Err("a message that is neither a text nor data with its media type"),
    };
    let amends = match (id_of(message.edits)?, id_of(message.retracts)?) {
        (None, None) => None,
        (Some(id), None) => Some(Amends::Edit(id)),
        (None, Some(id)) => Some(Amends::Retract(id)),
        (Some(_), Some(_)) => return Err("a message that both edits and retracts"),
    };
    let instance = message.instance.map(|instance| sender.with_instance(instance));
    let instance = instance.transpose().map_err(|_| ADDRESS)?;
    Ok(RelayedMessage {
        delivery_id: delivery_id(message.delivery_id)?.map(Into::into),
        id: id_of(message.id)?,
        instance: instance.as_ref().and_then(Address::instance).map(Into::into),
        time: message.time.map(Timestamp),
        content: Content {
            body,
            extensions: message.extensions.map(|bytes| Arc::from(&**bytes)).unwrap_or_default(),
            reply_to: id_of(message.reply_to)?,
        },
        amends,
        expires: message.expires.map(Timestamp),
    })
}

fn write_roster<'b>(
    sender: &'b str,
    recipient: &'b str,
    signal: &'b RosterSignal,
) -> Result<wire::Roster<'b>, Broken> {
    Ok(wire::Roster {
        sender,
        recipient,
        delivery_id: delivery_id(signal.delivery_id.as_deref())?,
        op: name_of(&OPS, signal.op).ok_or(OP)?,
        stamp: position(signal.stamp)?,
        note: (!signal.note.is_empty()).then_some(&*signal.note),
        token: signal.token.as_ref().map(InvitationToken::as_str),
    })
}

pub(crate) fn read_roster(payload: &[u8]) -> Result<Parcel, Broken> {
    let roster: wire::Roster<'_> = read(payload)?;
    let (sender, recipient) = (address(roster.sender)?, address(roster.recipient)?);
    bare(&sender).and_then(|()| bare(&recipient))?;
    let signal = RosterSignal {
        delivery_id: delivery_id(roster.delivery_id)?.map(Into::into),
        op: named(&OPS, roster.op).ok_or(OP)?,
        stamp: position(roster.stamp)?,
        note: roster.note.unwrap_or_default().into(),
        token: roster.token.map(InvitationToken::new).transpose().map_err(|_| TOKEN)?,
    };
    Ok(Parcel { sender, recipient, contents: Contents::Roster(signal) })
}

pub(crate) fn write_notice(notice: &Notice) -> Result<Frame<Vec<u8>>, Unsendable> {
    let named_user = |a: &Address, b: &Address| user(a).and_then(|()| user(b));
    let (kind, payload) = match notice {
        Notice::Presence { subject, watcher, presence } => {
            let checked = named_user(subject, watcher).and_then(|()| note(presence.note.as_deref()));
            let note = checked.map_err(Unsendable::Malformed)?;
            let avatar = avatar(presence.avatar.as_deref()).map_err(Unsendable::Malformed)?;
            let extensions = extensions(Some(&presence.extensions)).map_err(Unsendable::Malformed)?;
            let extensions = (!extensions.is_empty()).then(|| extensions.into());
            let (subject, watcher) = (subject.as_str(), watcher.as_str());
            let state = presence.state.as_str();
            (Kind::Presence, to_bytes(&wire::Presence { subject, watcher, state, note, avatar, extensions }))
        }
        Notice::Probe { watcher, subject } => {
            named_user(subject, watcher).map_err(Unsendable::Malformed)?;
            let (watcher, subject) = (watcher.as_str(), subject.as_str());
            (Kind::Probe, to_bytes(&wire::Probe { watcher, subject }))
        }
        Notice::Typing { sender, recipient, state } => {
            named_user(sender, recipient).map_err(Unsendable::Malformed)?;
            let state = name_of(&CHAT_STATES, *state).ok_or(Unsendable::Malformed(STATE))?;
            let (sender, recipient) = (sender.as_str(), recipient.as_str());
            (Kind::Typing, to_bytes(&wire::Typing { sender, recipient, state }))
        }
    };
    sendable(Frame { kind, payload })
}

/// A SHA-1, as XEP-0153 has it.
fn avatar(hash: Option<&str>) -> Result<Option<&str>, Broken> {
    let is_hash =
        |hash: &&str| hash.len() == 40 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hash.is_some_and(|hash| !is_hash(&hash)) { Err(AVATAR) } else { Ok(hash) }
}

fn extensions(given: Option<&[u8]>) -> Result<&[u8], Broken> {
    let given = given.unwrap_or_default();
    if given.len() > MAX_PRESENCE_EXTENSIONS_BYTES { Err(EXTENSIONS) } else { Ok(given) }
}

pub(crate) fn read_presence(payload: &[u8]) -> Result<Notice, Broken> {
    let notice: wire::Presence<'_> = read(payload)?;
    let (subject, watcher) = (address(notice.subject)?, address(notice.watcher)?);
    let state: State = notice.state.parse().map_err(|_| STATE)?;
    let presence = Presence {
        state,
        note: note(notice.note)?.map(Into::into),
        avatar: avatar(notice.avatar)?.map(Into::into),
        extensions: extensions(notice.extensions.map(|bytes| &**bytes))?.into(),
    };
    Ok(Notice::Presence { subject, watcher, presence })
}

pub(crate) fn read_probe(payload: &[u8]) -> Result<Notice, Broken> {
    let notice: wire::Probe<'_> = read(payload)?;
    Ok(Notice::Probe { watcher: address(notice.watcher)?, subject: address(notice.subject)? })
}

pub(crate) fn read_typing(payload: &[u8]) -> Result<Notice, Broken> {
    let notice: wire::Typing<'_> = read(payload)?;
    let (sender, recipient) = (address(notice.sender)?, address(notice.recipient)?);
    let state = named(&CHAT_STATES, notice.state).ok_or(STATE)?;
    Ok(Notice::Typing { sender, recipient, state })
}

pub(crate) fn write_goodbye(reason: &str) -> Frame<Vec<u8>> {
    Frame { kind: Kind::Goodbye, payload: to_bytes(&wire::Goodbye { reason: shortened(reason) }) }
}

pub(crate) fn read_goodbye(payload: &[u8]) -> Result<Arc<str>, Broken> {
    let goodbye: wire::Goodbye<'_> = read(payload)?;
    Ok(shortened(goodbye.reason).into())
}

/// As much of a reason as is told.
pub(crate) fn shortened(reason: &str) -> &str {
    let ends = (0..=reason.len().min(MAX_REASON_BYTES)).rev();
    &reason[..ends.into_iter().find(|end| reason.is_char_boundary(*end)).unwrap_or(0)]
}

fn address(text: &str) -> Result<Address, Broken> {
    let address = Address::new(text).map_err(|_| ADDRESS)?;
    user(&address).map(|()| address)
}

fn user(address: &Address) -> Result<(), Broken> {
    address.user().map(|_| ()).ok_or(ADDRESS)
}

fn bare(address: &Address) -> Result<(), Broken> {
    if address.instance().is_some() { Err(ADDRESS) } else { user(address) }
}

fn count(items: usize) -> Result<(), Broken> {
    if (1..=MAX_ITEMS).contains(&items) { Ok(()) } else { Err(COUNT) }
}

fn delivery_id(id: Option<&str>) -> Result<Option<&str>, Broken> {
    match id {
        Some(id) if !(1..=MAX_DELIVERY_ID_BYTES).contains(&id.len()) => Err(DELIVERY_ID),
        _ => Ok(id),
    }
}

fn note(note: Option<&str>) -> Result<Option<&str>, Broken> {
    if note.is_some_and(|note| note.len() > MAX_PRESENCE_NOTE_BYTES) { Err(NOTE) } else { Ok(note) }
}

/// A file keeps it as a signed number.
pub(crate) fn position(stamp: u64) -> Result<u64, Broken> {
    if stamp <= Position::MAX.0 { Ok(stamp) } else { Err(STAMP) }
}
