//! A rule: when, what has to hold, and what is done then.

use super::action::Action;
use super::condition::Condition;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The longest a rule's name may be, in bytes.
pub const MAX_RULE_NAME_BYTES: usize = 255;
/// How many conditions a rule may have.
pub const MAX_CONDITIONS: usize = 32;
/// How many actions a rule may have.
pub const MAX_ACTIONS: usize = 16;
/// The longest delay, in seconds: a week.
pub const MAX_DELAY_SECONDS: u32 = 7 * 24 * 60 * 60;

/// A rule ("Automated Rules": a name, a priority, conditions that must all hold, checked in their order, and actions; any
/// number of either, none included).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rule {
    /// Its name, which no other rule of the same set has.
    #[cfg_attr(test, schemars(length(min = 1, max = MAX_RULE_NAME_BYTES)))]
    pub name: String,
    /// When it is looked at.
    #[serde(default)]
    pub stage: Stage,
    /// Where it stands among the others.
    pub priority: Priority,
    /// What has to hold, all of it; nothing when there are none.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = MAX_CONDITIONS)))]
    pub conditions: Vec<Condition>,
    /// What is done.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = MAX_ACTIONS)))]
    pub actions: Vec<Action>,
}

/// When a rule is looked at ("Applying Signal Rules": immediately, after the signal is being processed for some time,
/// when it fails with no answer or some other error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Stage {
    /// When the signal is accepted.
    #[default]
    #[serde(alias = "immediately")]
    Immediate,
    /// When nobody has acknowledged it so many seconds after that.
    #[serde(alias = "after a delay")]
    AfterDelay {
        /// From 1 to a week.
        #[cfg_attr(test, schemars(range(min = 1, max = MAX_DELAY_SECONDS)))]
        seconds: u32,
    },
    /// When nobody is there.
    #[serde(alias = "no answer")]
    NoAnswer,
    /// When it cannot be delivered.
    Failure,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Immediate => f.write_str("immediate"),
            Stage::AfterDelay { seconds } => write!(f, "after {seconds} s"),
            Stage::NoAnswer => f.write_str("no-answer"),
            Stage::Failure => f.write_str("failure"),
        }
    }
}

/// Where a rule stands: inactive, 1 to 9, or highest. In JSON `"inactive"`, a number, or `"highest"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// It is kept and not applied.
    pub const INACTIVE: Priority = Priority(0);
    /// Before all others of its level.
    pub const HIGHEST: Priority = Priority(10);

    /// 1 to 9.
    pub const fn new(number: u8) -> Option<Priority> {
        if 1 <= number && number <= 9 { Some(Priority(number)) } else { None }
    }

    /// Whether a server's or a domain's rule of this priority comes before the account's.
    pub const fn is_above_five(self) -> bool {
        self.0 > 5
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Priority::INACTIVE => f.write_str("inactive"),
            Priority::HIGHEST => f.write_str("highest"),
            Priority(number) => number.fmt(f),
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Priority::INACTIVE | Priority::HIGHEST => serializer.collect_str(self),
            Priority(number) => serializer.serialize_u8(number),
        }
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PriorityVisitor)
    }
}

struct PriorityVisitor;

impl Visitor<'_> for PriorityVisitor {
    type Value = Priority;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 1 to 9, \"inactive\" or \"highest\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Priority, E> {
        let priority = u8::try_from(number).ok().and_then(Priority::new);
        priority.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Priority, E> {
        match text {
            "inactive" | "Inactive" => Ok(Priority::INACTIVE),
            "highest" | "Highest" => Ok(Priority::HIGHEST),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Priority {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Priority".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Where a rule stands: the highest comes first, an inactive one is kept and not applied.",
            "oneOf": [
                { "type": "integer", "minimum": 1, "maximum": 9 },
                { "type": "string", "enum": ["inactive", "highest"] },
            ],
        })
    }
}
