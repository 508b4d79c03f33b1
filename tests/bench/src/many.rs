//! `engine`: what a message costs when there are many accounts.

use crate::load::Load;
use crate::measure::{Row, cpu_seconds, median};
use crate::population::Population;
use rosterkit::{Address, Durability};
use std::path::Path;

/// A round is as long as a pass of the index takes to come by, so that each pays for one.
const ROUND: usize = 49_152;
const ROUNDS: usize = 3;
const IN_FLIGHT: usize = 1_024;

const FEW: Population = Population { accounts: 1_000, active: 1_000 };
const MANY: Population = Population { accounts: 1_000_000, active: 100_000 };
const RESIDENT: usize = 10_000;
/// Full rings of a hundred thousand accounts are 3 GB and take minutes to make. A fifth of them, with a fifth as many in
/// memory, are missed as often.
const FULL_RINGS: usize = MANY.active / 5;

/// The cost of a message among many active accounts, against a thousand of the same that all stay in memory.
pub fn many_accounts(directory: &Path) -> Vec<Row> {
    let (path, few) = (directory.join("many.db"), directory.join("few.db"));
    FEW.make(&few);
    MANY.make(&path);
    let (mut of_few, mut of_many) = (Senders::new(FEW.addresses()), Senders::new(MANY.addresses()));
    let few = of_few.cost(&few, 2 * FEW.active);
    let evicting = of_many.cost(&path, RESIDENT);
    let room = of_many.cost(&path, 2 * MANY.active);
    MANY.fill_rings(&path, FULL_RINGS);
    of_many.addresses.truncate(FULL_RINGS);
    let full_ring = of_many.cost(&path, RESIDENT / 5);
    vec![
        Row::cost("message_cost_100k_active", evicting, "µs", few),
        Row::cost("message_cost_100k_active_all_resident", room, "µs", few),
        Row::cost("message_cost_20k_active_full_ring", full_ring, "µs", few),
    ]
}

/// Who sends, and receives.
struct Senders {
    addresses: Vec<Address>,
    /// How many messages they have sent.
    sent: u64,
}

impl Senders {
    fn new(addresses: Vec<Address>) -> Senders {
        Senders { addresses, sent: 0 }
    }

    /// User and system time a message between any two of them, in µs, with room for so many idle accounts in memory.
    fn cost(&mut self, path: &Path, idle: usize) -> f64 {
        let mut load = Load::among(path, self.addresses.clone(), idle, Durability::Full);
        load.random.seed(self.sent);
        load.sent = self.sent;
        if idle >= self.addresses.len() {
            load.everybody_sends();
        }
        // Until whoever is in memory came there by chance, and the index is at work.
        load.messages(ROUND, IN_FLIGHT);
        let round = |_| {
            let before = cpu_seconds();
            load.messages(ROUND, IN_FLIGHT);
            (cpu_seconds() - before) * 1e6 / ROUND as f64
        };
        let cpu = (0..ROUNDS).map(round).collect();
        self.sent = load.sent;
        load.engine.shutdown(true).expect("down");
        median(cpu)
    }
}
