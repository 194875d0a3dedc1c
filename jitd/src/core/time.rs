//! Deadlines that hold on both clocks: the earlier one wins.

use std::time::Duration;

use jit_proto::time::{BootId, BootTime, WallTime, micros};
use serde::{Deserialize, Serialize};

/// The time at which an input is judged, on both clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_REALTIME`.
    pub wall: WallTime,
    /// `CLOCK_BOOTTIME`.
    pub boot: BootTime,
    /// The boot that `boot` counts from.
    pub boot_id: BootId,
}

/// An end that was fixed on both clocks at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// On the wall clock.
    pub wall: WallTime,
    /// On the boot clock.
    pub boot: BootTime,
    /// The boot that `boot` counts from.
    pub boot_id: BootId,
}

impl Deadline {
    /// The deadline that is `span` ahead.
    #[must_use]
    pub fn after(span: Duration, now: &Now) -> Self {
        Self { wall: now.wall.after(span), boot: now.boot.after(span), boot_id: now.boot_id.clone() }
    }

    /// Whether either clock has reached it. A deadline of another boot that was not rebased counts as reached.
    #[must_use]
    pub fn has_passed(&self, now: &Now) -> bool {
        self.remaining(now).is_zero()
    }

    /// Time left on the clock that gets there first.
    #[must_use]
    pub fn remaining(&self, now: &Now) -> Duration {
        if self.boot_id != now.boot_id {
            return Duration::ZERO;
        }
        self.wall.since(now.wall).min(self.boot.since(now.boot))
    }

    /// Rebases a deadline after a reboot, given the highest wall time seen before it. At least the time since boot has
    /// passed since then, whatever the wall clock says, so a clock set back never lengthens what is left.
    #[must_use]
    pub fn rebased(&self, highest_wall: WallTime, now: &Now) -> Self {
        if self.boot_id == now.boot_id {
            return self.clone();
        }
        let since_boot = Duration::from_micros(now.boot.0);
        let reached = now.wall.max(highest_wall.after(since_boot));
        let left = self.wall.since(reached);
        Self { wall: self.wall, boot: now.boot.after(left), boot_id: now.boot_id.clone() }
    }
}

/// A span in whole seconds, rounded down.
#[must_use]
pub fn seconds(span: Duration) -> u64 {
    micros(span) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(wall: u64, boot: u64, boot_id: &str) -> Now {
        Now { wall: WallTime(wall), boot: BootTime(boot), boot_id: BootId(boot_id.into()) }
    }

    #[test]
    fn the_earlier_clock_wins() {
        let deadline = Deadline::after(Duration::from_micros(100), &at(1000, 50, "a"));
        assert!(!deadline.has_passed(&at(1099, 149, "a")));
        assert!(deadline.has_passed(&at(1100, 60, "a")), "the wall clock stepped forward");
        assert!(deadline.has_passed(&at(0, 150, "a")), "the wall clock stepped back");
        assert!(deadline.has_passed(&at(1000, 50, "b")), "another boot, not rebased");
    }

    #[test]
    fn a_clock_set_back_at_boot_does_not_lengthen() {
        let deadline = Deadline::after(Duration::from_micros(100), &at(1000, 50, "a"));
        let after_boot = at(10, 5, "b");
        let rebased = deadline.rebased(WallTime(1060), &after_boot);
        assert_eq!(rebased.remaining(&after_boot), Duration::from_micros(35));
    }

    proptest! {
        #[test]
        fn what_is_left_never_grows_over_a_reboot(span in 0u64..1_000_000, gone in 0u64..1_000_000,
                wall in 0u64..4_000_000, boot in 0u64..1_000_000) {
            let start = at(2_000_000, 7, "a");
            let deadline = Deadline::after(Duration::from_micros(span), &start);
            let before = at(2_000_000 + gone, 7 + gone, "a");
            let after = at(wall, boot, "b");
            let rebased = deadline.rebased(before.wall, &after);
            prop_assert!(rebased.remaining(&after) <= deadline.remaining(&before));
        }
    }
}
