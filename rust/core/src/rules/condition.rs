//! Conditions. All of a rule's must hold.

use super::facts::{Found, Subjects};
use super::local::{Date, LocalTime, TimeOfDay, Weekday};
use super::operator::{Choice, Flag, Ordered};
use super::picture::{Picture, StatePicture};
use serde::{Deserialize, Serialize};

/// A condition: what is looked at, how it is compared, and with what. In JSON `{"from": {"is": "*@example.org"}}`.
///
/// The names are CommuniGate Pro's ("Automated Signal Processing Rules", "Automated Rules") in kebab case; its own
/// spelling is accepted too. `body` and `buddy` are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Condition {
    /// The request's method: `MESSAGE`, `SUBSCRIBE`, `NOTIFY`.
    #[serde(alias = "Method", alias = "Operation")]
    Method(Choice<Picture>),
    /// `IM` for an instant message, else empty.
    #[serde(alias = "CallType")]
    CallType(Choice<Picture>),
    /// The address it was sent to, instance included.
    #[serde(alias = "RequestURI")]
    RequestUri(Choice<Picture>),
    /// The sender's address, without an instance.
    #[serde(alias = "From")]
    From(Choice<Picture>),
    /// The recipient's address, without an instance.
    #[serde(alias = "To")]
    To(Choice<Picture>),
    /// What the sender calls themselves.
    #[serde(alias = "'From' Name")]
    FromName(Choice<Picture>),
    /// The sender's address, when it is an account of this system; else nothing.
    #[serde(alias = "Authenticated")]
    Authenticated(Choice<Picture>),
    /// The recipient's aggregate presence.
    #[serde(alias = "Presence")]
    Presence(Choice<StatePicture>),
    /// How many live registrations the recipient has.
    #[serde(alias = "RegClients")]
    RegClients(Ordered<u32>),
    /// The recipient's time of day, to the minute.
    #[serde(alias = "Time Of Day")]
    TimeOfDay(Ordered<TimeOfDay>),
    /// The recipient's day of the week.
    #[serde(alias = "Current Day")]
    CurrentDay(Choice<Weekday>),
    /// The recipient's date.
    #[serde(alias = "Current Date")]
    CurrentDate(Ordered<Date>),
    /// The text; there is none in data.
    #[serde(alias = "Body")]
    Body(Choice<Picture>),
    /// Whether the sender is a confirmed buddy.
    #[serde(alias = "Buddy")]
    Buddy(Flag),
}

impl Condition {
    /// What it looks at.
    pub(super) fn find<'s>(&self, subjects: &'s Subjects<'_>) -> Found<'s> {
        let facts = subjects.facts;
        let LocalTime { time, day, date } = facts.local;
        match self {
            Condition::Method(_) => Found::Text(Some(facts.method.compared())),
            Condition::CallType(_) => Found::Text(Some(facts.method.compared_call_type())),
            Condition::RequestUri(_) => Found::Text(Some(subjects.request_uri())),
            Condition::From(_) => Found::Text(Some(subjects.sender())),
            Condition::To(_) => Found::Text(Some(subjects.recipient())),
            Condition::FromName(_) => Found::Text(subjects.sender_name()),
            Condition::Authenticated(_) => Found::Text(facts.authenticated.then(|| subjects.sender())),
            Condition::Presence(_) => Found::State(facts.presence),
            Condition::RegClients(_) => Found::Number(facts.registrations),
            Condition::TimeOfDay(_) => Found::Time(time),
            Condition::CurrentDay(_) => Found::Day(day),
            Condition::CurrentDate(_) => Found::Date(date),
            Condition::Body(_) => Found::Text(subjects.body()),
            Condition::Buddy(_) => Found::Flag(facts.buddy),
        }
    }

    /// Whether it holds for what it found.
    pub(super) fn meets(&self, found: &Found<'_>) -> bool {
        match (self.test(), found) {
            (Test::Text(test), Found::Text(text)) => test.holds(*text),
            (Test::State(test), Found::State(state)) => test.holds(Some(*state)),
            (Test::Number(test), Found::Number(number)) => test.holds(number),
            (Test::Time(test), Found::Time(time)) => test.holds(time),
            (Test::Day(test), Found::Day(day)) => test.holds(Some(*day)),
            (Test::Date(test), Found::Date(date)) => test.holds(date),
            (Test::Flag(test), Found::Flag(flag)) => test.holds(*flag),
            _ => false,
        }
    }

    pub(super) fn test(&self) -> Test<'_> {
        match self {
            Condition::Method(test)
            | Condition::CallType(test)
            | Condition::RequestUri(test)
            | Condition::From(test)
            | Condition::To(test)
            | Condition::FromName(test)
            | Condition::Authenticated(test)
            | Condition::Body(test) => Test::Text(test),
            Condition::Presence(test) => Test::State(test),
            Condition::RegClients(test) => Test::Number(test),
            Condition::TimeOfDay(test) => Test::Time(test),
            Condition::CurrentDay(test) => Test::Day(test),
            Condition::CurrentDate(test) => Test::Date(test),
            Condition::Buddy(test) => Test::Flag(*test),
        }
    }
}

/// The comparison of a condition, by the kind of what is compared.
pub(super) enum Test<'a> {
    Text(&'a Choice<Picture>),
    State(&'a Choice<StatePicture>),
    Number(&'a Ordered<u32>),
    Time(&'a Ordered<TimeOfDay>),
    Day(&'a Choice<Weekday>),
    Date(&'a Ordered<Date>),
    Flag(Flag),
}
