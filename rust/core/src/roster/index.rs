//! The index of a roster: of each buddy only who and in which state, eight bytes.
//!
//! It is what stays in memory with an account, because every message and every presence asks it; names, groups and
//! stamps are read when a person looks at the roster or changes it.

use crate::id::AddressId;
use crate::roster::Buddy;

/// What the index knows of a buddy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Relation(u8);

impl Relation {
    const TO: u8 = 1;
    const FROM: u8 = 2;
    const REQUESTED: u8 = 4;
    const ASKING: u8 = 8;
    const LISTED: u8 = 16;
    const OUTSIDE: u8 = 32;

    /// What of a buddy the index keeps.
    pub fn of(buddy: &Buddy) -> Self {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        Relation(
            bit(buddy.halves.to(), Self::TO)
                | bit(buddy.halves.from(), Self::FROM)
                | bit(buddy.halves.pending_out(), Self::REQUESTED)
                | bit(buddy.halves.pending_in(), Self::ASKING)
                | bit(buddy.listed, Self::LISTED),
        )
    }

    /// The same, of a peer whose domain is not hosted here.
    #[must_use]
    pub const fn outside(self) -> Self {
        match self.0 {
            0 => self,
            bits => Relation(bits | Self::OUTSIDE),
        }
    }

    /// Whether the peer's domain was not hosted here when this was written.
    pub const fn is_outside(self) -> bool {
        self.0 & Self::OUTSIDE != 0
    }

    /// I see them.
    pub const fn to(self) -> bool {
        self.0 & Self::TO != 0
    }

    /// They see me.
    pub const fn from(self) -> bool {
        self.0 & Self::FROM != 0
    }

    /// I asked and wait for an answer.
    pub const fn requested(self) -> bool {
        self.0 & Self::REQUESTED != 0
    }

    /// They asked and wait for an answer.
    pub const fn asking(self) -> bool {
        self.0 & Self::ASKING != 0
    }

    /// The owner put them on the roster.
    pub const fn listed(self) -> bool {
        self.0 & Self::LISTED != 0
    }

    /// At least one direction is confirmed.
    pub const fn confirmed(self) -> bool {
        self.0 & (Self::TO | Self::FROM) != 0
    }
}

/// Every buddy of a roster, packed and sorted by id.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Index(Box<[u64]>);

impl Index {
    /// From what [`as_packed`](Self::as_packed) gave; `None` when it is not sorted, which it always was.
    pub fn from_packed(packed: Vec<u64>) -> Option<Self> {
        packed.is_sorted().then(|| Index(packed.into_boxed_slice()))
    }

    /// As stored.
    pub fn as_packed(&self) -> &[u64] {
        &self.0
    }

    /// What is between the account and this peer.
    pub fn get(&self, peer: AddressId) -> Relation {
        match self.find(peer) {
            Ok(at) => relation(self.0[at]),
            Err(_) => Relation::default(),
        }
    }

    /// Puts a buddy's relation in place of what was there; an empty one leaves the index.
    pub fn set(&mut self, peer: AddressId, new: Relation) {
        let mut packed = std::mem::take(&mut self.0).into_vec();
        let entry = peer.to_bits() << 8 | u64::from(new.0);
        match (packed.binary_search_by_key(&peer, |&e| id(e)), new == Relation::default()) {
            (Ok(at), true) => drop(packed.remove(at)),
            (Ok(at), false) => packed[at] = entry,
            (Err(_), true) => {}
            (Err(at), false) => packed.insert(at, entry),
        }
        self.0 = packed.into_boxed_slice();
    }

    /// A peer is not there any more.
    pub fn remove(&mut self, peer: AddressId) {
        self.set(peer, Relation::default());
    }

    /// Everybody, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (AddressId, Relation)> + '_ {
        self.0.iter().map(|&entry| (id(entry), relation(entry)))
    }

    /// Who of this system sees the account's presence.
    pub fn watchers(&self) -> impl Iterator<Item = AddressId> + '_ {
        self.iter().filter(|(_, r)| r.from() && !r.is_outside()).map(|(id, _)| id)
    }

    /// Whether any peer is outside.
    pub fn reaches_outside(&self) -> bool {
        self.iter().any(|(_, r)| r.is_outside())
    }

    /// How many the owner put there: what `max_roster_items` counts.
    pub fn listed(&self) -> usize {
        self.iter().filter(|(_, r)| r.listed()).count()
    }

    /// How many asked to be buddies, and wait for an answer.
    pub fn asking(&self) -> usize {
        self.iter().filter(|(_, r)| r.asking()).count()
    }

    fn find(&self, peer: AddressId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&peer, |&entry| id(entry))
    }
}

const fn id(entry: u64) -> AddressId {
    AddressId::from_bits(entry >> 8)
}

const fn relation(entry: u64) -> Relation {
    Relation(entry as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_index_is_a_map(edits in proptest::collection::vec((0u64..40, 0u8..64), 0..200)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for (peer, bits) in edits {
                let peer = AddressId::from_bits(peer);
                index.set(peer, Relation(bits));
                if bits == 0 { model.remove(&peer); } else { model.insert(peer, Relation(bits)); }
            }
            prop_assert!(index.iter().eq(model.iter().map(|(id, r)| (*id, *r))));
            for peer in (0..40).map(AddressId::from_bits) {
                prop_assert_eq!(index.get(peer), model.get(&peer).copied().unwrap_or_default());
            }
            prop_assert_eq!(Index::from_packed(index.as_packed().to_vec()), Some(index));
        }
    }
}
