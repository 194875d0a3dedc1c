//! What many sudos, grants and open sessions leave behind in the daemon. `make soak` runs the full sizes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::length::size;
use jit_tests::people::{ALICE, DAVE, OSCAR};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

/// For loops of thousands of commands.
const LOOP_LIMIT: Duration = Duration::from_secs(1800);

/// What the daemon's process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    resident_kb: u64,
    descriptors: u64,
    threads: u64,
}

fn used(host: &Host) -> Result<Used> {
    let script = "pid=$(systemctl show --property=MainPID --value jitd.service); \
        awk '/^VmRSS:/ { print $2 }' /proc/$pid/status; ls /proc/$pid/fd | wc -l; ls /proc/$pid/task | wc -l";
    let output = host.root_sh(script)?;
    let numbers: Vec<u64> = output.ok()?.stdout.split_whitespace().flat_map(str::parse).collect();
    let [resident_kb, descriptors, threads] = numbers[..] else { anyhow::bail!("{output}") };
    Ok(Used { resident_kb, descriptors, threads })
}

/// Calls sudo so often, four at a time; each call has to succeed.
fn sudos(host: &Host, count: u32) -> Result<()> {
    let line = format!(
        "seq {count} | xargs -P 4 -n 50 sh -c 'for n; do timeout --foreground 20 sudo -n true || echo $n: $?; done' sh"
    );
    let done = host.login(DAVE)?.run_within(&line, LOOP_LIMIT)?;
    done.ok()?.holds(done.text().is_empty(), "no failure")?;
    host.no_session_left(Duration::from_secs(60))
}

/// The daemon's memory and descriptors do not grow with the number of sudos that it has seen.
#[test]
fn memory_and_descriptors_are_those_of_the_first_sudos() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.grant(DAVE, "ops", "2h")?;
        let (few, many) = (size(800, 2_000), size(2_400, 20_000));
        sudos(host, few)?;
        let before = used(host)?;
        sudos(host, many - few)?;
        // Threads that NSS was asked on end after ten seconds without work.
        let mut after = used(host)?;
        let settled =
            wait_until("threads and descriptors are those of before", Duration::from_secs(30), || {
                after = used(host)?;
                Ok(after.descriptors <= before.descriptors && after.threads <= before.threads)
            });
        println!("after {few} sudos: {before:?}; after {many}: {after:?}");
        settled.with_context(|| format!("after {few} sudos {before:?}, after {many} {after:?}"))?;
        ensure!(
            after.resident_kb * 10 <= before.resident_kb * 11,
            "memory grew by more than a tenth: {before:?}, then {after:?}"
        );
        let records = host.jitctl(&["status"])?["records"].as_u64().unwrap_or(0);
        ensure!(records > u64::from(many) * 3, "{records} records of {many} sudos");
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}

/// Thousands of live grants and open sessions: the daemon knows each of them after it was killed, others get through,
/// and one revocation ends all.
#[test]
fn many_grants_and_open_sessions_outlive_a_kill_and_end_at_one_word() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let (grants, sessions) = (size(150, 5_000), size(60, 2_000));
        host.root_sh("echo 4194304 >/proc/sys/kernel/pid_max; mkdir -p /run/systemd/system/user-.slice.d; \
            printf '[Slice]\\nTasksMax=infinity\\n' >/run/systemd/system/user-.slice.d/tasks.conf; systemctl daemon-reload")?
            .ok()?;
        let first = host.grant(DAVE, "ops", "2h")?;
        let give = format!(
            "seq {} | xargs -P 2 -n 25 sh -c 'for n; do jitctl grant dave ops --for 1h --reason \"one of many\" \
             >/dev/null || echo $n: $?; done' sh",
            grants - 1
        );
        let given = host.login(OSCAR)?.run_within(&give, LOOP_LIMIT)?;
        given.ok()?.holds(given.text().is_empty(), "no failure")?;
        let held = host.jitctl(&["grants"])?.as_array().map_or(0, Vec::len);
        ensure!(held == grants as usize, "{held} grants of {grants}, the first {first}");

        let mut dave = host.login(DAVE)?;
        // Sixteen at a time: each says that it runs before the next sixteen are started.
        let open = format!(
            "mkfifo begun; exec 3<>begun; for n in $(seq {sessions}); do \
             setsid sudo -n sh -c 'echo begun; exec sleep 7200' </dev/null >begun 2>&1 3>&- & \
             [ $((n % 16)) != 0 ] || for m in $(seq 16); do read -r line <&3; [ $line = begun ] || echo $line; done; \
             done"
        );
        let opened = dave.run_within(&open, LOOP_LIMIT)?;
        opened.ok()?.holds(opened.text().is_empty(), "no failure")?;
        let count = |host: &Host| -> Result<usize> {
            let sessions = host.jitctl(&["sessions"])?;
            Ok(sessions.as_array().into_iter().flatten().filter(|one| one["run_as"] == "root").count())
        };
        wait_until("all sessions are open", Duration::from_secs(600), || {
            Ok(count(host)? == sessions as usize)
        })?;
        wait_until("all are in their scopes", Duration::from_secs(600), || {
            let scopes = host.root_sh("cat /sys/fs/cgroup/jit.slice/jit-*.scope/cgroup.procs | wc -l")?;
            Ok(scopes.line().parse::<u32>()? >= sessions)
        })?;
        let full = used(host)?;
        println!("with {grants} grants and {sessions} sessions: {full:?}");

        let main = ["systemctl", "show", "--property=MainPID", "--value", "jitd.service"];
        let before = host.root(&main)?.line().to_owned();
        host.root_sh("kill -9 $(systemctl show --property=MainPID --value jitd.service)")?.ok()?;
        wait_until("jitd is back", Duration::from_secs(60), || {
            let now = host.root(&main)?.line().to_owned();
            Ok(now != before && now != "0" && host.root(&["jitctl", "status"])?.status == 0)
        })?;
        ensure!(
            count(host)? == sessions as usize,
            "{} sessions after the kill, not {sessions}",
            count(host)?
        );
        host.grant(ALICE, "ops", "30m")?;
        host.login(ALICE)?.run("echo correct-horse | sudo -S true")?.ok()?;

        let reason = "all of it has to end now";
        let revoked = host.root_with(&["jitctl", "revoke", "--all", "--reason", reason], b"", LOOP_LIMIT)?;
        revoked.ok()?;
        host.no_session_left(Duration::from_secs(120))?;
        let left = host
            .root_sh("pgrep -c -x sleep; ls -d /sys/fs/cgroup/jit.slice/jit-*.scope 2>/dev/null | wc -l")?;
        ensure!(left.stdout.split_whitespace().all(|count| count == "0"), "left: {left}");
        let revoked = |record: &Value| record["event"] == "session.ended" && record["ended_by"] == "revoked";
        let ended: Vec<_> = host.records()?.into_iter().filter(revoked).collect();
        let unproven: Vec<_> = ended.iter().filter(|record| record["left"] != 0).collect();
        ensure!(
            unproven.is_empty() && ended.len() >= sessions as usize,
            "of {} ends: {unproven:?}",
            ended.len()
        );
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        println!("after the revocation: {:?}", used(host)?);
        Ok(())
    })
}
