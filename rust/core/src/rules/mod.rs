//! Rules, which CommuniGate Pro calls "Signal Automated Rules": data that decides what becomes of a signal.
//!
//! Three levels have them: the server, a domain, an account. A [`RuleSet`] is those of one level, read from JSON and
//! checked when it is stored; [`evaluate`] applies those of all three to the [`Facts`] of a signal, and [`explain`] does
//! the same dry and says why. Nothing here knows a store, a clock or a session.
//!
//! Stages, priorities, the order of the levels, conditions and pictures are those of its manual, version 6.4, pages
//! "Automated Rules" and "Automated Signal Processing Rules". What exactly each action ends, that case does not matter,
//! the form of times and dates, and what is refused are decisions of ours. The form in JSON is described in
//! `docs/rules.md`.
//!
//! ```
//! use rosterkit_core::address::Address;
//! use rosterkit_core::presence::State;
//! use rosterkit_core::rules::{
//!     Facts, Levels, LocalTime, Method, Outcome, Owner, RuleSet, Stage, Stopped, evaluate, explain,
//! };
//! use rosterkit_core::time::Timestamp;
//!
//! let (alice, bob) = (Address::account("alice@example.org")?, Address::account("bob@example.com")?);
//! let rules = r#"{"rules": [{
//!     "name": "strangers", "priority": 5, "conditions": [{"buddy": {"is": false}}], "actions": ["store"]
//! }]}"#;
//! // When they are stored; `names` says whose existence is to be looked for. When they are loaded: `RuleSet::load`.
//! let rules = RuleSet::from_json(Owner::Account(&alice), rules)?;
//! assert_eq!(rules.names().count(), 0);
//!
//! // For each signal.
//! let levels = Levels { account: Some(&rules), no_answer_ms: 30_000, ..Levels::default() };
//! let facts = Facts {
//!     method: Method::Message,
//!     request_uri: &alice,
//!     from: &bob,
//!     from_name: None,
//!     to: &alice,
//!     authenticated: false,
//!     presence: State::Online,
//!     registrations: 0,
//!     local: LocalTime::at(Timestamp(1_795_599_000_000), 60),
//!     body: Some("Hello!"),
//!     buddy: false,
//!     hops: 0,
//! };
//! let verdict = evaluate(&levels, Stage::Immediate, &facts);
//! assert_eq!(verdict.outcome, Outcome::Store);
//!
//! // And why.
//! let explained = explain(&levels, Stage::Immediate, &facts);
//! assert!(matches!(explained.stopped, Stopped::All(by) if by.name == "strangers"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod check;
mod condition;
mod evaluate;
mod explain;
mod facts;
mod fold;
mod form;
mod gate;
mod local;
mod operator;
mod picture;
mod rule;
mod set;
#[cfg(test)]
mod tests;

pub use action::{Action, Group, Im, MAX_TARGETS, MAX_TEXT_BYTES, MAX_URL_BYTES, Target, Targets, Text, Url};
pub use condition::Condition;
pub use evaluate::{
    By, Due, Effect, EffectKind, Levels, MAX_HOPS, Outcome, TOO_MANY_HOPS, Verdict, evaluate,
};
pub use explain::{ActionTaken, ConditionChecked, Explanation, RuleLookedAt, Stopped, explain, to_json};
pub use facts::{Facts, Method};
pub use fold::fold;
pub use local::{Date, LocalTime, TimeOfDay, Weekday};
pub use operator::{Choice, Flag, List, MAX_LIST, Operand, Ordered};
pub use picture::{MAX_PICTURE_BYTES, Picture, StatePicture};
pub use rule::{MAX_ACTIONS, MAX_CONDITIONS, MAX_DELAY_SECONDS, MAX_RULE_NAME_BYTES, Priority, Rule, Stage};
pub use set::{Level, MAX_BODY_PIECES, MAX_JSON_BYTES, MAX_RULES, Named, Owner, RuleError, RuleSet};
