//! Open Cybersecurity Schema Framework, 1.8.0: one JSON object per record.
//!
//! Facts without an attribute in the schema are under `unmapped`.

use serde_json::{Value, json};

use super::{Origin, PRODUCT, Somebody, VERSION, doer, known, milliseconds, sentence};
use crate::audit::event::{OcsfClass, Outcome};
use crate::audit::record::{AuditEvent, Facts, Record, Severity};
use crate::escape::spelled_out_json;

const OCSF_VERSION: &str = "1.8.0";

impl OcsfClass {
    /// Category and class: uid and name of each.
    fn ids(self) -> (u32, &'static str, u32, &'static str) {
        match self {
            Self::Base => (0, "Uncategorized", 0, "Base AuditEvent"),
            Self::DetectionFinding => (2, "Findings", 2004, "Detection Finding"),
            Self::Authentication => (3, "Identity & Access Management", 3002, "Authentication"),
            Self::AuthorizeSession => (3, "Identity & Access Management", 3003, "Authorize Session"),
            Self::EntityManagement => (3, "Identity & Access Management", 3004, "Entity Management"),
            Self::UserAccess => (3, "Identity & Access Management", 3005, "User Access Management"),
            Self::ApplicationLifecycle => (6, "Application Activity", 6002, "Application Lifecycle"),
        }
    }
}

fn severity(event: AuditEvent) -> (u32, &'static str) {
    match event.severity() {
        Severity::Info => (1, "Informational"),
        Severity::Notice => (2, "Low"),
        Severity::Warning => (3, "Medium"),
        Severity::Error => (4, "High"),
        Severity::Alert => (5, "Critical"),
    }
}

