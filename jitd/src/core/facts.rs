//! The facts of records about objects.

use jit_proto::audit::record::Facts;

use super::caller::{Caller, Location};
use super::ledger::{Grant, Ledger, Request, Session};
use super::limits::{Due, Limited};
use super::observe::observing;
use super::people::Account;
use super::policy::Policy;
use super::time::seconds;
use crate::core::access_query::AccessQuery;
use crate::core::session::termination::EndReport;

pub(super) fn detail(text: String) -> Facts {
    Facts { detail: Some(text), ..Facts::default() }
}

pub(super) fn roles(policy: &Policy) -> Facts {
    let names: Vec<&str> = policy.roles.keys().map(|name| name.as_str()).collect();
    let observing = observing(policy);
    let observing: Vec<&str> = observing.iter().map(String::as_str).collect();
    let mode =
        if observing.is_empty() { String::new() } else { format!("; observing: {}", observing.join(", ")) };
    detail(format!("{} roles: {}{mode}", names.len(), names.join(", ")))
}

pub(super) fn request(request: &Request) -> Facts {
    Facts {
        user: Some(request.requester.name.clone()),
        uid: Some(request.requester.uid.0),
        role: Some(request.spec.role.to_string()),
        request: Some(request.id.0),
        reason: Some(request.spec.reason.as_str().to_owned()),
        ticket: request.spec.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
        seconds: Some(seconds(request.spec.duration)),
        ..Facts::default()
    }
}

pub(super) fn grant(grant: &Grant) -> Facts {
    Facts {
        user: Some(grant.holder.name.clone()),
        uid: Some(grant.holder.uid.0),
        role: Some(grant.role.to_string()),
        grant: Some(grant.id.0),
        approvers: Some(grant.approvers.iter().map(|account| account.name.clone()).collect()),
        reason: Some(grant.reason.as_str().to_owned()),
        ticket: grant.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
        until: Some(grant.ends.wall.to_rfc3339()),
        ..Facts::default()
    }
}

pub(super) fn by(actor: &Account, facts: Facts) -> Facts {
    Facts { actor: Some(actor.name.clone()), actor_uid: Some(actor.uid.0), ..facts }
}

/// The origin of a command: login uid, audit session, jitd's session, unit, logind session, process. The actor is the
/// person.
pub(super) fn from(ledger: &Ledger, caller: &Caller, facts: Facts) -> Facts {
    let login = match &caller.location {
        Location::Login { id, .. } => Some(id.clone()),
        _ => None,
    };
    let session = match &caller.location {
        Location::Window { session, .. } => Some(*session),
        _ => caller.session(ledger).map(|session| session.id),
    };
    let facts = Facts {
        loginuid: caller.loginuid.map(|uid| uid.0),
        audit_session: caller.audit_session,
        session: session.map(|session| session.0),
        login_session: login,
        pid: caller.process.map(|process| process.pid),
        exe: caller.exe.clone(),
        origin: Some(caller.origin(ledger).word().to_owned()),
        unit: caller.unit(),
        ..facts
    };
    // The actor is named where the record is about another person.
    let own = facts.uid == Some(caller.person.account.uid.0);
    if own { facts } else { by(&caller.person.account, facts) }
}

/// Adds the facts of [`from`] to a record of something else that the same command did.
pub(super) fn with_origin(from: &Facts, facts: Facts) -> Facts {
    Facts {
        loginuid: from.loginuid,
        audit_session: from.audit_session,
        session: from.session,
        login_session: from.login_session.clone(),
        pid: from.pid,
        exe: from.exe.clone(),
        origin: from.origin.clone(),
        unit: from.unit.clone(),
        actor: from.actor.clone().filter(|_| facts.uid != from.actor_uid),
        actor_uid: from.actor_uid.filter(|_| facts.uid != from.actor_uid),
        ..facts
    }
}

/// The facts of a refused command.
pub(super) fn refused(ledger: &Ledger, caller: &Caller, what: &str, why: &str) -> Facts {
    let why = why.strip_prefix(what).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
    let detail = Some(format!("{what}: {why}"));
    from(ledger, caller, Facts { outcome: Some("denied".to_owned()), detail, ..Facts::default() })
}

pub(super) fn query(query: &AccessQuery) -> Facts {
    let process = &query.process;
    Facts {
        user: query.person.as_ref().map(|person| person.account.name.clone()),
        uid: Some(process.real_uid.0),
        loginuid: process.loginuid.map(|uid| uid.0),
        audit_session: process.audit_session,
        service: Some(query.service.clone()),
        tty: (!query.tty.is_empty()).then(|| query.tty.clone()),
        pid: Some(process.main.pid),
        argv: Some(process.argv.clone()),
        argv_cut: process.argv_cut.then_some(true),
        exe: process.exe.clone(),
        run_as_group: query.group.name().map(str::to_owned),
        ..Facts::default()
    }
}

/// The grant under which an access query was allowed.
pub(super) fn under(grant: &Grant, facts: Facts) -> Facts {
    let of_grant = self::grant(grant);
    Facts {
        role: of_grant.role,
        grant: of_grant.grant,
        approvers: of_grant.approvers,
        reason: of_grant.reason,
        ticket: of_grant.ticket,
        until: of_grant.until,
        ..facts
    }
}

pub(super) fn session(session: &Session) -> Facts {
    Facts {
        user: Some(session.holder.name.clone()),
        uid: Some(session.holder.uid.0),
        loginuid: session.loginuid.map(|uid| uid.0),
        audit_session: session.audit_session,
        role: Some(session.role.to_string()),
        grant: Some(session.grant.0),
        session: Some(session.id.0),
        parent_session: session.parent.map(|parent| parent.0),
        service: Some(session.service.clone()),
        run_as: session.run_as().map(|account| account.name.clone()),
        run_as_group: session.group.name().map(str::to_owned),
        tty: (!session.tty.is_empty()).then(|| session.tty.clone()),
        pid: Some(session.main.pid),
        login_session: session.login.clone(),
        ..Facts::default()
    }
}

/// The facts of a limit that was reached.
pub(super) fn reached(due: &Due) -> Facts {
    let Due { uid, name, limited, count } = due;
    Facts {
        outcome: (*limited == Limited::Observed).then(|| "observed".to_owned()),
        user: (!name.is_empty()).then(|| name.clone()),
        uid: uid.map(|uid| uid.0),
        suppressed: Some(*count),
        detail: Some(format!("{count} {limited}")),
        ..Facts::default()
    }
}

pub(super) fn clock(by: i64) -> Facts {
    let span = jit_proto::time::format_duration(std::time::Duration::from_micros(by.unsigned_abs()));
    detail(format!("set {span} {}", if by < 0 { "back" } else { "forward" }))
}

/// A duration in milliseconds, as records have it.
pub(super) fn milliseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn end(report: &EndReport, facts: Facts) -> Facts {
    Facts {
        killed: Some(report.killed),
        escaped: Some(report.escaped),
        left: Some(report.left),
        milliseconds: Some(milliseconds(report.took)),
        kill_ms: report.kill.map(milliseconds),
        first_signal_ms: report.first_signal.map(milliseconds),
        processes: (!report.processes.is_empty()).then(|| report.processes.clone()),
        ..facts
    }
}
