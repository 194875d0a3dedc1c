//! From asking to a grant, and back: what people do with requests and grants, and who may.

use std::time::Duration;

use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, Ticket};
use jit_proto::record::{Event as What, Facts};
use jit_proto::seal::SealKey;

use super::event::{Caller, Change, Command, Done, Refusal, Which};
use super::facts;
use super::ledger::{Approval, EndedBy, Grant, GrantState, Ledger, Request, RequestState};
use super::people::{Account, Person};
use super::policy::{Policy, Role};
use super::step::Turn;
use super::time::{Deadline, seconds};
use super::windows::Closing;

/// Somebody can have this many requests pending at once; more would only bury the approver.
const MOST_PENDING: usize = 5;

/// Carries a command out, or says why not. Every refusal is recorded.
pub(super) fn command(turn: &mut Turn<'_>, caller: &Caller, command: Command) -> Result<Done, Refusal> {
    let (what, result) = match command {
        Command::Request { role, duration, reason, ticket } => {
            (format!("request {role}"), request(turn, caller, &role, duration, reason, ticket))
        }
        Command::Cancel(id) => (format!("cancel {id}"), cancel(turn, caller, id)),
        Command::Approve { id, duration, comment } => {
            (format!("approve {id}"), approve(turn, caller, id, duration, comment))
        }
        Command::Deny { id, reason } => (format!("deny {id}"), deny(turn, caller, id, reason)),
        Command::Release(id) => ("release".to_owned(), release(turn, caller, id)),
        Command::Extend { id, duration, reason, ticket } => {
            (format!("extend {id}"), extend(turn, caller, id, duration, reason, ticket))
        }
        Command::Grant { holder, role, duration, reason, ticket } => {
            let what = format!("grant {} {role}", holder.name);
            (what, give(turn, caller, holder, &role, duration, reason, ticket))
        }
        Command::Revoke { which, reason } => ("revoke".to_owned(), revoke(turn, caller, &which, &reason)),
        Command::Seal { key, again } => ("audit seal".to_owned(), seal(turn, caller, key, again)),
    };
    if let Err(refusal) = &result {
        turn.note(What::CommandRefused, facts::refused(caller, &what, &refusal.to_string()));
    }
    result
}

/// Whether the caller may grant and revoke: an operator, or root that did not become root through a window.
#[must_use]
pub(super) fn is_operator(policy: Option<&Policy>, ledger: &Ledger, caller: &Caller) -> bool {
    let listed = policy.is_some_and(|policy| policy.settings.operators.include(&caller.person));
    listed || (caller.person.account.uid.is_root() && !speaks_from_a_window(ledger, caller))
}

/// Whether the caller runs inside an elevated session.
fn speaks_from_a_window(ledger: &Ledger, caller: &Caller) -> bool {
    caller.scope.is_some() || caller.audit_session.is_some_and(|tag| ledger.tagged(tag).is_some())
}

/// Whether this caller is that person, under their own uid or behind another one's.
fn is_same_person(caller: &Caller, account: &Account) -> bool {
    caller.person.account.uid == account.uid || caller.loginuid == Some(account.uid)
}

fn role<'a>(policy: Option<&'a Policy>, name: &RoleName) -> Result<&'a Role, Refusal> {
    let policy =
        policy.ok_or_else(|| Refusal::PolicyDenied("jitd has no valid policy on this host".to_owned()))?;
    policy.roles.get(name).ok_or_else(|| Refusal::NoSuch(format!("there is no role {name} for you")))
}

fn request(
    turn: &mut Turn<'_>,
    caller: &Caller,
    name: &RoleName,
    duration: Option<Duration>,
    reason: Reason,
    ticket: Option<Ticket>,
) -> Result<Done, Refusal> {
    let role = role(turn.policy, name)?;
    let requester = &caller.person.account;
    if !role.members.include(&caller.person) {
        return Err(Refusal::NoSuch(format!("there is no role {name} for you")));
    }
    let duration = accepted(role, duration, &reason, Some(ticket.as_ref()))?;
    ask(turn, role, requester.clone(), duration, reason, ticket, None)
}

