//! Writes to people's terminals: to the approvers of a request, and to the requester about its outcome.
//!
//! The terminals are those below `/dev/pts` that belong to the person and that they let others write to (mesg(1): the
//! group-write bit).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use jit_proto::audit::record::{AuditEvent, Facts, Record};
use jit_proto::escape::cut;
use jit_proto::identity::UserId;
use jit_proto::time::format_duration;

use crate::core::notices::{Audience, audience};
use crate::core::people::People;
use crate::host::accounts::Nss;
use crate::host::terminal;

/// The most terminals of one person that are written to: those used last.
const MAX_TERMINALS: usize = 4;
/// The most terminals that are looked at.
const MAX_SEEN: usize = 4096;
/// The most bytes of a line that a text of a person takes.
const MAX_TEXT_BYTES: usize = 160;

/// Writes the lines of a record to the terminals of the people it concerns. Blocks on the user directory and on
/// `/dev/pts`.
pub(super) fn tell(record: &Record, approvers: &People) {
    let Some(whom) = audience(record.event, &record.facts) else { return };
    let lines = lines(record);
    let requester = record.facts.uid.map(UserId);
    for (owner, terminals) in open_terminals() {
        let is_meant = match whom {
            Audience::Requester => requester == Some(owner),
            Audience::Approvers => {
                requester != Some(owner)
                    && Nss.person(owner).ok().flatten().is_some_and(|person| approvers.include(&person))
            }
        };
        if is_meant {
            terminals.iter().for_each(|tty| terminal::tell_if_open(owner, tty, &lines));
        }
    }
}

/// The terminals that let others write, by owner, each owner's in the order of their last use, the latest first.
fn open_terminals() -> BTreeMap<UserId, Vec<String>> {
    let mut found: BTreeMap<UserId, Vec<(i64, String)>> = BTreeMap::new();
    for entry in fs::read_dir("/dev/pts").into_iter().flatten().flatten().take(MAX_SEEN) {
        let Ok(meta) = entry.metadata() else { continue };
        let number = entry.file_name().to_string_lossy().into_owned();
        if terminal::is_open(&meta) && number.bytes().all(|byte| byte.is_ascii_digit()) {
            found.entry(UserId(meta.uid())).or_default().push((meta.atime(), format!("pts/{number}")));
        }
    }
    let newest = |mut terminals: Vec<(i64, String)>| {
        terminals.sort_unstable_by(|left, right| right.cmp(left));
        terminals.into_iter().take(MAX_TERMINALS).map(|(_, tty)| tty).collect()
    };
    found.into_iter().map(|(owner, terminals)| (owner, newest(terminals))).collect()
}

/// The lines for a terminal, before [`terminal::tell_if_open`] escapes them.
fn lines(record: &Record) -> Vec<String> {
    let Facts { user, actor, role, request, seconds, reason, ticket, detail, until, .. } = &record.facts;
    let text = |text: &Option<String>| cut(text.as_deref().unwrap_or("?"), MAX_TEXT_BYTES);
    let (user, role, actor) = (text(user), text(role), text(actor));
    let id = request.map_or_else(|| "?".to_owned(), |id| id.to_string());
    let span = seconds.map(|seconds| format!(" for {}", format_duration(Duration::from_secs(seconds))));
    let span = span.unwrap_or_default();
    match record.event {
        AuditEvent::RequestMade => {
            let ticket = ticket.as_ref().map(|_| format!(", {}", text(ticket))).unwrap_or_default();
            vec![
                format!("jit: {user} asks for {role}{span} (request {id}{ticket}): {}", text(reason)),
                format!(
                    "jit: to decide, type:  jitctl show {id}    jitctl approve {id}    jitctl deny {id} --reason \"...\""
                ),
            ]
        }
        AuditEvent::RequestDenied => {
            vec![format!("jit: request {id} ({role}) is denied by {actor}: {}", text(detail))]
        }
        AuditEvent::RequestExpired => {
            vec![format!(
                "jit: request {id} ({role}) has lapsed: nobody decided in time. Ask anew if it is still needed."
            )]
        }
        AuditEvent::RequestApproved => {
            vec![format!("jit: request {id} ({role}) has an approval by {actor}.")]
        }
        _ => {
            let end = until.as_ref().map(|_| format!(", until {}", text(until))).unwrap_or_default();
            vec![format!("jit: request {id} ({role}) is approved{end}.")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(event: AuditEvent, text: &str) -> Vec<String> {
        let own = || Some(text.to_owned());
        let facts = Facts {
            user: own(),
            actor: own(),
            role: Some("web-admin".into()),
            request: Some(7),
            seconds: Some(1800),
            reason: own(),
            detail: own(),
            ..Facts::default()
        };
        lines(&Record {
            v: 1,
            seq: 1,
            prev: String::new(),
            time: String::new(),
            boot_us: 1,
            boot_id: String::new(),
            event,
            facts,
        })
    }

    #[test]
    fn a_request_names_who_what_for_how_long_and_how_to_decide() {
        let lines = said(AuditEvent::RequestMade, "alice");
        assert_eq!(lines[0], "jit: alice asks for web-admin for 30m (request 7): alice");
        assert!(lines[1].contains("jitctl approve 7"), "{lines:?}");
        assert_eq!(
            said(AuditEvent::RequestDenied, "bob"),
            ["jit: request 7 (web-admin) is denied by bob: bob"]
        );
    }

    #[test]
    fn no_text_of_a_person_fills_or_steers_a_terminal() {
        for event in [
            AuditEvent::RequestMade,
            AuditEvent::RequestDenied,
            AuditEvent::RequestExpired,
            AuditEvent::GrantStarted,
        ] {
            for line in said(event, &"\u{1b}[2Jx\n".repeat(500)) {
                assert!(line.len() < 600 && !line.contains(['\u{1b}', '\n']), "{line}");
            }
        }
    }
}
