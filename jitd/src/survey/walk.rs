//! Looks at the places and takes down what is there: bounded, without following links, without waiting for anything.
//!
//! What is looked at may belong to somebody who wants to be overlooked. So: a file is opened only when it is a plain
//! one, and then without blocking; a folder is entered through the descriptor of the one above it; nothing is read or
//! counted without a bound; and what could not be looked at is taken down as that.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jit_proto::moment::BootId;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, lgetxattr, major, minor, open, openat, readlinkat,
    statat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::accounts::{AccountFile, print_of};
use super::places::{
    IN_HOMES, IN_ROOTS_HOMES, MODULES, PLACES, Place, is_noise, keeps_no_privilege, list, may_be_a_notice,
};
use super::snapshot::{Entry, Snapshot, What};
use super::text::text_of;

/// A larger file is known by its size and times, not by its content.
const MOST_READ: u64 = 1 << 20;
/// The files of accounts are read up to here.
const MOST_READ_OF_ACCOUNTS: u64 = 1 << 24;
/// So much is read in one place of the system; what comes after is known by size and times.
const MOST_READ_OF_A_PLACE: u64 = 64 << 20;
/// A file that gives privilege is read up to here.
const MOST_READ_OF_PRIVILEGED: u64 = 8 << 20;
/// Entries looked at in one place, and in one place of a home.
const MOST_ENTRIES: usize = 20_000;
const MOST_ENTRIES_OF_A_HOME: usize = 256;
/// Homes looked at.
const MOST_HOMES: usize = 20_000;
/// Entries looked at below each path where privileged files are looked for, and levels of folders.
const MOST_WALKED: usize = 1_000_000;
const DEEPEST: u32 = 64;

/// File systems that another machine or a process answers for, which may never answer; and the kernel's own.
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

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Files and folders of the places.
    pub(super) places: usize,
    /// Files and folders among which privileged ones were looked for.
    pub(super) walked: usize,
}

/// Looks at everything below `root`, which is `/` on a host.
pub(super) fn survey(root: &Path, boot_id: BootId, setuid_paths: &[PathBuf]) -> (Snapshot, Amount) {
    let setuid_paths = setuid_paths.iter().map(|path| text_of(path.as_os_str().as_bytes())).collect();
    let places = Default::default();
    let snapshot = Snapshot { boot_id, list: list(), setuid_paths, places, privileged: Default::default() };
    let mut walk = Walk {
        root,
        not_entered: not_entered(),
        snapshot,
        amount: Amount::default(),
        buffer: vec![0; 1 << 16],
    };
    for place in PLACES {
        walk.place(place);
    }
    walk.modules();
    walk.homes();
    for path in walk.snapshot.setuid_paths.clone() {
        walk.privileged_below(&path);
    }
    (walk.snapshot, walk.amount)
}

struct Walk<'a> {
    root: &'a Path,
    /// Mount points that are not entered, and what is mounted there.
    not_entered: HashMap<PathBuf, String>,
    snapshot: Snapshot,
    amount: Amount,
    buffer: Vec<u8>,
}

/// What is left of the bound of one place.
struct Bound {
    left: usize,
    bytes: u64,
    said: bool,
}

impl Bound {
    /// Of a place of the system.
    fn of_a_place() -> Self {
        Self { left: MOST_ENTRIES, bytes: MOST_READ_OF_A_PLACE, said: false }
    }

    /// Of one place in a home, whose owner may want to keep the survey busy.
    fn of_a_home() -> Self {
        Self { left: MOST_ENTRIES_OF_A_HOME, bytes: MOST_READ, said: false }
    }

    /// Of a path below which privileged files are looked for.
    fn of_a_walk() -> Self {
        Self { left: MOST_WALKED, bytes: MOST_READ_OF_A_PLACE, said: false }
    }
}

