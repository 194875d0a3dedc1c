//! One session from its first process to its last.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

use super::ToSession;
use super::systemd::Systemd;
use super::tree::Tree;
use crate::core::event::{EndReport, Event, Reply, Verdict};
use crate::core::ledger::Session;
use crate::engine::Handle;
use crate::process;
use crate::readiness::watched;
use crate::reaper;

/// Most calls of sudo are over before this; only what lives longer is worth a scope, and until then the tag holds it.
const LEISURE: Duration = Duration::from_millis(50);
/// An end that could not be proven is tried again this much later.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The longest time between two tries to get a session into its scope; the first comes after [`LEISURE`].
const LONGEST_BETWEEN_TRIES: Duration = Duration::from_secs(5);

pub(super) struct Watch {
    session: Session,
    last: Duration,
    pidfd: Option<AsyncFd<OwnedFd>>,
    engine: Handle,
    systemd: Systemd,
    tree: Tree,
    /// How often it was tried, without success, to get its processes into a scope.
    tries: u32,
}

/// What made a session's task look up.
enum Woken {
    MainEnded,
    ScopeEmpty,
    Leisure,
    Told(ToSession),
    Closed,
}

impl Watch {
    pub(super) fn new(
        session: Session,
        last: Duration,
        pidfd: Option<OwnedFd>,
        engine: Handle,
        systemd: Systemd,
    ) -> Self {
        let pidfd = pidfd.or_else(|| process::open(session.main).ok());
        let pidfd = pidfd.and_then(|pidfd| watched(pidfd, Interest::READABLE).ok());
        let tree = Tree::of(&session);
        Self { session, last, pidfd, engine, systemd, tree, tries: 0 }
    }

    /// Runs until nothing is left of the session.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToSession>,
        then: Option<oneshot::Sender<Reply>>,
    ) {
        let id = self.session.id;
        if let Some(then) = then {
            let verdict = match self.contain().await {
                Ok(()) => Verdict::Allowed,
                Err(problem) => Verdict::Denied(vec![format!(
                    "jit: {} is refused: it could not be contained ({problem}).",
                    self.session.service
                )]),
            };
            // A caller that has gone is noticed by its pidfd.
            let _ = then.send(Reply::Gate(verdict));
        } else if self.pidfd.is_none() && !self.tree.scope.exists() {
            // Found again after a restart, without its first process: what is left of it can be anywhere.
            self.look_everywhere();
        }
        loop {
            match self.wait(&mut inbox).await {
                Woken::MainEnded => {
                    self.pidfd = None;
                    if self.is_over() {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::ScopeEmpty => {
                    // Something of it lives elsewhere: another module may have moved it, and PID 1 collects a scope
                    // that is empty. The next try comes at leisure.
                    if self.is_over() {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::Leisure => {
                    if self.is_over() {
                        break self.report(EndReport::default()).await;
                    }
                    if let Err(problem) = self.contain().await {
                        if self.is_over() {
                            break self.report(EndReport::default()).await;
                        }
                        warn!("session {id} is not in its scope yet; its tag holds it: {problem}");
                    }
                    self.tries = if self.tree.scope.is_populated() { 0 } else { self.tries + 1 };
                }
                Woken::Told(ToSession::Gather(process)) => {
                    self.tree.saw(process.pid);
                    if self.tree.scope.is_populated()
                        && let Err(problem) = self.tree.gather()
                    {
                        warn!("session {id}: {problem}");
                    }
                }
                Woken::Told(ToSession::Terminate(grace)) => break self.end(grace).await,
                Woken::Closed => break,
            }
        }
        debug!("session {id} is over");
    }

    async fn wait(&self, inbox: &mut mpsc::UnboundedReceiver<ToSession>) -> Woken {
        // A scope that is there and empty holds nothing: it is about to be collected.
        let contained = self.tree.scope.is_populated();
        let main_ended = async {
            match &self.pidfd {
                // Readable is ended (pidfd_open(2)); an error is looked into like an end.
                Some(pidfd) => drop(pidfd.readable().await),
                None => std::future::pending().await,
            }
        };
        let scope_empty = async {
            if contained {
                // Years are more than any window.
                let _ = self.tree.scope.wait_until_empty(Duration::from_secs(1 << 30)).await;
            } else {
                std::future::pending().await
            }
        };
        let leisure = async {
            if contained {
                std::future::pending().await
            }
            let wait = LEISURE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_BETWEEN_TRIES);
            // An `interval` and not a `sleep`, whose first tick is at once.
            let mut ticks = tokio::time::interval(wait);
            ticks.tick().await;
            ticks.tick().await;
        };
        tokio::select! {
            biased;
            told = inbox.recv() => told.map_or(Woken::Closed, Woken::Told),
            () = main_ended => Woken::MainEnded,
            () = scope_empty => Woken::ScopeEmpty,
            () = leisure => Woken::Leisure,
        }
    }

    /// Whether nothing is left of it, in its scope or where it was seen.
    fn is_over(&self) -> bool {
        self.pidfd.is_none() && !self.tree.scope.is_populated() && self.tree.outside().is_empty()
    }

    /// Makes the scope and moves everything of the session into it.
    async fn contain(&mut self) -> Result<(), String> {
        if self.pidfd.is_some() {
            self.tree.saw(self.session.main.pid);
        }
        if self.tree.scope.is_populated() {
            return self.tree.gather().map_err(|error| error.to_string());
        }
        let mut pids = self.tree.outside();
        if self.pidfd.is_some() && !pids.contains(&self.session.main.pid) {
            pids.push(self.session.main.pid);
        }
        if pids.is_empty() {
            return Err("none of its processes is there".to_owned());
        }
        let made = self.systemd.make_scope(self.session.id, &pids, self.last).await;
        made.map_err(|error| error.to_string())?;
        self.tree.gather().map_err(|error| error.to_string())
    }

    fn look_everywhere(&mut self) {
        match self.tree.tagged_anywhere() {
            Ok(pids) => pids.into_iter().for_each(|pid| self.tree.saw(pid)),
            Err(problem) => error!("session {}: /proc cannot be read: {problem}", self.session.id),
        }
    }

    /// Ends it, however often that takes.
    async fn end(&mut self, mut grace: Duration) {
        if !grace.is_zero() && !self.tree.scope.is_populated() {
            // What is frozen and ended as a whole leaves the terminal as it was; what is swept up does not.
            if let Err(problem) = self.contain().await {
                debug!("session {} ends without a scope: {problem}", self.session.id);
            }
        }
        loop {
            let report = match self.reap(grace).await {
                Ok(report) => report,
                Err(problem) => {
                    error!("session {} could not be ended: {problem}", self.session.id);
                    EndReport { left: 1, ..EndReport::default() }
                }
            };
            if report.left == 0 {
                return self.report(report).await;
            }
            error!("session {} is not proven empty; {} left; trying again", self.session.id, report.left);
            if self.engine.tell(Event::SessionStuck(self.session.id, report)).await.is_err() {
                return;
            }
            grace = Duration::ZERO;
            let mut ticks = tokio::time::interval(TRY_AGAIN);
            ticks.tick().await;
            ticks.tick().await;
        }
    }

    async fn reap(&self, grace: Duration) -> io::Result<EndReport> {
        reaper::end(&self.tree.scope, self.tree.tag, self.session.main, grace).await
    }

    async fn report(&self, report: EndReport) {
        if self.engine.tell(Event::SessionGone(self.session.id, report)).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
    }
}
