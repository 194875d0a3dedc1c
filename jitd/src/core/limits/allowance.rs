//! A token bucket for each user.

use std::collections::BTreeMap;

use jit_proto::identity::UserId;
use jit_proto::time::{BootTime, micros};

/// With more users than this, users with a full bucket are removed.
const MAX_USERS: usize = 1024;

/// The rate of a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens of a full bucket; at least 1.
    pub burst: u32,
    /// Tokens added per minute; at least 1.
    pub per_minute: u32,
}

/// The bucket of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Tokens, times [`UNIT`]; negative after a charge that exceeded them.
    left: i64,
    since: BootTime,
}

/// The buckets of all users. Root has none: root can fill the disk without jitd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowances {
    users: BTreeMap<UserId, Allowance>,
}

impl Allowances {
    /// Takes a token of this user; false if there is none.
    #[must_use]
    pub fn take(&mut self, who: UserId, rate: Rate, now: BootTime) -> bool {
        if who.is_root() {
            return true;
        }
        if self.users.len() > MAX_USERS {
            self.users.retain(|_, allowance| !allowance.is_full(rate, now));
        }
        self.users.entry(who).or_insert_with(|| Allowance::full(rate, now)).take(rate, now)
    }
}

/// Microseconds per minute: a token is this many parts, and each microsecond adds `per_minute` parts.
const UNIT: i64 = 60_000_000;

impl Allowance {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: Rate, now: BootTime) -> Self {
        Self { left: capacity(rate), since: now }
    }

    /// Takes a token, if there is one.
    #[must_use]
    pub fn take(&mut self, rate: Rate, now: BootTime) -> bool {
        self.fill(rate, now);
        let is_left = self.left >= UNIT;
        if is_left {
            self.left -= UNIT;
        }
        is_left
    }

    /// Takes `count` more tokens for a call that turned out to be expensive, even if there are fewer: until the debt is
    /// paid, no token can be taken.
    pub fn charge(&mut self, count: u32, rate: Rate, now: BootTime) {
        self.fill(rate, now);
        self.left = self.left.saturating_sub(UNIT.saturating_mul(i64::from(count)));
    }

    /// Whether the bucket is full.
    #[must_use]
    pub fn is_full(&self, rate: Rate, now: BootTime) -> bool {
        let mut then = self.clone();
        then.fill(rate, now);
        then.left >= capacity(rate)
    }

    fn fill(&mut self, rate: Rate, now: BootTime) {
        let come = micros(now.since(self.since)).saturating_mul(u64::from(rate.per_minute));
        self.left = self.left.saturating_add_unsigned(come).min(capacity(rate));
        self.since = self.since.max(now);
    }
}

fn capacity(rate: Rate) -> i64 {
    i64::from(rate.burst) * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Microseconds per minute.
    const MINUTE: u64 = 60_000_000;

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_the_time_brings(
            burst in 1u32..50,
            per_minute in 1u32..600,
            steps in prop::collection::vec(0u64..5_000_000, 1..200),
        ) {
            let rate = Rate { burst, per_minute };
            let mut allowance = Allowance::full(rate, BootTime(0));
            let (mut now, mut taken) = (0, 0u64);
            for step in steps {
                now += step;
                taken += u64::from(allowance.take(rate, BootTime(now)));
                let capacity = u64::from(burst) + now * u64::from(per_minute) / MINUTE;
                prop_assert!(taken <= capacity, "{taken} of {capacity} at {now}");
            }
            prop_assert!(allowance.is_full(rate, BootTime(now + u64::from(burst) * MINUTE)));
        }
    }

    #[test]
    fn a_dear_one_is_paid_for_before_the_next() {
        let rate = Rate { burst: 10, per_minute: 60 };
        let mut allowance = Allowance::full(rate, BootTime(0));
        assert!(allowance.take(rate, BootTime(0)));
        allowance.charge(14, rate, BootTime(0));
        assert!(!allowance.take(rate, BootTime(MINUTE / 60 * 5)), "five seconds pay for five of the fifteen");
        assert!(allowance.take(rate, BootTime(MINUTE / 60 * 6)));
        assert!(!allowance.take(rate, BootTime(MINUTE / 60 * 6)));
    }
}
