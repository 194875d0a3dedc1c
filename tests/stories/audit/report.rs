//! Auditors search, follow and export the audit log, and read a report whose figures they can check.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::paths;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE, MALLORY, OSCAR};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// What an auditor does by hand to check a record of an export (jit-audit(5)).
const CHECK_LAST: &str = r#"#!/bin/bash
set -eu
line=$(jitctl audit export | tail -n 1)
hash=${line#*\"hash\":\"}; hash=${hash%%\"*}
record=${line#*,\"record\":}; record=${record%\}}
found=$({ printf 'jitd-audit-record-v1\0'; printf %s "$record"; } | sha256sum)
[ "$found" = "$hash  -" ]
"#;

/// Whether a record is one that is looked for.
type Holds = Box<dyn Fn(&Value) -> bool>;

/// A morning on which a lot happens; returns the number of the grant that dave asked for.
fn a_morning(host: &Host) -> Result<u64> {
    let (mut alice, mut bob, mut carol, mut dave) =
        (host.login(ALICE)?, host.login(BOB)?, host.login(CAROL)?, host.login(DAVE)?);
    let (mut oscar, mut mallory) = (host.login(OSCAR)?, host.login(MALLORY)?);
    let id = |output: jit_tests::output::Output| -> Result<u64> {
        output.json()?["id"].as_u64().context("a request without a number")
    };
    for _ in 0..5 {
        mallory.run("sudo -n cat /etc/shadow")?.fails()?;
    }
    dave.run("sudo -n systemctl restart cron")?.fails()?;
    let asked =
        id(dave.run("jitctl --json request ops --for 30m --reason 'cron <hangs> & \"nobody\" knows'")?)?;
    bob.run(&format!("jitctl approve {asked} --comment 'restart only'"))?.ok()?;
    dave.run("sudo -n systemctl restart cron")?.ok()?;
    dave.run("sudo -n -u nobody id")?.ok()?;
    let ask = "jitctl --json request web-admin --for 20m --reason 'the web tier is down' --ticket INC-42";
    let web = id(alice.run(ask)?)?;
    alice.run(&format!("jitctl approve {web}"))?.exits(3)?;
    bob.run(&format!("jitctl deny {web} --reason 'use the staging host'"))?.ok()?;
    let twice = id(dave.run("jitctl --json request twice --for 10m --reason 'what takes two people'")?)?;
    bob.run(&format!("jitctl approve {twice}"))?.ok()?;
    carol.run(&format!("jitctl approve {twice} --comment 'seen'"))?.ok()?;
    dave.run(&format!("jitctl release {twice}"))?.ok()?;
    let given = host.grant(OSCAR, "as-nobody", "30m")?;
    oscar.run("sudo -n -u nobody true")?.ok()?;
    host.root(&["jitctl", "revoke", &given.to_string(), "--reason", "=1+1 not needed any more"])?.ok()?;
    let background = "sudo -n sh -c 'trap \"\" HUP; sleep 1000 & sleep 1001 & sleep 0.1'";
    dave.run(background)?.ok()?;
    dave.run(&format!("jitctl release {asked}"))?.ok()?;
    host.no_session_left(LIMIT)?;
    Ok(asked)
}

#[test]
fn the_figures_of_a_report_are_what_a_search_counts() -> Result<()> {
    play(&Plan::new(Release::Trixie).named("web1"), |host| {
        let asked = a_morning(host)?;
        let mut carol = host.login(CAROL)?;
        let records = host.records()?;
        // Each way of searching finds what reading everything finds.
        let searches: [(&str, Holds); 9] = [
            ("--user dave", Box::new(|r| r["user"] == "dave" || r["actor"] == "dave")),
            ("--user bob", Box::new(|r| r["user"] == "bob" || r["actor"] == "bob")),
            ("--role twice", Box::new(|r| r["role"] == "twice")),
            (
                "--outcome denied --user mallory",
                Box::new(|r| r["outcome"] == "denied" && r["user"] == "mallory"),
            ),
            (&format!("--grant {asked}"), Box::new(move |r| r["grant"] == asked)),
            (&format!("--request {asked}"), Box::new(move |r| r["request"] == asked)),
            ("--text 'RESTART cron'", Box::new(|r| r["argv"].to_string().contains("restart\",\"cron"))),
            (
                "--since '1h ago' --event access.allowed --host web1",
                Box::new(|r| r["event"] == "access.allowed"),
            ),
            ("--until yesterday", Box::new(|_| false)),
        ];
        for (words, matches) in searches {
            let expected: Vec<&Value> = records.iter().filter(|record| matches(record)).collect();
            let found = carol.run(&format!("jitctl --json audit search {words}"))?.json_lines()?;
            let found: Vec<&Value> = found.iter().map(|line| &line["record"]).collect();
            ensure!(found == expected, "{words}: {found:?} instead of {expected:?}");
            ensure!(words.contains("yesterday") || !found.is_empty(), "{words} finds nothing");
            let counted = carol.run(&format!("jitctl audit search {words} --count"))?;
            ensure!(counted.ok()?.line() == expected.len().to_string(), "{counted}");
            let last = carol.run(&format!("jitctl --json audit search {words} --limit 2"))?.json_lines()?;
            let last: Vec<&Value> = last.iter().map(|line| &line["record"]).collect();
            ensure!(last == expected[expected.len().saturating_sub(2)..], "{words} --limit 2: {last:?}");
        }
        carol.run("jitctl audit search --host db1 --count")?.exits(4)?.says("of web1 only")?;
        carol.run("jitctl audit search --event no.such")?.exits(2)?;
        host.login(ALICE)?.run("jitctl audit search --user alice")?.exits(3)?;

        // The report, over a period that is over, so that nothing is added to it.
        let since = records[0]["time"].as_str().context("a time")?.to_owned();
        let period = format!(
            "--since {since} --until {}",
            host.root(&["date", "--iso-8601=ns", "-d", "+1 second"])?.line().replace(',', ".")
        );
        let report = carol.run(&format!("jitctl report {period} --format json"))?.json()?;
        let html = carol.run(&format!("jitctl report {period}"))?;
        let html = &html.ok()?.stdout;
        let figures = report["figures"].as_object().context("figures")?;
        ensure!(figures.len() >= 28, "{figures:?}");
        for (event, figure) in figures {
            let counted = carol.run(&format!("jitctl audit search {period} --event {event} --count"))?;
            let counted = counted.ok()?.line().to_owned();
            ensure!(
                figure.as_u64() == counted.parse().ok(),
                "{event}: {figure} in the report, {counted} found"
            );
            let shown = format!("<span data-figure=\"{event}\">{counted}</span>");
            ensure!(html.contains(&shown), "{shown} is not in the page");
        }
        ensure!(figures["access.denied"].as_u64() >= Some(6), "{figures:?}");
        ensure!(figures["grant.released"] == 2 && figures["grant.revoked"] == 1, "{figures:?}");

        // Who had what, why, by whose word, what ran and how it ended.
        let window = |grant: u64| {
            let all = report["windows"].as_array().into_iter().flatten();
            all.into_iter().find(move |window| window["grant"] == grant).cloned().context("a window")
        };
        let daves = window(asked)?;
        ensure!(
            daves["approvals"][0]["by"] == "bob" && daves["approvals"][0]["comment"] == "restart only",
            "{daves}"
        );
        ensure!(
            daves["ended"]["how"] == "released" && daves["reason"] == "cron <hangs> & \"nobody\" knows",
            "{daves}"
        );
        let ran = daves["runs"].as_array().context("runs")?;
        let restart =
            ran.iter().find(|run| run["argv"].to_string().contains("restart")).context("restart")?;
        ensure!(restart["run_as"] == "root" && restart["ended_by"] == "exited", "{restart}");
        let ended = ran.iter().find(|run| run["ended_by"] == "released").context("what release ended")?;
        ensure!(ended["killed"].as_u64() >= Some(2) && ended["left"] == 0, "{ended}");
        ensure!(
            report["requests"][0]["state"] == "denied" && report["requests"][0]["by"] == "bob",
            "{report}"
        );
        ensure!(report["chain"]["whole"] == true, "{report}");
        for text in [
            "cron &lt;hangs&gt; &amp; &quot;nobody&quot; knows",
            "mallory was refused 5 times",
            "operator, no request",
            "PCI DSS 10",
        ] {
            ensure!(html.contains(text), "{text} is not in the page");
        }
        ensure!(!html.contains("<hangs>") && !html.contains("<script"), "markup of people is in the page");
        carol.run(&format!("jitctl report {period} --format md"))?.ok()?.says("| grant | who |")?;
        carol
            .run(&format!("jitctl report {period} --format csv"))?
            .ok()?
            .says("\"'=1+1 not needed any more\"")?;

        // Standing privilege: root can read sudoers, an auditor is told that he cannot.
        ensure!(report["standing"]["rules"].is_null() && report["standing"]["gap"].is_string(), "{report}");
        let words: Vec<&str> = period.split(' ').collect();
        let by_root = host.jitctl(&[&["report"], words.as_slice()].concat())?;
        let rules =
            by_root["standing"]["rules"].as_array().with_context(|| by_root["standing"].to_string())?;
        let mallory = rules.iter().find(|rule| rule["who"] == "mallory").context("mallory in sudoers")?;
        ensure!(mallory["password"] == false && mallory["commands"][0] == "ALL", "{mallory}");
        let gated = |service: &str| {
            let gates = by_root["standing"]["gates"].as_array().into_iter().flatten();
            gates.into_iter().find(|gate| gate["service"] == service).map(|gate| gate["gated"] == true)
        };
        ensure!(gated("sudo") == Some(true) && gated("su") == Some(false), "{}", by_root["standing"]);
        let page = host.root(&[&["jitctl", "report"], words.as_slice()].concat())?;
        // Kept to be looked at in a browser.
        fs::write(paths::target().join("report.html"), &page.ok()?.stdout)?;

        // Whoever has been at the index hides nothing from the report, and shows in a figure that nobody finds again.
        host.root(&["sqlite3", "/var/lib/jitd/search.db", "DELETE FROM facts WHERE user = 'mallory'"])?
            .ok()?;
        let hidden = carol.run("jitctl audit search --user mallory --count")?;
        hidden.ok()?.says("0")?.says("the audit log names a user mallory, but its search index does not")?;
        carol.run(&format!("jitctl report {period}"))?.ok()?.says("mallory was refused 5 times")?;

        // Whoever has been at the record shows in the exit status and in the report.
        let sql = "UPDATE records SET line = replace(line, 'mallory', 'nobody1') WHERE seq = \
            (SELECT min(seq) FROM records WHERE line LIKE '%mallory%')";
        host.root(&["sqlite3", "/var/lib/jitd/jit.db", sql])?.ok()?;
        carol.run(&format!("jitctl report {period}"))?.exits(7)?.says("The audit log is not whole")?;
        Ok(())
    })
}

#[test]
fn an_export_holds_every_record_in_the_language_asked_for() -> Result<()> {
    play(&Plan::new(Release::Trixie).named("web1"), |host| {
        a_morning(host)?;
        let mut carol = host.login(CAROL)?;
        let records = host.records()?;
        let export = |carol: &mut jit_tests::login::Login, words: &str| -> Result<String> {
            let output = carol.run(&format!("jitctl audit export {words}"))?;
            Ok(output.ok()?.stdout.clone())
        };
        let jsonl = export(&mut carol, "--format jsonl")?;
        for (line, record) in jsonl.lines().zip(&records) {
            let read: Value = serde_json::from_str(line)?;
            ensure!(&read["record"] == record && read["hash"].as_str().map(str::len) == Some(64), "{line}");
        }
        // The line stands in it as it was hashed.
        host.write_program("/usr/local/bin/check-last", CHECK_LAST)?;
        host.root(&["check-last"])?.ok()?;
        for format in ["jsonl", "cef", "ecs", "ocsf"] {
            let text = export(&mut carol, &format!("--format {format}"))?;
            ensure!(text.lines().count() == records.len(), "{format}: {text}");
        }
        let csv = host.root(&["jitctl", "audit", "export", "--format", "csv"])?.ok()?.stdout.clone();
        ensure!(csv.matches("\r\n").count() == records.len() + 1, "{csv}");
        let cef = export(&mut carol, "--format cef")?;
        ensure!(
            cef.contains("|access.denied|Elevation denied|6|") && cef.contains(" dvchost=web1 "),
            "{cef}"
        );
        for (line, record) in export(&mut carol, "--format ecs")?.lines().zip(&records) {
            let read: Value = serde_json::from_str(line)?;
            ensure!(
                read["event"]["action"] == record["event"] && read["@timestamp"] == record["time"],
                "{line}"
            );
        }
        for (line, record) in export(&mut carol, "--format ocsf")?.lines().zip(&records) {
            let read: Value = serde_json::from_str(line)?;
            ensure!(
                read["metadata"]["version"] == "1.8.0" && read["metadata"]["sequence"] == record["seq"],
                "{line}"
            );
        }
        carol.run("jitctl audit export --format csv --from 3 --output out.csv")?.ok()?;
        carol
            .run("stat -c %a out.csv; wc -l <out.csv")?
            .ok()?
            .says(&format!("600\n{}", records.len() - 1))?;
        let none = carol.run("jitctl audit export --until 2001-01-01")?;
        ensure!(none.ok()?.stdout.is_empty(), "{none}");
        Ok(())
    })
}

#[test]
fn whoever_follows_sees_each_record_once_over_a_restart() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut carol = host.login(CAROL)?;
        let mut mallory = host.login(MALLORY)?;
        let _following = carol.start("jitctl --json audit follow --from 1")?;
        // What was there, then what comes.
        let mut seen = carol.expect("\"event\":\"policy.loaded\"", LIMIT)?;
        mallory.run("sudo -n true")?.fails()?;
        seen += &carol.expect("\"event\":\"access.denied\"", LIMIT)?;
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        seen += &carol.expect("\"event\":\"daemon.stopped\"", LIMIT)?;
        seen += &carol.expect("\"event\":\"policy.loaded\"", LIMIT)?;
        mallory.run("sudo -n id")?.fails()?;
        seen += &carol.expect("\"sudo\",\"-n\",\"id\"]", LIMIT)?;
        let numbers: Vec<u64> = seen
            .lines()
            .filter_map(|line| line.split_once("{\"seq\":")?.1.split(',').next()?.parse().ok())
            .collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        ensure!(numbers == expected, "{numbers:?}");
        // Somebody who may not read is told so and hears nothing.
        mallory.run("jitctl audit follow")?.exits(3)?;
        Ok(())
    })
}
