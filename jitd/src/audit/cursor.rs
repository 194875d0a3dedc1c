//! How far each sink has got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jit_proto::time::BootTime;

use crate::store::Sent;

/// How far a sink has got.
#[derive(Debug, Default)]
pub struct Reached {
    seq: AtomicU64,
    /// Microseconds of the boot clock; 0 if nothing waits.
    waiting_since: AtomicU64,
}

impl Reached {
    /// A sink that has taken everything up to here.
    #[must_use]
    pub fn at(seq: u64) -> Self {
        Self { seq: AtomicU64::new(seq), ..Self::default() }
    }

    /// The last record that was taken.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// Everything up to this record was taken.
    pub(super) fn advance(&self, seq: u64) {
        self.seq.store(seq, Ordering::Relaxed);
    }

    /// Nothing waits.
    pub(super) fn waits_for_nothing(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Nothing was taken since then.
    pub(super) fn waits_since(&self, since: BootTime) {
        self.waiting_since.store(since.0.max(1), Ordering::Relaxed);
    }

    /// When the oldest record was written that it has not taken, while it takes none.
    #[must_use]
    pub fn waiting_since(&self) -> Option<BootTime> {
        Some(self.waiting_since.load(Ordering::Relaxed)).filter(|since| *since > 0).map(BootTime)
    }
}

/// How far each sink has got.
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
    /// Sinks that have got so far.
    #[must_use]
    pub fn at(sent: Sent) -> Self {
        let Sent { syslog, journal, json_lines } = sent;
        let at = |seq| Arc::new(Reached::at(seq));
        Self { syslog: at(syslog), journal: at(journal), json_lines: at(json_lines) }
    }

    /// How far each sink has got, to be kept.
    #[must_use]
    pub fn sent(&self) -> Sent {
        let Self { syslog, journal, json_lines } = self;
        Sent { syslog: syslog.seq(), journal: journal.seq(), json_lines: json_lines.seq() }
    }
}
