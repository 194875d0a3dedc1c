//! What can happen, what has to be done about it, and what is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jit_proto::audit::record::Draft;
use jit_proto::audit::seal::SealKey;
use jit_proto::identity::{GrantId, GroupId, Reason, RequestId, RoleName, SessionId, Ticket, UserId};
use jit_proto::time::BootTime;
use serde::{Deserialize, Serialize};

use super::alerts::Habit;
use super::authority::CommandKind;
use super::caller::Caller;
use super::findings::Found;
use super::ledger::{Grant, MainProcess, Request, Session};
use super::limits::Door;
use super::people::{Account, Person};
use super::policy::Policy;
use super::reaping::Manner;
use super::retention::{Pruned, Segment};

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
        found: Found,
    },
    /// Places where privilege is kept have changed while no grant had a session open.
    HostChanged {
        /// The grants that had sessions before it, as far as the drift scan remembers.
        last: Vec<Held>,
        /// What changed.
        found: Found,
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
    pub door: Door,
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

/// One call of the PAM module, with what the daemon read about the caller itself.
#[derive(Debug, Clone)]
pub struct AccessQuery {
    /// Which hook.
    pub stage: Stage,
    /// The process that called.
    pub process: Process,
    /// The account of its real uid; `None` where NSS knows none.
    pub person: Option<Person>,
    /// PAM service.
    pub service: String,
    /// PAM_USER.
    pub user: Named,
    /// PAM_RUSER.
    pub ruser: Named,
    /// PAM_TTY; empty if none.
    pub tty: String,
    /// The group that the command line asks for.
    pub group: GroupAsked,
    /// The groups of `user`, looked up where a group is asked for.
    pub own_groups: BTreeSet<GroupId>,
}

impl AccessQuery {
    /// Whether this is root's own call: not one that somebody's sudo makes with real uid 0, as sudoedit does.
    #[must_use]
    pub fn is_roots_own(&self) -> bool {
        let by_root = match &self.ruser {
            Named::Unset => true,
            Named::Account(account) => account.uid.is_root(),
            Named::Unknown(_) => false,
        };
        self.process.real_uid.is_root() && by_root
    }
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

/// Which hook of the module called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Account, `gate`.
    Enter {
        /// The module says that it started an audit session of its own.
        tagged: bool,
    },
    /// Session, `gate`.
    Recheck,
    /// Session, `track`.
    Track,
}

/// A name that PAM carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The item is not set.
    Unset,
    /// NSS knows the name.
    Account(Account),
    /// NSS does not.
    Unknown(String),
}

/// What `/proc` says about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process itself.
    pub main: MainProcess,
    /// Its real uid.
    pub real_uid: UserId,
    /// `/proc/PID/loginuid`, where it is set.
    pub loginuid: Option<UserId>,
    /// `/proc/PID/sessionid`, where it is set.
    pub audit_session: Option<u32>,
    /// The same of its parent.
    pub parent_audit_session: Option<u32>,
    /// The session in whose scope it is.
    pub scope: Option<SessionId>,
    /// The logind session in whose scope it is.
    pub login: Option<String>,
    /// Its command line.
    pub argv: Vec<String>,
    /// Whether that was cut.
    pub argv_cut: bool,
    /// Its executable: the command line is what the caller says, this is what runs. `None` where it cannot be read.
    pub exe: Option<String>,
}

/// What people and scripts can want.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ask for a role.
    Request {
        /// Which.
        role: RoleName,
        /// For how long; the role's default if not said.
        duration: Option<Duration>,
        /// Why.
        reason: Reason,
        /// The ticket.
        ticket: Option<Ticket>,
    },
    /// Take a request back.
    Cancel(RequestId),
    /// Say yes.
    Approve {
        /// To which.
        id: RequestId,
        /// Shorter than asked for.
        duration: Option<Duration>,
        /// In the approver's words.
        comment: String,
    },
    /// Say no.
    Deny {
        /// To which.
        id: RequestId,
        /// Why.
        reason: Reason,
    },
    /// Hand a grant back; the only one held if not said.
    Release(Option<GrantId>),
    /// Make a window longer: its holder asks for it, an operator does it.
    Extend {
        /// Whose.
        id: GrantId,
        /// By how much; the role's default if not said.
        duration: Option<Duration>,
        /// Why.
        reason: Reason,
        /// The ticket; the grant's own if not said.
        ticket: Option<Ticket>,
    },
    /// Give a role without a request.
    Grant {
        /// To whom.
        holder: Account,
        /// Which.
        role: RoleName,
        /// For how long.
        duration: Option<Duration>,
        /// Why.
        reason: Reason,
        /// The ticket.
        ticket: Option<Ticket>,
    },
    /// Approve, deny or take back what is decided already: the store remembers what the ledger does not.
    AlreadyClosed {
        /// Which of these.
        kind: CommandKind,
        /// The request as it was left.
        request: Box<Request>,
    },
    /// Take grants away.
    Revoke {
        /// Which.
        which: Which,
        /// Why.
        reason: Reason,
    },
    /// Seal the record from the next one on.
    Seal {
        /// The first key.
        key: SealKey,
        /// In place of a seal that there is already.
        again: bool,
    },
}

