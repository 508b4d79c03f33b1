//! The way in: parcels that a relay brings for accounts of this file.
//!
//! A parcel is a change of its recipient: while it is on its way to the disk the account takes nothing else in, so that
//! the same one coming twice at once finds itself. All its messages are written in one item, all or none.

use super::change::{After, Changing};
use super::roster::{Came, Step, buddy_writes};
use super::rules::{Asked, Decided};
use super::send::append;
use super::{Shard, Work};
use crate::answers::ReplyTo;
use crate::command::Answer;
use crate::error::Result;
use crate::messages::{Fetch, FoundOrigin, FoundPeer, Job, RowAddresses};
use crate::relay::{Amends, Contents, Parcel, RelayedMessage, RosterSignal, Settlement};
use rosterkit_core::admission::Sender;
use rosterkit_core::id::{AddressId, MessageId, Position};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::roster::{self, MAX_VERSION, Op, Signal};
use rosterkit_core::row::{Amendment, Entry, Kind, Side, Sides};
use rosterkit_core::write::{OWN, Pending, Write};
use std::sync::Arc;

impl Shard {
    /// Takes a parcel for one of this shard's accounts.
    pub(super) fn take_parcel(&mut self, parcel: Box<Parcel>, reply: ReplyTo) {
        if !self.hosts(&parcel.recipient) {
            let refusal =
                Refusal::NotFound(format!("the domain {} is not hosted here", parcel.recipient.domain()));
            return refuse_parcel(&parcel, &refusal.to_string(), reply);
        }
        self.work(parcel.recipient.bare(), Work::Parcel { parcel, reply });
    }

    /// Reads what is known of who it is from.
    pub(super) fn look_at_parcel(&mut self, id: AddressId, parcel: Box<Parcel>, reply: ReplyTo) {
        let origin = parcel.sender.bare();
        let fetch = match &parcel.contents {
            Contents::Messages(messages) => {
                let ids = messages.iter().map(|message| message.delivery_id.clone()).collect();
                let amends = messages.iter().map(|message| message.amends.map(Amends::of)).collect();
                let held = match messages.iter().any(|message| message.amends.is_some()) {
                    true => {
                        self.residents.get(&id).map(|resident| resident.quarantined_positions().collect())
                    }
                    false => None,
                };
                Fetch::Deliveries { account: id, origin, ids, amends, held: held.unwrap_or_default() }
            }
            Contents::Roster(_) => Fetch::Peer { account: id, peer: origin, id: None },
        };
        self.fetch_first(id, Work::Parcel { parcel, reply }, fetch);
    }

    // ---- messages ---------------------------------------------------------------------------------------------

    pub(super) fn take_deliveries(&mut self, id: AddressId, result: Result<FoundOrigin>) {
        match (self.take_fetching(id), result) {
            (Some(Work::Parcel { parcel, reply }), Ok(origin)) => {
                self.take_messages(id, *parcel, &origin, reply);
            }
            (Some(work), Err(error)) => self.cannot(work, &error),
            _ => {}
        }
        self.continue_gate(id);
    }