/// The duration somebody gets by the rules of a role, or everything that is wrong with what they ask for, at once. No
/// ticket is looked at where `ticket` is none.
fn accepted(
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
fn ask(
    turn: &mut Turn<'_>,
    role: &Role,
    requester: Account,
    duration: Duration,
    reason: Reason,
    ticket: Option<Ticket>,
    extends: Option<GrantId>,
) -> Result<Done, Refusal> {
    let own = turn.ledger.requests.values().filter(|request| request.requester.uid == requester.uid);
    if own.count() >= MOST_PENDING {
        let message = format!("you have {MOST_PENDING} requests pending already; cancel one first");
        return Err(Refusal::PolicyDenied(message));
    }
    let expiry = turn.policy.map_or(Duration::ZERO, |policy| policy.settings.request_expiry);
    let request = Request {
        id: RequestId(take_id(&mut turn.ledger)),
        role: role.name.clone(),
        requester,
        duration,
        reason,
        ticket,
        requested_at: turn.now.wall,
        expires: Deadline::in_(expiry, turn.now),
        approvals: Vec::new(),
        approvals_needed: role.approvals,
        extends,
        state: RequestState::Pending,
    };
    turn.note(What::RequestMade, facts::request(&request));
    turn.put(Change::Request(request.clone()));
    let id = request.id;
    turn.ledger.requests.insert(id, request);
    Ok(Done::Request(id))
}

fn cancel(turn: &mut Turn<'_>, caller: &Caller, id: RequestId) -> Result<Done, Refusal> {
    let own = turn.ledger.requests.get(&id).filter(|r| r.requester.uid == caller.person.account.uid);
    own.ok_or_else(|| no_request(id))?;
    let request = turn.close_request(id, RequestState::Cancelled).ok_or_else(|| no_request(id))?;
    turn.note(What::RequestCancelled, facts::request(&request));
    Ok(Done::Request(id))
}

fn approve(
    turn: &mut Turn<'_>,
    caller: &Caller,
    id: RequestId,
    shorter: Option<Duration>,
    comment: String,
) -> Result<Done, Refusal> {
    let mut request = decidable(turn, caller, id)?;
    let approver = &caller.person.account;
    if request.approvals.iter().any(|approval| approval.by.uid == approver.uid) {
        return Err(Refusal::AlreadyDecided(format!("you have approved request {id} already")));
    }
    if let Some(shorter) = shorter {
        if shorter > request.duration {
            let message = format!("request {id} asks for less; an approver can only shorten it");
            return Err(Refusal::PolicyDenied(message));
        }
        request.duration = shorter;
    }
    let role = role(turn.policy, &request.role)?;
    // The policy may have changed since the request was made; what it says now is what counts.
    let duration = request.duration.min(role.max_duration);
    let needed = request.approvals_needed.max(role.approvals);
    request.approvals_needed = needed;
    request.approvals.push(Approval { by: approver.clone(), at: turn.now.wall, comment: comment.clone() });
    let said = Facts { detail: (!comment.is_empty()).then_some(comment), ..facts::request(&request) };
    turn.note(What::RequestApproved, facts::by(approver, said));
    if request.approvals.len() < needed as usize {
        turn.put(Change::Request(request.clone()));
        turn.ledger.requests.insert(id, request);
        return Ok(Done::Request(id));
    }
    turn.ledger.requests.insert(id, request);
    let Some(request) = turn.close_request(id, RequestState::Approved) else { return Err(no_request(id)) };
    let approvers: Vec<Account> = request.approvals.iter().map(|approval| approval.by.clone()).collect();
    if let Some(grant) = request.extends {
        let number = Some(request.id.0);
        let extended = turn.extend(grant, duration, &approvers, |facts| Facts { request: number, ..facts });
        return extended.map(|()| Done::Request(id)).map_err(Refusal::PolicyDenied);
    }
    let grant = Grant {
        id: GrantId(id.0),
        role: request.role.clone(),
        holder: request.requester,
        reason: request.reason,
        ticket: request.ticket,
        approvers,
        starts_at: turn.now.wall,
        ends: Deadline::in_(duration, turn.now),
        requested: true,
        unused_until: None,
        warned: None,
        state: GrantState::Live,
    };
    start(turn, grant, duration, None);
    Ok(Done::Request(id))
}

/// The holder asks for more of a window, by the rule of its role; an operator gives it.
fn extend(
    turn: &mut Turn<'_>,
    caller: &Caller,
    id: GrantId,
    duration: Option<Duration>,
    reason: Reason,
    ticket: Option<Ticket>,
) -> Result<Done, Refusal> {
    let none = || Refusal::NoSuch(format!("there is no live grant {id} of yours to extend"));
    let operator = is_operator(turn.policy, &turn.ledger, caller);
    let grant = turn.ledger.grants.get(&id).ok_or_else(none)?.clone();
    let own = grant.holder.uid == caller.person.account.uid;
    if !own && (!operator || is_same_person(caller, &grant.holder)) {
        return Err(none());
    }
    let role = role(turn.policy, &grant.role)?;
    let ticket = ticket.or_else(|| grant.ticket.clone());
    let duration = accepted(role, duration, &reason, Some(ticket.as_ref()))?;
    if own {
        if turn.ledger.requests.values().any(|request| request.extends == Some(id)) {
            return Err(Refusal::AlreadyDecided(format!("you have asked for more of grant {id} already")));
        }
        return ask(turn, role, grant.holder, duration, reason, ticket, Some(id));
    }
    let by = caller.person.account.clone();
    let told = |facts| {
        let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts };
        facts::by(&by, why)
    };
    let extended = turn.extend(id, duration, std::slice::from_ref(&by), told);
    extended.map(|()| Done::Grant(id)).map_err(Refusal::PolicyDenied)
}

