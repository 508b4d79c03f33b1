//! What a run, or many, came to: seeds, crash points, faults, which sentences were seen to hold.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The sentences of `docs/behaviour.md` that something was compared with.
#[derive(Debug, Default)]
pub struct Coverage(RefCell<BTreeSet<&'static str>>);

impl Coverage {
    pub fn add(&self, sentence: &'static str) {
        self.0.borrow_mut().insert(sentence);
    }

    pub fn sentences(&self) -> BTreeSet<&'static str> {
        self.0.borrow().clone()
    }
}

/// Every sentence there is.
pub fn all_sentences() -> BTreeSet<&'static str> {
    let page = include_str!("../../../docs/behaviour.md");
    page.lines()
        .filter(|line| line.starts_with("- "))
        .filter_map(|line| line.trim_end().strip_suffix(']')?.rsplit_once('[').map(|(_, id)| id))
        .collect()
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Report {
    pub seeds: u64,
    pub steps: u64,
    pub crash_points: u64,
    pub calls: u64,
    /// How often each sort of fault happened.
    pub faults: BTreeMap<String, u64>,
    /// How often each sort of step was taken.
    pub mix: BTreeMap<String, u64>,
    pub covered: BTreeSet<String>,
}

impl Report {
    pub fn add(&mut self, other: Report) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.crash_points += other.crash_points;
        self.calls += other.calls;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (step, count) in other.mix {
            *self.mix.entry(step).or_default() += count;
        }
        self.covered.extend(other.covered);
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "seeds": self.seeds,
            "steps": self.steps,
            "crash_points": self.crash_points,
            "file_calls": self.calls,
            "faults": self.faults,
            "mix": self.mix,
            "covered": self.covered,
        })
    }

    /// The other way round; what is missing counts as nothing.
    pub fn from_json(value: &serde_json::Value) -> Report {
        let number = |name: &str| value[name].as_u64().unwrap_or_default();
        let counts = |name: &str| {
            let map = value[name].as_object().into_iter().flatten();
            map.map(|(key, count)| (key.clone(), count.as_u64().unwrap_or_default())).collect()
        };
        let covered = value["covered"].as_array().into_iter().flatten();
        Report {
            seeds: number("seeds"),
            steps: number("steps"),
            crash_points: number("crash_points"),
            calls: number("file_calls"),
            faults: counts("faults"),
            mix: counts("mix"),
            covered: covered.filter_map(|id| id.as_str().map(str::to_owned)).collect(),
        }
    }
}
