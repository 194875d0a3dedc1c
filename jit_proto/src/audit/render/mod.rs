//! Audit records in the formats of other tools: a pure function for each.
//!
//! The event's row has its values in each format ([`crate::audit::event`]). Facts without a field in a format keep
//! their own names; none is left out.

pub mod cef;

pub mod ecs;

pub mod ocsf;

pub mod csv;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::audit::record::{Facts, Record};
use crate::escape::word;
use crate::time::WallTime;

/// Product, vendor and version in the formats.
const PRODUCT: &str = "jitd";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Data about a record that is not in its line.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The host whose record it is.
    pub host: &'a str,
    /// The record's hash ([`crate::audit::chain`]), which identifies it.
    pub hash: &'a str,
}

/// A person, by name and uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Somebody<'a> {
    name: &'a str,
    uid: Option<u32>,
}

/// The actor.
fn doer(facts: &Facts) -> Option<Somebody<'_>> {
    match (&facts.actor, &facts.user) {
        (Some(name), _) => Some(Somebody { name, uid: facts.actor_uid }),
        (None, Some(name)) => Some(Somebody { name, uid: facts.uid }),
        (None, None) => None,
    }
}

/// The person whom the action affects, if that is not the actor.
fn other(facts: &Facts) -> Option<Somebody<'_>> {
    let name = facts.actor.as_ref().and(facts.user.as_ref())?;
    Some(Somebody { name, uid: facts.uid })
}

/// Milliseconds since the epoch; 0 for a time that cannot be parsed.
fn milliseconds(time: &str) -> u64 {
    WallTime::from_rfc3339(time).map_or(0, |at| at.0 / 1000)
}

/// All facts, under their own names.
fn known(facts: &Facts) -> Map<String, Value> {
    match serde_json::to_value(facts) {
        Ok(Value::Object(known)) => known,
        // Facts are texts, numbers and lists of texts, which JSON can hold.
        _ => Map::new(),
    }
}

/// A fact as a text, not escaped yet. The items of a list can be told apart: words are quoted as for a shell where
/// necessary, and longer items with words of their own are separated by a semicolon.
#[must_use]
pub fn told(fact: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items = items.iter().filter_map(Value::as_str);
            match fact {
                fact if is_of_lines(fact) => items.collect::<Vec<_>>().join("; "),
                // A person has one name: the backslash after a domain needs no quotes here.
                "approvers" => items.map(name).collect::<Vec<_>>().join(" "),
                _ => words(items),
            }
        }
        other => other.to_string(),
    }
}

/// Whether the items of a fact are lines of several words each.
pub(crate) fn is_of_lines(fact: &str) -> bool {
    matches!(fact, "left_behind" | "processes")
}

/// Words, such as a command line, as one text that is not escaped yet.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A name in a list: quoted only where it could be taken for two.
fn name(name: &str) -> Cow<'_, str> {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\'') {
        word(name)
    } else {
        Cow::Borrowed(name)
    }
}

/// A sentence for people: the event, the person, and the reason.
#[must_use]
pub fn sentence(record: &Record) -> String {
    let facts = &record.facts;
    let mut text = record.event.name().to_owned();
    for (word, value) in
        [("user", &facts.user), ("role", &facts.role), ("by", &facts.actor), ("as", &facts.run_as)]
    {
        if let Some(value) = value {
            text.push_str(&format!(" {word} {value}"));
        }
    }
    if let Some(detail) = &facts.detail {
        text.push_str(&format!(": {detail}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::AuditEvent;
    use proptest::prelude::*;

    pub(super) const ORIGIN: Origin<'_> = Origin { host: "web1", hash: "abcdef" };

    pub(super) fn a_record(event: AuditEvent, facts: Facts) -> Record {
        Record {
            v: 1,
            seq: 42,
            prev: "00".into(),
            time: "2026-11-22T06:21:15.854724Z".into(),
            boot_us: 7,
            boot_id: "b".into(),
            event,
            facts,
        }
    }

    /// Every fact that can hold a text of a person.
    pub(super) fn facts_of(text: &str) -> Facts {
        let own = || Some(text.to_owned());
        let list = || Some(vec![text.to_owned(), "x".to_owned()]);
        Facts {
            outcome: own(),
            user: own(),
            uid: Some(1000),
            actor: own(),
            actor_uid: Some(1001),
            approvers: list(),
            role: own(),
            grant: Some(7),
            session: Some(8),
            service: own(),
            run_as: own(),
            run_as_group: own(),
            tty: own(),
            argv: list(),
            reason: own(),
            ticket: own(),
            until: own(),
            processes: list(),
            left_behind: list(),
            eligible_roles: list(),
            other_roles: list(),
            detail: own(),
            ..Facts::default()
        }
    }

    /// Texts that an attacker would try.
    pub(super) fn a_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,30}",
            "[\\x00-\\x7f]{0,30}",
            "[=+@|\\\\\"',;\\]\\[{}\r\n\t -]{0,20}",
            "[\\u{80}-\\u{a0}\\u{2028}\\u{2029}\\u{202e}\\u{feff}]{0,8}",
            Just("x|CEF:0|a|b|c|d|e|10|act=forged\nCEF:0|".to_owned()),
            Just("=HYPERLINK(\"http://evil\",\"x\")\r\n43,forged".to_owned()),
        ]
    }

    pub(super) fn an_event() -> impl Strategy<Value = AuditEvent> {
        prop::sample::select(AuditEvent::ALL)
    }

    #[test]
    fn who_did_it_and_to_whom() {
        let own = Facts { user: Some("alice".into()), uid: Some(1), ..Facts::default() };
        assert_eq!((doer(&own).map(|d| d.name), other(&own)), (Some("alice"), None));
        let by_bob = Facts { actor: Some("bob".into()), actor_uid: Some(2), ..own };
        assert_eq!(doer(&by_bob), Some(Somebody { name: "bob", uid: Some(2) }));
        assert_eq!(other(&by_bob), Some(Somebody { name: "alice", uid: Some(1) }));
        assert_eq!(doer(&Facts::default()), None);
    }
}
