//! The table of commands and origins: which command is allowed from which origin. The bus and the operators' socket
//! both ask it; further rules apply afterwards.

use super::caller::{Caller, Location, Origin};
use super::ledger::{Ledger, Request};
use super::people::{Account, Person};
use super::policy::Policy;
use crate::core::reply::Refusal;

/// The kinds of commands, without their arguments. A new kind does not compile without its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandKind {
    /// Ask for a role.
    Request,
    /// Cancel one's own request.
    Cancel,
    /// Approve a request of another person.
    Approve,
    /// Deny a request.
    Deny,
    /// Release one's own grant.
    Release,
    /// Request an extension of one's own window.
    Extend,
    /// Extend another person's window.
    ExtendOther,
    /// Grant a role to a person.
    Grant,
    /// Revoke one grant.
    Revoke,
    /// Revoke all grants of a person.
    RevokeUser,
    /// Revoke all grants.
    RevokeAll,
    /// Begin a seal.
    Seal,
    /// Acknowledge a problem of the audit log.
    Acknowledge,
    /// Record what doctor finds.
    Doctor,
    /// Reload the policy.
    Reload,
    /// List pending requests.
    Pending,
    /// See one request or grant.
    Show,
    /// List live grants.
    Grants,
    /// List open sessions.
    Sessions,
    /// List the roles.
    Roles,
    /// Show the caller's own status.
    Status,
    /// Check the policy on disk.
    PolicyCheck,
    /// Show the policy in force.
    PolicyShow,
    /// Read the audit log.
    AuditRead,
    /// Search the audit log.
    AuditSearch,
    /// Verify the audit log.
    AuditVerify,
    /// Show the head of the audit log.
    AuditHead,
}

/// A rule of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The command is allowed.
    Allowed,
    /// Allowed for the session holder's own requests and grants, from a process of that session that runs as the
    /// holder, as the session's target user, or as root.
    CallOwner,
    /// Allowed only if `approve_without_login` is set, and then only if the login uid is the calling account.
    LoginRequired,
    /// Allowed only if `approve_as_another_account` is set.
    SameAccount,
    /// Never allowed; this is the end of the sentence after "...: ".
    Refused(&'static str),
}

/// Who may use a command, whatever the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Every account; what each person may see and do is decided per object.
    Anybody,
    /// Root, operators and auditors.
    Auditor,
    /// Root and operators.
    Operator,
    /// Root.
    Root,
}

/// The rule for each origin, for one command or several. A caller who could not be read is always refused.
#[derive(Debug, Clone, Copy)]
struct Row {
    login: Rule,
    root_login: Rule,
    other_account: Rule,
    rewritten: Rule,
    window: Rule,
    window_audit: Rule,
    job: Rule,
    user_unit: Rule,
    service: Rule,
    no_login_uid: Rule,
}

const IN_A_WINDOW: Rule = Rule::Refused("not from inside a window of sudo; use a login of your own");
const REWRITTEN: Rule = Rule::Refused(
    "this process is in somebody's login and has the login uid of somebody else, so nobody knows who asks; use a login of your own",
);
const NOT_BY_A_JOB: Rule = Rule::Refused("not from a job, a user unit or without a login uid");

/// Reading: what each person may see is decided per object. From inside a window the session's holder is the reader.
const READ: Row = Row {
    login: Rule::Allowed,
    root_login: Rule::Allowed,
    other_account: Rule::Allowed,
    rewritten: REWRITTEN,
    window: Rule::CallOwner,
    window_audit: Rule::CallOwner,
    job: Rule::Allowed,
    user_unit: Rule::Allowed,
    service: Rule::Allowed,
    no_login_uid: Rule::Allowed,
};

/// Cancelling and releasing one's own: opens nothing, and closes only the caller's own.
const OWN: Row = READ;

/// Requesting a role or an extension. Another person has to approve, and the origin shows approvers who asked: at, cron
/// and user units would hide from whose login the request came.
const ASK: Row = Row {
    job: Rule::LoginRequired,
    user_unit: Rule::LoginRequired,
    no_login_uid: Rule::LoginRequired,
    ..OWN
};

