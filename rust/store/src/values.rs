//! What each stored value is made of.

use crate::codec::{Decoder, Encoder, Malformed, number, take_varint, text, unzigzag, varint, zigzag};
use rosterkit_core::account::{Cursor, Device, Progress, Record, Viewer};
use rosterkit_core::address::Address;
use rosterkit_core::content::{Body, Content};
use rosterkit_core::delivery::claims::Claims;
use rosterkit_core::id::{AddressId, ClientId, DeviceName, DeviceNumber, MessageId, Position};
use rosterkit_core::invitation::{Invitation, InvitationToken, TokenHash};
use rosterkit_core::preferences::{AcceptedSenders, Overrides, Receipts};
use rosterkit_core::presence::{LastSeenPrecision, Visibility};
use rosterkit_core::registration::{Registration, RegistrationKind};
use rosterkit_core::roster::{Buddy, Half, Halves, Index, Op, Signal};
use rosterkit_core::row::{Amended, Amendment, Entry, Kind, Outcome, Ruled, Word};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::ClientIdEntry;
use std::sync::Arc;

/// The format number of every value of this version.
const FORMAT: u8 = 1;
/// The field of a row that says what a rule did with it.
const RULED: u64 = 23;

// ---- rows of the log ------------------------------------------------------------------------------------------

/// The body of a row, with a CRC-32 of it and of its key at the end. The sides change later and are not in it.
pub(crate) fn encode_row(position: Position, entry: &Entry) -> Vec<u8> {
    let mut out = Encoder::new(FORMAT);
    out.bytes(1, entry.message_id.0.as_bytes());
    out.number(2, zigzag(entry.time.0));
    out.number(3, word_number(entry.word));
    if let Some(device) = entry.device {
        out.number(4, u64::from(device.0));
    }
    if let Some(instance) = &entry.instance {
        out.text(5, instance);
    }
    if let Some(client_id) = &entry.client_id {
        out.text(6, client_id.as_str());
        out.bytes(7, &entry.fingerprint.to_le_bytes());
    }
    match &entry.kind {
        Kind::Message(content) => encode_content(&mut out, content),
        Kind::Amendment { of, of_id, amendment } => {
            out.number(17, of.0);
            out.bytes(18, of_id.0.as_bytes());
            match amendment {
                Amendment::Edit(content) => encode_content(&mut out, content),
                Amendment::Retract => out.bytes(19, &[]),
            }
        }
        Kind::BuddyRequest { note } => out.text(12, note),
        Kind::Outcome { of, outcome } => {
            out.number(13, of.0);
            out.bytes(14, &encode_outcome(outcome));
        }
    }
    if let Some(outcome) = &entry.outcome {
        out.bytes(15, &encode_outcome(outcome));
    }
    if let Some(amended) = entry.amended {
        let (tag, time) = match amended {
            Amended::Edited(time) => (20, time),
            Amended::Retracted(time) => (21, time),
        };
        out.number(tag, zigzag(time.0));
    }
    if let Some(expires) = entry.expires {
        out.number(22, zigzag(expires.0));
    }
    if let Some(ruled) = entry.ruled {
        let number = match ruled {
            Ruled::Stored => 1,
            Ruled::Discarded => 2,
            Ruled::Redirected => 3,
        };
        out.number(RULED, number);
    }
    if let Some(via) = entry.via {
        out.number(24, via.to_bits());
    }
    if entry.hops > 0 {
        out.number(25, entry.hops.into());
    }
    if let Some(position) = entry.admitted_as {
        out.number(26, position.0);
    }
    let mut body = out.finish(&entry.unknown);
    let crc = row_crc(position, entry.sender, entry.recipient, &body);
    body.extend_from_slice(&crc.to_le_bytes());
    body
}

fn encode_content(out: &mut Encoder, content: &Content) {
    match &content.body {
        Body::Text(text) => out.text(8, text),
        Body::Data { media_type, bytes } => {
            out.text(9, media_type);
            out.bytes(10, bytes);
        }
    }
    if !content.extensions.is_empty() {
        out.bytes(11, &content.extensions);
    }
    if let Some(id) = content.reply_to {
        out.bytes(16, id.0.as_bytes());
    }
}

