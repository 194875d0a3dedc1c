//! Formats the notification of a record as JSON for a program and as a mail.

use std::fmt::Write;

use jit_proto::audit::record::Record;
use jit_proto::audit::render::sentence;
use jit_proto::escape::{Escaped, spelled_out_json};
use serde_json::{Map, Value, json};

use crate::core::notices::Kind;

/// No line of a mail is longer than 998 bytes (RFC 5322 section 2.1.1).
const MAX_LINE_BYTES: usize = 900;

/// The notification of one record.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) host: String,
    pub(super) record: Record,
    /// The approvers of a request, as the role names them.
    pub(super) approvers: Vec<String>,
    /// The recipients of the mail: addresses and login names.
    pub(super) recipients: Vec<String>,
}

impl Message {
    /// One line of JSON: the record, its kind, the host, and the people to notify.
    pub(super) fn json(&self) -> String {
        let Value::Object(facts) = self.facts() else { return String::new() };
        let mut document = json!({ "version": 1, "kind": self.kind.name(), "host": self.host });
        if self.kind == Kind::Request {
            document["tell"] = json!(self.approvers);
        }
        document["record"] = Value::Object(facts);
        format!("{}\n", spelled_out_json(&document.to_string()))
    }

    /// A mail with its headers, as `sendmail -i -t` takes it. Of texts that people wrote, the subject has names only.
    pub(super) fn mail(&self, to: &[String], from: &str) -> String {
        let mut mail = String::new();
        let mut header = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(mail, "{name}: {value}");
        };
        header("From", &format!("jitd <{}>", word(from)));
        header("To", &to.join(", "));
        header("Subject", &format!("[jitd] {}: {}", word(&self.host), self.subject()));
        header("Auto-Submitted", "auto-generated");
        header("Precedence", "bulk");
        header("MIME-Version", "1.0");
        header("Content-Type", "text/plain; charset=utf-8");
        header("Content-Transfer-Encoding", "8bit");
        mail.push('\n');
        let mut line = |text: &str| {
            let _ = writeln!(mail, "{}", cut(text));
        };
        line(&Escaped(&sentence(&self.record)).to_string());
        line("");
        line(&format!("host: {}", Escaped(&self.host)));
        if !self.approvers.is_empty() && self.kind == Kind::Request {
            line(&format!("approvers: {}", Escaped(&self.approvers.join(", "))));
        }
        if let Value::Object(facts) = self.facts() {
            for (name, value) in facts {
                tell(&mut line, &name, &value);
            }
        }
        if let (Kind::Request, Some(id)) = (self.kind, self.record.facts.request) {
            line("");
            line(&format!("jitctl show {id}; jitctl approve {id}; jitctl deny {id} --reason \"...\""));
        }
        mail
    }

    fn subject(&self) -> String {
        let facts = &self.record.facts;
        let name = |text: &Option<String>| word(text.as_deref().unwrap_or("somebody"));
        let number = |id: Option<u64>| id.map_or_else(String::new, |id| format!(" {id}"));
        let (user, role) = (name(&facts.user), facts.role.as_deref().map_or_else(String::new, word));
        match self.kind {
            Kind::Request => format!("request{}: {user} asks for {role}", number(facts.request)),
            Kind::Activation => format!("grant{}: {user} holds {role}", number(facts.grant)),
            Kind::Emergency => format!("grant{} without a request: {user} holds {role}", number(facts.grant)),
            Kind::Denial => format!("request{}: {user}'s wish for {role} is denied", number(facts.request)),
            Kind::Lapse => format!("request{}: {user}'s wish for {role} has lapsed", number(facts.request)),
            Kind::LeftBehind => format!("left behind under grant{}: {user}, {role}", number(facts.grant)),
            Kind::Alert => {
                let whom = facts.user.as_ref().or(facts.actor.as_ref()).or(facts.service.as_ref());
                let whom = whom.map_or_else(|| "the host itself".to_owned(), |whom| word(whom));
                format!("alert {}: {whom}", name(&facts.alert))
            }
        }
    }

    /// The members of the record as JSON, in their order.
    fn facts(&self) -> Value {
        // Cannot fail: a record has texts, numbers and lists of texts.
        serde_json::to_value(&self.record).unwrap_or_else(|_| Value::Object(Map::new()))
    }
}

