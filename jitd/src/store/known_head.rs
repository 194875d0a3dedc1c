//! Remembers the end of the chain outside of the store, so that a start notices a store that was emptied, replaced or put
//! back from a copy.
//!
//! The file is written when the records up to that head are on the disk, and not forced to the disk itself: after a power
//! cut it may name an older head than the store has, never a later one. It is written over and never emptied first, so that
//! neither a power cut nor a full disk leaves an empty file where a head was.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jit_proto::audit::chain::Head;
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::known_head::Remembered;
use jit_proto::time::WallTime;

use super::named_file::NamedFile;
use super::{Reader, Store, StoreError};

/// The file that remembers a head.
#[derive(Debug)]
pub struct KnownHead {
    file: NamedFile,
    /// The last write failed, and that was returned.
    failed: bool,
}

/// Why a head is not remembered.
#[derive(Debug, thiserror::Error)]
pub enum KnownHeadError {
    /// The file cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold the head that jitd wrote into it", path = .0.display())]
    Damaged(PathBuf),
}

impl KnownHead {
    /// The head that this file remembers; it need not be there yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { file: NamedFile::at(path.to_owned()), failed: false }
    }

    /// What it remembers; `None` if it is not there, as on a new host.
    ///
    /// # Errors
    /// When it is there and cannot be read, or holds something else.
    pub fn read(&self) -> Result<Option<Remembered>, KnownHeadError> {
        let bytes = match std::fs::read(self.file.path()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        // A file that was made just before a power cut; whoever could empty it could remove it too.
        if text.is_empty() {
            return Ok(None);
        }
        match Remembered::parse(&text) {
            Some(remembered) => Ok(Some(remembered)),
            None => Err(KnownHeadError::Damaged(self.file.path().to_owned())),
        }
    }

    /// Remembers a head whose records are on the disk.
    ///
    /// # Errors
    /// When it cannot be written; said once, until it could.
    pub fn keep(&mut self, head: &Head, at: WallTime) -> Result<(), KnownHeadError> {
        let line = Remembered { head: head.clone(), at }.line();
        let written = self.file.open(open_or_create).and_then(|file| write_over(file, &line));
        let failed_before = std::mem::replace(&mut self.failed, written.is_err());
        let Err(error) = written else { return Ok(()) };
        self.file.close();
        if failed_before { Ok(()) } else { Err(self.failed(error)) }
    }

    fn failed(&self, error: io::Error) -> KnownHeadError {
        KnownHeadError::File { path: self.file.path().to_owned(), error }
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path)
}

/// Writes a line over the one before, and takes away what that has more.
fn write_over(file: &File, line: &str) -> io::Result<()> {
    file.write_all_at(line.as_bytes(), 0)?;
    // Heads grow, so this is for a store that was put back or begun anew.
    let length = line.len() as u64;
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

/// How a store disagrees with the head that this host remembers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolledBack {
    /// It has no records.
    #[error(
        "the store is empty, and this host has written {0}: the store was emptied, replaced or put back from a copy"
    )]
    Empty(Remembered),
    /// It ends before the record that is remembered.
    #[error(
        "the store ends with record {last}, and this host has written {known}: the store was emptied, replaced or put \
         back from a copy"
    )]
    Shorter {
        /// The last record of the store.
        last: u64,
        /// The head that is remembered.
        known: Remembered,
    },
    /// It has another record in its place.
    #[error("record {seq} of the store is {hash}, and this host has written {known} in its place", seq = .known.head.seq)]
    Replaced {
        /// The hash of the record that the store has.
        hash: String,
        /// The head that is remembered.
        known: Remembered,
    },
    /// It goes on after the record, and does not have it.
    #[error("record {seq} is missing in the store, and this host has written {0}", seq = .0.head.seq)]
    Missing(Remembered),
}

/// Compares a store with the head that this host remembers. `None` if the store has that record, or retention removed it.
///
/// # Errors
/// When the store cannot be read.
pub fn rolled_back(store: &Store, known: &Remembered) -> Result<Option<RolledBack>, StoreError> {
    let (last, seq, known) = (store.head().seq, known.head.seq, known.clone());
    let pruned = &store.pruned().to;
    if seq == 0 {
        return Ok(None);
    }
    if last < seq {
        return Ok(Some(if last == 0 {
            RolledBack::Empty(known)
        } else {
            RolledBack::Shorter { last, known }
        }));
    }
    if seq < pruned.seq {
        return Ok(None);
    }
    let found = if seq == pruned.seq {
        Some(pruned.hash.to_string())
    } else {
        Reader::open(store.path())?.record(seq)?.map(|record| record.hash)
    };
    Ok(match found {
        Some(hash) if RecordHash::parse(&hash) == Some(known.head.hash) => None,
        Some(hash) => Some(RolledBack::Replaced { hash, known }),
        None => Some(RolledBack::Missing(known)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: [0x55; 32].into() }
    }

    #[test]
    fn a_head_is_remembered_and_a_damaged_file_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head");
        let mut known = KnownHead::at(&path);
        assert_eq!(known.read().unwrap(), None, "a new host knows of nothing");
        for seq in [7, 12, 123_456] {
            known.keep(&head(seq), WallTime(9)).unwrap();
        }
        let told = Remembered { head: head(123_456), at: WallTime(9) };
        assert_eq!(KnownHead::at(&path).read().unwrap(), Some(told));
        std::fs::write(&path, "jitd-head-v1 7\n").unwrap();
        assert!(KnownHead::at(&path).read().is_err());
        std::fs::write(&path, "").unwrap();
        assert_eq!(KnownHead::at(&path).read().unwrap(), None, "nothing of it got onto the disk");
        // Opened, it holds what it held until another head is written over it.
        known.keep(&head(123_456), WallTime(9)).unwrap();
        let mut anew = KnownHead::at(&path);
        anew.file.open(open_or_create).unwrap();
        assert_eq!(anew.read().unwrap().map(|known| known.head.seq), Some(123_456));
        // A smaller head than before, by a new daemon, leaves nothing of the longer line.
        anew.keep(&head(1), WallTime(1)).unwrap();
        assert_eq!(anew.read().unwrap().map(|known| known.head.seq), Some(1));
    }
}
