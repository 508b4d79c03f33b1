//! Two directed subscriptions, each of two halves.
//!
//! A direction has a watcher's wish and a subject's grant. Each half carries the position that last set it and is
//! kept on both sides; a signal changes only halves with a lower position. That is what makes both sides agree in the
//! end, whatever is lost, repeated or overtaken on the way. The states of RFC 6121, appendix A, are read off the four
//! halves; a grant without a wish is its pre-approval (section 3.4).

use crate::address::Address;
use crate::id::Position;
use crate::invitation::InvitationToken;
use std::sync::Arc;

/// The highest version that is taken from a peer: above it a peer could end all change between two accounts.
pub const MAX_VERSION: u64 = 1 << 60;

/// One half of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Half {
    /// Whether it is wished, or granted.
    pub set: bool,
    /// The position that last set or cleared it; towards an outside peer a version of the pair stands for it.
    pub at: Position,
}

/// The four halves between an account ("I") and a peer ("they").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Halves {
    /// I wish to see their presence.
    pub my_wish: Half,
    /// I let them see mine.
    pub my_grant: Half,
    /// They wish to see my presence.
    pub their_wish: Half,
    /// They let me see theirs.
    pub their_grant: Half,
}

/// What one side does, and what it then tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Ask for both directions at once, or confirm who asked: XIMSS `subBoth`.
    Add,
    /// End both directions.
    Remove,
    /// Ask to see their presence (RFC 6121, 3.1).
    Subscribe,
    /// Let them see mine (3.1.4), or approve it ahead (3.4).
    Subscribed,
    /// See theirs no more (3.3).
    Unsubscribe,
    /// Let them see mine no more, or refuse it (3.2).
    Unsubscribed,
    /// Change name and groups; the other side is not told.
    Update,
}

/// What the other side is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What was done.
    pub op: Op,
    /// The position at which it was done, or the version that stands for it.
    pub stamp: Position,
    /// What was said with it.
    pub note: Arc<str>,
    /// The invitation that lets who asks in.
    pub token: Option<InvitationToken>,
}

/// How a buddy is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing is between us.
    None,
    /// We asked.
    Requested,
    /// They asked.
    Asking,
    /// At least one direction is confirmed. Pending never counts.
    Confirmed,
}

/// The states of RFC 6121, appendix A.1, without the pending flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither sees the other.
    None,
    /// I see them.
    To,
    /// They see me.
    From,
    /// Both.
    Both,
}

impl Halves {
    /// I see them.
    pub const fn to(&self) -> bool {
        self.my_wish.set && self.their_grant.set
    }

    /// They see me.
    pub const fn from(&self) -> bool {
        self.their_wish.set && self.my_grant.set
    }

    /// I asked and they have not answered.
    pub const fn pending_out(&self) -> bool {
        self.my_wish.set && !self.their_grant.set
    }

    /// They asked and I have not answered.
    pub const fn pending_in(&self) -> bool {
        self.their_wish.set && !self.my_grant.set
    }

    /// RFC 6121's name for it.
    pub const fn subscription(&self) -> Subscription {
        match (self.to(), self.from()) {
            (false, false) => Subscription::None,
            (true, false) => Subscription::To,
            (false, true) => Subscription::From,
            (true, true) => Subscription::Both,
        }
    }

    /// As a person sees it.
    pub const fn status(&self) -> Status {
        if self.to() || self.from() {
            Status::Confirmed
        } else if self.pending_in() {
            Status::Asking
        } else if self.pending_out() {
            Status::Requested
        } else {
            Status::None
        }
    }

    /// What I do, at this position. Says whether it changes anything; if not, it is not to be told either.
    pub fn act(&mut self, op: Op, at: Position) -> bool {
        let before = *self;
        self.set_mine(op, at);
        let changed = before.flags() != self.flags();
        if !changed {
            *self = before;
        }
        changed
    }

    /// Says anew, at this position, what was asked and not answered. Says whether anything was.
    pub(super) fn ask_again(&mut self, op: Op, at: Position) -> bool {
        let asks = matches!(op, Op::Add | Op::Subscribe) && self.pending_out();
        if asks {
            self.set_mine(op, at);
        }
        asks
    }

    /// What they did, at this position. Only older halves change. Says whether a flag did.
    pub fn receive(&mut self, op: Op, at: Position) -> bool {
        let before = self.flags();
        let mut theirs = self.mirrored();
        theirs.set_newer(op, at);
        *self = theirs.mirrored();
        before != self.flags()
    }

