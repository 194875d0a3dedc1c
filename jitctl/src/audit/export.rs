//! `audit export`: the audit log in a format of another tool, to a file or to stdout.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::Record;
use jit_proto::audit::render::{Origin, cef, csv, ecs, ocsf};
use jit_proto::bus::view::RecordView;
use jit_proto::time::WallTime;

use super::pages::{Pages, tell_beginning};
use crate::client::Daemon;
use crate::clock::{self, moment};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::values::number;
use crate::{json, period};

/// Words of `audit export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The output format
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// From this record on
    #[arg(long, value_name = "SEQ", value_parser = number())]
    pub(crate) from: Option<u64>,
    /// From this moment on, as for audit search
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) since: Option<WallTime>,
    /// Before this moment
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<WallTime>,
    /// Write to this file, readable by its owner only, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One line of JSON per record, with its number and hash; audit verify reads it
    Jsonl,
    /// Comma-separated values for a spreadsheet
    Csv,
    /// Common Event Format
    Cef,
    /// Elastic Common Schema
    Ecs,
    /// Open Cybersecurity Schema Framework
    Ocsf,
}

/// `audit export`: the audit log in a format of another tool, to a file or to stdout.
pub(crate) async fn export(args: ExportArgs, output: &Output) -> Result<Exit, Failure> {
    period::check_bounds(args.since, args.until, clock::now(), output)?;
    let daemon = Daemon::reach_for_search().await?;
    let host = daemon.host().await?;
    let bounded = args.since.is_some() || args.until.is_some();
    // An export is complete, also with a manipulated index.
    let filter = Filter {
        since: args.since.map(|at| at.0),
        until: args.until.map(|at| at.0),
        walk: bounded.then_some(true),
        ..Filter::default()
    };
    tell_beginning(&daemon, args.from.unwrap_or(1), args.since, output).await?;
    let mut to = Target::of(args.output.as_deref(), output)?;
    if args.format == ExportFormat::Csv {
        to.put(&format!("{}\r\n", csv::heading()))?;
    }
    let (mut count, mut unreadable) = (0u64, 0u64);
    let mut pages = Pages::of(&daemon, filter, args.from.unwrap_or(1));
    while let Some(page) = pages.next().await? {
        let mut lines = String::new();
        for stored in &page {
            match exported(stored, args.format, &host, to.is_terminal()) {
                Some(line) => {
                    lines.push_str(&line);
                    count += 1;
                }
                None => {
                    output.talk(&format!(
                        "record {} cannot be read and is not exported; --format jsonl exports it as it is stored",
                        stored.seq
                    ));
                    unreadable += 1;
                }
            }
        }
        to.put(&lines)?;
        if output.is_reader_gone() {
            break;
        }
    }
    to.finish()?;
    if let Some(path) = &args.output {
        output.talk(&format!("exported {count} records to {}", path.display()));
    } else if count == 0 && unreadable == 0 {
        output.talk("no audit record is in the given range");
    }
    Ok(if unreadable > 0 { Exit::ChainBroken } else { Exit::Done })
}

/// A record with its line end; `None` where it is no record and the format cannot hold it.
fn exported(stored: &RecordView, format: ExportFormat, host: &str, terminal: bool) -> Option<String> {
    if format == ExportFormat::Jsonl {
        return Some(format!("{}\n", json::record(stored, terminal)));
    }
    let record: Record = serde_json::from_str(&stored.line).ok()?;
    let origin = Origin { host, hash: &stored.hash };
    Some(match format {
        ExportFormat::Cef => cef::line(&record, &origin) + "\n",
        ExportFormat::Ecs => ecs::line(&record, &origin) + "\n",
        ExportFormat::Ocsf => ocsf::line(&record, &origin) + "\n",
        ExportFormat::Csv | ExportFormat::Jsonl => csv::line(&record, &origin) + "\r\n",
    })
}
