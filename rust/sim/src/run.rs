//! A whole run of a seed.

use crate::crash::{Broken, CrashPoints};
use crate::history::History;
use crate::report::Report;
use crate::world::World;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How many steps.
    pub steps: usize,
    /// Which of them, when not all.
    pub only: Option<BTreeSet<usize>>,
    /// At about how many points each machine's lives are cut again.
    pub crash_points: usize,
}

/// What came of it.
pub struct Outcome {
    pub report: Report,
    /// How many entries the history has, and its digest.
    pub history: (u64, String),
    /// What was not as it had to be.
    pub failure: Option<String>,
}

/// Runs a seed.
pub fn run(plan: &Plan, history: &Arc<History>) -> Outcome {
    let mut report = Report::default();
    let result = catch_unwind(AssertUnwindSafe(|| live(plan, history, &mut report)));
    let failure = match result {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Some(format!("a panic: {}", text.unwrap_or_default()))
        }
    };
    Outcome { report, history: history.digest(), failure }
}

fn live(plan: &Plan, history: &Arc<History>, report: &mut Report) -> Result<(), String> {
    let mut world = World::new(plan.seed, history)?;
    let result = steps(plan, &mut world);
    let mut points = 0;
    let result = result.and_then(|()| {
        let crash_points = CrashPoints { wanted: plan.crash_points, seed: plan.seed };
        for machine in &world.machines {
            let examined = crash_points.examine(machine.number, &machine.lives, &world.covered);
            points += examined.map_err(|broken| {
                let Broken { machine, life, entry, cut, unsynced, before, difference } = *broken;
                let before = before.join("\n  ");
                format!(
                    "machine {machine}, life {life}, cut behind entry {entry}, {cut:?}: {difference}\n  {before}\n  not synced: {unsynced:?}"
                )
            })?;
        }
        Ok(())
    });
    let link = world.link.counts;
    *report = std::mem::take(&mut world.report);
    report.crash_points = points as u64;
    for (name, count) in [
        ("the link drops", link.dropped),
        ("the link doubles", link.doubled),
        ("the link is late", link.delayed),
    ] {
        *report.faults.entry(name.to_owned()).or_default() += count;
    }
    report.covered = world.covered.sentences().into_iter().map(str::to_owned).collect();
    result
}

fn steps(plan: &Plan, world: &mut World) -> Result<(), String> {
    world.begin()?;
    for number in 0..plan.steps {
        if plan.only.as_ref().is_none_or(|only| only.contains(&number)) {
            world.step(number).map_err(|difference| format!("step {number}: {difference}"))?;
        }
    }
    world.finish().map_err(|difference| format!("at the end: {difference}"))
}
