//! Finds the I/O log of a sudo by its open files.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::slurp;

/// The folder of the I/O log that a sudo has open, by its file of timings (sudo, lib/iolog/iolog_openat.c).
///
/// The user can start a sudo with open files, so the file has to be one that only root can have opened: owned by root,
/// opened for writing, and writable for root only.
#[must_use]
pub fn io_log(pid: u32) -> Option<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    open.filter_map(Result::ok).find_map(|entry| {
        let path = fs::read_link(entry.path()).ok()?;
        if !path.is_absolute() || path.file_name()? != "timing" {
            return None;
        }
        let meta = fs::metadata(entry.path()).ok()?;
        let is_roots = meta.is_file() && meta.uid() == 0 && meta.mode() & 0o022 == 0;
        let is_written = is_opened_for_writing(pid, entry.file_name().to_str()?);
        (is_roots && is_written).then(|| Some(path.parent()?.to_string_lossy().into_owned()))?
    })
}

/// Whether its open(2) flags allow writing (proc_pid_fdinfo(5)).
fn is_opened_for_writing(pid: u32, descriptor: &str) -> bool {
    let info = slurp(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags =
        info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_counts_that_root_alone_can_have_opened() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("timing");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "").unwrap();
        mode(0o600);
        let reading = fs::File::open(&path).unwrap();
        assert_eq!(io_log(std::process::id()), None);
        drop(reading);
        let _writing = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let expected = nix::unistd::geteuid().is_root().then(|| folder.path().display().to_string());
        assert_eq!(io_log(std::process::id()), expected);
        mode(0o622);
        assert_eq!(io_log(std::process::id()), None);
    }
}