pub(crate) fn decode_row(
    position: Position,
    sender: AddressId,
    recipient: AddressId,
    stored: &[u8],
) -> Result<Entry, Malformed> {
    let Some((body, crc)) = stored.split_last_chunk::<4>() else {
        return Err(Malformed("a row without a checksum"));
    };
    if row_crc(position, sender, recipient, body) != u32::from_le_bytes(*crc) {
        return Err(Malformed("a row whose checksum is wrong"));
    }
    let mut fields = Decoder::new(body, FORMAT)?;
    let (mut message_id, mut time, mut word, mut device, mut instance) = (None, None, None, None, None);
    let (mut client_id, mut fingerprint) = (None, 0);
    let (mut kind, mut body_of, mut media_type) = (None, None, None);
    let (mut of, mut settled) = (None, None);
    let (mut amends, mut amends_id, mut retracts) = (None, None, false);
    let (mut amended, mut expires) = (None, None);
    let (mut ruled, mut via, mut hops, mut admitted_as) = (None, None, 0, None);
    let (mut extensions, mut reply_to): (Arc<[u8]>, _) = (Arc::default(), None);
    let time_of = |bytes| Ok(Timestamp(unzigzag(number(bytes)?)));
    let id_of =
        |bytes| uuid::Uuid::from_slice(bytes).map(MessageId).map_err(|_| Malformed("an id of a message"));
    while let Some((tag, bytes)) = fields.next()? {
        match tag {
            1 => message_id = Some(id_of(bytes)?),
            2 => time = Some(time_of(bytes)?),
            3 => word = Some(word_of(number(bytes)?)?),
            4 => device = Some(DeviceNumber(number(bytes)? as u32)),
            5 => instance = Some(Arc::from(text(bytes)?)),
            6 => client_id = Some(ClientId::new(text(bytes)?).map_err(|_| Malformed("a client id"))?),
            7 => fingerprint = u64::from_le_bytes(bytes.try_into().map_err(|_| Malformed("a fingerprint"))?),
            8 => body_of = Some(Body::Text(text(bytes)?.into())),
            9 => media_type = Some(Arc::<str>::from(text(bytes)?)),
            10 => {
                let media_type = media_type.take().ok_or(Malformed("data without a media type"))?;
                body_of = Some(Body::Data { media_type, bytes: bytes.into() });
            }
            11 => extensions = bytes.into(),
            12 => kind = Some(Kind::BuddyRequest { note: text(bytes)?.into() }),
            13 => of = Some(Position(number(bytes)?)),
            14 => {
                let of = of.take().ok_or(Malformed("an outcome of nothing"))?;
                kind = Some(Kind::Outcome { of, outcome: decode_outcome(bytes)? });
            }
            15 => settled = Some(decode_outcome(bytes)?),
            16 => reply_to = Some(id_of(bytes)?),
            17 => amends = Some(Position(number(bytes)?)),
            18 => amends_id = Some(id_of(bytes)?),
            19 => retracts = true,
            20 => amended = Some(Amended::Edited(time_of(bytes)?)),
            21 => amended = Some(Amended::Retracted(time_of(bytes)?)),
            22 => expires = Some(time_of(bytes)?),
            RULED => {
                ruled = Some(match number(bytes)? {
                    1 => Ruled::Stored,
                    2 => Ruled::Discarded,
                    3 => Ruled::Redirected,
                    _ => return Err(Malformed("a rule's act that this version does not know")),
                });
            }
            24 => via = Some(AddressId::from_bits(number(bytes)?)),
            25 => hops = number(bytes)? as u8,
            26 => admitted_as = Some(Position(number(bytes)?)),
            _ => fields.keep(tag, bytes),
        }
    }
    let content = body_of.map(|body| Content { body, extensions, reply_to });
    let kind = match (kind, amends.zip(amends_id), content) {
        (Some(kind), _, _) => kind,
        (None, Some((of, of_id)), Some(content)) => {
            Kind::Amendment { of, of_id, amendment: Amendment::Edit(content) }
        }
        (None, Some((of, of_id)), None) if retracts => {
            Kind::Amendment { of, of_id, amendment: Amendment::Retract }
        }
        (None, None, Some(content)) => Kind::Message(content),
        _ => return Err(Malformed("a row of a kind that this version does not know")),
    };
    Ok(Entry {
        sender,
        recipient,
        message_id: message_id.ok_or(Malformed("a row without an id"))?,
        time: time.ok_or(Malformed("a row without a time"))?,
        device,
        instance,
        client_id,
        fingerprint,
        word: word.ok_or(Malformed("a row without its answer"))?,
        kind,
        outcome: settled,
        amended,
        expires,
        ruled,
        via,
        hops,
        admitted_as,
        unknown: fields.into_unknown(),
    })
}

