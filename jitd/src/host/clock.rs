//! The only file that reads the clocks.
#![allow(clippy::disallowed_methods, reason = "the clocks are read here, and only here")]

use jit_proto::time::{BootId, BootTime, WallTime};
use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Now;

/// Reads both clocks.
#[derive(Debug, Clone)]
pub struct Clock {
    boot_id: BootId,
}

impl Clock {
    /// The clocks of this boot.
    ///
    /// # Errors
    /// When `/proc/sys/kernel/random/boot_id` cannot be read.
    pub fn of_this_boot() -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self { boot_id: BootId(boot_id.trim().to_owned()) })
    }

    /// The present time on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            wall: WallTime(micros_of(ClockId::Realtime)),
            boot: BootTime(micros_of(ClockId::Boottime)),
            boot_id: self.boot_id.clone(),
        }
    }
}

/// The boot clock, for durations within one boot.
#[must_use]
pub fn boot_now() -> BootTime {
    BootTime(micros_of(ClockId::Boottime))
}

/// `CLOCK_MONOTONIC`, by which PID 1 counts, and the time that the host was suspended since boot; in microseconds.
#[must_use]
pub fn monotonic_now() -> (u64, u64) {
    let now = micros_of(ClockId::Monotonic);
    (now, boot_now().0.saturating_sub(now))
}

/// Waits for a duration of the runtime's clock, which stops while the host is suspended: no decision depends on it.
pub async fn pause(span: std::time::Duration) {
    // An `interval` whose first tick is immediate, and not a `sleep`.
    let mut ticks = tokio::time::interval(span.max(std::time::Duration::from_millis(1)));
    ticks.tick().await;
    ticks.tick().await;
}

/// Waits for the duration in a channel, and starts over with each new one.
pub async fn pause_as_said(span: &mut tokio::sync::watch::Receiver<std::time::Duration>) {
    let now = *span.borrow_and_update();
    // If the sender is gone, the caller notices it elsewhere.
    let _ = tokio::time::timeout(now, span.changed()).await;
}

/// Days since 1970-01-01, as shadow(5) counts them.
#[must_use]
pub fn today() -> u64 {
    micros_of(ClockId::Realtime) / (24 * 3600 * 1_000_000)
}

fn micros_of(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1000)
}

/// Measures the processor time of a thread.
#[derive(Debug, Clone, Copy)]
pub struct CpuTime(BootTime);

impl CpuTime {
    /// Starts; to be read on the same thread.
    #[must_use]
    pub fn of_this_thread() -> Self {
        Self(BootTime(micros_of(ClockId::ThreadCPUTime)))
    }

    /// Processor time since the start.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        BootTime(micros_of(ClockId::ThreadCPUTime)).since(self.0)
    }
}

/// Measures a duration on the boot clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(BootTime);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(BootTime(micros_of(ClockId::Boottime)))
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        BootTime(micros_of(ClockId::Boottime)).since(self.0)
    }
}
