//! Which rows of an account's log are to go, slice by slice.

use crate::error::Result;
use crate::readers::ReadConnection;
use crate::shard::{Forgets, Forgetting, Slice};
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Kind, Row, Side};
use rosterkit_store::{Anchor, Direction, HistoryQuery};

/// How many rows are looked at in one go, and how much of them.
const SLICE: usize = 512;
const MAX_BYTES: usize = 4 << 20;

impl ReadConnection {
    pub(crate) fn forgets(&mut self, forgetting: &mut Forgetting) -> Result<Slice> {
        let before = match &forgetting.what {
            Forgets::Owner(peer) => {
                let peer = peer.clone();
                return self.forgets_with(forgetting, peer.as_ref());
            }
            Forgets::Retention { before, .. } => *before,
        };
        let Some(cut) = forgetting.cut else {
            self.look_for_cut(forgetting)?;
            return Ok(Slice { rows: Vec::new(), complete: false });
        };
        let rows = self.slice(forgetting)?;
        // They are in the order in which they came: nothing behind one that stays goes.
        let stays = |row: &Row| row.position > cut && row.entry.time >= before;
        let going: Vec<_> = rows.iter().take_while(|row| !stays(row)).cloned().collect();
        let complete = going.len() < rows.len() || rows.is_empty();
        Ok(Slice { rows: going.iter().flat_map(|row| sides(row, forgetting.account)).collect(), complete })
    }

    /// What goes of what the account has with a peer, or with everybody.
    fn forgets_with(&mut self, forgetting: &mut Forgetting, peer: Option<&Address>) -> Result<Slice> {
        let rows = self.slice(forgetting)?;
        let complete = rows.is_empty();
        let mut going = Vec::new();
        for (row, addresses) in self.named(rows)? {
            if peer.is_none_or(|peer| addresses.sender == *peer || addresses.recipient == *peer) {
                going.extend(sides(&row, forgetting.account));
            }
        }
        Ok(Slice { rows: going, complete })
    }

    fn slice(&mut self, forgetting: &mut Forgetting) -> Result<Vec<Row>> {
        let Forgetting { account, after, upto, .. } = *forgetting;
        let rows = self.store.rows(account, after, upto, SLICE, MAX_BYTES)?;
        if let Some(last) = rows.last() {
            forgetting.after = last.position;
        }
        Ok(rows)
    }

    /// Counts the latest messages, a slice of them: behind the last that is kept is the cut.
    fn look_for_cut(&mut self, forgetting: &mut Forgetting) -> Result<()> {
        let Some(left) = forgetting.to_count.filter(|left| *left > 0) else {
            forgetting.cut = Some(Position::ZERO);
            return Ok(());
        };
        let (anchor, limit) = (forgetting.counted.map_or(Anchor::End, Anchor::Row), SLICE.min(left as usize));
        let (account, direction) = (forgetting.account, Direction::Older);
        let page = self.store.history(&HistoryQuery { account, peer: None, anchor, direction, limit })?;
        let Some(oldest) = page.rows.first().map(|row| row.position) else {
            forgetting.cut = Some(Position::ZERO);
            return Ok(());
        };
        forgetting.counted = Some(oldest);
        let left = left.saturating_sub(page.rows.len() as u32);
        forgetting.to_count = Some(left);
        if page.complete {
            forgetting.cut = Some(Position::ZERO);
        } else if left == 0 {
            forgetting.cut = Some(Position(oldest.0 - 1));
        }
        Ok(())
    }
}

fn sides(row: &Row, account: AddressId) -> Vec<(Position, Side)> {
    let goes = |side: &Side| row.sides.needed_by(*side) && is_history(row, *side);
    row.entry.sides_of(account).filter(goes).map(|side| (row.position, side)).collect()
}

/// What somebody asks and what became of a message is told until it is acknowledged, and what waits in quarantine is not its
/// recipient's yet. Its sender has it as everything else that they sent, or they could tell by it where it is.
fn is_history(row: &Row, side: Side) -> bool {
    matches!(row.entry.kind, Kind::Message(_) | Kind::Amendment { .. })
        && (side == Side::Sender || !row.sides.is_quarantined())
}
