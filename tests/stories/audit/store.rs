//! A store that is removed, emptied, damaged, or cut off with the power: the gate stays closed, the reason is logged,
//! and there is a way out.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);
const COPY: &str = "/var/log/jit.log";

fn keep_syslog(host: &Host) -> Result<()> {
    let action = format!("if $rawmsg contains \"jit@32473\" then action(type=\"omfile\" file=\"{COPY}\")\n");
    host.write("/etc/rsyslog.d/jit.conf", &action)?;
    host.root(&["systemctl", "restart", "rsyslog"])?.ok().map(drop)
}

/// A script whose steps all have to work.
fn sh(host: &Host, script: &str) -> Result<()> {
    host.root_sh(&format!("set -e; {script}"))?.ok().map(drop)
}

fn is_let_in(login: &mut Login) -> Result<bool> {
    Ok(login.run("sudo -n true")?.status == 0)
}

fn is_refused_and_root_is_not(host: &Host, login: &mut Login) -> Result<()> {
    login.run("sudo -n touch /etc/ran")?.fails()?.says("is refused")?;
    ensure!(!host.has("/etc/ran"), "it ran");
    host.root(&["sudo", "-n", "true"])?.ok().map(drop)
}

#[test]
fn files_that_are_gone_replaced_or_cut_close_the_gate_until_they_are_back() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        keep_syslog(host)?;
        host.grant(DAVE, "ops", "2h")?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n true")?.ok()?;
        let ways = [
            ("mv /var/lib/jitd/jit.db /root/kept", "mv /root/kept /var/lib/jitd/jit.db", "was removed"),
            (
                "mv /var/lib/jitd/jit.db-wal /root/kept",
                "mv /root/kept /var/lib/jitd/jit.db-wal",
                "was removed",
            ),
            (
                "mv /var/lib/jitd/jit.db /root/kept; cp -a /root/kept /var/lib/jitd/jit.db",
                "mv /root/kept /var/lib/jitd/jit.db",
                "is another file",
            ),
            ("mv /var/lib/jitd /root/kept", "mv /root/kept /var/lib/jitd", "was removed"),
        ];
        for (number, (harm, mend, why)) in ways.into_iter().enumerate() {
            host.no_session_left(LIMIT)?;
            sh(host, harm)?;
            is_refused_and_root_is_not(host, &mut dave).context(harm)?;
            dave.run("sudo -n true")?.fails()?.says("could not be recorded")?.says(why)?;
            host.root(&["jitctl", "status"])?.ok()?.says(why)?;
            wait_until("the alert has left", LIMIT, || {
                let copy = host.read(COPY).unwrap_or_default();
                Ok(copy.lines().filter(|line| line.contains("audit.broken")).count() > number)
            })
            .context(harm)?;
            sh(host, mend)?;
            wait_until("it is let in again", LIMIT, || is_let_in(&mut dave)).context(mend)?;
            host.root(&["jitctl", "audit", "verify"])?.exits(8)?.says(why)?;
        }
        host.record("alert.raised", |record| record["alert"] == "chain")?;
        // A log that somebody else shortens by the rules is no harm; one that is cut is.
        host.no_session_left(LIMIT)?;
        host.root(&["sqlite3", "/var/lib/jitd/jit.db", "PRAGMA wal_checkpoint(TRUNCATE)"])?.ok()?;
        dave.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        sh(host, "truncate -s 0 /var/lib/jitd/jit.db-wal")?;
        is_refused_and_root_is_not(host, &mut dave).context("the log was cut")?;
        Ok(())
    })
}

