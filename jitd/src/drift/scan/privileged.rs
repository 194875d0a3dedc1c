//! Searches for files that give privilege to whoever runs them, for devices, and, in the system's folders, for files
//! that others than root may write: everywhere except on remote and kernel file systems.
//!
//! Folders can be nested without limit, so the walk does not recurse, and it holds a bounded number of descriptors:
//! folders between the first and the last few are reopened through `..`, and must still be the same folders.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, StatxFlags, fstat, open, openat, statat, statx,
};
use rustix::io::Errno;

use super::mounts::Mounts;
use super::reader::{acl, below, capabilities, enter, entry, others_may_write, print, special};
use crate::core::drift::kind::Kind;
use crate::drift::path_text::text_of;
use crate::drift::print::print_by_times;
use crate::drift::snapshot::{Entry, EntryKind};

/// Bytes read of one privileged file, and of all of them.
const MAX_READ: u64 = 8 << 20;
const MAX_READ_IN_ALL: u64 = 256 << 20;
/// Entries in folders of root, and in those of each other user, so that no user's files keep root's from being
/// searched.
const MAX_ENTRIES_OF_ROOT: usize = 10_000_000;
const MAX_ENTRIES_OF_A_USER: usize = 1_000_000;
/// Folders that anybody may write count together, under this uid.
const ANYBODY: u32 = u32::MAX;
/// Descriptors of folders that are held at the top of a walk, and at its end.
const MAX_HELD_AT_THE_TOP: usize = 64;
const MAX_HELD_AT_THE_END: usize = 128;
/// The folders in which write permissions are checked.
const SYSTEM: [&str; 5] = ["/usr", "/opt", "/boot", "/etc", "/lib"];

/// The privileged files by path, and the number of searched entries.
pub(super) type Privileged = (std::collections::BTreeMap<String, Entry>, usize);

/// Searches below these paths of `root`, on every local mount that can be reached.
pub(super) fn look(root: &Path, mounts: &Mounts, paths: &[PathBuf]) -> Privileged {
    let mut search = Search {
        found: Default::default(),
        looked_through: 0,
        bytes: MAX_READ_IN_ALL,
        counted: HashMap::new(),
        buffer: vec![0; 1 << 16],
        path: String::new(),
        mount: None,
        devices_are_usual: false,
    };
    let to_walk = mounts.to_walk();
    for path in paths {
        // Without a mount table there is one file system, as in tests.
        if to_walk.is_empty() {
            search.below(root, path, None);
            continue;
        }
        let holding = to_walk
            .iter()
            .filter(|mount| path.starts_with(&mount.at))
            .max_by_key(|mount| mount.at.components().count());
        if let Some(mount) = holding {
            search.devices_are_usual = is_dev(&mount.at);
            search.below(root, path, None);
        }
        for mount in to_walk.iter().filter(|mount| mount.at != *path && mount.at.starts_with(path)) {
            search.devices_are_usual = is_dev(&mount.at);
            search.below(root, &mount.at, Some(mount.id));
        }
    }
    (search.found, search.looked_through)
}

fn is_dev(path: &Path) -> bool {
    path == Path::new("/dev")
}

struct Search {
    found: std::collections::BTreeMap<String, Entry>,
    looked_through: usize,
    bytes: u64,
    /// Searched entries, by the owner of their folder.
    counted: HashMap<u32, usize>,
    buffer: Vec<u8>,
    /// The path of the present folder.
    path: String,
    /// The mount that is walked; other mounts are walked separately.
    mount: Option<u64>,
    /// Whether device nodes are ordinary here.
    devices_are_usual: bool,
}

/// A folder whose subfolders are being searched.
struct Level {
    /// `None` while its descriptor is closed.
    folder: Option<OwnedFd>,
    /// Device and inode.
    id: (u64, u64),
    /// Subfolders still to be entered.
    rest: Vec<CString>,
    /// The length of the path of the folder above.
    path_above: usize,
    /// Whether write permissions are checked here: only root may write the folders above.
    guarded: bool,
}

