//! The filter of a search in the audit log; an empty one matches every record.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::escape::may_be_spelled_out;
use crate::time::WallTime;

/// A filter; a record matches if all its fields do. The keys are those of the `a{sv}` on the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// The person it is about, or the actor (`user` or `actor`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The host. A host has only its own records, so the daemon answers for its own name only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// The event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The beginning of the period, inclusive, in microseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The end of the period, exclusive, in microseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// A part of a text in it, in upper or lower case; the words of a list are joined with a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Records before this number: to read backwards, page by page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Whether every record is read instead of the index: slower, and a manipulated index hides no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walk: Option<bool>,
}

impl Filter {
    /// Whether a stored line matches. The host is not checked: a line does not have it.
    ///
    /// A line that is no record is matched by its text alone, so that breaking a record does not hide it.
    #[must_use]
    pub fn matches(&self, seq: u64, line: &str) -> bool {
        if self.before.is_some_and(|before| seq >= before) || !self.may_hold_text(line) {
            return false;
        }
        let Ok(Value::Object(record)) = serde_json::from_str::<Value>(line) else {
            let by_text_alone = Self { text: None, before: None, host: None, walk: None, ..self.clone() };
            return by_text_alone == Self::default();
        };
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        let number = |key: &str| record.get(key).and_then(Value::as_u64);
        let is = |wanted: &Option<String>, key: &str| {
            wanted.as_deref().is_none_or(|wanted| text(key) == Some(wanted))
        };
        let counts = |wanted: Option<u64>, key: &str| wanted.is_none_or(|wanted| number(key) == Some(wanted));
        let by =
            self.user.as_deref().is_none_or(|user| text("user") == Some(user) || text("actor") == Some(user));
        by && is(&self.role, "role")
            && is(&self.event, "event")
            && is(&self.outcome, "outcome")
            && counts(self.grant, "grant")
            && counts(self.request, "request")
            && counts(self.session, "session")
            && self.covers(text("time"))
            && self.text.as_deref().is_none_or(|wanted| holds_text(&record, &wanted.to_lowercase()))
    }

    /// Whether a record's time is in the period; false for a time that cannot be parsed.
    fn covers(&self, time: Option<&str>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(WallTime(at)) = time.and_then(WallTime::from_rfc3339) else { return false };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    /// Excludes lines without parsing them: text that JSON does not escape is in the line unchanged.
    fn may_hold_text(&self, line: &str) -> bool {
        let Some(wanted) = &self.text else { return true };
        // The space may be between two words of a list, where the line has other characters.
        let plain = |c: char| !may_be_spelled_out(c) && !matches!(c, '"' | '\\' | ' ');
        let word = wanted.split(|c| !plain(c)).max_by_key(|word| word.len()).unwrap_or_default();
        line.to_lowercase().contains(&word.to_lowercase())
    }
}

/// Searches the facts, without the chain's own keys.
fn holds_text(record: &Map<String, Value>, wanted: &str) -> bool {
    record.iter().filter(|(key, _)| !matches!(key.as_str(), "prev" | "boot_id")).any(|(_, value)| match value
    {
        Value::String(text) => text.to_lowercase().contains(wanted),
        Value::Array(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(" ").to_lowercase().contains(wanted)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = r#"{"v":1,"seq":9,"prev":"aa","time":"2026-11-22T06:21:15.854724Z","boot_us":1,"boot_id":"bb",
        "event":"request.approved","user":"alice","actor":"bob","role":"web-admin","request":7,
        "argv":["sudo","systemctl","Restart"],"reason":"nginx \"down\"\u001b"}"#;

    fn found(filter: Filter) -> bool {
        filter.matches(9, LINE)
    }

    #[test]
    fn each_key_narrows() {
        let at = WallTime::from_rfc3339("2026-11-22T06:21:15.854724Z").unwrap().0;
        let text = |text: &str| Some(text.to_owned());
        let filter = Filter::default;
        for (yes, no) in [
            (Filter { user: text("alice"), ..filter() }, Filter { user: text("ali"), ..filter() }),
            (Filter { user: text("bob"), ..filter() }, Filter { user: text("carol"), ..filter() }),
            (Filter { role: text("web-admin"), ..filter() }, Filter { role: text("ops"), ..filter() }),
            (Filter { request: Some(7), ..filter() }, Filter { grant: Some(7), ..filter() }),
            (Filter { since: Some(at), ..filter() }, Filter { until: Some(at), ..filter() }),
            (Filter { until: Some(at + 1), ..filter() }, Filter { since: Some(at + 1), ..filter() }),
            (Filter { before: Some(10), ..filter() }, Filter { before: Some(9), ..filter() }),
            (Filter { text: text("\"DOWN\"\u{1b}"), ..filter() }, Filter { text: text("up"), ..filter() }),
            (Filter { text: text("systemctl restart"), ..filter() }, Filter { text: text("bb"), ..filter() }),
        ] {
            assert!(found(yes.clone()), "{yes:?}");
            assert!(!found(no.clone()), "{no:?}");
        }
        assert!(found(filter()));
    }

    #[test]
    fn a_broken_line_is_found_by_its_text_and_without_a_filter() {
        let broken = Filter { text: Some("alice".into()), ..Filter::default() };
        assert!(broken.matches(1, "{\"user\":\"alice\","));
        assert!(Filter::default().matches(1, ""));
        assert!(!Filter { user: Some("alice".into()), ..broken }.matches(1, "{\"user\":\"alice\","));
    }

    proptest! {
        #[test]
        fn any_part_of_a_reason_finds_it(reason in "\\PC{1,20}|[\\x00-\\x7f]{1,20}", from in 0usize..20, to in 0usize..20) {
            let line = serde_json::json!({ "reason": reason }).to_string();
            let part: String = reason.chars().skip(from.min(to)).take(from.max(to) - from.min(to) + 1).collect();
            // The lower case of a sigma depends on its place in the word.
            prop_assume!(!reason.contains('Σ'));
            let filter = Filter { text: Some(part), ..Filter::default() };
            prop_assert!(filter.matches(1, &line));
        }
    }
}
