//! With jitd down, stuck or replaced by something else sudo is denied in time, with the reason: it neither hangs nor
//! passes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{DAVE, PASSWORD};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::{Shells, refused};

/// The module's own timeout is two seconds; the rest is for a machine under load.
const TIMEOUT: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(20);
const GATED: [&str; 4] = ["sudo", "sudo-i", "su", "doas"];

fn ways(release: Release) -> Vec<String> {
    let mut ways = vec!["sudo -n sh -c 'id; touch /etc/ran'".to_owned()];
    if release == Release::Trixie {
        ways.push("sudo-rs -n sh -c 'id; touch /etc/ran'".to_owned());
    }
    ways.push("doas sh -c 'id; touch /etc/ran'".to_owned());
    ways.push(format!("echo {PASSWORD} | su -c 'id; touch /etc/ran'"));
    ways
}

fn refused_in_time(host: &Host, dave: &mut Shells, saying: &str) -> Result<()> {
    for way in ways(host.release()) {
        let output = dave.run(&way)?;
        refused(&output, host)?;
        output.within(TIMEOUT)?.says("is refused: jitd cannot be reached")?.says(saying)?;
        output.never_says("\u{1b}")?.never_says("come in\u{7}")?;
    }
    Ok(())
}

fn main_pid(host: &Host) -> Result<String> {
    let shown = host.root(&["systemctl", "show", "--property=MainPID", "--value", "jitd.service"])?;
    let pid = shown.ok()?.line().to_owned();
    ensure!(pid != "0", "jitd does not run");
    Ok(pid)
}

#[test]
fn a_stopped_daemon_refuses() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).gating(&GATED), |host| {
            host.grant(DAVE, "ops", "30m")?;
            let mut dave = Shells::of(host, DAVE)?;
            dave.run("sudo -n true")?.ok()?;
            host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?.ok()?;
            refused_in_time(host, &mut dave, "Ask the administrator of this host.")?;
            let said = host.root_sh("journalctl --no-pager --quiet | grep pam_jit")?;
            said.ok()?.says("dave")?;
            // root is never locked out.
            host.login("root")?.run("sudo -n id -u")?.ok()?.says("0")?;
            host.root_sh(
                "systemctl unmask --runtime jitd.socket jitd.service; systemctl start jitd.service",
            )?
            .ok()?;
            dave.run("sudo -n true")?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_daemon_that_never_answers_refuses() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&GATED), |host| {
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = Shells::of(host, DAVE)?;
        let pid = main_pid(host)?;
        host.root(&["kill", "-STOP", &pid])?.ok()?;
        refused_in_time(host, &mut dave, "no answer within")?;
        host.root(&["kill", "-CONT", &pid])?.ok()?;
        wait_until("jitd is well again", LIMIT, || Ok(dave.run("sudo -n true")?.status == 0))
    })
}

/// Somebody else holds the database, so that jitd has taken the call and cannot answer it yet; then it is killed.
#[test]
fn a_daemon_that_is_killed_in_mid_call_refuses() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&GATED), |host| {
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = Shells::of(host, DAVE)?;
        let mut root = host.login("root")?;
        root.run("mkfifo /root/let-go")?.ok()?;
        for way in ways(Release::Trixie) {
            wait_until("jitd is well", LIMIT, || Ok(dave.run("sudo -n true")?.status == 0))?;
            host.no_session_left(LIMIT)?;
            let pid = main_pid(host)?;
            root.run(
                "(echo 'BEGIN IMMEDIATE; SELECT 4711;'; read -r < /root/let-go) | sqlite3 /var/lib/jitd/jit.db > /root/held & \
                 until grep -q 4711 /root/held; do :; done",
            )?
            .ok()?;
            let calling = dave.fit_for(&way).start(&way)?;
            wait_until("the gate has taken the call", LIMIT, || Ok(connections(host)? > 0))?;
            host.root(&["kill", "-KILL", &pid])?.ok()?;
            let output = dave.fit_for(&way).finish(&calling, LIMIT)?;
            root.run("echo > /root/let-go; wait; rm /root/held")?.ok()?;
            output.within(TIMEOUT)?;
            refused(&output, host)?;
            output.says("is refused: jitd cannot be reached")?;
        }
        Ok(())
    })
}

/// Established connections of the gate's socket: those in state 3 (unix(7), `/proc/net/unix`).
fn connections(host: &Host) -> Result<usize> {
    let table = host.root(&["cat", "/proc/net/unix"])?.stdout;
    let established =
        |line: &&str| line.ends_with("/run/jitd/gate.sock") && line.split_whitespace().nth(5) == Some("03");
    Ok(table.lines().filter(established).count())
}

