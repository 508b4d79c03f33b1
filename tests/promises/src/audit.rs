//! What victim and auditor agree on.

use crate::kept::Kept;
use rosterkit::{Actor, Address, ClientId, Command, Domain, EngineOptions, Limits, Rate, Send, Timestamp};

pub const USERS: usize = 24;
/// Sends what comes on to user0, by a rule.
pub const REDIRECTS: usize = 24;
/// Keeps what comes, and forks it to user2.
pub const FORKS: usize = 25;
/// All of them.
pub const ACCOUNTS: usize = 26;

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

/// To whom it comes in the end, of those who read.
pub fn reaches(recipient: usize) -> usize {
    match recipient {
        REDIRECTS => 0,
        FORKS => 2,
        user => user,
    }
}

/// Something else than a message that is to be kept.
pub fn kept(number: u64) -> Kept {
    let user = (number / 3 % USERS as u64) as usize;
    match number % 3 {
        0 => Kept::Written { user, number },
        1 => Kept::Registered { user, number },
        _ => Kept::Redeemed { host: user, guest: (user + 2 + (number / 72) as usize % (USERS - 4)) % USERS },
    }
}

/// Who sends the send of this number, and to whom.
pub fn ends(number: u64) -> (usize, usize) {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let sender = (mixed % USERS as u64) as usize;
    let recipient = ((mixed / USERS as u64) % ACCOUNTS as u64) as usize;
    // Rules send it on to somebody else than its sender, who has it already.
    let sender = if reaches(recipient) == sender && recipient >= USERS { sender + 1 } else { sender };
    (sender, recipient)
}

pub fn send(number: u64) -> (Actor, Command) {
    let (sender, recipient) = ends(number);
    let send = Send {
        client_id: Some(ClientId::new(&format!("n{number}")).unwrap()),
        expires: (number % 11 == 5).then_some(Timestamp(2_000_000_000_000)),
        ..Send::text(&address(recipient), &format!("send {number}"))
    };
    (Actor { account: address(sender), session: None }, Command::Send(send))
}
