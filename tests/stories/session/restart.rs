//! Grants and sessions outlive jitd; grants outlive a reboot.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{ALICE, BOB, DAVE};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(20);

fn kill_jitd(host: &Host) -> Result<()> {
    let pid = host.root(&["systemctl", "show", "--property=MainPID", "--value", "jitd.service"])?;
    let pid = pid.ok()?.line().to_owned();
    host.root(&["kill", "-KILL", &pid])?.ok()?;
    wait_until("jitd is back", LIMIT, || {
        let shown =
            host.root(&["systemctl", "show", "--property=MainPID,ActiveState", "--value", "jitd.service"])?;
        Ok(shown.text().contains("active") && !shown.text().lines().any(|line| line == pid || line == "0"))
    })
}

#[test]
fn grants_and_sessions_are_there_after_kill_9_of_jitd() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut terminal = host.login_at_terminal(DAVE)?;
            let grant = host.grant(DAVE, "ops", "30m")?;
            let mut alice = host.login(ALICE)?;
            let asked = alice.run("jitctl --json request ops --reason 'I want to look around'")?.json()?;
            let lifeline = host.lifeline("/var/tmp/line")?;
            terminal.start("sudo -s")?;
            terminal.run("exec 9>/var/tmp/line; echo here >&9; setsid sleep 1000 &")?.ok()?;
            lifeline.taken(LIMIT)?;
            let before = host.jitctl(&["sessions"])?;
            ensure!(before.as_array().is_some_and(|sessions| sessions.len() == 1), "{before}");

            kill_jitd(host)?;
            let grants = host.jitctl(&["grants"])?;
            ensure!(grants[0]["id"] == grant && grants[0]["state"] == "live", "{grants}");
            let after = host.jitctl(&["sessions"])?;
            ensure!(
                after[0]["id"] == before[0]["id"] && after[0]["pid"] == before[0]["pid"],
                "{before} {after}"
            );
            ensure!(host.jitctl(&["pending"])?[0]["id"] == asked["id"], "the request is gone");
            host.login(DAVE)?.run("sudo -n true")?.ok()?;
            terminal.run("id -u")?.ok()?.says("0")?;
            ensure!(lifeline.is_held()?, "the session ended with jitd");

            kill_jitd(host)?;
            host.login(BOB)?.run(&format!("jitctl approve {}", asked["id"]))?.ok()?;
            host.root(&["jitctl", "revoke", &grant.to_string(), "--reason", "a story"])?.ok()?;
            lifeline.let_go(LIMIT)?;
            host.no_session_left(LIMIT)?;
            let ended = host.record("session.ended", |record| record["session"] == before[0]["id"])?;
            ensure!(ended["left"] == 0 && ended["killed"].as_u64().unwrap_or(0) >= 2, "{ended}");
            host.root(&["jitctl", "audit", "verify"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// A window that ends while jitd is down is over when it comes back.
#[test]
fn a_window_that_ended_while_jitd_was_down_is_closed() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.grant(DAVE, "ops", "2s")?;
        let mut dave = host.login(DAVE)?;
        host.root(&["systemctl", "stop", "jitd.socket", "jitd.service"])?.ok()?;
        host.root(&["sleep", "3"])?.ok()?;
        host.root(&["systemctl", "start", "jitd.service"])?.ok()?;
        dave.run("sudo -n true")?.fails()?.says("dave has no open window")?;
        host.record("grant.expired", |record| record["user"] == "dave")?;
        Ok(())
    })
}

#[test]
fn an_open_grant_outlives_a_reboot() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let grant = host.grant(DAVE, "ops", "30m")?;
            let short = host.grant(ALICE, "ops", "2s")?;
            let mut terminal = host.login_at_terminal(DAVE)?;
            terminal.start("sudo -s")?;
            terminal.run("id -u")?.ok()?.says("0")?;
            host.record("grant.expired", |record| record["grant"] == short)?;
            host.reboot()?;
            let grants = host.jitctl(&["grants"])?;
            ensure!(grants.as_array().is_some_and(|grants| grants.len() == 1), "{grants}");
            ensure!(grants[0]["id"] == grant && grants[0]["state"] == "live", "{grants}");
            host.login(DAVE)?.run("sudo -n true")?.ok()?;
            host.no_session_left(LIMIT)?;
            host.record("session.ended", |record| record["user"] == "dave")?;
            host.root(&["jitctl", "audit", "verify"])?.ok()?;

            // Without a chance to say goodbye it is the same.
            host.cut_power();
            host.start()?;
            ensure!(host.jitctl(&["grants"])?[0]["id"] == grant, "the grant is gone");
            host.login(DAVE)?.run("sudo -n true")?.ok()?;
            host.root(&["jitctl", "audit", "verify"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}