impl Search {
    fn below(&mut self, root: &Path, path: &Path, expected: Option<u64>) {
        let text = text_of(path.as_os_str().as_bytes());
        self.path = text.trim_end_matches('/').to_owned();
        let top = match open_folder(root, path) {
            Ok(top) => top,
            Err(Errno::NOENT | Errno::NOTDIR) => return,
            Err(error) => return self.unseen(&text, error, 0),
        };
        self.mount = mount_of(&top);
        if let (Some(expected), Some(there)) = (expected, self.mount)
            && expected != there
        {
            return self.unseen(&text, "what is mounted here is behind another mount", 0);
        }
        let mut levels = Vec::new();
        if let Some(level) = self.level(top, 0, true) {
            levels.push(level);
        }
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.rest.pop() else {
                let Some(done) = levels.pop() else { return };
                self.leave(done, &mut levels);
                continue;
            };
            let (path_above, guarded) = (self.path.len(), level.guarded);
            let Some(folder) = &level.folder else { continue };
            let inner = match enter(folder, &name) {
                Ok(inner) => inner,
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
                Err(error) => {
                    self.unseen(&below(&self.path.clone(), &name), error, u32::MAX);
                    continue;
                }
            };
            // Another mount is walked separately, unless it is not entered at all.
            if self.mount.is_some() && mount_of(&inner) != self.mount {
                continue;
            }
            self.path = below(&self.path, &name);
            match self.level(inner, path_above, guarded) {
                Some(level) => levels.push(level),
                None => self.path.truncate(path_above),
            }
            let depth = levels.len();
            if depth > MAX_HELD_AT_THE_TOP + MAX_HELD_AT_THE_END
                && let Some(level) = levels.get_mut(depth - MAX_HELD_AT_THE_END)
            {
                level.folder = None;
            }
        }
    }

    /// Returns to the folder above.
    fn leave(&mut self, done: Level, levels: &mut Vec<Level>) {
        let path = std::mem::take(&mut self.path);
        if let Some(above) = levels.last_mut()
            && above.folder.is_none()
        {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let again =
                done.folder.as_ref().and_then(|folder| openat(folder, c"..", flags, Mode::empty()).ok());
            above.folder = again.filter(|folder| id_of(folder) == Some(above.id));
            if above.folder.is_none() {
                // The rest of the walk below the last folder with a descriptor is lost for this scan.
                let held = levels.iter().rposition(|level| level.folder.is_some()).map_or(0, |at| at + 1);
                let lost = levels.drain(held..).next().map_or(done.path_above, |level| level.path_above);
                let top = path.get(..lost).unwrap_or_default().to_owned();
                self.unseen(&top, "folders in it were moved while they were looked through", u32::MAX);
                self.path = top;
                return;
            }
        }
        self.path = path;
        self.path.truncate(done.path_above);
    }

    /// Searches a folder, whose path is in `self.path`; its subfolders remain.
    fn level(&mut self, folder: OwnedFd, path_above: usize, guarded: bool) -> Option<Level> {
        let stat = match fstat(&folder) {
            Ok(stat) => stat,
            Err(error) => {
                self.unseen(&self.path.clone(), error, u32::MAX);
                return None;
            }
        };
        let is_system = SYSTEM.iter().any(|top| {
            self.path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let mut guarded_below = guarded;
        if guarded && is_system {
            let acl = acl(&folder, c".", true).unwrap_or_default();
            if others_may_write(&stat, &acl) || !acl.is_empty() {
                guarded_below = false;
                let found = entry(Kind::Rights, EntryKind::Folder, &stat, 0, acl);
                self.found.insert(self.path.clone(), found);
            }
        }
        let account = if stat.st_mode & 0o002 != 0 { ANYBODY } else { stat.st_uid };
        let names = match Dir::read_from(&folder) {
            Ok(names) => names,
            Err(error) => {
                self.unseen(&self.path.clone(), error, stat.st_uid);
                return None;
            }
        };
        let mut rest = Vec::new();
        for name in names {
            let name = match name {
                Ok(name) => name,
                Err(error) => {
                    self.unseen(&self.path.clone(), error, stat.st_uid);
                    break;
                }
            };
            let (kind, name) = (name.file_type(), name.file_name());
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let max = if account == 0 { MAX_ENTRIES_OF_ROOT } else { MAX_ENTRIES_OF_A_USER };
            let counted = self.counted.entry(account).or_default();
            *counted += 1;
            if *counted > max {
                if *counted == max + 1 {
                    let whose = match account {
                        ANYBODY => "folders that anybody may write".to_owned(),
                        uid => format!("folders of uid {uid}"),
                    };
                    let why = format!("more than {max} files in {whose}; the rest was not looked at");
                    self.unseen(&self.path.clone(), why, 0);
                }
                break;
            }
            self.looked_through += 1;
            match kind {
                FileType::Directory => rest.push(name.to_owned()),
                FileType::RegularFile
                | FileType::BlockDevice
                | FileType::CharacterDevice
                | FileType::Unknown => {
                    self.name(&folder, name, guarded_below && is_system, &mut rest);
                }
                _ => {}
            }
        }
        let id = id_of(&folder)?;
        Some(Level { folder: Some(folder), id, rest, path_above, guarded: guarded_below })
    }

    fn name(&mut self, folder: &OwnedFd, name: &CStr, guarded: bool, folders: &mut Vec<CString>) {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(error) => return self.unseen(&below(&self.path.clone(), name), error, u32::MAX),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => folders.push(name.to_owned()),
            FileType::RegularFile => self.file(folder, name, &stat, guarded),
            // Device 0:0 marks a removed file in overlay's upper layer, and gives nothing.
            FileType::BlockDevice | FileType::CharacterDevice
                if stat.st_rdev != 0 && !(self.devices_are_usual && is_usual_device(&stat)) =>
            {
                let acl = acl(folder, name, false).unwrap_or_default();
                let found = entry(Kind::SetUid, special(&stat), &stat, 0, acl);
                self.found.insert(below(&self.path, name), found);
            }
            _ => {}
        }
    }

    fn file(&mut self, folder: &OwnedFd, name: &CStr, stat: &Stat, guarded: bool) {
        let path = || below(&self.path, name);
        let by_mode = stat.st_mode & 0o6000 != 0;
        let capabilities = match stat.st_mode & 0o111 {
            0 => Ok(0),
            _ => capabilities(folder, name),
        };
        let capabilities = match capabilities {
            Ok(mask) => mask,
            Err(error) => return self.unseen(&path(), error, stat.st_uid),
        };
        if !by_mode && capabilities == 0 {
            if guarded && (stat.st_uid != 0 || stat.st_mode & 0o022 != 0) {
                let acl = acl(folder, name, false).unwrap_or_default();
                if others_may_write(stat, &acl) {
                    let found = entry(Kind::Rights, EntryKind::File { print: String::new() }, stat, 0, acl);
                    self.found.insert(below(&self.path, name), found);
                }
            }
            return;
        }
        // The contents of a user's own file need not be read: its mode shows the privilege.
        let print = match stat.st_uid {
            0 => print(folder, name, stat, MAX_READ, &mut self.bytes, &mut self.buffer),
            _ => Ok(print_by_times(stat)),
        };
        let print = match print {
            Ok(print) => print,
            Err(Errno::NOENT) => return,
            Err(error) => return self.unseen(&below(&self.path.clone(), name), error, stat.st_uid),
        };
        let acl = acl(folder, name, false).unwrap_or_default();
        let found = entry(Kind::SetUid, EntryKind::File { print }, stat, capabilities, acl);
        self.found.insert(below(&self.path, name), found);
    }

    fn unseen(&mut self, path: &str, why: impl ToString, uid: u32) {
        let path = if path.is_empty() { "/" } else { path };
        self.found.insert(path.to_owned(), Entry::unseen(why.to_string(), uid));
    }
}

/// Whether a device is one that the kernel or udev creates in `/dev`: a terminal or another character device, or a disk
/// that root and its group may use. Memory (major 1, minor 1 to 4, of which 3 is `null`) never is. The groups are
/// Debian's root, tape, disk, floppy, cdrom and kvm; only kvm's gid differs between hosts.
fn is_usual_device(stat: &Stat) -> bool {
    const GROUPS: [u32; 7] = [0, 6, 11, 24, 25, 26, 44];
    let is_block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    let is_memory = !is_block
        && rustix::fs::major(stat.st_rdev) == 1
        && matches!(rustix::fs::minor(stat.st_rdev), 1 | 2 | 4);
    let is_kept = stat.st_uid == 0 && stat.st_mode & 0o007 == 0 && GROUPS.contains(&stat.st_gid);
    !(is_block || is_memory) || is_block && is_kept
}

fn id_of(folder: &OwnedFd) -> Option<(u64, u64)> {
    fstat(folder).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

fn mount_of(folder: &OwnedFd) -> Option<u64> {
    let stat = statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// A folder by its path. Links are followed down to the last name: the settings or the mount table name the path.
fn open_folder(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    open(root.join(path.strip_prefix("/").unwrap_or(path)), flags, Mode::empty())
}
