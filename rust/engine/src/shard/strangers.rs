//! Strangers: what they send waits in quarantine until the account decides on them.
//!
//! A row in quarantine is its sender's as any other is, and for the recipient it is not there: no session, registration,
//! rule or receipt sees it, and its sender's answer is the same whatever becomes of it. Who is admitted has what waited
//! appended anew, behind everything that came meanwhile, so that every device gets it.

use super::change::{After, Changing};
use super::rules::Decided;
use super::{Resident, Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command};
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::messages::{Fetch, FoundPeer, Job, RowAddresses};
use crate::queue::Slot;
use rosterkit_core::account::Record;
use rosterkit_core::address::Address;
use rosterkit_core::admission::{Admission, Class, Sender, admit};
use rosterkit_core::delivery::limits::Limits;
use rosterkit_core::delivery::unclaimed::Unclaimed;
use rosterkit_core::id::{AddressId, Position, SessionId};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::{Entry, Kind, Row, Side, Sides};
use rosterkit_core::write::{Due, OWN, Write};
use std::sync::Arc;

/// Rows that were in quarantine, and between whom.
pub(crate) type Held = Vec<(Row, RowAddresses)>;

/// A decision on a stranger, on its way to the disk.
pub(crate) struct OnStranger {
    /// What leaves quarantine.
    released: Vec<Position>,
    /// Of the rows that are appended anew.
    addresses: Option<RowAddresses>,
    /// Who is blocked is another one.
    blocks: bool,
    pub(super) reply: ReplyTo,
}

impl Resident {
    fn held(&self, position: Position) -> bool {
        self.quarantined.as_ref().is_some_and(|held| held.contains(position))
    }

    /// What is in quarantine, oldest first.
    pub(super) fn quarantined_positions(&self) -> impl Iterator<Item = Position> {
        self.quarantined.iter().flat_map(|held| held.positions())
    }

    /// Takes a row out of quarantine. Says whether it was there.
    fn release(&mut self, position: Position) -> bool {
        let Some(held) = &mut self.quarantined else {
            return false;
        };
        let was_there = held.remove(position).is_some();
        if held.is_empty() {
            self.quarantined = None;
        }
        was_there
    }
}

/// What becomes of a stranger's row.
///
/// An amendment of what came into quarantine is answered alike whether the message is there still or was refused, which is not to
/// be seen. What was taken before the account was so careful stays as it is.
pub(super) fn quarantine(
    resident: &Resident,
    entry: &Entry,
    is_authors_only: bool,
    limits: &Limits,
) -> Result<Decided> {
    match &entry.kind {
        Kind::Amendment { of, .. } if is_authors_only || resident.held(*of) => {}
        Kind::Amendment { .. } => return Err(Refusal::Forbidden.into()),
        _ => {
            let nothing = Unclaimed::default();
            let held = resident.quarantined.as_deref().unwrap_or(&nothing);
            limits.check_unclaimed(held, entry.sender, entry.size())?;
        }
    }
    Ok(Decided::quarantined())
}

fn positions(held: &Held) -> Vec<Position> {
    held.iter().map(|(row, _)| row.position).collect()
}

impl Shard {
    /// Whether a message of this sender would be held now.
    pub(super) fn would_quarantine(&self, id: AddressId, sender: Sender<'_>) -> bool {
        self.residents.get(&id).is_some_and(|resident| {
            let admission = admit(&resident.record, &resident.preferences, sender, Class::Message);
            admission == Ok(Admission::Quarantined)
        })
    }

    /// A row is in quarantine.
    pub(super) fn put_in_quarantine(&mut self, id: AddressId, row: &Row) {
        if let Some(resident) = self.residents.get_mut(&id) {
            let size = u32::try_from(row.entry.size()).unwrap_or(u32::MAX);
            resident.quarantined.get_or_insert_default().insert(row.position, row.entry.sender, size);
            self.tell_quarantine(id, None);
        }
    }

