//! One session from its first process to its last.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::time::{BootTime, format_duration};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

use super::ToSession;
use super::containment::{Containment, Tampered};
use super::groups::Groups;
use super::idle::Activity;
use super::leftover;
use super::reaper::{self, Target};
use super::systemd::Systemd;
use crate::core::input::Input;
use crate::core::ledger::Session;
use crate::core::reply::Verdict;
use crate::core::session::idle::Verdict as Idle;
use crate::core::session::termination::EndReport;
use crate::core::session::termination::{Manner, Reaping};
use crate::engine::handle::Handle;
use crate::host::clock::pause;
use crate::host::process;
use crate::host::sys::watched;
use crate::host::terminal;

/// The delay before a session gets its scope. Most calls of sudo end earlier; until then the audit session identifies
/// their processes.
const CONTAIN_DELAY: Duration = Duration::from_millis(50);
/// The delay before the end of a session is tried again, if it could not be proven.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The longest delay between two tries to get a session into its scope; the first is [`CONTAIN_DELAY`].
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The end of a session waits this long for its scope; the sweep needs none.
const CONTAIN_LIMIT: Duration = Duration::from_millis(250);

/// The task of one session.
pub(super) struct Watch {
    session: Session,
    pidfd: Option<AsyncFd<OwnedFd>>,
    engine: Handle,
    systemd: Systemd,
    containment: Containment,
    /// Failed tries to get its processes into a scope.
    tries: u32,
    activity: Option<Activity>,
    groups: Option<Groups>,
}

/// What woke the task of a session.
enum Woken {
    MainEnded,
    ScopeEmpty,
    LookForStrays,
    LookForActivity,
    LookAtGroups,
    Message(ToSession),
    Closed,
}

impl Watch {
    pub(super) fn new(
        session: Session,
        until: BootTime,
        pidfd: Option<OwnedFd>,
        engine: Handle,
        systemd: Systemd,
    ) -> Self {
        let pidfd = pidfd.or_else(|| process::open(session.main).ok());
        let pidfd = pidfd.and_then(|pidfd| watched(pidfd, Interest::READABLE).ok());
        let containment = Containment::new(&session, pidfd.is_some(), until, systemd.clone());
        Self { session, pidfd, engine, systemd, containment, tries: 0, activity: None, groups: None }
    }

