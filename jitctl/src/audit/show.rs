//! `audit show`: records by their numbers.

use clap::Args;
use jit_proto::bus::view::RecordView;

use super::line;
use super::pages::{end_of, tell_beginning};
use crate::client::{Daemon, MAX_RECORDS};
use crate::failure::Failure;
use crate::output::Output;
use crate::values::number;

/// Options of `audit show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// At most this many: the last ones, or with --from the first ones from there on
    #[arg(long, value_name = "N", value_parser = number())]
    last: Option<u64>,
    /// From this record on
    #[arg(long, value_name = "SEQ", value_parser = number())]
    from: Option<u64>,
}

/// The default number of records of `audit show`.
const RECORDS_SHOWN: u64 = 20;

/// `audit show`.
pub(crate) async fn show(args: ShowArgs, output: &Output) -> Result<(), Failure> {
    let ShowArgs { last, from } = args;
    output.page();
    let daemon = Daemon::reach().await?;
    let (mut next, most) = match (from, last) {
        (Some(from), most) => (from, most),
        (None, last) => {
            let last = last.unwrap_or(RECORDS_SHOWN);
            if last <= MAX_RECORDS {
                let records = daemon.read(0, last).await?;
                if records.is_empty() {
                    output.talk("the audit log has no record yet");
                }
                return print(&records, output);
            }
            let head = daemon.read(0, 1).await?.last().map_or(0, |record| record.seq);
            (head.saturating_sub(last).saturating_add(1), Some(last))
        }
    };
    if from.is_some() {
        tell_beginning(&daemon, next, None, output).await?;
    }
    let mut left = most.unwrap_or(u64::MAX);
    let mut none = true;
    while left > 0 && !output.is_reader_gone() {
        let records = daemon.read(next, left.min(MAX_RECORDS)).await?;
        let Some(end) = end_of(&records, next) else { break };
        print(&records, output)?;
        none = false;
        left = left.saturating_sub(records.len() as u64);
        next = end.saturating_add(1);
    }
    if none {
        output.talk(&format!("the audit log has no record from {next} on"));
    }
    Ok(())
}

/// Prints records as lines of text or of JSON.
pub(super) fn print(records: &[RecordView], output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        records.iter().try_for_each(|record| output.record(record))
    } else {
        output.text(&records.iter().map(line::record).collect::<String>())
    }
}
