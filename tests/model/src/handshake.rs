//! The handshake: two rosters, and signals between them that come again after a crash.

use crate::search::Model;

/// How a side decides whether a received signal still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// Each half of a direction carries the position that last set it, on both sides; a signal changes only halves with a
    /// lower one.
    Halves,
    /// A signal older than one's own last change is ignored.
    OneForEachSide,
    /// Every signal counts, once.
    None,
}

pub struct Handshake {
    pub stamps: Stamps,
    /// Adds and removals each side makes.
    pub operations: u8,
    pub crashes: u8,
}

/// A half: whether it is set, and the position that did it.
type Half = (bool, u8);

#[derive(Clone, Hash, Default)]
struct Side {
    my_wish: Half,
    my_grant: Half,
    their_wish: Half,
    their_grant: Half,
    changed_at: u8,
    received_upto: u8,
    /// Signals sent: (is an add, position). Those below `taken` were received, those below `settled` will not come again.
    sent: Vec<(bool, u8)>,
    taken: usize,
    settled: usize,
    operations: u8,
}

#[derive(Clone, Hash)]
pub struct State {
    sides: [Side; 2],
    position: u8,
    crashes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    None,
    Requested,
    Asking,
    Confirmed,
}

impl Side {
    fn status(&self) -> Status {
        let (to, from) = (self.my_wish.0 && self.their_grant.0, self.their_wish.0 && self.my_grant.0);
        match (to || from, self.their_wish.0, self.my_wish.0) {
            (true, ..) => Status::Confirmed,
            (_, true, _) => Status::Asking,
            (_, _, true) => Status::Requested,
            _ => Status::None,
        }
    }
}

impl Handshake {
    fn act(&self, state: &State, side: usize, add: bool) -> Option<State> {
        let mut next = state.clone();
        next.position += 1;
        let at = next.position;
        let me = &mut next.sides[side];
        if me.operations == 0 || !add && me.status() == Status::None {
            return None;
        }
        me.operations -= 1;
        me.changed_at = at;
        if add {
            (me.my_wish, me.my_grant) = ((true, at), (true, at));
        } else {
            let cleared = (false, at);
            (me.my_wish, me.my_grant, me.their_wish, me.their_grant) = (cleared, cleared, cleared, cleared);
        }
        me.sent.push((add, at));
        Some(next)
    }

    fn receive(&self, state: &State, from: usize) -> Option<State> {
        let &(add, at) = state.sides[from].sent.get(state.sides[from].taken)?;
        let mut next = state.clone();
        next.sides[from].taken += 1;
        let me = &mut next.sides[1 - from];
        let counts = match self.stamps {
            Stamps::Halves => true,
            Stamps::OneForEachSide => at > me.changed_at && at > me.received_upto,
            Stamps::None => at > me.received_upto,
        };
        me.received_upto = me.received_upto.max(at);
        if counts {
            let newer = |half: &mut Half, set: bool| {
                if self.stamps != Stamps::Halves || half.1 < at {
                    *half = (set, at);
                }
            };
            newer(&mut me.their_wish, add);
            newer(&mut me.their_grant, add);
            if !add {
                newer(&mut me.my_wish, false);
                newer(&mut me.my_grant, false);
            }
        }
        Some(next)
    }
}

impl Model for Handshake {
    type State = State;

    fn start(&self) -> State {
        let side = || Side { operations: self.operations, ..Side::default() };
        State { sides: [side(), side()], position: 0, crashes: self.crashes }
    }

    fn steps(&self, state: &State) -> Vec<(String, State)> {
        let mut steps = Vec::new();
        for (side, name) in ["Alice", "Bob"].into_iter().enumerate() {
            for (add, verb) in [(true, "adds"), (false, "removes")] {
                steps.extend(self.act(state, side, add).map(|next| (format!("{name} {verb}"), next)));
            }
            let received = self.receive(state, side);
            steps.extend(received.map(|next| (format!("a signal of {name}'s is received"), next)));
            if state.sides[side].settled < state.sides[side].taken {
                let mut next = state.clone();
                next.sides[side].settled += 1;
                steps.push((format!("a signal of {name}'s is settled"), next));
            }
        }
        if state.crashes > 0 {
            let mut next = state.clone();
            next.crashes -= 1;
            next.sides.iter_mut().for_each(|side| side.taken = side.settled);
            steps.push(("crash: what is not settled comes again".into(), next));
        }
        steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        let at_rest = state.sides.iter().all(|side| side.taken == side.sent.len());
        let mirrored = match state.sides[1].status() {
            Status::Requested => Status::Asking,
            Status::Asking => Status::Requested,
            same => same,
        };
        let alice = state.sides[0].status();
        (at_rest && alice != mirrored)
            .then(|| format!("at rest Alice is {alice:?} and Bob is {:?}", state.sides[1].status()))
    }
}