    /// Runs until the session has no process left.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToSession>,
        waiting: Option<oneshot::Sender<Verdict>>,
    ) {
        let id = self.session.id;
        if let Some(waiting) = waiting {
            let verdict = match self.containment.contain().await {
                Ok(()) => Verdict::Allowed,
                Err(problem) => Verdict::Denied(vec![format!(
                    "jit: {} is refused: it could not be contained ({problem}).",
                    self.session.service
                )]),
            };
            // If the caller has gone, its pidfd shows that.
            let _ = waiting.send(verdict);
        } else if !self.containment.main_lives() && self.containment.tree.scope.newest().is_none() {
            // Found after a restart, without its first process: its processes can be in any cgroup.
            let looked = self.containment.tree.look_everywhere().await;
            self.note(looked);
        }
        let mut queue = VecDeque::new();
        let mut woken = None;
        if self.containment.is_held() {
            woken = unless_ended(&mut inbox, &mut queue, self.containment.note_invocation()).await.err();
        }
        loop {
            let now = match woken.take().or_else(|| queue.pop_front().map(Woken::Message)) {
                Some(now) => now,
                None => self.wait(&mut inbox).await,
            };
            match now {
                Woken::MainEnded => {
                    self.forget_main();
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::ScopeEmpty => {
                    // Processes of it are elsewhere: another module may have moved them, and PID 1 collects an empty
                    // scope. The next search comes after a delay.
                    self.containment.let_go();
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::LookForStrays => {
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                    match unless_ended(&mut inbox, &mut queue, self.containment.contain()).await {
                        Err(end) => woken = Some(end),
                        Ok(Ok(())) => {
                            let found = self.containment.was_found();
                            let look = async {
                                self.containment.note_invocation().await;
                                if found {
                                    // The scope is from before a restart, and may have been changed meanwhile.
                                    self.compare().await;
                                }
                            };
                            woken = unless_ended(&mut inbox, &mut queue, look).await.err();
                        }
                        Ok(Err(problem)) => {
                            if self.is_over().await {
                                break self.report(EndReport::default()).await;
                            }
                            warn!(
                                "session {id} is not in its scope yet; its audit session identifies it meanwhile: {problem}"
                            );
                        }
                    }
                    self.tries = if self.containment.is_held() { 0 } else { self.tries + 1 };
                }
                Woken::LookForActivity => self.look_for_activity().await,
                Woken::LookAtGroups => {
                    woken = unless_ended(&mut inbox, &mut queue, self.look_at_groups()).await.err();
                }
                Woken::Message(ToSession::WatchGroups(target, named)) => {
                    self.groups = Some(Groups::new(target, named));
                }
                Woken::Message(ToSession::Compare) => {
                    woken = unless_ended(&mut inbox, &mut queue, self.compare()).await.err();
                }
                Woken::Message(ToSession::Reattach(process, done)) => {
                    self.containment.tree.saw(process.pid);
                    if let Some(generation) = self.containment.populated()
                        && let Err(problem) = self.containment.tree.gather(generation)
                    {
                        warn!("session {id}: {problem}");
                    }
                    // The caller may have given up.
                    let _ = done.send(());
                }
                Woken::Message(ToSession::EnteredAgain) => {
                    // Processes started in its earlier audit session stay with this session.
                    self.forget_main();
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::Message(ToSession::SetDeadline(until)) => {
                    woken = unless_ended(&mut inbox, &mut queue, self.containment.prolong(until)).await.err();
                }
                Woken::Message(ToSession::SetIdleTimeout(idle)) => self.set_idle_timeout(idle),
                Woken::Message(ToSession::Terminate { manner, due }) => break self.end(manner, due).await,
                Woken::Closed => break,
            }
        }
        debug!("session {id} is over");
    }

    async fn wait(&self, inbox: &mut mpsc::UnboundedReceiver<ToSession>) -> Woken {
        // An empty scope is about to be collected.
        let contained = self.containment.populated().is_some();
        let main_ended = async {
            match &self.pidfd {
                // A readable pidfd has ended (pidfd_open(2)); an error is handled like an end.
                Some(pidfd) => drop(pidfd.readable().await),
                None => std::future::pending().await,
            }
        };
        let scope_empty = async {
            if contained {
                // Longer than any window.
                if let Err(problem) =
                    self.containment.tree.scope.wait_until_empty(Duration::from_secs(1 << 30)).await
                {
                    debug!("the scope of session {} cannot be watched: {problem}", self.session.id);
                    pause(MAX_RETRY_INTERVAL).await;
                }
            } else {
                std::future::pending().await
            }
        };
        let stray_search = async {
            if contained {
                std::future::pending().await
            }
            pause(CONTAIN_DELAY.saturating_mul(1 << self.tries.min(10)).min(MAX_RETRY_INTERVAL)).await;
        };
        let activity = async {
            match &self.activity {
                Some(activity) => pause(activity.next()).await,
                None => std::future::pending().await,
            }
        };
        let groups = async {
            match &self.groups {
                Some(groups) => pause(groups.next()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            told = inbox.recv() => told.map_or(Woken::Closed, Woken::Message),
            () = main_ended => Woken::MainEnded,
            () = scope_empty => Woken::ScopeEmpty,
            () = stray_search => Woken::LookForStrays,
            () = groups => Woken::LookAtGroups,
            () = activity => Woken::LookForActivity,
        }
    }

    /// Whether the session has no process left, in its scope or anywhere else.
    async fn is_over(&mut self) -> bool {
        if !self.is_gone() {
            return false;
        }
        if let Err(problem) = self.containment.tree.look_for_strays().await {
            self.note(Err(problem));
            return false;
        }
        self.is_gone()
    }

    /// Whether the session has no process in the known cgroups; false if one cannot be read.
    fn is_gone(&self) -> bool {
        self.containment.is_gone().unwrap_or_else(|problem| {
            error!("cannot tell whether session {} has ended; it stays open: {problem}", self.session.id);
            false
        })
    }

    /// Notes that its first process has ended, or belongs to another session now.
    fn forget_main(&mut self) {
        self.pidfd = None;
        self.containment.forget_main();
    }

    /// Compares PID 1's properties of the scope with the requested ones, and reports a difference to the engine.
    async fn compare(&mut self) {
        let Some(Tampered { found, ends }) = self.containment.compare().await else { return };
        let event = Input::ScopeTampered { session: Some(self.session.id), found, ends };
        if self.engine.tell(event).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
        self.containment.note_invocation().await;
    }

    /// Checks whether a process of it has a group that its role does not give.
    async fn look_at_groups(&mut self) {
        let pids = self
            .containment
            .tree
            .outside()
            .and_then(|outside| Ok([outside, self.containment.tree.scope.all_pids()?].concat()));
        let Some(groups) = &mut self.groups else { return };
        let Some(found) = groups.look(pids, self.session.id).await else { return };
        self.groups = None;
        if self.engine.tell(Input::GroupExceeded(self.session.id, found)).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
    }

    /// Logs that `/proc` could not be read; the task goes on with what is known.
    fn note(&self, looked: io::Result<()>) {
        if let Err(problem) = looked {
            error!("session {}: /proc cannot be read: {problem}", self.session.id);
        }
    }

    fn set_idle_timeout(&mut self, idle: Option<Duration>) {
        let same = self.activity.as_ref().map(Activity::limit) == idle;
        if !same {
            self.activity = idle.map(|limit| Activity::new(limit, &self.session.tty, self.containment.cpu()));
        }
    }

    async fn look_for_activity(&mut self) {
        let cpu = self.containment.cpu();
        let Some(activity) = &mut self.activity else { return };
        let id: SessionId = self.session.id;
        let told = match activity.look(cpu) {
            Idle::Go => Ok(()),
            Idle::Warn(left) => {
                let left = format_duration(Duration::from_secs(left.as_secs().max(1)));
                let line = format!(
                    "jit: nothing has happened in this session for a while; it ends in {left} unless somebody types or a command runs."
                );
                terminal::tell(self.session.holder.uid, &self.session.tty, &[line]);
                self.engine.tell(Input::SessionIdle(id)).await
            }
            Idle::End => {
                // The engine answers with the order to end it.
                self.activity = None;
                self.engine.tell(Input::SessionIdledOut(id)).await
            }
        };
        if told.is_err() {
            debug!("the engine has ended before session {id}");
        }
    }

    /// Ends the session, with as many tries as it takes.
    async fn end(&mut self, manner: Manner, due: BootTime) {
        if matches!(manner, Manner::Graceful(_))
            && !self.containment.tree.scope.is_populated().unwrap_or(true)
        {
            // A frozen process that is killed with its cgroup cannot restore the terminal.
            let contained = tokio::time::timeout(CONTAIN_LIMIT, self.containment.contain()).await;
            if let Some(problem) = contained.map_or(Some("PID 1 does not answer".to_owned()), |held| {
                held.err().map(|error| error.to_string())
            }) {
                debug!("session {} ends without a scope: {problem}", self.session.id);
            }
        }
        let scope = self.containment.tree.scope.clone();
        let target = Target {
            scope,
            audit_session: self.containment.tree.audit_session,
            main: self.session.main,
            due,
        };
        let mut reaping = Reaping::new(manner);
        let mut first_signal = None;
        let mut tries = 0_u32;
        loop {
            let report = reaper::end(&target, &mut reaping, &mut first_signal).await;
            if report.left == 0 {
                return self.report(report).await;
            }
            tries = tries.saturating_add(1);
            // A session that is stuck for hours is reported a dozen times, not every second.
            if tries.is_power_of_two() {
                error!(
                    "session {} is not proven empty at try {tries}; {} left; trying again",
                    self.session.id, report.left
                );
                if self.engine.tell(Input::SessionStuck(self.session.id, report)).await.is_err() {
                    return;
                }
            }
            reaping.retry(Manner::KillKeepingSudo);
            pause(TRY_AGAIN).await;
        }
    }

    async fn report(&self, report: EndReport) {
        let invocations = self.containment.invocations();
        let report = EndReport { contained: self.containment.contained, invocations, ..report };
        if self.engine.tell(Input::SessionGone(self.session.id, report)).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
        if !self.containment.tree.scope.known().is_empty() {
            let (id, scope, systemd) =
                (self.session.id, self.containment.tree.scope.clone(), self.systemd.clone());
            tokio::spawn(async move { leftover::stop(id, &scope, &systemd).await });
        }
    }
}

/// Awaits a future, unless the session is told to end meanwhile; other messages are queued.
async fn unless_ended<T>(
    inbox: &mut mpsc::UnboundedReceiver<ToSession>,
    queue: &mut VecDeque<ToSession>,
    work: impl Future<Output = T>,
) -> Result<T, Woken> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            told = inbox.recv() => match told {
                Some(end @ ToSession::Terminate { .. }) => return Err(Woken::Message(end)),
                Some(other) => queue.push_back(other),
                None => return Err(Woken::Closed),
            },
        }
    }
}
