//! A small disk of a host's own, that fills up and that fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::wait_until;
use crate::output;

const LIMIT: Duration = Duration::from_secs(60);

/// An ext4 file system in a file, mounted at one of the host's folders from outside. It is unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes one and mounts it, before its host is booted.
    pub(crate) fn new(folder: &Path, at: &Path, megabytes: u32) -> Result<Self> {
        let image = folder.join("disk.img");
        let file = fs::File::create(&image).with_context(|| image.display().to_string())?;
        file.set_len(u64::from(megabytes) << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", "lazy_itable_init=0"]).arg(&image))?;
        fs::create_dir_all(at)?;
        let disk = Self { image, at: at.to_owned() };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<()> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&self.at))
    }

    /// Makes it fail as after an I/O error: the journal is aborted, and every write from now on is refused (ext4(5),
    /// `errors=remount-ro` and `abort`).
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn fail(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.at))
    }

    /// Repairs it as the next boot would, while its host is down.
    ///
    /// # Errors
    /// When it is still in use, or cannot be repaired.
    pub fn repair(&self) -> Result<()> {
        run(Command::new("umount").arg(&self.at))?;
        // Other mount namespaces may hold it a moment longer, and as long as they do it is the failed one.
        wait_until("the disk is let go", LIMIT, || {
            let used = output::run(Command::new("losetup").arg("--associated").arg(&self.image), b"", LIMIT)?;
            Ok(used.ok()?.stdout.is_empty())
        })?;
        let checked = output::run(Command::new("e2fsck").args(["-f", "-y"]).arg(&self.image), b"", LIMIT)?;
        // 0: nothing was wrong; 1: it was repaired (e2fsck(8)).
        if checked.status > 1 {
            bail!("the disk cannot be repaired: {}", checked.text());
        }
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If that fails, the mount is removed with its folder.
        let _ = output::run(Command::new("umount").arg("--lazy").arg(&self.at), b"", LIMIT);
    }
}

fn run(command: &mut Command) -> Result<()> {
    output::run(command, b"", LIMIT)?.ok().map(drop)
}
