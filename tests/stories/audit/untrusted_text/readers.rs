//! What people read: the terminals of approvers and auditors, pages, and spreadsheets.

use anyhow::{Context, Result, ensure};
use jit_proto::escape::{Escaped, is_unsafe};
use jit_tests::host::Host;
use jit_tests::login::Login;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE, OSCAR};
use serde_json::Value;

use super::{TEXTS, html, records_of};

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
pub(super) fn check_terminals(host: &Host) -> Result<()> {
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
pub(super) fn check_documents(host: &Host) -> Result<()> {
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
