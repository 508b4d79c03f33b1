//! Sessions: opened, kept alive, ended.

use super::change::{After, Changing};
use super::queries::Queries;
use super::{Deadline, Shard};
use crate::answers::ReplyTo;
use crate::command::{Answer, Consumer, SessionOptions};
use crate::error::Error;
use crate::event::{EndReason, EventBody};
use crate::queue::{SessionQueue, Slot, Wake};
use crate::session::Session;
use crate::shard::feed::Feed;
use crate::sync::atomic::Ordering;
use rosterkit_core::account::{Cursor, Device};
use rosterkit_core::address::Address;
use rosterkit_core::delivery::fork::Taker;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, DeviceName, DeviceNumber, SessionId};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::presence::{Activity, Contribution, Layers, Lease};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::time::Tick;
use rosterkit_core::write::Write;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A session, as its shard sees it.
pub(super) struct Attached {
    pub(super) account: AddressId,
    /// Its address: the way back to the account when the shard was emptied.
    pub(super) address: Address,
    pub(super) device: Option<DeviceNumber>,
    pub(super) instance: Arc<str>,
    pub(super) queue: Arc<SessionQueue>,
    /// It said that it reads messages.
    pub(super) reads_messages: bool,
    /// It is told the account's state.
    pub(super) observes: bool,
    pub(super) feed: Feed,
    /// Rows in the queue or in the consumer's hands.
    pub(super) outstanding: u32,
    pub(super) presence: Layers,
    pub(super) lease: Option<Box<Lease>>,
    /// Presence answers still expected before the snapshot is whole.
    pub(super) snapshot: Option<u32>,
    /// What it was told of each conversation: no mark goes back.
    pub(super) marks: Option<Box<FxHashMap<AddressId, Marks>>>,
    /// To whom it shows itself besides.
    pub(super) directed: BTreeSet<Address>,
    /// What it asks and is asked.
    pub(super) queries: Option<Box<Queries>>,
    /// When what somebody types ends by itself.
    pub(super) typing: Option<Box<FxHashMap<AddressId, (Address, Tick)>>>,
}

impl Attached {
    /// What it shows, when it is online.
    pub(super) fn contribution(&self) -> Option<&Contribution> {
        self.presence.shown()
    }

    /// Whether it is told what buddies show.
    pub(super) fn sees_presence(&self) -> bool {
        self.observes || self.contribution().is_some()
    }

    /// One more part of its snapshot is there.
    pub(super) fn snapshot_part(&mut self, wake: &dyn Wake) {
        if let Some(left) = &mut self.snapshot {
            *left -= 1;
            if *left == 0 {
                self.snapshot = None;
                self.queue.put_slot(Slot::SnapshotEnd, EventBody::SnapshotEnd, wake);
            }
        }
    }

    /// As the fork sees it.
    pub(super) fn as_taker(&self) -> Taker<'_> {
        Taker {
            session: self.queue.session,
            instance: &self.instance,
            reads_messages: self.reads_messages,
            invisible: self.contribution().is_some_and(|c| c.invisible),
            priority: self.contribution().map_or(0, |c| c.priority),
        }
    }
}

impl Shard {
    /// Opens a session. A device that is new is written first.
    pub(super) fn open_session(&mut self, id: AddressId, mut options: SessionOptions, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        if matches!(options.consumer, Consumer::Listener(_))
            && !self.shared.ready.admits_listener(self.shared.options.max_listeners)
        {
            let what = format!(
                "{} sessions have listeners, which is the maximum",
                self.shared.options.max_listeners
            );
            return reply.answer(Err(Refusal::limit(what).into()));
        }
        if let Some(instance) = &mut options.instance {
            match resident.record.address.with_instance(instance) {
                Ok(prepared) => *instance = prepared.instance().unwrap_or_default().to_owned(),
                Err(refusal) => return reply.answer(Err(refusal.into())),
            }
        }
        match options.device.as_ref().map(|name| (name, resident.record.device(name))) {
            None => self.attach(id, None, options, reply),
            Some((_, Some(number))) => {
                self.take_over(id, number);
                self.attach(id, Some(number), options, reply);
            }
            Some((name, None)) => {
                let name = name.clone();
                self.add_device(id, name, options, reply);
            }
        }
    }

