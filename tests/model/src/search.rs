//! Breadth-first search over every schedule.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A state machine and what must hold of it.
pub trait Model {
    type State: Clone + Hash;

    fn start(&self) -> Self::State;

    /// Every step that can be taken, with what it is called in a schedule.
    fn steps(&self, state: &Self::State) -> Vec<(String, Self::State)>;

    /// What is broken in this state, if anything. `at_rest` says that nothing moves by itself any more.
    fn broken(&self, state: &Self::State) -> Option<String>;
}

#[derive(Debug)]
pub enum Outcome {
    /// The shortest schedule that breaks a promise.
    Broken { what: String, schedule: Vec<String>, states: usize },
    /// Every state was looked at.
    Complete { states: usize },
    /// So many were looked at, and there are more.
    Bounded { states: usize },
}

/// Searches at most about `bound` states. States are told apart by a 64-bit fingerprint, so two could be taken for one;
/// with 10^7 states the chance that any are is below 10^-5.
pub fn search<M: Model>(model: &M, bound: usize) -> Outcome {
    let fingerprint = |state: &M::State| {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    };
    let start = model.start();
    // Where each state was reached from, and by which step.
    let mut reached: HashMap<u64, Option<(u64, String)>> = HashMap::from([(fingerprint(&start), None)]);
    let mut front = vec![start];
    while !front.is_empty() {
        let mut next = Vec::new();
        for state in front {
            let at = fingerprint(&state);
            if let Some(what) = model.broken(&state) {
                let mut schedule = Vec::new();
                let mut back = at;
                while let Some(Some((before, step))) = reached.get(&back) {
                    schedule.push(step.clone());
                    back = *before;
                }
                schedule.reverse();
                return Outcome::Broken { what, schedule, states: reached.len() };
            }
            for (step, state) in model.steps(&state) {
                let to = fingerprint(&state);
                if let std::collections::hash_map::Entry::Vacant(entry) = reached.entry(to) {
                    entry.insert(Some((at, step)));
                    next.push(state);
                }
            }
        }
        if reached.len() > bound && !next.is_empty() {
            return Outcome::Bounded { states: reached.len() };
        }
        front = next;
    }
    Outcome::Complete { states: reached.len() }
}
