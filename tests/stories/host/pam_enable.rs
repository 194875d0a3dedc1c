//! `jitctl pam`: whatever happens to a change of stacks, sudo works as before or asks and is armed to be undone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::paths;
use jit_tests::people::{ALICE, DAVE, PASSWORD};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(60);
const RELEASES: [Release; 2] = [Release::Bookworm, Release::Trixie];
const MODULE: &str = "$(dpkg --listfiles jitd | grep '/pam_jit.so$')";
/// Nothing starts it again, the bus neither.
const WITHOUT_JITD: &str = "systemctl mask --now --runtime jitd.socket jitd-operator.socket jitd.service";

/// A host with the package whose stacks are Debian's own.
fn stock(release: Release) -> Plan {
    Plan::new(release).gating(&[])
}

/// Plays on a host with the package whose stacks are Debian's own, and whose root has a password.
fn play_stock(release: Release, story: impl FnOnce(&mut Host) -> Result<()>) -> Result<()> {
    play(&stock(release), |host| {
        host.root_sh(&format!("echo root:{PASSWORD} | chpasswd"))?.ok()?;
        story(host)
    })
}

/// Everything that a change could leave: content, owner, mode, attributes of every stack; the folder and the timers of jitd.
fn traces(host: &Host) -> Result<String> {
    let script = "cd /etc/pam.d && sha256sum * && stat -c '%n %U %G %a %Y' * && ls -A && \
                  systemctl list-units --all --plain --no-legend 'jitd-pam-undo-*'";
    Ok(host.root_sh(script)?.ok()?.stdout.clone())
}

fn enable(host: &Host, words: &[&str]) -> Result<jit_tests::output::Output> {
    host.root_with(&[&["jitctl", "pam", "enable"], words].concat(), b"", LIMIT)
}

fn works_as_before(host: &Host, before: &str) -> Result<()> {
    ensure!(traces(host)? == before, "something is left:\n{before}\nbecame\n{}", traces(host)?);
    let mut dave = host.login(DAVE)?;
    for line in ["sudo -n id -u", "sudo -n -i id -u"] {
        dave.run(line)?.ok()?.says("0")?.never_says("jit")?;
    }
    Ok(())
}

/// Waits until PID 1 has undone a change.
fn is_undone(host: &Host, before: &str) -> Result<()> {
    wait_until("the change is undone", LIMIT, || Ok(traces(host)? == before))
        .with_context(|| format!("{before}\nbecame\n{}", traces(host).unwrap_or_default()))?;
    works_as_before(host, before)
}

