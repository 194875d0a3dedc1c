//! Elastic Common Schema, field names of 9.x: one JSON object per record.
//!
//! Facts without a field in the schema are under `jit`.

use serde_json::{Value, json};

use super::{Origin, PRODUCT, Somebody, VERSION, doer, known, other, sentence};
use crate::audit::record::Record;
use crate::escape::spelled_out_json;

/// The version of the schema with the allowed values of the table.
const ECS_VERSION: &str = "9.0.0";

/// A record as one line of JSON, without a newline.
#[must_use]
pub fn line(record: &Record, origin: &Origin<'_>) -> String {
    let row = record.event.row();
    let (kind, category, types) = row.ecs;
    let facts = &record.facts;
    let user = |somebody: Somebody<'_>| {
        let mut user = json!({ "name": somebody.name });
        if let Some(uid) = somebody.uid {
            user["id"] = Value::from(uid.to_string());
        }
        user
    };
    let mut own = known(facts);
    own.insert("prev".into(), Value::from(record.prev.as_str()));
    own.insert("boot_id".into(), Value::from(record.boot_id.as_str()));
    own.insert("boot_us".into(), Value::from(record.boot_us));
    let mut document = json!({
        "@timestamp": record.time,
        "ecs": { "version": ECS_VERSION },
        "message": sentence(record),
        "event": {
            "kind": kind.name(),
            "category": category,
            "type": types,
            "action": record.event.name(),
            "outcome": row.outcome.name(),
            "severity": record.event.severity() as u8,
            "module": PRODUCT,
            "dataset": "jitd.audit",
            "provider": PRODUCT,
            "sequence": record.seq,
            "id": format!("{}-{}", origin.host, record.seq),
            "hash": origin.hash,
        },
        "service": { "name": PRODUCT, "type": PRODUCT, "version": VERSION },
        "host": { "name": origin.host, "hostname": origin.host },
        "related": { "hosts": [origin.host] },
        "jit": own,
    });
    if let Some(doer) = doer(facts) {
        document["user"] = user(doer);
        if let Some(other) = other(facts) {
            document["user"]["target"] = user(other);
        }
        if let Some(run_as) = &facts.run_as {
            document["user"]["effective"] = json!({ "name": run_as });
        }
        document["related"]["user"] = Value::from(everybody(record));
    }
    if let Some(role) = &facts.role {
        document["rule"] = json!({ "name": role, "ruleset": "jitd roles" });
    }
    if let Some(reason) = facts.reason.as_ref().or(facts.detail.as_ref()) {
        document["event"]["reason"] = Value::from(reason.as_str());
    }
    if let Some(ticket) = &facts.ticket {
        document["event"]["reference"] = Value::from(ticket.as_str());
    }
    if let Some(until) = &facts.until {
        document["event"]["end"] = Value::from(until.as_str());
    }
    if facts.argv.is_some() || facts.pid.is_some() || facts.exe.is_some() {
        let mut process = json!({});
        if let Some(pid) = facts.pid {
            process["pid"] = Value::from(pid);
        }
        if let Some(exe) = &facts.exe {
            process["executable"] = Value::from(exe.as_str());
        }
        if let Some(argv) = &facts.argv {
            process["args"] = json!(argv);
            process["args_count"] = Value::from(argv.len());
            process["command_line"] = Value::from(argv.join(" "));
        }
        document["process"] = process;
    }
    spelled_out_json(&document.to_string()).into_owned()
}

/// All names in a record, each once.
fn everybody(record: &Record) -> Vec<String> {
    let facts = &record.facts;
    let mut names: Vec<String> =
        [&facts.user, &facts.actor, &facts.run_as].into_iter().flatten().cloned().collect();
    names.extend(facts.approvers.iter().flatten().cloned());
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ORIGIN, a_record, a_text, an_event, facts_of};
    use super::*;
    use crate::audit::record::{AuditEvent, Facts};
    use proptest::prelude::*;

    /// The values that the schema allows (event.category, and the event.type expected in each).
    const EXPECTED: [(&str, &[&str]); 5] = [
        ("authentication", &["start", "end", "info"]),
        ("configuration", &["access", "change", "creation", "deletion", "info"]),
        ("iam", &["admin", "change", "creation", "deletion", "group", "info", "user"]),
        ("process", &["access", "change", "end", "info", "start"]),
        ("session", &["start", "end", "info"]),
    ];

    #[test]
    fn every_event_keeps_to_the_allowed_values() {
        for event in AuditEvent::ALL {
            let (_, categories, types) = event.row().ecs;
            for category in categories {
                let (_, expected) = EXPECTED.iter().find(|(name, _)| name == category).unwrap();
                assert!(types.iter().all(|kind| expected.contains(kind)), "{event:?}");
            }
        }
    }

    #[test]
    fn who_did_what_to_whom() {
        let facts = Facts {
            user: Some("alice".into()),
            uid: Some(1000),
            actor: Some("bob".into()),
            actor_uid: Some(1001),
            role: Some("web-admin".into()),
            ticket: Some("INC-42".into()),
            ..Facts::default()
        };
        let line = line(&a_record(AuditEvent::RequestApproved, facts), &ORIGIN);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["user"]["name"], "bob");
        assert_eq!(read["user"]["target"]["id"], "1000");
        assert_eq!(read["event"]["sequence"], 42);
        assert_eq!(read["rule"]["name"], "web-admin");
        assert_eq!(read["related"]["user"], json!(["alice", "bob"]));
        assert_eq!(read["@timestamp"], "2026-11-22T06:21:15.854724Z");
    }

    proptest! {
        #[test]
        fn a_record_is_one_line_and_says_what_was_said(text in a_text(), event in an_event()) {
            let line = line(&a_record(event, facts_of(&text)), &ORIGIN);
            prop_assert!(!line.chars().any(crate::escape::is_unsafe), "{line:?}");
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["jit"]["ticket"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["event"]["action"].as_str(), Some(event.name()));
            prop_assert_eq!(read["event"]["id"].as_str(), Some("web1-42"));
        }
    }
}
