//! The files of a change: copies that keep every attribute, and the one step by which a stack becomes another.
//!
//! What a change needs lies in a folder beside the stacks, and not in `/var/lib/jitd`: a rename(2) inside one file system
//! is atomic, and needs no free block, so that a change can be undone on a disk that is full.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use jit_host::pam_edit::has_lines;
use jit_proto::bus::names::error;
use rustix::fs::{FlockOperation, XattrFlags, fgetxattr, flistxattr, flock, fsetxattr};

use crate::failure::{Exit, Failure};

/// The folder of the administrator's stacks (pam.d(5)).
const STACKS: &str = "/etc/pam.d";
/// What is in force before a change; the backup after it.
const BEFORE: &str = "before";
/// What is to be in force.
const AFTER: &str = "after";
/// Longest value of an extended attribute that Linux has (xattr(7)).
const MAX_XATTR_BYTES: usize = 65536;

/// The folder of stacks, and the folder for changes in it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    stacks: PathBuf,
}

/// Nobody else changes stacks by way of jitctl while this is held.
#[derive(Debug)]
pub(super) struct Lock {
    _folder: File,
}

impl Folder {
    /// Those of this host.
    pub(super) fn of_host() -> Self {
        Self { stacks: PathBuf::from(STACKS) }
    }

    #[cfg(test)]
    pub(super) fn at(stacks: &Path) -> Self {
        Self { stacks: stacks.to_owned() }
    }

    /// The stack of a service.
    pub(super) fn stack(&self, service: &str) -> PathBuf {
        self.stacks.join(service)
    }

    /// A file of a change; only root can look into its folder.
    pub(super) fn kept(&self, name: &str) -> PathBuf {
        self.kept_folder().join(name)
    }

    fn kept_folder(&self) -> PathBuf {
        self.stacks.join(".jitd")
    }

    /// The backup of a service's stack, as it was before the change.
    pub(super) fn backup(&self, service: &str) -> PathBuf {
        self.kept(&format!("{service}.{BEFORE}"))
    }

    fn next(&self, service: &str) -> PathBuf {
        self.kept(&format!("{service}.{AFTER}"))
    }

