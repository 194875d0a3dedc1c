//! Who sends a command: what the kernel, the bus and logind say about a caller, and what that makes of it.

use std::collections::BTreeSet;

use jit_proto::identity::{SessionId, UserId};

use super::ledger::{Ledger, MainProcess, Session};
use super::people::Person;

/// Who sends a command, gathered once for each of them, whichever way it came. Nothing in it is believed from the message.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who, by the uid that the bus or the socket names.
    pub person: Person,
    /// The uid they logged in with (`/proc/PID/loginuid`): somebody who became another with su or sudo keeps it. Where the
    /// kernel has no audit, and so no such file, the uid of the logind session stands in for it: logind keeps that the same
    /// way.
    pub loginuid: Option<UserId>,
    /// The audit session (`/proc/PID/sessionid`), where it is set.
    pub audit_session: Option<u32>,
    /// Where the process is, by its cgroup.
    pub location: Location,
    /// The process that connected, where it could be read.
    pub process: Option<MainProcess>,
    /// Its executable, where it could be read.
    pub exe: Option<String>,
    /// The holder of the session that the caller is inside, with their groups, where there is one and it is known to NSS.
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
        /// Whose login logind says it is.
        uid: UserId,
    },
    /// In a unit of somebody's systemd --user.
    UserUnit(String),
    /// In a unit of the system's systemd. A `session-*.scope` that logind does not know is one.
    SystemUnit(String),
    /// Anywhere else; the path.
    Elsewhere(String),
    /// It could not be read; why. It is a place of its own so that no failure is taken for an absence.
    Unreadable(String),
}

/// What a caller's place and login uid come to. Its name is the `origin` of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A login of the very account that calls.
    Login,
    /// A login of root.
    RootLogin,
    /// A login of another account than the one that calls: su, or sudo without a window of ours.
    OtherAccount,
    /// A login of neither the account that calls nor the login uid. Root that writes its login uid anew looks like that;
    /// so does su inside of a login that su has opened.
    RewrittenLoginUid,
    /// The scope of an elevated session, whoever calls from it.
    Window,
    /// No such scope, but the audit session of an elevated session: it left the scope.
    WindowAudit,
    /// No login, and a login uid all the same: at and cron give one.
    Job,
    /// A unit of somebody's systemd --user.
    UserUnit,
    /// A unit of the system, without a login uid.
    Service,
    /// No login uid, and no unit of the system: nobody can say who logged in.
    NoLoginUid,
    /// The process could not be read.
    Unreadable,
}

impl Origin {
    /// Every origin there is.
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

    /// The word in records.
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

    /// Whether the caller speaks from inside an elevated session.
    #[must_use]
    pub fn is_window(self) -> bool {
        matches!(self, Self::Window | Self::WindowAudit)
    }
}

impl Caller {
    /// Where the caller speaks from.
    #[must_use]
    pub fn origin(&self, ledger: &Ledger) -> Origin {
        let uid = self.person.account.uid;
        match &self.location {
            Location::Unreadable(_) => Origin::Unreadable,
            Location::Window { .. } => Origin::Window,
            _ if self.session(ledger).is_some() => Origin::WindowAudit,
            Location::Login { uid: login, .. } => match self.loginuid {
                None => Origin::NoLoginUid,
                // su in a terminal that is a user unit opens a login of the account that it becomes (pam_systemd(8)), and
                // the login uid stays.
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

    /// Every uid that the human behind this call is known by: the one that calls, or the holder of the window that the call
    /// comes from; the one that logged in; and the one that logind says logged in.
    #[must_use]
    pub fn uids(&self) -> BTreeSet<UserId> {
        let login = match &self.location {
            Location::Login { uid, .. } => Some(*uid),
            _ => None,
        };
        // Root inside a window is no human of its own.
        let person = self.holder.as_ref().unwrap_or(&self.person);
        [Some(person.account.uid), self.loginuid, login].into_iter().flatten().collect()
    }

    /// Whether somebody else than the account that calls is known to have logged in.
    #[must_use]
    pub fn is_another_account(&self) -> bool {
        let uid = self.person.account.uid;
        let login = match &self.location {
            Location::Login { uid, .. } => Some(*uid),
            _ => None,
        };
        [self.loginuid, login].into_iter().flatten().any(|login| login != uid)
    }

    /// The unit or scope that the call comes from; a path where it is in none.
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
