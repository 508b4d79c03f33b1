//! How what is stored is shown to a host.

use crate::event::{EventBody, Message};
use crate::messages::RowAddresses;
use rosterkit_core::roster::{Buddy, Status};
use rosterkit_core::row::{Kind, Row};

/// A row as a message; a row of another kind is none.
pub(crate) fn message(row: &Row, addresses: &RowAddresses, copy: bool) -> Option<Message> {
    let Kind::Message(content) = &row.entry.kind else {
        return None;
    };
    let sender = match &row.entry.instance {
        Some(instance) => addresses.sender.with_prepared_instance(instance),
        None => addresses.sender.clone(),
    };
    Some(Message {
        position: row.position,
        id: row.entry.message_id,
        sender,
        recipient: addresses.recipient.clone(),
        time: row.entry.time,
        copy,
        content: content.clone(),
        outcome: row.entry.outcome.clone(),
    })
}

/// A row as the event that a session is told.
pub(crate) fn event(row: &Row, addresses: &RowAddresses, copy: bool) -> Option<EventBody> {
    match &row.entry.kind {
        Kind::Message(_) => message(row, addresses, copy).map(EventBody::Message),
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
