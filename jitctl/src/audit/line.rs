//! An audit record as a line of text.

use jit_proto::bus::view::RecordView;
use jit_proto::escape::Escaped;
use jit_proto::time::WallTime;
use serde_json::{Map, Value};

use crate::render::{command, or_dash};

/// The facts that are shown after the first columns, in this order; `--json` has the rest.
const SHOWN: [&str; 27] = [
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
    "observed_by",
    "eligible_roles",
    "other_roles",
    "detail",
];

/// A record as one line: number, local time, event, user, role, outcome, and the rest in short.
pub(crate) fn record(record: &RecordView) -> String {
    let seq = record.seq;
    // Parsed as loose JSON, so that a record of a newer jitd, or a changed one, is still shown.
    let Ok(Value::Object(facts)) = serde_json::from_str::<Value>(&record.line) else {
        return format!("{seq:>6}  is not a record: {}\n", Escaped(&record.line));
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

fn text<'a>(facts: &'a Map<String, Value>, key: &str) -> &'a str {
    facts.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn told(key: &str, value: &Value) -> String {
    match value {
        // The end of a window is a time, and times are shown in local time.
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

/// Quotes a text only where it would run into the next one.
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
        assert_eq!(line("{\"v\":1,\n"), "    42  is not a record: {\"v\":1,\\u{a}\n");
        assert!(line(r#"{"event":["x"],"time":7,"grant":"\u202e"}"#).ends_with("grant=\\u{202e}\n"));
    }
}