/// Whether a stored row says that a rule did something with it. It is not checked.
pub(crate) fn is_ruled(stored: &[u8]) -> bool {
    let fields = stored.split_last_chunk::<4>().and_then(|(body, _)| Decoder::new(body, FORMAT).ok());
    let Some(mut fields) = fields else { return false };
    std::iter::from_fn(|| fields.next().ok().flatten()).any(|(tag, _)| tag == RULED)
}

fn row_crc(position: Position, sender: AddressId, recipient: AddressId, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    // All at once: each part costs a call that is dearer than what it adds.
    let key = [position.0, sender.to_bits(), recipient.to_bits()].map(u64::to_le_bytes);
    crc.update(key.as_flattened());
    crc.update(body);
    crc.finalize()
}

/// A number, and behind it the reason of a failure.
fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Relayed => vec![1],
        Outcome::Failed { reason } => [&[2], reason.as_bytes()].concat(),
        Outcome::Expired => vec![3],
    }
}

fn decode_outcome(bytes: &[u8]) -> Result<Outcome, Malformed> {
    match bytes.split_first() {
        Some((1, _)) => Ok(Outcome::Relayed),
        Some((2, reason)) => Ok(Outcome::Failed { reason: text(reason)?.into() }),
        Some((3, _)) => Ok(Outcome::Expired),
        _ => Err(Malformed("an outcome that this version does not know")),
    }
}

const fn word_number(word: Word) -> u64 {
    match word {
        Word::Delivered => 1,
        Word::Stored => 2,
        Word::Queued => 3,
    }
}

fn word_of(number: u64) -> Result<Word, Malformed> {
    match number {
        1 => Ok(Word::Delivered),
        2 => Ok(Word::Stored),
        3 => Ok(Word::Queued),
        _ => Err(Malformed("an answer that this version does not know")),
    }
}

// ---- the ring of client ids -----------------------------------------------------------------------------------

pub(crate) fn encode_client_id(entry: &ClientIdEntry) -> Vec<u8> {
    let mut out = Encoder::new(FORMAT);
    out.text(1, entry.client_id.as_str());
    out.bytes(2, entry.message_id.0.as_bytes());
    out.number(3, word_number(entry.word));
    out.bytes(4, &entry.fingerprint.to_le_bytes());
    out.number(5, zigzag(entry.time.0));
    out.finish(&[])
}

pub(crate) fn decode_client_id(position: Position, stored: &[u8]) -> Result<ClientIdEntry, Malformed> {
    let mut fields = Decoder::new(stored, FORMAT)?;
    let (mut client_id, mut message_id, mut word, mut fingerprint, mut time) =
        (None, None, None, 0, Timestamp(0));
    while let Some((tag, bytes)) = fields.next()? {
        match tag {
            1 => client_id = Some(ClientId::new(text(bytes)?).map_err(|_| Malformed("a client id"))?),
            2 => message_id = uuid::Uuid::from_slice(bytes).ok().map(MessageId),
            3 => word = Some(word_of(number(bytes)?)?),
            4 => fingerprint = u64::from_le_bytes(bytes.try_into().map_err(|_| Malformed("a fingerprint"))?),
            5 => time = Timestamp(unzigzag(number(bytes)?)),
            _ => {}
        }
    }
    Ok(ClientIdEntry {
        client_id: client_id.ok_or(Malformed("a ring entry without a client id"))?,
        position,
        message_id: message_id.ok_or(Malformed("a ring entry without a message id"))?,
        word: word.ok_or(Malformed("a ring entry without its answer"))?,
        fingerprint,
        time,
    })
}

