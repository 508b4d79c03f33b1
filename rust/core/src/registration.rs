//! Registrations: contacts of an account that are no sessions, until they expire.

use crate::id::DeviceName;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use std::sync::Arc;

/// How many an account may have.
pub const MAX_REGISTRATIONS: usize = 64;
/// The longest a contact may be, in bytes.
pub const MAX_CONTACT_BYTES: usize = 4_096;

/// A contact of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What it is called: registering again under the same name replaces it.
    pub name: DeviceName,
    /// What sort it is.
    pub kind: RegistrationKind,
    /// How to reach it, for the host alone: a SIP URI, a push token.
    pub contact: Arc<str>,
    /// Until when it is there.
    pub expires: Timestamp,
}

/// What sort of registration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationKind {
    /// Somebody is there, as with a SIP registration: it counts in presence, and in delivery when `deliver_to_devices` is
    /// on.
    Contact,
    /// Somebody can be woken, as with a push token: it counts in neither.
    Push,
}

impl Registration {
    /// Checks the contact and the expiry.
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.contact.is_empty() || self.contact.len() > MAX_CONTACT_BYTES {
            let what =
                format!("a contact has 1 to {MAX_CONTACT_BYTES} bytes, this one {}", self.contact.len());
            return Err(Refusal::InvalidArgument(what));
        }
        if self.expires <= now {
            return Err(Refusal::InvalidArgument("the registration has expired already".into()));
        }
        Ok(())
    }

    /// Whether it is there.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires > now
    }
}
