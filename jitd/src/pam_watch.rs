//! Checks with each heartbeat whether the PAM stacks of the services that roles open ask jitd.
//!
//! A stack that an update, an administrator or an attacker changed lets users become root without a window, and no call
//! would reach the gate.

use std::time::Duration;

use jit_host::pam_stack::{Fault, inspect};
use tokio::sync::watch;

use crate::core::input::Input;
use crate::engine::handle::Handle;
use crate::host::clock::pause_as_said;

/// Runs until the engine has ended, and reports the problem of each stack.
pub(crate) async fn watch(engine: Handle, mut interval: watch::Receiver<Duration>) {
    loop {
        let services =
            engine.look(|snapshot| snapshot.policy.map(|policy| policy.services()).unwrap_or_default());
        let Ok(services) = services.await else { return };
        let Ok(found) = tokio::task::spawn_blocking(move || inspect(services)).await else {
            return;
        };
        let told =
            |(service, fault): (String, Option<Fault>)| (service, fault.map(|fault| fault.to_string()));
        let found = found.into_iter().map(told).collect();
        if engine.tell(Input::Stacks(found)).await.is_err() {
            return;
        }
        pause_as_said(&mut interval).await;
    }
}
