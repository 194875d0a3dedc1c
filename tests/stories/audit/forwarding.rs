//! Records leave the host for syslog, the journal and a file, whatever is down meanwhile; a silent host and a lost copy
//! show.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{CAROL, DAVE, MALLORY, OSCAR};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
/// rsyslog's own socket, on which no one but jitd speaks.
const SOCKET: &str = "/run/rsyslog-jit.sock";
const LOG: &str = "/var/log/jit.log";

/// Has rsyslog listen on a socket of its own, and jitd speak there.
fn listen(host: &Host, settings: &str) -> Result<()> {
    host.write(
        "/etc/rsyslog.d/jit.conf",
        &format!(
            "template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             input(type=\"imuxsock\" Socket=\"{SOCKET}\" ruleset=\"jit\" useSpecialParser=\"off\" rateLimit.Interval=\"0\")\n\
             ruleset(name=\"jit\" queue.type=\"Direct\") {{ action(type=\"omfile\" file=\"{LOG}\" template=\"raw\") }}\n"
        ),
    )?;
    host.root(&["systemctl", "restart", "rsyslog"])?.ok()?;
    configure(host, &format!("syslog_socket = \"{SOCKET}\"\n{settings}"))
}

fn configure(host: &Host, settings: &str) -> Result<()> {
    let before = include_str!("../../host/jitd.toml");
    host.write("/etc/jitd/jitd.toml", &format!("{before}{settings}"))?;
    host.root(&["systemctl", "reload", "jitd.service"])?.ok().map(drop)
}

/// Numbers of the records in a file of syslog lines, in the order in which they came.
fn numbers(log: &str) -> Vec<u64> {
    let number = |line: &str| line.split_once(" seq=\"")?.1.split('"').next()?.parse().ok();
    log.lines().filter(|line| !line.contains(" daemon.heartbeat ")).filter_map(number).collect()
}

fn count(host: &Host) -> Result<u64> {
    host.jitctl(&["status"])?["records"].as_u64().context("records")
}

fn everything_sent(host: &Host) -> Result<()> {
    wait_until("everything is sent", LIMIT, || Ok(host.jitctl(&["status"])?["unsent"] == 0))
}

/// As many records as the gate makes in so many seconds. Root calls: each of these calls is recorded by itself, where others'
/// denials are only counted above a limit.
fn many_records(host: &Host, seconds: u64) -> Result<()> {
    let words = ["/usr/local/bin/stopwatch", "root", &seconds.to_string()];
    host.root_with(&words, b"go\n", LIMIT)?.ok().map(drop)
}

#[test]
fn five_thousand_records_made_while_rsyslog_is_away_arrive_in_order_across_a_restart_of_jitd() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("stopwatch")?;
        listen(host, "heartbeat = \"1s\"\n")?;
        many_records(host, 1)?;
        everything_sent(host)?;
        host.root(&["systemctl", "stop", "syslog.socket", "rsyslog.service"])?.ok()?;
        let before = count(host)?;
        while count(host)? < before + 2500 {
            many_records(host, 1)?;
        }
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        while count(host)? < before + 5000 {
            many_records(host, 1)?;
        }
        host.root(&["systemctl", "start", "rsyslog.service"])?.ok()?;
        everything_sent(host)?;
        // What rsyslog was handed when it was stopped may come twice; nothing else does.
        let came = numbers(&host.read(LOG)?);
        let last = *came.last().context("rsyslog wrote nothing")?;
        let mut once = came.clone();
        once.dedup();
        let repeated = came.len() as u64 - (last + 1 - came[0]);
        ensure!(last >= before + 5000, "the last one there is {last}");
        ensure!(repeated <= 64, "{repeated} came twice");
        let verified = host.root(&["jitctl", "audit", "verify", "--input", LOG, "--store"])?;
        verified.ok()?.says(&format!("to {last} are complete"))?;
        Ok(())
    })
}

