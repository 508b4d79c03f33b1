//! Tests of the rules as a whole.
#![allow(clippy::unwrap_used)]

mod json;
mod model;
mod order;
mod refused;
mod table;

use super::*;
use crate::address::Address;
use crate::presence::State;
use crate::time::Timestamp;

pub(super) fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

/// What a test says of a signal. The rest is an instant message from bob, a stranger of this system, to alice, who is
/// online, on Wednesday, 2026-11-25 at 09:30.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub(super) method: Method,
    pub(super) request_uri: Address,
    pub(super) from: Address,
    pub(super) from_name: Option<String>,
    pub(super) to: Address,
    pub(super) authenticated: bool,
    pub(super) presence: State,
    pub(super) registrations: u32,
    pub(super) local: LocalTime,
    pub(super) body: Option<String>,
    pub(super) buddy: bool,
    pub(super) hops: u8,
}

impl Default for Signal {
    fn default() -> Self {
        Signal {
            method: Method::Message,
            request_uri: address("alice@example.org"),
            from: address("bob@example.org/Phone"),
            from_name: Some("Bob".into()),
            to: address("alice@example.org"),
            authenticated: true,
            presence: State::Online,
            registrations: 1,
            local: LocalTime::at(Timestamp(1_795_599_000_000), 0),
            body: Some("Lunch at Noon?".into()),
            buddy: false,
            hops: 0,
        }
    }
}

impl Signal {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            method: self.method,
            request_uri: &self.request_uri,
            from: &self.from,
            from_name: self.from_name.as_deref(),
            to: &self.to,
            authenticated: self.authenticated,
            presence: self.presence,
            registrations: self.registrations,
            local: self.local,
            body: self.body.as_deref(),
            buddy: self.buddy,
            hops: self.hops,
        }
    }
}

/// A set of rules, checked for nothing.
pub(super) fn set(rules: &str) -> RuleSet {
    RuleSet::load(&format!("{{\"rules\":[{rules}]}}")).unwrap()
}

pub(super) fn account(rules: &RuleSet) -> Levels<'_> {
    Levels { account: Some(rules), no_answer_ms: 20_000, ..Levels::default() }
}
