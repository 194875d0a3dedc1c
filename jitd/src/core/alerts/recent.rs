//! How often something happened within the last hour, in twelve numbers.

use jit_proto::time::BootTime;

const SLOTS: usize = 12;
const SLOT_MICROS: u64 = 300 * 1_000_000;

/// Counts per five minutes, so that memory does not grow with the number of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RecentTimes {
    /// The newest span of five minutes, by its number since boot.
    newest: u64,
    /// Counts, by the number of the span modulo their number.
    counts: [u32; SLOTS],
}

impl RecentTimes {
    /// Counts one event, and returns the number of events within the last hour, or up to five minutes less.
    pub(super) fn count(&mut self, at: BootTime) -> u32 {
        let slot = at.0 / SLOT_MICROS;
        let gone = slot.saturating_sub(self.newest);
        for passed in 1..=gone.min(SLOTS as u64) {
            self.counts[index(self.newest + passed)] = 0;
        }
        self.newest = self.newest.max(slot);
        let count = &mut self.counts[index(self.newest)];
        *count = count.saturating_add(1);
        self.counts.iter().fold(0, |sum: u32, count| sum.saturating_add(*count))
    }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_count_is_of_the_last_hour(steps in prop::collection::vec(0u64..1_200, 1..60)) {
            let mut recent_times = RecentTimes::default();
            let mut times = Vec::new();
            let mut now = 0;
            for step in steps {
                now += step;
                times.push(now);
                let counted = recent_times.count(BootTime(now * 1_000_000)) as usize;
                let within = |span: u64| times.iter().filter(|at| now - **at < span).count();
                prop_assert!(counted >= within(55 * 60) && counted <= within(60 * 60), "{counted} at {now}");
            }
        }
    }
}
