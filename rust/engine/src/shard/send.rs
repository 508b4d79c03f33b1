//! The way of a message: accepted on its sender's shard, decided on its recipient's, installed on both once it is on
//! disk. Nothing in memory changes before that but counters for limits and the client ids in flight.

use super::outbox::ToOutside;
use super::rules::{Asked, Decided};
use super::sending_on::SENT_ON;
use super::strangers::quarantine;
use super::{Gate, InFlight, Ring, Sending, Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Amend, Answer, Command, Receipt, Send};
use crate::error::{Error, ErrorKind, Result};
use crate::messages::{Deliver, Done, Fetch, Flight, Forwarding, Job, RowAddresses, Signal, ToShard};
use rosterkit_core::admission::{self, Admission, Class, Sender};
use rosterkit_core::id::{AddressId, MessageId, SessionId, fnv1a};
use rosterkit_core::planted::{self, Bug, planted};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::{Amended, Amendment, Entry, Kind, Row, Side, Sides};
use rosterkit_core::write::{ClientIdEntry, Write};
use std::sync::Arc;

/// How many client ids of an account that stays in memory are known before they are read anew.
const MOST_KNOWN: usize = 4_096;

impl Shard {
    // ---- the sender's side ----------------------------------------------------------------------------------

    /// Looks up the message that its author amends.
    pub(super) fn amend(&mut self, id: AddressId, session: Option<SessionId>, amend: Amend, reply: ReplyTo) {
        let (peer, message_id) = (amend.recipient.bare(), amend.message_id);
        let work = Work::Command { session, command: Box::new(Command::Amend(amend)), reply };
        self.fetch_first(id, work, Fetch::Own { account: id, peer, message_id });
    }

    /// A message of the account's own was looked up: what is done to it is sent as a message is.
    pub(super) fn take_own(&mut self, id: AddressId, result: Result<Option<Arc<Row>>>) {
        let Some(Work::Command { session, command, reply }) = self.take_fetching(id) else {
            return;
        };
        let Command::Amend(Amend { recipient, message_id, amendment, client_id }) = *command else {
            return;
        };
        match result {
            Ok(Some(row)) => {
                let was_retracted = matches!(row.entry.amended, Some(Amended::Retracted(_)));
                let refused = was_retracted.then(|| Refusal::Conflict("the message was retracted".into()));
                let kind = Kind::Amendment { of: row.position, of_id: message_id, amendment };
                let recipient = recipient.bare();
                let was_held = row.sides.was_quarantined() && !planted(Bug::LeakedQuarantine);
                let is_authors_only = was_held && row.entry.admitted_as.is_none();
                let (expires, hops) = (None, 0);
                let sending = Sending { recipient, kind, client_id, expires, hops, is_authors_only, refused };
                self.send(id, session, Box::new(sending), false, reply);
            }
            Ok(None) => {
                let what = "the account sent no such message, or not lately, or keeps no history";
                reply.answer(Err(Refusal::NotFound(what.into()).into()));
            }
            Err(error) => reply.answer(Err(error)),
        }
        self.continue_gate(id);
    }

