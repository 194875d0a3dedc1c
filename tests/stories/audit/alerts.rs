//! Alerts are records beside the records that raised them; a hook and a mail notify people outside of the host.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::paths;
use jit_tests::people::{ALICE, BOB, DAVE, MALLORY};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

use crate::host::drift::{first_scan, scanned};

const LIMIT: Duration = Duration::from_secs(20);
const SETTINGS: &str =
    "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\napprove_without_login = true\n";
const HOOK: &str = "/usr/local/libexec/told";
/// A reason as somebody would write it who wants to be more than a reason.
const HOSTILE: &str =
    "the disk is full\\r\\n\\r\\nBcc: mallory@example.org\\n.\\nFrom root\\e[2J\\e]0;owned\\a";

/// The alerts by one rule.
fn alerts(host: &Host, rule: &str) -> Result<Vec<Value>> {
    let raised = |record: &Value| record["event"] == "alert.raised" && record["alert"] == rule;
    Ok(host.records()?.into_iter().filter(raised).collect())
}

/// Puts settings into force on top of the usual ones.
fn apply_settings(host: &Host, more: &str) -> Result<()> {
    host.write("/etc/jitd/jitd.toml", &format!("{SETTINGS}{more}"))?;
    host.root(&["systemctl", "reload", "jitd"])?.ok()?;
    Ok(())
}

#[test]
fn five_refused_calls_raise_one_alert() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let rule = "type='signal',sender='org.jitd.Jit1',member='AlertRaised'";
        let listen =
            format!("setsid --fork dbus-monitor --system \"{rule}\" >/var/tmp/heard 2>&1 </dev/null");
        host.root_sh(&listen)?.ok()?;
        let mut mallory = host.login(MALLORY)?;
        for _ in 0..4 {
            mallory.run("sudo -n true")?.fails()?;
        }
        ensure!(alerts(host, "denials")?.is_empty(), "four are not five");
        for _ in 0..5 {
            mallory.run("sudo -n true")?.fails()?;
        }
        let raised = alerts(host, "denials")?;
        ensure!(raised.len() == 1, "{raised:#?}");
        ensure!(raised[0]["user"] == MALLORY && raised[0]["uid"] == 2006, "{}", raised[0]);
        let about = raised[0]["about"].as_u64().context("a number")?;
        let records = host.records()?;
        let cause = records.iter().position(|record| record["seq"] == about).context("a cause")?;
        ensure!(records[cause]["event"] == "access.denied", "{}", records[cause]);
        ensure!(records[cause + 1] == raised[0], "the alert is not behind its cause");
        ensure!(records[cause + 1]["time"] == records[cause]["time"], "not of one transaction");
        let seq = raised[0]["seq"].as_u64().context("a number")?;
        wait_until("the bus tells the alert's number, and no name", LIMIT, || {
            let heard = host.read("/var/tmp/heard")?;
            ensure!(!heard.contains(MALLORY), "{heard}");
            Ok(heard.contains("member=AlertRaised") && heard.contains(&format!("uint64 {seq}")))
        })?;
        host.root(&["jitctl", "audit", "verify"])?.ok()?.says("records are whole")?;
        Ok(())
    })
}

#[test]
fn the_first_use_of_a_role_is_told_once_also_after_a_restart() -> Result<()> {
    play(&Plan::new(Release::Bookworm), |host| {
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        let raised = alerts(host, "emergency")?;
        ensure!(raised.len() == 1 && raised[0]["actor"] == "root", "{raised:#?}");
        dave.run("sudo -n true && sudo -n true")?.ok()?;
        let raised = alerts(host, "first-use")?;
        ensure!(raised.len() == 1 && raised[0]["role"] == "ops", "{raised:#?}");
        host.root(&["systemctl", "kill", "--signal=KILL", "jitd.service"])?.ok()?;
        dave.run("sudo -n true")?.ok()?;
        ensure!(alerts(host, "first-use")?.len() == 1, "told again after a restart");
        apply_settings(host, "[alerts]\noff = [\"emergency\", \"denials\"]\n")?;
        host.grant(DAVE, "peers", "30m")?;
        host.root_sh("for n in $(seq 9); do runuser -u mallory -- sudo -n true; done; true")?.ok()?;
        ensure!(alerts(host, "emergency")?.len() == 1 && alerts(host, "denials")?.is_empty(), "switched off");
        Ok(())
    })
}

/// What the hooks have printed, a line each.
fn hooks_say(host: &Host) -> Result<String> {
    let words = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--all", "--unit=jit-notify-*"];
    Ok(host.root(&words)?.text())
}

