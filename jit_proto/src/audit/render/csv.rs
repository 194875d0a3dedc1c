//! Comma-separated values (RFC 4180) for a spreadsheet: a heading, then one line per record.
//!
//! No cell begins a formula: a cell that would (`=`, `+`, `-`, `@`) gets an apostrophe in front, and so does one that
//! begins with an apostrophe, so that the original can be restored. A spreadsheet that splits at semicolons, as in
//! locales with a decimal comma, must find no such cell either: a semicolon before one is escaped. Control characters
//! are escaped too ([`Escaped`]), and a record is one line.

use std::fmt::Write as _;

use super::{Origin, known, told};
use crate::audit::record::Record;
use crate::escape::Escaped;

/// The columns before the facts.
const OWN: [&str; 8] = ["seq", "time", "host", "event", "hash", "prev", "boot_id", "boot_us"];

/// The facts, in their order in the record.
const FACTS: [&str; 59] = [
    "outcome",
    "user",
    "uid",
    "loginuid",
    "audit_session",
    "actor",
    "actor_uid",
    "approvers",
    "role",
    "request",
    "grant",
    "session",
    "parent_session",
    "service",
    "run_as",
    "run_as_group",
    "tty",
    "pid",
    "argv",
    "argv_cut",
    "exe",
    "origin",
    "unit",
    "reason",
    "ticket",
    "until",
    "seconds",
    "ended_by",
    "killed",
    "escaped",
    "left",
    "milliseconds",
    "first_signal_ms",
    "kill_ms",
    "contained_ms",
    "processes",
    "left_behind",
    "finding",
    "part",
    "open",
    "login_session",
    "invocations",
    "io_log",
    "policy",
    "sink",
    "seal_key",
    "pruned_from",
    "pruned_to",
    "pruned_hash",
    "pruned_newest",
    "pruned_by",
    "retention_seconds",
    "alert",
    "about",
    "suppressed",
    "observed_by",
    "eligible_roles",
    "other_roles",
    "detail",
];

/// The heading, without the end of the line.
#[must_use]
pub fn heading() -> String {
    row(OWN.iter().chain(&FACTS))
}

/// A record as one line, without the end of the line, which is CR LF.
#[must_use]
pub fn line(record: &Record, origin: &Origin<'_>) -> String {
    let Record { seq, prev, time, boot_us, boot_id, event, facts, .. } = record;
    let facts = known(facts);
    let own = [
        seq.to_string(),
        time.clone(),
        origin.host.to_owned(),
        event.name().to_owned(),
        origin.hash.to_owned(),
        prev.clone(),
        boot_id.clone(),
        boot_us.to_string(),
    ];
    row(own
        .into_iter()
        .chain(FACTS.iter().map(|name| facts.get(*name).map(|value| told(name, value)).unwrap_or_default())))
}

/// Any cells as one line, without the end of the line.
pub fn row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let mut line = String::new();
    for (n, text) in cells.into_iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(line, "{}{}", if n == 0 { "" } else { "," }, cell(text.as_ref()));
    }
    line
}

fn cell(text: &str) -> String {
    let shown = Escaped(text).to_string();
    let mut safe = String::with_capacity(shown.len());
    if shown.starts_with('\'') || begins_a_formula(&shown) {
        safe.push('\'');
    }
    for (at, c) in shown.char_indices() {
        if c == ';' && begins_a_formula(shown[at + 1..].trim_start_matches([' ', '"', '\''])) {
            safe.push_str("\\u{3b}");
        } else {
            safe.push(c);
        }
    }
    if safe.contains([',', '"', ';', ' ', '\'']) {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

fn begins_a_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ORIGIN, a_record, a_text, an_event, facts_of};
    use super::*;
    use crate::audit::record::{AuditEvent, Facts};
    use crate::escape::unescaped;
    use proptest::prelude::*;

    /// Parses one line by RFC 4180.
    fn read(line: &str) -> Vec<String> {
        let mut cells = vec![String::new()];
        let mut quoted = false;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            let cell = cells.last_mut().unwrap();
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap()),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cell.push(c),
            }
        }
        assert!(!quoted, "{line}");
        cells
    }

    #[test]
    fn every_fact_has_its_column() {
        // The error names all keys.
        let error = serde_json::from_str::<Facts>(r#"{"no such fact":1}"#).unwrap_err().to_string();
        let expected: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(expected, FACTS);
    }

    #[test]
    fn a_formula_stays_a_text() {
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("@SUM(A1)"), "\"'@SUM(A1)\"");
        assert_eq!(cell("'=1"), "\"''=1\"");
        assert_eq!(cell("\t=1"), "\\u{9}=1");
        assert_eq!(cell("x; y;=1+1;\" @x\";"), "\"x; y\\u{3b}=1+1\\u{3b}\"\" @x\"\";\"");
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(read(&heading()).len(), OWN.len() + FACTS.len());
    }

    #[test]
    fn a_name_with_a_domain_is_itself() {
        assert_eq!(cell("CORP\\nora"), "CORP\\nora");
        let facts = Facts { approvers: Some(vec!["CORP\\bob".into(), "eve".into()]), ..Facts::default() };
        let cells = read(&line(&a_record(AuditEvent::GrantStarted, facts), &ORIGIN));
        assert!(cells.contains(&"CORP\\bob eve".to_owned()), "{cells:?}");
    }

    #[test]
    fn a_record_fills_its_columns() {
        let facts = Facts {
            user: Some("alice".into()),
            argv: Some(vec!["sudo".into(), "id".into()]),
            ..Facts::default()
        };
        let cells = read(&line(&a_record(AuditEvent::AccessAllowed, facts), &ORIGIN));
        let of =
            |name: &str| cells[read(&heading()).iter().position(|column| column == name).unwrap()].as_str();
        assert_eq!(
            (of("seq"), of("event"), of("user"), of("argv")),
            ("42", "access.allowed", "alice", "sudo id")
        );
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line_a_cell_or_a_formula(text in a_text(), event in an_event()) {
            let line = line(&a_record(event, facts_of(&text)), &ORIGIN);
            prop_assert!(!line.chars().any(crate::escape::is_unsafe), "{line:?}");
            let cells = read(&line);
            prop_assert_eq!(cells.len(), OWN.len() + FACTS.len());
            prop_assert!(cells.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
            let ticket = &cells[OWN.len() + FACTS.iter().position(|name| *name == "ticket").unwrap()];
            prop_assert_eq!(unescaped(ticket.strip_prefix('\'').unwrap_or(ticket)), text);
            for cell in line.split(';').skip(1) {
                prop_assert!(!begins_a_formula(cell.trim_start_matches([' ', '"', '\''])), "{line:?}");
            }
        }
    }
}