/// Decisions that make an elevation possible. They need a login session of the calling account: at, cron, user units
/// and processes without a login uid can be started by another account.
const DECIDE: Row = Row {
    login: Rule::Allowed,
    root_login: Rule::Allowed,
    other_account: Rule::SameAccount,
    rewritten: REWRITTEN,
    window: IN_A_WINDOW,
    window_audit: IN_A_WINDOW,
    job: Rule::LoginRequired,
    user_unit: Rule::LoginRequired,
    service: Rule::LoginRequired,
    no_login_uid: Rule::LoginRequired,
};

/// Revoking closes and never opens, so root and operators may do it from a monitoring service, a cron job or through su
/// as well. It is refused inside a window, and from a rewritten login uid, which is how root in a window looks before
/// it is in its scope: the holder could revoke the grants of those who supervise them.
const REVOKE: Row = Row {
    login: Rule::Allowed,
    root_login: Rule::Allowed,
    other_account: Rule::Allowed,
    rewritten: REWRITTEN,
    window: IN_A_WINDOW,
    window_audit: IN_A_WINDOW,
    job: Rule::Allowed,
    user_unit: Rule::Allowed,
    service: Rule::Allowed,
    no_login_uid: Rule::Allowed,
};

/// A seal is begun by the account that sets the host up, which can be a service at the first boot. It is refused inside
/// a window, and from jobs that a window can leave to at or cron, since the holder could replace the seal.
const SEAL: Row = Row {
    login: Rule::Allowed,
    root_login: Rule::Allowed,
    other_account: Rule::Allowed,
    rewritten: REWRITTEN,
    window: IN_A_WINDOW,
    window_audit: IN_A_WINDOW,
    job: NOT_BY_A_JOB,
    user_unit: NOT_BY_A_JOB,
    service: Rule::Allowed,
    no_login_uid: Rule::LoginRequired,
};

/// `systemctl reload jitd` runs as a service. A policy is not reloaded from inside a window, which it governs.
const RELOAD: Row = Row { job: Rule::Allowed, user_unit: NOT_BY_A_JOB, no_login_uid: Rule::Allowed, ..SEAL };

impl CommandKind {
    /// Every kind.
    pub const ALL: [Self; 27] = [
        Self::Request,
        Self::Cancel,
        Self::Approve,
        Self::Deny,
        Self::Release,
        Self::Extend,
        Self::ExtendOther,
        Self::Grant,
        Self::Revoke,
        Self::RevokeUser,
        Self::RevokeAll,
        Self::Seal,
        Self::Acknowledge,
        Self::Doctor,
        Self::Reload,
        Self::Pending,
        Self::Show,
        Self::Grants,
        Self::Sessions,
        Self::Roles,
        Self::Status,
        Self::PolicyCheck,
        Self::PolicyShow,
        Self::AuditRead,
        Self::AuditSearch,
        Self::AuditVerify,
        Self::AuditHead,
    ];

    fn row(self) -> (Row, Need) {
        match self {
            Self::Request | Self::Extend => (ASK, Need::Anybody),
            Self::Cancel | Self::Release => (OWN, Need::Anybody),
            Self::Approve | Self::Deny => (DECIDE, Need::Anybody),
            Self::ExtendOther | Self::Grant | Self::Acknowledge => (DECIDE, Need::Operator),
            Self::Revoke => (REVOKE, Need::Anybody),
            Self::RevokeUser | Self::RevokeAll => (REVOKE, Need::Operator),
            Self::Seal => (SEAL, Need::Operator),
            // Who is in a window could say that all is well.
            Self::Doctor => (SEAL, Need::Root),
            Self::Reload => (RELOAD, Need::Root),
            Self::Pending | Self::Show | Self::Grants | Self::Sessions | Self::Roles | Self::Status => {
                (READ, Need::Anybody)
            }
            Self::PolicyCheck
            | Self::PolicyShow
            | Self::AuditRead
            | Self::AuditSearch
            | Self::AuditVerify
            | Self::AuditHead => (READ, Need::Auditor),
        }
    }

