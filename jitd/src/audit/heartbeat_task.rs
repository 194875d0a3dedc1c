//! Sends heartbeats to the sinks at the interval of the policy in force.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::warn;

use super::heartbeat::Heartbeat;
use crate::engine::handle::Handle;
use crate::engine::messages::ToSink;
use crate::engine::snapshot::Snapshot;
use crate::host::clock::pause_as_said;

/// Sends a heartbeat to each sink at the interval of the policy in force, until the engine ends.
pub async fn send_heartbeats(engine: Handle, mut interval: watch::Receiver<Duration>) {
    let daemon = tokio::task::spawn_blocking(own_digest).await.unwrap_or_default();
    let daemon = format!("{} {daemon}", env!("CARGO_PKG_VERSION"));
    loop {
        let (daemon, every) = (daemon.clone(), *interval.borrow());
        let Ok(heartbeat) = engine.look(move |snapshot| heartbeat(snapshot, &daemon, every)).await else {
            return;
        };
        if engine.tell_sinks(ToSink::Heartbeat(Arc::new(heartbeat))).await.is_err() {
            return;
        }
        pause_as_said(&mut interval).await;
    }
}

/// SHA-256 of the running program in hex, to be compared with that of the package; empty if it cannot be read.
fn own_digest() -> String {
    match std::fs::read("/proc/self/exe") {
        Ok(program) => hex::encode(Sha256::digest(program)),
        Err(error) => {
            warn!("heartbeats lack the program's SHA-256: /proc/self/exe cannot be read: {error}");
            String::new()
        }
    }
}

fn heartbeat(snapshot: &Snapshot<'_>, daemon: &str, every: Duration) -> Heartbeat {
    let head = snapshot.store.head();
    Heartbeat {
        at: snapshot.now.wall,
        seq: head.seq,
        hash: head.hash,
        grants: snapshot.ledger.grants.len(),
        sessions: snapshot.ledger.sessions.len(),
        daemon: daemon.to_owned(),
        policy: snapshot.policy.map_or(String::new(), |policy| policy.digest.clone()),
        every,
    }
}