    fn take_messages(&mut self, id: AddressId, parcel: Parcel, origin: &FoundOrigin, reply: ReplyTo) {
        let Contents::Messages(messages) = parcel.contents else {
            return;
        };
        let (mut settlements, mut rows, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
        let mut then = Vec::new();
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let addresses =
            RowAddresses { sender: parcel.sender.bare(), recipient: resident.record.address.clone() };
        let keep = resident.preferences.keep_history;
        for ((message, known), amended) in messages.into_iter().zip(&origin.known).zip(&origin.amended) {
            // It may also stand twice in this very parcel.
            let delivery_id = message.delivery_id.clone();
            if *known || delivery_id.is_some() && deliveries.contains(&delivery_id) {
                settlements.push(Settlement::Relayed);
                continue;
            }
            match self.entry_of(id, origin.id, &addresses, message, *amended) {
                // A stranger amends what was refused, and is not to see that.
                Ok(None) => {
                    deliveries.push(delivery_id);
                    settlements.push(Settlement::Relayed);
                }
                Ok(Some((mut entry, decided))) => {
                    entry.ruled = decided.ruled;
                    let sides = decided.sides(Sides::new(keep, false).cleared(Side::Sender), &entry);
                    let mut more = decided.writes(id, &entry);
                    let mut writes = append(entry, sides);
                    // Nobody wants a row that is nobody's; the sender's system has its answer.
                    if sides.is_clear() && more.is_empty() {
                        writes.remove(0);
                    } else {
                        then.push(decided.then);
                    }
                    rows.append(&mut writes);
                    rows.append(&mut more);
                    deliveries.push(delivery_id);
                    settlements.push(Settlement::Relayed);
                }
                Err(error) => settlements.push(Settlement::Failed { reason: error.details.into() }),
            }
        }
        if rows.is_empty() && deliveries.is_empty() {
            return reply.answer(Ok(Answer::Received(settlements)));
        }
        let mut writes = Vec::with_capacity(rows.len() * 2 + 1);
        if origin.minted {
            writes.push(Write::Address { id: origin.id, address: addresses.sender.clone() });
        }
        writes.append(&mut rows);
        let time = self.now.wall;
        writes.extend(deliveries.into_iter().flatten().map(|delivery_id| Write::Delivery {
            origin: origin.id,
            recipient: id,
            delivery_id,
            time,
        }));
        let after = After::MessagesTaken { origin: addresses, then, settlements, reply };
        self.change(id, Changing { record: None, after }, writes);
    }

    /// What is to be written of a message, when something is, or why it is refused.
    fn entry_of(
        &mut self,
        id: AddressId,
        origin: AddressId,
        addresses: &RowAddresses,
        message: RelayedMessage,
        amended: Option<Position>,
    ) -> Result<Option<(Entry, Decided)>> {
        self.shared.options.limits.check_message(message.content.size())?;
        // It was too long on its way.
        if message.expires.is_some_and(|expires| expires <= self.now.wall) {
            return Err(Refusal::InvalidArgument("the message has expired already".into()).into());
        }
        let instance = match &message.instance {
            Some(instance) => addresses.sender.with_instance(instance)?.instance().map(Arc::from),
            None => None,
        };
        let sender = Sender { id: origin, address: &addresses.sender, hosted: false };
        let now = self.now.wall;
        let message_id = match message.id {
            Some(id) => id,
            None => MessageId::new(now.0, super::send::random_bytes(&mut self.random)),
        };
        // Another system's clock may be ahead.
        let time = message.time.map_or(now, |time| time.min(now));
        let kind = match (message.amends, amended) {
            (None, _) => Kind::Message(message.content),
            (Some(_), None) if self.would_quarantine(id, sender) => return Ok(None),
            (Some(_), None) => {
                return Err(Refusal::NotFound("the message that is to be amended is not there".into()).into());
            }
            (Some(Amends::Edit(of_id)), Some(of)) => {
                Kind::Amendment { of, of_id, amendment: Amendment::Edit(message.content) }
            }
            (Some(Amends::Retract(of_id)), Some(of)) => {
                Kind::Amendment { of, of_id, amendment: Amendment::Retract }
            }
        };
        let mut entry =
            Entry { instance, expires: message.expires, ..Entry::new(origin, id, message_id, time, kind) };
        let asked = Asked {
            sender: origin,
            from: &addresses.sender,
            request_uri: &addresses.recipient,
            entry: &entry,
        };
        let decided = self.decide_delivery(id, sender, asked, false, true)?;
        entry.word = decided.word;
        Ok(Some((entry, decided)))
    }

    // ---- roster signals ---------------------------------------------------------------------------------------

    /// Takes a step of the handshake. The stamps make a repeat harmless.
    pub(super) fn take_roster_signal(
        &mut self,
        id: AddressId,
        parcel: Parcel,
        found: FoundPeer,
        reply: ReplyTo,
    ) {
        let Contents::Roster(RosterSignal { op, stamp, note, token, .. }) = parcel.contents else {
            return;
        };
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let origin =
            RowAddresses { sender: parcel.sender.bare(), recipient: resident.record.address.clone() };
        let answer = |settlement| Ok(Answer::Received(vec![settlement]));
        if stamp > MAX_VERSION
            || op == Op::Update
            || self.shared.options.limits.check_message(note.len()).is_err()
        {
            let reason = "this is no step of the handshake".into();
            return reply.answer(answer(Settlement::Failed { reason }));
        }
        let sender = Sender { id: found.id, address: &origin.sender, hosted: false };
        let signal = Signal { op, stamp: Position(stamp), note, token };
        if !self.hears(resident, sender, &signal) {
            // Who is blocked does not learn it.
            return reply.answer(answer(Settlement::Relayed));
        }
        let known = found.buddy.as_ref().map(|buddy| buddy.halves);
        let settlement = match known {
            Some(halves) if halves.supersedes(op, signal.stamp) => {
                Settlement::Superseded { stamp: halves.highest().0 }
            }
            _ => Settlement::Relayed,
        };
        let received = roster::receive(found.buddy.as_ref(), (found.id, &origin.sender), &signal);
        let Some(buddy) = received.buddy else {
            return reply.answer(answer(settlement));
        };
        let mut writes = Vec::new();
        if found.minted {
            writes.push(Write::Address { id: found.id, address: origin.sender.clone() });
        }
        let step = Step { buddy, former: found.former, asked: received.asked, token: signal.token };
        self.roster_received(id, step, origin, writes, Came::Relayed(settlement, reply));
    }

    /// A peer outside knows something newer than what this account said: it is said anew, if it is still meant.
    pub(super) fn renew_signal(
        &mut self,
        id: AddressId,
        pending: Pending,
        known: Position,
        found: FoundPeer,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let settle = Write::Settle { position: pending.position, recipient: pending.recipient.clone() };
        let renewed = found
            .buddy
            .filter(|_| pending.origin == id)
            .and_then(|buddy| roster::renew(&buddy, &pending.signal, known, &resident.record.address));
        let Some((buddy, signal)) = renewed else {
            return self.write(Job::Lazy { writes: vec![settle] });
        };
        let record = self.with_buddy(&resident.record, &buddy, found.former);
        let came = Box::new((pending.clone(), known));
        let pending = Pending { position: OWN, signal, ..pending };
        let mut writes = vec![settle, Write::Pend(pending.clone())];
        writes.extend(buddy_writes(&record, &buddy, found.former));
        let after = After::RosterRenewed { buddy: Box::new(buddy), pending: Box::new(pending), came };
        self.change(id, Changing { record: Some(record), after }, writes);
    }
}

/// None of the parcel is for anybody here, and never will be.
pub(super) fn refuse_parcel(parcel: &Parcel, reason: &str, reply: ReplyTo) {
    let refused = Settlement::Failed { reason: reason.into() };
    reply.answer(Ok(Answer::Received(vec![refused; parcel.items()])));
}
