//! Decides at the gate, and opens the sessions that follow.

use super::denial::{Denied, refuse, settle};
use super::session_of;
use crate::core::decide::{Access, Decision, covers, decide};
use crate::core::effect::{Change, DriftUpdate, Effect, SessionOrder};
use crate::core::facts;
use crate::core::input::{AccessQuery, Named, Process};
use crate::core::ledger::{EndedBy, Ledger, ObservedCall, Session, SessionState};
use crate::core::people::{Account, Person};
use crate::core::reply::Verdict;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::{GrantId, RoleName, SessionId};
use std::collections::BTreeSet;

const NO_TARGET: &str = "the target user is not known on this host";

/// Account stage: decides, and registers a session.
pub(in crate::core) fn enter(turn: &mut Turn<'_>, query: &AccessQuery, tagged: bool) -> Verdict {
    if query.process.real_uid.is_root() {
        let inside = session_of(&turn.ledger, &query.process).map(|session| (session.id, session.grant));
        let facts = Facts {
            outcome: Some("allowed".to_owned()),
            session: inside.map(|(session, _)| session.0),
            grant: inside.map(|(_, grant)| grant.0),
            ..facts::query(query)
        };
        turn.note(AuditEvent::AccessRoot, facts);
        return Verdict::Allowed;
    }
    // It asks anew.
    turn.ledger.observed.forget(query.process.real_uid, query.process.main);
    let person = match caller_of(query) {
        Ok(person) => person,
        Err(why) => return settle(turn, query, Denied::because(why, None)),
    };
    turn.revalidate_holder(person);
    let access =
        Access { person, service: &query.service, target: None, group: (&query.group, &query.own_groups) };
    let grant = match decide(&turn.ledger, turn.policy, &access, turn.context, turn.now) {
        Decision::Allowed(grant) => grant,
        Decision::Denied(denial) => {
            let lines = denial.lines(turn.policy, &access);
            return settle(turn, query, Denied { why: denial.short(), lines, access: Some(&access) });
        }
    };
    let Some(grant) = turn.ledger.grants.get(&grant).cloned() else {
        return settle(turn, query, Denied::because("the grant is gone", Some(&access)));
    };
    let id = SessionId(turn.ledger.next_session);
    turn.ledger.next_session += 1;
    let session = Session {
        id,
        grant: grant.id,
        role: grant.role.clone(),
        holder: person.account.clone(),
        parent: parent_of(&turn.ledger, &query.process),
        audit_session: own_audit_session(&turn.ledger, &query.process, tagged),
        loginuid: query.process.loginuid,
        main: query.process.main,
        service: query.service.clone(),
        tty: query.tty.clone(),
        argv: query.process.argv.clone(),
        started_at: turn.now.wall,
        started: turn.now.boot,
        boot_id: turn.now.boot_id.clone(),
        login: query.process.login.clone(),
        io_log: None,
        group: query.group.clone(),
        own_groups: BTreeSet::new(),
        drain_deadline: None,
        state: SessionState::Registered,
    };
    let facts = Facts {
        outcome: Some("allowed".to_owned()),
        session: Some(id.0),
        parent_session: session.parent.map(|parent| parent.0),
        ..facts::under(&grant, facts::query(query))
    };
    turn.note(AuditEvent::AccessAllowed, facts);
    turn.put(Change::Session(session.clone()));
    turn.ledger.sessions.insert(id, session.clone());
    turn.is_used(grant.id);
    let until = turn.scope_deadline(&grant.ends);
    let idle = turn.policy.and_then(|policy| policy.roles.get(&grant.role)?.options.idle_timeout);
    let first = session.audit_session.is_none();
    turn.then(Effect::Drift(DriftUpdate::Opened(Box::new(session.clone()))));
    turn.then(SessionOrder::Watch { session: Box::new(session), until, idle, first });
    Verdict::Allowed
}

