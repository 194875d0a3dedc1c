//! Alerts: a fold over the audit records that decides for each record whether it raises alerts.
//!
//! The fold sees a record before the record is written, so that the alert is written in the same transaction. If the
//! transaction fails, the fold is reset to its earlier state. Recent activity of a person is kept in memory and starts
//! empty with jitd; a person's usual behaviour is in the store ([`Baseline`]).

mod baseline;

mod recent;

mod rules;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::{PROBE_ACCOUNT, UserId};
use jit_proto::time::{BootTime, format_duration};

pub use baseline::Baseline;
pub use rules::{AlertRules, DAYS, Denials, Hours, Rule, Spike};

use super::drift::kind::{self, Kind};
use recent::RecentTimes;

/// The state of the fold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// State by the person that the records are about; `None` is the host itself.
    known: BTreeMap<Option<UserId>, Arc<Known>>,
}

/// The state of one person, or of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    /// The times of the last refusals, at most as many as raise an alert.
    refused: VecDeque<BootTime>,
    elevated: RecentTimes,
    baseline: Baseline,
    raised: BTreeMap<(Rule, Option<String>), Raised>,
}

/// The last alert of a rule, and how many were suppressed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Raised {
    at: BootTime,
    suppressed: u64,
}

/// The result of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Alerts, to be written after the record.
    pub alerts: Vec<Draft>,
    /// A baseline that changed enough to be written with the record.
    pub baseline: Option<(UserId, Baseline)>,
    /// Restores the earlier state if the record is not written.
    pub undo: Undo,
}

/// The earlier state of what one record changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo(Option<(Option<UserId>, Option<Arc<Known>>)>);

/// The rule that matched a record, and a sentence that says why.
type Finding = (Rule, String);

impl Watch {
    /// A fold with these baselines.
    #[must_use]
    pub fn remembering(baselines: BTreeMap<UserId, Baseline>) -> Self {
        let known = |baseline| Arc::new(Known { baseline, ..Known::default() });
        Self { known: baselines.into_iter().map(|(uid, baseline)| (Some(uid), known(baseline))).collect() }
    }

    /// Adds a record, which will have this number.
    #[must_use]
    pub fn look(mut self, rules: &AlertRules, seq: u64, record: &Draft) -> (Self, Seen) {
        let mut seen = Seen::default();
        if !matters(record.event) {
            return (self, seen);
        }
        let whom = subject(record);
        let before = self.known.get(&whom).cloned();
        let mut known = before.as_deref().cloned().unwrap_or_default();
        let (findings, baseline) = known.take(rules, record);
        seen.baseline = whom.filter(|_| baseline).map(|uid| (uid, known.baseline.clone()));
        for (rule, why) in findings {
            if rules.watches(rule)
                && let Some(suppressed) = known.lets_through(rules, rule, record)
            {
                seen.alerts.push(alert(rule, seq, record, suppressed, why));
            }
        }
        self.known.insert(whom, Arc::new(known));
        seen.undo = Undo(Some((whom, before)));
        (self, seen)
    }

    /// Undoes records that were not written, the last one first.
    #[must_use]
    pub fn forget(mut self, undo: Undo) -> Self {
        match undo.0 {
            Some((whom, Some(before))) => drop(self.known.insert(whom, before)),
            Some((whom, None)) => drop(self.known.remove(&whom)),
            None => {}
        }
        self
    }
}

/// Whether any rule reads records of this event; all others are skipped.
fn matters(event: AuditEvent) -> bool {
    let by_event =
        matches!(event, AuditEvent::AccessDenied | AuditEvent::CommandRefused | AuditEvent::AccessAllowed);
    by_event
        || matches!(event, AuditEvent::GrantStarted | AuditEvent::StackRestored)
        || is_decision(event)
        || by_itself(event).is_some()
}

/// Whether records of this event report a decision of an approver or an operator.
fn is_decision(event: AuditEvent) -> bool {
    event.row().is_decision
}

