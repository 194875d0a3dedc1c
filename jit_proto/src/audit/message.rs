//! A record as the parameters of a syslog message, and the record's line rebuilt from them.
//!
//! Each fact is a parameter under its own name; texts are escaped ([`Escaped`]), and lists are one text that can be
//! split again. If nothing had to be cut, the message has everything that is hashed.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::audit::hash::RecordHash;
use crate::audit::record::{AuditEvent, Facts, Record};
use crate::audit::render::{is_of_lines, sentence, told};
use crate::escape::{Escaped, cut, cut_escaped, unescaped};

/// The parameter with the names of the facts that were cut, separated by spaces.
pub const CUT: &str = "cut";
/// Parameters that are no facts.
const OWN: [&str; 8] = ["seq", "hash", "seal", CUT, "prev", "time", "boot", "boot_us"];
/// Facts made of lines may be this many times as long as others: they are the main content of their messages.
const MORE_FOR_LINES: usize = 4;

/// The parameters of a record, without number, hash and seal. Texts longer than this many bytes are cut, and the first
/// parameter names them.
#[must_use]
pub fn params(record: &Record, longest: usize) -> Vec<(String, String)> {
    let mut params = vec![
        ("prev".to_owned(), record.prev.clone()),
        ("time".to_owned(), record.time.clone()),
        ("boot".to_owned(), record.boot_id.clone()),
        ("boot_us".to_owned(), record.boot_us.to_string()),
    ];
    let Ok(Value::Object(facts)) = serde_json::to_value(&record.facts) else { return params };
    let mut short = Vec::new();
    for (name, value) in facts {
        let whole = shown(&name, &value);
        let room = if name == "left_behind" { longest.saturating_mul(MORE_FOR_LINES) } else { longest };
        let text = cut_escaped(&whole, room);
        if text != whole || read(&name, &text).as_ref() != Some(&value) {
            short.push(name.clone());
        }
        params.push((name, text));
    }
    if !short.is_empty() {
        params.insert(0, (CUT.to_owned(), short.join(" ")));
    }
    params
}

/// The text of one fact, escaped.
fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Array(items) if is_of_lines(name) => {
            // The separator of two items is in none of them.
            let items = items.iter().filter_map(Value::as_str);
            let items: Vec<String> =
                items.map(|item| Escaped(item).to_string().replace("; ", "\\u{3b} ")).collect();
            items.join("; ")
        }
        value => Escaped(&told(name, value)).to_string(),
    }
}

/// The fact behind a shown text; `None` if there is no fact of that name, or the text is none.
fn read(name: &str, shown: &str) -> Option<Value> {
    let is_a = |sample: Value| {
        serde_json::from_value::<Facts>(Value::Object(Map::from_iter([(name.to_owned(), sample)]))).is_ok()
    };
    if is_a(Value::from("")) {
        return Some(Value::from(unescaped(shown)));
    }
    if is_a(Value::from(0)) {
        return shown.parse::<u64>().ok().map(Value::from);
    }
    if is_a(Value::from(true)) {
        return shown.parse::<bool>().ok().map(Value::from);
    }
    if !is_a(Value::Array(Vec::new())) {
        return None;
    }
    let items = match shown {
        "" => Vec::new(),
        shown if is_of_lines(name) => shown.split("; ").map(unescaped).collect(),
        shown => apart(&unescaped(shown))?,
    };
    Some(Value::from(items))
}

/// Splits what [`crate::audit::render::words`] has joined.
fn apart(words: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut rest = words;
    loop {
        let word;
        if rest.starts_with('\'') {
            let mut text = String::new();
            let mut behind = &rest[1..];
            loop {
                let (part, next) = behind.split_once('\'')?;
                text.push_str(part);
                match next.strip_prefix("\\''") {
                    Some(more) => {
                        text.push('\'');
                        behind = more;
                    }
                    None => {
                        behind = next;
                        break;
                    }
                }
            }
            (word, rest) = (text, behind);
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (plain, behind) = rest.split_at(end);
            (word, rest) = (plain.to_owned(), behind);
        }
        all.push(word);
        match rest.strip_prefix(' ') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Some(all),
            None => return None,
        }
    }
}

/// The result of the comparison of a message with its record's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The facts match the hash.
    Fits,
    /// The facts do not match the hash: the message was changed.
    Differs,
    /// Facts were cut to fit into the message.
    Cut,
    /// They cannot be compared: a jitd of another version wrote the message, or a program on the way removed parts.
    Unknown,
}

/// Rebuilds the record's line and compares its hash.
#[must_use]
pub fn content(event: &str, params: &[(String, String)], seq: u64, hash: &RecordHash) -> Content {
    let of = |wanted: &str| params.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    if of(CUT).is_some() {
        return Content::Cut;
    }
    let event = serde_json::from_value::<AuditEvent>(Value::from(event));
    let (Some(prev), Some(time), Some(boot_id), Some(boot_us), Ok(event)) =
        (of("prev"), of("time"), of("boot"), of("boot_us").and_then(|us| us.parse().ok()), event)
    else {
        return Content::Unknown;
    };
    let mut facts = Map::new();
    for (name, value) in params.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        let Some(value) = read(name, value) else { return Content::Unknown };
        if facts.insert(name.clone(), value).is_some() {
            return Content::Differs;
        }
    }
    let Ok(facts) = serde_json::from_value::<Facts>(Value::Object(facts)) else { return Content::Unknown };
    let (prev, time, boot_id) = (prev.clone(), time.clone(), boot_id.clone());
    let record = Record { v: 1, seq, prev, time, boot_us, boot_id, event, facts };
    match record.line() {
        Ok(line) if RecordHash::of(&line) == *hash => Content::Fits,
        Ok(_) => Content::Differs,
        Err(_) => Content::Unknown,
    }
}

