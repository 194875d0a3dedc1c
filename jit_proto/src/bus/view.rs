//! The views of the daemon's state: the keys of jitctl's JSON and of the `a{sv}` on the bus.
//!
//! Keys that end in `_at` are times: microseconds since the epoch on the bus, RFC 3339 in jitctl's JSON. Keys that end
//! in `_seconds` are durations.

use serde::{Deserialize, Serialize};

/// The approval of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Login name of the approver.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// The comment; empty if none.
    pub comment: String,
    /// The time of the approval.
    pub given_at: u64,
}

/// A request as one of its parties sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestView {
    /// Its number, which its grant will have too.
    pub id: u64,
    /// `pending`, `approved`, `denied`, `cancelled` or `expired`.
    pub state: String,
    /// The requested role.
    pub role: String,
    /// Login name of the requester.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// The reason.
    pub reason: String,
    /// The ticket; empty if none.
    pub ticket: String,
    /// The requested duration.
    pub duration_seconds: u64,
    /// When it was made.
    pub requested_at: u64,
    /// When it expires unless it is approved.
    pub expires_at: u64,
    /// The approvals so far.
    pub approvals: Vec<ApprovalView>,
    /// The number of different people who have to approve.
    pub approvals_needed: u32,
    /// The grant that it extends; 0 if it is for a new one.
    pub extends: u64,
    /// The approver who denied it; empty if none.
    pub denied_by: String,
    /// The reason for the denial; empty if not denied.
    pub denial_reason: String,
    /// Whether the caller may approve it.
    pub may_approve: bool,
    /// The approvers, as the role names them: logins and `@groups`; empty where the role is gone.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// Login names of the people behind `approvers`, without the requester; empty where there are many, or they are
    /// unknown.
    #[serde(default)]
    pub approving_people: Vec<String>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its number; the same as its request's.
    pub id: u64,
    /// `live`, `expired`, `released`, `unused`, `withdrawn` or `revoked`.
    pub state: String,
    /// The role held.
    pub role: String,
    /// Login name of the holder.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// The target users; `root` is every user.
    pub run_as: Vec<String>,
    /// PAM services it opens.
    pub services: Vec<String>,
    /// The reason.
    pub reason: String,
    /// The ticket; empty if none.
    pub ticket: String,
    /// Login names of the approvers, or of the operator who granted it.
    pub approvers: Vec<String>,
    /// Start of the window.
    pub starts_at: u64,
    /// End of the window.
    pub ends_at: u64,
    /// The remaining time, on the earlier of both clocks.
    pub remaining_seconds: u64,
    /// Open sessions under it.
    pub sessions: u64,
}

/// An elevated process tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its number; its scope is `jit-ID.scope`.
    pub id: u64,
    /// The grant it runs under.
    pub grant: u64,
    /// `registered`, `open`, `lingering` (its window has closed, and it may finish) or `ending`.
    pub state: String,
    /// Login name of the holder.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// The role.
    pub role: String,
    /// PAM service: sudo, sudo-i, su...
    pub service: String,
    /// The target user; empty before the session stage.
    pub run_as: String,
    /// Terminal; empty if none.
    pub tty: String,
    /// Process id of sudo itself.
    pub pid: u32,
    /// The command line of sudo.
    pub argv: Vec<String>,
    /// Audit session id (`ausearch --session`), 0 where the kernel gave none.
    pub audit_session: u32,
    /// The logind session that it came from; empty if none.
    pub login: String,
    /// Unit that holds it.
    pub scope: String,
    /// When it was registered.
    pub started_at: u64,
    /// When its grant ends.
    pub ends_at: u64,
}

/// A role as the caller may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleView {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Who may request it, as the file has it.
    pub members: Vec<String>,
    /// Who may approve, as the file has it.
    pub approvers: Vec<String>,
    /// The number of approvals that a request needs.
    pub approvals_needed: u32,
    /// The target users.
    pub run_as: Vec<String>,
    /// Groups beside those of the target user.
    #[serde(default)]
    pub run_as_groups: Vec<String>,
    /// PAM services it opens.
    pub services: Vec<String>,
    /// The duration of a request that names none.
    pub default_duration_seconds: u64,
    /// The longest duration that a request may name.
    pub max_duration_seconds: u64,
    /// The minimum length of a reason, in characters.
    pub reason_min_length: u64,
    /// Whether a request needs a ticket.
    pub ticket_required: bool,
    /// The pattern of tickets; empty if any ticket is accepted.
    pub ticket_pattern: String,
    /// The time without an open session after which a grant closes; 0 if never.
    pub unused_for_seconds: u64,
    /// The idle time after which a session ends; 0 if never.
    pub idle_timeout_seconds: u64,
    /// Whether a session ends with the login it came from.
    pub end_with_login: bool,
    /// How long sessions may continue after the window; 0 if they end with it.
    pub on_expiry_linger_seconds: u64,
    /// Whether it opens windows while records cannot be forwarded (`require_forwarding_within`).
    #[serde(default)]
    pub without_forwarding: bool,
    /// Every setting of the role.
    #[serde(default)]
    pub settings: Vec<SettingView>,
    /// Whether the caller may request it.
    pub may_request: bool,
    /// Whether the caller may approve it.
    pub may_approve: bool,
}

/// A setting of a role or of `jitd.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingView {
    /// Its key, dotted below a table.
    pub key: String,
    /// The value as TOML from the file; otherwise the default, as a sentence if it is no fixed value.
    pub value: String,
    /// Whether the file does not set it.
    pub is_default: bool,
}

