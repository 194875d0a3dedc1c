//! The findings that a reader of the report should look at first. Each links to its section; many of a kind are
//! summarised.

use std::collections::BTreeMap;

use jit_proto::audit::record::AuditEvent;

use super::model::{Note, Report, counted, note};

/// Findings of one kind that are listed one by one.
const MAX_OF_A_KIND: usize = 5;
/// Refusals from which a person is listed.
const MANY_REFUSALS: u64 = 5;

/// Adds the first findings of a kind, and the number of the others.
fn some(notes: &mut Vec<Note>, mut of_a_kind: Vec<Note>, place: &str, what: &str) {
    let more = of_a_kind.len().saturating_sub(MAX_OF_A_KIND);
    of_a_kind.truncate(MAX_OF_A_KIND);
    notes.append(&mut of_a_kind);
    if more > 0 {
        notes.push(note(place, format!("{more} more {what}.")));
    }
}

/// The persons with many refusals: the most frequent one by name, the others together.
fn refusals(report: &Report) -> Vec<Note> {
    let mut denied: BTreeMap<&str, u64> = BTreeMap::new();
    for denial in &report.denials {
        *denied.entry(&denial.user).or_default() += 1;
    }
    let mut often: Vec<(&str, u64)> =
        denied.into_iter().filter(|(_, times)| *times >= MANY_REFUSALS).collect();
    often.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let (first, rest) = often.split_at(often.len().min(MAX_OF_A_KIND));
    let mut notes: Vec<Note> = first
        .iter()
        .map(|(user, times)| note("refused", format!("{user} was refused {times} times.")))
        .collect();
    if !rest.is_empty() {
        let times: u64 = rest.iter().map(|(_, times)| times).sum();
        let people = counted(rest.len() as u64, "other person", "other people");
        notes.push(note(
            "refused",
            format!("{people} were refused {MANY_REFUSALS} times or more each, {times} times in all."),
        ));
    }
    notes
}

/// The findings, most urgent first.
pub(super) fn notes(report: &Report) -> Vec<Note> {
    let mut notes = Vec::new();
    let chain = &report.chain;
    if chain.pruned_by_record > 0 && report.records.first <= chain.first {
        notes.push(note(
            "chain",
            format!(
            "The audit log begins with record {}; earlier records were removed by retention (record {}). If the period begins \
             earlier, this report does not: the archive has the rest, if one is kept.",
            chain.first, chain.pruned_by_record
        )));
    }
    notes.extend(chain.doubts.iter().map(|doubt| note("chain", format!("Doubtful: {doubt}."))));
    if !report.chain.whole {
        notes.push(note(
            "chain",
            format!(
                "The audit log is not whole: record {} {}. The report was computed from the records that are left.",
                report.chain.bad_seq, report.chain.problem
            ),
        ));
    }
    notes.extend(
        chain
            .problems
            .iter()
            .map(|problem| note("chain", format!("This is not the whole audit log: {problem}."))),
    );
    if report.records.unreadable > 0 {
        let unreadable = counted(report.records.unreadable, "record", "records");
        notes.push(note("figures", format!("{unreadable} of the period cannot be read.")));
    }
    let stuck = report.runs().filter(|(_, run)| run.stuck).map(|(window, run)| {
        let session = run.session.unwrap_or(0);
        let text = match run.ended {
            Some(_) => {
                format!("Session {session} of {} could not be ended at once; it is ended.", window.user)
            }
            None => format!("Session {session} of {} could not be ended.", window.user),
        };
        note(&format!("grant-{}", window.grant), text)
    });
    some(&mut notes, stuck.collect(), "windows", "sessions could not be ended at once");
    let left_behind = report.left_behind.iter().map(|finding| {
        note(
            "left-behind",
            format!(
                "A place where privilege is kept changed while, or shortly after, {} held root (record {}).",
                finding.user, finding.seq
            ),
        )
    });
    some(&mut notes, left_behind.collect(), "left-behind", "findings of this kind");
    let escaped: u64 = report.runs().filter_map(|(_, run)| run.escaped).sum();
    if escaped > 0 {
        notes.push(note(
            "windows",
            format!(
                "{} had left the cgroup of the session they belonged to; all were ended.",
                counted(escaped, "process", "processes")
            ),
        ));
    }
    let direct = report.direct().map(|window| {
        note(
            &format!("grant-{}", window.grant),
            format!(
                "Grant {} was given to {} by {} without a request.",
                window.grant,
                window.user,
                window.given_by.as_deref().unwrap_or_default()
            ),
        )
    });
    some(&mut notes, direct.collect(), "windows", "grants were given without a request");
    notes.extend(refusals(report));
    for (event, what) in [
        (AuditEvent::GrantRevoked, "revoked before its end"),
        (AuditEvent::GrantWithdrawn, "withdrawn because its holder or role changed"),
    ] {
        let count = report.figure(event);
        if count > 0 {
            notes.push(note("windows", format!("{} {what}.", counted(count, "grant was", "grants were"))));
        }
    }
    for event in AuditEvent::ALL {
        let (what, count) = (event.row().attention, report.figure(*event));
        if count > 0 && !what.is_empty() {
            notes.push(note("changes", format!("{what}, {}.", counted(count, "time", "times"))));
        }
    }
    let mut restarts = Vec::new();
    let mut running = true;
    for change in &report.changes {
        match change.event {
            "daemon.stopped" => running = false,
            "daemon.started" => {
                if running && change.seq > 1 {
                    restarts.push(note(
                        "changes",
                        format!(
                            "The daemon began at {} without having been stopped (record {}).",
                            change.at, change.seq
                        ),
                    ));
                }
                running = true;
            }
            _ => {}
        }
    }
    some(&mut notes, restarts, "changes", "starts of the daemon like that");
    notes
}

#[cfg(test)]
mod tests {
    use super::super::model::Denial;
    use super::super::samples::a_report;
    use super::*;

    #[test]
    fn many_refused_people_are_a_few_lines() {
        let mut report = a_report("x");
        let denial = report.denials[0].clone();
        report.denials = (0..40)
            .flat_map(|person| std::iter::repeat_n(person, 10 + person))
            .map(|person| Denial { user: format!("person{person:02}"), ..denial.clone() })
            .collect();
        let notes = refusals(&report);
        assert_eq!(notes.len(), MAX_OF_A_KIND + 1);
        assert_eq!(&*notes[0], "person39 was refused 49 times.");
        let total: usize = (0..35).map(|person| 10 + person).sum();
        assert_eq!(
            &*notes[5],
            format!("35 other people were refused 5 times or more each, {total} times in all.")
        );
        assert!(notes.iter().all(|note| note.place == "refused"));
        assert_eq!(serde_json::to_value(&notes[0]).unwrap(), "person39 was refused 49 times.");
    }
}
