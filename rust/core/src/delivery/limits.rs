//! Limits: sizes, rates and counts, checked when a send is accepted.

use crate::delivery::unclaimed::Unclaimed;
use crate::id::AddressId;
use crate::refusal::Refusal;
use crate::time::Tick;

/// The limits of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes of content.
    pub message_bytes: usize,
    /// Messages an account may send.
    pub sends: Rate,
    /// Buddy requests an account may send.
    pub requests: Rate,
    /// Buddy requests that may wait for an account's answer: whoever asks beyond them is not heard.
    pub unanswered_requests: usize,
    /// Unclaimed messages an account may have.
    pub unclaimed: Quota,
    /// Unclaimed messages an account may have from one sender.
    pub unclaimed_from_one: Quota,
}

/// A rate, as a bucket of tokens that refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many a minute, after that.
    pub per_minute: u32,
}

/// A count and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub count: usize,
    /// How many bytes of content.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes: 64 * 1024,
            sends: Rate { burst: 2_000, per_minute: 6_000 },
            requests: Rate { burst: 200, per_minute: 60 },
            unanswered_requests: 1_000,
            unclaimed: Quota { count: 10_000, bytes: 64 << 20 },
            unclaimed_from_one: Quota { count: 2_000, bytes: 16 << 20 },
        }
    }
}

impl Limits {
    /// Whether a message may be so large.
    pub fn check_message(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.message_bytes {
            let what = format!("the message has {bytes} bytes, and at most {} are taken", self.message_bytes);
            return Err(Refusal::limit(what));
        }
        Ok(())
    }

    /// Whether an account may get one more unclaimed message.
    pub fn check_unclaimed(
        &self,
        unclaimed: &Unclaimed,
        sender: AddressId,
        size: usize,
    ) -> Result<(), Refusal> {
        let over = |quota: Quota, (count, bytes): (usize, u64)| {
            count >= quota.count || bytes + size as u64 > quota.bytes
        };
        let total = unclaimed.total();
        // Counting one sender's rows is only worth it when there are enough for the answer to be yes.
        let may_be_too_many_from_one = over(self.unclaimed_from_one, total);
        if over(self.unclaimed, total)
            || may_be_too_many_from_one && over(self.unclaimed_from_one, unclaimed.total_from(sender))
        {
            return Err(Refusal::limit("the recipient has too many messages waiting"));
        }
        Ok(())
    }
}

/// A bucket of tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Tokens, in 1/60,000: a rate a minute refills in milliseconds without rounding.
    level: u64,
    filled: Tick,
}

const TOKEN: u64 = 60_000;

impl TokenBucket {
    /// A full one.
    pub const fn full(rate: &Rate, now: Tick) -> Self {
        TokenBucket { level: rate.burst as u64 * TOKEN, filled: now }
    }

