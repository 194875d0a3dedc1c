//! Ends everything in a session, and proves it: freeze, list, ask, wait, kill, sweep.
//!
//! The elevator (sudo, sudo-rs, su, doas) goes last, so that it can put the terminal right and close its PAM session;
//! one that is stopped, or that never got to run its command, is not waited for.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::process::Signal;
use tracing::warn;

use crate::clock::Stopwatch;
use crate::core::event::EndReport;
use crate::core::ledger::MainProcess;
use crate::process;
use crate::sessions::cgroup::{Scope, is_gone};

/// Where the elevators live; a copy of one elsewhere is a process like any other.
const ELEVATORS: [&str; 6] = [
    "/usr/bin/sudo",
    "/usr/bin/sudo-rs",
    "/usr/lib/cargo/bin/sudo",
    "/usr/bin/su",
    "/usr/bin/doas",
    "/usr/lib/cargo/bin/su",
];
/// A tree that does not freeze within this is dealt with as it is.
const FREEZE_LIMIT: Duration = Duration::from_millis(250);
/// From the kill of all others to the kill of the elevator.
const ELEVATOR_LIMIT: Duration = Duration::from_millis(500);
/// A process that got SIGKILL and is still there after this is stuck in the kernel.
const DEATH_LIMIT: Duration = Duration::from_millis(500);
/// Sweeps over `/proc` until one finds nothing.
const MOST_SWEEPS: usize = 20;
/// Processes named in the record.
const MOST_NAMED: usize = 64;

/// Ends a session. `tag` is the audit session id that its processes carry, wherever they went.
///
/// # Errors
/// When the kernel refuses what it should not: then nothing is proven, and it has to be tried again.
pub async fn end(
    scope: &Scope,
    tag: Option<u32>,
    main: MainProcess,
    grace: Duration,
) -> io::Result<EndReport> {
    let watch = Stopwatch::start();
    let mut report = EndReport::default();
    if scope.is_populated() {
        freeze(scope).await;
        let members = scope.all_pids();
        report.killed = members.len() as u64;
        report.processes.extend(members.iter().take(MOST_NAMED).map(|pid| process::describe(*pid)));
        if grace.is_zero() {
            scope.kill().await?;
        } else {
            ask(scope, &members);
            if scope.wait_until_empty(grace).await.is_err() {
                kill(scope).await?;
            }
        }
    }
    if let Some(tag) = tag {
        sweep(tag, &mut report).await?;
    }
    // Where there is neither tag nor scope, the process that knocked is all there is.
    if let Ok(pidfd) = process::open(main) {
        report.killed += 1;
        report.processes.push(process::describe(main.pid));
        end_one(&pidfd, &mut report)?;
    }
    if scope.is_populated() {
        report.left += scope.all_pids().len().max(1) as u64;
    }
    report.took = watch.elapsed();
    Ok(report)
}

async fn freeze(scope: &Scope) {
    match scope.freeze(FREEZE_LIMIT).await {
        Ok(()) => {}
        Err(error) if is_gone(&error) => {}
        // A process in uninterruptible sleep does not freeze; what follows works without.
        Err(error) => warn!("a session does not freeze: {error}"),
    }
}

/// Asks everything but the elevator to end: SIGTERM, SIGHUP for interactive shells, SIGCONT for what is stopped.
fn ask(scope: &Scope, members: &[u32]) {
    for pid in members {
        if !is_elevator(*pid) {
            send(*pid, &[Signal::TERM, Signal::HUP, Signal::CONT]);
        } else if process::state_of(*pid) == Some('T') {
            // Continued later, it would run its command after the window.
            send(*pid, &[Signal::KILL]);
        }
    }
    thaw(scope);
}

/// Kills everything but the elevator, gives that a moment, and kills the rest.
async fn kill(scope: &Scope) -> io::Result<()> {
    freeze(scope).await;
    for pid in scope.all_pids() {
        if !is_elevator(pid) {
            send(pid, &[Signal::KILL]);
        }
    }
    thaw(scope);
    if scope.wait_until_empty(ELEVATOR_LIMIT).await.is_ok() {
        return Ok(());
    }
    scope.kill().await
}

/// Ends whatever carries the tag outside of the scope, until a full pass finds nothing.
async fn sweep(tag: u32, report: &mut EndReport) -> io::Result<()> {
    for _ in 0..MOST_SWEEPS {
        let found = tokio::task::spawn_blocking(move || -> io::Result<Vec<u32>> {
            let tagged = |pid: &u32| process::audit_session(*pid).is_ok_and(|session| session == Some(tag));
            Ok(process::all_pids()?.into_iter().filter(tagged).collect())
        });
        let found = found.await.map_err(io::Error::other)??;
        let mut living = 0;
        for pid in found {
            let Ok(pidfd) = process::open_pid(pid) else { continue };
            // Opened first and looked at again, so that it is the process that was found.
            let still = process::audit_session(pid).is_ok_and(|session| session == Some(tag));
            // One that is dead and only waits to be reaped holds nothing any more.
            if !still || process::state_of(pid).is_none_or(|state| matches!(state, 'Z' | 'X')) {
                continue;
            }
            living += 1;
            report.killed += 1;
            report.escaped += 1;
            if report.processes.len() < MOST_NAMED {
                report.processes.push(format!("{} (outside)", process::describe(pid)));
            }
            process::signal(&pidfd, Signal::KILL).or_else(ended)?;
            let waited =
                tokio::task::spawn_blocking(move || process::wait_for_end(pidfd.as_fd(), DEATH_LIMIT));
            if !waited.await.map_err(io::Error::other)?? {
                report.left += 1;
            }
        }
        if living == 0 {
            report.left = 0;
            return Ok(());
        }
    }
    report.left = report.left.max(1);
    Ok(())
}

fn end_one(pidfd: &std::os::fd::OwnedFd, report: &mut EndReport) -> io::Result<()> {
    process::signal(pidfd, Signal::KILL).or_else(ended)?;
    if !process::wait_for_end(pidfd.as_fd(), DEATH_LIMIT)? {
        report.left += 1;
    }
    Ok(())
}

fn is_elevator(pid: u32) -> bool {
    process::exe_of(pid).is_some_and(|exe| ELEVATORS.contains(&exe.as_str()))
}

fn send(pid: u32, signals: &[Signal]) {
    // The tree is frozen, so the pid is still the one that was listed; one that has ended needs no signal.
    let Ok(pidfd) = process::open_pid(pid) else { return };
    for signal in signals {
        let _ = process::signal(&pidfd, *signal);
    }
}

fn thaw(scope: &Scope) {
    if let Err(error) = scope.thaw()
        && !is_gone(&error)
    {
        warn!("a session does not thaw: {error}");
    }
}

fn ended(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}
