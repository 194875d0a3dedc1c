//! The one table of what may be asked from where. Every door asks it; who may do what beyond that is asked afterwards.

use super::caller::{Caller, Location, Origin};
use super::ledger::{Ledger, Request};
use super::people::{Account, Person};
use super::policy::Policy;
use crate::core::reply::Refusal;

/// What can be asked of the daemon, the arguments aside. A new one does not compile without its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandKind {
    /// Ask for a role.
    Request,
    /// Take one's own request back.
    Cancel,
    /// Approve a request of another person.
    Approve,
    /// Deny it.
    Deny,
    /// Hand one's own grant back.
    Release,
    /// Request an extension of one's own window.
    Extend,
    /// Make somebody else's window longer.
    ExtendOther,
    /// Give somebody a role.
    Grant,
    /// Take one grant away.
    Revoke,
    /// Take away what somebody holds.
    RevokeUser,
    /// Take everything away.
    RevokeAll,
    /// Begin a seal.
    Seal,
    /// Acknowledge a problem of the audit log.
    Acknowledge,
    /// Read the policy anew.
    Reload,
    /// See the requests that are pending.
    Pending,
    /// See one request or grant.
    Show,
    /// See the live grants.
    Grants,
    /// See the open sessions.
    Sessions,
    /// See the roles.
    Roles,
    /// See how things stand for oneself.
    Status,
    /// See what is wrong with the policy on disk.
    PolicyCheck,
    /// See the policy in force.
    PolicyShow,
    /// Read the record.
    AuditRead,
    /// Search it.
    AuditSearch,
    /// Verify it.
    AuditVerify,
    /// See its end.
    AuditHead,
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It may be asked.
    Allowed,
    /// What is the session's holder's own, by a process of that session that runs as them, as the user it became, or as root.
    CallOwner,
    /// Only where `approve_without_login` is set, and then only by somebody who logged in as who they are.
    LoginRequired,
    /// Only where `approve_as_another_account` is set.
    SameAccount,
    /// Never; the sentence goes on from "...: ".
    Refused(&'static str),
}

/// Who may ask, whatever the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Whoever has an account; what they may see and do is decided for each thing.
    Anybody,
    /// Root, operators and auditors.
    Auditor,
    /// Root and operators.
    Operator,
    /// Root.
    Root,
}

/// One command, or several alike: the rule for each origin. A caller who could not be read is always refused.
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

/// Looking: what each person may see is decided for each thing. From inside a window it is the session's holder who looks.
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

/// Asking, and giving back, for oneself: it opens nothing without somebody else's yes, and closes only what is one's own.
const OWN: Row = READ;

/// Asking for a role or for more of it. Somebody else has to say yes, and who that may be is told by who asked: at, cron and user
/// units would hide whose login the request came from.
const ASK: Row = Row {
    job: Rule::LoginRequired,
    user_unit: Rule::LoginRequired,
    no_login_uid: Rule::LoginRequired,
    ..OWN
};

/// What makes an elevation possible. It takes somebody who sits at a login of their own account: at, cron, user units and
/// whatever has no login uid can be set going by another account.
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

/// Revoking is the emergency brake: it closes and never opens, so root and operators may pull it from a monitoring service,
/// a cron job or through su just as well. Not from a window, nor by a login uid that was written anew, which is how root
/// in a window looks before it is in its scope: its holder would stop those who are to stop them.
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

/// A seal is begun by whoever sets the host up, which a service at its first boot may be. Whoever is in a window has an
/// interest in another seal, and so has what they leave to at or cron.
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

/// `systemctl reload jitd` is a service. What judges a window is not changed from inside it.
const RELOAD: Row = Row { job: Rule::Allowed, user_unit: NOT_BY_A_JOB, no_login_uid: Rule::Allowed, ..SEAL };

impl CommandKind {
    /// Every kind there is.
    pub const ALL: [Self; 26] = [
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

    /// What the table says of this command from there.
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

    /// Whether it changes anything. The refusal of one that does not is recorded a few times a minute only.
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

    /// The command as people type it, for records and sentences.
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

    /// Who may ask at all, in a sentence.
    fn only(self) -> &'static str {
        match self {
            Self::Grant => "only operators grant without a request",
            Self::ExtendOther => "only operators make the window of somebody else longer",
            Self::RevokeUser | Self::RevokeAll => "only operators revoke everything somebody holds",
            Self::Seal => "only operators and root begin a seal, and not from inside a window",
            Self::Acknowledge => {
                "only operators and root acknowledge a problem, and not from inside a window"
            }
            Self::Reload => "only root reloads the policy",
            Self::PolicyCheck | Self::PolicyShow => "only root, operators and auditors see the whole policy",
            Self::AuditRead | Self::AuditSearch | Self::AuditVerify | Self::AuditHead => {
                "only root, operators and auditors read the record"
            }
            _ => "this is not for you",
        }
    }
}

/// Whether this caller may ask this; the person whose own things it is about: the caller, or from inside a window the
/// session's holder.
///
/// # Errors
/// Says why not.
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
                return refuse(format!("{word}: nobody knows who calls"));
            };
            return refuse(why.clone());
        }
        Rule::Refused(why) => return refuse(format!("{word}: {why}")),
    };
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

/// Whether the caller may grant and revoke from where they are: an operator or root, outside of every window.
#[must_use]
pub fn is_operator(policy: Option<&Policy>, ledger: &Ledger, caller: &Caller) -> bool {
    let listed = policy.is_some_and(|policy| policy.settings.operators.include(&caller.person));
    (listed || caller.person.account.uid.is_root()) && !caller.origin(ledger).is_window()
}

/// Whether this caller is that person, under any uid that either is known by.
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
