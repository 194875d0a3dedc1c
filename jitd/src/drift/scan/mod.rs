//! One drift scan: reads the files, mounts and processes of this host that give privilege.

pub(super) mod checksums;
mod logins;
mod mounts;
mod privileged;
mod processes;
mod reader;
mod transient_units;
mod unit_files;
mod watched_paths;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jit_proto::time::{BootId, WallTime};

use super::path_text::text_of;
use super::snapshot::Snapshot;
use super::watch_list;
use crate::host::clock::{Clock, CpuTime, Stopwatch};
use mounts::Mounts;

/// A process that ends within this time is no finding: administrators run such commands.
const PASSING: Duration = Duration::from_secs(1);

/// What a drift scan found, and what it cost.
pub(super) struct Scanned {
    pub(super) snapshot: Snapshot,
    pub(super) amount: Amount,
    pub(super) took: Duration,
    /// The part of the time from start to end that it spent waiting.
    pub(super) waited: Duration,
    pub(super) cpu: Duration,
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Files and folders at watched paths.
    pub(super) places: usize,
    /// Files and folders that were searched for privileged ones.
    pub(super) walked: usize,
}

/// Scans this host. `check` compares programs with their packages too.
pub(super) fn host(clock: &Clock, setuid_paths: &[PathBuf], check: bool) -> Scanned {
    let (stopwatch, cpu) = (Stopwatch::start(), CpuTime::of_this_thread());
    let first = processes::look(&clock.now(), logins::known().as_ref());
    let (mut snapshot, amount) = files(Path::new("/"), clock.now().boot_id, setuid_paths);
    if check {
        snapshot.checked = Some(checksums::check(Path::new("/")));
    }
    let took = stopwatch.elapsed();
    while stopwatch.elapsed() < PASSING {
        thread::park_timeout(PASSING);
    }
    let waited = stopwatch.elapsed().saturating_sub(took);
    // Asked again after the files were read, so that logins that began meanwhile are known too.
    let logins = logins::known();
    processes::without_logins(&mut snapshot, &logins.clone().unwrap_or_default());
    snapshot.processes = processes::look(&clock.now(), logins.as_ref());
    snapshot.processes.retain(|key, _| first.contains_key(key));
    Scanned { snapshot, amount, took, waited, cpu: cpu.elapsed() }
}

/// Scans everything below `root`, which is `/` on a host, except processes and packages.
pub(super) fn files(root: &Path, boot_id: BootId, setuid_paths: &[PathBuf]) -> (Snapshot, Amount) {
    let is_host = root == Path::new("/");
    let own = if is_host { Mounts::read(Path::new("/proc/self/mountinfo")) } else { Mounts::default() };
    let (places, looked_at) = watched_paths::look(root, own.not_entered());
    // The service has a private /dev; through PID 1's root the host's own is read.
    let seen_by_pid_1 = Path::new("/proc/1/root");
    let of_pid_1 = Mounts::read(Path::new("/proc/1/mountinfo"));
    let sees_pid_1 = is_host && seen_by_pid_1.join("proc").is_dir() && !of_pid_1.to_walk().is_empty();
    let (root, mounts) = if sees_pid_1 { (seen_by_pid_1, of_pid_1) } else { (root, own) };
    let (privileged, walked) = privileged::look(root, &mounts, setuid_paths);
    let snapshot = Snapshot {
        boot_id,
        list: watch_list::list(),
        setuid_paths: setuid_paths.iter().map(|path| text_of(path.as_os_str().as_bytes())).collect(),
        places,
        privileged,
        mounts: mounts.entries().collect(),
        processes: Default::default(),
        checked: None,
        taken: WallTime::default(),
    };
    (snapshot, Amount { places: looked_at, walked })
}

#[cfg(test)]
mod tests;