/// The sentence before the structured data in lines without a place for it. It ends at the first opening bracket, since
/// it contains none.
#[must_use]
pub fn lead(record: &Record, longest: usize) -> String {
    lead_of(&sentence(record), longest)
}

/// The same for any text.
#[must_use]
pub fn lead_of(text: &str, longest: usize) -> String {
    cut(text, longest).replace('[', "\\u{5b}")
}

/// Parameters as RFC 5424 writes an element of structured data (section 6.3).
#[must_use]
pub fn element(id: &str, params: &[(String, String)]) -> String {
    let mut text = format!("[{id}");
    for (name, value) in params {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        // Writing to a String cannot fail.
        let _ = write!(text, " {name}=\"{value}\"");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::{Head, append};
    use crate::audit::copies::{Line, read as read_line};
    use crate::audit::record::Draft;
    use crate::time::{BootId, BootTime, WallTime};
    use proptest::prelude::*;

    fn a_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,20}",
            "[\\x00-\\x7f]{0,20}",
            "[\\\\u{}a5c'\"; \\]\\[=\n]{0,20}",
            Just("CORP\\nora".to_owned()),
            Just(" jitd 1 access.root [jit@1 seq=\"9\"] jitd[1]: x [jit@".to_owned()),
        ]
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let list = || prop::option::of(prop::collection::vec(a_text(), 0..4));
        let text = || prop::option::of(a_text());
        let number = || prop::option::of(any::<u64>());
        (text(), text(), text(), list(), list(), list(), number(), prop::option::of(any::<bool>())).prop_map(
            |(user, reason, detail, argv, approvers, lines, grant, argv_cut)| Facts {
                user,
                reason,
                detail,
                argv,
                approvers,
                left_behind: lines.clone(),
                processes: lines,
                grant,
                argv_cut,
                uid: Some(u32::MAX),
                ..Facts::default()
            },
        )
    }

    fn line(facts: Facts, event: AuditEvent) -> (crate::audit::chain::Sealed, Vec<(String, String)>, String) {
        let (wall, boot) = (WallTime(1_795_328_475_854_724), BootTime(u64::MAX));
        let draft = Draft { event, wall, boot, boot_id: BootId("b".into()), facts };
        let sealed = append(&mut Head::default(), draft).unwrap();
        let record: Record = serde_json::from_str(&sealed.line).unwrap();
        let mut all = vec![("seq".to_owned(), "1".to_owned()), ("hash".to_owned(), sealed.hash.clone())];
        all.extend(params(&record, usize::MAX));
        let text = format!("{} {}", lead(&record, 256), element("jit@32473", &all));
        (sealed, all, text)
    }

    fn contents(line: &str) -> Option<Content> {
        match read_line(line) {
            Line::ForwardedRecord(record) => Some(record.content),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn a_record_is_made_again_from_its_message(facts in facts(), event in prop::sample::select(AuditEvent::ALL)) {
            let (sealed, params, text) = line(facts, event);
            let hash = RecordHash::parse(&sealed.hash).unwrap();
            // An empty list and a list with an empty line look alike, and count as cut.
            let cut = params.iter().any(|(name, _)| name == CUT);
            let expected = if cut { Content::Cut } else { Content::Fits };
            prop_assert_eq!(content(event.name(), &params, 1, &hash), expected);
            for dressed in [
                format!("Nov 22 06:21:15 web1 jitd[32]: {text}"),
                format!("<84>1 2026-11-22T06:21:15.854724Z web1 jitd 32 {} {} x", event.name(), element("jit@32473", &params)),
                serde_json::json!({ "MESSAGE": text }).to_string(),
            ] {
                prop_assert_eq!(contents(&dressed), Some(expected), "{}", dressed);
            }
        }
    }

    #[test]
    fn a_changed_message_does_not_fit() {
        let facts =
            Facts { user: Some("alice".into()), reason: Some("nginx down".into()), ..Facts::default() };
        let (_, _, text) = line(facts, AuditEvent::AccessDenied);
        let line = format!("Nov 22 06:21:15 web1 jitd[32]: {text}");
        assert_eq!(contents(&line), Some(Content::Fits));
        for (from, to) in [
            ("nginx down", "nginx DOWN"),
            ("]: access.denied", "]: access.allowed"),
            ("user=\"alice\"", "user=\"bob\""),
            (" reason=\"nginx down\"", ""),
            (" boot_us=", " boot_us=\"1\" boot_us="),
            ("user=\"alice\"", "user=\"alice\" user=\"alice\""),
        ] {
            let changed = line.replace(from, to);
            assert_ne!(changed, line);
            assert!(matches!(contents(&changed), Some(Content::Differs | Content::Unknown)), "{changed}");
        }
        assert_eq!(contents(&line.replace("nginx down", "all is well")), Some(Content::Differs));
        assert_eq!(contents(&line.replace(" hash=", " cut=\"reason\" hash=")), Some(Content::Cut));
    }
}
