//! Queries: a question of one session to another, and its answer. Ephemeral: nothing of them is stored.
//!
//! Who may not see the other side, or asks where nobody is, gets no answer, at once and alike; a session that is there and
//! does not answer has 30 s.

use super::sessions::needs_session;
use super::{Deadline, Residency, Shard};
use crate::answers::ReplyTo;
use crate::command::Answer;
use crate::event::EventBody;
use crate::messages::Signal;
use crate::queue::Slot;
use rosterkit_core::address::Address;
use rosterkit_core::admission::{Admission, Class, Sender, admit};
use rosterkit_core::content::Body;
use rosterkit_core::id::{AddressId, SessionId};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::presence::Visibility;
use rosterkit_core::refusal::Refusal;
use rustc_hash::{FxHashMap, FxHashSet};

/// How long an answer is waited for.
const ANSWER_MS: u64 = 30_000;
/// How many queries a session may have unanswered, and as many may wait for its answer.
const MAX_UNANSWERED: usize = 64;

/// A question on its way.
pub(crate) struct Query {
    pub(crate) sender: AddressId,
    /// With its instance.
    pub(crate) sender_address: Address,
    pub(crate) session: SessionId,
    /// What the sender's session calls it.
    pub(crate) number: u64,
    /// With its instance.
    pub(crate) recipient: Address,
    pub(crate) body: Body,
}

/// What a session asks and is asked.
#[derive(Default)]
pub(super) struct Queries {
    /// Numbers both, and nobody else's: from its numbers a session learns nothing of others.
    last_number: u64,
    asked: FxHashSet<u64>,
    to_answer: FxHashMap<u64, Asker>,
}

impl Queries {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// Where an answer goes.
pub(super) struct Asker {
    session: SessionId,
    slot: u64,
    number: u64,
}

impl Shard {
    pub(super) fn query(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        (recipient, body): (Address, Body),
        reply: ReplyTo,
    ) {
        let Some(session) = session else {
            return reply.answer(Err(needs_session()));
        };
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let limits = &self.shared.options.limits;
        if recipient.instance().is_none() {
            let what = format!("{recipient} is no session's address: a query goes to user@domain/instance");
            return reply.answer(Err(Refusal::InvalidArgument(what).into()));
        }
        let taken = limits
            .check_message(body.size())
            .and_then(|()| resident.sends.take(&limits.sends, self.now.tick, "messages"));
        if let Err(refusal) = taken {
            return reply.answer(Err(refusal.into()));
        }
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let queries = attached.queries.get_or_insert_default();
        if queries.asked.len() >= MAX_UNANSWERED {
            let refusal = Refusal::LimitExceeded {
                what: format!("a session has at most {MAX_UNANSWERED} unanswered queries"),
                retry_after_ms: Some(ANSWER_MS),
            };
            return reply.answer(Err(refusal.into()));
        }
        let (number, until) = (queries.next_number(), self.now.tick.after(ANSWER_MS));
        queries.asked.insert(number);
        let sender_address = resident.record.address.with_prepared_instance(&attached.instance);
        self.schedule(until, Deadline::Query(session, number));
        reply.answer(Ok(Answer::Query(number)));
        if self.hosts(&recipient) {
            let slot = recipient.slot();
            let query = Query { sender: id, sender_address, session, number, recipient, body };
            self.signal(slot, Signal::Query(Box::new(query)));
        } else {
            // No relay carries them.
            self.signal(id.slot(), Signal::Answered { session, number, body: None });
        }
    }

    /// A query for an account of this shard.
    pub(super) fn take_query(&mut self, query: Query) {
        let asker = Asker { session: query.session, slot: query.sender.slot(), number: query.number };
        let Some(to) = self.asked_session(&query) else {
            return self.answer_asker(&asker, None);
        };
        let Some(attached) = self.sessions.get_mut(&to) else {
            return;
        };
        let queries = attached.queries.get_or_insert_default();
        if queries.to_answer.len() >= MAX_UNANSWERED {
            return self.answer_asker(&asker, None);
        }
        let number = queries.next_number();
        queries.to_answer.insert(number, asker);
        let body = EventBody::Query { query: number, sender: query.sender_address, body: query.body };
        attached.queue.put_slot(Slot::Query(number), body, &self.out.readable);
        self.schedule(self.now.tick.after(ANSWER_MS), Deadline::Query(to, number));
    }

    /// The session that is asked, when it is there for who asks.
    fn asked_session(&self, query: &Query) -> Option<SessionId> {
        let Some(Residency::Here(id)) = self.accounts.get(&query.recipient.bare()) else {
            return None;
        };
        let resident = self.residents.get(id)?;
        let address = query.sender_address.bare();
        let sender = Sender { id: query.sender, address: &address, hosted: true };
        let sees = *id == query.sender || self.visible_to(resident, query.sender) != Visibility::Hidden;
        let sees = sees || planted(Bug::LeakedQuery);
        let admission = admit(&resident.record, &resident.preferences, sender, Class::Typing);
        if !sees || admission != Ok(Admission::Admitted) {
            return None;
        }
        resident.sessions.iter().copied().find(|session| {
            self.sessions.get(session).is_some_and(|attached| {
                Some(&*attached.instance) == query.recipient.instance()
                    && attached.contribution().is_some_and(|shown| !shown.invisible)
            })
        })
    }

    pub(super) fn answer_query(
        &mut self,
        session: Option<SessionId>,
        (number, body): (u64, Option<Body>),
        reply: ReplyTo,
    ) {
        let Some(session) = session else {
            return reply.answer(Err(needs_session()));
        };
        if let Some(body) = &body
            && let Err(refusal) = self.shared.options.limits.check_message(body.size())
        {
            return reply.answer(Err(refusal.into()));
        }
        let queries = self.sessions.get_mut(&session).and_then(|attached| attached.queries.as_mut());
        let Some(asker) = queries.and_then(|queries| queries.to_answer.remove(&number)) else {
            return reply.answer(Err(Refusal::NotFound("nobody waits for this answer".into()).into()));
        };
        self.answer_asker(&asker, body);
        reply.answer(Ok(Answer::Done));
    }

    fn answer_asker(&mut self, asker: &Asker, body: Option<Body>) {
        let Asker { session, slot, number } = *asker;
        self.signal(slot, Signal::Answered { session, number, body });
    }

    /// Who asked this session learns that it does not answer any more.
    pub(super) fn leave_queries(&mut self, session: SessionId) {
        let queries = self.sessions.get_mut(&session).and_then(|attached| attached.queries.as_mut());
        let to_answer = queries.map(|queries| std::mem::take(&mut queries.to_answer)).unwrap_or_default();
        to_answer.into_values().for_each(|asker| self.answer_asker(&asker, None));
    }

    /// An answer for a session of this shard; one that is too late is nobody's.
    pub(super) fn take_answer(&mut self, session: SessionId, number: u64, body: Option<Body>) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        if attached.queries.as_mut().is_some_and(|queries| queries.asked.remove(&number)) {
            let body = EventBody::QueryAnswered { query: number, body };
            attached.queue.put_slot(Slot::Answer(number), body, &self.out.readable);
        }
    }

    /// The number is of a query that the session asked, or was asked: it has one space for both.
    pub(super) fn query_expires(&mut self, session: SessionId, number: u64) {
        self.take_answer(session, number, None);
        if let Some(attached) = self.sessions.get_mut(&session)
            && attached.queries.as_mut().is_some_and(|queries| queries.to_answer.remove(&number).is_some())
        {
            attached.queue.forget(Slot::Query(number));
        }
    }
}
