//! What one drift scan found: the data that is compared and written down.

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::time::{BootId, WallTime};
use serde::{Deserialize, Serialize};

use super::account_files::Account;
use crate::core::drift::kind::Kind;

/// Folders of unit files that outlive what runs from them, the strongest first (systemd.unit(5), "UNIT FILE LOAD PATH").
pub(super) const UNIT_FOLDERS: [&str; 9] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator.early",
    "/usr/local/lib/systemd/system",
    "/run/systemd/generator",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// A scan. Paths are texts of [`super::path_text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The boot in which it was made.
    pub(super) boot_id: BootId,
    /// The list of watched paths that was read ([`super::watch_list::list`]).
    pub(super) list: String,
    /// The paths below which privileged files were looked for.
    pub(super) setuid_paths: Vec<String>,
    /// What is at watched paths.
    pub(super) places: BTreeMap<String, Entry>,
    /// Files that give privilege to whoever runs them, devices, and what others than root may write in the system's folders.
    pub(super) privileged: BTreeMap<String, Entry>,
    /// What is mounted, by the path it is mounted at.
    #[serde(default)]
    pub(super) mounts: BTreeMap<String, Entry>,
    /// Processes with privilege outside of sessions, by pid and start.
    #[serde(default)]
    pub(super) processes: BTreeMap<String, Running>,
    /// The last comparison of programs with their packages.
    #[serde(default)]
    pub(super) checked: Option<Checked>,
    /// When the scan began; 0 in a file of an earlier daemon.
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
    /// The owner.
    pub(super) uid: u32,
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
    /// An empty scan of the same host.
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
    pub(super) fn covers(&self, path: &str) -> bool {
        self.setuid_paths.iter().any(|root| {
            path.strip_prefix(root.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// When the folder that holds this path last changed, as far as that is known.
    pub(super) fn folder_changed_at(&self, path: &str) -> Option<i64> {
        let (folder, _) = path.rsplit_once('/')?;
        self.places.get(folder).map(|entry| entry.changed_at)
    }

    pub(super) fn map(&self, which: Map) -> Option<&BTreeMap<String, Entry>> {
        match which {
            Map::Places => Some(&self.places),
            Map::Privileged => Some(&self.privileged),
            Map::Mounts => Some(&self.mounts),
            Map::Processes | Map::Checked => None,
        }
    }

    pub(super) fn map_mut(&mut self, which: Map) -> Option<&mut BTreeMap<String, Entry>> {
        match which {
            Map::Places => Some(&mut self.places),
            Map::Privileged => Some(&mut self.privileged),
            Map::Mounts => Some(&mut self.mounts),
            Map::Processes | Map::Checked => None,
        }
    }
}

/// A process with privilege.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    /// For people, escaped: who, since when, what, where, from whom.
    pub(super) line: String,
    /// When it began, in microseconds of the wall clock.
    pub(super) started_at: i64,
    /// Its executable.
    pub(super) exe: String,
    /// The real uid.
    pub(super) real_uid: u32,
    /// The file of the unit it is in, where there is one.
    pub(super) unit_file: Option<String>,
    /// Whether the unit's file says to run it, or what it comes from.
    pub(super) is_of_unit: bool,
    /// The script of the unit that names its executable, where the unit says to run a script that starts it.
    #[serde(default)]
    pub(super) wrapper: Option<String>,
    /// Whether it is the process by which somebody who is not root is logged in, as logind knows it.
    pub(super) is_login: bool,
}

/// What a comparison of programs with their packages found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checked {
    /// When it was made; 0 in a file of an earlier daemon.
    #[serde(default)]
    pub(super) at: WallTime,
    /// Programs and libraries that are not what their package ships, and its name.
    pub(super) unlike: BTreeMap<String, String>,
    /// How many were compared.
    pub(super) compared: usize,
    /// Packages with such files and without checksums.
    pub(super) without: BTreeSet<String>,
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

#[cfg(test)]
pub(super) mod samples;
