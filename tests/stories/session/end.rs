//! At the end of a window every process that was started in it ends, and the audit log counts them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::{GRACE, Host, play};
use jit_tests::lifeline::Lifeline;
use jit_tests::login::Login;
use jit_tests::people::{ALICE, DAVE, PASSWORD};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::sudos;

const LIMIT: Duration = Duration::from_secs(20);
/// What is allowed on top of the grace.
const AND_A_SECOND: Duration = Duration::from_secs(1);

/// In a root shell: a child, a child with a session of its own, and one that nobody waits for and that ignores what it
/// can ignore. All of them, and the shell itself, hold the lifeline.
const CHILDREN: &str = "exec 9>/var/tmp/line; echo here >&9; sleep 1000 & setsid sleep 1000 & \
    ( ( trap '' TERM HUP INT QUIT; exec sleep 1000 ) & ); setsid bash -c \"trap '' TERM HUP; while :; do sleep 1; done\" &";

/// At least the shell and the four above it started.
const AT_LEAST: u64 = 5;

/// Somebody in a root shell, with children, and the line that tells when all are gone.
pub(crate) fn open_shell(host: &Host, terminal: &mut Login, sudo: &str) -> Result<Lifeline> {
    host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
    let lifeline = host.lifeline("/var/tmp/line")?;
    terminal.start(sudo)?;
    terminal.run("id -u")?.ok()?.says("0")?;
    terminal.run(CHILDREN)?.ok()?;
    lifeline.taken(LIMIT)?;
    ensure!(lifeline.is_held()?, "nobody holds the lifeline");
    in_its_scope(terminal)?;
    Ok(lifeline)
}

/// The move into the scope follows the answer, once a sudo has lived long enough to be worth it.
fn in_its_scope(terminal: &mut Login) -> Result<()> {
    wait_until("the shell is in its scope", LIMIT, || {
        Ok(terminal.run("cat /proc/self/cgroup")?.text().contains("/jit.slice/jit-"))
    })
}

/// The grant's end, in microseconds since the epoch; from the bus, for jitctl prints it for people.
pub(crate) fn end_of(host: &Host, user: &str) -> Result<u64> {
    let grants = host.jitctl(&["grants"])?;
    let grant = grants.as_array().into_iter().flatten().find(|grant| grant["user"] == user);
    let grant = grant.with_context(|| format!("no grant of {user}: {grants}"))?;
    let end = grant["ends_at"].as_str().context("an end")?;
    let micros = host.root(&["date", "--date", end, "+%s%6N"])?;
    Ok(micros.ok()?.line().parse()?)
}

fn ended_in_time(host: &Host, lifeline: &Lifeline, end: u64, how: &str) -> Result<()> {
    let gone = lifeline.let_go(LIMIT)?;
    let late = Duration::from_micros(gone.saturating_sub(end));
    ensure!(late <= GRACE + AND_A_SECOND, "gone {late:?} after the end; the grace is {GRACE:?}");
    host.no_session_left(LIMIT)?;
    let record = host.record("session.ended", |record| record["ended_by"] == how)?;
    let killed = record["killed"].as_u64().unwrap_or(0);
    ensure!(killed >= AT_LEAST, "{killed} killed: {record}");
    ensure!(record["left"] == 0, "{record}");
    let milliseconds = record["milliseconds"].as_u64().context("milliseconds")?;
    ensure!(Duration::from_millis(milliseconds) <= GRACE + AND_A_SECOND, "{record}");
    Ok(())
}

fn at_the_deadline(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        for &sudo in sudos(release) {
            let mut terminal = host.login_at_terminal(DAVE)?;
            host.grant(DAVE, "ops", "5s")?;
            let end = end_of(host, DAVE)?;
            let lifeline = open_shell(host, &mut terminal, &format!("{sudo} -s"))?;
            ensure!(
                wall_micros() < end,
                "the machine is too slow for this story: the window is over already"
            );
            ended_in_time(host, &lifeline, end, "expired")?;
        }
        Ok(())
    })
}

#[test]
fn everything_is_gone_after_the_deadline_on_trixie() -> Result<()> {
    at_the_deadline(Release::Trixie)
}

#[test]
fn everything_is_gone_after_the_deadline_on_bookworm() -> Result<()> {
    at_the_deadline(Release::Bookworm)
}

fn at_a_revocation(release: Release) -> Result<()> {
    play(&Plan::new(release).gating(&["sudo", "sudo-i", "su", "doas"]), |host| {
        let mut ways: Vec<String> = Vec::new();
        for &sudo in sudos(release) {
            ways.extend(["-s", "-i", "bash", "su -"].map(|what| format!("{sudo} {what}")));
        }
        ways.push("doas -s".to_owned());
        for way in ways {
            let mut terminal = host.login_at_terminal(DAVE)?;
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            let lifeline = open_shell(host, &mut terminal, &way).with_context(|| way.clone())?;
            let end = wall_micros();
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
            ended_in_time(host, &lifeline, end, "revoked").with_context(|| way.clone())?;
        }
        Ok(())
    })
}

