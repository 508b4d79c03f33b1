//! An account's unclaimed rows, in memory: who holds each, and how much they are.

use crate::id::{AddressId, Position, SessionId};
use std::collections::VecDeque;

/// The unclaimed rows of an account, in order. Bounded by the limits on unclaimed messages.
///
/// Rows come in the order of their positions, and are claimed mostly in that order: a deque costs least.
#[derive(Debug, Default)]
pub struct Unclaimed {
    rows: VecDeque<Waiting>,
    bytes: u64,
    /// Where the row that was asked for last stands or stood.
    near: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    position: Position,
    sender: AddressId,
    size: u32,
    /// The anonymous session that has it in hand.
    held_by: Option<SessionId>,
}

impl Unclaimed {
    /// Where the row stands, or would.
    fn search(&self, position: Position) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&position, |waiting| waiting.position)
    }

    /// The same, and looks where the one before was found first: who asks for one row mostly asks for the next one then, or
    /// for the one that moved up into its place.
    fn find(&mut self, position: Position) -> Result<usize, usize> {
        let is_at = |at: &usize| self.rows.get(*at).is_some_and(|waiting| waiting.position == position);
        let found = match [self.near, self.near + 1].into_iter().find(is_at) {
            Some(at) => Ok(at),
            None => self.search(position),
        };
        self.near = found.unwrap_or(self.near);
        found
    }

    /// A row came.
    pub fn insert(&mut self, position: Position, sender: AddressId, size: u32) {
        let newest = self.rows.back().is_none_or(|last| last.position < position);
        if let Err(at) = if newest { Err(self.rows.len()) } else { self.find(position) } {
            self.rows.insert(at, Waiting { position, sender, size, held_by: None });
            self.bytes += u64::from(size);
        }
    }

    /// A row was claimed. Says who sent it, when it was unclaimed.
    pub fn remove(&mut self, position: Position) -> Option<AddressId> {
        let removed = self.find(position).ok().and_then(|at| self.rows.remove(at));
        if let Some(waiting) = removed {
            self.bytes -= u64::from(waiting.size);
            if self.rows.is_empty() {
                // Where all is claimed, as nearly everywhere, no room is kept.
                self.rows = VecDeque::new();
            }
        }
        removed.map(|waiting| waiting.sender)
    }

    /// Whether nobody has claimed this row.
    pub fn contains(&self, position: Position) -> bool {
        self.search(position).is_ok()
    }

    /// A session gets a row in hand, unless another has it.
    pub fn assign(&mut self, position: Position, session: SessionId) {
        if let Ok(at) = self.find(position) {
            self.rows[at].held_by.get_or_insert(session);
        }
    }

    /// A session gets every row in hand that nobody has; oldest first.
    pub fn assign_all(&mut self, session: SessionId) -> VecDeque<Position> {
        let nobodys = self.rows.iter_mut().filter(|waiting| waiting.held_by.is_none());
        nobodys
            .map(|waiting| {
                waiting.held_by = Some(session);
                waiting.position
            })
            .collect()
    }

    /// A session died: what it had in hand is nobody's; oldest first.
    pub fn release(&mut self, session: SessionId) -> Vec<Position> {
        let its = self.rows.iter_mut().filter(|waiting| waiting.held_by == Some(session));
        its.map(|waiting| {
            waiting.held_by = None;
            waiting.position
        })
        .collect()
    }

    /// All of them, lowest first.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        self.rows.iter().map(|waiting| waiting.position)
    }

    /// The lowest.
    pub fn lowest(&self) -> Option<Position> {
        self.rows.front().map(|waiting| waiting.position)
    }

    /// The lowest that this sender sent.
    pub fn lowest_from(&self, sender: AddressId) -> Option<Position> {
        self.rows.iter().find(|waiting| waiting.sender == sender).map(|waiting| waiting.position)
    }

    /// How many rows, and bytes of content.
    pub fn total(&self) -> (usize, u64) {
        (self.rows.len(), self.bytes)
    }

    /// The same from one sender.
    pub fn total_from(&self, sender: AddressId) -> (usize, u64) {
        let from = self.rows.iter().filter(|waiting| waiting.sender == sender);
        from.fold((0, 0), |(count, bytes), waiting| (count + 1, bytes + u64::from(waiting.size)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        Assign(u64, u64),
        AssignAll(u64),
        Release(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // So few that each step meets rows of those before.
        let position = 0..12u64;
        prop_oneof![
            4 => position.clone().prop_map(Step::Insert),
            4 => position.clone().prop_map(Step::Remove),
            4 => (position, 1..3u64).prop_map(|(position, session)| Step::Assign(position, session)),
            1 => (1..3u64).prop_map(Step::AssignAll),
            1 => (1..3u64).prop_map(Step::Release),
        ]
    }

    proptest! {
        // behaviour: delivery.assigned
        #[test]
        fn it_is_a_map_from_rows_to_who_has_them(steps in proptest::collection::vec(step(), 0..80)) {
            let sender = AddressId::from_bits(64);
            let mut unclaimed = Unclaimed::default();
            let mut naive: BTreeMap<Position, Option<SessionId>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(position) => {
                        unclaimed.insert(Position(position), sender, 1);
                        naive.entry(Position(position)).or_default();
                    }
                    Step::Remove(position) => {
                        let removed = unclaimed.remove(Position(position)).is_some();
                        prop_assert_eq!(removed, naive.remove(&Position(position)).is_some());
                    }
                    Step::Assign(position, session) => {
                        unclaimed.assign(Position(position), SessionId(session));
                        if let Some(holder) = naive.get_mut(&Position(position)) {
                            holder.get_or_insert(SessionId(session));
                        }
                    }
                    Step::AssignAll(session) => {
                        let nobodys = naive.iter_mut().filter(|(_, holder)| holder.is_none());
                        let assigned: Vec<Position> = nobodys
                            .map(|(position, holder)| {
                                *holder = Some(SessionId(session));
                                *position
                            })
                            .collect();
                        prop_assert_eq!(unclaimed.assign_all(SessionId(session)), assigned);
                    }
                    Step::Release(session) => {
                        let its = naive.iter_mut().filter(|(_, holder)| **holder == Some(SessionId(session)));
                        let released: Vec<Position> = its
                            .map(|(position, holder)| {
                                *holder = None;
                                *position
                            })
                            .collect();
                        prop_assert_eq!(unclaimed.release(SessionId(session)), released);
                    }
                }
                prop_assert!(unclaimed.positions().eq(naive.keys().copied()));
                prop_assert_eq!(unclaimed.total(), (naive.len(), naive.len() as u64));
            }
        }
    }

    // behaviour: delivery.assigned
    #[test]
    fn a_row_is_in_one_hand_until_its_session_dies() {
        let (a, b) = (SessionId(1), SessionId(2));
        let sender = AddressId::from_bits(64);
        let mut unclaimed = Unclaimed::default();
        for position in [3, 1, 2] {
            unclaimed.insert(Position(position), sender, 10);
        }
        assert_eq!(unclaimed.assign_all(a), [Position(1), Position(2), Position(3)]);
        unclaimed.insert(Position(4), sender, 10);
        assert_eq!(unclaimed.assign_all(b), [Position(4)], "a later session gets what is not assigned");
        assert!(unclaimed.remove(Position(2)).is_some());
        assert!(unclaimed.remove(Position(2)).is_none());
        assert_eq!(unclaimed.release(a), [Position(1), Position(3)]);
        assert_eq!((unclaimed.lowest(), unclaimed.total()), (Some(Position(1)), (3, 30)));
    }

    // behaviour: delivery.assigned
    #[test]
    fn assigning_takes_no_row_out_of_another_hand() {
        let (a, b) = (SessionId(1), SessionId(2));
        let mut unclaimed = Unclaimed::default();
        for position in 1..=2 {
            unclaimed.insert(Position(position), AddressId::from_bits(64), 10);
        }
        unclaimed.assign(Position(1), a);
        unclaimed.assign(Position(1), b);
        assert_eq!(unclaimed.assign_all(b), [Position(2)]);
        assert_eq!((unclaimed.release(a), unclaimed.release(b)), (vec![Position(1)], vec![Position(2)]));
    }

    #[test]
    fn rows_and_bytes_are_counted_in_all_and_for_each_sender() {
        let (a, b, nobody) = (AddressId::from_bits(64), AddressId::from_bits(128), AddressId::from_bits(192));
        let mut unclaimed = Unclaimed::default();
        assert!(unclaimed.is_empty());
        for (position, sender, size) in [(1, a, 10), (2, b, 200), (3, a, 3_000)] {
            unclaimed.insert(Position(position), sender, size);
        }
        assert!(!unclaimed.is_empty());
        assert_eq!(unclaimed.total(), (3, 3_210));
        assert_eq!([a, b, nobody].map(|s| unclaimed.total_from(s)), [(2, 3_010), (1, 200), (0, 0)]);
    }
}
