//! Sends records to the journal, with a field for each fact (systemd.journal-fields(7)).
//!
//! The protocol is a datagram of fields, each with its length where its value may hold a newline, as systemd documents
//! it in "Native Journal Protocol". PID 1 holds journald's socket, so that a restart of journald loses nothing.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::message;
use jit_proto::audit::message_id;
use jit_proto::audit::record::Record;
use serde_json::Value;

use super::datagram::MAX_SEND_TIME;
use super::heartbeat::Heartbeat;
use super::receiver::Receiver;
use super::sink::{SendError, Sink};
use super::syslog_line;
use crate::core::policy::SinkSettings;

/// Where journald listens (systemd-journald.service(8)).
const SOCKET: &str = "/run/systemd/journal/socket";
/// A value longer than this is cut; the store keeps it whole.
const MAX_VALUE_BYTES: usize = 16 * 1024;
/// authpriv (RFC 5424 section 6.2.1).
const FACILITY: &str = "10";

/// The socket that journald keeps for syslog(3); /dev/log is a link to it.
const DEV_LOG: &str = "/run/systemd/journal/dev-log";

/// Sends native messages.
pub(super) struct Journal {
    /// Set where journald hands the messages on to the syslog daemon: the private enterprise number behind `jit@`, and
    /// whether each fact is a field too.
    for_syslog: Option<(u32, bool)>,
    line: Option<(UnixDatagram, Receiver)>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { for_syslog: None, line: None }
    }

    /// Takes the place of the syslog socket where that is journald's: one message becomes one entry of the journal and
    /// one line of the syslog daemon.
    pub(super) fn for_syslog(enterprise: u32, fields: bool) -> Self {
        Self { for_syslog: Some((enterprise, fields)), line: None }
    }

    fn write(&mut self, message: &[u8]) -> Result<(), SendError> {
        let line = match self.line.take() {
            Some(line) => line,
            None => connect().map_err(stopped)?,
        };
        let (socket, _) = self.line.insert(line);
        socket.send(message).map(drop).map_err(stopped)
    }
}

/// Whether journald reads this syslog socket. False where another socket is mounted over its path.
pub(super) fn is_behind(socket: &Path) -> bool {
    let is_its = std::fs::canonicalize(socket).is_ok_and(|path| path == Path::new(DEV_LOG));
    is_its
        && std::fs::read_to_string("/proc/self/mountinfo")
            .is_ok_and(|mounts| !mounts.lines().any(|mount| mount.split(' ').nth(4) == Some(DEV_LOG)))
}

fn stopped(error: std::io::Error) -> SendError {
    match error.kind() {
        // MAX_SEND_TIME has passed.
        std::io::ErrorKind::WouldBlock => SendError::Full(format!("{SOCKET}: its queue is full")),
        _ => SendError::Lost(format!("{SOCKET}: {error}")),
    }
}

fn connect() -> std::io::Result<(UnixDatagram, Receiver)> {
    let receiver = Receiver::at(Path::new(SOCKET))?;
    let socket = UnixDatagram::unbound()?;
    socket.connect(SOCKET)?;
    socket.set_write_timeout(Some(MAX_SEND_TIME))?;
    Ok((socket, receiver))
}

impl Sink for Journal {
    fn configure(&mut self, settings: &SinkSettings) -> bool {
        // Where journald reads the syslog socket, the syslog sink's messages have the fields.
        settings.journal && !is_behind(&settings.syslog_socket)
    }

    fn send(&mut self, sealed: &Sealed) -> Result<(), SendError> {
        self.write(&entry(sealed, self.for_syslog))
    }

    fn has_read_all(&mut self) -> Result<bool, SendError> {
        match &self.line {
            Some((socket, receiver)) => {
                receiver.has_read_all(socket).map_err(|error| SendError::Lost(error.to_string()))
            }
            None => Ok(true),
        }
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), SendError> {
        let mut fields = Fields::default();
        let text = match self.for_syslog {
            Some((enterprise, _)) => syslog_line::heartbeat_text(enterprise, heartbeat),
            None => heartbeat.text(),
        };
        fields.common(&text, "6", jit_proto::bus::names::HEARTBEAT);
        for (name, value) in heartbeat.facts() {
            fields.put(&format!("JIT_{}", name.to_uppercase()), &value);
        }
        self.write(&fields.0)
    }

    fn disconnect(&mut self) {
        self.line = None;
    }
}

