//! What victim and auditor agree on.

use rosterkit::{Actor, Address, ClientId, Command, Domain, EngineOptions, Limits, Rate, Send};

pub const USERS: usize = 24;

pub fn address(user: usize) -> Address {
    Address::account(&format!("user{user}@example.org")).unwrap()
}

/// Whose history is off.
pub fn is_forgetful(user: usize) -> bool {
    user.is_multiple_of(3)
}

/// Who has a session.
pub fn reads(user: usize) -> bool {
    user.is_multiple_of(2)
}

pub fn options() -> EngineOptions {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    // Few stay in memory, so that a repeat meets an account that was evicted.
    options.idle_accounts = 4;
    let free = Rate { burst: 1_000_000, per_minute: 1_000_000 };
    options.limits = Limits { sends: free, requests: free, ..Limits::default() };
    options.limits.unclaimed.count = 1_000_000;
    options.limits.unclaimed_from_one.count = 1_000_000;
    options
}

/// Who sends the send of this number, and to whom.
pub fn ends(number: u64) -> (usize, usize) {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let sender = (mixed % USERS as u64) as usize;
    let recipient = ((mixed / USERS as u64) % USERS as u64) as usize;
    (sender, recipient)
}

pub fn send(number: u64) -> (Actor, Command) {
    let (sender, recipient) = ends(number);
    let send = Send {
        client_id: Some(ClientId::new(&format!("n{number}")).unwrap()),
        ..Send::text(&address(recipient), &format!("send {number}"))
    };
    (Actor { account: address(sender), session: None }, Command::Send(send))
}
