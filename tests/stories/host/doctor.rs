//! Doctor tries every way to root, names what is wrong and the command that mends it, and is silent on a right host.

mod plants;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::paths;
use jit_tests::people::{ALICE, DAVE};
use jit_tests::plan::{Plan, Release};
use plants::{PLANTS, Plant, STACKS};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const SETTINGS: &str =
    "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\napprove_without_login = true\n";
const ROLE: &str = "[role.ops]\nmembers = [\"dave\", \"alice\"]\nservices = [\"sudo\", \"sudo-i\", \"su\", \"doas\"]\n\
    [role.ops.approval]\nfrom = [\"bob\", \"carol\"]\n";
const GATED: [&str; 4] = ["sudo", "sudo-i", "su", "doas"];

#[test]
fn each_of_many_mistakes_is_named_with_its_mend_on_trixie() -> Result<()> {
    play(&plan(Release::Trixie), |host| {
        package_source(host)?;
        // An editor that puts the role right, whatever stands in it.
        host.write_program(
            "/usr/local/bin/right-role",
            "#!/bin/sh\ncp /root/ops.toml /etc/jitd/roles.d/ops.toml\n",
        )?;
        host.write("/root/ops.toml", ROLE)?;
        // `pam enable` refuses where nobody could get back in: this stands for the console that the harness does not give.
        host.write(
            "/etc/systemd/system/getty@console.service",
            "[Service]\nExecStart=/usr/bin/sleep infinity\n",
        )?;
        host.root_sh("systemctl daemon-reload && systemctl start getty@console.service")?.ok()?;
        is_made_right(host)?;
        let mut wrong = Vec::new();
        for plant in PLANTS.iter().chain(STACKS) {
            if let Err(error) = is_found_and_mended(host, plant) {
                wrong.push(format!("{}: {error:#}", plant.finding));
            }
        }
        let all = PLANTS.len() + STACKS.len();
        ensure!(all >= 30, "only {all} plants");
        ensure!(wrong.is_empty(), "{} of {all} plants:\n{}", wrong.len(), wrong.join("\n"));
        is_right(host, &[])
    })
}

#[test]
fn a_way_that_was_opened_by_hand_is_found_in_that_run_and_recorded_by_the_timers_unit() -> Result<()> {
    for release in [Release::Trixie, Release::Bookworm] {
        play(&plan(release), |host| {
            is_made_right(host)?;
            host.root(&["jitctl", "doctor", "--record"])?.ok()?;
            ensure!(changes(host)?.is_empty(), "nothing is open, and nothing was");

            // Who is not root sees nothing, and is told so.
            let denied = host.login(ALICE)?.run("jitctl doctor")?;
            denied.exits(2)?.says("the options of sudoers: only root can look")?;

            let gated = host.read("/etc/pam.d/sudo-i")?;
            let open: String =
                gated.lines().filter(|it| !it.contains("pam_jit.so")).map(|it| format!("{it}\n")).collect();
            host.write("/etc/pam.d/sudo-i", &open)?;
            host.login(DAVE)?.run("sudo -n -i id -un")?.ok()?.says("root")?;
            let found = doctor(host, &[])?;
            ensure!(found.0 == 1, "{:?}", found.1);
            let path =
                found.1["paths"].as_array().context("paths")?.iter().find(|it| it["name"] == "sudo -i");
            ensure!(path.is_some_and(|path| path["state"] == "open"), "{:?}", found.1["paths"]);
            // The unit of the timer, which is off by default.
            host.root(&["systemctl", "is-enabled", "jitd-doctor.timer"])?.fails()?.says("disabled")?;
            host.root(&["systemctl", "start", "jitd-doctor.service"])?.ok()?;
            let [changed] = changes(host)?.try_into().ok().context("one record of the change")?;
            ensure!(changed["open"].to_string().contains("stack/sudo-i"), "{changed}");
            ensure!(changed["detail"].to_string().contains("newly open: "), "{changed}");
            host.record("alert.raised", |it| it["alert"] == "doctor-changed")?;
            host.root(&["systemctl", "start", "jitd-doctor.service"])?.ok()?;
            ensure!(changes(host)?.len() == 1, "what has not changed is not recorded again");

            host.write("/etc/pam.d/sudo-i", &gated)?;
            host.root(&["systemctl", "start", "jitd-doctor.service"])?.ok()?;
            ensure!(changes(host)?.last().is_some_and(|it| it["detail"].to_string().contains("mended: ")));

            // A run that was killed leaves nothing that the next one does not remove, and no try is an alert.
            host.root_sh(
                "jitctl doctor >/dev/null & sleep 0.2; kill -9 $!; mkdir -p /run/jitd-doctor.4194304",
            )?;
            is_right(host, &[])?;
            host.root_sh("ls -d /run/jitd-doctor.*")?.fails()?;
            let denials = host.records()?.into_iter().filter(|it| it["alert"] == "denials").count();
            ensure!(denials == 0, "{denials} alerts of denials");
            Ok(())
        })?;
    }
    Ok(())
}

