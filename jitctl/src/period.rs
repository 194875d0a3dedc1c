//! The period of a search, an export or a report: its two bounds.

use jit_proto::bus::names::error;
use jit_proto::time::WallTime;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Refuses bounds that contain nothing, and reports if they are in the future.
pub(crate) fn check_bounds(
    since: Option<WallTime>,
    until: Option<WallTime>,
    now: WallTime,
    output: &Output,
) -> Result<(), Failure> {
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        let (since, until) = (since.to_local(), until.to_local());
        let message = format!("--since ({since}) is not before --until ({until})");
        return Err(Failure::new(Exit::Usage, error::INVALID_ARGUMENT, &message));
    }
    if let Some(since) = since.filter(|since| *since > now) {
        output.talk(&format!("--since ({}) lies in the future", since.to_local()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_hold_nothing_are_refused() {
        let output = Output::new(true);
        let check =
            |since, until| check_bounds(Some(WallTime(since)), Some(WallTime(until)), WallTime(9), &output);
        assert!(check(1, 2).is_ok());
        for (since, until) in [(2, 2), (3, 2)] {
            let failure = check(since, until).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains("is not before --until"), "{failure}");
        }
    }
}
