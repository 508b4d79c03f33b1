//! What an edit does on one side, and what the other side makes of it.

use crate::address::Address;
use crate::id::{AddressId, Position};
use crate::invitation::InvitationToken;
use crate::refusal::Refusal;
use crate::roster::{Buddy, Half, Halves, Op, Signal};
use crate::write::OWN;
use std::sync::Arc;

/// What the owner of a roster wants.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What to do.
    pub op: Op,
    /// The display name; `None` leaves it.
    pub name: Option<String>,
    /// The groups; `None` leaves them.
    pub groups: Option<Vec<String>>,
    /// What to say with a request.
    pub note: Arc<str>,
    /// The invitation to redeem.
    pub token: Option<InvitationToken>,
}

/// What an edit comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The buddy as it will be; `None` when nothing changes.
    pub buddy: Option<Buddy>,
    /// What to tell the other side; `None` when nothing between us changes.
    pub signal: Option<Signal>,
}

/// What a received signal comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The buddy as it will be; `None` when nothing changes, not even a stamp.
    pub buddy: Option<Buddy>,
    /// Whether this is a new request, of which the account's sessions are to be told.
    pub asked: Option<Asked>,
}

/// A new request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What they said with it.
    pub note: Arc<str>,
}

/// Decides an edit. `at` is [`OWN`], or the version towards an outside peer ([`Halves::next_version`]); `listed` is how many
/// buddies the roster lists, `max` how many it may.
pub fn decide(
    account: AddressId,
    existing: Option<&Buddy>,
    peer: (AddressId, &Address),
    edit: Edit,
    at: Position,
    listed: usize,
    max: u32,
) -> Result<Decision, Refusal> {
    if peer.0 == account {
        return Err(Refusal::InvalidArgument("an account is not a buddy of its own".into()));
    }
    let mut buddy = match existing {
        Some(buddy) => buddy.clone(),
        None => Buddy::new(peer.0, peer.1.clone()),
    };
    match edit.op {
        // Who refuses or removes somebody does not put them on the roster.
        Op::Remove => {
            buddy.listed = false;
            buddy.name.clear();
            buddy.groups.clear();
        }
        Op::Unsubscribed => {}
        Op::Add | Op::Subscribe | Op::Subscribed | Op::Unsubscribe | Op::Update => {
            if !buddy.listed && listed >= max as usize {
                return Err(Refusal::limit(format!("the roster holds {listed} buddies, which is its limit")));
            }
            buddy.listed = true;
        }
    }
    if edit.op != Op::Remove {
        if let Some(name) = edit.name {
            buddy.rename(name)?;
        }
        if let Some(groups) = edit.groups {
            buddy.regroup(groups)?;
        }
    }
    let told = buddy.halves.act(edit.op, at);
    // Who asked before is told to have asked again: this time they are let in.
    let told = told || edit.token.is_some() && buddy.halves.ask_again(edit.op, at);
    let changed = existing.map_or(buddy.listed || told, |old| *old != buddy);
    if !changed {
        return Ok(Decision { buddy: None, signal: None });
    }
    buddy.version = OWN;
    let signal = told.then_some(Signal { op: edit.op, stamp: at, note: edit.note, token: edit.token });
    Ok(Decision { buddy: Some(buddy), signal })
}

/// What a signal from the other side does. The same signal a second time changes nothing.
pub fn receive(existing: Option<&Buddy>, peer: (AddressId, &Address), signal: &Signal) -> Received {
    let mut buddy = match existing {
        Some(buddy) => buddy.clone(),
        None => Buddy::new(peer.0, peer.1.clone()),
    };
    let was_asking = buddy.halves.pending_in();
    let flags = buddy.halves.receive(signal.op, signal.stamp);
    if existing.is_some_and(|old| *old == buddy) {
        return Received { buddy: None, asked: None };
    }
    let asked = (buddy.halves.pending_in() && !was_asking).then(|| Asked { note: Arc::clone(&signal.note) });
    if flags {
        // A change that a person can see; a stamp alone is none, and clients are not told of it.
        buddy.version = OWN;
    }
    Received { buddy: Some(buddy), asked }
}

