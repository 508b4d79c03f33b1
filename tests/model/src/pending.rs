//! Pending rows: a redirect from Bob to Carol, whose rows come again until they are settled.

use crate::search::Model;

pub struct Redirect {
    /// The receiver's commit settles the origin's row in the same transaction; else later.
    pub settled_with_the_commit: bool,
    /// At open, nothing new of a pair leaves before its older rows.
    pub older_first: bool,
}

#[derive(Clone, Hash, Default)]
pub struct State {
    /// Messages that Bob redirected, 1 and 2.
    redirected: u8,
    /// Pending on disk.
    pending: Vec<u8>,
    /// Settled in memory only.
    to_settle: Vec<u8>,
    /// On their way to Carol.
    under_way: Vec<u8>,
    /// Carol's rows: (message, row, acknowledged).
    rows: Vec<(u8, u8, bool)>,
    /// What Carol was told: (message, row).
    told: Vec<(u8, u8)>,
    next_row: u8,
    crashed: bool,
}

impl Model for Redirect {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, state: &State) -> Vec<(String, State)> {
        let mut steps = Vec::new();
        let mut step = |name: String, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push((name, next));
        };
        if state.redirected < 2 {
            let message = state.redirected + 1;
            step(format!("Bob commits message {message} as pending and sends it on"), &|s| {
                s.redirected = message;
                s.pending.push(message);
                s.under_way.push(message);
            });
        }
        if let Some(&message) = state.under_way.first() {
            if state.rows.iter().any(|row| row.0 == message) {
                step(format!("message {message} reaches Carol again, and is known"), &|s| {
                    s.under_way.remove(0);
                    s.to_settle.push(message);
                });
            } else {
                step(format!("Carol commits row {} for message {message}", state.next_row), &|s| {
                    s.under_way.remove(0);
                    s.rows.push((message, s.next_row, false));
                    s.next_row += 1;
                    if self.settled_with_the_commit {
                        s.pending.retain(|m| *m != message);
                    } else {
                        s.to_settle.push(message);
                    }
                });
            }
        }
        if let Some(at) = state.rows.iter().position(|row| !row.2) {
            step(format!("Carol is told row {} and acknowledges", state.rows[at].1), &|s| {
                s.rows[at].2 = true;
                s.told.push((s.rows[at].0, s.rows[at].1));
            });
        }
        // History is off: what is acknowledged goes.
        if let Some(at) = state.rows.iter().position(|row| row.2) {
            step(format!("row {} is deleted", state.rows[at].1), &|s| _ = s.rows.remove(at));
        }
        if let Some(&message) = state.to_settle.first() {
            step(format!("message {message} is settled on disk"), &|s| {
                s.to_settle.remove(0);
                s.pending.retain(|m| *m != message);
            });
        }
        if !state.crashed {
            step("crash: pending rows are sent again".into(), &|s| {
                s.crashed = true;
                s.to_settle.clear();
                s.under_way.clone_from(&s.pending);
            });
            if !self.older_first && state.redirected == 1 {
                step("crash: message 2 is sent before the pending rows are".into(), &|s| {
                    s.crashed = true;
                    s.to_settle.clear();
                    s.redirected = 2;
                    s.under_way = [vec![2], s.pending.clone()].concat();
                    s.pending.push(2);
                });
            }
        }
        steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        for message in 1..=2 {
            let mut rows: Vec<u8> = state.told.iter().filter(|t| t.0 == message).map(|t| t.1).collect();
            rows.dedup();
            if rows.len() > 1 {
                return Some(format!("message {message} has two rows"));
            }
        }
        let order: Vec<u8> = state.told.iter().map(|t| t.0).collect();
        (!order.is_sorted()).then(|| "the messages are out of order".into())
    }
}
