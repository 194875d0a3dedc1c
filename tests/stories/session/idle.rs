//! Unused grants and idle sessions end, work that must not be cut may finish, and a login takes its sessions with it.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::play;
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::refused;
use crate::session::end::{end_of, open_shell};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_shell_in_which_nothing_happens_is_ended_and_one_that_works_is_not() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.grant(DAVE, "idle", "30m")?;
            let mut idle = host.login_at_terminal(DAVE)?;
            let mut busy = host.login_at_terminal(DAVE)?;
            let working = host.lifeline("/var/tmp/working")?;
            // What a compiler does to the processor, in a shell at which nobody types.
            busy.start("sudo bash -c 'exec 9>/var/tmp/working; echo here >&9; while :; do :; done'")?;
            working.taken(LIMIT)?;
            let waiting = host.lifeline("/var/tmp/waiting")?;
            idle.start("sudo bash --norc")?;
            idle.run("id -u")?.ok()?.says("0")?;
            idle.run("exec 9>/var/tmp/waiting; echo here >&9; sleep 1000 &")?.ok()?;
            waiting.taken(LIMIT)?;
            let began = wall_micros();
            idle.expect("nothing has happened in this session", LIMIT)?;
            let gone = waiting.let_go(LIMIT)?;
            let after = Duration::from_micros(gone.saturating_sub(began));
            ensure!(after > Duration::from_secs(3), "ended after {after:?}; the limit is 4 s");
            let ended = host.record("session.ended", |record| record["ended_by"] == "idle")?;
            ensure!(ended["left"] == 0 && ended["role"] == "idle", "{ended}");
            host.record("session.warned", |record| record["session"] == ended["session"])?;
            ensure!(working.is_held()?, "what worked was ended too");
            host.root(&["jitctl", "revoke", "--all", "--reason", "a story"])?.ok()?;
            working.let_go(LIMIT)?;
            host.no_session_left(LIMIT)
        })?;
    }
    Ok(())
}

#[test]
fn a_grant_that_nobody_uses_is_handed_back() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut terminal = host.login_at_terminal(DAVE)?;
        let used = host.grant(DAVE, "brief", "30m")?;
        let shell = terminal.start("sudo bash --norc")?;
        terminal.run("id -u")?.ok()?.says("0")?;
        let unused = host.grant("alice", "brief", "30m")?;
        // The one that is used is still there when the other one is gone.
        host.record("grant.unused", |record| record["grant"] == unused)?;
        let grants = host.jitctl(&["grants"])?;
        ensure!(grants.as_array().is_some_and(|grants| grants.len() == 1), "{grants}");
        ensure!(grants[0]["id"] == used, "{grants}");
        terminal.exit_from(&shell)?;
        host.record("grant.unused", |record| record["grant"] == used)?;
        refused(&host.login(DAVE)?.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        Ok(())
    })
}

#[test]
fn a_session_ends_with_the_login_it_came_from() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            for (role, ends) in [("logout", true), ("ops", false)] {
                let grant = host.grant(DAVE, role, "30m")?.to_string();
                host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
                let lifeline = host.lifeline("/var/tmp/line")?;
                let mut dave = host.login(DAVE)?;
                dave.run(
                    "sudo -n bash -c 'exec 9>/var/tmp/line; echo here >&9; setsid sleep 1000 &' & wait",
                )?;
                lifeline.taken(LIMIT)?;
                let session = &host.jitctl(&["sessions"])?[0];
                ensure!(session["login"].as_str().is_some_and(|login| !login.is_empty()), "{session}");
                dave.leave()?;
                if ends {
                    lifeline.let_go(LIMIT)?;
                    host.record("session.ended", |record| record["ended_by"] == "logout")?;
                } else {
                    wait_until("logind has ended the login", LIMIT, || {
                        Ok(!host.root_sh("loginctl list-sessions --no-legend")?.text().contains("dave"))
                    })?;
                    ensure!(lifeline.is_held()?, "it ended with a login that its role does not tie it to");
                }
                host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
                host.no_session_left(LIMIT)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// deny-new: dpkg may finish, nothing new begins, and there is a limit to it.
#[test]
fn work_that_must_not_be_cut_may_finish_within_its_limit() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut terminal = host.login_at_terminal(DAVE)?;
            host.grant(DAVE, "finish", "4s")?;
            let end = end_of(host, DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            host.record("grant.expired", |record| record["role"] == "finish")?;
            refused(&host.login(DAVE)?.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
            ensure!(lifeline.is_held()?, "it was cut");
            terminal.run("id -u")?.ok()?.says("0")?;
            ensure!(host.jitctl(&["sessions"])?[0]["state"] == "lingering", "it is not shown as lingering");
            let gone = lifeline.let_go(LIMIT)?;
            let after = Duration::from_micros(gone.saturating_sub(end));
            ensure!(after >= Duration::from_secs(4), "cut {after:?} after the window; the limit is 4 s");
            ensure!(after <= Duration::from_secs(6), "gone {after:?} after the window; the limit is 4 s");
            let ended = host.record("session.ended", |record| record["ended_by"] == "expired")?;
            ensure!(ended["left"] == 0, "{ended}");

            // Who takes it away does not wait.
            let grant = host.grant(DAVE, "finish", "30m")?.to_string();
            let mut terminal = host.login_at_terminal(DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            let end = wall_micros();
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
            let gone = lifeline.let_go(LIMIT)?;
            ensure!(gone - end < 2_500_000, "gone {} us after it was revoked", gone - end);
            Ok(())
        })?;
    }
    Ok(())
}
