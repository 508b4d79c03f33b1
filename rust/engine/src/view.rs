//! How what is stored is shown to a host.

use crate::event::{EventBody, Message, MessageAmended};
use crate::messages::RowAddresses;
use rosterkit_core::address::Address;
use rosterkit_core::roster::{Buddy, Status};
use rosterkit_core::row::{Entry, Kind, Row};
use std::sync::Arc;

/// A row as a message; a row of another kind is none.
pub(crate) fn message(row: Row, addresses: &RowAddresses, copy: bool) -> Option<Message> {
    match shown(row, addresses.clone(), copy) {
        Shown::Message(message) => Some(message),
        Shown::Event(_) => None,
    }
}

/// Whether a row is news to the account whose own it is (`copy`), or which received it. Who asked for something sees it in the
/// roster.
pub(crate) fn is_news(row: &Row, copy: bool) -> bool {
    !copy || matches!(row.entry.kind, Kind::Message(_) | Kind::Amendment { .. })
}

/// A row as the event that a session is told.
pub(crate) fn event(row: Row, addresses: RowAddresses, copy: bool) -> EventBody {
    match shown(row, addresses, copy) {
        Shown::Message(message) => EventBody::Message(Arc::new(message)),
        Shown::Event(event) => event,
    }
}

/// What a row is to a host: a message, which is not always an event, or something else.
enum Shown {
    Message(Message),
    Event(EventBody),
}

#[inline]
fn shown(row: Row, addresses: RowAddresses, copy: bool) -> Shown {
    let RowAddresses { sender: account, recipient } = addresses;
    let Row { position, entry, .. } = row;
    let Entry { message_id, time, outcome, amended, expires, instance, kind, .. } = entry;
    // With an instance when a session sent it that has one.
    let sender = |account: Address| match instance {
        Some(instance) => account.with_prepared_instance(&instance),
        None => account,
    };
    Shown::Event(match kind {
        Kind::Message(content) => {
            return Shown::Message(Message {
                position,
                id: message_id,
                sender: sender(account),
                recipient,
                time,
                copy,
                content,
                outcome,
                amended,
                expires,
                receipt: None,
            });
        }
        Kind::Amendment { of, of_id, amendment } => EventBody::Amended(Arc::new(MessageAmended {
            position,
            message_position: of,
            message_id: of_id,
            sender: sender(account),
            recipient,
            time,
            copy,
            amendment,
        })),
        Kind::BuddyRequest { note } => EventBody::BuddyRequest { position, sender: account, note, time },
        Kind::Outcome { of, outcome } => {
            EventBody::Outcome { position: of, message_id, recipient: account, outcome }
        }
    })
}

/// Whether a person sees this buddy on the roster: it is listed, or waits for an answer.
pub(crate) fn is_shown(buddy: &Buddy) -> bool {
    buddy.listed || buddy.status() != Status::None
}