#[test]
fn a_sign_of_life_names_the_last_record_so_that_a_lost_tail_shows() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        listen(host, "heartbeat = \"1s\"\n")?;
        host.login(MALLORY)?.run("sudo -n true")?.fails()?;
        everything_sent(host)?;
        let last = count(host)?;
        let named = format!(" daemon.heartbeat [jit@32473 seq=\"{last}\" hash=\"");
        wait_until("a heartbeat names the last record", LIMIT, || {
            Ok(host.read(LOG).unwrap_or_default().contains(&named))
        })?;
        let log = host.read(LOG)?;
        let beat = log.lines().find(|line| line.contains(&named)).context("it was there")?;
        let policy = host.jitctl(&["status"])?["policy_digest"].as_str().context("digest")?.to_owned();
        let program = host.root(&["sha256sum", "/usr/libexec/jitd"])?;
        let program = program.ok()?.stdout.split_whitespace().next().context("a digest")?.to_owned();
        for part in
            [&format!("policy=\"{policy}\""), &program, "grants=\"0\"", "sessions=\"0\"", "every=\"1\""]
        {
            ensure!(beat.contains(part), "{part} is not in {beat}");
        }
        host.root(&["jitctl", "audit", "verify", "--input", LOG])?.ok()?;
        // Somebody takes the last record out of the copy, and leaves the signs of life.
        let cut: String = log
            .lines()
            .filter(|line| !line.contains(&format!(" seq=\"{last}\"")) || line.contains("heartbeat"))
            .map(|line| format!("{line}\n"))
            .collect();
        host.write("/root/cut.log", &cut)?;
        let found = host.root(&["jitctl", "audit", "verify", "--input", "/root/cut.log"])?;
        found.exits(7)?.says(&format!("the chain reached {last}"))?;
        Ok(())
    })
}

#[test]
fn no_audit_no_sudo_where_the_policy_says_so_and_only_there() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let role = "[role.emergency]\ndescription = \"When all else fails\"\nmembers = [\"oscar\"]\n\
                        without_forwarding = true\n[role.emergency.approval]\nfrom = [\"bob\"]\n";
            host.write("/etc/jitd/roles.d/emergency.toml", role)?;
            listen(host, "require_forwarding_within = \"2s\"\n")?;
            host.grant(DAVE, "ops", "30m")?;
            host.grant(OSCAR, "emergency", "30m")?;
            let (mut dave, mut oscar) = (host.login(DAVE)?, host.login(OSCAR)?);
            dave.run("sudo -n true")?.ok()?;
            everything_sent(host)?;
            host.root(&["systemctl", "stop", "syslog.socket", "rsyslog.service"])?.ok()?;
            // Within the limit it goes on; this is also a record that waits.
            dave.run("sudo -n true")?.ok()?;
            let refused = wait_until("it is refused", LIMIT, || {
                let refused = dave.run("sudo -n true")?;
                Ok(refused.text().contains("no audit, no sudo"))
            });
            refused?;
            oscar.run("sudo -n true")?.ok()?;
            host.record("access.denied", |record| {
                record["detail"].as_str().is_some_and(|why| why.contains("has not been forwarded for"))
            })?;
            wait_until("it is recorded that nothing is forwarded", LIMIT, || {
                Ok(host.records()?.iter().any(|record| record["event"] == "sink.down"))
            })?;
            host.record("sink.down", |record| record["sink"] == "syslog")?;
            host.root(&["systemctl", "start", "rsyslog.service"])?.ok()?;
            wait_until("sudo works again", LIMIT, || Ok(dave.run("sudo -n true")?.exits(0).is_ok()))?;
            host.record("sink.back", |record| record["sink"] == "syslog")?;
            host.root(&["jitctl", "audit", "verify", "--input", LOG, "--store"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// A receiver that is there and does nothing is no receiver.
#[test]
fn a_syslog_daemon_that_is_stopped_in_its_tracks_counts_as_away() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        listen(host, "require_forwarding_within = \"2s\"\n")?;
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n true")?.ok()?;
        everything_sent(host)?;
        host.root_sh("kill -STOP $(systemctl show --property=MainPID --value rsyslog.service)")?.ok()?;
        wait_until("it is refused", LIMIT, || {
            Ok(dave.run("sudo -n true")?.text().contains("no audit, no sudo"))
        })?;
        host.root_sh("kill -CONT $(systemctl show --property=MainPID --value rsyslog.service)")?.ok()?;
        wait_until("sudo works again", LIMIT, || Ok(dave.run("sudo -n true")?.exits(0).is_ok()))?;
        everything_sent(host)?;
        let came = numbers(&host.read(LOG)?);
        let mut once = came.clone();
        once.dedup();
        ensure!(came == once, "a receiver that only slept got something twice");
        host.root(&["jitctl", "audit", "verify", "--input", LOG])?.ok()?;
        Ok(())
    })
}

