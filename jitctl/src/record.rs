//! What the verbs of the audit record do: show, search, follow and export it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::Record;
use jit_proto::audit::render::{Origin, cef, csv, ecs, ocsf};
use jit_proto::bus::names::error;
use jit_proto::bus::view::RecordView;
use jit_proto::time::WallTime;

use crate::args::{ExportArgs, ExportFormat, FollowArgs, SearchArgs};
use crate::call::{Daemon, MAX_RECORDS};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::wait::{Absence, Watch};
use crate::{absent, clock, json, render};

/// How many records `audit show` shows if nothing else is said.
const RECORDS_SHOWN: u64 = 20;

/// `audit show`.
pub(crate) async fn show(last: Option<u64>, from: Option<u64>, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let (mut next, most) = match (from, last) {
        (Some(from), most) => (from, most),
        (None, last) => {
            let last = last.unwrap_or(RECORDS_SHOWN);
            if last <= MAX_RECORDS {
                let records = daemon.read(0, last).await?;
                if records.is_empty() {
                    output.talk("there is no audit record yet");
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
        output.talk(&format!("there is no audit record from {next} on"));
    }
    Ok(())
}

/// `audit search`: all that matches, or the last ones of it; the newest comes last.
pub(crate) async fn search(args: SearchArgs, output: &Output) -> Result<(), Failure> {
    absent::check_bounds(args.since, args.until, clock::now(), output)?;
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

/// Says if what is asked for begins before the record does, because old records were removed.
async fn tell_beginning(
    daemon: &Daemon,
    from: u64,
    since: Option<WallTime>,
    output: &Output,
) -> Result<(), Failure> {
    let Some(first) = daemon.read(1, 1).await?.into_iter().next() else { return Ok(()) };
    let written_at = serde_json::from_str::<Record>(&first.line).ok();
    let written_at = written_at.and_then(|record| WallTime::from_rfc3339(&record.time));
    let later = since.zip(written_at).is_some_and(|(since, first)| since >= first);
    if first.seq > from.max(1) && !later {
        let since = written_at.map(|at| format!(" of {}", at.to_local())).unwrap_or_default();
        output.talk(&format!(
            "the record begins with {}{since}: earlier ones were removed (jitctl audit verify says by what)",
            first.seq
        ));
    }
    Ok(())
}

/// The last records that match, oldest first.
async fn last_of(daemon: &Daemon, mut filter: Filter, limit: u64) -> Result<Vec<RecordView>, Failure> {
    let mut found: Vec<RecordView> = Vec::new();
    while (found.len() as u64) < limit {
        let wanted = (limit - found.len() as u64).min(MAX_RECORDS);
        let mut page = daemon.search(&filter, 0, wanted).await?;
        let Some(first) = page.first().map(|record| record.seq) else { break };
        // Records whose numbers do not lead on would make this loop run for ever.
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

/// Everything that matches, page by page.
pub(crate) struct Pages<'a> {
    daemon: &'a Daemon,
    filter: Filter,
    next: u64,
}

impl<'a> Pages<'a> {
    /// From this record on.
    pub(crate) fn of(daemon: &'a Daemon, filter: Filter, from: u64) -> Self {
        Self { daemon, filter, next: from.max(1) }
    }

    /// The next page; none after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<RecordView>>, Failure> {
        let everything = self.filter == Filter::default();
        let page = if everything {
            self.daemon.read(self.next, MAX_RECORDS).await?
        } else {
            self.daemon.search(&self.filter, self.next, MAX_RECORDS).await?
        };
        let Some(end) = end_of(&page, self.next) else { return Ok(None) };
        self.next = end.saturating_add(1);
        Ok(Some(page))
    }

    /// All pages at once.
    pub(crate) async fn all(mut self) -> Result<Vec<RecordView>, Failure> {
        let mut records = Vec::new();
        while let Some(mut page) = self.next().await? {
            records.append(&mut page);
        }
        Ok(records)
    }
}

/// The number of the last record. One that does not lead on would make a loop over pages run for ever.
fn end_of(page: &[RecordView], from: u64) -> Option<u64> {
    page.last().map(|record| record.seq).filter(|end| *end >= from)
}

/// `audit follow`: prints records as they are written, over restarts of the daemon, until somebody ends it.
pub(crate) async fn follow(args: FollowArgs, output: &Output) -> Result<Exit, Failure> {
    let daemon = Daemon::reach_on_the_bus().await?;
    // Listening first: what is written from here on is either read now or announced.
    let watch = Watch::for_records(&daemon).await?;
    let filter = args.which.filter();
    // Somebody may be waited for; but a slip is told before the waiting begins.
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
                    // What it has after a restart may be another record, put back from a copy.
                    match head_of(&daemon).await {
                        Ok(head) if head.saturating_add(1) < next => {
                            let message = format!(
                                "the record ends before {next} now: it is not the one that was followed"
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

/// `audit export`: the record in a format of others, to a file or to stdout.
pub(crate) async fn export(args: ExportArgs, output: &Output) -> Result<Exit, Failure> {
    absent::check_bounds(args.since, args.until, clock::now(), output)?;
    let daemon = Daemon::reach_for_search().await?;
    let host = daemon.host().await?;
    let bounded = args.since.is_some() || args.until.is_some();
    // An export is whole, whatever somebody did to the index.
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
                        "record {} cannot be read and is left out; jsonl has it as it is",
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
        output.talk(&format!("{count} records are in {}", path.display()));
    } else if count == 0 && unreadable == 0 {
        output.talk("no audit record is in what was asked for");
    }
    Ok(if unreadable > 0 { Exit::ChainBroken } else { Exit::Done })
}

/// One record with the end of its line; none where it is no record and the format has no place for that.
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

/// Where something long goes.
pub(crate) enum Target<'a> {
    /// To stdout.
    Stdout(&'a Output),
    /// Into a file.
    File(PathBuf, BufWriter<File>),
}

impl<'a> Target<'a> {
    /// A file that only its owner reads, written anew; stdout if none is named.
    pub(crate) fn of(path: Option<&Path>, output: &'a Output) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout(output)) };
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = opened.map_err(|why| unwritable(path, &why))?;
        Ok(Self::File(path.to_owned(), BufWriter::new(file)))
    }

    /// Writes text as it is.
    pub(crate) fn put(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout(output) => output.raw(text),
            Self::File(path, file) => file.write_all(text.as_bytes()).map_err(|why| unwritable(path, &why)),
        }
    }

    /// Makes sure that all of it is written.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::File(path, mut file) => file.flush().map_err(|why| unwritable(&path, &why)),
        }
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout(output) if output.is_terminal())
    }
}

fn unwritable(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, &format!("{} cannot be written: {why}", path.display()))
}

fn print(records: &[RecordView], output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        records.iter().try_for_each(|record| output.record(record))
    } else {
        output.text(&records.iter().map(render::record).collect::<String>())
    }
}