// ---- accounts -------------------------------------------------------------------------------------------------

pub(crate) fn encode_record(record: &Record) -> Vec<u8> {
    let mut out = Encoder::new(FORMAT);
    out.bytes(1, &encode_overrides(&record.overrides));
    let index: Vec<u8> = record.roster.as_packed().iter().flat_map(|entry| entry.to_le_bytes()).collect();
    out.bytes(2, &index);
    out.number(3, record.roster_version.0);
    for (address, last_seen) in &record.blocked {
        let mut value = Vec::new();
        varint(&mut value, zigzag(last_seen.0));
        value.extend_from_slice(address.as_str().as_bytes());
        out.bytes(8, &value);
    }
    for (viewer, Viewer { visibility, last_seen }) in &record.viewers {
        let mut value = Vec::new();
        varint(&mut value, viewer.to_bits());
        varint(
            &mut value,
            match visibility {
                Visibility::Full => 1,
                Visibility::StateOnly => 2,
                Visibility::Hidden => 3,
            },
        );
        varint(&mut value, zigzag(last_seen.0));
        out.bytes(11, &value);
    }
    for device in &record.devices {
        let mut value = Vec::new();
        varint(&mut value, u64::from(device.number.0));
        value.extend_from_slice(device.name.as_str().as_bytes());
        out.bytes(5, &value);
    }
    out.number(6, u64::from(record.next_device));
    out.number(7, record.owner_epoch);
    if let Some(avatar) = &record.avatar {
        out.text(10, avatar);
    }
    for id in &record.admitted {
        out.number(12, id.to_bits());
    }
    for registration in &record.registrations {
        let mut value = Vec::new();
        varint(
            &mut value,
            match registration.kind {
                RegistrationKind::Contact => 1,
                RegistrationKind::Push => 2,
            },
        );
        varint(&mut value, zigzag(registration.expires.0));
        varint(&mut value, registration.name.as_str().len() as u64);
        value.extend_from_slice(registration.name.as_str().as_bytes());
        value.extend_from_slice(registration.contact.as_bytes());
        out.bytes(13, &value);
    }
    for Invitation { token, expires } in &record.invitations {
        let mut value = token.0.to_vec();
        varint(&mut value, zigzag(expires.0));
        out.bytes(14, &value);
    }
    out.finish(&record.unknown)
}