/// Whoever asks with an invitation is confirmed as if the account's owner did it. `at` and the limit are those of
/// [`decide`]; `None` when there is nothing to confirm, or no room on the roster.
pub fn let_in(asking: &Buddy, at: Position, listed: usize, max: u32) -> Option<(Buddy, Signal)> {
    if !asking.halves.pending_in() || !asking.listed && listed >= max as usize {
        return None;
    }
    let mut buddy = asking.clone();
    buddy.listed = true;
    buddy.version = OWN;
    buddy.halves.act(Op::Add, at);
    Some((buddy, Signal { op: Op::Add, stamp: at, note: "".into(), token: None }))
}

/// The peer knows something newer than a signal of ours, and has changed nothing: one of the two files is older than what
/// the other remembers of it. When the signal still says what its account wants, it is said again above what the peer
/// knows; else `None`.
pub fn renew(buddy: &Buddy, signal: &Signal, known: Position, mine: &Address) -> Option<(Buddy, Signal)> {
    if !buddy.halves.still_says(signal.op, signal.stamp) {
        return None;
    }
    let mut buddy = buddy.clone();
    let at = buddy.halves.next_version(mine, &buddy.address);
    let above = Halves { my_wish: Half { set: false, at: known }, ..Halves::default() };
    let at = at.max(above.next_version(mine, &buddy.address));
    buddy.halves.set_mine(signal.op, at);
    buddy.version = OWN;
    Some((buddy, Signal { stamp: at, ..signal.clone() }))
}

