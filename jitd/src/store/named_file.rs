//! A file that stays open, and is reopened when its name was removed: data in a file without a name is lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file at a path, opened at the first use.
#[derive(Debug)]
pub(super) struct NamedFile {
    path: PathBuf,
    file: Option<File>,
}

impl NamedFile {
    /// The file need not exist yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; `open` opens it if it is closed or has lost its name.
    ///
    /// # Errors
    /// The errors of `open`.
    pub(super) fn open(&mut self, open: impl FnOnce(&Path) -> io::Result<File>) -> io::Result<&File> {
        if self.file.as_ref().is_some_and(|file| file.metadata().map_or(true, |found| found.nlink() == 0)) {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(open(&self.path)?)),
        }
    }

    /// Closes it; the next use opens it again.
    pub(super) fn close(&mut self) {
        self.file = None;
    }
}
