//! One file as it is and as it is to be: shown, written in one step, put back.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use jit_proto::escape::Escaped;
use serde_json::{Value, json};

use super::failed;
use crate::failure::Failure;

/// dpkg, logrotate, rsyslog and jitd read no file that ends so, should one be left behind.
const UNFINISHED: &str = ".dpkg-new";
/// Lines around a difference that are shown.
const CONTEXT: usize = 2;

/// One file, and what it is to hold; nothing where there is to be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    path: PathBuf,
    before: Option<Vec<u8>>,
    after: Option<String>,
}

/// The text of a file that has to be there.
pub(super) fn required(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|why| failed(&format!("{} cannot be read: {why}", path.display())))
}

impl Change {
    /// Reads what is there.
    pub(super) fn of(path: &Path, after: Option<String>) -> Result<Self, Failure> {
        let before = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(why) if why.kind() == ErrorKind::NotFound => None,
            Err(why) => return Err(failed(&format!("{} cannot be read: {why}", path.display()))),
        };
        Ok(Self { path: path.to_owned(), before, after })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything is to be done.
    pub(super) fn changes(&self) -> bool {
        self.before.as_deref() != self.after.as_ref().map(String::as_bytes)
    }

    /// What is there now, as text.
    pub(super) fn text_before(&self) -> Option<String> {
        self.before.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// For `--json`.
    pub(super) fn told(&self) -> Value {
        let does = match (&self.before, &self.after) {
            (_, None) => "remove",
            (None, Some(_)) => "create",
            (Some(_), Some(_)) => "change",
        };
        json!({ "path": self.path, "does": does, "content": self.after })
    }

    /// The difference, as diff(1) shows it with `-u`, of one stretch of lines.
    pub(super) fn diff(&self) -> String {
        let before = self.text_before().unwrap_or_default();
        let after = self.after.clone().unwrap_or_default();
        let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
        let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
        let (old_rest, new_rest) = (&old[same..], &new[same..]);
        let same_end =
            old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| one == other).count();
        let (gone, come) = (&old_rest[..old_rest.len() - same_end], &new_rest[..new_rest.len() - same_end]);
        let lead = &old[same.saturating_sub(CONTEXT)..same];
        let behind = &old_rest[gone.len()..old_rest.len().min(gone.len() + CONTEXT)];
        let shown = self.path.display().to_string();
        let shown = Escaped(&shown);
        let nothing = |there: bool| if there { shown.to_string() } else { "/dev/null".to_owned() };
        let mut text =
            format!("--- {}\n+++ {}\n", nothing(self.before.is_some()), nothing(self.after.is_some()));
        let from = same - lead.len() + 1;
        let (olds, news) = (lead.len() + gone.len() + behind.len(), lead.len() + come.len() + behind.len());
        text += &format!("@@ -{from},{olds} +{from},{news} @@\n");
        for (sign, lines) in [(' ', lead), ('-', gone), ('+', come), (' ', behind)] {
            for line in lines {
                text += &format!("{sign}{}\n", Escaped(line));
            }
        }
        text
    }

    /// Makes it so. What was shown is what is changed: a file that is another one by now is left alone.
    pub(super) fn make(&self) -> Result<(), String> {
        let now = match fs::read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(why) if why.kind() == ErrorKind::NotFound => None,
            Err(why) => return Err(format!("{} cannot be read: {why}", self.path.display())),
        };
        if now != self.before {
            return Err(format!("{} was changed by somebody else meanwhile", self.path.display()));
        }
        self.put(self.after.as_ref().map(String::as_bytes))
    }

    /// Puts back what was there.
    pub(super) fn undo(&self) -> Result<(), String> {
        self.put(self.before.as_deref())
    }

    fn put(&self, content: Option<&[u8]>) -> Result<(), String> {
        let written = match content {
            Some(content) => replace(&self.path, content),
            None => match fs::remove_file(&self.path) {
                Err(why) if why.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        written.map_err(|why| format!("{} cannot be written: {why}", self.path.display()))
    }
}

/// At no moment is there half a file, and none that a power cut emptied. Owner and mode stay; a new file is root's, 0644.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    let unfinished = PathBuf::from(name);
    let written = (|| {
        // What a run that was killed has left.
        drop(fs::remove_file(&unfinished));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(content)?;
        let mode = match fs::metadata(path) {
            Ok(meta) => {
                fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
                meta.mode() & 0o7777
            }
            Err(_) => 0o644,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        // It says why already.
        drop(fs::remove_file(&unfinished));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_one_stretch_with_its_surroundings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let shown = path.display();
        let new = Change::of(&path, Some("a\nb\n".to_owned())).unwrap();
        assert_eq!(new.diff(), format!("--- /dev/null\n+++ {shown}\n@@ -1,0 +1,2 @@\n+a\n+b\n"));
        fs::write(&path, "1\n2\n3\n4\n\u{1b}5\n6\n7\n8\n").unwrap();
        let change = Change::of(&path, Some("1\n2\n3\n4\nfive\n6\n7\n8\n".to_owned())).unwrap();
        assert_eq!(
            change.diff(),
            format!("--- {shown}\n+++ {shown}\n@@ -3,5 +3,5 @@\n 3\n 4\n-\\u{{1b}}5\n+five\n 6\n 7\n")
        );
        let gone = Change::of(&path, None).unwrap();
        assert!(gone.diff().starts_with(&format!("--- {shown}\n+++ /dev/null\n@@ -1,8 +1,0 @@\n-1\n")));
    }

    #[test]
    fn a_file_keeps_its_mode_and_one_that_somebody_else_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let change = Change::of(&path, Some("after".to_owned())).unwrap();
        change.make().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert!(change.make().unwrap_err().contains("changed by somebody else"));
        change.undo().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    }
}
