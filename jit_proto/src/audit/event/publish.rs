//! Publishes the table of events: the journal's catalog, jit-audit(5), and the files for Elastic, Splunk and Wazuh.
//!
//! These files are templates in `packaging/`, named `.in`, in which a word such as `@events:manual@` stands for text
//! that is made here. `make install-files` fills them (`jit_proto/examples/fill.rs`), so no list of events is kept by
//! hand.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{AuditEvent, EcsKind, Outcome, Severity, Splunk};
use crate::audit::message_id;

/// Fills a template. An unknown word of this form stays, and [`is_filled`] reports it.
#[must_use]
pub fn fill(template: &str) -> String {
    // Each text is made only where a template has its word.
    type Filling = (&'static str, fn() -> String);
    let fillings: [Filling; 10] = [
        ("@events:catalog@", catalog),
        ("@events:manual@", manual),
        ("@events:severities@", severities),
        ("\"@events:elastic@\"", elastic),
        ("@events:wazuh@", wazuh),
        ("@events:splunk-authentication@", || splunk(Splunk::Authentication)),
        ("@events:splunk-account-change@", || splunk(Splunk::AccountChange)),
        ("@events:splunk-session@", || splunk(Splunk::Session)),
        ("@events:splunk-change@", || splunk(Splunk::Change)),
        ("@events:splunk-alert@", || splunk(Splunk::Alert)),
    ];
    fillings.iter().fold(template.to_owned(), |text, (word, make)| match text.contains(word) {
        true => text.replace(word, make().trim_end()),
        false => text,
    })
}

/// Whether no word is left.
#[must_use]
pub fn is_filled(text: &str) -> bool {
    !text.contains("@events:")
}

fn names(of: impl Fn(AuditEvent) -> bool) -> Vec<&'static str> {
    AuditEvent::ALL.iter().copied().filter(|event| of(*event)).map(AuditEvent::name).collect()
}

/// The entries for `journalctl -x` (the catalog's format: <https://systemd.io/CATALOG>).
fn catalog() -> String {
    let mut text = String::new();
    for event in AuditEvent::ALL {
        let (id, name, says) = (message_id::of(event.name()), event.name(), event.says());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "-- {id}\nSubject: {name}\nDefined-By: jitd\nSupport: man:jit-audit(5)\n\n{says}\n\nRecord @JIT_SEQ@ of the audit \
             log; user @JIT_USER@, role @JIT_ROLE@, grant @JIT_GRANT@. All of it is shown by\n\"jitctl audit show\" and by \
             \"journalctl -o verbose JIT_SEQ=@JIT_SEQ@\".\n\n"
        );
    }
    text
}

/// The entries of jit-audit(5), in man(7).
fn manual() -> String {
    let mut text = String::new();
    for event in AuditEvent::ALL {
        let says = event.says().replace('-', "\\-");
        let _ = write!(text, ".TP\n.B {}\n{says}{}", event.name(), or_newline(event.row().manual));
    }
    text
}

fn or_newline(text: &str) -> &str {
    if text.is_empty() { "\n" } else { text }
}

/// The paragraph of jit-audit(5) about severities, in man(7): the events of each, and for the last one "all others".
fn severities() -> String {
    let mut text = String::new();
    for severity in Severity::ALL {
        let names = match severity {
            Severity::Info => "all others".to_owned(),
            severity => names(|event| event.severity() == severity).join(",\n"),
        };
        let _ = write!(text, ".TP\n.B {}\n{names}\n", severity.name());
    }
    text
}

/// The table of the ingest pipeline: the fields of `jitctl audit export --format ecs` for each event.
fn elastic() -> String {
    let rows: Vec<String> = AuditEvent::ALL
        .iter()
        .map(|event| {
            let row = event.row();
            let (kind, category, types) = row.ecs;
            let object = json!({
                "kind": kind.name(),
                "category": category,
                "type": types,
                "outcome": row.outcome.name(),
                "severity": row.severity as u8,
            });
            format!("            {}: {object}", Value::from(event.name()))
        })
        .collect();
    format!("{{\n{}\n          }}", rows.join(",\n"))
}

