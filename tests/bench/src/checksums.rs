//! What page checksums cost.

use crate::load::{Load, address};
use crate::measure::{Row, cpu_seconds, median};
use rosterkit::Durability;
use rosterkit::store::vfs::{Counters, Disk};
use std::path::Path;
use std::sync::Arc;

const ACCOUNTS: usize = 10_000;
const ROUNDS: usize = 9;
/// Several passes of the index, and seconds of CPU: it is counted in hundredths.
const MESSAGES: usize = 196_608;
const IN_FLIGHT: usize = 1_024;

/// CPU a message with checksums and without, in turns; each on a file of its own.
pub fn page_checksums(directory: &Path) -> Vec<Row> {
    let load = |name: &str, disk: fn(Arc<Counters>) -> Disk| {
        let addresses = (0..ACCOUNTS).map(address).collect();
        let mut load = Load::on(&directory.join(name), addresses, 2 * ACCOUNTS, Durability::Full, disk);
        load.make_accounts();
        load.messages(MESSAGES / 4, IN_FLIGHT);
        load
    };
    let mut with = load("with.db", |counters| Disk::through(counters));
    let mut without = load("without.db", |counters| Disk::without_checksums(counters));
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let measured = |load: &mut Load| {
            let before = cpu_seconds();
            load.messages(MESSAGES, IN_FLIGHT);
            (cpu_seconds() - before) * 1e6 / MESSAGES as f64
        };
        let (one, other) = (measured(&mut with), measured(&mut without));
        ours.push(one);
        theirs.push(other);
        ratios.push(other / one);
    }
    with.engine.shutdown(true).expect("down");
    without.engine.shutdown(true).expect("down");
    // Of the rounds, and not of the medians: both sides of a round met the same machine.
    let row = Row::cost("page_checksums_cpu_us_per_message", median(ours), "µs", median(theirs));
    vec![Row { ratio: Some(median(ratios)), ..row }]
}
