//! Remembers over restarts up to which record people have been told.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::warn;

/// A file beside the store.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    kept: Option<u64>,
}

impl Cursor {
    /// Reads it. One that is not there or holds something else knows nothing.
    pub(super) fn beside(store: &Path) -> Self {
        let path = store.with_file_name("notified");
        let kept = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                warn!("{}: {error}", path.display());
                None
            }
        };
        Self { path, kept }
    }

    /// Up to where people have been told.
    pub(super) fn kept(&self) -> Option<u64> {
        self.kept
    }

    /// Keeps it, if it has moved.
    pub(super) fn keep(&mut self, seq: u64) {
        if self.kept == Some(seq) {
            return;
        }
        let new = self.path.with_extension("new");
        let written = fs::write(&new, format!("{seq}\n")).and_then(|()| fs::rename(&new, &self.path));
        match written {
            Ok(()) => self.kept = Some(seq),
            // After a restart people are told again.
            Err(error) => warn!("{}: {error}", self.path.display()),
        }
    }
}
