//! The harness itself: hosts, logins, terminals, without the package.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{cgroup_of, play};
use jit_tests::paths;
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_bare_host_has_people_who_can_use_sudo() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).bare(), |host| {
            let mut alice = host.login("alice")?;
            alice.run("echo out; echo err >&2; exit_with() { return $1; }; exit_with 3")?.exits(3)?;
            alice.run("id -un; cat /proc/self/loginuid")?.ok()?.says("alice")?.says("2001")?;
            alice.run("sudo -n true")?.fails()?.says("a password is required")?;
            alice.run("echo correct-horse | sudo -S id -un")?.ok()?.says("root")?;
            host.login("dave")?.run("sudo -n id -un")?.ok()?.says("root")?;

            let mut terminal = host.login_at_terminal("alice")?;
            terminal.run("tty; sudo -k")?.ok()?.says("/dev/pts/")?;
            let asked = terminal.start("sudo id -un")?;
            terminal.expect("password for alice:", LIMIT)?;
            terminal.type_in("correct-horse\n")?;
            terminal.finish(&asked, LIMIT)?.ok()?.says("root")?;
            let shell = terminal.start("sudo -s")?;
            terminal.run("id -un")?.ok()?.says("root")?;
            terminal.exit_from(&shell)?.ok()?;
            terminal.run("id -un")?.ok()?.says("alice")?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_lifeline_is_let_go_when_the_last_holder_ends() -> Result<()> {
    play(&Plan::new(Release::Trixie).bare(), |host| {
        let lifeline = host.lifeline("/var/tmp/line")?;
        ensure!(lifeline.let_go(Duration::ZERO).is_err());
        let mut alice = host.login("alice")?;
        alice.run("exec 9>/var/tmp/line; echo me >&9; setsid sleep 1000 & pid=$!; exec 9>&-")?.ok()?;
        ensure!(lifeline.is_held()?);
        alice.run("kill $pid")?.ok()?;
        lifeline.let_go(LIMIT)?;
        ensure!(!lifeline.is_held()?);
        Ok(())
    })
}

#[test]
fn a_host_keeps_its_disk_over_a_reboot() -> Result<()> {
    play(&Plan::new(Release::Trixie).bare(), |host| {
        let boot = host.root(&["cat", "/proc/sys/kernel/random/boot_id"])?.line().to_owned();
        host.login("alice")?.run("echo here > kept")?.ok()?;
        host.reboot()?;
        host.login("alice")?.run("cat kept")?.ok()?.says("here")?;
        host.root(&["cat", "/proc/sys/kernel/random/boot_id"])?.ok()?.never_says(&boot)?;
        Ok(())
    })
}

/// A harness that is killed leaves no host, no mount and no folder for the next one to stumble over.
#[test]
fn a_killed_harness_takes_its_hosts_down() -> Result<()> {
    let limit = Duration::from_secs(90);
    for signal in ["TERM", "KILL"] {
        let mut harness = Command::new(std::env::current_exe()?)
            .args(["--exact", "host::bare_host::a_bare_host_has_people_who_can_use_sudo"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = harness.id().to_string();
        let host = format!("bookworm-{pid}-1");
        let folder = paths::runs().join(&host);
        let cgroup = cgroup_of(&host)?;
        wait_until("its host is up", limit, || Ok(cgroup.join("payload/harness").exists()))?;
        ensure!(Command::new("kill").args([&format!("-{signal}"), &pid]).status()?.success());
        harness.wait()?;
        wait_until("its folder is gone", limit, || Ok(!folder.exists()))
            .with_context(|| signal.to_owned())?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        ensure!(!mounts.contains(&host), "SIG{signal}: {host} is mounted still:\n{mounts}");
        ensure!(!cgroup.exists(), "SIG{signal}: the cgroup of {host} is there still");
    }
    Ok(())
}
