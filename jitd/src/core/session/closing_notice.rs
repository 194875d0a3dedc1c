//! The message on the terminals of a session that is ended: that it ends, why, and what to do next.

use jit_proto::time::format_duration;

use crate::core::ledger::{EndedBy, Grant, GrantState, Session};
use crate::core::policy::Role;

/// The lines, written before the first signal; none where nobody reads them (`parent`: the outer session gets the
/// message). `grant` is the session's grant as it was closed, if it was.
#[must_use]
pub(in crate::core) fn lines(
    session: &Session,
    why: EndedBy,
    grant: Option<&Grant>,
    role: Option<&Role>,
) -> Vec<String> {
    let (who, name) = (&session.holder.name, &session.role);
    let why = match why {
        EndedBy::Expired if session.drain_deadline.is_some() => {
            "the time that it had to finish has passed".to_owned()
        }
        EndedBy::Expired => "its time is over".to_owned(),
        EndedBy::Released if matches!(grant.map(|grant| &grant.state), Some(GrantState::Unused { .. })) => {
            "it was not used".to_owned()
        }
        EndedBy::Released => "it was released".to_owned(),
        EndedBy::Revoked => match grant.map(|grant| &grant.state) {
            Some(GrantState::Revoked { by, reason, .. }) => {
                format!("{} revoked it: {}", by.name, reason.as_str())
            }
            _ => "it was revoked".to_owned(),
        },
        EndedBy::Withdrawn => match grant.map(|grant| &grant.state) {
            Some(GrantState::Withdrawn { why, .. }) => format!("it was withdrawn: {why}"),
            _ => "it was withdrawn".to_owned(),
        },
        EndedBy::Idle => {
            let after = role.and_then(|role| role.options.idle_timeout).map(format_duration);
            let after = after.map_or(String::new(), |after| format!(" for {after}"));
            return vec![
                format!("jit: this session of {who} for {name} ends now: it was idle{after}."),
                "jit: the window is still open; sudo begins another session.".to_owned(),
            ];
        }
        EndedBy::Logout => {
            return vec![format!("jit: this session of {who} for {name} ends now: its login has ended.")];
        }
        EndedBy::Unrecorded => {
            return vec![format!(
                "jit: this session of {who} for {name} ends now: its record could not be written to the disk."
            )];
        }
        EndedBy::Group => {
            return vec![format!(
                "jit: this session of {who} for {name} ends now: a process of it has a group that the role does not give."
            )];
        }
        EndedBy::Tampered => {
            return vec![format!(
                "jit: this session of {who} for {name} ends now: PID 1 cannot be made to hold its time limit."
            )];
        }
        EndedBy::Orphaned => "jitd found no live grant for it when it started".to_owned(),
        EndedBy::Exited | EndedBy::Parent | EndedBy::Boot => return Vec::new(),
    };
    let mut lines = vec![
        format!("jit: the window of {who} for {name} has closed: {why}."),
        "jit: all processes started in it are terminated now.".to_owned(),
    ];
    if let Some(role) = role {
        lines.push(format!("jit: to go on, type:  {}", role.request_line()));
    }
    lines
}
