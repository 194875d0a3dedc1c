//! A heartbeat: it tells a silent host from one whose copies no longer arrive.
//!
//! A heartbeat is not a record, so it does not lengthen the chain. It names the last record, so that a copy off the
//! host that ends before that record is seen to have lost its tail.

use std::time::Duration;

use jit_proto::audit::hash::RecordHash;
use jit_proto::time::WallTime;

/// The content of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it was made.
    pub at: WallTime,
    /// The number of the last record.
    pub seq: u64,
    /// The hash of that record.
    pub hash: RecordHash,
    /// Live grants.
    pub grants: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Version of the daemon, and SHA-256 of its program file in hex.
    pub daemon: String,
    /// SHA-256 of the policy in force, in hex; empty if none is.
    pub policy: String,
    /// From this heartbeat to the next.
    pub every: Duration,
}

impl Heartbeat {
    /// Its facts, by name.
    pub(super) fn facts(&self) -> [(&'static str, String); 8] {
        [
            ("seq", self.seq.to_string()),
            ("hash", self.hash.to_string()),
            ("time", self.at.to_rfc3339()),
            ("grants", self.grants.to_string()),
            ("sessions", self.sessions.to_string()),
            ("daemon", self.daemon.clone()),
            ("policy", self.policy.clone()),
            ("every", self.every.as_secs().to_string()),
        ]
    }

    /// One sentence for people.
    pub(super) fn text(&self) -> String {
        format!("alive, {} records, {} grants, {} sessions", self.seq, self.grants, self.sessions)
    }
}
