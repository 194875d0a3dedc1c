//! The state files of the drift scan, which are kept over a restart: the baseline, and the grants that the next scan
//! covers. They keep the names `survey.json` and `survey-open.json` of earlier versions.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::schedule::Open;
use super::snapshot::Snapshot;

/// Two files beside the store.
#[derive(Debug, Clone)]
pub(super) struct StateFiles {
    folder: PathBuf,
}

impl StateFiles {
    /// The files in this folder, which belongs to jitd.
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn baseline_path(&self) -> PathBuf {
        self.folder.join("survey.json")
    }

    fn open_path(&self) -> PathBuf {
        self.folder.join("survey-open.json")
    }

    /// The baseline, if there is one.
    pub(super) fn baseline(&self) -> Option<Snapshot> {
        read(&self.baseline_path())
    }

    /// The grants whose sessions no scan has covered yet.
    pub(super) fn open(&self) -> Open {
        read(&self.open_path()).unwrap_or_default()
    }

    /// Replaces the baseline.
    ///
    /// # Errors
    /// An error of the file system; the old file is unchanged then.
    pub(super) fn write_baseline(&self, baseline: &Snapshot) -> io::Result<()> {
        write(&self.baseline_path(), baseline)
    }

    /// Replaces the list of grants.
    ///
    /// # Errors
    /// An error of the file system; the old file is unchanged then.
    pub(super) fn write_open(&self, open: &Open) -> io::Result<()> {
        write(&self.open_path(), open)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!("{} cannot be read and counts as absent: {error}", path.display());
            return None;
        }
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            warn!("{} has other contents and counts as absent: {error}", path.display());
            None
        }
    }
}

/// Replaces a file as a whole: after a crash it is the old one or the new one.
fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let mut buffered = BufWriter::new(file);
    serde_json::to_writer(&mut buffered, value)?;
    buffered.flush()?;
    buffered.get_ref().sync_data()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back_and_garbage_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let kept = StateFiles::in_folder(folder.path());
        assert_eq!((kept.baseline(), kept.open()), (None, Open::default()));
        let (snapshot, _) =
            crate::drift::scan::files(folder.path(), jit_proto::time::BootId("a".into()), &[]);
        kept.write_baseline(&snapshot).unwrap();
        assert_eq!(kept.baseline(), Some(snapshot));
        fs::write(kept.baseline_path(), "{").unwrap();
        assert_eq!(kept.baseline(), None);
    }
}
