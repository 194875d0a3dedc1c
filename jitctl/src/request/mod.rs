//! Requests: made, decided, shown.

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

/// The commands about requests.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Request a role
    Request(submit::RequestArgs),
    /// Cancel a pending request of your own
    Cancel {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
    },
    /// List the pending requests that you made or may decide on
    Pending,
    /// Show a request and the grant that it led to
    Show(show::ShowArgs),
    /// Approve a request. On a terminal, show it and ask for confirmation first
    Approve(approve::ApproveArgs),
    /// Deny a request
    Deny {
        /// The request's number
        #[arg(value_parser = number())]
        id: u64,
        /// The reason; the requester reads it
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

/// Executes one of them.
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
