//! Operators: how what a signal has is compared with what a rule says.
//!
//! `is`, `is not`, `in` and `not in` take pictures where they compare texts, and `in` takes a comma list (CommuniGate
//! Pro's "Automated Rules"). An operator that makes no sense for a condition is not among those of its type.

use super::form::invalid;
use crate::refusal::Refusal;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How many values a list may have.
pub const MAX_LIST: usize = 256;

/// What a rule compares with.
pub trait Operand {
    /// What it is compared with.
    type Found<'f>: Copy;

    /// Whether it is, or matches, this.
    fn covers(&self, found: Self::Found<'_>) -> bool;
}

/// The operators of what has no order. What is missing is nothing: only `is-not` and `not-in` hold for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    bound = "T: Operand + Serialize + serde::de::DeserializeOwned + FromStr<Err = Refusal> + fmt::Display"
)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ChoiceOf{T}"))]
pub enum Choice<T> {
    /// It is this.
    Is(T),
    /// It is not this.
    #[serde(alias = "is not")]
    IsNot(T),
    /// It is one of these.
    In(List<T>),
    /// It is none of these.
    #[serde(alias = "not in")]
    NotIn(List<T>),
}

impl<T: Operand> Choice<T> {
    pub(super) fn holds(&self, found: Option<T::Found<'_>>) -> bool {
        match self {
            Choice::Is(one) => found.is_some_and(|found| one.covers(found)),
            Choice::IsNot(one) => !found.is_some_and(|found| one.covers(found)),
            Choice::In(list) => found.is_some_and(|found| list.covers(found)),
            Choice::NotIn(list) => !found.is_some_and(|found| list.covers(found)),
        }
    }
}

impl<T> Choice<T> {
    pub(super) fn operands(&self) -> &[T] {
        match self {
            Choice::Is(one) | Choice::IsNot(one) => std::slice::from_ref(one),
            Choice::In(list) | Choice::NotIn(list) => &list.0,
        }
    }

    /// Whether what holds is among the operands, and not all else.
    pub(super) fn is_positive(&self) -> bool {
        matches!(self, Choice::Is(_) | Choice::In(_))
    }
}

/// The operators of what has an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    bound = "T: Serialize + serde::de::DeserializeOwned + FromStr + fmt::Display, T::Err: fmt::Display"
)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "OrderedOf{T}"))]
pub enum Ordered<T> {
    /// It is this.
    Is(T),
    /// It is not this.
    #[serde(alias = "is not")]
    IsNot(T),
    /// It is one of these.
    In(List<T>),
    /// It is none of these.
    #[serde(alias = "not in")]
    NotIn(List<T>),
    /// It is greater, or later.
    #[serde(alias = "greater than")]
    GreaterThan(T),
    /// It is less, or earlier.
    #[serde(alias = "less than")]
    LessThan(T),
}

impl<T: Ord> Ordered<T> {
    pub(super) fn holds(&self, found: &T) -> bool {
        match self {
            Ordered::Is(one) => found == one,
            Ordered::IsNot(one) => found != one,
            Ordered::In(list) => list.0.contains(found),
            Ordered::NotIn(list) => !list.0.contains(found),
            Ordered::GreaterThan(one) => found > one,
            Ordered::LessThan(one) => found < one,
        }
    }
}

impl<T> Ordered<T> {
    pub(super) fn operands(&self) -> &[T] {
        match self {
            Ordered::Is(one) | Ordered::IsNot(one) | Ordered::GreaterThan(one) | Ordered::LessThan(one) => {
                std::slice::from_ref(one)
            }
            Ordered::In(list) | Ordered::NotIn(list) => &list.0,
        }
    }
}

/// The operators of what is so or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Flag {
    /// It is so, or not.
    Is(bool),
    /// The other way round.
    #[serde(alias = "is not")]
    IsNot(bool),
}

impl Flag {
    pub(super) fn holds(self, found: bool) -> bool {
        match self {
            Flag::Is(wanted) => found == wanted,
            Flag::IsNot(unwanted) => found != unwanted,
        }
    }
}

/// What `in` and `not-in` take: values with commas between them. Blanks around a comma do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Box<[T]>);

impl<T: Operand> List<T> {
    fn covers(&self, found: T::Found<'_>) -> bool {
        self.0.iter().any(|one| one.covers(found))
    }
}

impl<T: FromStr> FromStr for List<T>
where
    T::Err: fmt::Display,
{
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let count = text.split(',').count();
        if count > MAX_LIST {
            return Err(invalid(format!("a list has at most {MAX_LIST} values, this one {count}")));
        }
        let value = |(place, text): (usize, &str)| match text.trim() {
            "" => Err(invalid(format!("value {} of the list is empty", place + 1))),
            text => text.parse().map_err(|e| invalid(format!("value {} of the list: {e}", place + 1))),
        };
        Ok(List(text.split(',').enumerate().map(value).collect::<Result<_, _>>()?))
    }
}

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, one) in self.0.iter().enumerate() {
            write!(f, "{}{one}", if place > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl<T: fmt::Display> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for List<T>
where
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for List<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "List".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1, "description": "Values with commas between them." })
    }
}
