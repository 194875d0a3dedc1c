//! In observe mode nobody is denied, what would have been is recorded, and the report counts it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{ALICE, DAVE, MALLORY, OSCAR, PASSWORD};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

use crate::gate::denied::{Shells, at, refused, sudos};

const LIMIT: Duration = Duration::from_secs(30);
const GATED: [&str; 4] = ["sudo", "sudo-i", "su", "doas"];
const SETTINGS: &str =
    "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\napprove_without_login = true\n";
const OPS: &str = "[role.ops]\nmembers = [\"@webops\"]\nservices = [\"sudo\", \"sudo-i\", \"su\", \"doas\"]\n\
                   [role.ops.approval]\nfrom = [\"@leads\"]\n";
const TOLD: &str = "would be denied (no open window); it passes because this host only observes.";

fn observing() -> String {
    format!("mode = \"observe\"\n{SETTINGS}")
}

fn observed(host: &Host) -> Result<Vec<Value>> {
    let records = host.records()?;
    Ok(records.into_iter().filter(|record| record["event"] == "access.observed").collect())
}

/// Nothing of what passed is a session of jitd's.
fn nothing_is_held(host: &Host) -> Result<()> {
    ensure!(host.jitctl(&["sessions"])?.as_array().is_some_and(Vec::is_empty), "a session is open");
    let scopes = host.root(&["systemctl", "list-units", "--no-legend", "--plain", "--all", "jit-*.scope"])?;
    scopes.ok()?.holds(scopes.stdout.trim().is_empty(), "no scope of a session")?;
    Ok(())
}

