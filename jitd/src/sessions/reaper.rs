//! Ends every process of a session: performs the acts of [`crate::core::session::termination`], and returns their
//! results to it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use jit_proto::time::BootTime;
use rustix::process::Signal;
use tracing::warn;

use super::cgroup::Scope;
use crate::core::ledger::MainProcess;
use crate::core::session::termination::EndReport;
use crate::core::session::termination::{Act, ListedProcess, MAX_NAMED, Reaping, Seen, Sent};
use crate::host::clock::boot_now;
use crate::host::process;

/// After this a cgroup that is not frozen is handled without freezing.
const FREEZE_LIMIT: Duration = Duration::from_millis(250);
/// Processes that are alive this long after SIGKILL are stuck in the kernel.
const DEATH_LIMIT: Duration = Duration::from_millis(500);

/// Up to this number, processes are read faster in place than on another thread.
const INLINE_LIMIT: usize = 8;

/// The session that ends.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its scopes.
    pub(super) scope: Scope,
    /// Its audit session, which identifies its processes in any cgroup.
    pub(super) audit_session: Option<u32>,
    /// The process that called PAM.
    pub(super) main: MainProcess,
    /// The time from which its end is measured.
    pub(super) due: BootTime,
}

/// Ends the session. Where its end cannot be proven, the report counts what is left; the caller then tries again after
/// [`Reaping::retry`]. `first_signal` is set when the first signal is sent.
pub(super) async fn end(
    target: &Target,
    reaping: &mut Reaping,
    first_signal: &mut Option<Duration>,
) -> EndReport {
    let mut kill = None;
    let populated = target.scope.is_populated().unwrap_or_else(|error| {
        warn!("cannot tell whether a session's cgroup is empty: {error}");
        true
    });
    let mut act = reaping.next(Seen::Begin { populated });
    loop {
        if first_signal.is_none() && matches!(act, Act::Signal(_) | Act::KillAll | Act::End(_)) {
            *first_signal = Some(boot_now().since(target.due));
        }
        if kill.is_none() && reaping.kills() {
            kill = Some(boot_now());
        }
        let seen = match act {
            Act::Report(report) => {
                let now = boot_now();
                let kill = kill.map(|since| now.since(since));
                return EndReport {
                    took: now.since(target.due),
                    first_signal: *first_signal,
                    kill,
                    ..report
                };
            }
            Act::Freeze => {
                freeze(&target.scope).await;
                Seen::Done
            }
            Act::List => listed(target).await.map_or(Seen::Unknown, Seen::Listed),
            Act::Signal(signals) => {
                if signals.len() <= INLINE_LIMIT {
                    send(&signals);
                } else {
                    blocking(move || send(&signals)).await;
                }
                Seen::Done
            }
            Act::Thaw => {
                thaw(&target.scope);
                Seen::Done
            }
            Act::AwaitEmpty(limit) => Seen::Empty(target.scope.wait_until_empty(limit).await.is_ok()),
            Act::KillAll => {
                let killed = target.scope.kill().await;
                if let Err(error) = &killed {
                    warn!("a session's cgroup is not empty after cgroup.kill: {error}");
                }
                // A process that survived the kill is stuck in the kernel; frozen, it would be stuck for good.
                thaw(&target.scope);
                Seen::Empty(killed.is_ok())
            }
            Act::Sweep => swept(target).await.map_or(Seen::Unknown, Seen::Swept),
            Act::End(processes) => {
                let ended = blocking(move || kill_and_wait(&processes)).await;
                ended.map_or(Seen::Unknown, Seen::Left)
            }
        };
        act = reaping.next(seen);
    }
}

async fn freeze(scope: &Scope) {
    if let Err(error) = scope.freeze(FREEZE_LIMIT).await {
        // A process in uninterruptible sleep does not freeze; the next acts work without.
        warn!("a session's cgroup was not frozen in time: {error}");
    }
}

fn thaw(scope: &Scope) {
    if let Err(error) = scope.thaw() {
        warn!("a session's cgroup could not be thawed: {error}");
    }
}