    /// Takes a token, or says when there will be one. `what` is counted, in the plural.
    pub fn take(&mut self, rate: &Rate, now: Tick, what: &str) -> Result<(), Refusal> {
        let passed = now.0.saturating_sub(self.filled.0);
        let capacity = u64::from(rate.burst) * TOKEN;
        self.level =
            capacity.min(self.level.saturating_add(passed.saturating_mul(u64::from(rate.per_minute))));
        self.filled = now;
        match self.level.checked_sub(TOKEN) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => Err(Refusal::LimitExceeded {
                what: format!("at most {} {what} at once and {} a minute", rate.burst, rate.per_minute),
                // Waiting fills neither a bucket without a rate nor one without room for a token.
                retry_after_ms: (rate.burst > 0 && rate.per_minute > 0)
                    .then(|| (TOKEN - self.level).div_ceil(u64::from(rate.per_minute))),
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::id::Position;
    use proptest::prelude::*;

    // behaviour: delivery.rate-limit
    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_says_when() {
        let rate = Rate { burst: 3, per_minute: 60 };
        let mut bucket = TokenBucket::full(&rate, Tick(0));
        for _ in 0..3 {
            bucket.take(&rate, Tick(0), "messages").unwrap();
        }
        let Err(Refusal::LimitExceeded { retry_after_ms: Some(wait), .. }) =
            bucket.take(&rate, Tick(0), "messages")
        else {
            panic!("a fourth passed");
        };
        assert!(bucket.take(&rate, Tick(wait - 1), "messages").is_err());
        bucket.take(&rate, Tick(wait), "messages").unwrap();
        assert!(bucket.take(&rate, Tick(wait), "messages").is_err());
        // A long rest refills it, and no further than it is large.
        for _ in 0..3 {
            bucket.take(&rate, Tick(1_000_000), "messages").unwrap();
        }
        assert!(bucket.take(&rate, Tick(1_000_000), "messages").is_err());
    }

    proptest! {
        // behaviour: delivery.rate-limit, delivery.rate
        #[test]
        fn a_bucket_gives_a_token_when_it_said_and_not_before(
            burst in 1u32..5,
            per_minute in prop_oneof![1u32..100, 1_000u32..100_000],
            pauses in proptest::collection::vec(0u64..20, 1..40),
        ) {
            let rate = Rate { burst, per_minute };
            let mut now = Tick(0);
            let mut bucket = TokenBucket::full(&rate, now);
            for pause in pauses {
                now = now.after(pause);
                if let Err(refusal) = bucket.take(&rate, now, "messages") {
                    let Refusal::LimitExceeded { retry_after_ms: Some(wait), .. } = refusal else {
                        panic!("it does not say when: {refusal:?}");
                    };
                    let (mut early, mut on_time) = (bucket, bucket);
                    prop_assert!(early.take(&rate, now.after(wait - 1), "messages").is_err());
                    prop_assert!(on_time.take(&rate, now.after(wait), "messages").is_ok());
                }
            }
        }
    }

    // behaviour: delivery.rate-limit
    #[test]
    fn a_bucket_that_never_fills_does_not_say_when() {
        for rate in [Rate { burst: 0, per_minute: 60 }, Rate { burst: 1, per_minute: 0 }] {
            let mut bucket = TokenBucket::full(&rate, Tick(0));
            for _ in 0..rate.burst {
                bucket.take(&rate, Tick(0), "messages").unwrap();
            }
            for now in [Tick(0), Tick(1_000_000)] {
                assert!(matches!(
                    bucket.take(&rate, now, "messages"),
                    Err(Refusal::LimitExceeded { retry_after_ms: None, .. })
                ));
            }
        }
    }

    // behaviour: delivery.size-limit
    #[test]
    fn a_message_is_at_most_64_kib() {
        let limits = Limits::default();
        limits.check_message(65_536).unwrap();
        assert!(matches!(
            limits.check_message(65_537),
            Err(Refusal::LimitExceeded { retry_after_ms: None, .. })
        ));
    }

    // behaviour: delivery.unclaimed-limit
    #[test]
    fn unclaimed_messages_are_counted_for_the_account_and_for_each_sender() {
        let (a, b, c) = (AddressId::from_bits(1), AddressId::from_bits(2), AddressId::from_bits(3));
        let limits = Limits {
            unclaimed: Quota { count: 5, bytes: 100 },
            unclaimed_from_one: Quota { count: 3, bytes: 60 },
            ..Limits::default()
        };
        let mut unclaimed = Unclaimed::default();
        for position in 1..=3 {
            limits.check_unclaimed(&unclaimed, a, 10).unwrap();
            unclaimed.insert(Position(position), a, 10);
        }
        assert!(limits.check_unclaimed(&unclaimed, a, 10).is_err(), "a fourth from one");
        limits.check_unclaimed(&unclaimed, b, 60).unwrap();
        assert!(limits.check_unclaimed(&unclaimed, b, 61).is_err(), "too many bytes from one");
        unclaimed.insert(Position(4), b, 60);
        assert!(limits.check_unclaimed(&unclaimed, c, 11).is_err(), "too many bytes in all");
        unclaimed.insert(Position(5), c, 0);
        assert!(limits.check_unclaimed(&unclaimed, c, 0).is_err(), "a sixth in all");
    }
}
