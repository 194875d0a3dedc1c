//! From asking to a grant, and back: what people do with requests and grants, and who may.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::audit::seal::SealKey;
use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, Ticket};

use super::authority::{self, CommandKind, is_operator, is_same_person};
use super::caller::Caller;
use super::event::{Change, Command, Done, Refusal, Which};
use super::facts;
use super::ledger::{Approval, EndedBy, Grant, GrantState, Ledger, Request, RequestState};
use super::people::{Account, Person};
use super::policy::{Policy, Role};
use super::show::Look;
use super::step::Turn;
use super::time::{Deadline, seconds};
use super::windows::Closing;

/// Somebody can have this many requests pending at once; more would only bury the approver.
const MAX_PENDING: usize = 5;

/// Carries a command out, or says why not. Every refusal is recorded.
pub(super) fn command(turn: &mut Turn<'_>, caller: &Caller, command: Command) -> Result<Done, Refusal> {
    let what = match &command {
        Command::Request { role, .. } => format!("request {role}"),
        Command::Cancel(id) => format!("cancel {id}"),
        Command::Approve { id, .. } => format!("approve {id}"),
        Command::Deny { id, .. } => format!("deny {id}"),
        Command::Release(Some(id)) => format!("release {id}"),
        Command::Extend { id, .. } => format!("extend {id}"),
        Command::Grant { holder, role, .. } => format!("grant {} {role}", holder.name),
        Command::AlreadyClosed { kind, request } => format!("{} {}", kind.word(), request.id),
        Command::Revoke { which: Which::One(id), .. } => format!("revoke {id}"),
        Command::Revoke { which: Which::Of(account), .. } => format!("revoke --user {}", account.name),
        Command::Release(None) | Command::Revoke { which: Which::All, .. } | Command::Seal { .. } => {
            command.kind().word().to_owned()
        }
    };
    let result = authority::admit(&turn.ledger, turn.policy, caller, command.kind())
        .and_then(|person| carry_out(turn, &Asker { caller, person }, command));
    if let Err(refusal) = &result
        && turn.records_refusal(caller.person.account.uid, &caller.person.account.name)
    {
        let facts = facts::refused(&turn.ledger, caller, &what, &refusal.to_string());
        turn.note(AuditEvent::CommandRefused, facts);
    }
    result
}

/// Who asks, as far as the table of origins let them: the caller, and whose own things they speak of.
struct Asker<'a> {
    caller: &'a Caller,
    /// The caller, or the holder of the window that they are inside.
    person: &'a Person,
}

fn carry_out(turn: &mut Turn<'_>, asker: &Asker<'_>, command: Command) -> Result<Done, Refusal> {
    match command {
        Command::Request { role, duration, reason, ticket } => {
            request(turn, asker, &role, duration, reason, ticket)
        }
        Command::Cancel(id) => cancel(turn, asker, id),
        Command::Approve { id, duration, comment } => approve(turn, asker.caller, id, duration, comment),
        Command::Deny { id, reason } => deny(turn, asker.caller, id, reason),
        Command::Release(id) => release(turn, asker, id),
        Command::Extend { id, duration, reason, ticket } => extend(turn, asker, id, duration, reason, ticket),
        Command::Grant { holder, role, duration, reason, ticket } => {
            give(turn, asker.caller, holder, &role, duration, reason, ticket)
        }
        Command::AlreadyClosed { request, .. } => Err(already_closed(turn, asker.caller, &request)),
        Command::Revoke { which, reason } => revoke(turn, asker.caller, &which, &reason),
        Command::Seal { key, again } => seal(turn, asker.caller, key, again),
    }
}

fn role<'a>(policy: Option<&'a Policy>, name: &RoleName) -> Result<&'a Role, Refusal> {
    let policy =
        policy.ok_or_else(|| Refusal::PolicyDenied("jitd has no valid policy on this host".to_owned()))?;
    policy.roles.get(name).ok_or_else(|| Refusal::NoSuch(format!("there is no role {name} for you")))
}