#[test]
fn the_journal_has_each_fact_as_a_field_and_explains_the_event() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.login(MALLORY)?.run("sudo -n true")?.fails()?;
            let denied = host.record("access.denied", |record| record["user"] == "mallory")?;
            let query = format!("JIT_SEQ={}", denied["seq"]);
            wait_until("it is in the journal", LIMIT, || {
                Ok(!host
                    .root(&["journalctl", "-o", "json", "JIT_EVENT=access.denied", &query])?
                    .stdout
                    .is_empty())
            })?;
            let entry = host.root(&["journalctl", "-o", "json", "JIT_USER=mallory", &query])?;
            let entry = entry.ok()?.json()?;
            for (field, value) in [
                ("JIT_SERVICE", "sudo"),
                ("PRIORITY", "4"),
                ("SYSLOG_IDENTIFIER", "jitd"),
                ("SYSLOG_FACILITY", "10"),
            ] {
                ensure!(entry[field] == value, "{field} is not {value}: {entry}");
            }
            ensure!(entry["JIT_HASH"].as_str().is_some_and(|hash| hash.len() == 64), "{entry}");
            let explained = host.root(&["journalctl", "-x", "-o", "short", &query])?;
            explained.ok()?.says("The gate denied an elevation.")?.says("access.denied")?;
            // One entry for each record, with the line that the syslog daemon is handed.
            let once = host.root(&["journalctl", "--quiet", "-o", "cat", "_SYSTEMD_UNIT=jitd.service"])?;
            let ours = format!(" [jit@32473 seq=\"{}\" hash=", denied["seq"]);
            let is_it = |line: &&str| line.starts_with("access.denied user mallory") && line.contains(&ours);
            ensure!(once.stdout.lines().filter(is_it).count() == 1, "{}", once.stdout);
            let words =
                once.stdout.lines().filter(|line| line.contains("access.denied user mallory")).count();
            let denials = host.records()?.iter().filter(|record| record["event"] == "access.denied").count();
            ensure!(words == denials, "{words} entries for {denials} denials: {}", once.stdout);
            // The journal's export is a copy like any other.
            let copy = "journalctl -o json _SYSTEMD_UNIT=jitd.service | grep JIT_SEQ > /root/copy.json";
            host.root_sh(copy)?.ok()?;
            host.root(&["jitctl", "audit", "verify", "--input", "/root/copy.json"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_file_of_json_lines_keeps_the_chain_across_its_rotation_and_a_kill() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("stopwatch")?;
        configure(host, "json_lines = true\njson_lines_max_size = \"64K\"\njson_lines_keep = 50\n")?;
        let dir = "/var/log/jitd";
        // A file of 64 KiB has less than 200 of them.
        while count(host)? < 300 {
            many_records(host, 1)?;
        }
        host.root_sh("systemctl kill --signal=KILL jitd.service; systemctl start jitd.service")?.ok()?;
        while count(host)? < 600 {
            many_records(host, 1)?;
        }
        let last = count(host)?;
        wait_until("the last record is in the file", LIMIT, || {
            let tail = host.root_sh(&format!("tail -n 1 {dir}/audit.jsonl"))?;
            Ok(tail.stdout.contains(&format!("{{\"seq\":{last},")))
        })?;
        let files = host.root_sh(&format!("ls -v -r {dir}/audit.jsonl.* && ls {dir}/audit.jsonl"))?;
        let files: Vec<String> = files.ok()?.stdout.lines().map(str::to_owned).collect();
        ensure!(files.len() > 2, "it was not rotated: {files:?}");
        let mut words = vec!["jitctl", "audit", "verify"];
        for file in &files {
            words.extend(["--input", file.as_str()]);
        }
        host.root(&words)?.ok()?;
        let mode = host.root(&["stat", "-c", "%U %a", &files[0]])?;
        ensure!(mode.ok()?.line() == "root 640", "{}", mode.text());
        host.login(CAROL)?.run(&format!("cat {}", files[0]))?.fails()?;
        Ok(())
    })
}

