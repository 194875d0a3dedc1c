//! A session's cgroups: who is in them, freeze, kill, empty (kernel: Documentation/admin-guide/cgroup-v2.rst).
//!
//! Whatever is read here is read below one descriptor of the hierarchy's root, without crossing a mount point or a link
//! ([`super::hierarchy`]). What is gone is an answer; what cannot be read is an error and never an empty cgroup.

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
    /// Whether the slice could be listed for them: if not, there may be more.
    listed: bool,
    /// Descriptors of those that were seen: a file system that is mounted over the way there later hides nothing.
    opened: Arc<Mutex<BTreeMap<u32, Arc<OwnedFd>>>>,
}

/// Every session that has a scope.
///
/// # Errors
/// When the slice cannot be listed; it is no error that there is none.
pub fn all_scopes() -> io::Result<BTreeSet<SessionId>> {
    Ok(scopes()?.into_iter().map(|(session, _)| session).collect())
}

/// The pids directly in some cgroup, given as `/proc/PID/cgroup` names it; none if it is gone.
///
/// # Errors
/// When it is there and cannot be read.
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

    /// It gets another one.
    pub fn add(&mut self, generation: u32) {
        self.generations.insert(generation);
    }

    /// The number of the newest scope of the session, from 0: a session can be moved to a new one.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.generations.last().copied()
    }

    /// All that there are or were, as far as they are known.
    #[must_use]
    pub fn known(&self) -> &BTreeSet<u32> {
        &self.generations
    }

    /// All that there are or were.
    ///
    /// # Errors
    /// When it still cannot be found out.
    fn generations(&self) -> io::Result<BTreeSet<u32>> {
        let mut all = self.generations.clone();
        if !self.listed {
            all.extend(generations_of(self.session)?);
        }
        Ok(all)
    }

    /// Moves a process into one of its scopes.
    ///
    /// # Errors
    /// When either is gone.
    pub fn take(&self, generation: u32, pid: u32) -> io::Result<()> {
        self.write(generation, "cgroup.procs", &pid.to_string())
    }

    /// All processes in one of its scopes, and in cgroups made below it.
    ///
    /// # Errors
    /// When one of them is there and cannot be read.
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
            // What holds nothing for sure need not be listed, however deep it is.
            if self.populated(generation)? {
                all.extend(self.pids_of(generation)?);
            }
        }
        Ok(all)
    }

    /// Whether anything lives in one of its scopes or below it.
    ///
    /// # Errors
    /// When that cannot be told; then something may.
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

    /// Whether anything lives in this scope or below it, as far as can be told: what cannot be read holds nothing for sure.
    #[must_use]
    pub fn holds(&self, generation: u32) -> bool {
        self.populated(generation).unwrap_or(false)
    }

    /// Whether anything lives in this scope or below it. Gone is empty.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn populated(&self, generation: u32) -> io::Result<bool> {
        let events = self.open(generation, "cgroup.events", OFlags::RDONLY);
        match events.and_then(|file| read_event(&file, "populated")) {
            Err(error) if is_gone(&error) => Ok(false),
            other => other,
        }
    }

    /// Processor time that everything in one of its scopes has used so far (cgroup-v2.rst, `cpu.stat`).
    #[must_use]
    pub fn cpu(&self, generation: u32) -> Option<Duration> {
        let file = self.open(generation, "cpu.stat", OFlags::RDONLY).ok()?;
        let text = io::read_to_string(File::from(file)).ok()?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
        Some(Duration::from_micros(micros))
    }

    /// Stops everything in it from running, and waits until it does.
    ///
    /// # Errors
    /// When it does not come to rest within the limit.
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

    /// Lets it run again.
    ///
    /// # Errors
    /// Whatever the kernel says; not when it is gone.
    pub fn thaw(&self) -> io::Result<()> {
        let mut failed = None;
        for generation in self.generations()? {
            if let Err(error) = self.write(generation, "cgroup.freeze", "0").or_else(gone) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Kills everything in it and below it, and waits until it is empty. Nothing there is success.
    ///
    /// # Errors
    /// When it is not empty within the limit, or it cannot be told whether it is. A threaded cgroup has no such kill
    /// (cgroup-v2.rst, `cgroup.kill`): what is in it is found and killed by pid.
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

    /// Waits until nothing lives in any of its scopes. Gone is empty.
    ///
    /// # Errors
    /// `TimedOut` when one is still populated at the limit; whatever else keeps it from being told.
    pub async fn wait_until_empty(&self, limit: Duration) -> io::Result<()> {
        let watch = Stopwatch::start();
        // A process may be moved from one to the other meanwhile, so that no single pass tells.
        while self.is_populated()? {
            for generation in self.generations()? {
                let left = limit.saturating_sub(watch.elapsed());
                self.wait_for(generation, "populated", false, left).await.or_else(gone)?;
            }
        }
        Ok(())
    }

    /// Waits for a key of `cgroup.events`. The kernel marks the file with POLLPRI whenever one changes, but puts that off
    /// where it did so less than 10 ms ago, and drops it where the cgroup is removed meanwhile (kernel/cgroup/cgroup.c,
    /// `cgroup_file_notify`, `cgroup_rm_file`). So it is looked at again without a mark as well, less and less often.
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

    /// The scope's folder: the one that was opened before, while it is the one that is there.
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

/// A cgroup that is not there any more holds nothing, and so is as it was to be.
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
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("cgroup.events does not tell {key}"))),
    }
}
