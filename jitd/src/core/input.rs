//! The inputs of the core.

pub use crate::core::access_query::{AccessQuery, Named, Process, Stage};
use crate::core::authority::CommandKind;
use crate::core::caller::Caller;
use crate::core::command::Command;
use crate::core::drift::finding::Changes;
use crate::core::ledger::Held;
use crate::core::ledger::MainProcess;
use crate::core::limits::Limited;
use crate::core::people::Person;
use crate::core::policy::Policy;
use crate::core::reply::Refusal;
use crate::core::retention::Segment;
use crate::core::session::termination::EndReport;
use jit_proto::identity::{SessionId, UserId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An input of the core.
#[derive(Debug, Clone)]
pub enum Input {
    /// jitd has started.
    Started {
        /// Its version.
        version: &'static str,
    },
    /// jitd was told to stop.
    Stopping,
    /// A deadline passed.
    Tick,
    /// The wall clock was set.
    ClockSet {
        /// By this many microseconds; positive is forward.
        by: i64,
    },
    /// A policy was accepted. The map has the holders of live grants as NSS knows them now; `None` for one without an
    /// account.
    PolicyLoaded(Arc<Policy>, BTreeMap<UserId, Option<Person>>),
    /// A policy was not accepted.
    PolicyRefused {
        /// The problems, a line each.
        problems: String,
    },
    /// `pam_jit` asks about a call.
    AccessQuery(Box<AccessQuery>),
    /// A person or a script sent a command.
    Command(Box<Caller>, Command),
    /// The bus layer refused a command before the core saw it.
    Refused {
        /// The sender.
        caller: Box<Caller>,
        /// The command.
        kind: CommandKind,
        /// Why it was refused.
        refusal: Refusal,
        /// Refusals of the sender that were not recorded since the last record.
        suppressed: u64,
    },
    /// Every process of a session has ended.
    SessionGone(SessionId, EndReport),
    /// A session could not be proven empty.
    SessionStuck(SessionId, EndReport),
    /// The deadline of a session's scope in PID 1, or a unit file of jitd's, was changed.
    ScopeTampered {
        /// The session; `None` where no single one is concerned.
        session: Option<SessionId>,
        /// What was found, and what jitd did about it.
        found: String,
        /// Whether the session ends, because PID 1 cannot be made to enforce the deadline.
        ends: bool,
    },
    /// A process of a session has a group that its role does not give.
    GroupExceeded(SessionId, String),
    /// fdatasync failed for the records of these sessions' admission.
    NotOnDisk(Vec<SessionId>),
    /// A session has been idle for nearly as long as its role allows; its holder was warned.
    SessionIdle(SessionId),
    /// A session has been idle for as long as its role allows.
    SessionIdledOut(SessionId),
    /// A logind session has ended.
    LoginGone(String),
    /// The sudo of this process logs input and output in this folder.
    LogFound(MainProcess, String),
    /// The state of a sink changed.
    Sink(SinkName, SinkChange),
    /// The problem of the PAM stack of each service that a role opens; `None` where there is none.
    Stacks(BTreeMap<String, Option<String>>),
    /// Expired records are archived and can be removed.
    Prune(Box<Segment>),
    /// Watched paths changed while these grants had sessions open.
    LeftBehind {
        /// The grants.
        held: Vec<Held>,
        /// The changes.
        found: Changes,
    },
    /// Watched paths changed while no grant had a session open.
    HostChanged {
        /// The grants that had sessions before, as far as the drift scan remembers.
        last: Vec<Held>,
        /// The changes.
        found: Changes,
    },
    /// Users reached limits since the last such input.
    LimitsReached(Vec<Reached>),
    /// Verification found that the audit log is broken.
    RecordBroken {
        /// The first broken record; 0 where no single one is concerned.
        about: u64,
        /// The problem.
        detail: String,
    },
    /// A notification was not delivered.
    NotTold {
        /// The record of the notification, if it has one.
        about: Option<u64>,
        /// Failures of this kind that were not recorded since the last record.
        suppressed: u64,
        /// What failed, and why.
        detail: String,
    },
}

/// What was refused or dropped because a limit was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The user; `None` where it is not known.
    pub uid: Option<UserId>,
    /// The login name; empty where it is not known.
    pub name: String,
    /// What was limited.
    pub limited: Limited,
    /// Number of refusals; at least 1.
    pub count: u64,
}

/// A receiver of audit records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkName {
    /// The local syslog socket.
    Syslog,
    /// The journal, with a field for each fact.
    Journal,
    /// A file of JSON lines.
    JsonLines,
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syslog => "syslog",
            Self::Journal => "journal",
            Self::JsonLines => "json-lines",
        })
    }
}

/// A change of a sink's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkChange {
    /// The sink accepts no records.
    Down {
        /// The problem.
        problem: String,
    },
    /// The sink accepts records again, and has all that waited.
    Back,
}