pub(crate) fn decode_record(id: AddressId, address: Address, stored: &[u8]) -> Result<Record, Malformed> {
    let mut fields = Decoder::new(stored, FORMAT)?;
    let mut record = Record::new(id, address);
    while let Some((tag, bytes)) = fields.next()? {
        match tag {
            1 => record.overrides = decode_overrides(bytes)?,
            2 => {
                let (entries, rest) = bytes.as_chunks::<8>();
                let packed = entries.iter().map(|entry| u64::from_le_bytes(*entry)).collect();
                record.roster = Index::from_packed(packed)
                    .filter(|_| rest.is_empty())
                    .ok_or(Malformed("a roster index out of order"))?;
            }
            3 => record.roster_version = Position(number(bytes)?),
            // As it was written when nothing was known of when.
            4 => drop(record.blocked.insert(address_of(bytes)?, Timestamp::default())),
            8 => {
                let mut rest = bytes;
                let last_seen = Timestamp(unzigzag(take_varint(&mut rest)?));
                record.blocked.insert(address_of(rest)?, last_seen);
            }
            11 => {
                let mut rest = bytes;
                let viewer = AddressId::from_bits(take_varint(&mut rest)?);
                let visibility = match take_varint(&mut rest)? {
                    1 => Visibility::Full,
                    2 => Visibility::StateOnly,
                    3 => Visibility::Hidden,
                    _ => return Err(Malformed("a visibility that this version does not know")),
                };
                let last_seen = Timestamp(unzigzag(take_varint(&mut rest)?));
                record.viewers.insert(viewer, Viewer { visibility, last_seen });
            }
            5 => {
                let mut rest = bytes;
                let device = DeviceNumber(take_varint(&mut rest)? as u32);
                let name = DeviceName::new(text(rest)?).map_err(|_| Malformed("a device name"))?;
                record.devices.push(Device { number: device, name });
            }
            6 => record.next_device = number(bytes)? as u32,
            7 => record.owner_epoch = number(bytes)?,
            10 => record.avatar = Some(text(bytes)?.into()),
            12 => drop(record.admitted.insert(AddressId::from_bits(number(bytes)?))),
            13 => record.registrations.push(decode_registration(bytes)?),
            14 => {
                let (hash, mut rest) = bytes.split_first_chunk().ok_or(Malformed("an invitation"))?;
                let expires = Timestamp(unzigzag(take_varint(&mut rest)?));
                record.invitations.push(Invitation { token: TokenHash(*hash), expires });
            }
            _ => fields.keep(tag, bytes),
        }
    }
    record.unknown = fields.into_unknown();
    Ok(record)
}

fn decode_registration(mut rest: &[u8]) -> Result<Registration, Malformed> {
    let kind = match take_varint(&mut rest)? {
        1 => RegistrationKind::Contact,
        2 => RegistrationKind::Push,
        _ => return Err(Malformed("a registration that this version does not know")),
    };
    let expires = Timestamp(unzigzag(take_varint(&mut rest)?));
    let length = take_varint(&mut rest)? as usize;
    let (name, contact) = rest.split_at_checked(length).ok_or(Malformed("a registration"))?;
    let name = DeviceName::new(text(name)?).map_err(|_| Malformed("a registration's name"))?;
    Ok(Registration { name, kind, contact: text(contact)?.into(), expires })
}

pub(crate) fn encode_progress(progress: &Progress) -> Vec<u8> {
    let mut out = Encoder::new(FORMAT);
    out.number(1, progress.claims.upto().0);
    if !progress.claims.above().is_empty() {
        let mut value = Vec::new();
        let mut before = progress.claims.upto();
        for position in progress.claims.above() {
            varint(&mut value, position.0 - before.0);
            before = *position;
        }
        out.bytes(2, &value);
    }
    for cursor in &progress.cursors {
        let mut value = Vec::new();
        varint(&mut value, u64::from(cursor.device.0));
        varint(&mut value, cursor.position.0);
        varint(&mut value, zigzag(cursor.seen.0));
        out.bytes(3, &value);
    }
    if progress.last_seen != Timestamp::default() {
        out.number(4, zigzag(progress.last_seen.0));
    }
    out.finish(&progress.unknown)
}

pub(crate) fn decode_progress(stored: &[u8]) -> Result<Progress, Malformed> {
    let mut fields = Decoder::new(stored, FORMAT)?;
    let (mut upto, mut above, mut cursors) = (Position::ZERO, Vec::new(), Vec::new());
    let mut last_seen = Timestamp::default();
    while let Some((tag, bytes)) = fields.next()? {
        let mut rest = bytes;
        match tag {
            1 => upto = Position(number(bytes)?),
            2 => {
                let mut position = upto.0;
                while !rest.is_empty() {
                    position = position.wrapping_add(take_varint(&mut rest)?);
                    above.push(Position(position));
                }
            }
            3 => cursors.push(Cursor {
                device: DeviceNumber(take_varint(&mut rest)? as u32),
                position: Position(take_varint(&mut rest)?),
                seen: Timestamp(unzigzag(take_varint(&mut rest)?)),
            }),
            4 => last_seen = Timestamp(unzigzag(number(bytes)?)),
            _ => fields.keep(tag, bytes),
        }
    }
    let claims = Claims::from_parts(upto, above);
    Ok(Progress { claims, cursors, last_seen, unknown: fields.into_unknown() })
}