#[test]
fn a_broken_module_or_stack_changes_nothing() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            let before = traces(host)?;
            let break_and_mend = [
                (format!("cp {MODULE} /root/module && echo junk >{MODULE}"), format!("cp /root/module {MODULE}")),
                (format!("mv {MODULE} /root/module"), format!("mv /root/module {MODULE}")),
                (
                    "cp -p /etc/pam.d/common-account /root/stack && sed -i '1i account required pam_missing.so' /etc/pam.d/common-account"
                        .to_owned(),
                    "cp -p /root/stack /etc/pam.d/common-account".to_owned(),
                ),
            ];
            for (breaks, mends) in break_and_mend {
                host.root_sh(&breaks)?.ok()?;
                let broken = traces(host)?;
                let refused = enable(host, &["sudo", "sudo-i", "--yes"])?;
                refused.exits(1)?.says("nothing was changed: the trial of sudo failed")?;
                ensure!(traces(host)? == broken, "{breaks}: something was changed");
                host.root_sh(&mends)?.ok()?;
                works_as_before(host, &before)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn nobody_enables_what_would_lock_everybody_out() -> Result<()> {
    play(&stock(Release::Trixie), |host| {
        let before = traces(host)?;
        let mut dave = host.login(DAVE)?;
        dave.run("jitctl pam enable sudo --yes")?.exits(3)?.says("only root")?;
        enable(host, &["sudo"])?.exits(2)?.says("add --yes")?;
        // No password of root's, no key.
        host.root_sh("usermod --lock root && rm -rf /root/.ssh")?.ok()?;
        let refused = enable(host, &["sudo", "--yes"])?;
        refused.exits(1)?.says("nobody could get back in")?.says("passwd root")?;
        works_as_before(host, &before)?;
        host.root_sh(&format!("echo root:{PASSWORD} | chpasswd && usermod --unlock root"))?.ok()?;
        enable(host, &["sudo", "--dry-run"])?.ok()?.says("a way back in: root has a password")?;
        works_as_before(host, &before)?;
        // No role that anybody could get for it.
        for role in [
            "",
            "[role.ops]\nmembers = [\"dave\"]\nservices = [\"sudo-i\"]\n[role.ops.approval]\nfrom = [\"bob\"]\n",
        ] {
            host.root_sh("rm /etc/jitd/roles.d/*.toml")?.ok()?;
            host.write("/etc/jitd/roles.d/ops.toml", role)?;
            host.root(&["systemctl", "reload", "jitd"])?.ok()?;
            enable(host, &["sudo", "--yes"])?.exits(1)?.says("no role that opens sudo has a member")?;
        }
        host.root_sh(WITHOUT_JITD)?.ok()?;
        enable(host, &["sudo", "--yes"])?.exits(1)?.says("jitd cannot be asked")?;
        works_as_before(host, &before)?;
        let forced = enable(host, &["sudo", "--yes", "--force", "--revert-after", "2s"])?;
        forced.ok()?.says("FORCED: jitd cannot be asked")?;
        is_undone(host, &before)
    })
}

#[test]
fn a_full_disk_changes_nothing_and_stops_no_undo() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            let script = "cp -a /etc/pam.d /root/ && mount -t tmpfs -o size=512k,mode=755 none /etc/pam.d && \
                          cp -a /root/pam.d/. /etc/pam.d/";
            host.root_sh(script)?.ok()?;
            let fill = "! dd if=/dev/zero of=/etc/pam.d/filling bs=1k 2>/dev/null";
            host.root_sh(fill)?.ok()?;
            let full = traces(host)?;
            enable(host, &["sudo", "sudo-i", "--yes"])?.exits(1)?.says("No space left on device")?;
            works_as_before(host, &full)?;
            host.root(&["rm", "/etc/pam.d/filling"])?.ok()?;
            let before = traces(host)?;
            enable(host, &["sudo", "sudo-i", "--yes", "--revert-after", "3s"])?.ok()?;
            host.root_sh(fill)?.ok()?;
            wait_until("the change is undone", LIMIT, || {
                Ok(!host.root_sh("cat /etc/pam.d/sudo /etc/pam.d/sudo-i")?.stdout.contains("pam_jit"))
            })?;
            host.root(&["rm", "/etc/pam.d/filling"])?.ok()?;
            is_undone(host, &before)
        })?;
    }
    Ok(())
}

