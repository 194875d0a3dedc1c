//! What has to be done, as data, in its order.

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

/// What has to be done, in this order. `Commit` comes first: what follows it happens only if it was written.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write state and records, together or not at all.
    Commit(Commit),
    /// Have the sessions do something.
    Session(SessionOrder),
    /// Tell somebody at their terminals.
    Tell {
        /// Whose terminals they have to be.
        holder: UserId,
        /// Which.
        terminals: BTreeSet<String>,
        /// What, a line each.
        lines: Vec<String>,
    },
    /// Tell the drift scan.
    Drift(DriftUpdate),
    /// Tell the bus that something changed; ids only.
    Notify(Changed),
    /// Answer.
    Reply(Reply),
}

/// What is to be done with the processes of sessions.
#[derive(Debug, Clone)]
pub enum SessionOrder {
    /// Watch the process that called PAM, and hold its tree in a scope.
    Watch {
        /// The session.
        session: Box<Session>,
        /// End of its window and of the grace: PID 1 ends it then, if nobody else does.
        until: BootTime,
        /// Nobody typing and nothing running for this long ends it.
        idle: Option<Duration>,
        /// The process has no audit session of its own, and has to be in the scope before the answer is sent.
        first: bool,
    },
    /// A session's window has another end now.
    SetDeadline {
        /// The session.
        session: SessionId,
        /// As in `Watch`.
        until: BootTime,
    },
    /// Look, once its command runs, whether its processes have groups that its role does not give.
    WatchGroups {
        /// The session.
        session: SessionId,
        /// Whom it became: their own groups are theirs.
        target: UserId,
        /// The groups that the role names.
        named: BTreeSet<GroupId>,
    },
    /// Look again for processes of this session outside its scope.
    Reattach {
        /// The session.
        session: SessionId,
        /// The process that called, which another module may have moved.
        process: MainProcess,
    },
    /// Nobody typing and nothing running in a session for this long ends it, from now on.
    SetIdleTimeout {
        /// The session.
        session: SessionId,
        /// For how long; `None` for however long.
        idle: Option<Duration>,
    },
    /// End everything in a session.
    Terminate {
        /// The session.
        session: Box<Session>,
        /// How much time is left to it.
        manner: Manner,
        /// The moment from which its end is measured.
        due: BootTime,
    },
    /// End a scope that no session answers for.
    EndScope(SessionId),
}

impl From<SessionOrder> for Effect {
    fn from(order: SessionOrder) -> Self {
        Self::Session(order)
    }
}

impl SessionOrder {
    /// The end of a session. One that never got to run its command gets no grace.
    #[must_use]
    pub fn terminate(session: &Session, manner: Manner, due: BootTime) -> Self {
        let manner = if session.run_as().is_some() { manner } else { Manner::Immediate };
        Self::Terminate { session: Box::new(session.clone()), manner, due }
    }
}

/// What the drift scan has to know of sessions.
#[derive(Debug, Clone)]
pub enum DriftUpdate {
    /// A session has begun, or is under another grant now.
    Opened(Box<Session>),
    /// All processes of a session have ended.
    Gone(SessionId),
    /// The findings of the last scan are in the audit log.
    Recorded,
}

/// State and records that belong together.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// How soon it has to survive a power cut.
    pub durability: Durability,
    /// New states.
    pub changes: Vec<Change>,
    /// What the audit record says of it.
    pub drafts: Vec<Draft>,
    /// People's habits, as these records changed them.
    pub baselines: Vec<(UserId, Baseline)>,
    /// The key of a seal that begins behind these records.
    pub seal: Option<SealKey>,
    /// The records up to here are to go, as these records say.
    pub prune: Option<Pruned>,
}

/// How soon a commit has to survive a power cut. Whatever it says, a commit is in the store, and survives the daemon,
/// before anything follows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// With the next commit that is sooner: it tells how a decision went on.
    #[default]
    WithTheNext,
    /// Before the session that it lets in is opened: the disk writes while sudo is still on its way there.
    BeforeTheSession,
    /// Before anything follows it.
    AtOnce,
}

/// One object's new state.
#[derive(Debug, Clone)]
pub enum Change {
    /// Of a request.
    Request(Request),
    /// Of a grant.
    Grant(Grant),
    /// Of a session.
    Session(Session),
}

/// What changed, for the bus.
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
    /// Something was left behind under a grant.
    LeftBehind(GrantId),
    /// An alert, by the number of its record.
    Alert(u64),
}
