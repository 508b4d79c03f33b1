//! When an account was last there, as precisely as it lets its watchers know.

use crate::time::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// What an account lets those know who see its presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LastSeenPrecision {
    /// The time.
    Exact,
    /// Roughly how long ago.
    #[default]
    Rough,
    /// Nothing.
    Nothing,
}

/// When an account was last there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// It is now.
    Online,
    /// Then.
    At(Timestamp),
    /// Within the last three days.
    Recently,
    /// Within the last seven days.
    WithinWeek,
    /// Within the last thirty days.
    WithinMonth,
    /// Before that.
    LongAgo,
}

impl LastSeenPrecision {
    /// What is said of an account that was last there `at`; `None` when nothing is known, or to be known.
    pub fn say(self, at: Timestamp, now: Timestamp) -> Option<LastSeen> {
        let never = at == Timestamp::default();
        match self {
            _ if never => None,
            LastSeenPrecision::Nothing => None,
            LastSeenPrecision::Exact => Some(LastSeen::At(at)),
            LastSeenPrecision::Rough => Some(match now.0.saturating_sub(at.0) {
                ago if ago <= 3 * DAY_MS => LastSeen::Recently,
                ago if ago <= 7 * DAY_MS => LastSeen::WithinWeek,
                ago if ago <= 30 * DAY_MS => LastSeen::WithinMonth,
                _ => LastSeen::LongAgo,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // behaviour: last-seen.precision
    #[test]
    fn roughly_is_days_weeks_or_months_and_nothing_is_nothing() {
        let at = Timestamp(1_700_000_000_000);
        let after = |days: i64, millis: i64| Timestamp(at.0 + days * DAY_MS + millis);
        let rough = |now| LastSeenPrecision::Rough.say(at, now);
        for (now, expected) in [
            (after(0, -5), LastSeen::Recently),
            (after(3, 0), LastSeen::Recently),
            (after(3, 1), LastSeen::WithinWeek),
            (after(7, 0), LastSeen::WithinWeek),
            (after(7, 1), LastSeen::WithinMonth),
            (after(30, 0), LastSeen::WithinMonth),
            (after(30, 1), LastSeen::LongAgo),
        ] {
            assert_eq!(rough(now), Some(expected), "{now:?}");
            assert_eq!(LastSeenPrecision::Exact.say(at, now), Some(LastSeen::At(at)));
            assert_eq!(LastSeenPrecision::Nothing.say(at, now), None);
            assert_eq!(LastSeenPrecision::Exact.say(Timestamp::default(), now), None);
        }
    }
}
