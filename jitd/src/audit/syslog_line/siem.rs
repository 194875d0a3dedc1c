//! Tests the files of `packaging/siem` against messages and lines that jitd writes.
//!
//! The products themselves do not run here. Their regular expressions do, and every name of an event or a fact in their
//! files has to exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jit_proto::audit::chain::{Head, append};
use jit_proto::audit::event::publish;
use jit_proto::audit::record::{Draft, Facts};
use jit_proto::audit::render::{Origin, ecs};
use jit_proto::time::{BootId, BootTime, WallTime};
use proptest::prelude::*;
use regex_lite::Regex;
use serde_json::Value;

use super::*;

/// MSGIDs of messages that are no records.
const NO_EVENTS: [&str; 2] = ["daemon.heartbeat", "record.unreadable"];

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path)
}

/// A file as it is installed: filled from its template, where it has one.
fn shipped(path: &str) -> String {
    match fs::read_to_string(packaging(&format!("{path}.in"))) {
        Ok(template) => publish::fill(&template),
        Err(_) => fs::read_to_string(packaging(path)).unwrap(),
    }
}

fn is_known(event: &str) -> bool {
    AuditEvent::ALL.iter().any(|known| known.name() == event) || NO_EVENTS.contains(&event)
}

fn sealed(event: AuditEvent, facts: Facts) -> Sealed {
    let draft = Draft {
        event,
        wall: WallTime(1_795_328_475_854_724),
        boot: BootTime(1),
        boot_id: BootId("b".into()),
        facts,
    };
    Sealed { seal: Some("5".repeat(64)), ..append(&mut Head::default(), draft).unwrap() }
}

/// A record as an RFC 5424 message and as the text for journald, and its facts.
fn messages(event: AuditEvent, facts: &Facts) -> (String, String, BTreeMap<String, String>) {
    let sealed = sealed(event, facts.clone());
    let record: Record = serde_json::from_str(&sealed.line).unwrap();
    let bytes = Rfc5424::new(32473).line(Severity::Warning, &sealed, Some(&record)).unwrap();
    let facts = message::params(&record, usize::MAX).into_iter().collect();
    (String::from_utf8(bytes).unwrap(), text(32473, &sealed, Some(&record)), facts)
}

/// The message as syslog daemons and journald hand it on.
fn dresses(message: &str, text: &str) -> [String; 6] {
    let bare = message.trim_start_matches(|c: char| c != '>').trim_start_matches('>');
    [
        message.to_owned(),
        format!("Nov 22 06:21:15 web1 {bare}"),
        format!("2026-11-22T06:21:15.854724+00:00 web1 {bare}"),
        format!("Nov 22 06:21:15 web1 jitd[32]: {bare}"),
        format!("Nov 22 06:21:15 web1 jitd[32]: {text}"),
        format!("2026-11-22T06:21:15.854724+00:00 web1 jitd[32]: {text}"),
    ]
}

/// Facts with this text in each field that takes one.
fn facts_of(text: &str) -> Facts {
    let own = || Some(text.to_owned());
    Facts {
        user: own(),
        uid: Some(1000),
        actor: own(),
        role: own(),
        grant: Some(7),
        argv: Some(vec![text.to_owned(), "x".to_owned()]),
        reason: own(),
        ticket: own(),
        detail: own(),
        ..Facts::default()
    }
}

/// Texts of an attacker who wants to forge a fact or a record.
fn a_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{1,12}",
        "[\\\\\"\\]\\[= ]{1,12}",
        Just("\" user=\"root".to_owned()),
        Just("] jitd 1 grant.started [jit@32473 seq=\"9\" hash=\"".to_owned()),
        Just("x\\\" role=\"ops\" \\".to_owned()),
        Just("jitd 1 access.root [jit@1 seq=\"9\" service=\"forged\" tty=\"forged\"] x".to_owned()),
        Just(format!("[1] web1 jitd 1 access.root [jit@1 seq=\"9\" hash=\"{}\"]", "0".repeat(64))),
        Just("é \u{202e}\n<84>1 2026".to_owned()),
    ]
}

/// A parameter's value without the escapes of RFC 5424 (section 6.3.3).
fn unescaped(value: &str) -> String {
    Regex::new(r"\\(.)").unwrap().replace_all(value, "$1").into_owned()
}

