//! The life of a window: start, extension, shortening, close.

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

/// A window that an extension would lengthen by no more than this is at its maximum.
const MIN_EXTENSION: Duration = Duration::from_secs(1);

/// Why and when a window closes.
#[derive(Debug, Clone)]
pub(in crate::core) struct Closing {
    pub(in crate::core) state: GrantState,
    pub(in crate::core) why: EndedBy,
    pub(in crate::core) event: AuditEvent,
}

fn is_over(id: GrantId) -> String {
    format!("grant {id} is closed; request the role again")
}

impl Turn<'_> {
    /// Opens a window that was approved or granted.
    pub(in crate::core) fn start(&mut self, mut grant: Grant, duration: Duration, started: Facts) {
        let role = self.policy.and_then(|policy| policy.roles.get(&grant.role));
        grant.unused_until =
            role.and_then(|role| role.options.unused_for).map(|span| Deadline::after(span, self.now));
        grant.warned = warned_from_the_start(self.policy, duration);
        self.note(AuditEvent::GrantStarted, started);
        self.put(Change::Grant(grant.clone()));
        self.ledger.grants.insert(grant.id, grant);
    }

    /// Extends a window by this much, up to the maximum of its role.
    ///
    /// # Errors
    /// A sentence that says why it cannot be extended.
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

    /// The remaining time of a window before and after an extension by this much.
    ///
    /// # Errors
    /// A sentence that says why it cannot be extended.
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

    /// Shortens a window to the present maximum of its role.
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

    /// Closes windows. All are closed before their sessions are handled: a session continues under another live grant
    /// of its holder if one covers it, else it ends.
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
                // The extension has no window any more.
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

    /// Reassigns a session to another grant that covers it, or ends it.
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
            // Its drain deadline holds from now on.
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

    /// Closes expired windows, and warns of those that close soon.
    pub(in crate::core) fn close_and_warn(&mut self) {
        let now = self.now;
        let over = |deadline: &Deadline| deadline.has_passed(now);
        let expired: Vec<GrantId> =
            self.ledger.grants.values().filter(|grant| over(&grant.ends)).map(|grant| grant.id).collect();
        // No sync is needed: after a power cut an expired window is found expired again.
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

    /// Notes that a session opened under this grant.
    pub(in crate::core) fn is_used(&mut self, id: GrantId) {
        let Some(grant) = self.ledger.grants.get_mut(&id) else { return };
        if grant.unused_until.take().is_some() {
            let grant = grant.clone();
            self.put(Change::Grant(grant));
        }
    }

    /// Notes that a session under this grant ended.
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

    /// The deadline of a session's scope, which PID 1 enforces: the end of the window plus the grace.
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

/// The times at which something about windows is due.
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

/// The longest live grant of the session's holder that covers the session.
fn covering(ledger: &Ledger, policy: Option<&Policy>, session: &Session, now: &Now) -> Option<GrantId> {
    let person = session.holder_without_groups();
    // An open session continues while records wait: it was admitted when they did not wait too long.
    match decide(ledger, policy, &Access::of(session, &person), &Context::default(), now) {
        Decision::Allowed(grant) => Some(grant),
        Decision::Denied(_) => None,
    }
}

/// The time from which the end of a grant's sessions is measured.
fn due_of(grant: &Grant, why: EndedBy, now: &Now) -> BootTime {
    let on_time = why == EndedBy::Expired && grant.ends.boot_id == now.boot_id;
    if on_time { grant.ends.boot.min(now.boot) } else { now.boot }
}
