//! Every command from every origin: which are allowed, which are denied, and what the audit log says of the denials.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::{ALICE, BOB, DAVE, OSCAR, PASSWORD};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);

/// The policy as it is installed: decisions count from logins only.
const STRICT: &str = "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\n";

/// Where the calls are made from, with the origin that the record names. All but the windows and root call as an operator.
const ORIGINS: [(&str, &str); 12] = [
    ("login", "login"),
    ("login of another account", "other-account"),
    ("scope", "window"),
    ("audit session only", "window-audit-session"),
    ("at", "job"),
    ("cron", "job"),
    ("user unit", "user-unit"),
    ("no login uid", "no-login-uid"),
    ("service", "service"),
    ("root login", "root-login"),
    ("root in a window", "window"),
    ("operator in a window", "window"),
];

/// What is admitted (+) and refused (-) from each of these, in their order, and how a refusal's record begins where one is
/// wanted: of each command that would change something.
const EXPECTED: [(&str, &str, Option<&str>); 27] = [
    ("Request", "++++----+++-", Some("request")),
    ("Cancel", "+++++++++++-", Some("cancel")),
    ("Approve", "+--------+--", Some("approve")),
    ("Deny", "+--------+--", Some("deny")),
    ("Release", "+++++++++++-", Some("release")),
    ("Extend", "++++----+++-", Some("extend")),
    ("ExtendOther", "+--------+--", Some("extend")),
    ("Grant", "+--------+--", Some("grant")),
    ("Revoke", "++--++++++--", Some("revoke")),
    ("RevokeUser", "++--++++++--", Some("revoke --user")),
    ("RevokeAll", "++--++++++--", Some("revoke --all")),
    ("Seal", "++------++--", Some("audit seal")),
    ("Acknowledge", "+--------+--", Some("audit acknowledge")),
    ("Doctor", "---------+--", Some("doctor --record")),
    ("Reload", "---------+--", Some("reload")),
    ("Pending", "+++++++++++-", None),
    ("Show", "+++++++++++-", None),
    ("Grants", "+++++++++++-", None),
    ("Sessions", "+++++++++++-", None),
    ("Roles", "+++++++++++-", None),
    ("Status", "+++++++++++-", None),
    ("PolicyCheck", "++-++++++++-", None),
    ("PolicyShow", "++-++++++++-", None),
    ("Read", "++-++++++++-", None),
    ("Search", "++-++++++++-", None),
    ("Verify", "++-++++++++-", None),
    ("Head", "++-++++++++-", None),
];

#[test]
fn every_command_from_everywhere_is_judged_as_the_table_says() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("cells")?;
        host.root(&["jitctl", "audit", "seal", "--init"])?.ok()?;
        host.write("/etc/jitd/jitd.toml", STRICT)?;
        host.root(&["systemctl", "reload", "jitd"])?.ok()?;
        let mut logins = Logins {
            alice: host.login(ALICE)?,
            bob: host.login(BOB)?,
            dave: host.login(DAVE)?,
            oscar: host.login(OSCAR)?,
            root: host.login("root")?,
        };
        let mut grant = String::new();
        for person in [&mut logins.dave, &mut logins.alice] {
            let asked = person.run("jitctl --json request ops --reason 'every command from everywhere'")?;
            grant = asked.json()?["id"].to_string();
            logins.bob.run(&format!("jitctl approve {grant}"))?.ok()?;
        }
        let mut wrong = Vec::new();
        let mut cells = 0;
        for (column, (from, origin)) in ORIGINS.into_iter().enumerate() {
            let before = host.records()?.len();
            let printed = logins.call(host, from, &grant)?;
            let answers = answers(&printed)?;
            let records = host.records()?;
            let refusals: Vec<_> =
                records[before..].iter().filter(|record| record["event"] == "command.refused").collect();
            for (command, expected, recorded) in EXPECTED {
                let answer =
                    answers.get(command).with_context(|| format!("{from}: no answer to {command}"))?;
                let admitted = is_admitted(command, answer)?;
                cells += 1;
                if admitted != (expected.as_bytes()[column] == b'+') {
                    wrong.push(format!("{command} from {from}: {answer}"));
                }
                let is_recorded = |word: &str| {
                    refusals.iter().any(|record| {
                        let detail = record["detail"].as_str().unwrap_or_default();
                        let rest = detail.strip_prefix(word);
                        // "revoke" is not "revoke --user".
                        let is_it = rest.is_some_and(|rest| !rest.starts_with(" --"));
                        is_it && record["origin"] == origin && record["outcome"] == "denied"
                    })
                };
                if let Some(word) = recorded.filter(|_| !admitted)
                    && !is_recorded(word)
                {
                    wrong
                        .push(format!("{command} from {from}: no refusal of {word} by {origin} is recorded"));
                }
            }
        }
        ensure!(cells >= 250, "only {cells} cells");
        ensure!(wrong.is_empty(), "{} of {cells} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
        Ok(())
    })
}