/// The text of each element of this name, with its attributes.
fn elements(xml: &str, name: &str) -> Vec<(String, String)> {
    let pattern = format!(r"(?s)<{name}(?: ([^>]*))?>(.*?)</{name}>");
    let text = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    Regex::new(&pattern)
        .unwrap()
        .captures_iter(xml)
        .map(|found| (found.get(1).map_or("", |m| m.as_str()).to_owned(), text(&found[2])))
        .collect()
}

/// The expressions of the decoders, with the names of their groups.
static DECODERS: LazyLock<Vec<(Regex, Vec<String>)>> = LazyLock::new(|| {
    let fields = |(_, decoder): &(String, String)| {
        let (attributes, pattern) = elements(decoder, "regex").pop()?;
        assert_eq!(attributes, "type=\"pcre2\"");
        let order = elements(decoder, "order").pop()?.1;
        Some((Regex::new(&pattern).unwrap(), order.split(", ").map(str::to_owned).collect()))
    };
    elements(&shipped("siem/wazuh/jitd_decoders.xml"), "decoder").iter().filter_map(fields).collect()
});

fn decoded(line: &str, decoders: &[(Regex, Vec<String>)]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (pattern, names) in decoders {
        let Some(captures) = pattern.captures(line) else { continue };
        for (name, value) in names.iter().zip(captures.iter().skip(1)) {
            found.insert(name.clone(), value.map_or("", |value| value.as_str()).to_owned());
        }
    }
    found
}

/// A setting of a Splunk file.
fn setting(file: &str, stanza: &str, key: &str) -> String {
    let text = shipped(&format!("siem/splunk/TA-jitd/default/{file}"));
    let stanza = text.split("\n[").find(|part| part.trim_start_matches('[').starts_with(stanza)).unwrap();
    let line = stanza.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
    line.to_owned()
}

proptest! {
    #[test]
    fn wazuh_finds_every_fact_and_no_forged_one(text in a_text(), event in prop::sample::select(AuditEvent::ALL)) {
        let prematch = &elements(&shipped("siem/wazuh/jitd_decoders.xml"), "prematch")[0].1;
        let prematch = Regex::new(prematch).unwrap();
        let (message, text, facts) = messages(event, &facts_of(&text));
        for line in dresses(&message, &text) {
            prop_assert!(prematch.is_match(&line), "{line}");
            let found = decoded(&line, &DECODERS);
            prop_assert_eq!(found["record.event"].as_str(), event.name());
            prop_assert_eq!(found["seq"].as_str(), "1");
            for (name, value) in &found {
                let Some(name) = name.strip_prefix("record.") else { continue };
                if name != "event" {
                    prop_assert_eq!(Some(&unescaped(value)), facts.get(name), "{} in {}", name, line);
                }
            }
            for name in ["user", "uid", "actor", "role", "grant", "argv", "reason", "ticket", "detail"] {
                prop_assert!(found.contains_key(&format!("record.{name}")) == facts.contains_key(name), "{name} in {line}");
            }
        }
    }

    #[test]
    fn splunk_finds_every_fact_and_no_forged_one(text in a_text(), event in prop::sample::select(AuditEvent::ALL)) {
        // Splunk writes `(?<name>`, as PCRE allows; `regex-lite` wants the P.
        let head = Regex::new(&setting("props.conf", "jitd:syslog", "EXTRACT-jitd_head").replace("(?<", "(?P<")).unwrap();
        let each = Regex::new(&setting("transforms.conf", "jitd_facts", "REGEX")).unwrap();
        let (message, text, facts) = messages(event, &facts_of(&text));
        for line in dresses(&message, &text) {
            let found = head.captures(&line).unwrap();
            prop_assert_eq!(&found["event"], event.name());
            let mut pairs: BTreeMap<String, String> = each
                .captures_iter(&found["jit_data"])
                .map(|pair| (pair[1].to_owned(), unescaped(&pair[2])))
                .collect();
            let (seq, hash, seal) = (pairs.remove("seq"), pairs.remove("hash"), pairs.remove("seal"));
            prop_assert!(seq.is_some_and(|seq| seq == "1") && hash.is_some_and(|hash| hash.len() == 64));
            prop_assert!(seal.is_some());
            prop_assert_eq!(&pairs, &facts);
        }
    }
}

