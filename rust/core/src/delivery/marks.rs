//! How far two accounts are with what one sent to the other.

use crate::id::Position;
use crate::planted::{Bug, planted};
use crate::preferences::{Preferences, Receipts};

/// What an account knows of its conversation with a peer. Each mark only ever rises, and speaks for everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    /// The account's people have read what the peer sent, up to here.
    pub read: Position,
    /// The peer's clients have taken what the account sent, up to here.
    pub delivered: Position,
    /// The peer's people have read what the account sent, up to here.
    pub displayed: Position,
}

impl Marks {
    /// Both together: marks never go back.
    #[must_use]
    pub fn joined(self, other: Marks) -> Marks {
        Marks {
            read: self.read.max(other.read),
            delivered: self.delivered.max(other.delivered),
            displayed: self.displayed.max(other.displayed),
        }
    }

    /// What a peer learns when this account's people have read up to here.
    pub const fn displayed(upto: Position) -> Marks {
        Marks { read: Position::ZERO, delivered: upto, displayed: upto }
    }

    /// What a peer learns when this account's clients have taken up to here.
    pub const fn delivered(upto: Position) -> Marks {
        Marks { read: Position::ZERO, delivered: upto, displayed: Position::ZERO }
    }
}

/// Whether a sender learns that their messages were taken. Nobody acts for that, so it says that a client is there: it is
/// for those only who may see the account, while one of its sessions is to be seen.
pub fn tells_delivered(preferences: &Preferences, may_see: bool, is_visible: bool) -> bool {
    preferences.receipts != Receipts::Nothing && (may_see && is_visible || planted(Bug::LeakedReceipt))
}

/// Whether a sender learns that their messages were read. A person did that; who is not admitted learns nothing.
pub fn tells_displayed(preferences: &Preferences, is_admitted: bool) -> bool {
    preferences.receipts == Receipts::All && is_admitted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks() -> impl Strategy<Value = Marks> {
        (0u64..9, 0u64..9, 0u64..9).prop_map(|(read, delivered, displayed)| Marks {
            read: Position(read),
            delivered: Position(delivered),
            displayed: Position(displayed),
        })
    }

    proptest! {
        // behaviour: receipts.monotone
        #[test]
        fn whatever_comes_in_whatever_order_no_mark_goes_back(all in prop::collection::vec(marks(), 1..8)) {
            let joined = all.iter().fold(Marks::default(), |so_far, more| {
                let next = so_far.joined(*more);
                assert!(next.read >= so_far.read && next.delivered >= so_far.delivered);
                assert!(next.displayed >= so_far.displayed);
                next
            });
            let backwards = all.iter().rev().fold(Marks::default(), |so_far, more| so_far.joined(*more));
            prop_assert_eq!(joined, backwards);
        }
    }
}
