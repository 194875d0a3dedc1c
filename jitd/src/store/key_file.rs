//! Keeps the seal's current key in a file of its own, where the next one is written over it.
//!
//! The database would keep old keys in its journal and in free pages. This file is one block, written in place and
//! forced to the disk, so that what can be read from it is the key it holds. What a disk may keep all the same is in
//! SECURITY.md.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jit_proto::seal::{SealKey, Sealer};
use zeroize::Zeroizing;

/// One sector of a disk, which is written whole or not at all. It holds two keys at most: while a seal gives way to
/// another, the store says which of them counts.
const SIZE: usize = 512;
const FORMAT: &str = "jitd-seal-key-file-v1";

/// Why the key file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = .path.display())]
pub struct KeyFileError {
    path: PathBuf,
    problem: String,
}

/// The open file.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    file: Option<File>,
}

impl KeyFile {
    /// The file at this path, which need not be there yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The keys in the file, none if it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn read(&mut self) -> Result<Vec<Sealer>, KeyFileError> {
        let mut block = Zeroizing::new([0; SIZE]);
        match self.open(false) {
            Ok(file) => file.read_exact_at(block.as_mut_slice(), 0).map_err(|error| self.problem(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.problem(&error)),
        }
        let text = std::str::from_utf8(block.as_slice()).map_err(|error| self.problem(&error))?;
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Writes these keys over what is there, and waits until the disk has them.
    ///
    /// # Errors
    /// When it cannot be written. What was there may be there still.
    pub(super) fn write(&mut self, sealers: &[&Sealer]) -> Result<(), KeyFileError> {
        let mut block = Zeroizing::new([b' '; SIZE]);
        let mut at = 0;
        for Sealer { first, next, key } in sealers {
            let line = Zeroizing::new(format!("{FORMAT} {first} {next} {}\n", *key.to_hex()));
            let place = block.get_mut(at..at + line.len());
            place.ok_or_else(|| self.problem(&"too many keys"))?.copy_from_slice(line.as_bytes());
            at += line.len();
        }
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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn parse(line: &str) -> Option<Sealer> {
    let mut words = line.split_whitespace();
    if words.next() != Some(FORMAT) {
        return None;
    }
    let [first, next] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    Some(Sealer { first, next, key: SealKey::from_hex(words.next()?)? })
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
        let mut file = KeyFile::at(path.clone());
        assert!(file.read().unwrap().is_empty() && !path.exists());
        file.write(&[&sealer(3, 0xab)]).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let mut next = sealer(3, 0xab);
        next.forward_to(7).unwrap();
        file.write(&[&next, &sealer(9, 0xcd)]).unwrap();
        assert_eq!(KeyFile::at(path.clone()).read().unwrap().len(), 2);
        file.write(&[&next]).unwrap();
        let raw = std::fs::read(&path).unwrap();
        assert_eq!((raw.len(), std::fs::metadata(&path).unwrap().ino()), (SIZE, inode));
        let text = String::from_utf8(raw).unwrap();
        assert!(!text.contains("abab") && !text.contains("cdcd"), "an old key is there still");
        let back = KeyFile::at(path.clone()).read().unwrap();
        assert_eq!((back.len(), back[0].first, back[0].next), (1, 3, 7));
        assert_eq!(back[0].key.to_hex(), next.key.to_hex());
        file.write(&[]).unwrap();
        assert!(file.read().unwrap().is_empty());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let mut file = KeyFile::at(path.clone());
        file.write(&[&sealer(3, 1)]).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write(&[&sealer(4, 2)]).unwrap();
        assert_eq!(KeyFile::at(path).read().unwrap()[0].first, 4);
    }

    #[test]
    fn what_is_no_key_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        std::fs::write(&path, "short").unwrap();
        assert!(KeyFile::at(path.clone()).read().unwrap_err().to_string().contains("seal.key"));
        std::fs::write(&path, [b'x'; SIZE]).unwrap();
        assert!(KeyFile::at(path.clone()).read().unwrap().is_empty());
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(KeyFile::at(folder.path().join("link")).read().is_err());
    }
}
