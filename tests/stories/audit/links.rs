//! From a record to what others know of the same session: the journal, the log of sudo, what was typed and shown.
#![allow(clippy::print_stdout, reason = "what sudo's logs hold is told to whoever runs the story alone")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
const BOTH: [Release; 2] = [Release::Bookworm, Release::Trixie];

/// What jit-audit(5) shows, under LINKS, as a way from a session's number to sudo's own lines.
const RECIPE: &str = r#"#!/bin/bash
set -eu
record=$(jitctl --json audit search --session "$1" --event access.allowed)
pid=$(grep -o '"pid":[0-9]*' <<<"$record" | cut -d : -f 2)
time=$(grep -o '"time":"[^".]*' <<<"$record" | cut -d '"' -f 4)
journalctl --quiet --since "${time/T/ } UTC" _PID="$pid" SYSLOG_IDENTIFIER=sudo
"#;

fn ended(host: &Host, session: u64) -> Result<Value> {
    host.record("session.ended", |record| record["session"] == session)
}

fn invocations(record: &Value) -> Vec<String> {
    let all = record["invocations"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn the_journal_finds_what_ran_in_a_session_by_its_invocation() -> Result<()> {
    for release in BOTH {
        play(&Plan::new(release), |host| {
            let grant = host.grant(DAVE, "ops", "30m")?;
            let mut dave = host.login(DAVE)?;
            // Only what lives longer than a moment gets a scope; it says something when it is in there.
            let script = "until grep -q jit- /proc/self/cgroup; do :; done; exec systemd-cat -t inside sh -c \"echo said inside; sleep 0.5\"";
            dave.run(&format!("sudo -n sh -c '{script}'"))?.ok()?;
            let opened = host.record("session.opened", |record| record["user"] == "dave")?;
            let first = ended(host, opened["session"].as_u64().context("a session")?)?;
            let [id] = invocations(&first).try_into().ok().with_context(|| first.to_string())?;
            let found = host.root(&["journalctl", "--quiet", &format!("_SYSTEMD_INVOCATION_ID={id}")])?;
            found.ok()?.says("said inside")?;
            // A window that was made longer has its sessions in another scope.
            let _running = dave.start("sudo -n sleep 1000")?;
            let scope = || host.jitctl(&["sessions"]).map(|all| all[0]["scope"].as_str().map(str::to_owned));
            wait_until("there is a scope", LIMIT, || {
                Ok(scope()?.is_some_and(|scope| {
                    host.root(&["systemctl", "is-active", &scope]).is_ok_and(|active| active.status == 0)
                }))
            })?;
            let session = host.jitctl(&["sessions"])?[0]["id"].as_u64().context("a session")?;
            host.root(&[
                "jitctl",
                "extend",
                &grant.to_string(),
                "--for",
                "10m",
                "--reason",
                "it takes longer",
            ])?
            .ok()?;
            wait_until("there is another scope", LIMIT, || {
                Ok(scope()?.is_some_and(|scope| scope.ends_with("-1.scope")))
            })?;
            host.root(&["jitctl", "revoke", &grant.to_string(), "--reason", "enough of that"])?.ok()?;
            let both = invocations(&ended(host, session)?);
            ensure!(both.len() == 2 && both[0] != both[1], "{both:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn sudos_own_log_is_found_from_the_record() -> Result<()> {
    for release in BOTH {
        play(&Plan::new(release), |host| {
            host.write(
                "/etc/sudoers.d/logs",
                "Defaults log_output, log_format=json, logfile=/var/log/sudo.json, log_exit_status\n",
            )?;
            host.root(&["chmod", "0440", "/etc/sudoers.d/logs"])?.ok()?;
            host.write_program("/usr/local/bin/sudos-lines", RECIPE)?;
            host.grant(DAVE, "ops", "30m")?;
            let mut dave = host.login(DAVE)?;
            let words = ["first", "second"];
            for word in words {
                dave.run(&format!("sudo -n echo 'the {word} was shown'"))?.ok()?;
            }
            host.no_session_left(LIMIT)?;
            for word in words {
                let argument = format!("the {word} was shown");
                let of =
                    |event: &str, session: &Value| host.record(event, |record| record["session"] == *session);
                let allowed =
                    host.record("access.allowed", |record| record["argv"][3] == argument.as_str())?;
                let session = &allowed["session"];
                let ended = of("session.ended", session)?;
                // What was shown: the log that this very process had open.
                let log = ended["io_log"].as_str().with_context(|| ended.to_string())?;
                host.root(&["sudoreplay", "-n", log])?.ok()?.says(&argument)?;
                // Its own line, with the uuid that its other lines have too.
                let lines = host.root(&["sudos-lines", &session.to_string()])?;
                lines.ok()?.says("\"accept\"")?.says(&argument)?;
                let named = |name: &str| {
                    let value = lines.stdout.split(&format!("\"{name}\":\"")).nth(1)?.split('"').next()?;
                    Some(value.to_owned())
                };
                let uuid = named("uuid").context("a uuid")?;
                ensure!(host.read("/var/log/sudo.json")?.contains(&uuid), "{uuid}");
                ensure!(named("iolog_path").as_deref() == Some(log), "{log} is not in {lines}");
                for other in words.iter().filter(|other| **other != word) {
                    lines.never_says(&format!("the {other} was shown"))?;
                }
                let info = host.read(&format!("{log}/log.json")).unwrap_or_default();
                println!(
                    "{}: log.json names a pid: {}, a uuid: {}",
                    release.name(),
                    info.contains("pid"),
                    info.contains("uuid")
                );
            }
            let json = host.read("/var/log/sudo.json")?;
            println!("{}: the event log names a pid: {}", release.name(), json.contains("\"pid\""));
            // Without such a log the record says nothing about one, whatever a sudo is given to hold.
            host.root(&["rm", "/etc/sudoers.d/logs"])?.ok()?;
            host.root_sh("mkdir /srv/log; echo 0 >/srv/log/timing")?.ok()?;
            dave.run("mkdir own; exec 8<>own/timing 9</srv/log/timing; sudo -n -C 20 true || sudo -n true")?
                .ok()?;
            host.no_session_left(LIMIT)?;
            let ended = host.record("session.ended", |_| true)?;
            ensure!(ended["io_log"].is_null(), "{ended}");
            Ok(())
        })?;
    }
    Ok(())
}
