//! Observers: sessions that are told the state of their account, whole and then what of it is another, and nothing else of
//! it: they take no messages and show nothing.

use super::Shard;
use crate::command::{Conversation, ConversationsRequest};
use crate::error::Result;
use crate::event::EventBody;
use crate::messages::{Fetch, Signal};
use crate::queue::Slot;
use crate::view;
use rosterkit_core::id::{AddressId, SessionId};
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{Kind, Row};
use std::sync::Arc;

/// What counts at once is written within this time: then a conversation is as it says.
const WRITTEN_MS: u64 = 1_600;
/// How many conversations a snapshot has.
const CONVERSATIONS: usize = 1_000;

impl Shard {
    /// An observer gets everything: it is new, or the engine has lost what it had not told.
    pub(super) fn begin_observing(&mut self, id: AddressId, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|attached| attached.observes) {
            self.begin_snapshot(id, session);
        }
    }

    /// The roster was read for a snapshot: an observer gets it, and the conversations.
    pub(super) fn observe_roster(&mut self, id: AddressId, session: SessionId, buddies: &[Buddy]) {
        let Some(attached) = self.sessions.get(&session).filter(|attached| attached.observes) else {
            return;
        };
        // Attached again, it may know of one that was removed just when the disk failed, and nobody was told.
        let is_again = attached.queue.attachment() > 1;
        for buddy in buddies.iter().filter(|buddy| is_again || view::is_shown(buddy)) {
            let (peer, status) = (buddy.peer, buddy.status());
            let body = EventBody::RosterChanged { buddy: Arc::new(buddy.clone()), status };
            attached.queue.put_slot(Slot::Roster(peer), body, &self.out.readable);
        }
        let request = ConversationsRequest { before: None, limit: CONVERSATIONS };
        self.fetch(Fetch::Observed { account: id, session, request });
    }

    pub(super) fn take_observed(
        &mut self,
        session: SessionId,
        result: Result<Vec<(AddressId, Conversation)>>,
    ) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let conversations = match result {
            Ok(conversations) => conversations,
            Err(error) => {
                let id = attached.account;
                return self.snapshot_failed(id, session, &error);
            }
        };
        for (peer, conversation) in conversations {
            let body = EventBody::ConversationChanged(Arc::new(conversation));
            attached.queue.put_slot(Slot::Conversation(peer), body, &self.out.readable);
        }
        attached.snapshot_part(&self.out.readable);
    }

    /// A row of the account was installed.
    pub(super) fn observe_row(&mut self, id: AddressId, row: &Row) {
        if matches!(row.entry.kind, Kind::Message(_) | Kind::Amendment { .. }) {
            let entry = &row.entry;
            self.conversation_changed(id, if entry.sender == id { entry.recipient } else { entry.sender });
        }
    }

    /// Marks of a conversation rose, or something of it was taken away: it is another when that is written.
    pub(super) fn conversation_will_change(&mut self, id: AddressId, peer: AddressId) {
        if self.is_observed(id) {
            self.signal_later(WRITTEN_MS, id.slot(), Signal::Conversation { account: id, peer });
        }
    }

    fn is_observed(&self, id: AddressId) -> bool {
        self.residents.get(&id).is_some_and(|resident| {
            let mut sessions = resident.sessions.iter().filter_map(|session| self.sessions.get(session));
            sessions.any(|attached| attached.observes)
        })
    }

    /// A conversation is another: it is read once, however often it changes meanwhile, and once more then.
    pub(super) fn conversation_changed(&mut self, id: AddressId, peer: AddressId) {
        if !self.is_observed(id) {
            return;
        }
        match self.observed.get_mut(&(id, peer)) {
            Some(again) => *again = true,
            None => {
                self.observed.insert((id, peer), false);
                self.fetch(Fetch::Conversation { account: id, peer });
            }
        }
    }

    pub(super) fn take_conversation(
        &mut self,
        id: AddressId,
        peer: AddressId,
        result: Result<Option<Conversation>>,
    ) {
        let again = self.observed.remove(&(id, peer)).unwrap_or_default();
        match result {
            Ok(Some(conversation)) => {
                let body = EventBody::ConversationChanged(Arc::new(conversation));
                let sessions = self.residents.get(&id).into_iter().flat_map(|resident| &resident.sessions);
                for attached in sessions.filter_map(|s| self.sessions.get(s)).filter(|a| a.observes) {
                    attached.queue.put_slot(Slot::Conversation(peer), body.clone(), &self.out.readable);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "a conversation cannot be read for an observer");
                let conversation = Signal::Conversation { account: id, peer };
                return self.signal_again(&error, id.slot(), conversation);
            }
        }
        if again {
            self.conversation_changed(id, peer);
        }
    }
}
