//! Keeps the seal's current key in a file of its own; each key is overwritten by the next.
//!
//! The database would keep old keys in its WAL and in free pages. This file is one block, written in place and synced,
//! so that only the current key can be read from it. SECURITY.md says what a disk may keep nevertheless.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jit_proto::audit::seal::{Ahead, SealKey, Sealer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::named_file::NamedFile;

/// The file's name, beside the database.
pub(super) const NAME: &str = "seal.key";

/// One sector of a disk, which is written whole or not at all. It holds two keys at most: while one seal replaces
/// another, the store says which of them counts.
const SIZE: usize = 512;
const FORMAT: &str = "jitd-seal-key-file-v2";
/// The size of the earlier layout without a check, which is still read.
const OLDER_FORMAT: &str = "jitd-seal-key-file-v1";
/// The beginning of the last line, with the SHA-256 of all lines before it.
const CHECK: &str = "check ";

/// Why the key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SealKeyError {
    /// The file system returned an error.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The key file.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// The contents are not what jitd wrote.
    #[error("{path}: it is damaged: {what}", path = .path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
        /// The damage.
        what: &'static str,
    },
    /// Three keys or more: only one seal can replace another at a time.
    #[error("{path}: too many keys", path = .0.display())]
    TooManyKeys(PathBuf),
}

/// Why a seal that was begun cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum SealLost {
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] SealKeyError),
    /// The key is not the one in the store.
    #[error(
        "the key in {path} does not continue the seal: for record {record} it is {found}, and the store waits for \
         {expected}", path = .path.display()
    )]
    Discontinued {
        /// The key file.
        path: PathBuf,
        /// The record that the key is for.
        record: u64,
        /// The key's id.
        found: String,
        /// The id in the store.
        expected: String,
    },
    /// The key is for a later record than the next one: records are missing in the store.
    #[error("{0}: records are missing in the store")]
    Ahead(#[from] Ahead),
    /// The key is of another seal.
    #[error("{path} is for a seal from record {first} on, which the store does not know of", path = .path.display())]
    UnknownSeal {
        /// The key file.
        path: PathBuf,
        /// The first record of that seal.
        first: u64,
    },
    /// The file holds no key, or does not exist.
    #[error("{path} has no key for the seal that began with record {first}", path = .path.display())]
    NoKey {
        /// The key file.
        path: PathBuf,
        /// The first record of the seal.
        first: u64,
    },
}

/// Writes keys into the file. The records before a key have to be on the disk first.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Mutex<KeyFile>>);

impl Keeper {
    /// The key file at this path, which need not exist yet.
    pub(super) fn of(path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(KeyFile { file: NamedFile::at(path), kept: None, begun: None })))
    }

    /// Writes a key over the last one, and syncs. An older key never replaces a later one. The records before the key's
    /// own have to be on the disk: a key ahead of them could not seal records that have to be written again.
    ///
    /// # Errors
    /// When it cannot be written. The old contents may remain.
    pub fn keep(&self, sealer: &Sealer) -> Result<(), SealKeyError> {
        let mut file = self.file();
        if file.kept.is_some_and(|kept| kept >= (sealer.first, sealer.next)) {
            return Ok(());
        }
        file.begun = file.begun.take().filter(|begun| begun.first > sealer.first);
        let begun = file.begun.clone();
        file.write(&[sealer].into_iter().chain(&begun).collect::<Vec<_>>())?;
        file.kept = Some((sealer.first, sealer.next));
        Ok(())
    }

    /// Adds the first key of a new seal beside the present key, which counts until the store says that the new seal has
    /// begun.
    pub(super) fn begin(&self, new: &Sealer) -> Result<(), SealKeyError> {
        let mut file = self.file();
        // A file that cannot be read has no key to lose.
        let old = file.read().unwrap_or_default().into_iter().rfind(|old| old.first < new.first);
        file.begun = Some(new.clone());
        file.write(&old.iter().chain([new]).collect::<Vec<_>>())
    }

    /// Removes the key of a seal that has not begun.
    pub(super) fn abandon(&self) -> Result<(), SealKeyError> {
        let mut file = self.file();
        let Some(begun) = file.begun.take() else { return Ok(()) };
        let old = file.read()?.into_iter().rfind(|old| old.first < begun.first);
        file.write(&old.iter().collect::<Vec<_>>())
    }

    /// The keys in the file; none if it does not exist.
    pub(super) fn read(&self) -> Result<Vec<Sealer>, SealKeyError> {
        self.file().read()
    }

    /// The path of the file.
    pub(super) fn path(&self) -> PathBuf {
        self.file().file.path().to_owned()
    }

    /// The key of the seal that began with record `first`, advanced to record `next`; `None` if no seal was ever begun
    /// (`first` is 0). `next_id` names the key of record `next`, and is empty in a store of 0.1.0.
    ///
    /// A crash leaves a key for an earlier record, which is advanced. A key for a later record cannot seal the records
    /// to be written. The file follows with the next durable commit: the store's present contents need not be on the
    /// disk.
    pub(super) fn resume(&self, first: u64, next: u64, next_id: &str) -> Result<Option<Sealer>, SealLost> {
        let keys = self.read()?;
        let other = keys.first().map(|key| key.first);
        let path = || self.path();
        if first == 0 && other.is_none() {
            return Ok(None);
        }
        let Some(mut sealer) = keys.into_iter().find(|key| key.first == first) else {
            return Err(match other {
                Some(first) => SealLost::UnknownSeal { path: path(), first },
                None => SealLost::NoKey { path: path(), first },
            });
        };
        sealer.forward_to(next)?;
        let found = sealer.key.id();
        if !next_id.is_empty() && next_id != found {
            let (record, expected) = (sealer.next, next_id.to_owned());
            return Err(SealLost::Discontinued { path: path(), record, found, expected });
        }
        Ok(Some(sealer))
    }

    /// The file behind the lock; a file that a panicked thread left is overwritten.
    fn file(&self) -> MutexGuard<'_, KeyFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open file.
