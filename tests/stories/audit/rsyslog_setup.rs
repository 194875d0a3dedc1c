//! `jitctl audit forward`: one command has the distribution's rsyslog write each record as one line of RFC 5424; what it
//! cannot do changes nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{DAVE, MALLORY};
use jit_tests::plan::{Plan, Release};

use super::rfc5424;

const LIMIT: Duration = Duration::from_secs(30);
const AUTH: &str = "/var/log/auth.log";
const LOG: &str = "/var/log/jitd-audit.log";
const CONFIGURATION: &str = "/etc/rsyslog.d/60-jitd-forward.conf";
/// A collector beside the host's own rsyslog.
const COLLECTOR: &str = "module(load=\"imtcp\")\n\
    template(name=\"line\" type=\"string\" string=\"%rawmsg%\\n\")\n\
    input(type=\"imtcp\" address=\"127.0.0.1\" port=\"5514\" ruleset=\"hosts\")\n\
    ruleset(name=\"hosts\" queue.type=\"Direct\") { action(type=\"omfile\" file=\"/var/log/collector.log\" template=\"line\") }\n";

/// Every file that the command may touch, with its digest, owner and mode.
fn files(host: &Host) -> Result<String> {
    let script = "find /etc/rsyslog.d /etc/logrotate.d /etc/jitd /etc/rsyslog.conf /etc/systemd -type f \
                  -exec stat -c '%n %U %a' {} + -exec sha256sum {} + | sort";
    Ok(host.root_sh(script)?.ok()?.text())
}

fn everything_sent(host: &Host) -> Result<()> {
    wait_until("everything is sent", LIMIT, || Ok(host.jitctl(&["status"])?["unsent"] == 0))
}

/// The records in a file, read as RFC 5424; signs of life are no records.
fn read(host: &Host, path: &str) -> Result<Vec<(u64, rfc5424::Message)>> {
    let mut records = Vec::new();
    for line in host.read(path)?.lines() {
        let message = rfc5424::read(line).with_context(|| line.to_owned())?;
        ensure!(message.app_name == "jitd", "{line}");
        if message.msgid != "daemon.heartbeat" {
            let seq = message.elements.first().and_then(|element| element.get("seq")).context("a number")?;
            records.push((seq.parse()?, message));
        }
    }
    Ok(records)
}

/// Waits until a file has each record between two, once and in order. More may come meanwhile.
fn once_each(host: &Host, path: &str, first: u64, last: u64) -> Result<()> {
    let numbers = || -> Result<Vec<u64>> { Ok(read(host, path)?.into_iter().map(|(seq, _)| seq).collect()) };
    wait_until("the last record is in the file", LIMIT, || {
        Ok(numbers().is_ok_and(|all| all.contains(&last)))
    })?;
    let numbers: Vec<u64> = numbers()?.into_iter().filter(|seq| *seq <= last).collect();
    ensure!(numbers == (first..=last).collect::<Vec<_>>(), "{path}: {first} to {last}: {numbers:?}");
    Ok(())
}

fn count(host: &Host) -> Result<u64> {
    host.jitctl(&["status"])?["records"].as_u64().context("records")
}

