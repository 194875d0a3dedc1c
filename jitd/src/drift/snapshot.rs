//! The snapshot of one drift scan, as it is compared and stored.

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::time::{BootId, WallTime};
use serde::{Deserialize, Serialize};

use super::account_files::Account;
use crate::core::drift::kind::Kind;

/// Folders of unit files that remain after a service stops, in the order of precedence (systemd.unit(5), "UNIT FILE
/// LOAD PATH").
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
    /// The version of the list of watched paths ([`super::watch_list::list`]).
    pub(super) list: String,
    /// The paths below which privileged files were searched for.
    pub(super) setuid_paths: Vec<String>,
    /// The entries at watched paths.
    pub(super) places: BTreeMap<String, Entry>,
    /// Files that give privilege to whoever runs them, devices, and files in the system's folders that others than root
    /// may write.
    pub(super) privileged: BTreeMap<String, Entry>,
    /// The mounts, by mount point.
    #[serde(default)]
    pub(super) mounts: BTreeMap<String, Entry>,
    /// Processes with privilege outside of sessions, by pid and start.
    #[serde(default)]
    pub(super) processes: BTreeMap<String, Running>,
    /// The last comparison of programs with their packages.
    #[serde(default)]
    pub(super) checked: Option<Checked>,
    /// When the scan began; 0 in a file of an earlier jitd.
    #[serde(default)]
    pub(super) taken: WallTime,
}

/// The entry of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The type of file.
    pub(super) what: EntryKind,
    /// Permission bits, with set-uid and set-gid.
    pub(super) mode: u32,
    /// The owner.
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permitted file capabilities (capabilities(7)), as a mask; 0 for none.
    pub(super) capabilities: u64,
    /// When the inode last changed, in microseconds of the wall clock. Not compared.
    pub(super) changed_at: i64,
    /// The named entries of its ACL, and a folder's default ACL (acl(5)); empty without any.
    #[serde(default)]
    pub(super) acl: String,
    /// The kind of a finding about it. Not compared.
    #[serde(default)]
    pub(super) kind: Kind,
}

/// A type of file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(super) enum EntryKind {
    /// A plain file.
    File {
        /// The print of its contents.
        print: String,
    },
    /// A file of accounts.
    Accounts {
        /// The print of its contents.
        print: String,
        /// Its lines by name.
        lines: BTreeMap<String, Account>,
    },
    /// A folder.
    Folder,
    /// A symbolic link; the scan does not follow it.
    Link {
        /// Its target.
        target: String,
    },
    /// FIFO or socket.
    Special,
    /// A device.
    Device {
        /// `block` or `character`, and its numbers.
        which: String,
    },
    /// A mount.
    Mount {
        /// File system, source, root, options.
        of: String,
    },
    /// A path that could not be read.
    Unseen {
        /// The error.
        why: String,
    },
}

impl Entry {
    /// The entry of a path that could not be read.
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

    /// Whether it equals another entry, except for the time of the change.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let Self { what, mode, uid, gid, capabilities, changed_at: _, acl, kind: _ } = self;
        (what, mode, uid, gid, capabilities, acl)
            == (&other.what, &other.mode, &other.uid, &other.gid, &other.capabilities, &other.acl)
    }
}

impl Snapshot {
    /// An empty snapshot of the same host.
    pub(super) fn nothing_like(other: &Self) -> Self {
        Self {
            places: BTreeMap::new(),
            privileged: BTreeMap::new(),
            mounts: BTreeMap::new(),
            processes: BTreeMap::new(),
            ..other.clone()
        }
    }

    /// Whether privileged files were searched for there.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.setuid_paths.iter().any(|root| {
            path.strip_prefix(root.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// When the folder of this path last changed, if that is known.
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
    /// The text for findings, escaped: user, start, program, unit, parent.
    pub(super) line: String,
    /// Its start, in microseconds of the wall clock.
    pub(super) started_at: i64,
    /// Its executable.
    pub(super) exe: String,
    /// The real uid.
    pub(super) real_uid: u32,
    /// The file of its unit, if it has one.
    pub(super) unit_file: Option<String>,
    /// Whether the unit's file starts it, or a process that it descends from.
    pub(super) is_of_unit: bool,
    /// The script of the unit that names its executable, if the unit starts a script.
    #[serde(default)]
    pub(super) wrapper: Option<String>,
    /// Whether it is the leader of a login of a user other than root, by logind.
    pub(super) is_login: bool,
}

/// The result of a comparison of programs with their packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checked {
    /// When it was made; 0 in a file of an earlier jitd.
    #[serde(default)]
    pub(super) at: WallTime,
    /// Programs and libraries that differ from their package, and the package.
    pub(super) unlike: BTreeMap<String, String>,
    /// Number of compared files.
    pub(super) compared: usize,
    /// Packages with such files and without checksums.
    pub(super) without: BTreeSet<String>,
}

/// The map of a snapshot that a path is in.
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
