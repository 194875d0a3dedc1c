//! Computes the report from the records of a period and from those before it that explain its windows.

use std::collections::BTreeMap;

use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::bus::view::{RecordView, VerifyView};

use super::gather::Gathered;
use super::model::{About, Report, Span, Window, note};
use super::standing::Standing;
use super::{attention, controls, gaps};

/// Everything in the report, from the records of a period and from earlier ones that explain its windows.
pub(super) fn compute(
    about: About,
    bounds: (u64, u64),
    before: &[RecordView],
    records: &[RecordView],
    chain: VerifyView,
    standing: Standing,
) -> Report {
    let mut gathered = Gathered::default();
    let mut stacks = Vec::new();
    for record in before.iter().filter_map(parse) {
        // Runs before the period are not part of it.
        if matches!(record.event.name().split('.').next(), Some("grant" | "request")) {
            gathered.take(&record);
        }
        stacks.extend(Some(record).filter(|record| gaps::is_about(record.event)));
    }
    // Records from here on count.
    gathered.requests.clear();
    gathered.left_behind.clear();
    let mut span = Span {
        count: records.len() as u64,
        first: records.first().map_or(0, |record| record.seq),
        last: records.last().map_or(0, |record| record.seq),
        unreadable: 0,
    };
    let mut figures: BTreeMap<&'static str, u64> =
        AuditEvent::ALL.iter().map(|event| (event.name(), 0)).collect();
    for stored in records {
        match parse(stored) {
            Some(record) => {
                *figures.entry(record.event.name()).or_default() += 1;
                gathered.take(&record);
                stacks.extend(Some(record).filter(|record| gaps::is_about(record.event)));
            }
            None => span.unreadable += 1,
        }
    }
    let windows: BTreeMap<u64, Window> = gathered
        .windows
        .into_iter()
        .filter(|(_, window)| window.ended_us.is_none_or(|ended| ended >= bounds.0))
        .collect();
    let requests =
        gathered.requests.into_values().filter(|asked| !windows.contains_key(&asked.request)).collect();
    let gaps = gaps::gaps(stacks.iter()).into_iter().filter(|gap| !gap.ends_before(span.first));
    let gaps: Vec<String> = gaps.map(|gap| gap.sentence()).collect();
    let mut report = Report {
        about,
        records: span,
        chain,
        figures,
        attention: Vec::new(),
        windows: windows.into_values().collect(),
        requests,
        denials: gathered.denials,
        refused_commands: gathered.refused,
        left_behind: gathered.left_behind,
        changes: gathered.changes,
        standing,
        controls: Vec::new(),
        bounds,
        moments: gathered.moments,
    };
    report.attention = attention::notes(&report);
    report.attention.extend(gaps.into_iter().map(|gap| note("changes", gap)));
    report.controls = controls::of(&report);
    report
}