#[test]
fn a_store_that_was_emptied_is_not_taken_for_a_new_host() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        keep_syslog(host)?;
        // A new host is quiet.
        host.root(&["jitctl", "audit", "verify"])?
            .ok()?
            .never_says("NOT THE WHOLE")?
            .says("the first record is of")?;
        ensure!(host.records()?.iter().all(|record| record["event"] != "audit.rolled_back"), "on a new host");
        host.grant(DAVE, "ops", "2h")?;
        host.login(DAVE)?.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        // So is a restart, and a power cut.
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        host.cut_power();
        host.start()?;
        ensure!(
            host.records()?.iter().all(|record| record["event"] != "audit.rolled_back"),
            "after a power cut"
        );

        let last = host.records()?.last().context("a record")?["seq"].to_string();
        sh(
            host,
            "systemctl stop jitd.socket jitd.service; mkdir /root/kept; mv /var/lib/jitd/* /root/kept; systemctl start jitd.socket jitd.service",
        )?;
        let told = host.record("audit.rolled_back", |_| true)?;
        ensure!(
            told["seq"] == 1 && told["detail"].to_string().contains("the store is empty"),
            "{told} {last}"
        );
        host.record("alert.raised", |record| record["alert"] == "chain")?;
        let file = ["jitctl", "audit", "verify", "--store", "/var/lib/jitd/jit.db"];
        for _ in 0..2 {
            host.root(&["jitctl", "audit", "verify"])?
                .exits(8)?
                .says("NOT THE WHOLE AUDIT LOG: record 1 says")?;
            host.root(&["jitctl", "status"])?.ok()?.says("this host has written record")?;
            host.root(&file)?.exits(8)?.says("NOT THE WHOLE AUDIT LOG")?;
            host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        }
        // An operator has looked into it: it is told as settled, and by whom.
        let settle = "jitctl audit acknowledge --reason 'emptied by the test'";
        host.login(DAVE)?.run(settle)?.exits(3)?;
        host.login("oscar")?.run(settle)?.ok()?.says("record 1")?;
        let said = host.record("audit.acknowledged", |record| record["about"] == 1)?;
        ensure!(said["actor"] == "oscar" && said["reason"] == "emptied by the test", "{said}");
        host.login("oscar")?.run(settle)?.exits(4)?.says("no open problem")?;
        for _ in 0..2 {
            let verified = host.root(&["jitctl", "audit", "verify"])?;
            verified.ok()?.never_says("NOT THE WHOLE")?.says("acknowledged by oscar")?;
            host.root(&["jitctl", "status"])?.ok()?.says("acknowledged by oscar")?.never_says("AUDIT LOG")?;
            host.root(&file)?.ok()?.says("acknowledged by oscar")?;
            host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        }
        let copies = host.records()?.iter().filter(|record| record["event"] == "audit.rolled_back").count();
        ensure!(copies == 1, "it is told once: {copies}");
        host.login(DAVE)?.run("sudo -n true")?.fails()?.says("dave has no open window")?;
        Ok(())
    })
}

/// The store of before a revocation is put back, and the memory of the last record is damaged and lost ("RECOVERY" of
/// jitd(8), `/var/log/jitd/head`).
#[test]
fn a_window_that_was_revoked_does_not_open_again_with_an_older_store() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let grant = host.grant(DAVE, "ops", "2h")?.to_string();
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        sh(
            host,
            "systemctl stop jitd.service; cp -a /var/lib/jitd /root/yesterday; systemctl start jitd.service",
        )?;
        host.root(&["jitctl", "revoke", &grant, "--reason", "dave has left"])?.ok()?;
        dave.run("sudo -n true")?.fails()?;
        sh(
            host,
            "systemctl stop jitd.service; rm -rf /var/lib/jitd; cp -a /root/yesterday /var/lib/jitd; systemctl start jitd.service",
        )?;
        host.record("audit.rolled_back", |_| true)?;
        let ended = host.record("grant.withdrawn", |record| {
            record["grant"].as_u64().is_some_and(|it| it.to_string() == grant)
        })?;
        ensure!(ended["detail"].to_string().contains("set back to an older state"), "{ended}");
        host.record("alert.raised", |record| record["alert"] == "chain")?;
        dave.run("sudo -n touch /etc/ran")?.fails()?.says("dave has no open window")?;
        ensure!(!host.has("/etc/ran"), "it ran");
        ensure!(host.jitctl(&["grants"])?.as_array().is_some_and(Vec::is_empty), "a window is open");

        let told = |host: &Host| -> Result<usize> {
            Ok(host.records()?.iter().filter(|record| record["event"] == "audit.rolled_back").count())
        };
        host.grant(DAVE, "ops", "2h")?;
        dave.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        // The next start has nothing to say, and neither has one without the file.
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        sh(host, "systemctl stop jitd.service; rm /var/log/jitd/head; systemctl start jitd.service")?;
        dave.run("sudo -n true")?.ok()?;
        ensure!(told(host)? == 1, "it was told again");
        wait_until("the head is written anew", LIMIT, || Ok(host.has("/var/log/jitd/head")))?;

        // How old the store is cannot be known.
        host.no_session_left(LIMIT)?;
        sh(
            host,
            "systemctl stop jitd.service; echo garbage >/var/log/jitd/head; systemctl start jitd.service",
        )?;
        dave.run("sudo -n true")?.fails()?.says("dave has no open window")?;
        host.record("audit.rolled_back", |record| record["detail"].to_string().contains("cannot be known"))?;
        host.grant(DAVE, "ops", "2h")?;
        dave.run("sudo -n true")?.ok()?;
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        dave.run("sudo -n true")?.ok()?;
        ensure!(told(host)? == 2, "it was told again");
        Ok(())
    })
}

