//! Watches files that change jitd's own units or every scope while sessions are open.
//!
//! Files from before the first session are the administrator's, and are the baseline. PID 1 reports a drop-in of a
//! single scope ([`super::limit`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jit_host::unit_files::{DROP_INS, FOLDERS, UNITS};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

/// What the package installs of them for `PREFIX=/usr`, as it was when this program was built.
const BUILT_WITH: [(&str, &str); 4] = [
    ("jitd.service", include_str!("../../../systemd/jitd.service")),
    ("jitd.socket", include_str!("../../../systemd/jitd.socket")),
    ("jitd-operator.socket", include_str!("../../../systemd/jitd-operator.socket")),
    ("jit.slice", include_str!("../../../systemd/jit.slice")),
];
/// Where a package installs units.
const OF_PACKAGES: &str = "usr/lib/systemd/system";

/// The package whose upgrade may change units.
pub(super) const PACKAGE: &str = "jitd";
/// Bytes read of a file.
const MAX_READ: u64 = 1 << 20;

/// The files: path, and a print of the contents.
pub(super) type Files = BTreeMap<PathBuf, String>;

/// Reads all of them below a root. A file that cannot be read has the error as its contents.
pub(super) fn look(root: &Path) -> Files {
    let mut files = Files::new();
    for folder in FOLDERS {
        let folder = root.join(folder.trim_start_matches('/'));
        for unit in UNITS {
            note(&mut files, folder.join(unit));
        }
        for drop_ins in DROP_INS {
            let drop_ins = folder.join(drop_ins);
            match fs::read_dir(&drop_ins) {
                Ok(entries) => entries.for_each(|entry| match entry {
                    Ok(entry) => note(&mut files, entry.path()),
                    Err(error) => unreadable(&mut files, drop_ins.clone(), &error),
                }),
                Err(error) if is_nothing(&error) => {}
                Err(error) => unreadable(&mut files, drop_ins, &error),
            }
        }
    }
    files
}

/// Our units in the folder of packages that are not what this program was built with, a line each: the checksums of a package
/// lie on the host and can be changed together with its files, this program's own text cannot without another program.
/// Where there is none, the package is installed elsewhere, or the unit was removed, which PID 1 says.
pub(super) fn unlike_built(root: &Path) -> Vec<String> {
    let units = BUILT_WITH.iter().map(|(unit, text)| (root.join(OF_PACKAGES).join(unit), text.as_bytes()));
    let unlike = units.filter_map(|(path, text)| match fs::read(&path) {
        Ok(there) if there == text => None,
        Ok(_) => Some(format!("{} is not the unit that this jitd was built with", path.display())),
        Err(error) if is_nothing(&error) => None,
        Err(error) => Some(format!("{} cannot be read: {error}", path.display())),
    });
    unlike.collect()
}

/// New, changed and removed files, a line each. A file for which `is_shipped` holds was written by an upgrade of jitd's
/// own package.
pub(super) fn changes(before: &Files, now: &Files, is_shipped: impl Fn(&Path) -> bool) -> Vec<String> {
    let new = now.iter().filter_map(|(path, content)| {
        let how = match before.get(path) {
            Some(old) if old == content => return None,
            Some(_) => "is another",
            None => "is new",
        };
        if is_unit_of_a_package(path) && is_shipped(path) {
            info!("{} {how}; its content is what package {PACKAGE} ships", path.display());
            return None;
        }
        Some(format!("{} {how}", path.display()))
    });
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    new.chain(gone.map(|path| format!("{} is gone", path.display()))).collect()
}

/// Whether a path is in the only folder where packages install units. A drop-in, or a unit in an administrator's
/// folder, is reported whatever the checksums of packages say: root can write those too.
fn is_unit_of_a_package(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with(OF_PACKAGES))
}

fn note(files: &mut Files, path: PathBuf) {
    match fs::symlink_metadata(&path) {
        Ok(meta) => {
            let link = fs::read_link(&path).map_or(String::new(), |to| to.display().to_string());
            let content = match content(&path, &meta) {
                Ok(content) => content,
                Err(error) => return unreadable(files, path, &error),
            };
            files.insert(path, format!("{:o} {} {content} {link}", meta.mode(), meta.uid()));
        }
        Err(error) if is_nothing(&error) => {}
        Err(error) => unreadable(files, path, &error),
    }
}

