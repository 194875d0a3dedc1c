//! Common Event Format, version 0 (ArcSight; read by QRadar, Sentinel and others): one line per record.
//!
//! Text from people is escaped as everywhere ([`Escaped`]) and then as CEF asks: `|` and `\` in the header, `=` and `\`
//! in the extension.

use serde_json::Value;

use super::{Origin, PRODUCT, VERSION, doer, known, milliseconds, other, sentence, told};
use crate::audit::record::Record;
use crate::escape::Escaped;

/// The CEF key of a fact, if there is one; a custom field has a label.
fn key(fact: &str) -> Option<(&'static str, Option<&'static str>)> {
    Some(match fact {
        "reason" => ("reason", None),
        "service" => ("sproc", None),
        "pid" => ("spid", None),
        "role" => ("cs1", Some("role")),
        "ticket" => ("cs2", Some("ticket")),
        "approvers" => ("cs3", Some("approvers")),
        "argv" => ("cs4", Some("command")),
        "tty" => ("cs5", Some("terminal")),
        "grant" => ("cn1", Some("grant")),
        "request" => ("cn2", Some("request")),
        "session" => ("cn3", Some("session")),
        _ => return None,
    })
}

/// Facts that other fields have already: actor, outcome and message.
const TOLD: [&str; 7] = ["outcome", "user", "uid", "actor", "actor_uid", "run_as", "detail"];

/// A record as one line of CEF, without a newline.
#[must_use]
pub fn line(record: &Record, origin: &Origin<'_>) -> String {
    let row = record.event.row();
    let (severity, name) = row.cef;
    let event = record.event.name();
    let mut line = format!("CEF:0|{PRODUCT}|{PRODUCT}|{VERSION}|{event}|{name}|{severity}|");
    let mut first = true;
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            line.push_str(if first { "" } else { " " });
            first = false;
            line.push_str(&format!("{key}={}", in_extension(value)));
        }
    };
    put("rt", &milliseconds(&record.time).to_string());
    put("externalId", &record.seq.to_string());
    put("dvchost", origin.host);
    put("cat", event.split('.').next().unwrap_or_default());
    put("act", event);
    put("outcome", row.outcome.name());
    let facts = &record.facts;
    if let Some(doer) = doer(facts) {
        put("suser", doer.name);
        put("suid", &doer.uid.map(|uid| uid.to_string()).unwrap_or_default());
    }
    if let Some(other) = other(facts) {
        put("duser", other.name);
        put("duid", &other.uid.map(|uid| uid.to_string()).unwrap_or_default());
    } else if let Some(target) = &facts.run_as {
        put("duser", target);
    }
    put("msg", &sentence(record));
    for (fact, value) in known(facts) {
        if TOLD.contains(&fact.as_str()) {
            continue;
        }
        let text = told(&fact, &value);
        match key(&fact) {
            Some((key, None)) => put(key, &text),
            Some((key, Some(label))) => {
                put(&format!("{key}Label"), label);
                put(key, &text);
            }
            None if fact == "until" => put("end", &end(&value)),
            None => put(&own_key(&fact), &text),
        }
    }
    put("jitHash", origin.hash);
    put("jitPrev", &record.prev);
    put("jitBootId", &record.boot_id);
    line
}

/// Escapes a value for people, then for CEF. A space at its beginning or end would be lost to the next key.
fn in_extension(text: &str) -> String {
    let safe = Escaped(text).to_string().replace('\\', "\\\\").replace('=', "\\=");
    let inner = safe.trim_matches(' ');
    let lead = safe.len() - safe.trim_start_matches(' ').len();
    if inner.is_empty() {
        safe.replace(' ', "\\\\u{20}")
    } else {
        format!("{}{inner}{}", "\\\\u{20}".repeat(lead), "\\\\u{20}".repeat(safe.len() - lead - inner.len()))
    }
}

fn end(value: &Value) -> String {
    match value.as_str().map(milliseconds) {
        Some(0) | None => String::new(),
        Some(at) => at.to_string(),
    }
}