fn deny(turn: &mut Turn<'_>, caller: &Caller, id: RequestId, reason: Reason) -> Result<Done, Refusal> {
    decidable(turn, caller, id)?;
    let by = caller.person.account.clone();
    let denied = RequestState::Denied { by: by.clone(), reason: reason.clone() };
    let request = turn.close_request(id, denied).ok_or_else(|| no_request(id))?;
    let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts::request(&request) };
    turn.note(What::RequestDenied, facts::by(&by, why));
    Ok(Done::Request(id))
}

/// The pending request that this caller may decide on.
fn decidable(turn: &Turn<'_>, caller: &Caller, id: RequestId) -> Result<Request, Refusal> {
    let request = turn.ledger.requests.get(&id).ok_or_else(|| no_request(id))?;
    if is_same_person(caller, &request.requester) {
        let message = format!("request {id} is your own; somebody else has to decide on it");
        return Err(Refusal::SelfApproval(message));
    }
    if !may_approve(turn.policy, &caller.person, request) {
        return Err(no_request(id));
    }
    Ok(request.clone())
}

/// Whether this person is an approver of the request's role and not its requester.
#[must_use]
pub(super) fn may_approve(policy: Option<&Policy>, person: &Person, request: &Request) -> bool {
    let approvers = policy.and_then(|policy| policy.roles.get(&request.role)).map(|role| &role.approvers);
    person.account.uid != request.requester.uid && approvers.is_some_and(|people| people.include(person))
}

