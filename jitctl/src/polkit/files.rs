//! The rule, and the stack of pkexec: each is replaced in one step.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::failed;
use crate::failure::Failure;

/// The rule's file: it sorts before every other that begins with a digit, so that none decides before it (polkit(8)).
pub(super) const RULE: &str = "/etc/polkit-1/rules.d/00-jitd.rules";
/// What it says.
pub(super) const RULE_TEXT: &str = include_str!("../../../packaging/polkit/jitd-asks.rules");
/// pkexec's stack, where the administrator has one (pam.d(5)).
pub(super) const STACK: &str = "/etc/pam.d/polkit-1";
/// The same as polkit's package brings it.
pub(super) const VENDOR_STACK: &str = "/usr/lib/pam.d/polkit-1";

/// A file's text; `None` where there is no such file.
pub(super) fn text_of(path: &str) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(failed(format!("cannot read {path}: {why}"))),
    }
}

/// Gives a file this text, mode 0644, in one step. At no moment is there half of it.
pub(super) fn put(path: &str, text: &str) -> Result<(), Failure> {
    let next = format!("{path}.jitd-new");
    let written = remove_file(&next).and_then(|()| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&next)?;
        file.write_all(text.as_bytes())?;
        // Whatever the umask is: polkitd, which is not root, has to read it.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        Path::new(path).parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    });
    written.map_err(|why| failed(format!("cannot write {path}: {why}")))
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &str) -> Result<(), Failure> {
    remove_file(path).map_err(|why| failed(format!("cannot remove {path}: {why}")))
}

fn remove_file(path: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_readable_for_all() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00-jitd.rules");
        let path = path.to_str().unwrap();
        assert_eq!(text_of(path).unwrap(), None);
        put(path, "one").unwrap();
        put(path, "two").unwrap();
        assert_eq!(text_of(path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(path).unwrap();
        remove(path).unwrap();
        assert!(put("/nonexistent/rule", "x").is_err());
    }
}
