//! Claims: two anonymous sessions share what nobody has read.

use crate::search::Model;
use std::collections::BTreeSet;

pub struct Claims {
    /// The mark is the last position below which nothing is unclaimed; else the highest that was claimed, with a bounded
    /// list of holes.
    pub mark_below_unclaimed: bool,
    /// What a dying session held goes at once to a live one.
    pub passed_on: bool,
}

const ROWS: u8 = 3;
/// How many exceptions are remembered.
const MAX: usize = 1;

#[derive(Clone, Hash, Default)]
pub struct State {
    rows: u8,
    claims: Claimed,
    on_disk: Claimed,
    acknowledged: BTreeSet<u8>,
    /// Who has each row in hand: 0 nobody, 1 or 2.
    held: [u8; ROWS as usize],
    live: [bool; 2],
    died: bool,
    crashed: bool,
}

#[derive(Clone, Hash, Default, PartialEq, Eq)]
struct Claimed {
    upto: u8,
    exceptions: Vec<u8>,
}

impl Claims {
    fn has(&self, claimed: &Claimed, row: u8) -> bool {
        let exception = claimed.exceptions.contains(&row);
        if self.mark_below_unclaimed {
            row <= claimed.upto || exception
        } else {
            row <= claimed.upto && !exception
        }
    }

    fn claim(&self, claimed: &mut Claimed, row: u8) {
        if self.mark_below_unclaimed {
            claimed.exceptions.push(row);
            claimed.exceptions.sort_unstable();
            while claimed.exceptions.first() == Some(&(claimed.upto + 1)) {
                claimed.upto += 1;
                claimed.exceptions.remove(0);
            }
            claimed.exceptions.truncate(MAX);
        } else {
            claimed.exceptions.extend(claimed.upto + 1..row);
            claimed.upto = claimed.upto.max(row);
            claimed.exceptions.retain(|r| *r != row);
            let forgotten = claimed.exceptions.len().saturating_sub(MAX);
            claimed.exceptions.drain(..forgotten);
        }
    }

    fn unclaimed(&self, state: &State) -> Vec<u8> {
        (1..=state.rows).filter(|row| !self.has(&state.claims, *row)).collect()
    }
}

impl Model for Claims {
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
        if state.rows < ROWS {
            step("a row comes".into(), &|s| {
                let oldest = s.live.iter().position(|live| *live).map_or(0, |at| at as u8 + 1);
                s.held[s.rows as usize] = oldest;
                s.rows += 1;
            });
        }
        for session in 1..=2u8 {
            let at = session as usize - 1;
            if !state.live[at] {
                step(format!("session {session} attaches"), &|s| {
                    s.live[at] = true;
                    for row in self.unclaimed(state) {
                        let held = &mut s.held[row as usize - 1];
                        *held = if *held == 0 { session } else { *held };
                    }
                });
                continue;
            }
            for row in
                self.unclaimed(state).into_iter().filter(|row| state.held[*row as usize - 1] == session)
            {
                step(format!("session {session} acknowledges row {row}"), &|s| {
                    s.acknowledged.insert(row);
                    self.claim(&mut s.claims, row);
                });
            }
            if !state.died {
                step(format!("session {session} dies"), &|s| {
                    s.died = true;
                    s.live[at] = false;
                    let heir = if self.passed_on && s.live[1 - at] { 3 - session } else { 0 };
                    s.held.iter_mut().filter(|held| **held == session).for_each(|held| *held = heir);
                });
            }
        }
        if state.claims != state.on_disk {
            step("claims are flushed".into(), &|s| s.on_disk = s.claims.clone());
        }
        if !state.crashed {
            step("crash".into(), &|s| {
                s.crashed = true;
                s.claims = s.on_disk.clone();
                s.held = [0; ROWS as usize];
                s.live = [false; 2];
            });
        }
        steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        for row in 1..=state.rows {
            let claimed = self.has(&state.claims, row) || self.has(&state.on_disk, row);
            if claimed && !state.acknowledged.contains(&row) {
                return Some(format!("row {row} counts as claimed, and nobody acknowledged it"));
            }
        }
        // One whose claim was forgotten for want of room comes again at the next attach; that is the price, not a breach.
        let unread = |row: &u8| !state.acknowledged.contains(row) && state.held[*row as usize - 1] == 0;
        let forgotten = self.unclaimed(state).into_iter().find(unread)?;
        let live = state.live.iter().any(|live| *live);
        live.then(|| format!("row {forgotten} is unclaimed, a session is live, and nobody has it in hand"))
    }
}
