//! How an engine is opened.

use rosterkit_core::address::Domain;
use rosterkit_core::delivery::limits::Limits;
use rosterkit_core::preferences::Preferences;
use rosterkit_core::presence::Order;

/// What an engine is to be.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The domains the host answers for. They are made when the file does not have them; a file that holds another
    /// one is refused, because nobody would answer for its accounts.
    pub domains: Vec<Domain>,
    /// How many shards, and with threads how many engine threads; 1 to 64.
    pub shards: usize,
    /// How many idle accounts stay in memory.
    pub idle_accounts: usize,
    /// Whether answers wait for the disk.
    pub durability: Durability,
    /// The server's preferences, below every domain's and account's.
    pub preferences: Preferences,
    /// Sizes, rates and counts.
    pub limits: Limits,
    /// Which presence state wins over which.
    pub presence_order: Order,
    /// How many commands may be under way at once; beyond it they are refused with `LimitExceeded`.
    pub max_in_flight: usize,
    /// How many bytes they may hold.
    pub max_in_flight_bytes: usize,
    /// How many sessions may have a listener. Each may block a thread of its own, so this bounds threads.
    pub max_listeners: usize,
}

/// Whether answers wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `Delivered`, `Stored` and `Queued` mean: on disk.
    Full,
    /// Messages are answered when the writer has taken them, and are on disk within 200 ms. A crash loses at most
    /// those; changes wait for the disk as always.
    Relaxed,
}

impl EngineOptions {
    /// The defaults, hosting these domains.
    pub fn hosting(domains: impl IntoIterator<Item = Domain>) -> Self {
        EngineOptions {
            domains: domains.into_iter().collect(),
            shards: 1,
            idle_accounts: 10_000,
            durability: Durability::Full,
            preferences: Preferences::default(),
            limits: Limits::default(),
            presence_order: Order::default(),
            max_in_flight: 65_536,
            max_in_flight_bytes: 64 << 20,
            max_listeners: 1_024,
        }
    }
}