    fn add_device(&mut self, id: AddressId, name: DeviceName, options: SessionOptions, reply: ReplyTo) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let mut record = (*resident.record).clone();
        let number = DeviceNumber(record.next_device);
        record.next_device += 1;
        record.devices.push(Device { number, name });
        let record = Arc::new(record);
        // The cursor starts at what was claimed: a new device is owed what nobody has read.
        let mut progress = resident.progress.clone();
        progress.cursors.push(Cursor {
            device: number,
            position: progress.claims.upto(),
            seen: self.now.wall,
        });
        let writes = vec![Write::Account(Arc::clone(&record)), Write::Progress(id, progress.clone())];
        let after = After::DeviceAdded { number, progress, options: Box::new(options), reply };
        self.change(id, Changing { record: Some(record), after }, writes);
    }

    /// The device has a newer session: the old one ends.
    pub(super) fn take_over(&mut self, id: AddressId, number: DeviceNumber) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let old = resident
            .sessions
            .iter()
            .copied()
            .find(|s| self.sessions.get(s).is_some_and(|a| a.device == Some(number)));
        if let Some(old) = old {
            self.end_session(old, EndReason::Replaced);
        }
    }

    /// Attaches a session and starts reading the log for it.
    pub(super) fn attach(
        &mut self,
        id: AddressId,
        device: Option<DeviceNumber>,
        options: SessionOptions,
        reply: ReplyTo,
    ) {
        // It waited for its account, or its device, while the other sessions were ended: nobody would end this one.
        if self.shared.closed.load(Ordering::Acquire) {
            return reply.answer(Err(self.shared.ended()));
        }
        let session = self.shared.new_session_id(id);
        let queue = Arc::new(match options.observes {
            true => SessionQueue::observing(session),
            false => SessionQueue::new(session),
        });
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let instance: Arc<str> = match options.instance {
            Some(instance) => instance.into(),
            None => format!("{:016x}", self.random.u64(..)).into(),
        };
        if let Some(cursor) = device.and_then(|d| resident.progress.cursor_mut(d)) {
            cursor.seen = self.now.wall;
        }
        // Most have one session.
        resident.sessions.reserve_exact(1);
        resident.sessions.push(session);
        let lease = options.lease_ms.map(|ms| Box::new(Lease::new(ms, self.now.tick)));
        if let Some(lease) = &lease {
            self.schedule(lease.deadline(), Deadline::Lease(session));
        }
        let Some(address) = self.residents.get(&id).map(|r| r.record.address.clone()) else {
            return;
        };
        // An observer takes no messages.
        let reads_messages = options.reads_messages && !options.observes;
        let feed = if reads_messages { Feed::Live } else { Feed::None };
        self.sessions.insert(
            session,
            Box::new(Attached {
                account: id,
                address: address.clone(),
                device,
                instance: Arc::clone(&instance),
                queue: Arc::clone(&queue),
                reads_messages,
                observes: options.observes,
                feed,
                outstanding: 0,
                presence: Layers::default(),
                lease,
                snapshot: None,
                marks: None,
                typing: None,
                directed: BTreeSet::new(),
                queries: None,
            }),
        );
        self.shared.ready.register(&queue, options.consumer);
        let handle = Session::new(Arc::clone(&self.shared), queue, id, address, instance);
        reply.answer(Ok(Answer::Session(handle)));
        self.start_feed(session);
        self.begin_observing(id, session);
        if self.residents.get(&id).is_some_and(|resident| resident.quarantined.is_some()) {
            self.tell_quarantine(id, Some(session));
        }
    }

    /// After the store was opened again, every session is attached as if it were new: its account is read, and what
    /// was committed and never told reaches it by that reading.
    pub(super) fn attach_all_again(&mut self) {
        let mut sessions: Vec<(SessionId, Address)> = Vec::new();
        for (session, attached) in &mut self.sessions {
            attached.queue.reattach(&self.out.readable);
            attached.outstanding = 0;
            attached.snapshot = None;
            sessions.push((*session, attached.address.clone()));
        }
        sessions.sort_unstable_by_key(|(session, _)| *session);
        for (session, address) in sessions {
            self.work(address, super::Work::Reattach(session));
        }
    }

    /// The account of a session could not be read: it is tried again, unless the store was opened anew meanwhile.
    pub(super) fn attach_later(&mut self, session: SessionId, attachment: u64) {
        if let Some(attached) = self.sessions.get(&session)
            && attached.queue.attachment() == attachment
        {
            self.work(attached.address.clone(), super::Work::Reattach(session));
        }
    }

    /// The account of a session was read again.
    pub(super) fn reattach(&mut self, id: AddressId, session: SessionId) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let same = attached.account == id;
        if !same {
            return self.end_session(session, EndReason::AccountDeleted);
        }
        if attached
            .device
            .is_some_and(|d| self.residents.get(&id).is_none_or(|r| r.progress.cursor(d).is_none()))
        {
            return self.end_session(session, EndReason::Replaced);
        }
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.sessions.push(session);
        }
        if !matches!(attached.feed, Feed::None) {
            attached.feed = Feed::Live;
        }
        let queue = Arc::clone(&attached.queue);
        let sees_presence = attached.sees_presence();
        // To an observer everything is told again.
        if !attached.observes {
            queue.put_slot(Slot::Resync, EventBody::Resync, &self.out.readable);
        }
        self.start_feed(session);
        self.presence_changed(id);
        if sees_presence {
            self.begin_snapshot(id, session);
        }
    }

    /// A session whose priority went below zero takes no messages any more: what it had in hand passes on. One that
    /// takes them again is owed what a new session is.
    pub(super) fn priority_changed(&mut self, id: AddressId, session: SessionId) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let takes = attached.as_taker().takes();
        if takes != matches!(attached.feed, Feed::None) {
            return;
        }
        attached.queue.reattach(&self.out.readable);
        attached.outstanding = 0;
        if takes {
            attached.feed = Feed::Live;
            self.start_feed(session);
        } else {
            attached.feed = Feed::None;
            self.pass_on(id, session);
        }
    }

    /// A sign of life.
    pub(super) fn touch(&mut self, session: SessionId) {
        if let Some(lease) = self.sessions.get_mut(&session).and_then(|a| a.lease.as_mut()) {
            lease.renew(self.now.tick);
        }
    }

    /// A lease may have run out: it is looked at when it would have, had nothing renewed it.
    pub(super) fn lease_due(&mut self, session: SessionId) {
        let Some(lease) = self.sessions.get(&session).and_then(|a| a.lease.as_ref()) else {
            return;
        };
        let deadline = lease.deadline();
        if planted(Bug::LeaseNeverEnds) {
            return;
        }
        if deadline <= self.now.tick {
            self.end_session(session, EndReason::LeaseExpired);
        } else {
            self.schedule(deadline, Deadline::Lease(session));
        }
    }

    pub(super) fn set_activity(&mut self, session: Option<SessionId>, activity: Activity, reply: ReplyTo) {
        let Some(session) = session else {
            return reply.answer(Err(needs_session()));
        };
        let deadline = self.sessions.get_mut(&session).and_then(|a| a.lease.as_mut()).map(|lease| {
            lease.renew(self.now.tick);
            lease.activity = activity;
            lease.deadline()
        });
        if let Some(attached) = self.sessions.get(&session)
            && let Some(resident) = self.residents.get_mut(&attached.account)
            && resident.acted(attached, self.now.wall)
        {
            self.mark_dirty(attached.account);
        }
        if let Some(deadline) = deadline {
            // In foreground the bound is shorter: the deadline that stands may be too late.
            self.schedule(deadline, Deadline::Lease(session));
        }
        reply.answer(Ok(Answer::Done));
    }

    /// Ends a session: its contribution is gone, and what it was given and did not acknowledge goes to the oldest of
    /// those that are left.
    pub(super) fn end_session(&mut self, session: SessionId, reason: EndReason) {
        if let Some(account) = self.sessions.get(&session).map(|attached| attached.account) {
            self.take_back_directed(account, session);
            self.leave_queries(session);
        }
        let Some(attached) = self.sessions.remove(&session) else {
            return;
        };
        attached.queue.end(reason, &self.out.readable);
        let id = attached.account;
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        resident.sessions.retain(|s| *s != session);
        // Who has not renewed a lease was there some time before.
        let acted = reason != EndReason::LeaseExpired && resident.acted(&attached, self.now.wall);
        if let Some(cursor) = attached.device.and_then(|d| resident.progress.cursor_mut(d)) {
            cursor.seen = self.now.wall;
        }
        // A cursor is to be written; or rows that only this session had yet to read can go.
        if acted || attached.device.is_some() || attached.feed.next().is_some() {
            self.mark_dirty(id);
        }
        self.pass_on(id, session);
        if attached.contribution().is_some() {
            self.presence_changed(id);
        }
        self.maybe_idle(id);
    }

    pub(super) fn retire_device(&mut self, id: AddressId, name: &DeviceName, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let Some(number) = resident.record.device(name) else {
            let what = format!("the account has no device named {:?}", name.as_str());
            return reply.answer(Err(Refusal::NotFound(what).into()));
        };
        let mut record = (*resident.record).clone();
        record.devices.retain(|d| d.number != number);
        let mut progress = resident.progress.clone();
        progress.cursors.retain(|c| c.device != number);
        let record = Arc::new(record);
        let writes = vec![Write::Account(Arc::clone(&record)), Write::Progress(id, progress.clone())];
        self.take_over(id, number);
        self.change(
            id,
            Changing { record: Some(record), after: After::DeviceRetired { progress, reply } },
            writes,
        );
    }

    pub(super) fn shut_down(&mut self) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.end_session(session, EndReason::Shutdown);
        }
        self.flush_lazy();
        self.send_out();
        self.open = false;
    }
}

pub(super) fn needs_session() -> Error {
    Error::new(crate::error::ErrorKind::InvalidArgument, "this is for a session: call it on one")
}
