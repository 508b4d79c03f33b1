//! How what is stored is shown to a host.

use crate::event::{EventBody, Message, MessageAmended};
use crate::messages::RowAddresses;
use rosterkit_core::address::Address;
use rosterkit_core::roster::{Buddy, Status};
use rosterkit_core::row::{Kind, Row};

/// Who sent it; with an instance when a session did that has one.
fn sender(row: &Row, addresses: &RowAddresses) -> Address {
    match &row.entry.instance {
        Some(instance) => addresses.sender.with_prepared_instance(instance),
        None => addresses.sender.clone(),
    }
}

/// A row as a message; a row of another kind is none.
pub(crate) fn message(row: &Row, addresses: &RowAddresses, copy: bool) -> Option<Message> {
    let Kind::Message(content) = &row.entry.kind else {
        return None;
    };
    Some(Message {
        position: row.position,
        id: row.entry.message_id,
        sender: sender(row, addresses),
        recipient: addresses.recipient.clone(),
        time: row.entry.time,
        copy,
        content: content.clone(),
        outcome: row.entry.outcome.clone(),
        amended: row.entry.amended,
        expires: row.entry.expires,
        receipt: None,
    })
}

/// A row as the event that a session is told.
pub(crate) fn event(row: &Row, addresses: &RowAddresses, copy: bool) -> Option<EventBody> {
    match &row.entry.kind {
        Kind::Message(_) => message(row, addresses, copy).map(EventBody::Message),
        Kind::Amendment { of, of_id, amendment } => Some(EventBody::Amended(MessageAmended {
            position: row.position,
            message_position: *of,
            message_id: *of_id,
            sender: sender(row, addresses),
            recipient: addresses.recipient.clone(),
            time: row.entry.time,
            copy,
            amendment: amendment.clone(),
        })),
        // The one who asked sees it in the roster.
        Kind::BuddyRequest { .. } | Kind::Outcome { .. } if copy => None,
        Kind::BuddyRequest { note } => Some(EventBody::BuddyRequest {
            position: row.position,
            sender: addresses.sender.clone(),
            note: note.clone(),
            time: row.entry.time,
        }),
        Kind::Outcome { of, outcome } => Some(EventBody::Outcome {
            position: *of,
            message_id: row.entry.message_id,
            recipient: addresses.sender.clone(),
            outcome: outcome.clone(),
        }),
    }
}

/// Whether a person sees this buddy on the roster: it is listed, or waits for an answer.
pub(crate) fn is_shown(buddy: &Buddy) -> bool {
    buddy.listed || buddy.status() != Status::None
}