/// "RECOVERY" of jitd(8), entry by entry; the archive is in [`super::retention`].
#[test]
fn each_damaged_file_has_a_way_out() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let seal = host.root(&["jitctl", "audit", "seal", "--init"])?.ok()?.stdout.clone();
        let mut dave = host.login(DAVE)?;
        let store = "/var/lib/jitd/jit.db";
        let verify_file = ["jitctl", "audit", "verify", "--store", store];
        let recover = ["/usr/libexec/jitd", "--recover"];

        host.root(&recover)?.fails()?.says("another jitd uses the store")?;
        host.grant(DAVE, "ops", "2h")?;
        dave.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        // jit.db: its beginning is gone.
        sh(host, "systemctl stop jitd.service; cp -a /var/lib/jitd /root/whole")?;
        host.root_sh("/usr/libexec/jitd --recover")?.fails()?.says("nothing is wrong with")?;
        host.root(&verify_file)?.ok()?.says("are whole")?;
        sh(host, "dd if=/dev/zero of=/var/lib/jitd/jit.db bs=100 count=1 conv=notrunc status=none")?;
        host.root_sh("systemctl start --no-block jitd.service")?.ok()?;
        wait_until("the way out is told", LIMIT, || {
            Ok(host.root(&["systemctl", "status", "jitd.service"])?.text().contains("--recover"))
        })?;
        ensure!(host.evidence().contains("jitd(8), RECOVERY"), "the journal does not say it");
        dave.run("sudo -n touch /etc/ran")?.fails()?.says("is refused")?;
        ensure!(!host.has("/etc/ran"), "it ran");
        host.root(&["sudo", "-n", "true"])?.ok()?;
        host.root(&verify_file)?.exits(7)?.says("cannot be read")?;
        host.root(&recover)?
            .ok()?
            .says("was set aside in /var/lib/jitd/damaged-")?
            .says("the last known record")?;
        wait_until("jitd goes on by itself", LIMIT, || {
            Ok(host.root(&["systemctl", "is-active", "jitd.service"])?.status == 0)
        })?;
        let told = host.record("audit.recovered", |_| true)?;
        ensure!(told["seq"] == 1, "{told}");
        ensure!(host.records()?.iter().all(|record| record["event"] != "audit.rolled_back"), "told twice");
        dave.run("sudo -n true")?.fails()?.says("dave has no open window")?;
        host.root_sh("ls /var/lib/jitd/damaged-*/jit.db /var/lib/jitd/damaged-*/seal.key")?.ok()?;

        // seal.key: a flipped bit.
        sh(host, "systemctl stop jitd.service; rm -rf /var/lib/jitd; cp -a /root/whole /var/lib/jitd")?;
        // A digit of the number behind the format's name.
        sh(
            host,
            "cd /var/lib/jitd; d=$(dd if=seal.key bs=1 skip=34 count=1 status=none); test $d != 7 && n=7 || n=8; printf $n | dd of=seal.key bs=1 seek=34 conv=notrunc status=none",
        )?;
        host.root(&["systemctl", "start", "jitd.service"])?.ok()?;
        let told = host.record("audit.unsealed", |_| true)?;
        ensure!(told["detail"].to_string().contains("damaged"), "{told}");
        let named = format!("record {}: it has no seal: the seal was lost here", told["seq"]);
        let verify = ["jitctl", "audit", "verify", "--key", "-"];
        host.root_with(&verify, seal.as_bytes(), LIMIT)?.exits(7)?.says(&named)?;
        host.root(&["jitctl", "audit", "seal", "--rotate"])?.ok()?;

        // What jitd makes anew by itself: the index, the drift scans, the positions of notification and of verification.
        sh(
            host,
            "systemctl stop jitd.service; cd /var/lib/jitd; for f in search.db survey.json survey-open.json notified verified; do echo garbage >$f; done; systemctl start jitd.service",
        )?;
        host.grant(DAVE, "ops", "2h")?;
        wait_until("it is let in", LIMIT, || is_let_in(&mut dave))?;
        host.root(&["jitctl", "audit", "search", "--user", "dave"])?.ok()?.says("dave")?;

        // jit.db-shm: SQLite makes it anew.
        host.no_session_left(LIMIT)?;
        sh(host, "rm /var/lib/jitd/jit.db-shm")?;
        dave.run("sudo -n true")?.fails()?.says("jit.db-shm was removed")?;
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        wait_until("it is let in again", LIMIT, || is_let_in(&mut dave))?;
        // Where a record tells of it, an operator has looked into it.
        host.root_sh("jitctl audit acknowledge --reason 'a file of a test was removed'; true")?.ok()?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?.never_says("is empty")?;

        // A record that was changed is found without anybody asking.
        host.no_session_left(LIMIT)?;
        sh(
            host,
            "systemctl stop jitd.service; rm -f /var/lib/jitd/verified; sqlite3 /var/lib/jitd/jit.db \"UPDATE records SET line = replace(line, 'daemon', 'daemom') WHERE seq = 1\"; systemctl start jitd.service",
        )?;
        host.record("audit.broken", |record| record["about"] == 1)?;
        host.root(&["jitctl", "status"])?.ok()?.says("record 1:")?;
        Ok(())
    })
}

