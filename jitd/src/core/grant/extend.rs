//! Extends a window: its holder requests that, an operator does it.

use crate::core::authority::{self, CommandKind, is_operator, is_same_person};
use crate::core::facts;
use crate::core::reply::{Done, Refusal};
use crate::core::request::submit::{accepted, ask};
use crate::core::request::{Asker, role};
use crate::core::turn::Turn;
use jit_proto::audit::record::Facts;
use jit_proto::identity::{GrantId, Reason, Ticket};
use jit_proto::request::RequestSpec;
use std::time::Duration;

/// Requests an extension for a holder by the rule of the role; extends the window for an operator.
pub(in crate::core) fn extend(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    id: GrantId,
    duration: Option<Duration>,
    reason: Reason,
    ticket: Option<Ticket>,
) -> Result<Done, Refusal> {
    let caller = asker.caller;
    let none = || Refusal::NoSuch(format!("there is no live grant {id} of yours to extend"));
    let operator = is_operator(turn.policy, &turn.ledger, caller);
    let grant = turn.ledger.grants.get(&id).ok_or_else(none)?.clone();
    let own = grant.holder.uid == asker.person.account.uid;
    if !own {
        if !operator {
            return Err(none());
        }
        if is_same_person(caller, &grant.holder) || !caller.uids().is_disjoint(&grant.uids) {
            let message =
                format!("grant {id} is your own under another account; request the extension as its holder");
            return Err(Refusal::SelfApproval(message));
        }
        authority::admit(&turn.ledger, turn.policy, caller, CommandKind::ExtendOther)?;
    }
    let role = role(turn.policy, &grant.role)?;
    let ticket = ticket.or_else(|| grant.ticket.clone());
    let spec = accepted(role, RequestSpec { role: grant.role, duration, reason, ticket }, true)?;
    if own {
        if turn.ledger.requests.values().any(|request| request.extends == Some(id)) {
            return Err(Refusal::AlreadyDecided(format!(
                "you have requested an extension of grant {id} already"
            )));
        }
        return ask(turn, asker, role, grant.holder, spec, Some(id));
    }
    let by = caller.person.account.clone();
    let from = facts::from(&turn.ledger, caller, Facts::default());
    let told = |facts| {
        let why = Facts { detail: Some(spec.reason.as_str().to_owned()), ..facts };
        facts::with_origin(&from, why)
    };
    let extended = turn.extend(id, spec.duration, std::slice::from_ref(&by), told);
    extended.map(|()| Done::Grant(id)).map_err(Refusal::PolicyDenied)
}
