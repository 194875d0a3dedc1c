//! Root has changed the audit log: the seal, and the copy elsewhere, name exactly what was changed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::output::{COMMAND_LIMIT, Output};
use jit_tests::people::{ALICE, CAROL, DAVE, MALLORY, OSCAR};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);
const COPY: &str = "/var/log/jit.log";

/// Makes the whole chain anew behind an edit, as `jit-audit(5)` says how, and the head with it.
const RECOMPUTE: &str = r#"
db=/var/lib/jitd/jit.db
seq=$1
prev=$(sqlite3 $db "SELECT hash FROM records WHERE seq = $seq - 1")
sqlite3 $db "SELECT line FROM records WHERE seq >= $seq ORDER BY seq" | while IFS= read -r line; do
    line=$(printf %s "$line" | sed "s/\"prev\":\"[0-9a-f]*\"/\"prev\":\"$prev\"/; s/\"user\":\"mallory\"/\"user\":\"malcolm\"/")
    prev=$({ printf 'jitd-audit-record-v1\0'; printf %s "$line"; } | sha256sum | cut -c1-64)
    quoted=$(printf %s "$line" | sed "s/'/''/g")
    echo "UPDATE records SET line = '$quoted', hash = '$prev' WHERE seq = $seq;"
    seq=$((seq + 1))
done >/root/anew.sql
sqlite3 $db </root/anew.sql
sqlite3 $db "UPDATE state SET head_hash = (SELECT hash FROM records WHERE seq = head_seq)"
"#;

/// A host whose syslog is kept, whose record is sealed, and on which something has happened. Returns the first key.
fn sealed_host(host: &Host) -> Result<String> {
    host.write(
        "/etc/rsyslog.d/jit.conf",
        &format!("if $rawmsg contains \"jit@32473\" then action(type=\"omfile\" file=\"{COPY}\")\n"),
    )?;
    host.root(&["systemctl", "restart", "rsyslog"])?.ok()?;
    let begun = host.root(&["jitctl", "audit", "seal", "--init"])?;
    begun.ok()?.says("jitd-seal-key-v1 ")?.says("shown once")?;
    host.grant(DAVE, "ops", "2h")?;
    host.login(DAVE)?.run("sudo -n true")?.ok()?;
    refuse(host, 12)?;
    host.no_session_left(LIMIT)?;
    Ok(begun.stdout)
}

/// So many records of calls that are refused.
fn refuse(host: &Host, times: u32) -> Result<()> {
    let mut mallory = host.login(MALLORY)?;
    mallory.run(&format!("for i in $(seq {times}); do sudo -n true 2>/dev/null; done; true"))?.ok()?;
    Ok(())
}

/// Verifies as an auditor does, with these words behind `audit verify` and the key on stdin.
fn verify(host: &Host, key: &str, words: &[&str]) -> Result<Output> {
    let verify = ["setpriv", "--reuid=carol", "--regid=carol", "--init-groups", "jitctl", "audit", "verify"];
    host.root_with(&[verify.as_slice(), words].concat(), key.as_bytes(), COMMAND_LIMIT)
}

fn sql(host: &Host, sql: &str) -> Result<String> {
    Ok(host.root(&["sqlite3", "/var/lib/jitd/jit.db", sql])?.ok()?.line().to_owned())
}

/// Waits until rsyslog has written what the store has, and keeps a copy of it out of the window's reach.
fn keep_copy(host: &Host, as_: &str) -> Result<()> {
    let last = sql(host, "SELECT max(seq) FROM records")?;
    wait_until("rsyslog has every record", LIMIT, || {
        Ok(host.read(COPY).unwrap_or_default().contains(&format!(" seq=\"{last}\"")))
    })?;
    host.root(&["install", "-m", "0644", COPY, as_])?.ok()?;
    Ok(())
}

/// Dave, who is in his window, does this as root.
fn as_root_inside_the_window(host: &Host, script: &str) -> Result<()> {
    host.write_program("/usr/local/sbin/harm", &format!("#!/bin/bash\nset -e\n{script}\n"))?;
    host.login(DAVE)?.run("sudo -n /usr/local/sbin/harm")?.ok().context("the harm")?;
    host.no_session_left(LIMIT)
}

