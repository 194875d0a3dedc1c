//! People ask for a role, and take a request back.

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
use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, Ticket};
use std::time::Duration;

/// Somebody can have this many requests pending at once; more would only bury the approver.
pub(in crate::core) const MAX_PENDING: usize = 5;

/// Requests of one user: each is two records when it is cancelled, so that a loop of requests and cancellations writes
/// 3 MB a day at most, like a loop of refusals.
pub(in crate::core) const REQUESTS: Rate = Rate { burst: 300, per_minute: 1 };

pub(in crate::core) fn request(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    name: &RoleName,
    duration: Option<Duration>,
    reason: Reason,
    ticket: Option<Ticket>,
) -> Result<Done, Refusal> {
    let role = role(turn.policy, name)?;
    if !role.members.include(asker.person) {
        return Err(Refusal::NoSuch(format!("there is no role {name} for you")));
    }
    let duration = accepted(role, duration, &reason, Some(ticket.as_ref()))?;
    let wish = Wish { duration, reason, ticket, extends: None };
    ask(turn, asker, role, asker.person.account.clone(), wish)
}

/// What a request asks for, beside its role.
pub(in crate::core) struct Wish {
    pub(in crate::core) duration: Duration,
    pub(in crate::core) reason: Reason,
    pub(in crate::core) ticket: Option<Ticket>,
    pub(in crate::core) extends: Option<GrantId>,
}

/// The duration somebody gets by the rules of a role, or everything that is wrong with what they ask for, at once. No
/// ticket is looked at where `ticket` is none.
pub(in crate::core) fn accepted(
    role: &Role,
    duration: Option<Duration>,
    reason: &Reason,
    ticket: Option<Option<&Ticket>>,
) -> Result<Duration, Refusal> {
    let duration = role.duration(duration);
    let problems: Vec<String> = [
        duration.clone().err(),
        role.accepts_reason(reason).err(),
        ticket.and_then(|ticket| role.accepts_ticket(ticket).err()),
    ]
    .into_iter()
    .flatten()
    .collect();
    match duration {
        Ok(duration) if problems.is_empty() => Ok(duration),
        _ => Err(Refusal::PolicyDenied(problems.join("; "))),
    }
}

/// Puts a request before its approvers.
pub(in crate::core) fn ask(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    role: &Role,
    requester: Account,
    wish: Wish,
) -> Result<Done, Refusal> {
    let Wish { duration, reason, ticket, extends } = wish;
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
    // Whoever asks for more is whoever asked for the window, too.
    let grant = extends.and_then(|grant| turn.ledger.grants.get(&grant));
    let uids = grant.map(|grant| grant.uids.clone()).unwrap_or_default().into_iter();
    let expiry = turn.policy.map_or(Duration::ZERO, |policy| policy.settings.request_expiry);
    let request = Request {
        id: RequestId(turn.ledger.take_id()),
        role: role.name.clone(),
        requester,
        uids: uids.chain(asker.caller.uids()).collect(),
        duration,
        reason,
        ticket,
        requested_at: turn.now.wall,
        expires: Deadline::in_(expiry, turn.now),
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
            let message =
                format!("request {id} is not yours but that of {whose}, who alone can take it back");
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

    #[test]
    fn everything_that_is_wrong_with_a_request_is_said_at_once() {
        use crate::core::people::People;
        use crate::core::policy::{OnExpiry, RunAs, RunAsGroups, TicketRule};

        let role = Role {
            name: RoleName::try_from("web-admin".to_owned()).unwrap(),
            description: String::new(),
            members: People::default(),
            run_as: RunAs::default(),
            run_as_groups: RunAsGroups::default(),
            services: std::collections::BTreeSet::new(),
            default_duration: Duration::from_secs(1800),
            max_duration: Duration::from_secs(7200),
            reason_min_length: 10,
            ticket: TicketRule { required: true, pattern: None },
            approvers: People::default(),
            approvals: 1,
            unused_for: None,
            idle_timeout: None,
            end_with_login: false,
            without_forwarding: false,
            on_expiry: OnExpiry::Terminate,
        };
        let short = Reason::try_from("...".to_owned()).unwrap();
        let long = Reason::try_from("nginx is down".to_owned()).unwrap();
        let ticket = Ticket::try_from("INC-1".to_owned()).unwrap();
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        let refusal = accepted(&role, hours(24), &short, Some(None)).unwrap_err().to_string();
        for part in ["2h at most, not for 24h", "at least 10 characters, not 3", "wants a ticket"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(accepted(&role, hours(2), &long, Some(None)).is_err());
        assert!(accepted(&role, hours(3), &long, Some(Some(&ticket))).is_err());
        assert_eq!(accepted(&role, None, &long, Some(Some(&ticket))), Ok(role.default_duration));
        // Where no ticket is looked at, none is missing.
        assert_eq!(accepted(&role, hours(1), &long, None), Ok(Duration::from_secs(3600)));
    }
}
