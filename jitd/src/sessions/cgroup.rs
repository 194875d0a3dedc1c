//! A session's cgroups: list, freeze, kill, wait until empty (kernel: Documentation/admin-guide/cgroup-v2.rst).
//!
//! All reads are below one descriptor of the hierarchy's root, without crossing a mount point or a link
//! ([`super::hierarchy`]). A cgroup that is gone is empty; a cgroup that cannot be read is an error and never empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jit_proto::bus::names::{SLICE, scope_name, session_of_scope};
use jit_proto::identity::SessionId;
use rustix::fs::OFlags;
use tokio::io::Interest;

use super::hierarchy::{self, is_gone};
use crate::host::clock::Stopwatch;
use crate::host::sys::watched;

/// cgroup.kill empties 5,000 processes in well under a second; a longer kill has failed.
const KILL_LIMIT: Duration = Duration::from_secs(3);
/// The first delay before the file is read again without a notification from the kernel; it doubles each time,
const SOON: Duration = Duration::from_millis(20);
/// up to this.
const SELDOM: Duration = Duration::from_secs(5);

/// The cgroups of one session's scopes. Usually there is one; while the scope's deadline is being moved there are two.
#[derive(Debug, Clone)]
pub struct Scope {
    session: SessionId,
    /// The numbers of scopes that exist or existed.
    generations: BTreeSet<u32>,
    /// Whether the slice could be listed; if not, there may be more scopes.
    listed: bool,
    /// Open descriptors of scopes, so that a file system mounted over their path later hides nothing.
    opened: Arc<Mutex<BTreeMap<u32, Arc<OwnedFd>>>>,
}

/// Every session that has a scope.
///
/// # Errors
/// When the slice cannot be listed. A missing slice is no error.
pub fn all_scopes() -> io::Result<BTreeSet<SessionId>> {
    Ok(scopes()?.into_iter().map(|(session, _)| session).collect())
}

/// The pids directly in a cgroup, by its path in `/proc/PID/cgroup`; none if it is gone.
///
/// # Errors
/// When the cgroup exists and cannot be read.
pub fn pids_in(cgroup: &str) -> io::Result<Vec<u32>> {
    let path = cgroup.trim_start_matches('/');
    let folder = match path {
        "" => hierarchy::root()?.try_clone()?,
        path => match hierarchy::open_folder(hierarchy::root()?, path) {
            Err(error) if is_gone(&error) => return Ok(Vec::new()),
            other => other?,
        },
    };
    hierarchy::pids(&folder)
}

impl Scope {
    /// The scopes that a session has.
    #[must_use]
    pub fn of(session: SessionId) -> Self {
        let (generations, listed) = match generations_of(session) {
            Ok(generations) => (generations, true),
            Err(error) => {
                tracing::error!("{SLICE} cannot be listed for the scopes of session {session}: {error}");
                (BTreeSet::new(), false)
            }
        };
        Self { session, generations, listed, opened: Arc::default() }
    }

    /// Adds a scope.
    pub fn add(&mut self, generation: u32) {
        self.generations.insert(generation);
    }

