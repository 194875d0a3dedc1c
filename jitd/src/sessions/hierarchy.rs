//! Reads the cgroup hierarchy below one descriptor of its root.
//!
//! Root can mount a file system over a cgroup's path. So nothing here crosses a mount point or follows a link: a path
//! under another mount is an error, and not an empty folder. openat2(2) would do this with `RESOLVE_NO_XDEV`,
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, but systemd's `RestrictSUIDSGID=` blocks that call, since a seccomp
//! filter cannot inspect its mode.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, StatxFlags, fstat, fstatfs, open as open_path, openat, statx,
};

use crate::host::process;

/// The mount point of the unified hierarchy.
const ROOT: &str = "/sys/fs/cgroup";
/// The file system type in statfs(2) (linux/magic.h, `CGROUP2_SUPER_MAGIC`).
const MAGIC: u64 = 0x6367_7270;
/// The depth limit; the kernel has none of its own (cgroup-v2.rst, `cgroup.max.depth`).
const MAX_DEPTH: usize = 512;

/// The root of the hierarchy, and the id of its mount.
#[derive(Debug)]
struct Root {
    folder: OwnedFd,
    mount: u64,
}

/// The root of the hierarchy, opened at the first call, when jitd starts.
///
/// # Errors
/// When the path has no cgroup2 file system.
pub(super) fn root() -> io::Result<&'static OwnedFd> {
    Ok(&opened_root()?.folder)
}

fn opened_root() -> io::Result<&'static Root> {
    static OPENED: OnceLock<Root> = OnceLock::new();
    if let Some(opened) = OPENED.get() {
        return Ok(opened);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = open_path(ROOT, flags, Mode::empty())?;
    let kind = fstatfs(&folder)?.f_type;
    if u64::try_from(kind).ok() != Some(MAGIC) {
        return Err(io::Error::other(format!("{ROOT} is no cgroup2 file system (statfs: {kind:#x})")));
    }
    let mount = mount_of(&folder)?;
    Ok(OPENED.get_or_init(|| Root { folder, mount }))
}

/// The id of the mount of an open file (statx(2), `STATX_MNT_ID`, since Linux 5.8).
fn mount_of(file: impl AsFd) -> io::Result<u64> {
    let told = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if told.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel does not return mount ids (statx)",
        ));
    }
    Ok(told.stx_mnt_id)
}

/// Opens a file below a folder of the hierarchy.
///
/// # Errors
/// `EXDEV` where the path crosses a mount point or leaves the folder, `ELOOP` or `ENOTDIR` where it has a link; other
/// errors of open(2).
pub(super) fn open(folder: impl AsFd, path: &str, how: OFlags) -> io::Result<OwnedFd> {
    let mount = opened_root()?.mount;
    // Non-blocking: a FIFO may be mounted over the file.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut reached: Option<OwnedFd> = None;
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        if matches!(name, "" | "." | "..") {
            return Err(rustix::io::Errno::XDEV.into());
        }
        let how = if names.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { how };
        let at = reached.as_ref().map_or(folder.as_fd(), AsFd::as_fd);
        let next = openat(at, name, how | flags, Mode::empty())?;
        if mount_of(&next)? != mount {
            return Err(rustix::io::Errno::XDEV.into());
        }
        reached = Some(next);
    }
    reached.ok_or_else(|| rustix::io::Errno::XDEV.into())
}

/// Opens a folder below a folder of the hierarchy.
///
/// # Errors
/// As [`open`].
pub(super) fn open_folder(folder: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    open(folder, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Whether an open folder has not been removed.
///
/// # Errors
/// The error of fstat(2).
pub(super) fn is_there(folder: &OwnedFd) -> io::Result<bool> {
    match open(folder, "cgroup.procs", OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(error) if is_gone(&error) => Ok(false),
        // It exists; its reader gets the error.
        Err(_) => Ok(fstat(folder).is_ok()),
    }
}

/// The names of the subfolders of a folder.
///
/// # Errors
/// When the folder cannot be read to its end.
pub(super) fn folders(folder: impl AsFd) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            let name = std::str::from_utf8(name).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "the name of a cgroup is no UTF-8")
            })?;
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// The processes in a cgroup itself; none if it is gone.
///
/// A threaded cgroup does not list its processes (cgroup-v2.rst, "Threads": EOPNOTSUPP), but its threads; then the
/// processes are the leaders of these.
///
/// # Errors
/// When the cgroup exists and cannot be read.
pub(super) fn pids(folder: &OwnedFd) -> io::Result<Vec<u32>> {
    match numbers(folder, "cgroup.procs") {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let mut leaders = BTreeSet::new();
            for thread in numbers(folder, "cgroup.threads")? {
                leaders.extend(process::leader_of(thread)?);
            }
            Ok(leaders.into_iter().collect())
        }
        other => other,
    }
}

/// The processes in a cgroup and all cgroups below it; none if it is gone.
///
/// # Errors
/// When a cgroup exists and cannot be read, or they are nested deeper than [`MAX_DEPTH`].
pub(super) fn pids_below(folder: &OwnedFd) -> io::Result<Vec<u32>> {
    let mut all = pids(folder)?;
    // One descriptor per level, so that many cgroups side by side use up none of the gate's.
    let mut levels = vec![(folder.try_clone()?, folders(folder)?)];
    while let Some((folder, names)) = levels.last_mut() {
        let Some(name) = names.pop_first() else {
            levels.pop();
            continue;
        };
        let inner = match open_folder(&*folder, &name) {
            Err(error) if is_gone(&error) => continue,
            other => other?,
        };
        if levels.len() >= MAX_DEPTH {
            return Err(io::Error::other(format!("cgroups are nested more than {MAX_DEPTH} deep")));
        }
        all.extend(pids(&inner)?);
        let names = folders(&inner)?;
        levels.push((inner, names));
    }
    Ok(all)
}

/// The numbers in a file, a line each; none if it is gone. A process of another pid namespace shows as 0.
fn numbers(folder: &OwnedFd, file: &str) -> io::Result<Vec<u32>> {
    let text = match open(folder, file, OFlags::RDONLY).and_then(|file| io::read_to_string(File::from(file)))
    {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|number| *number > 0).collect())
}

/// Whether an error says that a cgroup or process is gone.
#[must_use]
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH))
}
