//! Whatever people write, and however they get it in, stays what they wrote: it forges no line and no fact, and no
//! approver's terminal, page or spreadsheet takes it for anything but text.

mod rfc5424;

mod html;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_proto::audit::render::told;
use jit_proto::escape::{Escaped, is_unsafe};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::output::Output;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE, MALLORY, OSCAR};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

use rfc5424::Message;

const LIMIT: Duration = Duration::from_secs(60);

/// What people write. Each is long enough to be a reason.
const TEXTS: [(&str, &str); 15] = [
    (
        "line",
        "it is down\n<84>1 2026-01-01T00:00:00.000000Z h jitd 1 access.allowed [jit@32473 seq=\"1\" hash=\"0\"] x\r\nnext",
    ),
    ("ansi", "\x1b[2J\x1b[1;1H\x1b]0;title\x07\x1bP+q\x1b\\ all is well \x08\x08\x7f\x0b\x0c"),
    ("c1", "\u{9b}2J\u{85}\u{90}q\u{9c} and so on \u{9d}0;x\u{9c}"),
    (
        "bidi",
        "pay \u{202a}a\u{202b}b\u{202d}c\u{202e}d\u{202c} \u{2066}e\u{2067}f\u{2068}g\u{2069} \u{200e}\u{200f}\u{61c}",
    ),
    (
        "unseen",
        "a\u{200b}b\u{200d}c\u{2060}d\u{feff}e\u{ad}f\u{34f}g\u{3164}h\u{2800}i\u{fe0f}j\u{e0041}k\u{a0}l\u{3000}m",
    ),
    (
        "marks",
        "\u{301}z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{489} (\u{20dd}) piled up",
    ),
    (
        "data",
        "\"] [jit@32473 seq=\"9\" hash=\"0\"] x \\\" ]]] \\\\ [a@1 b=\"c\"] user=\"root\" outcome=\"allowed\" \\",
    ),
    ("json", "\",\"user\":\"root\",\"outcome\":\"allowed\",\"x\":{\"}]}"),
    ("markup", "<script>alert(1)</script>\" onload=\"x' <!-- & &lt; --> </title></style><img src=x>"),
    ("formula", "=HYPERLINK(\"http://x\",\"y\");=1+1,-2+3\t@x; +4"),
    ("plus", "+1+cmd|' /C calc'!A0"),
    ("minus", "-2+3;-2+3;\"=4\",=5"),
    ("at", "@SUM(1+1)*cmd|' /C calc'!A0; removed /etc/sudoers.d/x"),
    ("table", "| a | b |\n|---|---|\n# x [y](javascript:z) `c` ![i](http://x)"),
    (
        "world",
        "日本語 עברית العربية हिन्दी \u{1f600}\u{1f468}\u{200d}\u{1f469} e\u{301} \u{fffd}\u{10fffd}\u{e000}\u{f7ff}",
    ),
];

/// An account that only somebody who was root can have made.
const ODD_NAME: &str = "od\x1b[2Jd\"]\\\u{202e}";
const ODD_UID: &str = "2099";
/// Bytes that are no UTF-8: a surrogate, an overlong slash, a cut character, and every byte that an argument can hold.
const ODD_BYTES: &str = "printf '\\355\\240\\200 \\300\\257 \\342\\202 \\377\\376 \\357\\277\\277'; for i in $(seq 1 255); do printf \"\\\\$(printf %o $i)\"; done";
const LOG: &str = "/var/log/all.log";
/// Above every limit that there is, and below what execve(2) takes as one argument.
const HUNDRED_KB: usize = 100_000;

/// A rsyslog that keeps what it gets as it gets it, newlines and all, with the uid and pid that the kernel says sent it.
const RSYSLOG: &str = r#"
sed -i 's/^module(load="imuxsock").*/module(load="imuxsock" SysSock.Annotate="on" SysSock.ParseTrusted="on")/' /etc/rsyslog.conf
cat >/etc/rsyslog.d/jit.conf <<'END'
global(parser.escapeControlCharactersOnReceive="off")
template(name="whose" type="string" string="from %$!uid% %$!pid% %rawmsg%\n")
if $rawmsg contains "jit" then action(type="omfile" file="/var/log/all.log" template="whose")
END
systemctl restart rsyslog
"#;