/// Whether the actor is not the person who logged in: for approvers and operators by the origin of the command, for
/// elevations by the login uid.
fn login_mismatch(record: &Draft) -> Option<Finding> {
    let facts = &record.facts;
    let refused = record.event == AuditEvent::CommandRefused;
    let (name, uid) = match record.event {
        AuditEvent::AccessAllowed => (&facts.user, facts.uid),
        event if is_decision(event) || refused => (&facts.actor, facts.actor_uid),
        _ => return None,
    };
    let name = name.as_deref().unwrap_or("somebody");
    let why = match (facts.loginuid, uid) {
        (Some(login), Some(uid)) if login != uid => match record.event {
            AuditEvent::AccessAllowed => {
                format!("the window of {name} was used by somebody who logged in with uid {login}")
            }
            _ => format!("{name} (uid {uid}) acted, and it was uid {login} that logged in"),
        },
        // Nothing is inferred from records of older versions, or from a query that was refused.
        (None, Some(_)) if !refused && record.event != AuditEvent::AccessAllowed => {
            let origin = facts.origin.as_deref()?;
            format!("{name} acted without a login uid (origin {origin})")
        }
        _ => return None,
    };
    Some((Rule::LoginMismatch, why))
}

/// The rule that a single record of this event matches, as the table of events names it.
fn by_itself(event: AuditEvent) -> Option<Rule> {
    let name = event.row().alert?;
    Rule::ALL.iter().copied().find(|rule| rule.name() == name)
}

/// The person that a record is about; for a refused command, its sender.
fn subject(record: &Draft) -> Option<UserId> {
    let facts = &record.facts;
    if record.event == AuditEvent::LimitReached {
        // A flood by many users raises one alert, about the host.
        return None;
    }
    let uid = if record.event == AuditEvent::CommandRefused { facts.actor_uid } else { facts.uid };
    uid.map(UserId)
}

impl Known {
    /// Adds a record about this person; returns the rules it matches, and whether the baseline has to be written.
    fn take(&mut self, rules: &AlertRules, record: &Draft) -> (Vec<Finding>, bool) {
        let mut findings = Vec::new();
        let mut baseline = false;
        match record.event {
            // Nobody but root becomes the probe, and only to see it denied.
            AuditEvent::AccessDenied if record.facts.user.as_deref() == Some(PROBE_ACCOUNT) => {}
            AuditEvent::AccessDenied | AuditEvent::CommandRefused => {
                findings.extend(self.refusal(rules, record.boot))
            }
            AuditEvent::DoctorChanged if record.facts.open.as_ref().is_none_or(Vec::is_empty) => {}
            AuditEvent::AccessAllowed => {
                let name = record.facts.user.as_deref().unwrap_or_default();
                let count = self.elevated.count(record.boot);
                findings.extend(spike(&rules.spike, &self.baseline, count, record));
                if let Some(role) = self.baseline.new_role(name, record.facts.role.as_deref()) {
                    findings.push((Rule::FirstUse, format!("{name} has never used role {role} here before")));
                    baseline = true;
                }
                baseline |= self.baseline.elevated(record.wall, count);
            }
            AuditEvent::GrantStarted => findings.extend(grant(rules, record)),
            // A stack that breaks again raises another alert.
            AuditEvent::StackRestored => {
                self.raised.remove(&(Rule::StackBroken, record.facts.service.clone()));
            }
            // A drift scan raises one alert for a grant: its first record has the most severe findings.
            AuditEvent::GrantLeftBehind | AuditEvent::HostChanged if !is_to_be_looked_at(record) => {}
            event => {
                let why = record.facts.detail.clone().unwrap_or_else(|| event.name().to_owned());
                let why = match (event, &record.facts.service) {
                    (AuditEvent::StackBroken, Some(service)) => {
                        format!("{service} lets people become root without a window: {why}")
                    }
                    _ => why,
                };
                findings.extend(by_itself(event).map(|rule| (rule, why)));
            }
        }
        findings.extend(login_mismatch(record));
        (findings, baseline)
    }

    /// Counts a refusal; at the limit within the span the count starts again.
    fn refusal(&mut self, rules: &AlertRules, at: BootTime) -> Option<Finding> {
        let Denials { count, within } = rules.denials;
        self.refused.retain(|earlier| at.since(*earlier) <= within);
        self.refused.push_back(at);
        if self.refused.len() < count as usize {
            return None;
        }
        self.refused.clear();
        Some((Rule::Denials, format!("refused {count} times within {}", format_duration(within))))
    }

