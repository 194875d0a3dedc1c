//! What the daemon shows of its state; the keys of the JSON that jitctl prints and of the `a{sv}` on the bus.
//!
//! Keys that end in `_at` are moments: microseconds since the epoch on the bus, RFC 3339 in jitctl's JSON. Keys that
//! end in `_seconds` are spans.

use serde::{Deserialize, Serialize};

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Login name of the approver.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// What they said with it; empty if nothing.
    pub comment: String,
    /// When.
    pub given_at: u64,
}

/// A request as one of its parties sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestView {
    /// Its number; also the number of the grant that comes of it.
    pub id: u64,
    /// `pending`, `approved`, `denied`, `cancelled` or `expired`.
    pub state: String,
    /// The role asked for.
    pub role: String,
    /// Login name of the requester.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// Why.
    pub reason: String,
    /// The ticket; empty if none.
    pub ticket: String,
    /// For how long.
    pub duration_seconds: u64,
    /// When it was made.
    pub requested_at: u64,
    /// When it lapses unless it is approved.
    pub expires_at: u64,
    /// The approvals so far.
    pub approvals: Vec<ApprovalView>,
    /// How many different people have to approve.
    pub approvals_needed: u32,
    /// The grant that it asks to make longer; 0 where it asks for one of its own.
    pub extends: u64,
    /// Who denied it; empty if nobody did.
    pub denied_by: String,
    /// Why it was denied; empty if it was not.
    pub denial_reason: String,
    /// Whether the caller of this very call may approve it.
    pub may_approve: bool,
    /// Who may approve it, as its role names them: logins and `@groups`; empty where the role is gone.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// Login names of the people behind `approvers`, without the requester; empty where they are many or not known.
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
    /// Whom it may be used to become; `root` means anybody.
    pub run_as: Vec<String>,
    /// PAM services it opens.
    pub services: Vec<String>,
    /// Why.
    pub reason: String,
    /// The ticket; empty if none.
    pub ticket: String,
    /// Login names of those who approved or granted.
    pub approvers: Vec<String>,
    /// Start of the window.
    pub starts_at: u64,
    /// End of the window.
    pub ends_at: u64,
    /// What is left of it, on the earlier of both clocks.
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
    /// `registered`, `open`, `lingering` (its window is over, and it may finish) or `ending`.
    pub state: String,
    /// Login name of the holder.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// The role.
    pub role: String,
    /// PAM service: sudo, sudo-i, su...
    pub service: String,
    /// Whom it became; empty before that is known.
    pub run_as: String,
    /// Terminal; empty if none.
    pub tty: String,
    /// Process id of sudo itself.
    pub pid: u32,
    /// As sudo was called.
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
    /// What it is for.
    pub description: String,
    /// Who may ask, as the file says it.
    pub members: Vec<String>,
    /// Who may approve, as the file says it.
    pub approvers: Vec<String>,
    /// How many of them it takes.
    pub approvals_needed: u32,
    /// Whom one may become.
    pub run_as: Vec<String>,
    /// Groups that it gives beside those of whom one becomes.
    #[serde(default)]
    pub run_as_groups: Vec<String>,
    /// PAM services it opens.
    pub services: Vec<String>,
    /// What a request gets that names no duration.
    pub default_duration_seconds: u64,
    /// What a request may ask for at most.
    pub max_duration_seconds: u64,
    /// Least length of a reason, in characters.
    pub reason_min_length: u64,
    /// Whether a ticket has to be named.
    pub ticket_required: bool,
    /// What a ticket has to look like; empty if anything goes.
    pub ticket_pattern: String,
    /// A grant under which nothing ran for this long is handed back; 0 if none is.
    pub unused_for_seconds: u64,
    /// A session in which nothing happens for this long ends; 0 if none does.
    pub idle_timeout_seconds: u64,
    /// Whether a session ends with the login it came from.
    pub end_with_login: bool,
    /// How long what runs may go on after the window; 0 if it ends with it.
    pub on_expiry_linger_seconds: u64,
    /// Whether it lets people through while records cannot be forwarded (`require_forwarding_within`).
    #[serde(default)]
    pub without_forwarding: bool,
    /// Every setting of the role.
    #[serde(default)]
    pub settings: Vec<SettingView>,
    /// Whether the caller may ask for it.
    pub may_request: bool,
    /// Whether the caller may approve it.
    pub may_approve: bool,
}