/// A record as one line of JSON, without a newline.
#[must_use]
pub fn line(record: &Record, origin: &Origin<'_>) -> String {
    let row = record.event.row();
    let (class, activity, activity_name) = row.ocsf;
    let (category_uid, category_name, class_uid, class_name) = class.ids();
    let (severity_id, severity) = severity(record.event);
    let facts = &record.facts;
    let failed = row.outcome == Outcome::Failure;
    let mut document = json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": category_uid,
        "category_name": category_name,
        "class_uid": class_uid,
        "class_name": class_name,
        "type_uid": class_uid * 100 + activity,
        "type_name": format!("{class_name}: {activity_name}"),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": if failed { 2 } else { 1 },
        "status": if failed { "Failure" } else { "Success" },
        "time": milliseconds(&record.time),
        "message": sentence(record),
        "metadata": {
            "version": OCSF_VERSION,
            "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION },
            "profiles": ["host"],
            "uid": origin.hash,
            "sequence": record.seq,
            "event_code": record.event.name(),
            "log_name": "jitd audit",
            "original_time": record.time,
        },
        "device": { "hostname": origin.host, "name": origin.host, "type_id": 0, "type": "Unknown" },
        "unmapped": known(facts),
    });
    if let Some(doer) = doer(facts) {
        document["actor"] = json!({ "user": user(doer) });
        if let Some(session) = session(facts) {
            document["actor"]["session"] = session;
        }
    }
    if let Some(detail) = &facts.detail {
        document["status_detail"] = Value::from(detail.as_str());
    }
    // The attributes that each class requires, with its constraints.
    match class {
        OcsfClass::Base => {}
        OcsfClass::DetectionFinding => {
            document["finding_info"] = json!({
                "uid": format!("{}-{}", origin.host, record.seq),
                "title": row.finding,
            });
        }
        OcsfClass::Authentication => {
            document["user"] = holder(facts);
            document["service"] = json!({ "name": facts.service.as_deref().unwrap_or(PRODUCT) });
            if let Some(session) = session(facts) {
                document["session"] = session;
            }
        }
        OcsfClass::AuthorizeSession => {
            document["user"] = holder(facts);
            document["privileges"] = json!([privilege(facts)]);
            if let Some(session) = session(facts) {
                document["session"] = session;
            }
        }
        OcsfClass::EntityManagement => {
            document["entity"] = entity(record);
            if let Some(reason) = &facts.reason {
                document["comment"] = Value::from(reason.as_str());
            }
        }
        OcsfClass::UserAccess => {
            document["user"] = holder(facts);
            document["privileges"] = json!([privilege(facts)]);
        }
        OcsfClass::ApplicationLifecycle => {
            document["app"] = json!({ "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION });
        }
    }
    spelled_out_json(&document.to_string()).into_owned()
}

fn user(somebody: Somebody<'_>) -> Value {
    let mut user = json!({ "name": somebody.name, "type_id": 1, "type": "User" });
    if let Some(uid) = somebody.uid {
        user["uid"] = Value::from(uid.to_string());
        if uid == 0 {
            user["type_id"] = Value::from(2);
            user["type"] = Value::from("Admin");
        }
    }
    user
}

/// The person it is about; a call of root itself has none.
fn holder(facts: &Facts) -> Value {
    let name = facts.user.as_deref().unwrap_or(if facts.uid == Some(0) { "root" } else { "unknown" });
    user(Somebody { name, uid: facts.uid })
}

fn privilege(facts: &Facts) -> String {
    match (&facts.role, &facts.run_as) {
        (Some(role), _) => format!("role {role}"),
        (None, Some(run_as)) => format!("run as {run_as}"),
        (None, None) => facts.service.as_deref().unwrap_or("elevation").to_owned(),
    }
}

fn session(facts: &Facts) -> Option<Value> {
    let mut session = json!({ "uid": facts.session?.to_string(), "issuer": PRODUCT });
    if let Some(tty) = &facts.tty {
        session["terminal"] = Value::from(tty.as_str());
    }
    if let Some(audit_session) = facts.audit_session {
        session["uid_alt"] = Value::from(audit_session.to_string());
    }
    if let Some(ended_by) = &facts.ended_by {
        session["expiration_reason"] = Value::from(ended_by.as_str());
    }
    Some(session)
}

fn entity(record: &Record) -> Value {
    let facts = &record.facts;
    match record.event {
        AuditEvent::PolicyLoaded | AuditEvent::PolicyRefused => {
            let mut entity = json!({ "name": "policy", "type": "policy" });
            if let Some(digest) = &facts.policy {
                entity["uid"] = Value::from(digest.as_str());
            }
            entity
        }
        AuditEvent::AuditPruned => {
            let [from, to] = [facts.pruned_from, facts.pruned_to].map(Option::unwrap_or_default);
            json!({ "name": format!("audit records {from} to {to}"), "type": "audit records" })
        }
        _ => match facts.request.or(facts.grant) {
            Some(id) => json!({
                "uid": id.to_string(),
                "name": facts.role.as_deref().unwrap_or("request"),
                "type": "privilege request",
            }),
            None => json!({ "name": "command", "type": "command" }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ORIGIN, a_record, a_text, an_event, facts_of};
    use super::*;
    use proptest::prelude::*;

    fn read(event: AuditEvent, facts: Facts) -> Value {
        serde_json::from_str(&line(&a_record(event, facts), &ORIGIN)).unwrap()
    }

    #[test]
    fn every_event_has_what_its_class_requires() {
        for event in AuditEvent::ALL {
            for facts in [Facts::default(), facts_of("x")] {
                let read = read(*event, facts);
                for key in [
                    "activity_id",
                    "category_uid",
                    "class_uid",
                    "type_uid",
                    "severity_id",
                    "time",
                    "metadata",
                ] {
                    assert!(!read[key].is_null(), "{event:?}: {key}");
                }
                for key in ["product", "version"] {
                    assert!(!read["metadata"][key].is_null(), "{event:?}: {key}");
                }
                let class = read["class_uid"].as_u64().unwrap();
                assert_eq!(read["category_uid"].as_u64().unwrap(), class / 1000);
                assert_eq!(
                    read["type_uid"].as_u64().unwrap(),
                    class * 100 + read["activity_id"].as_u64().unwrap()
                );
                let required: &[&str] = match class {
                    2004 => &["finding_info"],
                    3002 => &["user", "service"],
                    3003 | 3005 => &["user", "privileges"],
                    3004 => &["entity"],
                    6002 => &["app"],
                    _ => &[],
                };
                assert!(required.iter().all(|key| !read[*key].is_null()), "{event:?}: {read}");
            }
        }
    }

    #[test]
    fn a_grant_assigns_a_role() {
        let facts = Facts {
            user: Some("alice".into()),
            uid: Some(1000),
            role: Some("web-admin".into()),
            actor: Some("oscar".into()),
            actor_uid: Some(1005),
            ..Facts::default()
        };
        let read = read(AuditEvent::GrantStarted, facts);
        assert_eq!(read["type_uid"], 300_503);
        assert_eq!(read["user"]["name"], "alice");
        assert_eq!(read["actor"]["user"]["uid"], "1005");
        assert_eq!(read["privileges"][0], "role web-admin");
        assert_eq!(read["metadata"]["version"], "1.8.0");
    }

    proptest! {
        #[test]
        fn a_record_is_one_line_and_says_what_was_said(text in a_text(), event in an_event()) {
            let line = line(&a_record(event, facts_of(&text)), &ORIGIN);
            prop_assert!(!line.chars().any(crate::escape::is_unsafe), "{line:?}");
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["unmapped"]["ticket"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["metadata"]["sequence"].as_u64(), Some(42));
        }
    }
}
