//! Remembers the head of the chain outside of the store, so that a start notices a store that was emptied, replaced or
//! restored from a copy.
//!
//! The file is written when the records up to that head are on the disk, and is not synced itself: after a power cut it
//! may name an older head than the store has, never a later one. It is overwritten and never emptied first, so that
//! neither a power cut nor a full disk leaves an empty file.

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

/// The file with the remembered head.
#[derive(Debug)]
pub struct KnownHead {
    file: NamedFile,
    /// Whether the last write failed, and the error was returned.
    failed: bool,
}

/// Why a head cannot be remembered.
#[derive(Debug, thiserror::Error)]
pub enum KnownHeadError {
    /// The file cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold the head that jitd wrote into it", path = .0.display())]
    Damaged(PathBuf),
}

impl KnownHead {
    /// The file at this path; it need not exist yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { file: NamedFile::at(path.to_owned()), failed: false }
    }

    /// The remembered head; `None` if the file does not exist, as on a new host.
    ///
    /// # Errors
    /// When the file exists and cannot be read, or has other contents.
    pub fn read(&self) -> Result<Option<Remembered>, KnownHeadError> {
        let bytes = match std::fs::read(self.file.path()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        // The file was created just before a power cut. An attacker who could empty it could remove it as well.
        if text.is_empty() {
            return Ok(None);
        }
        match Remembered::parse(&text) {
            Some(remembered) => Ok(Some(remembered)),
            None => Err(KnownHeadError::Damaged(self.file.path().to_owned())),
        }
    }

    /// Writes a head whose records are on the disk.
    ///
    /// # Errors
    /// When the file cannot be written; returned once until a write succeeds.
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

/// Overwrites the line, and cuts the rest of a longer one.
fn write_over(file: &File, line: &str) -> io::Result<()> {
    file.write_all_at(line.as_bytes(), 0)?;
    // Heads grow, so this is for a store that was restored or started over.
    let length = line.len() as u64;
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

/// How a store contradicts the remembered head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolledBack {
    /// It has no records.
    #[error(
        "the store is empty, and this host has written {0}: the store was emptied, replaced or put back from a copy"
    )]
    Empty(Remembered),
    /// It ends before the remembered record.
    #[error(
        "the store ends with record {last}, and this host has written {known}: the store was emptied, replaced or put \
         back from a copy"
    )]
    Shorter {
        /// The last record of the store.
        last: u64,
        /// The remembered head.
        known: Remembered,
    },
    /// It has another record of that number.
    #[error("record {seq} of the store is {hash}, and this host has written {known} in its place", seq = .known.head.seq)]
    Replaced {
        /// The hash of the record that the store has.
        hash: String,
        /// The remembered head.
        known: Remembered,
    },
    /// It has later records, and not this one.
    #[error("record {seq} is missing in the store, and this host has written {0}", seq = .0.head.seq)]
    Missing(Remembered),
}

/// Compares a store with the remembered head. `None` if the store has that record, or retention removed it.
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
        // Opening keeps the contents until another head is written.
        known.keep(&head(123_456), WallTime(9)).unwrap();
        let mut anew = KnownHead::at(&path);
        anew.file.open(open_or_create).unwrap();
        assert_eq!(anew.read().unwrap().map(|known| known.head.seq), Some(123_456));
        // A lower head, from a new store, leaves nothing of the longer line.
        anew.keep(&head(1), WallTime(1)).unwrap();
        assert_eq!(anew.read().unwrap().map(|known| known.head.seq), Some(1));
    }
}
