//! `grant`: grants a role without a request.

use std::time::Duration;

use clap::Args;
use jit_proto::bus::dict::Dict;
use jit_proto::escape::Escaped;
use jit_proto::identity::{Reason, RoleName, Ticket};
use jit_proto::request::RequestSpec;
use jit_proto::time::parse_span;
use serde_json::json;

use crate::client::{Daemon, span, value};
use crate::failure::{Exit, Failure, tame};
use crate::nearest::near;
use crate::output::Output;
use crate::render::grant::granted;
use crate::values::{name, text};

/// Options of `grant`.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// Login name of the person
    #[arg(value_parser = name())]
    user: String,
    /// The role
    #[arg(value_parser = text::<RoleName>)]
    role: RoleName,
    /// Duration; the role's default if omitted
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    duration: Option<Duration>,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    reason: Reason,
    /// The ticket it belongs to
    #[arg(long, value_parser = text::<Ticket>)]
    ticket: Option<Ticket>,
}

impl Daemon {
    async fn grant(&self, user: &str, spec: &RequestSpec) -> Result<u64, Failure> {
        let mut options = Dict::new();
        if let Some(ticket) = &spec.ticket {
            options.insert("ticket".to_owned(), value(ticket.as_str())?);
        }
        self.manage("Grant", &(user, spec.role.as_str(), span(spec.duration), spec.reason.as_str(), options))
            .await
    }
}

/// `grant`.
pub(super) async fn grant(args: GrantArgs, output: &Output) -> Result<(), Failure> {
    let GrantArgs { user, role, duration, reason, ticket } = args;
    let spec = RequestSpec { role, duration, reason, ticket };
    let daemon = Daemon::reach().await?;
    let id = daemon.grant(&user, &spec).await.map_err(|failure| or_another_account(failure, &user))?;
    match daemon.show(id).await.map(|shown| shown.grant) {
        Ok(Some(grant)) => output.view(&grant, granted)?,
        // The grant exists; that it cannot be shown changes nothing.
        _ => output.view(&json!({ "id": id }), |_| format!("grant {id} is given\n"))?,
    }
    if jit_host::sudoers::names(&user) == Some(false) {
        let user = Escaped(&user);
        output.talk(&format!(
            "{user} is in no rule of sudoers, as far as cvtsudoers shows: sudo denies {user} even with this grant"
        ));
    }
    Ok(())
}

/// Checks a name without an account for a typing error; an unknown role gets another answer.
pub(super) fn or_another_account(mut failure: Failure, user: &str) -> Failure {
    if failure.exit == Exit::NoSuch && failure.message.contains(user) {
        failure.message.push_str(&meant_account(user));
    }
    failure
}

/// The hint after "there is no such user": the account with the most similar name.
fn meant_account(typed: &str) -> String {
    let known = jit_host::accounts::all_names();
    match near(typed, known.iter().map(String::as_str)).first() {
        Some(like) => tame(&format!("; did you mean {like}?")),
        None => String::new(),
    }
}