fn release(turn: &mut Turn<'_>, caller: &Caller, id: Option<GrantId>) -> Result<Done, Refusal> {
    let uid = caller.person.account.uid;
    let held: Vec<GrantId> = turn.ledger.held_by(uid).map(|grant| grant.id).collect();
    let id = match (id, held.as_slice()) {
        (Some(id), held) if held.contains(&id) => id,
        (Some(id), _) => return Err(Refusal::NoSuch(format!("you hold no grant {id}"))),
        (None, [only]) => *only,
        (None, []) => return Err(Refusal::NoSuch("you hold no grant".to_owned())),
        (None, _) => {
            let all: Vec<String> = held.iter().map(ToString::to_string).collect();
            let message = format!("you hold several grants; say which: {}", all.join(", "));
            return Err(Refusal::NoSuch(message));
        }
    };
    let closing = Closing {
        state: GrantState::Released { at: turn.now.wall },
        why: EndedBy::Released,
        event: What::GrantReleased,
    };
    turn.close_grants(&[id], &closing, |facts| facts);
    Ok(Done::Grant(id))
}

fn give(
    turn: &mut Turn<'_>,
    caller: &Caller,
    holder: Account,
    name: &RoleName,
    duration: Option<Duration>,
    reason: Reason,
    ticket: Option<Ticket>,
) -> Result<Done, Refusal> {
    if !is_operator(turn.policy, &turn.ledger, caller) {
        return Err(Refusal::NotAuthorized("only operators grant without a request".to_owned()));
    }
    if is_same_person(caller, &holder) {
        return Err(Refusal::SelfApproval("nobody grants to themselves".to_owned()));
    }
    let role = role(turn.policy, name)?;
    // An operator may leave the ticket out.
    let duration = accepted(role, duration, &reason, ticket.as_ref().map(Some))?;
    let grant = Grant {
        id: GrantId(take_id(&mut turn.ledger)),
        role: name.clone(),
        holder,
        reason,
        ticket,
        approvers: vec![caller.person.account.clone()],
        starts_at: turn.now.wall,
        ends: Deadline::in_(duration, turn.now),
        requested: false,
        unused_until: None,
        warned: None,
        state: GrantState::Live,
    };
    let id = grant.id;
    start(turn, grant, duration, Some(caller));
    Ok(Done::Grant(id))
}

fn start(turn: &mut Turn<'_>, grant: Grant, duration: Duration, operator: Option<&Caller>) {
    let mut started = Facts { seconds: Some(seconds(duration)), ..facts::grant(&grant) };
    if let Some(operator) = operator {
        started.loginuid = operator.loginuid.map(|uid| uid.0);
        started = facts::by(&operator.person.account, started);
    } else {
        started.request = Some(grant.id.0);
    }
    turn.start(grant, duration, started);
}

fn revoke(turn: &mut Turn<'_>, caller: &Caller, which: &Which, reason: &Reason) -> Result<Done, Refusal> {
    let operator = is_operator(turn.policy, &turn.ledger, caller);
    let ids: Vec<GrantId> = match which {
        Which::One(id) => {
            let grant = turn.ledger.grants.get(id).filter(|grant| {
                let role = turn.policy.and_then(|policy| policy.roles.get(&grant.role));
                operator || role.is_some_and(|role| role.approvers.include(&caller.person))
            });
            vec![
                grant
                    .ok_or_else(|| {
                        Refusal::NoSuch(format!("there is no live grant {id} of yours to revoke"))
                    })?
                    .id,
            ]
        }
        Which::Of(_) | Which::All if !operator => {
            return Err(Refusal::NotAuthorized("only operators revoke everything somebody holds".to_owned()));
        }
        Which::Of(account) => turn.ledger.held_by(account.uid).map(|grant| grant.id).collect(),
        Which::All => turn.ledger.grants.keys().copied().collect(),
    };
    let by = caller.person.account.clone();
    let closing = Closing {
        state: GrantState::Revoked { at: turn.now.wall, by: by.clone(), reason: reason.clone() },
        why: EndedBy::Revoked,
        event: What::GrantRevoked,
    };
    turn.close_grants(&ids, &closing, |facts| {
        let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts };
        facts::by(&by, why)
    });
    Ok(Done::Grants(ids))
}

