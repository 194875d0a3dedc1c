//! The sign of life: what stands in the way of silence passing for peace.
//!
//! It is no record: silence is to cost the chain nothing. It names the last record, so that a copy off the host that ends
//! before that is seen to have lost its tail.

use std::sync::Arc;
use std::time::Duration;

use jit_proto::audit::hash::RecordHash;
use jit_proto::time::WallTime;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::warn;

use super::ToSink;
use crate::engine::{Handle, Inside};
use crate::host::clock::pause_as_said;

/// What a sign of life says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When.
    pub at: WallTime,
    /// The last record.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: RecordHash,
    /// Live grants.
    pub grants: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Version of the daemon, and SHA-256 of its program file in hex.
    pub daemon: String,
    /// SHA-256 of the policy in force, in hex; empty if none is.
    pub policy: String,
    /// The next one comes after this.
    pub every: Duration,
}

impl Heartbeat {
    fn now(inside: &Inside<'_>, daemon: &str, every: Duration) -> Self {
        let head = inside.store.head();
        Self {
            at: inside.now.wall,
            seq: head.seq,
            hash: head.hash,
            grants: inside.ledger.grants.len(),
            sessions: inside.ledger.sessions.len(),
            daemon: daemon.to_owned(),
            policy: inside.policy.map_or(String::new(), |policy| policy.digest.clone()),
            every,
        }
    }

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

/// Has the sinks told at the interval that the policy in force says, for as long as the engine runs.
pub async fn beat(engine: Handle, mut interval: watch::Receiver<Duration>) {
    let daemon = tokio::task::spawn_blocking(own_digest).await.unwrap_or_default();
    let daemon = format!("{} {daemon}", env!("CARGO_PKG_VERSION"));
    loop {
        let (daemon, every) = (daemon.clone(), *interval.borrow());
        let told = engine.look(move |inside| {
            inside.sinks.tell(&ToSink::Beat(Arc::new(Heartbeat::now(inside, &daemon, every))));
        });
        if told.await.is_err() {
            return;
        }
        pause_as_said(&mut interval).await;
    }
}

/// SHA-256 of the program that runs, in hex; what a package manager can be asked about.
fn own_digest() -> String {
    match std::fs::read("/proc/self/exe") {
        Ok(program) => hex::encode(Sha256::digest(program)),
        Err(error) => {
            warn!("the daemon's own program cannot be read: {error}");
            String::new()
        }
    }
}
