//! A window from its start to its end: longer, shorter, over.

use crate::core::context::Context;
use crate::core::decide::{Access, Decision, decide};
use crate::core::effect::{Change, DriftUpdate, Effect, SessionOrder};
use crate::core::facts;
use crate::core::grant::notice::{next_notice, warned_from_the_start};
use crate::core::ledger::{EndedBy, Grant, GrantState, Ledger, RequestState, Session};
use crate::core::people::Account;
use crate::core::policy::{OnExpiry, Policy};
use crate::core::session::admission::watch_groups;
use crate::core::time::{Deadline, Now, seconds};
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::{GrantId, SessionId};
use jit_proto::time::{BootTime, format_duration};
use std::time::Duration;

/// A window that would become longer by no more than this has all that its role allows.
const MIN_EXTENSION: Duration = Duration::from_secs(1);

/// How a window closes.
#[derive(Debug, Clone)]
pub(in crate::core) struct Closing {
    pub(in crate::core) state: GrantState,
    pub(in crate::core) why: EndedBy,
    pub(in crate::core) event: AuditEvent,
}

fn is_over(id: GrantId) -> String {
    format!("grant {id} is over; ask for the role anew")
}

impl Turn<'_> {
    /// Opens a window that was approved or given.
    pub(in crate::core) fn start(&mut self, mut grant: Grant, duration: Duration, started: Facts) {
        let role = self.policy.and_then(|policy| policy.roles.get(&grant.role));
        grant.unused_until =
            role.and_then(|role| role.options.unused_for).map(|span| Deadline::after(span, self.now));
        grant.warned = warned_from_the_start(self.policy, duration);
        self.note(AuditEvent::GrantStarted, started);
        self.put(Change::Grant(grant.clone()));
        self.ledger.grants.insert(grant.id, grant);
    }

    /// Makes a window longer by so much, as far as its role allows.
    ///
    /// # Errors
    /// Says why it cannot be.
    pub(in crate::core) fn extend(
        &mut self,
        id: GrantId,
        duration: Duration,
        approvers: &[Account],
        facts: impl FnOnce(Facts) -> Facts,
    ) -> Result<(), String> {
        let (before, left) = self.extension(id, duration)?;
        let warned = warned_from_the_start(self.policy, left);
        let grant = self.ledger.grants.get_mut(&id).ok_or_else(|| is_over(id))?;
        grant.ends = Deadline::after(left, self.now);
        grant.warned = warned;
        for approver in approvers {
            if !grant.approvers.contains(approver) {
                grant.approvers.push(approver.clone());
            }
        }
        let grant = grant.clone();
        let extended = Facts { seconds: Some(seconds(left - before)), ..facts::grant(&grant) };
        self.note(AuditEvent::GrantExtended, facts(extended));
        self.put(Change::Grant(grant));
        self.move_scope_deadline(id);
        Ok(())
    }

    /// The time that is left of a window, and what would be left if it were extended by so much.
    ///
    /// # Errors
    /// Says why it cannot be extended.
    pub(in crate::core) fn extension(
        &self,
        id: GrantId,
        duration: Duration,
    ) -> Result<(Duration, Duration), String> {
        let grant = self.ledger.grants.get(&id).ok_or_else(|| is_over(id))?;
        let role = self.policy.and_then(|policy| policy.roles.get(&grant.role));
        let max = role.ok_or_else(|| format!("there is no role {} any more", grant.role))?.max_duration;
        let before = grant.ends.remaining(self.now);
        let left = before.saturating_add(duration).min(max);
        if left <= before.saturating_add(MIN_EXTENSION) {
            let before = format_duration(before);
            return Err(format!("grant {id} has {before} left, which is all that its role allows"));
        }
        Ok((before, left))
    }

    /// Leaves a window no longer than its role allows now.
    pub(in crate::core) fn shorten(&mut self, id: GrantId, max: Duration) {
        let now = self.now;
        let Some(grant) = self.ledger.grants.get_mut(&id).filter(|grant| grant.ends.remaining(now) > max)
        else {
            return;
        };
        grant.ends = Deadline::after(max, now);
        let grant = grant.clone();
        self.note(AuditEvent::GrantShortened, facts::grant(&grant));
        self.put(Change::Grant(grant));
        self.move_scope_deadline(id);
    }

    /// Closes a window at its deadline.
    pub(in crate::core) fn expire(&mut self, id: GrantId) {
        let closing =
            Closing { state: GrantState::Expired, why: EndedBy::Expired, event: AuditEvent::GrantExpired };
        self.close_grants(&[id], &closing, |facts| facts);
    }

    /// Closes windows, all of them before anything is done about the sessions that ran in them: a session goes on under
    /// another live grant of its holder's if one covers it, else it ends.
    pub(in crate::core) fn close_grants(
        &mut self,
        ids: &[GrantId],
        closing: &Closing,
        more: impl Fn(Facts) -> Facts,
    ) {
        let mut dues = Vec::new();
        for id in ids {
            let Some(mut grant) = self.ledger.grants.remove(id) else { continue };
            dues.push((*id, due_of(&grant, closing.why, self.now)));
            grant.state = closing.state.clone();
            self.note(closing.event, more(facts::grant(&grant)));
            self.put(Change::Grant(grant));
            let asked: Vec<_> =
                self.ledger.requests.values().filter(|r| r.extends == Some(*id)).map(|r| r.id).collect();
            for request in asked {
                // There is nothing left to make longer.
                if let Some(request) = self.close_request(request, RequestState::Expired) {
                    self.note(AuditEvent::RequestExpired, facts::request(&request));
                }
            }
        }
        for (id, due) in dues {
            let sessions: Vec<SessionId> = self.ledger.under(id).map(|session| session.id).collect();
            for session in sessions {
                self.reassign_or_end(session, closing.why, due);
            }
        }
    }

    /// Decides what becomes of a session whose grant does not cover it any more.
    pub(in crate::core) fn reassign_or_end(&mut self, id: SessionId, why: EndedBy, due: BootTime) {
        let Some(session) = self.ledger.sessions.get(&id).filter(|session| !session.is_ending()) else {
            return;
        };
        if let Some(other) = covering(&self.ledger, self.policy, session, self.now) {
            let Some(grant) = self.ledger.grants.get_mut(&other) else { return };
            let (role, ends) = (grant.role.clone(), grant.ends.clone());
            let changed = grant.unused_until.take().is_some().then(|| grant.clone());
            if let Some(grant) = changed {
                self.put(Change::Grant(grant));
            }
            let until = self.scope_deadline(&ends);
            let Some(session) = self.ledger.sessions.get_mut(&id) else { return };
            (session.grant, session.role, session.drain_deadline) = (other, role, None);
            let session = session.clone();
            self.note(AuditEvent::SessionMoved, facts::session(&session));
            self.then(Effect::Drift(DriftUpdate::Opened(Box::new(session.clone()))));
            self.put(Change::Session(session));
            self.then(SessionOrder::SetDeadline { session: id, until });
            if let Some(session) = self.ledger.sessions.get(&id).cloned() {
                watch_groups(self, &session);
            }
            return;
        }
        let role = self.policy.and_then(|policy| policy.roles.get(&session.role));
        match role.map(|role| role.on_expiry) {
            // Its own limit is what counts from now on.
            _ if session.drain_deadline.is_some() && why == EndedBy::Expired => {}
            Some(OnExpiry::DenyNew { at_most }) if why == EndedBy::Expired && session.run_as().is_some() => {
                let until = Deadline::after(at_most, self.now);
                let scope_deadline = self.scope_deadline(&until);
                let Some(session) = self.ledger.sessions.get_mut(&id) else { return };
                session.drain_deadline = Some(until);
                let session = session.clone();
                self.put(Change::Session(session));
                self.then(SessionOrder::SetDeadline { session: id, until: scope_deadline });
            }
            _ => self.end_session(id, why, due),
        }
    }

    /// Closes what is over, and gives notice of what soon will be.
    pub(in crate::core) fn close_and_warn(&mut self) {
        let now = self.now;
        let over = |deadline: &Deadline| deadline.has_passed(now);
        let expired: Vec<GrantId> =
            self.ledger.grants.values().filter(|grant| over(&grant.ends)).map(|grant| grant.id).collect();
        // A power cut takes nothing away here: what is over would be found to be over again.
        for id in expired {
            self.soon();
            self.expire(id);
        }
        let unused: Vec<GrantId> = self
            .ledger
            .grants
            .values()
            .filter(|grant| grant.unused_until.as_ref().is_some_and(over))
            .map(|grant| grant.id)
            .collect();
        for id in unused {
            self.soon();
            let closing = Closing {
                state: GrantState::Unused { at: now.wall },
                why: EndedBy::Released,
                event: AuditEvent::GrantUnused,
            };
            self.close_grants(&[id], &closing, |facts| facts);
        }
        let lingering: Vec<(SessionId, BootTime)> = self
            .ledger
            .sessions
            .values()
            .filter_map(|session| {
                let until = session.drain_deadline.as_ref().filter(|until| over(until))?;
                Some((session.id, until.boot.min(now.boot)))
            })
            .collect();
        for (id, due) in lingering {
            self.soon();
            self.end_session(id, EndedBy::Expired, due);
        }
        self.give_notice();
    }

    /// A session began under this grant.
    pub(in crate::core) fn is_used(&mut self, id: GrantId) {
        let Some(grant) = self.ledger.grants.get_mut(&id) else { return };
        if grant.unused_until.take().is_some() {
            let grant = grant.clone();
            self.put(Change::Grant(grant));
        }
    }

    /// A session under this grant is over.
    pub(in crate::core) fn is_left(&mut self, id: GrantId) {
        if self.ledger.under(id).next().is_some() {
            return;
        }
        let Some(grant) = self.ledger.grants.get_mut(&id) else { return };
        let role = self.policy.and_then(|policy| policy.roles.get(&grant.role));
        if let Some(span) = role.and_then(|role| role.options.unused_for) {
            grant.unused_until = Some(Deadline::after(span, self.now));
            let grant = grant.clone();
            self.put(Change::Grant(grant));
        }
    }

    /// When PID 1 ends a session of a window with this end: when its grace is over, too.
    pub(in crate::core) fn scope_deadline(&self, ends: &Deadline) -> BootTime {
        self.now.boot.after(ends.remaining(self.now)).after(self.grace())
    }

    fn move_scope_deadline(&mut self, id: GrantId) {
        let Some(ends) = self.ledger.grants.get(&id).map(|grant| grant.ends.clone()) else { return };
        let until = self.scope_deadline(&ends);
        let sessions: Vec<SessionId> =
            self.ledger.under(id).filter(|session| !session.is_ending()).map(|session| session.id).collect();
        for session in sessions {
            self.then(SessionOrder::SetDeadline { session, until });
        }
    }
}

