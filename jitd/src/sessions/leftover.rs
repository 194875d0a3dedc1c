//! Scopes that PID 1 still takes for running when nothing is in them any more.
//!
//! PID 1 hears of the end of a scope by its cgroup becoming empty. A process that is about to end when it is put there
//! never arrives: the kernel takes the write and leaves an exiting task where it is (kernel/cgroup/cgroup.c,
//! `cgroup_migrate_add_task`). Such a cgroup was never populated, so nothing tells of its end, and the unit would stay
//! until its time limit.

use std::time::Duration;

use jit_proto::bus::names::scope_name;
use jit_proto::identity::SessionId;
use tracing::{debug, warn};

use super::cgroup::Scope;
use super::systemd::Systemd;
use crate::host::clock::pause;

/// PID 1 usually collects an empty scope within a few milliseconds; it is asked so much later, and twice as late again,
const FIRST: Duration = Duration::from_millis(250);
/// so many times.
const LOOKS: u32 = 4;

/// Has PID 1 stop what it still holds of a session that is over. Nothing that anything lives in is stopped.
pub(super) async fn stop(id: SessionId, scope: &Scope, systemd: &Systemd) {
    for look in 0..LOOKS {
        pause(FIRST.saturating_mul(1 << look)).await;
        let mut left = false;
        for generation in scope.known() {
            left |= !is_collected(&scope_name(id, *generation), scope, *generation, systemd).await;
        }
        if !left {
            return;
        }
    }
    warn!("PID 1 still lists a scope of session {id} that is empty");
}

async fn is_collected(unit: &str, scope: &Scope, generation: u32, systemd: &Systemd) -> bool {
    match systemd.held(unit).await {
        Ok(None) => return true,
        Ok(Some(held)) if held.active_state == "deactivating" => return false,
        Ok(Some(_)) => {}
        Err(problem) => {
            debug!("PID 1 does not say whether it holds {unit}: {problem}");
            return false;
        }
    }
    match scope.populated(generation) {
        Ok(false) => {
            debug!("{unit} is empty and active: stopping it");
            if let Err(problem) = systemd.stop(unit).await {
                warn!("{unit} is empty and could not be stopped: {problem}");
            }
        }
        Ok(true) => debug!("{unit} is not empty: not stopped"),
        Err(problem) => warn!("cannot tell whether {unit} is empty: {problem}"),
    }
    false
}
