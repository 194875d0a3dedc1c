//! Grants: granted, released, extended, revoked, listed.

mod give;

mod release;

mod extend;

mod revoke;

use clap::Subcommand;

use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::values::{TableArgs, number};

/// The commands about grants.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Give a person a role without a request (operators and root)
    Grant(give::GrantArgs),
    /// Hand a grant back before its end; jitd terminates what runs under it
    Release {
        /// The grant's number; may be omitted if you hold only one
        #[arg(value_parser = number())]
        id: Option<u64>,
    },
    /// Request an extension of a grant you hold (operators: extend it)
    Extend(extend::ExtendArgs),
    /// Revoke a grant; jitd terminates what runs under it
    Revoke(revoke::RevokeArgs),
    /// List live grants: your own, or all that you may see
    Grants(TableArgs),
}

/// Executes one of them.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Grant(args) => give::grant(args, output).await?,
        Verb::Release { id } => release::release(id, output).await?,
        Verb::Extend(args) => extend::extend(args, output).await?,
        Verb::Revoke(args) => revoke::revoke(args, output).await?,
        Verb::Grants(args) => {
            let grants = Daemon::reach().await?.grants().await?;
            output.page();
            output.list(&grants, "no grant is live", |grants| {
                render::grant::table(grants, &output.sheet(args.full))
            })?;
        }
    }
    Ok(Exit::Done)
}
