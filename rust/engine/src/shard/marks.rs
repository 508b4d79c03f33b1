//! Receipts and read marks: how far two accounts are with what one sent to the other.
//!
//! That a client took a message is lazy, as its acknowledgement is: told at once, on disk within a second. That a person
//! read it is an act, and is answered when it is on disk. Either speaks for everything below it, so a mark that is told
//! late, twice or never costs nothing that the next one does not bring.

use super::{Resident, Shard};
use crate::answers::ReplyTo;
use crate::event::EventBody;
use crate::messages::{FoundPeer, Job, Signal};
use crate::queue::Slot;
use rosterkit_core::address::Address;
use rosterkit_core::admission::{Admission, Class, Sender, admit};
use rosterkit_core::delivery::marks::{Marks, tells_delivered, tells_displayed};
use rosterkit_core::id::{AddressId, Position, SessionId};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::write::Write;

impl Shard {
    /// Clients took what these accounts sent, up to there: each learns it that may.
    pub(super) fn tell_delivered(&mut self, id: AddressId, senders: &[(AddressId, Position)]) {
        for &(sender, latest) in senders {
            let Some(resident) = self.residents.get_mut(&id) else {
                return;
            };
            let upto = upto(resident, sender, latest);
            let relation = resident.record.roster.get(sender);
            // Of what is outside nobody here keeps marks.
            if sender == id || relation.is_outside() {
                continue;
            }
            let Some(resident) = self.residents.get(&id) else {
                return;
            };
            let may_see = self.shows_to(resident, sender);
            let mut sessions = resident.sessions.iter().filter_map(|s| self.sessions.get(s));
            let is_visible = sessions.any(|a| a.contribution().is_none_or(|c| !c.invisible));
            if !tells_delivered(&resident.preferences, may_see, is_visible) {
                continue;
            }
            let address = resident.record.address.clone();
            let marks = Marks::delivered(upto);
            let unsaved = self.marks.entry((sender, id)).or_default();
            *unsaved = unsaved.joined(marks);
            self.flush_soon();
            self.signal(sender.slot(), Signal::Marked { account: sender, peer: id, address, marks });
        }
    }

    /// What this sender knows already and is not on disk.
    pub(super) fn unsaved_marks(&self, sender: AddressId, recipient: AddressId) -> Marks {
        self.marks.get(&(sender, recipient)).copied().unwrap_or_default()
    }

    /// What was told and is not on disk.
    pub(super) fn marks_to_write(&mut self) -> Vec<Write> {
        let marks = std::mem::take(&mut self.marks);
        marks.into_iter().map(|((account, peer), marks)| Write::Marks { account, peer, marks }).collect()
    }

    /// A person has read what a peer sent.
    pub(super) fn mark_read(
        &mut self,
        id: AddressId,
        by: Option<SessionId>,
        (peer, upto): (&Address, Position),
        found: &FoundPeer,
        reply: ReplyTo,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        if found.minted {
            let what = format!("nothing ever went between the account and {peer}");
            return reply.answer(Err(Refusal::NotFound(what).into()));
        }
        // What nobody has seen was not read.
        let upto = upto.min(resident.last);
        let read = Marks { read: upto, ..Marks::default() };
        let mut writes = vec![Write::Marks { account: id, peer: found.id, marks: read }];
        let sender = Sender { id: found.id, address: peer, hosted: self.hosts(peer) };
        let admission = admit(&resident.record, &resident.preferences, sender, Class::Message);
        let is_admitted = admission == Ok(Admission::Admitted);
        if found.exists && found.id != id && tells_displayed(&resident.preferences, is_admitted) {
            let marks = Marks::displayed(upto);
            writes.push(Write::Marks { account: found.id, peer: id, marks });
            let address = resident.record.address.clone();
            let marked = Signal::Marked { account: found.id, peer: id, address, marks };
            self.signal(found.id.slot(), marked);
        }
        self.write(Job::Other { writes, reply });
        self.take_marks(id, found.id, &peer.bare(), read, by);
    }

    /// Marks of an account's conversation with a peer rose: its sessions are told of those that did for them, but for the
    /// one that raised them.
    pub(super) fn take_marks(
        &mut self,
        id: AddressId,
        peer: AddressId,
        address: &Address,
        marks: Marks,
        by: Option<SessionId>,
    ) {
        self.conversation_will_change(id, peer);
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        for session in &resident.sessions {
            let Some(attached) = self.sessions.get_mut(session).filter(|a| a.reads_messages) else {
                continue;
            };
            let told = attached.marks.get_or_insert_default().entry(peer).or_default();
            let before = std::mem::replace(told, told.joined(marks));
            let now = *told;
            let address = || address.clone();
            if by == Some(*session) {
                continue;
            }
            let raised = [
                (
                    before.delivered,
                    now.delivered,
                    Slot::Delivered(peer),
                    EventBody::Delivered { peer: address(), upto: now.delivered },
                ),
                (
                    before.displayed,
                    now.displayed,
                    Slot::Displayed(peer),
                    EventBody::Displayed { peer: address(), upto: now.displayed },
                ),
                (
                    before.read,
                    now.read,
                    Slot::Read(peer),
                    EventBody::Read { peer: address(), upto: now.read },
                ),
            ];
            for (before, now, slot, event) in raised {
                if now > before {
                    attached.queue.put_slot(slot, event, &self.out.readable);
                }
            }
        }
    }
}

/// How far a receipt speaks when this row of a sender's was claimed: for nothing that is unclaimed still.
fn upto(resident: &mut Resident, sender: AddressId, claimed: Position) -> Position {
    let held_back = resident.held_back.as_mut().and_then(|held_back| held_back.remove(&sender));
    let latest = held_back.map_or(claimed, |held_back| held_back.max(claimed));
    match resident.unclaimed.lowest_from(sender) {
        Some(lowest) if lowest < latest => {
            resident.held_back.get_or_insert_default().insert(sender, latest);
            Position(lowest.0 - 1)
        }
        _ => latest,
    }
}