impl Walk<'_> {
    fn outside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn put(&mut self, path: &str, entry: Entry) {
        self.amount.places += 1;
        self.snapshot.places.insert(path.to_owned(), entry);
    }

    fn unseen(&mut self, path: &str, why: impl ToString, uid: u32) {
        self.put(path, Entry::unseen(why.to_string(), uid));
    }

    /// A place of the system. Its own path may be a link, which is taken down and followed; what is in it may not.
    fn place(&mut self, place: &Place) {
        let Some((folder, name)) = place.path.rsplit_once('/') else { return };
        let above = match self.folder(&self.outside(folder)) {
            Ok(Some(above)) => above,
            Ok(None) => return,
            Err(why) => return self.unseen(place.path, why, 0),
        };
        let Ok(name) = CString::new(name) else { return };
        let mut bound = Bound::of_a_place();
        self.look(&above, &name, place.path, place.depth, &mut bound);
        let is_link =
            matches!(self.snapshot.places.get(place.path), Some(Entry { what: What::Link { .. }, .. }));
        if is_link && let Ok(target) = std::fs::canonicalize(self.outside(place.path)) {
            match self.folder(&target) {
                Ok(Some(target)) => self.contents(target, place.path, place.depth, 0, &mut bound),
                // A link to a file is followed too: it is the system's own path that is read.
                _ => self.linked_file(&target, place.path),
            }
        }
    }

    fn linked_file(&mut self, target: &Path, path: &str) {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return };
        let Ok(name) = CString::new(name.as_bytes()) else { return };
        if let Ok(Some(above)) = self.folder(folder) {
            let mut bound = Bound::of_a_place();
            self.look(
                &above,
                &name,
                &format!("{path} -> {}", text_of(target.as_os_str().as_bytes())),
                0,
                &mut bound,
            );
        }
    }

    /// The folders of PAM modules of each architecture.
    fn modules(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.outside("/usr/lib")) else { return };
        let names = entries.flatten().map(|entry| entry.file_name());
        for name in names.filter(|name| name.as_bytes().windows(7).any(|part| part == b"-linux-")) {
            let path = format!("/usr/lib/{}", text_of(name.as_bytes()));
            if let Ok(Some(above)) = self.folder(&self.outside("/usr/lib").join(&name)) {
                let Ok(modules) = CString::new(MODULES) else { return };
                let mut bound = Bound::of_a_place();
                self.look(&above, &modules, &format!("{path}/{MODULES}"), 2, &mut bound);
            }
        }
    }

    /// The homes that passwd(5) names.
    fn homes(&mut self) {
        let Ok(file) = File::open(self.outside("/etc/passwd")) else { return };
        let mut passwd = Vec::new();
        if let Err(error) = file.take(MOST_READ_OF_ACCOUNTS).read_to_end(&mut passwd) {
            return self.unseen("/etc/passwd", error, 0);
        }
        let mut homes: BTreeSet<(&[u8], bool)> = BTreeSet::new();
        for line in passwd.split(|byte| *byte == b'\n') {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            if let (Some(uid), Some(home)) = (fields.get(2), fields.get(5))
                && home.starts_with(b"/")
                && homes.len() < MOST_HOMES
            {
                let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse::<u32>().ok());
                homes.insert((home, uid == Some(0)));
            }
        }
        let homes: Vec<(Vec<u8>, bool)> =
            homes.into_iter().map(|(home, root)| (home.to_vec(), root)).collect();
        for (home, of_root) in homes {
            let path = text_of(&home);
            let start = home.iter().position(|byte| *byte != b'/').unwrap_or(home.len());
            let outside = self.root.join(OsStr::from_bytes(home.get(start..).unwrap_or_default()));
            let folder = match self.folder(&outside) {
                Ok(Some(folder)) => folder,
                Ok(None) => continue,
                Err(why) => {
                    self.unseen(&path, why, 0);
                    continue;
                }
            };
            let more = if of_root { IN_ROOTS_HOMES } else { &[] };
            for place in IN_HOMES.iter().chain(more) {
                self.in_home(&folder, path.trim_end_matches('/'), place);
            }
        }
    }

    /// A place in a home, where every link is somebody's own and none is followed.
    fn in_home(&mut self, home: &OwnedFd, path: &str, place: &Place) {
        let mut path = path.to_owned();
        let mut above: Option<OwnedFd> = None;
        let mut bound = Bound::of_a_home();
        let mut parts = place.path.split('/').peekable();
        while let Some(part) = parts.next() {
            path = format!("{path}/{part}");
            let Ok(name) = CString::new(part) else { return };
            let folder = above.as_ref().unwrap_or(home);
            if parts.peek().is_none() {
                return self.look(folder, &name, &path, place.depth, &mut bound);
            }
            match enter(folder, &name) {
                Ok(next) => above = Some(next),
                Err(Errno::NOENT) => return,
                // A link, or no folder: taken down as what it is.
                Err(Errno::LOOP | Errno::NOTDIR) => return self.look(folder, &name, &path, 0, &mut bound),
                Err(error) => return self.unseen(&path, error, u32::MAX),
            }
        }
    }

    /// A folder of the system, by its path; `None` where there is none.
    fn folder(&self, path: &Path) -> Result<Option<OwnedFd>, String> {
        self.may_enter(path)?;
        // Where a part of the path is a link, what counts is where it leads.
        let real = match std::fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        self.may_enter(&real)?;
        let flags =
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match open(&real, flags, Mode::empty()) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn may_enter(&self, path: &Path) -> Result<(), String> {
        let mounted = path.ancestors().find_map(|above| self.not_entered.get(above));
        match mounted {
            // The few files of /proc that are looked at are in the kernel itself.
            Some(kind) if kind != "proc" => Err(format!("it is on {kind}, which is not entered")),
            _ => Ok(()),
        }
    }

    /// Takes down what a name leads to, and what is below it.
    fn look(&mut self, above: &OwnedFd, name: &CStr, path: &str, depth: u32, bound: &mut Bound) {
        if is_noise(path) {
            return;
        }
        let stat = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(error) => return self.unseen(path, error, u32::MAX),
        };
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if may_be_a_notice(path) && is_a_notice(above, name) => return,
            FileType::RegularFile => match self.file(above, name, path, &stat, bound) {
                Ok(what) => what,
                Err(Errno::NOENT) => return,
                Err(error) => return self.unseen(path, error, stat.st_uid),
            },
            FileType::Directory => What::Folder,
            FileType::Symlink => match readlinkat(above, name, Vec::new()) {
                Ok(target) => What::Link { target: text_of(target.as_bytes()) },
                Err(Errno::NOENT) => return,
                Err(error) => return self.unseen(path, error, stat.st_uid),
            },
            _ => special(&stat),
        };
        if !is_where_units_come_and_go(path, &stat) {
            self.put(path, entry(what, &stat, 0));
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return;
        }
        if depth == 0 {
            return self.unseen(path, "a folder, where it is not looked into", stat.st_uid);
        }
        if let Err(why) = self.may_enter(&self.outside(path)) {
            return self.unseen(path, why, stat.st_uid);
        }
        match enter(above, name) {
            Ok(folder) => self.contents(folder, path, depth - 1, stat.st_uid, bound),
            Err(Errno::NOENT) => {}
            Err(error) => self.unseen(path, error, stat.st_uid),
        }
    }

    fn contents(&mut self, folder: OwnedFd, path: &str, depth: u32, uid: u32, bound: &mut Bound) {
        let names = match rustix::io::fcntl_dupfd_cloexec(&folder, 0).and_then(Dir::new) {
            Ok(names) => names,
            Err(error) => return self.unseen(path, error, uid),
        };
        for name in names {
            let name = match name {
                Ok(name) => name,
                Err(error) => return self.unseen(path, error, uid),
            };
            let name = name.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if bound.left == 0 {
                if !std::mem::replace(&mut bound.said, true) {
                    self.unseen(path, "it holds too much; the rest was not looked at", uid);
                }
                return;
            }
            bound.left -= 1;
            self.look(&folder, name, &format!("{path}/{}", text_of(name.to_bytes())), depth, bound);
        }
    }

    /// What stands for a plain file.
    fn file(
        &mut self,
        above: &OwnedFd,
        name: &CStr,
        path: &str,
        stat: &Stat,
        bound: &mut Bound,
    ) -> Result<What, Errno> {
        let Some(file) = AccountFile::named(path) else {
            return Ok(What::File { print: self.print(above, name, stat, MOST_READ, bound)? });
        };
        if u64::try_from(stat.st_size).is_ok_and(|size| size > MOST_READ_OF_ACCOUNTS) {
            return Ok(What::File { print: print_by_times(stat) });
        }
        let mut content = Vec::new();
        let read = open_plain(above, name)?.take(MOST_READ_OF_ACCOUNTS).read_to_end(&mut content);
        read.map_err(errno)?;
        Ok(What::Accounts { print: print_of(&content), lines: file.lines(&content) })
    }

    /// The digest of a plain file; where there is too much of it, what its inode says of it.
    fn print(
        &mut self,
        above: &OwnedFd,
        name: &CStr,
        stat: &Stat,
        most: u64,
        bound: &mut Bound,
    ) -> Result<String, Errno> {
        let most = most.min(bound.bytes);
        if u64::try_from(stat.st_size).is_ok_and(|size| size > most) {
            return Ok(print_by_times(stat));
        }
        let mut file = open_plain(above, name)?;
        let mut digest = Sha256::new();
        let mut read = 0;
        loop {
            let length = match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(errno(error)),
            };
            digest.update(self.buffer.get(..length).unwrap_or_default());
            read += length as u64;
            // It grows while it is read.
            if read > most {
                return Ok(print_by_times(stat));
            }
        }
        bound.bytes = bound.bytes.saturating_sub(read);
        Ok(hex::encode(digest.finalize()))
    }

    /// Looks for files that give privilege to whoever runs them, and for devices outside of /dev.
    fn privileged_below(&mut self, path: &str) {
        let outside = self.outside(path);
        let folder = match self.folder(&outside) {
            Ok(Some(folder)) => folder,
            Ok(None) => return,
            Err(why) => {
                self.snapshot.privileged.insert(path.to_owned(), Entry::unseen(why, 0));
                return;
            }
        };
        let mut bound = Bound::of_a_walk();
        self.walk(folder, &outside, path.trim_end_matches('/'), DEEPEST, &mut bound);
        if bound.said {
            let why = format!("more than {MOST_WALKED} files and folders; the rest was not looked at");
            self.snapshot.privileged.insert(path.to_owned(), Entry::unseen(why, 0));
        }
    }

    fn walk(&mut self, folder: OwnedFd, outside: &Path, path: &str, depth: u32, bound: &mut Bound) {
        let names = match rustix::io::fcntl_dupfd_cloexec(&folder, 0).and_then(Dir::new) {
            Ok(names) => names,
            Err(error) => return self.unwalked(path, error, 0),
        };
        for name in names {
            let name = match name {
                Ok(name) => name,
                Err(error) => return self.unwalked(path, error, 0),
            };
            let (kind, name) = (name.file_type(), name.file_name());
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if bound.left == 0 {
                bound.said = true;
                return;
            }
            bound.left -= 1;
            self.amount.walked += 1;
            let stat = match kind {
                FileType::RegularFile
                | FileType::BlockDevice
                | FileType::CharacterDevice
                | FileType::Unknown => match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Some(stat),
                    Err(Errno::NOENT) => continue,
                    Err(error) => {
                        self.unwalked(&below(path, name), error, u32::MAX);
                        continue;
                    }
                },
                _ => None,
            };
            match stat.map_or(kind, |stat| FileType::from_raw_mode(stat.st_mode)) {
                FileType::RegularFile => {
                    if let Some(stat) = stat {
                        self.maybe_privileged(&folder, name, path, &stat, bound);
                    }
                }
                FileType::BlockDevice | FileType::CharacterDevice => {
                    // Device 0:0 stands for a removed file in overlay's upper layer, and gives nothing.
                    if let Some(stat) = stat.filter(|stat| stat.st_rdev != 0) {
                        let entry = entry(special(&stat), &stat, 0);
                        self.snapshot.privileged.insert(below(path, name), entry);
                    }
                }
                FileType::Directory => self.walk_into(&folder, name, outside, path, depth, bound),
                _ => {}
            }
        }
    }

    fn walk_into(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        outside: &Path,
        path: &str,
        depth: u32,
        bound: &mut Bound,
    ) {
        let outside = outside.join(OsStr::from_bytes(name.to_bytes()));
        if let Some(kind) = self.not_entered.get(&outside) {
            let why = format!("it is on {kind}, which is not entered");
            return self.unwalked(&below(path, name), why, 0);
        }
        let inner = match enter(folder, name) {
            Ok(inner) => inner,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return,
            Err(error) => return self.unwalked(&below(path, name), error, u32::MAX),
        };
        if depth == 0 {
            let uid = fstat(&inner).map_or(u32::MAX, |stat| stat.st_uid);
            return self.unwalked(&below(path, name), "too many folders in each other", uid);
        }
        self.walk(inner, &outside, &below(path, name), depth - 1, bound);
    }

    fn maybe_privileged(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        path: &str,
        stat: &Stat,
        bound: &mut Bound,
    ) {
        let by_mode = stat.st_mode & 0o6000 != 0;
        let capabilities = if stat.st_mode & 0o111 == 0 {
            0
        } else {
            match capabilities(folder, name) {
                Ok(mask) => mask,
                Err(error) => return self.unwalked(&below(path, name), error, stat.st_uid),
            }
        };
        if !by_mode && capabilities == 0 {
            return;
        }
        // What a user owns need not be read: its mode is what tells.
        let print = match stat.st_uid {
            0 => self.print(folder, name, stat, MOST_READ_OF_PRIVILEGED, bound),
            _ => Ok(print_by_times(stat)),
        };
        let print = match print {
            Ok(print) => print,
            Err(Errno::NOENT) => return,
            Err(error) => return self.unwalked(&below(path, name), error, stat.st_uid),
        };
        let entry = entry(What::File { print }, stat, capabilities);
        self.snapshot.privileged.insert(below(path, name), entry);
    }

    fn unwalked(&mut self, path: &str, why: impl ToString, uid: u32) {
        self.snapshot.privileged.insert(path.to_owned(), Entry::unseen(why.to_string(), uid));
    }
}

