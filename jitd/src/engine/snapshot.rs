//! The state as readers see it, between two steps.

use std::sync::Arc;

use jit_proto::time::WallTime;

use crate::audit::cursor::Cursors;
use crate::core::ledger::Ledger;
use crate::core::policy::Policy;
use crate::core::time::Now;
use crate::store::{Sent, Store};

/// The state at one moment. Everything in it is committed.
pub struct Snapshot<'a> {
    /// Live requests, grants and sessions.
    pub ledger: &'a Ledger,
    /// The policy in force.
    pub policy: Option<&'a Arc<Policy>>,
    /// Closed requests and grants, and the audit log.
    pub store: &'a Store,
    /// The position of each sink.
    pub cursors: &'a Cursors,
    /// Why the store's files are not the open ones.
    pub lost_files: Option<&'a str>,
    /// When the daemon started.
    pub started_at: WallTime,
    /// The time.
    pub now: Now,
}

impl Snapshot<'_> {
    /// The number of the last record that every sink has. Later records have to stay in the store.
    #[must_use]
    pub fn handed(&self) -> u64 {
        let Sent { syslog, journal, json_lines } = self.cursors.sent();
        syslog.min(journal).min(json_lines)
    }

    /// The open problems of the audit log, as sentences.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.store.problems();
        problems.extend(self.lost_files.map(str::to_owned));
        problems
    }
}
