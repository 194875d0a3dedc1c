//! The processes of one session: found by their tag and by their scopes, and moved into the newest scope.

use std::collections::BTreeSet;
use std::io;

use super::cgroup::{self, Scope};
use crate::core::ledger::{MainProcess, Session};
use crate::process;

/// More passes than this mean that something forks faster than it can be moved; the reaper deals with that.
const MOST_PASSES: usize = 32;

/// So many pids are tried one by one in less time than all of `/proc` is listed in.
const FEW_PIDS: u32 = 512;

/// What is known about where a session's processes are.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) scope: Scope,
    pub(super) tag: Option<u32>,
    pub(super) main: MainProcess,
    /// Cgroups in which processes of it were seen: where sudo was called, and where another PAM module moved it.
    homes: BTreeSet<String>,
}

impl Tree {
    pub(super) fn of(session: &Session) -> Self {
        let mut tree = Self {
            scope: Scope::of(session.id),
            tag: session.tag,
            main: session.main,
            homes: BTreeSet::new(),
        };
        tree.saw(session.main.pid);
        tree
    }

    /// Notes where a process is.
    pub(super) fn saw(&mut self, pid: u32) {
        if let Ok(Some(home)) = process::cgroup_of(pid)
            && process::session_in(&home).is_none()
        {
            self.homes.insert(home);
        }
    }

    /// Processes of it outside of its scopes, in the places where it was seen.
    pub(super) fn outside(&self) -> Vec<u32> {
        let Some(tag) = self.tag else {
            return if self.main_is_outside() { vec![self.main.pid] } else { Vec::new() };
        };
        let pids = self.homes.iter().flat_map(|home| cgroup::pids_in(home));
        pids.filter(|pid| has_tag(*pid, tag)).collect()
    }

    /// Moves what is outside, or in an older scope, into this one, until a full pass finds nothing.
    pub(super) fn gather(&self, generation: u32) -> io::Result<()> {
        for _ in 0..MOST_PASSES {
            let mut astray = self.outside();
            for older in 0..generation {
                astray.extend(self.scope.pids_of(older));
            }
            if astray.is_empty() {
                return Ok(());
            }
            for pid in astray {
                match self.scope.take(generation, pid) {
                    // It has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
        }
        Err(io::Error::other("its processes fork faster than they can be moved"))
    }

    /// Looks for processes that went where none of the session was seen, and notes where they are. They were forked
    /// after the session's first process, so where pids have not begun anew since, only later ones are looked at.
    pub(super) async fn look_for_strays(&mut self) -> io::Result<()> {
        let (first, newest) = (self.main.pid, process::newest_pid()?);
        let Some(tag) = self.tag else { return Ok(()) };
        if !(first..first.saturating_add(FEW_PIDS)).contains(&newest) {
            return self.look_everywhere().await;
        }
        (first..=newest).filter(|pid| has_tag(*pid, tag)).for_each(|pid| self.saw(pid));
        Ok(())
    }

    /// Notes where its processes are: a walk over all of `/proc`, which is not for the thread that answers the gate.
    pub(super) async fn look_everywhere(&mut self) -> io::Result<()> {
        let Some(tag) = self.tag else { return Ok(()) };
        let walk = move || -> io::Result<Vec<u32>> {
            Ok(process::all_pids()?.into_iter().filter(|pid| has_tag(*pid, tag)).collect())
        };
        let found = tokio::task::spawn_blocking(walk).await.map_err(io::Error::other)??;
        found.into_iter().for_each(|pid| self.saw(pid));
        Ok(())
    }

    fn main_is_outside(&self) -> bool {
        let alive = process::open(self.main).is_ok();
        let cgroup = process::cgroup_of(self.main.pid).ok().flatten();
        alive && cgroup.is_some_and(|cgroup| process::session_in(&cgroup).is_none())
    }
}

pub(super) fn has_tag(pid: u32, tag: u32) -> bool {
    // A process that cannot be read any more has ended.
    process::audit_session(pid).is_ok_and(|session| session == Some(tag))
}