pub(crate) fn encode_overrides(overrides: &Overrides) -> Vec<u8> {
    let Overrides {
        accepted_senders,
        offline_storage,
        keep_history,
        deliver_to_devices,
        max_roster_items,
        receipts,
        utc_offset_minutes,
        storage_files,
        storage_bytes,
        last_seen,
        history_days,
        history_messages,
        unknown,
    } = overrides;
    let mut out = Encoder::new(FORMAT);
    if let Some(accepted) = accepted_senders {
        let number = match accepted {
            AcceptedSenders::Everybody => 1,
            AcceptedSenders::Authenticated => 2,
            AcceptedSenders::SameDomain => 3,
            AcceptedSenders::Nobody => 4,
            AcceptedSenders::Quarantine => 5,
        };
        out.number(1, number);
    }
    for (tag, flag) in [(2, offline_storage), (3, keep_history), (4, deliver_to_devices)] {
        if let Some(flag) = flag {
            out.number(tag, u64::from(*flag));
        }
    }
    if let Some(max) = max_roster_items {
        out.number(5, u64::from(*max));
    }
    if let Some(receipts) = receipts {
        let number = match receipts {
            Receipts::All => 1,
            Receipts::Delivered => 2,
            Receipts::Nothing => 3,
        };
        out.number(6, number);
    }
    if let Some(files) = storage_files {
        out.number(7, u64::from(*files));
    }
    if let Some(bytes) = storage_bytes {
        out.number(8, *bytes);
    }
    if let Some(precision) = last_seen {
        let number = match precision {
            LastSeenPrecision::Exact => 1,
            LastSeenPrecision::Rough => 2,
            LastSeenPrecision::Nothing => 3,
        };
        out.number(9, number);
    }
    for (tag, number) in [(11, history_days), (12, history_messages)] {
        if let Some(number) = number {
            out.number(tag, u64::from(*number));
        }
    }
    if let Some(minutes) = utc_offset_minutes {
        out.number(10, zigzag((*minutes).into()));
    }
    out.finish(unknown)
}

pub(crate) fn decode_overrides(stored: &[u8]) -> Result<Overrides, Malformed> {
    let mut fields = Decoder::new(stored, FORMAT)?;
    let mut overrides = Overrides::default();
    while let Some((tag, bytes)) = fields.next()? {
        let number = || number(bytes);
        let flag = || Ok(Some(number()? != 0));
        match tag {
            1 => {
                overrides.accepted_senders = Some(match number()? {
                    1 => AcceptedSenders::Everybody,
                    2 => AcceptedSenders::Authenticated,
                    3 => AcceptedSenders::SameDomain,
                    4 => AcceptedSenders::Nobody,
                    5 => AcceptedSenders::Quarantine,
                    _ => return Err(Malformed("a policy that this version does not know")),
                });
            }
            2 => overrides.offline_storage = flag()?,
            3 => overrides.keep_history = flag()?,
            4 => overrides.deliver_to_devices = flag()?,
            5 => overrides.max_roster_items = Some(number()? as u32),
            6 => {
                overrides.receipts = Some(match number()? {
                    1 => Receipts::All,
                    2 => Receipts::Delivered,
                    3 => Receipts::Nothing,
                    _ => return Err(Malformed("a policy that this version does not know")),
                });
            }
            7 => overrides.storage_files = Some(number()? as u32),
            8 => overrides.storage_bytes = Some(number()?),
            9 => {
                overrides.last_seen = Some(match number()? {
                    1 => LastSeenPrecision::Exact,
                    2 => LastSeenPrecision::Rough,
                    3 => LastSeenPrecision::Nothing,
                    _ => return Err(Malformed("a precision that this version does not know")),
                });
            }
            10 => overrides.utc_offset_minutes = Some(unzigzag(number()?) as i16),
            11 => overrides.history_days = Some(number()? as u32),
            12 => overrides.history_messages = Some(number()? as u32),
            _ => fields.keep(tag, bytes),
        }
    }
    overrides.unknown = fields.into_unknown();
    Ok(overrides)
}