fn request(
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
struct Wish {
    duration: Duration,
    reason: Reason,
    ticket: Option<Ticket>,
    extends: Option<GrantId>,
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
    // Whoever asks for more is whoever asked for the window, too.
    let grant = extends.and_then(|grant| turn.ledger.grants.get(&grant));
    let uids = grant.map(|grant| grant.uids.clone()).unwrap_or_default().into_iter();
    let expiry = turn.policy.map_or(Duration::ZERO, |policy| policy.settings.request_expiry);
    let request = Request {
        id: RequestId(take_id(&mut turn.ledger)),
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

fn cancel(turn: &mut Turn<'_>, asker: &Asker<'_>, id: RequestId) -> Result<Done, Refusal> {
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

fn approve(
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
    let comment_said = (!comment.is_empty()).then(|| comment.clone());
    request.approvals.push(Approval { by: approver.clone(), at: turn.now.wall, comment, uids });
    let said = Facts { detail: comment_said, ..facts::request(&request) };
    let said = facts::from(&turn.ledger, caller, said);
    turn.note(AuditEvent::RequestApproved, said);
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
        role: request.role.clone(),
        holder: request.requester,
        uids: request.uids,
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
    // Its actors are its approvers; an actor of its own is what tells an operator's grant from it.
    let started = facts::from(&turn.ledger, caller, facts::grant(&grant));
    let request = Some(grant.id.0);
    start(turn, grant, duration, Facts { request, actor: None, actor_uid: None, ..started });
    Ok(Done::Request(id))
}

/// The holder asks for more of a window, by the rule of its role; an operator gives it.
fn extend(
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
                format!("grant {id} is your own under another account; ask for more of it as its holder");
            return Err(Refusal::SelfApproval(message));
        }
        authority::admit(&turn.ledger, turn.policy, caller, CommandKind::ExtendOther)?;
    }
    let role = role(turn.policy, &grant.role)?;
    let ticket = ticket.or_else(|| grant.ticket.clone());
    let duration = accepted(role, duration, &reason, Some(ticket.as_ref()))?;
    if own {
        if turn.ledger.requests.values().any(|request| request.extends == Some(id)) {
            return Err(Refusal::AlreadyDecided(format!("you have asked for more of grant {id} already")));
        }
        let wish = Wish { duration, reason, ticket, extends: Some(id) };
        return ask(turn, asker, role, grant.holder, wish);
    }
    let by = caller.person.account.clone();
    let from = facts::from(&turn.ledger, caller, Facts::default());
    let told = |facts| {
        let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts };
        facts::with_origin(&from, why)
    };
    let extended = turn.extend(id, duration, std::slice::from_ref(&by), told);
    extended.map(|()| Done::Grant(id)).map_err(Refusal::PolicyDenied)
}

fn deny(turn: &mut Turn<'_>, caller: &Caller, id: RequestId, reason: Reason) -> Result<Done, Refusal> {
    decidable(turn, caller, id)?;
    let denied = RequestState::Denied { by: caller.person.account.clone(), reason: reason.clone() };
    let request = turn.close_request(id, denied).ok_or_else(|| no_request(id))?;
    let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts::request(&request) };
    let why = facts::from(&turn.ledger, caller, why);
    turn.note(AuditEvent::RequestDenied, why);
    Ok(Done::Request(id))
}

/// The pending request that this caller may decide on.
fn decidable(turn: &Turn<'_>, caller: &Caller, id: RequestId) -> Result<Request, Refusal> {
    let request = turn.ledger.requests.get(&id).ok_or_else(|| no_request(id))?;
    if !caller.uids().is_disjoint(&request.all_uids()) {
        let message = format!("request {id} is your own; somebody else has to decide on it");
        return Err(Refusal::SelfApproval(message));
    }
    if !may_approve(turn.policy, &caller.person, request) {
        let look = Look { ledger: &turn.ledger, policy: turn.policy, caller, now: turn.now };
        if look.sees_request(request) {
            let message =
                format!("request {id} is for {}, and you are no approver of that role", request.role);
            return Err(Refusal::NotAuthorized(message));
        }
        return Err(no_request(id));
    }
    Ok(request.clone())
}

/// Says of a request that is not pending any more what became of it, to whoever may see it.
fn already_closed(turn: &Turn<'_>, caller: &Caller, request: &Request) -> Refusal {
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
        RequestState::Cancelled => format!("request {id} was taken back by {}{at}", request.requester.name),
        RequestState::Expired => format!("request {id} lapsed{at}: nobody decided on it in time"),
    })
}