    /// The rule of this command for this origin.
    #[must_use]
    pub fn rule(self, origin: Origin) -> Rule {
        let row = self.row().0;
        match origin {
            Origin::Login => row.login,
            Origin::RootLogin => row.root_login,
            Origin::OtherAccount => row.other_account,
            Origin::RewrittenLoginUid => row.rewritten,
            Origin::Window => row.window,
            Origin::WindowAudit => row.window_audit,
            Origin::Job => row.job,
            Origin::UserUnit => row.user_unit,
            Origin::Service => row.service,
            Origin::NoLoginUid => row.no_login_uid,
            Origin::Unreadable => Rule::Refused("nobody knows who calls"),
        }
    }

    /// Whether the command changes anything. Refusals of other commands are recorded only a few times a minute.
    #[must_use]
    pub fn changes(self) -> bool {
        match self {
            Self::Request
            | Self::Cancel
            | Self::Approve
            | Self::Deny
            | Self::Release
            | Self::Extend
            | Self::ExtendOther
            | Self::Grant
            | Self::Revoke
            | Self::RevokeUser
            | Self::RevokeAll
            | Self::Seal
            | Self::Acknowledge
            | Self::Doctor
            | Self::Reload => true,
            Self::Pending
            | Self::Show
            | Self::Grants
            | Self::Sessions
            | Self::Roles
            | Self::Status
            | Self::PolicyCheck
            | Self::PolicyShow
            | Self::AuditRead
            | Self::AuditSearch
            | Self::AuditVerify
            | Self::AuditHead => false,
        }
    }

    /// Whether a caller whose account is locked or has expired may still do this, in a login from before: see what is
    /// their own, and give back.
    fn is_for_the_locked(self) -> bool {
        match self {
            Self::Cancel | Self::Release => true,
            _ => !self.changes() && self.row().1 == Need::Anybody,
        }
    }

    /// The command as it is typed, for records and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Cancel => "cancel",
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Release => "release",
            Self::Extend | Self::ExtendOther => "extend",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::RevokeUser => "revoke --user",
            Self::RevokeAll => "revoke --all",
            Self::Seal => "audit seal",
            Self::Acknowledge => "audit acknowledge",
            Self::Doctor => "doctor --record",
            Self::Reload => "reload",
            Self::Pending => "pending",
            Self::Show => "show",
            Self::Grants => "grants",
            Self::Sessions => "sessions",
            Self::Roles => "roles",
            Self::Status => "status",
            Self::PolicyCheck => "policy check",
            Self::PolicyShow => "policy show",
            Self::AuditRead => "audit show",
            Self::AuditSearch => "audit search",
            Self::AuditVerify => "audit verify",
            Self::AuditHead => "audit head",
        }
    }

    /// The end of a sentence that says who may use the command.
    fn only(self) -> &'static str {
        match self {
            Self::Grant => "only operators grant without a request",
            Self::ExtendOther => "only operators extend another person's window",
            Self::RevokeUser | Self::RevokeAll => "only operators revoke all grants of a person",
            Self::Seal => "only operators and root begin a seal, and not from inside a window",
            Self::Acknowledge => {
                "only operators and root acknowledge a problem, and not from inside a window"
            }
            Self::Doctor => "only root records what doctor finds, and not from inside a window",
            Self::Reload => "only root reloads the policy",
            Self::PolicyCheck | Self::PolicyShow => "only root, operators and auditors see the whole policy",
            Self::AuditRead | Self::AuditSearch | Self::AuditVerify | Self::AuditHead => {
                "only root, operators and auditors read the audit log"
            }
            _ => "this is not for you",
        }
    }
}