    /// Accepts a send, or finds that it was accepted before. `looked_up` says that its client id was looked for on
    /// disk and not found, although its hash was there.
    pub(super) fn send(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        send: Box<Sending>,
        looked_up: bool,
        reply: ReplyTo,
    ) {
        // A repeat is answered as the first was, whatever has changed since: an expiry that is past, a relay that is gone.
        let refused = match send.refused.clone() {
            Some(refusal) => Err(refusal.into()),
            None => self.check_send(id, &send),
        };
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let fingerprint = send.fingerprint();
        if let Some(client_id) = &send.client_id {
            if let Some(first) =
                resident.in_flight.iter_mut().find(|f| f.client_id.as_ref() == Some(client_id))
            {
                if first.fingerprint == fingerprint {
                    return first.replies.push(reply);
                }
                return reply.answer(Err(other_content()));
            }
            let missing = match &resident.ring {
                Ring::Unread => Some(Fetch::Ring { account: id }),
                Ring::Known(hashes) if !looked_up && hashes.contains(&client_id.hash64()) => {
                    Some(Fetch::ClientId { account: id, client_id: client_id.clone() })
                }
                Ring::Known(_) => None,
            };
            if let Some(fetch) = missing {
                let work = Work::Send { session, send, reply };
                resident.gate = Gate::Fetching(Box::new(work));
                return self.fetch(fetch);
            }
        }
        if let Err(error) = refused {
            return reply.answer(Err(error));
        }
        if let Err(refusal) =
            resident.sends.take(&self.shared.options.limits.sends, self.now.tick, "messages")
        {
            return reply.answer(Err(refusal.into()));
        }
        let message_id = MessageId::new(self.now.wall.0, random_bytes(&mut self.random));
        self.next_token += 1;
        let token = self.next_token;
        let attached = session.and_then(|s| self.sessions.get(&s));
        let Sending { recipient, kind, client_id, expires, hops, is_authors_only, .. } = *send;
        let deliver = Deliver {
            entry: Entry {
                device: attached.and_then(|a| a.device),
                instance: attached.map(|a| Arc::clone(&a.instance)),
                client_id: client_id.clone(),
                fingerprint,
                expires,
                hops,
                // The recipient's id is filled in by the recipient's shard, with the word.
                ..Entry::new(id, id, message_id, self.now.wall, kind)
            },
            sender: resident.record.address.clone(),
            recipient,
            sender_history: resident.preferences.keep_history,
            sender_needs: resident.preferences.keep_history || !resident.record.devices.is_empty(),
            token,
            forwarding: None,
            is_authors_only,
        };
        resident.in_flight.push(InFlight { token, client_id, fingerprint, message_id, replies: vec![reply] });
        let slot = deliver.recipient.slot();
        if self.shared.shard_of_slot(slot) == self.index {
            self.route_message(Box::new(deliver));
        } else {
            self.signal(slot, Signal::Deliver(Box::new(deliver)));
        }
    }

    /// The one place that knows who takes a message: an account of this file, or a relay.
    pub(super) fn route_message(&mut self, deliver: Box<Deliver>) {
        match self.hosts(&deliver.recipient) {
            true => self.work(deliver.recipient.bare(), Work::Deliver(deliver)),
            false => self.send_outside(deliver.recipient.bare(), ToOutside::Deliver(deliver)),
        }
    }

    fn check_send(&self, id: AddressId, send: &Sending) -> Result<()> {
        let limits = &self.shared.options.limits;
        limits.check_message(send.kind.size())?;
        if send.expires.is_some_and(|expires| expires <= self.now.wall) {
            return Err(Refusal::InvalidArgument("the message has expired already".into()).into());
        }
        if send.recipient.user().is_none() {
            return Err(Refusal::InvalidArgument("a message goes to user@domain".into()).into());
        }
        if !self.reaches(&send.recipient) {
            return Err(Refusal::Unreachable(send.recipient.domain().into()).into());
        }
        // An account whose domain was removed under it sends nothing.
        match self.residents.get(&id) {
            Some(resident) if self.hosts(&resident.record.address) => Ok(()),
            _ => Err(Refusal::NotFound("the account's domain is not hosted any more".into()).into()),
        }
    }

    /// The ring was read: the send that waited for it goes on.
    pub(super) fn take_ring(&mut self, id: AddressId, result: Result<Vec<u64>>) {
        let Some(work) = self.take_fetching(id) else {
            return;
        };
        match result {
            Ok(hashes) => {
                if let Some(resident) = self.residents.get_mut(&id) {
                    resident.ring = Ring::Known(Box::new(hashes.into_iter().collect()));
                }
                self.perform(id, work);
            }
            Err(error) => self.cannot(work, &error),
        }
        self.continue_gate(id);
    }