fn nobody_is_denied_until_it_is_enforced(release: Release) -> Result<()> {
    let plan = Plan::new(release).gating(&GATED).with_policy(&observing(), &[("ops.toml", OPS)]);
    play(&plan, |host| {
        let mut dave = Shells::of(host, DAVE)?;
        let mut mallory = host.login(MALLORY)?;
        for &sudo in sudos(release) {
            // A password, then the warm ticket that it leaves, then none at all.
            let mut alice = at(host, ALICE, sudo)?;
            let typed = alice.run(&format!("echo {PASSWORD} | {sudo} -S id -u"))?;
            typed.ok()?.says(&format!("jit: sudo {TOLD}"))?;
            alice.run(&format!("{sudo} -n id -u"))?.ok()?.says("0")?.says(TOLD)?;
            for (options, says) in [("-n", "uid=0"), ("-n -u nobody", "uid=65534"), ("-n -i", "uid=0")] {
                let output = dave.run(&format!("{sudo} {options} id"))?;
                output.ok()?.says(says)?.says(TOLD)?;
                output.holds(output.text().matches("jit:").count() == 1, "one line of ours")?;
            }
        }
        mallory.run("sudo -n id -u")?.ok()?.says("0")?.says(TOLD)?;
        dave.run("doas id -u")?.ok()?.says("0")?.says("jit: doas would be denied")?;
        dave.run(&format!("echo {PASSWORD} | su -c 'id -u'"))?.ok()?.says("jit: su would be denied")?;
        dave.run("EDITOR='cp /etc/hostname' sudoedit /etc/edited")?.ok()?.says(TOLD)?;
        ensure!(host.has("/etc/edited"), "sudoedit wrote nothing");
        nothing_is_held(host)?;
        // Each call is recorded, its target too, and the roles that would have covered it.
        let edited = host.record("access.observed", |it| {
            it["user"] == DAVE
                && it["part"] == 2
                && it["argv"][0].as_str().is_some_and(|it| it.contains("sudoedit"))
        })?;
        ensure!(edited["run_as"] == "root" && edited["observed_by"] == "host", "{edited}");
        ensure!(edited["eligible_roles"][0] == "ops" && edited["uid"] == 2004, "{edited}");
        let of_mallory = host.record("access.observed", |it| it["user"] == MALLORY && it["part"] == 2)?;
        ensure!(
            of_mallory["eligible_roles"].is_null() && of_mallory["other_roles"][0] == "ops",
            "{of_mallory}"
        );

        // It is said loudly, everywhere.
        host.record("observe.began", |it| it["detail"] == "role ops, the host")?;
        host.record("alert.raised", |it| it["alert"] == "observing")?;
        let status = host.root(&["jitctl", "status", "--exit-code"])?;
        status.exits(1)?.says("OBSERVING: this host lets calls pass that enforcing would deny")?;
        host.root(&["jitctl", "policy", "show"])?.ok()?.says("OBSERVING: this host")?;

        // Under a window it is a session as ever, and it ends.
        host.grant(DAVE, "ops", "30m")?;
        let before = observed(host)?.len();
        dave.run("sudo -n id")?.ok()?.says("uid=0")?.never_says("jit:")?;
        host.record("session.opened", |it| it["user"] == DAVE && it["run_as"] == "root")?;
        ensure!(observed(host)?.len() == before, "a call under a window was observed");
        host.root(&["jitctl", "revoke", "--user", DAVE, "--reason", "a story"])?.ok()?;

        // Without the notice nobody is told.
        host.write("/etc/jitd/jitd.toml", &format!("observe_notice = false\n{}", observing()))?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        dave.run("sudo -n id")?.ok()?.says("uid=0")?.never_says("jit:")?;

        // What passed before the switch lives on; the next call is denied at once.
        host.root(&["mkfifo", "/run/go-on"])?.ok()?;
        let mut earlier = host.login(MALLORY)?;
        let running = earlier.start("sudo -n sh -c 'echo begun; cat /run/go-on; id'")?;
        earlier.expect("begun", LIMIT)?;
        host.write("/etc/jitd/jitd.toml", SETTINGS)?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        for &sudo in sudos(release) {
            refused(&dave.run(&format!("{sudo} -n sh -c 'id; touch /etc/ran'"))?, host)?;
        }
        refused(&mallory.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        host.root_sh("echo still here >/run/go-on")?.ok()?;
        earlier.finish(&running, LIMIT)?.ok()?.says("still here")?.says("uid=0")?;
        host.record("observe.ended", |it| it["detail"] == "role ops, the host")?;
        host.root(&["jitctl", "status", "--exit-code"])?.ok()?.never_says("OBSERVING")?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?;
        Ok(())
    })
}

#[test]
fn nobody_is_denied_until_it_is_enforced_on_trixie() -> Result<()> {
    nobody_is_denied_until_it_is_enforced(Release::Trixie)
}

#[test]
fn nobody_is_denied_until_it_is_enforced_on_bookworm() -> Result<()> {
    nobody_is_denied_until_it_is_enforced(Release::Bookworm)
}

#[test]
fn one_role_observes_and_another_is_enforced_on_one_host() -> Result<()> {
    let role = |name: &str, member: &str, more: &str| {
        format!(
            "[role.{name}]\nmembers = [\"{member}\"]\n{more}\n[role.{name}.approval]\nfrom = [\"@leads\"]\n"
        )
    };
    let roles = [
        ("strict.toml", role("strict", DAVE, "")),
        ("trial.toml", role("trial", MALLORY, "mode = \"observe\"")),
        ("nobody.toml", role("as-nobody", OSCAR, "mode = \"observe\"\nrun_as = [\"nobody\"]")),
    ];
    let roles: Vec<(&str, &str)> = roles.iter().map(|(file, text)| (*file, text.as_str())).collect();
    play(&Plan::new(Release::Trixie).with_policy(SETTINGS, &roles), |host| {
        let mut dave = host.login(DAVE)?;
        let mut mallory = host.login(MALLORY)?;
        let mut oscar = host.login(OSCAR)?;
        refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        mallory.run("sudo -n id")?.ok()?.says("uid=0")?.says("it passes because your role only observes")?;
        // A role covers what it names: as nobody he passes, as root he does not.
        oscar.run("sudo -n -u nobody id")?.ok()?.says("uid=65534")?;
        refused(&oscar.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        host.record("access.denied", |it| it["user"] == OSCAR)?;
        let by_role = host.record("access.observed", |it| it["user"] == MALLORY && it["part"] == 2)?;
        ensure!(by_role["observed_by"] == "role" && by_role["eligible_roles"][0] == "trial", "{by_role}");
        let status = host.root(&["jitctl", "status", "--exit-code"])?;
        status.exits(1)?.says("OBSERVING: members of as-nobody, trial pass where enforcing would deny")?;
        nothing_is_held(host)?;

        // The other way round: the host observes, and one role is switched on before the others.
        host.write("/etc/jitd/jitd.toml", &observing())?;
        host.write("/etc/jitd/roles.d/strict.toml", &role("strict", DAVE, "mode = \"enforce\""))?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        oscar.run("sudo -n id")?.ok()?.says("uid=0")?;
        host.login(ALICE)?.run(&format!("echo {PASSWORD} | sudo -S id"))?.ok()?.says("uid=0")?.says(TOLD)?;
        Ok(())
    })
}

/// Where the line says `observe` nobody is denied, whatever becomes of jitd; where it does not, everybody is.
fn the_line_blocks_nobody(release: Release) -> Result<()> {
    let plan = Plan::new(release).gating(&GATED).with_module_options("observe");
    play(&plan, |host| {
        let mut ways =
            vec!["sudo -n id".to_owned(), "doas id".to_owned(), format!("echo {PASSWORD} | su -c id")];
        if release == Release::Trixie {
            ways.push("sudo-rs -n id".to_owned());
        }
        let mut dave = Shells::of(host, DAVE)?;
        let passes = |dave: &mut Shells, how: &str| -> Result<()> {
            for way in &ways {
                let output = dave.run(way).with_context(|| how.to_owned())?;
                output.ok().with_context(|| how.to_owned())?.says("uid=0")?.never_says("refused")?;
            }
            Ok(())
        };
        passes(&mut dave, "jitd enforces")?;
        let record = host.record("access.observed", |it| it["user"] == DAVE && it["service"] == "doas")?;
        ensure!(record["observed_by"] == "line", "{record}");
        let status = host.root(&["jitctl", "status", "--exit-code"])?;
        status.exits(1)?.says("NOT GATED: sudo")?.says("says observe, by which everybody passes")?;
        host.record("stack.broken", |it| it["service"] == "sudo")?;
        nothing_is_held(host)?;

        // No policy is accepted, and none was since the start.
        host.write("/etc/jitd/jitd.toml", "mode = \"obsrve\"\n")?;
        host.root_sh("systemctl restart jitd.service; systemctl is-active jitd.service")?.says("active")?;
        passes(&mut dave, "no policy")?;
        host.write("/etc/jitd/jitd.toml", SETTINGS)?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;

        let pid = host.root(&["systemctl", "show", "--property=MainPID", "--value", "jitd.service"])?;
        host.root(&["kill", "-STOP", pid.line()])?.ok()?;
        passes(&mut dave, "jitd hangs")?;
        host.root(&["kill", "-CONT", pid.line()])?.ok()?;

        host.install("hostile")?;
        host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?.ok()?;
        passes(&mut dave, "jitd is masked")?;
        let said = host.root_sh("journalctl --no-pager --quiet | grep 'pam_jit(sudo:account)'")?;
        said.ok()?.says("passes unrecorded, since the line says observe")?.says("dave")?;
        for how in ["hangup", "noise", "drip", "maybe", "error"] {
            host.root_sh(&format!(
                "systemctl stop hostile 2>/dev/null; rm -f /run/jitd/gate.sock; \
                 systemd-run --quiet --unit=hostile --collect hostile gate {how}"
            ))?
            .ok()?;
            wait_until("the fake gate is there", LIMIT, || {
                Ok(host.root(&["test", "-S", "/run/jitd/gate.sock"])?.status == 0)
            })?;
            passes(&mut dave, how)?;
        }
        host.root_sh("systemctl stop hostile; rm -f /run/jitd/gate.sock")?.ok()?;
        // A slip of the pen beside the word denies nobody; without the word, or with another one, it denies everybody.
        host.gate("sudo", "observe tiemout=1s")?;
        dave.run("sudo -n id")?.ok()?.says("uid=0")?;
        for options in ["", "observed", "observe=yes", "Observe"] {
            host.gate("sudo", options)?;
            refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        }
        Ok(())
    })
}

#[test]
fn the_line_blocks_nobody_on_trixie() -> Result<()> {
    the_line_blocks_nobody(Release::Trixie)
}

#[test]
fn the_line_blocks_nobody_on_bookworm() -> Result<()> {
    the_line_blocks_nobody(Release::Bookworm)
}

/// Each of the hundred calls so many times in each of four ways: 1,600 calls, which take some 40 s.
const ROUNDS: usize = 4;

/// Calls in each of four ways, notes what it did, and goes on whatever comes of it.
const DRIVER: &str = r#"#!/bin/bash
user=$1
for round in $(seq "$2"); do
    while read -r target line; do
        runuser -u "$user" -- $line >/dev/null 2>&1 </dev/null && echo "$user $target" >>/root/calls/"$user"
    done <<'END'
root sudo -n true
nobody sudo -n -u nobody true
- sudo -n -l
root sudo-rs -n true
END
done
"#;

/// Must show 6 of the issue: hundred users, real calls, and a count by a script that knows nothing of jitd's.
#[test]
fn the_figures_of_the_report_are_those_of_a_script_for_a_hundred_users() -> Result<()> {
    let many = "[role.many]\nmembers = [\"@many\"]\n[role.many.approval]\nfrom = [\"@leads\"]\n\
                [role.few]\nmembers = [\"@few\"]\nrun_as = [\"nobody\"]\n[role.few.approval]\nfrom = [\"@leads\"]\n";
    play(&Plan::new(Release::Trixie).with_policy(&observing(), &[("ops.toml", OPS)]), |host| {
        host.root_sh(
            "groupadd many; groupadd few; mkdir /root/calls; \
             for n in $(seq 100); do echo \"u$n:*:$((3000 + n)):100::/nonexistent:/bin/sh\"; done >>/etc/passwd; \
             sed -i \"s/^many:.*/many:x:4000:$(seq -s, -f u%g 1 60)/; s/^few:.*/few:x:4001:$(seq -s, -f u%g 41 80)/\" /etc/group; \
             pwconv; echo 'ALL ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/everybody; chmod 440 /etc/sudoers.d/everybody",
        )?
        .ok()?;
        host.write("/etc/jitd/roles.d/many.toml", many)?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        host.write_program("/usr/local/bin/driver", DRIVER)?;
        let drive = format!("seq -f u%g 100 | xargs -P 4 -I @ driver @ {ROUNDS}");
        let driven = host.root_with(&["bash", "-c", &drive], b"", Duration::from_secs(400))?;
        driven.ok()?;
        let report = host.jitctl(&["report", "--observe"])?;
        let counted = host.root_sh("cat /root/calls/* | awk '{n[$1]++} END {for (u in n) print u, n[u]}'")?;
        let by_user = pairs(&counted.ok()?.stdout)?;
        let all: u64 = by_user.values().sum();
        ensure!(all == 100 * 4 * ROUNDS as u64, "the driver was refused: {all} calls passed\n{driven}");
        ensure!(report["calls"] == all && report["not_recorded"] == 0 && report["denied"] == 0, "{report}");
        let people = report["people"].as_array().context("no people")?;
        let reported: BTreeMap<String, u64> = people
            .iter()
            .map(|it| (it["user"].as_str().unwrap_or("?").to_owned(), it["calls"].as_u64().unwrap_or(0)))
            .collect();
        ensure!(reported == by_user, "{reported:?}\n{by_user:?}");
        // By target, and by who may request a role that would have covered the target.
        let commands = report["commands"].as_array().context("no commands")?;
        let sum = |of: &dyn Fn(&Value) -> bool| -> u64 {
            commands.iter().filter(|it| of(it)).filter_map(|it| it["calls"].as_u64()).sum()
        };
        let counted = host.root_sh("cat /root/calls/* | awk '{n[$2]++} END {for (t in n) print t, n[t]}'")?;
        for (target, count) in pairs(&counted.ok()?.stdout)? {
            let of = |it: &Value| it["run_as"].as_str().unwrap_or("-") == target;
            ensure!(sum(&of) == count, "{target}: {} and {count}\n{report}", sum(&of));
        }
        let script = "cat /root/calls/* | awk '{u = substr($1, 2) + 0; many = u <= 60; few = u > 40 && u <= 80 && $2 != \"root\"; \
                      n[(many || few) ? \"covered\" : \"other\"]++} END {for (c in n) print c, n[c]}'";
        let coverage = pairs(&host.root_sh(script)?.ok()?.stdout)?;
        ensure!(report["covered"] == coverage["covered"], "{coverage:?} {report}");
        ensure!(
            report["covered_by_other_roles"] == coverage["other"] && report["uncovered"] == 0,
            "{report}"
        );
        // The journal has each call once beside its target, counted by another script.
        let journal = "journalctl -o json --no-pager JIT_EVENT=access.observed | awk '!/\"JIT_PART\"/ {n++} END {print \"n\", n}'";
        wait_until("the journal has every call", LIMIT, || {
            Ok(pairs(&host.root_sh(journal)?.stdout)?.get("n") == Some(&all))
        })?;
        let text = host.root(&["jitctl", "report", "--observe", "--since", "yesterday"])?;
        text.ok()?.says(&format!("{all} calls passed that enforcing would have denied"))?;
        text.says("calls that no role of the caller would have covered")?;
        Ok(())
    })
}

/// Lines of a word and a number.
fn pairs(text: &str) -> Result<BTreeMap<String, u64>> {
    let pair = |line: &str| {
        let (word, number) = line.split_once(' ')?;
        Some((word.to_owned(), number.parse().ok()?))
    };
    text.lines().map(|line| pair(line).with_context(|| format!("no pair: {line}"))).collect()
}
