//! What of an account's log was claimed, by whatever session.

use crate::id::Position;

/// How many claimed rows above the mark are remembered. When there are more the highest are forgotten, which costs a
/// redelivery and never a message.
const MAX_EXCEPTIONS: usize = 1_024;

/// What was claimed: everything up to a mark, and a few rows above it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claims {
    upto: Position,
    /// Claimed rows above `upto`, sorted.
    above: Vec<Position>,
}

impl Claims {
    /// From what was stored.
    pub fn from_parts(upto: Position, mut above: Vec<Position>) -> Self {
        above.retain(|p| *p > upto);
        above.sort_unstable();
        above.dedup();
        above.truncate(MAX_EXCEPTIONS);
        Claims { upto, above }
    }

    /// The last position below which nothing is unclaimed.
    pub const fn upto(&self) -> Position {
        self.upto
    }

    /// Claimed rows above it, lowest first.
    pub fn above(&self) -> &[Position] {
        &self.above
    }

    /// Whether this row counts as claimed.
    pub fn is_claimed(&self, position: Position) -> bool {
        position <= self.upto || self.above.binary_search(&position).is_ok()
    }

    /// A row was acknowledged.
    pub fn claim(&mut self, position: Position) {
        if position <= self.upto {
            return;
        }
        if let Err(at) = self.above.binary_search(&position) {
            self.above.insert(at, position);
            self.above.truncate(MAX_EXCEPTIONS);
        }
    }

    /// Moves the mark: to just below the lowest row that nobody claimed, or to the highest row there is.
    pub fn advance(&mut self, lowest_unclaimed: Option<Position>, installed: Position) {
        let upto = match lowest_unclaimed {
            Some(lowest) => Position(lowest.0.saturating_sub(1)),
            None => installed,
        };
        self.upto = self.upto.max(upto);
        let passed = self.above.partition_point(|p| *p <= self.upto);
        self.above.drain(..passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        // behaviour: delivery.claims
        #[test]
        fn no_unclaimed_row_ever_counts_as_claimed(
            // Rows arrive in order; `Some` acknowledges one of those that wait, `None` brings a new row.
            steps in proptest::collection::vec(proptest::option::weighted(0.6, 0usize..400), 1..600)
        ) {
            let mut claims = Claims::default();
            let mut unclaimed: BTreeSet<Position> = BTreeSet::new();
            let mut last = Position::ZERO;
            for step in steps {
                match step {
                    None => {
                        last = Position(last.0 + 3);
                        unclaimed.insert(last);
                    }
                    Some(which) => {
                        let which = which % unclaimed.len().max(1);
                        let Some(&position) = unclaimed.iter().nth(which) else { continue };
                        unclaimed.remove(&position);
                        claims.claim(position);
                        claims.advance(unclaimed.first().copied(), last);
                    }
                }
                for position in &unclaimed {
                    prop_assert!(!claims.is_claimed(*position));
                }
                prop_assert!(claims.above().len() <= MAX_EXCEPTIONS);
                let stored = Claims::from_parts(claims.upto(), claims.above().to_vec());
                prop_assert_eq!(&stored, &claims);
            }
            if unclaimed.is_empty() {
                claims.advance(None, last);
                prop_assert_eq!(claims.upto(), last);
            }
        }
    }

    #[test]
    fn what_was_stored_is_put_in_order_and_nothing_up_to_the_mark_is_kept() {
        let claims = Claims::from_parts(Position(5), [9, 4, 7, 5, 9].map(Position).to_vec());
        assert_eq!((claims.upto(), claims.above()), (Position(5), [7, 9].map(Position).as_slice()));
    }

    #[test]
    fn the_mark_never_moves_back() {
        let mut claims = Claims::from_parts(Position(5), vec![Position(7)]);
        let before = claims.clone();
        claims.advance(Some(Position(3)), Position(7));
        assert_eq!(claims, before);
    }

    // behaviour: delivery.claims
    #[test]
    fn when_there_are_too_many_the_highest_are_forgotten() {
        let mut claims = Claims::default();
        let positions: Vec<Position> = (2..=MAX_EXCEPTIONS as u64 + 3).map(Position).collect();
        positions.iter().rev().for_each(|p| claims.claim(*p));
        let (remembered, forgotten) = positions.split_at(MAX_EXCEPTIONS);
        assert!(remembered.iter().all(|p| claims.is_claimed(*p)));
        assert!(forgotten.iter().all(|p| !claims.is_claimed(*p)));
        // The row below them is claimed at last, and what was forgotten is still unclaimed.
        claims.claim(Position(1));
        claims.advance(forgotten.first().copied(), positions[positions.len() - 1]);
        assert_eq!(claims.upto(), remembered[MAX_EXCEPTIONS - 1]);
    }
}
