//! The audit log shows that it was changed, and it reaches syslog.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{ALICE, CAROL, DAVE, MALLORY};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(20);

/// Some records to be at.
fn make_records(host: &Host) -> Result<()> {
    host.grant(DAVE, "ops", "30m")?;
    let mut dave = host.login(DAVE)?;
    for _ in 0..3 {
        dave.run("sudo -n true")?.ok()?;
    }
    host.no_session_left(LIMIT)?;
    host.login(MALLORY)?.run("sudo -n true")?.fails()?;
    let records = host.records()?;
    ensure!(records.len() > 12, "only {} records", records.len());
    Ok(())
}

/// What root can do to the database, and the first record that is bad afterwards.
const CASES: [(&str, &str, u64); 9] = [
    (
        "a byte changed",
        "UPDATE records SET line = replace(line, 'dave', 'davf') WHERE seq = (SELECT min(seq) FROM \
        records WHERE line LIKE '%\"user\":\"dave\"%')",
        0,
    ),
    (
        "a digit changed",
        "UPDATE records SET line = replace(line, '\"seq\":7,', '\"seq\":8,') WHERE seq = 7",
        7,
    ),
    ("a space added", "UPDATE records SET line = line || ' ' WHERE seq = 5", 5),
    ("a hash changed", "UPDATE records SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 6", 6),
    ("the first removed", "DELETE FROM records WHERE seq = 1", 1),
    ("one removed", "DELETE FROM records WHERE seq = 8", 8),
    (
        "one removed, the others moved up",
        "DELETE FROM records WHERE seq = 4; \
        UPDATE records SET seq = -(seq - 1) WHERE seq > 4; UPDATE records SET seq = -seq WHERE seq < 0",
        4,
    ),
    (
        "two swapped",
        "UPDATE records SET seq = -3 WHERE seq = 3; UPDATE records SET seq = 3 WHERE seq = 4; \
        UPDATE records SET seq = 4 WHERE seq = -3",
        3,
    ),
    ("the tail cut", "DELETE FROM records WHERE seq > 9", 10),
];

#[test]
fn whoever_has_been_at_the_record_is_found_out() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            make_records(host)?;
            let mut carol = host.login(CAROL)?;
            let whole = carol.run("jitctl audit verify")?;
            whole.ok()?.says("records are whole")?;
            host.root_sh("systemctl stop jitd.service; cp -a /var/lib/jitd /root/whole")?.ok()?;
            for (what, sql, first_bad) in CASES {
                host.root_sh("systemctl stop jitd.service; rm -rf /var/lib/jitd; cp -a /root/whole /var/lib/jitd; systemctl start jitd.service")?
                    .ok()?;
                // Under the nose of the running daemon.
                let first_bad = match first_bad {
                    0 => host
                        .root(&[
                            "sqlite3",
                            "/var/lib/jitd/jit.db",
                            "SELECT min(seq) FROM records WHERE line LIKE '%\"user\":\"dave\"%'",
                        ])?
                        .ok()?
                        .line()
                        .to_owned(),
                    seq => seq.to_string(),
                };
                host.root(&["sqlite3", "-cmd", ".timeout 5000", "/var/lib/jitd/jit.db", sql])?.ok()?;
                for moment in ["while jitd runs", "after a restart of jitd"] {
                    let found = carol.run("jitctl audit verify")?;
                    found
                        .exits(7)
                        .and_then(|found| found.says(&format!("record {first_bad}:")))
                        .with_context(|| format!("{what}, {moment}"))?;
                    let json = carol.run("jitctl --json audit verify")?;
                    json.exits(7)?.says(&format!("\"bad_seq\": {first_bad}"))?;
                    host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Cut the tail, and the head with it: only the daemon that runs, or a copy elsewhere, can know.
#[test]
fn a_tail_cut_off_together_with_the_known_head_shows_while_jitd_runs() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        make_records(host)?;
        let tables = host.root(&["sqlite3", "/var/lib/jitd/jit.db", ".schema"])?;
        let state = if tables.text().contains("TABLE state") {
            ("state", "head_seq", "head_hash")
        } else {
            ("head", "seq", "hash")
        };
        let sql = format!(
            "DELETE FROM records WHERE seq > 9; UPDATE {0} SET {1} = 9, {2} = (SELECT hash FROM records WHERE seq = 9)",
            state.0, state.1, state.2
        );
        host.root(&["sqlite3", "-cmd", ".timeout 5000", "/var/lib/jitd/jit.db", &sql])?.ok()?;
        host.login(CAROL)?.run("jitctl audit verify")?.exits(7)?.says("record 10")?;
        Ok(())
    })
}

#[test]
fn every_record_reaches_syslog() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.write(
                "/etc/rsyslog.d/jit.conf",
                "template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
                 if $rawmsg contains \"jit@32473\" then action(type=\"omfile\" file=\"/var/log/jit.log\" template=\"raw\")\n",
            )?;
            host.root(&["systemctl", "restart", "rsyslog"])?.ok()?;
            make_records(host)?;
            let records = host.records()?;
            let all = wait_until("rsyslog has every record made since", LIMIT, || {
                let log = host.read("/var/log/jit.log").unwrap_or_default();
                Ok(records.iter().all(|record| log.contains(&format!(" seq=\"{}\"", record["seq"]))))
            });
            // What was recorded before rsyslog was told is in the journal alone.
            if all.is_err() {
                let log = host.read("/var/log/jit.log").context("rsyslog wrote nothing")?;
                let missing: Vec<String> = records
                    .iter()
                    .filter(|record| !log.contains(&format!(" seq=\"{}\"", record["seq"])))
                    .map(|record| format!("{} {}", record["seq"], record["event"]))
                    .collect();
                let first = host.records()?.iter().position(|record| record["event"] == "grant.started");
                ensure!(missing.len() <= first.unwrap_or(0), "missing in syslog: {missing:?}\n{log}");
            }
            let log = host.read("/var/log/jit.log")?;
            for event in
                ["grant.started", "access.allowed", "session.opened", "session.ended", "access.denied"]
            {
                let line = log.lines().find(|line| {
                    line.contains(&format!("]: {event} user ")) && line.contains(" [jit@32473 ")
                });
                let line = line.with_context(|| format!("no {event} in\n{log}"))?;
                ensure!(line.contains("user=\"dave\"") || line.contains("user=\"mallory\""), "{line}");
            }
            ensure!(log.lines().all(|line| line.len() <= 2048), "a line is too long");
            Ok(())
        })?;
    }
    Ok(())
}

/// Nothing is dropped while nobody takes it.
#[test]
fn records_made_while_syslog_is_away_are_sent_later() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.root_sh("systemctl stop systemd-journald-dev-log.socket systemd-journald.socket systemd-journald.service rsyslog syslog.socket; rm -f /run/systemd/journal/dev-log")?;
        make_records(host)?;
        let waiting = host.jitctl(&["status"])?["unsent"].as_u64().context("unsent")?;
        ensure!(waiting > 0, "nothing waits although nobody listens");
        host.root_sh("systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service syslog.socket rsyslog")?.ok()?;
        host.login(ALICE)?.run("sudo -n true")?.fails()?;
        wait_until("everything is sent", LIMIT, || Ok(host.jitctl(&["status"])?["unsent"] == 0))
    })
}
