//! The only file of the harness that reads a clock and that waits where there is no event to wait for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// The interval of [`wait_until`].
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A time after which something counts as hung.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The time `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// The time until then; `None` once it has passed.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(now()).filter(|left| !left.is_zero())
    }
}

/// `CLOCK_MONOTONIC`.
#[allow(clippy::disallowed_methods, reason = "the harness measures real hosts with the real clock")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Microseconds since the epoch, as the daemon counts them.
#[allow(clippy::disallowed_methods, reason = "compared with the deadlines that the daemon names")]
#[must_use]
pub fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Polls until a condition holds, for states of a host that have no event. What has an event (a pipe that closes, a
/// line that is printed, a process that exits) is waited for by that event.
///
/// # Errors
/// When it does not hold within the limit, or is unknown.
#[allow(clippy::disallowed_methods, reason = "the one bounded wait; see above")]
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Deadline::after(limit);
    loop {
        if holds()? {
            return Ok(());
        }
        if deadline.left().is_none() {
            bail!("waited {limit:?} in vain: {what}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Pauses between two measurements, so that the work that one leaves is not counted to the next.
#[allow(clippy::disallowed_methods, reason = "a pause in a measurement, not a wait for something")]
pub fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
