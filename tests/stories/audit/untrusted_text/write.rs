//! What people write, as each of them and as root: into requests, approvals, file names, accounts.

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::Host;
use jit_tests::output::Output;
use jit_tests::people::{BOB, CAROL, DAVE, MALLORY};

use super::{HUNDRED_KB, LIMIT, ODD_BYTES, ODD_NAME, ODD_UID, TEXTS, quoted};

/// Puts the texts into files that everybody's shell reads: each as it is, cut to a ticket's and a file name's length,
/// and as 100 kB of it.
pub(super) fn write_texts(host: &Host) -> Result<()> {
    for (name, text) in TEXTS {
        let ticket: String = up_to(text, 120);
        let file: String = up_to(text, 200).replace('/', "_");
        let long = up_to(&text.repeat(HUNDRED_KB / text.len() + 1), HUNDRED_KB);
        for (ending, content) in [("text", text), ("ticket", &ticket), ("file", &file), ("long", &long)] {
            host.write(&format!("/srv/{name}.{ending}"), content)?;
        }
    }
    host.root_sh(&format!(
        "{{ {ODD_BYTES}; }} >/srv/bytes; LANG=C tr '/' _ </srv/bytes | head -c 200 >/srv/bytes.file"
    ))?
    .ok()?;
    Ok(())
}

pub(super) fn up_to(text: &str, bytes: usize) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= bytes).last();
    text[..end.unwrap_or(0)].to_owned()
}

fn id_of(output: &Output) -> Result<u64> {
    let number = output.ok()?.line().trim_start_matches("t ").parse();
    number.with_context(|| format!("no number:\n{output}"))
}

/// A call of the bus without jitctl between, whose own checks are not what protects anybody.
fn call(method: &str, signature: &str, arguments: &str) -> String {
    format!(
        "busctl -- call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Manager {method} '{signature}' {arguments}"
    )
}

/// What is refused is told in a few safe words, even about 100 kB.
fn told_safely(output: &Output) -> Result<()> {
    let text = output.text();
    ensure!(text.len() < 20_000, "{} bytes about {}", text.len(), output.command);
    ensure!(!text.contains('\x1b') && !text.contains(['\u{9b}', '\u{202e}', '\u{2066}']), "{text:?}");
    Ok(())
}

/// Requests, approvals, refusals, command lines: everything that a person says to jitd about a window.
pub(super) fn say_everything(host: &Host) -> Result<()> {
    let (mut bob, mut carol, mut dave) = (host.login(BOB)?, host.login(CAROL)?, host.login(DAVE)?);
    let mut mallory = host.login(MALLORY)?;
    for (n, (name, _)) in TEXTS.iter().enumerate() {
        let (text, ticket) =
            (format!("\"$(cat /srv/{name}.text)\""), format!("\"$(cat /srv/{name}.ticket)\""));
        let asked = if n % 2 == 0 {
            let asked = dave.run(&format!("jitctl --json request ops --reason={text} --ticket={ticket}"))?;
            asked.json()?["id"].as_u64().context("a request without a number")?
        } else {
            id_of(&dave.run(&call("Request", "stssa{sv}", &format!("ops 0 {text} {ticket} 0")))?)?
        };
        bob.run(&call("Approve", "ta{sv}", &format!("{asked} 1 comment s {text}")))?.ok()?;
        for argument in [&text, &format!("\"$(cat /srv/{name}.long)\"")] {
            dave.run(&format!("sudo -n true {argument} {text}"))?.ok()?;
            mallory.run(&format!("sudo -n true {argument}"))?.fails()?;
        }
        let more = call("Extend", "ttsa{sv}", &format!("{asked} 60000000 {text} 0"));
        let more = id_of(&dave.run(&more)?)?;
        carol.run(&format!("jitctl deny {more} --reason={text}"))?.ok()?;
        host.root_sh(&format!("jitctl revoke {asked} --reason={text}"))?.ok()?;
        // What is too long, or no name at all, is refused in the daemon.
        let long = format!("\"$(cat /srv/{name}.long)\"");
        for refused in [
            call("Request", "stssa{sv}", &format!("ops 0 {long} INC-1 0")),
            call("Request", "stssa{sv}", &format!("ops 0 {text} {long} 0")),
            call("Request", "stssa{sv}", &format!("{text} 0 {text} INC-1 0")),
            call("Request", "stssa{sv}", &format!("{long} 0 {text} INC-1 0")),
            call("Approve", "ta{sv}", &format!("{asked} 1 comment s {long}")),
            call("Grant", "sstsa{sv}", &format!("{text} ops 0 {text} 0")),
            call("Grant", "sstsa{sv}", &format!("{long} ops 0 {text} 0")),
            format!("jitctl request ops --reason={long}"),
            format!("jitctl request {text} --reason={text}"),
        ] {
            told_safely(dave.run(&refused)?.fails()?)?;
        }
    }
    dave.run("sudo -n true \"$(cat /srv/bytes)\"")?.fails()?;
    host.grant(DAVE, "ops", "30m")?;
    dave.run("sudo -n true \"$(cat /srv/bytes)\"")?.ok()?;
    // Programs with these names, and under these names, and files in a place where privilege is kept.
    host.write_program(
        "/usr/local/bin/plant",
        "#!/bin/bash\nmkdir -p /srv/bin\nfor name in /srv/*.file; do\n  name=$(cat \"$name\")\n  cp /bin/sleep \"/srv/bin/$name\"\n  \
         touch -- \"/etc/cron.d/$name\"\n  (exec \"/srv/bin/$name\" 1000) &\ndone\n\
         for name in /srv/*.long; do (exec -a \"$(cat $name)\" sleep 1000) & done\n\
         while [ $(pgrep -c -x sleep) -lt 15 ]; do :; done\ntouch /srv/planted\nwait\n",
    )?;
    dave.run("sudo -n plant >/dev/null 2>&1 &")?.ok()?;
    wait_until("everything runs", LIMIT, || Ok(host.has("/srv/planted")))?;
    dave.run("jitctl release")?.ok()?;
    host.no_session_left(LIMIT)?;
    host.record("grant.left_behind", |_| true)?;
    Ok(())
}