/// The digest of a file. The same contents written again are no change; a file too large for a unit is known by inode,
/// size and times.
fn content(path: &Path, meta: &fs::Metadata) -> io::Result<String> {
    if !meta.is_file() {
        return Ok(String::new());
    }
    if meta.len() > MAX_READ {
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        return Ok(format!("{} {} {times:?}", meta.ino(), meta.len()));
    }
    // Non-blocking: the name may lead to a FIFO by now.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes)?;
    Ok(hex::encode(Sha256::digest(&bytes)))
}

fn unreadable(files: &mut Files, path: PathBuf, error: &io::Error) {
    warn!("{} cannot be read: {error}", path.display());
    files.insert(path, format!("unreadable: {error}"));
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_is_not_the_one_of_this_program_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(unlike_built(root.path()).is_empty(), "another prefix");
        let folder = root.path().join(OF_PACKAGES);
        fs::create_dir_all(&folder).unwrap();
        for (unit, text) in BUILT_WITH {
            fs::write(folder.join(unit), text).unwrap();
        }
        assert!(unlike_built(root.path()).is_empty());
        let unit = folder.join("jitd.service");
        fs::write(&unit, BUILT_WITH[0].1.replace("/usr/libexec/jitd", "/usr/libexec/other")).unwrap();
        let named = [format!("{} is not the unit that this jitd was built with", unit.display())];
        assert_eq!(unlike_built(root.path()), named);
        fs::remove_file(&unit).unwrap();
        fs::create_dir(&unit).unwrap();
        assert!(unlike_built(root.path())[0].contains("cannot be read"));
    }

    #[test]
    fn what_reaches_our_units_is_seen_in_every_folder() {
        let root = tempfile::tempdir().unwrap();
        let before = look(root.path());
        assert!(before.is_empty());
        let mut written = 0;
        for folder in FOLDERS {
            let folder = root.path().join(folder.trim_start_matches('/'));
            for drop_ins in DROP_INS {
                fs::create_dir_all(folder.join(drop_ins)).unwrap();
                fs::write(folder.join(drop_ins).join("x.conf"), "[Scope]\nRuntimeMaxSec=infinity\n").unwrap();
                written += 1;
            }
            for unit in UNITS {
                std::os::unix::fs::symlink("/dev/null", folder.join(unit)).unwrap();
                written += 1;
            }
            fs::write(folder.join("other.service"), "").unwrap();
        }
        let now = look(root.path());
        let changes = |before: &Files, now: &Files| changes(before, now, |_| false);
        assert_eq!(changes(&before, &now).len(), written);
        assert!(changes(&now, &now).is_empty());
        let conf = root.path().join("etc/systemd/system/scope.d/x.conf");
        fs::write(&conf, "[Scope]\nRuntimeMaxSec=2000y\n").unwrap();
        let path = conf.display();
        assert_eq!(changes(&now, &look(root.path())), [format!("{path} is another")]);
        // Written again, as by an upgrade of the package that ships it.
        let (later, same) = (look(root.path()), fs::read(&conf).unwrap());
        fs::write(conf.with_extension("dpkg-new"), same).unwrap();
        fs::rename(conf.with_extension("dpkg-new"), &conf).unwrap();
        assert!(changes(&later, &look(root.path())).is_empty());
        // A unit that a package ships is not reported. A drop-in is, even if forged checksums say that it is shipped.
        let unit = root.path().join("usr/lib/systemd/system/jitd.service");
        fs::remove_file(&unit).unwrap();
        fs::write(&unit, "upgraded").unwrap();
        fs::write(&conf, "another").unwrap();
        let shipped = super::changes(&later, &look(root.path()), |_| true);
        assert_eq!(shipped, [format!("{path} is another")]);
        fs::remove_file(&unit).unwrap();
        std::os::unix::fs::symlink("/dev/null", &unit).unwrap();
        fs::remove_file(&conf).unwrap();
        assert_eq!(changes(&now, &look(root.path())), [format!("{path} is gone")]);
    }
}
