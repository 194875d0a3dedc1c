//! Inputs about sessions that are open or ending.

use crate::core::effect::{Change, DriftUpdate, Effect};
use crate::core::facts;
use crate::core::ledger::{EndedBy, MainProcess, SessionState};
use crate::core::session::termination::EndReport;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::SessionId;

/// Every process of a session has ended.
pub(in crate::core) fn gone(turn: &mut Turn<'_>, id: SessionId, report: &EndReport) {
    let Some(mut session) = turn.ledger.sessions.remove(&id) else { return };
    let why = session.ended_by();
    let facts = Facts {
        ended_by: Some(why.word().to_owned()),
        contained_ms: report.contained.map(facts::milliseconds),
        io_log: session.io_log.clone(),
        invocations: (!report.invocations.is_empty()).then(|| report.invocations.clone()),
        ..facts::session(&session)
    };
    let facts = if why == EndedBy::Exited { facts } else { facts::end(report, facts) };
    turn.note(AuditEvent::SessionEnded, facts);
    session.state = SessionState::Ended { why };
    let grant = session.grant;
    turn.put(Change::Session(session));
    turn.is_left(grant);
    turn.then(Effect::Drift(DriftUpdate::Gone(id)));
}

/// Its sudo logs input and output; the record of the session's end names the folder.
pub(in crate::core) fn log_found(turn: &mut Turn<'_>, main: MainProcess, folder: String) {
    let Some(session) = turn.ledger.sessions.values_mut().find(|session| session.main == main) else {
        return;
    };
    if session.io_log.as_ref() == Some(&folder) {
        return;
    }
    session.io_log = Some(folder);
    let session = session.clone();
    turn.put(Change::Session(session));
}

/// A session has been idle for nearly as long as its role allows.
pub(in crate::core) fn idle(turn: &mut Turn<'_>, id: SessionId) {
    let Some(session) = turn.ledger.sessions.get(&id).filter(|session| !session.is_ending()) else { return };
    let facts = Facts { detail: Some("nothing happens in it".to_owned()), ..facts::session(session) };
    turn.note(AuditEvent::SessionWarned, facts);
}

/// A login session ended: sessions that came from it end, where their role says so.
pub(in crate::core) fn login_gone(turn: &mut Turn<'_>, login: &str) {
    let sessions: Vec<SessionId> = turn
        .ledger
        .sessions
        .values()
        .filter(|session| session.login.as_deref() == Some(login))
        .filter(|session| {
            let role = turn.policy.and_then(|policy| policy.roles.get(&session.role));
            role.is_some_and(|role| role.options.end_with_login)
        })
        .map(|session| session.id)
        .collect();
    for session in sessions {
        turn.end_session(session, EndedBy::Logout, turn.now.boot);
    }
}

/// A session could not be proven empty: recorded as critical; the session stays watched.
pub(in crate::core) fn stuck(turn: &mut Turn<'_>, id: SessionId, report: &EndReport) {
    let Some(session) = turn.ledger.sessions.get(&id) else { return };
    let facts = facts::end(report, facts::session(session));
    turn.note(AuditEvent::SessionStuck, facts);
}

/// The deadline of a scope was changed: recorded; the session ends if its deadline cannot be enforced.
pub(in crate::core) fn tampered(turn: &mut Turn<'_>, id: Option<SessionId>, found: String, ends: bool) {
    let session = id.and_then(|id| turn.ledger.sessions.get(&id));
    if id.is_some() && session.is_none() {
        // The session has ended meanwhile, and its scope with it.
        return;
    }
    let facts = Facts { detail: Some(found), ..session.map(facts::session).unwrap_or_default() };
    turn.note(AuditEvent::ScopeTampered, facts);
    if let Some(id) = id.filter(|_| ends) {
        turn.end_session(id, EndedBy::Tampered, turn.now.boot);
    }
}

/// A process of a session has a group that its role does not give: the session ends.
pub(in crate::core) fn group_exceeded(turn: &mut Turn<'_>, id: SessionId, found: String) {
    let Some(session) = turn.ledger.sessions.get(&id).filter(|session| !session.is_ending()) else { return };
    turn.note(AuditEvent::SessionGroup, Facts { detail: Some(found), ..facts::session(session) });
    turn.end_session(id, EndedBy::Group, turn.now.boot);
}
