//! People request a role, and cancel a request.

use crate::core::effect::Change;
use crate::core::facts;
use crate::core::ledger::{Request, RequestState};
use crate::core::limits::Rate;
use crate::core::people::Account;
use crate::core::policy::Role;
use crate::core::reply::{Done, Refusal};
use crate::core::request::{Asker, no_request, role};
use crate::core::time::Deadline;
use crate::core::turn::Turn;
use crate::core::views::Look;
use jit_proto::audit::record::AuditEvent;
use jit_proto::identity::{GrantId, RequestId};
use jit_proto::request::{AcceptedSpec, RequestSpec};
use std::time::Duration;

/// Pending requests of one person; more would only hide the others from the approver.
pub(in crate::core) const MAX_PENDING: usize = 5;

/// Requests of one user. A request and its cancellation are two records, so a loop of both writes 3 MB a day at most,
/// as a loop of refusals does.
pub(in crate::core) const REQUESTS: Rate = Rate { burst: 300, per_minute: 1 };

pub(in crate::core) fn request(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    spec: RequestSpec,
) -> Result<Done, Refusal> {
    let name = &spec.role;
    let role = role(turn.policy, name)?;
    if !role.members.include(asker.person) {
        return Err(Refusal::NoSuch(format!("there is no role {name} for you")));
    }
    let spec = accepted(role, spec, true)?;
    ask(turn, asker, role, asker.person.account.clone(), spec, None)
}

/// The duration that a request gets by the rules of a role, or all problems of the request at once. Without
/// `needs_ticket` a ticket may be omitted.
pub(in crate::core) fn accepted(
    role: &Role,
    spec: RequestSpec,
    needs_ticket: bool,
) -> Result<AcceptedSpec, Refusal> {
    let duration = role.duration(spec.duration);
    let judges_ticket = needs_ticket || spec.ticket.is_some();
    let problems: Vec<String> = [
        duration.clone().err(),
        role.accepts_reason(&spec.reason).err(),
        judges_ticket.then(|| role.accepts_ticket(spec.ticket.as_ref()).err()).flatten(),
    ]
    .into_iter()
    .flatten()
    .collect();
    match duration {
        Ok(duration) if problems.is_empty() => Ok(spec.lasting(duration)),
        _ => Err(Refusal::PolicyDenied(problems.join("; "))),
    }
}

/// Submits a request.
pub(in crate::core) fn ask(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    role: &Role,
    requester: Account,
    spec: AcceptedSpec,
    extends: Option<GrantId>,
) -> Result<Done, Refusal> {
    let own = turn.ledger.requests.values().filter(|request| request.requester.uid == requester.uid);
    if own.count() >= MAX_PENDING {
        let message = format!("you have {MAX_PENDING} requests pending already; cancel one first");
        return Err(Refusal::PolicyDenied(message));
    }
    if !turn.ledger.requests_made.take(requester.uid, REQUESTS, turn.now.boot) {
        let Rate { burst, per_minute } = REQUESTS;
        let message = format!(
            "you have made {burst} requests in a short time; jitd takes {per_minute} more each minute"
        );
        return Err(Refusal::PolicyDenied(message));
    }
    // The requester of an extension is also the requester of the window.
    let grant = extends.and_then(|grant| turn.ledger.grants.get(&grant));
    let uids = grant.map(|grant| grant.uids.clone()).unwrap_or_default().into_iter();
    let of_all = turn.policy.map_or(Duration::ZERO, |policy| policy.settings.options.request_expiry);
    let expiry = role.options.request_expiry.unwrap_or(of_all);
    let request = Request {
        id: RequestId(turn.ledger.take_id()),
        spec,
        requester,
        uids: uids.chain(asker.caller.uids()).collect(),
        requested_at: turn.now.wall,
        expires: Deadline::after(expiry, turn.now),
        approvals: Vec::new(),
        approvals_needed: role.approvals,
        extends,
        closed_at: None,
        state: RequestState::Pending,
    };
    let made = facts::from(&turn.ledger, asker.caller, facts::request(&request));
    turn.note(AuditEvent::RequestMade, made);
    turn.put(Change::Request(request.clone()));
    let id = request.id;
    turn.ledger.requests.insert(id, request);
    Ok(Done::Request(id))
}

pub(in crate::core) fn cancel(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    id: RequestId,
) -> Result<Done, Refusal> {
    let request = turn.ledger.requests.get(&id).ok_or_else(|| no_request(id))?;
    if request.requester.uid != asker.person.account.uid {
        let look = Look { ledger: &turn.ledger, policy: turn.policy, caller: asker.caller, now: turn.now };
        if look.sees_request(request) {
            let whose = &request.requester.name;
            let message = format!("request {id} is not yours but that of {whose}, who alone can cancel it");
            return Err(Refusal::NotAuthorized(message));
        }
        return Err(no_request(id));
    }
    let request = turn.close_request(id, RequestState::Cancelled).ok_or_else(|| no_request(id))?;
    let cancelled = facts::from(&turn.ledger, asker.caller, facts::request(&request));
    turn.note(AuditEvent::RequestCancelled, cancelled);
    Ok(Done::Request(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::identity::{Reason, RoleName, Ticket};

    #[test]
    fn everything_that_is_wrong_with_a_request_is_said_at_once() {
        use crate::core::people::People;
        use crate::core::policy::{OnExpiry, RoleOptions, RunAs, RunAsGroups, TicketRule};

        let role = Role {
            name: RoleName::try_from("web-admin".to_owned()).unwrap(),
            description: String::new(),
            members: People::default(),
            run_as: RunAs::default(),
            run_as_groups: RunAsGroups::default(),
            services: std::collections::BTreeSet::new(),
            default_duration: Duration::from_secs(1800),
            max_duration: Duration::from_secs(7200),
            ticket: TicketRule { required: true, pattern: None },
            approvers: People::default(),
            approvals: 1,
            on_expiry: OnExpiry::Terminate,
            options: RoleOptions::default(),
        };
        let short = Reason::try_from("...".to_owned()).unwrap();
        let long = Reason::try_from("nginx is down".to_owned()).unwrap();
        let ticket = Ticket::try_from("INC-1".to_owned()).unwrap();
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        let spec = |duration, reason: &Reason, ticket: Option<&Ticket>| RequestSpec {
            role: role.name.clone(),
            duration,
            reason: reason.clone(),
            ticket: ticket.cloned(),
        };
        let refusal = accepted(&role, spec(hours(24), &short, None), true).unwrap_err().to_string();
        for part in ["2h at most, not for 24h", "at least 10 characters, not 3", "wants a ticket"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(accepted(&role, spec(hours(2), &long, None), true).is_err());
        assert!(accepted(&role, spec(hours(3), &long, Some(&ticket)), true).is_err());
        let given = accepted(&role, spec(None, &long, Some(&ticket)), true).unwrap();
        assert_eq!((given.duration, given.ticket), (role.default_duration, Some(ticket)));
        // An operator may omit the ticket.
        let given = accepted(&role, spec(hours(1), &long, None), false).unwrap();
        assert_eq!(given.duration, Duration::from_secs(3600));
    }
}
