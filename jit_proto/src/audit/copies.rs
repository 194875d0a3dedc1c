//! Parses copies of the audit log: exports with whole lines, and syslog messages with numbers and hashes.
//!
//! A syslog message has a record's number, hash, `prev` and seal, so the links of a copy can be verified, and its
//! hashes compared with a store or an export. If no fact was cut to fit, the record's line is rebuilt from the message
//! and its hash compared ([`crate::audit::message`]); if one was, the contents of its facts cannot be checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::audit::chain::{Broken, Head, Sealed, Stored};
use crate::audit::hash::RecordHash;
use crate::audit::message::{Content, content};
use crate::audit::seal::{FirstKey, SealWalk, Span};
use crate::bus::names::HEARTBEAT;
use crate::time::WallTime;

/// A parsed line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A whole record, as `jitctl --json audit show` prints it.
    Record(Sealed),
    /// A record in a syslog message.
    ForwardedRecord(ForwardedRecord),
    /// The head in a heartbeat: this record was the last one then.
    Head {
        /// The host that the message names; empty if none.
        host: String,
        /// Number.
        seq: u64,
        /// Hash.
        hash: RecordHash,
        /// When it was sent, and the seconds until the next one; messages of 0.1.0 have no time.
        due: Option<(WallTime, u64)>,
    },
    /// A line of another program.
    Other,
}

/// A record in a syslog message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedRecord {
    /// The host that the message names; empty if none.
    pub host: String,
    /// Number.
    pub seq: u64,
    /// Hash.
    pub hash: RecordHash,
    /// Hash of the record before.
    pub prev: RecordHash,
    /// Its seal, in hex, where it has one.
    pub seal: Option<String>,
    /// The event.
    pub event: String,
    /// When it was written; messages of 0.1.0 have no time.
    pub time: Option<WallTime>,
    /// Whether its facts match its hash.
    pub content: Content,
}

/// A line of an export.
#[derive(Deserialize)]
struct Export<'a> {
    seq: u64,
    hash: String,
    #[serde(default)]
    seal: Option<String>,
    #[serde(borrow, default)]
    record: Option<&'a RawValue>,
    /// In place of a record that is not JSON any more.
    #[serde(default)]
    line: Option<String>,
}

/// A record as a line of an export, without a newline. The stored line is in it byte for byte, so that its hash can be
/// checked. A record that was changed is exported as a JSON string, so that the export stays JSON.
#[must_use]
pub fn exported(record: Stored<'_>) -> String {
    let Stored { seq, hash, seal, line } = record;
    let hash = Value::from(hash);
    let seal = seal.map(|seal| format!(",\"seal\":{}", Value::from(seal))).unwrap_or_default();
    if !line.contains(['\n', '\r']) && serde_json::from_str::<IgnoredAny>(line).is_ok() {
        format!("{{\"seq\":{seq},\"hash\":{hash}{seal},\"record\":{line}}}")
    } else {
        format!("{{\"seq\":{seq},\"hash\":{hash}{seal},\"record\":null,\"line\":{}}}", Value::from(line))
    }
}

/// Parses a line of an export or of a collector's file: JSON, or the text of RFC 5424 after any traditional header.
#[must_use]
pub fn read(line: &str) -> Line {
    let line = line.trim();
    if !line.starts_with('{') {
        return from_text(line).unwrap_or(Line::Other);
    }
    if let Ok(export) = serde_json::from_str::<Export<'_>>(line) {
        let whole = export.record.map(RawValue::get).filter(|record| record.starts_with('{'));
        if let Some(line) = whole.map(str::to_owned).or(export.line) {
            return Line::Record(Sealed { seq: export.seq, hash: export.hash, seal: export.seal, line });
        }
    }
    let Ok(json) = serde_json::from_str::<Value>(line) else { return Line::Other };
    from_json(&json, "", "").unwrap_or(Line::Other)
}

