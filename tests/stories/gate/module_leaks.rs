//! The PAM module leaves no descriptor, thread or memory in the program that loads it, however often it is called.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::length::size;
use jit_tests::people::{DAVE, uid};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::sudos;

/// Calls in a row: in `make test`, and in `make soak`.
fn calls() -> u32 {
    size(500, 2000)
}

fn in_use(host: &Host) -> Result<(u64, u64)> {
    let count = "pid=$(systemctl show --property=MainPID --value jitd.service); ls /proc/$pid/fd | wc -l; \
        ls /proc/$pid/task | wc -l";
    let counted = host.root_sh(count)?;
    let numbers: Vec<u64> = counted.ok()?.stdout.split_whitespace().flat_map(str::parse).collect();
    Ok((*numbers.first().context("descriptors")?, *numbers.get(1).context("threads")?))
}

fn many_calls(release: Release, sudo: &str) -> Result<()> {
    let calls = calls();
    play(&Plan::new(release), |host| {
        host.grant(DAVE, "ops", "2h")?;
        let mut dave = host.login(DAVE)?;
        dave.run(&format!("{sudo} -n true"))?.ok()?;
        let before = in_use(host)?;
        let line = format!(
            "hung=0 failed=0; for n in $(seq {calls}); do timeout --foreground 10 {sudo} -n true; s=$?; \
             [ $s = 124 ] && hung=$((hung+1)); [ $s = 0 ] || failed=$((failed+1)); done; echo $hung $failed"
        );
        let done = dave.run_within(&line, Duration::from_secs(600))?;
        done.ok()?.holds(done.line() == "0 0", "0 hung and 0 failed")?;
        host.no_session_left(Duration::from_secs(60))?;
        let after = in_use(host)?;
        ensure!(
            after.0 <= before.0 + 8 && after.1 <= before.1 + 4,
            "descriptors, threads: {before:?}, then {after:?}"
        );
        let status = host.jitctl(&["status"])?;
        ensure!(status["records"].as_u64().unwrap_or(0) > u64::from(calls), "{status}");
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}

#[test]
fn calls_in_a_row_of_sudo_neither_hang_nor_fail() -> Result<()> {
    many_calls(Release::Trixie, "sudo")
}

#[test]
fn calls_in_a_row_of_sudo_rs_neither_hang_nor_fail() -> Result<()> {
    many_calls(Release::Trixie, "sudo-rs")
}

/// Many at once, more than the machine has processors for: every one is served, and by the same daemon.
#[test]
fn many_calls_at_once_neither_hang_nor_fail() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.grant(DAVE, "ops", "2h")?;
            let pid = ["systemctl", "show", "--property=MainPID", "--value", "jitd.service"];
            let before = host.root(&pid)?.ok()?.line().to_owned();
            let mut dave = host.login(DAVE)?;
            let line = "seq 640 | xargs -P 64 -I{} sh -c 'timeout --foreground 20 sudo -n true || echo {} failed: $?'";
            let done = dave.run_within(line, Duration::from_secs(300))?;
            done.ok()?.holds(done.text().is_empty(), "no failure")?;
            host.no_session_left(Duration::from_secs(60))?;
            let after = host.root(&pid)?.ok()?.line().to_owned();
            ensure!(before == after, "jitd is another process than before");
            host.root(&["jitctl", "audit", "verify"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// A stack of nothing but our lines, so that whatever is seen is ours.
const ALONE: &str = "account [success=ok default=die] pam_jit.so gate\n\
    session [success=ok default=die] pam_jit.so gate\nsession [success=ok default=die] pam_jit.so track\n";

#[test]
fn the_module_starts_nothing_and_leaves_no_descriptor() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.write("/etc/pam.d/sudo", ALONE)?;
            for window in [false, true] {
                if window {
                    host.grant(DAVE, "ops", "30m")?;
                }
                // As in sudo: the real uid is dave's, the effective one root's.
                let pamtester = format!(
                    "strace -f -o /root/trace setpriv --ruid={} pamtester -I ruser=dave sudo dave \
                     acct_mgmt open_session close_session",
                    uid(DAVE)
                );
                let done = host.root_sh(&pamtester)?;
                done.holds((done.status == 0) == window, "success with a window, and only then")?;
                let trace = host.read("/root/trace")?;
                ensure!(trace.contains("/run/jitd/gate.sock"), "the gate was not called");
                traces_nothing(&trace).with_context(|| format!("with a window: {window}"))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn traces_nothing(trace: &str) -> Result<()> {
    let mut open: BTreeMap<i32, String> = BTreeMap::new();
    // What comes before is setpriv's and pamtester's own.
    for line in trace.lines().skip_while(|line| !line.contains("pam_jit.so")) {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        for forbidden in ["clone(", "clone3(", "fork(", "vfork("] {
            ensure!(!call.starts_with(forbidden), "it starts something: {line}");
        }
        let result =
            call.rsplit_once(" = ").and_then(|(_, result)| result.split(' ').next()?.parse::<i32>().ok());
        let Some(result) = result.filter(|result| *result >= 0) else { continue };
        let name = call.split('(').next().unwrap_or_default();
        match name {
            "socket" | "openat" | "open" | "pidfd_open" | "epoll_create1" | "eventfd2" | "timerfd_create"
            | "dup" => {
                // A pidfd always has it. The others without are libpam's own: its files, its socket to the audit system.
                let libpams = ["\"/etc/", "AF_NETLINK"].iter().any(|text| call.contains(text));
                let marked = call.contains("CLOEXEC") || name == "pidfd_open" || libpams;
                ensure!(marked, "without CLOEXEC: {line}");
                open.insert(result, line.to_owned());
            }
            "fcntl" if call.contains("F_DUPFD") => {
                open.insert(result, line.to_owned());
            }
            "pipe2" | "socketpair" => {
                ensure!(call.contains("CLOEXEC"), "without CLOEXEC: {line}");
                let pair = call.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']'));
                let pair = pair.with_context(|| format!("a pair of descriptors: {line}"))?.0;
                for one in pair.split(", ") {
                    open.insert(one.parse()?, line.to_owned());
                }
            }
            "close" => {
                let closed = call.split(['(', ')']).nth(1).and_then(|fd| fd.parse::<i32>().ok());
                if let Some(closed) = closed {
                    open.remove(&closed);
                }
            }
            _ => {}
        }
    }
    ensure!(open.is_empty(), "left open:\n{}", open.values().cloned().collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// su and doas close nothing before they run a command: what the module leaves open, the command has.
#[test]
fn the_command_inherits_no_descriptor() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&["sudo", "su", "doas"]), |host| {
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        let list = "ls -l /proc/self/fd | grep -c ' -> '";
        let usual = dave.run(list)?.line().to_owned();
        let password = jit_tests::people::PASSWORD;
        for line in [
            format!("doas sh -c \"{list}\""),
            format!("echo {password} | su -c \"{list}\""),
            format!("sudo -n sh -c \"{list}\""),
        ] {
            let output = dave.run(&line)?;
            output.ok()?.holds(
                output.line().lines().last() == Some(usual.as_str()),
                &format!("{usual} descriptors"),
            )?;
        }
        Ok(())
    })
}

#[test]
fn every_sudo_of_a_release_is_on_its_host() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).bare(), |host| {
            for sudo in sudos(release) {
                host.root(&[sudo, "--version"])?.ok()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
