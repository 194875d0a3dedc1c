//! Samples the activity of a session: its terminal's access time, and the processor time of its scope.
//!
//! The kernel updates a terminal's access time when a process reads from it, in steps of eight seconds, so that
//! keystrokes cannot be timed (Linux, drivers/tty/tty_io.c, `tty_update_time`).

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::session::idle::{Idleness, Look, Verdict};
use crate::host::clock::boot_now;
use crate::host::terminal;

/// The activity of one session.
#[derive(Debug)]
pub(super) struct Activity {
    limit: Duration,
    terminal: Option<PathBuf>,
    idleness: Idleness,
}

impl Activity {
    /// Starts to sample. `cpu` is the processor time used so far.
    pub(super) fn new(limit: Duration, tty: &str, cpu: Option<Duration>) -> Self {
        let terminal = terminal::path(tty);
        let first = look_at(terminal.as_ref(), cpu);
        Self { limit, terminal, idleness: Idleness::new(limit, first) }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn look(&mut self, cpu: Option<Duration>) -> Verdict {
        self.idleness.take(look_at(self.terminal.as_ref(), cpu))
    }

    /// The delay until the next sample.
    pub(super) fn next(&self) -> Duration {
        self.idleness.next()
    }
}

fn look_at(terminal: Option<&PathBuf>, cpu: Option<Duration>) -> Look {
    let input = terminal.and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.atime());
    Look { at: boot_now(), input, cpu }
}