    /// The version of an act of mine towards an outside peer, whose file has positions of its own: above everything that
    /// either side is known to have done, and never one that the peer gives at the same time.
    pub fn next_version(&self, mine: &Address, theirs: &Address) -> Position {
        Position((self.highest().0 / 2 + 1) * 2 + u64::from(mine > theirs))
    }

    /// The latest act of either side.
    pub fn highest(&self) -> Position {
        let Halves { my_wish, my_grant, their_wish, their_grant } = self;
        let all = [my_wish, my_grant, their_wish, their_grant];
        all.into_iter().map(|half| half.at).max().unwrap_or_default()
    }

    /// Whether an act of theirs comes too late, because what it touches was changed since.
    pub fn supersedes(&self, op: Op, at: Position) -> bool {
        self.mirrored().touched_by(op).iter().any(|(half, _)| half.at > at)
    }

    /// Whether what I did with this act is still what I want: nothing of mine that it touched was changed since.
    pub fn still_says(&self, op: Op, at: Position) -> bool {
        let mine = [self.my_wish, self.my_grant];
        let mut touched = *self;
        touched.their_wish.at = Position::ZERO;
        touched.their_grant.at = Position::ZERO;
        mine.iter().any(|half| half.at == at) && touched.touched_by(op).iter().all(|(half, _)| half.at <= at)
    }

    /// The same relation seen from the other side.
    #[must_use]
    pub const fn mirrored(&self) -> Halves {
        Halves {
            my_wish: self.their_wish,
            my_grant: self.their_grant,
            their_wish: self.my_wish,
            their_grant: self.my_grant,
        }
    }

    pub(super) fn set_mine(&mut self, op: Op, at: Position) {
        for (half, set) in self.touched_by(op) {
            *half = Half { set, at };
        }
    }

    fn set_newer(&mut self, op: Op, at: Position) {
        for (half, set) in self.touched_by(op) {
            if half.at < at {
                *half = Half { set, at };
            }
        }
    }

    /// The halves that an act of mine sets or clears. Add and confirm touch one's own two and never answer for the
    /// other side; what ends a direction ends both its halves, so that it needs a new approval to come back.
    fn touched_by(&mut self, op: Op) -> Vec<(&mut Half, bool)> {
        match op {
            Op::Add => vec![(&mut self.my_wish, true), (&mut self.my_grant, true)],
            Op::Remove => vec![
                (&mut self.my_wish, false),
                (&mut self.my_grant, false),
                (&mut self.their_wish, false),
                (&mut self.their_grant, false),
            ],
            Op::Subscribe => vec![(&mut self.my_wish, true)],
            Op::Subscribed => vec![(&mut self.my_grant, true)],
            Op::Unsubscribe => vec![(&mut self.my_wish, false), (&mut self.their_grant, false)],
            Op::Unsubscribed => vec![(&mut self.my_grant, false), (&mut self.their_wish, false)],
            Op::Update => Vec::new(),
        }
    }

