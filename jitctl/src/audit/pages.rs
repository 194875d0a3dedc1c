//! Reads the audit log a page at a time, and reports where it begins.

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::Record;
use jit_proto::bus::view::RecordView;
use jit_proto::time::WallTime;

use crate::client::{Daemon, MAX_RECORDS};
use crate::failure::Failure;
use crate::output::Output;

/// All matching records, page by page.
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

/// The number of the last record. An answer that does not advance would make a loop over pages endless.
pub(crate) fn end_of(page: &[RecordView], from: u64) -> Option<u64> {
    page.last().map(|record| record.seq).filter(|end| *end >= from)
}

/// Reports that the requested range begins before the first record that is kept.
pub(crate) async fn tell_beginning(
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
            "the audit log begins with record {}{since}: earlier records were removed (jitctl audit verify names the record that says so)",
            first.seq
        ));
    }
    Ok(())
}
