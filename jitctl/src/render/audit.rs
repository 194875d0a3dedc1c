//! The audit record: its lines, and whether they are whole.

use jit_proto::bus::view::{RecordView, SealsView, VerifyView};
use jit_proto::escape::Escaped;
use jit_proto::time::WallTime;
use serde_json::{Map, Value};

use super::{counted, grants::command, or_dash};

/// What is shown of a record behind its first columns, in this order; the rest is for `--json`.
const SHOWN: [&str; 24] = [
    "actor",
    "approvers",
    "request",
    "grant",
    "session",
    "service",
    "run_as",
    "run_as_group",
    "tty",
    "argv",
    "seconds",
    "until",
    "ticket",
    "reason",
    "ended_by",
    "killed",
    "escaped",
    "left",
    "finding",
    "left_behind",
    "pruned_by",
    "pruned_newest",
    "retention_seconds",
    "detail",
];

/// One record as one line: number, local time, event, user, role, outcome, and the rest in short.
pub(crate) fn record(record: &RecordView) -> String {
    let seq = record.seq;
    // Read as loose JSON, so that a record of a newer daemon, or one that somebody has been at, is still shown.
    let Ok(Value::Object(facts)) = serde_json::from_str::<Value>(&record.line) else {
        return format!("{seq:>6}  is no record: {}\n", Escaped(&record.line));
    };
    let time = WallTime::from_rfc3339(text(&facts, "time")).map(WallTime::to_local);
    let time = time.unwrap_or_else(|| or_dash(text(&facts, "time")));
    let [event, user, role, outcome] =
        ["event", "user", "role", "outcome"].map(|key| or_dash(text(&facts, key)));
    let rest: Vec<String> =
        SHOWN.iter().filter_map(|key| Some(format!("{key}={}", told(key, facts.get(*key)?)))).collect();
    let line =
        format!("{seq:>6}  {time}  {event:<17}  {user:<8}  {role:<12}  {outcome:<7}  {}", rest.join(" "));
    format!("{}\n", line.trim_end())
}

/// What a verification found.
pub(crate) fn verified(found: &VerifyView) -> String {
    if !found.whole {
        let (bad, problem) = (found.bad_seq, Escaped(&found.problem));
        let whole = match (found.first, found.records) {
            (_, 0) => "no record before it is whole".to_owned(),
            (first, last) if first == last => format!("record {last} is whole"),
            (first, last) => format!("records {first} to {last} are whole"),
        };
        return format!("record {bad}: {problem}; {whole}\n") + &beside_the_chain(found);
    }
    let head = or_dash(&found.head);
    let mut text = match (found.first, found.records) {
        (0 | 1, 1) => format!("1 record is whole; head {head}\n"),
        (0 | 1, records) => format!("{} are whole; head {head}\n", counted(records, "record", "records")),
        (first, last) => format!("records {first} to {last} are whole; head {last}:{head}\n"),
    };
    if !found.first_time.is_empty() {
        text.push_str(&format!("the first record is of {}\n", Escaped(&found.first_time)));
    }
    text.push_str(&beside_the_chain(found));
    text.push_str(&removed(found));
    found.seals.iter().for_each(|span| text.push_str(&sealed(span, found.seals.last())));
    text
}

/// What is wrong though the chain may be whole.
fn beside_the_chain(found: &VerifyView) -> String {
    let line = |problem: &String| format!("NOT THE WHOLE RECORD: {}\n", Escaped(problem));
    found.problems.iter().map(line).collect()
}

/// What is said of records that are no longer there, and what there is to doubt about it.
fn removed(found: &VerifyView) -> String {
    let mut text = String::new();
    let (by, before) = (found.pruned_by_record, found.first.saturating_sub(1));
    if by > 0 {
        let (records, were) = match before {
            1 => ("record 1".to_owned(), "was"),
            last => (format!("records 1 to {last}"), "were"),
        };
        text.push_str(&format!("{records} {were} removed by retention, as record {by} says\n"));
        if found.pruned_to > before {
            let (first, last) = (found.first, found.pruned_to);
            text.push_str(&format!("records {first} to {last} are about to be removed as well\n"));
        }
    }
    for doubt in &found.doubts {
        text.push_str(&format!("doubtful: {}\n", Escaped(doubt)));
    }
    text
}

/// How some records are sealed. What a seal says of the records before it holds as well, since their hashes are in it.
fn sealed(span: &SealsView, last: Option<&SealsView>) -> String {
    let (records, are) = match (span.from, span.to) {
        (from, to) if from == to => (format!("record {from}"), "is"),
        (from, to) => (format!("records {from} to {to}"), "are"),
    };
    let covered = last.is_some_and(|last| last.to > span.to);
    match span.cover.as_str() {
        "fits" => format!("{records} {are} sealed, and the seals fit the key\n"),
        "unchecked" => {
            format!("{records} {are} sealed; without the key (--key) the seals were not checked\n")
        }
        _ if covered => {
            format!("{records} {are} chained but not sealed; the first seal behind covers the hashes\n")
        }
        _ => format!("{records} {are} chained but not sealed\n"),
    }
}

