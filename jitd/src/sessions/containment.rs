//! Holds the processes of one session in a scope of PID 1, with the time limit of its window.

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

/// PID 1 takes no shorter time limit than this for what is over already.
const MIN_LIMIT: Duration = Duration::from_millis(100);
/// So often PID 1 is made to hold a limit again that was lifted; whoever lifts it more often ends the session by it.
const MAX_RESETS: u32 = 8;

/// Why a session's processes are not all in its scope.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContainError {
    /// The cgroup tree or `/proc` does not tell what there is, or takes no process.
    #[error(transparent)]
    Tree(#[from] io::Error),
    /// PID 1 makes no scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The process that it was to be made with has ended meanwhile.
    #[error("process {0} has ended")]
    Ended(u32),
    /// There is none to make it with.
    #[error("none of its processes is there")]
    NoProcess,
}

/// What PID 1 held for a scope and should not have, and what came of that.
#[derive(Debug)]
pub(super) struct Tampered {
    pub(super) found: String,
    /// PID 1 cannot be made to hold the limit, and so the session ends.
    pub(super) ends: bool,
}

/// One session's scope.
pub(super) struct Containment {
    session: SessionId,
    /// The pid of the process that asked.
    main: u32,
    /// Whether that is there, as far as is known.
    main_lives: bool,
    /// When PID 1 is to end it.
    until: BootTime,
    systemd: Systemd,
    /// Its processes.
    pub(super) tree: Tree,
    /// The scope that PID 1 holds with the right time limit.
    held: Option<u32>,
    began: BootTime,
    /// How long it took to get everything into the scope.
    pub(super) contained: Option<Duration>,
    /// The invocations of its scopes, by their numbers, as far as PID 1 has told them.
    invocations: BTreeMap<u32, String>,
    /// The limit that the held scope was made with, in microseconds; `None` where it was found.
    runtime_max: Option<u64>,
    /// What was told last of what PID 1 holds for the scope, while that stays so.
    told: Option<String>,
    /// How often PID 1 was made to hold the limit again.
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

    /// The process that asked has ended, or belongs to another session now.
    pub(super) fn forget_main(&mut self) {
        self.main_lives = false;
    }

    /// Whether that process is there, as far as is known.
    pub(super) fn main_lives(&self) -> bool {
        self.main_lives
    }

    /// The scope that PID 1 holds with the right limit, while something is in it. One that is empty is about to be collected.
    pub(super) fn populated(&self) -> Option<u32> {
        self.held.filter(|generation| self.tree.scope.holds(*generation))
    }

    /// Whether PID 1 holds a scope, as far as is known.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Its scope has become empty: PID 1 collects it.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    /// Whether the scope is one from before a restart of the daemon, and may have been changed meanwhile.
    pub(super) fn was_found(&self) -> bool {
        self.runtime_max.is_none()
    }

    /// Processor time used in the scope; what is outside of it cannot be told.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.held.and_then(|generation| self.tree.scope.cpu(generation))
    }

    /// The invocations of its scopes, in their order.
    pub(super) fn invocations(&self) -> Vec<String> {
        self.invocations.values().cloned().collect()
    }

    /// Whether nothing is left where it was seen.
    ///
    /// # Errors
    /// When that cannot be read, which is not nothing.
    pub(super) fn is_gone(&self) -> io::Result<bool> {
        Ok(!self.main_lives && !self.tree.scope.is_populated()? && self.tree.outside()?.is_empty())
    }

    /// Makes the scope and moves everything of the session into it.
    pub(super) async fn contain(&mut self) -> Result<(), ContainError> {
        if self.main_lives {
            self.tree.saw(self.main);
        }
        if let Some(generation) = self.populated() {
            return self.tree.gather(generation).map_err(ContainError::from);
        }
        // After a restart there is one, and PID 1 says whether it holds it.
        self.hold(self.tree.scope.newest().unwrap_or(0)).await
    }

    /// Has PID 1 hold a scope of this number, and gathers everything in it.
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
            // Whether or not it comes to be, the reaper is to look there.
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
                // It may have ended meanwhile; another one will do.
                Err(ScopeError::Job { .. }) if process::start_of(pid).is_err() => {
                    problem = ContainError::Ended(pid);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(problem)
    }

    /// Its window has another end: PID 1 gets another scope with another limit, since it changes none (systemd 252 and
    /// 257: "Cannot set property RuntimeMaxUSec").
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

    /// Compares what PID 1 holds for the scope with what it was asked for. Whatever was changed is told, and undone with
    /// another scope; where PID 1 cannot be made to hold the limit at all, the session ends.
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
            // The old one stays known to the reaper, whatever comes of this.
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
                // It is over, or is tried again like any other scope that is not there yet.
                (Ok(()), None) => text += "; set again, and not compared",
                (Err(problem), _) => text += &format!("; it could not be set again yet: {problem}"),
            }
        }
        error!("session {}: {text}", self.session);
        Some(Tampered { found: text, ends })
    }

    /// How what PID 1 holds differs from what it was asked for; `None` where there is nothing to hold, or it cannot be told.
    async fn deviations(&self) -> Option<Deviations> {
        let generation = self.populated()?;
        let scope = scope_name(self.session, generation);
        let held = match self.systemd.held(&scope).await {
            Ok(held) => held,
            Err(problem) => {
                warn!("PID 1 does not say what it holds of {scope}: {problem}");
                return None;
            }
        };
        // What has ended meanwhile is no finding.
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

    /// Asks PID 1 under which invocation the scope runs, while there is one to ask about; the record can do without.
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
