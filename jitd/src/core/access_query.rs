//! What the PAM module asks, and what the daemon read about the process that asks.

use std::collections::BTreeSet;

use jit_proto::identity::{GroupId, SessionId, UserId};

use super::ledger::{GroupAsked, MainProcess};
use super::people::{Account, Person};

/// A call of `pam_jit`, with what jitd read about the calling process.
#[derive(Debug, Clone)]
pub struct AccessQuery {
    /// The PAM stage that called.
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
    /// The line of the module has the option `observe`: the call passes whatever is decided.
    pub line_observes: bool,
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

/// The PAM stage that called, with its mode (pam_jit(8)), or what else is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Account stage, `gate`: decides.
    Enter {
        /// Whether `pam_jit` says that it put the process into an audit session of its own.
        tagged: bool,
    },
    /// Session stage, `gate`: decides again, for the user that sudo settled on.
    Recheck,
    /// Session stage, `track`: returns processes that another module moved away to their scope; decides only where no
    /// `gate` line did.
    Track,
    /// No hook: polkit asks whether it may let the person do something.
    Authorize {
        /// A session is opened for it afterwards, which the module asks for and which is recorded then.
        session_follows: bool,
    },
}

/// A user name from a PAM item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The item is not set.
    Unset,
    /// The account of this name in NSS.
    Account(Account),
    /// NSS knows no account of this name.
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
    /// `/proc/PPID/sessionid` of the parent, where it is set.
    pub parent_audit_session: Option<u32>,
    /// The session in whose scope it is.
    pub scope: Option<SessionId>,
    /// The logind session in whose scope it is.
    pub login: Option<String>,
    /// Its command line.
    pub argv: Vec<String>,
    /// Whether `argv` was cut.
    pub argv_cut: bool,
    /// Its executable, which the caller cannot choose as it chooses `argv`. `None` where it cannot be read.
    pub exe: Option<String>,
}
