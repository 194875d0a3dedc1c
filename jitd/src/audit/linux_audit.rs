//! Sends events about grants and sessions to the kernel's audit system (auditd(8)), where it takes events from user
//! space.
//!
//! Each event is sent once and not kept: the audit record counts, and the event points to it for an administrator who
//! uses ausearch(8). The texts are as libaudit writes them; the library itself would add nothing but its headers.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::event::{Kernel, Outcome};
use jit_proto::audit::record::Record;
use rustix::net::netlink::{AUDIT, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use tracing::{info, warn};

/// Events that wait; more are dropped, since the audit log has them.
const MAX_WAITING: usize = 1024;
/// The kernel answers at once, or waits for room in its backlog for as long as `auditctl --backlog_wait_time` says.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The longest value in a text. `AUDIT_MESSAGE_TEXT_MAX` of linux/audit.h is 8,560 for the whole text.
const MAX_VALUE_BYTES: usize = 256;

// linux/netlink.h
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;

/// Types of events (linux/audit.h; libaudit.h of audit 4.0 for those between 2100 and 2999).
mod kind {
    pub(super) const USER_MGMT: u16 = 1102;
    pub(super) const USYS_CONFIG: u16 = 1111;
    pub(super) const ANOM_RBAC_INTEGRITY_FAIL: u16 = 2109;
    pub(super) const RESP_KILL_PROC: u16 = 2202;
    pub(super) const ROLE_ASSIGN: u16 = 2301;
    pub(super) const ROLE_REMOVE: u16 = 2302;
}

/// Passes events to a thread of their own, which may block in the kernel.
#[derive(Debug)]
pub(super) struct Teller {
    sender: mpsc::SyncSender<(u16, String)>,
}

impl Teller {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, inbox) = mpsc::sync_channel(MAX_WAITING);
        thread::Builder::new().name("audit-linux".into()).spawn(move || tell_all(&inbox))?;
        Ok(Self { sender })
    }

    /// Sends the event of a record, if there is one for it.
    pub(super) fn tell(&self, sealed: &Sealed) {
        // A record that cannot be read shows in the verification of the chain.
        let Ok(record) = serde_json::from_str::<Record>(&sealed.line) else { return };
        if let Some(kind) = kind_of(&record) {
            // Dropped where the thread has ended or MAX_WAITING events wait.
            let _ = self.sender.try_send((kind, text_of(&record, &sealed.hash)));
        }
    }
}

fn tell_all(inbox: &mpsc::Receiver<(u16, String)>) {
    let mut socket = None;
    let mut number = 0;
    while let Ok((kind, text)) = inbox.recv() {
        number += 1;
        let told = match &socket {
            Some(socket) => send(socket, number, kind, &text),
            None => open().and_then(|opened| send(socket.insert(opened), number, kind, &text)),
        };
        match told {
            Ok(()) => {}
            // A container, a daemon without CAP_AUDIT_WRITE and some kernels never take one: no later event is tried.
            Err(why) if takes_none(&why) => {
                info!("the kernel takes no audit events of jitd here: {why}");
                return;
            }
            Err(why) => {
                warn!("the kernel did not take an audit event: {why}");
                socket = None;
            }
        }
    }
}

fn takes_none(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ConnectionRefused
            | ErrorKind::Unsupported
            | ErrorKind::InvalidInput
    ) || [libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT].map(Some).contains(&why.raw_os_error())
}

/// The kernel's event type for a record, if it has one; libpam sends those of sudo's calls.
fn kind_of(record: &Record) -> Option<u16> {
    Some(match record.event.row().kernel? {
        Kernel::RoleAssign => kind::ROLE_ASSIGN,
        Kernel::RoleRemove => kind::ROLE_REMOVE,
        Kernel::UserMgmt => kind::USER_MGMT,
        Kernel::UsysConfig => kind::USYS_CONFIG,
        Kernel::RespKillProc if record.facts.killed.is_none_or(|killed| killed == 0) => return None,
        Kernel::RespKillProc => kind::RESP_KILL_PROC,
        Kernel::AnomRbacIntegrityFail => kind::ANOM_RBAC_INTEGRITY_FAIL,
    })
}

/// `op=... acct=... res=success`, with the number and hash of the record.
fn text_of(record: &Record, hash: &str) -> String {
    let facts = &record.facts;
    let mut text = format!("op=jit-{}", record.event.name());
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name}={value}"));
        }
    };
    put("acct", facts.user.as_deref().or(facts.actor.as_deref()).map(encoded));
    put("by", facts.actor.as_deref().map(encoded));
    put("role", facts.role.as_deref().map(encoded));
    put("request", facts.request.map(|number| number.to_string()));
    put("grant", facts.grant.map(|number| number.to_string()));
    put("session", facts.session.map(|number| number.to_string()));
    put("audit-session", facts.audit_session.map(|number| number.to_string()));
    put("policy", facts.policy.as_deref().map(encoded));
    put("seq", Some(record.seq.to_string()));
    put("hash", Some(encoded(hash)));
    let failed = record.event.row().outcome == Outcome::Failure;
    text.push_str(" exe=\"/usr/libexec/jitd\" hostname=? addr=? terminal=? res=");
    text.push_str(if failed { "failed" } else { "success" });
    text
}