/// First line of the session stage: decides again for the target user, which is known now, and opens the session.
pub(in crate::core) fn recheck(turn: &mut Turn<'_>, query: &AccessQuery) -> Verdict {
    let session = match own_session(turn, query) {
        CallOwner::Session(session) => session,
        CallOwner::Root => return Verdict::Allowed,
        CallOwner::Nothing(why) => return without_session(turn, query, why),
    };
    let Named::Account(target) = &query.user else {
        return settle(turn, query, Denied::because(NO_TARGET, None));
    };
    let Some(person) = query.person.as_ref().filter(|person| person.account.uid == session.holder.uid) else {
        // sudoedit runs its session stage with real uid 0, so the person is taken from the account stage.
        return recheck_as(turn, query, &session, target, &session.holder_without_groups());
    };
    recheck_as(turn, query, &session, target, person)
}

fn recheck_as(
    turn: &mut Turn<'_>,
    query: &AccessQuery,
    session: &Session,
    target: &Account,
    person: &Person,
) -> Verdict {
    let access = Access {
        person,
        service: &session.service,
        target: Some(target),
        group: (&query.group, &query.own_groups),
    };
    match decide(&turn.ledger, turn.policy, &access, turn.context, turn.now) {
        Decision::Denied(denial) => {
            let lines = denial.lines(turn.policy, &access);
            let verdict = settle(turn, query, Denied { why: denial.short(), lines, access: Some(&access) });
            if matches!(verdict, Verdict::Observed(_)) {
                // It stays the session of the window that let it in, and ends with that.
                let _ = open(turn, query, session, None, target);
            }
            verdict
        }
        Decision::Allowed(grant) => {
            let under = turn.ledger.grants.get(&grant).map(|it| (it.role.clone(), it.ends.clone()));
            if let Some((_, ends)) = under.as_ref().filter(|_| grant != session.grant) {
                let until = turn.scope_deadline(ends);
                turn.is_used(grant);
                turn.then(SessionOrder::SetDeadline { session: session.id, until });
            }
            open(turn, query, session, under.map(|(role, _)| (grant, role)), target)
        }
    }
}

/// Records that a session is open, and under which grant.
fn open(
    turn: &mut Turn<'_>,
    query: &AccessQuery,
    session: &Session,
    grant: Option<(GrantId, RoleName)>,
    target: &Account,
) -> Verdict {
    let Some(opened) = turn.ledger.sessions.get_mut(&session.id) else {
        return Verdict::Denied(vec![format!("jit: {} is refused: the session is gone.", session.service)]);
    };
    let moved = grant.as_ref().is_some_and(|(grant, _)| *grant != opened.grant);
    if let Some((grant, role)) = grant {
        opened.grant = grant;
        opened.role = role;
    }
    opened.group = query.group.clone();
    opened.own_groups = query.own_groups.clone();
    opened.state = SessionState::Open { run_as: target.clone() };
    let opened = opened.clone();
    if turn.ledger.sealed {
        // A process that is about to become root must not find the key of this record.
        turn.at_once();
    }
    if moved {
        turn.then(Effect::Drift(DriftUpdate::Opened(Box::new(opened.clone()))));
    }
    watch_groups(turn, &opened);
    turn.note(AuditEvent::SessionOpened, facts::session(&opened));
    turn.put(Change::Session(opened));
    Verdict::Allowed
}

/// Has the groups of a session's processes watched, where its role gives some groups and not all.
pub(in crate::core) fn watch_groups(turn: &mut Turn<'_>, session: &Session) {
    let role = turn.policy.and_then(|policy| policy.roles.get(&session.role));
    let person = session.holder_without_groups();
    // What its role does not cover passed because jitd observes.
    let role = role.filter(|role| !role.run_as.is_anybody() && covers(role, &Access::of(session, &person)));
    if let (Some(role), Some(target)) = (role, session.run_as()) {
        let named = role.run_as_groups.groups.clone();
        turn.then(SessionOrder::WatchGroups { session: session.id, target: target.uid, named });
    }
}

