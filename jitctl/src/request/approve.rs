//! `approve`: shows the request, and on a terminal asks for confirmation.

use std::time::Duration;

use clap::Args;
use jit_proto::bus::dict::Dict;
use jit_proto::bus::names::error;
use jit_proto::bus::view::RequestView;
use jit_proto::escape::Escaped;
use jit_proto::identity::Reason;
use jit_proto::time::{format_duration, micros, parse_span};

use crate::ask;
use crate::client::{Daemon, value, view};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render::request::{pending, standing, window};
use crate::render::{detail, or_dash};
use crate::values::{number, text};

/// Options of `approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The request's number
    #[arg(value_parser = number())]
    id: u64,
    /// Grant it for less time than was requested
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    duration: Option<Duration>,
    /// A comment to record with the approval
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    comment: Option<Reason>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Daemon {
    async fn approve(
        &self,
        id: u64,
        duration: Option<Duration>,
        comment: Option<&str>,
    ) -> Result<RequestView, Failure> {
        let mut options = Dict::new();
        if let Some(duration) = duration {
            options.insert("duration".to_owned(), value(micros(duration))?);
        }
        if let Some(comment) = comment {
            options.insert("comment".to_owned(), value(comment)?);
        }
        view("Approve", self.manage("Approve", &(id, options)).await?)
    }
}

/// Shows the request, and on a terminal asks for confirmation, since a number is easily mistyped.
pub(super) async fn approve(args: ApproveArgs, output: &Output) -> Result<(), Failure> {
    let ApproveArgs { id, duration, comment, yes } = args;
    let daemon = Daemon::reach().await?;
    if !yes && ask::somebody(output) {
        // A request that cannot be shown is refused by the approval itself.
        let shown = daemon.show(id).await.ok().and_then(|shown| shown.request);
        if let Some(request) = shown.filter(|request| request.state == "pending" && request.may_approve) {
            output.talk(pending(&[RequestView { may_approve: false, ..request }]).trim_end());
            let instead =
                duration.map(|span| format!(" for {} only", format_duration(span))).unwrap_or_default();
            if !ask::yes(&format!("Approve this request{instead}?"), output)? {
                let message = format!("request {id} is not approved: you did not confirm");
                return Err(Failure::new(Exit::Failed, error::FAILED, &message));
            }
        }
    }
    let request = daemon.approve(id, duration, comment.as_ref().map(Reason::as_str)).await?;
    output.view(&request, approved)
}

/// The result of an approval.
pub(crate) fn approved(request: &RequestView) -> String {
    let RequestView { id, role, user, uid, .. } = request;
    if request.state == "pending" {
        let (given, needed) = (request.approvals.len(), request.approvals_needed);
        return format!("request {id}: {given} of {needed} approvals, {}\n", standing(request));
    }
    let (role, user, window) = (Escaped(role), Escaped(user), window(request));
    format!("request {id} is {}: {role} for {user} (uid {uid}) {window}\n", Escaped(&request.state))
        + &detail("reason", &or_dash(&request.reason))
        + &detail("ticket", &or_dash(&request.ticket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::a_request;

    #[test]
    fn who_approves_more_of_a_window_is_told_of_which() {
        let request = RequestView { state: "approved".into(), extends: 3, ..a_request("alice") };
        let told = approved(&request);
        let wanted = "request 7 is approved: web-admin for alice (uid 1000) for 30m more of grant 3\n";
        assert!(told.starts_with(wanted), "{told}");
        let first = approved(&RequestView { extends: 0, ..request });
        assert!(
            first.starts_with("request 7 is approved: web-admin for alice (uid 1000) for 30m\n"),
            "{first}"
        );
    }
}
