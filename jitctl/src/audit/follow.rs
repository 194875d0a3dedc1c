//! `audit follow`: prints records as they are written, over restarts of the daemon.

use clap::Args;
use jit_proto::bus::names::error;
use jit_proto::bus::view::RecordView;

use super::absent;
use super::filter::RecordFilter;
use super::pages::{end_of, tell_beginning};
use super::show::print;
use crate::client::{Daemon, MAX_RECORDS};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::values::number;
use crate::watch::{Absence, Watch};

/// Words of `audit follow`.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    pub(crate) which: RecordFilter,
    /// Start with this record instead of the next one
    #[arg(long, value_name = "SEQ", value_parser = number())]
    pub(crate) from: Option<u64>,
}

/// `audit follow`: prints records as they are written, also across restarts of jitd, until interrupted.
pub(crate) async fn follow(args: FollowArgs, output: &Output) -> Result<Exit, Failure> {
    let daemon = Daemon::reach_on_the_bus().await?;
    // The subscription comes first: a record written from here on is either read now or signalled.
    let watch = Watch::for_records(&daemon).await?;
    let filter = args.which.filter();
    // A name may appear later; but a typing error is reported before the waiting begins.
    if let Err(failure) = absent::check_names(&daemon, &filter, false, output).await {
        output.talk(&format!("{failure} so far"));
    }
    let mut next = match args.from {
        Some(from) => from,
        None => head_of(&daemon).await?.saturating_add(1),
    };
    if let Some(from) = args.from {
        tell_beginning(&daemon, from, None, output).await?;
    }
    let mut absence = Absence::default();
    while !output.is_reader_gone() {
        match daemon.read(next, MAX_RECORDS).await {
            Ok(page) => {
                if absence.ends(output) {
                    // After a restart the head may be another record, restored from a copy.
                    match head_of(&daemon).await {
                        Ok(head) if head.saturating_add(1) < next => {
                            let message = format!(
                                "the audit log now ends before record {next}: it was replaced or rolled back; run jitctl audit verify"
                            );
                            return Err(Failure::new(Exit::ChainBroken, error::FAILED, &message));
                        }
                        Ok(_) => {}
                        Err(failure) => {
                            absence.outlast(failure, &daemon, &watch, output).await?;
                            continue;
                        }
                    }
                }
                let Some(end) = end_of(&page, next) else {
                    watch.changed().await;
                    continue;
                };
                let found: Vec<RecordView> =
                    page.into_iter().filter(|record| filter.matches(record.seq, &record.line)).collect();
                print(&found, output)?;
                next = end.saturating_add(1);
            }
            Err(failure) => absence.outlast(failure, &daemon, &watch, output).await?,
        }
    }
    Ok(Exit::Done)
}

async fn head_of(daemon: &Daemon) -> Result<u64, Failure> {
    Ok(daemon.read(0, 1).await?.last().map_or(0, |record| record.seq))
}
