//! Locks, condition variables, atomics and threads: the standard ones, or `shuttle`'s when its scheduler tests us.
//!
//! Whatever one thread can see of another goes through here, or the scheduler does not see it. `shuttle` has no time:
//! there a wait with a time-out ends when somebody notifies, and never otherwise.
//!
//! A poisoned lock is taken as it is: what is behind our locks is consistent between statements, and a panic that
//! was caught at a boundary must not turn every later call into another one.

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread, thread_local,
};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread, thread_local,
};

use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Takes the lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, or until the time is over.
pub(crate) fn wait_for<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
}

/// The longest that anybody waits at once; a longer time would not fit into an instant.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// When a wait of this length is over.
pub(crate) fn until(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_ever_is_a_wait() {
        assert!(until(Duration::MAX) > Instant::now());
    }
}
