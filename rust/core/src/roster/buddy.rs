//! A buddy, whole: what a roster keeps of one peer.

use crate::address::Address;
use crate::id::{AddressId, Position};
use crate::refusal::Refusal;
use crate::roster::{Half, Halves, Relation, Status};
use crate::write::OWN;

/// The longest a display name or a group may be, in bytes.
pub const MAX_NAME_BYTES: usize = 1_023;
/// How many groups a buddy may stand in.
pub const MAX_GROUPS: usize = 64;

/// What a roster keeps of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buddy {
    /// Who: this incarnation of the address.
    pub peer: AddressId,
    /// Their address, without an instance.
    pub address: Address,
    /// What the owner calls them. Empty when they gave no name.
    pub name: String,
    /// The groups they stand in, sorted, none twice.
    pub groups: Vec<String>,
    /// The two subscriptions.
    pub halves: Halves,
    /// Whether the owner put them there. Who only asks is not listed; nor is a tombstone, which is all that is left
    /// of a removed buddy: its stamps still tell older signals from newer ones.
    pub listed: bool,
    /// The position of the latest change.
    pub version: Position,
    /// Fields that a newer version wrote and this one does not know, as stored.
    pub unknown: Vec<u8>,
}

impl Buddy {
    /// Nothing between us yet.
    pub fn new(peer: AddressId, address: Address) -> Self {
        Buddy {
            peer,
            address,
            name: String::new(),
            groups: Vec::new(),
            halves: Halves::default(),
            listed: false,
            version: Position::ZERO,
            unknown: Vec::new(),
        }
    }

    /// As shown.
    pub fn status(&self) -> Status {
        self.halves.status()
    }

    /// What the index keeps of it.
    pub fn relation(&self) -> Relation {
        Relation::of(self)
    }

    /// Sets the display name.
    pub fn rename(&mut self, name: String) -> Result<(), Refusal> {
        if name.len() > MAX_NAME_BYTES {
            let what =
                format!("a display name has at most {MAX_NAME_BYTES} bytes, this one has {}", name.len());
            return Err(Refusal::InvalidArgument(what));
        }
        self.name = name;
        Ok(())
    }

    /// Sets the groups.
    pub fn regroup(&mut self, mut groups: Vec<String>) -> Result<(), Refusal> {
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > MAX_GROUPS || groups.iter().any(|g| g.is_empty() || g.len() > MAX_NAME_BYTES) {
            let what =
                format!("a buddy stands in at most {MAX_GROUPS} groups of 1 to {MAX_NAME_BYTES} bytes each");
            return Err(Refusal::InvalidArgument(what));
        }
        self.groups = groups;
        Ok(())
    }

    /// Puts the position of its change wherever it says [`OWN`].
    pub fn place(&mut self, position: Position) {
        let put = |p: &mut Position| {
            if *p == OWN {
                *p = position;
            }
        };
        put(&mut self.version);
        let Halves { my_wish, my_grant, their_wish, their_grant } = &mut self.halves;
        for Half { at, .. } in [my_wish, my_grant, their_wish, their_grant] {
            put(at);
        }
    }
}
