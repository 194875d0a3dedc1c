//! The only file of jitctl that reads the wall clock, for times relative to now.

use jit_proto::time::{WallTime, micros, parse_moment};

/// Now.
#[allow(clippy::disallowed_methods, reason = "the clock is read here and nowhere else")]
pub(crate) fn now() -> WallTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    WallTime(since_epoch.map_or(0, micros))
}

/// A time from the command line.
pub(crate) fn moment(text: &str) -> Result<WallTime, String> {
    parse_moment(text, now())
}
