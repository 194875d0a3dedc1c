//! The progress of each sink, as the rest of the daemon sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jit_proto::time::BootTime;

use crate::store::Sent;

/// The progress of one sink.
#[derive(Debug, Default)]
pub struct Reached {
    seq: AtomicU64,
    /// Microseconds of the boot clock; 0 if no record waits for a failing sink.
    waiting_since: AtomicU64,
}

impl Reached {
    /// A sink that has taken every record up to this one.
    #[must_use]
    pub fn at(seq: u64) -> Self {
        Self { seq: AtomicU64::new(seq), ..Self::default() }
    }

    /// The last record that the sink has taken, and all before it.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// The sink's progress: the last record that was taken, and since when the next one waits for a sink that fails.
    pub(super) fn publish(&self, seq: u64, waiting_since: Option<BootTime>) {
        self.seq.store(seq, Ordering::Relaxed);
        self.waiting_since.store(waiting_since.map_or(0, |since| since.0.max(1)), Ordering::Relaxed);
    }

    /// The oldest record that the sink has not taken waits since then.
    pub(super) fn waits_since(&self, since: BootTime) {
        self.waiting_since.store(since.0.max(1), Ordering::Relaxed);
    }

    /// While the sink fails: when the oldest record was written that it has not taken.
    #[must_use]
    pub fn waiting_since(&self) -> Option<BootTime> {
        Some(self.waiting_since.load(Ordering::Relaxed)).filter(|since| *since > 0).map(BootTime)
    }
}

/// The progress of all sinks.
#[derive(Debug, Clone)]
pub struct Cursors {
    /// The local syslog socket.
    pub syslog: Arc<Reached>,
    /// The journal.
    pub journal: Arc<Reached>,
    /// The file of JSON lines.
    pub json_lines: Arc<Reached>,
}

impl Cursors {
    /// Sinks that have taken the records up to these numbers.
    #[must_use]
    pub fn at(sent: Sent) -> Self {
        let Sent { syslog, journal, json_lines } = sent;
        let at = |seq| Arc::new(Reached::at(seq));
        Self { syslog: at(syslog), journal: at(journal), json_lines: at(json_lines) }
    }

    /// The last record that each sink has taken, for the store.
    #[must_use]
    pub fn sent(&self) -> Sent {
        let Self { syslog, journal, json_lines } = self;
        Sent { syslog: syslog.seq(), journal: journal.seq(), json_lines: json_lines.seq() }
    }
}
