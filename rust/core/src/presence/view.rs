//! What of an account's presence one viewer sees.

use crate::presence::{Presence, State};

/// How much an account lets somebody see who is subscribed to its presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Everything.
    #[default]
    Full,
    /// The state alone: no note, no avatar, nothing opaque, and not when it was last there.
    StateOnly,
    /// Nothing: it shows offline. They are not blocked, and what they send comes.
    Hidden,
}

impl Visibility {
    /// Its name, as in `state-only`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Visibility::Full => "full",
            Visibility::StateOnly => "state-only",
            Visibility::Hidden => "hidden",
        }
    }

    /// What is seen of this.
    pub fn of(self, presence: &Presence) -> Presence {
        match self {
            Visibility::Full => presence.clone(),
            Visibility::StateOnly => Presence::plain(presence.state),
            Visibility::Hidden => Presence::plain(State::Offline),
        }
    }
}