struct Logins {
    alice: Login,
    bob: Login,
    dave: Login,
    oscar: Login,
    root: Login,
}

impl Logins {
    /// Makes every call from there; what the program prints.
    fn call(&mut self, host: &Host, from: &str, grant: &str) -> Result<String> {
        let cells = format!("/usr/local/bin/cells {grant}");
        let as_operator = "setpriv --reuid oscar --regid oscar --init-groups";
        // The answer of the gate goes out before the process is in its scope.
        let in_scope = "while ! grep -q jit.slice /proc/self/cgroup; do :; done";
        let output = match from {
            "login" => self.oscar.run(&cells)?,
            "login of another account" => {
                self.bob.run(&format!("echo {PASSWORD} | su oscar -c '{cells}'"))?
            }
            "scope" => {
                let as_himself = "setpriv --reuid dave --regid dave --init-groups";
                self.dave.run(&format!("sudo -n sh -c '{in_scope}; exec {as_himself} {cells}'"))?
            }
            "audit session only" => {
                let home = self.dave.run("sed -n s/^0:://p /proc/self/cgroup")?.stdout;
                // jitd moves it back as long as it still gathers what the sudo has started; it is out when it stays out.
                let leave = format!(
                    "n=0; while [ $n -lt 100 ]; do n=$((n+1)); if grep -q jit.slice /proc/$$/cgroup; then n=0; \
                     echo $$ >/sys/fs/cgroup{}/cgroup.procs; fi; done",
                    home.trim()
                );
                self.dave.run(&format!("sudo -n sh -c '{in_scope}; {leave}; exec {cells}'"))?
            }
            "at" => {
                let file = "/var/tmp/at";
                let job = format!("{cells} >{file}.part; mv {file}.part {file}");
                self.oscar.run(&format!("echo '{job}' | at now"))?.ok()?;
                return written(host, file);
            }
            "cron" => {
                let file = "/var/tmp/cron";
                let job = format!("@reboot {cells} >{file}.part; mv {file}.part {file}");
                self.oscar.run(&format!("echo '{job}' | crontab -"))?.ok()?;
                // cron runs these once a boot, which it remembers by this file.
                host.root_sh("rm -f /run/crond.reboot && systemctl restart cron")?.ok()?;
                return written(host, file);
            }
            "user unit" => {
                // Waiting for it would take a bus of the user's own.
                let file = "/var/tmp/user-unit";
                let script = format!("{cells} >{file}.part; mv {file}.part {file}");
                self.oscar.run(&format!("systemd-run --user --quiet --collect sh -c '{script}'"))?.ok()?;
                return written(host, file);
            }
            "no login uid" => host.root_sh(&format!("{as_operator} {cells}"))?,
            "service" => {
                host.root_sh(&format!("systemd-run --quiet --pipe --wait --collect --uid=oscar {cells}"))?
            }
            "root login" => self.root.run(&cells)?,
            "root in a window" => self.dave.run(&format!("sudo -n sh -c '{in_scope}; exec {cells}'"))?,
            "operator in a window" => {
                self.dave.run(&format!("sudo -n sh -c '{in_scope}; exec {as_operator} {cells}'"))?
            }
            other => bail!("nobody calls from {other}"),
        };
        output.ok()?;
        Ok(output.stdout)
    }
}

fn written(host: &Host, file: &str) -> Result<String> {
    wait_until("the job has called", LIMIT, || Ok(host.has(file)))?;
    host.read(file)
}

/// What was answered to each command.
fn answers(printed: &str) -> Result<BTreeMap<&str, &str>> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("cell "));
    lines.map(|line| line.split_once(' ').with_context(|| format!("a line {line:?}"))).collect()
}

/// Whether somebody got as far as to be told that there is no such thing, or that it is done.
fn is_admitted(command: &str, answer: &str) -> Result<bool> {
    let error = answer.split(' ').next().unwrap_or_default();
    Ok(match error.strip_prefix("org.jitd.Jit1.Error.").unwrap_or(error) {
        "NotAuthorized" => false,
        // Who is not admitted to the windows of others is told that there is none.
        "NoSuch" if command == "ExtendOther" => false,
        "done" | "NoSuch" | "InvalidArgument" | "PolicyDenied" | "AlreadyDecided" => true,
        _ => bail!("{command}: {answer}"),
    })
}
