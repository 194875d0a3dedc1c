//! Keeps the seal's current key in a file of its own, where the next one is written over it.
//!
//! The database would keep old keys in its journal and in free pages. This file is one block, written in place and
//! forced to the disk, so that what can be read from it is the key it holds. What a disk may keep all the same is in
//! SECURITY.md.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jit_proto::audit::seal::{SealKey, Sealer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// One sector of a disk, which is written whole or not at all. It holds two keys at most: while a seal gives way to
/// another, the store says which of them counts.
const SIZE: usize = 512;
const FORMAT: &str = "jitd-seal-key-file-v2";
/// The layout before it had a check; it is still read.
const OLDER_FORMAT: &str = "jitd-seal-key-file-v1";
/// Begins the last line, which has the SHA-256 of all lines before it.
const CHECK: &str = "check ";

/// Why the key file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = .path.display())]
pub struct KeyFileError {
    path: PathBuf,
    problem: String,
}

/// Puts keys into the file; for whoever knows that the records before them are on the disk.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Mutex<KeyFile>>);

impl Keeper {
    /// The keeper of the file at this path, which need not be there yet.
    pub(super) fn of(path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(KeyFile { path, file: None, kept: None, begun: None })))
    }

    /// Writes a key over the one before, and waits until the disk has it. An older key is never written over a later
    /// one. The records before the key's own have to be on the disk: a key that is ahead of them cannot seal what
    /// would have to be written anew.
    ///
    /// # Errors
    /// When it cannot be written. What was there may be there still.
    pub fn keep(&self, sealer: &Sealer) -> Result<(), KeyFileError> {
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

    /// Puts the first key of a seal beside the one that is there, which counts until the store says that the new one
    /// has begun.
    pub(super) fn begin(&self, new: &Sealer) -> Result<(), KeyFileError> {
        let mut file = self.file();
        // A file that cannot be read has no key that could be lost.
        let old = file.read().unwrap_or_default().into_iter().rfind(|old| old.first < new.first);
        file.begun = Some(new.clone());
        file.write(&old.iter().chain([new]).collect::<Vec<_>>())
    }

    /// Takes a seal back that has not begun after all.
    pub(super) fn abandon(&self) -> Result<(), KeyFileError> {
        let mut file = self.file();
        let Some(begun) = file.begun.take() else { return Ok(()) };
        let old = file.read()?.into_iter().rfind(|old| old.first < begun.first);
        file.write(&old.iter().collect::<Vec<_>>())
    }

    /// The keys in the file, none if it is not there.
    pub(super) fn read(&self) -> Result<Vec<Sealer>, KeyFileError> {
        self.file().read()
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.file().path.clone()
    }

    /// What a thread that panicked has left is a file to be written over.
    fn file(&self) -> MutexGuard<'_, KeyFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open file.
#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    file: Option<File>,
    /// Which key was written last: its seal and its record.
    kept: Option<(u64, u64)>,
    /// A seal about to begin.
    begun: Option<Sealer>,
}

impl KeyFile {
    /// The keys in the file, none if it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn read(&mut self) -> Result<Vec<Sealer>, KeyFileError> {
        let mut block = Zeroizing::new([0; SIZE]);
        match self.open(false) {
            Ok(file) => file.read_exact_at(block.as_mut_slice(), 0).map_err(|error| self.problem(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.problem(&error)),
        }
        let text = std::str::from_utf8(block.as_slice()).map_err(|error| self.problem(&error))?;
        keys_in(text).map_err(|problem| self.problem(&problem))
    }

    /// Writes these keys over what is there, and waits until the disk has them.
    ///
    /// # Errors
    /// When it cannot be written. What was there may be there still.
    fn write(&mut self, sealers: &[&Sealer]) -> Result<(), KeyFileError> {
        let mut block = Zeroizing::new([b' '; SIZE]);
        // Large enough from the start: text that grows leaves a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(SIZE));
        for Sealer { first, next, key } in sealers {
            let line = Zeroizing::new(format!("{FORMAT} {first} {next} {}\n", *key.to_hex()));
            text.push_str(&line);
        }
        let sum = sum_of(&text);
        text.push_str(CHECK);
        text.push_str(&sum);
        text.push('\n');
        let place = block.get_mut(..text.len());
        place.ok_or_else(|| self.problem(&"too many keys"))?.copy_from_slice(text.as_bytes());
        block[SIZE - 1] = b'\n';
        let written = self.open(true).and_then(|file| {
            file.write_all_at(block.as_slice(), 0)?;
            file.sync_data()
        });
        written.map_err(|error| self.problem(&error))
    }

    /// The file, opened once. One that somebody has removed is made anew, since what is written to it would be lost.
    fn open(&mut self, make: bool) -> io::Result<&File> {
        if self.file.as_ref().is_some_and(|file| file.metadata().map_or(true, |found| found.nlink() == 0)) {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
                let file = match options.open(&self.path) {
                    Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                        let file = options.create_new(true).open(&self.path)?;
                        file.set_len(SIZE as u64)?;
                        file.sync_all()?;
                        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
                        file
                    }
                    other => other?,
                };
                Ok(none.insert(file))
            }
        }
    }

    fn problem(&self, problem: &dyn std::fmt::Display) -> KeyFileError {
        KeyFileError { path: self.path.clone(), problem: problem.to_string() }
    }
}

/// The keys in a block. Every line has to be understood, and the check to agree; only a block that has lines of the
/// older layout alone needs none.
fn keys_in(text: &str) -> Result<Vec<Sealer>, &'static str> {
    const DAMAGED: &str = "it is damaged: its check does not agree with what it holds";
    let (keys, checked) = match text.rfind(CHECK) {
        Some(at) => {
            let (keys, check) = text.split_at(at);
            // From the check to the end there is the sum, and blanks to fill the block.
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
            None => Err("it is damaged: it holds something that is no key"),
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
        // One that comes late is not written over it.
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
        // A key of the old seal that comes late.
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
