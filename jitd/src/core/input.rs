//! What can happen: everything that reaches the core.

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

/// Everything that reaches the core.
#[derive(Debug, Clone)]
pub enum Input {
    /// The daemon is up.
    Started {
        /// Its version.
        version: &'static str,
    },
    /// The daemon was told to stop.
    Stopping,
    /// A deadline passed.
    Tick,
    /// The wall clock was set: by so many microseconds, forward if that is positive.
    ClockSet {
        /// By how much.
        by: i64,
    },
    /// A policy was accepted. The people are the holders of live grants, as they are now; one who has no account any
    /// more is `None`.
    PolicyLoaded(Arc<Policy>, BTreeMap<UserId, Option<Person>>),
    /// A policy was not accepted.
    PolicyRefused {
        /// What is wrong, one problem a line.
        problems: String,
    },
    /// PAM asks.
    AccessQuery(Box<AccessQuery>),
    /// A person or a script wants something.
    Command(Box<Caller>, Command),
    /// Something that somebody asked for was refused at the door.
    Refused {
        /// Who asked.
        caller: Box<Caller>,
        /// For what.
        kind: CommandKind,
        /// Why not.
        refusal: Refusal,
        /// How many refusals of theirs were not recorded since the last one.
        suppressed: u64,
    },
    /// Nothing is left of a session.
    SessionGone(SessionId, EndReport),
    /// A session could not be proven empty.
    SessionStuck(SessionId, EndReport),
    /// What PID 1 holds for a session's scope, or what is written about our units, is not what it was.
    ScopeTampered {
        /// Whose scope; `None` where it is no single one.
        session: Option<SessionId>,
        /// What was found, and what was done about it.
        found: String,
        /// PID 1 cannot be made to hold the limit, and so the session ends.
        ends: bool,
    },
    /// A process of a session has a group that its role does not give.
    GroupExceeded(SessionId, String),
    /// The disk did not take the records with which these were let in.
    NotOnDisk(Vec<SessionId>),
    /// Nobody has typed, and nothing has run, in a session for nearly as long as its role allows; its holder was told.
    SessionIdle(SessionId),
    /// The same for as long as its role allows.
    SessionIdledOut(SessionId),
    /// A logind session has ended.
    LoginGone(String),
    /// This sudo keeps what is typed and shown in this folder.
    LogFound(MainProcess, String),
    /// A sink takes no records any more, or takes them again.
    Sink(SinkName, SinkChange),
    /// What is wrong with the PAM stack of each service that a role opens; `None` where nothing is.
    Stacks(BTreeMap<String, Option<String>>),
    /// Old records are to go, and may.
    Prune(Box<Segment>),
    /// Places where privilege is kept have changed while these grants had sessions open.
    LeftBehind {
        /// The grants.
        held: Vec<Held>,
        /// What changed.
        found: Changes,
    },
    /// Places where privilege is kept have changed while no grant had a session open.
    HostChanged {
        /// The grants that had sessions before it, as far as the drift scan remembers.
        last: Vec<Held>,
        /// What changed.
        found: Changes,
    },
    /// These users have reached limits, so often since the last such event.
    LimitsReached(Vec<Reached>),
    /// The daemon's own verification has found that the record is not whole.
    RecordBroken {
        /// The first record that is wrong; 0 where it is about none.
        about: u64,
        /// What is wrong.
        detail: String,
    },
    /// Somebody who was to be told of something was not.
    NotTold {
        /// The record that it is about, where it is about one.
        about: Option<u64>,
        /// How many failures of this kind were not recorded since the last one.
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
    /// Where.
    pub limited: Limited,
    /// How many.
    pub count: u64,
}

/// A place that records go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkName {
    /// The local syslog socket.
    Syslog,
    /// The journal, with fields of its own.
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

/// What became of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkChange {
    /// It takes nothing.
    Down {
        /// Why.
        problem: String,
    },
    /// It takes records again, and has taken all that waited.
    Back,
}