    /// Tells the account's sessions, or one that is new, how much is in quarantine.
    pub(super) fn tell_quarantine(&self, id: AddressId, only: Option<SessionId>) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let messages = resident.quarantined.as_ref().map_or(0, |held| held.total().0);
        let sessions = resident.sessions.iter().filter(|session| only.is_none_or(|only| only == **session));
        for attached in sessions.filter_map(|session| self.sessions.get(session)) {
            let body = EventBody::QuarantineChanged { messages };
            attached.queue.put_slot(Slot::Quarantine, body, &self.out.readable);
        }
    }

    /// One that has expired is gone.
    pub(super) fn expire_in_quarantine(&mut self, id: AddressId, position: Position) {
        if self.residents.get_mut(&id).is_some_and(|resident| resident.release(position)) {
            self.write(Job::Lazy { writes: vec![Write::Release { position, admitted_as: None }] });
            self.tell_quarantine(id, None);
        }
    }

    pub(super) fn read_quarantined(&mut self, id: AddressId, after: Position, limit: usize, reply: ReplyTo) {
        if let Some(resident) = self.residents.get(&id) {
            let positions = resident.quarantined_positions().filter(|position| *position > after).collect();
            self.fetch(Fetch::QuarantinedPage { positions, limit, reply });
        }
    }

    /// A decision on a stranger is on all that they sent: what is on its way to the disk comes into quarantine first.
    pub(super) fn look_at_stranger(&mut self, id: AddressId, command: Command, reply: ReplyTo) {
        let (Command::AdmitSender(sender) | Command::RefuseSender { sender, .. }) = &command else {
            return;
        };
        if sender.user().is_none() {
            let what = format!("{sender} is no user@domain");
            return reply.answer(Err(Refusal::InvalidArgument(what).into()));
        }
        let after = After::QuarantineFilled { command: Box::new(command), reply };
        self.change(id, Changing { record: None, after }, Vec::new());
    }

    /// Reads what a stranger has in quarantine.
    pub(super) fn look_at_held(&mut self, id: AddressId, command: Box<Command>, reply: ReplyTo) {
        let (Command::AdmitSender(sender) | Command::RefuseSender { sender, .. }) = &*command else {
            return reply.answer(Err(Error::internal("quarantine was filled for nothing")));
        };
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let (sender, positions) = (sender.bare(), resident.quarantined_positions().collect());
        let work = Work::Command { session: None, command, reply };
        self.fetch_first(id, work, Fetch::Quarantined { account: id, sender, positions });
    }

    pub(super) fn take_quarantined(&mut self, id: AddressId, result: Result<(FoundPeer, Held)>) {
        let Some(Work::Command { command, reply, .. }) = self.take_fetching(id) else {
            return;
        };
        match (result, *command) {
            (Ok((peer, held)), Command::AdmitSender(sender)) => {
                self.admit_sender(id, (&peer, &sender.bare()), held, reply);
            }
            (Ok((peer, held)), Command::RefuseSender { sender, block }) => {
                self.refuse_sender(id, (&peer, sender.bare()), block, &held, reply);
            }
            (Ok(_), _) => reply.answer(Err(Error::internal("quarantine was read for nothing"))),
            (Err(error), _) => reply.answer(Err(error)),
        }
        self.continue_gate(id);
    }

    /// The sender is no stranger any more: what waited comes as if it were sent now, with its own time.
    fn admit_sender(
        &mut self,
        id: AddressId,
        (peer, sender): (&FoundPeer, &Address),
        held: Held,
        reply: ReplyTo,
    ) {
        let admits = peer.exists || !self.hosts(sender);
        if !admits && held.is_empty() {
            return reply.answer(Err(Refusal::NotFound(format!("there is no account {sender}")).into()));
        }
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let sides = Sides::new(resident.preferences.keep_history, false).cleared(Side::Sender);
        let mut record = (*resident.record).clone();
        let mut writes = Vec::new();
        // Of who is gone there may be something in quarantine still.
        if admits {
            record.admitted.insert(peer.id);
            if peer.minted {
                writes.push(Write::Address { id: peer.id, address: sender.clone() });
            }
        }
        for (row, _) in &held {
            let (position, admitted_as) = (row.position, Some(OWN));
            let entry = Entry {
                device: None,
                client_id: None,
                fingerprint: 0,
                // A person has taken it.
                expires: None,
                ..row.entry.clone()
            };
            writes.push(Write::append(entry, sides));
            writes.push(Write::Release { position, admitted_as });
            if row.entry.expires.is_some() {
                writes.push(Write::DueDone { position, what: Due::Expiry });
            }
        }
        let released = positions(&held);
        let addresses = held.into_iter().next().map(|(_, addresses)| addresses);
        self.decide_on_stranger(id, record, writes, OnStranger { released, addresses, blocks: false, reply });
    }

    /// What waited is gone, and the sender is a stranger, or blocked.
    fn refuse_sender(
        &mut self,
        id: AddressId,
        (peer, sender): (&FoundPeer, Address),
        block: bool,
        held: &Held,
        reply: ReplyTo,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let mut record = (*resident.record).clone();
        record.admitted.remove(&peer.id);
        let blocks = block && !record.blocks_exactly(&sender);
        if blocks {
            record.blocked.insert(sender, resident.last_seen(self.now.wall));
        }
        let release = |row: &Row| Write::Release { position: row.position, admitted_as: None };
        let writes = held.iter().map(|(row, _)| release(row)).collect();
        let released = positions(held);
        self.decide_on_stranger(id, record, writes, OnStranger { released, addresses: None, blocks, reply });
    }

    fn decide_on_stranger(
        &mut self,
        id: AddressId,
        record: Record,
        mut writes: Vec<Write>,
        decided: OnStranger,
    ) {
        let record = Arc::new(record);
        writes.push(Write::Account(Arc::clone(&record)));
        let after = After::StrangerDecided(Box::new(decided));
        self.change(id, Changing { record: Some(record), after }, writes);
    }

    /// A decision is on disk.
    pub(super) fn stranger_decided(&mut self, id: AddressId, decided: OnStranger, rows: &[Arc<Row>]) {
        let OnStranger { released, addresses, blocks, reply } = decided;
        if let Some(resident) = self.residents.get_mut(&id) {
            for position in &released {
                resident.release(*position);
            }
        }
        if !released.is_empty() {
            self.tell_quarantine(id, None);
        }
        for row in rows {
            if let Some(addresses) = &addresses {
                self.install_for_recipient(id, row, addresses);
            }
        }
        match blocks {
            true => {
                self.block_list_changed(id);
                self.look_up_sight(id, Some(reply));
            }
            false => reply.answer(Ok(Answer::Done)),
        }
    }
}