fn a_hook_is_told(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        let hook = "#!/bin/sh\n\
            echo \"I am $(id -un) $(id -Gn), $(grep NoNewPrivs /proc/self/status | tr -d '\\t') \
            $(grep CapBnd /proc/self/status | tr -d '\\t'), in $PWD\"\n\
            env | cut -d= -f1 | sort | tr '\\n' ' '; echo\n\
            touch /var/lib/misc/mark /etc/mark /home/dave/mark 2>/dev/null && echo 'I can write'\n\
            sudo -n true 2>/dev/null && echo 'I am root'\n\
            cat\n";
        host.write_program(HOOK, hook)?;
        apply_settings(host, &format!("[notify]\nexec = \"{HOOK}\"\n"))?;
        let mut alice = host.login(ALICE)?;
        let mut bob = host.login(BOB)?;
        alice.run(&format!("jitctl request ops --for 10m --reason $'{HOSTILE}'"))?.ok()?;
        let id = host.jitctl(&["pending"])?[0]["id"].clone();
        bob.run(&format!("jitctl approve {id}"))?.ok()?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let mut told = Vec::new();
        wait_until("the hook is told of all three", LIMIT, || {
            let said = hooks_say(host)?;
            told = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
            let kinds = ["request", "activation", "emergency"];
            Ok(kinds.iter().all(|kind| told.iter().any(|it| it["kind"] == *kind)))
        })
        .with_context(|| format!("the hooks said: {:?}", hooks_say(host)))?;
        let of = |kind: &str| told.iter().find(|it| it["kind"] == kind).with_context(|| kind.to_owned());
        let request = of("request")?;
        ensure!(request["tell"].to_string().contains("@leads"), "{request}");
        let reason = request["record"]["reason"].as_str().context("a reason")?;
        ensure!(reason.contains("full\r\n\r\nBcc: mallory") && reason.contains("\x1b[2J"), "{request}");
        ensure!(of("activation")?["record"]["request"] == id, "{told:#?}");
        ensure!(of("emergency")?["record"]["grant"] == grant, "{told:#?}");
        let said = hooks_say(host)?;
        ensure!(
            said.contains("I am jit-notify jit-notify, NoNewPrivs:1 CapBnd:0000000000000000, in /\n"),
            "{said}"
        );
        ensure!(!said.contains("I can write") && !said.contains("I am root"), "{said}");
        ensure!(!said.contains("MALLOC_ARENA_MAX"), "it has the daemon's environment: {said}");
        ensure!(!said.contains('\x1b'), "a sequence reached the journal");
        // It is told once, also by a daemon that begins anew.
        wait_until("it is remembered", LIMIT, || {
            let head = host.records()?.len();
            Ok(host.read("/var/lib/jitd/notified")?.trim().parse::<usize>()? + 3 >= head)
        })?;
        host.root(&["systemctl", "kill", "--signal=KILL", "jitd.service"])?.ok()?;
        let mut mallorys = 0;
        wait_until("jitd is back", LIMIT, || {
            mallorys = host.grant(MALLORY, "ops", "30m").unwrap_or_default();
            Ok(mallorys > 0)
        })?;
        let emergencies =
            |said: &str| said.lines().filter(|line| line.contains("\"kind\":\"emergency\"")).count();
        wait_until("the next is told", LIMIT, || {
            Ok(hooks_say(host)?.contains(&format!("\"grant\":{mallorys},")))
        })?;
        ensure!(emergencies(&hooks_say(host)?) == 2, "{}", hooks_say(host)?);
        Ok(())
    })
}

#[test]
fn a_hook_is_told_as_nobody_in_particular_on_trixie() -> Result<()> {
    a_hook_is_told(Release::Trixie)
}

#[test]
fn a_hook_is_told_as_nobody_in_particular_on_bookworm() -> Result<()> {
    a_hook_is_told(Release::Bookworm)
}

#[test]
fn a_hook_that_hangs_is_killed_and_recorded_and_nobody_waits_for_it() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.write_program(HOOK, "#!/bin/sh\ntrap '' TERM\nsetsid sleep 4242 &\nsleep 4242\nsleep 4242\n")?;
        apply_settings(host, &format!("[notify]\nexec = \"{HOOK}\"\ntimeout = \"3s\"\n"))?;
        let mut dave = host.login(DAVE)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        wait_until("the hook hangs", LIMIT, || {
            Ok(host.root(&["pgrep", "-u", "jit-notify", "-x", "sleep"])?.status == 0)
        })?;
        dave.run("sudo -n true")?.ok()?.within(Duration::from_secs(2))?;
        let failed = host.record("notify.failed", |_| true)?;
        let detail = failed["detail"].as_str().context("why")?;
        ensure!(detail.contains(HOOK) && detail.contains("took longer than 3s"), "{failed}");
        let about = host.records()?.into_iter().find(|record| record["seq"] == failed["about"]);
        ensure!(about.is_some_and(|record| record["grant"] == grant), "{failed}");
        wait_until("nothing of it is left", LIMIT, || {
            Ok(host.root(&["pgrep", "-u", "jit-notify"])?.status == 1)
        })?;
        host.write_program(HOOK, "#!/bin/sh\nexit 3\n")?;
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        host.grant(DAVE, "peers", "30m")?;
        let status = |record: &Value| record["detail"].as_str().is_some_and(|why| why.contains("status 3"));
        host.record("notify.failed", status)?;
        Ok(())
    })
}

