//! The audit log: shown, searched, followed, exported, forwarded, sealed, verified and acknowledged.

mod filter;

mod line;

pub(crate) mod pages;

mod absent;

mod show;

mod search;

mod follow;

mod export;

pub(crate) mod seal;

mod acknowledge;

mod forward;

mod verify;

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::output::Output;

#[cfg(test)]
pub(crate) use line::record as record_line;
pub(crate) use verify::text::exit_of;
#[cfg(test)]
pub(crate) use verify::text::verified;

/// The commands about the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show records: by default the last 20
    Show(show::ShowArgs),
    /// Verify that no record was changed, moved or removed: in the store, in an export, in a collector's copy
    Verify(verify::VerifyArgs),
    /// Seal the audit log from now on, and print the first key, once
    Seal(seal::SealArgs),
    /// Acknowledge an open problem of the audit log, with a reason (operators and root)
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// Search for the records that match all given options; the newest comes last
    Search(Box<search::SearchArgs>),
    /// Print records as they are written, also across restarts of jitd
    Follow(Box<follow::FollowArgs>),
    /// Export the audit log for another tool
    Export(export::ExportArgs),
    /// Have rsyslog write each record as one line of RFC 5424, and send it to collectors (root)
    Forward(forward::ForwardArgs),
}

/// Executes one of them.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Show(args) => show::show(args, output).await?,
        Verb::Verify(args) => return verify::verify(args, output).await,
        Verb::Seal(args) => seal::begin(args, output).await?,
        Verb::Acknowledge(args) => acknowledge::acknowledge(args, output).await?,
        Verb::Search(args) => search::search(*args, output).await?,
        Verb::Follow(args) => return follow::follow(*args, output).await,
        Verb::Export(args) => return export::export(args, output).await,
        Verb::Forward(args) => return forward::forward(args, output).await,
    }
    Ok(Exit::Done)
}
