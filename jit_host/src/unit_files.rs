//! Where files lie that change jitd's own units, and how they are named (systemd.unit(5)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where PID 1 looks for units (systemd.unit(5), "Unit File Load Path"), the first first.
pub const FOLDERS: [&str; 12] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    PACKAGED,
    "/run/systemd/generator.late",
];
/// The one of them that packages install into.
pub const PACKAGED: &str = "/usr/lib/systemd/system";
/// Units of ours, by their files: a link to /dev/null masks one.
pub const UNITS: [&str; 4] = ["jitd.service", "jitd.socket", "jitd-operator.socket", "jit.slice"];
/// Folders of drop-ins that reach our units; each name is cut at its dashes as well (systemd.unit(5)).
pub const DROP_INS: [&str; 10] = [
    "scope.d",
    "jit-.scope.d",
    "slice.d",
    "jit.slice.d",
    "service.d",
    "jitd.service.d",
    "socket.d",
    "jitd.socket.d",
    "jitd-.socket.d",
    "jitd-operator.socket.d",
];

/// A file that stands in the place of a unit of ours, or adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// A link to /dev/null in the place of this unit.
    Masked(PathBuf),
    /// Another file in its place.
    InPlace(PathBuf),
    /// A drop-in.
    DropIn(PathBuf),
}

/// The files outside of [`PACKAGED`] that mask, replace or change a unit of ours, below a root.
///
/// # Errors
/// The folder or file that cannot be read, and why: whether something is there is then not known.
pub fn foreign(root: &Path) -> Result<Vec<Foreign>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for folder in FOLDERS.iter().filter(|folder| **folder != PACKAGED) {
        let folder = root.join(folder.trim_start_matches('/'));
        for unit in UNITS.map(|unit| folder.join(unit)) {
            match fs::symlink_metadata(&unit) {
                Ok(_) if fs::read_link(&unit).is_ok_and(|to| to == Path::new("/dev/null")) => {
                    found.push(Foreign::Masked(unit));
                }
                Ok(_) => found.push(Foreign::InPlace(unit)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err((unit, error)),
            }
        }
        for drop_ins in DROP_INS.map(|name| folder.join(name)) {
            let entries = match fs::read_dir(&drop_ins) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err((drop_ins, error)),
            };
            let mut files = Vec::new();
            for entry in entries {
                files.push(entry.map_err(|error| (drop_ins.clone(), error))?.path());
            }
            files.retain(|file| file.extension().is_some_and(|end| end == "conf"));
            files.sort();
            found.extend(files.into_iter().map(Foreign::DropIn));
        }
    }
    Ok(found)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_masks_replaces_or_changes_a_unit_is_found_and_what_packages_install_is_not() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/systemd/system");
        let packaged = root.path().join(PACKAGED.trim_start_matches('/'));
        for folder in [etc.join("scope.d"), packaged.join("service.d")] {
            fs::create_dir_all(folder).unwrap();
        }
        assert_eq!(foreign(root.path()).unwrap(), []);
        fs::write(packaged.join("service.d/10.conf"), "").unwrap();
        fs::write(packaged.join("jitd.service"), "").unwrap();
        assert_eq!(foreign(root.path()).unwrap(), []);
        fs::write(etc.join("scope.d/x.conf"), "").unwrap();
        fs::write(etc.join("scope.d/README"), "").unwrap();
        fs::write(etc.join("jit.slice"), "").unwrap();
        std::os::unix::fs::symlink("/dev/null", etc.join("jitd.socket")).unwrap();
        let expected = [
            Foreign::Masked(etc.join("jitd.socket")),
            Foreign::InPlace(etc.join("jit.slice")),
            Foreign::DropIn(etc.join("scope.d/x.conf")),
        ];
        assert_eq!(foreign(root.path()).unwrap(), expected);
    }
}