/// Kills `pam enable` at 50 moments, from its first to after its last.
#[test]
fn a_kill_at_any_moment_leaves_every_stack_whole_and_is_undone() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            let before = traces(host)?;
            enable(host, &["sudo", "sudo-i", "--yes", "--revert-after", "2s"])?.ok()?;
            host.root_sh(
                "sha256sum /etc/pam.d/sudo /etc/pam.d/sudo-i | cut -c1-64 | tr '\\n' ' ' >/run/after",
            )?
            .ok()?;
            is_undone(host, &before)?;
            let script = r#"
                cd /etc/pam.d
                sums() { sha256sum sudo sudo-i | cut -c1-64 | tr '\n' ' '; }
                now() { date +%s%N; }
                read -r stock_sudo stock_sudo_i <<<"$(sums)"
                read -r gated_sudo gated_sudo_i </run/after
                enable="jitctl pam enable sudo sudo-i --yes --revert-after 1s"
                begun=$(now); $enable >/run/said 2>&1 || exit 1; took=$(( $(now) - begun ))
                wait_for_stock() {
                    for try in $(seq 300); do
                        [ "$(sums)" = "$stock_sudo $stock_sudo_i " ] && return 0
                        sleep 0.1
                    done
                    echo "kill $n: not undone"; return 1
                }
                wait_for_stock || exit 1
                in_force=0 half=0 unchanged=0
                for n in $(seq 50); do
                    $enable >/run/said 2>&1 & pid=$!
                    sleep "$(awk "BEGIN { print $took / 1e9 * $n / 46 }")"
                    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
                    # What it had started for itself may be under way still: PID 1 arms the timer or does not.
                    read -r sudo sudo_i <<<"$(sums)"
                    case "$sudo $sudo_i" in
                        "$stock_sudo $stock_sudo_i") unchanged=$((unchanged + 1)) ;;
                        "$gated_sudo $gated_sudo_i") in_force=$((in_force + 1)) ;;
                        "$gated_sudo $stock_sudo_i") half=$((half + 1)) ;;
                        *) echo "kill $n: a stack is torn"; cat sudo sudo-i; exit 1 ;;
                    esac
                    wait_for_stock || exit 1
                    runuser -u dave -- sudo -n true || { echo "kill $n: sudo does not work"; exit 1; }
                done
                echo "unchanged $unchanged, one of two $half, in force $in_force"
                [ $unchanged -gt 0 ] && [ $in_force -gt 0 ]
            "#;
            let killed = host.root_with(&["bash", "-c", script], b"", Duration::from_secs(600))?;
            killed.ok()?.says("unchanged")?;
            // What a kill before the change left is cleared away by the next.
            host.root(&["jitctl", "pam", "undo"])?.ok()?;
            is_undone(host, &before)
        })?;
    }
    Ok(())
}

#[test]
fn a_lost_login_or_no_confirmation_undoes_it() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            let before = traces(host)?;
            let mut terminal = host.login_at_terminal(DAVE)?;
            terminal
                .run("sudo -n jitctl pam enable sudo sudo-i --yes --revert-after 4s")?
                .ok()?
                .says("jitctl pam confirm")?;
            terminal.run("sudo -n true")?.fails()?.says("jit:")?;
            host.root(&["loginctl", "terminate-user", DAVE])?.ok()?;
            host.root(&["jitctl", "pam", "status", "--exit-code", "sudo"])?
                .exits(1)?
                .says("the change of sudo, sudo-i is undone at")?;
            // Neither jitd nor its socket is needed.
            host.root_sh(WITHOUT_JITD)?.ok()?;
            is_undone(host, &before)?;
            host.root(&["jitctl", "pam", "confirm"])?.exits(4)?.says("it was undone")?;
            works_as_before(host, &before)
        })?;
    }
    Ok(())
}