/// Begins a seal. Whoever speaks from inside a window has an interest in another one, so not even an operator does
/// it from there.
fn seal(turn: &mut Turn<'_>, caller: &Caller, key: SealKey, again: bool) -> Result<Done, Refusal> {
    if !is_operator(turn.policy, &turn.ledger, caller) || speaks_from_a_window(&turn.ledger, caller) {
        let message = "only operators and root begin a seal, and not from inside a window";
        return Err(Refusal::NotAuthorized(message.to_owned()));
    }
    let event = match (turn.ledger.sealed, again) {
        (false, _) => What::AuditSealed,
        (true, true) => What::AuditResealed,
        (true, false) => {
            let message = "the record is sealed already; --rotate begins another seal, which is recorded";
            return Err(Refusal::AlreadyDecided(message.to_owned()));
        }
    };
    let facts = Facts {
        loginuid: caller.loginuid.map(|uid| uid.0),
        seal_key: Some(key.id()),
        ..facts::detail("records behind this one are sealed with a key that begins here".to_owned())
    };
    turn.note(event, facts::by(&caller.person.account, facts));
    turn.seal(key);
    Ok(Done::Sealed)
}

fn take_id(ledger: &mut Ledger) -> u64 {
    let id = ledger.next_id;
    ledger.next_id += 1;
    id
}

fn no_request(id: RequestId) -> Refusal {
    Refusal::NoSuch(format!("there is no pending request {id} of yours to decide on"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::{Effect, Event, Reply};
    use crate::core::step::step;
    use crate::core::time::Now;
    use jit_proto::identity::{SessionId, UserId};
    use jit_proto::moment::{BootId, BootTime, WallTime};

    /// Whether a seal begins, with which record.
    fn seal_by(ledger: Ledger, uid: u32, inside: bool, again: bool) -> (Ledger, Option<What>) {
        let account = Account { uid: UserId(uid), name: "somebody".into() };
        let person = Person { account, groups: std::collections::BTreeSet::new(), locked: false };
        let scope = inside.then_some(SessionId(7));
        let caller = Box::new(Caller { person, loginuid: None, audit_session: None, scope });
        let command = Command::Seal { key: SealKey::taking(&mut [7; 32]), again };
        let now = Now { wall: WallTime(1), boot: BootTime(1), boot_id: BootId("b".into()) };
        let (ledger, effects) = step(ledger, None, Event::Command(caller, command), &now);
        let done =
            effects.iter().any(|effect| matches!(effect, Effect::Reply(Reply::Command(Ok(Done::Sealed)))));
        let mut commits = effects.into_iter().filter_map(|effect| match effect {
            Effect::Commit(commit) => Some(commit),
            _ => None,
        });
        let commit = commits.next().unwrap();
        assert_eq!(commit.seal.is_some(), done);
        (ledger, done.then(|| commit.drafts.last().unwrap().event))
    }

    #[test]
    fn a_seal_is_begun_by_root_outside_of_windows_and_another_one_only_when_asked_for() {
        let (ledger, begun) = seal_by(Ledger::default(), 1000, false, false);
        assert_eq!((ledger.sealed, begun), (false, None));
        let (ledger, begun) = seal_by(ledger, 0, true, false);
        assert_eq!((ledger.sealed, begun), (false, None));
        let (ledger, begun) = seal_by(ledger, 0, false, false);
        assert_eq!((ledger.sealed, begun), (true, Some(What::AuditSealed)));
        let (ledger, begun) = seal_by(ledger, 0, false, false);
        assert_eq!(begun, None);
        let (ledger, begun) = seal_by(ledger, 0, true, true);
        assert_eq!(begun, None);
        assert_eq!(seal_by(ledger, 0, false, true).1, Some(What::AuditResealed));
    }

    #[test]
    fn everything_that_is_wrong_with_a_request_is_said_at_once() {
        use crate::core::people::People;
        use crate::core::policy::{OnExpiry, RunAs, TicketRule};

        let role = Role {
            name: RoleName::try_from("web-admin".to_owned()).unwrap(),
            description: String::new(),
            members: People::default(),
            run_as: RunAs::default(),
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
