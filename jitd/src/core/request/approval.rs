//! Approvers decide on requests.

use crate::core::authority::may_approve;
use crate::core::caller::Caller;
use crate::core::effect::Change;
use crate::core::facts;
use crate::core::grant::give::start;
use crate::core::ledger::{Approval, Grant, GrantState, Request, RequestState};
use crate::core::people::Account;
use crate::core::reply::{Done, Refusal};
use crate::core::request::{no_request, role};
use crate::core::time::Deadline;
use crate::core::turn::Turn;
use crate::core::views::Look;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::{GrantId, Reason, RequestId};
use std::time::Duration;

pub(in crate::core) fn approve(
    turn: &mut Turn<'_>,
    caller: &Caller,
    id: RequestId,
    shorter: Option<Duration>,
    comment: String,
) -> Result<Done, Refusal> {
    let mut request = decidable(turn, caller, id)?;
    let approver = &caller.person.account;
    let uids = caller.uids();
    let earlier = |approval: &&Approval| uids.contains(&approval.by.uid) || !uids.is_disjoint(&approval.uids);
    if let Some(earlier) = request.approvals.iter().find(earlier) {
        let by = if earlier.by.uid == approver.uid { "you" } else { earlier.by.name.as_str() };
        let message = if by == "you" {
            format!("you have approved request {id} already, at {}", earlier.at.to_rfc3339())
        } else {
            format!(
                "request {id} was approved as {by} by the person who logged in here; one person counts once"
            )
        };
        return Err(Refusal::AlreadyDecided(message));
    }
    if let Some(shorter) = shorter {
        if shorter > request.spec.duration {
            let message = format!("request {id} asks for less; an approver can only shorten it");
            return Err(Refusal::PolicyDenied(message));
        }
        request.spec.duration = shorter;
    }
    let role = role(turn.policy, &request.spec.role)?;
    // The policy may have changed since the request was made; the present one counts.
    let duration = request.spec.duration.min(role.max_duration);
    let needed = request.approvals_needed.max(role.approvals);
    request.approvals_needed = needed;
    let comment_said = (!comment.is_empty()).then(|| comment.clone());
    request.approvals.push(Approval { by: approver.clone(), at: turn.now.wall, comment, uids });
    let complete = request.approvals.len() >= needed as usize;
    if complete
        && let Some(grant) = request.extends
        && let Err(why) = turn.extension(grant, duration)
    {
        // The approval is not kept: with room for an extension later, the approver decides again.
        return Err(Refusal::PolicyDenied(format!("{why}; request {id} stays pending")));
    }
    let said = Facts { detail: comment_said, ..facts::request(&request) };
    let said = facts::from(&turn.ledger, caller, said);
    turn.note(AuditEvent::RequestApproved, said);
    if !complete {
        turn.put(Change::Request(request.clone()));
        turn.ledger.requests.insert(id, request);
        return Ok(Done::Request(id));
    }
    turn.ledger.requests.insert(id, request);
    let Some(request) = turn.close_request(id, RequestState::Approved) else { return Err(no_request(id)) };
    let approvers: Vec<Account> = request.approvals.iter().map(|approval| approval.by.clone()).collect();
    if let Some(grant) = request.extends {
        let number = Some(request.id.0);
        let from = facts::from(&turn.ledger, caller, Facts::default());
        let extended = turn.extend(grant, duration, &approvers, |facts| Facts {
            request: number,
            actor: None,
            actor_uid: None,
            ..facts::with_origin(&from, facts)
        });
        return extended.map(|()| Done::Request(id)).map_err(Refusal::PolicyDenied);
    }
    let grant = Grant {
        id: GrantId(id.0),
        role: request.spec.role,
        holder: request.requester,
        uids: request.uids,
        reason: request.spec.reason,
        ticket: request.spec.ticket,
        approvers,
        starts_at: turn.now.wall,
        ends: Deadline::after(duration, turn.now),
        requested: true,
        unused_until: None,
        warned: None,
        state: GrantState::Live,
    };
    // The actors of this record are the approvers; a grant by an operator has an actor of its own.
    let started = facts::from(&turn.ledger, caller, facts::grant(&grant));
    let request = Some(grant.id.0);
    start(turn, grant, duration, Facts { request, actor: None, actor_uid: None, ..started });
    Ok(Done::Request(id))
}

pub(in crate::core) fn deny(
    turn: &mut Turn<'_>,
    caller: &Caller,
    id: RequestId,
    reason: Reason,
) -> Result<Done, Refusal> {
    decidable(turn, caller, id)?;
    let denied = RequestState::Denied { by: caller.person.account.clone(), reason: reason.clone() };
    let request = turn.close_request(id, denied).ok_or_else(|| no_request(id))?;
    let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts::request(&request) };
    let why = facts::from(&turn.ledger, caller, why);
    turn.note(AuditEvent::RequestDenied, why);
    Ok(Done::Request(id))
}

/// The pending request, if this caller may decide on it.
pub(in crate::core) fn decidable(
    turn: &Turn<'_>,
    caller: &Caller,
    id: RequestId,
) -> Result<Request, Refusal> {
    let request = turn.ledger.requests.get(&id).ok_or_else(|| no_request(id))?;
    if !caller.uids().is_disjoint(&request.all_uids()) {
        let message = format!("request {id} is your own; somebody else has to decide on it");
        return Err(Refusal::SelfApproval(message));
    }
    if !may_approve(turn.policy, &caller.person, request) {
        let look = Look { ledger: &turn.ledger, policy: turn.policy, caller, now: turn.now };
        if look.sees_request(request) {
            let message =
                format!("request {id} is for {}, and you are no approver of that role", request.spec.role);
            return Err(Refusal::NotAuthorized(message));
        }
        return Err(no_request(id));
    }
    Ok(request.clone())
}

/// The result of a request that is closed already, for a caller who may see it.
pub(in crate::core) fn already_closed(turn: &Turn<'_>, caller: &Caller, request: &Request) -> Refusal {
    let id = request.id;
    let look = Look { ledger: &turn.ledger, policy: turn.policy, caller, now: turn.now };
    if !look.sees_request(request) {
        return no_request(id);
    }
    let at = request.closed_at.map_or(String::new(), |at| format!(" at {}", at.to_rfc3339()));
    Refusal::AlreadyDecided(match &request.state {
        RequestState::Pending => format!("request {id} is being decided"),
        RequestState::Approved => {
            let by = |it: &Approval| format!("{} at {}", it.by.name, it.at.to_rfc3339());
            let by: Vec<String> = request.approvals.iter().map(by).collect();
            format!("request {id} is approved already: by {}", by.join(", "))
        }
        RequestState::Denied { by, reason } => {
            format!("request {id} was denied by {}{at}: {}", by.name, reason.as_str())
        }
        RequestState::Cancelled => format!("request {id} was cancelled by {}{at}", request.requester.name),
        RequestState::Expired => format!("request {id} expired{at}: nobody decided on it in time"),
    })
}
