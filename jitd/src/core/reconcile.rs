//! After a start: compares the stored state with the scopes and boots that exist.

use std::collections::BTreeSet;

use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::SessionId;

use super::facts;
use super::ledger::{EndedBy, GrantState, Ledger, RequestState, Session, SessionState};
use super::session::termination::Manner;
use super::time::Now;
use crate::core::effect::{Change, Commit, Durability, Effect, SessionOrder};

/// The seal cannot be continued: this is in the first record that is written without one.
#[must_use]
pub fn unsealed(problem: &str, now: &Now) -> Effect {
    Effect::Commit(commit_of(draft(AuditEvent::AuditUnsealed, facts::detail(problem.to_owned()), now)))
}

/// The store is older than the audit log that this host remembers, or its age is unknown.
///
/// A grant that was revoked since would be live again, and a request that was denied since would be pending again. So
/// every live grant is withdrawn, every pending request expires, and the sessions of this boot end.
#[must_use]
pub fn rolled_back(mut ledger: Ledger, problem: &str, now: &Now) -> (Ledger, Effect) {
    let mut commit = commit_of(draft(AuditEvent::AuditRolledBack, facts::detail(problem.to_owned()), now));
    let why = format!("the store was set back to an older state: {problem}");
    for mut request in std::mem::take(&mut ledger.requests).into_values() {
        let facts = Facts { detail: Some(why.clone()), ..facts::request(&request) };
        commit.drafts.push(draft(AuditEvent::RequestExpired, facts, now));
        request.state = RequestState::Expired;
        request.closed_at = Some(now.wall);
        commit.changes.push(Change::Request(request));
    }
    for mut grant in std::mem::take(&mut ledger.grants).into_values() {
        let facts = Facts { detail: Some(why.clone()), ..facts::grant(&grant) };
        commit.drafts.push(draft(AuditEvent::GrantWithdrawn, facts, now));
        grant.state = GrantState::Withdrawn { at: now.wall, why: why.clone() };
        commit.changes.push(Change::Grant(grant));
    }
    // Sessions of another boot are gone: `reconcile` records that.
    let of_this_boot = ledger.sessions.values_mut().filter(|session| session.boot_id == now.boot_id);
    for session in of_this_boot.filter(|session| !session.is_ending()) {
        let run_as = session.run_as().cloned();
        session.state = SessionState::Ending { run_as, why: EndedBy::Withdrawn, due: now.boot };
        commit.changes.push(Change::Session(session.clone()));
    }
    (ledger, Effect::Commit(commit))
}

fn draft(event: AuditEvent, facts: Facts, now: &Now) -> Draft {
    Draft { event, wall: now.wall, boot: now.boot, boot_id: now.boot_id.clone(), facts }
}

fn commit_of(draft: Draft) -> Commit {
    Commit { durability: Durability::AtOnce, drafts: vec![draft], ..Commit::default() }
}