/// Whether this caller may use this command. Returns the person whose requests and grants it is about: the caller, or
/// inside a window the session's holder.
///
/// # Errors
/// A sentence that says why not.
pub fn admit<'a>(
    ledger: &Ledger,
    policy: Option<&Policy>,
    caller: &'a Caller,
    kind: CommandKind,
) -> Result<&'a Person, Refusal> {
    let origin = caller.origin(ledger);
    let word = kind.word();
    let settings = policy.map(|policy| &policy.settings);
    let another = settings.is_some_and(|settings| settings.options.approve_as_another_account);
    let refuse = |why: String| Err(Refusal::NotAuthorized(why));
    let person = match kind.rule(origin) {
        Rule::Allowed => &caller.person,
        Rule::CallOwner => {
            own(ledger, caller).map_err(|why| Refusal::NotAuthorized(format!("{word}: {why}")))?
        }
        Rule::LoginRequired if !settings.is_some_and(|settings| settings.options.approve_without_login) => {
            return refuse(format!(
                "{word}: this counts only from a login session, and the call comes from {} (origin {}); log in over ssh or \
                 at the console, or see approve_without_login in jitd.toml(5)",
                caller.unit().unwrap_or_else(|| "nowhere".to_owned()),
                origin.word()
            ));
        }
        Rule::LoginRequired | Rule::SameAccount if caller.is_another_account() && !another => {
            return refuse(format!(
                "{word}: this counts only from the account that logged in, and that was not {}; log in as {}",
                caller.person.account.name, caller.person.account.name
            ));
        }
        Rule::LoginRequired | Rule::SameAccount => &caller.person,
        Rule::Refused(_) if origin == Origin::Unreadable => {
            let Location::Unreadable(why) = &caller.location else {
                return refuse(format!("{word}: the caller is unknown"));
            };
            return refuse(why.clone());
        }
        Rule::Refused(why) => return refuse(format!("{word}: {why}")),
    };
    if person.locked && !kind.is_for_the_locked() {
        let name = &person.account.name;
        return refuse(format!("{word}: the account of {name} is locked or has expired (shadow(5))"));
    }
    let root = caller.person.account.uid.is_root();
    let operator = settings.is_some_and(|settings| settings.operators.include(person));
    let auditor = settings.is_some_and(|settings| settings.auditors.include(person));
    let may = match kind.row().1 {
        Need::Anybody => true,
        Need::Auditor => root || operator || auditor,
        Need::Operator => root || operator,
        Need::Root => root,
    };
    if may { Ok(person) } else { refuse(kind.only().to_owned()) }
}

/// Whether the caller may grant and revoke from this origin: an operator or root, outside of every window.
#[must_use]
pub fn is_operator(policy: Option<&Policy>, ledger: &Ledger, caller: &Caller) -> bool {
    let listed = policy.is_some_and(|policy| policy.settings.operators.include(&caller.person));
    (listed || caller.person.account.uid.is_root()) && !caller.origin(ledger).is_window()
}

/// Whether the caller and this person share a uid.
#[must_use]
pub fn is_same_person(caller: &Caller, account: &Account) -> bool {
    caller.uids().contains(&account.uid)
}

/// The holder of the session that the caller is inside.
fn own<'a>(ledger: &Ledger, caller: &'a Caller) -> Result<&'a Person, String> {
    let session = caller.session(ledger).filter(|session| !session.is_ending());
    let session = session.ok_or("the window that this call comes from is not open any more")?;
    let holder = caller.holder.as_ref().filter(|person| person.account.uid == session.holder.uid);
    let holder =
        holder.ok_or_else(|| format!("{} is not known on this host any more", session.holder.name))?;
    let uid = caller.person.account.uid;
    let is_own =
        uid.is_root() || uid == session.holder.uid || session.run_as().is_some_and(|it| it.uid == uid);
    if is_own {
        Ok(holder)
    } else {
        let (name, holder) = (&caller.person.account.name, &session.holder.name);
        Err(format!("nobody speaks as {name} from inside a window of {holder}"))
    }
}

/// Whether this person is an approver of the request's role and not its requester.
#[must_use]
pub fn may_approve(policy: Option<&Policy>, person: &Person, request: &Request) -> bool {
    let approvers =
        policy.and_then(|policy| policy.roles.get(&request.spec.role)).map(|role| &role.approvers);
    person.account.uid != request.requester.uid && approvers.is_some_and(|people| people.include(person))
}

#[cfg(test)]
mod tests;