#[test]
fn everything_is_gone_after_a_revocation_on_trixie() -> Result<()> {
    at_a_revocation(Release::Trixie)
}

#[test]
fn everything_is_gone_after_a_revocation_on_bookworm() -> Result<()> {
    at_a_revocation(Release::Bookworm)
}

/// Revoked before the session has its scope: the tag finds what there is.
#[test]
fn a_window_that_is_revoked_in_its_first_moments_leaves_nothing() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            for _ in 0..8 {
                let mut terminal = host.login_at_terminal(DAVE)?;
                host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
                let lifeline = host.lifeline("/var/tmp/line")?;
                let grant = host.grant(DAVE, "ops", "30m")?.to_string();
                terminal.start(
                    "sudo bash -c 'exec 9>/var/tmp/line; setsid sleep 1000 & echo here >&9; sleep 1000'",
                )?;
                lifeline.taken(LIMIT)?;
                let end = wall_micros();
                host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
                let gone = lifeline.let_go(LIMIT)?;
                let late = Duration::from_micros(gone.saturating_sub(end));
                ensure!(late <= GRACE + AND_A_SECOND, "gone after {late:?}");
                host.no_session_left(LIMIT)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_shell_of_su_ends_with_the_window() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&["su"]), |host| {
        for su in ["su", "su -"] {
            let mut terminal = host.login_at_terminal(ALICE)?;
            let grant = host.grant(ALICE, "ops", "30m")?.to_string();
            host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
            let lifeline = host.lifeline("/var/tmp/line")?;
            terminal.start(su)?;
            terminal.expect("Password:", LIMIT)?;
            terminal.type_in(&format!("{PASSWORD}\n"))?;
            terminal.expect("#", LIMIT)?;
            terminal.run(CHILDREN)?.ok()?;
            let end = wall_micros();
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
            ended_in_time(host, &lifeline, end, "revoked").with_context(|| su.to_owned())?;
        }
        Ok(())
    })
}

/// The user's own terminal is left as it was: echo and line editing are back.
#[test]
fn the_terminal_is_usable_after_the_kill() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).gating(&["sudo", "sudo-i", "su", "doas"]), |host| {
            let mut ways: Vec<String> = sudos(release).iter().map(|sudo| format!("{sudo} bash")).collect();
            ways.extend(["su", "doas bash"].map(str::to_owned));
            for way in ways {
                // dash, for bash would set the terminal right by itself.
                let mut terminal = host.login_at_terminal(DAVE)?;
                let outer = terminal.start("dash")?;
                let grant = host.grant(DAVE, "ops", "30m")?.to_string();
                let before = terminal.run("stty echo; stty -a")?;
                terminal.type_in(&format!("{way}\n"))?;
                if way == "su" {
                    terminal.expect("Password:", LIMIT)?;
                    terminal.type_in(&format!("{PASSWORD}\n"))?;
                    terminal.expect("#", LIMIT)?;
                }
                terminal.run("id -u")?.ok()?.says("0")?;
                in_its_scope(&mut terminal)?;
                host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
                host.no_session_left(LIMIT)?;
                // The shell under sudo is gone; this one is dash again.
                let after = terminal.run("stty -a")?;
                after.holds(after.stdout == before.stdout, &format!("the terminal as before:\n{before}"))?;
                terminal.exit_from(&outer)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// kill -9 of her own sudo is allowed to alice, and keeps its close hooks from running.
#[test]
fn who_kills_her_own_sudo_leaves_nothing_behind() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            for &sudo in sudos(release) {
                let mut dave = host.login(DAVE)?;
                host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
                let lifeline = host.lifeline("/var/tmp/line")?;
                let grant = host.grant(DAVE, "ops", "30m")?.to_string();
                let inside = "exec 9>/var/tmp/line; setsid sleep 1000 & echo here >&9; sleep 1000";
                dave.run(&format!("{sudo} -n bash -c '{inside}' & pid=$!"))?.ok()?;
                lifeline.taken(LIMIT)?;
                dave.run("kill -9 $pid; wait $pid")?.exits(137)?;
                ensure!(lifeline.is_held()?, "{sudo}: its children went with it; this story shows nothing");
                let end = wall_micros();
                host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
                let gone = lifeline.let_go(LIMIT)?;
                let late = Duration::from_micros(gone.saturating_sub(end));
                ensure!(late <= GRACE + AND_A_SECOND, "{sudo}: gone after {late:?}");
                host.no_session_left(LIMIT)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A process that leaves its cgroup is still known by its audit session.
#[test]
fn who_leaves_the_cgroup_is_found_by_the_tag() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut terminal = host.login_at_terminal(DAVE)?;
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            let lifeline = host.lifeline("/var/tmp/line")?;
            terminal.start("sudo -s")?;
            terminal.run("mkdir /sys/fs/cgroup/evil")?.ok()?;
            // What leaves earlier is brought back with the shell.
            in_its_scope(&mut terminal)?;
            terminal.run(
                "exec 9>/var/tmp/line; echo here >&9; setsid bash -c 'echo 0 > /sys/fs/cgroup/evil/cgroup.procs; \
                 trap \"\" TERM HUP; echo moved > /var/tmp/moved; while :; do sleep 1; done' & \
                 systemd-run --quiet --scope sleep 1000 &",
            )?;
            wait_until("it has left", LIMIT, || Ok(host.has("/var/tmp/moved")))?;
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
            lifeline.let_go(LIMIT)?;
            host.no_session_left(LIMIT)?;
            let record = host.record("session.ended", |record| record["ended_by"] == "revoked")?;
            ensure!(record["escaped"].as_u64().unwrap_or(0) >= 1 && record["left"] == 0, "{record}");
            Ok(())
        })?;
    }
    Ok(())
}

