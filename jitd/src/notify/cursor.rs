//! Keeps the number of the last record that people were notified of, over restarts of the daemon.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::warn;

/// The number, in a file beside the store.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    kept: Option<u64>,
}

impl Cursor {
    /// Reads the file. A file that is missing or holds no number is treated as none.
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

    /// The last record that people were notified of, if the file named one.
    pub(super) fn kept(&self) -> Option<u64> {
        self.kept
    }

    /// Writes the number to the file, if it is another one.
    pub(super) fn keep(&mut self, seq: u64) {
        if self.kept == Some(seq) {
            return;
        }
        let new = self.path.with_extension("new");
        let written = fs::write(&new, format!("{seq}\n")).and_then(|()| fs::rename(&new, &self.path));
        match written {
            Ok(()) => self.kept = Some(seq),
            Err(error) => warn!(
                "{}: {error}; after a restart of jitd people are notified of the same records again",
                self.path.display()
            ),
        }
    }
}
