//! What rules may know of a signal.

use super::fold::{Compared, Folded};
use super::local::LocalTime;
use crate::address::Address;
use crate::presence::State;
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

    /// Its name, folded.
    pub(super) const fn compared(self) -> Compared<'static> {
        Compared::plain(match self {
            Method::Message => "message",
            Method::Subscribe => "subscribe",
            Method::Notify => "notify",
        })
    }

    /// Its call type, folded.
    pub(super) const fn compared_call_type(self) -> Compared<'static> {
        Compared::plain(match self {
            Method::Message => "im",
            Method::Subscribe | Method::Notify => "",
        })
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
    request_uri: OnceCell<Folded<'a>>,
    from: OnceCell<Folded<'a>>,
    from_name: OnceCell<Folded<'a>>,
    to: OnceCell<Folded<'a>>,
    body: OnceCell<Folded<'a>>,
}

impl<'a> Subjects<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        let cell = OnceCell::new;
        Subjects { facts, request_uri: cell(), from: cell(), from_name: cell(), to: cell(), body: cell() }
    }

    pub(super) fn request_uri(&self) -> Compared<'_> {
        self.request_uri.get_or_init(|| Folded::new(self.facts.request_uri.as_str())).compared()
    }

    pub(super) fn sender(&self) -> Compared<'_> {
        self.from.get_or_init(|| Folded::new(self.facts.from.bare_str())).compared()
    }

    pub(super) fn sender_name(&self) -> Option<Compared<'_>> {
        self.facts.from_name.map(|name| self.from_name.get_or_init(|| Folded::new(name)).compared())
    }

    pub(super) fn recipient(&self) -> Compared<'_> {
        self.to.get_or_init(|| Folded::new(self.facts.to.bare_str())).compared()
    }

    pub(super) fn body(&self) -> Option<Compared<'_>> {
        self.facts.body.map(|text| self.body.get_or_init(|| Folded::new(text)).compared())
    }
}

/// What a condition found.
#[derive(Clone)]
pub(super) enum Found<'a> {
    Text(Option<Compared<'a>>),
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
            Found::Text(text) => f.write_str(text.map_or("", |text| text.text)),
            Found::State(state) => state.fmt(f),
            Found::Number(number) => number.fmt(f),
            Found::Time(time) => time.fmt(f),
            Found::Day(day) => day.fmt(f),
            Found::Date(date) => date.fmt(f),
            Found::Flag(flag) => flag.fmt(f),
        }
    }
}
