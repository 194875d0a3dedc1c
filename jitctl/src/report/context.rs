//! Finds what was recorded before the period about windows that reached into it.

use std::collections::BTreeSet;

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::bus::view::RecordView;
use jit_proto::time::WallTime;

use super::compute::parse;
use super::period;
use crate::audit::pages::Pages;
use crate::client::Daemon;
use crate::failure::Failure;

/// No window is longer than this, so that one that was open when the period began started no earlier.
const MAX_WINDOW: u64 = 366 * 86_400_000_000;

/// What was recorded before the period about windows that reached into it.
pub(super) async fn context(
    daemon: &Daemon,
    records: &[RecordView],
    since: u64,
) -> Result<Vec<RecordView>, Failure> {
    // Nothing is before the first record there ever was, and looking for each grant in it would take long.
    if records.first().is_some_and(|record| record.seq == 1) {
        return Ok(Vec::new());
    }
    let parsed: Vec<Record> = records.iter().filter_map(parse).collect();
    let started: BTreeSet<u64> = parsed
        .iter()
        .filter(|record| record.event == AuditEvent::GrantStarted)
        .filter_map(|r| r.facts.grant)
        .collect();
    let mut wanted: BTreeSet<u64> = parsed.iter().filter_map(|record| record.facts.grant).collect();
    let earlier = Filter {
        event: Some(AuditEvent::GrantStarted.name().to_owned()),
        ..period(since.saturating_sub(MAX_WINDOW), since)
    };
    for record in Pages::of(daemon, earlier, 1).all().await?.iter().filter_map(parse) {
        let end = record.facts.until.as_deref().and_then(WallTime::from_rfc3339);
        if end.is_none_or(|end| end.0 > since) {
            wanted.extend(record.facts.grant);
        }
    }
    let mut before = Vec::new();
    for id in wanted.difference(&started) {
        let known_before = Filter { until: Some(since), ..Filter::default() };
        for filter in [
            Filter { grant: Some(*id), ..known_before.clone() },
            Filter { request: Some(*id), grant: None, ..known_before },
        ] {
            before.append(&mut Pages::of(daemon, filter, 1).all().await?);
        }
    }
    // A stack that did not ask when the period began; the daemon's starts say when it looked anew.
    for event in [AuditEvent::StackBroken, AuditEvent::StackRestored, AuditEvent::DaemonStarted] {
        let earlier =
            Filter { event: Some(event.name().to_owned()), until: Some(since), ..Filter::default() };
        before.append(&mut Pages::of(daemon, earlier, 1).all().await?);
    }
    before.sort_by_key(|record| record.seq);
    before.dedup_by_key(|record| record.seq);
    Ok(before)
}
