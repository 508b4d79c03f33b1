//! How what is stored is shown to a host.

use crate::event::{EventBody, Message, MessageAmended};
use crate::messages::RowAddresses;
use rosterkit_core::address::Address;
use rosterkit_core::roster::{Buddy, Status};
use rosterkit_core::row::{Kind, Row};
use std::sync::Arc;

/// Who sent it; with an instance when a session did that has one.
fn sender(row: &Row, addresses: &RowAddresses) -> Address {
    match &row.entry.instance {
        Some(instance) => addresses.sender.with_prepared_instance(instance),
        None => addresses.sender.clone(),
    }
}

/// A row as a message; a row of another kind is none.
pub(crate) fn message(row: Row, addresses: &RowAddresses, copy: bool) -> Option<Message> {
    let sender = sender(&row, addresses);
    let Row { position, entry, .. } = row;
    let Kind::Message(content) = entry.kind else {
        return None;
    };
    Some(Message {
        position,
        id: entry.message_id,
        sender,
        recipient: addresses.recipient.clone(),
        time: entry.time,
        copy,
        content,
        outcome: entry.outcome,
        amended: entry.amended,
        expires: entry.expires,
        receipt: None,
    })
}

/// A row as the event that a session is told.
pub(crate) fn event(row: Row, addresses: &RowAddresses, copy: bool) -> Option<EventBody> {
    let (position, message_id, time) = (row.position, row.entry.message_id, row.entry.time);
    match row.entry.kind {
        Kind::Message(_) => {
            message(row, addresses, copy).map(|message| EventBody::Message(Arc::new(message)))
        }
        Kind::Amendment { of, of_id, ref amendment } => Some(EventBody::Amended(Arc::new(MessageAmended {
            position,
            message_position: of,
            message_id: of_id,
            sender: sender(&row, addresses),
            recipient: addresses.recipient.clone(),
            time,
            copy,
            amendment: amendment.clone(),
        }))),
        // The one who asked sees it in the roster.
        Kind::BuddyRequest { .. } | Kind::Outcome { .. } if copy => None,
        Kind::BuddyRequest { note } => {
            Some(EventBody::BuddyRequest { position, sender: addresses.sender.clone(), note, time })
        }
        Kind::Outcome { of, outcome } => Some(EventBody::Outcome {
            position: of,
            message_id,
            recipient: addresses.sender.clone(),
            outcome,
        }),
    }
}

/// Whether a person sees this buddy on the roster: it is listed, or waits for an answer.
pub(crate) fn is_shown(buddy: &Buddy) -> bool {
    buddy.listed || buddy.status() != Status::None
}
