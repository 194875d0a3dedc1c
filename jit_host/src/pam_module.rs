//! Finds the files of the PAM module on this host, and says for which machine each was built.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The name of the module's file.
pub const NAME: &str = "pam_jit.so";
/// Folders that libraries are in, or in a folder below that is named after the architecture.
const LIBRARIES: [&str; 2] = ["usr/lib", "usr/lib64"];

/// The files of the module below a root, by their paths: one in each folder that a libpam of this host may load modules
/// from.
///
/// # Errors
/// The folder that cannot be read, and why.
pub fn files(root: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for library in LIBRARIES.map(|library| root.join(library)) {
        let mut folders = vec![library.clone()];
        match fs::read_dir(&library) {
            Ok(entries) => {
                for entry in entries {
                    folders.push(entry.map_err(|error| (library.clone(), error))?.path());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err((library, error)),
        }
        let module = |folder: PathBuf| folder.join("security").join(NAME);
        found.extend(folders.into_iter().map(module).filter(|path| path.symlink_metadata().is_ok()));
    }
    found.sort();
    Ok(found)
}

/// What an ELF file is built for: class, byte order and machine (elf(5), `EI_CLASS`, `EI_DATA`, `e_machine`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine([u8; 2], [u8; 2]);

/// For which machine a file is built; `None` where it is no ELF file.
///
/// # Errors
/// Where it cannot be read.
pub fn machine(path: &Path) -> io::Result<Option<Machine>> {
    let mut head = Vec::new();
    File::open(path)?.take(20).read_to_end(&mut head)?;
    Ok(match head.as_slice() {
        [0x7f, b'E', b'L', b'F', class, data, .., low, high] if head.len() == 20 => {
            Some(Machine([*class, *data], [*low, *high]))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_in_the_folders_of_libraries() {
        let root = tempfile::tempdir().unwrap();
        assert!(files(root.path()).unwrap().is_empty());
        let security = root.path().join("usr/lib/x86_64-linux-gnu/security");
        fs::create_dir_all(&security).unwrap();
        fs::create_dir_all(root.path().join("usr/lib/security")).unwrap();
        fs::write(security.join(NAME), "").unwrap();
        assert_eq!(files(root.path()).unwrap(), [security.join(NAME)]);
    }

    #[test]
    fn a_program_and_a_text_are_told_apart() {
        let own = machine(Path::new("/proc/self/exe")).unwrap();
        assert!(own.is_some());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "no ELF file, but long enough to be one").unwrap();
        assert_eq!(machine(&file).unwrap(), None);
        let mut other = fs::read("/proc/self/exe").unwrap();
        other[18] ^= 0xff;
        fs::write(&file, &other[..64]).unwrap();
        assert_ne!(machine(&file).unwrap(), own);
    }
}
