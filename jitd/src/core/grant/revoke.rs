//! A holder releases a grant; an operator revokes one.

use crate::core::authority::is_operator;
use crate::core::caller::Caller;
use crate::core::command::GrantSelector;
use crate::core::facts;
use crate::core::grant::lifetime::Closing;
use crate::core::ledger::{EndedBy, GrantState};
use crate::core::reply::{Done, Refusal};
use crate::core::request::Asker;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::{GrantId, Reason};

pub(in crate::core) fn release(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    id: Option<GrantId>,
) -> Result<Done, Refusal> {
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

pub(in crate::core) fn revoke(
    turn: &mut Turn<'_>,
    caller: &Caller,
    which: &GrantSelector,
    reason: &Reason,
) -> Result<Done, Refusal> {
    let operator = is_operator(turn.policy, &turn.ledger, caller);
    let ids: Vec<GrantId> = match which {
        GrantSelector::One(id) => {
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
        GrantSelector::Of(account) => turn.ledger.held_by(account.uid).map(|grant| grant.id).collect(),
        GrantSelector::All => turn.ledger.grants.keys().copied().collect(),
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