    /// Whether an alert of this rule may be raised now, and how many were suppressed before it. First uses are never
    /// suppressed: there are no more of them than roles.
    fn lets_through(&mut self, rules: &AlertRules, rule: Rule, record: &Draft) -> Option<u64> {
        let at = record.boot;
        // The interval counts for each sink and each stack.
        let facts = &record.facts;
        let part = match rule {
            Rule::SinkDown => facts.sink.clone(),
            Rule::StackBroken => facts.service.clone(),
            // Something else that is open is news.
            Rule::DoctorChanged => facts.open.as_ref().map(|open| open.join(" ")),
            Rule::LeftBehind | Rule::HostChanged => {
                // The interval counts for each finding: only the same finding is suppressed.
                let after = rules.repeat_after;
                self.raised.retain(|(rule, part), raised| {
                    !matches!(rule, Rule::LeftBehind | Rule::HostChanged)
                        || part.is_none()
                        || raised.suppressed > 0
                        || at.since(raised.at) < after
                });
                findings_of(facts)
            }
            _ => None,
        };
        let last = self.raised.get_mut(&(rule, part.clone()));
        match last {
            Some(last) if rule != Rule::FirstUse && at.since(last.at) < rules.repeat_after => {
                last.suppressed += 1;
                None
            }
            _ => {
                let suppressed = last.map_or(0, |last| last.suppressed);
                self.raised.insert((rule, part), Raised { at, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

/// Whether a record of findings raises an alert. The first record of a scan does, unless it reports only a package
/// manager's work that fits the package's checksums, or, where nobody had a session, nothing severe.
fn is_to_be_looked_at(record: &Draft) -> bool {
    let facts = &record.facts;
    let kind = facts.finding.as_deref().unwrap_or_default();
    let matters = match record.event {
        AuditEvent::HostChanged => kind::is_grave(kind),
        _ => kind != Kind::Shipped.name(),
    };
    facts.part.is_none_or(|part| part == 1) && matters
}

/// Identifies the findings of a record: by kind for users' own files, so that a user cannot raise an alert with each
/// scan; by all lines otherwise.
fn findings_of(facts: &Facts) -> Option<String> {
    let kind = facts.finding.clone()?;
    if kind == Kind::OwnFiles.name() {
        return Some(kind);
    }
    // Only the first of several records is known here, so it equals no other scan's.
    let told = if facts.part.is_some() {
        facts.detail.clone()
    } else {
        facts.left_behind.as_ref().map(|l| l.join("\n"))
    };
    Some(format!("{kind} {}", told.unwrap_or_default()))
}

/// Rule `spike`: far more elevations in the last hour than in this person's usual busiest hour.
fn spike(spike: &Spike, baseline: &Baseline, count: u32, record: &Draft) -> Option<Finding> {
    let usual = baseline.usual_busiest_hour(record.wall)?;
    let limit = spike.at_least.max(usual.saturating_mul(spike.factor));
    (count > limit).then(|| {
        let why = format!("{count} elevations within an hour; the busiest hour of a usual day has {usual}");
        (Rule::Spike, why)
    })
}

/// The rules that a new window matches.
fn grant(rules: &AlertRules, record: &Draft) -> Vec<Finding> {
    let facts = &record.facts;
    let mut findings = Vec::new();
    if facts.request.is_none() {
        let by = facts.actor.as_deref().unwrap_or("somebody");
        findings.push((Rule::Emergency, format!("granted by {by} without a request and its approval")));
    }
    if let Some(hours) = &rules.hours
        && let Some(local) = hours.outside(record.wall)
    {
        findings.push((Rule::OutsideHours, format!("granted outside of hours, on {local}")));
    }
    findings
}

fn alert(rule: Rule, seq: u64, record: &Draft, suppressed: u64, why: String) -> Draft {
    let facts = &record.facts;
    Draft {
        event: AuditEvent::AlertRaised,
        facts: Facts {
            user: facts.user.clone(),
            uid: facts.uid,
            actor: facts.actor.clone(),
            actor_uid: facts.actor_uid,
            role: facts.role.clone(),
            request: facts.request,
            grant: facts.grant,
            session: facts.session,
            service: facts.service.clone().filter(|_| rule == Rule::StackBroken),
            alert: Some(rule.name().to_owned()),
            about: Some(seq),
            suppressed: (suppressed > 0).then_some(suppressed),
            detail: Some(why),
            ..Facts::default()
        },
        ..record.clone()
    }
}

#[cfg(test)]
mod tests;
