//! Formats an audit record as an RFC 5424 message: the facts as structured data, then a sentence for people.

use std::convert::Infallible;
use std::io::Write;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::message;
use jit_proto::audit::record::{self, AuditEvent, Record};
use jit_proto::audit::render::sentence;
use jit_proto::bus::names::HEARTBEAT;
use jit_proto::escape::cut;
use syslog::{LogFormat, Logger, LoggerBackend};
use syslog_fmt::v5424::{Config, Formatter, Timestamp};
use syslog_fmt::{Facility, Severity};

use super::heartbeat::Heartbeat;

/// In a message that is too long, values are cut to this length, then to half of it and so on; the store keeps them
/// whole.
const MAX_VALUE_BYTES: usize = 256;
/// The name of an event is never cut (RFC 5424 section 6.2.7).
const EVENT_BYTES: usize = 32;
const UNREADABLE: &str = "record.unreadable";
const CANNOT_BE_READ: &str = "a stored record cannot be read";
/// The longest message that receivers should be able to take (RFC 5424 section 6.1).
const MAX_LINE_BYTES: usize = 2048;

/// Formats records for the `syslog` crate.
#[derive(Debug, Clone)]
pub(super) struct Rfc5424 {
    formatter: Formatter,
    /// Private enterprise number behind `jit@`.
    pub(super) enterprise: u32,
}

impl Rfc5424 {
    pub(super) fn new(enterprise: u32) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let host = host.filter(|host| host.bytes().all(|byte| byte.is_ascii_graphic()) && host.len() <= 255);
        let config = Config {
            facility: Facility::Authpriv,
            hostname: host.as_deref(),
            app_name: Some("jitd"),
            proc_id: Some(&std::process::id().to_string()),
        };
        Self { formatter: config.into_formatter(), enterprise }
    }

    /// The message, at most 2,048 bytes: values are cut first, then whole facts left out, never number, hash or event.
    fn line(&self, severity: Severity, sealed: &Sealed, record: Option<&Record>) -> std::io::Result<Vec<u8>> {
        fitting(|most| self.write(severity, sealed, record, most), Vec::len)
    }

    fn write(
        &self,
        severity: Severity,
        sealed: &Sealed,
        record: Option<&Record>,
        most: usize,
    ) -> std::io::Result<Vec<u8>> {
        let (time, event, text) = match record {
            Some(record) => (record.time.as_str(), record.event.name(), sentence(record)),
            None => ("", UNREADABLE, CANNOT_BE_READ.to_owned()),
        };
        let time = if time.is_empty() { Timestamp::None } else { Timestamp::PreformattedStr(time) };
        let text = cut(&text, most.min(MAX_VALUE_BYTES));
        self.message(severity, time, &text, event, &parameters(sealed, record, most))
    }

    fn heartbeat(&self, heartbeat: &Heartbeat) -> std::io::Result<Vec<u8>> {
        let time = heartbeat.at.to_rfc3339();
        let time = Timestamp::PreformattedStr(&time);
        self.message(Severity::Info, time, &heartbeat.text(), HEARTBEAT, &facts_of(heartbeat))
    }

    fn message(
        &self,
        severity: Severity,
        time: Timestamp<'_>,
        text: &str,
        event: &str,
        params: &[(String, String)],
    ) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(1024);
        let id = id(self.enterprise);
        let params: Vec<(&str, &str)> =
            params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let data = vec![(id.as_str(), params)];
        self.formatter.write_with_data(&mut line, severity, time, text.as_bytes(), Some(event), data)?;
        Ok(line)
    }
}

/// A record as a text that journald hands on behind `jitd[PID]: `, at most 2,048 bytes: the sentence for people, then
/// the same structured data.
pub(super) fn text(enterprise: u32, sealed: &Sealed, record: Option<&Record>) -> String {
    let write = |most: usize| {
        let room = most.min(MAX_VALUE_BYTES);
        let lead = match record {
            Some(record) => message::lead(record, room.max(EVENT_BYTES)),
            None => format!("{UNREADABLE}: {CANNOT_BE_READ}"),
        };
        Ok::<_, Infallible>(format!(
            "{lead} {}",
            message::element(&id(enterprise), &parameters(sealed, record, most))
        ))
    };
    fitting(write, String::len).unwrap_or_default()
}

/// A heartbeat in the same form.
pub(super) fn heartbeat_text(enterprise: u32, heartbeat: &Heartbeat) -> String {
    let element = message::element(&id(enterprise), &facts_of(heartbeat));
    format!("{HEARTBEAT}: {} {element}", heartbeat.text())
}

/// Tries shorter and shorter values until the message has at most [`MAX_LINE_BYTES`].
fn fitting<T, E>(write: impl Fn(usize) -> Result<T, E>, length: impl Fn(&T) -> usize) -> Result<T, E> {
    let mut most = usize::MAX;
    loop {
        let written = write(most)?;
        if length(&written) <= MAX_LINE_BYTES || most == 0 {
            return Ok(written);
        }
        most = if most == usize::MAX { MAX_VALUE_BYTES } else { most / 2 };
    }
}

