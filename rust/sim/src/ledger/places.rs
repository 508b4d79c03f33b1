//! Places that are set: the values that each may have.

use super::{A_MOMENT, Ledger, Unsure};
use crate::facts::Place;
use crate::people::User;
use std::collections::BTreeSet;

/// The values that a place may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Register {
    pub(super) may_be: BTreeSet<Option<u64>>,
    pub(super) flying: Option<u64>,
    pub(super) lost: bool,
}

impl Register {
    fn new(place: Place) -> Self {
        let first = matches!(place, Place::Blocked(..) | Place::Visibility(..)).then_some(0);
        Register { may_be: [first].into(), flying: None, lost: false }
    }

    fn allows(&self, place: Place, found: Option<u64>) -> bool {
        if self.lost || found.is_none() && place.may_be_unseen() {
            return true;
        }
        if place.only_rises() {
            let all = || self.may_be.iter().map(|value| value.unwrap_or(0));
            let most = all().chain(self.flying).max();
            return all().min() <= found && found <= most;
        }
        self.may_be.contains(&found) || self.flying.is_some() && self.flying == found
    }
}

impl Ledger {
    pub(super) fn register(&mut self, place: Place) -> &mut Register {
        self.places.entry(place).or_insert_with(|| Register::new(place))
    }

    /// The value of a place, when there is only one that it can have.
    pub fn value(&self, place: Place) -> Result<Option<u64>, Unsure> {
        let fresh = Register::new(place);
        let register = self.places.get(&place).unwrap_or(&fresh);
        let mut may_be = register.may_be.iter();
        match (may_be.next(), may_be.next(), register.lost || register.flying.is_some()) {
            (Some(value), None, false) => Ok(*value),
            _ => Err(Unsure),
        }
    }

    /// The places of a machine's accounts.
    pub fn places(&self) -> Vec<Place> {
        self.places.keys().copied().collect()
    }

    /// What is found at a place is what may be there.
    pub fn check_place(&self, engine: &rosterkit::Engine, place: Place) -> Result<(), String> {
        let Some(register) = self.places.get(&place) else { return Ok(()) };
        let found = place.read(engine)?;
        if let (Place::Contact(_), Some(ends)) = (place, found)
            && ends <= self.now
        {
            return Err(format!("{place:?} has ended at {ends}, and is there at {}", self.now));
        }
        if register.allows(place, found) || self.has_ended(register, place, found) {
            return Ok(());
        }
        Err(format!("{place:?} is {found:?}, and may be {:?} or {:?}", register.may_be, register.flying))
    }

    /// Whether what has an end is not there, and may be over: an engine that was opened has looked a moment later.
    fn has_ended(&self, register: &Register, place: Place, found: Option<u64>) -> bool {
        let mut may_be = register.may_be.iter().flatten().copied().chain(register.flying);
        found.is_none()
            && matches!(place, Place::Contact(_))
            && may_be.any(|ends| ends <= self.until + A_MOMENT)
    }

    /// Whether a contact of somebody counts as being there, when that is sure.
    pub fn is_reached(&self, user: User) -> Result<bool, Unsure> {
        Ok(self.value(Place::Contact(user))?.is_some_and(|ends| ends > self.now))
    }
}