#[test]
fn a_restart_before_the_confirmation_undoes_it() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            let before = traces(host)?;
            enable(host, &["sudo", "sudo-i", "--yes"])?.ok()?;
            host.login(DAVE)?.run("sudo -n true")?.fails()?.says("jit:")?;
            host.cut_power();
            host.start()?;
            is_undone(host, &before)?;
            // A change that was confirmed outlives the restart.
            enable(host, &["sudo", "sudo-i", "--yes"])?.ok()?;
            host.root(&["jitctl", "pam", "confirm"])?.ok()?;
            host.reboot()?;
            host.login(DAVE)?.run("sudo -n true")?.fails()?.says("jit:")?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_confirmed_change_stays_keeps_every_attribute_and_goes_out_again() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            host.root_sh("chmod 640 /etc/pam.d/sudo-i && chgrp adm /etc/pam.d/sudo-i && setfattr -n user.note -v kept /etc/pam.d/sudo-i || true")?.ok()?;
            let attributes = "stat -c '%U %G %a' /etc/pam.d/sudo-i; getfattr --absolute-names -d /etc/pam.d/sudo-i 2>/dev/null || true";
            let (before, had) = (traces(host)?, host.root_sh(attributes)?.stdout);
            let shown = enable(host, &["sudo", "sudo-i", "--yes", "--json"])?.json()?;
            ensure!(
                shown["changed"] == serde_json::json!(["sudo", "sudo-i"])
                    && shown["trials"][0]["outcome"] == "as_expected",
                "{shown}"
            );
            ensure!(
                shown["diff"]
                    .as_str()
                    .is_some_and(|diff| diff.contains("+account  [success=ok default=die]  pam_jit.so gate")),
                "{shown}"
            );
            enable(host, &["su", "--yes"])?.exits(1)?.says("waits for its confirmation")?;
            host.root(&["jitctl", "pam", "disable", "su", "--yes"])?
                .exits(1)?
                .says("waits for its confirmation")?;
            let mut alice = host.login_at_terminal(ALICE)?;
            let typed = alice.start("sudo true")?;
            alice.expect("password for alice: ", LIMIT)?;
            alice.type_in(&format!("{PASSWORD}\n"))?;
            alice.finish(&typed, LIMIT)?.fails()?.says("jit: sudo is refused")?;
            host.root(&["jitctl", "pam", "confirm"])?.ok()?.says("the change stays")?;
            host.root_sh("! systemctl list-timers --all | grep jitd-pam-undo")?.ok()?;
            ensure!(host.root_sh(attributes)?.stdout == had, "an attribute is lost");
            host.root(&["jitctl", "pam", "status", "--exit-code", "sudo", "sudo-i"])?
                .ok()?
                .says("asks jitd")?;
            host.root(&["jitctl", "status", "--exit-code"])?.exits(1)?.never_says("NOT GATED: sudo ")?;
            enable(host, &["sudo", "--yes"])?.ok()?.says("right already")?;
            host.grant(DAVE, "ops", "30m")?;
            let mut dave = host.login(DAVE)?;
            for line in ["sudo -n id -u", "sudo -n -i id -u"] {
                dave.run(line)?.ok()?.says("0")?;
            }
            // What a package of sudo puts in its place has no lines.
            let gated = host.read("/etc/pam.d/sudo")?;
            host.root_sh("cp -a /etc/pam.d/.jitd/sudo.before /etc/pam.d/sudo.dpkg-new && mv /etc/pam.d/sudo.dpkg-new /etc/pam.d/sudo")?.ok()?;
            let status = host.root(&["jitctl", "pam", "status", "--exit-code", "sudo"])?;
            status
                .exits(1)?
                .says("DOES NOT ASK")?
                .says("has replaced the file")?
                .says("to mend it: jitctl pam enable sudo")?;
            let json = host.jitctl(&["pam", "status"])?;
            ensure!(json["services"][0]["mend"] == "jitctl pam enable sudo", "{json}");
            enable(host, &["sudo", "--yes"])?.ok()?;
            host.root(&["jitctl", "pam", "confirm"])?.ok()?;
            ensure!(host.read("/etc/pam.d/sudo")? == gated, "the mending command makes another stack");
            host.root(&["jitctl", "pam", "disable", "--all", "--yes"])?
                .ok()?
                .says("does not ask jitd any more")?;
            host.root(&["rm", "-r", "/etc/pam.d/.jitd"])?.ok()?;
            works_as_before(host, &before)
        })?;
    }
    Ok(())
}

