//! Views as JSON for scripts: times become RFC 3339, and characters that could mislead a terminal are escaped.

use jit_proto::audit::chain::Stored;
use jit_proto::audit::copies::exported;
use jit_proto::bus::view::RecordView;
use jit_proto::escape::spelled_out_json as spelled_out;
use jit_proto::time::WallTime;
use serde::Serialize;
use serde_json::{Value, json};

/// A view as a document of several lines.
///
/// # Errors
/// When it cannot be written as JSON, which does not happen for views.
pub(crate) fn document<T: Serialize>(view: &T) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(view)?;
    tell_times(&mut value);
    Ok(spelled_out(&serde_json::to_string_pretty(&value)?).into_owned())
}

/// An audit record as one line. The stored line is in it byte for byte, so that its hash can be checked; on a terminal,
/// characters that could mislead it are escaped, which JSON treats as the same text. jitd writes none of them raw; an
/// attacker may have.
pub(crate) fn record(record: &RecordView, terminal: bool) -> String {
    let RecordView { seq, hash, seal, line } = record;
    let seal = (!seal.is_empty()).then_some(seal.as_str());
    let text = exported(Stored { seq: *seq, hash, seal, line });
    if terminal { spelled_out(&text).into_owned() } else { text }
}

/// A failure as one line.
pub(crate) fn failure(failure: &crate::failure::Failure) -> String {
    let error = json!({ "error": { "name": failure.name, "message": failure.message } });
    spelled_out(&error.to_string()).into_owned()
}

/// Converts numbers under keys that end in `_at` to times of the local time zone; 0 is no time.
fn tell_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_u64().filter(|_| key.ends_with("_at")) {
                    Some(0) => *value = Value::Null,
                    Some(micros) => *value = Value::from(WallTime(micros).to_local_rfc3339()),
                    None => tell_times(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tell_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::copies::Line;
    use jit_proto::escape::is_unsafe;
    use proptest::prelude::*;

    #[test]
    fn moments_are_told_and_spans_stay_numbers() {
        let view = json!({"ends_at": 1_795_328_475_854_724_u64, "remaining_seconds": 28, "loaded_at": 0,
            "held": [{"given_at": 1}]});
        let out: Value = serde_json::from_str(&document(&view).unwrap()).unwrap();
        let ends = out["ends_at"].as_str().unwrap();
        assert!(ends.starts_with("2026-11-2") && ends.contains(":15.854724"), "{ends}");
        assert_eq!(out["remaining_seconds"], 28);
        assert_eq!(out["loaded_at"], Value::Null);
        assert!(out["held"][0]["given_at"].is_string());
    }

    #[test]
    fn a_record_is_printed_as_it_is_stored() {
        let line = r#"{"v":1,"seq":3,"prev":"00","time":"t","reason":"b\u001b é"}"#;
        let view = RecordView { seq: 3, hash: "ab".into(), seal: String::new(), line: line.into() };
        assert_eq!(record(&view, false), format!(r#"{{"seq":3,"hash":"ab","record":{line}}}"#));
        let view = RecordView { seal: "cd".into(), ..view };
        assert_eq!(record(&view, false), format!(r#"{{"seq":3,"hash":"ab","seal":"cd","record":{line}}}"#));
        let Line::Record(read) = jit_proto::audit::copies::read(&record(&view, false)) else {
            panic!("{line}")
        };
        assert_eq!((read.line.as_str(), read.seal.as_deref()), (line, Some("cd")));
    }

    #[test]
    fn a_record_that_is_no_json_stays_a_line_of_json() {
        for line in ["{\"v\":1", "{\n}", "", "{}{}"] {
            let view = RecordView { seq: 3, hash: "\"".into(), seal: String::new(), line: line.into() };
            let out = record(&view, false);
            assert!(!out.contains('\n'));
            let parsed: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(parsed["line"], line);
        }
    }

    proptest! {
        #[test]
        fn json_means_the_same_and_nothing_unsafe_is_raw(
            text in ".*|[\\x00-\\x20\\u{7f}-\\u{a0}\\u{2000}-\\u{2070}\\u{e0000}-\\u{e007f}]*"
        ) {
            let out = document(&json!({ "reason": text })).unwrap();
            prop_assert!(!out.chars().any(|c| c != '\n' && is_unsafe(c)));
            let back: Value = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(back["reason"].as_str(), Some(text.as_str()));
        }
    }
}
