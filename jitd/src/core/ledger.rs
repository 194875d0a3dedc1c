//! Pending requests, live grants and open sessions, in memory; closed ones are only in the store.

mod observed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jit_proto::identity::{GrantId, GroupId, Reason, RequestId, RoleName, SessionId, Ticket, UserId};
use jit_proto::request::AcceptedSpec;
use jit_proto::time::{BootId, BootTime, WallTime};
use serde::{Deserialize, Serialize};

pub use observed::{ObservedCall, ObservedCalls};

use super::limits::{Allowances, Reports};
use super::people::{Account, Person};
use super::time::Deadline;

/// The state of the core between inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The number of the next request or grant.
    pub next_id: u64,
    /// The number of the next session.
    pub next_session: u64,
    /// The highest wall time seen, over all boots.
    pub highest_wall: WallTime,
    /// Whether the audit log was ever sealed.
    pub sealed: bool,
    /// Pending requests.
    pub requests: BTreeMap<RequestId, Request>,
    /// Live grants.
    pub grants: BTreeMap<GrantId, Grant>,
    /// Open sessions.
    pub sessions: BTreeMap<SessionId, Session>,
    /// PAM services whose stack does not ask jitd. Not stored: each start checks again.
    pub broken_stacks: BTreeSet<String>,
    /// The remaining single records of refusals, per user. Not stored.
    pub recorded_refusals: Allowances,
    /// The remaining requests, per user. Not stored.
    pub requests_made: Allowances,
    /// Limits that were reached and not yet reported. Not stored.
    pub reached: Reports,
    /// The host and the roles that observe, as was told last. Not in the store: a start tells it anew.
    pub observing: BTreeSet<String>,
    /// The last calls that passed because jitd observes. Not in the store.
    pub observed: ObservedCalls,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            next_id: 1,
            next_session: 1,
            highest_wall: WallTime(0),
            sealed: false,
            requests: BTreeMap::new(),
            grants: BTreeMap::new(),
            sessions: BTreeMap::new(),
            broken_stacks: BTreeSet::new(),
            recorded_refusals: Allowances::default(),
            requests_made: Allowances::default(),
            reached: Reports::default(),
            observing: BTreeSet::new(),
            observed: ObservedCalls::default(),
        }
    }
}

/// A request for a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// Role, duration, reason and ticket.
    #[serde(flatten)]
    pub spec: AcceptedSpec,
    /// The requester.
    pub requester: Account,
    /// Every uid of the requester, with the login uid; empty in requests that an older jitd wrote.
    #[serde(default)]
    pub uids: BTreeSet<UserId>,
    /// When it was made.
    pub requested_at: WallTime,
    /// When it expires undecided.
    pub expires: Deadline,
    /// The approvals so far, by different people.
    pub approvals: Vec<Approval>,
    /// The approvals that the role required when the request was made.
    pub approvals_needed: u32,
    /// The grant that it extends; `None` if it asks for a new one.
    pub extends: Option<GrantId>,
    /// When it was closed; `None` while it is pending, and in requests that an older jitd wrote.
    #[serde(default)]
    pub closed_at: Option<WallTime>,
    /// Its state.
    pub state: RequestState,
}

impl Request {
    /// Every uid of the requester.
    #[must_use]
    pub fn all_uids(&self) -> BTreeSet<UserId> {
        self.uids.iter().copied().chain([self.requester.uid]).collect()
    }
}

/// The approval of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The approver.
    pub by: Account,
    /// When it was given.
    pub at: WallTime,
    /// The comment; may be empty.
    pub comment: String,
    /// Every uid of the approver, with the login uid; empty in approvals that an older jitd wrote.
    #[serde(default)]
    pub uids: BTreeSet<UserId>,
}

/// The state of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum RequestState {
    /// Nobody has decided.
    Pending,
    /// Approved: it became the grant of the same number.
    Approved,
    /// Denied by an approver.
    Denied {
        /// The approver.
        by: Account,
        /// The reason.
        reason: Reason,
    },
    /// Cancelled by the requester.
    Cancelled,
    /// Expired undecided.
    Expired,
}

