//! `audit search`: records that match, the newest last.

use clap::Args;
use jit_proto::audit::filter::Filter;
use jit_proto::bus::view::RecordView;
use jit_proto::time::WallTime;

use super::absent;
use super::filter::RecordFilter;
use super::pages::{Pages, tell_beginning};
use super::show::print;
use crate::client::{Daemon, MAX_RECORDS};
use crate::clock::{self, moment};
use crate::failure::Failure;
use crate::output::Output;
use crate::period;
use crate::values::number;

/// Words of `audit search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) which: RecordFilter,
    /// Records of this host; a host keeps its own only
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// From this moment on: RFC 3339, 2026-11-25, "2026-11-25 14:30", today, yesterday, "2h ago"
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) since: Option<WallTime>,
    /// Before this moment; a date stands for the beginning of that day
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) until: Option<WallTime>,
    /// At most this many: the last ones
    #[arg(long, value_name = "N", value_parser = number())]
    pub(crate) limit: Option<u64>,
    /// Print how many records match instead of the records
    #[arg(long)]
    pub(crate) count: bool,
}

impl SearchArgs {
    /// The filter.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            host: self.host.clone(),
            since: self.since.map(|at| at.0),
            until: self.until.map(|at| at.0),
            ..self.which.filter()
        }
    }
}

/// `audit search`: all matching records, or the last ones; the newest comes last.
pub(crate) async fn search(args: SearchArgs, output: &Output) -> Result<(), Failure> {
    output.page();
    period::check_bounds(args.since, args.until, clock::now(), output)?;
    let daemon = Daemon::reach_for_search().await?;
    let filter = args.filter();
    absent::check_host(&daemon, &filter).await?;
    let named = filter.clone();
    tell_beginning(&daemon, 1, args.since, output).await?;
    let mut count = 0;
    if let Some(limit) = args.limit {
        let records = last_of(&daemon, filter, limit).await?;
        count = records.len() as u64;
        if !args.count {
            print(&records, output)?;
        }
    } else {
        let mut pages = Pages::of(&daemon, filter, 1);
        while let Some(records) = pages.next().await? {
            count += records.len() as u64;
            if !args.count {
                print(&records, output)?;
            }
            if output.is_reader_gone() {
                break;
            }
        }
    }
    if args.count {
        output.view(&serde_json::json!({ "count": count }), |_| format!("{count}\n"))?;
    }
    if count == 0 {
        absent::check_names(&daemon, &named, true, output).await?;
        if !args.count {
            output.talk("no audit record matches");
        }
    }
    Ok(())
}

/// The last matching records, oldest first.
async fn last_of(daemon: &Daemon, mut filter: Filter, limit: u64) -> Result<Vec<RecordView>, Failure> {
    let mut found: Vec<RecordView> = Vec::new();
    while (found.len() as u64) < limit {
        let wanted = (limit - found.len() as u64).min(MAX_RECORDS);
        let mut page = daemon.search(&filter, 0, wanted).await?;
        let Some(first) = page.first().map(|record| record.seq) else { break };
        // Record numbers that do not advance would make this loop endless.
        if filter.before.is_some_and(|before| first >= before) {
            break;
        }
        filter.before = Some(first);
        let is_last = (page.len() as u64) < wanted;
        page.append(&mut found);
        found = page;
        if is_last {
            break;
        }
    }
    Ok(found)
}
