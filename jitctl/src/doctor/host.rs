//! The host that is looked at: its files below a root, and what jitd says of itself.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jit_proto::bus::view::{ProblemView, RoleView, StatusView};

/// What jitd says; a sentence where it does not.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The roles in force.
    pub(super) roles: Result<Vec<RoleView>, String>,
    /// What is wrong with the policy on disk.
    pub(super) problems: Result<Vec<ProblemView>, String>,
    /// How it is.
    pub(super) status: Result<StatusView, String>,
}

/// The host that is looked at.
#[derive(Debug, Clone)]
pub(super) struct Host {
    root: PathBuf,
    pub(super) told: Told,
}

impl Host {
    /// This host.
    pub(super) fn here(told: Told) -> Self {
        Self { root: PathBuf::from("/"), told }
    }

    /// Files below another root, beside a jitd that does not run.
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Self {
        let away = || "jitd is not running".to_owned();
        let told = Told { roles: Err(away()), problems: Err(away()), status: Err(away()) };
        Self { root: root.to_owned(), told }
    }

    /// Where its files are.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of it is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A path below the root, as this host names it.
    pub(super) fn named(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        Path::new("/").join(below).display().to_string()
    }

    /// What a file says; none where it is not there.
    pub(super) fn read(&self, path: &str) -> io::Result<Option<String>> {
        match fs::read(self.path(path)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The files of a folder by their whole paths, sorted by name; none where the folder is not there.
    pub(super) fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
        found.sort();
        Ok(found)
    }

    /// What a path is, without following a link; none where nothing is there.
    pub(super) fn meta(&self, path: &str) -> io::Result<Option<Metadata>> {
        match fs::symlink_metadata(self.path(path)) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether something is there. A path that cannot be looked at counts as there: it is looked at again by whoever asks.
    pub(super) fn has(&self, path: &str) -> bool {
        !matches!(self.meta(path), Ok(None))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
