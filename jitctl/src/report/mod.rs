//! The report for auditors: computed from the records of a period, then written as HTML, Markdown, CSV or JSON.
//!
//! Computing and writing are pure; `made` asks the daemon and, for root, reads the standing privileges of the host.
//! The report of observe mode, `observe`, is folded from the same records.

mod standing;

mod model;

mod gather;

mod gaps;

mod attention;

mod controls;

mod compute;

mod context;

mod progress;

mod html;

mod markdown;

mod csv;

mod observe;

#[cfg(test)]
mod samples;

#[cfg(test)]
pub(crate) use observe::{a_report as an_observe_report, text as observe_text};

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jit_proto::audit::filter::Filter;
use jit_proto::bus::view::VerifyView;
use jit_proto::time::WallTime;

use crate::audit::exit_of;
use crate::audit::pages::Pages;
use crate::client::Daemon;
use crate::clock::{self, moment};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::target::Target;
use compute::compute;
use context::context;
use model::About;
use progress::Progress;

/// All records of the period are read without the index, so that a manipulated index hides nothing from the report.
const WALK: Option<bool> = Some(true);

/// Options of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Start of the period, as for audit search; with --observe the audit log's beginning if omitted
    #[arg(long, value_name = "WHEN", value_parser = moment, required_unless_present = "observe")]
    pub(crate) since: Option<WallTime>,
    /// End of the period; now if omitted
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<WallTime>,
    /// The output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub(crate) format: ReportFormat,
    /// What enforcing would have denied while jitd observed, as text or with --json: who, what, and which roles would have
    /// covered it
    #[arg(long, conflicts_with = "format")]
    pub(crate) observe: bool,
    /// Write to this file, readable by its owner only, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One file for a browser or a printer, with charts
    Html,
    /// Comma-separated values for a spreadsheet
    Csv,
    /// One JSON document
    Json,
    /// Markdown for a wiki or a ticket
    Md,
}

/// Has the daemon verify the audit log, over a connection of its own.
async fn verify() -> Result<VerifyView, Failure> {
    Daemon::reach_for_verification().await?.verify().await
}

/// `report`.
pub(crate) async fn made(args: ReportArgs, output: &Output) -> Result<Exit, Failure> {
    crate::period::check_bounds(args.since, args.until, clock::now(), output)?;
    if args.observe {
        return observe::made(args, output).await;
    }
    let daemon = Daemon::reach_for_search().await?;
    let since = args.since.map_or(0, |since| since.0);
    let until = args.until.unwrap_or_else(clock::now).0;
    // If the report itself goes to the terminal, nothing else does.
    let shown = args.output.is_some() || !output.is_terminal();
    let last = daemon.read(0, 1).await?.last().map_or(0, |record| record.seq);
    let progress = Progress::new(last, shown.then_some(output));
    let reading = async {
        let mut records = Vec::new();
        let mut pages = Pages::of(&daemon, period(since, until), 1);
        while let Some(mut page) = pages.next().await? {
            records.append(&mut page);
            progress.read(&records);
        }
        progress.tells("reading what was recorded before the period");
        let before = context(&daemon, &records, since).await?;
        progress.tells("verifying the audit log");
        Ok::<_, Failure>((records, before))
    };
    // Both read the whole audit log, and a processor each is enough for them.
    let (read, verified) = tokio::join!(reading, verify());
    let (records, before) = read?;
    let mut chain = verified?;
    // What was written meanwhile is in the report and was not verified: verified again, nothing of the report is not.
    if chain.bad_seq == 0 && records.last().is_some_and(|record| record.seq > chain.records) {
        chain = verify().await?;
    }
    let about = About {
        host: daemon.host().await?,
        version: env!("CARGO_PKG_VERSION"),
        made_at: clock::now().to_local_rfc3339(),
        since: WallTime(since).to_local_rfc3339(),
        until: WallTime(until).to_local_rfc3339(),
    };
    let report = compute(about, (since, until), &before, &records, chain, standing::found());
    progress.tells("writing the report");
    let format = if output.is_json() { ReportFormat::Json } else { args.format };
    let text = match format {
        ReportFormat::Html => html::page(&report),
        ReportFormat::Md => markdown::page(&report),
        ReportFormat::Csv => csv::rows(&report),
        ReportFormat::Json => {
            let written = crate::json::document(&report);
            written.map_err(|why| Failure::strange_answer("the report", &why))? + "\n"
        }
    };
    drop(progress);
    let mut to = Target::of(args.output.as_deref(), output)?;
    to.put(&text)?;
    to.finish()?;
    if let Some(path) = &args.output {
        output.talk(&format!("the report was written to {}", path.display()));
    }
    Ok(exit_of(&report.chain))
}

fn period(since: u64, until: u64) -> Filter {
    Filter { since: Some(since), until: Some(until), walk: WALK, ..Filter::default() }
}