fn text<'a>(facts: &'a Map<String, Value>, key: &str) -> &'a str {
    facts.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn told(key: &str, value: &Value) -> String {
    match value {
        // The end of a window is a moment, and moments are told in local time.
        Value::String(text) if matches!(key, "until" | "pruned_newest") => {
            let local = WallTime::from_rfc3339(text).map(WallTime::to_local);
            quoted(&local.unwrap_or_else(|| text.clone()))
        }
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            match key {
                "argv" => format!("[{}]", command(&texts)),
                "left_behind" => quoted(&texts.join("; ")),
                _ => quoted(&texts.join(",")),
            }
        }
        other => Escaped(&other.to_string()).to_string(),
    }
}

/// Quotes only where the text would run into the next one.
fn quoted(text: &str) -> String {
    let shown = Escaped(text);
    if text.is_empty() || text.contains([' ', '"', '=']) { format!("\"{shown}\"") } else { shown.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> String {
        record(&RecordView { seq: 42, hash: "ab".into(), seal: String::new(), line: line.into() })
    }

    #[test]
    fn a_record_is_one_line() {
        let shown = line(
            r#"{"v":1,"seq":42,"prev":"00","time":"2026-11-22T06:21:15.854724Z","boot_us":1,"boot_id":"b",
            "event":"access.allowed","outcome":"allowed","user":"alice","uid":1000,"role":"web-admin","grant":7,
            "run_as":"root","argv":["sudo","systemctl","restart","nginx"],"reason":"nginx down\u001b\n"}"#,
        );
        assert!(shown.starts_with("    42  2026-11-2"), "{shown}");
        assert!(
            shown.contains(":15 ")
                && shown.ends_with(
                    "  access.allowed     alice     web-admin     allowed  grant=7 run_as=root \
                 argv=[sudo systemctl restart nginx] reason=\"nginx down\\u{1b}\\u{a}\"\n"
                ),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 1);
    }

    #[test]
    fn a_record_that_somebody_has_been_at_is_still_shown() {
        assert_eq!(line("{\"v\":1,\n"), "    42  is no record: {\"v\":1,\\u{a}\n");
        assert!(line(r#"{"event":["x"],"time":7,"grant":"\u202e"}"#).ends_with("grant=\\u{202e}\n"));
    }

    #[test]
    fn a_verification_is_told_in_one_sentence() {
        let whole = VerifyView {
            whole: true,
            records: 1234,
            head: "ab12".into(),
            bad_seq: 0,
            problem: String::new(),
            first: 1,
            ..VerifyView::default()
        };
        assert_eq!(verified(&whole), "1234 records are whole; head ab12\n");
        let broken = VerifyView {
            whole: false,
            records: 6,
            bad_seq: 7,
            problem: "its hash does not match".into(),
            ..whole.clone()
        };
        assert_eq!(verified(&broken), "record 7: its hash does not match; records 1 to 6 are whole\n");
        let part = VerifyView { first: 5, records: 6, ..broken.clone() };
        assert_eq!(verified(&part), "record 7: its hash does not match; records 5 to 6 are whole\n");
        let span = |from, to, cover: &str| SealsView { from, to, cover: cover.to_owned() };
        let seals = vec![span(1, 3, "unsealed"), span(4, 9, "fits"), span(10, 10, "unchecked")];
        let sealed = verified(&VerifyView { seals, ..whole.clone() });
        assert!(sealed.contains("\nrecords 1 to 3 are chained but not sealed; "), "{sealed}");
        assert!(sealed.contains("\nrecords 4 to 9 are sealed, and the seals fit the key\n"), "{sealed}");
        assert!(sealed.contains("\nrecord 10 is sealed; without the key"), "{sealed}");
        let doubts = vec!["record 9 says too much".to_owned()];
        let rest = VerifyView { first: 7, pruned_by_record: 9, pruned_to: 8, doubts, ..whole.clone() };
        assert_eq!(
            verified(&rest),
            "records 7 to 1234 are whole; head 1234:ab12\nrecords 1 to 6 were removed by retention, as record 9 \
             says\nrecords 7 to 8 are about to be removed as well\ndoubtful: record 9 says too much\n"
        );
        let first = VerifyView { records: 0, bad_seq: 1, ..broken };
        assert_eq!(verified(&first), "record 1: its hash does not match; no record before it is whole\n");
        let none = VerifyView { whole: true, records: 0, head: String::new(), ..whole };
        assert_eq!(verified(&none), "0 records are whole; head -\n");
    }
}
