//! Every command: checked against the table of origins, then executed; each refusal is recorded.

use crate::core::authority::{self};
use crate::core::caller::Caller;
use crate::core::command::{Command, GrantSelector};
use crate::core::facts;
use crate::core::grant::extend::extend;
use crate::core::grant::give::give;
use crate::core::grant::revoke::{release, revoke};
use crate::core::reply::{Done, Refusal};
use crate::core::request::Asker;
use crate::core::request::approval::{already_closed, approve, deny};
use crate::core::request::submit::{cancel, request};
use crate::core::turn::Turn;
use jit_proto::audit::record::AuditEvent;

/// Executes a command or refuses it. Every refusal is recorded.
pub(in crate::core) fn command(
    turn: &mut Turn<'_>,
    caller: &Caller,
    command: Command,
) -> Result<Done, Refusal> {
    let what = match &command {
        Command::Request(spec) => format!("request {}", spec.role),
        Command::Cancel(id) => format!("cancel {id}"),
        Command::Approve { id, .. } => format!("approve {id}"),
        Command::Deny { id, .. } => format!("deny {id}"),
        Command::Release(Some(id)) => format!("release {id}"),
        Command::Extend { id, .. } => format!("extend {id}"),
        Command::Grant { holder, spec } => format!("grant {} {}", holder.name, spec.role),
        Command::AlreadyClosed { kind, request } => format!("{} {}", kind.word(), request.id),
        Command::Revoke { which: GrantSelector::One(id), .. } => format!("revoke {id}"),
        Command::Revoke { which: GrantSelector::Of(account), .. } => {
            format!("revoke --user {}", account.name)
        }
        Command::AuditLog(command) => command.typed(),
        Command::Release(None) | Command::Revoke { which: GrantSelector::All, .. } => {
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

pub(in crate::core) fn carry_out(
    turn: &mut Turn<'_>,
    asker: &Asker<'_>,
    command: Command,
) -> Result<Done, Refusal> {
    match command {
        Command::Request(spec) => request(turn, asker, spec),
        Command::Cancel(id) => cancel(turn, asker, id),
        Command::Approve { id, duration, comment } => approve(turn, asker.caller, id, duration, comment),
        Command::Deny { id, reason } => deny(turn, asker.caller, id, reason),
        Command::Release(id) => release(turn, asker, id),
        Command::Extend { id, duration, reason, ticket } => extend(turn, asker, id, duration, reason, ticket),
        Command::Grant { holder, spec } => give(turn, asker.caller, holder, spec),
        Command::AlreadyClosed { request, .. } => Err(already_closed(turn, asker.caller, &request)),
        Command::Revoke { which, reason } => revoke(turn, asker.caller, &which, &reason),
        Command::AuditLog(command) => command.carry_out(turn, asker.caller),
    }
}
