//! Makes a failing run shorter: leaves steps out, as long as something still fails.

use crate::history::History;
use crate::run::{Plan, run};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Leaves out halves, quarters and so on of the steps (delta debugging), for at most so long. Gives what still fails.
pub fn shrink(plan: &Plan, budget: Duration) -> Plan {
    let until = Instant::now() + budget;
    let mut kept: Vec<usize> = match &plan.only {
        Some(only) => only.iter().copied().collect(),
        None => (0..plan.steps).collect(),
    };
    let fails = |kept: &[usize]| {
        let plan = Plan { only: Some(kept.iter().copied().collect()), ..plan.clone() };
        run(&plan, &Arc::new(History::default())).failure.is_some()
    };
    let mut size = kept.len() / 2;
    while size > 0 && Instant::now() < until {
        let mut at = 0;
        let mut did = false;
        while at < kept.len() && Instant::now() < until {
            let mut without = kept.clone();
            without.drain(at..(at + size).min(kept.len()));
            if fails(&without) {
                kept = without;
                did = true;
            } else {
                at += size;
            }
        }
        if !did || size > 1 {
            size /= 2;
        }
    }
    Plan { only: Some(kept.into_iter().collect::<BTreeSet<_>>()), ..plan.clone() }
}
