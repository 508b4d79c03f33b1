//! The durable state of an account: what is read when it is loaded and replaced when a change commits.
//!
//! It is in two halves that are written at different times: the [`Record`] by changes, which wait for the disk,
//! and the [`Progress`] lazily, because losing it costs a redelivery and nothing else.

use crate::address::Address;
use crate::delivery::claims::Claims;
use crate::id::{AddressId, DeviceName, DeviceNumber, Position};
use crate::invitation::{Invitation, MAX_INVITATIONS, TokenHash};
use crate::preferences::Overrides;
use crate::presence::Visibility;
use crate::refusal::Refusal;
use crate::registration::{Registration, RegistrationKind};
use crate::roster::Index;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its incarnation.
    pub id: AddressId,
    /// Its address, without an instance.
    pub address: Address,
    /// What it set for itself.
    pub overrides: Overrides,
    /// Who is on its roster and in which state; names, groups and stamps stay on disk until asked for.
    pub roster: Index,
    /// The position of the latest change of the roster.
    pub roster_version: Position,
    /// Addresses and whole domains it takes nothing from, with when the account was last there before: for them it has not
    /// come back since. Mostly empty.
    pub blocked: BTreeMap<Address, Timestamp>,
    /// Who does not see all of its presence.
    pub viewers: BTreeMap<AddressId, Viewer>,
    /// Strangers that it admitted out of quarantine: incarnations, for who comes later under the name is another.
    pub admitted: BTreeSet<AddressId>,
    /// Its named devices, by number.
    pub devices: Vec<Device>,
    /// The number the next device gets. Numbers are never used again.
    pub next_device: u32,
    /// The hash of the image in its vCard (XEP-0153). Only the engine writes it, with the vCard.
    pub avatar: Option<Arc<str>>,
    /// Contacts that are no sessions. Those that have expired count for nothing.
    pub registrations: Vec<Registration>,
    /// Whom it let in ahead. Those that have expired let nobody in.
    pub invitations: Vec<Invitation>,
    /// Raised each time an engine takes the account over (fencing, when several engines share a store).
    pub owner_epoch: u64,
    /// Fields that a newer version wrote and this one does not know, as stored.
    pub unknown: Vec<u8>,
}

/// A durable, named client of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What rows call it.
    pub number: DeviceNumber,
    /// What people call it.
    pub name: DeviceName,
}

/// How much of an account's presence somebody sees, when it is not everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// How much.
    pub visibility: Visibility,
    /// When the account was last there before that: for who sees nothing it has not come back since.
    pub last_seen: Timestamp,
}

/// How far an account and its devices have come in the log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// What was claimed by anybody.
    pub claims: Claims,
    /// A cursor for each named device, by number.
    pub cursors: Vec<Cursor>,
    /// When a person was last there, in a session that could be seen; the epoch when never.
    pub last_seen: Timestamp,
    /// Fields that a newer version wrote and this one does not know, as stored.
    pub unknown: Vec<u8>,
}

/// How far one device has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose it is.
    pub device: DeviceNumber,
    /// Every row up to here was acknowledged by the device, or sent by it.
    pub position: Position,
    /// When it was last attached; after 30 days without it is retired.
    pub seen: Timestamp,
}

impl Record {
    /// A new account with nothing on it.
    pub fn new(id: AddressId, address: Address) -> Self {
        Record {
            id,
            address,
            overrides: Overrides::default(),
            roster: Index::default(),
            roster_version: Position::ZERO,
            blocked: BTreeMap::new(),
            viewers: BTreeMap::new(),
            admitted: BTreeSet::new(),
            devices: Vec::new(),
            next_device: 1,
            avatar: None,
            registrations: Vec::new(),
            invitations: Vec::new(),
            owner_epoch: 0,
            unknown: Vec::new(),
        }
    }

    /// The device of this name.
    pub fn device(&self, name: &DeviceName) -> Option<DeviceNumber> {
        self.devices.iter().find(|d| d.name == *name).map(|d| d.number)
    }

    /// Whether this sender, or their whole domain, is blocked.
    pub fn blocks(&self, sender: &Address) -> bool {
        !self.blocked.is_empty()
            && (self.blocked.contains_key(&sender.bare())
                || self.blocked.keys().any(|b| b.user().is_none() && b.as_str() == sender.domain()))
    }
}

impl Record {
    /// Until when a contact counts in its presence; the epoch when none does.
    pub fn registered_until(&self) -> Timestamp {
        let contacts = self.registrations.iter().filter(|one| one.kind == RegistrationKind::Contact);
        contacts.map(|contact| contact.expires).max().unwrap_or_default()
    }
}

impl Record {
    /// Opens an invitation; those that have expired are gone.
    pub fn invite(&mut self, invitation: Invitation, now: Timestamp) -> Result<(), Refusal> {
        self.invitations.retain(|open| open.expires > now);
        if self.invitations.iter().any(|open| open.token == invitation.token) {
            return Err(Refusal::Conflict("this invitation is there already".into()));
        }
        if self.invitations.len() >= MAX_INVITATIONS {
            let what = format!("an account has at most {MAX_INVITATIONS} open invitations");
            return Err(Refusal::limit(what));
        }
        self.invitations.push(invitation);
        Ok(())
    }

    /// Whether this token lets somebody in now.
    pub fn invites(&self, token: TokenHash, now: Timestamp) -> bool {
        self.invitations.iter().any(|open| open.token == token && open.expires > now)
    }
}

impl Record {
    /// Whether this very address, or domain, is blocked.
    pub fn blocks_exactly(&self, address: &Address) -> bool {
        self.blocked.contains_key(address)
    }

    /// How much this viewer sees, as far as it is not for blocks or the roster to say.
    pub fn visibility(&self, viewer: AddressId) -> Visibility {
        self.viewers.get(&viewer).map(|viewer| viewer.visibility).unwrap_or_default()
    }

    /// When the account was last there, for somebody from whom it hides since then; `None` when it hides from nobody such.
    pub fn hidden_since(&self, viewer: AddressId, address: &Address) -> Option<Timestamp> {
        let hides = self.viewers.get(&viewer).filter(|viewer| viewer.visibility == Visibility::Hidden);
        let domain = self.blocked.iter().find(|(b, _)| b.user().is_none() && b.as_str() == address.domain());
        let blocked = self.blocked.get(&address.bare()).or(domain.map(|(_, at)| at));
        blocked.copied().into_iter().chain(hides.map(|viewer| viewer.last_seen)).min()
    }
}

impl Progress {
    /// The cursor of a device.
    pub fn cursor(&self, device: DeviceNumber) -> Option<&Cursor> {
        self.cursors.iter().find(|c| c.device == device)
    }

    /// The same, to move it.
    pub fn cursor_mut(&mut self, device: DeviceNumber) -> Option<&mut Cursor> {
        self.cursors.iter_mut().find(|c| c.device == device)
    }

    /// The position every consumer has passed: rows at or below it are needed by history only.
    pub fn passed_by_all(&self) -> Position {
        self.cursors.iter().map(|c| c.position).fold(self.claims.upto(), Position::min)
    }
}