#[test]
fn a_stack_that_no_longer_asks_is_recorded_and_so_is_its_mending() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        configure(host, "heartbeat = \"1s\"\n")?;
        let stack = host.read("/etc/pam.d/sudo")?;
        let open: String = stack
            .lines()
            .filter(|line| !line.contains("pam_jit.so"))
            .map(|line| format!("{line}\n"))
            .collect();
        host.write("/etc/pam.d/sudo", &open)?;
        wait_until("the gap is recorded", LIMIT, || {
            Ok(host
                .records()?
                .iter()
                .any(|record| record["event"] == "stack.broken" && record["service"] == "sudo"))
        })?;
        host.write("/etc/pam.d/sudo", &stack)?;
        wait_until("its mending is recorded", LIMIT, || {
            Ok(host
                .records()?
                .iter()
                .any(|record| record["event"] == "stack.restored" && record["service"] == "sudo"))
        })?;
        // The host's role opens su and doas too, whose stacks ask nobody: they are others.
        let of_sudo = |record: &&Value| record["event"] == "stack.broken" && record["service"] == "sudo";
        let broken = host.records()?.iter().filter(of_sudo).count();
        ensure!(broken == 1, "{broken} records of one gap");
        Ok(())
    })
}

/// What is there straight after installation, with the distribution's rsyslog and no file of ours.
#[test]
fn the_distributions_rsyslog_writes_each_record_once_and_an_edited_reason_is_named() -> Result<()> {
    const AUTH: &str = "/var/log/auth.log";
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            configure(host, "heartbeat = \"1s\"\n")?;
            let mut dave = host.login(DAVE)?;
            dave.run("jitctl request ops --reason 'nginx is down'")?.ok()?;
            host.login(MALLORY)?.run("sudo -n true")?.fails()?;
            let asked = host.record("request.made", |record| record["reason"] == "nginx is down")?;
            let last = host.record("access.denied", |record| record["user"] == "mallory")?;
            let numbered = |record: &serde_json::Value| format!(" [jit@32473 seq=\"{}\" ", record["seq"]);
            wait_until("rsyslog has the record, and a heartbeat after it", LIMIT, || {
                let log = host.read(AUTH).unwrap_or_default();
                let behind = log.split_once(&numbered(&last)).map_or("", |(_, behind)| behind);
                Ok(behind.contains("daemon.heartbeat: "))
            })?;
            let log = host.read(AUTH)?;
            for record in [&asked, &last] {
                let event = record["event"].as_str().context("event")?;
                let lines: Vec<&str> = log
                    .lines()
                    .filter(|line| line.contains(&format!("]: {event} ")) && !line.contains("pam_jit"))
                    .filter(|line| line.contains(&numbered(record)))
                    .collect();
                ensure!(lines.len() == 1 && lines[0].contains(" jitd["), "{event}: {lines:#?}\n{log}");
            }
            let denials = log.lines().filter(|line| line.contains("access.denied user mallory")).count();
            ensure!(denials == 1, "{denials} lines of one denial:\n{log}");
            host.root(&["cp", AUTH, "/root/copy.log"])?.ok()?;
            let verify = ["jitctl", "audit", "verify", "--input", "/root/copy.log"];
            let whole = host.root(&verify)?;
            whole.ok()?.says("match its hash")?;
            // A copy that ends is one that says since when.
            let later = host.root(&[verify.as_slice(), &["--until", "2100-01-01"]].concat())?;
            later.exits(7)?.says("the copy ends early")?.says("silent for")?;
            host.root(&["sed", "-i", "s/nginx is down/all is well/", "/root/copy.log"])?.ok()?;
            let edited = host.root(&verify)?;
            edited.exits(7)?.says(&format!("{}", asked["seq"]))?.says("changed in this copy").map(drop)
        })?;
    }
    Ok(())
}