fn plan(release: Release) -> Plan {
    Plan::new(release).gating(&GATED).with_policy(SETTINGS, &[("ops.toml", ROLE)])
}

/// Exit status and findings of a run.
fn doctor(host: &Host, options: &[&str]) -> Result<(i32, Value)> {
    let ran = host.root(&[&["jitctl", "--json", "doctor"], options].concat())?;
    let said = serde_json::from_str(&ran.stdout).with_context(|| ran.to_string())?;
    Ok((ran.status, said))
}

fn findings(said: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = said["findings"].as_array().into_iter().flatten();
    all.map(|found| (text(&found["id"]), text(&found["mend"]))).collect()
}

fn mend(host: &Host, command: &str) -> Result<()> {
    host.root(&["env", "EDITOR=right-role", "bash", "-c", command])?.ok().map(drop)
}

/// Applies what a fresh host is told, once, and finds it right.
fn is_made_right(host: &Host) -> Result<()> {
    let (status, said) = doctor(host, &[])?;
    ensure!(status == 1, "a fresh host has no seal: {said:#}");
    for (_, command) in findings(&said) {
        mend(host, &command)?;
    }
    is_right(host, &[])
}

/// Silent: each path is closed, nothing is open, everything was looked at.
fn is_right(host: &Host, options: &[&str]) -> Result<()> {
    let (status, said) = doctor(host, options)?;
    ensure!(status == 0 && findings(&said).is_empty(), "exit status {status}: {said:#}");
    if options.is_empty() {
        let paths = said["paths"].as_array().context("paths")?;
        for name in ["sudo", "sudo -i", "sudoedit", "su", "su -", "doas", "pkexec", "systemd-run"] {
            let path = paths.iter().find(|path| path["name"] == name).with_context(|| name.to_owned())?;
            ensure!(path["state"] == "closed", "{path}");
            let asked = !path["service"].as_str().unwrap_or_default().is_empty();
            let how = path["how"].as_str().unwrap_or_default();
            ensure!(!asked || how.contains("(record "), "{path}");
        }
    }
    Ok(())
}

fn is_found_and_mended(host: &Host, plant: &Plant) -> Result<()> {
    host.root_sh(plant.plant)?.ok()?;
    let only = ["--check", plant.check];
    let (status, said) = doctor(host, &only)?;
    let found = findings(&said);
    let named = found.iter().any(|(id, _)| id.starts_with(plant.finding));
    ensure!(status == 1 && named, "not found: exit status {status}, {said:#}");
    for (_, command) in &found {
        mend(host, command)?;
    }
    if !plant.beside.is_empty() {
        host.root_sh(plant.beside)?.ok()?;
    }
    is_right(host, &only).with_context(|| format!("after {found:?}"))
}

fn changes(host: &Host) -> Result<Vec<Value>> {
    Ok(host.records()?.into_iter().filter(|record| record["event"] == "doctor.changed").collect())
}

/// Lets apt install the package anew: hosts have no network.
fn package_source(host: &Host) -> Result<()> {
    let package = fs::read(paths::package()?)?;
    host.root_sh("mkdir -p /srv/repository; rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")?.ok()?;
    host.root_with(&["sh", "-c", "cat >/srv/repository/jitd.deb"], &package, LIMIT)?.ok()?;
    host.write("/etc/apt/sources.list.d/local.list", "deb [trusted=yes] file:/srv/repository ./\n")?;
    let index = "cd /srv/repository; { dpkg-deb --field jitd.deb; echo 'Filename: ./jitd.deb'; stat -c 'Size: %s' jitd.deb; \
        echo \"SHA256: $(sha256sum jitd.deb | cut -d' ' -f1)\"; } >Packages; apt-get update -q";
    host.root_sh(index)?.ok()?;
    Ok(())
}
