//! Rosters and presence.

use crate::convert::{same_cases, signed};
use crate::error::RosterKitError;

/// A roster, or what changed in it.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Roster {
    /// In the order of their addresses. When only changes were asked for, those that are gone are there, not listed.
    pub buddies: Vec<Buddy>,
    /// The version: give it back to get only what changes from here on.
    pub version: i64,
}

/// A buddy.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Buddy {
    /// Their address.
    pub address: String,
    /// What the owner calls them. Empty when they gave no name.
    pub name: String,
    /// The groups they stand in, sorted.
    pub groups: Vec<String>,
    /// As a person sees it.
    pub status: BuddyStatus,
    /// The owner sees their presence.
    pub sees_them: bool,
    /// They see the owner's presence.
    pub sees_me: bool,
    /// Whether the owner put them there.
    pub is_listed: bool,
}

/// How two people stand, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum BuddyStatus {
    /// Nothing is between them.
    Unrelated,
    /// The owner asked.
    Requested,
    /// They asked.
    Asking,
    /// At least one direction is confirmed.
    Confirmed,
}

same_cases!(BuddyStatus = rosterkit::Status {
    Unrelated = None,
    Requested = Requested,
    Asking = Asking,
    Confirmed = Confirmed,
});

/// What watchers see of an account.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Presence {
    /// The state.
    pub state: PresenceState,
    /// A note.
    pub note: Option<String>,
    /// The hash of the image in the account's vCard: SHA-1, in lower-case hex (XEP-0153). None when there is none, and when
    /// the account is offline.
    #[uniffi(default)]
    pub avatar: Option<String>,
    /// What only clients understand, of the session that gives the note. Empty when there is nothing.
    #[uniffi(default)]
    pub extensions: Vec<u8>,
}

/// A presence state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PresenceState {
    /// Here.
    Online,
    /// Here and wishing to talk.
    Chat,
    /// Not to be disturbed.
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
    /// Away for long.
    ExtendedAway,
    /// Not here, or not shown.
    Offline,
    /// A buddy outside of whom nobody has heard. It is not offline.
    Unknown,
}

same_cases!(PresenceState = rosterkit::State {
    Online = Online,
    Chat = Chat,
    Busy = Busy,
    OnPhone = OnPhone,
    InMeeting = InMeeting,
    Away = Away,
    BeBack = BeBack,
    OutToLunch = OutToLunch,
    ExtendedAway = ExtendedAway,
    Offline = Offline,
    Unknown = Unknown,
});

/// Presence to show.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PresenceUpdate {
    /// The state; neither `Offline`, which is going offline, nor `Unknown`.
    pub state: PresenceState,
    /// A note, at most 1,024 bytes.
    #[uniffi(default)]
    pub note: Option<String>,
    /// From -128 to 127. A session with a negative one gets no messages.
    #[uniffi(default = 0)]
    pub priority: i32,
    /// When it ends by itself and the session is plainly online again, in Unix milliseconds.
    #[uniffi(default)]
    pub until_ms: Option<i64>,
    /// Receive presence and messages, and show nothing.
    #[uniffi(default = false)]
    pub invisible: bool,
    /// Who sets it; a person when left out.
    #[uniffi(default)]
    pub layer: Option<PresenceLayer>,
    /// What only clients understand, at most 4 KiB.
    #[uniffi(default)]
    pub extensions: Option<Vec<u8>>,
}

/// Who set a presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PresenceLayer {
    /// A person, by hand: it stays until they change it or it ends.
    Manual,
    /// A program: the person is idle, in a call. It shows only where the person has set nothing.
    Automatic,
}

same_cases!(PresenceLayer = rosterkit::PresenceLayer {
    Manual = Manual,
    Automatic = Automatic,
});

/// How much an account lets a buddy see of its presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Visibility {
    /// Everything.
    Full,
    /// The state alone.
    StateOnly,
    /// Nothing: it shows offline. They are not blocked, and what they send comes.
    Hidden,
}

