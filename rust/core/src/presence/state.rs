//! The presence states of CommuniGate Pro, with RFC 6121's.

use crate::refusal::Refusal;
use std::fmt;
use std::str::FromStr;

/// A presence state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Here.
    Online,
    /// Here and wishing to talk (RFC 6121's `chat`).
    Chat,
    /// Not to be disturbed (RFC 6121's `dnd`).
    Busy,
    /// In a call.
    OnPhone,
    /// In a meeting.
    InMeeting,
    /// Away for a while.
    Away,
    /// Away, and back soon.
    BeBack,
    /// At lunch.
    OutToLunch,
    /// Away for long (RFC 6121's `xa`).
    ExtendedAway,
    /// Not here, or not shown.
    #[default]
    Offline,
    /// A buddy outside of whom nobody has heard. It is not offline.
    Unknown,
}

impl State {
    /// Every state, in the order of the manual.
    pub const ALL: [State; 11] = [
        State::Online,
        State::Chat,
        State::Busy,
        State::OnPhone,
        State::InMeeting,
        State::Away,
        State::BeBack,
        State::OutToLunch,
        State::ExtendedAway,
        State::Offline,
        State::Unknown,
    ];

    /// Its name, as in `out-to-lunch`.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Online => "online",
            State::Chat => "chat",
            State::Busy => "busy",
            State::OnPhone => "on-phone",
            State::InMeeting => "in-meeting",
            State::Away => "away",
            State::BeBack => "be-back",
            State::OutToLunch => "out-to-lunch",
            State::ExtendedAway => "extended-away",
            State::Offline => "offline",
            State::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        State::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Refusal::InvalidArgument(format!("{text:?} is no presence state")))
    }
}