/// What a buddy is told when the account is deleted, at this position or version; `None` when nothing is between them.
pub fn farewell(buddy: &Buddy, at: Position) -> Option<Signal> {
    let Halves { my_wish, my_grant, their_wish, their_grant } = buddy.halves;
    let anything = [my_wish, my_grant, their_wish, their_grant].iter().any(|Half { set, .. }| *set);
    anything.then(|| Signal { op: Op::Remove, stamp: at, note: "".into(), token: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::roster::Status;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn address(user: &str) -> Address {
        Address::account(&format!("{user}@example.org")).unwrap()
    }

    fn edit(op: Op) -> Edit {
        Edit { op, name: None, groups: None, note: "".into(), token: None }
    }

    /// Two rosters and the signals between them, in order for each direction.
    #[derive(Default)]
    struct Pair {
        buddies: [Option<Buddy>; 2],
        channel: [VecDeque<Signal>; 2],
        /// What was sent and not settled; all of it comes again after a crash.
        pending: [VecDeque<Signal>; 2],
        position: u64,
        asked: [u32; 2],
    }

    const IDS: [AddressId; 2] = [AddressId::from_bits(64), AddressId::from_bits(128)];

    impl Pair {
        fn act(&mut self, side: usize, op: Op) {
            let peer = address(["alice", "bob"][1 - side]);
            let decision =
                decide(IDS[side], self.buddies[side].as_ref(), (IDS[1 - side], &peer), edit(op), OWN, 0, 10)
                    .unwrap();
            self.position += 1;
            if let Some(mut buddy) = decision.buddy {
                buddy.place(Position(self.position));
                self.buddies[side] = Some(buddy);
            }
            if let Some(mut signal) = decision.signal {
                signal.stamp = Position(self.position);
                self.channel[side].push_back(signal.clone());
                self.pending[side].push_back(signal);
            }
        }

        /// The other side takes one signal of `side`.
        fn deliver(&mut self, side: usize) {
            let Some(signal) = self.channel[side].pop_front() else {
                return;
            };
            self.position += 1;
            let peer = address(["alice", "bob"][side]);
            let received = receive(self.buddies[1 - side].as_ref(), (IDS[side], &peer), &signal);
            self.asked[1 - side] += u32::from(received.asked.is_some());
            if let Some(mut buddy) = received.buddy {
                buddy.place(Position(self.position));
                self.buddies[1 - side] = Some(buddy);
            }
            self.pending[side].retain(|p| p.stamp != signal.stamp);
        }

        fn crash(&mut self) {
            self.channel = self.pending.clone();
        }

        fn settle(&mut self) {
            while self.channel.iter().any(|c| !c.is_empty()) {
                self.deliver(0);
                self.deliver(1);
            }
        }

        fn status(&self, side: usize) -> Status {
            self.buddies[side].as_ref().map_or(Status::None, Buddy::status)
        }
    }

    // behaviour: roster.add-asks-both, roster.confirm
    #[test]
    fn adding_asks_and_confirming_confirms_both() {
        let mut pair = Pair::default();
        pair.act(0, Op::Add);
        assert_eq!(pair.status(0), Status::Requested);
        pair.settle();
        assert_eq!((pair.status(1), pair.asked), (Status::Asking, [0, 1]));
        pair.act(1, Op::Add);
        pair.settle();
        assert_eq!((pair.status(0), pair.status(1)), (Status::Confirmed, Status::Confirmed));
        assert_eq!(pair.asked, [0, 1], "a confirmation is no request");
    }

    // behaviour: roster.both-ask
    #[test]
    fn two_who_ask_at_once_end_confirmed() {
        let mut pair = Pair::default();
        pair.act(0, Op::Add);
        pair.act(1, Op::Add);
        pair.settle();
        assert_eq!((pair.status(0), pair.status(1)), (Status::Confirmed, Status::Confirmed));
    }

    // behaviour: roster.asking-twice
    #[test]
    fn asking_twice_changes_nothing() {
        let mut pair = Pair::default();
        pair.act(0, Op::Add);
        let before = pair.buddies[0].clone();
        pair.act(0, Op::Add);
        assert_eq!(pair.buddies[0], before);
        assert_eq!(pair.channel[0].len(), 1);
    }

    // behaviour: roster.decline, roster.remove
    #[test]
    fn declining_and_removing_end_both_directions_on_both_sides() {
        let mut pair = Pair::default();
        pair.act(0, Op::Add);
        pair.settle();
        pair.act(1, Op::Remove);
        pair.settle();
        assert_eq!((pair.status(0), pair.status(1)), (Status::None, Status::None));
        assert!(pair.buddies[0].as_ref().unwrap().listed, "the one who asked keeps the entry");
        assert!(!pair.buddies[1].as_ref().unwrap().listed);
        pair.act(0, Op::Remove);
        assert!(!pair.buddies[0].as_ref().unwrap().listed, "who was put there is there no more");
    }

    // behaviour: roster.rfc6121-states
    #[test]
    fn a_direction_that_was_ended_needs_a_new_approval() {
        for (ends, by) in [(Op::Unsubscribe, 0), (Op::Unsubscribed, 1), (Op::Remove, 0), (Op::Remove, 1)] {
            let mut pair = Pair::default();
            for side in [0, 1] {
                pair.act(side, Op::Add);
                pair.settle();
            }
            pair.act(by, ends);
            pair.settle();
            pair.act(0, Op::Subscribe);
            pair.settle();
            let halves = pair.buddies[0].as_ref().unwrap().halves;
            assert!(halves.pending_out() && !halves.to(), "{ends:?} by {by}");
        }
    }

    // behaviour: roster.limit
    #[test]
    fn a_full_roster_refuses_and_still_updates() {
        let bob = address("bob");
        let full = decide(IDS[0], None, (IDS[1], &bob), edit(Op::Add), OWN, 3, 3);
        assert!(matches!(full, Err(Refusal::LimitExceeded { .. })));
        let mut listed = Buddy::new(IDS[1], bob.clone());
        listed.listed = true;
        let update = Edit { name: Some("Bob".into()), ..edit(Op::Update) };
        let decision = decide(IDS[0], Some(&listed), (IDS[1], &bob), update, OWN, 3, 3).unwrap();
        assert_eq!(decision.buddy.unwrap().name, "Bob");
        assert_eq!(decision.signal, None);
    }

    // behaviour: roster.not-oneself
    #[test]
    fn nobody_adds_themselves() {
        let me = address("alice");
        assert!(matches!(
            decide(IDS[0], None, (IDS[0], &me), edit(Op::Add), OWN, 0, 3),
            Err(Refusal::InvalidArgument(_))
        ));
    }

    #[test]
    fn a_stranger_is_listed_by_any_edit_but_a_refusal_or_a_removal() {
        let bob = address("bob");
        let decide = |op| decide(IDS[0], None, (IDS[1], &bob), edit(op), OWN, 0, 3).unwrap();
        for op in [Op::Add, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Update] {
            assert!(decide(op).buddy.is_some_and(|buddy| buddy.listed), "{op:?}");
        }
        for op in [Op::Unsubscribed, Op::Remove] {
            assert_eq!(decide(op), Decision { buddy: None, signal: None }, "{op:?}");
        }
        for op in [Op::Unsubscribe, Op::Update] {
            assert_eq!(decide(op).signal, None, "{op:?} ends nothing, so there is nothing to tell");
        }
    }

    // behaviour: account.deleted
    #[test]
    fn a_deleted_account_takes_leave_of_whoever_it_has_something_with() {
        let mut buddy = Buddy::new(IDS[1], address("bob"));
        buddy.listed = true;
        assert_eq!(farewell(&buddy, OWN), None);
        let set = Half { set: true, at: Position(1) };
        let nothing = Halves::default();
        for halves in [
            Halves { my_wish: set, ..nothing },
            Halves { my_grant: set, ..nothing },
            Halves { their_wish: set, ..nothing },
            Halves { their_grant: set, ..nothing },
        ] {
            buddy.halves = halves;
            assert_eq!(
                farewell(&buddy, OWN),
                Some(Signal { op: Op::Remove, stamp: OWN, note: "".into(), token: None })
            );
        }
    }

    /// Two rosters in files of their own.
    struct Outside {
        addresses: [Address; 2],
        buddies: [Buddy; 2],
        channel: [VecDeque<Signal>; 2],
    }

    impl Outside {
        fn new() -> Self {
            let addresses = [address("alice"), Address::account("bob@example.net").unwrap()];
            let buddies = [1, 0].map(|peer: usize| Buddy::new(IDS[peer], addresses[peer].clone()));
            Outside { addresses, buddies, channel: Default::default() }
        }

        fn act(&mut self, side: usize, op: Op) {
            let (mine, theirs) = (&self.addresses[side], &self.addresses[1 - side]);
            let at = self.buddies[side].halves.next_version(mine, theirs);
            let peer = (IDS[1 - side], theirs);
            let decision = decide(IDS[side], Some(&self.buddies[side]), peer, edit(op), at, 0, 10).unwrap();
            if let Some(buddy) = decision.buddy {
                self.buddies[side] = buddy;
            }
            self.channel[side].extend(decision.signal);
        }

        /// The other side takes one signal; gives what it knows that is newer.
        fn deliver(&mut self, side: usize) -> Option<(Signal, Position)> {
            let signal = self.channel[side].pop_front()?;
            let buddy = &mut self.buddies[1 - side];
            let superseded = buddy.halves.supersedes(signal.op, signal.stamp);
            let received = receive(Some(buddy), (IDS[side], &self.addresses[side]), &signal);
            let known = buddy.halves.highest();
            if let Some(changed) = received.buddy {
                *buddy = changed;
            }
            superseded.then_some((signal, known))
        }

        /// Until nothing is on its way; what was superseded is renewed when everything that crossed it has arrived.
        fn settle(&mut self) {
            for _ in 0..20 {
                let mut superseded = Vec::new();
                let mut steps = 0;
                while self.channel.iter().any(|c| !c.is_empty()) {
                    for side in 0..2 {
                        superseded.extend(self.deliver(side).map(|what| (side, what)));
                    }
                    steps += 1;
                    assert!(steps < 200, "they talk for ever");
                }
                if superseded.is_empty() {
                    return;
                }
                for (side, (signal, known)) in superseded {
                    if let Some((buddy, signal)) =
                        renew(&self.buddies[side], &signal, known, &self.addresses[side])
                    {
                        self.buddies[side] = buddy;
                        self.channel[side].push_back(signal);
                    }
                }
            }
            panic!("they renew for ever");
        }

        fn agree(&self) -> bool {
            let shown = |h: Halves| (h.subscription(), h.pending_out(), h.pending_in());
            shown(self.buddies[0].halves) == shown(self.buddies[1].halves.mirrored())
        }
    }

    proptest! {
        // behaviour: relay.handshake
        #[test]
        fn two_files_agree_at_rest(steps in proptest::collection::vec((0usize..8, 0usize..2), 1..60)) {
            let ops = [Op::Add, Op::Remove, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Unsubscribed];
            let mut pair = Outside::new();
            for (what, side) in steps {
                match what {
                    0..6 => pair.act(side, ops[what]),
                    _ => drop(pair.deliver(side)),
                }
            }
            pair.settle();
            prop_assert!(pair.agree(), "{:?}", pair.buddies);
        }

        // behaviour: relay.deleted
        #[test]
        fn an_account_made_anew_says_what_it_wants_above_what_is_remembered_of_the_old_one(
            steps in proptest::collection::vec((0usize..6, 0usize..2), 1..20), renewed in 0usize..2,
        ) {
            let ops = [Op::Add, Op::Remove, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Unsubscribed];
            let mut pair = Outside::new();
            for (what, side) in steps {
                pair.act(side, ops[what]);
                pair.settle();
            }
            // It takes leave of whoever it has something with, and knows nothing then.
            pair.act(renewed, Op::Remove);
            pair.settle();
            pair.buddies[renewed] = Outside::new().buddies[renewed].clone();
            pair.act(renewed, Op::Add);
            pair.settle();
            prop_assert_eq!(pair.buddies[1 - renewed].status(), Status::Asking);
            pair.act(1 - renewed, Op::Add);
            pair.settle();
            prop_assert_eq!([0, 1].map(|side: usize| pair.buddies[side].status()), [Status::Confirmed; 2]);
        }
    }

    proptest! {
        // behaviour: roster.converges
        #[test]
        fn both_sides_agree_at_rest(steps in proptest::collection::vec((0usize..9, 0usize..2), 1..60)) {
            let ops = [Op::Add, Op::Remove, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Unsubscribed];
            let mut pair = Pair::default();
            for (what, side) in steps {
                match what {
                    0..6 => pair.act(side, ops[what]),
                    6 | 7 => pair.deliver(side),
                    _ => pair.crash(),
                }
            }
            pair.settle();
            let halves = |side: usize| pair.buddies[side].as_ref().map(|b| b.halves).unwrap_or_default();
            let shown = |h: Halves| (h.subscription(), h.pending_out(), h.pending_in());
            prop_assert_eq!(shown(halves(0)), shown(halves(1).mirrored()));
        }

        // behaviour: roster.repeated-signals
        #[test]
        fn a_signal_received_twice_changes_nothing_more(
            before in proptest::collection::vec((0usize..6, 0usize..2), 0..6), last in 0usize..6,
        ) {
            let ops = [Op::Add, Op::Remove, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Unsubscribed];
            let mut pair = Pair::default();
            for (op, side) in before {
                pair.act(side, ops[op]);
                pair.settle();
            }
            pair.act(0, ops[last]);
            if let Some(signal) = pair.channel[0].front().cloned() {
                pair.settle();
                let again = receive(pair.buddies[1].as_ref(), (IDS[0], &address("alice")), &signal);
                prop_assert_eq!(again, Received { buddy: None, asked: None });
            }
        }
    }
}
