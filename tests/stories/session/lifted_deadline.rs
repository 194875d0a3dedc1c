//! Root in a window lifts the deadline that PID 1 holds: jitd sees it, records it and sets it again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::{GRACE, Host, play};
use jit_tests::length;
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

use crate::session::end::{end_of, open_shell};

const LIMIT: Duration = Duration::from_secs(20);
/// See [`crate::session::without_jitd`].
const ON_TIME: Duration = Duration::from_secs(2);
const MASK: &str = "systemctl mask --runtime --now jitd.socket jitd.service";

/// Ways to lift the limit of `$u`, and a word that the record has of each.
const LIFTS: [(&str, &str); 4] = [
    (
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager AbandonScope s $u",
        "abandoned",
    ),
    (
        "mkdir -p /run/systemd/transient/$u.d; printf '[Scope]\\nRuntimeMaxSec=infinity\\n' \
         >/run/systemd/transient/$u.d/x.conf; systemctl daemon-reload",
        "/run/systemd/transient/",
    ),
    (
        "sed -i 's/^RuntimeMaxSec=.*/RuntimeMaxSec=infinity/' /run/systemd/transient/$u; systemctl daemon-reload",
        "infinity",
    ),
    ("rm /run/systemd/transient/$u; systemctl daemon-reload", "FragmentPath"),
];
/// Those that reach every scope: nothing that PID 1 is asked for can outdo them.
const FOR_ALL: &str = "mkdir -p /etc/systemd/system/scope.d; printf '[Scope]\\nRuntimeMaxSec=infinity\\n' \
     >/etc/systemd/system/scope.d/x.conf; systemctl daemon-reload";

fn unit_of(session: &Value) -> String {
    format!(
        "u=$(cd /sys/fs/cgroup/jit.slice; for s in jit-{session}.scope jit-{session}-*.scope; do \
        if grep -q 'populated 1' $s/cgroup.events; then echo $s; fi; done 2>/dev/null | tail -n 1); "
    )
}

fn session_of(host: &Host, grant: u64) -> Result<Value> {
    Ok(host.record("session.opened", |record| record["grant"] == grant)?["session"].clone())
}

/// Ends in time with jitd masked after the limit was lifted, for jitd had it set again.
fn a_lifted_limit_is_set_again(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        // Each waits for the end of a window. On the older release the first stands for all, but in `make soak`.
        let short = release == Release::Bookworm && !length::is_full();
        for (lift, word) in LIFTS.into_iter().take(if short { 1 } else { LIFTS.len() }) {
            let mut terminal = host.login_at_terminal(DAVE)?;
            let grant = host.grant(DAVE, "ops", "14s")?;
            let end = end_of(host, DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            let session = session_of(host, grant)?;
            host.root_sh(&(unit_of(&session) + lift))?.ok()?;
            let told = host.record("scope.tampered", |record| record["session"] == session).context(lift)?;
            let detail = told["detail"].as_str().unwrap_or_default();
            ensure!(detail.contains(word) && detail.contains("set again as"), "{lift}: {told}");
            ensure!(told["user"] == "dave" && told["grant"] == grant, "{told}");
            host.root_sh(MASK)?;
            ensure!(wall_micros() < end, "the machine is too slow for this story");
            let gone = lifeline.let_go(LIMIT)?;
            let late = Duration::from_micros(gone.saturating_sub(end));
            ensure!(gone >= end && late <= GRACE + ON_TIME, "{lift}: gone {late:?} after the end");
            host.root_sh(
                "systemctl unmask --runtime jitd.socket jitd.service; systemctl start jitd.service",
            )?
            .ok()?;
            host.no_session_left(LIMIT)?;
        }
        host.record("alert.raised", |record| record["alert"] == "scope-tampered")?;
        nothing_outdoes_what_reaches_all(host)?;
        what_is_no_tampering_is_left_alone(host)
    })
}