/// Number, hash and seal, then the facts.
fn parameters(sealed: &Sealed, record: Option<&Record>, most: usize) -> Vec<(String, String)> {
    let mut data = vec![("seq".to_owned(), sealed.seq.to_string()), ("hash".to_owned(), sealed.hash.clone())];
    data.extend(sealed.seal.clone().map(|seal| ("seal".to_owned(), seal)));
    data.extend(record.map(|record| message::params(record, most)).unwrap_or_default());
    data
}

fn facts_of(heartbeat: &Heartbeat) -> Vec<(String, String)> {
    heartbeat.facts().map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn id(enterprise: u32) -> String {
    format!("jit@{enterprise}")
}

impl LogFormat<&[u8]> for Rfc5424 {
    fn format<W: Write>(&self, writer: &mut W, _: syslog::Severity, line: &[u8]) -> syslog::Result<()> {
        // One datagram is one message; a short write does not happen on a datagram socket (unix(7)).
        writer.write_all(line)?;
        Ok(())
    }
}

/// Sends one record, with the severity of its event.
pub(super) fn send(logger: &mut Logger<LoggerBackend, Rfc5424>, sealed: &Sealed) -> syslog::Result<()> {
    let record = serde_json::from_str::<Record>(&sealed.line).ok();
    let severity = record.as_ref().map_or(Severity::Warning, |record| severity_of(record.event));
    // The line has the severity; the crate's own goes to `format`, which ignores it.
    logger.info(logger.formatter.line(severity, sealed, record.as_ref())?.as_slice())
}

/// Sends a heartbeat.
pub(super) fn send_heartbeat(
    logger: &mut Logger<LoggerBackend, Rfc5424>,
    heartbeat: &Heartbeat,
) -> syslog::Result<()> {
    logger.info(logger.formatter.heartbeat(heartbeat)?.as_slice())
}

fn severity_of(event: AuditEvent) -> Severity {
    match event.severity() {
        record::Severity::Alert => Severity::Alert,
        record::Severity::Error => Severity::Err,
        record::Severity::Warning => Severity::Warning,
        record::Severity::Notice => Severity::Notice,
        record::Severity::Info => Severity::Info,
    }
}

#[cfg(test)]
mod siem;

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::chain::{Head, append};
    use jit_proto::audit::record::{Draft, Facts};
    use jit_proto::time::{BootId, BootTime, WallTime};
    use proptest::prelude::*;

    fn line_of(facts: Facts) -> String {
        let draft = Draft {
            event: AuditEvent::AccessDenied,
            wall: WallTime(1_795_328_475_854_724),
            boot: BootTime(1),
            boot_id: BootId("b".into()),
            facts,
        };
        let sealed = Sealed { seal: Some("5".repeat(64)), ..append(&mut Head::default(), draft).unwrap() };
        String::from_utf8(
            Rfc5424::new(32473)
                .line(Severity::Warning, &sealed, Some(&serde_json::from_str(&sealed.line).unwrap()))
                .unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn a_record_is_one_line_of_rfc5424() {
        let line = line_of(Facts { user: Some("alice".into()), uid: Some(1000), ..Facts::default() });
        assert!(line.starts_with("<84>1 2026-11-22T06:21:15.854724Z "), "{line}");
        assert!(line.contains(" access.denied [jit@32473 seq=\"1\" hash=\""), "{line}");
        assert!(line.contains(" user=\"alice\"") && line.contains(" uid=\"1000\""), "{line}");
        assert!(line.ends_with("] access.denied user alice"), "{line}");
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line_or_a_fact(text in "\\PC{0,40}|[\\x01-\\x20\"\\]\\[\\\\=]{0,600}|(é\n){900}") {
            let words = vec![text.clone(); 12];
            let line = line_of(Facts {
                user: Some(text.clone()), reason: Some(text.clone()), argv: Some(words.clone()),
                detail: Some(text.clone()), processes: Some(words), ..Facts::default()
            });
            prop_assert!(line.len() <= MAX_LINE_BYTES, "{}", line.len());
            prop_assert!(!line.chars().any(jit_proto::escape::is_unsafe));
            // Outside of escaped characters the structured data ends exactly once.
            let mut ends = 0;
            let mut escaped = false;
            let data = &line[line.find("[jit@").unwrap()..];
            let mut quoted = false;
            for c in data.chars() {
                if escaped { escaped = false; continue; }
                match c {
                    '\\' if quoted => escaped = true,
                    '"' => quoted = !quoted,
                    ']' if !quoted => { ends += 1; break; }
                    _ => {}
                }
            }
            prop_assert_eq!(ends, 1);
            prop_assert!(!quoted);
        }
    }
}
