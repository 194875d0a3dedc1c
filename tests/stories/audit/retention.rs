//! Old records move from the store to the archive, and the audit log says so: by age, by the size of the store, and
//! where the daemon is killed meanwhile.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_proto::audit::chain::{Head, append};
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::time::{BootId, BootTime, WallTime};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::output::{COMMAND_LIMIT, Output};
use jit_tests::people::{DAVE, MALLORY};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(60);
const COPY: &str = "/var/log/jit.log";
const DB: &str = "/var/lib/jitd/jit.db";
const SETTINGS: &str =
    "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\napprove_without_login = true\n";

/// Of 2017: older than six years on whatever day this is played.
const LONG_AGO: u64 = 1_500_000_000_000_000;
/// From then on, older than a day.
const LATER: u64 = 1_735_000_000_000_000;
const OLD: u64 = 700;
const YOUNGER: u64 = 3000;

/// A host that has been there for years: a store whose first records are old, and whose others are not as old.
fn old_host(host: &Host) -> Result<()> {
    let mut sql = "BEGIN; DELETE FROM records;\n".to_owned();
    let mut head = Head::default();
    for n in 0..OLD + YOUNGER {
        let wall = if n < OLD { LONG_AGO } else { LATER } + n * 60_000_000;
        let user = if n < OLD { "ancient" } else { "former" };
        let facts = Facts {
            user: Some(user.to_owned()),
            reason: Some("a reason that somebody gave at length, ".repeat(10)),
            ..Facts::default()
        };
        let (wall, boot, boot_id) = (WallTime(wall), BootTime(n), BootId("b".to_owned()));
        let draft = Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts };
        let record = append(&mut head, draft)?;
        let (seq, hash, line) = (record.seq, record.hash, record.line);
        writeln!(sql, "INSERT INTO records (seq, hash, line) VALUES ({seq}, '{hash}', '{line}');")?;
    }
    let Head { seq, hash } = head;
    writeln!(sql, "UPDATE state SET head_seq = {seq}, head_hash = '{hash}', sent = 0; COMMIT;")?;
    host.write(
        "/etc/rsyslog.d/jit.conf",
        &format!("if $rawmsg contains \"jit@32473\" then action(type=\"omfile\" file=\"{COPY}\")\n"),
    )?;
    host.root_sh("systemctl stop jitd.service; systemctl restart rsyslog")?.ok()?;
    host.root_with(&["sqlite3", DB], sql.as_bytes(), COMMAND_LIMIT)?.ok()?;
    host.root(&["systemctl", "start", "jitd.service"])?.ok()?;
    // It is not the store that this host wrote, and verify says so until somebody has looked into it.
    host.record("audit.rolled_back", |_| true)?;
    host.root(&["jitctl", "audit", "verify"])?.exits(8)?.says("NOT THE WHOLE AUDIT LOG")?;
    host.root(&["jitctl", "audit", "acknowledge", "--reason", "the records of a test"])?.ok()?;
    Ok(())
}

fn sql(host: &Host, sql: &str) -> Result<String> {
    Ok(host.root(&["sqlite3", "-cmd", ".timeout 10000", DB, sql])?.ok()?.line().to_owned())
}

/// Says 1 while records are still there that the record says are to go.
const UNDER_WAY: &str = r#"
under_way() {
    sqlite3 -cmd '.timeout 10000' /var/lib/jitd/jit.db \
        'SELECT ifnull((SELECT to_seq >= (SELECT min(seq) FROM records) FROM pruned), 0)'
}
"#;

/// Waits until syslog has been handed all there is, and has the settings looked at anew by a reload.
fn look_again(host: &Host, settings: &str, reload: &str) -> Result<Output> {
    host.write("/etc/jitd/jitd.toml", &format!("{SETTINGS}{settings}"))?;
    wait_until("syslog has every record", LIMIT, || Ok(host.jitctl(&["status"])?["unsent"] == 0))?;
    let output = host.root_sh(reload)?;
    output.ok()?;
    Ok(output)
}

/// Waits until the store begins behind a record that is this far, and nothing more is to be taken away.
fn pruned_to(host: &Host, at_least: u64) -> Result<u64> {
    let mut to = 0;
    let query = "SELECT to_seq FROM pruned WHERE to_seq + 1 = (SELECT min(seq) FROM records)";
    wait_until("old records are gone", LIMIT, || {
        to = sql(host, query)?.parse().unwrap_or(0);
        Ok(to >= at_least)
    })
    .with_context(|| format!("up to {to}"))?;
    Ok(to)
}

/// The archive and the store, walked from the first record on; more words behind it.
fn verify_from_one(host: &Host, more: &str, input: &[u8]) -> Result<()> {
    let script = format!("jitctl audit verify --input /var/lib/jitd/archive/*.jsonl --store {more}");
    let verified = host.root_with(&["bash", "-c", &script], input, COMMAND_LIMIT)?;
    verified
        .ok()?
        .says("the export continues in the store: records 1 to ")?
        .says("all sources agree")
        .map(drop)
}

