//! Text that users write stays text, however it gets in: it forges no line and no field, and no terminal, page or
//! spreadsheet of an approver executes it.

mod write;

mod readers;

mod html;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_proto::audit::render::told;
use jit_proto::escape::{Escaped, is_unsafe};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::MALLORY;
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

use super::rfc5424::{self, Message};
use readers::{check_documents, check_terminals};
use write::{say_everything, say_more_as_root, up_to, write_texts};

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