    /// Makes the folder for changes, and keeps every other jitctl out of it.
    pub(super) fn lock(&self) -> Result<Lock, Failure> {
        let folder = self.kept_folder();
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("cannot make", &folder, &why));
            }
            _ => {}
        }
        let found = fs::symlink_metadata(&folder).map_err(|why| failed("cannot look at", &folder, &why))?;
        if !found.is_dir() || found.uid() != 0 && cfg!(not(test)) {
            let message = format!("{} is not a folder of root's; remove it", folder.display());
            return Err(Failure::new(Exit::Failed, error::FAILED, &message));
        }
        let open = File::open(&folder).map_err(|why| failed("cannot open", &folder, &why))?;
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _folder: open }),
            Err(_) => Err(Failure::new(
                Exit::Failed,
                error::FAILED,
                "another jitctl is changing PAM stacks; wait until it has ended",
            )),
        }
    }

    /// The text of a stack.
    pub(super) fn read(&self, service: &str) -> Result<String, Failure> {
        let path = self.stack(service);
        let found = match fs::symlink_metadata(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let message = format!(
                    "there is no {}; if another folder has the stack of {service}, copy it there first",
                    path.display()
                );
                return Err(Failure::new(Exit::NoSuch, error::NO_SUCH, &message));
            }
            found => found.map_err(|why| failed("cannot look at", &path, &why))?,
        };
        if !found.is_file() {
            let message = format!("{} is no regular file; put the file itself there first", path.display());
            return Err(Failure::new(Exit::Failed, error::FAILED, &message));
        }
        fs::read_to_string(&path).map_err(|why| failed("cannot read", &path, &why))
    }

    /// The services of the stacks that name pam_jit.so, whatever they are.
    pub(super) fn with_lines(&self) -> Result<Vec<String>, Failure> {
        let mut found = Vec::new();
        let entries = fs::read_dir(&self.stacks).map_err(|why| failed("cannot read", &self.stacks, &why))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let regular = entry.path().is_file();
            // What dpkg leaves beside a file is nobody's stack.
            if regular && !name.contains(".dpkg-") && !name.ends_with(".jitd-removed") {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                if has_lines(&text) {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Writes down what is in force, as a backup, and what is to be; both with every attribute of the stack, and on the disk.
    pub(super) fn prepare(&self, service: &str, before: &str, after: &str) -> Result<(), Failure> {
        let backup = self.backup(service);
        copy_as(&self.stack(service), &backup, before)
            .map_err(|why| failed("cannot write", &backup, &why))?;
        self.prepare_next(service, after)
    }

    /// Writes down what is to be, alone.
    pub(super) fn prepare_next(&self, service: &str, after: &str) -> Result<(), Failure> {
        let next = self.next(service);
        copy_as(&self.stack(service), &next, after).map_err(|why| failed("cannot write", &next, &why))?;
        sync(&self.kept_folder())
    }

    /// Puts what was prepared in force, in one step.
    ///
    /// # Errors
    /// Where the stack is not what it was any more, or what was prepared has been taken back.
    pub(super) fn put_in_force(&self, service: &str, before: &str) -> Result<(), Failure> {
        if self.read(service)? != before {
            let message = format!("{} has changed meanwhile; try again", self.stack(service).display());
            return Err(Failure::new(Exit::Failed, error::FAILED, &message));
        }
        self.step(&self.next(service), service)
    }

    /// Puts the backup in force, in one step; it is no backup then any more.
    pub(super) fn put_back(&self, service: &str) -> Result<(), Failure> {
        self.step(&self.backup(service), service)
    }

    /// Removes the backup.
    pub(super) fn remove_backup(&self, service: &str) -> Result<(), Failure> {
        remove(&self.backup(service))
    }

    /// Takes back what was prepared: nobody can put it in force any more.
    pub(super) fn take_back(&self, service: &str) -> Result<(), Failure> {
        remove(&self.next(service))
    }

    fn step(&self, from: &Path, service: &str) -> Result<(), Failure> {
        let to = self.stack(service);
        fs::rename(from, &to).map_err(|why| failed("cannot replace", &to, &why))?;
        sync(&self.kept_folder())?;
        sync(&self.stacks)
    }

    /// Removes what a jitctl that was killed has left behind: what never came in force, and backups of what is in force.
    /// Only with the lock, and where no change waits.
    pub(super) fn clear(&self, _lock: &Lock) {
        for entry in fs::read_dir(self.kept_folder()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_stray = match name.rsplit_once('.') {
                Some((_, AFTER | "new")) => true,
                Some((service, BEFORE)) => fs::read(entry.path())
                    .is_ok_and(|text| fs::read(self.stack(service)).is_ok_and(|now| now == text)),
                _ => false,
            };
            if is_stray {
                // What stays is in nobody's way, and the next change writes it anew.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the folder for changes where nothing is in it.
    pub(super) fn tidy(&self) {
        // With a backup in it, it stays.
        let _ = fs::remove_dir(self.kept_folder());
    }

    /// Writes a file of a change so that it is whole or not there.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let (path, new) = (self.kept(name), self.kept(&format!("{name}.new")));
        let written = || -> io::Result<()> {
            match fs::remove_file(&new) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        written().map_err(|why| {
            let _ = fs::remove_file(&new);
            failed("cannot write", &path, &why)
        })?;
        sync(&self.kept_folder())
    }

    /// Gives a file of a change another name; whether it was there.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<bool, Failure> {
        let (from, to) = (self.kept(from), self.kept(to));
        match fs::rename(&from, &to) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            renamed => {
                renamed.map_err(|why| failed("cannot rename", &from, &why))?;
                sync(&self.kept_folder()).map(|()| true)
            }
        }
    }

    /// Removes a file of a change.
    pub(super) fn remove(&self, name: &str) -> Result<(), Failure> {
        match remove(&self.kept(name)) {
            // Nor is there a folder to write the removal of.
            Ok(()) if !self.kept_folder().exists() => Ok(()),
            removed => removed.and_then(|()| sync(&self.kept_folder())),
        }
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(failed("cannot remove", path, &why)),
        _ => Ok(()),
    }
}

/// A failure with a file.
pub(super) fn failed(what: &str, path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, &format!("{what} {}: {why}", path.display()))
}

/// Writes a text to a new file that has owner, mode, times, SELinux label, access control list and every other extended
/// attribute of a file, and is on the disk. A file that was there is replaced; where this fails none is there.
fn copy_as(like: &Path, path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let written = || -> io::Result<()> {
        let model = File::open(like)?;
        let found = model.metadata()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fchown(&file, Some(found.uid()), Some(found.gid()))?;
        // Before the mode: with an access control list the group's bits of the mode are its mask (acl(5)).
        copy_attributes(&model, &file)?;
        file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))?;
        let times = fs::FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?);
        file.set_times(times)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().inspect_err(|_| {
        // What is not whole is no copy.
        let _ = fs::remove_file(&new);
        let _ = fs::remove_file(path);
    })
}

fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let mut names = vec![0_u8; MAX_XATTR_BYTES];
    let length = match flistxattr(from, &mut names) {
        // A file system that knows none.
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        listed => listed?,
    };
    names.truncate(length);
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; MAX_XATTR_BYTES];
        let length = fgetxattr(from, name, &mut value)?;
        fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(|why| failed("cannot sync", folder, &why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn folder() -> (tempfile::TempDir, Folder) {
        let at = tempfile::tempdir().unwrap();
        let folder = Folder::at(at.path());
        fs::write(folder.stack("sudo"), "before\n").unwrap();
        (at, folder)
    }

    #[test]
    fn a_stack_is_replaced_with_its_attributes_and_put_back() {
        let (_at, folder) = folder();
        let stack = folder.stack("sudo");
        let file = File::options().write(true).open(&stack).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_times(fs::FileTimes::new().set_modified(old)).unwrap();
        // A file system of the test host may know no attributes of users.
        let has = fsetxattr(&file, "user.jit", b"kept", XattrFlags::empty()).is_ok();
        let lock = folder.lock().unwrap();
        folder.prepare("sudo", "before\n", "after\n").unwrap();
        folder.put_in_force("sudo", "before\n").unwrap();
        for text in ["after\n", "before\n"] {
            assert_eq!(folder.read("sudo").unwrap(), text);
            let found = fs::metadata(&stack).unwrap();
            assert_eq!((found.mode() & 0o7777, found.modified().unwrap()), (0o640, old));
            let mut value = [0_u8; 16];
            let length = fgetxattr(File::open(&stack).unwrap(), "user.jit", &mut value).unwrap_or_default();
            assert_eq!(&value[..length], if has { &b"kept"[..] } else { b"" });
            if text == "after\n" {
                folder.put_back("sudo").unwrap();
            }
        }
        drop(lock);
        folder.tidy();
        assert!(!folder.kept_folder().exists());
    }

    #[test]
    fn what_was_taken_back_or_has_changed_is_not_put_in_force() {
        let (_at, folder) = folder();
        let _lock = folder.lock().unwrap();
        assert!(folder.lock().is_err(), "one at a time");
        folder.prepare("sudo", "before\n", "after\n").unwrap();
        folder.take_back("sudo").unwrap();
        assert!(folder.put_in_force("sudo", "before\n").is_err());
        folder.prepare("sudo", "before\n", "after\n").unwrap();
        fs::write(folder.stack("sudo"), "an upgrade\n").unwrap();
        let failure = folder.put_in_force("sudo", "before\n").unwrap_err();
        assert!(failure.message.contains("has changed meanwhile"), "{failure}");
        assert_eq!(folder.read("sudo").unwrap(), "an upgrade\n");
    }

    #[test]
    fn what_a_killed_jitctl_left_is_cleared_and_a_backup_stays() {
        let (_at, folder) = folder();
        let lock = folder.lock().unwrap();
        folder.prepare("sudo", "before\n", "after\n").unwrap();
        fs::write(folder.kept("sudo.new"), "aft").unwrap();
        folder.clear(&lock);
        assert_eq!(fs::read_dir(folder.kept_folder()).unwrap().count(), 0);
        folder.prepare("sudo", "before\n", "after\n").unwrap();
        folder.put_in_force("sudo", "before\n").unwrap();
        folder.clear(&lock);
        assert_eq!(fs::read_to_string(folder.backup("sudo")).unwrap(), "before\n");
    }

    #[test]
    fn a_link_and_a_missing_stack_are_refused_with_what_to_do() {
        let (_at, folder) = folder();
        std::os::unix::fs::symlink(folder.stack("sudo"), folder.stack("su")).unwrap();
        assert!(folder.read("su").unwrap_err().message.contains("no regular file"));
        assert_eq!(folder.read("doas").unwrap_err().exit, Exit::NoSuch);
        assert!(folder.prepare("doas", "x", "y").is_err());
        fs::write(folder.stack("su.dpkg-old"), "account required pam_jit.so gate\n").unwrap();
        fs::write(folder.stack("common-auth"), "account required pam_jit.so gate services=sudo\n").unwrap();
        assert_eq!(folder.with_lines().unwrap(), ["common-auth"]);
    }
}
