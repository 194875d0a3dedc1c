//! Facts that hold at the moment of an input, gathered by the daemon.

use std::time::Duration;

/// Facts that hold when an input is judged. Facts about a caller that later rules need (the age of a second factor, the
/// remote host, the terminal) belong here, and reach each rule beside `now`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// How long the oldest record has waited for the local syslog daemon; `None` if none waits.
    pub oldest_unforwarded: Option<Duration>,
}
