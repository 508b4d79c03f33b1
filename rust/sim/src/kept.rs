//! What steps of a world keep until they come again: who was asked and has not answered, rosters as clients know them,
//! observers that stay.

use crate::people::User;
use rosterkit::{Address, Buddy, Position, Session, Status};
use std::collections::{BTreeMap, BTreeSet};

/// A request that somebody was asked, and did not see or answer yet.
#[derive(Clone, Debug)]
pub struct Request {
    pub asks: Address,
    pub asked: Address,
    pub note: String,
    /// It was answered that it is asked; else nobody knows.
    pub is_sure: bool,
    /// It was told and acknowledged, and that is on disk.
    pub is_settled: bool,
}

/// Whether there is anything of a buddy that a person could see.
pub fn is_something(buddy: &Buddy) -> bool {
    buddy.listed || buddy.status() != Status::None
}

/// What a person sees of a buddy, and what is set between the two.
pub fn seen(buddy: &Buddy) -> (Address, bool, String, Vec<String>, [bool; 4]) {
    let (groups, halves) = (buddy.groups.iter().map(ToString::to_string).collect(), buddy.halves);
    let set = [halves.my_wish, halves.my_grant, halves.their_wish, halves.their_grant].map(|half| half.set);
    (buddy.address.clone(), buddy.listed, buddy.name.to_string(), groups, set)
}

/// A roster as a client knows it that asks only for what has changed.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub version: Position,
    pub buddies: BTreeMap<Address, Buddy>,
}

/// An observer, and what it was told by now.
pub struct Observer {
    pub user: User,
    pub session: Session,
    pub buddies: BTreeMap<Address, Buddy>,
    pub conversations: BTreeMap<Address, (rosterkit::MessageId, u32)>,
    pub is_whole: bool,
    /// How many calls of the disk had failed when it came.
    pub failed_before: u64,
}

/// What is kept of a machine.
#[derive(Default)]
pub struct Kept {
    pub request: Option<Request>,
    pub rosters: BTreeMap<User, Known>,
    pub observer: Option<Observer>,
    /// Who brought an invitation over the link, and whose.
    pub brought_across: Vec<(Address, User)>,
    /// Who showed something when the last engine ended.
    pub shown_before: BTreeSet<User>,
    /// How often the other machine had started when a session here looked at it, by session.
    pub looked_across: BTreeMap<u32, u64>,
}

impl Kept {
    /// The engine has ended, and its sessions with it. These showed something.
    pub fn engine_ended(&mut self, shown: BTreeSet<User>) {
        self.shown_before = shown;
        self.observer = None;
        self.looked_across.clear();
    }
}