#[test]
fn old_records_go_into_the_archive_and_what_stays_is_whole() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            old_host(host)?;
            // Six years are the default.
            look_again(host, "", "systemctl reload jitd.service")?;
            ensure!(pruned_to(host, 1)? == OLD);
            // It may have begun while syslog was still being handed what had to go.
            let said = host.record("audit.pruned", |_| true)?;
            ensure!(said["pruned_to"] == OLD, "{said}");
            ensure!(said["pruned_by"] == "retention" && said["policy"].is_string(), "{said}");
            let removed =
                format!("records 1 to {OLD} were removed by retention, as record {} says", said["seq"]);
            host.root(&["jitctl", "audit", "verify"])?.ok()?.says(&removed)?;
            verify_from_one(host, "", b"")?;

            // "RECOVERY" of jitd(8), `archive/`: what is damaged is named, and a copy takes its place.
            host.root_sh(
                "cp -a /var/lib/jitd/archive /root/archive; sed -i '0,/ancient/s//another/' /var/lib/jitd/archive/*.jsonl",
            )?
            .ok()?;
            let archive = "jitctl audit verify --input /var/lib/jitd/archive/*.jsonl --store";
            host.root_sh(archive)?.exits(7)?.says("record 1:")?;
            host.root_sh("rm /var/lib/jitd/archive/*.jsonl")?.ok()?;
            host.root_sh(archive)?.fails()?.says("/var/lib/jitd/archive")?;
            host.root_sh("cp -a /root/archive/. /var/lib/jitd/archive")?.ok()?;
            verify_from_one(host, "", b"")?;

            // Whoever reads is told where the record begins, and gets the rest.
            let begins = format!("the audit log begins with record {}", OLD + 1);
            host.root(&["jitctl", "audit", "show", "--from", "1"])?.ok()?.says("former")?.says(&begins)?;
            // Whoever is in none of the records that are left may have been in those.
            host.root(&["jitctl", "audit", "search", "--user", "ancient"])?.exits(4)?.says(&begins)?;
            let count = host.root(&["jitctl", "audit", "search", "--user", "former", "--count"])?;
            ensure!(count.ok()?.line() == YOUNGER.to_string(), "{count:?}");
            host.root(&["jitctl", "audit", "export", "--format", "csv"])?.ok()?.says(&begins)?;
            let report = host.root(&["jitctl", "report", "--since", "2010-01-01", "--format", "md"])?;
            report.ok()?.says(&format!("The audit log begins with record {}", OLD + 1))?;

            // The copy has them all, and the store follows from it.
            let last = sql(host, "SELECT max(seq) FROM records")?;
            wait_until("rsyslog has every record", LIMIT, || {
                Ok(host.read(COPY).unwrap_or_default().contains(&format!(" seq=\"{last}\"")))
            })?;
            host.root(&["jitctl", "audit", "verify", "--input", COPY, "--store"])?
                .ok()?
                .says("messages: records 1 to ")?
                .says("all sources agree")?;

            let begun = host.root(&["jitctl", "audit", "seal", "--init"])?;
            let key = begun.ok()?.stdout.clone();
            host.grant(DAVE, "ops", "2h")?;
            host.login(DAVE)?.run("sudo -n true")?.ok()?;
            host.no_session_left(LIMIT)?;

            // By size, and the daemon is killed while they go, and again while it takes up what it had begun.
            let killed = look_again(
                host,
                "retention_size = \"1M\"\n",
                &format!(
                    "{UNDER_WAY} pid=$(systemctl show --value --property=MainPID jitd.service)
                     systemctl reload --no-block jitd.service
                     until [ \"$(under_way)\" = 1 ]; do :; done; kill -KILL $pid; under_way"
                ),
            )?;
            ensure!(killed.line() == "1", "it was killed too late: {killed:?}");
            for milliseconds in [5, 60, 130] {
                let script = format!(
                    "until jitctl status >/dev/null 2>&1; do :; done; sleep 0.{milliseconds:03}; \
                     systemctl kill --signal=KILL jitd.service; until jitctl status >/dev/null 2>&1; do :; done"
                );
                host.root_sh(&script)?.ok()?;
                host.root(&["jitctl", "audit", "verify"])?.ok()?.says("were removed by retention")?;
            }
            let to = pruned_to(host, OLD + 1)?;
            let said = host.record("audit.pruned", |said| said["pruned_by"] == "retention_size")?;
            ensure!(said["pruned_to"] == to, "{said}");
            verify_from_one(host, "--key -", key.as_bytes())?;
            let sealed =
                host.root_with(&["jitctl", "audit", "verify", "--key", "-"], key.as_bytes(), COMMAND_LIMIT)?;
            sealed.ok()?.says("the seals fit the key")?;
            // What was just written stays, however much more comes.
            ensure!(to < OLD + YOUNGER, "records of today went: up to {to}");
            host.login(DAVE)?.run("sudo -n true")?.ok()?;
            host.login(MALLORY)?.run("sudo -n true")?.fails()?;

            // Whoever is root takes some more away.
            host.no_session_left(LIMIT)?;
            host.login(DAVE)?
                .run(&format!("sudo -n sqlite3 {DB} 'DELETE FROM records WHERE seq <= {to} + 5'"))?
                .ok()?;
            let found = host.root(&["jitctl", "audit", "verify"])?;
            found.exits(7)?.says(&format!("record {}: missing", to + 1))?;
            Ok(())
        })?;
    }
    Ok(())
}
