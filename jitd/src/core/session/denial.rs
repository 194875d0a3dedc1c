//! What becomes of a call that is denied: it is refused, or it passes because jitd observes; either is recorded.

use crate::core::decide::Access;
use crate::core::facts;
use crate::core::input::{AccessQuery, Named, Stage};
use crate::core::ledger::ObservedCall;
use crate::core::observe::{Observer, observer, roles_for};
use crate::core::people::Person;
use crate::core::reply::Verdict;
use crate::core::session::session_of;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};

/// Why a call is denied.
pub(super) struct Denied<'a> {
    /// A clause for the record.
    pub(super) why: String,
    /// What the person is shown; nothing, and it is made of the clause.
    pub(super) lines: Vec<String>,
    /// What was asked for; `None` where it is not certain who asks.
    pub(super) access: Option<&'a Access<'a>>,
}

impl<'a> Denied<'a> {
    /// For this reason, with nothing else to say.
    pub(super) fn because(why: impl Into<String>, access: Option<&'a Access<'a>>) -> Self {
        Self { why: why.into(), lines: Vec::new(), access }
    }
}

/// Refuses a call, or lets it pass where jitd observes.
pub(super) fn settle(turn: &mut Turn<'_>, query: &AccessQuery, denied: Denied<'_>) -> Verdict {
    match observer(turn.policy, query.line_observes, denied.access) {
        Some(by) => pass(turn, query, &denied, by),
        None => refuse(turn, query, denied),
    }
}

/// Refuses a call.
pub(super) fn refuse(turn: &mut Turn<'_>, query: &AccessQuery, denied: Denied<'_>) -> Verdict {
    let Denied { why, lines, .. } = denied;
    let inside = session_of(&turn.ledger, &query.process).map(|session| session.id.0);
    let facts = Facts {
        outcome: Some("denied".to_owned()),
        session: inside,
        detail: Some(why.clone()),
        ..facts::query(query)
    };
    let name = query.person.as_ref().map_or("", |person| person.account.name.as_str());
    if turn.records_refusal(query.process.real_uid, name) {
        turn.note(AuditEvent::AccessDenied, facts);
        turn.soon();
    }
    let lines =
        if lines.is_empty() { vec![format!("jit: {} is refused: {why}.", query.service)] } else { lines };
    Verdict::Denied(lines)
}

/// Lets a call pass that is denied, and records it once, its target aside. It has no session, and nothing ends it.
fn pass(turn: &mut Turn<'_>, query: &AccessQuery, denied: &Denied<'_>, by: Observer) -> Verdict {
    let entering = matches!(query.stage, Stage::Enter { .. });
    let asker = denied.access.map(|access| access.person).or(query.person.as_ref());
    let (uid, name) =
        asker.map_or((query.process.real_uid, ""), |asker| (asker.account.uid, asker.account.name.as_str()));
    let main = query.process.main;
    let known = if entering { None } else { turn.ledger.observed.find(&[uid], main).cloned() };
    let is_new = known.is_none();
    let records = match &known {
        None => turn.records_observed(uid, name),
        // The allowance that the first record took is that of the call.
        Some(call) => call.recorded && !call.target_recorded,
    };
    if records {
        let (eligible, others) =
            denied.access.map_or_else(Default::default, |access| roles_for(turn.policy, access));
        let target = match &query.user {
            Named::Account(account) if !entering => Some(account.name.clone()),
            _ => None,
        };
        let of_query = facts::query(query);
        let facts = Facts {
            outcome: Some("observed".to_owned()),
            // sudoedit runs its session stage with real uid 0.
            user: asker.map(|asker| asker.account.name.clone()).or(of_query.user),
            uid: Some(uid.0),
            session: session_of(&turn.ledger, &query.process).map(|session| session.id.0),
            run_as: target,
            part: known.is_some().then_some(2),
            observed_by: Some(by.word().to_owned()),
            eligible_roles: (!eligible.is_empty()).then_some(eligible),
            other_roles: (!others.is_empty()).then_some(others),
            detail: Some(denied.why.clone()),
            ..of_query
        };
        turn.note(AuditEvent::AccessObserved, facts);
        turn.soon();
        if turn.ledger.sealed && !entering {
            // Whoever is root in a moment is not to find the key of this record.
            turn.at_once();
        }
    }
    if let Some(person) = asker {
        turn.ledger.observed.remember(remembered(query, person, known, records));
    }
    let is_told = turn.policy.is_none_or(|policy| policy.settings.options.observe_notice);
    Verdict::Observed(if is_new && is_told {
        let (service, why, who) = (&query.service, &denied.why, by.described());
        vec![format!("jit: {service} would be denied ({why}); it passes because {who}.")]
    } else {
        Vec::new()
    })
}

fn remembered(
    query: &AccessQuery,
    person: &Person,
    known: Option<ObservedCall>,
    records: bool,
) -> ObservedCall {
    let entering = matches!(query.stage, Stage::Enter { .. });
    match known {
        Some(call) => ObservedCall { target_recorded: true, ..call },
        None => ObservedCall {
            main: query.process.main,
            person: person.clone(),
            entered: entering,
            recorded: records,
            target_recorded: !entering,
        },
    }
}

#[cfg(test)]
mod tests;
