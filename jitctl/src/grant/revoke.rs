//! `revoke`: revokes grants.

use clap::Args;
use jit_proto::bus::dict::Dict;
use jit_proto::identity::Reason;
use serde_json::json;

use super::give::or_another_account;
use crate::client::Daemon;
use crate::failure::Failure;
use crate::output::Output;
use crate::values::{name, number, text};

/// Options of `revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    which: GrantSelector,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    reason: Reason,
}

/// The grants to revoke: exactly one of these is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct GrantSelector {
    /// The grant's number
    #[arg(value_parser = number())]
    id: Option<u64>,
    /// Every live grant of this person
    #[arg(long, value_parser = name())]
    user: Option<String>,
    /// Every live grant on this host
    #[arg(long)]
    all: bool,
}

impl Daemon {
    async fn revoke(&self, grant: u64, reason: &str) -> Result<(), Failure> {
        self.manage("Revoke", &(grant, reason, Dict::new())).await
    }

    async fn revoke_user(&self, user: &str, reason: &str) -> Result<Vec<u64>, Failure> {
        self.manage("RevokeUser", &(user, reason, Dict::new())).await
    }

    async fn revoke_all(&self, reason: &str) -> Result<Vec<u64>, Failure> {
        self.manage("RevokeAll", &(reason, Dict::new())).await
    }
}

/// `revoke`.
pub(super) async fn revoke(args: RevokeArgs, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let reason = args.reason.as_str();
    let revoked = match (args.which.id, args.which.user) {
        (Some(id), _) => daemon.revoke(id, reason).await.map(|()| vec![id])?,
        (None, Some(user)) => {
            let revoked = daemon.revoke_user(&user, reason).await;
            revoked.map_err(|failure| or_another_account(failure, &user))?
        }
        // clap accepts exactly one of the three.
        (None, None) => daemon.revoke_all(reason).await?,
    };
    if revoked.is_empty() {
        output.talk("no live grant matched; nothing was revoked");
    }
    output.view(&json!({ "revoked": revoked }), |_| {
        revoked.iter().map(|id| format!("grant {id} is revoked\n")).collect()
    })
}