    /// A client id was looked up: its send is answered again, or was another one with the same hash.
    pub(super) fn take_client_id(&mut self, id: AddressId, result: Result<Option<ClientIdEntry>>) {
        let Some(Work::Send { session, send, reply }) = self.take_fetching(id) else {
            return;
        };
        match result {
            Ok(Some(entry)) if entry.fingerprint == send.fingerprint() => {
                reply.answer(Ok(Answer::Receipt(Receipt {
                    id: entry.message_id,
                    position: entry.position,
                    outcome: entry.word,
                    time: entry.time,
                })));
            }
            Ok(Some(_)) => reply.answer(Err(other_content())),
            Ok(None) => self.send(id, session, send, true, reply),
            Err(error) => reply.answer(Err(error)),
        }
        self.continue_gate(id);
    }

    // ---- the recipient's side -------------------------------------------------------------------------------

    /// Decides on a message: admission, rules, and the word of the answer. To whom it is forked is decided when it is
    /// installed, over the sessions that are there then.
    pub(super) fn deliver(&mut self, id: AddressId, mut deliver: Deliver) {
        let hosted = self.domains.hosts(deliver.sender.domain());
        let sender = Sender { id: deliver.entry.sender, address: &deliver.sender, hosted };
        let comes_back = deliver.forwarding.as_ref().is_some_and(|forwarding| forwarding.comes_back);
        let asked = Asked {
            sender: sender.id,
            from: sender.address,
            request_uri: &deliver.recipient,
            entry: &deliver.entry,
        };
        let decided = self.decide_delivery(id, sender, asked, deliver.is_authors_only, !comes_back);
        let decided = match decided {
            Ok(decided) => decided,
            Err(error) => return self.refuse(&deliver, Some(id), error),
        };
        self.hold_sent_on(&mut deliver);
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        deliver.entry.recipient = id;
        deliver.entry.word = decided.word;
        deliver.entry.ruled = decided.ruled;
        planted::decided(deliver.entry.sender, deliver.token, &resident.sessions);
        let to_oneself = deliver.entry.sender == id;
        let mut sides = Sides::new(resident.preferences.keep_history, deliver.sender_history);
        // What a session sent to its own account it has: that is a copy for the others, and nobody needs to claim it.
        match (to_oneself, deliver.sender_needs) {
            (true, true) if deliver.entry.instance.is_some() => sides = sides.cleared(Side::Recipient),
            (_, false) => sides = sides.cleared(Side::Sender),
            _ => {}
        }
        sides = decided.sides(sides, &deliver.entry);
        if sides.is_clear() {
            // It is there until it is swept: the answer stands in it.
            sides = Sides(sides.0 | Sides::SENDER_NEEDS);
        }
        let flight = Flight { sender: deliver.entry.sender, recipient: id, token: deliver.token };
        let addresses = RowAddresses { sender: deliver.sender, recipient: resident.record.address.clone() };
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.arriving += 1;
        }
        let mut more = decided.writes(id, &deliver.entry);
        more.extend(deliver.forwarding.map(Forwarding::settled));
        if !decided.then.is_empty() {
            self.ruled.insert((flight.sender, flight.token), decided.then);
        }
        let mut writes = append(deliver.entry, sides);
        writes.append(&mut more);
        self.write(Job::Append { writes, addresses, flight });
    }

    /// Whether an account takes a message, and with which word.
    pub(super) fn decide_delivery(
        &self,
        id: AddressId,
        sender: Sender<'_>,
        asked: Asked<'_>,
        is_authors_only: bool,
        with_rules: bool,
    ) -> Result<Decided> {
        let Some(resident) = self.residents.get(&id) else {
            return Err(Refusal::NotFound("the account is gone".into()).into());
        };
        let admission = admission::admit(&resident.record, &resident.preferences, sender, Class::Message)?;
        if admission == Admission::Quarantined {
            return quarantine(resident, asked.entry, is_authors_only, &self.shared.options.limits);
        }
        self.decide(resident, asked, with_rules)
    }

    /// Tells the sender's shard no.
    pub(super) fn refuse(&mut self, deliver: &Deliver, recipient: Option<AddressId>, error: Error) {
        if let Some(forwarding) = &deliver.forwarding {
            return self.sending_on_failed(deliver, forwarding, &error);
        }
        let sender = deliver.entry.sender;
        let flight = Flight { sender, recipient: recipient.unwrap_or(sender), token: deliver.token };
        if self.shared.shard_of(sender) == self.index {
            self.answer_flight(flight, Err(error));
        } else {
            self.signal(sender.slot(), Signal::Refused { flight, error });
        }
    }

    // ---- both sides, once it is on disk ---------------------------------------------------------------------

    /// A row has its place. The recipient's sessions get the event, the sender her answer, her others their copy.
    pub(super) fn install_row(&mut self, row: &Arc<Row>, addresses: &RowAddresses, flight: Flight) {
        self.mark = row.position;
        if self.shared.shard_of(flight.recipient) == self.index {
            self.sent_on.remove(&flight.token);
        }
        let other = self.shared.shard_of(flight.sender);
        if planted(Bug::ToldByRecipient) && other != self.index {
            let done = Done::Row { row: Arc::clone(row), addresses: addresses.clone(), flight };
            self.out.shards[other].push(ToShard::Done(self.generation, done));
        }
        if self.shared.shard_of(flight.recipient) == self.index && row.entry.is_queued() {
            self.put_queued(row, addresses);
            self.outbox.arrived(flight.recipient);
        } else if self.shared.shard_of(flight.recipient) == self.index {
            if let Some(resident) = self.residents.get_mut(&flight.recipient) {
                resident.arriving -= 1;
            }
            let everybody = planted::chosen(flight.sender, flight.token).and_then(|then| {
                Some(std::mem::replace(&mut self.residents.get_mut(&flight.recipient)?.sessions, then))
            });
            self.install_for_recipient(flight.recipient, row, addresses);
            if let (Some(everybody), Some(resident)) = (everybody, self.residents.get_mut(&flight.recipient))
            {
                resident.sessions = everybody;
            }
            if let Some(then) = self.ruled.remove(&(flight.sender, flight.token)) {
                self.follow(flight.recipient, row, addresses, then);
            }
            if flight.recipient != flight.sender {
                self.maybe_idle(flight.recipient);
            }
        }
        // What a rule sent on its sender does not see.
        if self.shared.shard_of(flight.sender) == self.index
            && row.entry.via.is_none()
            && flight.token < SENT_ON
        {
            if flight.recipient != flight.sender {
                self.install_for_sender(flight.sender, row, addresses);
            }
            self.answer_flight(flight, Ok(row));
        }
    }

    pub(super) fn install_for_recipient(&mut self, id: AddressId, row: &Arc<Row>, addresses: &RowAddresses) {
        if let Some(expires) = row.entry.expires {
            self.due_at(expires);
        }
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        resident.last = row.position;
        let is_theirs = row.sides.needed_by(Side::Recipient);
        if is_theirs {
            let size = u32::try_from(row.entry.size()).unwrap_or(u32::MAX);
            resident.unclaimed.insert(row.position, row.entry.sender, size);
        }
        if row.entry.sender == id && row.sides.needed_by(Side::Sender) {
            resident.to_sweep = row.position;
        }
        if !is_theirs && resident.unclaimed.is_empty() {
            resident.advance_claims();
        }
        if row.sides.is_quarantined() {
            return self.put_in_quarantine(id, row);
        }
        match row.entry.ruled {
            // Rules or quarantine keep it from them.
            _ if !is_theirs && row.entry.sender != id => {}
            Some(_) => self.offer_to_sessions(id, row, addresses),
            None => {
                self.tell_registrations(id, row, addresses);
                self.offer_to_sessions(id, row, addresses);
            }
        }
    }

    fn install_for_sender(&mut self, id: AddressId, row: &Arc<Row>, addresses: &RowAddresses) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        resident.last = row.position;
        if resident.unclaimed.is_empty() {
            resident.advance_claims();
        }
        resident.unsaved = resident.unsaved.saturating_add(1);
        if row.sides.needed_by(Side::Sender) {
            resident.to_sweep = row.position;
        }
        if !resident.sessions.is_empty() {
            self.offer_to_sessions(id, row, addresses);
        }
    }

    /// The writer could not write it; nothing changed.
    pub(super) fn row_failed(&mut self, flight: Flight, error: Error) {
        if self.shared.shard_of(flight.recipient) == self.index {
            self.ruled.remove(&(flight.sender, flight.token));
            self.sent_on_not_written(flight.token, &error);
            if let Some(resident) = self.residents.get_mut(&flight.recipient) {
                resident.arriving -= 1;
                self.maybe_idle(flight.recipient);
            } else {
                self.outbox.arrived(flight.recipient);
            }
        }
        if self.shared.shard_of(flight.sender) == self.index && flight.token < SENT_ON {
            self.answer_flight(flight, Err(error));
        }
    }

    /// Answers a send and everybody who repeated it meanwhile.
    pub(super) fn answer_flight(&mut self, flight: Flight, result: std::result::Result<&Arc<Row>, Error>) {
        let Some(resident) = self.residents.get_mut(&flight.sender) else {
            return self.answered_nobody(flight.sender, result.ok());
        };
        let Some(at) = resident.in_flight.iter().position(|f| f.token == flight.token) else {
            return;
        };
        let in_flight = resident.in_flight.swap_remove(at);
        if resident.in_flight.is_empty() {
            // Most accounts send seldom: none keeps room for it.
            resident.in_flight = Vec::new();
        }
        let answer = match result {
            Ok(row) => {
                if let (Ring::Known(hashes), Some(client_id)) = (&mut resident.ring, &in_flight.client_id) {
                    hashes.insert(client_id.hash64());
                    // The ring on disk forgets; read anew it is as long as it has to be.
                    if hashes.len() > MOST_KNOWN && resident.in_flight.is_empty() {
                        resident.ring = Ring::Unread;
                    }
                }
                Ok(Answer::Receipt(Receipt {
                    id: in_flight.message_id,
                    position: row.position,
                    outcome: row.entry.word,
                    time: row.entry.time,
                }))
            }
            Err(error) => Err(error),
        };
        for reply in in_flight.replies {
            reply.answer_with_others(answer.clone(), &mut self.out.answers);
        }
        self.maybe_idle(flight.sender);
    }
}

