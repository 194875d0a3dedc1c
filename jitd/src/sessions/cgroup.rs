//! A session's cgroup: who is in it, freeze, kill, empty (kernel: Documentation/admin-guide/cgroup-v2.rst).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::names::{SLICE, scope_name};
use tokio::io::Interest;

use crate::readiness::watched;

/// The unified hierarchy.
const ROOT: &str = "/sys/fs/cgroup";
/// cgroup.kill empties 5,000 processes in well under a second; after this much something is wrong.
const KILL_LIMIT: Duration = Duration::from_secs(3);

/// The cgroup of one session's scope.
#[derive(Debug, Clone)]
pub struct Scope {
    path: PathBuf,
}

/// Every scope of ours that is there.
#[must_use]
pub fn all_scopes() -> BTreeSet<SessionId> {
    let Ok(entries) = fs::read_dir(Path::new(ROOT).join(SLICE)) else { return BTreeSet::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("jit-")?.strip_suffix(".scope")?.parse().ok().map(SessionId))
        .collect()
}

/// The pids directly in some cgroup, given as `/proc/PID/cgroup` names it; none if it is gone.
#[must_use]
pub fn pids_in(cgroup: &str) -> Vec<u32> {
    pids(&Path::new(ROOT).join(cgroup.trim_start_matches('/')))
}

impl Scope {
    /// The scope of a session, there or not.
    #[must_use]
    pub fn of(session: SessionId) -> Self {
        Self { path: Path::new(ROOT).join(SLICE).join(scope_name(session)) }
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Moves a process here.
    ///
    /// # Errors
    /// When either is gone.
    pub fn take(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// All processes in it, and in cgroups made below it.
    #[must_use]
    pub fn all_pids(&self) -> Vec<u32> {
        let mut all = Vec::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            all.extend(pids(&folder));
            if let Ok(entries) = fs::read_dir(&folder) {
                folders.extend(entries.filter_map(|entry| {
                    let entry = entry.ok()?;
                    entry.file_type().ok()?.is_dir().then(|| entry.path())
                }));
            }
        }
        all
    }

    /// Whether anything lives in it or below it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.event("populated").unwrap_or(false)
    }

    /// Stops everything in it from running, and waits until it does.
    ///
    /// # Errors
    /// When it is gone, or does not come to rest within the limit.
    pub async fn freeze(&self, limit: Duration) -> io::Result<()> {
        fs::write(self.path.join("cgroup.freeze"), "1")?;
        self.wait_for("frozen", true, limit).await
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// When it is gone.
    pub fn thaw(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.freeze"), "0")
    }

    /// Kills everything in it and below it, and waits until it is empty. Nothing there is success.
    ///
    /// # Errors
    /// When it is not empty within the limit.
    pub async fn kill(&self) -> io::Result<()> {
        match fs::write(self.path.join("cgroup.kill"), "1") {
            Err(error) if is_gone(&error) => return Ok(()),
            other => other?,
        }
        self.wait_until_empty(KILL_LIMIT).await
    }

    /// Waits until nothing lives in it. Gone is empty.
    ///
    /// # Errors
    /// `TimedOut` when it is still populated at the limit.
    pub async fn wait_until_empty(&self, limit: Duration) -> io::Result<()> {
        match self.wait_for("populated", false, limit).await {
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        }
    }

    /// Waits for a key of `cgroup.events`. The kernel marks the file with POLLPRI whenever one changes.
    async fn wait_for(&self, key: &str, value: bool, limit: Duration) -> io::Result<()> {
        let file = watched(File::open(self.path.join("cgroup.events"))?.into(), Interest::PRIORITY)?;
        let wait = async {
            loop {
                if read_event(file.get_ref(), key)? == value {
                    return Ok(());
                }
                file.ready(Interest::PRIORITY).await?.clear_ready();
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn event(&self, key: &str) -> io::Result<bool> {
        read_event(&File::open(self.path.join("cgroup.events"))?, key)
    }
}

/// Whether an error says that the cgroup is not there any more.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn read_event(file: impl AsFd, key: &str) -> io::Result<bool> {
    let mut bytes = [0_u8; 256];
    let length = rustix::io::pread(file, &mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    Ok(value == Some("1"))
}

fn pids(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // A process of another pid namespace shows as 0.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}
