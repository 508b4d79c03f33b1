//! The words that stand on the wire for an op or a chat state.

use rosterkit::{ChatState, Op};

/// Those of RFC 6121, and the two for both directions. `Update` is told to nobody and has none.
pub(crate) const OPS: [(Op, &str); 6] = [
    (Op::Add, "add"),
    (Op::Remove, "remove"),
    (Op::Subscribe, "subscribe"),
    (Op::Subscribed, "subscribed"),
    (Op::Unsubscribe, "unsubscribe"),
    (Op::Unsubscribed, "unsubscribed"),
];

/// Those of XEP-0085.
pub(crate) const CHAT_STATES: [(ChatState, &str); 5] = [
    (ChatState::Composing, "composing"),
    (ChatState::Paused, "paused"),
    (ChatState::Active, "active"),
    (ChatState::Inactive, "inactive"),
    (ChatState::Gone, "gone"),
];

pub(crate) fn name_of<T: Copy + PartialEq>(names: &[(T, &'static str)], value: T) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
}

pub(crate) fn named<T: Copy>(names: &[(T, &'static str)], name: &str) -> Option<T> {
    names.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
}
