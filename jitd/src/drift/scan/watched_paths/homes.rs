//! Reads watched paths in the homes that passwd(5) names.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use jit_host::accounts::{self, Passwd};
use rustix::fs::fstat;
use rustix::io::Errno;

use super::{Bound, MAX_READ_OF_ACCOUNTS, Walk};
use crate::core::drift::kind::Kind;
use crate::drift::path_text::text_of;
use crate::drift::scan::reader::{acl, enter, entry};
use crate::drift::snapshot::EntryKind;
use crate::drift::watch_list::{IN_HOMES, IN_ROOTS_HOMES, WatchedPath};

/// Number of homes.
const MAX_HOMES: usize = 20_000;
/// Entries and bytes read below one watched path of a home, whose owner may try to keep the scan busy.
const MAX_ENTRIES_OF_A_HOME: usize = 256;
const MAX_READ_OF_A_HOME: u64 = 1 << 20;
/// Entries and bytes read below one watched path of a home of root.
const MAX_ENTRIES_OF_ROOTS_HOME: usize = 20_000;

impl Walk<'_> {
    /// Reads the homes that passwd(5) names.
    pub(super) fn homes(&mut self) {
        let Ok(file) = File::open(self.outside("/etc/passwd")) else { return };
        let mut passwd = Vec::new();
        if let Err(error) = file.take(MAX_READ_OF_ACCOUNTS).read_to_end(&mut passwd) {
            return self.unseen("/etc/passwd", error, 0);
        }
        let mut homes: BTreeSet<(&[u8], bool)> = BTreeSet::new();
        for account in accounts::lines(&passwd).map(Passwd::parse) {
            if account.home.starts_with(b"/") && homes.len() < MAX_HOMES {
                homes.insert((account.home, account.uid_number() == Some(0)));
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
            self.folders_above(&outside);
            let path = path.trim_end_matches('/');
            self.kind = Kind::Keys;
            IN_HOMES.iter().for_each(|watched| self.in_home(&folder, path, watched, of_root));
            if of_root {
                self.kind = Kind::Shells;
                IN_ROOTS_HOMES.iter().for_each(|watched| self.in_home(&folder, path, watched, of_root));
            }
        }
    }

    /// Reads a watched path in a home; no link there is followed.
    fn in_home(&mut self, home: &OwnedFd, path: &str, watched: &WatchedPath, of_root: bool) {
        let mut path = path.to_owned();
        let mut above: Option<OwnedFd> = None;
        let left = if of_root { MAX_ENTRIES_OF_ROOTS_HOME } else { MAX_ENTRIES_OF_A_HOME };
        let mut bound = Bound { left, bytes: MAX_READ_OF_A_HOME, said: false };
        let mut parts = watched.path.split('/').peekable();
        while let Some(part) = parts.next() {
            path = format!("{path}/{part}");
            let Ok(name) = CString::new(part) else { return };
            let folder = above.as_ref().unwrap_or(home);
            if parts.peek().is_none() {
                return self.look(folder, &name, &path, watched.depth, &mut bound);
            }
            match enter(folder, &name) {
                Ok(next) => {
                    let taken = fstat(&next).and_then(|stat| Ok((stat, acl(&next, c".", true)?)));
                    if let Ok((stat, acl)) = taken {
                        self.put(&path, entry(Kind::Rights, EntryKind::Folder, &stat, 0, acl));
                    }
                    above = Some(next);
                }
                Err(Errno::NOENT) => return,
                // A link, or no folder: it gets an entry as what it is.
                Err(Errno::LOOP | Errno::NOTDIR) => return self.look(folder, &name, &path, 0, &mut bound),
                Err(error) => return self.unseen(&path, error, u32::MAX),
            }
        }
    }
}
