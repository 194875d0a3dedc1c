//! `show`: a request and its grant.

use clap::Args;

use crate::client::{Daemon, ShowView};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::values::number;

/// Options of `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The request's or the grant's number
    #[arg(value_parser = number())]
    id: u64,
    /// Report the decision through the exit status: 0 approved, 3 denied, cancelled or expired, 6 pending
    #[arg(long)]
    exit_code: bool,
}

/// `show`.
pub(super) async fn show(args: ShowArgs, output: &Output) -> Result<Exit, Failure> {
    let found = Daemon::reach().await?.show(args.id).await?;
    output.page();
    output.view(&found, self::shown)?;
    Ok(match &found.request {
        Some(request) if args.exit_code => match request.state.as_str() {
            "approved" => Exit::Done,
            "pending" => Exit::Pending,
            _ => Exit::Refused,
        },
        _ => Exit::Done,
    })
}

/// A request, its grant, or both.
pub(crate) fn shown(shown: &ShowView) -> String {
    let request = shown.request.as_ref().map(render::request::block);
    let grant = shown.grant.as_ref().map(render::grant::block);
    request.into_iter().chain(grant).collect::<Vec<_>>().join("\n")
}
