//! A rate limit that counts what it holds back.

use std::time::Duration;

use jit_proto::time::BootTime;

/// Passes at most a number of events within each span.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    most: u32,
    span: Duration,
    began: BootTime,
    passed: u32,
    held_back: u64,
}

impl Limit {
    pub(super) fn of(most: u32, span: Duration, now: BootTime) -> Self {
        Self { most, span, began: now, passed: 0, held_back: 0 }
    }

    /// `Some` if one more may pass, with the number of events held back since the last that passed.
    pub(super) fn pass(&mut self, now: BootTime) -> Option<u64> {
        if now.since(self.began) >= self.span {
            (self.began, self.passed) = (now, 0);
        }
        if self.passed >= self.most {
            self.held_back += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held_back))
    }

    /// Whether a new limit in its place would behave the same.
    pub(super) fn is_idle(&self, now: BootTime) -> bool {
        self.held_back == 0 && now.since(self.began) >= self.span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_and_said_with_the_next() {
        let at = |seconds: u64| BootTime(seconds * 1_000_000);
        let mut limit = Limit::of(2, Duration::from_secs(10), at(0));
        assert_eq!([0, 1, 2, 9].map(|second| limit.pass(at(second))), [Some(0), Some(0), None, None]);
        assert!(!limit.is_idle(at(30)));
        assert_eq!(limit.pass(at(10)), Some(2));
        assert_eq!(limit.pass(at(11)), Some(0));
        assert!(!limit.is_idle(at(12)) && limit.is_idle(at(20)));
    }
}
