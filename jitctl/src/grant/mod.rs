//! Grants: given, handed back, extended, revoked, listed.

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

/// What can be done with a grant.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Give somebody a role without a request (operators and root)
    Grant(give::GrantArgs),
    /// Hand a grant back before its time; what runs under it ends
    Release {
        /// The grant's number; may be left out when you hold only one
        #[arg(value_parser = number())]
        id: Option<u64>,
    },
    /// Ask for more of a window you hold (operators: give it)
    Extend(extend::ExtendArgs),
    /// Take a grant away; what runs under it ends
    Revoke(revoke::RevokeArgs),
    /// List live grants: your own, or all that you look after
    Grants(TableArgs),
}

/// Carries one of them out.
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