// ---- rosters and the handshake --------------------------------------------------------------------------------

pub(crate) fn encode_buddy(buddy: &Buddy) -> Vec<u8> {
    let mut out = Encoder::new(FORMAT);
    out.text(1, buddy.address.as_str());
    if !buddy.name.is_empty() {
        out.text(2, &buddy.name);
    }
    for group in &buddy.groups {
        out.text(3, group);
    }
    let Halves { my_wish, my_grant, their_wish, their_grant } = buddy.halves;
    let mut halves = Vec::new();
    for half in [my_wish, my_grant, their_wish, their_grant] {
        varint(&mut halves, half.at.0 << 1 | u64::from(half.set));
    }
    out.bytes(4, &halves);
    if buddy.listed {
        out.number(5, 1);
    }
    out.finish(&buddy.unknown)
}

pub(crate) fn decode_buddy(peer: AddressId, version: Position, stored: &[u8]) -> Result<Buddy, Malformed> {
    let mut fields = Decoder::new(stored, FORMAT)?;
    let (mut address, mut name, mut groups) = (None, String::new(), Vec::new());
    let (mut halves, mut listed) = ([Half::default(); 4], false);
    while let Some((tag, bytes)) = fields.next()? {
        match tag {
            1 => address = Some(address_of(bytes)?),
            2 => name = text(bytes)?.to_owned(),
            3 => groups.push(text(bytes)?.to_owned()),
            4 => {
                let mut rest = bytes;
                for half in &mut halves {
                    let packed = take_varint(&mut rest)?;
                    *half = Half { set: packed & 1 == 1, at: Position(packed >> 1) };
                }
            }
            5 => listed = true,
            _ => fields.keep(tag, bytes),
        }
    }
    let [my_wish, my_grant, their_wish, their_grant] = halves;
    Ok(Buddy {
        peer,
        address: address.ok_or(Malformed("a buddy without an address"))?,
        name,
        groups,
        halves: Halves { my_wish, my_grant, their_wish, their_grant },
        listed,
        version,
        unknown: fields.into_unknown(),
    })
}

pub(crate) fn encode_signal(signal: &Signal) -> Vec<u8> {
    let op = match signal.op {
        Op::Add => 1,
        Op::Remove => 2,
        Op::Subscribe => 3,
        Op::Subscribed => 4,
        Op::Unsubscribe => 5,
        Op::Unsubscribed => 6,
        Op::Update => 7,
    };
    let mut out = Encoder::new(FORMAT);
    out.number(1, op);
    out.number(2, signal.stamp.0);
    out.text(3, &signal.note);
    if let Some(token) = &signal.token {
        out.text(4, token.as_str());
    }
    out.finish(&[])
}

pub(crate) fn decode_signal(stored: &[u8]) -> Result<Signal, Malformed> {
    let mut fields = Decoder::new(stored, FORMAT)?;
    let (mut op, mut stamp, mut note, mut token) = (None, Position::ZERO, Arc::from(""), None);
    while let Some((tag, bytes)) = fields.next()? {
        match tag {
            1 => {
                op = Some(match number(bytes)? {
                    1 => Op::Add,
                    2 => Op::Remove,
                    3 => Op::Subscribe,
                    4 => Op::Subscribed,
                    5 => Op::Unsubscribe,
                    6 => Op::Unsubscribed,
                    7 => Op::Update,
                    _ => return Err(Malformed("a signal that this version does not know")),
                });
            }
            2 => stamp = Position(number(bytes)?),
            3 => note = text(bytes)?.into(),
            4 => {
                let read = InvitationToken::new(text(bytes)?);
                token = Some(read.map_err(|_| Malformed("an invitation token"))?);
            }
            _ => {}
        }
    }
    Ok(Signal { op: op.ok_or(Malformed("a signal without its act"))?, stamp, note, token })
}

pub(crate) fn address_of(bytes: &[u8]) -> Result<Address, Malformed> {
    Address::new(text(bytes)?).map_err(|_| Malformed("an address"))
}
