//! What the two worlds of `two_worlds` agree on.

use rosterkit::Address;

/// How many accounts each world has. Each writes to each of the other world.
pub const ACCOUNTS: usize = 3;

/// What the accounts of each world show in the end.
pub const STATES: [[&str; ACCOUNTS]; 2] = [["busy", "away", "online"], ["chat", "on-phone", "be-back"]];

pub fn domain(world: usize) -> &'static str {
    ["here.example", "there.example"][world]
}

pub fn account(world: usize, number: usize) -> Address {
    Address::account(&format!("user{number}@{}", domain(world))).unwrap()
}