/// `... HOST jitd PID EVENT [jit@NUMBER seq="..." hash="..." prev="..." ...] ...`, or, as journald forwards it, `...
/// HOST jitd[PID]: EVENT SENTENCE [jit@NUMBER seq="..." ...]`; no sentence has a bracket.
fn from_text(line: &str) -> Option<Line> {
    let (before, rest) = line.split_once(" [jit@")?;
    if let Some((head, lead)) = traditional(before) {
        let host =
            head.split_whitespace().next_back().filter(|word| !is_time_of_day(word)).unwrap_or_default();
        return from_element(rest, host, lead.split([' ', ':']).next()?);
    }
    let mut words = before.split_whitespace().rev();
    let (event, _pid, program) = (words.next()?, words.next()?, words.next()?);
    if program != "jitd" {
        return None;
    }
    from_element(rest, words.next().unwrap_or_default(), event)
}

/// The parts before and after ` jitd[PID]: `, unless a message of RFC 5424 follows.
fn traditional(before: &str) -> Option<(&str, &str)> {
    let (head, rest) = before.split_once("jitd[")?;
    let (pid, lead) = rest.split_once("]: ")?;
    let ours = (head.is_empty() || head.ends_with(' ')) && pid.bytes().all(|byte| byte.is_ascii_digit());
    (ours && !lead.starts_with("1 ")).then_some((head, lead))
}

/// Whether a word is the `hh:mm:ss` of a TIMESTAMP (RFC 3164, section 4.1.2). Messages from a local socket or from
/// journald have no HOSTNAME after it.
fn is_time_of_day(word: &str) -> bool {
    let mut parts = word.split(':');
    let is_pair = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.by_ref().take(3).filter(|part| is_pair(part)).count() == 3 && parts.next().is_none()
}

/// A message without a header, as journald stores it.
fn from_message(text: &str) -> Option<Line> {
    let (lead, rest) = text.split_once(" [jit@")?;
    let event = lead.split([' ', ':']).next()?;
    let is_a_name =
        event.contains('.') && event.bytes().all(|c| c.is_ascii_lowercase() || b"._".contains(&c));
    if is_a_name { from_element(rest, "", event) } else { None }
}

