//! What was wrong with other programs of this kind, tried here: `docs/cve.md` says where each comes from.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::play;
use jit_tests::people::{ALICE, BOB, DAVE, MALLORY, PASSWORD};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::{refused, sudos};

const LIMIT: Duration = Duration::from_secs(20);

/// Above 2^31, where some programs count below zero (polkit, CVE-2018-19788).
const HUGE: u32 = 4_000_000_000;

#[test]
fn a_uid_above_two_to_the_31_is_a_uid_like_others() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.root_sh(&format!(
            "useradd --no-log-init --create-home --shell /bin/bash --groups webops --uid {HUGE} huge \
             && usermod --password '*' huge && echo 'huge ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/huge"
        ))?
        .ok()?;
        let mut huge = host.login("huge")?;
        refused(&huge.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        for line in [
            "jitctl grant huge ops --for 1h --reason 'I would like it'",
            "jitctl audit show",
            "jitctl policy show",
        ] {
            huge.run(line)?.exits(3)?;
        }
        huge.run("busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Manager Reload")?
            .fails()?;
        let asked = huge.run("jitctl --json request ops --for 30m --reason 'a large number'")?.json()?;
        let id = asked["id"].to_string();
        huge.run(&format!("jitctl approve {id}"))?.fails()?;
        host.login(BOB)?.run(&format!("jitctl approve {id}"))?.ok()?;
        huge.run("sudo -n id -u")?.ok()?.says("0")?;
        let opened = host.record("session.opened", |record| record["user"] == "huge")?;
        ensure!(opened["uid"] == HUGE, "{opened}");
        huge.run("sudo -n sh -c 'setsid sleep 4711 </dev/null >/dev/null 2>&1 &'")?.ok()?;
        host.root(&["jitctl", "revoke", &id, "--reason", "a story"])?.ok()?;
        host.no_session_left(LIMIT)?;
        host.root(&["pgrep", "-f", "sleep 4711"])?.fails()?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}

#[test]
fn numbers_below_zero_and_above_all_are_nobody() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.grant(DAVE, "as-nobody", "30m")?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n -u nobody id -u")?.ok()?.says("65534")?;
        for number in ["-1", "4294967295", "4294967296", "-4294967296", "+0", " 0", "00", "0x0", "0"] {
            for option in ["-u", "-g", "-u nobody -g"] {
                for &sudo in sudos(Release::Trixie) {
                    let output =
                        dave.run(&format!("{sudo} -n {option} '#{number}' sh -c 'id; touch /etc/ran'"))?;
                    refused(&output, host).with_context(|| format!("{sudo} {option} #{number}"))?;
                    output.never_says("gid=0")?.never_says("groups=0")?;
                }
            }
        }
        for name in ["#0", "#-1", "4294967295", "", "root\n", " root", "../root"] {
            let output =
                host.root(&["jitctl", "grant", name, "ops", "--for", "1h", "--reason", "a story"])?;
            output.fails().with_context(|| format!("{name:?}"))?;
        }
        ensure!(
            host.jitctl(&["grants"])?.as_array().is_some_and(|all| all.len() == 1),
            "another grant is open"
        );
        Ok(())
    })
}

/// sudo looked for the terminal behind the first word that is none of its name (CVE-2017-1000367).
#[test]
fn a_program_whose_name_looks_like_the_rest_of_its_line_is_contained() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut dave = host.login(DAVE)?;
            let sudo = "'/var/tmp/x) R 1 1 0'";
            dave.run(&format!("ln -s /usr/bin/sudo {sudo}"))?.ok()?;
            refused(&dave.run(&format!("{sudo} -n sh -c 'id; touch /etc/ran'"))?, host)?;
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            dave.run(&format!("{sudo} -n sh -c 'setsid sleep 4712 </dev/null >/dev/null 2>&1 &'"))?.ok()?;
            host.root(&["pgrep", "-f", "sleep 4712"])?.ok()?;
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
            host.no_session_left(LIMIT)?;
            host.root(&["pgrep", "-f", "sleep 4712"])?.fails()?;
            refused(&dave.run(&format!("{sudo} -n sh -c 'id; touch /etc/ran'"))?, host)
        })?;
    }
    Ok(())
}