same_cases!(Visibility = rosterkit::Visibility { Full = Full, StateOnly = StateOnly, Hidden = Hidden });

/// When an account was last there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LastSeen {
    /// It is now.
    Online,
    /// Then.
    At {
        /// In Unix milliseconds.
        time_ms: i64,
    },
    /// Within the last three days.
    Recently,
    /// Within the last seven days.
    WithinWeek,
    /// Within the last thirty days.
    WithinMonth,
    /// Before that.
    LongAgo,
}

impl From<rosterkit::LastSeen> for LastSeen {
    fn from(seen: rosterkit::LastSeen) -> Self {
        match seen {
            rosterkit::LastSeen::Online => LastSeen::Online,
            rosterkit::LastSeen::At(time) => LastSeen::At { time_ms: time.0 },
            rosterkit::LastSeen::Recently => LastSeen::Recently,
            rosterkit::LastSeen::WithinWeek => LastSeen::WithinWeek,
            rosterkit::LastSeen::WithinMonth => LastSeen::WithinMonth,
            rosterkit::LastSeen::LongAgo => LastSeen::LongAgo,
        }
    }
}

/// What an account lets those know of when it was last there who see all of its presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LastSeenPrecision {
    /// The time.
    Exact,
    /// Roughly how long ago.
    Rough,
    /// Nothing.
    Nothing,
}

same_cases!(LastSeenPrecision = rosterkit::LastSeenPrecision { Exact = Exact, Rough = Rough, Nothing = Nothing });

/// Whose messages an account takes when the sender is no confirmed buddy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AcceptedSenders {
    /// Anybody who is not blocked.
    Everybody,
    /// Accounts of this system.
    Authenticated,
    /// Accounts of the same domain.
    SameDomain,
    /// Confirmed buddies only.
    Nobody,
    /// Anybody; what comes from others than buddies waits aside until the account admits or refuses them.
    Quarantine,
}

same_cases!(AcceptedSenders = rosterkit::AcceptedSenders {
    Everybody = Everybody,
    Authenticated = Authenticated,
    SameDomain = SameDomain,
    Nobody = Nobody,
    Quarantine = Quarantine,
});

impl From<&rosterkit::Buddy> for Buddy {
    fn from(buddy: &rosterkit::Buddy) -> Self {
        Buddy {
            address: buddy.address.to_string(),
            name: buddy.name.clone(),
            groups: buddy.groups.clone(),
            status: buddy.status().into(),
            sees_them: buddy.halves.to(),
            sees_me: buddy.halves.from(),
            is_listed: buddy.listed,
        }
    }
}

impl From<&rosterkit::Presence> for Presence {
    fn from(presence: &rosterkit::Presence) -> Self {
        Presence {
            state: presence.state.into(),
            note: presence.note.as_deref().map(str::to_owned),
            avatar: presence.avatar.as_deref().map(str::to_owned),
            extensions: presence.extensions.to_vec(),
        }
    }
}

impl From<rosterkit::Roster> for Roster {
    fn from(roster: rosterkit::Roster) -> Self {
        Roster {
            buddies: roster.buddies.iter().map(Buddy::from).collect(),
            version: signed(roster.version.0),
        }
    }
}

impl TryFrom<PresenceUpdate> for rosterkit::SetPresence {
    type Error = RosterKitError;

    fn try_from(update: PresenceUpdate) -> Result<Self, RosterKitError> {
        Ok(rosterkit::SetPresence {
            state: update.state.into(),
            note: update.note,
            priority: crate::convert::number("a priority", update.priority.into())?,
            until: update.until_ms.map(rosterkit::Timestamp),
            invisible: update.invisible,
            layer: update.layer.map(Into::into).unwrap_or_default(),
            extensions: update.extensions.unwrap_or_default(),
        })
    }
}
