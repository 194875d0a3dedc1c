//! The effects of a step, as data, in their order.

use crate::core::alerts::Baseline;
use crate::core::ledger::{Grant, MainProcess, Request, Session};
use crate::core::reply::Reply;
use crate::core::retention::Pruned;
use crate::core::session::termination::Manner;
use jit_proto::audit::record::Draft;
use jit_proto::audit::seal::SealKey;
use jit_proto::identity::{GrantId, GroupId, RequestId, SessionId, UserId};
use jit_proto::time::BootTime;
use std::collections::BTreeSet;
use std::time::Duration;

/// An effect of a step. `Commit` comes first: the following effects happen only if it was written.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write state and records in one transaction.
    Commit(Commit),
    /// An order about the processes of a session.
    Session(SessionOrder),
    /// Write to the terminals of a person.
    Tell {
        /// The owner that the terminals must have.
        holder: UserId,
        /// The terminals.
        terminals: BTreeSet<String>,
        /// The text, a line each.
        lines: Vec<String>,
    },
    /// A message to the drift scan.
    Drift(DriftUpdate),
    /// Send a D-Bus signal that something changed; it has ids only.
    Notify(Changed),
    /// Send the answer.
    Reply(Reply),
}

/// Orders about the processes of sessions.
#[derive(Debug, Clone)]
pub enum SessionOrder {
    /// Watch the process that called PAM, and put its process tree into a scope.
    Watch {
        /// The session.
        session: Box<Session>,
        /// End of the window plus the grace; PID 1 ends the scope then if jitd has not.
        until: BootTime,
        /// The idle time after which the session ends.
        idle: Option<Duration>,
        /// The process has no audit session of its own, and has to be in the scope before the answer is sent.
        first: bool,
    },
    /// Set the deadline of a session's scope.
    SetDeadline {
        /// The session.
        session: SessionId,
        /// As in `Watch`.
        until: BootTime,
    },
    /// Check, once the command runs, whether processes of the session have groups that the role does not give.
    WatchGroups {
        /// The session.
        session: SessionId,
        /// The target user, whose own groups are allowed.
        target: UserId,
        /// The groups that the role names.
        named: BTreeSet<GroupId>,
    },
    /// Look for processes of this session outside its scope, and move them back.
    Reattach {
        /// The session.
        session: SessionId,
        /// The process that called, which another PAM module may have moved.
        process: MainProcess,
    },
    /// Set the idle time after which a session ends.
    SetIdleTimeout {
        /// The session.
        session: SessionId,
        /// The idle time; `None` is no limit.
        idle: Option<Duration>,
    },
    /// End every process of a session.
    Terminate {
        /// The session.
        session: Box<Session>,
        /// How its processes are ended.
        manner: Manner,
        /// The moment from which its end is measured.
        due: BootTime,
    },
    /// End a scope that no open session belongs to.
    EndScope(SessionId),
}

impl From<SessionOrder> for Effect {
    fn from(order: SessionOrder) -> Self {
        Self::Session(order)
    }
}

impl SessionOrder {
    /// Ends a session. One whose command never ran gets no grace.
    #[must_use]
    pub fn terminate(session: &Session, manner: Manner, due: BootTime) -> Self {
        let manner = if session.run_as().is_some() { manner } else { Manner::Immediate };
        Self::Terminate { session: Box::new(session.clone()), manner, due }
    }
}

/// Messages to the drift scan.
#[derive(Debug, Clone)]
pub enum DriftUpdate {
    /// A session has opened, or runs under another grant now.
    Opened(Box<Session>),
    /// All processes of a session have ended.
    Gone(SessionId),
    /// The findings of the last scan are in the audit log.
    Recorded,
}

/// State and records that are written together.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// When it has to be on the disk.
    pub durability: Durability,
    /// New states.
    pub changes: Vec<Change>,
    /// The audit records.
    pub drafts: Vec<Draft>,
    /// The baselines that these records changed.
    pub baselines: Vec<(UserId, Baseline)>,
    /// The key of a seal that begins after these records.
    pub seal: Option<SealKey>,
    /// The records to remove from the store, up to and including this one.
    pub prune: Option<Pruned>,
}

impl Commit {
    /// A commit of the clock alone. Every commit writes the highest wall time that was seen; this one has no state and no
    /// record beside it, and is on the disk before the next session opens.
    #[must_use]
    pub fn clock_only() -> Self {
        Self { durability: Durability::BeforeTheSession, ..Self::default() }
    }
}

/// When a commit has to be on the disk (survive a power cut). A commit is always in the store, and survives jitd,
/// before any effect that follows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// With the next commit that is sooner.
    #[default]
    WithTheNext,
    /// Before the session that it admits opens: the disk writes while sudo starts.
    BeforeTheSession,
    /// Before any effect that follows it.
    AtOnce,
}

/// The new state of an object.
#[derive(Debug, Clone)]
pub enum Change {
    /// Of a request.
    Request(Request),
    /// Of a grant.
    Grant(Grant),
    /// Of a session.
    Session(Session),
}

/// What changed, for D-Bus signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// A request.
    Request(RequestId),
    /// A grant.
    Grant(GrantId),
    /// A session.
    Session(SessionId),
    /// A window that closes soon.
    ClosesSoon(GrantId),
    /// A drift finding under a grant.
    LeftBehind(GrantId),
    /// An alert, by the number of its record.
    Alert(u64),
}