fn tell(line: &mut impl FnMut(&str), name: &str, value: &Value) {
    match value {
        Value::String(text) => line(&format!("{name}: {}", Escaped(text))),
        Value::Array(items) => {
            line(&format!("{name}:"));
            items.iter().filter_map(Value::as_str).for_each(|item| line(&format!("  {}", Escaped(item))));
        }
        other => line(&format!("{name}: {other}")),
    }
}

/// The text for a header: every character that names do not have becomes a question mark.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+' | '$');
    let word: String = text.chars().take(64).map(|c| if plain(c) { c } else { '?' }).collect();
    if word.is_empty() { "?".to_owned() } else { word }
}

/// The line, cut to [`MAX_LINE_BYTES`] between two characters.
fn cut(line: &str) -> String {
    if line.len() <= MAX_LINE_BYTES {
        return line.to_owned();
    }
    let end = (0..=MAX_LINE_BYTES).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::record::{AuditEvent, Facts};
    use proptest::prelude::*;

    fn message(kind: Kind, event: AuditEvent, facts: Facts) -> Message {
        let record = Record {
            v: 1,
            seq: 42,
            prev: "00".into(),
            time: "2026-11-22T06:21:15.854724Z".into(),
            boot_us: 7,
            boot_id: "b".into(),
            event,
            facts,
        };
        Message {
            kind,
            host: "web1".into(),
            record,
            approvers: vec!["@leads".into(), "bob".into()],
            recipients: vec![],
        }
    }

    #[test]
    fn a_request_tells_its_approvers_how_to_decide() {
        let facts = Facts {
            user: Some("alice".into()),
            role: Some("web-admin".into()),
            request: Some(17),
            reason: Some("the disk of web1 is full".into()),
            ..Facts::default()
        };
        let message = message(Kind::Request, AuditEvent::RequestMade, facts);
        let mail = message.mail(&["ops@example.org".into()], "jit-notify");
        assert!(mail.contains("\nSubject: [jitd] web1: request 17: alice asks for web-admin\n"), "{mail}");
        assert!(mail.contains("\napprovers: @leads, bob\n"), "{mail}");
        assert!(mail.contains("\nreason: the disk of web1 is full\n"), "{mail}");
        assert!(mail.contains("jitctl approve 17"), "{mail}");
        let read: Value = serde_json::from_str(&message.json()).unwrap();
        assert_eq!(read["tell"], json!(["@leads", "bob"]));
        assert_eq!((&read["kind"], &read["record"]["seq"]), (&json!("request"), &json!(42)));
    }

    proptest! {
        #[test]
        fn nobody_forges_a_header_or_a_line(
            text in "\\PC{0,40}|[\\x00-\\x20.:]{0,40}|(\r\n\r\nBcc: mallory@example.org\r\n)|(é\n){2000}",
            kind in prop::sample::select(&Kind::ALL[..]),
        ) {
            let own = || Some(text.clone());
            let facts = Facts {
                user: own(), actor: own(), role: own(), reason: own(), ticket: own(), detail: own(), alert: own(),
                left_behind: Some(vec![text.clone(); 3]), ..Facts::default()
            };
            let message = Message { host: text.clone(), ..message(kind, AuditEvent::AlertRaised, facts) };
            let mail = message.mail(&["ops@example.org".into()], "jit-notify");
            let (head, body) = mail.split_once("\n\n").unwrap();
            prop_assert_eq!(head.lines().count(), 8, "{}", head);
            prop_assert!(head.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte)), "{}", head);
            prop_assert!(!body.chars().any(|c| c != '\n' && jit_proto::escape::is_unsafe(c)), "{:?}", body);
            prop_assert!(mail.lines().all(|line| line.len() <= 998));
            let read: Value = serde_json::from_str(&message.json()).unwrap();
            prop_assert_eq!(read["record"]["reason"].as_str(), Some(text.as_str()));
            prop_assert_eq!(message.json().lines().count(), 1);
        }
    }
}