/// It is not forgotten when its sudo ends and its scope is empty, and it is still there when the window ends.
#[test]
fn who_leaves_the_cgroup_does_not_outlive_its_sudo_and_the_window() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut dave = host.login(DAVE)?;
            for linger in ["0", "1"] {
                let grant = host.grant(DAVE, "ops", "30m")?.to_string();
                host.root(&["rm", "-f", "/var/tmp/line", "/var/tmp/moved"])?.ok()?;
                let lifeline = host.lifeline("/var/tmp/line")?;
                let stray = "exec 9>/var/tmp/line; echo here >&9; echo 0 > /sys/fs/cgroup/evil/cgroup.procs; \
                             trap \"\" TERM HUP; echo moved > /var/tmp/moved; while :; do sleep 1; done";
                host.write("/var/tmp/stray", stray)?;
                dave.run(&format!(
                    "sudo -n bash -c 'mkdir -p /sys/fs/cgroup/evil; setsid bash /var/tmp/stray >/dev/null 2>&1 & \
                     until [ -e /var/tmp/moved ]; do :; done; sleep {linger}'"
                ))?
                .ok()?;
                lifeline.taken(LIMIT)?;
                // Its sudo has gone; the session has not.
                wait_until("it is back in a scope", LIMIT, || {
                    Ok(host.root_sh("grep -hc . /sys/fs/cgroup/jit.slice/jit-*.scope/cgroup.procs")?.status
                        == 0)
                })?;
                ensure!(lifeline.is_held()?, "it has ended before its window");
                host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
                lifeline.let_go(LIMIT)?;
                host.no_session_left(LIMIT)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// PID 1 cannot be asked for a scope then, and the end does not wait for it.
#[test]
fn the_window_ends_although_the_bus_does_not_answer() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let lifeline = host.lifeline("/var/tmp/line")?;
        host.grant(DAVE, "ops", "4s")?;
        let end = end_of(host, DAVE)?;
        host.root_sh("kill -STOP $(pidof dbus-daemon)")?.ok()?;
        dave.run(
            "sudo -n bash -c 'exec 9>/var/tmp/line; echo here >&9; setsid sleep 1000 >/dev/null 2>&1 & :'",
        )?
        .ok()?;
        lifeline.taken(LIMIT)?;
        let gone = lifeline.let_go(LIMIT)?;
        host.root_sh("kill -CONT $(pidof dbus-daemon)")?.ok()?;
        let late = Duration::from_micros(gone.saturating_sub(end));
        ensure!(gone >= end && late <= GRACE + AND_A_SECOND, "gone {late:?} after the end");
        host.no_session_left(LIMIT)?;
        Ok(())
    })
}

/// PID 1 holds the deadline too.
#[test]
fn the_window_ends_although_jitd_is_dead() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut terminal = host.login_at_terminal(DAVE)?;
            host.grant(DAVE, "ops", "5s")?;
            let end = end_of(host, DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?;
            if wall_micros() >= end {
                bail!("the machine is too slow for this story");
            }
            let gone = lifeline.let_go(LIMIT)?;
            let late = Duration::from_micros(gone.saturating_sub(end));
            ensure!(late < Duration::from_secs(10), "gone {late:?} after the end");
            Ok(())
        })?;
    }
    Ok(())
}
