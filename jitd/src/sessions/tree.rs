//! The processes of one session: found by their audit session and by their scopes, and moved into the newest scope.

use std::collections::BTreeSet;
use std::io;

use tracing::debug;

use super::cgroup::{self, Scope};
use crate::core::ledger::{MainProcess, Session};
use crate::host::process;

/// After this many passes processes fork faster than they can be moved; the reaper handles that.
const MAX_PASSES: usize = 32;

/// Up to this number, pids are tried one by one faster than `/proc` is listed.
const INLINE_PIDS: u32 = 512;

/// Where a session's processes are.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) scope: Scope,
    pub(super) audit_session: Option<u32>,
    pub(super) main: MainProcess,
    /// Cgroups outside of the scopes in which processes of the session were seen: where sudo was called, and where
    /// another PAM module moved them.
    homes: BTreeSet<String>,
}

impl Tree {
    pub(super) fn of(session: &Session) -> Self {
        let mut tree = Self {
            scope: Scope::of(session.id),
            audit_session: session.audit_session,
            main: session.main,
            homes: BTreeSet::new(),
        };
        tree.saw(session.main.pid);
        tree
    }

    /// Notes the cgroup of a process.
    pub(super) fn saw(&mut self, pid: u32) {
        if let Ok(Some(home)) = process::cgroup_of(pid)
            && process::session_in(&home).is_none()
        {
            self.homes.insert(home);
        }
    }

    /// Its processes outside of its scopes, in the cgroups where some were seen; if one of those cannot be read, in all
    /// of `/proc`.
    ///
    /// # Errors
    /// When `/proc` cannot be read either.
    pub(super) fn outside(&self) -> io::Result<Vec<u32>> {
        let Some(audit_session) = self.audit_session else {
            return Ok(if self.main_is_outside()? { vec![self.main.pid] } else { Vec::new() });
        };
        let homes: io::Result<Vec<Vec<u32>>> = self.homes.iter().map(|home| cgroup::pids_in(home)).collect();
        match homes {
            Ok(homes) => process::in_audit_session(homes.into_iter().flatten(), audit_session),
            Err(error) => {
                debug!("a cgroup where processes of a session are cannot be read: {error}");
                let mut outside = Vec::new();
                for pid in process::in_audit_session(process::all_pids()?, audit_session)? {
                    if !is_in_a_scope(pid)? {
                        outside.push(pid);
                    }
                }
                Ok(outside)
            }
        }
    }

    /// Moves processes outside, or in an older scope, into the scope of this number, until a full pass finds none.
    pub(super) fn gather(&self, generation: u32) -> io::Result<()> {
        for _ in 0..MAX_PASSES {
            let mut astray = self.outside()?;
            for older in 0..generation {
                astray.extend(self.scope.pids_of(older)?);
            }
            if astray.is_empty() {
                return Ok(());
            }
            for pid in astray {
                match self.scope.take(generation, pid) {
                    // The process has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
        }
        Err(io::Error::other("its processes fork faster than they can be moved"))
    }

    /// Searches for processes in cgroups where none of the session was seen, and notes those. They were forked after
    /// the session's first process, so unless pids have wrapped around, only later pids are tried.
    pub(super) async fn look_for_strays(&mut self) -> io::Result<()> {
        let (first, newest) = (self.main.pid, process::newest_pid()?);
        let Some(audit_session) = self.audit_session else { return Ok(()) };
        if !(first..first.saturating_add(INLINE_PIDS)).contains(&newest) {
            return self.look_everywhere().await;
        }
        process::in_audit_session(first..=newest, audit_session)?.into_iter().for_each(|pid| self.saw(pid));
        Ok(())
    }

    /// Notes the cgroups of its processes by a walk over all of `/proc`, off the thread that answers the gate.
    pub(super) async fn look_everywhere(&mut self) -> io::Result<()> {
        let Some(audit_session) = self.audit_session else { return Ok(()) };
        let walk = move || -> io::Result<Vec<u32>> {
            process::in_audit_session(process::all_pids()?, audit_session)
        };
        let found = tokio::task::spawn_blocking(walk).await.map_err(io::Error::other)??;
        found.into_iter().for_each(|pid| self.saw(pid));
        Ok(())
    }

    fn main_is_outside(&self) -> io::Result<bool> {
        Ok(process::is_there(self.main)? && !is_in_a_scope(self.main.pid)?)
    }
}

/// Whether a process is in a scope of some session; true for one that has ended.
fn is_in_a_scope(pid: u32) -> io::Result<bool> {
    match process::cgroup_of(pid) {
        Err(error) if process::has_gone(&error) => Ok(true),
        other => Ok(other?.is_some_and(|cgroup| process::session_in(&cgroup).is_some())),
    }
}
