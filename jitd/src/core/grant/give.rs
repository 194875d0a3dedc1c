//! An operator grants a role without a request.

use crate::core::authority::is_same_person;
use crate::core::caller::Caller;
use crate::core::facts;
use crate::core::ledger::{Grant, GrantState};
use crate::core::people::Account;
use crate::core::reply::{Done, Refusal};
use crate::core::request::role;
use crate::core::request::submit::accepted;
use crate::core::time::{Deadline, seconds};
use crate::core::turn::Turn;
use jit_proto::audit::record::Facts;
use jit_proto::identity::GrantId;
use jit_proto::request::RequestSpec;
use std::collections::BTreeSet;
use std::time::Duration;

pub(in crate::core) fn give(
    turn: &mut Turn<'_>,
    caller: &Caller,
    holder: Account,
    spec: RequestSpec,
) -> Result<Done, Refusal> {
    if is_same_person(caller, &holder) {
        return Err(Refusal::SelfApproval("nobody grants to themselves".to_owned()));
    }
    // An operator may omit the ticket.
    let spec = accepted(role(turn.policy, &spec.role)?, spec, false)?;
    let RequestSpec { role, duration, reason, ticket } = spec;
    let grant = Grant {
        id: GrantId(turn.ledger.take_id()),
        role,
        holder,
        uids: BTreeSet::new(),
        reason,
        ticket,
        approvers: vec![caller.person.account.clone()],
        starts_at: turn.now.wall,
        ends: Deadline::after(duration, turn.now),
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

pub(in crate::core) fn start(turn: &mut Turn<'_>, grant: Grant, duration: Duration, started: Facts) {
    turn.start(grant, duration, Facts { seconds: Some(seconds(duration)), ..started });
}