#[derive(Debug)]
struct KeyFile {
    file: NamedFile,
    /// The last written key: the first record of its seal, and its own record.
    kept: Option<(u64, u64)>,
    /// The key of a seal that is about to begin.
    begun: Option<Sealer>,
}

impl KeyFile {
    /// The keys in the file; none if it does not exist.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    fn read(&mut self) -> Result<Vec<Sealer>, SealKeyError> {
        let mut block = Zeroizing::new([0; SIZE]);
        let read = match self.file.open(open) {
            Ok(file) => file.read_exact_at(block.as_mut_slice(), 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => Err(error),
        };
        read.map_err(|error| self.failed(error))?;
        let text = std::str::from_utf8(block.as_slice()).map_err(|_| "it is not text");
        text.and_then(keys_in)
            .map_err(|what| SealKeyError::Damaged { path: self.file.path().to_owned(), what })
    }

    /// Overwrites the file with these keys, and syncs.
    ///
    /// # Errors
    /// When it cannot be written. The old contents may remain.
    fn write(&mut self, sealers: &[&Sealer]) -> Result<(), SealKeyError> {
        let mut block = Zeroizing::new([b' '; SIZE]);
        // Allocated in full: a growing text would leave copies in memory.
        let mut text = Zeroizing::new(String::with_capacity(SIZE));
        for Sealer { first, next, key } in sealers {
            let line = Zeroizing::new(format!("{FORMAT} {first} {next} {}\n", *key.to_hex()));
            text.push_str(&line);
        }
        let sum = sum_of(&text);
        text.push_str(CHECK);
        text.push_str(&sum);
        text.push('\n');
        let start = block.get_mut(..text.len());
        let start = start.ok_or_else(|| SealKeyError::TooManyKeys(self.file.path().to_owned()))?;
        start.copy_from_slice(text.as_bytes());
        block[SIZE - 1] = b'\n';
        let written = self.file.open(open_or_create).and_then(|file| {
            file.write_all_at(block.as_slice(), 0)?;
            file.sync_data()
        });
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> SealKeyError {
        SealKeyError::File { path: self.file.path().to_owned(), error }
    }
}

fn open(path: &Path) -> io::Result<File> {
    options().open(path)
}

/// A new file has its full length, and its name is on the disk, before a key is written into it.
fn open_or_create(path: &Path) -> io::Result<File> {
    match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options().create_new(true).open(path)?;
            file.set_len(SIZE as u64)?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
            Ok(file)
        }
        other => other,
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

/// The keys in a block. Every line has to parse, and the check to match; only a block with nothing but lines of the
/// older layout needs no check.
fn keys_in(text: &str) -> Result<Vec<Sealer>, &'static str> {
    const DAMAGED: &str = "its check does not match its contents";
    let (keys, checked) = match text.rfind(CHECK) {
        Some(at) => {
            let (keys, check) = text.split_at(at);
            // The sum goes from the check to the end, with spaces that fill the block.
            let rest = check.strip_prefix(CHECK).and_then(|rest| rest.split_at_checked(64));
            let (sum, blanks) = rest.ok_or(DAMAGED)?;
            let filled = blanks.starts_with('\n') && blanks.ends_with('\n');
            if sum != sum_of(keys).as_str()
                || !filled
                || !blanks.bytes().all(|byte| byte == b' ' || byte == b'\n')
            {
                return Err(DAMAGED);
            }
            (keys, true)
        }
        None => (text, false),
    };
    let lines = keys.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| match parse(line) {
            Some((FORMAT, sealer)) if checked => Ok(sealer),
            Some((OLDER_FORMAT, sealer)) if !checked => Ok(sealer),
            Some(_) => Err(DAMAGED),
            None => Err("it has a line that is no key"),
        })
        .collect()
}