/// The moments at which something is due about windows.
pub(in crate::core) fn next_moments<'a>(
    ledger: &'a Ledger,
    policy: Option<&'a Policy>,
    now: &'a Now,
) -> impl Iterator<Item = BootTime> + 'a {
    let at = |deadline: &Deadline| now.boot.after(deadline.remaining(now));
    let grants = ledger.grants.values().flat_map(move |grant| {
        let notice = next_notice(policy, grant, now).map(|left| now.boot.after(left));
        [Some(at(&grant.ends)), grant.unused_until.as_ref().map(at), notice]
    });
    let sessions = ledger.sessions.values().filter(|session| !session.is_ending());
    let lingering = sessions.map(move |session| session.drain_deadline.as_ref().map(at));
    grants.chain(lingering).flatten()
}

/// The longest live grant of the session's holder that lets it be what it is.
fn covering(ledger: &Ledger, policy: Option<&Policy>, session: &Session, now: &Now) -> Option<GrantId> {
    let person = session.holder_without_groups();
    // A session that is open goes on while records wait: it was let in when none waited too long.
    match decide(ledger, policy, &Access::of(session, &person), &Context::default(), now) {
        Decision::Allowed(grant) => Some(grant),
        Decision::Denied(_) => None,
    }
}

/// The moment from which the end of a grant's sessions is measured.
fn due_of(grant: &Grant, why: EndedBy, now: &Now) -> BootTime {
    let on_time = why == EndedBy::Expired && grant.ends.boot_id == now.boot_id;
    if on_time { grant.ends.boot.min(now.boot) } else { now.boot }
}