    const fn flags(&self) -> [bool; 4] {
        [self.my_wish.set, self.my_grant.set, self.their_wish.set, self.their_grant.set]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nine states of RFC 6121, A.1, as (subscription, pending out, pending in).
    type State = (Subscription, bool, bool);
    use Subscription::{Both, From, None, To};

    const NONE: State = (None, false, false);
    const NONE_OUT: State = (None, true, false);
    const NONE_IN: State = (None, false, true);
    const NONE_OUT_IN: State = (None, true, true);
    const TO: State = (To, false, false);
    const TO_IN: State = (To, false, true);
    const FROM: State = (From, false, false);
    const FROM_OUT: State = (From, true, false);
    const BOTH: State = (Both, false, false);
    const ALL: [State; 9] = [NONE, NONE_OUT, NONE_IN, NONE_OUT_IN, TO, TO_IN, FROM, FROM_OUT, BOTH];

    /// The halves in that state, without pre-approvals.
    fn halves((subscription, pending_out, pending_in): State) -> Halves {
        let half = |set| Half { set, at: Position(1) };
        let to = matches!(subscription, To | Both);
        let from = matches!(subscription, From | Both);
        Halves {
            my_wish: half(to || pending_out),
            their_grant: half(to),
            their_wish: half(from || pending_in),
            my_grant: half(from),
        }
    }

    fn state(halves: &Halves) -> State {
        (halves.subscription(), halves.pending_out(), halves.pending_in())
    }

    /// Appendix A.2: what a user does. The new state for each of the nine, in the order of [`ALL`].
    const OUTBOUND: [(Op, [State; 9]); 4] = [
        // A.2.1
        (Op::Subscribe, [NONE_OUT, NONE_OUT, NONE_OUT_IN, NONE_OUT_IN, TO, TO_IN, FROM_OUT, FROM_OUT, BOTH]),
        // A.2.2
        (Op::Unsubscribe, [NONE, NONE, NONE_IN, NONE_IN, NONE, NONE_IN, FROM, FROM, FROM]),
        // A.2.3. Without a pending request this is a pre-approval (3.4), which shows in no state.
        (Op::Subscribed, [NONE, NONE_OUT, FROM, FROM_OUT, TO, BOTH, FROM, FROM_OUT, BOTH]),
        // A.2.4
        (Op::Unsubscribed, [NONE, NONE_OUT, NONE, NONE_OUT, TO, TO, NONE, NONE_OUT, TO]),
    ];

    /// Appendix A.3: what the other side did.
    const INBOUND: [(Op, [State; 9]); 4] = [
        // A.3.1
        (Op::Subscribe, [NONE_IN, NONE_OUT_IN, NONE_IN, NONE_OUT_IN, TO_IN, TO_IN, FROM, FROM_OUT, BOTH]),
        // A.3.2
        (Op::Unsubscribe, [NONE, NONE_OUT, NONE, NONE_OUT, TO, TO, NONE, NONE_OUT, TO]),
        // A.3.3
        (Op::Subscribed, [NONE, TO, NONE_IN, TO_IN, TO, TO_IN, FROM, BOTH, BOTH]),
        // A.3.4
        (Op::Unsubscribed, [NONE, NONE, NONE_IN, NONE_IN, NONE, NONE_IN, FROM, FROM, FROM]),
    ];

    // behaviour: roster.rfc6121-states
    #[test]
    fn every_row_of_the_outbound_tables() {
        for (op, expected) in OUTBOUND {
            for (before, after) in ALL.into_iter().zip(expected) {
                let mut halves = halves(before);
                let changed = halves.act(op, Position(2));
                assert_eq!(state(&halves), after, "{op:?} out of {before:?}");
                if before != after {
                    assert!(changed, "{op:?} out of {before:?} is not told");
                }
            }
        }
    }

    // behaviour: roster.rfc6121-states
    #[test]
    fn every_row_of_the_inbound_tables() {
        for (op, expected) in INBOUND {
            for (before, after) in ALL.into_iter().zip(expected) {
                let mut halves = halves(before);
                let changed = halves.receive(op, Position(2));
                assert_eq!(state(&halves), after, "{op:?} into {before:?}");
                assert_eq!(state(&halves) != before, changed && before != after);
            }
        }
    }

    // behaviour: roster.rfc6121-states
    #[test]
    fn both_sides_of_every_row_mirror_each_other() {
        for op in [Op::Subscribe, Op::Unsubscribe, Op::Subscribed, Op::Unsubscribed, Op::Add, Op::Remove] {
            for before in ALL {
                let (mut mine, mut theirs) = (halves(before), halves(before).mirrored());
                mine.act(op, Position(2));
                theirs.receive(op, Position(2));
                assert_eq!(mine.flags(), theirs.mirrored().flags(), "{op:?} in {before:?}");
            }
        }
    }

    #[test]
    fn a_status_is_confirmed_by_one_direction_and_never_by_what_is_pending() {
        for state in ALL {
            let expected = match state {
                NONE => Status::None,
                NONE_OUT => Status::Requested,
                NONE_IN | NONE_OUT_IN => Status::Asking,
                _ => Status::Confirmed,
            };
            assert_eq!(halves(state).status(), expected, "{state:?}");
        }
    }

    // behaviour: roster.older-signals-change-nothing
    #[test]
    fn a_signal_changes_only_older_halves() {
        let mut halves = halves(BOTH);
        halves.act(Op::Remove, Position(9));
        let removed = halves;
        for not_newer in [8, 9] {
            assert!(!halves.receive(Op::Add, Position(not_newer)));
            assert_eq!(halves, removed);
        }
        assert!(halves.receive(Op::Add, Position(10)));
        assert_eq!(halves.status(), Status::Asking);
    }
}