/// The same, for a script that sets the store back and starts jitd as its last step: the start closes the window, and kills
/// this sudo, which asks jitd while it ends.
fn as_root_until_the_start_ends_it(host: &Host, script: &str) -> Result<()> {
    host.write_program("/usr/local/sbin/harm", &format!("#!/bin/bash\nset -e\n{script}\n"))?;
    let harm = host.login(DAVE)?.run("sudo -n /usr/local/sbin/harm")?;
    ensure!([0, 128 + 9].contains(&harm.status), "{harm:?}");
    host.no_session_left(LIMIT)
}

fn start_over(host: &Host) -> Result<()> {
    // Every harm has its own copy to be compared with, not what those before it have left.
    let script = format!(
        "systemctl stop jitd.service; rm -rf /var/lib/jitd; cp -a /root/whole /var/lib/jitd; \
         cp -a /root/whole.head /var/log/jitd/head; cat /var/log/elsewhere.log >{COPY}; systemctl start jitd.service"
    );
    host.root_sh(&script)?.ok().map(drop)
}

#[test]
fn whoever_held_root_is_found_out() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let key = sealed_host(host)?;
            host.root_sh("systemctl stop jitd.service; cp -a /var/lib/jitd /root/yesterday; systemctl start jitd.service")?
                .ok()?;
            refuse(host, 60)?;
            keep_copy(host, "/var/log/elsewhere.log")?;
            let whole = verify(host, &key, &["--key", "-", "--input", "/var/log/elsewhere.log", "--store"])?;
            whole
                .ok()?
                .says("the seals fit the key")?
                .says("chained but not sealed")?
                .says("all sources agree")?;
            // The stop itself is in no copy yet: each start from here on tells syslog of it, whether this one had or not.
            host.root_sh(
                "systemctl stop jitd.service; cp -a /var/lib/jitd /root/whole; cp -a /var/log/jitd/head /root/whole.head
                 systemctl start jitd.service
                 sqlite3 /root/whole/jit.db 'UPDATE state SET sent = min(sent, head_seq - 1)'",
            )?
            .ok()?;
            let bad = sql(
                host,
                "SELECT seq FROM records WHERE line LIKE '%mallory%' ORDER BY seq LIMIT 1 OFFSET 20",
            )?;
            let named = |output: &Output, record: &str, why: &str| -> Result<()> {
                output.exits(7)?.says(&format!("record {record}: {why}")).map(drop)
            };

            as_root_inside_the_window(
                host,
                &format!(
                    "sqlite3 /var/lib/jitd/jit.db \"UPDATE records SET line = replace(line, 'mallory', 'malcolm') WHERE seq = {bad}\""
                ),
            )?;
            let edited = "its content does not match its hash";
            named(&verify(host, "", &[])?, &bad, edited)?;
            named(&verify(host, &key, &["--key", "-"])?, &bad, edited)?;

            start_over(host)?;
            as_root_inside_the_window(
                host,
                &format!("sqlite3 /var/lib/jitd/jit.db 'DELETE FROM records WHERE seq = {bad}'"),
            )?;
            named(&verify(host, "", &[])?, &bad, "missing")?;

            // The last fifty, and the daemon's own memory of them with it.
            start_over(host)?;
            let cut: u64 = sql(host, "SELECT max(seq) - 49 FROM records")?.parse()?;
            let head = sql(host, "SELECT seq || ':' || hash FROM records ORDER BY seq DESC LIMIT 1")?;
            as_root_until_the_start_ends_it(
                host,
                &format!(
                    "systemctl stop jitd.service; sqlite3 /var/lib/jitd/jit.db 'DELETE FROM records WHERE seq >= {cut}; \
                     UPDATE state SET head_seq = {cut} - 1, head_hash = (SELECT hash FROM records WHERE seq = {cut} - 1)'; \
                     systemctl start --no-block jitd.service"
                ),
            )?;
            let unsealed = host.record("audit.unsealed", |_| true)?;
            ensure!(unsealed["seq"] == cut, "{unsealed}");
            let cut = cut.to_string();
            named(&verify(host, "", &[])?, &cut, "the seal was lost here")?;
            named(&verify(host, &key, &["--key", "-"])?, &cut, "it has no seal")?;
            verify(host, "", &["--head", &head])?.exits(7)?.says("record ")?;
            named(
                &verify(host, "", &["--input", "/var/log/elsewhere.log", "--store"])?,
                &cut,
                "another record was seen elsewhere",
            )?;

            // Yesterday's database, key and all: to itself it is whole, and the seal fits. The start closes its windows, and
            // ends the session that did it.
            start_over(host)?;
            as_root_until_the_start_ends_it(
                host,
                "systemctl stop jitd.service; rm -rf /var/lib/jitd/*; cp -a /root/yesterday/. /var/lib/jitd; systemctl start --no-block jitd.service",
            )?;
            verify(host, &key, &["--key", "-"])?.exits(8)?.says("the seals fit the key")?;
            let behind =
                host.root(&["sqlite3", "/root/yesterday/jit.db", "SELECT max(seq) + 1 FROM records"])?;
            let behind = behind.ok()?.line().to_owned();
            wait_until("rsyslog has the other record", LIMIT, || {
                let anew = sql(host, &format!("SELECT hash FROM records WHERE seq = {behind}"))?;
                Ok(!anew.is_empty() && host.read(COPY).unwrap_or_default().contains(&anew))
            })?;
            host.record("grant.withdrawn", |record| record["detail"].to_string().contains("set back"))?;
            host.login(DAVE)?.run("sudo -n true")?.fails()?.says("dave has no open window")?;
            let store = verify(host, &key, &["--key", "-", "--input", "/var/log/elsewhere.log", "--store"])?;
            named(&store, &behind, "another record was seen elsewhere")?;
            named(
                &verify(host, "", &["--input", COPY])?,
                &behind,
                "two different records were kept under this number",
            )?;

            // The chain made anew behind an edit: whole without the key.
            start_over(host)?;
            host.write("/usr/local/sbin/recompute", RECOMPUTE)?;
            as_root_until_the_start_ends_it(
                host,
                &format!(
                    "systemctl stop jitd.service; bash /usr/local/sbin/recompute {bad}; systemctl start jitd.service"
                ),
            )?;
            // The head that the host remembers tells, where it was left alone.
            verify(host, "", &[])?.exits(8)?.says("records are whole")?.says("in its place")?;
            named(&verify(host, &key, &["--key", "-"])?, &bad, "its seal does not fit")?;
            named(
                &verify(host, "", &["--input", "/var/log/elsewhere.log", "--store"])?,
                &bad,
                "another record was seen elsewhere",
            )?;
            // An export of it does not need the daemon.
            host.root_sh(
                "jitctl --json audit show --from 1 >/var/log/export; systemctl stop jitd.socket jitd.service",
            )?
            .ok()?;
            named(
                &verify(host, &key, &["--key", "-", "--input", "/var/log/export"])?,
                &bad,
                "its seal does not fit",
            )?;
            named(
                &verify(host, "", &["--input", "/var/log/export", "/var/log/elsewhere.log"])?,
                &bad,
                "its message told of another record",
            )?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_seal_is_begun_once_and_never_from_inside_a_window() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        verify(host, "", &[])?.ok()?.says("chained but not sealed")?;
        for user in [ALICE, CAROL] {
            host.login(user)?.run("jitctl audit seal --init")?.exits(3)?.says("only operators")?;
        }
        host.grant(DAVE, "ops", "2h")?;
        host.grant(OSCAR, "ops", "2h")?;
        let inside =
            |login: &mut Login, words: &str| login.run(&format!("sudo -n jitctl audit seal {words}"));
        inside(&mut host.login(DAVE)?, "--init")?.exits(3)?.says("not from inside a window")?;
        // Not even an operator, as root or as himself.
        let mut oscar = host.login(OSCAR)?;
        inside(&mut oscar, "--init")?.exits(3)?.says("not from inside a window")?;
        oscar.run("sudo -n sudo -n -u oscar jitctl audit seal --init")?.exits(3)?;
        host.record("command.refused", |record| record["detail"].to_string().contains("audit seal"))?;

        let mut terminal = host.login_at_terminal(OSCAR)?;
        let shown = terminal.run("jitctl audit seal --init")?;
        shown.ok()?.says("jitd-seal-key-v1 ")?.says("\u{2588}").context("a QR code")?;
        let sheet: String = shown
            .text()
            .lines()
            .map(str::trim)
            .skip_while(|line| !line.starts_with("jitd-seal-key"))
            .take(5)
            .map(|line| format!("{line}\n"))
            .collect();
        let sealed = host.record("audit.sealed", |record| record["actor"] == "oscar")?;
        let first = sealed["seq"].as_u64().context("a number")? + 1;
        ensure!(sheet.starts_with(&format!("jitd-seal-key-v1 {first}\n")), "{sheet}");
        verify(host, &sheet, &["--key", "-"])?
            .ok()?
            .says(&format!("records 1 to {} are chained", first - 1))?;
        oscar.run("jitctl audit seal --init")?.exits(3)?.says("sealed already")?;
        inside(&mut host.login(DAVE)?, "--rotate")?.exits(3)?.says("not from inside a window")?;

        let second = host.root(&["jitctl", "--json", "audit", "seal", "--rotate"])?.json()?;
        let resealed = host.record("audit.resealed", |record| record["seal_key"] == second["seal_key"])?;
        ensure!(second["first"].as_u64() == resealed["seq"].as_u64().map(|seq| seq + 1), "{second}");
        refuse(host, 3)?;
        let new = second["key"].as_str().context("a key")?;
        let both = verify(host, &format!("{sheet}{new}"), &["--key", "-"])?;
        both.ok()?.says("the seals fit the key")?.never_says("not verified")?;
        verify(host, new, &["--key", "-"])?.ok()?.says("not verified")?.says("the seals fit the key")?;
        verify(host, &sheet, &["--key", "-"])?.ok()?.says("not verified")?;

        let row = sheet.lines().nth(2).context("a row")?;
        let mistyped = sheet.replace(row, &row.replacen(|c: char| c.is_ascii_digit(), "a", 3));
        verify(host, &mistyped, &["--key", "-"])?.exits(2)?.says("row 2 of the key")?;
        // The key in the file is never one that has sealed something durable, and the database has none.
        let digits: String =
            new.lines().skip(1).flat_map(|row| row.split_whitespace().skip(1).take(4)).collect();
        let found = host.root(&["grep", "-rlaF", &digits, "/var/lib/jitd"])?;
        ensure!(
            digits.len() == 64 && found.status == 1,
            "the first key is still on the host: {}",
            found.text()
        );
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        verify(host, &format!("{sheet}{new}"), &["--key", "-"])?.ok()?;

        // Where the key cannot be moved on nobody becomes root, and what was begun for them ends.
        host.no_session_left(LIMIT)?;
        host.root_sh("cd /var/lib/jitd; rm seal.key; mkdir seal.key")?.ok()?;
        // It is refused and ended, and may not live to say why; what it was to run has not run.
        let first = host.login(DAVE)?.run("sudo -n touch /etc/unsealed")?;
        ensure!(first.status == 137 || first.fails()?.text().contains("could not be"), "{}", first.text());
        host.no_session_left(LIMIT)?;
        ensure!(host.root(&["test", "-e", "/etc/unsealed"])?.status == 1, "it ran: {}", first.text());
        host.login(DAVE)?.run("sudo -n true")?.fails()?.says("the record could not be sealed")?;
        host.no_session_left(LIMIT)?;
        host.root(&["sudo", "-n", "true"])?.ok()?;
        host.root(&["rmdir", "/var/lib/jitd/seal.key"])?.ok()?;
        host.login(DAVE)?.run("sudo -n true")?.ok()?;
        verify(host, &format!("{sheet}{new}"), &["--key", "-"])?.ok()?;
        Ok(())
    })
}