/// The rules about events: number, level, expression.
fn rules() -> Vec<(u32, u32, Regex)> {
    let number = |text: &str, name: &str| -> Option<u32> {
        text.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse().ok()
    };
    elements(&shipped("siem/wazuh/jitd_rules.xml"), "rule")
        .into_iter()
        .filter_map(|(attributes, rule)| {
            let (_, pattern) =
                elements(&rule, "field").into_iter().find(|(of, _)| of.contains("record.event"))?;
            Some((number(&attributes, "id")?, number(&attributes, "level")?, Regex::new(&pattern).unwrap()))
        })
        .collect()
}

#[test]
fn wazuh_has_a_rule_for_every_event_as_severe_as_the_event() {
    let rules = rules();
    for event in AuditEvent::ALL {
        let found: Vec<_> = rules.iter().filter(|(_, _, pattern)| pattern.is_match(event.name())).collect();
        let [(id, level, _)] = found[..] else { panic!("{} rules for {}", found.len(), event.name()) };
        let fits = match event.severity() {
            record::Severity::Alert => *level >= 12,
            record::Severity::Error => (7..12).contains(level),
            record::Severity::Warning => (5..8).contains(level),
            record::Severity::Notice | record::Severity::Info => *level <= 3,
        };
        assert!(fits, "rule {id}, {}: level {level}", event.name());
    }
    for name in NO_EVENTS {
        assert!(rules.iter().any(|(_, _, pattern)| pattern.is_match(name)), "no rule for {name}");
    }
}

