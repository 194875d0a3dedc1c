//! What a session leaves behind in order to have privilege later is named with its grant.
#![allow(clippy::print_stdout, reason = "whoever runs the story alone sees what a drift scan costs")]

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{DAVE, OSCAR};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

use crate::host::drift::{LIMIT, first_scan, scanned};

/// What is typed as root, and what the alert says of it.
const PLANTS: [(&str, &str); 12] = [
    // Left running: it is PID 1's child, not the session's.
    ("systemd-run --quiet --unit=planted sleep 10000", "added /run/systemd/transient/planted.service"),
    ("echo /root/sh | at now + 3 days", "added /var/spool/cron/atjobs/a"),
    ("echo '0 4 * * * root /root/sh' >/etc/cron.d/planted", "added /etc/cron.d/planted"),
    (
        "printf '[Service]\\nExecStart=/root/sh\\n' >/etc/systemd/system/backdoor.service",
        "added /etc/systemd/system/backdoor.service",
    ),
    (
        "useradd --non-unique --uid 0 --gid 0 --no-create-home toor",
        "changed /etc/passwd: account toor added (uid 0,",
    ),
    ("cp /bin/bash /var/tmp/.bash; chmod u+s /var/tmp/.bash", "added setuid /var/tmp/.bash, owned by root"),
    (
        "cp /bin/bash /home/dave/.s; hostile setcap /home/dave/.s",
        "added file with capabilities /home/dave/.s, owned by root, capabilities 0x80",
    ),
    (
        "mkdir -p /root/.ssh; echo 'ssh-ed25519 AAAA planted' >>/root/.ssh/authorized_keys",
        "added /root/.ssh/authorized_keys",
    ),
    ("echo 'mallory ALL=(ALL) ALL' >/etc/sudoers.d/planted", "added /etc/sudoers.d/planted"),
    (": >/etc/ld.so.preload", "added /etc/ld.so.preload"),
    ("sed -i '1i account sufficient pam_permit.so' /etc/pam.d/su", "changed /etc/pam.d/su: its content"),
    ("gpasswd --add mallory sudo", "changed /etc/group: group sudo gained mallory"),
];

/// The alert of a grant.
fn alert(host: &Host, grant: u64) -> Result<Vec<String>> {
    let mut found = None;
    wait_until("what was left behind is in the record", LIMIT, || {
        // A daemon that has just been killed answers nobody; the next one does.
        let Ok(records) = host.records() else { return Ok(false) };
        let mut records = records.into_iter().rev();
        found = records.find(|record| record["event"] == "grant.left_behind" && record["grant"] == grant);
        Ok(found.is_some())
    })
    .with_context(|| format!("the records are {:#?}", host.records()))?;
    let last = found.context("a record")?;
    println!("{}: {}", host.release().name(), last["detail"].as_str().context("what it cost")?);
    // A drift scan that finds much makes several records, of one moment.
    let records = host.records()?;
    let same = |record: &&Value| {
        record["event"] == "grant.left_behind" && record["grant"] == grant && record["time"] == last["time"]
    };
    let lines =
        records.iter().filter(same).flat_map(|record| record["left_behind"].as_array().into_iter().flatten());
    Ok(lines.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn twelve_plants(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        host.install("hostile")?;
        // Without it a change is told as something added, by its time.
        first_scan(host)?;
        let rule = "type='signal',sender='org.jitd.Jit1',member='LeftBehind'";
        let listen =
            format!("setsid --fork dbus-monitor --system \"{rule}\" >/var/tmp/heard 2>&1 </dev/null");
        host.root_sh(&listen)?.ok()?;
        let mut dave = host.login_at_terminal(DAVE)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let shell = dave.start("sudo -s")?;
        for (plant, _) in PLANTS {
            dave.run(plant)?.ok()?;
        }
        dave.exit_from(&shell)?;
        let told = alert(host, grant)?;
        let named =
            PLANTS.iter().filter(|(_, expected)| told.iter().any(|line| line.contains(expected))).count();
        println!("{}: {} planted, {named} named", release.name(), PLANTS.len());
        ensure!(named == PLANTS.len(), "{named} of {} are named in {told:#?}", PLANTS.len());
        wait_until("the bus tells the grant's number, and no path", LIMIT, || {
            let heard = host.read("/var/tmp/heard")?;
            ensure!(!heard.contains("/etc/") && !heard.contains("planted"), "{heard}");
            Ok(heard.contains("member=LeftBehind") && heard.contains(&format!("uint64 {grant}")))
        })?;
        // It is told once, and is then what there is.
        scanned(host)?;
        dave.run("sudo -n true")?.ok()?;
        scanned(host)?;
        let alerts = host.records()?.into_iter().filter(|record| record["event"] == "grant.left_behind");
        let times: BTreeSet<String> = alerts.map(|record| record["time"].to_string()).collect();
        ensure!(times.len() == 1, "told more than once: {times:?}");
        // The copy that leaves the host names every one of them as well.
        let sent = host.root_sh("journalctl --no-pager --quiet --output=cat --unit=jitd.service")?.text();
        for (_, expected) in PLANTS {
            ensure!(sent.contains(expected), "{expected} is not in syslog:\n{sent}");
        }
        Ok(())
    })
}