/// With these settings PAM's user is the target, or root, whoever asks (sudo-rs, CVE-2025-64517).
#[test]
fn a_window_is_looked_up_for_who_asks_whose_password_sudo_wants() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let grant = host.grant(DAVE, "ops", "30m")?.to_string();
        let defaults = "/etc/sudoers.d/zz-whose";
        for &sudo in sudos(Release::Trixie) {
            for setting in ["targetpw", "rootpw"] {
                host.write(defaults, &format!("Defaults {setting}\n"))?;
                host.root(&["chmod", "0440", defaults])?.ok()?;
                let mut alice = host.login(ALICE)?;
                for target in ["-u dave", "-u root", ""] {
                    let line = format!("echo {PASSWORD} | {sudo} -S {target} sh -c 'id; touch /etc/ran'");
                    let output = alice.run(&line)?;
                    refused(&output, host).with_context(|| format!("{setting}: {line}"))?;
                    output.never_says("uid=")?;
                }
                let line = format!("echo {PASSWORD} | {sudo} -S id -u");
                host.login(DAVE)?
                    .run(&line)?
                    .ok()
                    .with_context(|| format!("{setting}: {line}"))?
                    .says("0")?;
            }
        }
        host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
        refused(&host.login(DAVE)?.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)
    })
}

/// Options that had sudo judge by other rules than this host's (CVE-2025-32462, CVE-2025-32463).
#[test]
fn options_that_change_whose_rules_are_read_widen_no_window() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.grant(DAVE, "as-nobody", "30m")?;
            let mut dave = host.login(DAVE)?;
            dave.run("mkdir -p /var/tmp/root/etc && echo 'passwd: /woot' >/var/tmp/root/etc/nsswitch.conf")?
                .ok()?;
            for options in
                ["-h elsewhere", "--host=elsewhere", "--hos elsewhere", "-R /var/tmp/root", "--chroot=/"]
            {
                for target in ["", "-u nobody -g shadow"] {
                    let line = format!("sudo -n {options} {target} sh -c 'id; touch /etc/ran'");
                    let output = dave.run(&line)?;
                    refused(&output, host).with_context(|| line.clone())?;
                    output.never_says("shadow")?;
                }
            }
            ensure!(!host.has("/etc/ran"), "something ran");
            Ok(())
        })?;
    }
    Ok(())
}

/// polkit took a caller that had hung up before it was looked up for root (CVE-2021-3560).
#[test]
fn who_hangs_up_before_being_looked_up_is_not_root() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let window = host.grant(DAVE, "ops", "30m")?;
            let call = "busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Manager";
            let calls = [
                format!("{call} Grant 'sstsa{{sv}}' mallory ops 0 'I would like it' 0"),
                format!("{call} RevokeAll 'sa{{sv}}' 'nobody else' 0"),
                format!("{call} Reload"),
            ];
            let mut mallory = host.login(MALLORY)?;
            for call in &calls {
                // A call that is left alone takes some ten milliseconds, so each moment of it is one of the end.
                let line = format!(
                    "for n in $(seq 0 59); do {call} >/dev/null 2>&1 & sleep $(printf 0.%03d $((n % 30))); \
                     kill -9 $! 2>/dev/null; done; wait"
                );
                mallory.run_within(&line, Duration::from_secs(60))?;
            }
            let grants = host.jitctl(&["grants"])?;
            let all: Vec<_> =
                grants.as_array().into_iter().flatten().filter_map(|it| it["id"].as_u64()).collect();
            ensure!(all == [window], "{grants}");
            let records = host.records()?;
            let done = ["grant.revoked", "policy.loaded", "grant.started"];
            let count = |event: &str| records.iter().filter(|record| record["event"] == event).count();
            ensure!(done.map(count) == [0, 1, 1], "{:?} of {done:?}", done.map(count));
            ensure!(count("command.refused") > 0, "no call came to the daemon");
            host.root(&["jitctl", "status"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}
