//! Rules, which CommuniGate Pro calls "Signal Automated Rules": data that decides what becomes of a signal.
//!
//! Three levels have them: the server, a domain, an account. A [`RuleSet`] is those of one level, read from JSON and
//! checked when it is stored; [`evaluate`] applies those of all three to the [`Facts`] of a signal, and [`explain`] does
//! the same dry and says why. Nothing here knows a store, a clock or a session.
//!
//! What the manual states is followed: its pages "Automated Rules" and "Automated Signal Processing Rules", version
//! 6.4. The form in JSON is described in `docs/rules.md`.

mod action;
mod check;
mod condition;
mod evaluate;
mod explain;
mod facts;
mod fold;
mod form;
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
pub use local::{Date, LocalTime, TimeOfDay, Weekday};
pub use operator::{Choice, Flag, List, Operand, Ordered};
pub use picture::{MAX_PICTURE_BYTES, Picture, StatePicture};
pub use rule::{MAX_ACTIONS, MAX_CONDITIONS, MAX_DELAY_SECONDS, MAX_RULE_NAME_BYTES, Priority, Rule, Stage};
pub use set::{Level, MAX_BODY_PIECES, MAX_JSON_BYTES, MAX_RULES, Named, Owner, RuleError, RuleSet};