/// The parameters after `[jit@`.
fn from_element(rest: &str, host: &str, event: &str) -> Option<Line> {
    let mut found = Fields::default();
    let (_number, mut rest) = rest.split_once(' ')?;
    while let Some((name, value)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut escaped = false;
        let mut end = None;
        for (at, c) in value.char_indices() {
            match c {
                _ if escaped => {
                    escaped = false;
                    text.push(c);
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                c => text.push(c),
            }
        }
        found.push(name.trim_start(), text);
        rest = value.get(end? + 1..)?;
        if rest.starts_with(']') {
            break;
        }
    }
    found.line(host, event)
}

/// An object with the three values, at any depth; or a text that is a message. `host` and `event` are from the
/// enclosing objects.
fn from_json(json: &Value, host: &str, event: &str) -> Option<Line> {
    match json {
        Value::String(text) => from_text(text).or_else(|| from_message(text)).map(|line| match line {
            Line::ForwardedRecord(record) if record.host.is_empty() => {
                Line::ForwardedRecord(ForwardedRecord { host: host.to_owned(), ..record })
            }
            Line::Head { host: none, seq, hash, due } if none.is_empty() => {
                Line::Head { host: host.to_owned(), seq, hash, due }
            }
            line => line,
        }),
        Value::Array(items) => items.iter().find_map(|item| from_json(item, host, event)),
        Value::Object(map) => {
            let named = |names: &[&str], otherwise: &str| {
                let found = map.iter().find(|(key, _)| names.contains(&key.to_lowercase().as_str()));
                found.and_then(|(_, value)| value.as_str()).unwrap_or(otherwise).to_owned()
            };
            let host = named(&["hostname", "host", "_hostname", "fromhost"], host);
            let event = named(&["event", "jit_event", "msgid", "event.action"], event);
            let mut found = Fields::default();
            for (name, value) in map {
                let name = name.to_lowercase();
                let name = name.trim_start_matches("jit_").trim_start_matches("jit.");
                match value {
                    Value::String(text) => found.push(name, text.clone()),
                    Value::Number(number) => found.push(name, number.to_string()),
                    _ => {}
                }
            }
            let own = found.line(&host, &event);
            // The whole message has more than the fields that a collector made of it. It counts only if it is of the
            // same record: a text in it can be one that a user made to look like a message.
            let text = map.iter().find(|(key, _)| MESSAGES.contains(&key.to_lowercase().as_str()));
            let text = text.and_then(|(_, text)| from_json(text, &host, &event));
            let same = |text: &Line| own.as_ref().is_none_or(|own| is_of_one_record(own, text));
            text.filter(same)
                .or_else(|| own.clone())
                .or_else(|| map.values().find_map(|value| from_json(value, &host, &event)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The keys under which collectors keep the message itself.
const MESSAGES: [&str; 5] = ["message", "msg", "rawmsg", "_raw", "log"];

fn is_of_one_record(one: &Line, other: &Line) -> bool {
    match (one, other) {
        (Line::ForwardedRecord(one), Line::ForwardedRecord(other)) => {
            (one.seq, one.hash, one.prev) == (other.seq, other.hash, other.prev)
        }
        (Line::Head { seq: one, hash, .. }, Line::Head { seq, hash: other, .. }) => {
            one == seq && hash == other
        }
        _ => false,
    }
}

/// Names with their values, in order.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn push(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }

    /// The first value of a name counts: jitd's own parameters come before the facts.
    fn of(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn line(self, host: &str, event: &str) -> Option<Line> {
        let (seq, hash) = (self.of("seq")?.parse().ok()?, RecordHash::parse(self.of("hash")?)?);
        let (host, time) = (host.to_owned(), self.of("time").and_then(WallTime::from_rfc3339));
        if event == HEARTBEAT {
            let every = self.of("every").and_then(|every| every.parse().ok());
            return Some(Line::Head { host, seq, hash, due: time.zip(every) });
        }
        let prev = RecordHash::parse(self.of("prev")?)?;
        let seal = self.of("seal").map(str::to_owned);
        let content = content(event, &self.0, seq, &hash);
        Some(Line::ForwardedRecord(ForwardedRecord {
            host,
            seq,
            hash,
            prev,
            seal,
            event: event.to_owned(),
            time,
            content,
        }))
    }
}

/// Verifies the links between forwarded records, in the order of the copy.
#[derive(Debug, Default)]
pub struct ForwardedChain {
    seen: BTreeMap<u64, RecordHash>,
    last: u64,
    repeated: u64,
    cut: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
    seals: SealWalk,
}

impl ForwardedChain {
    /// A chain whose seals are checked with these keys.
    #[must_use]
    pub fn with_keys(keys: Vec<FirstKey>) -> Self {
        Self { seals: SealWalk::with(keys), ..Self::default() }
    }

    /// Expects that the chain continues elsewhere.
    #[must_use]
    pub fn continued_elsewhere(mut self) -> Self {
        self.seals.continued_elsewhere();
        self
    }

    /// Verifies the next record. A record may be repeated: after an interruption it is sent a second time.
    ///
    /// # Errors
    /// The first problem.
    pub fn feed(&mut self, record: &ForwardedRecord) -> Result<(), Broken> {
        let ForwardedRecord { seq, hash, prev, .. } = record;
        let broken = |seq: u64, problem: String| Err(Broken { seq, problem });
        if record.content == Content::Differs {
            return broken(*seq, "its message does not fit its hash: it was changed in this copy".to_owned());
        }
        if let Some(seen) = self.seen.get(seq) {
            if seen != hash {
                return broken(*seq, "two different records were kept under this number".to_owned());
            }
            self.repeated += 1;
            self.note_content(record);
            return Ok(());
        }
        if self.last > 0 && *seq > self.last + 1 {
            return broken(self.last + 1, format!("missing; the next one there is record {seq}"));
        }
        if *seq <= self.last {
            return broken(*seq, format!("out of order: found after record {}", self.last));
        }
        if let Some(before) = self.seen.get(&self.last)
            && before != prev
        {
            return broken(*seq, "it does not follow the record before it".to_owned());
        }
        // The key's number is in the record, not in the message.
        let event = format!("\"event\":\"{}\"", record.event);
        let walked = self.seals.step(*seq, hash, record.seal.as_deref(), Some(&event));
        walked.map_err(|problem| Broken { seq: *seq, problem })?;
        self.seen.insert(*seq, *hash);
        self.note_content(record);
        self.last = *seq;
        Ok(())
    }

    /// Notes records whose content cannot be checked, also for repeated messages.
    fn note_content(&mut self, record: &ForwardedRecord) {
        match record.content {
            Content::Cut => self.cut.insert(record.seq),
            Content::Unknown => self.unknown.insert(record.seq),
            Content::Fits | Content::Differs => false,
        };
    }

    /// Ends the chain, and compares it with a known head.
    ///
    /// # Errors
    /// When a seal is missing, or the chain ends before that head.
    pub fn finish(mut self, known: &BTreeMap<u64, RecordHash>) -> Result<Followed, Broken> {
        for (seq, hash) in known {
            if self.seen.get(seq).is_some_and(|seen| seen != hash) {
                return Err(Broken { seq: *seq, problem: "another record was seen elsewhere".to_owned() });
            }
            if *seq > self.last {
                let problem = format!("missing: the copy ends at {}, but the chain reached {seq}", self.last);
                return Err(Broken { seq: self.last + 1, problem });
            }
        }
        let seals = self.seals.finish(self.last).map_err(|(seq, problem)| Broken { seq, problem })?;
        let first = self.seen.first_key_value().map_or(0, |(seq, _)| *seq);
        let hash = self.seen.get(&self.last).copied().unwrap_or(RecordHash::GENESIS);
        let head = Head { seq: self.last, hash };
        let Self { repeated, cut, unknown, seen, .. } = self;
        let (cut, unknown) = (cut.into_iter().collect(), unknown.into_iter().collect());
        Ok(Followed { first, head, repeated, cut, unknown, seals, seen })
    }

    /// How far the chain is intact.
    #[must_use]
    pub fn reached(&self) -> (u64, u64) {
        (self.seen.first_key_value().map_or(0, |(seq, _)| *seq), self.last)
    }
}

/// An intact chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Its first record; 0 for an empty chain.
    pub first: u64,
    /// Its head.
    pub head: Head,
    /// Number of repeated messages.
    pub repeated: u64,
    /// Records with facts that were cut, whose content was not checked.
    pub cut: Vec<u64>,
    /// Records whose content could not be checked for another reason ([`Content::Unknown`]).
    pub unknown: Vec<u64>,
    /// How its records are sealed.
    pub seals: Vec<Span>,
    /// The number and hash of each record.
    pub seen: BTreeMap<u64, RecordHash>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "3d27e3ba3a9bc9362dbfda6a06553f65655bb32ed0cf9f2783c645be3f416d1e";
    const PREV: &str = "41f06254c3393b03fb0ce7e40fd387ef1a6b8081cb114fb6adc2add459fe8c06";

    fn message(seq: u64) -> String {
        format!(
            "1 2026-11-22T06:21:15.854724Z web1 jitd 32 access.denied [jit@32473 seq=\"{seq}\" hash=\"{HASH}\" \
             seal=\"{PREV}\" prev=\"{PREV}\" boot=\"b\" reason=\"a \\\"quoted\\\" \\] seq=\\\"9\\\"\"] access.denied"
        )
    }

    #[test]
    fn a_message_is_known_in_every_dress() {
        let plain = message(7);
        let json = serde_json::json!({ "hostname": "web1", "msg": plain }).to_string();
        let parsed = serde_json::json!({ "host": "web1", "msgid": "access.denied",
            "structured-data": { "jit@32473": { "seq": "7", "hash": HASH, "prev": PREV, "seal": PREV } } });
        let journal = serde_json::json!({ "_HOSTNAME": "web1", "JIT_EVENT": "access.denied", "JIT_SEQ": "7",
            "JIT_HASH": HASH, "JIT_PREV": PREV, "JIT_SEAL": PREV });
        let expected = ForwardedRecord {
            host: "web1".into(),
            seq: 7,
            hash: RecordHash::parse(HASH).unwrap(),
            prev: RecordHash::parse(PREV).unwrap(),
            seal: Some(PREV.into()),
            event: "access.denied".into(),
            time: None,
            content: Content::Unknown,
        };
        for dress in [
            format!("<84>{plain}"),
            format!("Nov 22 06:21:15 web1 {plain}"),
            format!("2026-11-22T06:21:15.854724+00:00 web1 {plain}"),
            json,
            parsed.to_string(),
            journal.to_string(),
        ] {
            assert_eq!(read(&dress), Line::ForwardedRecord(expected.clone()), "{dress}");
        }
    }

    #[test]
    fn a_text_among_the_fields_is_no_message_of_another_record() {
        let forged = message(9).replace("web1 jitd", "jitd");
        let entry = serde_json::json!({ "MESSAGE": format!("access.denied: {forged}"), "JIT_REASON": forged,
            "JIT_EVENT": "access.denied", "JIT_SEQ": "7", "JIT_HASH": HASH, "JIT_PREV": PREV });
        let Line::ForwardedRecord(found) = read(&entry.to_string()) else { panic!("no message") };
        assert_eq!(found.seq, 7);
    }

    #[test]
    fn a_second_message_that_was_cut_is_named_too() {
        let mut chain = ForwardedChain::default();
        chain.feed(&record(4)).unwrap();
        chain.feed(&ForwardedRecord { content: Content::Cut, ..record(4) }).unwrap();
        assert!(chain.feed(&ForwardedRecord { content: Content::Differs, ..record(4) }).is_err());
        assert_eq!(chain.finish(&BTreeMap::new()).unwrap().cut, [4]);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for line in ["", "Nov 22 06:21:15 web1 sudo[3]: alice : [jit@1 seq=\"1\"]", "{}", "{\"seq\":1}", "[]"]
        {
            assert_eq!(read(line), Line::Other, "{line}");
        }
    }

    #[test]
    fn an_exported_record_keeps_its_bytes() {
        let line = r#"{"v":1, "seq":3,"reason":"b\u001b é"}"#;
        let text = format!(r#"{{"seq":3,"hash":"ab","seal":"cd","record":{line}}}"#);
        let record = Sealed { seq: 3, hash: "ab".into(), seal: Some("cd".into()), line: line.to_owned() };
        assert_eq!(read(&text), Line::Record(record.clone()));
        let spoiled = r#"{"seq":3,"hash":"ab","seal":"cd","record":null,"line":"{\"v\":1"}"#;
        assert_eq!(read(spoiled), Line::Record(Sealed { line: "{\"v\":1".into(), ..record }));
    }

    #[test]
    fn a_message_from_a_local_socket_names_no_host() {
        let host = |head: &str| {
            let line = format!(
                "{head}jitd[50]: access.denied user m [jit@32473 seq=\"3\" hash=\"{H}\" prev=\"{H}\"]"
            );
            match read(&line) {
                Line::ForwardedRecord(record) => record.host,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(host("<84>Nov 28 13:54:17 "), "");
        assert_eq!(host("<84>Nov 28 13:54:17 web1 "), "web1");
        assert_eq!(host("2026-11-28T13:54:17+00:00 fe80::1 "), "fe80::1");
        assert_eq!(host("Nov 28 13:54:17 10:20:30:40 "), "10:20:30:40");
        assert_eq!(host(""), "");
    }

    const H: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

    fn record(seq: u64) -> ForwardedRecord {
        let hash = |seq: u64| RecordHash::from([u8::try_from(seq).unwrap(); 32]);
        let event = "access.denied".to_owned();
        ForwardedRecord {
            host: String::new(),
            seq,
            hash: hash(seq),
            prev: hash(seq - 1),
            seal: None,
            event,
            time: None,
            content: Content::Fits,
        }
    }

    fn follow(seqs: &[u64]) -> Result<Followed, Broken> {
        let mut chain = ForwardedChain::default();
        for seq in seqs {
            chain.feed(&record(*seq))?;
        }
        chain.finish(&BTreeMap::new())
    }

    #[test]
    fn a_copy_with_repeats_is_whole_and_one_with_a_hole_is_not() {
        let whole = follow(&[4, 5, 6, 5, 6, 7]).unwrap();
        assert_eq!((whole.first, whole.head.seq, whole.repeated), (4, 7, 2));
        assert_eq!(follow(&[4, 5, 7]).unwrap_err().seq, 6);
        let late = follow(&[5, 6, 4]).unwrap_err();
        assert_eq!((late.seq, late.problem.contains("out of order")), (4, true));
        let mut chain = ForwardedChain::default();
        chain.feed(&record(4)).unwrap();
        let other = ForwardedRecord { prev: [9; 32].into(), ..record(5) };
        assert!(chain.feed(&other).unwrap_err().problem.contains("does not follow"));
        let twice = ForwardedRecord { hash: [9; 32].into(), ..record(4) };
        assert!(chain.feed(&twice).unwrap_err().problem.contains("two different"));
    }
}
