//! The audit record: one line of JSON with its keys in a fixed order.

use serde::{Deserialize, Serialize};

use crate::moment::{BootId, BootTime, WallTime};

/// What happened. The text is the record's `event` and the MSGID of its syslog message (RFC 5424 section 6.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The daemon started.
    #[serde(rename = "daemon.started")]
    DaemonStarted,
    /// The daemon was told to stop.
    #[serde(rename = "daemon.stopped")]
    DaemonStopped,
    /// A policy came into force.
    #[serde(rename = "policy.loaded")]
    PolicyLoaded,
    /// A policy was not accepted; the running one stays.
    #[serde(rename = "policy.refused")]
    PolicyRefused,
    /// Somebody asked for a role.
    #[serde(rename = "request.made")]
    RequestMade,
    /// One person said yes.
    #[serde(rename = "request.approved")]
    RequestApproved,
    /// An approver said no.
    #[serde(rename = "request.denied")]
    RequestDenied,
    /// The requester took it back.
    #[serde(rename = "request.cancelled")]
    RequestCancelled,
    /// Nobody decided in time.
    #[serde(rename = "request.expired")]
    RequestExpired,
    /// A window opened.
    #[serde(rename = "grant.started")]
    GrantStarted,
    /// A window closed at its deadline.
    #[serde(rename = "grant.expired")]
    GrantExpired,
    /// The holder handed it back.
    #[serde(rename = "grant.released")]
    GrantReleased,
    /// An operator or approver took it away.
    #[serde(rename = "grant.revoked")]
    GrantRevoked,
    /// A command of people or scripts was refused.
    #[serde(rename = "command.refused")]
    CommandRefused,
    /// The gate let an elevation through.
    #[serde(rename = "access.allowed")]
    AccessAllowed,
    /// The gate refused an elevation.
    #[serde(rename = "access.denied")]
    AccessDenied,
    /// Real uid 0 passed the gate.
    #[serde(rename = "access.root")]
    AccessRoot,
    /// An elevated session opened: its target is known.
    #[serde(rename = "session.opened")]
    SessionOpened,
    /// Everything in a session is gone.
    #[serde(rename = "session.ended")]
    SessionEnded,
    /// A session could not be proven empty; it is tried again.
    #[serde(rename = "session.stuck")]
    SessionStuck,
}

impl Event {
    /// The event's name, at most 32 characters of printable ASCII.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DaemonStarted => "daemon.started",
            Self::DaemonStopped => "daemon.stopped",
            Self::PolicyLoaded => "policy.loaded",
            Self::PolicyRefused => "policy.refused",
            Self::RequestMade => "request.made",
            Self::RequestApproved => "request.approved",
            Self::RequestDenied => "request.denied",
            Self::RequestCancelled => "request.cancelled",
            Self::RequestExpired => "request.expired",
            Self::GrantStarted => "grant.started",
            Self::GrantExpired => "grant.expired",
            Self::GrantReleased => "grant.released",
            Self::GrantRevoked => "grant.revoked",
            Self::CommandRefused => "command.refused",
            Self::AccessAllowed => "access.allowed",
            Self::AccessDenied => "access.denied",
            Self::AccessRoot => "access.root",
            Self::SessionOpened => "session.opened",
            Self::SessionEnded => "session.ended",
            Self::SessionStuck => "session.stuck",
        }
    }

    /// Whether the event is a refusal or a failure; such records go out as warnings.
    #[must_use]
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::AccessDenied
                | Self::CommandRefused
                | Self::PolicyRefused
                | Self::RequestDenied
                | Self::GrantRevoked
                | Self::SessionStuck
        )
    }
}

/// What is known about an event. What does not apply is left out of the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// How it went: `allowed`, `denied`, `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Login name of the person it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Their real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The uid they logged in with, as the kernel keeps it (`/proc/PID/loginuid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
    /// Audit session of the elevated tree (`ausearch --session`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
    /// Who did it, where that is somebody else: approver, operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Their uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_uid: Option<u32>,
    /// Everybody who approved or granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<String>>,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Session this one was started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_session: Option<u64>,
    /// PAM service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whom it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// Terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// Process id of sudo itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// As sudo was called; cut after 4,096 bytes, which `argv_cut` then says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Whether `argv` was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv_cut: Option<bool>,
    /// Why, in the person's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// End of the window, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Length of the window or of what was asked for, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Why it ended: `exited`, `expired`, `released`, `revoked`, `boot`, `parent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Processes found when the session was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<u64>,
    /// Of these, how many had left the session's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escaped: Option<u64>,
    /// Processes still there afterwards; 0, or the session has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Milliseconds from the deadline, or from the revocation, to proven empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// The processes found: `pid uid exe`, at most 64 of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<String>>,
    /// SHA-256 of the policy, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What else there is to say, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A record that has not been numbered and chained yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What happened.
    pub event: Event,
    /// On the wall clock.
    pub wall: WallTime,
    /// On the boot clock.
    pub boot: BootTime,
    /// In which boot.
    pub boot_id: BootId,
    /// What is known about it.
    pub facts: Facts,
}

/// The layout of a line. The order of the members is the order of the keys, and part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format: 1.
    pub v: u32,
    /// Number, from 1, without holes.
    pub seq: u64,
    /// Hash of the record before, in hex; 64 zeros for the first.
    pub prev: String,
    /// Wall time, RFC 3339 in UTC with six digits.
    pub time: String,
    /// Microseconds of `CLOCK_BOOTTIME`.
    pub boot_us: u64,
    /// Boot id.
    pub boot_id: String,
    /// What happened.
    pub event: Event,
    /// What is known about it.
    #[serde(flatten)]
    pub facts: Facts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_name_is_what_the_line_says() {
        for event in [Event::DaemonStarted, Event::AccessAllowed, Event::SessionStuck, Event::CommandRefused]
        {
            assert_eq!(serde_json::to_string(&event).unwrap(), format!("{:?}", event.name()));
            assert!(event.name().len() <= 32);
        }
    }
}
