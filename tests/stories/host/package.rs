//! Installing changes nothing about sudo, and removing locks nobody out.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::paths;
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(120);
const PAM_FILES: &str = "cat /etc/pam.d/* | sha256sum; ls /etc/pam.d";

fn fetch_package(host: &Host) -> Result<()> {
    let package = std::fs::read(paths::package()?)?;
    host.root_with(&["sh", "-c", "cat > /root/jitd.deb"], &package, LIMIT)?.ok()?;
    Ok(())
}

fn dpkg(host: &Host, words: &[&str]) -> Result<String> {
    let words = [&["env", "DEBIAN_FRONTEND=noninteractive", "dpkg"], words].concat();
    Ok(host.root_with(&words, b"", LIMIT)?.ok()?.text())
}

#[test]
fn installing_changes_no_pam_file_and_starts_the_daemon() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).bare(), |host| {
            let mut dave = host.login(DAVE)?;
            fetch_package(host)?;
            let before = host.root_sh(PAM_FILES)?.stdout;
            dpkg(host, &["--install", "/root/jitd.deb"])?;
            ensure!(host.root_sh(PAM_FILES)?.stdout == before, "a PAM file has changed");
            dave.run("sudo -n id -u")?.ok()?.says("0")?;
            host.root(&["systemctl", "is-active", "jitd.service", "jitd.socket"])?.ok()?;
            host.root(&["jitctl", "status"])?.ok()?;
            host.root(&["jitctl", "policy", "check"])?.ok()?;
            host.root(&["jitctl", "audit", "verify"])?.ok()?;
            // Once more over itself: an upgrade.
            dpkg(host, &["--install", "/root/jitd.deb"])?;
            host.root(&["systemctl", "is-active", "jitd.service", "jitd.socket"])?.ok()?;
            host.root(&["jitctl", "audit", "verify"])?.ok()?;
            let purged = dpkg(host, &["--purge", "jitd"])?;
            ensure!(host.root_sh(PAM_FILES)?.stdout == before, "a PAM file has changed");
            dave.run("sudo -n id -u")?.ok()?.says("0")?;
            // The record cannot be made again: it is kept until somebody deletes it by the command that was shown.
            ensure!(host.has("/var/lib/jitd/jit.db") && purged.contains("rm -rf /var/lib/jitd"), "{purged}");
            dpkg(host, &["--install", "/root/jitd.deb"])?;
            let again = host.root(&["jitctl", "audit", "verify"])?;
            again.ok()?.never_says("NOT THE WHOLE")?.never_says("the first record is of 1970")?;
            ensure!(host.records()?[0]["seq"] == 1, "the record does not go on");
            ensure!(host.records()?.len() > 3, "the record does not go on");
            dpkg(host, &["--purge", "jitd"])?;
            host.root_sh("rm -rf /var/lib/jitd /var/log/jitd")?.ok()?;
            dpkg(host, &["--install", "/root/jitd.deb"])?;
            let anew = host.root(&["jitctl", "audit", "verify"])?;
            anew.ok()?.never_says("NOT THE WHOLE").context("a host that was cleaned is a new one")?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn removing_the_package_does_not_lock_sudo() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).gating(&["sudo", "sudo-i", "su", "doas"]), |host| {
            let mut dave = host.login(DAVE)?;
            dave.run("sudo -n true")?.fails()?.says("jit: sudo is refused")?;
            let said = dpkg(host, &["--remove", "jitd"])?;
            ensure!(said.contains("/etc/pam.d/sudo"), "it did not say what it changed:\n{said}");
            dave.run("sudo -n id -u")?.ok()?.says("0")?.never_says("jit")?;
            dave.run("doas id -u")?.ok()?.says("0")?;
            host.root_sh("! grep -l '^[^#]*pam_jit' /etc/pam.d/{sudo,sudo-i,su,doas}")?.ok()?;
            ensure!(host.has("/var/lib/jitd/jit.db"), "the record is gone with the package");
            Ok(())
        })?;
    }
    Ok(())
}

/// An upgrade inside a window: the grant, the session and the record stay.
#[test]
fn an_upgrade_keeps_the_window_open() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        fetch_package(host)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let mut terminal = host.login_at_terminal(DAVE)?;
        terminal.start("sudo -s")?;
        terminal.run("id -u")?.ok()?.says("0")?;
        // Somebody works all the while: PID 1 holds the socket, so that a call waits and does not fail.
        let mut dave = host.login(DAVE)?;
        let working = dave.start(
            "n=0; until [ -e /var/tmp/upgraded ]; do sudo -n true || echo failed; n=$((n+1)); done; echo $n calls",
        )?;
        dpkg(host, &["--install", "/root/jitd.deb"])?;
        host.root(&["touch", "/var/tmp/upgraded"])?.ok()?;
        let worked = dave.finish(&working, Duration::from_secs(60))?;
        worked.ok()?.never_says("failed")?.says("calls")?;
        ensure!(host.jitctl(&["grants"])?[0]["id"] == grant, "the grant is gone");
        ensure!(host.jitctl(&["sessions"])?[0]["grant"] == grant, "the session is gone");
        terminal.run("id -u")?.ok()?.says("0")?;
        host.login(DAVE)?.run("sudo -n true")?.ok()?;
        Ok(())
    })
}

