//! Reads files that only root may change, and parses them.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::de::DeserializeOwned;
use sha2::Digest;
use toml::de::DeTable;

use super::Loader;
use crate::policy::form;

/// The largest policy file.
const MAX_BYTES: u64 = 1 << 20;

/// A file that was read.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    pub(super) fn line_of(&self, span: &Range<usize>) -> u64 {
        let before = self.text.as_bytes().iter().take(span.start);
        1 + before.filter(|byte| **byte == b'\n').count() as u64
    }
}

impl Loader<'_> {
    /// Checks a folder: whoever may write it may replace its files.
    pub(super) fn check_folder(&mut self, path: &Path) {
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_dir() => self.problem_of_file(path, "it is no folder".to_owned()),
            Ok(meta) => self.check_owner(path, &meta),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.problem_of_file(path, format!("it cannot be looked at: {error}")),
        }
    }

    pub(super) fn check_owner(&mut self, path: &Path, meta: &fs::Metadata) {
        if meta.uid() != 0 {
            self.problem_of_file(path, format!("it belongs to uid {}, not to root", meta.uid()));
        }
        if meta.mode() & 0o022 != 0 {
            let mode = meta.mode() & 0o7777;
            self.problem_of_file(path, format!("others than root may write it (mode {mode:04o})"));
        }
    }

    pub(super) fn role_files(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.problem_of_file(folder, format!("it cannot be read: {error}"));
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) if entry.path().extension().is_some_and(|ext| ext == "toml") => {
                    paths.push(entry.path())
                }
                Ok(_) => {}
                Err(error) => self.problem_of_file(folder, format!("it cannot be read: {error}")),
            }
        }
        paths.sort();
        paths
    }

    /// Reads a file that only root may write. The open file is checked, and a link is not followed.
    pub(super) fn read(&mut self, path: &Path) -> Option<Source> {
        let opened = fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.problem_of_file(path, format!("it cannot be opened: {error}"));
                return None;
            }
        };
        let meta = match file.metadata() {
            Ok(meta) => meta,
            Err(error) => {
                self.problem_of_file(path, format!("it cannot be looked at: {error}"));
                return None;
            }
        };
        if !meta.is_file() {
            self.problem_of_file(path, "it is no plain file".to_owned());
            return None;
        }
        self.check_owner(path, &meta);
        let mut text = String::new();
        match file.take(MAX_BYTES + 1).read_to_string(&mut text) {
            Ok(_) if text.len() as u64 > MAX_BYTES => {
                self.problem_of_file(path, format!("it is larger than {MAX_BYTES} bytes"));
                None
            }
            Ok(_) => {
                self.hasher.update(path.display().to_string().as_bytes());
                self.hasher.update([0]);
                self.hasher.update((text.len() as u64).to_be_bytes());
                self.hasher.update(text.as_bytes());
                Some(Source { path: path.to_owned(), text })
            }
            Err(error) => {
                self.problem_of_file(path, format!("it cannot be read: {error}"));
                None
            }
        }
    }

    /// Parses a file. Text that is not TOML is reported and not read; invalid values are reported, and the rest is
    /// read.
    pub(super) fn parse<T: DeserializeOwned>(
        &mut self,
        source: &Source,
        keys: &'static form::Keys,
    ) -> Option<(T, form::Values)> {
        let (mut table, errors) = DeTable::parse_recoverable(&source.text);
        if !errors.is_empty() {
            errors.iter().for_each(|error| self.syntax(source, "", error));
            return None;
        }
        let form::Checked { deviations, values } = form::check(&mut table, keys);
        for form::Deviation { span, key, message } in deviations {
            self.problem(source, span, &key, message);
        }
        let deserializer = toml::Deserializer::from(table);
        match serde_path_to_error::deserialize(deserializer) {
            Ok(file) => Some((file, values)),
            Err(error) => {
                // `Spanned` appears in the path under a name of its own.
                let path = error.path().to_string();
                let words = path.split('.').filter(|word| !word.starts_with('$') && !word.is_empty());
                let key = words.collect::<Vec<_>>().join(".");
                self.syntax(source, &key, error.inner());
                None
            }
        }
    }

    pub(super) fn syntax(&mut self, source: &Source, key: &str, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        self.problem(source, span, key, error.message().to_owned());
    }
}
