//! Writes the role's file, whole or not at all, and takes it away again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where jitd reads the files of roles (jit-roles(5)).
const FOLDER: &str = "/etc/jitd/roles.d";

/// A file of a role that was written and is taken away again when it is dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct RoleFile {
    path: PathBuf,
    is_kept: bool,
}

impl RoleFile {
    /// Where the file of a role belongs.
    pub(super) fn path_of(role: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("{role}.toml"))
    }

    /// Writes it under a name that jitd does not read, and gives it its own name when all of it is on the disk.
    ///
    /// # Errors
    /// When there is such a file already, or it cannot be written.
    pub(super) fn write(path: PathBuf, text: &str) -> io::Result<Self> {
        let new = path.with_extension("toml.new");
        let written = put(&new, text).and_then(|()| {
            // link(2) fails where rename(2) would write over a file that somebody made meanwhile.
            fs::hard_link(&new, &path)
        });
        let removed = fs::remove_file(&new);
        written?;
        let file = Self { path, is_kept: false };
        removed?;
        file.sync_folder()?;
        Ok(file)
    }

    /// It stays.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for RoleFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // Whoever runs the setup is told of the failure that led here.
            let _ = fs::remove_file(&self.path).and_then(|()| self.sync_folder());
        }
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    // What a setup left here that was killed.
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_kept_is_gone_and_one_that_was_there_stays() {
        let folder = std::env::temp_dir().join(format!("jitctl-setup-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("web.toml");
        drop(RoleFile::write(path.clone(), "one").unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        RoleFile::write(path.clone(), "one").unwrap().keep();
        let again = RoleFile::write(path.clone(), "two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