/// Killed at many different moments of a call: refused with the reason or, by the next jitd, allowed; never a hang, and
/// never a pass without a window.
#[test]
fn a_daemon_that_is_killed_at_any_moment_neither_hangs_nor_lets_pass() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = Shells::of(host, DAVE)?;
        for window in [false, true] {
            if window {
                host.grant(DAVE, "ops", "30m")?;
            }
            for n in 0..20 {
                let pid = main_pid(host)?;
                let way = &ways(Release::Trixie)[n % 2];
                let calling = dave.fit_for(way).start(way)?;
                host.root(&[
                    "bash",
                    "-c",
                    &format!("exec 8<> <(:); read -t 0.0{:02} -u 8; kill -KILL {pid}", n * 2),
                ])?;
                let output = dave.fit_for(way).finish(&calling, LIMIT)?;
                output.within(TIMEOUT)?;
                if window && output.status == 0 {
                    output.says("uid=0")?;
                    host.root(&["rm", "-f", "/etc/ran"])?.ok()?;
                } else {
                    refused(&output, host)?;
                    output.says("jit: sudo is refused")?;
                }
                wait_until("jitd is back", LIMIT, || {
                    let now =
                        host.root(&["systemctl", "show", "--property=MainPID", "--value", "jitd.service"])?;
                    Ok(!["0", pid.as_str()].contains(&now.line()))
                })?;
            }
        }
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}

#[test]
fn a_gate_that_answers_garbage_refuses() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&GATED), |host| {
        host.install("hostile")?;
        host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?.ok()?;
        let mut dave = Shells::of(host, DAVE)?;
        for how in ["hangup", "silence", "noise", "drip", "noise-after-login", "hangup-after-login", "never"]
        {
            fake_gate(host, how)?;
            refused_in_time(host, &mut dave, "jitd cannot be reached").with_context(|| how.to_owned())?;
        }
        // Answers of the right form are refusals, and what they say is harmless to a terminal.
        for how in ["maybe", "almost", "flood", "error"] {
            fake_gate(host, how)?;
            for way in ways(Release::Trixie) {
                let output = dave.run(&way).with_context(|| how.to_owned())?;
                refused(&output, host)?;
                output.within(TIMEOUT)?.never_says("\u{1b}")?.never_says("\u{7}")?;
                output.holds(output.text().lines().count() < 40, "few lines")?;
            }
        }
        // And somebody else than root on the socket is nobody to be asked.
        host.root_sh("systemctl stop hostile; rm -f /run/jitd/gate.sock; chown dave /run/jitd")?.ok()?;
        host.root_sh("systemd-run --quiet --uid=dave --unit=hostile --collect hostile gate almost")?.ok()?;
        wait_until("the fake gate is there", LIMIT, || {
            Ok(host.root(&["test", "-S", "/run/jitd/gate.sock"])?.status == 0)
        })?;
        refused_in_time(host, &mut dave, "jitd cannot be reached")?;
        Ok(())
    })
}

fn fake_gate(host: &Host, how: &str) -> Result<()> {
    host.root_sh(&format!(
        "systemctl stop hostile 2>/dev/null; rm -f /run/jitd/gate.sock; \
         systemd-run --quiet --unit=hostile --collect hostile gate {how}"
    ))?
    .ok()?;
    wait_until("the fake gate is there", LIMIT, || {
        Ok(host.root(&["test", "-S", "/run/jitd/gate.sock"])?.status == 0)
    })
}

/// A full disk: what cannot be recorded is not allowed.
#[test]
fn what_cannot_be_recorded_is_refused() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        // The state on a file system of its own that is full afterwards.
        host.root_sh(
            "systemctl stop jitd.service; cp -a /var/lib/jitd /root/copy; mount -t tmpfs -o size=512k,mode=700 none /var/lib/jitd; \
             cp -a /root/copy/. /var/lib/jitd/; systemctl start jitd.service; \
             dd if=/dev/zero of=/var/lib/jitd/filler bs=4k status=none; systemctl is-active jitd.service",
        )?
        .says("active")?;
        let mut refusals = 0;
        for _ in 0..40 {
            // The write-ahead log may have a little room left.
            let output = dave.run("sudo -n sh -c 'id; touch /etc/ran'")?;
            if output.status != 0 {
                refused(&output, host)?;
                output.says("is refused")?.within(TIMEOUT)?;
                refusals += 1;
                if refusals == 3 {
                    break;
                }
            } else {
                host.root(&["rm", "-f", "/etc/ran"])?.ok()?;
            }
        }
        ensure!(refusals == 3, "it went on without room for a record");
        host.root(&["rm", "/var/lib/jitd/filler"])?.ok()?;
        wait_until("there is room again", LIMIT, || Ok(dave.run("sudo -n true")?.status == 0))?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}
