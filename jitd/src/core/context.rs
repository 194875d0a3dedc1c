//! What is known at the moment of an input beside the input and the time. The daemon gathers it; no rule plants it.

use std::time::Duration;

/// What is known when an input is judged. What later rules need of a caller (the age of a second factor, the remote host,
/// the terminal) is gathered here too, and so reaches each rule beside `now`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// How long the oldest record waits that the local syslog daemon does not take; `None` while it takes each one.
    pub oldest_unforwarded: Option<Duration>,
}
