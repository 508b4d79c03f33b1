//! What rules cost a message.

use crate::load::{Load, actor};
use crate::measure::{Row, cpu_seconds, median};
use rosterkit::{Command, Durability};
use std::path::Path;

const ACCOUNTS: usize = 200;
const ROUNDS: usize = 7;

/// CPU of a message to accounts with a hundred rules each, all of which are looked at, against accounts with none, interleaved.
pub fn rules_100(directory: &Path) -> Vec<Row> {
    let rules: Vec<String> = (0..100)
        .map(|n| {
            format!(
                r#"{{"name": "rule {n}", "priority": 5, "conditions":
                [{{"From": {{"in": "*@spam{n}.example, mallory{n}@*"}}}}, {{"Body": {{"is": "*offer {n}*"}}}}],
                "actions": ["Discard"]}}"#
            )
        })
        .collect();
    let rules = format!(r#"{{"rules": [{}]}}"#, rules.join(","));
    let load = |name: &str| {
        let load = Load::open(&directory.join(name), ACCOUNTS, 2 * ACCOUNTS, Durability::Full);
        load.make_accounts();
        load
    };
    let (mut with, mut without) = (load("with.db"), load("without.db"));
    with.run((0..ACCOUNTS).map(|user| (actor(user), Command::SetRules(rules.clone()))));
    let mut costs = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (load, costs) in [&mut with, &mut without].into_iter().zip(&mut costs) {
            let before = cpu_seconds();
            load.messages(30_000, 1_024);
            costs.push((cpu_seconds() - before) * 1e6 / 30_000.0);
        }
    }
    [with, without].iter().for_each(|load| load.engine.shutdown(true).expect("down"));
    let [with, without] = costs.map(median);
    vec![Row::cost("rules_100", with, "µs, CPU", without)]
}
