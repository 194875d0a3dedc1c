//! Whether a session is idle: nobody types, and its processes do not run.

use std::time::Duration;

use jit_proto::time::BootTime;

/// Processor time between two samples up to which a session counts as idle: the noise of a waiting prompt.
const NOISE: Duration = Duration::from_millis(20);
/// The warning comes this long before the end.
const WARNING: Duration = Duration::from_secs(60);

/// A sample of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Time of the sample, on the boot clock.
    pub at: BootTime,
    /// Time of the last read from its terminal; only changes matter, so any clock will do. `None` without a terminal.
    pub input: Option<i64>,
    /// Processor time of all its processes so far; `None` if unknown, which counts as activity.
    pub cpu: Option<Duration>,
}

/// The result of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing.
    Go,
    /// Warn: the session ends in this long unless there is activity.
    Warn(Duration),
    /// End the session.
    End,
}

/// How long a session has been idle.
#[derive(Debug)]
pub struct Idleness {
    limit: Duration,
    active: BootTime,
    last: Look,
    warned: bool,
}

impl Idleness {
    /// Starts with the first sample.
    #[must_use]
    pub fn new(limit: Duration, first: Look) -> Self {
        Self { limit, active: first.at, last: first, warned: false }
    }

    /// Adds a sample.
    pub fn take(&mut self, look: Look) -> Verdict {
        let typed = look.input != self.last.input;
        let ran = match (self.last.cpu, look.cpu) {
            (Some(before), Some(now)) => now.saturating_sub(before) >= NOISE || now < before,
            _ => true,
        };
        self.last = look;
        if typed || ran {
            self.active = look.at;
            self.warned = false;
            return Verdict::Go;
        }
        let idle = look.at.since(self.active);
        if idle >= self.limit {
            return Verdict::End;
        }
        if idle >= self.warns_at() && !self.warned {
            self.warned = true;
            return Verdict::Warn(self.limit - idle);
        }
        Verdict::Go
    }

    /// The time until the next sample: an eighth of the limit, one minute at most.
    #[must_use]
    pub fn next(&self) -> Duration {
        let step = (self.limit / 8).min(Duration::from_secs(60));
        let idle = self.last.at.since(self.active);
        let ahead = [self.warns_at(), self.limit].into_iter().filter_map(|at| at.checked_sub(idle));
        ahead.filter(|left| !left.is_zero()).min().map_or(step, |left| left.min(step))
    }

    fn warns_at(&self) -> Duration {
        self.limit - WARNING.min(self.limit / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(800);

    fn look(seconds: u64, input: i64, cpu_ms: u64) -> Look {
        Look {
            at: BootTime(seconds * 1_000_000),
            input: Some(input),
            cpu: Some(Duration::from_millis(cpu_ms)),
        }
    }

    #[test]
    fn a_prompt_that_waits_is_warned_and_then_ended() {
        let mut idle = Idleness::new(LIMIT, look(0, 7, 5));
        assert_eq!(idle.take(look(400, 7, 6)), Verdict::Go);
        assert_eq!(idle.take(look(740, 7, 7)), Verdict::Warn(Duration::from_secs(60)));
        assert_eq!(idle.take(look(750, 7, 7)), Verdict::Go);
        assert_eq!(idle.next(), Duration::from_secs(50));
        assert_eq!(idle.take(look(800, 7, 8)), Verdict::End);
    }

    #[test]
    fn typing_and_running_begin_the_count_anew() {
        let mut idle = Idleness::new(LIMIT, look(0, 7, 0));
        assert_eq!(idle.take(look(790, 8, 0)), Verdict::Go, "typed");
        assert_eq!(idle.take(look(1580, 8, 500)), Verdict::Go, "compiled something");
        assert_eq!(idle.take(look(2370, 8, 510)), Verdict::Warn(Duration::from_secs(10)));
        assert_eq!(idle.take(look(2379, 9, 510)), Verdict::Go, "typed at the warning");
        assert_eq!(idle.take(look(3178, 9, 510)), Verdict::Warn(Duration::from_secs(1)));
    }

    #[test]
    fn what_cannot_be_told_counts_as_running() {
        let mut idle = Idleness::new(LIMIT, look(0, 7, 0));
        assert_eq!(idle.take(Look { cpu: None, ..look(900, 7, 0) }), Verdict::Go);
        assert_eq!(idle.take(Look { input: None, ..look(901, 7, 0) }), Verdict::Go, "the terminal went away");
    }
}
