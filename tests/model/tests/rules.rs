//! Each rule is needed, and all of them together are enough, as far as the search goes.

use rosterkit_model::rules::{LEFT_OUT, WHOLE};
use rosterkit_model::search::Outcome;

#[test]
fn each_rule_left_out_alone_breaks_its_promise() {
    for left_out in LEFT_OUT {
        match (left_out.search)(2_000_000) {
            Outcome::Broken { what, .. } => {
                assert!(what.contains(left_out.breaks), "without “{}”: {what}", left_out.rule);
            }
            other => panic!("without “{}” nothing breaks: {other:?}", left_out.rule),
        }
    }
}

#[test]
fn with_every_rule_on_nothing_breaks() {
    for whole in WHOLE {
        // The search of a whole scenario is for the command; here it is bounded.
        if let Outcome::Broken { what, schedule, .. } = (whole.search)(60_000) {
            panic!("{}: {what}\n{}", whole.name, schedule.join("\n"));
        }
    }
}
