//! Lowers the scheduling priority of one thread.

use tracing::debug;

/// Sets the nice value of the calling thread alone (setpriority(2), "C library/kernel differences").
pub(crate) fn lower_priority(nice: i32) {
    if let Err(problem) = rustix::process::setpriority_process(None, nice) {
        debug!("a thread keeps the daemon's own priority: {problem}");
    }
}
