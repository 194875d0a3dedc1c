//! All open requests, live grants and open sessions, in memory; what is closed is in the store only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jit_proto::identity::{GrantId, GroupId, Reason, RequestId, RoleName, SessionId, Ticket, UserId};
use jit_proto::request::AcceptedSpec;
use jit_proto::time::{BootId, BootTime, WallTime};
use serde::{Deserialize, Serialize};

use super::limits::{Allowances, Reports};
use super::people::{Account, Person};
use super::time::Deadline;

/// The state that the core carries from event to event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The next request's or grant's number.
    pub next_id: u64,
    /// The next session's number.
    pub next_session: u64,
    /// The highest wall time ever seen, over all boots.
    pub highest_wall: WallTime,
    /// Whether a seal was ever begun.
    pub sealed: bool,
    /// Pending requests.
    pub requests: BTreeMap<RequestId, Request>,
    /// Live grants.
    pub grants: BTreeMap<GrantId, Grant>,
    /// Open sessions.
    pub sessions: BTreeMap<SessionId, Session>,
    /// PAM services whose stack is known not to ask. Not in the store: a start looks afresh.
    pub broken_stacks: BTreeSet<String>,
    /// How many more refusals of each user are recorded one by one. Not in the store.
    pub recorded_refusals: Allowances,
    /// How many more requests each user can make now. Not in the store.
    pub requests_made: Allowances,
    /// Which limits were reached and have not been told. Not in the store.
    pub reached: Reports,
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
        }
    }
}

/// Somebody asks for a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// What it asks for.
    #[serde(flatten)]
    pub spec: AcceptedSpec,
    /// Who asks.
    pub requester: Account,
    /// Every uid that the human who asks was known by, their login uid among them; empty in what an older jitd wrote.
    #[serde(default)]
    pub uids: BTreeSet<UserId>,
    /// When.
    pub requested_at: WallTime,
    /// When it lapses.
    pub expires: Deadline,
    /// Who has said yes so far; different people.
    pub approvals: Vec<Approval>,
    /// How many it takes, as the role said when it was asked for.
    pub approvals_needed: u32,
    /// The grant that it asks to make longer; else it asks for one of its own.
    pub extends: Option<GrantId>,
    /// When it ceased to be pending; `None` while it is, and in what an older jitd wrote.
    #[serde(default)]
    pub closed_at: Option<WallTime>,
    /// How it stands.
    pub state: RequestState,
}

impl Request {
    /// Every uid that the human who asks is known by.
    #[must_use]
    pub fn all_uids(&self) -> BTreeSet<UserId> {
        self.uids.iter().copied().chain([self.requester.uid]).collect()
    }
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: Account,
    /// When.
    pub at: WallTime,
    /// What they said with it; may be empty.
    pub comment: String,
    /// Every uid that the human who said so was known by, their login uid among them; empty in what an older jitd wrote.
    #[serde(default)]
    pub uids: BTreeSet<UserId>,
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum RequestState {
    /// Not decided yet.
    Pending,
    /// It became the grant of the same number.
    Approved,
    /// An approver said no.
    Denied {
        /// Who.
        by: Account,
        /// Why.
        reason: Reason,
    },
    /// The requester took it back.
    Cancelled,
    /// Nobody decided in time.
    Expired,
}

/// A role held until a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number.
    pub id: GrantId,
    /// What is held.
    pub role: RoleName,
    /// By whom.
    pub holder: Account,
    /// Every uid that the human who asked for it was known by; empty where nobody did, and in what an older jitd wrote.
    #[serde(default)]
    pub uids: BTreeSet<UserId>,
    /// Why.
    pub reason: Reason,
    /// The ticket, if one was named.
    pub ticket: Option<Ticket>,
    /// Who approved, or the operator who gave it.
    pub approvers: Vec<Account>,
    /// Start of the window.
    pub starts_at: WallTime,
    /// End of the window.
    pub ends: Deadline,
    /// Whether its holder asked for it, and so has to be a member of the role; an operator may give it to anybody.
    pub requested: bool,
    /// When it is handed back for want of use; `None` while a session is open, and where the role has no such limit.
    pub unused_until: Option<Deadline>,
    /// The last warning that was due: so long before the end. Warnings for more than that are past.
    pub warned: Option<Duration>,
    /// How it stands.
    pub state: GrantState,
}