fn a_notice_on_its_way(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        host.write_program(HOOK, "#!/bin/sh\nexec sleep 4242\n")?;
        apply_settings(host, &format!("[notify]\nexec = \"{HOOK}\"\ntimeout = \"2m\"\n"))?;
        first_scan(host)?;
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        wait_until("the hook is on its way", LIMIT, || {
            Ok(host.root(&["pgrep", "-u", "jit-notify", "-x", "sleep"])?.status == 0)
        })?;
        dave.run("sudo -n true")?.ok()?;
        scanned(host)?;
        host.root(&["pgrep", "-u", "jit-notify", "-x", "sleep"])?.ok()?;
        let unit = host.root_sh("cat /run/systemd/transient/jit-notify-*.service")?;
        let left: Vec<Value> =
            host.records()?.into_iter().filter(|record| record["event"] == "grant.left_behind").collect();
        ensure!(left.is_empty(), "{left:#?}\n{unit}");
        // Somebody else's unit by such a name is told of.
        dave.run("sudo -n systemd-run --quiet --unit=jit-notify-7-7 sleep 4242")?.ok()?;
        scanned(host)?;
        let told = host.record("grant.left_behind", |_| true)?;
        ensure!(told["left_behind"].to_string().contains("transient/jit-notify-7-7.service"), "{told}");
        let alert = host.record("alert.raised", |record| record["alert"] == "left-behind")?;
        ensure!(alert["about"] == told["seq"], "{alert}");
        Ok(())
    })
}

#[test]
fn a_notice_on_its_way_is_not_taken_for_left_behind_on_trixie() -> Result<()> {
    a_notice_on_its_way(Release::Trixie)
}

#[test]
fn a_notice_on_its_way_is_not_taken_for_left_behind_on_bookworm() -> Result<()> {
    a_notice_on_its_way(Release::Bookworm)
}

#[test]
fn what_others_may_change_tells_nobody() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.write_program(HOOK, "#!/bin/sh\n")?;
        apply_settings(host, &format!("[notify]\nexec = \"{HOOK}\"\n"))?;
        for (script, problem) in [
            (format!("chmod 0777 {HOOK}"), format!("others than root may write {HOOK} (mode 0777)")),
            (format!("chmod 0755 {HOOK}; chown dave {HOOK}"), format!("{HOOK} belongs to uid 2004")),
            (format!("chown root {HOOK}; chmod 0644 {HOOK}"), format!("{HOOK} is no program")),
            (format!("rm {HOOK}"), format!("{HOOK}: No such file")),
            (
                format!("cp /bin/true /home/dave/hook; ln -s /home/dave/hook {HOOK}"),
                "/home/dave belongs to uid 2004".to_owned(),
            ),
        ] {
            host.root_sh(&script)?.ok()?;
            let checked = host.root(&["jitctl", "policy", "check"])?;
            checked.exits(1)?.says("/etc/jitd/jitd.toml:6: notify.exec:")?.says(&problem)?;
            host.root(&["systemctl", "reload", "jitd"])?.fails()?;
        }
        let root = "[notify]\nexec = \"/bin/true\"\nuser = \"root\"\n";
        ensure!(apply_settings(host, root).is_err(), "root is not unprivileged");
        let option = "[notify]\nmail = [\"-oQ/tmp\"]\nsendmail = \"/bin/true\"\n";
        ensure!(apply_settings(host, option).is_err(), "an option is no address");
        apply_settings(host, "[notify]\nmail = [\"ops@example.org\"]\nsendmail = \"/bin/true\"\n")?;
        Ok(())
    })
}