/// A role that is held until a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number.
    pub id: GrantId,
    /// The role.
    pub role: RoleName,
    /// The holder.
    pub holder: Account,
    /// Every uid of the requester; empty where there was no request, and in grants that an older jitd wrote.
    #[serde(default)]
    pub uids: BTreeSet<UserId>,
    /// The reason.
    pub reason: Reason,
    /// The ticket, if one was named.
    pub ticket: Option<Ticket>,
    /// The approvers, or the operator who granted it.
    pub approvers: Vec<Account>,
    /// Start of the window.
    pub starts_at: WallTime,
    /// End of the window.
    pub ends: Deadline,
    /// Whether the holder requested it, and so has to be a member of the role; an operator may grant it to anybody.
    pub requested: bool,
    /// When it closes for want of use; `None` while a session is open, and where the role has no such limit.
    pub unused_until: Option<Deadline>,
    /// The time before the end for which the last warning was given.
    pub warned: Option<Duration>,
    /// Its state.
    pub state: GrantState,
}

/// The state of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum GrantState {
    /// The window is open.
    Live,
    /// Closed at its deadline.
    Expired,
    /// Released by the holder.
    Released {
        /// When it closed.
        at: WallTime,
    },
    /// Closed because no session was open for as long as the role allows.
    Unused {
        /// When it closed.
        at: WallTime,
    },
    /// Withdrawn: its holder or its role does not fit it any more.
    Withdrawn {
        /// When it closed.
        at: WallTime,
        /// Why.
        why: String,
    },
    /// Revoked by an operator or root.
    Revoked {
        /// When it closed.
        at: WallTime,
        /// The actor.
        by: Account,
        /// The reason.
        reason: Reason,
    },
}

/// One elevated process tree, from the call of sudo on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// The grant that it runs under.
    pub grant: GrantId,
    /// The role of that grant.
    pub role: RoleName,
    /// The holder: the real uid of the process that asked at the gate.
    pub holder: Account,
    /// The session it was started from.
    pub parent: Option<SessionId>,
    /// The audit session id of the tree (`/proc/PID/sessionid`), where the kernel gave it one of its own.
    #[serde(rename = "tag")]
    pub audit_session: Option<u32>,
    /// The login uid, if there is one.
    pub loginuid: Option<UserId>,
    /// The process that asked at the gate: sudo itself.
    pub main: MainProcess,
    /// PAM service.
    pub service: String,
    /// Terminal; empty if none.
    pub tty: String,
    /// The command line of sudo.
    pub argv: Vec<String>,
    /// When it was registered, on the wall clock.
    pub started_at: WallTime,
    /// When it was registered, on the boot clock.
    pub started: BootTime,
    /// The boot of `started`.
    pub boot_id: BootId,
    /// The logind session that it came from, if there is one.
    pub login: Option<String>,
    /// The folder of sudo's own log of input and output, if sudo writes one.
    #[serde(default)]
    pub io_log: Option<String>,
    /// The group that the command line requested.
    #[serde(default)]
    pub group: GroupAsked,
    /// The groups of the target user, looked up for that group.
    #[serde(default)]
    pub own_groups: BTreeSet<GroupId>,
    /// The window has closed, and the session may run until then (`deny-new`).
    #[serde(rename = "lingers_until")]
    pub drain_deadline: Option<Deadline>,
    /// Its state.
    pub state: SessionState,
}

/// A process; the start time tells it from a later process with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MainProcess {
    /// Its pid.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

/// The state of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum SessionState {
    /// The account stage admitted it.
    Registered,
    /// Its PAM session is open.
    Open {
        /// The target user.
        run_as: Account,
    },
    /// Its processes are being ended.
    Ending {
        /// The target user, if its session stage was reached. Only then its processes get a grace.
        run_as: Option<Account>,
        /// Why.
        why: EndedBy,
        /// The time from which its end is measured: the deadline, or the decision.
        due: BootTime,
    },
    /// It has no process left.
    Ended {
        /// Why.
        why: EndedBy,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// Its processes exited.
    Exited,
    /// The window closed.
    Expired,
    /// The holder released the grant.
    Released,
    /// The grant was revoked.
    Revoked,
    /// The grant was withdrawn.
    Withdrawn,
    /// It was idle for as long as its role allows.
    Idle,
    /// The login session that it came from ended.
    Logout,
    /// The session it was started from ended.
    Parent,
    /// The host went down.
    Boot,
    /// jitd found it without a live grant when it started.
    Orphaned,
    /// fdatasync failed for the record of its admission.
    Unrecorded,
    /// PID 1 could not be made to enforce its deadline.
    Tampered,
    /// A process of it had a group that its role does not give.
    Group,
}

