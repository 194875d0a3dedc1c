//! The sender of a command: what the kernel, the bus and logind report, and the origin that follows from it.

use std::collections::BTreeSet;

use jit_proto::identity::{SessionId, UserId};

use super::ledger::{Ledger, MainProcess, Session};
use super::people::Person;

/// The sender of a command, read once for each command on every path. Nothing in it comes from the message.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account, by the uid that the bus or the socket reports.
    pub person: Person,
    /// The login uid (`/proc/PID/loginuid`), which su and sudo do not change. On a kernel without audit the file does
    /// not exist, and the uid of the logind session is used; logind keeps it in the same way.
    pub loginuid: Option<UserId>,
    /// The audit session (`/proc/PID/sessionid`), where it is set.
    pub audit_session: Option<u32>,
    /// Where the process is in the cgroup hierarchy.
    pub location: Location,
    /// The process that connected, where it could be read.
    pub process: Option<MainProcess>,
    /// Its executable, where it could be read.
    pub exe: Option<String>,
    /// The holder of the session that the caller is inside, with their groups; `None` outside of a session, or where
    /// NSS does not know the holder.
    pub holder: Option<Person>,
}

/// Where a process is, by its path in the unified cgroup hierarchy (cgroups(7), systemd.slice(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the scope of an elevated session.
    Window {
        /// The session.
        session: SessionId,
        /// The scope.
        unit: String,
    },
    /// In the scope of a login that logind knows, of a class that people log in with (`user` and its kin, pam_systemd(8)).
    Login {
        /// The session's id (`loginctl session-status`).
        id: String,
        /// The user of the login, by logind.
        uid: UserId,
    },
    /// In a unit of a `systemd --user`.
    UserUnit(String),
    /// In a unit of the system manager, or in a `session-*.scope` that logind does not know.
    SystemUnit(String),
    /// In another cgroup, by its path.
    Elsewhere(String),
    /// The cgroup could not be read, and why. A variant of its own, so that a failed read is never taken for absence.
    Unreadable(String),
}

/// What the location and the login uid say about the caller. Its name is the `origin` of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A login of the calling account.
    Login,
    /// A login of root.
    RootLogin,
    /// A login of another account: su, or sudo without a window.
    OtherAccount,
    /// A login of neither the calling account nor the login uid. Root that rewrites its login uid looks like this; so
    /// does su inside of a login that su opened.
    RewrittenLoginUid,
    /// The scope of an elevated session, whoever calls from it.
    Window,
    /// The audit session of an elevated session, outside of its scope: the process left the scope.
    WindowAudit,
    /// No login session, but a login uid: at and cron set one.
    Job,
    /// A unit of a `systemd --user`.
    UserUnit,
    /// A unit of the system manager, without a login uid.
    Service,
    /// Neither a login uid nor a unit of the system manager: the login is unknown.
    NoLoginUid,
    /// The process could not be read.
    Unreadable,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 11] = [
        Self::Login,
        Self::RootLogin,
        Self::OtherAccount,
        Self::RewrittenLoginUid,
        Self::Window,
        Self::WindowAudit,
        Self::Job,
        Self::UserUnit,
        Self::Service,
        Self::NoLoginUid,
        Self::Unreadable,
    ];

    /// Its name in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::RootLogin => "root-login",
            Self::OtherAccount => "other-account",
            Self::RewrittenLoginUid => "rewritten-login-uid",
            Self::Window => "window",
            Self::WindowAudit => "window-audit-session",
            Self::Job => "job",
            Self::UserUnit => "user-unit",
            Self::Service => "service",
            Self::NoLoginUid => "no-login-uid",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether the caller is inside an elevated session.
    #[must_use]
    pub fn is_window(self) -> bool {
        matches!(self, Self::Window | Self::WindowAudit)
    }
}

impl Caller {
    /// The origin of the call.
    #[must_use]
    pub fn origin(&self, ledger: &Ledger) -> Origin {
        let uid = self.person.account.uid;
        match &self.location {
            Location::Unreadable(_) => Origin::Unreadable,
            Location::Window { .. } => Origin::Window,
            _ if self.session(ledger).is_some() => Origin::WindowAudit,
            Location::Login { uid: login, .. } => match self.loginuid {
                None => Origin::NoLoginUid,
                // su in a terminal that is a user unit opens a login of the target account (pam_systemd(8)), and the
                // login uid stays.
                Some(loginuid) if loginuid != *login && *login != uid => Origin::RewrittenLoginUid,
                Some(loginuid) if loginuid != uid => Origin::OtherAccount,
                Some(_) if uid.is_root() => Origin::RootLogin,
                Some(_) => Origin::Login,
            },
            Location::UserUnit(_) => Origin::UserUnit,
            Location::SystemUnit(_) | Location::Elsewhere(_) if self.loginuid.is_some() => Origin::Job,
            Location::SystemUnit(_) => Origin::Service,
            Location::Elsewhere(_) => Origin::NoLoginUid,
        }
    }

    /// The open session that the caller is inside, by its scope, else by its audit session.
    #[must_use]
    pub fn session<'a>(&self, ledger: &'a Ledger) -> Option<&'a Session> {
        match &self.location {
            Location::Window { session, .. } => ledger.sessions.get(session),
            _ => self.audit_session.and_then(|id| ledger.in_audit_session(id)),
        }
    }

    /// Every uid of the human behind the call: the calling account, or the holder of the window that the call comes
    /// from; the login uid; and the user of the logind session.
    #[must_use]
    pub fn uids(&self) -> BTreeSet<UserId> {
        let login = match &self.location {
            Location::Login { uid, .. } => Some(*uid),
            _ => None,
        };
        // Root inside a window stands for the holder.
        let person = self.holder.as_ref().unwrap_or(&self.person);
        [Some(person.account.uid), self.loginuid, login].into_iter().flatten().collect()
    }

    /// Whether another account than the calling one is known to have logged in.
    #[must_use]
    pub fn is_another_account(&self) -> bool {
        let uid = self.person.account.uid;
        let login = match &self.location {
            Location::Login { uid, .. } => Some(*uid),
            _ => None,
        };
        [self.loginuid, login].into_iter().flatten().any(|login| login != uid)
    }

    /// The unit or scope of the caller; the cgroup path where it is in none.
    #[must_use]
    pub fn unit(&self) -> Option<String> {
        match &self.location {
            Location::Window { unit, .. } | Location::UserUnit(unit) | Location::SystemUnit(unit) => {
                Some(unit.clone())
            }
            Location::Login { id, .. } => Some(format!("session-{id}.scope")),
            Location::Elsewhere(path) => Some(path.clone()),
            Location::Unreadable(_) => None,
        }
    }
}
