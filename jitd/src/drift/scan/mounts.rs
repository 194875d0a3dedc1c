//! The mount table (proc_pid_mountinfo(5)): which file systems are entered, and where a walk begins.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::core::drift::kind::Kind;
use crate::drift::path_text::text_of;
use crate::drift::snapshot::{Entry, EntryKind};

/// File systems of another machine or process, which may never answer, and the kernel's own.
const NOT_ENTERED: [&str; 30] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "autofs",
    "glusterfs",
    "lustre",
    "orangefs",
    "coda",
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "debugfs",
    "tracefs",
    "bpf",
    "securityfs",
    "configfs",
    "fusectl",
    "mqueue",
    "hugetlbfs",
    "pstore",
    "efivarfs",
    "binfmt_misc",
    "rpc_pipefs",
];

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number, as statx(2) reports it.
    pub(super) id: u64,
    /// The number of the mount that it is mounted on.
    parent: u64,
    /// The file system's device number.
    device: String,
    /// The root of the mount within the file system.
    of: PathBuf,
    /// The mount point.
    pub(super) at: PathBuf,
    options: String,
    /// The type of the file system.
    pub(super) kind: String,
    source: String,
}

/// The table.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads a file such as `/proc/self/mountinfo`; nothing where it cannot be read.
    pub(super) fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read(path).unwrap_or_default())
    }

    fn parse(table: &[u8]) -> Self {
        let lines = table.split(|byte| *byte == b'\n').filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let dash = fields.iter().position(|field| *field == b"-")?;
            let number = |n: usize| std::str::from_utf8(fields.get(n)?).ok()?.parse().ok();
            let path = |n: usize| Some(PathBuf::from(OsString::from_vec(unescaped(fields.get(n)?))));
            Some(Mount {
                id: number(0)?,
                parent: number(1)?,
                device: text_of(fields.get(2)?),
                of: path(3)?,
                at: path(4)?,
                options: text_of(fields.get(5)?),
                kind: text_of(fields.get(dash + 1)?),
                source: text_of(&unescaped(fields.get(dash + 2)?)),
            })
        });
        Self(lines.collect())
    }

    /// Why a path is not entered: the type of the file system of the nearest mount above it, the last one if several
    /// are there. The root is always entered.
    pub(super) fn not_entered(&self) -> HashMap<PathBuf, String> {
        let mut found = HashMap::new();
        for mount in &self.0 {
            if mount.is_entered() || mount.at == Path::new("/") {
                found.remove(&mount.at);
            } else {
                found.insert(mount.at.clone(), mount.kind.clone());
            }
        }
        found
    }

    /// The mounts to walk, so that every local file that can be reached is seen once: those whose part of a file system
    /// no other mount shows, or where another mount hides some of it.
    pub(super) fn to_walk(&self) -> Vec<&Mount> {
        let mut local: Vec<&Mount> = self.0.iter().filter(|mount| mount.is_entered()).collect();
        local.sort_by_key(|mount| mount.of.components().count());
        let hidden: Vec<(&str, PathBuf, u64)> = self.0.iter().filter_map(|mount| self.hides(mount)).collect();
        let mut walked: Vec<&Mount> = Vec::new();
        for mount in local {
            let shown = walked.iter().any(|other| {
                other.device == mount.device
                    && mount.of.starts_with(&other.of)
                    && !hidden.iter().any(|(device, path, on)| {
                        *device == mount.device
                            && *on == other.id
                            && path.starts_with(&other.of)
                            && (path.starts_with(&mount.of) || mount.of.starts_with(path))
                    })
            });
            if !shown {
                walked.push(mount);
            }
        }
        walked.sort_by(|one, other| one.at.cmp(&other.at));
        walked
    }

    /// The file system and the part of it that a mount hides, and the mount it hides it on.
    fn hides(&self, mount: &Mount) -> Option<(&str, PathBuf, u64)> {
        let parent = self.0.iter().find(|other| other.id == mount.parent && other.id != mount.id)?;
        let below = mount.at.strip_prefix(&parent.at).ok()?;
        Some((&parent.device, parent.of.join(below), parent.id))
    }

    /// The table for comparison, without mounts that come and go with logins and services.
    pub(super) fn entries(&self) -> impl Iterator<Item = (String, Entry)> + '_ {
        let told = self.0.iter().filter(|mount| {
            !["/proc", "/sys", "/run/user", "/run/credentials", "/run/systemd"]
                .iter()
                .any(|top| mount.at.starts_with(top))
                || mount.is_entered() && (mount.at.starts_with("/proc") || mount.at.starts_with("/sys"))
        });
        told.map(|mount| {
            let Mount { kind, source, of, options, .. } = mount;
            let of = format!("{kind} {source} {} {options}", text_of(of.as_os_str().as_encoded_bytes()));
            let (what, acl) = (EntryKind::Mount { of }, String::new());
            let kind = Kind::Mounts;
            let entry = Entry { what, mode: 0, uid: 0, gid: 0, capabilities: 0, changed_at: 0, acl, kind };
            (text_of(mount.at.as_os_str().as_encoded_bytes()), entry)
        })
    }
}

impl Mount {
    fn is_entered(&self) -> bool {
        let kind = self.kind.as_str();
        !(NOT_ENTERED.contains(&kind) || kind == "fuse" || kind.starts_with("fuse."))
    }
}

/// Undoes the octal escapes of mountinfo.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if *first == b'\\'
            && let Some(octal) = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok())
            && let Ok(byte) = u8::from_str_radix(octal, 8)
        {
            bytes.push(byte);
            rest = tail.get(3..).unwrap_or_default();
            continue;
        }
        bytes.push(*first);
        rest = tail;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:2 / /home rw - ext4 /dev/sda2 rw
3 1 0:5 / /proc rw - proc proc rw
4 1 8:1 /srv/data /mnt/a\\040b rw - ext4 /dev/sda1 rw
5 1 0:40 / /srv/data/in rw - tmpfs none rw
6 1 0:41 / /far rw - nfs server:/x rw
7 2 8:2 /dave /home/dave rw - ext4 /dev/sda2 rw
";

    #[test]
    fn everything_local_is_walked_once_and_what_a_mount_hides_from_the_other_side() {
        let mounts = Mounts::parse(TABLE.as_bytes());
        let walked: Vec<&str> = mounts.to_walk().iter().map(|mount| mount.at.to_str().unwrap()).collect();
        // /mnt/a b shows what the tmpfs on /srv/data/in hides; /home/dave is bound onto itself.
        assert_eq!(walked, ["/", "/home", "/home/dave", "/mnt/a b", "/srv/data/in"]);
        let without: String =
            TABLE.lines().filter(|line| !line.starts_with(['5', '7'])).map(|l| format!("{l}\n")).collect();
        let walked = Mounts::parse(without.as_bytes());
        let walked: Vec<&str> = walked.to_walk().iter().map(|mount| mount.at.to_str().unwrap()).collect();
        assert_eq!(walked, ["/", "/home"], "a bind mount that hides nothing shows nothing new");
        assert_eq!(mounts.not_entered().get(Path::new("/far")).map(String::as_str), Some("nfs"));
    }

    #[test]
    fn the_escapes_of_mountinfo_are_undone() {
        assert_eq!(unescaped(b"/a\\040b\\134c\\"), b"/a b\\c\\");
    }
}