/// Whether this person is an approver of the request's role and not its requester.
#[must_use]
pub(super) fn may_approve(policy: Option<&Policy>, person: &Person, request: &Request) -> bool {
    let approvers = policy.and_then(|policy| policy.roles.get(&request.role)).map(|role| &role.approvers);
    person.account.uid != request.requester.uid && approvers.is_some_and(|people| people.include(person))
}

fn release(turn: &mut Turn<'_>, asker: &Asker<'_>, id: Option<GrantId>) -> Result<Done, Refusal> {
    let uid = asker.person.account.uid;
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
        event: AuditEvent::GrantReleased,
    };
    let from = facts::from(&turn.ledger, asker.caller, Facts::default());
    turn.close_grants(&[id], &closing, |facts| facts::with_origin(&from, facts));
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
        uids: BTreeSet::new(),
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
    let started = facts::from(&turn.ledger, caller, facts::grant(&grant));
    start(turn, grant, duration, started);
    Ok(Done::Grant(id))
}

fn start(turn: &mut Turn<'_>, grant: Grant, duration: Duration, started: Facts) {
    turn.start(grant, duration, Facts { seconds: Some(seconds(duration)), ..started });
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
        Which::Of(account) => turn.ledger.held_by(account.uid).map(|grant| grant.id).collect(),
        Which::All => turn.ledger.grants.keys().copied().collect(),
    };
    let by = caller.person.account.clone();
    let closing = Closing {
        state: GrantState::Revoked { at: turn.now.wall, by, reason: reason.clone() },
        why: EndedBy::Revoked,
        event: AuditEvent::GrantRevoked,
    };
    let from = facts::from(&turn.ledger, caller, Facts::default());
    turn.close_grants(&ids, &closing, |facts| {
        let why = Facts { detail: Some(reason.as_str().to_owned()), ..facts };
        facts::with_origin(&from, why)
    });
    Ok(Done::Grants(ids))
}

/// Begins a seal.
fn seal(turn: &mut Turn<'_>, caller: &Caller, key: SealKey, again: bool) -> Result<Done, Refusal> {
    let event = match (turn.ledger.sealed, again) {
        (false, _) => AuditEvent::AuditSealed,
        (true, true) => AuditEvent::AuditResealed,
        (true, false) => {
            let message = "the record is sealed already; --rotate begins another seal, which is recorded";
            return Err(Refusal::AlreadyDecided(message.to_owned()));
        }
    };
    let facts = Facts {
        seal_key: Some(key.id()),
        ..facts::detail("records behind this one are sealed with a key that begins here".to_owned())
    };
    let facts = facts::from(&turn.ledger, caller, facts);
    turn.note(event, facts);
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
    use crate::core::caller::Place;
    use crate::core::context::Context;
    use crate::core::event::{Effect, Input, Reply};
    use crate::core::step::step;
    use crate::core::time::Now;
    use jit_proto::identity::{SessionId, UserId};
    use jit_proto::time::{BootId, BootTime, WallTime};

    /// Whether a seal begins, with which record.
    fn seal_by(ledger: Ledger, uid: u32, inside: bool, again: bool) -> (Ledger, Option<AuditEvent>) {
        let account = Account { uid: UserId(uid), name: "somebody".into() };
        let person = Person { account, groups: std::collections::BTreeSet::new(), locked: false };
        let place = if inside {
            Place::Window { session: SessionId(7), unit: "jit-7.scope".into() }
        } else {
            Place::SystemUnit("first-boot.service".into())
        };
        let (loginuid, audit_session, process, exe, holder) = (None, None, None, None, None);
        let caller = Box::new(Caller { person, loginuid, audit_session, place, process, exe, holder });
        let command = Command::Seal { key: SealKey::taking(&mut [7; 32]), again };
        let now = Now { wall: WallTime(1), boot: BootTime(1), boot_id: BootId("b".into()) };
        let (ledger, effects) =
            step(ledger, None, Input::Command(caller, command), &Context::default(), &now);
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
        assert_eq!((ledger.sealed, begun), (true, Some(AuditEvent::AuditSealed)));
        let (ledger, begun) = seal_by(ledger, 0, false, false);
        assert_eq!(begun, None);
        let (ledger, begun) = seal_by(ledger, 0, true, true);
        assert_eq!(begun, None);
        assert_eq!(seal_by(ledger, 0, false, true).1, Some(AuditEvent::AuditResealed));
    }

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
