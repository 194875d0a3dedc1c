//! When a change of the wall clock, at once or in small steps, is recorded.

/// A shift of the wall clock by this many microseconds or more is recorded.
const MIN_RECORDED_SHIFT: i64 = 1_000_000;

/// How far the wall clock was ahead of the boot clock, in microseconds, when a shift was last recorded.
///
/// Only setting the wall clock changes the difference of `CLOCK_REALTIME` and `CLOCK_BOOTTIME`: a clock that is slewed
/// (adjtimex(2)) runs faster or slower on both. Small steps are added up, and none is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    recorded: i64,
}

impl ClockOffset {
    /// The offset at the start.
    #[must_use]
    pub fn starting_at(micros: i64) -> Self {
        Self { recorded: micros }
    }

    /// Takes the present offset. Returns the shift since the last recorded one, in microseconds, positive if forward,
    /// if it is large enough for a record; it then counts as recorded.
    #[must_use]
    pub fn set_to(&mut self, micros: i64) -> Option<i64> {
        let shift = micros.saturating_sub(self.recorded);
        let recorded = shift.unsigned_abs() >= MIN_RECORDED_SHIFT.unsigned_abs();
        if recorded {
            self.recorded = micros;
        }
        recorded.then_some(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_in_steps_below_a_second_is_recorded() {
        let mut offset = ClockOffset::starting_at(0);
        let shifts: Vec<i64> = (1..=4000).filter_map(|step| offset.set_to(step * -900_000)).collect();
        assert_eq!(shifts.iter().sum::<i64>(), -3_600_000_000);
        assert!(shifts.len() > 1000, "{}", shifts.len());
    }

    proptest! {
        #[test]
        fn what_is_not_recorded_of_all_steps_is_less_than_a_second(
            steps in prop::collection::vec(-7_200_000_000_i64..7_200_000_000, 0..64),
        ) {
            let mut offset = ClockOffset::starting_at(17);
            let (mut at, mut recorded) = (17, 0);
            for step in steps {
                at += step;
                recorded += offset.set_to(at).unwrap_or(0);
                prop_assert!((at - 17 - recorded).abs() < MIN_RECORDED_SHIFT);
            }
        }
    }
}
