//! What leaves an account's history: because its owner says so, of a peer or all of it, or because it is older or more than
//! the account keeps. It goes slice by slice, oldest first; the other side of a message is not touched.

use super::{Deadline, Shard};
use crate::answers::ReplyTo;
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::messages::{Fetch, Job};
use crate::queue::Slot;
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, Position, fnv1a};
use rosterkit_core::preferences::Preferences;
use rosterkit_core::row::Side;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::Write;

const DAY_MS: i64 = 86_400_000;
/// How often an account in memory is looked at for what it keeps no longer.
const RETENTION_MS: u64 = 3_600_000;

/// What is to go.
#[derive(Clone, Debug)]
pub(crate) enum Forgets {
    /// Everything that its owner has with this peer, or with anybody.
    Owner(Option<Address>),
    /// What is older, or before the latest that are kept.
    Retention { before: Timestamp },
}

/// On its way through the log.
pub(crate) struct Forgetting {
    pub(crate) account: AddressId,
    pub(crate) what: Forgets,
    /// Everything up to here was looked at.
    pub(crate) after: Position,
    pub(crate) upto: Position,
    /// Of retention by count: how many of the latest messages are still to be counted, and the oldest that was.
    pub(crate) to_count: Option<u32>,
    pub(crate) counted: Option<Position>,
    /// Of retention: everything up to here is more than is kept, once that is known.
    pub(crate) cut: Option<Position>,
    pub(crate) reply: Option<ReplyTo>,
}

impl Forgetting {
    /// The store was opened again in the middle of it: some of it may be gone.
    pub(super) fn cut_short(self) {
        if let Some(reply) = self.reply {
            reply.answer(Err(Error::outcome_unknown()));
        }
    }
}

/// A slice of it.
pub(crate) struct Slice {
    pub(crate) rows: Vec<(Position, Side)>,
    /// Whether there is more.
    pub(crate) complete: bool,
}

impl Shard {
    /// The owner wants it gone; what comes from now on stays.
    pub(super) fn forget(&mut self, id: AddressId, peer: Option<Address>, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let forgetting = Forgetting {
            account: id,
            what: Forgets::Owner(peer.map(|peer| peer.bare())),
            after: Position::ZERO,
            upto: resident.last,
            to_count: None,
            counted: None,
            cut: None,
            reply: Some(reply),
        };
        self.fetch(Fetch::Forget(Box::new(forgetting)));
    }

    /// An account was loaded, prefers something else, or some time has passed: what it keeps no longer goes, as far as
    /// everybody has it.
    pub(super) fn look_at_retention(&mut self, id: AddressId) {
        let to_read = self.lowest_to_read(id);
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let Preferences { keep_history, history_days, history_messages, .. } = resident.preferences;
        if !keep_history || history_days == 0 && history_messages == 0 {
            return;
        }
        let before = match history_days {
            0 => Timestamp(i64::MIN),
            days => Timestamp(self.now.wall.0.saturating_sub(i64::from(days) * DAY_MS)),
        };
        let passed = resident.progress.passed_by_all();
        let upto = to_read.map_or(passed, |position| passed.min(Position(position.0.saturating_sub(1))));
        let upto = upto.min(resident.last);
        self.schedule(self.now.tick.after(RETENTION_MS), Deadline::Retention(id));
        let forgetting = Forgetting {
            account: id,
            what: Forgets::Retention { before },
            after: Position::ZERO,
            upto,
            to_count: Some(history_messages),
            counted: None,
            cut: None,
            reply: None,
        };
        self.fetch(Fetch::Forget(Box::new(forgetting)));
    }

    pub(super) fn take_forgotten(&mut self, mut forgetting: Forgetting, slice: Result<Slice>) {
        let slice = match slice {
            Ok(slice) => slice,
            Err(error) => {
                tracing::warn!(%error, "history that is to go cannot be read");
                if let Some(reply) = forgetting.reply {
                    reply.answer(Err(error));
                }
                return;
            }
        };
        let Slice { rows, complete } = slice;
        let id = forgetting.account;
        for (position, side) in &rows {
            self.leaves_memory(id, *position, *side);
        }
        let writes = rows.into_iter().map(|(position, side)| Write::ClearSide { position, side }).collect();
        if !complete {
            self.write(Job::Lazy { writes });
            return self.fetch(Fetch::Forget(Box::new(forgetting)));
        }
        match (forgetting.reply.take(), forgetting.what) {
            (Some(reply), what) => {
                self.write(Job::Other { writes, reply });
                if let Forgets::Owner(peer) = what {
                    self.tell_forgotten(id, peer, forgetting.upto);
                }
            }
            (None, _) => self.write(Job::Lazy { writes }),
        }
    }

    /// Nobody gets it any more.
    fn leaves_memory(&mut self, id: AddressId, position: Position, side: Side) {
        if side == Side::Recipient && self.take_away(id, position) {
            return;
        }
        let sessions = self.residents.get(&id).map(|resident| resident.sessions.clone()).unwrap_or_default();
        for session in sessions {
            if let Some(attached) = self.sessions.get_mut(&session)
                && attached.queue.drop_row(position)
            {
                attached.outstanding = attached.outstanding.saturating_sub(1);
            }
        }
    }

    fn tell_forgotten(&self, id: AddressId, peer: Option<Address>, upto: Position) {
        let slot = Slot::Forgotten(peer.as_ref().map(|peer| fnv1a(peer.as_str().as_bytes())));
        self.tell_sessions(id, slot, &EventBody::HistoryForgotten { peer, upto });
    }
}
