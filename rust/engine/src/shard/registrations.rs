//! Registrations: contacts of an account that the host delivers to, and devices that it can wake.
//!
//! They are part of the account's record and outlive the process; one that has expired counts for nothing at once, and is
//! taken out of the record when that can be written.

use super::change::{After, Changing};
use super::{Deadline, Resident, Shard};
use crate::answers::ReplyTo;
use crate::command::Answer;
use crate::host::{HostEvent, PushReason};
use crate::messages::RowAddresses;
use crate::view;
use rosterkit_core::id::{AddressId, DeviceName, Position};
use rosterkit_core::presence::Activity;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::registration::{MAX_REGISTRATIONS, Registration, RegistrationKind};
use rosterkit_core::row::{Kind, Row};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;
use std::sync::Arc;

impl Resident {
    /// Its registrations of this kind that are there.
    pub(super) fn registrations(
        &self,
        kind: RegistrationKind,
        now: Timestamp,
    ) -> impl Iterator<Item = &Registration> {
        self.record.registrations.iter().filter(move |one| one.kind == kind && one.is_live(now))
    }

    /// How many contacts take part in delivery.
    pub(super) fn contacts(&self, now: Timestamp) -> usize {
        match self.preferences.deliver_to_devices {
            true => self.registrations(RegistrationKind::Contact, now).count(),
            false => 0,
        }
    }
}

impl Shard {
    pub(super) fn add_registration(&mut self, id: AddressId, registration: Registration, reply: ReplyTo) {
        if let Err(refusal) = registration.check(self.now.wall) {
            return reply.answer(Err(refusal.into()));
        }
        let now = self.now.wall;
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let others = resident.record.registrations.iter();
        let mut all: Vec<Registration> =
            others.filter(|other| other.name != registration.name && other.is_live(now)).cloned().collect();
        if all.len() >= MAX_REGISTRATIONS {
            let what = format!("an account has at most {MAX_REGISTRATIONS} registrations");
            return reply.answer(Err(Refusal::limit(what).into()));
        }
        all.push(registration);
        self.replace_registrations(id, all, reply);
    }

    pub(super) fn remove_registration(&mut self, id: AddressId, name: &DeviceName, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let mut all = resident.record.registrations.clone();
        all.retain(|one| one.name != *name);
        if all.len() == resident.record.registrations.len() {
            let what = format!("the account has no registration named {:?}", name.as_str());
            return reply.answer(Err(Refusal::NotFound(what).into()));
        }
        self.replace_registrations(id, all, reply);
    }

    fn replace_registrations(&mut self, id: AddressId, all: Vec<Registration>, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let mut record = (*resident.record).clone();
        record.registrations = all;
        let record = Arc::new(record);
        let writes = vec![Write::Account(Arc::clone(&record))];
        self.change(id, Changing { record: Some(record), after: After::Registered { reply } }, writes);
    }

    /// The account's registrations are others, or it was loaded with some.
    pub(super) fn registrations_changed(&mut self, id: AddressId) {
        let now = self.now.wall;
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let live = resident.record.registrations.iter().filter(|one| one.is_live(now));
        if let Some(next) = live.map(|one| one.expires).min() {
            let millis = u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0);
            self.schedule(self.now.tick.after(millis.max(1)), Deadline::Registration(id));
        }
        self.presence_changed(id);
    }

    /// A registration may have expired: whoever sees the account is told, whatever the disk says. It is taken out of the record
    /// when that can be written now, or with the next change.
    pub(super) fn registration_due(&mut self, id: AddressId) {
        self.registrations_changed(id);
        let now = self.now.wall;
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let all = &resident.record.registrations;
        if all.iter().all(|one| one.is_live(now)) || !matches!(resident.gate, super::Gate::Open) {
            return;
        }
        let live = all.iter().filter(|one| one.is_live(now)).cloned().collect();
        self.replace_registrations(id, live, ReplyTo::nobody());
    }

    pub(super) fn read_registrations(&self, id: AddressId, reply: ReplyTo) {
        let now = self.now.wall;
        let all = self.residents.get(&id).map(|resident| resident.record.registrations.iter());
        let live = all.into_iter().flatten().filter(|one| one.is_live(now)).cloned().collect();
        reply.answer(Ok(Answer::Registrations(live)));
    }

    /// A row came: contacts are delivered to, and when no session is there devices are to be woken.
    pub(super) fn tell_registrations(&self, id: AddressId, row: &Row, addresses: &RowAddresses) {
        let now = self.now.wall;
        let Some(resident) = self.residents.get(&id).filter(|r| !r.record.registrations.is_empty()) else {
            return;
        };
        let account = &resident.record.address;
        if resident.contacts(now) > 0
            && let Some(message) = view::message(row.clone(), addresses, false)
        {
            for contact in resident.registrations(RegistrationKind::Contact, now) {
                self.shared.host.put(HostEvent::Deliver {
                    account: account.clone(),
                    registration: contact.name.clone(),
                    contact: Arc::clone(&contact.contact),
                    message: message.clone(),
                });
            }
        }
        let sessions = resident.sessions.iter().filter_map(|session| self.sessions.get(session));
        let is_awake = |lease: &rosterkit_core::presence::Lease| lease.activity != Activity::Suspended;
        let mut awake = sessions.filter(|a| a.lease.as_ref().is_none_or(|lease| is_awake(lease)));
        let reason = match row.entry.kind {
            Kind::Message(_) => PushReason::NewMessage,
            Kind::BuddyRequest { .. } => PushReason::BuddyRequest,
            Kind::Amendment { .. } | Kind::Outcome { .. } => return,
        };
        if awake.any(|attached| attached.as_taker().takes()) {
            return;
        }
        for device in resident.registrations(RegistrationKind::Push, now) {
            self.shared.host.put(HostEvent::Push {
                account: account.clone(),
                registration: device.name.clone(),
                contact: Arc::clone(&device.contact),
                reason,
                sender: addresses.sender.bare(),
                message_id: row.entry.message_id,
                position: row.position,
                badge: resident.unclaimed.total().0,
                expires: row.entry.expires,
            });
        }
    }

    /// The host has delivered these to a contact: they are claimed.
    pub(super) fn claim(&mut self, id: AddressId, positions: Vec<Position>, reply: ReplyTo) {
        let mut senders = Vec::new();
        for position in positions {
            let sender = self.residents.get_mut(&id).and_then(|r| r.unclaimed.remove(position));
            if let (Some(sender), Some(resident)) = (sender, self.residents.get_mut(&id)) {
                resident.progress.claims.claim(position);
                senders.push((sender, position));
            }
        }
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.advance_claims();
        }
        self.leave_to_sweep(id, senders.iter().map(|(_, position)| position).max());
        self.mark_dirty(id);
        self.tell_delivered(id, &senders);
        reply.answer(Ok(Answer::Done));
    }
}
