//! The timer of PID 1 that undoes a change: it needs no jitd, no login and no jitctl that is still there.

use std::path::PathBuf;
use std::time::Duration;

use jit_host::program::output_of;
use jit_proto::bus::names::error;

use crate::failure::{Exit, Failure};

const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// The name of the timer for a change that is undone at this moment, in microseconds since the epoch.
pub(super) fn name(undo_at: u64) -> String {
    format!("jitd-pam-undo-{undo_at}")
}

/// Arms it. An undo that fails is tried again every ten seconds.
pub(super) fn arm(unit: &str, after: Duration) -> Result<(), Failure> {
    let (unit, delay) = (format!("--unit={unit}"), format!("--on-active={}us", after.as_micros()));
    let program = own_program();
    let words = [
        "--quiet",
        "--no-ask-password",
        "--collect",
        &unit,
        &delay,
        "--timer-property=AccuracySec=100ms",
        "--property=Restart=on-failure",
        "--property=RestartSec=10s",
        "--description=Undoes a change of PAM stacks that was not confirmed (jitctl pam enable)",
        &program,
        "pam",
        "undo",
    ];
    output_of(SYSTEMD_RUN, &words).map(drop).map_err(|why| {
        let message = format!(
            "no timer of PID 1 can be armed that would undo the change, so nothing was changed: {why}"
        );
        Failure::new(Exit::Failed, error::FAILED, &message)
    })
}

/// Whether PID 1 has it.
pub(super) fn is_armed(unit: &str) -> bool {
    output_of(SYSTEMCTL, &["is-active", &format!("{unit}.timer")]).is_ok()
}

/// Disarms it. One that stays finds nothing to undo.
pub(super) fn disarm(unit: &str) {
    let _ = output_of(SYSTEMCTL, &["stop", &format!("{unit}.timer")]);
}

/// This program; by its usual name where its file was replaced since it was started.
fn own_program() -> String {
    let own = std::env::current_exe().ok().filter(|path| path.exists());
    own.unwrap_or_else(|| PathBuf::from("/usr/bin/jitctl")).to_string_lossy().into_owned()
}