impl EndedBy {
    /// Its name in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Revoked => "revoked",
            Self::Withdrawn => "withdrawn",
            Self::Idle => "idle",
            Self::Logout => "logout",
            Self::Parent => "parent",
            Self::Boot => "boot",
            Self::Orphaned => "orphaned",
            Self::Unrecorded => "unrecorded",
            Self::Tampered => "tampered",
            Self::Group => "group",
        }
    }
}

impl Session {
    /// The target user, once the session stage is reached.
    #[must_use]
    pub fn run_as(&self) -> Option<&Account> {
        match &self.state {
            SessionState::Open { run_as } => Some(run_as),
            SessionState::Ending { run_as, .. } => run_as.as_ref(),
            SessionState::Registered | SessionState::Ended { .. } => None,
        }
    }

    /// The holder, without groups: a session is not judged by them again.
    #[must_use]
    pub fn holder_without_groups(&self) -> Person {
        Person { account: self.holder.clone(), groups: std::collections::BTreeSet::new(), locked: false }
    }

    /// Why it is being ended; `Exited` where jitd does not end it.
    #[must_use]
    pub fn ended_by(&self) -> EndedBy {
        match self.state {
            SessionState::Ending { why, .. } | SessionState::Ended { why } => why,
            SessionState::Registered | SessionState::Open { .. } => EndedBy::Exited,
        }
    }

    /// Whether it is being ended.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.state, SessionState::Ending { .. } | SessionState::Ended { .. })
    }
}

impl Ledger {
    /// Takes the next number of a request or a grant; both share one sequence.
    pub(super) fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The live grants of a person.
    pub fn held_by(&self, uid: UserId) -> impl Iterator<Item = &Grant> {
        self.grants.values().filter(move |grant| grant.holder.uid == uid)
    }

    /// The open sessions under a grant.
    pub fn under(&self, grant: GrantId) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(move |session| session.grant == grant)
    }

    /// The session with this audit session id, if any.
    #[must_use]
    pub fn in_audit_session(&self, audit_session: u32) -> Option<&Session> {
        self.sessions.values().find(|session| session.audit_session == Some(audit_session))
    }
}

/// A grant in the drift scan's memory, which outlasts the ledger's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number.
    pub grant: GrantId,
    /// The role.
    pub role: RoleName,
    /// The holder.
    pub holder: Account,
}

/// The group that a call requests, beside the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "group", rename_all = "lowercase")]
pub enum GroupAsked {
    /// None: the group will be the target's own.
    #[default]
    Nothing,
    /// A group.
    Group {
        /// Its gid.
        gid: GroupId,
        /// As it was written on the command line.
        name: String,
    },
    /// Unclear, and why; a limited role denies.
    Unclear(String),
}

impl GroupAsked {
    /// Its name for records.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Group { name, .. } => Some(name),
            Self::Nothing | Self::Unclear(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As jitd 0.1.0 and 0.2.0 wrote it.
    const REQUEST: &str = r#"{"id":7,"role":"ops","requester":{"uid":1000,"name":"alice"},"uids":[1000],
        "duration":{"secs":1800,"nanos":0},"reason":"nginx is down","ticket":"INC-1","requested_at":5,
        "expires":{"wall":9,"boot":9,"boot_id":"b"},"approvals":[],"approvals_needed":1,"extends":null,
        "closed_at":null,"state":{"is":"pending"}}"#;

    #[test]
    fn what_a_request_asks_for_is_stored_under_the_names_that_it_always_had() {
        let request: Request = serde_json::from_str(REQUEST).unwrap();
        assert_eq!(request.spec.duration, Duration::from_secs(1800));
        assert_eq!(request.spec.ticket_text(), "INC-1");
        let before: serde_json::Value = serde_json::from_str(REQUEST).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), before);
    }
}
