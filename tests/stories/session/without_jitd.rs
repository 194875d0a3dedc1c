//! PID 1 ends every session on time where jitd is killed, stopped or masked, and the audit log says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::{GRACE, Host, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::session::end::{end_of, open_shell};

const LIMIT: Duration = Duration::from_secs(20);
/// What is allowed on top of the window and its grace: a second from PID 1's SIGTERM to its SIGKILL, and twice the
/// quarter of one by which its timers may be late (sd_event_add_time(3), the default accuracy).
const ON_TIME: Duration = Duration::from_secs(2);

fn jitd(host: &Host, signal: &str) -> Result<()> {
    host.root_sh(&format!("systemctl kill --kill-whom=main --signal={signal} jitd.service"))?.ok()?;
    Ok(())
}

/// Ends on time although something is done to jitd in the middle of the window, and is recorded when it is back.
fn ends_on_time(
    release: Release,
    window: &str,
    disturb: impl Fn(&Host) -> Result<()>,
    restore: impl Fn(&Host) -> Result<()>,
) -> Result<()> {
    play(&Plan::new(release), |host| {
        let mut terminal = host.login_at_terminal(DAVE)?;
        let grant = host.grant(DAVE, "ops", window)?;
        let end = end_of(host, DAVE)?;
        let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
        let session = host.record("session.opened", |record| record["user"] == "dave")?["session"].clone();
        disturb(host)?;
        ensure!(wall_micros() < end, "the machine is too slow for this story");
        let gone = lifeline.let_go(LIMIT)?;
        ensure!(gone >= end, "it ended before its time");
        let late = Duration::from_micros(gone - end);
        ensure!(late <= GRACE + ON_TIME, "gone {late:?} after the end of the window; the grace is {GRACE:?}");
        restore(host)?;
        host.record("grant.expired", |record| record["grant"] == grant)?;
        let ended = host.record("session.ended", |record| record["session"] == session)?;
        ensure!(ended["left"] == 0 || ended["ended_by"] == "exited", "{ended}");
        host.no_session_left(LIMIT)?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}

#[test]
fn a_session_ends_on_time_although_jitd_is_masked() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        ends_on_time(
            release,
            "6s",
            |host| host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?.ok().map(drop),
            |host| {
                host.root_sh("systemctl unmask --runtime jitd.socket jitd.service")?.ok()?;
                host.root_sh("systemctl start jitd.service")?.ok().map(drop)
            },
        )?;
    }
    Ok(())
}

#[test]
fn a_session_ends_on_time_although_jitd_is_stopped() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        ends_on_time(release, "6s", |host| jitd(host, "STOP"), |host| jitd(host, "CONT"))?;
    }
    Ok(())
}

#[test]
fn a_session_ends_on_time_although_jitd_is_killed_again_and_again() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        ends_on_time(
            release,
            "7s",
            |host| {
                let again = "for n in 1 2 3 4; do systemctl kill --kill-whom=main --signal=KILL jitd.service; \
                    sleep 2; done";
                host.root_sh(&format!("systemd-run --quiet --unit=again bash -c '{again}'"))?.ok()?;
                Ok(())
            },
            |host| {
                wait_until("jitd is left alone and runs", LIMIT, || {
                    let states = host.root_sh("systemctl is-active again.service jitd.service")?.stdout;
                    Ok(states.lines().eq(["inactive", "active"]))
                })
            },
        )?;
    }
    Ok(())
}

/// A window that moves takes PID 1's limit with it.
#[test]
fn an_extended_session_outlives_its_first_limit_and_ends_at_the_next() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut terminal = host.login_at_terminal(DAVE)?;
            let grant = host.grant(DAVE, "ops", "8s")?.to_string();
            let first_end = end_of(host, DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            let more = ["jitctl", "extend", &grant, "--for", "6s", "--reason", "not done yet"];
            host.root(&more)?.ok()?;
            let end = end_of(host, DAVE)?;
            ensure!(wall_micros() < first_end, "the machine is too slow for this story");
            ensure!(end > first_end + 3_000_000, "{first_end}, then {end}");
            wait_until("the shell is in a scope with another limit", LIMIT, || {
                Ok(terminal.run("cat /proc/self/cgroup")?.text().contains("-1.scope"))
            })?;
            // Without jitd, so that it is PID 1 that lets it live and that ends it.
            host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?.ok()?;
            let gone = lifeline.let_go(LIMIT)?;
            ensure!(gone >= end, "it was cut {:?} before its end", Duration::from_micros(end - gone));
            ensure!(
                Duration::from_micros(gone - end) <= GRACE + ON_TIME,
                "gone {} us after the end",
                gone - end
            );
            Ok(())
        })?;
    }
    Ok(())
}
