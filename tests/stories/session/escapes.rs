//! Ways out of a window that no software on the same host can close to root: what the audit log shows of them.

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::host::drift::LIMIT;

/// The pid of the one process with this command line.
fn pid_of(host: &Host, command: &str) -> Result<String> {
    let found = host.root(&["pgrep", "--newest", "--full", "--exact", command])?;
    Ok(found.ok()?.line().to_owned())
}

/// Waits until what was left behind under the grant names all of these in one finding each.
fn is_named(host: &Host, grant: u64, words: &[&str]) -> Result<()> {
    let mut seen = String::new();
    let waited = wait_until(&format!("a finding names {words:?}"), LIMIT, || {
        let records = host.records()?;
        let own = records.iter().filter(|one| one["event"] == "grant.left_behind" && one["grant"] == grant);
        let findings: Vec<String> = own
            .flat_map(|one| one["left_behind"].as_array().cloned().unwrap_or_default())
            .map(|line| line.as_str().unwrap_or_default().to_owned())
            .collect();
        seen = findings.join("\n");
        Ok(findings.iter().any(|line| words.iter().all(|word| line.contains(word))))
    });
    waited.with_context(|| format!("the findings are\n{seen}"))
}

/// ptrace into a daemon that was there before: its child is nobody's session, lives on, and is named.
#[test]
fn a_child_forced_upon_a_daemon_lives_on_and_is_named() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("inject")?;
        host.root(&["systemctl", "start", "cron.service"])?.ok()?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        let line = "sudo -n sh -c 'inject $(systemctl show -P MainPID cron.service) \"exec sleep 4711\"'";
        dave.run(line)?.ok()?;
        host.no_session_left(LIMIT)?;
        dave.run("jitctl release")?.ok()?;
        let pid = pid_of(host, "sleep 4711")?;
        is_named(host, grant, &["sleep", "cron.service", &pid])?;
        let status = host.root(&["systemctl", "is-active", "cron.service"])?;
        ensure!(status.line() == "active", "the daemon did not survive it: {status}");
        host.root(&["kill", &pid])?.ok()?;
        Ok(())
    })
}

/// A login that PID 1 opens for root (`machinectl shell`): it is another login session, lives on, and is named.
#[test]
fn a_login_opened_from_inside_a_window_lives_on_and_is_named() -> Result<()> {
    play(&Plan::new(Release::Trixie).with_debian(&["systemd-container"]), |host| {
        let grant = host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        let shell = "trap \"\" HUP; exec sleep 4712";
        dave.start(&format!("sudo -n machinectl shell root@.host /bin/sh -c '{shell}'"))?;
        wait_until("the login is open", LIMIT, || {
            Ok(host.root(&["pgrep", "--full", "--exact", "sleep 4712"])?.status == 0)
        })?;
        host.login(DAVE)?.run("jitctl release")?.ok()?;
        host.no_session_left(LIMIT)?;
        let pid = pid_of(host, "sleep 4712")?;
        is_named(host, grant, &["sleep", &pid])?;
        host.root(&["kill", &pid])?.ok()?;
        Ok(())
    })
}

/// A library for every program: by file it is named; the environment of jitctl changes nothing in the daemon.
#[test]
fn a_library_loaded_into_every_program_is_named() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let grant = host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        let preload =
            "sudo -n env LD_PRELOAD=/tmp/evil.so jitctl revoke --all --reason 'with a library of mine'";
        dave.run(preload)?.exits(3)?;
        dave.run("sudo -n sh -c 'echo /usr/lib/x86_64-linux-gnu/libm.so.6 >/etc/ld.so.preload'")?.ok()?;
        host.no_session_left(LIMIT)?;
        is_named(host, grant, &["/etc/ld.so.preload"])
    })
}
