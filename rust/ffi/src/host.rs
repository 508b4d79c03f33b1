//! Registrations, and what the host itself is asked to do.

use crate::convert::{device, same_cases, signed};
use crate::error::RosterKitError;
use crate::event::Message;
use rosterkit::Timestamp;

type Result<T> = std::result::Result<T, RosterKitError>;

/// A contact of an account that is no session.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Registration {
    /// What it is called: registering again under the same name replaces it.
    pub name: String,
    /// What sort it is.
    pub kind: RegistrationKind,
    /// How to reach it, for the host alone: a SIP URI, a push token; at most 4,096 bytes.
    pub contact: String,
    /// Until when it is there, in Unix milliseconds.
    pub expires_ms: i64,
}

/// What sort of registration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RegistrationKind {
    /// Somebody is there, as with a SIP registration: it counts in presence, and in delivery when `deliver_to_devices` is
    /// on.
    Contact,
    /// Somebody can be woken, as with a push token: it counts in neither.
    Push,
}

same_cases!(RegistrationKind = rosterkit::RegistrationKind { Contact = Contact, Push = Push });

/// Why a device is to be woken.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PushReason {
    /// A message came.
    NewMessage,
    /// Somebody asks to be a buddy.
    BuddyRequest,
    /// One that this interface has no case for.
    Other {
        /// Its name.
        name: String,
    },
}

/// Something for the host to do. Kinds that are added come as `Other`.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum HostEvent {
    /// A rule says that a URL is to be opened.
    OpenUrl {
        /// Whose message it was about.
        account: String,
        /// Which rule: its level and its name.
        rule: String,
        /// Which URL.
        url: String,
        /// The message's id.
        message_id: String,
    },
    /// A rule says that the account's devices are to be sent a notification.
    RulePush {
        /// Whose.
        account: String,
        /// Which rule: its level and its name.
        rule: String,
        /// What it is to say.
        text: String,
        /// The message's id.
        message_id: String,
    },
    /// A message is to be delivered to a contact that is registered. Who has it says so by `claim`; until then it waits
    /// for whoever else comes.
    Deliver {
        /// Whose contact.
        account: String,
        /// Which.
        registration: String,
        /// How to reach it.
        contact: String,
        /// What.
        message: Message,
    },
    /// A device is to be woken: something came, and none of the account's sessions is there to take it.
    Push {
        /// Whose device.
        account: String,
        /// Which.
        registration: String,
        /// How to reach it.
        contact: String,
        /// What came.
        reason: PushReason,
        /// From whom: the collapse key.
        sender: String,
        /// The message's id.
        message_id: String,
        /// Its place.
        position: i64,
        /// How many messages wait.
        badge: i32,
        /// When it is of no use any more, in Unix milliseconds.
        expires_ms: Option<i64>,
    },
    /// So many were lost before the next: nobody took them in time.
    Missed {
        /// How many.
        count: i64,
    },
    /// Something that this interface has no case for.
    Other {
        /// What sort of event.
        kind: String,
    },
}

impl TryFrom<Registration> for rosterkit::Registration {
    type Error = RosterKitError;

    fn try_from(given: Registration) -> Result<Self> {
        Ok(rosterkit::Registration {
            name: device(&given.name)?,
            kind: given.kind.into(),
            contact: given.contact.into(),
            expires: Timestamp(given.expires_ms),
        })
    }
}

impl From<rosterkit::Registration> for Registration {
    fn from(registration: rosterkit::Registration) -> Self {
        Registration {
            name: registration.name.as_str().to_owned(),
            kind: registration.kind.into(),
            contact: registration.contact.to_string(),
            expires_ms: registration.expires.0,
        }
    }
}

impl From<rosterkit::PushReason> for PushReason {
    fn from(reason: rosterkit::PushReason) -> Self {
        match reason {
            rosterkit::PushReason::NewMessage => PushReason::NewMessage,
            rosterkit::PushReason::BuddyRequest => PushReason::BuddyRequest,
            other => PushReason::Other { name: format!("{other:?}") },
        }
    }
}

impl From<rosterkit::HostEvent> for HostEvent {
    fn from(event: rosterkit::HostEvent) -> Self {
        use rosterkit::HostEvent as Engine;
        match event {
            Engine::OpenUrl { account, rule, url, message_id } => HostEvent::OpenUrl {
                account: account.to_string(),
                rule,
                url: url.to_string(),
                message_id: message_id.to_string(),
            },
            Engine::RulePush { account, rule, text, message_id } => HostEvent::RulePush {
                account: account.to_string(),
                rule,
                text: text.to_string(),
                message_id: message_id.to_string(),
            },
            Engine::Deliver { account, registration, contact, message } => HostEvent::Deliver {
                account: account.to_string(),
                registration: registration.as_str().to_owned(),
                contact: contact.to_string(),
                message: (&message).into(),
            },
            Engine::Push {
                account,
                registration,
                contact,
                reason,
                sender,
                message_id,
                position,
                badge,
                expires,
            } => HostEvent::Push {
                account: account.to_string(),
                registration: registration.as_str().to_owned(),
                contact: contact.to_string(),
                reason: reason.into(),
                sender: sender.to_string(),
                message_id: message_id.to_string(),
                position: signed(position.0),
                badge: badge.try_into().unwrap_or(i32::MAX),
                expires_ms: expires.map(|time| time.0),
            },
            Engine::Missed { count } => HostEvent::Missed { count: signed(count) },
            _ => HostEvent::Other { kind: "unknown".into() },
        }
    }
}