/// Puts the texts into files that everybody's shell reads: each as it is, cut to a ticket's and a file name's length,
/// and as 100 kB of it.
fn write_texts(host: &Host) -> Result<()> {
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

fn up_to(text: &str, bytes: usize) -> String {
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
fn say_everything(host: &Host) -> Result<()> {
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
fn say_more_as_root(host: &Host) -> Result<()> {
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

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The records that are there, by number: hash and line.
fn records_of(host: &Host) -> Result<BTreeMap<u64, (String, Value)>> {
    let lines = host.root(&["jitctl", "--json", "audit", "show", "--from", "1"])?.json_lines()?;
    let each = lines.into_iter().map(|line| {
        let seq = line["seq"].as_u64().context("seq")?;
        let hash = line["hash"].as_str().context("hash")?.to_owned();
        Ok((seq, (hash, line["record"].clone())))
    });
    each.collect()
}

/// Whether a value of a message is what the record says, whole or cut.
fn says(value: &str, fact: &str, of_record: &Value) -> bool {
    let whole = Escaped(&told(fact, of_record)).to_string();
    // Between two lines of a list, and in none of them.
    let value = value.replace("\\u{3b} ", "; ");
    value == whole || value.strip_suffix("...").is_some_and(|begin| whole.starts_with(begin))
}

/// A message tells of its record, of nothing else, and is cut only where nobody is named.
fn check_message(message: &Message, records: &BTreeMap<u64, (String, Value)>) -> Result<u64> {
    let [data] = message.elements.as_slice() else { bail!("{} elements", message.elements.len()) };
    ensure!(
        data.id == "jit@32473" && message.app_name == "jitd" && message.priority / 8 == 10,
        "{message:?}"
    );
    let seq: u64 = data.get("seq").context("seq")?.parse()?;
    let (hash, record) = records.get(&seq).with_context(|| format!("there is no record {seq}"))?;
    ensure!(data.get("hash") == Some(hash), "{hash} is not its hash");
    ensure!(record["event"] == message.msgid && record["time"] == message.timestamp, "{record}");
    for (name, value) in &data.params {
        let same = match name.as_str() {
            "seq" | "hash" | "cut" => true,
            "boot" => record["boot_id"] == *value,
            name => says(value, name, &record[name]),
        };
        ensure!(same, "{name} is {value:?} and not as in {record}");
    }
    let own = ["v", "boot_id", "time", "event"];
    for (fact, value) in record.as_object().context("an object")? {
        let is_named = own.contains(&fact.as_str()) || data.get(fact).is_some();
        ensure!(is_named || told(fact, value).is_empty(), "{fact} is missing");
        if ["user", "uid", "role", "grant", "session", "actor", "outcome"].contains(&fact.as_str()) {
            ensure!(data.get(fact) == Some(&Escaped(&told(fact, value)).to_string()), "{fact} is cut");
        }
    }
    ensure!(message.text.starts_with(&message.msgid) && !message.text.chars().any(is_unsafe), "{message:?}");
    Ok(seq)
}

/// What journald hands on, as the message it would be on a socket of its own: nothing but its head is another one.
fn as_rfc5424(line: &str) -> Result<String> {
    let (priority, rest) = line.split_once('>').context("PRI")?;
    let (head, rest) = rest.split_once("]: ").context("a head")?;
    let pid = head.rsplit_once(" jitd[").context("jitd's head")?.1;
    let (lead, element) = rest.split_once(" [jit@").context("structured data")?;
    let event = lead.split([' ', ':']).next().context("an event")?;
    let time = element.split(" time=\"").nth(1).and_then(|time| time.split('"').next()).context("a time")?;
    Ok(format!("{priority}>1 {time} - jitd {pid} {event} [jit@{element} {lead}"))
}

/// Each record has its line in rsyslog's file, and no line there pretends to be of jitd that is not.
fn check_syslog(host: &Host, from: u64, forged: usize) -> Result<()> {
    let records = records_of(host)?;
    let last = *records.last_key_value().context("records")?.0;
    wait_until("rsyslog has the last record", LIMIT, || {
        Ok(host.read(LOG).is_ok_and(|log| log.contains(&format!(" seq=\"{last}\" "))))
    })?;
    let pid =
        host.root(&["systemctl", "show", "--property=MainPID", "--value", "jitd.service"])?.line().to_owned();
    let log = host.read(LOG)?;
    let ours = format!("from 0 {pid} ");
    let mut seen = BTreeSet::new();
    let mut others = 0;
    for line in log.lines() {
        if let Some(line) = line.strip_prefix(&ours) {
            if !line.contains(" [jit@32473 seq=\"") {
                // What jitd says in its own log, as journald passes it on.
                ensure!(!line.chars().any(is_unsafe), "{line:?}");
                continue;
            }
            ensure!(line.len() <= 2048, "{} bytes", line.len());
            let message = rfc5424::read(&as_rfc5424(line)?).with_context(|| line.to_owned())?;
            if message.msgid == "daemon.heartbeat" {
                continue;
            }
            let seq = check_message(&message, &records).with_context(|| line.to_owned())?;
            ensure!(seen.insert(seq), "record {seq} came twice");
        } else {
            ensure!(line.starts_with("from "), "a line that nobody sent: {line:?}");
            let message = line.splitn(4, ' ').nth(3).unwrap_or_default();
            let pretends = rfc5424::read(message).is_ok_and(|message| message.app_name == "jitd");
            ensure!(!pretends || line.starts_with("from 2006 "), "{line:?} is not of jitd");
            others += usize::from(pretends);
        }
    }
    // One from before may have been on its way.
    seen.retain(|seq| *seq >= from);
    let expected: BTreeSet<u64> = (from..=last).collect();
    ensure!(seen == expected, "missing: {:?}", expected.difference(&seen).collect::<Vec<_>>());
    ensure!(others == forged, "{others} lines of somebody else that pretend");
    // Without them the copy is whole; with them it is not, and never seems to be.
    host.root_sh(&format!("grep '^from 0 {pid} ' {LOG} | cut -d ' ' -f 4- >/srv/ours.log"))?.ok()?;
    host.root(&["jitctl", "audit", "verify", "--input", "/srv/ours.log", "--store"])?.ok()?;
    host.root(&["jitctl", "audit", "verify", "--input", LOG])?.exits(7)?;
    Ok(())
}

/// Each text has come into the record, by each of the ways.
fn check_record(host: &Host) -> Result<()> {
    let records = host.records()?;
    let has = |event: &str, holds: &dyn Fn(&Value) -> bool| {
        records.iter().any(|record| record["event"] == event && holds(record))
    };
    for (name, text) in TEXTS {
        let text = text.trim();
        let argument = |record: &Value| {
            record["argv"]
                .as_array()
                .is_some_and(|argv| argv.iter().filter_map(Value::as_str).any(|word| word.trim() == text))
        };
        let long = |record: &Value| {
            let mut words = record["argv"].as_array().into_iter().flatten().filter_map(Value::as_str);
            record["argv_cut"] == true && words.any(|word| word.starts_with(&up_to(text, 20)))
        };
        for (what, came) in [
            ("a reason", has("request.made", &|record| record["reason"] == text)),
            (
                "a comment",
                has("request.approved", &|record| {
                    record["detail"].as_str().is_some_and(|said| said.trim() == text)
                }),
            ),
            ("a refusal", has("request.denied", &|record| record["detail"] == text)),
            ("a revocation", has("grant.revoked", &|record| record["detail"] == text)),
            ("an argument", has("access.allowed", &|record| argument(record))),
            ("a long argument", records.iter().any(long)),
            ("a refused argument", has("access.denied", &|record| argument(record))),
            (
                "a terminal",
                has("access.denied", &|record| record["tty"].as_str().is_some_and(|tty| tty.trim() == text)),
            ),
        ] {
            ensure!(came, "{name} did not come in as {what}");
        }
    }
    ensure!(
        has("access.denied", &|record| record["service"]
            .as_str()
            .is_some_and(|name| name.contains("\x1b[1m"))),
        "the service"
    );
    ensure!(has("access.denied", &|record| record["user"] == ODD_NAME), "the account");
    ensure!(has("policy.refused", &|_| true), "the policy");
    ensure!(
        has("session.ended", &|record| record["processes"].as_array().is_some_and(|all| all.len() > 20)),
        "processes"
    );
    let planted = |record: &Value| {
        let mut told = record["left_behind"].as_array().into_iter().flatten().filter_map(Value::as_str);
        told.any(|line| line.contains("/etc/cron.d") && line.contains("it is down\\u{a}<84>1 2026-01-01T"))
    };
    ensure!(has("grant.left_behind", &planted), "the files");
    // Whoever reads the file itself is not fooled either.
    let raw = host.root(&["sqlite3", "/var/lib/jitd/jit.db", "SELECT line FROM records"])?;
    ensure!(!raw.ok()?.stdout.chars().any(|c| c != '\n' && is_unsafe(c)), "something raw in the store");
    Ok(())
}

/// Runs a command at a terminal and returns what it printed there, our own three styles left away.
fn shown(terminal: &mut Login, command: &str) -> Result<String> {
    let output = terminal.run(&format!("TERM=xterm-256color {command}"))?;
    let text = output
        .stdout
        .replace("\r\n", "\n")
        .replace("\x1b[1m", "")
        .replace("\x1b[1;31m", "")
        .replace("\x1b[0m", "");
    let bad: Vec<char> = text.chars().filter(|c| *c != '\n' && is_unsafe(*c)).collect();
    ensure!(bad.is_empty(), "{command} printed {bad:?}");
    Ok(text)
}

/// Nothing but text is on the terminal of an approver, of an auditor, or of whoever asks.
fn check_terminals(host: &Host) -> Result<()> {
    // Each of them may have five requests pending.
    let mut pending = Vec::new();
    for (person, texts) in [DAVE, ALICE, OSCAR].iter().zip(TEXTS.chunks(5)) {
        let mut person = host.login(person)?;
        for (name, _) in texts {
            let asked = person.run(&format!(
                "jitctl --json request ops --reason=\"$(cat /srv/{name}.text)\" --ticket=\"$(cat /srv/{name}.ticket)\""
            ))?;
            pending.push(asked.json()?["id"].to_string());
        }
    }
    let (mut bob, mut carol) = (host.login_at_terminal(BOB)?, host.login_at_terminal(CAROL)?);
    for terminal in [&mut bob, &mut carol] {
        terminal.run("stty cols 100 rows 40")?.ok()?;
    }
    let lines = shown(&mut bob, "jitctl pending")?;
    for (name, text) in TEXTS {
        let whole = Escaped(text.trim()).to_string();
        ensure!(
            lines.lines().any(|line| line.trim_start().starts_with("reason ") && line.ends_with(&whole)),
            "{name} in {lines}"
        );
    }
    for id in &pending {
        shown(&mut bob, &format!("jitctl show {id}"))?;
        shown(&mut bob, &format!("jitctl --json show {id}"))?;
    }
    for command in [
        "jitctl --json pending",
        "jitctl status",
        "jitctl roles",
        "jitctl audit show --last 1000",
        "jitctl --json audit show --last 1000",
        "jitctl audit search --user dave",
        "jitctl audit search --text $'\\u202e'",
        "jitctl --json audit search --text alert",
        "timeout 3 jitctl audit follow --from 1",
        "timeout 3 jitctl --json audit follow --from 1",
        "jitctl report --since '1h ago'",
        "jitctl report --since '1h ago' --format md",
        "jitctl report --since '1h ago' --format csv",
        "jitctl report --since '1h ago' --format json",
        "jitctl audit export",
        "jitctl audit export --format cef",
        "jitctl audit export --format ecs",
        "jitctl audit export --format ocsf",
        "jitctl audit export --format csv",
        "jitctl audit verify",
        "jitctl request $'\\x1b[2J\\u202e' --reason $'\\x1b[2J'",
        "jitctl $'\\x1b[2J'",
    ] {
        let text = shown(&mut carol, command)?;
        ensure!(!text.is_empty(), "{command} printed nothing");
    }
    // One line a record.
    let count = records_of(host)?.len();
    let plain = carol.run("jitctl audit show --from 1 | wc -l")?;
    ensure!(plain.ok()?.line().trim() == count.to_string(), "{plain}");
    Ok(())
}

/// The cells of a CSV file, read as RFC 4180 says, at another separator if need be.
fn cells(csv: &str, separator: char) -> Result<Vec<Vec<String>>> {
    let mut rows = vec![vec![String::new()]];
    let mut quoted = false;
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        let row = rows.last_mut().context("a row")?;
        let cell = row.last_mut().context("a cell")?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            '\r' if !quoted && chars.peek() == Some(&'\n') => {
                chars.next();
                rows.push(vec![String::new()]);
            }
            c if c == separator && !quoted => row.push(String::new()),
            c => cell.push(c),
        }
    }
    ensure!(rows.pop() == Some(vec![String::new()]), "the last line has no end");
    Ok(rows)
}

/// What is made for other programs is read by them as the texts it was made of.
fn check_documents(host: &Host) -> Result<()> {
    let count = records_of(host)?.len();
    let made = |words: &str| -> Result<String> {
        Ok(host.root_sh(&format!("jitctl {words}"))?.ok()?.stdout.clone())
    };
    for words in ["audit export --format csv", "report --since '1h ago' --format csv"] {
        let csv = made(words)?;
        let rows = cells(&csv, ',')?;
        ensure!(rows.iter().all(|row| row.len() == rows[0].len()), "{words}: lines of different length");
        ensure!(!words.starts_with("audit") || rows.len() > count, "{words}: {} lines", rows.len());
        for separator in [',', ';', '\t'] {
            // What splits at another mark finds no line ends within quotes that it does not know.
            for cell in cells(&csv, separator).unwrap_or_default().concat() {
                let cell = cell.trim_start_matches([' ', '"']);
                ensure!(!cell.starts_with(['=', '+', '@']), "{words}: a formula {cell:?} at {separator:?}");
                ensure!(!cell.starts_with('-') || cell.parse::<f64>().is_ok(), "{words}: a formula {cell:?}");
            }
        }
    }
    for format in ["jsonl", "ecs", "ocsf"] {
        let text = made(&format!("audit export --format {format}"))?;
        ensure!(text.lines().count() >= count, "{format}: {} lines", text.lines().count());
        for line in text.lines() {
            serde_json::from_str::<Value>(line).with_context(|| format!("{format}: {line}"))?;
        }
    }
    ensure!(
        made("audit export --format cef")?.lines().all(|line| line.starts_with("CEF:0|jitd|jitd|")),
        "CEF"
    );
    let page = made("report --since '1h ago'")?;
    let texts = html::text_of(&page)?;
    for (name, text) in TEXTS {
        let whole = Escaped(text.trim()).to_string();
        ensure!(texts.iter().any(|text| text.contains(&whole)), "{name} is not in the page as it is");
    }
    Ok(())
}

/// Somebody without any right writes lines that look like ours.
fn forge(host: &Host) -> Result<usize> {
    let mut mallory = host.login(MALLORY)?;
    let zeros = "0".repeat(64);
    let data = format!(
        "--sd-id jit@32473 --sd-param 'seq=\"7\"' --sd-param 'hash=\"{zeros}\"' --sd-param 'prev=\"{zeros}\"'"
    );
    let line = format!(
        "logger --socket /dev/log --rfc5424=notq --tag jitd --id=1 --msgid access.allowed {data} 'access.allowed user mallory'"
    );
    for _ in 0..2 {
        mallory.run(&line)?.ok()?;
    }
    Ok(2)
}

fn texts_stay_texts(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        host.root_sh(RSYSLOG)?.ok()?;
        // What was recorded before is in the journal alone.
        let from = records_of(host)?.last_key_value().map_or(1, |(seq, _)| seq + 1);
        write_texts(host)?;
        say_everything(host)?;
        say_more_as_root(host)?;
        let forged = forge(host)?;
        // All of them are looked at: where one shows something, the others often say what.
        let found = [
            check_record(host),
            check_syslog(host, from, forged),
            check_documents(host),
            check_terminals(host),
        ];
        let wrong: Vec<String> =
            found.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

#[test]
fn texts_stay_texts_on_trixie() -> Result<()> {
    texts_stay_texts(Release::Trixie)
}

#[test]
fn texts_stay_texts_on_bookworm() -> Result<()> {
    texts_stay_texts(Release::Bookworm)
}
