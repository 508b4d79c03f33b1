//! Two engines: Alice's messages to Bob, from the outbox of her file over a connection into his.
//!
//! The connection is ordered and may be cut at any time, with what is on its way in either direction. Either side may be
//! killed. Bob's side may say "not now" once.

use crate::search::Model;

const MESSAGES: u8 = 3;

pub struct Relay {
    pub rules: Rules,
    pub cuts: u8,
    pub kills: u8,
    pub not_now: bool,
}

pub struct Rules {
    /// A pair has one parcel under way.
    pub one_parcel: bool,
    /// What was not settled is given out again after a kill and by each new connection.
    pub given_out_again: bool,
    /// Bob's side answers when his rows are on disk.
    pub answered_when_on_disk: bool,
    /// The delivery ids are remembered in the transaction of the rows.
    pub remembered_with_the_rows: bool,
    /// While a parcel is on its way to the disk its recipient takes no other.
    pub one_at_a_time: bool,
    /// The answer to a parcel of an older connection means nothing in this one.
    pub numbers_of_one_connection: bool,
    /// Deliveries are remembered for longer than their sender tries.
    pub remembered_for_longer: bool,
    /// All messages of a parcel are written, or none.
    pub all_or_none: bool,
}

impl Rules {
    pub const ALL: Rules = Rules {
        one_parcel: true,
        given_out_again: true,
        answered_when_on_disk: true,
        remembered_with_the_rows: true,
        one_at_a_time: true,
        numbers_of_one_connection: true,
        remembered_for_longer: true,
        all_or_none: true,
    };
}

/// A parcel of a connection, or its answer: its number there, the first message and the one behind the last.
#[derive(Clone, Copy, PartialEq, Hash)]
struct Parcel {
    number: u8,
    from: u8,
    to: u8,
}

#[derive(Clone, Hash, Default)]
pub struct State {
    /// How many Alice has sent, all of them on disk.
    sent: u8,
    /// On her disk: up to where they are settled; and those that were given up.
    settled: u8,
    given_up: bool,
    /// Parcels of this connection that are not answered, and how many there were.
    in_hand: Vec<Parcel>,
    numbered: u8,
    to_bob: Vec<Parcel>,
    to_alice: Vec<(Parcel, bool)>,
    /// On their way to Bob's disk, with what of them is to be written.
    writing: Vec<(Parcel, Vec<u8>)>,
    /// To be remembered, when that is not done with the rows.
    to_remember: Vec<u8>,
    /// On Bob's disk.
    rows: Vec<u8>,
    remembered: Vec<u8>,
    /// A parcel that the last connection left with Bob's side.
    left_over: Vec<(Parcel, bool)>,
    cuts: u8,
    kills: u8,
    said_not_now: bool,
}

impl State {
    fn cut(&mut self, rules: &Rules) {
        if !rules.numbers_of_one_connection {
            self.left_over.clone_from(&self.to_alice);
        }
        self.to_bob.clear();
        self.to_alice.clear();
        self.in_hand.clear();
        self.numbered = 0;
        if !rules.given_out_again {
            // Whatever had left counts as carried.
            self.settled = self.sent;
        }
    }
}