fn nothing_outdoes_what_reaches_all(host: &Host) -> Result<()> {
    let mut terminal = host.login_at_terminal(DAVE)?;
    let grant = host.grant(DAVE, "ops", "30m")?;
    let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
    let session = session_of(host, grant)?;
    host.root_sh(FOR_ALL)?.ok()?;
    // It ends, for PID 1 cannot be made to hold its limit.
    lifeline.let_go(LIMIT)?;
    let told = host.record("scope.tampered", |record| record["session"] == session)?;
    ensure!(
        told["detail"].as_str().is_some_and(|it| it.contains("/etc/systemd/system/scope.d/x.conf")),
        "{told}"
    );
    let ended = host.record("session.ended", |record| record["session"] == session)?;
    ensure!(ended["ended_by"] == "tampered" && ended["left"] == 0, "{ended}");
    host.record("scope.tampered", |record| {
        record["session"].is_null()
            && record["detail"]
                .as_str()
                .is_some_and(|it| it.contains("/etc/systemd/system/scope.d/x.conf is new"))
    })?;
    host.root_sh("rm -r /etc/systemd/system/scope.d; systemctl daemon-reload")?.ok()?;
    host.root(&["jitctl", "revoke", &grant.to_string(), "--reason", "a story"])?.ok()?;
    Ok(())
}

fn what_is_no_tampering_is_left_alone(host: &Host) -> Result<()> {
    let tampered = |host: &Host| -> Result<usize> {
        Ok(host.records()?.iter().filter(|record| record["event"] == "scope.tampered").count())
    };
    // An administrator's own drop-in, from before any session.
    let own = "mkdir -p /etc/systemd/system/jitd.service.d; printf '[Service]\\nNice=-5\\n' \
        >/etc/systemd/system/jitd.service.d/own.conf; systemctl daemon-reload; systemctl restart jitd.service";
    host.root_sh(own)?.ok()?;
    let before = tampered(host)?;
    let mut terminal = host.login_at_terminal(DAVE)?;
    let grant = host.grant(DAVE, "ops", "30m")?;
    let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
    let session = session_of(host, grant)?;
    host.root_sh("systemctl daemon-reload && systemctl daemon-reexec")?.ok()?;
    host.root(&["jitctl", "extend", &grant.to_string(), "--for", "10m", "--reason", "not done yet"])?.ok()?;
    wait_until("the shell is in a scope with another limit", LIMIT, || {
        Ok(terminal.run("cat /proc/self/cgroup")?.text().contains("-1.scope"))
    })?;
    // Found again after a restart, and compared once more with each reload.
    host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
    host.root_sh("systemctl daemon-reload")?.ok()?;
    host.jitctl(&["sessions"])?;
    ensure!(lifeline.is_held()?, "it has ended");
    let now = tampered(host)?;
    ensure!(
        now == before,
        "{:?}",
        host.records()?.iter().filter(|r| r["event"] == "scope.tampered").collect::<Vec<_>>()
    );
    // Now a real one, so that it is known that it would have been told.
    host.root_sh(&(unit_of(&session) + LIFTS[0].0))?.ok()?;
    host.record("scope.tampered", |record| record["session"] == session)?;
    host.root(&["jitctl", "revoke", &grant.to_string(), "--reason", "a story"])?.ok()?;
    lifeline.let_go(LIMIT)?;
    host.no_session_left(LIMIT)
}

#[test]
fn a_limit_that_was_lifted_is_set_again_on_trixie() -> Result<()> {
    a_lifted_limit_is_set_again(Release::Trixie)
}

#[test]
fn a_limit_that_was_lifted_is_set_again_on_bookworm() -> Result<()> {
    a_lifted_limit_is_set_again(Release::Bookworm)
}

/// Root that kills the daemon first cannot be held by it. What it did before that has left the host.
#[test]
fn who_lifts_the_limit_and_kills_the_daemon_is_on_record_before() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut terminal = host.login_at_terminal(DAVE)?;
        let grant = host.grant(DAVE, "ops", "10s")?;
        let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
        let session = session_of(host, grant)?;
        let masked = "ln -s /dev/null /run/systemd/system/jitd.service; systemctl daemon-reload";
        host.root_sh(masked)?.ok()?;
        let told = host.record("scope.tampered", |record| {
            record["detail"].as_str().is_some_and(|it| it.contains("/run/systemd/system/jitd.service is new"))
        })?;
        ensure!(told["detail"].as_str().is_some_and(|it| it.contains(&session.to_string())), "{told}");
        wait_until("the journal has it", LIMIT, || {
            let words = ["journalctl", "--quiet", "--no-pager", "-o", "cat", "JIT_EVENT=scope.tampered"];
            Ok(host.root(&words)?.text().contains("/run/systemd/system/jitd.service"))
        })?;
        host.root_sh("rm /run/systemd/system/jitd.service; systemctl daemon-reload")?.ok()?;
        lifeline.let_go(LIMIT)?;
        host.no_session_left(LIMIT)
    })
}
