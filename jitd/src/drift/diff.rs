//! The differences between two snapshots, and the next baseline.

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::escape::{Escaped, word};

use super::finding::Finding;
use super::snapshot::{Checked, Entry, EntryKind, Map, Running, Snapshot, UNIT_FOLDERS};
use super::wording::difference;
use crate::core::drift::kind::Kind;

/// The folder that a boot empties.
const GONE_WITH_THE_BOOT: &str = "/run/";

/// Adapts the snapshot of an earlier jitd to a later list of watched paths: paths that it did not read count as
/// unchanged, unless they changed after `began`, in microseconds of the wall clock.
pub(super) fn adopted(mut before: Snapshot, after: &Snapshot, began: i64) -> Snapshot {
    if before.list != after.list {
        before.list.clone_from(&after.list);
        before.places.retain(|path, _| after.places.contains_key(path));
        for (path, entry) in after.places.iter().filter(|(_, entry)| entry.changed_at < began) {
            let then = before.places.entry(path.clone()).or_insert_with(|| entry.clone());
            // The earlier jitd did not read ACLs.
            if then.acl.is_empty() {
                then.acl.clone_from(&entry.acl);
            }
        }
        for (path, entry) in after.privileged.iter().filter(|(_, entry)| entry.changed_at < began) {
            before.privileged.entry(path.clone()).or_insert_with(|| entry.clone());
        }
    }
    before
}

/// All differences, the most severe first.
pub(super) fn diff(before: &Snapshot, after: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rebooted = before.boot_id != after.boot_id;
    for path in keys(&before.places, &after.places) {
        let (then, now) = (before.places.get(path), after.places.get(path));
        let emptied = rebooted && path.starts_with(GONE_WITH_THE_BOOT);
        if now.is_none() && emptied {
            continue;
        }
        findings.extend(difference(path, then, now, Map::Places));
    }
    for path in keys(&before.privileged, &after.privileged) {
        // A path that was not covered by both scans proves nothing.
        if before.covers(path) && after.covers(path) {
            let (then, now) = (before.privileged.get(path), after.privileged.get(path));
            findings.extend(difference(path, then, now, Map::Privileged));
        }
    }
    // Mounts and processes of another boot cannot be compared. A snapshot of an earlier jitd has neither.
    if !rebooted && !before.mounts.is_empty() {
        for path in keys(&before.mounts, &after.mounts) {
            findings.extend(difference(path, before.mounts.get(path), after.mounts.get(path), Map::Mounts));
        }
    }
    if !rebooted {
        let new = after.processes.iter().filter(|(key, _)| !before.processes.contains_key(*key));
        findings.extend(new.filter_map(|(key, process)| unexplained(process, key, before, after)));
    }
    if let (Some(then), Some(now)) = (&before.checked, &after.checked) {
        findings.extend(unlike_packages(then, now));
    }
    findings.sort_by(|one, other| one.order().cmp(&other.order()));
    findings
}

fn keys<'a>(before: &'a BTreeMap<String, Entry>, after: &'a BTreeMap<String, Entry>) -> BTreeSet<&'a String> {
    before.keys().chain(after.keys()).collect()
}

