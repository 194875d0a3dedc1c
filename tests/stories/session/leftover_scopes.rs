//! An ended session leaves no scope that PID 1 takes for running.

use std::time::Duration;

use anyhow::{Context, Result};
use jit_tests::clock::wait_until;
use jit_tests::host::play;
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(20);
const SCOPES: &str = "systemctl list-units --all --plain --no-legend 'jit-*.scope'";

/// Sessions that end as their scope is made: PID 1 puts a process there that has begun to end, and hears of no end.
#[test]
fn sessions_that_end_as_their_scope_is_made_leave_none() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut dave = host.login(DAVE)?;
            host.grant(DAVE, "ops", "30m")?;
            dave.run_within("for i in $(seq 100); do sudo -n sleep 0.05 || exit; done", LIMIT * 3)?.ok()?;
            host.no_session_left(LIMIT)?;
            wait_until("PID 1 holds no scope of ours", LIMIT, || {
                Ok(host.root_sh(SCOPES)?.ok()?.stdout.trim().is_empty())
            })
            .with_context(|| host.root_sh(SCOPES).map_or_else(|e| e.to_string(), |o| o.text()))?;

            // One that was left while jitd was away is stopped when it comes back.
            host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?;
            host.root_sh(
                "sleep 1000 & pid=$!; systemd-run --quiet --slice=jit.slice --unit=jit-999.scope --scope \
                 --property=Delegate=yes sleep 1000 & \
                 until grep -q . /sys/fs/cgroup/jit.slice/jit-999.scope/cgroup.procs; do :; done; kill $pid",
            )?
            .ok()?;
            host.root_sh(
                "systemctl unmask --runtime jitd.socket jitd.service && systemctl start jitd.service",
            )?
            .ok()?;
            wait_until("PID 1 holds no scope that nobody answers for", LIMIT, || {
                Ok(host.root_sh(SCOPES)?.ok()?.stdout.trim().is_empty())
            })?;
            Ok(())
        })?;
    }
    Ok(())
}
