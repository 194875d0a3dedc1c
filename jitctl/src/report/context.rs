//! Finds the earlier records about windows that reached into the period.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::bus::view::RecordView;
use jit_proto::time::WallTime;
use serde::Deserialize;

use super::compute::parse;
use super::period;
use crate::audit::pages::Pages;
use crate::client::Daemon;
use crate::failure::Failure;

/// The maximum length of a window: one that was open when the period began started no earlier than this before it.
const MAX_WINDOW: u64 = 366 * 86_400_000_000;

/// The events before the period that say who got a window, from whom, why, and until when.
const EXPLAINING: [AuditEvent; 11] = [
    AuditEvent::RequestMade,
    AuditEvent::RequestApproved,
    AuditEvent::GrantStarted,
    AuditEvent::GrantExtended,
    AuditEvent::GrantShortened,
    AuditEvent::GrantWarned,
    AuditEvent::GrantExpired,
    AuditEvent::GrantReleased,
    AuditEvent::GrantUnused,
    AuditEvent::GrantRevoked,
    AuditEvent::GrantWithdrawn,
];
/// Events about PAM stacks that did not ask jitd; starts of the daemon show when it read them again.
const OF_STACKS: [AuditEvent; 3] =
    [AuditEvent::StackBroken, AuditEvent::StackRestored, AuditEvent::DaemonStarted];

/// The earlier records about windows that reached into the period, and about PAM stacks.
///
/// One search per event, however many windows there are: a search for a single grant walks the whole index.
pub(super) async fn context(
    daemon: &Daemon,
    records: &[RecordView],
    since: u64,
) -> Result<Vec<RecordView>, Failure> {
    // Nothing precedes record 1.
    if records.first().is_some_and(|record| record.seq == 1) {
        return Ok(Vec::new());
    }
    let wanted = wanted(daemon, records, since).await?;
    let mut before = Vec::new();
    if !wanted.is_empty() {
        for event in EXPLAINING {
            // A request can be as old as the longest window before its own window.
            let mut pages =
                Pages::of(daemon, of_event(event, since.saturating_sub(2 * MAX_WINDOW), since), 1);
            while let Some(page) = pages.next().await? {
                before.extend(page.into_iter().filter(|stored| is_about(stored, &wanted)));
            }
        }
    }
    for event in OF_STACKS {
        before.append(&mut Pages::of(daemon, of_event(event, 0, since), 1).all().await?);
    }
    before.sort_by_key(|record| record.seq);
    Ok(before)
}

/// The fields of a record that identify its grant: parsing a whole record costs several times as much.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    grant: Option<u64>,
}

/// The grants in the period's records whose beginning is missing, and those that were to end in it or later.
async fn wanted(daemon: &Daemon, records: &[RecordView], since: u64) -> Result<BTreeSet<u64>, Failure> {
    let (mut named, mut started) = (BTreeSet::new(), BTreeSet::new());
    for Named { event, grant } in records.iter().filter_map(|record| serde_json::from_str(&record.line).ok())
    {
        named.extend(grant);
        if event == AuditEvent::GrantStarted.name() {
            started.extend(grant);
        }
    }
    let filter = Filter {
        event: Some(AuditEvent::GrantStarted.name().to_owned()),
        ..period(since.saturating_sub(MAX_WINDOW), since)
    };
    let mut pages = Pages::of(daemon, filter, 1);
    while let Some(page) = pages.next().await? {
        for record in page.iter().filter_map(parse) {
            let end = record.facts.until.as_deref().and_then(WallTime::from_rfc3339);
            if end.is_none_or(|end| end.0 > since) {
                named.extend(record.facts.grant);
            }
        }
    }
    Ok(&named - &started)
}

/// Whether a record is of one of these grants, or of its request: they share one number.
fn is_about(stored: &RecordView, wanted: &BTreeSet<u64>) -> bool {
    let Some(Record { facts, .. }) = parse(stored) else { return false };
    [facts.grant, facts.request].into_iter().flatten().any(|id| wanted.contains(&id))
}

fn of_event(event: AuditEvent, since: u64, until: u64) -> Filter {
    let since = Some(since).filter(|since| *since > 0);
    Filter { event: Some(event.name().to_owned()), since, until: Some(until), ..Filter::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::record::Facts;

    #[test]
    fn a_record_is_about_a_grant_or_the_request_that_it_came_of() {
        let wanted = BTreeSet::from([7]);
        let stored = |facts| super::super::samples::stored(1, 5, AuditEvent::GrantExtended, facts);
        assert!(is_about(&stored(Facts { grant: Some(7), ..Facts::default() }), &wanted));
        // The request of an extension has a number of its own, and names the grant.
        assert!(is_about(&stored(Facts { grant: Some(7), request: Some(9), ..Facts::default() }), &wanted));
        assert!(is_about(&stored(Facts { request: Some(7), ..Facts::default() }), &wanted));
        assert!(!is_about(&stored(Facts { grant: Some(8), ..Facts::default() }), &wanted));
    }

    #[test]
    fn every_event_that_compute_takes_from_before_the_period_is_looked_for() {
        let irrelevant = [
            AuditEvent::GrantLeftBehind,
            AuditEvent::RequestDenied,
            AuditEvent::RequestCancelled,
            AuditEvent::RequestExpired,
        ];
        for event in AuditEvent::ALL {
            let is_explaining = event.name().starts_with("grant.") || event.name().starts_with("request.");
            let expected = is_explaining && !irrelevant.contains(event);
            assert_eq!(EXPLAINING.contains(event), expected, "{}", event.name());
        }
    }
}
