//! What a record says about an object.

use jit_proto::record::Facts;

use super::event::{Caller, EndReport, Held, Knock};
use super::ledger::{Grant, Request, Session};
use super::people::Account;
use super::policy::Policy;
use super::time::seconds;

pub(super) fn detail(text: String) -> Facts {
    Facts { detail: Some(text), ..Facts::default() }
}

pub(super) fn roles(policy: &Policy) -> Facts {
    let names: Vec<&str> = policy.roles.keys().map(|name| name.as_str()).collect();
    detail(format!("{} roles: {}", names.len(), names.join(", ")))
}

pub(super) fn request(request: &Request) -> Facts {
    Facts {
        user: Some(request.requester.name.clone()),
        uid: Some(request.requester.uid.0),
        role: Some(request.role.to_string()),
        request: Some(request.id.0),
        reason: Some(request.reason.as_str().to_owned()),
        ticket: request.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
        seconds: Some(seconds(request.duration)),
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

/// A command that came to nothing, and from whom.
pub(super) fn refused(caller: &Caller, what: &str, why: &str) -> Facts {
    let facts = Facts {
        outcome: Some("denied".to_owned()),
        loginuid: caller.loginuid.map(|uid| uid.0),
        detail: Some(format!("{what}: {why}")),
        ..Facts::default()
    };
    by(&caller.person.account, facts)
}

pub(super) fn knock(knock: &Knock) -> Facts {
    let process = &knock.process;
    Facts {
        user: knock.person.as_ref().map(|person| person.account.name.clone()),
        uid: Some(process.real_uid.0),
        loginuid: process.loginuid.map(|uid| uid.0),
        audit_session: process.audit_session,
        service: Some(knock.service.clone()),
        tty: (!knock.tty.is_empty()).then(|| knock.tty.clone()),
        pid: Some(process.main.pid),
        argv: Some(process.argv.clone()),
        argv_cut: process.argv_cut.then_some(true),
        run_as_group: knock.group.name().map(str::to_owned),
        ..Facts::default()
    }
}

/// What grant a knock was let through under.
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
        audit_session: session.tag,
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

pub(super) fn clock(by: i64) -> Facts {
    let span = jit_proto::moment::spoken(std::time::Duration::from_micros(by.unsigned_abs()));
    detail(format!("set {span} {}", if by < 0 { "back" } else { "forward" }))
}

/// A span in milliseconds, as records have them.
pub(super) fn milliseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn left_behind(held: &Held, findings: &[String], detail: String) -> Facts {
    Facts {
        user: Some(held.holder.name.clone()),
        uid: Some(held.holder.uid.0),
        role: Some(held.role.to_string()),
        grant: Some(held.grant.0),
        left_behind: Some(findings.to_vec()),
        detail: Some(detail),
        ..Facts::default()
    }
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
