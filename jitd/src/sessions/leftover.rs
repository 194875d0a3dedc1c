//! Stops scopes that PID 1 still holds although they are empty.
//!
//! PID 1 learns of the end of a scope when its cgroup becomes empty. A process that is about to exit when it is moved
//! there never arrives: the kernel accepts the write and leaves an exiting task where it is (kernel/cgroup/cgroup.c,
//! `cgroup_migrate_add_task`). Such a cgroup was never populated, so nothing reports its end, and the unit would stay
//! until its deadline.

use std::time::Duration;

use jit_proto::bus::names::scope_name;
use jit_proto::identity::SessionId;
use tracing::{debug, warn};

use super::cgroup::Scope;
use super::systemd::Systemd;
use crate::host::clock::pause;

/// PID 1 usually collects an empty scope within a few milliseconds; it is asked after this delay, which doubles each
/// time,
const FIRST: Duration = Duration::from_millis(250);
/// this many times.
const LOOKS: u32 = 4;

/// Has PID 1 stop the empty scopes of a session that has ended. A scope with processes is not stopped.
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