/// An upgrade whose units differ, and then a drop-in by hand, while a session is open.
#[test]
fn an_upgrade_that_changes_our_units_is_no_tampering_and_a_drop_in_is() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        fetch_package(host)?;
        let unit = "usr/lib/systemd/system/jitd.service";
        // A unit, the program that was built with it, and the checksums of both: what another version brings.
        host.root_sh(&format!(
            "dpkg-deb --raw-extract /root/jitd.deb /root/new && cd /root/new \
             && sed -i 's/^# Never give up: while/# Of another version: /' {unit} usr/libexec/jitd \
             && for file in {unit} usr/libexec/jitd; do \
                sed -i \"s|^[0-9a-f]*  $file$|$(md5sum $file)|\" DEBIAN/md5sums; done \
             && dpkg-deb --build /root/new /root/new.deb"
        ))?
        .ok()?;
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        let line = dave.start("sudo -n sh -c 'until [ -e /run/over ]; do sleep 0.2; done'")?;
        host.record("session.opened", |_| true)?;
        dpkg(host, &["--install", "/root/new.deb"])?;
        host.root_sh(&format!("grep --quiet '^# Of another version' /{unit}"))?.ok()?;
        host.root(&["systemctl", "daemon-reload"])?.ok()?;
        host.root_sh(
            "mkdir -p /etc/systemd/system/jitd.service.d && echo >/etc/systemd/system/jitd.service.d/x.conf",
        )?
        .ok()?;
        host.root(&["systemctl", "daemon-reload"])?.ok()?;
        let tampered = host.record("scope.tampered", |_| true)?;
        let detail = tampered["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains("jitd.service.d/x.conf is new") && !detail.contains("another"), "{detail}");
        let all = host.records()?.into_iter().filter(|record| record["event"] == "scope.tampered").count();
        ensure!(all == 1, "the upgrade was told as tampering");
        host.root(&["touch", "/run/over"])?.ok()?;
        dave.finish(&line, LIMIT)?.ok().map(drop)
    })
}

/// Root in a window changes a unit of ours, and the checksum that its package has of it: this program still knows its own
/// unit, while it runs and at each start.
#[test]
fn a_unit_that_was_changed_with_its_checksum_is_tampering() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        let line = dave.start("sudo -n sh -c 'until [ -e /run/over ]; do sleep 0.2; done'")?;
        host.record("session.opened", |_| true)?;
        host.write_program(
            "/srv/plant.sh",
            "#!/bin/sh\nset -e\ncd /\nunit=usr/lib/systemd/system/jitd.service\n\
             sed -i 's/^WatchdogSec=30$/WatchdogSec=300/' $unit\n\
             sed -i \"s|^[0-9a-f]*  $unit$|$(md5sum $unit)|\" var/lib/dpkg/info/jitd.md5sums\n\
             dpkg --verify jitd\nsystemctl daemon-reload\n",
        )?;
        host.login(DAVE)?.run("sudo -n /srv/plant.sh")?.ok()?.never_says("jitd.service")?;
        let named = "/usr/lib/systemd/system/jitd.service is another";
        host.record("scope.tampered", |record| record["detail"].to_string().contains(named))?;
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        let named = "at the start: /usr/lib/systemd/system/jitd.service is not the unit that this jitd was built with";
        host.record("scope.tampered", |record| record["detail"].to_string().contains(named))?;
        host.root(&["touch", "/run/over"])?.ok()?;
        dave.finish(&line, LIMIT)?.ok().map(drop)
    })
}

/// The stacks that the package shows are Debian's own and our lines, on every release.
#[test]
fn the_example_stacks_are_debians_own_with_our_lines() -> Result<()> {
    let lines = |stack: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let ours = |line: &String| !line.is_empty() && !line.starts_with('#') && !line.contains("pam_jit.so");
        stack.lines().map(words).filter(ours).collect()
    };
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).bare(), |host| {
            for service in ["sudo", "sudo-i", "su", "doas", "runuser-l"] {
                let example = paths::repository().join(format!("packaging/pam/debian-{service}"));
                let example =
                    std::fs::read_to_string(&example).with_context(|| example.display().to_string())?;
                let stock = host.read(&format!("/etc/pam.d/{service}"))?;
                ensure!(
                    lines(&example) == lines(&stock),
                    "{service}: {:?} {:?}",
                    lines(&example),
                    lines(&stock)
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A stack that names the module while it is missing refuses; it never lets pass.
#[test]
fn a_missing_module_refuses() -> Result<()> {
    play(&Plan::new(Release::Trixie).bare().gating(&["sudo", "doas"]), |host| {
        let mut dave = host.login(DAVE)?;
        for line in ["sudo -n id", "sudo-rs -n id", "doas id"] {
            dave.run(line)?.fails()?.never_says("uid=0")?;
        }
        Ok(())
    })
}