/// The fields of one record.
fn entry(sealed: &Sealed, for_syslog: Option<(u32, bool)>) -> Vec<u8> {
    let mut fields = Fields::default();
    let record = serde_json::from_str::<Record>(&sealed.line).ok();
    let text = match (for_syslog, &record) {
        (Some((enterprise, _)), record) => syslog_line::text(enterprise, sealed, record.as_ref()),
        // `lead` has no opening bracket, so that no text in it passes for structured data of jitd.
        (None, Some(record)) => message::lead(record, MAX_VALUE_BYTES),
        (None, None) => "a stored record cannot be read".to_owned(),
    };
    match record {
        Some(record) => {
            let priority = (record.event.severity() as u8).to_string();
            fields.common(&text, &priority, record.event.name());
            if for_syslog.is_some_and(|(_, fields)| !fields) {
                return fields.0;
            }
            fields.put("JIT_PREV", &record.prev);
            fields.put("JIT_TIME", &record.time);
            if let Some(pid) = record.facts.pid {
                fields.put("OBJECT_PID", &pid.to_string());
            }
            if let Ok(Value::Object(facts)) = serde_json::to_value(&record.facts) {
                for (name, value) in facts {
                    fields.put(&format!("JIT_{}", name.to_uppercase()), &text_of(value));
                }
            }
        }
        None => fields.common(&text, "4", "record.unreadable"),
    }
    fields.put("JIT_SEQ", &sealed.seq.to_string());
    fields.put("JIT_HASH", &sealed.hash);
    if let Some(seal) = &sealed.seal {
        fields.put("JIT_SEAL", seal);
    }
    fields.0
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Array(items) => {
            let lines: Vec<String> = items.into_iter().map(text_of).collect();
            lines.join("\n")
        }
        other => other.to_string(),
    }
}

/// A native message, field by field.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn common(&mut self, text: &str, priority: &str, event: &str) {
        self.put("MESSAGE", text);
        self.put("MESSAGE_ID", &message_id::of(event));
        self.put("PRIORITY", priority);
        self.put("SYSLOG_FACILITY", FACILITY);
        self.put("SYSLOG_IDENTIFIER", "jitd");
        self.put("JIT_EVENT", event);
    }

    /// Appends a field in the form with a length, which holds any value; so no value can look like another field.
    fn put(&mut self, name: &str, value: &str) {
        let end = value.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_VALUE_BYTES).last();
        let value = if value.len() <= MAX_VALUE_BYTES { value } else { &value[..end.unwrap_or(0)] };
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::chain::{Head, append};
    use jit_proto::audit::record::{AuditEvent, Draft, Facts};
    use jit_proto::time::{BootId, BootTime, WallTime};
    use std::collections::BTreeMap;

    /// Reads a message as journald does.
    fn parse(mut message: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !message.is_empty() {
            let end = message.iter().position(|byte| *byte == b'\n').unwrap();
            let name = String::from_utf8(message[..end].to_vec()).unwrap();
            let rest = &message[end + 1..];
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let value = String::from_utf8(rest[8..8 + length].to_vec()).unwrap();
            assert_eq!(rest[8 + length], b'\n');
            message = &rest[8 + length + 1..];
            assert!(fields.insert(name.clone(), value).is_none(), "{name} twice");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            );
            assert!(name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
        }
        fields
    }

    #[test]
    fn a_record_is_fields_and_no_value_makes_another_one() {
        let facts = Facts {
            user: Some("alice".into()),
            reason: Some("x\nMESSAGE_ID=0\nJIT_USER=mallory\x1b[2J".into()),
            argv: Some(vec!["sh".into(), "y".repeat(3 * MAX_VALUE_BYTES)]),
            pid: Some(7),
            ..Facts::default()
        };
        let (wall, boot, boot_id) = (WallTime(1_795_328_475_854_724), BootTime(1), BootId("b".into()));
        let draft = Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts };
        let sealed = append(&mut Head::default(), draft).unwrap();
        let fields = parse(&entry(&sealed, None));
        let is =
            |name: &str, value: &str| assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
        is("JIT_USER", "alice");
        is("JIT_EVENT", "access.denied");
        is("JIT_SEQ", "1");
        is("JIT_HASH", &sealed.hash);
        is("PRIORITY", "4");
        is("OBJECT_PID", "7");
        is("MESSAGE_ID", &message_id::of("access.denied"));
        is("JIT_REASON", "x\nMESSAGE_ID=0\nJIT_USER=mallory\x1b[2J");
        assert!(!fields["MESSAGE"].chars().any(jit_proto::escape::is_unsafe));
        assert_eq!(fields["JIT_ARGV"].len(), MAX_VALUE_BYTES);
        // The message that journald hands on to the syslog daemon is one line, with or without the fields.
        for whole in [true, false] {
            let both = parse(&entry(&sealed, Some((32473, whole))));
            let text = &both["MESSAGE"];
            assert!(text.starts_with("access.denied user alice [jit@32473 seq=\"1\" hash=\""), "{text}");
            assert!(text.len() <= 2048 && !text.chars().any(jit_proto::escape::is_unsafe), "{text}");
            assert_eq!(both.contains_key("JIT_USER"), whole);
        }
    }
}
