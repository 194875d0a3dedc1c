//! `extend`: requests an extension, or extends a window as an operator.

use std::time::Duration;

use clap::Args;
use jit_proto::bus::dict::Dict;
use jit_proto::identity::{Reason, Ticket};
use jit_proto::time::parse_span;
use serde_json::json;

use crate::client::{Daemon, span, value};
use crate::failure::Failure;
use crate::output::Output;
use crate::render;
use crate::values::{number, text};

/// Options of `extend`.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    /// The grant's number
    #[arg(value_parser = number())]
    id: u64,
    /// Duration of the extension; the role's default if omitted
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    duration: Option<Duration>,
    /// The reason; approvers decide on it
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    reason: Reason,
    /// The ticket it belongs to; the grant's own if omitted
    #[arg(long, value_parser = text::<Ticket>)]
    ticket: Option<Ticket>,
}

impl Daemon {
    /// Requests an extension, or extends a window as an operator; returns the number of the request or of the grant.
    async fn extend(
        &self,
        grant: u64,
        duration: Option<Duration>,
        reason: &str,
        ticket: Option<&str>,
    ) -> Result<u64, Failure> {
        let mut options = Dict::new();
        if let Some(ticket) = ticket {
            options.insert("ticket".to_owned(), value(ticket)?);
        }
        self.manage("Extend", &(grant, span(duration), reason, options)).await
    }
}

/// `extend`.
pub(super) async fn extend(args: ExtendArgs, output: &Output) -> Result<(), Failure> {
    let ExtendArgs { id: grant, duration, reason, ticket } = args;
    let ticket = ticket.as_ref().map(Ticket::as_str);
    let daemon = Daemon::reach().await?;
    let id = daemon.extend(grant, duration, reason.as_str(), ticket).await?;
    let shown = daemon.show(id).await.ok();
    match shown.map(|shown| (shown.request, shown.grant)) {
        Some((Some(request), _)) if id != grant => {
            output.view(&request, |request| format!("{}\n", render::request::line(request)))
        }
        Some((_, Some(grant))) if id == grant.id => output.view(&grant, render::grant::granted),
        // The extension is requested or done; that it cannot be shown changes nothing.
        _ => output.view(&json!({ "id": id }), |_| format!("grant {grant}: number {id}\n")),
    }
}
