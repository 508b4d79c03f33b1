//! Invitations, as their account has them; redeeming one is a step of the [handshake](super::roster).

use super::Shard;
use super::change::{After, Changing};
use crate::answers::ReplyTo;
use crate::command::Answer;
use rosterkit_core::account::Record;
use rosterkit_core::id::AddressId;
use rosterkit_core::invitation::{Invitation, InvitationToken};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;
use std::sync::Arc;

/// The longest an invitation lasts: a year.
const LONGEST_MS: i64 = 366 * 86_400_000;

impl Shard {
    pub(super) fn invite(
        &mut self,
        id: AddressId,
        token: InvitationToken,
        expires: Timestamp,
        reply: ReplyTo,
    ) {
        let now = self.now.wall;
        if expires <= now || expires.0 > now.0.saturating_add(LONGEST_MS) {
            let what = "an invitation expires later than now and within a year".into();
            return reply.answer(Err(Refusal::InvalidArgument(what).into()));
        }
        let Some(mut record) = self.record_of(id) else {
            return;
        };
        match record.invite(Invitation { token: token.hash(), expires }, now) {
            Ok(()) => self.change_invitations(id, record, Answer::Invitation(token), reply),
            Err(refusal) => reply.answer(Err(refusal.into())),
        }
    }

    pub(super) fn revoke_invitations(
        &mut self,
        id: AddressId,
        token: Option<&InvitationToken>,
        reply: ReplyTo,
    ) {
        let Some(mut record) = self.record_of(id) else {
            return;
        };
        let revoked = token.map(InvitationToken::hash);
        record.invitations.retain(|open| revoked.is_some_and(|revoked| revoked != open.token));
        self.change_invitations(id, record, Answer::Done, reply);
    }

    fn record_of(&self, id: AddressId) -> Option<Record> {
        self.residents.get(&id).map(|resident| (*resident.record).clone())
    }

    fn change_invitations(&mut self, id: AddressId, record: Record, answer: Answer, reply: ReplyTo) {
        let record = Arc::new(record);
        let writes = vec![Write::Account(Arc::clone(&record))];
        let after = After::Invited { answer: Box::new(answer), reply };
        self.change(id, Changing { record: Some(record), after }, writes);
    }
}
