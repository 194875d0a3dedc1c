//! Requests: made, decided, looked at.

mod submit;

mod approve;

mod show;

use clap::Subcommand;
use jit_proto::bus::dict::Dict;
use jit_proto::identity::Reason;
use serde_json::json;

use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::values::{number, text};

#[cfg(test)]
pub(crate) use self::{
    approve::approved,
    show::shown,
    submit::{request_approved, request_refused},
};

/// What can be done with a request.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Ask for a role
    Request(submit::RequestArgs),
    /// Take back a request of your own that is still pending
    Cancel {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
    },
    /// List the pending requests you made or may decide on
    Pending,
    /// Show a request and the grant that came of it
    Show(show::ShowArgs),
    /// Say yes to a request. On a terminal it is shown first, and asked whether it is the one
    Approve(approve::ApproveArgs),
    /// Say no to a request
    Deny {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
        /// Why; the requester reads it
        #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
        reason: Reason,
    },
}

impl Daemon {
    async fn cancel(&self, id: u64) -> Result<(), Failure> {
        self.manage("Cancel", &(id, Dict::new())).await
    }

    async fn deny(&self, id: u64, reason: &str) -> Result<(), Failure> {
        self.manage("Deny", &(id, reason, Dict::new())).await
    }
}

/// Carries one of them out.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Request(args) => return submit::request(args, output).await,
        Verb::Show(args) => return show::show(args, output).await,
        Verb::Cancel { id } => {
            Daemon::reach().await?.cancel(id).await?;
            output.view(&json!({ "cancelled": id }), |_| format!("request {id} is cancelled\n"))?;
        }
        Verb::Pending => {
            let requests = Daemon::reach().await?.pending().await?;
            output.page();
            output.list(&requests, "no request is pending", render::request::pending)?;
        }
        Verb::Approve(args) => approve::approve(args, output).await?,
        Verb::Deny { id, reason } => {
            Daemon::reach().await?.deny(id, reason.as_str()).await?;
            output.view(&json!({ "denied": id }), |_| format!("request {id} is denied\n"))?;
        }
    }
    Ok(Exit::Done)
}