/// Last line of the session stage: processes that another module moved away return to the scope. In a stack without the
/// first line the session opens here.
pub(in crate::core) fn track(turn: &mut Turn<'_>, query: &AccessQuery) -> Verdict {
    let session = match own_session(turn, query) {
        CallOwner::Session(session) => session,
        CallOwner::Root => {
            // A nested sudo or su: pam_systemd may have moved it out of the scope.
            if let Some(outer) = session_of(&turn.ledger, &query.process) {
                turn.then(SessionOrder::Reattach { session: outer.id, process: query.process.main });
            }
            return Verdict::Allowed;
        }
        CallOwner::Nothing(why) => return without_session(turn, query, why),
    };
    let Named::Account(target) = &query.user else {
        return settle(turn, query, Denied::because(NO_TARGET, None));
    };
    turn.then(SessionOrder::Reattach { session: session.id, process: query.process.main });
    if session.run_as().is_some_and(|opened| opened == target) {
        return Verdict::Allowed;
    }
    let person = session.holder_without_groups();
    recheck_as(turn, query, &session, target, &person)
}

/// The owner of a session-stage call.
enum CallOwner {
    /// The session that its account stage registered.
    Session(Box<Session>),
    /// Root itself, or root inside a session.
    Root,
    /// Nothing, and why.
    Nothing(NoSession),
}

/// Why the session stage of a call has no session.
enum NoSession {
    /// Its account stage passed because jitd observes.
    Observed(Box<ObservedCall>),
    /// Its session is being ended, and why.
    Ending(String),
    /// Its account stage is not known.
    NotEntered,
    /// It is not the call that the account stage let pass.
    Another,
}

fn own_session(turn: &Turn<'_>, query: &AccessQuery) -> CallOwner {
    let session = session_of(&turn.ledger, &query.process);
    if let Some(call) = observed_call(turn, query) {
        return CallOwner::Nothing(NoSession::Observed(Box::new(call.clone())));
    }
    if let Some(why) = session.and_then(why_it_ends)
        && (!query.is_roots_own() || session.is_some_and(|session| session.main == query.process.main))
    {
        return CallOwner::Nothing(NoSession::Ending(why));
    }
    if query.is_roots_own() {
        let own = session.filter(|session| session.main == query.process.main);
        return own.map_or(CallOwner::Root, |session| CallOwner::Session(Box::new(session.clone())));
    }
    let Some(session) = session else {
        return CallOwner::Nothing(NoSession::NotEntered);
    };
    let same = match &query.ruser {
        Named::Unset => session.holder.uid == query.process.real_uid,
        Named::Account(account) => account.uid == session.holder.uid,
        Named::Unknown(_) => false,
    };
    if !same {
        return CallOwner::Nothing(NoSession::Another);
    }
    CallOwner::Session(Box::new(session.clone()))
}

/// The call of this process, if its account stage passed because jitd observes.
fn observed_call<'a>(turn: &'a Turn<'_>, query: &AccessQuery) -> Option<&'a ObservedCall> {
    // sudoedit runs its session stage with real uid 0.
    let named = match &query.ruser {
        Named::Account(account) => account.uid,
        Named::Unset | Named::Unknown(_) => query.process.real_uid,
    };
    let call = turn.ledger.observed.find(&[query.process.real_uid, named], query.process.main);
    call.filter(|call| call.entered)
}