/// A stored record; `None` where it cannot be parsed.
pub(super) fn parse(stored: &RecordView) -> Option<Record> {
    serde_json::from_str(&stored.line).ok()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{a_report, stored};
    use super::*;
    use crate::report::model::{command, removed};
    use jit_proto::audit::record::Facts;

    #[test]
    fn who_had_what_and_why_and_how_it_ended() {
        let report = a_report("dave");
        assert_eq!(report.windows.len(), 2, "{:#?}", report.windows);
        let window = &report.windows[0];
        assert_eq!((window.grant, window.user.as_str(), window.role.as_str()), (7, "dave", "ops"));
        assert_eq!((window.approvers.as_slice(), window.approvals.len()), (["bob".to_owned()].as_slice(), 1));
        assert_eq!(window.approvals[0].comment, "restart only");
        assert_eq!(window.ended.as_ref().map(|ended| ended.how), Some("expired"));
        assert_eq!(window.runs.len(), 1);
        let run = &window.runs[0];
        assert_eq!((run.run_as.as_str(), run.killed, run.left), ("root", Some(3), Some(0)));
        assert_eq!(run.ended_by.as_deref(), Some("expired"));
        assert_eq!(command(&run.argv), "sudo systemctl restart nginx");
        assert_eq!(report.windows[1].given_by.as_deref(), Some("oscar"));
        assert_eq!(report.requests.len(), 1);
        assert_eq!(
            (report.requests[0].state, report.requests[0].why.as_deref()),
            ("denied", Some("not today"))
        );
        assert_eq!(report.denials.len(), 1);
        assert_eq!(report.figure(AuditEvent::AccessAllowed), 1);
        assert_eq!(report.figures.values().sum::<u64>(), report.records.count);
        assert_eq!(report.killed(), 3);
        assert!(
            report.attention.iter().any(|note| note.contains("oscar without a request")),
            "{:?}",
            report.attention
        );
    }

    #[test]
    fn a_window_from_before_the_period_is_there_and_not_counted() {
        let about = a_report("x").about;
        let grant = |event, at| {
            let facts = Facts {
                user: Some("alice".into()),
                role: Some("ops".into()),
                grant: Some(3),
                ..Facts::default()
            };
            stored(1, at, event, facts)
        };
        let before = [grant(AuditEvent::GrantStarted, 100)];
        let ended =
            Facts { session: Some(9), ended_by: Some("exited".into()), grant: Some(3), ..Facts::default() };
        let inside = [stored(2, 2_000_000, AuditEvent::SessionEnded, ended)];
        let whole = a_report("x").chain;
        let report = compute(
            about.clone(),
            (1_000_000, 3_000_000),
            &before,
            &inside,
            whole.clone(),
            Standing::default(),
        );
        assert_eq!(report.windows.len(), 1);
        assert_eq!(report.windows[0].user, "alice");
        assert_eq!(report.windows[0].runs[0].ended_by.as_deref(), Some("exited"));
        assert_eq!(report.figure(AuditEvent::GrantStarted), 0);
        // Closed before the period began: not part of it.
        let before = [grant(AuditEvent::GrantStarted, 100), grant(AuditEvent::GrantExpired, 200)];
        let report = compute(about, (1_000_000, 3_000_000), &before, &[], whole, Standing::default());
        assert!(report.windows.is_empty());
    }

    #[test]
    fn a_period_that_begins_before_the_record_does_is_told() {
        let sample = a_report("x");
        let chain =
            VerifyView { first: 12, records: 40, pruned_by_record: 30, pruned_to: 11, ..sample.chain };
        let about = |seq| [stored(seq, 5, AuditEvent::DaemonStarted, Facts::default())];
        let report =
            |seq| compute(sample.about.clone(), (0, 9), &[], &about(seq), chain.clone(), Standing::default());
        let notes = report(12).attention;
        assert!(notes[0].contains("begins with record 12") && notes[0].contains("record 30"), "{notes:?}");
        assert!(!report(13).attention.iter().any(|note| note.contains("begins with")));
        assert_eq!(removed(&chain), "; records 1 to 11 were removed earlier, as record 30 says");
    }

    #[test]
    fn what_is_missing_beside_a_whole_chain_is_told() {
        let sample = a_report("x");
        let chain = VerifyView { problems: vec!["record 9 is gone".into()], ..sample.chain };
        let report = compute(sample.about, (0, 1), &[], &[], chain, Standing::default());
        assert_eq!(&*report.attention[0], "This is not the whole audit log: record 9 is gone.");
    }

    #[test]
    fn a_broken_record_is_the_first_thing_to_look_at() {
        let sample = a_report("x");
        let chain = VerifyView {
            whole: false,
            bad_seq: 4,
            problem: "its content does not match its hash".into(),
            ..sample.chain
        };
        let broken = RecordView { seq: 4, hash: String::new(), seal: String::new(), line: "{".into() };
        let report = compute(sample.about, (0, 1), &[], &[broken], chain, Standing::default());
        assert!(report.attention[0].contains("record 4 its content"), "{:?}", report.attention);
        assert_eq!(report.records.unreadable, 1);
    }
}