/// Which grants.
#[derive(Debug, Clone)]
pub enum Which {
    /// This one.
    One(GrantId),
    /// All that this person holds.
    Of(Account),
    /// All there are.
    All,
}

impl Command {
    /// What the table of origins calls it. Making somebody else's window longer is a kind of its own, told apart once the
    /// grant is known.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Request { .. } => CommandKind::Request,
            Self::Cancel(_) => CommandKind::Cancel,
            Self::Approve { .. } => CommandKind::Approve,
            Self::Deny { .. } => CommandKind::Deny,
            Self::Release(_) => CommandKind::Release,
            Self::Extend { .. } => CommandKind::Extend,
            Self::Grant { .. } => CommandKind::Grant,
            Self::AlreadyClosed { kind, .. } => *kind,
            Self::Revoke { which: Which::One(_), .. } => CommandKind::Revoke,
            Self::Revoke { which: Which::Of(_), .. } => CommandKind::RevokeUser,
            Self::Revoke { which: Which::All, .. } => CommandKind::RevokeAll,
            Self::Seal { .. } => CommandKind::Seal,
        }
    }
}

/// How the end of a session went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndReport {
    /// Processes found.
    pub killed: u64,
    /// Of these, how many had left the session's cgroup.
    pub escaped: u64,
    /// Still there.
    pub left: u64,
    /// From the moment its end was due to proven empty.
    pub took: Duration,
    /// From the moment its end was due to the first signal, where one was sent.
    pub first_signal: Option<Duration>,
    /// From the kill, after the grace, to proven empty, where it came to that.
    pub kill: Option<Duration>,
    /// From the answer of the gate until all of it was in its scope, where it got there.
    pub contained: Option<Duration>,
    /// The systemd invocations of its scopes, in their order, as far as they are known.
    pub invocations: Vec<String>,
    /// The processes, a line each, at most 64.
    pub processes: Vec<String>,
}

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
        /// There is no tag: the process has to be in the scope before the answer goes out.
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
    MindGroups {
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
    pub habits: Vec<(UserId, Habit)>,
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

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a knock.
    Gate(Verdict),
    /// To a command.
    Command(Result<Done, Refusal>),
    /// It is recorded that old records go, and the first of them have gone.
    Pruned,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Refused; the lines are for the person.
    Denied(Vec<String>),
    /// Let through.
    Allowed,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// This request.
    Request(RequestId),
    /// This grant.
    Grant(GrantId),
    /// These grants.
    Grants(Vec<GrantId>),
    /// A seal has begun.
    Sealed,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller may not do this.
    #[error("{0}")]
    NotAuthorized(String),
    /// The policy says no.
    #[error("{0}")]
    PolicyDenied(String),
    /// It is their own.
    #[error("{0}")]
    SelfApproval(String),
    /// Too late, or a second time.
    #[error("{0}")]
    AlreadyDecided(String),
    /// There is none, or the caller is no party to it.
    #[error("{0}")]
    NoSuch(String),
    /// It could not be written down.
    #[error("{0}")]
    CannotRecord(String),
}

impl SessionOrder {
    /// The end of a session. One that never got to run its command gets no grace.
    #[must_use]
    pub fn terminate(session: &Session, manner: Manner, due: BootTime) -> Self {
        let manner = if session.run_as().is_some() { manner } else { Manner::AtOnce };
        Self::Terminate { session: Box::new(session.clone()), manner, due }
    }
}