fn splunk(kind: Splunk) -> String {
    names(|event| event.row().splunk.contains(&kind)).join(", ")
}

/// The rules for one event each, in the order of their numbers.
fn wazuh() -> String {
    let mut rules: Vec<_> = AuditEvent::ALL.iter().map(|event| event.row().wazuh).collect();
    rules.sort_by_key(|rule| rule.rule);
    rules.dedup_by_key(|rule| rule.rule);
    let mut text = String::new();
    for rule in rules {
        let of = names(|event| event.row().wazuh.rule == rule.rule);
        let pattern = match of.as_slice() {
            [one] => (*one).to_owned(),
            several => format!("({})", several.join("|")),
        };
        let technique = match rule.technique {
            "" => String::new(),
            id => format!("    <mitre>\n      <id>{id}</id>\n    </mitre>\n"),
        };
        let _ = write!(
            text,
            "  <rule id=\"{}\" level=\"{}\">\n    <if_sid>100800, 100801</if_sid>\n    <field name=\"record.event\" \
             type=\"pcre2\">^{}$</field>\n    <description>{}</description>\n{technique}    <group>{}</group>\n  </rule>\n\n",
            rule.rule,
            rule.level,
            pattern.replace('.', "\\."),
            rule.says.replace('&', "&amp;").replace('<', "&lt;"),
            rule.groups,
        );
    }
    text
}

impl Outcome {
    /// Its word in ECS and CEF.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl EcsKind {
    /// Its word in ECS.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Alert => "alert",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::names::HEARTBEAT;
    use std::collections::BTreeMap;

    const CATALOG: &str = include_str!("../../../../packaging/journal/jitd.catalog.in");

    /// What `journalctl -x` says, by message id: subject and explanation.
    fn read(catalog: &str) -> BTreeMap<String, (String, String)> {
        let entries = catalog.split("\n-- ").skip(1).map(|entry| {
            let (id, entry) = entry.split_once('\n').unwrap();
            let (header, body) = entry.split_once("\n\n").unwrap();
            let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            (id.to_owned(), (subject.to_owned(), body.trim().to_owned()))
        });
        entries.collect()
    }

    #[test]
    fn the_journals_catalog_explains_every_event_and_nothing_else() {
        let mut catalog = read(&fill(CATALOG));
        for event in AuditEvent::ALL.iter().map(|event| event.name()).chain([HEARTBEAT]) {
            let entry = catalog.remove(&message_id::of(event));
            let (subject, body) =
                entry.unwrap_or_else(|| panic!("{event} has no entry {}", message_id::of(event)));
            assert!(!subject.is_empty() && !body.is_empty(), "{event}");
        }
        assert_eq!(catalog, BTreeMap::new());
    }

    #[test]
    fn every_template_is_filled_and_every_filling_has_a_place() {
        let templates = [
            CATALOG,
            include_str!("../../../../packaging/man/jit-audit.5.in"),
            include_str!("../../../../packaging/siem/elastic/ingest-pipeline.json.in"),
            include_str!("../../../../packaging/siem/splunk/TA-jitd/default/eventtypes.conf.in"),
            include_str!("../../../../packaging/siem/wazuh/jitd_rules.xml.in"),
        ];
        for template in templates {
            assert!(!is_filled(template) && is_filled(&fill(template)));
        }
        assert_eq!(templates.iter().map(|template| template.matches("@events:").count()).sum::<usize>(), 10);
    }

    #[test]
    fn one_rule_of_wazuh_says_one_thing() {
        for event in AuditEvent::ALL {
            let rule = event.row().wazuh;
            let same =
                AuditEvent::ALL.iter().map(|other| other.row().wazuh).filter(|other| other.rule == rule.rule);
            same.for_each(|other| assert_eq!(other, rule, "{event:?}"));
        }
    }
}
