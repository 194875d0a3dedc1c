//! What was found in the places where privilege is kept, and what differs between two such findings.

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::time::{BootId, WallTime};
use serde::{Deserialize, Serialize};

use super::account_files::Account;
use super::finding::{Finding, difference};
use super::packages::Checked;
use super::processes::Running;
use crate::core::kinds::Kind;

/// What a boot empties.
const GONE_WITH_THE_BOOT: &str = "/run/";

/// What was there at one moment. Paths are texts of [`super::text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// In which boot.
    pub(super) boot_id: BootId,
    /// Which list of places it was ([`super::watch_list::list`]).
    pub(super) list: String,
    /// Below which paths privileged files were looked for.
    pub(super) setuid_paths: Vec<String>,
    /// The places where privilege is configured.
    pub(super) places: BTreeMap<String, Entry>,
    /// Files that give privilege to whoever runs them, devices, and what others than root may write in the system's folders.
    pub(super) privileged: BTreeMap<String, Entry>,
    /// What is mounted, by the path it is mounted at.
    #[serde(default)]
    pub(super) mounts: BTreeMap<String, Entry>,
    /// What ran with privilege, by pid and start.
    #[serde(default)]
    pub(super) processes: BTreeMap<String, Running>,
    /// What the last comparison of programs with their packages found.
    #[serde(default)]
    pub(super) checked: Option<Checked>,
    /// When it was taken; 0 for one of an earlier daemon that did not say.
    #[serde(default)]
    pub(super) taken: WallTime,
}

/// What was found at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What it is.
    pub(super) what: EntryKind,
    /// Permission bits, those of set-uid and set-gid included.
    pub(super) mode: u32,
    /// Whose.
    pub(super) uid: u32,
    /// Of which group.
    pub(super) gid: u32,
    /// Permitted file capabilities (capabilities(7)), as a mask; 0 for none.
    pub(super) capabilities: u64,
    /// When the inode last changed, in microseconds of the wall clock. Two entries that differ in nothing else are alike.
    pub(super) changed_at: i64,
    /// Whom its ACL names, and a folder's default ACL (acl(5)); empty where there is none.
    #[serde(default)]
    pub(super) acl: String,
    /// What a change of it is about. No part of what is compared.
    #[serde(default)]
    pub(super) kind: Kind,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(super) enum EntryKind {
    /// A plain file.
    File {
        /// Stands for its content.
        print: String,
    },
    /// One of the files of accounts.
    Accounts {
        /// Stands for its content.
        print: String,
        /// Its lines by name.
        lines: BTreeMap<String, Account>,
    },
    /// A folder.
    Folder,
    /// A symbolic link; it is not followed.
    Link {
        /// Where it points.
        target: String,
    },
    /// FIFO or socket.
    Special,
    /// A device.
    Device {
        /// `block` or `character`, and its numbers.
        which: String,
    },
    /// Something that is mounted.
    Mount {
        /// File system, source, what of it, options.
        of: String,
    },
    /// It could not be looked at.
    Unseen {
        /// Why.
        why: String,
    },
}

impl Entry {
    /// Something that could not be looked at.
    pub(super) fn unseen(why: String, uid: u32) -> Self {
        let (acl, kind) = (String::new(), Kind::Unseen);
        Self {
            what: EntryKind::Unseen { why },
            mode: 0,
            uid,
            gid: 0,
            capabilities: 0,
            changed_at: 0,
            acl,
            kind,
        }
    }

    /// Whether it differs in nothing but when it changed.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let Self { what, mode, uid, gid, capabilities, changed_at: _, acl, kind: _ } = self;
        (what, mode, uid, gid, capabilities, acl)
            == (&other.what, &other.mode, &other.uid, &other.gid, &other.capabilities, &other.acl)
    }
}

