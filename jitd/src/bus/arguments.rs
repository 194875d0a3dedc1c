//! Parses the arguments of calls into values that cannot be invalid.

use std::collections::HashMap;
use std::time::Duration;

use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, Ticket};
use jit_proto::request::RequestSpec;
use zbus::OwnedVariant;

use super::Failure;
use crate::core::command::Command;
use crate::core::people::Account;
use crate::host::accounts::{Directory, Nss};

/// The largest text argument.
const MAX_TEXT_BYTES: usize = 8192;
/// The largest text of an option, in characters.
const MAX_OPTION_CHARS: usize = 256;

/// Doctor has fewer findings than these in one call.
const MAX_FINDINGS: usize = 500;

/// The last argument of most methods. Unknown options are ignored.
pub(super) type Options = HashMap<String, OwnedVariant>;

pub(super) fn request(
    role: String,
    duration: u64,
    reason: String,
    ticket: String,
) -> Result<Command, Failure> {
    Ok(Command::Request(spec_of(role, duration, reason, ticket)?))
}

pub(super) fn approve(id: u64, options: &Options) -> Result<Command, Failure> {
    Ok(Command::Approve {
        id: RequestId(id),
        duration: number_option(options, "duration")?.and_then(span_of),
        comment: text_option(options, "comment")?.unwrap_or_default(),
    })
}

pub(super) fn deny(id: u64, reason: String) -> Result<Command, Failure> {
    Ok(Command::Deny { id: RequestId(id), reason: reason_of(reason)? })
}

/// Names of what doctor finds: no more and no longer than a record takes.
pub(super) fn findings_of(names: Vec<String>) -> Result<Vec<String>, Failure> {
    let too_long = names.iter().any(|name| name.chars().count() > MAX_OPTION_CHARS);
    if names.len() > MAX_FINDINGS || too_long {
        return Err(Failure::InvalidArgument(format!(
            "more than {MAX_FINDINGS} findings, or one of more than {MAX_OPTION_CHARS} characters"
        )));
    }
    Ok(names)
}

/// Zero is the only grant that the caller holds.
pub(super) fn release(grant: u64) -> Command {
    Command::Release((grant != 0).then_some(GrantId(grant)))
}

pub(super) fn extend(
    grant: u64,
    duration: u64,
    reason: String,
    options: &Options,
) -> Result<Command, Failure> {
    Ok(Command::Extend {
        id: GrantId(grant),
        duration: span_of(duration),
        reason: reason_of(reason)?,
        ticket: ticket_option(options)?,
    })
}

pub(super) async fn grant(
    user: String,
    role: String,
    duration: u64,
    reason: String,
    options: Options,
) -> Result<Command, Failure> {
    let holder = account_of(user).await?;
    let ticket = text_option(&options, "ticket")?.unwrap_or_default();
    Ok(Command::Grant { holder, spec: spec_of(role, duration, reason, ticket)? })
}

/// The request in its four arguments. Zero is the role's default duration, and an empty ticket is none.
fn spec_of(role: String, duration: u64, reason: String, ticket: String) -> Result<RequestSpec, Failure> {
    Ok(RequestSpec {
        role: role_of(role)?,
        duration: span_of(duration),
        reason: reason_of(reason)?,
        ticket: ticket_of(ticket)?,
    })
}

fn role_of(name: String) -> Result<RoleName, Failure> {
    RoleName::try_from(bounded(name)?).map_err(|error| Failure::InvalidArgument(format!("role: {error}")))
}

pub(super) fn reason_of(text: String) -> Result<Reason, Failure> {
    Reason::try_from(bounded(text)?).map_err(|error| Failure::InvalidArgument(format!("reason: {error}")))
}

fn ticket_of(text: String) -> Result<Option<Ticket>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let ticket = Ticket::try_from(bounded(text)?);
    ticket.map(Some).map_err(|error| Failure::InvalidArgument(format!("ticket: {error}")))
}

/// Zero is the role's default.
fn span_of(micros: u64) -> Option<Duration> {
    (micros != 0).then(|| Duration::from_micros(micros))
}

pub(super) async fn account_of(user: String) -> Result<Account, Failure> {
    let name = bounded(user)?;
    let looked = tokio::task::spawn_blocking(move || (Nss.user(&name), name));
    let (found, name) = looked.await.map_err(|error| Failure::Failed(error.to_string()))?;
    let found = found.map_err(|error| Failure::Failed(error.to_string()))?;
    found.ok_or_else(|| Failure::NoSuch(format!("there is no user {name:?} on this host")))
}

fn bounded(text: String) -> Result<String, Failure> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Failure::InvalidArgument(format!("a text of {} bytes is too long", text.len())));
    }
    Ok(text)
}

fn text_option(options: &Options, key: &str) -> Result<Option<String>, Failure> {
    let Some(value) = options.get(key) else { return Ok(None) };
    let text = <&str>::try_from(value)
        .map_err(|_| Failure::InvalidArgument(format!("option {key} is not a string")))?;
    let text = bounded(text.to_owned())?;
    Ok(Some(text.chars().take(MAX_OPTION_CHARS).collect()))
}

fn ticket_option(options: &Options) -> Result<Option<Ticket>, Failure> {
    ticket_of(text_option(options, "ticket")?.unwrap_or_default())
}

fn number_option(options: &Options, key: &str) -> Result<Option<u64>, Failure> {
    let Some(value) = options.get(key) else { return Ok(None) };
    let number = u64::try_from(value)
        .map_err(|_| Failure::InvalidArgument(format!("option {key} is not a number")))?;
    Ok(Some(number))
}
