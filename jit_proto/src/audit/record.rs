//! The audit record: a line of JSON with its keys in a fixed order.

use serde::{Deserialize, Serialize};

pub use crate::audit::event::{AuditEvent, Severity};
use crate::escape::spelled_out_json;
use crate::time::{BootId, BootTime, WallTime};

/// The facts of an event. Facts that do not apply are left out of the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The outcome: `allowed`, `denied`, `observed`, `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Login name of the person it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Their real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The login uid (`/proc/PID/loginuid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
    /// Audit session of the elevated tree (`ausearch --session`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
    /// The actor, if that is another person: approver, operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Their uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_uid: Option<u32>,
    /// Everybody who approved or granted it.
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
    /// The target user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// The group that the command line requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<String>,
    /// Terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// Process id of sudo itself, or of the process that sent a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The command line of sudo; cut after 4,096 bytes, which `argv_cut` then says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Whether `argv` was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv_cut: Option<bool>,
    /// The executable of that process, as the kernel names it (`/proc/PID/exe`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The origin of a command: `login`, `root-login`, `other-account`, `rewritten-login-uid`, `window`,
    /// `window-audit-session`, `job`, `user-unit`, `service`, `no-login-uid`, `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The unit or scope of the command's process; its cgroup path if it is in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The reason, as the person wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// End of the window, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Duration of the window or of the request, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Why it ended: `exited`, `expired`, `released`, `unused`, `revoked`, `withdrawn`, `idle`, `logout`, `parent`,
    /// `boot`, `orphaned`, `unrecorded`, `tampered`, `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Number of processes found when the session was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<u64>,
    /// Of these, how many had left the session's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escaped: Option<u64>,
    /// Number of processes that are left; if it is not 0, the session has not ended.
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
    /// The changes at watched paths, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<Vec<String>>,
    /// The most severe kind in `left_behind`: `set-uid`, `accounts`, `sudoers`, ... (jit-audit(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// The number of this record among the records of one scan, or of one observed call, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u64>,
    /// What `jitctl doctor` found open, a name each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Vec<String>>,
    /// The logind session that the elevation came from (`loginctl session-status`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_session: Option<String>,
    /// The systemd invocations of the session's scopes (`journalctl _SYSTEMD_INVOCATION_ID=`): one, and one more each
    /// time that the end of its window moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations: Option<Vec<String>>,
    /// The folder of sudo's log of input and output, if sudo writes one (sudoers(5), `log_output`; sudoreplay(8)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_log: Option<String>,
    /// SHA-256 of the policy, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// A sink: `syslog`, `journal`, `json-lines`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// The id of a seal's first key, without the key: 16 hexadecimal digits ([`crate::audit::seal::SealKey::id`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
    /// The first removed record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_from: Option<u64>,
    /// The last removed record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_to: Option<u64>,
    /// The hash of the last removed record, in hex: the `prev` of the first record kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_hash: Option<String>,
    /// Time of the newest removed record, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_newest: Option<String>,
    /// The limit by which they were removed: `retention` or `retention_size` ([`crate::audit::retention::Limit`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_by: Option<String>,
    /// The retention then in force, in seconds; left out if records were kept for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<u64>,
    /// The rule that raised an alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The number of the record that an alert or a failed notification is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<u64>,
    /// Number of events of the same kind that were suppressed since the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
    /// What let a call pass that would have been denied: `line`, `host`, `role`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_by: Option<String>,
    /// Roles that the person may request and that would have covered an observed call, at most 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eligible_roles: Option<Vec<String>>,
    /// Roles that would have covered it and that the person may not request, at most 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_roles: Option<Vec<String>>,
    /// Further details, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A record that has not been numbered and chained yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The event.
    pub event: AuditEvent,
    /// On the wall clock.
    pub wall: WallTime,
    /// On the boot clock.
    pub boot: BootTime,
    /// In which boot.
    pub boot_id: BootId,
    /// The facts.
    pub facts: Facts,
}

/// The layout of a line. The order of the members is the order of the keys, and part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format: 1.
    pub v: u32,
    /// Number, from 1, without gaps.
    pub seq: u64,
    /// Hash of the record before, in hex; 64 zeros for the first.
    pub prev: String,
    /// Wall time, RFC 3339 in UTC with six digits.
    pub time: String,
    /// Microseconds of `CLOCK_BOOTTIME`.
    pub boot_us: u64,
    /// Boot id.
    pub boot_id: String,
    /// The event.
    pub event: AuditEvent,
    /// The facts.
    #[serde(flatten)]
    pub facts: Facts,
}

impl Record {
    /// The line, as it is hashed.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which does not happen for records of this crate.
    pub(crate) fn line(&self) -> Result<String, serde_json::Error> {
        // A raw line in a file cannot mislead a terminal or an editor either.
        Ok(spelled_out_json(&serde_json::to_string(self)?).into_owned())
    }
}
