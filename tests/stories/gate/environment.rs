//! What a user puts into the environment of sudo changes nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::people::{DAVE, PASSWORD};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::{Shells, refused};

const LIMIT: Duration = Duration::from_secs(5);

/// What setuid programs have been fooled with, and what the libraries of the module would read if they were asked to.
const ENVIRONMENT: &str = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/home/dave/bus \
    DBUS_SESSION_BUS_ADDRESS=unix:path=/home/dave/bus DBUS_STARTER_ADDRESS=unix:path=/home/dave/bus \
    RUST_BACKTRACE=full RUST_LOG=trace RUST_LIB_BACKTRACE=1 \
    TOKIO_WORKER_THREADS=0 BLOCKING_MAX_THREADS=0 ASYNC_GLOBAL_EXECUTOR_THREADS=0 \
    LD_PRELOAD=/home/dave/evil.so LD_AUDIT=/home/dave/evil.so LD_LIBRARY_PATH=/home/dave LD_BIND_NOW=1 \
    LD_DEBUG=all GLIBC_TUNABLES=glibc.malloc.check=3 GCONV_PATH=/home/dave LOCPATH=/home/dave \
    LANG=../../home/dave LC_ALL=xx NLSPATH=/home/dave/%N TMPDIR=/home/dave XDG_RUNTIME_DIR=/home/dave \
    NOTIFY_SOCKET=/home/dave/bus LISTEN_FDS=3 LISTEN_PID=1 HOSTALIASES=/home/dave/evil TZ=:/home/dave/evil \
    SUDO_COMMAND=/usr/bin/evil SUDO_UID=0 SUDO_USER=root USER=root LOGNAME=root HOME=/root";

/// `RUST_MIN_STACK` once far too small, once far too large, once no number.
const STACKS: [&str; 3] = ["1", "99999999999999999999", "none"];

fn ways() -> Vec<String> {
    let mut ways = Vec::new();
    for stack in STACKS {
        let env = format!("env {ENVIRONMENT} RUST_MIN_STACK={stack}");
        for sudo in ["sudo -n", "sudo-rs -n", "doas"] {
            ways.push(format!("{env} {sudo} sh -c 'id; touch /etc/ran'"));
        }
        ways.push(format!("echo {PASSWORD} | {env} su -c 'id; touch /etc/ran'"));
    }
    ways
}

fn prepare(host: &Host) -> Result<Shells> {
    host.install("hostile")?;
    let mut dave = Shells::of(host, DAVE)?;
    dave.run("for evil in evil.so libpam.so.0 libc.so.6 evil; do echo evil > $evil; done")?.ok()?;
    dave.run("hostile bus /home/dave/bus /home/dave/count >/dev/null 2>&1 &")?.ok()?;
    jit_tests::clock::wait_until("the fake bus is there", LIMIT, || {
        Ok(host.has("/home/dave/bus") && host.has("/home/dave/count"))
    })?;
    Ok(dave)
}

fn a_hostile_environment(plan: &Plan) -> Result<()> {
    play(plan, |host| {
        let mut dave = prepare(host)?;
        for way in ways() {
            let output = dave.run(&way)?;
            refused(&output, host)?;
            output.says("is refused: dave has no open window")?.within(LIMIT)?;
        }
        host.grant(DAVE, "ops", "30m")?;
        for way in ways() {
            let output = dave.run(&way)?;
            output.ok()?.says("uid=0(root)")?.within(LIMIT)?;
            ensure!(host.has("/etc/ran"), "it ran nothing:\n{output}");
            host.root(&["rm", "/etc/ran"])?.ok()?;
        }
        let connections = host.read("/home/dave/count")?;
        ensure!(connections.is_empty(), "the fake bus was called:\n{connections}");
        Ok(())
    })
}

#[test]
fn the_environment_changes_nothing() -> Result<()> {
    a_hostile_environment(&Plan::new(Release::Trixie).gating(&["sudo", "sudo-i", "su", "doas"]))
}

#[test]
fn the_environment_changes_nothing_on_the_system_bus() -> Result<()> {
    let plan = Plan::new(Release::Trixie).gating(&["sudo", "sudo-i", "su", "doas"]);
    a_hostile_environment(&plan.with_module_options("bus=system"))
}

/// A reason, a ticket or a command line with terminal sequences reaches no terminal as such.
#[test]
fn control_characters_are_escaped_wherever_they_are_shown() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let evil = "$'an evil reason \\x1b[2J\\x07\\njitd: approved \\u202e'";
        let asked = dave.run(&format!("jitctl --json request ops --reason {evil}"))?;
        let id = asked.json()?["id"].to_string();
        host.grant(DAVE, "ops", "30m")?;
        dave.run("sudo -n true $'\\x1b[2J' $'line\\nbreak'")?.ok()?;
        for line in
            ["jitctl pending", "jitctl grants", "jitctl audit show --last 100", "journalctl --no-pager -q"]
        {
            let shown = host.root_sh(line)?;
            shown.ok()?.never_says("\u{1b}")?.never_says("\u{7}")?.never_says("\u{202e}")?;
            shown.holds(
                !shown.stdout.lines().any(|line| line.starts_with("jitd: approved")),
                "one line each",
            )?;
        }
        dave.run(&format!("jitctl show {id}"))?.ok()?.never_says("\u{1b}")?;
        Ok(())
    })
}