/// `ended_by` becomes `jitEndedBy`.
fn own_key(fact: &str) -> String {
    let mut key = "jit".to_owned();
    for word in fact.split('_') {
        let mut letters = word.chars();
        key.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        key.push_str(letters.as_str());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ORIGIN, a_record, a_text, an_event, facts_of};
    use super::*;
    use crate::audit::record::{AuditEvent, Facts};
    use crate::escape::unescaped;
    use proptest::prelude::*;

    /// Parses a line as a collector does: seven fields, then keys that follow a space.
    fn read(line: &str) -> (Vec<String>, Vec<(String, String)>) {
        let mut fields = vec![String::new()];
        let mut chars = line.char_indices();
        let mut rest = "";
        while let Some((at, c)) = chars.next() {
            let full = fields.len() == 7;
            let last = fields.last_mut().unwrap();
            match c {
                '\\' => last.push(chars.next().unwrap().1),
                '|' if full => {
                    rest = &line[at + 1..];
                    break;
                }
                '|' => fields.push(String::new()),
                c => last.push(c),
            }
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut escaped = false;
        let mut word = String::new();
        for c in rest.chars() {
            if escaped {
                word.push(c);
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '=' {
                // The key is the last word; the text before it belongs to the previous value.
                let (value, key) = word.rsplit_once(' ').unwrap_or(("", &word));
                let (value, key) = (value.to_owned(), key.to_owned());
                if let Some(last) = pairs.last_mut() {
                    last.1 = value;
                }
                pairs.push((key, String::new()));
                word.clear();
            } else {
                word.push(c);
            }
        }
        pairs.last_mut().unwrap().1 = word;
        (fields, pairs)
    }

    #[test]
    fn a_record_reads_as_cef() {
        let facts = Facts {
            user: Some("alice".into()),
            uid: Some(1000),
            role: Some("web-admin".into()),
            grant: Some(7),
            run_as: Some("root".into()),
            argv: Some(vec!["sudo".into(), "A=1".into()]),
            until: Some("2026-11-22T06:51:15.000000Z".into()),
            ended_by: Some("expired".into()),
            ..Facts::default()
        };
        let line = line(&a_record(AuditEvent::AccessAllowed, facts), &ORIGIN);
        assert!(
            line.starts_with(&format!(
                "CEF:0|jitd|jitd|{VERSION}|access.allowed|Elevation allowed|3|rt=1795328475854 "
            )),
            "{line}"
        );
        for part in [
            " externalId=42 ",
            " dvchost=web1 ",
            " suser=alice suid=1000 duser=root ",
            " cs1Label=role cs1=web-admin ",
            " cs4Label=command cs4=sudo A\\=1",
            " cn1Label=grant cn1=7 ",
            " end=1795330275000",
            " jitEndedBy=expired",
            " jitHash=abcdef",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn a_name_with_a_domain_is_itself() {
        let facts = Facts { user: Some("CORP\\nora".into()), ..Facts::default() };
        let line = line(&a_record(AuditEvent::AccessDenied, facts), &ORIGIN);
        assert!(line.contains(" suser=CORP\\\\nora "), "{line}");
        assert!(read(&line).1.contains(&("suser".to_owned(), "CORP\\nora".to_owned())), "{line}");
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line_or_a_key(text in a_text(), event in an_event()) {
            let facts = facts_of(&text);
            let keys = |text: &str| -> Vec<String> {
                let facts = facts_of(text);
                read(&line(&a_record(event, facts), &ORIGIN)).1.into_iter().map(|(key, _)| key).collect()
            };
            let line = line(&a_record(event, facts), &ORIGIN);
            prop_assert!(!line.chars().any(crate::escape::is_unsafe), "{line:?}");
            let (fields, pairs) = read(&line);
            prop_assert_eq!(fields.len(), 7);
            let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
            // A value is read back, and no text adds keys.
            if !text.is_empty() {
                prop_assert_eq!(pairs.iter().map(|(key, _)| key.clone()).filter(|key| key != "end").collect::<Vec<_>>(),
                    keys("harmless"));
                prop_assert_eq!(unescaped(&value("cs2").unwrap()), text);
            }
            prop_assert_eq!(value("externalId"), Some("42".to_owned()));
            let outcome = value("outcome").unwrap();
            prop_assert!(outcome == "success" || outcome == "failure");
        }
    }
}
