//! After a start: what the store remembers is matched with what is really there.

use std::collections::BTreeSet;

use jit_proto::identity::SessionId;
use jit_proto::record::{Draft, Event as What, Facts};

use super::event::{Change, Commit, Effect};
use super::facts;
use super::ledger::{EndedBy, Ledger, Session, SessionState};
use super::time::Now;

/// The seal cannot be continued: said in the first record that is written without one.
#[must_use]
pub fn unsealed(problem: &str, now: &Now) -> Effect {
    let draft = Draft {
        event: What::AuditUnsealed,
        wall: now.wall,
        boot: now.boot,
        boot_id: now.boot_id.clone(),
        facts: facts::detail(problem.to_owned()),
    };
    Effect::Commit(Commit { durable: true, drafts: vec![draft], ..Commit::default() })
}

/// Carries a ledger over a restart of the daemon or of the machine. `scopes` are the sessions whose scope was found.
///
/// Deadlines of another boot are rebased, so that a clock set back lengthens nothing. Sessions of another boot went
/// down with it. A session of this boot is watched again, in its scope or before it has one; a scope that no open
/// session answers for is ended.
#[must_use]
pub fn reconcile(mut ledger: Ledger, scopes: &BTreeSet<SessionId>, now: &Now) -> (Ledger, Vec<Effect>) {
    let mut commit = Commit { durable: true, ..Commit::default() };
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
            commit.changes.push(Change::Grant(grant.clone()));
        }
    }
    let of_another_boot: Vec<SessionId> =
        ledger.sessions.values().filter(|s| s.boot_id != now.boot_id).map(|s| s.id).collect();
    for id in of_another_boot {
        let Some(mut session) = ledger.sessions.remove(&id) else { continue };
        let facts = Facts { ended_by: Some(EndedBy::Boot.word().to_owned()), ..facts::session(&session) };
        commit.drafts.push(Draft {
            event: What::SessionEnded,
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
                let run_as = session.run_as().cloned();
                session.state = SessionState::Ending { run_as, why: EndedBy::Orphaned, since: now.boot };
                commit.changes.push(Change::Session(session.clone()));
            }
        }
        let last = grant.map_or(std::time::Duration::ZERO, |grant| grant.ends.remaining(now));
        let session: Session = session.clone();
        after.push(Effect::Watch { session: Box::new(session.clone()), last, first: false });
        if session.is_ending() {
            after.push(Effect::Terminate { session: Box::new(session), grace: std::time::Duration::ZERO });
        }
    }
    for id in scopes.iter().filter(|id| !ledger.sessions.contains_key(id)) {
        after.push(Effect::EndScope(*id));
    }
    let mut effects = Vec::new();
    if !commit.changes.is_empty() || !commit.drafts.is_empty() {
        effects.push(Effect::Commit(commit));
    }
    effects.extend(after);
    (ledger, effects)
}
