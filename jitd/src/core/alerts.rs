//! Alerts: a fold over the records that says, with each one, whether somebody should look.
//!
//! It sees a record before it is written, so that the alert is written with it, in one transaction; and it is handed
//! back as it was if that fails. What it knows of a person's last minutes is in memory only and begins anew with the
//! daemon; what it knows of their habits is in the store ([`Baseline`]).

mod baseline;

mod recent;

mod rules;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::UserId;
use jit_proto::time::{BootTime, format_duration};

pub use baseline::Baseline;
pub use rules::{AlertRules, DAYS, Denials, Hours, Rule, Spike};

use super::drift::kind::{self, Kind};
use recent::RecentTimes;

/// What the fold carries from record to record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// By whom the records are about; `None` is the host itself.
    known: BTreeMap<Option<UserId>, Arc<Known>>,
}

/// What is known of one person, or of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    /// Their last refusals, at most as many as make an alert.
    refused: VecDeque<BootTime>,
    elevated: RecentTimes,
    baseline: Baseline,
    raised: BTreeMap<(Rule, Option<String>), Raised>,
}

/// The last alert by a rule, and what was held back since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Raised {
    at: BootTime,
    suppressed: u64,
}

/// What a record comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Alerts, to be written behind it.
    pub alerts: Vec<Draft>,
    /// A habit that changed enough to be written down with it.
    pub baseline: Option<(UserId, Baseline)>,
    /// What to go back to if it is not written.
    pub undo: Undo,
}

/// What one record changed, as it was before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo(Option<(Option<UserId>, Option<Arc<Known>>)>);

/// What a rule has against a record: the rule, and a sentence.
type Finding = (Rule, String);

impl Watch {
    /// Begins with what was remembered of people's habits.
    #[must_use]
    pub fn remembering(baselines: BTreeMap<UserId, Baseline>) -> Self {
        let known = |baseline| Arc::new(Known { baseline, ..Known::default() });
        Self { known: baselines.into_iter().map(|(uid, baseline)| (Some(uid), known(baseline))).collect() }
    }

    /// Takes one record, which will have this number.
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

    /// Goes back to before a record that was not written; the last one first.
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

/// Whether a rule has anything to do with such a record; all others cost nothing.
fn matters(event: AuditEvent) -> bool {
    let by_event =
        matches!(event, AuditEvent::AccessDenied | AuditEvent::CommandRefused | AuditEvent::AccessAllowed);
    by_event
        || matches!(event, AuditEvent::GrantStarted | AuditEvent::StackRestored)
        || is_decision(event)
        || by_itself(event).is_some()
}

/// Whether such a record tells of what an approver or an operator did.
fn is_decision(event: AuditEvent) -> bool {
    event.row().is_decision
}

/// Who logged in, where that is not who acts: an approver or operator, by where the command came from; or whoever elevates
/// under a window.
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
        // Of an older jitd's records, and of a looking that was refused, nothing is inferred.
        (None, Some(_)) if !refused && record.event != AuditEvent::AccessAllowed => {
            let origin = facts.origin.as_deref()?;
            format!("{name} acted without a login uid (origin {origin})")
        }
        _ => return None,
    };
    Some((Rule::LoginMismatch, why))
}

/// The rule for which one such record is enough, as the table of events names it.
fn by_itself(event: AuditEvent) -> Option<Rule> {
    let name = event.row().alert?;
    Rule::ALL.iter().copied().find(|rule| rule.name() == name)
}

/// Whom a record is about: of a refused command, who sent it.
fn subject(record: &Draft) -> Option<UserId> {
    let facts = &record.facts;
    if record.event == AuditEvent::LimitReached {
        // Many users flood as one does: the host has one alert.
        return None;
    }
    let uid = if record.event == AuditEvent::CommandRefused { facts.actor_uid } else { facts.uid };
    uid.map(UserId)
}

impl Known {
    /// Takes a record about this person; says what the rules have against it, and whether the habit has to be written
    /// down.
    fn take(&mut self, rules: &AlertRules, record: &Draft) -> (Vec<Finding>, bool) {
        let mut findings = Vec::new();
        let mut baseline = false;
        match record.event {
            AuditEvent::AccessDenied | AuditEvent::CommandRefused => {
                findings.extend(self.refusal(rules, record.boot))
            }
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
            // Broken anew, it is news.
            AuditEvent::StackRestored => {
                self.raised.remove(&(Rule::StackBroken, record.facts.service.clone()));
            }
            // A drift scan raises one alert for a grant, by the first of its records, where the gravest findings stand.
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

    /// So many refusals within the span, and then counted anew.
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

    /// Whether an alert by this rule may be raised now, and how many were held back before it. First uses are as few as
    /// there are roles, and each is of another one, so none is held back.
    fn lets_through(&mut self, rules: &AlertRules, rule: Rule, record: &Draft) -> Option<u64> {
        let at = record.boot;
        // One sink, or one stack, does not speak for another.
        let facts = &record.facts;
        let part = match rule {
            Rule::SinkDown => facts.sink.clone(),
            Rule::StackBroken => facts.service.clone(),
            Rule::LeftBehind | Rule::HostChanged => {
                // One finding does not silence another: what is told again is held back, and nothing else.
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

/// Whether a record of findings raises an alert: the first of a scan does, unless it tells of nothing but a package
/// manager's work that fits the package's checksums, or, where nobody had a session, of nothing grave.
fn is_to_be_looked_at(record: &Draft) -> bool {
    let facts = &record.facts;
    let kind = facts.finding.as_deref().unwrap_or_default();
    let matters = match record.event {
        AuditEvent::HostChanged => kind::is_grave(kind),
        _ => kind != Kind::Shipped.name(),
    };
    facts.part.is_none_or(|part| part == 1) && matters
}

/// What stands for the findings of a record: the kind where they are of users' own files, who could otherwise raise as
/// many alerts as there are scans, and all of the lines where they are not.
fn findings_of(facts: &Facts) -> Option<String> {
    let kind = facts.finding.clone()?;
    if kind == Kind::OwnFiles.name() {
        return Some(kind);
    }
    // Of several records only the first is here: no other scan's is known to be the same.
    let told = if facts.part.is_some() {
        facts.detail.clone()
    } else {
        facts.left_behind.as_ref().map(|l| l.join("\n"))
    };
    Some(format!("{kind} {}", told.unwrap_or_default()))
}

/// Far more elevations in the last hour than this person's usual busiest hour has.
fn spike(spike: &Spike, baseline: &Baseline, count: u32, record: &Draft) -> Option<Finding> {
    let usual = baseline.usual_busiest_hour(record.wall)?;
    let limit = spike.at_least.max(usual.saturating_mul(spike.factor));
    (count > limit).then(|| {
        let why = format!("{count} elevations within an hour; the busiest hour of a usual day has {usual}");
        (Rule::Spike, why)
    })
}

/// What is to be said of a window that opens.
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
