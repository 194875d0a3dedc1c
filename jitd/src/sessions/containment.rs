//! Holds the processes of one session in a scope of PID 1, with the deadline of its window.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use jit_proto::bus::names::scope_name;
use jit_proto::identity::SessionId;
use jit_proto::time::{BootTime, micros};
use tracing::{debug, error, warn};

use super::limit::{self, Deviations, Wanted};
use super::systemd::{ScopeError, Systemd};
use super::tree::Tree;
use crate::core::ledger::Session;
use crate::host::clock::{boot_now, monotonic_now};
use crate::host::process;

/// The shortest deadline that PID 1 accepts for a scope that is due already.
const MIN_LIMIT: Duration = Duration::from_millis(100);
/// How often a lifted deadline is set again; after this the session ends.
const MAX_RESETS: u32 = 8;

/// Why a session's processes are not all in its scope.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContainError {
    /// The cgroup tree or `/proc` cannot be read, or a process cannot be moved.
    #[error(transparent)]
    Tree(#[from] io::Error),
    /// PID 1 did not make the scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The process for which the scope was to be made has ended.
    #[error("process {0} has ended")]
    Ended(u32),
    /// The session has no process left.
    #[error("none of its processes is there")]
    NoProcess,
}

/// A difference between PID 1's properties of a scope and the requested ones, and what was done.
#[derive(Debug)]
pub(super) struct Tampered {
    pub(super) found: String,
    /// Whether the session ends, because PID 1 cannot be made to enforce the deadline.
    pub(super) ends: bool,
}

/// The scope of one session.
pub(super) struct Containment {
    session: SessionId,
    /// The pid of the process that called PAM.
    main: u32,
    /// Whether that process is known to live.
    main_lives: bool,
    /// When PID 1 ends the scope.
    until: BootTime,
    systemd: Systemd,
    /// The session's processes.
    pub(super) tree: Tree,
    /// The scope that PID 1 holds with the right deadline.
    held: Option<u32>,
    began: BootTime,
    /// How long it took to get all processes into the scope.
    pub(super) contained: Option<Duration>,
    /// The invocations of its scopes by number, as far as PID 1 has reported them.
    invocations: BTreeMap<u32, String>,
    /// The deadline that the held scope was made with, in microseconds; `None` for a scope found after a restart.
    runtime_max: Option<u64>,
    /// The last reported difference, while it persists.
    told: Option<String>,
    /// How often the deadline was set again.
    resets: u32,
}

impl Containment {
    pub(super) fn new(session: &Session, main_lives: bool, until: BootTime, systemd: Systemd) -> Self {
        Self {
            session: session.id,
            main: session.main.pid,
            main_lives,
            until,
            systemd,
            tree: Tree::of(session),
            held: None,
            began: boot_now(),
            contained: None,
            invocations: BTreeMap::new(),
            runtime_max: None,
            told: None,
            resets: 0,
        }
    }

    /// Notes that the calling process has ended, or belongs to another session now.
    pub(super) fn forget_main(&mut self) {
        self.main_lives = false;
    }

    /// Whether the calling process is known to live.
    pub(super) fn main_lives(&self) -> bool {
        self.main_lives
    }

    /// The scope that PID 1 holds with the right deadline, if it has processes. PID 1 is about to collect an empty one.
    pub(super) fn populated(&self) -> Option<u32> {
        self.held.filter(|generation| self.tree.scope.holds(*generation))
    }

    /// Whether PID 1 is known to hold a scope.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Notes that the scope is empty: PID 1 collects it.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    /// Whether the scope was made before a restart of jitd, and may have been changed meanwhile.
    pub(super) fn was_found(&self) -> bool {
        self.runtime_max.is_none()
    }