/// The next baseline, if sessions began while `fresh` was being taken: changes that can be later than `began` stay as
/// they were before, so that they are found when the sessions end. The other changes become part of the baseline, and
/// are returned. `began` is in microseconds of the wall clock; without it every change can be from the sessions.
pub(super) fn rebased(before: &Snapshot, fresh: Snapshot, began: Option<i64>) -> (Snapshot, Vec<Finding>) {
    let Some(began) = began else { return (before.clone(), Vec::new()) };
    let mut base = fresh;
    let mut earlier = Vec::new();
    for finding in diff(before, &base) {
        if finding.map == Map::Processes {
            let started = base.processes.get(&finding.path).map_or(i64::MAX, |process| process.started_at);
            if started < began {
                earlier.push(finding);
            } else {
                base.processes.remove(&finding.path);
            }
            continue;
        }
        if finding.map == Map::Checked {
            earlier.push(finding);
            continue;
        }
        let now = base.map(finding.map).and_then(|map| map.get(&finding.path));
        let touched = match now {
            Some(Entry { what: EntryKind::Unseen { .. }, .. }) => false,
            // The time of a mount is not known.
            _ if finding.map == Map::Mounts => began != i64::MAX,
            Some(now) => now.changed_at >= began,
            None => base.folder_changed_at(&finding.path).is_none_or(|at| at >= began),
        };
        if !touched {
            earlier.push(finding);
            continue;
        }
        let then = before.map(finding.map).and_then(|map| map.get(&finding.path)).cloned();
        if let Some(map) = base.map_mut(finding.map) {
            match then {
                Some(then) => drop(map.insert(finding.path, then)),
                None => drop(map.remove(&finding.path)),
            }
        }
    }
    // Processes that a unit explains are no findings, and must not be explained by a unit that is planted later.
    base.processes.retain(|_, process| process.started_at < began);
    (base, earlier)
}

/// The finding about a process, unless something that existed before explains it.
fn unexplained(running: &Running, key: &str, before: &Snapshot, after: &Snapshot) -> Option<Finding> {
    if running.is_login || running.is_of_unit && is_of_an_older_unit(running, before, after) {
        return None;
    }
    // An ordinary user's process of a set-uid program such as passwd that existed before and is unchanged.
    let setuid = before.privileged.get(&running.exe).filter(|entry| entry.mode & 0o4000 != 0);
    let same =
        setuid.is_some_and(|then| after.privileged.get(&running.exe).is_some_and(|now| now.is_like(then)));
    if running.real_uid != 0 && same {
        return None;
    }
    let finding = Finding::of(Kind::Processes, running.line.clone());
    let unit = running.unit_file.clone().filter(|_| running.is_of_unit);
    Some(Finding { path: key.to_owned(), map: Map::Processes, unit, ..finding })
}

/// Whether its unit, with the unit's drop-ins, is unchanged.
fn is_of_an_older_unit(running: &Running, before: &Snapshot, after: &Snapshot) -> bool {
    let Some(file) = &running.unit_file else { return false };
    let same = |path: &str| match (before.places.get(path), after.places.get(path)) {
        (Some(then), Some(now)) => then.is_like(now),
        (None, None) => path.contains(".d/"),
        _ => false,
    };
    let Some((_, name)) = file.rsplit_once('/') else { return false };
    let is_drop_in = |path: &str| {
        UNIT_FOLDERS.iter().any(|folder| {
            let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
            rest.and_then(|rest| rest.split_once(".d/")).is_some_and(|(of, _)| {
                let stem = |name: &str| {
                    name.split('@').next().unwrap_or(name).trim_end_matches(".service").to_owned()
                };
                of == "service" || stem(of) == stem(name)
            })
        })
    };
    let drop_ins = before.places.keys().chain(after.places.keys()).filter(|path| is_drop_in(path));
    same(file)
        && running.wrapper.as_deref().is_none_or(same)
        && drop_ins.collect::<BTreeSet<_>>().into_iter().all(|path| same(path))
}

/// Programs that differ from their packages and did not at the last comparison.
pub(super) fn unlike_packages(before: &Checked, after: &Checked) -> Vec<Finding> {
    let new = after.unlike.iter().filter(|(path, _)| !before.unlike.contains_key(*path));
    new.map(|(path, package)| {
        let line = format!(
            "{} is not what package {} ships, by its checksum; when it was changed is not known",
            Escaped(&word(path)),
            Escaped(&word(package))
        );
        Finding { path: path.clone(), map: Map::Checked, ..Finding::of(Kind::Programs, line) }
    })
    .collect()
}

#[cfg(test)]
mod tests;