#[test]
fn wazuhs_files_are_well_formed_and_point_at_what_is_there() {
    let rules = shipped("siem/wazuh/jitd_rules.xml");
    let mut ids = BTreeSet::new();
    for (attributes, _) in elements(&rules, "rule") {
        let id = attributes.split('"').nth(1).unwrap().parse::<u32>().unwrap();
        assert!((100_800..100_900).contains(&id) && ids.insert(id), "rule {id}");
    }
    for named in ["if_sid", "if_matched_sid"] {
        for (_, list) in elements(&rules, named) {
            assert!(list.split(", ").all(|id| ids.contains(&id.parse().unwrap())), "{named} {list}");
        }
    }
    for text in [rules, shipped("siem/wazuh/jitd_decoders.xml")] {
        let text = Regex::new("(?s)<!--.*?-->").unwrap().replace_all(&text, "").into_owned();
        let mut open = Vec::new();
        for tag in Regex::new(r"<(/?)([a-z_]+)[^<>]*>").unwrap().captures_iter(&text) {
            if tag[1].is_empty() {
                open.push(tag[2].to_owned());
            } else {
                assert_eq!(open.pop().as_deref(), Some(&tag[2]));
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn every_event_and_every_fact_is_in_the_manual_page() {
    let page = shipped("man/jit-audit.5").replace("\\-", "-");
    let words: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with(".B ") || line.starts_with(".BR "))
        .flat_map(|line| line.split([' ', '"', ',']))
        .collect();
    for event in AuditEvent::ALL.iter().map(|event| event.name()).chain(NO_EVENTS) {
        assert!(words.contains(event), "jit-audit(5) does not tell of {event}");
    }
    let facts = names_of_facts();
    for fact in facts {
        assert!(words.contains(fact.as_str()), "jit-audit(5) does not tell of {fact}");
    }
}

#[test]
fn the_manual_page_says_how_severe_each_event_is() {
    let page = shipped("man/jit-audit.5");
    let list = page.split(".SH EVENTS").nth(1).unwrap().split("What they tell:").next().unwrap();
    let severities = [
        ("alert", record::Severity::Alert),
        ("error", record::Severity::Error),
        ("warning", record::Severity::Warning),
        ("notice", record::Severity::Notice),
    ];
    for (word, severity) in severities {
        let told = list.split(&format!(".B {word}\n")).nth(1).unwrap_or_default();
        let told = told.split(".TP").next().unwrap_or_default();
        let told: BTreeSet<&str> = told.split([',', ' ', '\n']).filter(|name| !name.is_empty()).collect();
        let told: Vec<&str> = told.into_iter().filter(|name| !NO_EVENTS.contains(name)).collect();
        let mut are: Vec<&str> = AuditEvent::ALL
            .iter()
            .filter(|event| event.severity() == severity)
            .map(|event| event.name())
            .collect();
        are.sort_unstable();
        assert_eq!(told, are, "{word}");
    }
}

/// Every fact that a record can have, from the error of serde, which names the fields of the struct.
fn names_of_facts() -> BTreeSet<String> {
    let error = serde_json::from_str::<Facts>("{\"?\":0}").unwrap_err().to_string();
    let names: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(names.len() > 30, "{error}");
    names
}

fn names_of_a_line() -> BTreeSet<String> {
    let own = ["v", "seq", "prev", "time", "boot_us", "boot_id", "event"].map(str::to_owned);
    names_of_facts().into_iter().chain(own).collect()
}

#[test]
fn sigma_rules_look_for_what_there_is() {
    let names = names_of_a_line();
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(packaging("siem/sigma")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut within = "";
        for line in text.lines() {
            let word = line.trim_start().trim_start_matches("- ");
            match line.trim_end() {
                "detection:" | "fields:" | "tags:" | "falsepositives:" | "references:" | "correlation:" => {
                    within = line.trim_end();
                }
                _ if !line.starts_with(' ') => within = "",
                _ if within == "fields:" => assert!(names.contains(word), "{word} in {path:?}"),
                _ if within == "detection:" && line.starts_with("            - ") => {
                    assert!(is_known(word), "{word} in {path:?}");
                }
                _ if within == "detection:" && line.starts_with("        ") => {
                    let (key, value) = word.split_once(':').unwrap();
                    assert!(names.contains(key.split('|').next().unwrap()), "{key} in {path:?}");
                    assert!(
                        key != "event" || value.is_empty() || is_known(value.trim()),
                        "{word} in {path:?}"
                    );
                }
                _ => {}
            }
            if let Some(id) = line.strip_prefix("id: ") {
                assert!(ids.insert(id.to_owned()), "{id} twice");
            }
        }
    }
    assert!(ids.len() > 8);
}

#[test]
fn splunks_event_types_name_what_there_is() {
    let text = shipped("siem/splunk/TA-jitd/default/eventtypes.conf");
    let lists = Regex::new(r"event IN \(([^)]*)\)").unwrap();
    let named: Vec<&str> =
        lists.captures_iter(&text).flat_map(|list| list.get(1).unwrap().as_str().split(", ")).collect();
    assert!(named.len() > 20);
    assert!(named.iter().all(|event| is_known(event)), "{named:?}");
    let tags = shipped("siem/splunk/TA-jitd/default/tags.conf");
    for tagged in tags.lines().filter_map(|line| line.strip_prefix("[eventtype=")) {
        assert!(text.contains(&format!("[{tagged}")), "{tagged}");
    }
    let aliases = setting("props.conf", "jitd:json", "FIELDALIAS-jitd_facts");
    let names = names_of_a_line();
    for (from, to) in aliases.split(" record.").filter_map(|alias| alias.split_once(" AS ")) {
        let from = from.trim_start_matches("record.");
        assert!(from == to && names.contains(to), "{from} AS {to}");
    }
}

#[test]
fn elastics_pipeline_says_of_every_event_what_the_export_says() {
    let pipeline: Value = serde_json::from_str(&shipped("siem/elastic/ingest-pipeline.json")).unwrap();
    let processors = pipeline["processors"].as_array().unwrap();
    let script = processors.iter().find(|processor| processor.get("script").is_some()).unwrap();
    let table = &script["script"]["params"]["events"];
    for event in AuditEvent::ALL {
        let sealed = sealed(*event, Facts::default());
        let record: Record = serde_json::from_str(&sealed.line).unwrap();
        let line = ecs::line(&record, &Origin { host: "web1", hash: &sealed.hash });
        let export: Value = serde_json::from_str(&line).unwrap();
        for key in ["kind", "category", "type", "outcome", "severity"] {
            assert_eq!(table[event.name()][key], export["event"][key], "{} of {}", key, event.name());
        }
    }
    let names = names_of_a_line();
    for processor in processors {
        if let Some(from) = processor["set"]["copy_from"].as_str().and_then(|from| from.strip_prefix("jit."))
        {
            assert!(names.contains(from), "{from}");
        }
    }
    let template: Value = serde_json::from_str(&shipped("siem/elastic/index-template.json")).unwrap();
    let mapped = template["template"]["mappings"]["properties"]["jit"]["properties"].as_object().unwrap();
    for name in names_of_facts() {
        assert!(mapped.contains_key(&name), "{name} has no place in the index template");
    }
}

#[test]
fn vectors_configuration_is_toml() {
    let config: toml::Table = toml::from_str(&shipped("siem/vector/jitd.toml")).unwrap();
    assert_eq!(config["sinks"]["siem"]["buffer"]["when_full"].as_str(), Some("block"));
    assert_eq!(config["sinks"]["siem"]["acknowledgements"]["enabled"].as_bool(), Some(true));
}
