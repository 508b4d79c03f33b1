//! What rules may know of a signal.

use super::local::LocalTime;
use super::picture::fold;
use crate::address::Address;
use crate::presence::State;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

/// What sort of request a signal is, by its name in SIP, which is what CommuniGate Pro's rules compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// An instant message.
    #[default]
    Message,
    /// A buddy request, or what follows it.
    Subscribe,
    /// A presence notice.
    Notify,
}

impl Method {
    /// Its name, as in `MESSAGE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Message => "MESSAGE",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
        }
    }

    /// Its call type: `IM` for an instant message, and empty for what is neither that nor a call ("Automated Signal
    /// Processing Rules", `CallType`).
    pub const fn call_type(self) -> &'static str {
        match self {
            Method::Message => "IM",
            Method::Subscribe | Method::Notify => "",
        }
    }
}

/// What rules may know of a signal and its recipient, at the moment they are applied.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What sort of request it is.
    pub method: Method,
    /// The address it was sent to, instance included.
    pub request_uri: &'a Address,
    /// Whose it is. Compared without its instance.
    pub from: &'a Address,
    /// What the sender calls themselves, when they do.
    pub from_name: Option<&'a str>,
    /// The account it is for. Compared without its instance.
    pub to: &'a Address,
    /// Whether the sender is an account of this system, which its session has proved.
    pub authenticated: bool,
    /// The recipient's aggregate presence.
    pub presence: State,
    /// How many live registrations the recipient has.
    pub registrations: u32,
    /// The recipient's clock.
    pub local: LocalTime,
    /// The text; there is none in data.
    pub body: Option<&'a str>,
    /// Whether the sender is a confirmed buddy of the recipient.
    pub buddy: bool,
    /// How often rules have sent the signal on.
    pub hops: u8,
}

/// The facts, with what has to be folded for comparing folded once, when the first rule asks.
pub(super) struct Subjects<'a> {
    pub(super) facts: &'a Facts<'a>,
    request_uri: OnceCell<Cow<'a, str>>,
    from: OnceCell<Cow<'a, str>>,
    from_name: OnceCell<Cow<'a, str>>,
    to: OnceCell<Cow<'a, str>>,
    body: OnceCell<Cow<'a, str>>,
}

impl<'a> Subjects<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        let cell = OnceCell::new;
        Subjects { facts, request_uri: cell(), from: cell(), from_name: cell(), to: cell(), body: cell() }
    }

    pub(super) fn request_uri(&self) -> &str {
        self.request_uri.get_or_init(|| fold(self.facts.request_uri.as_str()))
    }

    pub(super) fn sender(&self) -> &str {
        self.from.get_or_init(|| fold(self.facts.from.bare_str()))
    }

    pub(super) fn sender_name(&self) -> Option<&str> {
        self.facts.from_name.map(|name| &**self.from_name.get_or_init(|| fold(name)))
    }

    pub(super) fn recipient(&self) -> &str {
        self.to.get_or_init(|| fold(self.facts.to.bare_str()))
    }

    pub(super) fn body(&self) -> Option<&str> {
        self.facts.body.map(|text| &**self.body.get_or_init(|| fold(text)))
    }
}

/// What a condition found.
#[derive(Clone, Debug)]
pub(super) enum Found<'a> {
    Text(Option<&'a str>),
    State(State),
    Number(u32),
    Time(super::TimeOfDay),
    Day(super::Weekday),
    Date(super::Date),
    Flag(bool),
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Text(text) => f.write_str(text.unwrap_or_default()),
            Found::State(state) => state.fmt(f),
            Found::Number(number) => number.fmt(f),
            Found::Time(time) => time.fmt(f),
            Found::Day(day) => day.fmt(f),
            Found::Date(date) => date.fmt(f),
            Found::Flag(flag) => flag.fmt(f),
        }
    }
}
