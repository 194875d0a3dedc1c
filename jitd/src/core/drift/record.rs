//! Writes findings of the drift scan as records: ordered, in as many records as they need.

use crate::core::drift::finding::{Changes, Line};
use crate::core::effect::{Changed, DriftUpdate, Effect};
use crate::core::ledger::Held;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};

/// Records changes that were made while these grants had sessions open, under each grant.
pub(in crate::core) fn left_behind(turn: &mut Turn<'_>, held: &[Held], found: &Changes) {
    let mut names: Vec<&str> = held.iter().map(|held| held.holder.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let when = format!("{}, while or shortly after {} held root", found.interval(), listed(&names));
    for held in held {
        let whose = Facts {
            user: Some(held.holder.name.clone()),
            uid: Some(held.holder.uid.0),
            role: Some(held.role.to_string()),
            grant: Some(held.grant.0),
            ..Facts::default()
        };
        note(turn, AuditEvent::GrantLeftBehind, &whose, found, &when);
        turn.then(Effect::Notify(Changed::LeftBehind(held.grant)));
    }
    turn.then(Effect::Drift(DriftUpdate::Recorded));
}

/// Records changes that were made while nobody had a session.
pub(in crate::core) fn host_changed(turn: &mut Turn<'_>, last: &[Held], found: &Changes) {
    let last: Vec<String> =
        last.iter().map(|held| format!("{} ({}, {})", held.grant.0, held.holder.name, held.role)).collect();
    let last: Vec<&str> = last.iter().map(String::as_str).collect();
    let before = match last.as_slice() {
        [] => "no grant had a session before it since the daemon began to scan".to_owned(),
        last => format!("the last grants with sessions before it: {}", listed(last)),
    };
    let when = format!("{}, while no grant had a session; {before}", found.interval());
    note(turn, AuditEvent::HostChanged, &Facts::default(), found, &when);
    turn.then(Effect::Drift(DriftUpdate::Recorded));
}

fn note(turn: &mut Turn<'_>, event: AuditEvent, whose: &Facts, found: &Changes, when: &str) {
    let parts = parts(&found.lines);
    let count = parts.len();
    let Some(first) = found.lines.first() else { return };
    for (n, part) in parts.into_iter().enumerate() {
        let worst = part.iter().map(|line| line.kind).min().unwrap_or_default();
        let text = part.first().map_or(first.text.as_str(), |line| line.text.as_str());
        let more = match (n, found.count.saturating_sub(1)) {
            (0, 0) => String::new(),
            (0, more) if found.lines.len() == 1 => format!("; {} findings in all", more + 1),
            (0, more) => format!("; and {more} more"),
            _ => format!("; part {} of {count}", n + 1),
        };
        let facts = Facts {
            left_behind: Some(part.iter().map(|line| line.text.clone()).collect()),
            finding: Some(worst.name().to_owned()),
            part: (count > 1).then_some(n as u64 + 1),
            detail: Some(format!("{}{more}; {when}", cut(text))),
            ..whose.clone()
        };
        turn.note(event, facts);
    }
}

fn listed(names: &[&str]) -> String {
    const MAX_NAMES: usize = 8;
    let shown = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A finding, cut to the length that a sentence has room for.
fn cut(text: &str) -> String {
    const MAX_CHARACTERS: usize = 300;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Splits lines into as few records as fit their syslog messages, so that the copies off the host are complete.
fn parts(lines: &[Line]) -> Vec<&[Line]> {
    const MAX_BYTES: usize = 900;
    let mut parts = Vec::new();
    let mut rest = lines;
    while let [first, tail @ ..] = rest {
        let room = MAX_BYTES.saturating_sub(first.text.len());
        let fit = tail.iter().scan(room, |room, line| {
            *room = room.checked_sub(line.text.len() + 2)?;
            Some(())
        });
        let (part, after) = rest.split_at(1 + fit.count());
        parts.push(part);
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::drift::kind::Kind;
    use jit_proto::time::WallTime;
    use proptest::prelude::*;

    #[test]
    fn the_interval_is_told_and_nobody_is_accused() {
        let at = |text: &str| WallTime::from_rfc3339(text).unwrap();
        let found = Changes {
            lines: vec![Line { kind: Kind::Sudoers, text: "added /etc/sudoers.d/x".into() }],
            count: 1,
            since: Some(at("2026-11-28T08:48:26.1Z")),
            until: at("2026-11-28T08:49:00.9Z"),
        };
        assert_eq!(found.interval(), "changed between 2026-11-28 08:48:26 and 08:49:00 UTC");
        let since = Some(at("2026-11-27T08:48:26Z"));
        let found = Changes { since, ..found };
        assert_eq!(found.interval(), "changed between 2026-11-27 08:48:26 and 2026-11-28 08:49:00 UTC");
    }

    proptest! {
        #[test]
        fn parts_are_all_the_lines_and_no_larger_than_they_have_to_be(
            lines in prop::collection::vec("[a-z]{0,500}|[a-z]{2000}", 0..40),
        ) {
            let lines: Vec<Line> =
                lines.into_iter().map(|text| Line { kind: Kind::Other, text }).collect();
            let parts = parts(&lines);
            prop_assert_eq!(&parts.concat(), &lines);
            for part in parts {
                prop_assert!(!part.is_empty());
                let bytes: usize = part.iter().map(|line| line.text.len() + 2).sum();
                prop_assert!(part.len() == 1 || bytes <= 902);
            }
        }
    }
}