/// What cannot be recorded does not happen; what was acknowledged is there.
#[test]
fn a_disk_that_is_full_or_fails_lets_nobody_in_and_loses_nothing() -> Result<()> {
    let plan = Plan::new(Release::Trixie).with_disk("/var/lib/jitd", 12);
    play(&plan, |host| {
        let key = sealed_host(host)?;
        let mut dave = host.login(DAVE)?;
        let mut alice = host.login(ALICE)?;
        let ask = "jitctl --json request ops --reason 'I want to look around'";

        host.root_sh("dd if=/dev/zero of=/var/lib/jitd/fill bs=4k 2>/dev/null; dd if=/dev/zero of=/var/lib/jitd/fill bs=1 oflag=append conv=notrunc count=8192 2>/dev/null; true")?;
        // What is left in the journal's last block is used up first.
        let mut refused = dave.run("sudo -n true")?;
        for _ in 0..50 {
            if refused.status != 0 {
                break;
            }
            refused = dave.run("sudo -n true")?;
        }
        refused.fails()?.says("it could not be recorded")?.says("full")?;
        let before = (host.jitctl(&["grants"])?, host.jitctl(&["status"])?["records"].clone());
        alice.run(ask)?.exits(1)?.says("could not be recorded")?;
        dave.run("sudo -n true")?.fails()?.says("it could not be recorded")?;
        // Root is not kept out of its own machine, and makes room again.
        host.root(&["sudo", "-n", "true"])?.ok()?;
        let after = (host.jitctl(&["grants"])?, host.jitctl(&["status"])?["records"].clone());
        ensure!(before.0[0]["id"] == after.0[0]["id"] && before.1 == after.1, "{before:?} {after:?}");
        ensure!(host.jitctl(&["pending"])?.as_array().is_some_and(Vec::is_empty), "a request was made");
        verify(host, &key, &["--key", "-"])?.ok()?;
        host.root(&["rm", "/var/lib/jitd/fill"])?.ok()?;
        dave.run("sudo -n true")?.ok()?;
        let asked = alice.run(ask)?.json()?;
        host.no_session_left(LIMIT)?;
        verify(host, &key, &["--key", "-"])?.ok()?.says("the seals fit the key")?;

        let acknowledged = host.jitctl(&["status"])?["records"].as_u64().context("records")?;
        host.disk()?.fail()?;
        let refused = dave.run("sudo -n true")?;
        refused.fails()?.says("it could not be recorded")?;
        let cancel = alice.run(&format!("jitctl cancel {}", asked["id"]))?;
        cancel.exits(1)?.says("could not be recorded")?;
        ensure!(host.jitctl(&["pending"])?[0]["id"] == asked["id"], "the request is gone");
        host.root(&["sudo", "-n", "true"])?.ok()?;

        host.cut_power();
        host.disk()?.repair()?;
        host.start()?;
        let records = host.records()?;
        ensure!(records.len() as u64 >= acknowledged, "{} of {acknowledged} records", records.len());
        ensure!(host.jitctl(&["pending"])?[0]["id"] == asked["id"], "the request is lost");
        host.login(DAVE)?.run("sudo -n true")?.ok()?;
        verify(host, &key, &["--key", "-"])?.ok()?.says("the seals fit the key")?;
        ensure!(
            records.iter().all(|record| record["event"] != "audit.unsealed"),
            "the seal was lost with the disk"
        );

        // Read-only from the start.
        host.root_sh("systemctl stop jitd.service jitd.socket; mount -o remount,ro /var/lib/jitd")?.ok()?;
        host.root(&["systemctl", "start", "jitd.socket"])?.ok()?;
        host.login(DAVE)?.run("sudo -n true")?.fails()?;
        host.root(&["mount", "-o", "remount,rw", "/var/lib/jitd"])?.ok()?;
        wait_until("jitd is back", LIMIT, || Ok(host.login(DAVE)?.run("sudo -n true")?.status == 0))?;
        verify(host, &key, &["--key", "-"])?.ok()?;
        Ok(())
    })
}