    /// Processor time used in the scope; processes outside of it are not counted.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.held.and_then(|generation| self.tree.scope.cpu(generation))
    }

    /// The invocations of its scopes, in order.
    pub(super) fn invocations(&self) -> Vec<String> {
        self.invocations.values().cloned().collect()
    }

    /// Whether the session has no process in the known cgroups.
    ///
    /// # Errors
    /// When a cgroup cannot be read; it may have processes then.
    pub(super) fn is_gone(&self) -> io::Result<bool> {
        Ok(!self.main_lives && !self.tree.scope.is_populated()? && self.tree.outside()?.is_empty())
    }

    /// Makes the scope and moves all processes of the session into it.
    pub(super) async fn contain(&mut self) -> Result<(), ContainError> {
        if self.main_lives {
            self.tree.saw(self.main);
        }
        if let Some(generation) = self.populated() {
            return self.tree.gather(generation).map_err(ContainError::from);
        }
        // After a restart the scope exists, and PID 1 says whether it holds it.
        self.hold(self.tree.scope.newest().unwrap_or(0)).await
    }

    /// Has PID 1 make a scope of this number, and moves all processes into it.
    async fn hold(&mut self, generation: u32) -> Result<(), ContainError> {
        let mut pids: Vec<u32> = Vec::new();
        if self.main_lives {
            pids.push(self.main);
        }
        pids.extend(self.tree.outside()?);
        pids.extend(self.tree.scope.all_pids()?);
        let mut problem = ContainError::NoProcess;
        for pid in pids {
            let last = self.until.since(boot_now()).max(MIN_LIMIT);
            // The reaper has to search this scope whether or not PID 1 makes it.
            self.tree.scope.add(generation);
            match self.systemd.make_scope(self.session, generation, pid, last).await {
                Ok(runtime_max) => {
                    self.held = Some(generation);
                    self.runtime_max = runtime_max;
                    let gathered = self.tree.gather(generation).map_err(ContainError::from);
                    if gathered.is_ok() && self.contained.is_none() {
                        self.contained = Some(boot_now().since(self.began));
                    }
                    return gathered;
                }
                // The process may have ended meanwhile; another one is tried.
                Err(ScopeError::Job { .. }) if process::start_of(pid).is_err() => {
                    problem = ContainError::Ended(pid);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(problem)
    }

    /// Moves the session to a new scope with a new deadline, since PID 1 changes none (systemd 252 and 257: "Cannot set
    /// property RuntimeMaxUSec").
    pub(super) async fn prolong(&mut self, until: BootTime) {
        self.until = until;
        let Some(old) = self.held.take() else { return };
        if let Err(problem) = self.hold(old + 1).await {
            warn!(
                "session {} still has the deadline of its old window; trying again: {problem}",
                self.session
            );
        }
        self.note_invocation().await;
    }

    /// Compares PID 1's properties of the scope with the requested ones. A difference is reported, and undone with a
    /// new scope; if PID 1 cannot be made to enforce the deadline, the session ends.
    pub(super) async fn compare(&mut self) -> Option<Tampered> {
        let found = self.deviations().await?;
        if found.is_none() {
            self.told = None;
            return None;
        }
        if self.told.as_ref() == Some(&found.text()) {
            return None;
        }
        let old = self.held.unwrap_or(0);
        let mut text = format!("{}: {}", scope_name(self.session, old), found.text());
        let mut ends = false;
        self.told = Some(found.text());
        self.resets += 1;
        if self.resets > MAX_RESETS {
            text += &format!("; it was set again {MAX_RESETS} times, and the session ends");
            ends = true;
        } else {
            // The reaper still searches the old scope, whatever follows.
            self.held = None;
            let again = self.hold(old + 1).await;
            let now = self.deviations().await;
            match (again, now) {
                (Ok(()), Some(now)) if now.lifted.is_empty() => {
                    text += &format!("; set again as {}", scope_name(self.session, old + 1));
                    self.told = (!now.is_none()).then(|| now.text());
                }
                (Ok(()), Some(now)) => {
                    text += &format!("; it cannot be set again ({}), and the session ends", now.text());
                    ends = true;
                }
                // The scope is gone, or is made again like any scope that does not exist yet.
                (Ok(()), None) => text += "; set again, and not compared",
                (Err(problem), _) => text += &format!("; it could not be set again yet: {problem}"),
            }
        }
        error!("session {}: {text}", self.session);
        Some(Tampered { found: text, ends })
    }

    /// The differences between PID 1's properties of the scope and the requested ones; `None` without a scope, or where
    /// PID 1 does not answer.
    async fn deviations(&self) -> Option<Deviations> {
        let generation = self.populated()?;
        let scope = scope_name(self.session, generation);
        let held = match self.systemd.held(&scope).await {
            Ok(held) => held,
            Err(problem) => {
                warn!("PID 1 did not return the properties of {scope}: {problem}");
                return None;
            }
        };
        // A scope that has ended meanwhile is no finding.
        if !self.tree.scope.holds(generation) {
            return None;
        }
        let Some(held) = held else {
            let lifted = vec!["PID 1 holds no such unit".to_owned()];
            return Some(Deviations { lifted, touched: Vec::new() });
        };
        let (now, slept) = monotonic_now();
        let left = micros(self.until.since(boot_now()).max(MIN_LIMIT));
        let wanted = Wanted { scope: &scope, runtime_max: self.runtime_max, left, now, slept };
        Some(limit::compare(&held, &wanted))
    }

    /// Asks PID 1 for the invocation of the scope, if there is one; the record may lack it.
    pub(super) async fn note_invocation(&mut self) {
        let Some(generation) = self.held.filter(|held| !self.invocations.contains_key(held)) else { return };
        match self.systemd.invocation(self.session, generation).await {
            Ok(id) => self.invocations.extend(id.map(|id| (generation, id))),
            Err(problem) => {
                debug!("the invocation of session {}'s scope is not known: {problem}", self.session);
            }
        }
    }
}
