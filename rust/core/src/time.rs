//! Two clocks, apart: wall time is for people and expiry, monotonic time is for leases and deadlines.

/// A moment of wall time, in milliseconds since 1970-01-01 UTC. It may jump in either direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

/// A moment of monotonic time, in milliseconds since the engine's clock began. It counts while the machine
/// sleeps (boot time), so a lease ends on time after a nap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// `millis` later.
    pub const fn after(self, millis: u64) -> Tick {
        Tick(self.0.saturating_add(millis))
    }
}

/// Both clocks, read once at the start of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Wall time.
    pub wall: Timestamp,
    /// Monotonic time.
    pub tick: Tick,
}
