//! What the PAM module asks, and what the daemon read about the process that asks.

use std::collections::BTreeSet;

use jit_proto::identity::{GroupId, SessionId, UserId};

use super::ledger::{GroupAsked, MainProcess};
use super::people::{Account, Person};

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