#[test]
fn twelve_plants_are_named_on_trixie() -> Result<()> {
    twelve_plants(Release::Trixie)
}

#[test]
fn twelve_plants_are_named_on_bookworm() -> Result<()> {
    twelve_plants(Release::Bookworm)
}

/// One call of a few milliseconds, which also kills the daemon so that it may forget.
#[test]
fn neither_haste_nor_killing_the_daemon_hides_anything() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let mut oscar = host.login(OSCAR)?;
        first_scan(host)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        dave.run("sudo -n bash -c 'echo x >/etc/cron.d/hasty; kill -9 $(pidof jitd)'")?;
        let told = alert(host, grant)?;
        ensure!(told.iter().any(|line| line == "added /etc/cron.d/hasty"), "{told:#?}");
        scanned(host)?;
        // A change that two sessions could have made is recorded under both grants, and not under a third one.
        let others = host.grant(OSCAR, "ops", "30m")?;
        let mut line = oscar.start("sudo -n sleep 3")?;
        dave.run("sudo -n touch /etc/cron.d/either")?.ok()?;
        oscar.finish(&line, LIMIT)?.ok()?;
        let told = alert(host, others)?;
        ensure!(told == ["added /etc/cron.d/either"], "{told:#?}");
        scanned(host)?;
        // Without the earlier scans jitd says so, and finds by their times what was changed.
        line = oscar.start("sudo -n sleep 1000")?;
        host.record("session.opened", |record| record["user"] == OSCAR && record["grant"] == others)?;
        dave.run(
            "sudo -n bash -c 'echo x >/etc/cron.d/late; kill -9 $(pidof jitd); rm /var/lib/jitd/survey.json'",
        )?;
        wait_until("both are told", LIMIT, || {
            let Ok(records) = host.records() else { return Ok(false) };
            let told: Vec<&str> = records
                .iter()
                .filter(|record| record["event"] == "grant.left_behind" && record["grant"] == grant)
                .flat_map(|record| record["left_behind"].as_array().into_iter().flatten())
                .filter_map(Value::as_str)
                .collect();
            Ok(told.contains(&"added /etc/cron.d/late")
                && told.iter().any(|line| line.contains("is not in /var/lib/jitd")))
        })
        .with_context(|| format!("{:#?}", host.records()))?;
        host.root(&["jitctl", "revoke", &others.to_string(), "--reason", "a story"])?.ok()?;
        oscar.finish(&line, LIMIT)?;
        Ok(())
    })
}

/// Work as usual raises no alert.
#[test]
fn who_leaves_nothing_behind_is_not_told_of() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        dave.run("for n in $(seq 50); do sudo -n touch /var/log/work /etc/sudoers.d/stories; done")?.ok()?;
        dave.run("sudo -n bash -c 'echo x >/etc/cron.d/passing; rm /etc/cron.d/passing'")?.ok()?;
        dave.run("sudo -n systemctl daemon-reload")?.ok()?;
        dave.run("sudo -n -i true")?.ok()?;
        scanned(host)?;
        let threads = host.root_sh("ps -eLo ni,comm | sort -u")?;
        threads.says(" 10 drift\n")?;
        let alerts: Vec<Value> =
            host.records()?.into_iter().filter(|record| record["event"] == "grant.left_behind").collect();
        ensure!(alerts.is_empty(), "{alerts:#?}");
        Ok(())
    })
}
