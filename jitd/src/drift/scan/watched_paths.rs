//! Reads the watched paths. A path that could not be read has an entry that says so.
//!
//! [`super::reader`] has the rules for reading; every count is bounded.

mod homes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, readlinkat, statat};
use rustix::io::Errno;

use super::reader::{acl, below, enter, entry, errno, open_plain, print, special};
use super::transient_units::{is_our_scope, keeps_no_privilege, may_be_a_notice, may_be_our_scope};
use crate::core::drift::kind::Kind;
use crate::drift::account_files::AccountFile;
use crate::drift::path_text::text_of;
use crate::drift::print::{print_by_times, print_of};
use crate::drift::snapshot::{Entry, EntryKind};
use crate::drift::watch_list::{self, IN_LIBRARIES, WatchedPath};

/// A larger file is compared by size and times, not by contents.
pub(super) const MAX_READ: u64 = 4 << 20;
/// Bytes read of each file of accounts.
const MAX_READ_OF_ACCOUNTS: u64 = 1 << 24;
/// Bytes read below one watched path of the system; further files are compared by size and times.
const MAX_READ_OF_A_PATH: u64 = 64 << 20;
/// Entries read below one watched path.
const MAX_ENTRIES: usize = 20_000;

/// The entries at the watched paths below `root`, by path, and the number of files and folders that were read.
pub(super) fn look(root: &Path, not_entered: HashMap<PathBuf, String>) -> (BTreeMap<String, Entry>, usize) {
    let mut walk = Walk {
        root,
        not_entered,
        found: BTreeMap::new(),
        looked_at: 0,
        buffer: vec![0; 1 << 16],
        kind: Kind::Other,
        read: true,
        above: HashSet::new(),
    };
    for (kind, paths) in watch_list::system() {
        walk.kind = kind;
        paths.iter().for_each(|watched| walk.watched(watched));
    }
    walk.libraries();
    walk.homes();
    (walk.found, walk.looked_at)
}

struct Walk<'a> {
    root: &'a Path,
    /// Mount points that are not entered, and what is mounted there.
    not_entered: HashMap<PathBuf, String>,
    found: BTreeMap<String, Entry>,
    looked_at: usize,
    buffer: Vec<u8>,
    /// The kind of the present path.
    kind: Kind,
    /// Whether contents are compared there.
    read: bool,
    /// Folders above watched paths that have an entry.
    above: HashSet<PathBuf>,
}

/// The remaining bound of one watched path.
struct Bound {
    left: usize,
    bytes: u64,
    said: bool,
}

impl Bound {
    /// The bound of a path of the system.
    fn of_a_place() -> Self {
        Self { left: MAX_ENTRIES, bytes: MAX_READ_OF_A_PATH, said: false }
    }
}