/// What takes somebody who was root: a PAM service and a terminal of any name, an account of any name, a policy.
pub(super) fn say_more_as_root(host: &Host) -> Result<()> {
    let mut mallory = host.login(MALLORY)?;
    host.root_sh("install -m 4755 /usr/bin/pamtester /usr/local/bin/setuid-pamtester")?.ok()?;
    host.root_sh(
        "printf 's]\"\\033[1m\\\\' >/srv/service; cp /etc/pam.d/sudo \"/etc/pam.d/$(cat /srv/service)\"",
    )?
    .ok()?;
    for (name, _) in TEXTS {
        for service in ["sudo", "\"$(cat /srv/service)\""] {
            let tty = format!("-I \"tty=$(cat /srv/{name}.text)\"");
            let tried = mallory.run(&format!("setuid-pamtester {tty} {service} mallory acct_mgmt"))?;
            told_safely(tried.fails()?)?;
        }
        let tried = mallory
            .run(&format!("setuid-pamtester -I \"tty=$(cat /srv/{name}.long)\" sudo mallory acct_mgmt"))?;
        told_safely(tried.fails()?)?;
    }
    host.root_sh(
        &format!("printf '%s:x:{ODD_UID}:{ODD_UID}::/:/bin/bash\\n' \"$1\" >>/etc/passwd")
            .replace("\"$1\"", &quoted(ODD_NAME)),
    )?
    .ok()?;
    host.write("/etc/sudoers.d/odd", &format!("#{ODD_UID} ALL=(ALL) NOPASSWD: ALL\n"))?;
    host.root(&["chmod", "0440", "/etc/sudoers.d/odd"])?.ok()?;
    let odd = format!("setpriv --reuid={ODD_UID} --regid={ODD_UID} --clear-groups");
    host.root_sh(&format!("{odd} sudo -n true"))?.fails()?;
    host.root_sh(&format!("{odd} jitctl request ops --reason='who am I then'"))?.fails()?;
    host.write(
        "/etc/jitd/roles.d/odd.toml",
        "[role.\"o\\u001b[2J\\u202e\\n\\\"]\"]\nmembers = [\"a\\u001b\\n\"]\n\"\\u009b\" = 1\n",
    )?;
    told_safely(&host.root_sh("systemctl reload jitd.service; jitctl policy check")?)?;
    host.root_sh("rm /etc/jitd/roles.d/odd.toml; systemctl reload jitd.service")?.ok()?;
    Ok(())
}