#[test]
fn one_command_makes_each_record_one_line_of_rfc_5424_and_takes_it_back() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.write("/etc/collector.conf", COLLECTOR)?;
            host.root_sh("systemd-run --quiet --unit=collector rsyslogd -n -iNONE -f /etc/collector.conf")?
                .ok()?;
            let mut mallory = host.login(MALLORY)?;
            mallory.run("sudo -n true")?.fails()?;
            // As the distribution has it: a line of its own kind, with the structured data behind the text.
            let in_auth = |event: &str| {
                Ok(host.read(AUTH).unwrap_or_default().lines().any(|line| {
                    line.contains(" jitd[")
                        && line.contains(&format!("]: {event} "))
                        && line.contains(" [jit@32473 seq=")
                }))
            };
            wait_until("auth.log has the record", LIMIT, || in_auth("access.denied"))?;
            ensure!(!host.has(LOG), "{LOG} is there before");
            let before = files(host)?;

            // Whoever is not root sees what would change, and changes nothing.
            let shown = mallory.run("jitctl audit forward --dry-run")?;
            shown.ok()?.says(&format!("+++ {CONFIGURATION}"))?.says("nothing was changed")?;
            shown.says("+syslog_socket = \"/run/jitd-rsyslog/socket\"")?;
            mallory.run("jitctl audit forward")?.exits(3)?.says("only root")?;
            ensure!(files(host)? == before, "a dry run changed something");

            let first = count(host)? + 1;
            let done = host.root(&["jitctl", "audit", "forward", "--to", "127.0.0.1:5514"])?;
            done.ok()?.says("sends it to 1 collector")?.says(&format!("record {first} has arrived"))?;
            let mut dave = host.login(DAVE)?;
            dave.run("jitctl request ops --reason 'a \"quoted\" C:\\path [x] of café'")?.ok()?;
            mallory.run("sudo -n true")?.fails()?;
            for _ in 0..20 {
                dave.run("sudo -n true")?.fails()?;
            }
            everything_sent(host)?;
            let last = count(host)?;
            once_each(host, LOG, first, last)?;
            let records = host.records()?;
            for (seq, message) in &read(host, LOG)? {
                let record = records.iter().find(|record| record["seq"] == *seq).context("its record")?;
                ensure!(record["event"] == message.msgid.as_str(), "{message:?} is not {record}");
                if let Some(user) = record["user"].as_str() {
                    ensure!(message.elements[0].get("user") == Some(user), "{message:?} is not {record}");
                }
            }
            host.root(&["jitctl", "audit", "verify", "--input", LOG, "--store"])?
                .ok()?
                .says("match its hash")?;
            once_each(host, "/var/log/collector.log", first, last)?;
            let mode = host.root(&["stat", "-c", "%U:%G %a", LOG, "/run/jitd-rsyslog", CONFIGURATION])?;
            mode.ok()?.says("root:adm 640\nroot:root 700\nroot:root 644")?;
            mallory.run("logger --socket /run/jitd-rsyslog/socket forged")?.fails()?;

            // Once is enough; what was edited is left alone.
            let again = host.root(&["jitctl", "audit", "forward", "--to", "127.0.0.1:5514"])?;
            again.ok()?.says("nothing to change")?;
            host.root(&["sed", "-i", "s/0640/0600/", CONFIGURATION])?.ok()?;
            let edited = files(host)?;
            host.root(&["jitctl", "audit", "forward"])?.exits(1)?.says("edited since")?;
            ensure!(files(host)? == edited, "an edited file was changed");
            let forced = host.root(&["jitctl", "--json", "audit", "forward", "--force"])?.ok()?.json()?;
            ensure!(forced["arrived"].as_u64().is_some_and(|seq| seq > last), "{forced}");
            ensure!(!host.read(CONFIGURATION)?.contains("omfwd"), "the collector is still there");

            // And back.
            host.root(&["jitctl", "audit", "forward", "--remove"])?.ok()?.says("go to /dev/log again")?;
            ensure!(files(host)? == before, "{before}\nis now\n{}", files(host)?);
            let size = host.read(LOG)?.len();
            dave.run("jitctl cancel 1")?.ok()?;
            wait_until("auth.log has the record", LIMIT, || in_auth("request.cancelled"))?;
            ensure!(host.read(LOG)?.len() == size, "rsyslog still writes to {LOG}");
            host.root(&["jitctl", "audit", "forward", "--remove"])?.ok()?.says("nothing to remove")?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn what_rsyslog_or_jitd_does_not_accept_changes_nothing() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let refused = |broken: &str, content: &str, says: &str| -> Result<()> {
                host.write(broken, content)?;
                let before = files(host)?;
                let started = host.root(&["systemctl", "show", "-P", "MainPID", "rsyslog.service"])?.text();
                let output = host.root(&["jitctl", "audit", "forward"])?;
                output.exits(1)?.says(says)?.says("everything is as it was before")?;
                ensure!(files(host)? == before, "something is not as it was before");
                host.root(&["systemctl", "is-active", "--quiet", "rsyslog.service", "jitd.service"])?.ok()?;
                ensure!(!host.has("/run/jitd-rsyslog/socket"), "rsyslog listens for jitd");
                let now = host.root(&["systemctl", "show", "-P", "MainPID", "rsyslog.service"])?.text();
                ensure!(now == started, "rsyslog was started again for nothing");
                Ok(())
            };
            // An error that was there before, one that comes of both files together, and one of jitd's own.
            refused(
                "/etc/rsyslog.d/99-local.conf",
                "broken(\n",
                "rsyslog does not accept its configuration",
            )?;
            let twice = "ruleset(name=\"jitd_forward\") { stop }\n";
            refused("/etc/rsyslog.d/50-local.conf", twice, "rsyslog does not accept its configuration")?;
            host.root(&["rm", "/etc/rsyslog.d/99-local.conf"])?.ok()?;
            refused("/etc/rsyslog.d/50-local.conf", twice, "rsyslog does not accept its configuration")?;
            host.root(&["rm", "/etc/rsyslog.d/50-local.conf"])?.ok()?;
            refused("/etc/jitd/roles.d/broken.toml", "[role.broken]\n", "the policy files have problems")?;
            host.root(&["rm", "/etc/jitd/roles.d/broken.toml"])?.ok()?;
            // What fails last: rsyslog listens, and cannot write the file. Everything is undone, and records go where they went.
            host.root(&["mkdir", "/var/log/jitd-audit.log"])?.ok()?;
            let before = files(host)?;
            let late = host.root(&["jitctl", "audit", "forward"])?;
            late.exits(1)?.says("no record of jitd arrived")?.says("everything is as it was before")?;
            ensure!(files(host)? == before, "something is not as it was before");
            host.root(&["rmdir", "/var/log/jitd-audit.log"])?.ok()?;
            host.login(MALLORY)?.run("sudo -n true")?.fails()?;
            wait_until("auth.log has the record", LIMIT, || {
                Ok(host.read(AUTH).unwrap_or_default().contains("access.denied user mallory"))
            })?;
            host.root(&["jitctl", "audit", "forward"])?.ok()?.says("has arrived")?;
            Ok(())
        })?;
    }
    Ok(())
}