#[test]
fn a_mail_is_well_formed_whatever_somebody_writes() -> Result<()> {
    play(&Plan::new(Release::Bookworm), |host| {
        let sendmail = "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" >/var/tmp/mail.arguments\nid -un >/var/tmp/mail.user\n\
            cat >/var/tmp/mail.new\nmv /var/tmp/mail.new /var/tmp/mail.$(date +%s%N)\n";
        host.write_program("/usr/local/sbin/sendmail", sendmail)?;
        let about = "about = [\"request\"]\n";
        let mail = "mail = [\"ops@example.org\", \"root\"]\nsendmail = \"/usr/local/sbin/sendmail\"\n";
        apply_settings(host, &format!("[notify]\n{mail}{about}"))?;
        let mut alice = host.login(ALICE)?;
        alice.run(&format!("jitctl request ops --for 10m --reason $'{HOSTILE}'"))?.ok()?;
        let read = "cat /var/tmp/mail.[0-9]*";
        wait_until("a mail is sent", LIMIT, || Ok(host.root_sh(read)?.status == 0))?;
        let mail = host.root_sh(read)?.text();
        let (head, body) = mail.split_once("\n\n").context("a header and a body")?;
        let headers: Vec<&str> = head.lines().collect();
        ensure!(headers.len() == 8, "{head}");
        ensure!(headers.contains(&"To: ops@example.org, root"), "{head}");
        ensure!(headers.iter().any(|line| line.ends_with(": alice asks for ops")), "{head}");
        ensure!(!head.contains("disk") && !head.contains("mallory"), "{head}");
        ensure!(!mail.contains('\x1b') && !mail.contains('\x07') && !mail.contains('\r'), "{mail:?}");
        ensure!(
            body.contains("reason: the disk is full\\u{d}\\u{a}\\u{d}\\u{a}Bcc: mallory@example.org\\u{a}.\\u{a}From root"),
            "{body}"
        );
        ensure!(
            !body.lines().any(|line| line.starts_with("Bcc:") || line == "." || line.starts_with("From "))
        );
        ensure!(body.contains("approvers: @leads, @oncall\n"), "{body}");
        host.root(&["cat", "/var/tmp/mail.user"])?.says("jit-notify")?;
        let arguments = host.read("/var/tmp/mail.arguments")?;
        ensure!(arguments.lines().skip(1).collect::<Vec<_>>() == ["-i", "-t"], "{arguments}");
        // Of the other kinds nobody is told.
        host.grant(DAVE, "ops", "30m")?;
        alice.run("jitctl request peers --for 10m --reason 'another one, please'")?.ok()?;
        wait_until("the next mail is sent", LIMIT, || {
            Ok(host.root_sh(read)?.text().contains("alice asks for peers"))
        })?;
        ensure!(!host.root_sh(read)?.text().contains("without a request"));
        Ok(())
    })
}

/// Takes one call, and answers it with this status; returns its head and its body.
fn answer_one(listener: &TcpListener, status: &str) -> Result<(String, String)> {
    let (mut stream, _) = listener.accept()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse()?;
        }
        head.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok((head, String::from_utf8(body)?))
}

/// On this machine and not on a host, which has no curl.
#[test]
fn the_webhook_says_whether_it_has_to_be_sent_again() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = std::env::temp_dir().join(format!("jit-webhook-{}", std::process::id()));
    fs::write(&config, format!("url = \"http://{address}/jit\"\nheader = \"Authorization: Bearer told\"\n"))?;
    let notice = "{\"kind\":\"alert\",\"record\":{\"detail\":\"a \u{e9} and \\u001b\"}}\n";
    let send = |config: &std::path::Path| -> Result<i32> {
        let hook = paths::repository().join("packaging/libexec/jitd-webhook");
        let mut command = Command::new(hook);
        command.arg(config);
        Ok(jit_tests::output::run(&mut command, notice.as_bytes(), LIMIT)?.status)
    };
    for (status, expected) in [
        ("204 No Content", 0),
        ("503 Service Unavailable", 75),
        ("429 Too Many Requests", 75),
        ("403 Forbidden", 1),
        ("302 Found", 1),
    ] {
        let taking = listener.try_clone()?;
        let server = thread::spawn(move || answer_one(&taking, status));
        let ended = send(&config)?;
        ensure!(ended == expected, "{status}: it ended with {ended}");
        let Ok(taken) = server.join() else { anyhow::bail!("the server has panicked") };
        let (head, body) = taken?;
        ensure!(head.starts_with("POST /jit ") && head.contains("Authorization: Bearer told"), "{head}");
        ensure!(head.contains("Content-Type: application/json") && body == notice, "{head}{body}");
    }
    drop(listener);
    ensure!(send(&config)? == 75, "nobody is there");
    fs::remove_file(&config)?;
    ensure!(send(&config)? == 1, "nobody has set it up");
    Ok(())
}