impl Snapshot {
    /// Nothing at all, as before the first survey.
    pub(super) fn nothing_like(other: &Self) -> Self {
        Self {
            places: BTreeMap::new(),
            privileged: BTreeMap::new(),
            mounts: BTreeMap::new(),
            processes: BTreeMap::new(),
            ..other.clone()
        }
    }

    /// Whether privileged files were looked for there.
    fn covers(&self, path: &str) -> bool {
        self.setuid_paths.iter().any(|root| {
            path.strip_prefix(root.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// When the folder that holds this path last changed, as far as that is known.
    fn folder_changed_at(&self, path: &str) -> Option<i64> {
        let (folder, _) = path.rsplit_once('/')?;
        self.places.get(folder).map(|entry| entry.changed_at)
    }
}

/// An earlier daemon's snapshot, as if it had known the list of places of a later one: what it did not look at was there
/// already, unless that changed after `began`, in microseconds of the wall clock.
pub(super) fn adopted(mut before: Snapshot, after: &Snapshot, began: i64) -> Snapshot {
    if before.list != after.list {
        before.list.clone_from(&after.list);
        before.places.retain(|path, _| after.places.contains_key(path));
        for (path, entry) in after.places.iter().filter(|(_, entry)| entry.changed_at < began) {
            let then = before.places.entry(path.clone()).or_insert_with(|| entry.clone());
            // ACLs were not looked at.
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

/// Everything that differs, the gravest first.
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
        // A path that was not looked at both times tells nothing.
        if before.covers(path) && after.covers(path) {
            let (then, now) = (before.privileged.get(path), after.privileged.get(path));
            findings.extend(difference(path, then, now, Map::Privileged));
        }
    }
    // What a boot mounts and starts is not known from the one before. A snapshot of an earlier daemon has neither.
    if !rebooted && !before.mounts.is_empty() {
        for path in keys(&before.mounts, &after.mounts) {
            findings.extend(difference(path, before.mounts.get(path), after.mounts.get(path), Map::Mounts));
        }
    }
    if !rebooted {
        let new = after.processes.iter().filter(|(key, _)| !before.processes.contains_key(*key));
        findings.extend(new.filter_map(|(key, process)| process.finding(key, before, after)));
    }
    if let (Some(then), Some(now)) = (&before.checked, &after.checked) {
        findings.extend(now.findings(then));
    }
    findings.sort_by(|one, other| one.order().cmp(&other.order()));
    findings
}

/// Which of the maps of a snapshot a path is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Map {
    Places,
    Privileged,
    Mounts,
    Processes,
    Checked,
}

fn keys<'a>(before: &'a BTreeMap<String, Entry>, after: &'a BTreeMap<String, Entry>) -> BTreeSet<&'a String> {
    before.keys().chain(after.keys()).collect()
}

/// What to compare with later, when sessions have begun while `fresh` was being taken: what may have been changed since
/// `began` stays as it was before, so that it is found at their end. The rest becomes part of what is compared with, and
/// is returned. `began` is in microseconds of the wall clock; without it, everything may be of the sessions' doing.
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
            // When something was mounted is not known.
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
    // Those that a unit of their own explains are no findings, and are none of a unit that is planted later.
    base.processes.retain(|_, process| process.started_at < began);
    (base, earlier)
}

impl Snapshot {
    fn map(&self, which: Map) -> Option<&BTreeMap<String, Entry>> {
        match which {
            Map::Places => Some(&self.places),
            Map::Privileged => Some(&self.privileged),
            Map::Mounts => Some(&self.mounts),
            Map::Processes | Map::Checked => None,
        }
    }

    fn map_mut(&mut self, which: Map) -> Option<&mut BTreeMap<String, Entry>> {
        match which {
            Map::Places => Some(&mut self.places),
            Map::Privileged => Some(&mut self.privileged),
            Map::Mounts => Some(&mut self.mounts),
            Map::Processes | Map::Checked => None,
        }
    }
}

#[cfg(test)]
pub(in crate::drift) mod tests;