/// "RECOVERY" of jitd(8), `jit.db-wal`: what was committed last was in it alone, and it is removed behind jitd's back.
#[test]
fn a_lost_write_ahead_log_is_noticed_and_has_a_way_out() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        keep_syslog(host)?;
        host.root(&["jitctl", "audit", "seal", "--init"])?.ok()?;
        // What is there by now is in jit.db.
        host.root(&["sqlite3", "/var/lib/jitd/jit.db", "PRAGMA wal_checkpoint(TRUNCATE)"])?.ok()?;
        let kept = host.records()?.last().context("a record")?["seq"].as_u64().context("a number")?;
        host.grant(DAVE, "ops", "2h")?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        let last = host.records()?.last().context("a record")?["seq"].as_u64().context("a number")?;
        wait_until("everything is in the copy", LIMIT, || {
            Ok(host.read(COPY).unwrap_or_default().contains(&format!(" [jit@32473 seq=\"{last}\" ")))
        })?;
        sh(
            host,
            "systemctl kill --signal=KILL jitd.service; systemctl stop jitd.socket jitd.service; test -s /var/lib/jitd/jit.db-wal; rm /var/lib/jitd/jit.db-wal /var/lib/jitd/jit.db-shm; systemctl start jitd.socket jitd.service",
        )?;
        let told = host.record("audit.rolled_back", |_| true)?;
        let (at, detail) = (told["seq"].as_u64().context("a number")?, told["detail"].to_string());
        let ends = format!("the store ends with record {kept}, and this host has written record ");
        ensure!(at > kept && at <= last && detail.contains(&ends), "{kept} to {last}: {told}");
        host.record("alert.raised", |record| record["alert"] == "chain")?;
        dave.run("sudo -n touch /etc/ran")?.fails()?.says("dave has no open window")?;
        ensure!(!host.has("/etc/ran"), "it ran");
        // The way out, line by line.
        let double = format!("record {}: two different records were kept under this number", kept + 1);
        let copy = host.root(&["jitctl", "audit", "verify", "--input", COPY, "--store"])?;
        copy.exits(7)?.says(&double)?;
        host.record("audit.unsealed", |_| true)?;
        host.root(&["jitctl", "audit", "seal", "--rotate"])?.ok()?;
        host.root(&["jitctl", "audit", "verify"])?.exits(8)?.says(&ends)?;
        host.root(&["jitctl", "audit", "acknowledge", "--reason", "a test removed the log"])?.ok()?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?.says("acknowledged by root")?;
        host.grant(DAVE, "ops", "2h")?;
        dave.run("sudo -n true")?.ok().map(drop)
    })
}