/// A setting of a role or of `jitd.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingView {
    /// Its key, dotted where it stands in a table of its own.
    pub key: String,
    /// As TOML where the file says it; otherwise the default, in words where it is no fixed value.
    pub value: String,
    /// Whether the file leaves it out.
    pub is_default: bool,
}

/// The daemon, and what the caller holds.
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
    /// What is known to be wrong with the record: sentences for people.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Problems that an operator has acknowledged, with who did, when and why: sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<String>,
    /// Login name of the caller.
    pub user: String,
    /// The caller's live grants.
    pub held: Vec<GrantView>,
    /// The caller's own pending requests.
    pub asked: Vec<RequestView>,
    /// The PAM services that roles open, and their sister services, whose stack does not ask jitd: each lets people become
    /// root without a window. Read from the files at the moment of the call.
    #[serde(default)]
    pub stacks: Vec<StackView>,
}

/// A PAM stack that does not ask jitd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackView {
    /// PAM service: sudo, sudo-i...
    pub service: String,
    /// The file that decides: the stack itself, or one that it includes.
    pub file: String,
    /// Line in it, from 1; 0 where it is the file as such.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

/// Something wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemView {
    /// The file.
    pub file: String,
    /// Line in it, from 1; 0 where it is the file as such.
    pub line: u64,
    /// The key, dotted: `role.web-admin.max_duration`; empty where it is the file as such.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// `error`: the policy is not accepted; `warning`: it is, and does not do what it seems to say.
    #[serde(default)]
    pub severity: Severity,
}

/// What a problem of a policy comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is not accepted, and the one in force stays.
    #[default]
    Error,
    /// The policy is accepted, and something in it cannot work or is not as it seems.
    Warning,
}

/// An audit record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Its number, from 1, without holes.
    pub seq: u64,
    /// SHA-256 of the line, in hex ([`crate::audit::chain`]).
    pub hash: String,
    /// Its seal, in hex ([`crate::audit::seal`]); empty if it has none.
    #[serde(default)]
    pub seal: String,
    /// The record, one line of JSON ([`crate::audit::record`]).
    pub line: String,
}

/// What a verification of the chain found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyView {
    /// Whether every record is whole and in its place.
    pub whole: bool,
    /// Records that are whole, counted from the first.
    pub records: u64,
    /// The last whole record's hash, in hex.
    pub head: String,
    /// The first bad record; 0 if there is none.
    pub bad_seq: u64,
    /// What is wrong with it; empty if nothing.
    pub problem: String,
    /// Number of the first record that was there.
    #[serde(default)]
    pub first: u64,
    /// How the records are sealed, as far as they are whole; empty where something is wrong.
    #[serde(default)]
    pub seals: Vec<SealsView>,
    /// The record that says that those before the first one were removed; 0 where none had to.
    #[serde(default)]
    pub pruned_by_record: u64,
    /// The last record that it says was removed.
    #[serde(default)]
    pub pruned_to: u64,
    /// What there is to doubt about removals: sentences for people.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// When the first record that was there was written, RFC 3339; empty where that is not known.
    #[serde(default)]
    pub first_time: String,
    /// What is known to be wrong with the record beside the chain: that the store was emptied, replaced, put back from a
    /// copy, or set aside. Sentences for people.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Problems that an operator has acknowledged, with who did, when and why: sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<String>,
}

impl VerifyView {
    /// How many records are whole.
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

/// Records that are sealed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealsView {
    /// The first one.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// `unsealed`: chained, without a seal of their own; `unchecked`: sealed, and the key was not given; `fits`:
    /// sealed, and the seals fit.
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

/// What a new seal began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealView {
    /// The first record under it.
    pub first: u64,
    /// Which key it began with, without the key.
    pub seal_key: String,
}