/// The folder of transient units, as systemd makes it for the first one since boot: ours may be that.
fn is_where_units_come_and_go(path: &str, stat: &Stat) -> bool {
    let usual =
        FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_mode & 0o7777 == 0o755;
    path == "/run/systemd/transient" && usual && stat.st_uid == 0
}

/// Whether a file is the unit of a notice on its way. One that cannot be read is none.
fn is_a_notice(above: &OwnedFd, name: &CStr) -> bool {
    const MOST_BYTES: u64 = 8192;
    let Ok(file) = open_plain(above, name) else { return false };
    let mut unit = String::new();
    file.take(MOST_BYTES).read_to_string(&mut unit).is_ok_and(|read| (read as u64) < MOST_BYTES)
        && keeps_no_privilege(&unit)
}

/// Opens a plain file, and nothing else: not what a link points to, and without waiting for who may be at the other end.
fn open_plain(above: &OwnedFd, name: &CStr) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(above, name, flags, Mode::empty())?;
    // Somebody may have put another thing there meanwhile.
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::AGAIN);
    }
    Ok(File::from(file))
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn special(stat: &Stat) -> What {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => "block",
        FileType::CharacterDevice => "character",
        _ => return What::Special,
    };
    What::Device { which: format!("{kind} {}:{}", major(stat.st_rdev), minor(stat.st_rdev)) }
}