impl Walk<'_> {
    fn outside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn put(&mut self, path: &str, entry: Entry) {
        self.looked_at += 1;
        self.found.insert(path.to_owned(), entry);
    }

    fn unseen(&mut self, path: &str, why: impl ToString, uid: u32) {
        self.put(path, Entry::unseen(why.to_string(), uid));
    }

    /// Reads a watched path of the system. The path itself may be a link, which gets an entry and is followed; links
    /// below it are not followed.
    fn watched(&mut self, watched: &WatchedPath) {
        let Some((folder, name)) = watched.path.rsplit_once('/') else { return };
        let folder = self.outside(folder);
        self.folders_above(&folder);
        let above = match self.folder(&folder) {
            Ok(Some(above)) => above,
            Ok(None) => return,
            Err(why) => return self.unseen(watched.path, why, 0),
        };
        let Ok(name) = CString::new(name) else { return };
        let mut bound = Bound::of_a_place();
        self.read = watched.read;
        self.look(&above, &name, watched.path, watched.depth, &mut bound);
        let is_link =
            matches!(self.found.get(watched.path), Some(Entry { what: EntryKind::Link { .. }, .. }));
        if is_link && let Ok(target) = std::fs::canonicalize(self.outside(watched.path)) {
            match self.folder(&target) {
                Ok(Some(folder)) => {
                    self.folders_above(&target);
                    self.contents(&folder, watched.path, watched.depth, 0, &mut bound);
                }
                // A link to a file is followed too: the path belongs to the system.
                _ => self.linked_file(&target, watched.path),
            }
        }
        self.read = true;
    }

    fn linked_file(&mut self, target: &Path, path: &str) {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return };
        let Ok(name) = CString::new(name.as_bytes()) else { return };
        if let Ok(Some(above)) = self.folder(folder) {
            self.folders_above(folder);
            let mut bound = Bound::of_a_place();
            let path = format!("{path} -> {}", text_of(target.as_os_str().as_bytes()));
            self.look(&above, &name, &path, 0, &mut bound);
        }
    }

    /// Adds the folders above a watched path: a user who may write one of them can replace the path.
    fn folders_above(&mut self, folder: &Path) {
        let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let root = self.root.to_owned();
        for path in [folder, real.as_path()].into_iter().flat_map(Path::ancestors) {
            if !path.starts_with(&root) || !self.above.insert(path.to_owned()) {
                continue;
            }
            let Ok(Some(opened)) = self.folder(path) else { continue };
            let below_root = path.strip_prefix(&root).unwrap_or(path);
            let name = format!("/{}", text_of(below_root.as_os_str().as_bytes()));
            let taken = fstat(&opened).and_then(|stat| Ok((stat, acl(&opened, c".", true)?)));
            match taken {
                Ok((stat, acl)) => {
                    let entry = entry(Kind::Rights, EntryKind::Folder, &stat, 0, acl);
                    self.found.entry(name).or_insert(entry);
                }
                Err(error) => self.unseen(&name, error, 0),
            }
        }
    }

    /// Reads the library folders of each architecture, with PAM's modules.
    fn libraries(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.outside("/usr/lib")) else { return };
        let names = entries.flatten().map(|entry| entry.file_name());
        for name in names.filter(|name| name.as_bytes().windows(7).any(|part| part == b"-linux-")) {
            let path = format!("/usr/lib/{}", text_of(name.as_bytes()));
            let outside = self.outside("/usr/lib").join(&name);
            let Ok(Some(above)) = self.folder(&outside) else { continue };
            self.folders_above(&outside);
            for (kind, watched) in IN_LIBRARIES {
                (self.kind, self.read) = (*kind, watched.read);
                let mut bound = Bound::of_a_place();
                match CString::new(watched.path) {
                    Ok(name) if !name.is_empty() => {
                        let path = format!("{path}/{}", watched.path);
                        self.look(&above, &name, &path, watched.depth, &mut bound);
                    }
                    _ => self.contents(&above, &path, watched.depth - 1, 0, &mut bound),
                }
            }
        }
        self.read = true;
    }

    /// Opens a folder of the system by its path; `None` where there is none.
    fn folder(&self, path: &Path) -> Result<Option<OwnedFd>, String> {
        self.may_enter(path)?;
        // If a part of the path is a link, its target counts.
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
            // The few watched files of /proc are in the kernel itself.
            Some(kind) if kind != "proc" => Err(format!("it is on {kind}, which is not entered")),
            _ => Ok(()),
        }
    }

    /// Adds the entry of a name, and of everything below it.
    fn look(&mut self, above: &OwnedFd, name: &CStr, path: &str, depth: u32, bound: &mut Bound) {
        let stat = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(error) => return self.unseen(path, error, u32::MAX),
        };
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if may_be_a_notice(path) && says(above, name, keeps_no_privilege) => return,
            FileType::RegularFile if may_be_our_scope(path) && says(above, name, is_our_scope) => return,
            FileType::RegularFile => match self.file(above, name, path, &stat, bound) {
                Ok(what) => what,
                Err(Errno::NOENT) => return,
                Err(error) => return self.unseen(path, error, stat.st_uid),
            },
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => match readlinkat(above, name, Vec::new()) {
                Ok(target) => EntryKind::Link { target: text_of(target.as_bytes()) },
                Err(Errno::NOENT) => return,
                Err(error) => return self.unseen(path, error, stat.st_uid),
            },
            _ => special(&stat),
        };
        let is_folder = what == EntryKind::Folder;
        let acl = match &what {
            EntryKind::Link { .. } => Ok(String::new()),
            _ => acl(above, name, is_folder),
        };
        let acl = match acl {
            Ok(acl) => acl,
            Err(Errno::NOENT) => return,
            Err(error) => return self.unseen(path, error, stat.st_uid),
        };
        if !is_where_units_come_and_go(path, &stat) {
            let kind = if runs_now(path) { Kind::Processes } else { self.kind };
            self.put(path, entry(kind, what, &stat, 0, acl));
        }
        if !is_folder || depth == 0 && !self.read {
            return;
        }
        if depth == 0 {
            return self.unseen(path, "a folder, where it is not looked into", stat.st_uid);
        }
        if let Err(why) = self.may_enter(&self.outside(path)) {
            return self.unseen(path, why, stat.st_uid);
        }
        match enter(above, name) {
            Ok(folder) => self.contents(&folder, path, depth - 1, stat.st_uid, bound),
            Err(Errno::NOENT) => {}
            Err(error) => self.unseen(path, error, stat.st_uid),
        }
    }

    fn contents(&mut self, folder: &OwnedFd, path: &str, depth: u32, uid: u32, bound: &mut Bound) {
        let names = match Dir::read_from(folder) {
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
            self.look(folder, name, &below(path, name), depth, bound);
        }
    }

    /// The entry of a plain file.
    fn file(
        &mut self,
        above: &OwnedFd,
        name: &CStr,
        path: &str,
        stat: &Stat,
        bound: &mut Bound,
    ) -> Result<EntryKind, Errno> {
        if !self.read {
            return Ok(EntryKind::File { print: print_by_times(stat) });
        }
        let Some(file) = AccountFile::named(path) else {
            let print = print(above, name, stat, MAX_READ, &mut bound.bytes, &mut self.buffer)?;
            return Ok(EntryKind::File { print });
        };
        if u64::try_from(stat.st_size).is_ok_and(|size| size > MAX_READ_OF_ACCOUNTS) {
            return Ok(EntryKind::File { print: print_by_times(stat) });
        }
        let mut content = Vec::new();
        let read = open_plain(above, name)?.take(MAX_READ_OF_ACCOUNTS).read_to_end(&mut content);
        read.map_err(|error| errno(&error))?;
        Ok(EntryKind::Accounts { print: print_of(&content), lines: file.lines(&content) })
    }
}

/// Whether this is the unit of a service or scope that was started without a file: it exists as long as it runs.
fn runs_now(path: &str) -> bool {
    path.starts_with("/run/systemd/transient/") && (path.ends_with(".service") || path.ends_with(".scope"))
}

/// Whether this is the folder of transient units, which systemd creates for the first one since boot, possibly jitd's.
fn is_where_units_come_and_go(path: &str, stat: &Stat) -> bool {
    let usual =
        FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_mode & 0o7777 == 0o755;
    path == "/run/systemd/transient" && usual && stat.st_uid == 0
}

/// Whether a predicate holds for the contents of a unit; false if the unit cannot be read.
fn says(above: &OwnedFd, name: &CStr, holds: fn(&str) -> bool) -> bool {
    const MAX_BYTES: u64 = 8192;
    let Ok(file) = open_plain(above, name) else { return false };
    let mut unit = String::new();
    file.take(MAX_BYTES).read_to_string(&mut unit).is_ok_and(|read| (read as u64) < MAX_BYTES) && holds(&unit)
}

fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