impl Model for Relay {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, state: &State) -> Vec<(String, State)> {
        let rules = &self.rules;
        let mut steps = Vec::new();
        let mut step = |name: String, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push((name, next));
        };
        if state.sent < MESSAGES {
            step(format!("Alice sends {}, which is on disk", state.sent + 1), &|s| s.sent += 1);
        }
        let from = state.in_hand.last().map_or(state.settled, |parcel| parcel.to);
        if from < state.sent && !state.given_up && (state.in_hand.is_empty() || !rules.one_parcel) {
            let parcel = Parcel { number: state.numbered + 1, from, to: state.sent };
            step(format!("parcel {} leaves with {}..={}", parcel.number, from + 1, parcel.to), &|s| {
                s.numbered += 1;
                s.in_hand.push(parcel);
                s.to_bob.push(parcel);
            });
        }
        if let Some(&parcel) = state.to_bob.first() {
            let free = state.writing.is_empty() || !rules.one_at_a_time;
            if free {
                step(format!("parcel {} reaches Bob's side", parcel.number), &|s| {
                    s.to_bob.remove(0);
                    let new = (parcel.from..parcel.to).filter(|message| !s.remembered.contains(message));
                    s.writing.push((parcel, new.collect()));
                    if !rules.answered_when_on_disk {
                        s.to_alice.push((parcel, true));
                    }
                });
            }
            if self.not_now && !state.said_not_now {
                step(format!("Bob's side takes parcel {} not now", parcel.number), &|s| {
                    s.to_bob.remove(0);
                    s.said_not_now = true;
                    s.to_alice.push((parcel, false));
                });
            }
        }
        for at in 0..state.writing.len() {
            let (parcel, ref messages) = state.writing[at];
            step(format!("Bob's side commits parcel {}", parcel.number), &|s| {
                s.writing.remove(at);
                s.rows.extend(messages);
                let kept =
                    if rules.remembered_with_the_rows { &mut s.remembered } else { &mut s.to_remember };
                kept.extend(messages);
                // Whether the connection it came by is still there is seen by who takes the answer.
                if rules.answered_when_on_disk && s.in_hand.contains(&parcel) {
                    s.to_alice.push((parcel, true));
                }
            });
            if !rules.all_or_none && messages.len() > 1 && !state.said_not_now {
                step(format!("Bob's side commits all but the first of parcel {}", parcel.number), &|s| {
                    s.writing.remove(at);
                    s.said_not_now = true;
                    s.rows.extend(&messages[1..]);
                    s.remembered.extend(&messages[1..]);
                    s.to_alice.push((parcel, false));
                });
            }
        }
        if !state.to_remember.is_empty() {
            step("Bob's side remembers what it took".into(), &|s| {
                let kept = std::mem::take(&mut s.to_remember);
                s.remembered.extend(kept);
            });
        }
        for (queue, old) in [(&state.to_alice, false), (&state.left_over, true)] {
            let Some(&(answer, taken)) = queue.first() else { continue };
            let what = if old { "an answer of the last connection" } else { "the answer" };
            step(format!("{what} to parcel {} is on Alice's disk", answer.number), &|s| {
                _ = if old { s.left_over.remove(0) } else { s.to_alice.remove(0) };
                let Some(at) = s.in_hand.iter().position(|parcel| parcel.number == answer.number) else {
                    return;
                };
                let parcel = s.in_hand.remove(at);
                if taken && !s.given_up {
                    s.settled = s.settled.max(parcel.to);
                } else if !taken {
                    // It is given out again, with what came since.
                    s.in_hand.clear();
                }
            });
        }
        if state.settled < state.sent && !state.given_up && state.cuts + state.kills > 0 {
            step("a day is over: what is not settled is given up".into(), &|s| {
                s.given_up = true;
                s.in_hand.clear();
            });
        }
        if !state.remembered.is_empty() {
            // A day later: nothing is on its way for that long.
            let tried = state.given_up || state.settled == state.sent;
            let old = tried && state.to_bob.is_empty() && state.writing.is_empty();
            if old || !rules.remembered_for_longer {
                step("Bob's side forgets what it took".into(), &|s| s.remembered.clear());
            }
        }
        if state.cuts < self.cuts {
            step("the connection is cut, and another one is there".into(), &|s| {
                s.cuts += 1;
                s.cut(rules);
            });
        }
        if state.kills < self.kills {
            step("Alice's side is killed".into(), &|s| {
                s.kills += 1;
                s.cut(rules);
            });
            step("Bob's side is killed".into(), &|s| {
                s.kills += 1;
                s.cut(rules);
                s.writing.clear();
                s.to_remember.clear();
            });
        }
        steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        let mut once = state.rows.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() < state.rows.len() {
            return Some("a message has two rows".into());
        }
        if !state.rows.is_sorted() {
            return Some("the messages are out of order".into());
        }
        (0..state.settled)
            .find(|message| !state.rows.contains(message))
            .map(|message| format!("message {} is settled and lost", message + 1))
    }
}