/// A value as libaudit writes one from an untrusted source (`audit_encode_nv_string`): in quotes, or in hexadecimal
/// digits where it has a blank, a quote or a byte that is not printable ASCII.
fn encoded(value: &str) -> String {
    let end = value
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= MAX_VALUE_BYTES)
        .last();
    let value = &value[..end.unwrap_or(0)];
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
    if value.bytes().all(plain) { format!("\"{value}\"") } else { hex::encode_upper(value) }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(AUDIT))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))?;
    Ok(socket)
}

/// Sends one event and waits for the kernel's answer (netlink(7)).
fn send(socket: &OwnedFd, number: u32, kind: u16, text: &str) -> io::Result<()> {
    let length =
        u32::try_from(HEADER + text.len() + 1).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    let mut message = Vec::with_capacity(HEADER + text.len() + 4);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(text.as_bytes());
    message.push(0);
    sendto(socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    loop {
        let mut answer = [0; 256];
        let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty())?;
        // The answer to an earlier event may have come after ANSWER_LIMIT.
        if let Some(error) = error_for(number, answer.get(..length).unwrap_or_default()) {
            return if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-error)) };
        }
    }
}

/// The error number in an answer, or 0, if it answers this message.
fn error_for(number: u32, answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let of = u32::from_ne_bytes(answer.get(8..12)?.try_into().ok()?);
    let error = i32::from_ne_bytes(answer.get(HEADER..HEADER + 4)?.try_into().ok()?);
    (kind == NLMSG_ERROR && of == number).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::record::AuditEvent;
    use jit_proto::audit::record::Facts;
    use proptest::prelude::*;

    fn a_record(event: AuditEvent, facts: Facts) -> Record {
        let (prev, time, boot_id) = (String::new(), String::new(), String::new());
        Record { v: 1, seq: 42, prev, time, boot_us: 0, boot_id, event, facts }
    }

    #[test]
    fn an_event_says_who_got_what_from_whom() {
        let facts = Facts {
            user: Some("dave".into()),
            actor: Some("o'brien".into()),
            role: Some("ops".into()),
            grant: Some(7),
            ..Facts::default()
        };
        let record = a_record(AuditEvent::GrantStarted, facts);
        assert_eq!(kind_of(&record), Some(2301));
        assert_eq!(
            text_of(&record, "ab"),
            "op=jit-grant.started acct=\"dave\" by=6F27627269656E role=\"ops\" grant=7 seq=42 hash=\"ab\" \
             exe=\"/usr/libexec/jitd\" hostname=? addr=? terminal=? res=success"
        );
    }

    #[test]
    fn only_what_ended_something_tells_of_a_kill() {
        let ended =
            |killed| kind_of(&a_record(AuditEvent::SessionEnded, Facts { killed, ..Facts::default() }));
        assert_eq!((ended(None), ended(Some(0)), ended(Some(2))), (None, None, Some(2202)));
    }

    /// As root on a kernel with audit the event is taken; in a container, or as another user, it is refused for good.
    #[test]
    #[allow(clippy::print_stdout, reason = "which of both it was is told to whoever runs the test alone")]
    fn the_kernel_takes_an_event_or_refuses_it_for_good() {
        let record = a_record(
            AuditEvent::PolicyLoaded,
            Facts { user: Some("jitd's own test".into()), ..Facts::default() },
        );
        let told = open().and_then(|socket| send(&socket, 1, kind::USYS_CONFIG, &text_of(&record, "")));
        println!("the kernel says: {told:?}");
        assert!(told.as_ref().err().is_none_or(takes_none), "{told:?}");
    }

    proptest! {
        #[test]
        fn nobody_adds_a_field(text in "\\PC{0,40}|[\\x01-\\x20\"'= \\]]{0,400}") {
            let facts = Facts { user: Some(text.clone()), actor: Some(text.clone()), role: Some(text), ..Facts::default() };
            let told = text_of(&a_record(AuditEvent::RequestMade, facts), "ab");
            prop_assert!(told.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && !told.contains('\''));
            let names: Vec<&str> = told.split(' ').map(|field| field.split('=').next().unwrap_or_default()).collect();
            prop_assert_eq!(
                names,
                ["op", "acct", "by", "role", "seq", "hash", "exe", "hostname", "addr", "terminal", "res"]
            );
        }

        #[test]
        fn no_answer_is_misread(number in 0u32..3, answer in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(_error) = error_for(number, &answer) {
                prop_assert_eq!(&answer[8..12], number.to_ne_bytes());
            }
        }
    }
}
