//! Where the engine gets the time from.

use rosterkit_core::time::{Now, Tick, Timestamp};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks. Implementations must be cheap: a step reads them once.
pub(crate) trait Clock: Send + Sync {
    fn now(&self) -> Now;
}

/// The machine's clocks.
///
/// Monotonic time is `std::time::Instant`, which on Linux and Apple systems stops while the machine sleeps; a lease
/// therefore ends later than it should by the length of a nap, never earlier.
pub(crate) struct SystemClock {
    began: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        SystemClock { began: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        Now { wall: Timestamp(wall), tick: Tick(self.began.elapsed().as_millis() as u64) }
    }
}

/// A clock that only [`advance`](VirtualClock::advance) moves.
pub(crate) struct VirtualClock {
    wall: AtomicI64,
    tick: AtomicU64,
}

impl VirtualClock {
    pub(crate) fn starting_at(wall: Timestamp) -> Self {
        VirtualClock { wall: AtomicI64::new(wall.0), tick: AtomicU64::new(0) }
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.tick.fetch_add(millis, Ordering::Relaxed);
        self.wall.fetch_add(millis as i64, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        Now {
            wall: Timestamp(self.wall.load(Ordering::Relaxed)),
            tick: Tick(self.tick.load(Ordering::Relaxed)),
        }
    }
}
