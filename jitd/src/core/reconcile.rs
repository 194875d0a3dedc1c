//! After a start: what the store remembers is matched with what is really there.

use std::collections::BTreeSet;

use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::SessionId;

use super::event::{Change, Commit, Durability, Effect, SessionOrder};
use super::facts;
use super::ledger::{EndedBy, Ledger, Session, SessionState};
use super::reaping::Manner;
use super::time::Now;

/// The seal cannot be continued: said in the first record that is written without one.
#[must_use]
pub fn unsealed(problem: &str, now: &Now) -> Effect {
    said(AuditEvent::AuditUnsealed, problem, now)
}

/// The store ends before a record that this host remembers, or has another one in its place.
#[must_use]
pub fn rolled_back(problem: &str, now: &Now) -> Effect {
    said(AuditEvent::AuditRolledBack, problem, now)
}

/// What was found at the start to be wrong with the record, as a record of its own.
fn said(event: AuditEvent, problem: &str, now: &Now) -> Effect {
    let draft = Draft {
        event,
        wall: now.wall,
        boot: now.boot,
        boot_id: now.boot_id.clone(),
        facts: facts::detail(problem.to_owned()),
    };
    Effect::Commit(Commit { durability: Durability::AtOnce, drafts: vec![draft], ..Commit::default() })
}

/// Carries a ledger over a restart of the daemon or of the machine. `scopes` are the sessions whose scope was found.
///
/// Deadlines of another boot are rebased, so that a clock set back lengthens nothing. Sessions of another boot went
/// down with it. A session of this boot is watched again, in its scope or before it has one; a scope that no open
/// session answers for is ended.
#[must_use]
pub fn reconcile(mut ledger: Ledger, scopes: &BTreeSet<SessionId>, now: &Now) -> (Ledger, Vec<Effect>) {
    let mut commit = Commit { durability: Durability::AtOnce, ..Commit::default() };
    let mut after = Vec::new();
    let highest = ledger.highest_wall;
    for request in ledger.requests.values_mut() {
        if request.expires.boot_id != now.boot_id {
            request.expires = request.expires.rebased(highest, now);
            commit.changes.push(Change::Request(request.clone()));
        }
    }
    for grant in ledger.grants.values_mut() {
        if grant.ends.boot_id != now.boot_id {
            grant.ends = grant.ends.rebased(highest, now);
            grant.unused_until = grant.unused_until.as_ref().map(|until| until.rebased(highest, now));
            commit.changes.push(Change::Grant(grant.clone()));
        }
    }
    let of_another_boot: Vec<SessionId> =
        ledger.sessions.values().filter(|s| s.boot_id != now.boot_id).map(|s| s.id).collect();
    for id in of_another_boot {
        let Some(mut session) = ledger.sessions.remove(&id) else { continue };
        let facts = Facts { ended_by: Some(EndedBy::Boot.word().to_owned()), ..facts::session(&session) };
        commit.drafts.push(Draft {
            event: AuditEvent::SessionEnded,
            wall: now.wall,
            boot: now.boot,
            boot_id: now.boot_id.clone(),
            facts,
        });
        session.state = SessionState::Ended { why: EndedBy::Boot };
        commit.changes.push(Change::Session(session));
    }
    for session in ledger.sessions.values_mut() {
        let grant = ledger.grants.get(&session.grant);
        match (&session.state, grant) {
            (SessionState::Ending { .. } | SessionState::Ended { .. }, _) => {}
            (_, Some(_)) => {}
            (_, None) => {
                // Without a grant it may only finish until its own limit, if it has one.
                let lingers = session.lingers_until.as_ref().is_some_and(|until| !until.has_passed(now));
                if !lingers {
                    let run_as = session.run_as().cloned();
                    session.state = SessionState::Ending { run_as, why: EndedBy::Orphaned, due: now.boot };
                    commit.changes.push(Change::Session(session.clone()));
                }
            }
        }
        let ends = grant.map(|grant| &grant.ends).or(session.lingers_until.as_ref());
        let until = now.boot.after(ends.map_or(std::time::Duration::ZERO, |ends| ends.remaining(now)));
        let session: Session = session.clone();
        // What its role says about idleness is known when the policy is loaded.
        after.push(Effect::from(SessionOrder::Watch {
            session: Box::new(session.clone()),
            until,
            idle: None,
            first: false,
        }));
        if let SessionState::Ending { due, .. } = session.state {
            // Whatever could be asked was asked, or has had the time since.
            after.push(Effect::from(SessionOrder::terminate(&session, Manner::Kill, due)));
        }
    }
    for id in scopes.iter().filter(|id| !ledger.sessions.contains_key(id)) {
        after.push(Effect::from(SessionOrder::EndScope(*id)));
    }
    let mut effects = Vec::new();
    if !commit.changes.is_empty() || !commit.drafts.is_empty() {
        effects.push(Effect::Commit(commit));
    }
    effects.extend(after);
    (ledger, effects)
}