fn below(path: &str, name: &CStr) -> String {
    format!("{path}/{}", text_of(name.to_bytes()))
}

fn entry(what: What, stat: &Stat, capabilities: u64) -> Entry {
    let micros = i64::try_from(stat.st_ctime_nsec / 1000).unwrap_or(0);
    Entry {
        what,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        capabilities,
        changed_at: stat.st_ctime.saturating_mul(1_000_000).saturating_add(micros),
    }
}

/// Stands for a file that is too large to be read: whoever writes it moves one of these.
fn print_by_times(stat: &Stat) -> String {
    format!(
        "ino {} size {} mtime {}.{} ctime {}.{}",
        stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec
    )
}

fn enter(above: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

/// The permitted set of a file's capabilities: `vfs_cap_data` of linux/capability.h, little-endian words.
fn capabilities(folder: &OwnedFd, name: &CStr) -> Result<u64, Errno> {
    let folder: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(folder);
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend(name.to_bytes());
    let mut data = [0_u8; 64];
    let length = match lgetxattr(path.as_slice(), c"security.capability", &mut data[..]) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error),
    };
    let word = |at: usize| {
        let bytes = data.get(at..at + 4).filter(|_| at + 4 <= length);
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    Ok(u64::from(word(4)) | u64::from(word(12)) << 32)
}

fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Mount points that are not entered (proc_pid_mountinfo(5)). The root is entered whatever it is on.
fn not_entered() -> HashMap<PathBuf, String> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut found = HashMap::new();
    for line in mounts.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == b"-") else { continue };
        let (Some(point), Some(kind)) = (fields.get(4), fields.get(dash + 1)) else { continue };
        let point = PathBuf::from(OsString::from_vec(unescaped(point)));
        let kind = text_of(kind);
        let skipped = NOT_ENTERED.contains(&kind.as_str()) || kind == "fuse" || kind.starts_with("fuse.");
        // The last one mounted on a point is the one that is seen.
        if skipped && point != Path::new("/") {
            found.insert(point, kind);
        } else {
            found.remove(&point);
        }
    }
    found
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
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::snapshot::{diff, lines};
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\ndave:x:2004:2004::/home/dave:/bin/sh\nlp:x:7:7::/nowhere:/bin/false\n";

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.write("/etc/passwd", PASSWD);
            for folder in [
                "/etc/sudoers.d",
                "/root",
                "/home/dave/.ssh",
                "/var/tmp",
                "/usr/lib/x86_64-linux-gnu/security",
            ] {
                fs::create_dir_all(tree.path(folder)).unwrap();
            }
            tree
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path.trim_start_matches('/'))
        }

        fn write(&self, path: &str, content: &str) {
            fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
            fs::write(self.path(path), content).unwrap();
        }

        fn survey(&self) -> Snapshot {
            let paths = ["/var/tmp", "/usr", "/absent"].map(PathBuf::from);
            survey(self.0.path(), BootId("a".into()), &paths).0
        }

        fn told_after(&self, plant: impl FnOnce(&Self)) -> Vec<String> {
            let before = self.survey();
            plant(self);
            lines(&diff(&before, &self.survey()))
        }
    }

    fn make_fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }

    /// Tests run as whoever runs them; what is not root's says so.
    fn without_owner(line: &str) -> String {
        line.split(", owned by").next().unwrap().to_owned()
    }

    #[test]
    fn what_is_planted_is_found_wherever_it_is() {
        let tree = Tree::new();
        let told = tree.told_after(|tree| {
            tree.write("/etc/passwd", &format!("{PASSWD}toor:x:0:0::/root:/bin/sh\n"));
            tree.write("/etc/sudoers.d/zz", "dave ALL=(ALL) NOPASSWD: ALL");
            tree.write("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA");
            tree.write("/home/dave/.config/systemd/user/x.service", "[Service]");
            tree.write("/usr/lib/x86_64-linux-gnu/security/pam_evil.so", "ELF");
            tree.write("/run/systemd/transient/run-u1.service", "[Service]");
            tree.write("/run/systemd/transient/session-9.scope", "[Scope]");
            tree.write("/var/tmp/a/b/bash", "ELF");
            fs::set_permissions(tree.path("/var/tmp/a/b/bash"), fs::Permissions::from_mode(0o4755)).unwrap();
        });
        let told: BTreeSet<String> = told.iter().map(|line| without_owner(line)).collect();
        for expected in [
            "changed /etc/passwd: account toor added (uid 0, gid 0, home /root, shell /bin/sh)",
            "added /etc/sudoers.d/zz",
            "added /root/.ssh/authorized_keys",
            "added /home/dave/.config/systemd/user/x.service",
            "added /usr/lib/x86_64-linux-gnu/security/pam_evil.so",
            "added /run/systemd/transient/run-u1.service",
            "added setuid /var/tmp/a/b/bash",
        ] {
            assert!(told.contains(expected), "{expected} is missing in {told:#?}");
        }
        assert!(!told.iter().any(|line| line.contains("session-9")), "{told:#?}");
    }

    #[test]
    fn nothing_is_found_where_nothing_changed() {
        let tree = Tree::new();
        tree.write("/etc/pam.d/sudo", "account required pam_jit.so gate");
        assert_eq!(
            tree.told_after(|tree| tree.write("/etc/pam.d/sudo", "account required pam_jit.so gate")),
            [""; 0]
        );
        assert_eq!(tree.told_after(|tree| tree.write("/var/tmp/plain", "x")), [""; 0]);
    }

    #[test]
    fn a_content_of_the_same_length_and_times_is_another_one() {
        let tree = Tree::new();
        tree.write("/etc/pam.d/sudo", "one");
        let times = fs::metadata(tree.path("/etc/pam.d/sudo")).unwrap().modified().unwrap();
        let told = tree.told_after(|tree| {
            tree.write("/etc/pam.d/sudo", "two");
            fs::File::options()
                .write(true)
                .open(tree.path("/etc/pam.d/sudo"))
                .unwrap()
                .set_modified(times)
                .unwrap();
        });
        assert_eq!(told, ["changed /etc/pam.d/sudo: its content"]);
    }

    /// None of these may be followed, waited for or overlooked.
    #[test]
    fn links_fifos_and_what_cannot_be_looked_at_are_taken_down() {
        let tree = Tree::new();
        fs::create_dir(tree.path("/elsewhere")).unwrap();
        let told = tree.told_after(|tree| {
            make_fifo(&tree.path("/etc/sudoers.d/fifo"));
            symlink("/elsewhere/\u{1b}[2J", tree.path("/etc/sudoers.d/link")).unwrap();
            symlink(".", tree.path("/etc/sudoers.d/loop")).unwrap();
            fs::remove_dir(tree.path("/home/dave/.ssh")).unwrap();
            symlink("/elsewhere", tree.path("/home/dave/.ssh")).unwrap();
            make_fifo(&tree.path("/var/tmp/fifo"));
            symlink("/", tree.path("/var/tmp/link")).unwrap();
        });
        let told: Vec<String> = told.iter().map(|line| without_owner(line)).collect();
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told.contains(&"added special file /etc/sudoers.d/fifo".to_owned()), "{told:#?}");
        assert!(
            told.contains(&"added link /etc/sudoers.d/link to '/elsewhere/\\u{1b}[2J'".to_owned()),
            "{told:#?}"
        );
        assert!(told.contains(&"added link /etc/sudoers.d/loop to .".to_owned()), "{told:#?}");
        assert!(told.contains(&"added link /home/dave/.ssh to /elsewhere".to_owned()), "{told:#?}");
    }

    #[test]
    fn a_place_that_is_a_link_itself_is_followed() {
        let tree = Tree::new();
        fs::create_dir(tree.path("/elsewhere")).unwrap();
        symlink(tree.path("/elsewhere"), tree.path("/etc/cron.d")).unwrap();
        let told = tree.told_after(|tree| tree.write("/elsewhere/plant", "* * * * * root sh"));
        assert_eq!(
            told.iter().map(|line| without_owner(line)).collect::<Vec<_>>(),
            ["added /etc/cron.d/plant"]
        );
    }

    #[test]
    fn folders_without_end_are_left_and_said() {
        let tree = Tree::new();
        let told = tree.told_after(|tree| {
            let deep = vec!["d"; DEEPEST as usize + 2].join("/");
            fs::create_dir_all(tree.path("/var/tmp").join(deep)).unwrap();
        });
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].ends_with("/d: too many folders in each other"), "{told:#?}");
        let told = tree.told_after(|tree| {
            for n in 0..=MOST_ENTRIES_OF_A_HOME {
                tree.write(&format!("/home/dave/.config/systemd/user/{n}.service"), "");
            }
        });
        assert!(
            told.iter().any(|line| line.contains("it holds too much"))
                || told.last().unwrap().starts_with("and ")
        );
    }

    #[test]
    fn a_file_that_is_too_large_to_be_read_is_known_by_its_times() {
        let tree = Tree::new();
        let large = "x".repeat(MOST_READ as usize + 1);
        tree.write("/etc/sudoers", &large);
        assert_eq!(tree.told_after(|_| ()), [""; 0]);
        let told = tree.told_after(|tree| tree.write("/etc/sudoers", &large));
        assert_eq!(told, ["changed /etc/sudoers: its content"]);
    }

    #[test]
    fn the_escapes_of_mountinfo_are_undone() {
        assert_eq!(unescaped(b"/a\\040b\\134c\\"), b"/a b\\c\\");
    }
}
