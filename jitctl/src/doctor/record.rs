//! What doctor and the audit log tell each other: the records of its tries, and a record of what has changed since its last run.

use std::collections::BTreeSet;

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::bus::dict::Dict;
use jit_proto::bus::names::AUDIT_INTERFACE;
use jit_proto::identity::PROBE_ACCOUNT;
use jit_proto::time::WallTime;

use super::finding::Look;
use super::paths::{Path, State, denied as how_denied};
use crate::client::Daemon;
use crate::failure::Failure;

impl Daemon {
    /// Records what is open, what of that is new, and what was mended.
    async fn doctor(&self, open: &[String], opened: &[String], mended: &[String]) -> Result<(), Failure> {
        self.call(AUDIT_INTERFACE, "Doctor", &(open, opened, mended, Dict::new())).await
    }
}

/// Names the record of each denial, where jitd has it: the denial is then known from two sides. A program that does not pass
/// jitd's words on, as sudo-rs with `-n`, is known to be denied by the record alone.
pub(super) async fn name_records(paths: &mut [Path], since: WallTime) {
    let filter = Filter {
        user: Some(PROBE_ACCOUNT.to_owned()),
        event: Some(AuditEvent::AccessDenied.name().to_owned()),
        since: Some(since.0),
        ..Filter::default()
    };
    // Where jitd does not answer, that is told elsewhere.
    let Ok(daemon) = Daemon::reach_for_search().await else { return };
    let Ok(found) = daemon.search(&filter, 0, 100).await else { return };
    let denied: Vec<(u64, Vec<String>)> = found
        .iter()
        .filter_map(|view| Some((view.seq, serde_json::from_str::<Record>(&view.line).ok()?.facts.argv?)))
        .collect();
    paths.iter_mut().for_each(|path| name(path, &denied));
}

/// Names the record of a path's denial, which has the very words that were run.
fn name(path: &mut Path, denied: &[(u64, Vec<String>)]) {
    let its = denied.iter().find(|(_, argv)| !argv.is_empty() && *argv == path.argv);
    match (path.state, its) {
        (State::Closed, Some((seq, _))) => path.how.push_str(&format!(" (record {seq})")),
        (State::Unknown, Some((seq, _))) => {
            path.state = State::Closed;
            path.how = format!("{} (record {seq})", how_denied());
        }
        // What ran is open, whatever was recorded.
        (State::Open, _) | (_, None) => {}
    }
}

/// Records what has changed since the last record of this kind; nothing where nothing has.
pub(super) async fn changes(look: &Look) -> Result<(), Failure> {
    let daemon = Daemon::reach_for_search().await?;
    let filter = Filter { event: Some(AuditEvent::DoctorChanged.name().to_owned()), ..Filter::default() };
    let last = daemon.search(&filter, 0, 1).await?;
    let last = last.last().and_then(|view| serde_json::from_str::<Record>(&view.line).ok());
    let before: BTreeSet<String> =
        last.and_then(|record| record.facts.open).unwrap_or_default().into_iter().collect();
    let now: BTreeSet<String> = look.findings.iter().map(|found| found.id.clone()).collect();
    if let Some((opened, mended)) = difference(&before, &now) {
        daemon.doctor(&now.into_iter().collect::<Vec<_>>(), &opened, &mended).await?;
    }
    Ok(())
}

/// What is open and was not, and what was and is not; none where both are the same.
fn difference(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Option<(Vec<String>, Vec<String>)> {
    let opened: Vec<String> = now.difference(before).cloned().collect();
    let mended: Vec<String> = before.difference(now).cloned().collect();
    (!opened.is_empty() || !mended.is_empty()).then_some((opened, mended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_for_the_path_whose_words_it_has() {
        let path = |state: State, argv: &[&str]| Path {
            name: "sudo".into(),
            state,
            how: "tried".into(),
            service: "sudo".into(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
        };
        let denied = [(7, vec!["/usr/bin/sudo-rs".to_owned(), "-n".to_owned()])];
        for (state, argv, expected, named) in [
            (State::Unknown, &["/usr/bin/sudo-rs", "-n"][..], State::Closed, true),
            (State::Closed, &["/usr/bin/sudo-rs", "-n"][..], State::Closed, true),
            (State::Open, &["/usr/bin/sudo-rs", "-n"][..], State::Open, false),
            (State::Unknown, &["/usr/bin/sudo", "-n"][..], State::Unknown, false),
            (State::Unknown, &[][..], State::Unknown, false),
        ] {
            let mut path = path(state, argv);
            name(&mut path, &denied);
            assert_eq!((path.state, path.how.contains("(record 7)")), (expected, named), "{argv:?}");
        }
    }

    #[test]
    fn what_has_not_changed_is_not_recorded_again() {
        let set = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(difference(&set(&[]), &set(&[])), None);
        assert_eq!(difference(&set(&["a"]), &set(&["a"])), None);
        let changed = difference(&set(&["a", "b"]), &set(&["b", "c"]));
        assert_eq!(changed, Some((vec!["c".to_owned()], vec!["a".to_owned()])));
    }
}