/// The session stage of a call that has no session: denied, or decided again where jitd observes.
fn without_session(turn: &mut Turn<'_>, query: &AccessQuery, why: NoSession) -> Verdict {
    let target = match &query.user {
        Named::Account(target) => Some(target),
        Named::Unset | Named::Unknown(_) => None,
    };
    let access =
        |person| Access { person, service: &query.service, target, group: (&query.group, &query.own_groups) };
    match why {
        NoSession::Ending(why) => refuse(turn, query, Denied::because(why, None)),
        NoSession::Another => settle(
            turn,
            query,
            Denied::because("this call is not the one that its account stage let pass", None),
        ),
        NoSession::NotEntered => {
            let why = "the account stage of this call did not run";
            let person =
                caller_of(query).ok().filter(|_| !query.process.real_uid.is_root() && target.is_some());
            match person {
                Some(person) => settle(turn, query, Denied::because(why, Some(&access(person)))),
                None => settle(turn, query, Denied::because(why, None)),
            }
        }
        NoSession::Observed(_) if target.is_none() => settle(turn, query, Denied::because(NO_TARGET, None)),
        NoSession::Observed(call) => {
            let access = access(&call.person);
            match decide(&turn.ledger, turn.policy, &access, turn.context, turn.now) {
                Decision::Denied(denial) => {
                    let lines = denial.lines(turn.policy, &access);
                    settle(turn, query, Denied { why: denial.short(), lines, access: Some(&access) })
                }
                // A window has opened since, and nothing holds this call in it.
                Decision::Allowed(_) => {
                    settle(turn, query, Denied::because("no open window in the account stage", Some(&access)))
                }
            }
        }
    }
}

/// Why a session is being ended, if it is.
fn why_it_ends(session: &Session) -> Option<String> {
    let why = match &session.state {
        SessionState::Ending { why: EndedBy::Unrecorded, .. } => "it could not be recorded",
        SessionState::Ending { .. } | SessionState::Ended { .. } => "the window has closed",
        SessionState::Registered | SessionState::Open { .. } => return None,
    };
    Some(why.to_owned())
}

/// The calling person, or why the caller is unknown.
pub(super) fn caller_of(query: &AccessQuery) -> Result<&Person, String> {
    let uid = query.process.real_uid;
    let person = query.person.as_ref().ok_or_else(|| format!("uid {uid} has no account on this host"))?;
    match &query.ruser {
        Named::Unset => {}
        Named::Account(account) if account.uid == uid => {}
        Named::Account(account) => {
            return Err(format!(
                "PAM names {} as the caller, the kernel {}",
                account.name, person.account.name
            ));
        }
        Named::Unknown(name) => return Err(unknown(name, "the caller")),
    }
    if let Named::Unknown(name) = &query.user {
        return Err(unknown(name, "the user"));
    }
    Ok(person)
}

/// Why a name from PAM has no account. `pam_jit` replaces bytes that are not UTF-8 with U+FFFD; records cannot hold
/// such a name, although the account may exist.
fn unknown(name: &str, as_whom: &str) -> String {
    if name.contains('\u{fffd}') {
        format!("PAM names {name:?} as {as_whom}, and that name is not UTF-8, which jitd needs names to be")
    } else {
        format!("PAM names {name:?} as {as_whom}, who has no account")
    }
}

/// The session from which this process was started. `pam_jit` has just put the process into an audit session of its
/// own, so only its scope and its parent's audit session tell.
fn parent_of(ledger: &Ledger, process: &Process) -> Option<SessionId> {
    let by_scope = process.scope.filter(|id| ledger.sessions.contains_key(id));
    by_scope.or_else(|| process.parent_audit_session.and_then(|id| ledger.in_audit_session(id)).map(|s| s.id))
}

/// The audit session id, if the process has one of its own: neither its parent's nor another session's.
fn own_audit_session(ledger: &Ledger, process: &Process, tagged: bool) -> Option<u32> {
    let id = process.audit_session.filter(|_| tagged)?;
    let own = process.parent_audit_session != Some(id) && ledger.in_audit_session(id).is_none();
    own.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_utf8_is_refused_for_that_reason() {
        assert!(unknown("j\u{fffd}rg", "the caller").contains("is not UTF-8"));
        assert!(unknown("joerg", "the caller").contains("has no account"));
    }
}