/// The row, first, and what it does to another one.
pub(super) fn append(entry: Entry, sides: Sides) -> Vec<Write> {
    let amends = match &entry.kind {
        Kind::Amendment { of, amendment, .. } => {
            Some(Write::Amend { position: *of, amendment: amendment.clone(), time: entry.time })
        }
        _ => None,
    };
    std::iter::once(Write::append(entry, sides)).chain(amends).collect()
}

impl From<Send> for Sending {
    fn from(send: Send) -> Self {
        let Send { recipient, content, client_id, expires } = send;
        Sending {
            recipient,
            kind: Kind::Message(content),
            client_id,
            expires,
            hops: 0,
            is_authors_only: false,
            refused: None,
        }
    }
}

impl Sending {
    /// Tells a repeat of a send from another one: recipient and content.
    fn fingerprint(&self) -> u64 {
        let content = match &self.kind {
            Kind::Message(content) => content.hash64(),
            Kind::Amendment { of_id, amendment, .. } => {
                let of = fnv1a(of_id.0.as_bytes()).rotate_left(2);
                match amendment {
                    Amendment::Edit(content) => of ^ content.hash64(),
                    Amendment::Retract => of,
                }
            }
            // These are never sent by a host.
            Kind::BuddyRequest { .. } | Kind::Outcome { .. } => 0,
        };
        content ^ fnv1a(self.recipient.as_str().as_bytes()).rotate_left(1)
    }
}

fn other_content() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "this client_id was used for another message: give each send one of its own",
    )
}

pub(super) fn random_bytes(random: &mut fastrand::Rng) -> [u8; 10] {
    let mut bytes = [0; 10];
    random.fill(&mut bytes);
    bytes
}