    /// The number of the newest scope of the session, from 0: a session can be moved to a new one.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.generations.last().copied()
    }

    /// The numbers of its scopes that are known.
    #[must_use]
    pub fn known(&self) -> &BTreeSet<u32> {
        &self.generations
    }

    /// The numbers of all its scopes.
    ///
    /// # Errors
    /// When the slice still cannot be listed.
    fn generations(&self) -> io::Result<BTreeSet<u32>> {
        let mut all = self.generations.clone();
        if !self.listed {
            all.extend(generations_of(self.session)?);
        }
        Ok(all)
    }

    /// Moves a process into a scope.
    ///
    /// # Errors
    /// When the process or the scope is gone.
    pub fn take(&self, generation: u32, pid: u32) -> io::Result<()> {
        self.write(generation, "cgroup.procs", &pid.to_string())
    }

    /// All processes in a scope and in cgroups below it.
    ///
    /// # Errors
    /// When a cgroup exists and cannot be read.
    pub fn pids_of(&self, generation: u32) -> io::Result<Vec<u32>> {
        match self.folder(generation) {
            Ok(folder) => hierarchy::pids_below(&folder),
            Err(error) if is_gone(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// All processes in all of its scopes.
    ///
    /// # Errors
    /// As [`Scope::pids_of`].
    pub fn all_pids(&self) -> io::Result<Vec<u32>> {
        let mut all = Vec::new();
        for generation in self.generations()? {
            // An empty cgroup need not be listed, however deep it is.
            if self.populated(generation)? {
                all.extend(self.pids_of(generation)?);
            }
        }
        Ok(all)
    }

    /// Whether a scope or a cgroup below it has processes.
    ///
    /// # Errors
    /// When that is unknown; there may be processes then.
    pub fn is_populated(&self) -> io::Result<bool> {
        let mut unknown = None;
        for generation in self.generations()? {
            match self.populated(generation) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => unknown = Some(error),
            }
        }
        unknown.map_or(Ok(false), Err)
    }

    /// Whether a scope or a cgroup below it is known to have processes; false if it cannot be read.
    #[must_use]
    pub fn holds(&self, generation: u32) -> bool {
        self.populated(generation).unwrap_or(false)
    }

    /// Whether a scope or a cgroup below it has processes; false if it is gone.
    ///
    /// # Errors
    /// When that is unknown.
    pub fn populated(&self, generation: u32) -> io::Result<bool> {
        let events = self.open(generation, "cgroup.events", OFlags::RDONLY);
        match events.and_then(|file| read_event(&file, "populated")) {
            Err(error) if is_gone(&error) => Ok(false),
            other => other,
        }
    }

    /// Processor time used in a scope so far (cgroup-v2.rst, `cpu.stat`).
    #[must_use]
    pub fn cpu(&self, generation: u32) -> Option<Duration> {
        let file = self.open(generation, "cpu.stat", OFlags::RDONLY).ok()?;
        let text = io::read_to_string(File::from(file)).ok()?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
        Some(Duration::from_micros(micros))
    }

    /// Freezes every scope, and waits until they are frozen.
    ///
    /// # Errors
    /// When they are not frozen within the limit.
    pub async fn freeze(&self, limit: Duration) -> io::Result<()> {
        let generations = self.generations()?;
        for generation in &generations {
            self.write(*generation, "cgroup.freeze", "1").or_else(gone)?;
        }
        for generation in &generations {
            self.wait_for(*generation, "frozen", true, limit).await.or_else(gone)?;
        }
        Ok(())
    }

    /// Thaws every scope.
    ///
    /// # Errors
    /// An error of the kernel, unless the scope is gone.
    pub fn thaw(&self) -> io::Result<()> {
        let mut failed = None;
        for generation in self.generations()? {
            if let Err(error) = self.write(generation, "cgroup.freeze", "0").or_else(gone) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Kills everything in the scopes and below, and waits until they are empty. Missing scopes are empty.
    ///
    /// # Errors
    /// When a scope is not empty within the limit, or that is unknown. A threaded cgroup has no `cgroup.kill`
    /// (cgroup-v2.rst): its processes are killed by pid.
    pub async fn kill(&self) -> io::Result<()> {
        let mut failed = None;
        for generation in self.generations()? {
            if let Err(error) = self.write(generation, "cgroup.kill", "1").or_else(gone) {
                failed = Some(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => self.wait_until_empty(KILL_LIMIT).await,
        }
    }

    /// Waits until every scope is empty. Missing scopes are empty.
    ///
    /// # Errors
    /// `TimedOut` when one is still populated at the limit; other errors of reading.
    pub async fn wait_until_empty(&self, limit: Duration) -> io::Result<()> {
        let watch = Stopwatch::start();
        // A process may be moved from one scope to the other meanwhile, so a single pass proves nothing.
        while self.is_populated()? {
            for generation in self.generations()? {
                let left = limit.saturating_sub(watch.elapsed());
                self.wait_for(generation, "populated", false, left).await.or_else(gone)?;
            }
        }
        Ok(())
    }

    /// Waits for a key of `cgroup.events`. The kernel notifies with POLLPRI whenever a key changes, but delays that
    /// within 10 ms of the last notification, and drops it if the cgroup is removed meanwhile (kernel/cgroup/cgroup.c,
    /// `cgroup_file_notify`, `cgroup_rm_file`). So the file is read again without a notification too, at growing
    /// intervals.
    async fn wait_for(&self, generation: u32, key: &str, value: bool, limit: Duration) -> io::Result<()> {
        let file = watched(self.open(generation, "cgroup.events", OFlags::RDONLY)?, Interest::PRIORITY)?;
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

    fn write(&self, generation: u32, file: &str, value: &str) -> io::Result<()> {
        let file = self.open(generation, file, OFlags::WRONLY)?;
        File::from(file).write_all(value.as_bytes())
    }

    fn open(&self, generation: u32, file: &str, how: OFlags) -> io::Result<OwnedFd> {
        hierarchy::open(&*self.folder(generation)?, file, how)
    }

    /// The scope's folder: the descriptor that is open, if the folder is still that one.
    fn folder(&self, generation: u32) -> io::Result<Arc<OwnedFd>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(&generation) {
            if hierarchy::is_there(known)? {
                return Ok(Arc::clone(known));
            }
            opened.remove(&generation);
        }
        let path = format!("{SLICE}/{}", scope_name(self.session, generation));
        let folder = Arc::new(hierarchy::open_folder(hierarchy::root()?, &path)?);
        opened.insert(generation, Arc::clone(&folder));
        Ok(folder)
    }
}

/// Treats an error that says that the cgroup is gone as success.
fn gone(error: io::Error) -> io::Result<()> {
    if is_gone(&error) { Ok(()) } else { Err(error) }
}

fn generations_of(session: SessionId) -> io::Result<BTreeSet<u32>> {
    let own = scopes()?.into_iter().filter(|(found, _)| *found == session);
    Ok(own.map(|(_, generation)| generation).collect())
}

fn scopes() -> io::Result<Vec<(SessionId, u32)>> {
    let slice = match hierarchy::open_folder(hierarchy::root()?, SLICE) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let names = hierarchy::folders(&slice)?;
    Ok(names.iter().filter_map(|name| session_of_scope(name)).collect())
}

fn read_event(file: impl AsFd, key: &str) -> io::Result<bool> {
    let mut bytes = [0_u8; 256];
    let length = rustix::io::pread(file, &mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    match value {
        Some("0") => Ok(false),
        Some("1") => Ok(true),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("cgroup.events has no {key}"))),
    }
}