/// How a grant stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum GrantState {
    /// The window is open.
    Live,
    /// Its deadline passed.
    Expired,
    /// The holder handed it back.
    Released {
        /// When.
        at: WallTime,
    },
    /// Nothing ran under it for as long as its role allows.
    Unused {
        /// When.
        at: WallTime,
    },
    /// Its holder or its role no longer is what it was given to.
    Withdrawn {
        /// When.
        at: WallTime,
        /// Why.
        why: String,
    },
    /// Somebody took it away.
    Revoked {
        /// When.
        at: WallTime,
        /// Who.
        by: Account,
        /// Why.
        reason: Reason,
    },
}

/// One elevated process tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What it runs under.
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
    /// Login uid, where there is one.
    pub loginuid: Option<UserId>,
    /// The process that asked at the gate: sudo itself.
    pub main: MainProcess,
    /// PAM service.
    pub service: String,
    /// Terminal; empty if none.
    pub tty: String,
    /// As sudo was called.
    pub argv: Vec<String>,
    /// When it was registered.
    pub started_at: WallTime,
    /// When, on the boot clock.
    pub started: BootTime,
    /// In which boot.
    pub boot_id: BootId,
    /// The logind session that it came from, where there is one.
    pub login: Option<String>,
    /// Where its sudo keeps what is typed and shown, if it does.
    #[serde(default)]
    pub io_log: Option<String>,
    /// The group that was asked for beside the user.
    #[serde(default)]
    pub group: GroupAsked,
    /// The groups of whom it became that were looked up for that.
    #[serde(default)]
    pub own_groups: BTreeSet<GroupId>,
    /// Its window has closed, and it may finish until then.
    #[serde(rename = "lingers_until")]
    pub drain_deadline: Option<Deadline>,
    /// How it stands.
    pub state: SessionState,
}

/// A process, so that a pid that is used again is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MainProcess {
    /// Its pid.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum SessionState {
    /// The account stage let it pass.
    Registered,
    /// Its PAM session is open.
    Open {
        /// Whom it became.
        run_as: Account,
    },
    /// It is being ended.
    Ending {
        /// Whom it became, if it got that far. Only then is there something that deserves a grace.
        run_as: Option<Account>,
        /// Why.
        why: EndedBy,
        /// The moment from which its end is measured: the deadline, or when it was decided.
        due: BootTime,
    },
    /// Nothing is left of it.
    Ended {
        /// Why.
        why: EndedBy,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// Its processes were done.
    Exited,
    /// The window closed.
    Expired,
    /// The holder handed the grant back.
    Released,
    /// The grant was revoked.
    Revoked,
    /// The grant was withdrawn.
    Withdrawn,
    /// Nobody typed, and nothing ran in it.
    Idle,
    /// The login that it came from ended.
    Logout,
    /// The session it was started from ended.
    Parent,
    /// The machine went down.
    Boot,
    /// It was found without a live grant when the daemon started.
    Orphaned,
    /// The disk did not take the record with which it was let in.
    Unrecorded,
    /// PID 1 could not be made to hold its limit any more.
    Tampered,
    /// A process of it had a group that its role does not give.
    Group,
}

impl EndedBy {
    /// The word in records.
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
    /// Whom it became, once that is known.
    #[must_use]
    pub fn run_as(&self) -> Option<&Account> {
        match &self.state {
            SessionState::Open { run_as } => Some(run_as),
            SessionState::Ending { run_as, .. } => run_as.as_ref(),
            SessionState::Registered | SessionState::Ended { .. } => None,
        }
    }

    /// Its holder, without the groups: a session is not judged by them anew.
    #[must_use]
    pub fn holder_without_groups(&self) -> Person {
        Person { account: self.holder.clone(), groups: std::collections::BTreeSet::new(), locked: false }
    }

    /// Why it is being ended; `Exited` where nobody ends it.
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
    /// The next number of a request or a grant; requests and grants share them.
    pub(super) fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The live grants of somebody.
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

/// A grant as it is remembered when the ledger knows it no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number.
    pub grant: GrantId,
    /// The role.
    pub role: RoleName,
    /// Whose.
    pub holder: Account,
}

/// The group that a call asks for, beside the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "group", rename_all = "lowercase")]
pub enum GroupAsked {
    /// None: it will be the user's own.
    #[default]
    Nothing,
    /// This one.
    Group {
        /// Its gid.
        gid: GroupId,
        /// As it was written.
        name: String,
    },
    /// It cannot be told, and why; a role that is limited refuses.
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
