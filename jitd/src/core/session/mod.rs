//! Sessions: who is let in, how a session ends, when it is idle.

pub(in crate::core) mod admission;

pub(in crate::core) mod authorization;

mod denial;

pub(in crate::core) mod ended;

pub mod termination;

pub mod idle;

pub(in crate::core) mod closing_notice;

use crate::core::access_query::Process;
use crate::core::ledger::{Ledger, Session};

/// The session that a process belongs to: by its audit session, which it cannot leave without privilege, or by its scope.
#[must_use]
pub(in crate::core) fn session_of<'a>(ledger: &'a Ledger, process: &Process) -> Option<&'a Session> {
    let tagged = process.audit_session.and_then(|id| ledger.in_audit_session(id));
    tagged.or_else(|| process.scope.and_then(|id| ledger.sessions.get(&id)))
}