/// The status of the daemon, and what the caller holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// When it started.
    pub started_at: u64,
    /// SHA-256 of the policy in force, in hex; empty if none was accepted.
    pub policy_digest: String,
    /// When that policy was loaded; 0 if none.
    pub policy_loaded_at: u64,
    /// Roles in it.
    pub roles: u64,
    /// Pending requests on this host.
    pub pending: u64,
    /// Live grants on this host.
    pub grants: u64,
    /// Open sessions on this host.
    pub sessions: u64,
    /// Audit records written so far.
    pub records: u64,
    /// Records that wait to be sent to syslog.
    pub unsent: u64,
    /// The open problems of the audit log, as sentences.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Acknowledged problems, with who acknowledged them, when and why, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<String>,
    /// Login name of the caller.
    pub user: String,
    /// The caller's live grants.
    pub held: Vec<GrantView>,
    /// The caller's own pending requests.
    pub asked: Vec<RequestView>,
    /// The PAM services that roles open, and their sister services, whose stack does not ask jitd: each gives root
    /// without a window. Read from the files at the time of the call.
    #[serde(default)]
    pub stacks: Vec<StackView>,
    /// Whether `mode` of `jitd.toml` is `observe`: what jitd would deny passes.
    #[serde(default)]
    pub observes: bool,
    /// The roles that observe, by `mode` of their own or of `jitd.toml`.
    #[serde(default)]
    pub observing_roles: Vec<String>,
}

/// A PAM stack that does not ask jitd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackView {
    /// PAM service: sudo, sudo-i...
    pub service: String,
    /// The file with the problem: the stack itself, or one that it includes.
    pub file: String,
    /// The line, from 1; 0 where the problem is the file as a whole.
    pub line: u64,
    /// The problem.
    pub message: String,
}

/// A problem of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemView {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where the problem is the file as a whole.
    pub line: u64,
    /// The key, dotted: `role.web-admin.max_duration`; empty where the problem is the file as a whole.
    pub key: String,
    /// The problem.
    pub message: String,
    /// `error`: the policy is not accepted; `warning`: it is accepted, and something in it cannot work.
    #[serde(default)]
    pub severity: Severity,
}

/// The severity of a problem of a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is not accepted, and the one in force stays.
    #[default]
    Error,
    /// The policy is accepted, and something in it cannot work, or differs from what it seems to say.
    Warning,
}

/// An audit record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// SHA-256 of the line, in hex ([`crate::audit::chain`]).
    pub hash: String,
    /// Its seal, in hex ([`crate::audit::seal`]); empty if it has none.
    #[serde(default)]
    pub seal: String,
    /// The record, one line of JSON ([`crate::audit::record`]).
    pub line: String,
}

/// The result of a verification of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyView {
    /// Whether every record is intact and in order.
    pub whole: bool,
    /// Number of intact records, counted from the first.
    pub records: u64,
    /// The hash of the last intact record, in hex.
    pub head: String,
    /// The first broken record; 0 if there is none.
    pub bad_seq: u64,
    /// The problem; empty if none.
    pub problem: String,
    /// Number of the first record in the store.
    #[serde(default)]
    pub first: u64,
    /// The cover of the intact records; empty where the chain is broken.
    #[serde(default)]
    pub seals: Vec<SealsView>,
    /// The record about the removal of those before the first one; 0 if none were removed.
    #[serde(default)]
    pub pruned_by_record: u64,
    /// The last removed record.
    #[serde(default)]
    pub pruned_to: u64,
    /// Doubts about removals, as sentences.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// The time of the first record in the store, RFC 3339; empty if unknown.
    #[serde(default)]
    pub first_time: String,
    /// The problems of the audit log beside the chain, as sentences: the store was emptied, replaced, restored from a
    /// copy, or set aside.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Acknowledged problems, with who acknowledged them, when and why, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<String>,
}

impl VerifyView {
    /// Number of intact records.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.records + 1).saturating_sub(self.first.max(1))
    }
}

impl From<crate::audit::chain::Whole> for VerifyView {
    fn from(whole: crate::audit::chain::Whole) -> Self {
        let pruned = whole.pruned.as_ref();
        Self {
            whole: true,
            records: whole.head.seq,
            first: whole.first,
            seals: whole.seals.iter().map(SealsView::from).collect(),
            pruned_by_record: pruned.map_or(0, |removal| removal.seq),
            pruned_to: pruned.map_or(0, |removal| removal.to),
            head: whole.head.hash.to_string(),
            doubts: whole.doubts,
            ..Self::default()
        }
    }
}

/// A range of records with the same cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealsView {
    /// The first record.
    pub from: u64,
    /// The last record.
    pub to: u64,
    /// `unsealed`: chained, without a seal; `unchecked`: sealed, and no key was given; `fits`: sealed, and the seals
    /// are valid.
    pub cover: String,
}

impl From<&crate::audit::seal::Span> for SealsView {
    fn from(span: &crate::audit::seal::Span) -> Self {
        let cover = match span.cover {
            crate::audit::seal::Cover::Unsealed => "unsealed",
            crate::audit::seal::Cover::Unchecked => "unchecked",
            crate::audit::seal::Cover::Fits => "fits",
        };
        Self { from: span.from, to: span.to, cover: cover.to_owned() }
    }
}

/// The beginning of a new seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealView {
    /// The first sealed record.
    pub first: u64,
    /// The id of its key, which does not reveal it.
    pub seal_key: String,
}