/// The processes in the scopes; `None` where that is unknown.
async fn listed(target: &Target) -> Option<Vec<ListedProcess>> {
    let look_at_all = |pids: Vec<u32>| -> io::Result<Vec<ListedProcess>> {
        let found = pids.into_iter().enumerate().map(|(nth, pid)| look_at(pid, nth < MAX_NAMED));
        found.filter_map(Result::transpose).collect()
    };
    let found = match target.scope.all_pids() {
        Ok(pids) if pids.len() <= INLINE_LIMIT => look_at_all(pids),
        Ok(pids) => blocking(move || look_at_all(pids)).await?,
        Err(error) => Err(error),
    };
    found.inspect_err(|error| warn!("a session's cgroup cannot be listed: {error}")).ok()
}

/// Processes that are still in the session's audit session or scopes, and the process that called, if it is alive.
async fn swept(target: &Target) -> Option<Vec<ListedProcess>> {
    let Target { scope, audit_session, main, .. } = target.clone();
    let found = blocking(move || -> io::Result<(Vec<ListedProcess>, Option<io::Error>)> {
        // Processes that are found are ended even if others cannot be read.
        let (mut pids, unknown) = match scope.all_pids() {
            Ok(pids) => (pids, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if let Some(audit_session) = audit_session {
            pids.extend(process::in_audit_session(process::all_pids()?, audit_session)?);
        }
        if process::is_there(main)? {
            pids.push(main.pid);
        }
        pids.sort_unstable();
        pids.dedup();
        let found: io::Result<Vec<ListedProcess>> =
            pids.into_iter().filter_map(|pid| look_at(pid, true).transpose()).collect();
        Ok((found?, unknown))
    });
    match found.await? {
        Ok((found, None)) => Some(found),
        Ok((found, Some(error))) => {
            warn!("a session's cgroup cannot be listed: {error}");
            (!found.is_empty()).then_some(found)
        }
        Err(error) => {
            warn!("/proc cannot be read to the end: {error}");
            None
        }
    }
}

/// A process that is alive; a zombie is not.
///
/// # Errors
/// When it exists and cannot be read.
fn look_at(pid: u32, named: bool) -> io::Result<Option<ListedProcess>> {
    let Some(state) = process::state_of(pid)?.filter(|state| !matches!(state, 'Z' | 'X')) else {
        return Ok(None);
    };
    let start = match process::start_of(pid) {
        Err(error) if process::has_gone(&error) => return Ok(None),
        other => other?,
    };
    let main = MainProcess { pid, start };
    let line = if named { process::describe(main) } else { String::new() };
    let stopped = matches!(state, 'T' | 't');
    Ok(Some(ListedProcess { process: main, exe: process::exe_of(pid), stopped, line }))
}

fn send(signals: &[(MainProcess, Sent)]) {
    for (process, sent) in signals {
        // Opened by pid and start time: a process that has ended needs no signal.
        let Ok(pidfd) = process::open(*process) else { continue };
        let signals: &[Signal] = match sent {
            Sent::Terminate => &[Signal::TERM, Signal::HUP, Signal::CONT],
            Sent::Kill => &[Signal::KILL],
        };
        for signal in signals {
            let _ = process::signal(&pidfd, *signal);
        }
    }
}

/// Kills all of them and waits for each, within one limit; returns how many are not known to be dead.
fn kill_and_wait(processes: &[MainProcess]) -> u64 {
    let mut unknown = 0;
    let mut killed = Vec::new();
    for process in processes {
        match process::open(*process) {
            Ok(pidfd) => {
                // The wait below finds processes that could not be killed.
                let _ = process::signal(&pidfd, Signal::KILL);
                killed.push(pidfd);
            }
            Err(error) if process::has_gone(&error) => {}
            Err(error) => {
                warn!("process {} cannot be opened: {error}", process.pid);
                unknown += 1;
            }
        }
    }
    let begun = boot_now();
    let dead = |pidfd: &std::os::fd::OwnedFd| {
        let left = DEATH_LIMIT.saturating_sub(boot_now().since(begun));
        process::wait_for_end(pidfd.as_fd(), left).unwrap_or(false)
    };
    unknown + killed.iter().filter(|pidfd| !dead(pidfd)).count() as u64
}

/// Runs a walk over many processes off the thread that answers the gate.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
