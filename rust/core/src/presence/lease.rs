//! Leases: how long a session counts that stands for somebody elsewhere.

use crate::time::Tick;

/// What the person does with the app. Only life-cycle calls set it, traffic never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activity {
    /// Looked at.
    #[default]
    Foreground,
    /// Running, not looked at.
    Background,
    /// Not running.
    Suspended,
}

/// The lease of a session whose host stands for a remote client. A session without one lives as long as its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    lease_ms: u64,
    renewed: Tick,
    /// What the person does: it decides how long a lease may be.
    pub activity: Activity,
}

/// The longest a lease lasts in foreground.
const FOREGROUND_MS: u64 = 90_000;
/// The longest it lasts otherwise.
const BACKGROUND_MS: u64 = 15 * 60_000;

impl Lease {
    /// A lease of so many milliseconds, whatever more the bounds leave of it.
    pub const fn new(lease_ms: u64, now: Tick) -> Self {
        Lease { lease_ms, renewed: now, activity: Activity::Foreground }
    }

    /// A sign of life.
    pub const fn renew(&mut self, now: Tick) {
        self.renewed = now;
    }

    /// When it runs out.
    pub fn deadline(&self) -> Tick {
        let bound = match self.activity {
            Activity::Foreground => FOREGROUND_MS,
            Activity::Background | Activity::Suspended => BACKGROUND_MS,
        };
        self.renewed.after(self.lease_ms.min(bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // behaviour: presence.lease-bounds
    #[test]
    fn a_lease_is_held_to_the_bounds() {
        let mut lease = Lease::new(u64::MAX, Tick(1_000));
        assert_eq!(lease.deadline(), Tick(91_000));
        lease.activity = Activity::Background;
        assert_eq!(lease.deadline(), Tick(901_000));
        lease.renew(Tick(2_000));
        assert_eq!(lease.deadline(), Tick(902_000));
        assert_eq!(Lease::new(5_000, Tick(0)).deadline(), Tick(5_000));
    }
}
