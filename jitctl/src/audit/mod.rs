//! The audit log: shown, searched, followed, exported, sealed and verified.

mod filter;

mod line;

pub(crate) mod pages;

mod absent;

mod show;

mod search;

mod follow;

mod export;

mod seal;

mod verify;

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::output::Output;

#[cfg(test)]
pub(crate) use line::record as record_line;
pub(crate) use verify::text::exit_of;
#[cfg(test)]
pub(crate) use verify::text::verified;

/// What to do with the audit record.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show records, the last 20 if nothing else is said
    Show(show::ShowArgs),
    /// Check that every record is whole and in its place: in the store, in an export, in what syslog has kept
    Verify(verify::VerifyArgs),
    /// Begin a seal over the record, and print its first key, once
    Seal(seal::SealArgs),
    /// Find records: all that match everything that is said, the newest last
    Search(Box<search::SearchArgs>),
    /// Print records as they are written, over restarts of the daemon
    Follow(Box<follow::FollowArgs>),
    /// Write the record in a format of others
    Export(export::ExportArgs),
}

/// Carries one of them out.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Show(args) => show::show(args, output).await?,
        Verb::Verify(args) => return verify::verify(args, output).await,
        Verb::Seal(args) => seal::begin(args, output).await?,
        Verb::Search(args) => search::search(*args, output).await?,
        Verb::Follow(args) => return follow::follow(*args, output).await,
        Verb::Export(args) => return export::export(args, output).await,
    }
    Ok(Exit::Done)
}
