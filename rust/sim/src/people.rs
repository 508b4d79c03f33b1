//! Who lives in the simulated world, and on which machine.

use rosterkit::{Actor, Address, DeviceName, Domain, Timestamp};

/// A person, by number.
pub type User = usize;

/// When the world begins.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// Sends what comes on to user 0, by a rule.
pub const REDIRECTS: User = 4;
/// Keeps what comes, and forks it to user 1.
pub const FORKS: User = 5;
/// Whose account comes and goes.
pub const COMES_AND_GOES: User = 6;
/// All of them.
pub const ALL: std::ops::Range<User> = 0..9;
/// Those who send, read and are asked for their presence.
pub const ORDINARY: [User; 6] = [0, 1, 2, 3, 7, 8];

/// The machine a user's account is on.
pub const fn machine_of(user: User) -> usize {
    if user < 7 { 0 } else { 1 }
}

pub fn domain(machine: usize) -> Domain {
    let name = ["example.org", "example.net"][machine];
    Domain::new(name).expect("a domain")
}

/// The domain of those who come and go: no machine's own.
pub fn visitors() -> Domain {
    Domain::new("visitors.example").expect("a domain")
}

pub fn address(user: User) -> Address {
    Address::account(&format!("user{user}@{}", domain(machine_of(user)))).expect("an address")
}

/// Who has this address.
pub fn user_of(address: &Address) -> Option<User> {
    let number = address.user()?.strip_prefix("user")?;
    number.parse().ok().filter(|user| self::address(*user) == address.bare())
}

/// The user, through no session.
pub fn actor(user: User) -> Actor {
    Actor { account: address(user), session: None }
}

/// The named devices of a user. Who has none reads in sessions without a name.
pub const fn devices(user: User) -> &'static [&'static str] {
    match user {
        0 => &["phone", "tablet"],
        2 | 7 => &["phone"],
        _ => &[],
    }
}

/// What reads an account's messages: one of its devices, or whatever session without a name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reader {
    pub user: User,
    pub device: Option<&'static str>,
}

impl Reader {
    /// Those of a user.
    pub fn of(user: User) -> Vec<Reader> {
        match devices(user) {
            [] => vec![Reader { user, device: None }],
            devices => devices.iter().map(|device| Reader { user, device: Some(device) }).collect(),
        }
    }

    pub fn device_name(self) -> Option<DeviceName> {
        self.device.map(|name| DeviceName::new(name).expect("a device's name"))
    }
}

/// The wall clock, so many milliseconds after the world began.
pub const fn wall(now: u64) -> Timestamp {
    Timestamp(START.0 + now as i64)
}