/// Whole-host kills at random moments of sudos in a loop; `JIT_SOAK_CUTS` says how many, 5 if it says nothing.
#[test]
fn what_was_acknowledged_outlives_power_cuts() -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "the long form of the test is asked for by make soak")]
    let cuts = std::env::var("JIT_SOAK_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(5);
    play(&Plan::new(Release::Trixie), |host| {
        let mut dice = u64::from(std::process::id()) | 1;
        let (mut acknowledged, mut grants) = (0, 0);
        for cut in 0..cuts {
            let reason = format!("before power cut number {cut}");
            let words = ["jitctl", "--json", "grant", "dave", "ops", "--for", "2h", "--reason", &reason];
            // A window that is open already is no harm; it has to outlive the cut as well.
            if host.root(&words)?.status == 0 {
                grants += 1;
            }
            let lines = format!("/var/tmp/ack-{cut}");
            let mut dave = host.login(DAVE)?;
            dave.start(&format!(
                "for i in $(seq 1000); do sudo -n true ack-{cut}-$i && echo ack-{cut}-$i >>{lines}; done"
            ))?;
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let wanted = 3 + usize::try_from(dice >> 33)? % 40;
            let count = |host: &Host| host.read(&lines).unwrap_or_default().lines().count();
            wait_until("sudos are acknowledged", LIMIT, || Ok(count(host) >= wanted))?;
            host.cut_power();
            let acks = host.read(&lines)?;
            host.start()?;
            wait_until("the host is back by itself", LIMIT, || {
                Ok(host.root(&["jitctl", "status"])?.status == 0)
            })?;
            let records = host.records()?;
            let allowed: Vec<String> = records
                .iter()
                .filter(|record| record["event"] == "access.allowed")
                .map(|record| record["argv"].to_string())
                .collect();
            for ack in acks.lines() {
                let word = format!("\"{ack}\"");
                ensure!(
                    allowed.iter().any(|argv| argv.contains(&word)),
                    "{ack} was acknowledged and is not recorded"
                );
                acknowledged += 1;
            }
            let live = host.jitctl(&["grants"])?;
            ensure!(live[0]["user"] == "dave" && live[0]["state"] == "live", "{live}");
            ensure!(records.iter().all(|record| record["event"] != "audit.rolled_back"), "cut {cut}");
            host.root(&["jitctl", "audit", "verify"])?.ok()?.never_says("NOT THE WHOLE")?;
            let mut after = host.login(DAVE)?;
            wait_until("the window is open still", LIMIT, || is_let_in(&mut after))?;
        }
        println!("{cuts} power cuts: {acknowledged} sudos and {grants} grants acknowledged, 0 lost");
        Ok(())
    })
}

#[test]
fn a_disk_that_is_full_or_read_only_at_boot_keeps_the_gate_closed_until_it_is_not() -> Result<()> {
    play(&Plan::new(Release::Trixie).with_disk("/var/lib/jitd", 12), |host| {
        host.grant(DAVE, "ops", "2h")?;
        host.login(DAVE)?.run("sudo -n true")?.ok()?;
        host.no_session_left(LIMIT)?;
        for (harm, mend) in [
            ("cat /dev/zero >/var/lib/jitd/filler || true", "rm /var/lib/jitd/filler"),
            ("mount -o remount,ro /var/lib/jitd", "mount -o remount,rw /var/lib/jitd"),
        ] {
            // As at a boot: the daemon starts on a disk that is so already.
            host.root_sh(&format!(
                "systemctl stop jitd.service; {harm}; systemctl start --no-block jitd.service"
            ))?
            .ok()?;
            let mut dave = host.login(DAVE)?;
            let mut refused = false;
            // What is left in the last block of the log may be enough for a few records.
            for _ in 0..60 {
                if !is_let_in(&mut dave)? {
                    refused = true;
                    break;
                }
            }
            ensure!(refused, "{harm}: it went on without room for a record");
            host.root(&["sudo", "-n", "true"])?.ok()?;
            host.root_sh(mend)?.ok()?;
            wait_until("it is let in again", LIMIT, || is_let_in(&mut dave)).context(mend)?;
            host.no_session_left(LIMIT)?;
            host.root(&["jitctl", "audit", "verify"])?.ok()?.never_says("NOT THE WHOLE")?;
        }
        Ok(())
    })
}
