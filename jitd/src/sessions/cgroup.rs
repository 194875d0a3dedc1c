//! A session's cgroups: who is in them, freeze, kill, empty (kernel: Documentation/admin-guide/cgroup-v2.rst).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::names::{SLICE, scope_name, session_of_scope};
use tokio::io::Interest;

use crate::clock::Stopwatch;
use crate::readiness::watched;

/// The unified hierarchy.
const ROOT: &str = "/sys/fs/cgroup";
/// cgroup.kill empties 5,000 processes in well under a second; after this much something is wrong.
const KILL_LIMIT: Duration = Duration::from_secs(3);
/// A mark that the kernel dropped is made up for after this, and then after twice as long each time,
const SOON: Duration = Duration::from_millis(20);
/// but at most this.
const SELDOM: Duration = Duration::from_secs(5);

/// The cgroups of one session's scopes. Usually there is one; while its window is being moved there are two.
#[derive(Debug, Clone)]
pub struct Scope {
    session: SessionId,
    /// Those that are there or were.
    generations: BTreeSet<u32>,
}

/// Every session that has a scope.
#[must_use]
pub fn all_scopes() -> BTreeSet<SessionId> {
    scopes().map(|(session, _)| session).collect()
}

/// The pids directly in some cgroup, given as `/proc/PID/cgroup` names it; none if it is gone.
#[must_use]
pub fn pids_in(cgroup: &str) -> Vec<u32> {
    pids(&Path::new(ROOT).join(cgroup.trim_start_matches('/')))
}

impl Scope {
    /// The scopes that a session has.
    #[must_use]
    pub fn of(session: SessionId) -> Self {
        let own = scopes().filter(|(found, _)| *found == session);
        Self { session, generations: own.map(|(_, generation)| generation).collect() }
    }

    /// It gets another one.
    pub fn add(&mut self, generation: u32) {
        self.generations.insert(generation);
    }

    /// The how manieth scope of the session is the newest.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.generations.last().copied()
    }

    /// Moves a process into one of its scopes.
    ///
    /// # Errors
    /// When either is gone.
    pub fn take(&self, generation: u32, pid: u32) -> io::Result<()> {
        fs::write(self.folder(generation).join("cgroup.procs"), pid.to_string())
    }

    /// All processes in one of its scopes, and in cgroups made below it.
    #[must_use]
    pub fn pids_of(&self, generation: u32) -> Vec<u32> {
        let mut all = Vec::new();
        let mut folders = vec![self.folder(generation)];
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

    /// All processes in all of its scopes.
    #[must_use]
    pub fn all_pids(&self) -> Vec<u32> {
        self.generations.iter().flat_map(|generation| self.pids_of(*generation)).collect()
    }

    /// Whether anything lives in one of its scopes or below it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.generations.iter().any(|generation| self.holds(*generation))
    }

    /// Whether anything lives in this scope or below it.
    #[must_use]
    pub fn holds(&self, generation: u32) -> bool {
        let events = self.folder(generation).join("cgroup.events");
        File::open(events).and_then(|file| read_event(&file, "populated")).unwrap_or(false)
    }

    /// Processor time that everything in one of its scopes has used so far (cgroup-v2.rst, `cpu.stat`).
    #[must_use]
    pub fn cpu(&self, generation: u32) -> Option<Duration> {
        let text = fs::read_to_string(self.folder(generation).join("cpu.stat")).ok()?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
        Some(Duration::from_micros(micros))
    }

    /// Stops everything in it from running, and waits until it does.
    ///
    /// # Errors
    /// When it does not come to rest within the limit.
    pub async fn freeze(&self, limit: Duration) -> io::Result<()> {
        for generation in &self.generations {
            fs::write(self.folder(*generation).join("cgroup.freeze"), "1").or_else(gone)?;
        }
        for generation in &self.generations {
            self.wait_for(*generation, "frozen", true, limit).await.or_else(gone)?;
        }
        Ok(())
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// Whatever the kernel says; not when it is gone.
    pub fn thaw(&self) -> io::Result<()> {
        let thaw =
            |generation: &u32| fs::write(self.folder(*generation).join("cgroup.freeze"), "0").or_else(gone);
        self.generations.iter().try_for_each(thaw)
    }

    /// Kills everything in it and below it, and waits until it is empty. Nothing there is success.
    ///
    /// # Errors
    /// When it is not empty within the limit.
    pub async fn kill(&self) -> io::Result<()> {
        for generation in &self.generations {
            fs::write(self.folder(*generation).join("cgroup.kill"), "1").or_else(gone)?;
        }
        self.wait_until_empty(KILL_LIMIT).await
    }

    /// Waits until nothing lives in any of its scopes. Gone is empty.
    ///
    /// # Errors
    /// `TimedOut` when one is still populated at the limit.
    pub async fn wait_until_empty(&self, limit: Duration) -> io::Result<()> {
        let watch = Stopwatch::start();
        // A process may be moved from one to the other meanwhile, so that no single pass tells.
        while self.is_populated() {
            for generation in &self.generations {
                let left = limit.saturating_sub(watch.elapsed());
                self.wait_for(*generation, "populated", false, left).await.or_else(gone)?;
            }
        }
        Ok(())
    }

    /// Waits for a key of `cgroup.events`. The kernel marks the file with POLLPRI whenever one changes, but puts that off
    /// where it did so less than 10 ms ago, and drops it where the cgroup is removed meanwhile (kernel/cgroup/cgroup.c,
    /// `cgroup_file_notify`, `cgroup_rm_file`). So it is looked at again without a mark as well, less and less often.
    async fn wait_for(&self, generation: u32, key: &str, value: bool, limit: Duration) -> io::Result<()> {
        let events = self.folder(generation).join("cgroup.events");
        let file = watched(File::open(events)?.into(), Interest::PRIORITY)?;
        let wait = async {
            let mut look_again = SOON;
            loop {
                if read_event(file.get_ref(), key)? == value {
                    return Ok(());
                }
                if let Ok(marked) = tokio::time::timeout(look_again, file.ready(Interest::PRIORITY)).await {
                    marked?.clear_ready();
                }
                look_again = look_again.saturating_mul(2).min(SELDOM);
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn folder(&self, generation: u32) -> PathBuf {
        Path::new(ROOT).join(SLICE).join(scope_name(self.session, generation))
    }
}

/// A cgroup that is not there any more holds nothing, and so is as it was to be.
fn gone(error: io::Error) -> io::Result<()> {
    let gone = error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV);
    if gone { Ok(()) } else { Err(error) }
}

fn scopes() -> impl Iterator<Item = (SessionId, u32)> {
    let entries = fs::read_dir(Path::new(ROOT).join(SLICE)).into_iter().flatten();
    entries.filter_map(|entry| session_of_scope(entry.ok()?.file_name().to_str()?))
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
