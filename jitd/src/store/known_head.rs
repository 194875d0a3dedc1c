//! Remembers the end of the chain outside of the store, so that a store that was emptied, replaced or put back from a
//! copy is known for one.
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

use super::{Reader, Store, StoreError};

/// The file that remembers a head.
#[derive(Debug)]
pub struct KnownHead {
    path: PathBuf,
    file: Option<File>,
    told: bool,
}

impl KnownHead {
    /// The head that this file remembers; it need not be there yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, told: false }
    }

    /// What it remembers; `None` if it is not there, as on a new host.
    ///
    /// # Errors
    /// When it is there and cannot be read, or holds something else.
    pub fn read(&self) -> Result<Option<Remembered>, String> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", self.path.display())),
        };
        // A file that was made just before a power cut; whoever could empty it could remove it too.
        if text.is_empty() {
            return Ok(None);
        }
        match Remembered::parse(&text) {
            Some(remembered) => Ok(Some(remembered)),
            None => Err(format!("{} does not hold the head that jitd wrote into it", self.path.display())),
        }
    }

    /// Remembers a head whose records are on the disk.
    ///
    /// # Errors
    /// When it cannot be written; said once, until it could.
    pub fn keep(&mut self, head: &Head, at: WallTime) -> Result<(), String> {
        let line = Remembered { head: head.clone(), at }.line();
        let written = self.open().and_then(|file| write_over(file, &line));
        let told = self.told;
        self.told = written.is_err();
        match written {
            Err(_) if told => Ok(()),
            Err(error) => {
                self.file = None;
                Err(format!("{}: {error}", self.path.display()))
            }
            Ok(()) => Ok(()),
        }
    }

    /// The file; one that was removed is made anew.
    fn open(&mut self) -> io::Result<&File> {
        use std::os::unix::fs::MetadataExt;
        if self.file.as_ref().is_some_and(|file| file.metadata().map_or(true, |found| found.nlink() == 0)) {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
                Ok(none.insert(options.open(&self.path)?))
            }
        }
    }
}

/// Writes a line over the one before, and takes away what that has more.
fn write_over(file: &File, line: &str) -> io::Result<()> {
    file.write_all_at(line.as_bytes(), 0)?;
    // Heads grow, so this is for a store that was put back or begun anew.
    let length = line.len() as u64;
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

/// What is wrong with a store beside a head that this host remembers: it ends before that record, or has another one in
/// its place. `None` if nothing is, and where that record was removed by retention.
///
/// # Errors
/// When the store cannot be read.
pub fn rolled_back(store: &Store, known: &Remembered) -> Result<Option<String>, StoreError> {
    let (head, seq) = (store.head(), known.head.seq);
    if seq == 0 {
        return Ok(None);
    }
    if head.seq < seq {
        let what = match head.seq {
            0 => "the store is empty".to_owned(),
            last => format!("the store ends with record {last}"),
        };
        return Ok(Some(format!(
            "{what}, and this host has written {known}: the store was emptied, replaced or put back from a copy"
        )));
    }
    let pruned = &store.pruned().to;
    let found = match seq {
        seq if seq < pruned.seq => return Ok(None),
        seq if seq == pruned.seq => Some(pruned.hash.to_string()),
        seq => Reader::open(store.path())?.record(seq)?.map(|record| record.hash),
    };
    Ok(match found {
        Some(hash) if RecordHash::parse(&hash) == Some(known.head.hash) => None,
        Some(hash) => Some(format!(
            "record {seq} of the store is {hash}, and this host has written {known} in its place"
        )),
        None => Some(format!("record {seq} is missing in the store, and this host has written {known}")),
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
        anew.open().unwrap();
        assert_eq!(anew.read().unwrap().map(|known| known.head.seq), Some(123_456));
        // A smaller head than before, by a new daemon, leaves nothing of the longer line.
        anew.keep(&head(1), WallTime(1)).unwrap();
        assert_eq!(anew.read().unwrap().map(|known| known.head.seq), Some(1));
    }
}