#[test]
fn su_doas_sudo_rs_and_runuser_get_their_lines() -> Result<()> {
    play_stock(Release::Trixie, |host| {
        let before = traces(host)?;
        enable(host, &["sudo", "su-l", "doas", "runuser-l", "--yes", "--force"])?
            .ok()?
            .says("/etc/pam.d/su\n")?;
        host.root(&["jitctl", "pam", "confirm"])?.ok()?;
        host.root(&["jitctl", "pam", "status", "--exit-code", "sudo", "su", "su-l", "doas", "runuser-l"])?
            .ok()?;
        let mut dave = host.login(DAVE)?;
        for line in ["sudo -n id", "sudo-rs -n id", "doas id"] {
            // sudo-rs shows nothing of it with -n.
            let said = if line.starts_with("sudo-rs") { "Permission denied" } else { "jit:" };
            dave.run(line)?.fails()?.says(said)?.never_says("uid=0")?;
        }
        host.root(&["su", "-", DAVE, "-c", "id"])?.ok()?.says(DAVE)?;
        host.root(&["runuser", "-l", DAVE, "-c", "id"])?.ok()?.says(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        for line in
            ["sudo -n id", "sudo-rs -n id", "doas id", "sudo -n su - -c id", "sudo -n runuser -l root -c id"]
        {
            dave.run(line)?.ok()?.says("uid=0")?;
        }
        host.root(&["jitctl", "pam", "disable", "--all", "--yes"])?.ok()?;
        host.root(&["rm", "-r", "/etc/pam.d/.jitd"])?.ok()?;
        ensure!(traces(host)? == before, "something is left");
        // Where su is not to be gated.
        enable(host, &["su", "--track-only", "--yes"])?.ok()?;
        host.root(&["jitctl", "pam", "confirm"])?.ok()?;
        let added = host.root_sh("grep pam_jit /etc/pam.d/su")?.stdout;
        ensure!(
            added.lines().count() == 1 && added.starts_with("session  optional  pam_jit.so track"),
            "{added}"
        );
        Ok(())
    })
}

#[test]
fn removing_the_package_takes_the_lines_out_and_the_timer_too() -> Result<()> {
    for release in RELEASES {
        play_stock(release, |host| {
            let before = host.root_sh("cd /etc/pam.d && sha256sum sudo sudo-i")?.stdout;
            enable(host, &["sudo", "sudo-i", "--yes"])?.ok()?;
            let package = std::fs::read(paths::package()?)?;
            host.root_with(&["sh", "-c", "cat > /root/jitd.deb"], &package, LIMIT)?.ok()?;
            host.root_with(&["dpkg", "--remove", "jitd"], b"", LIMIT)?
                .ok()?
                .says("took pam_jit.so out of /etc/pam.d/sudo")?;
            let after = host.root_sh("cd /etc/pam.d && sha256sum sudo sudo-i")?.stdout;
            ensure!(before == after, "{before}\nbecame\n{after}");
            host.root_sh("! systemctl list-timers --all | grep jitd-pam-undo")?.ok()?;
            let mut dave = host.login(DAVE)?;
            dave.run("sudo -n id -u")?.ok()?.says("0")?;
            host.root_with(&["dpkg", "--purge", "jitd"], b"", LIMIT)?.ok()?;
            host.root_sh("! ls -d /etc/pam.d/.jitd && ! ls /etc/systemd/system/*/jitd* 2>/dev/null")?.ok()?;
            // Installed again, nothing is in, and nothing waits.
            host.root_with(&["dpkg", "--install", "/root/jitd.deb"], b"", LIMIT)?.ok()?;
            host.root(&["jitctl", "pam", "status", "--exit-code", "sudo"])?.exits(1)?.never_says("undone")?;
            Ok(())
        })?;
    }
    Ok(())
}

/// `mode = "observe"` in jitd.toml: the lines that deny go in, and deny nobody yet.
#[test]
fn on_a_host_that_observes_the_lines_go_in_and_deny_nobody() -> Result<()> {
    const SETTINGS: &str = "mode = \"observe\"\noperators = [\"@jit-operators\"]\n";
    const ROLE: &str = "[role.ops]\nmembers = [\"alice\"]\nservices = [\"sudo\", \"sudo-i\"]\n[role.ops.approval]\nfrom = [\"bob\"]\n";
    let plan = stock(Release::Trixie).with_policy(SETTINGS, &[("ops.toml", ROLE)]);
    play(&plan, |host| {
        host.root_sh(&format!("echo root:{PASSWORD} | chpasswd"))?.ok()?;
        enable(host, &["sudo", "sudo-i", "--yes"])?
            .ok()?
            .says("lets everybody through while jitd observes")?;
        host.login(DAVE)?.run("sudo -n id -u")?.ok()?.says("0")?;
        host.root(&["jitctl", "pam", "confirm"])?.ok()?;
        host.root(&["jitctl", "pam", "status", "--exit-code", "sudo", "sudo-i"])?
            .ok()?
            .says("asks jitd")
            .map(drop)
    })
}
