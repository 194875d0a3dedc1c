//! The audit record: one line of JSON with its keys in a fixed order.

use serde::{Deserialize, Serialize};

pub use crate::audit::event::{AuditEvent, Severity};
use crate::escape::spelled_out_json;
use crate::time::{BootId, BootTime, WallTime};

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
    /// The group that was asked for beside that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<String>,
    /// Terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// Process id of sudo itself, or of the process that sent a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// As sudo was called; cut after 4,096 bytes, which `argv_cut` then says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Whether `argv` was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv_cut: Option<bool>,
    /// The executable of that process, as the kernel names it (`/proc/PID/exe`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Where a command came from: `login`, `root-login`, `other-account`, `rewritten-login-uid`, `window`, `window-audit-session`, `job`,
    /// `user-unit`, `service`, `no-login-uid`, `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The unit or scope that the command came from; the path of its cgroup where it came from none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
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
    /// Why it ended: `exited`, `expired`, `released`, `unused`, `revoked`, `withdrawn`, `idle`, `logout`, `parent`,
    /// `boot`, `orphaned`, `unrecorded`, `tampered`, `group`.
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
    /// Milliseconds from the deadline, or from the revocation, to the first signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_signal_ms: Option<u64>,
    /// Milliseconds from the kill, after the grace, to proven empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_ms: Option<u64>,
    /// Milliseconds from the gate's answer until every process was in the session's scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contained_ms: Option<u64>,
    /// The processes found, a line each, at most 64 of them: pid, start, uid, cgroup, executable, command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<String>>,
    /// What changed in the places where privilege is kept, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<Vec<String>>,
    /// The gravest kind of what `left_behind` tells: `set-uid`, `accounts`, `sudoers`, ... (jit-audit(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// Which of several records of one survey this is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u64>,
    /// The logind session that the elevation came from (`loginctl session-status`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_session: Option<String>,
    /// The systemd invocations of the session's scopes (`journalctl _SYSTEMD_INVOCATION_ID=`); one, or one more for each
    /// time that the end of its window moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations: Option<Vec<String>>,
    /// Where sudo keeps what was typed and shown, if it does (sudoers(5), `log_output`): what `sudoreplay` plays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_log: Option<String>,
    /// SHA-256 of the policy, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// A place that records go to: `syslog`, `journal`, `json-lines`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Which key a seal begins with, without the key: 16 hexadecimal digits ([`crate::audit::seal::SealKey::id`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
    /// The first of the records that were removed from the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_from: Option<u64>,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_to: Option<u64>,
    /// The last one's hash, in hex: the `prev` of the first record kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_hash: Option<String>,
    /// Time of the youngest of them, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_newest: Option<String>,
    /// The limit by which they were removed: `retention` or `retention_size` ([`crate::audit::retention::Limit`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_by: Option<String>,
    /// The retention then in force, in seconds; left out where records were kept for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<u64>,
    /// The rule that raised an alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The number of the record that an alert, or what could not be told, is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<u64>,
    /// How many of the same kind were held back since the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
    /// What else there is to say, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A record that has not been numbered and chained yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What happened.
    pub event: AuditEvent,
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
    pub event: AuditEvent,
    /// What is known about it.
    #[serde(flatten)]
    pub facts: Facts,
}

impl Record {
    /// The line that it is, as it is hashed.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no record of this crate can.
    pub(crate) fn line(&self) -> Result<String, serde_json::Error> {
        // Whoever looks at the line in a file, with whatever program, is not fooled by it either.
        Ok(spelled_out_json(&serde_json::to_string(self)?).into_owned())
    }
}