/// Adapts a ledger after a restart of jitd or of the host. `scopes` are the sessions whose scope exists.
///
/// Deadlines of another boot are rebased, so that a clock set back lengthens no window. Sessions of another boot have
/// ended with it. A session of this boot is watched again, in its scope or before it has one; a scope without an open
/// session is ended.
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
        commit.drafts.push(draft(AuditEvent::SessionEnded, facts, now));
        session.state = SessionState::Ended { why: EndedBy::Boot };
        commit.changes.push(Change::Session(session));
    }
    for session in ledger.sessions.values_mut() {
        let grant = ledger.grants.get(&session.grant);
        match (&session.state, grant) {
            (SessionState::Ending { .. } | SessionState::Ended { .. }, _) => {}
            (_, Some(_)) => {}
            (_, None) => {
                // A session without a grant may only run until its drain deadline, if it has one.
                let lingers = session.drain_deadline.as_ref().is_some_and(|until| !until.has_passed(now));
                if !lingers {
                    let run_as = session.run_as().cloned();
                    session.state = SessionState::Ending { run_as, why: EndedBy::Orphaned, due: now.boot };
                    commit.changes.push(Change::Session(session.clone()));
                }
            }
        }
        let ends = grant.map(|grant| &grant.ends).or(session.drain_deadline.as_ref());
        let until = now.boot.after(ends.map_or(std::time::Duration::ZERO, |ends| ends.remaining(now)));
        let session: Session = session.clone();
        // The idle timeout of its role is set when the policy is loaded.
        after.push(Effect::from(SessionOrder::Watch {
            session: Box::new(session.clone()),
            until,
            idle: None,
            first: false,
        }));
        if let SessionState::Ending { due, .. } = session.state {
            // SIGTERM was sent before, or its processes have had the time since.
            after.push(Effect::from(SessionOrder::terminate(&session, Manner::KillKeepingSudo, due)));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, UserId};
    use jit_proto::time::{BootId, BootTime, WallTime};

    use super::*;
    use crate::core::ledger::GroupAsked;
    use crate::core::ledger::{Grant, MainProcess, Request};
    use crate::core::people::Account;
    use crate::core::time::Deadline;
    use jit_proto::request::RequestSpec;

    fn now(boot_id: &str) -> Now {
        Now { wall: WallTime(5_000_000), boot: BootTime(5_000_000), boot_id: BootId(boot_id.into()) }
    }

    fn session(id: u64, grant: u64, boot_id: &str) -> Session {
        Session {
            id: SessionId(id),
            grant: GrantId(grant),
            role: role(),
            holder: alice(),
            parent: None,
            audit_session: None,
            loginuid: Some(UserId(1000)),
            main: MainProcess { pid: 7, start: 1 },
            service: "sudo".into(),
            tty: String::new(),
            argv: vec!["sudo".into(), "id".into()],
            started_at: WallTime(1),
            started: BootTime(1),
            boot_id: BootId(boot_id.into()),
            login: None,
            io_log: None,
            group: GroupAsked::default(),
            own_groups: BTreeSet::new(),
            drain_deadline: None,
            state: SessionState::Open { run_as: Account { uid: UserId(0), name: "root".into() } },
        }
    }

    fn alice() -> Account {
        Account { uid: UserId(1000), name: "alice".into() }
    }

    fn role() -> RoleName {
        RoleName::try_from("ops".to_owned()).unwrap()
    }

    /// A live grant, a pending request, a session of this boot and one of another.
    fn ledger() -> Ledger {
        let ends = Deadline::after(Duration::from_secs(600), &now("this"));
        let reason = Reason::try_from("a reason that is long enough".to_owned()).unwrap();
        let grant = Grant {
            id: GrantId(1),
            role: role(),
            holder: alice(),
            uids: BTreeSet::new(),
            reason: reason.clone(),
            ticket: None,
            approvers: Vec::new(),
            starts_at: WallTime(1),
            ends: ends.clone(),
            requested: true,
            unused_until: None,
            warned: None,
            state: GrantState::Live,
        };
        let request = Request {
            id: RequestId(2),
            spec: RequestSpec { role: role(), duration: Duration::from_secs(600), reason, ticket: None },
            requester: alice(),
            uids: BTreeSet::new(),
            requested_at: WallTime(1),
            expires: ends,
            approvals: Vec::new(),
            approvals_needed: 1,
            extends: None,
            closed_at: None,
            state: RequestState::Pending,
        };
        let mut ledger = Ledger::default();
        ledger.grants.insert(grant.id, grant);
        ledger.requests.insert(request.id, request);
        for session in [session(1, 1, "this"), session(2, 1, "before")] {
            ledger.sessions.insert(session.id, session);
        }
        ledger
    }

    #[test]
    fn a_store_that_was_set_back_leaves_no_window_open() {
        let now = now("this");
        let (ledger, effect) = rolled_back(ledger(), "the store ends with record 3", &now);
        assert!(ledger.grants.is_empty() && ledger.requests.is_empty());
        let Effect::Commit(commit) = effect else { panic!("{effect:?}") };
        assert_eq!(commit.durability, Durability::AtOnce);
        let events: Vec<_> = commit.drafts.iter().map(|draft| draft.event).collect();
        assert_eq!(
            events,
            [AuditEvent::AuditRolledBack, AuditEvent::RequestExpired, AuditEvent::GrantWithdrawn],
            "the cause stands before what follows from it"
        );
        assert_eq!(commit.drafts[0].facts.detail.as_deref(), Some("the store ends with record 3"));
        for draft in &commit.drafts[1..] {
            let detail = draft.facts.detail.as_deref().unwrap();
            assert_eq!(detail, "the store was set back to an older state: the store ends with record 3");
        }
        let states = commit.changes.iter().map(|change| match change {
            Change::Request(request) => matches!(request.state, RequestState::Expired),
            Change::Grant(grant) => matches!(grant.state, GrantState::Withdrawn { .. }),
            Change::Session(session) => {
                session.id == SessionId(1)
                    && matches!(session.state, SessionState::Ending { why: EndedBy::Withdrawn, .. })
            }
        });
        assert_eq!(states.collect::<Vec<_>>(), [true; 3]);

        let (ledger, effects) = reconcile(ledger, &BTreeSet::from([SessionId(1)]), &now);
        let ended: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Session(SessionOrder::Terminate { session, .. }) => Some(session.id),
                _ => None,
            })
            .collect();
        assert_eq!(ended, [SessionId(1)], "{effects:?}");
        assert_eq!(ledger.sessions.len(), 1, "the session of another boot has ended");
    }

    #[test]
    fn a_store_that_was_not_set_back_keeps_its_windows() {
        let (ledger, _) = reconcile(ledger(), &BTreeSet::from([SessionId(1)]), &now("this"));
        assert_eq!((ledger.grants.len(), ledger.requests.len()), (1, 1));
        assert!(!ledger.sessions[&SessionId(1)].is_ending());
    }
}
