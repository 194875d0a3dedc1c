//! Checks that the open files of the store are still the files at their paths, and not shorter than they were.
//!
//! SQLite continues to write to a file that was removed or covered by a mount, and a later start has nothing of that
//! (unlink(2)). A write-ahead log that was cut has lost the last commits. stat(2) shows both at a cost of about a
//! microsecond per file. Contents that were changed in place are found by verification, not here.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files beside the database in WAL mode (sqlite.org/walformat.html).
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The store's files, as they were when it was opened.
#[derive(Debug)]
pub(super) struct Files(Vec<Known>);

#[derive(Debug)]
struct Known {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// The greatest length seen, in bytes.
    length: u64,
}

/// How a file has changed.
#[derive(Debug, thiserror::Error)]
pub enum FileChange {
    /// It was removed.
    #[error("{path} was removed while jitd had it open", path = .0.display())]
    Removed(PathBuf),
    /// Its path leads to another file.
    #[error("{path} is another file than the one that jitd has open", path = .0.display())]
    Replaced(PathBuf),
    /// stat(2) failed.
    #[error("{path} cannot be looked at: {error}", path = .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The error of stat(2).
        #[source]
        error: io::Error,
    },
    /// It is shorter than it was. jitd shortens none of its files; whether contents are missing shows only when the
    /// store is read.
    #[error("{path} was cut from {was} bytes to {is}", path = .path.display())]
    Shorter {
        /// Its path.
        path: PathBuf,
        /// The greatest length seen, in bytes.
        was: u64,
        /// The length now, in bytes.
        is: u64,
    },
}

impl Files {
    /// The files of a store that was just opened and read, so that SQLite has opened all of them.
    ///
    /// # Errors
    /// [`FileChange::Unreadable`].
    pub(super) fn of(database: &Path) -> Result<Self, FileChange> {
        let known = SUFFIXES.iter().map(|suffix| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            let path = PathBuf::from(path);
            match fs::symlink_metadata(&path) {
                Ok(found) => Ok(Known { path, identity: (found.dev(), found.ino()), length: found.len() }),
                Err(error) => Err(FileChange::Unreadable { path, error }),
            }
        });
        known.collect::<Result<_, _>>().map(Self)
    }

    /// Compares them with the files at their paths.
    ///
    /// # Errors
    /// The first file that has changed.
    pub(super) fn check(&mut self) -> Result<(), FileChange> {
        for file in &mut self.0 {
            let path = || file.path.clone();
            let found = match fs::symlink_metadata(&file.path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(FileChange::Removed(path()));
                }
                Err(error) => return Err(FileChange::Unreadable { path: path(), error }),
            };
            if (found.dev(), found.ino()) != file.identity {
                return Err(FileChange::Replaced(path()));
            }
            if found.len() < file.length {
                return Err(FileChange::Shorter { path: path(), was: file.length, is: found.len() });
            }
            file.length = found.len();
        }
        Ok(())
    }

    /// Accepts the present lengths, after the contents were found complete.
    pub(super) fn accept_lengths(&mut self) {
        for file in &mut self.0 {
            file.length = fs::symlink_metadata(&file.path).map_or(file.length, |found| found.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use jit_proto::time::WallTime;

    use crate::core::effect::Commit;
    use crate::store::{CommitMeta, Sent, Store, StoreError};

    const KEPT: CommitMeta = CommitMeta { highest_wall: WallTime(1), next_session: 1, sent: Sent::NOTHING };

    /// Why a commit is refused; `None` if it is not.
    fn refused(store: &mut Store) -> Option<String> {
        match store.commit(vec![Commit::clock_only()], KEPT) {
            Ok(_) => None,
            Err(StoreError::Files(problem)) => Some(problem.to_string()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn nothing_is_committed_to_files_that_are_not_at_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("jit.db"), folder.path().join("away"));
        let mut store = Store::open(&path).unwrap();
        for name in ["jit.db", "jit.db-wal", "jit.db-shm"] {
            let path = folder.path().join(name);
            assert_eq!(refused(&mut store), None);
            std::fs::rename(&path, &away).unwrap();
            assert!(refused(&mut store).unwrap().contains("was removed"), "{name}");
            std::fs::copy(&away, &path).unwrap();
            assert!(refused(&mut store).unwrap().contains("is another file"), "{name}");
            std::fs::rename(&away, &path).unwrap();
        }
        assert_eq!(refused(&mut store), None, "they are back");
    }

    #[test]
    fn a_log_that_was_cut_is_told_from_one_that_was_moved_into_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jit.db");
        let mut store = Store::open(&path).unwrap();
        assert_eq!(refused(&mut store), None);
        let other = rusqlite::Connection::open(&path).unwrap();
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(other);
        assert_eq!(std::fs::metadata(folder.path().join("jit.db-wal")).unwrap().len(), 0);
        assert_eq!(refused(&mut store), None, "nothing is missing");
        assert_eq!(refused(&mut store), None);
        std::fs::File::options()
            .write(true)
            .open(folder.path().join("jit.db-wal"))
            .unwrap()
            .set_len(0)
            .unwrap();
        assert!(refused(&mut store).unwrap().contains("was cut"));
    }
}
