//! What deliveries are held against: the same records, made and handed over in the same way, without an engine. Only with
//! the feature `bench`, which nothing that is shipped has.

use crate::error::RosterKitError;
use crate::event::EventBatch;
use crate::listener::SessionListener;
use rosterkit::{Address, Content, Event, EventBody, Message, MessageId, Position, SessionId, Timestamp};
use std::sync::Arc;

/// As the other measurements have it.
const BODY: &str = "sixty-four bytes of text, which is about what people really say.";

/// Calls the listener with so many messages, in batches, on a thread of its own, and waits for the end.
#[uniffi::export]
pub fn deliver_for_bench(
    listener: Arc<dyn SessionListener>,
    count: i32,
    at_once: i32,
) -> Result<(), RosterKitError> {
    let (count, at_once) =
        (crate::convert::count("count", count)?, crate::convert::count("at_once", at_once)?);
    let message = Message {
        position: Position(1),
        id: MessageId::new(1, [0; 10]),
        sender: Address::new("alice@example.org/0123456789abcdef").map_err(crate::convert::refused)?,
        recipient: crate::convert::account("bob1@example.org")?,
        time: Timestamp(1_700_000_000_000),
        copy: false,
        content: Content::text(BODY),
        outcome: None,
        amended: None,
        expires: None,
        receipt: None,
    };
    let body = EventBody::Message(Arc::new(message));
    let batch: Vec<Event> = (1..=at_once as u64).map(|seq| Event { seq, body: body.clone() }).collect();
    let delivering = std::thread::spawn(move || {
        let mut left = count;
        while left > 0 {
            let batch = &batch[..at_once.min(left)];
            left -= batch.len();
            if listener.on_events(EventBatch::new(SessionId(1), batch)).is_err() {
                return false;
            }
        }
        true
    });
    match delivering.join() {
        Ok(true) => Ok(()),
        _ => Err(RosterKitError::internal("the listener failed")),
    }
}
