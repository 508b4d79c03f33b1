//! Pairs of accounts: the views that both may have of each other.

use super::{Ledger, Unsure};
use crate::handshake::View;
use crate::people::{User, actor, user_of};
use rosterkit::{Answer, Command, Op, Position};

impl Ledger {
    pub(super) fn between(&self, a: User, b: User) -> Vec<(View, View)> {
        self.pairs.get(&pair(a, b)).cloned().unwrap_or_else(|| vec![<(View, View)>::default()])
    }

    /// What the first believes of the two, when that is sure.
    pub fn view(&self, of: User, peer: User) -> Result<View, Unsure> {
        if self.lost_pairs.contains(&pair(of, peer))
            || self.flying.is_some_and(|(a, b, _)| pair(a, b) == pair(of, peer))
        {
            return Err(Unsure);
        }
        match self.between(of, peer).as_slice() {
            [(low, high)] => Ok(if of < peer { *low } else { *high }),
            _ => Err(Unsure),
        }
    }

    /// The pairs that are followed.
    pub fn pairs(&self) -> Vec<(User, User)> {
        self.pairs.keys().filter(|pair| !self.lost_pairs.contains(*pair)).copied().collect()
    }

    /// What both believe of each other is what may be.
    pub fn check_pair(&self, engine: &rosterkit::Engine, (low, high): (User, User)) -> Result<(), String> {
        let found = (roster_view(engine, low, high)?, roster_view(engine, high, low)?);
        let mut may_be = self.between(low, high);
        if let Some((owner, peer, op)) = self.flying
            && pair(owner, peer) == (low, high)
        {
            let after: Vec<_> = may_be.iter().map(|views| edit(*views, owner < peer, op)).collect();
            may_be.extend(after);
        }
        if may_be.iter().any(|(low, high)| (low.shown(), high.shown()) == found) {
            return Ok(());
        }
        Err(format!("user{low} and user{high} are {found:?}, and may be {may_be:?}"))
    }
}

/// What one believes of another, out of its roster.
pub fn roster_view(engine: &rosterkit::Engine, of: User, peer: User) -> Result<View, String> {
    let read = Command::ReadRoster { since: Position::ZERO };
    match engine.call(&actor(of), read).map_err(|e| format!("the roster of user{of}: {e}"))? {
        Answer::Roster(roster) => {
            let buddy = roster.buddies.iter().find(|buddy| user_of(&buddy.address) == Some(peer));
            Ok(buddy.map_or(View::default(), |buddy| View {
                listed: buddy.listed,
                my_wish: buddy.halves.my_wish.set,
                my_grant: buddy.halves.my_grant.set,
                their_wish: buddy.halves.their_wish.set,
                their_grant: buddy.halves.their_grant.set,
            }))
        }
        answer => Err(format!("the roster of user{of} was answered {answer:?}")),
    }
}

/// An edit by one side, and what the other makes of it.
pub(super) fn edit((low, high): (View, View), by_low: bool, op: Op) -> (View, View) {
    let (mine, theirs) = if by_low { (low, high) } else { (high, low) };
    let mut after = mine;
    after.act(op);
    let told = after != mine;
    after.listed = op != Op::Remove && (mine.listed || op != Op::Unsubscribed);
    let theirs = if told { theirs.after_theirs(op) } else { theirs };
    if by_low { (after, theirs) } else { (theirs, after) }
}

pub(super) fn pair(a: User, b: User) -> (User, User) {
    (a.min(b), a.max(b))
}
