//! What is left of a deleted account: rows that have its side still.
//!
//! They are cleared in slices. Until that is done the file names the account among those whose rows are to be cleared, so
//! that an opening goes on with it. A send that was under way when its account was deleted is delivered all the same, and
//! its row may come behind the sweep: the account stays named until the last of them was answered, and each such row has
//! its side cleared when it is installed.

use super::Shard;
use crate::messages::{Fetch, Job};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Row, Side};
use rosterkit_core::write::Write;
use std::sync::Arc;

/// A deleted account whose rows are not all cleared.
pub(super) struct Deleted {
    /// How many sends of its are under way.
    under_way: usize,
    /// The rows that were there when it was deleted are cleared.
    swept: bool,
}

impl Shard {
    /// Starts to clear the rows of a deleted account.
    pub(super) fn sweep_deleted(&mut self, id: AddressId, under_way: usize, upto: Position) {
        self.deleted.insert(id, Deleted { under_way, swept: false });
        self.fetch(Fetch::Needed { account: id, after: Position::ZERO, upto });
    }

    /// The rows that were there are cleared.
    pub(super) fn swept_deleted(&mut self, id: AddressId) {
        if let Some(deleted) = self.deleted.get_mut(&id) {
            deleted.swept = true;
            self.forget_deleted(id);
        }
    }

    /// A send of a deleted account has its row, or none. Nobody is there to hear of it, and nobody needs its copy.
    pub(super) fn answered_nobody(&mut self, id: AddressId, row: Option<&Arc<Row>>) {
        let Some(deleted) = self.deleted.get_mut(&id) else {
            return;
        };
        deleted.under_way = deleted.under_way.saturating_sub(1);
        if let Some(row) = row.filter(|row| row.sides.needed_by(Side::Sender)) {
            let clear = Write::ClearSide { position: row.position, side: Side::Sender };
            self.write(Job::Lazy { writes: vec![clear] });
        }
        self.forget_deleted(id);
    }

    fn forget_deleted(&mut self, id: AddressId) {
        if self.deleted.get(&id).is_some_and(|deleted| deleted.swept && deleted.under_way == 0) {
            self.deleted.remove(&id);
            // In a commit with the sides that were cleared, or behind it.
            self.write(Job::Lazy { writes: vec![Write::Swept(id)] });
        }
    }
}