fn parse(line: &str) -> Option<(&str, Sealer)> {
    let mut words = line.split_whitespace();
    let format = words.next()?;
    let [first, next] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    let key = SealKey::from_hex(words.next()?)?;
    words.next().is_none().then_some((format, Sealer { first, next, key }))
}

fn sum_of(text: &str) -> Zeroizing<String> {
    Zeroizing::new(hex::encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn sealer(first: u64, seed: u8) -> Sealer {
        Sealer::beginning(first, SealKey::taking(&mut [seed; 32]))
    }

    #[test]
    fn a_key_is_written_over_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let keeper = Keeper::of(path.clone());
        assert!(keeper.read().unwrap().is_empty() && !path.exists());
        keeper.keep(&sealer(3, 0xab)).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let mut next = sealer(3, 0xab);
        next.forward_to(7).unwrap();
        keeper.keep(&next).unwrap();
        let raw = std::fs::read(&path).unwrap();
        assert_eq!((raw.len(), std::fs::metadata(&path).unwrap().ino()), (SIZE, inode));
        assert!(!String::from_utf8(raw).unwrap().contains("abab"), "an old key is there still");
        // A late key does not replace it.
        keeper.keep(&sealer(3, 0xab)).unwrap();
        let back = Keeper::of(path.clone()).read().unwrap();
        assert_eq!((back.len(), back[0].first, back[0].next), (1, 3, 7));
        assert_eq!(back[0].key.to_hex(), next.key.to_hex());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_seal_about_to_begin_stands_beside_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::of(folder.path().join("seal.key"));
        let firsts = || keeper.read().unwrap().iter().map(|key| (key.first, key.next)).collect::<Vec<_>>();
        keeper.begin(&sealer(3, 1)).unwrap();
        assert_eq!(firsts(), [(3, 3)]);
        keeper.abandon().unwrap();
        assert_eq!(firsts(), []);
        keeper.keep(&sealer(3, 1)).unwrap();
        keeper.begin(&sealer(9, 2)).unwrap();
        assert_eq!(firsts(), [(3, 3), (9, 9)]);
        let mut moved = sealer(3, 1);
        moved.forward_to(5).unwrap();
        keeper.keep(&moved).unwrap();
        assert_eq!(firsts(), [(3, 5), (9, 9)]);
        keeper.keep(&sealer(9, 2)).unwrap();
        assert_eq!(firsts(), [(9, 9)]);
        // A late key of the old seal.
        moved.forward_to(8).unwrap();
        keeper.keep(&moved).unwrap();
        assert_eq!(firsts(), [(9, 9)]);
        keeper.begin(&sealer(20, 3)).unwrap();
        keeper.abandon().unwrap();
        assert_eq!(firsts(), [(9, 9)]);
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let keeper = Keeper::of(path.clone());
        keeper.keep(&sealer(3, 1)).unwrap();
        std::fs::remove_file(&path).unwrap();
        keeper.keep(&sealer(4, 2)).unwrap();
        assert_eq!(Keeper::of(path).read().unwrap()[0].first, 4);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let keeper = Keeper::of(path.clone());
        keeper.keep(&sealer(3, 1)).unwrap();
        keeper.begin(&sealer(9, 2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(Keeper::of(path.clone()).read().unwrap().len(), 2);
        for (at, bit) in (0..SIZE).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut block = whole.clone();
            block[at] ^= 1 << bit;
            std::fs::write(&path, block).unwrap();
            assert!(Keeper::of(path.clone()).read().is_err(), "byte {at}, bit {bit}");
        }
    }

    #[test]
    fn the_layout_without_a_check_is_still_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let line = format!("{OLDER_FORMAT} 3 7 {}\n", *sealer(3, 5).key.to_hex());
        std::fs::write(&path, format!("{line:<511}\n")).unwrap();
        let keeper = Keeper::of(path.clone());
        let back = keeper.read().unwrap();
        assert_eq!((back.len(), back[0].first, back[0].next), (1, 3, 7));
        keeper.keep(&back[0]).unwrap();
        assert!(std::fs::read_to_string(path).unwrap().starts_with(FORMAT));
    }

    #[test]
    fn what_is_no_key_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        std::fs::write(&path, "short").unwrap();
        assert!(Keeper::of(path.clone()).read().unwrap_err().to_string().contains("seal.key"));
        std::fs::write(&path, [b'x'; SIZE]).unwrap();
        assert!(Keeper::of(path.clone()).read().unwrap_err().to_string().contains("no key"));
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(Keeper::of(folder.path().join("link")).read().is_err());
    }
}
