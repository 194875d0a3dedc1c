//! One session from its first process to its last.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jit_proto::bus::names::scope_name;
use jit_proto::identity::SessionId;
use jit_proto::time::{BootTime, format_duration, micros};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

use super::ToSession;
use super::groups::Groups;
use super::idle::Activity;
use super::leftover;
use super::limit::{self, Deviations, Wanted};
use super::reaper::{self, Target};
use super::systemd::{ScopeError, Systemd};
use super::tree::Tree;
use crate::core::event::{EndReport, Input, Verdict};
use crate::core::idle::Verdict as Idle;
use crate::core::ledger::Session;
use crate::core::reaping::{Manner, Reaping};
use crate::engine::handle::Handle;
use crate::host::clock::{boot_now, monotonic_now, pause};
use crate::host::process;
use crate::host::sys::watched;
use crate::host::terminal;

/// Most calls of sudo are over before this; only what lives longer is worth a scope, and until then the tag holds it.
const CONTAIN_DELAY: Duration = Duration::from_millis(50);
/// An end that could not be proven is tried again this much later.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The longest time between two tries to get a session into its scope; the first comes after [`CONTAIN_DELAY`].
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// An end waits no longer for a scope; the sweep needs none.
const CONTAIN_LIMIT: Duration = Duration::from_millis(250);
/// PID 1 takes no shorter time limit than this for what is over already.
const MIN_LIMIT: Duration = Duration::from_millis(100);

/// So often PID 1 is made to hold a limit again that was lifted; whoever lifts it more often ends the session by it.
const MAX_RESETS: u32 = 8;

pub(super) struct Watch {
    session: Session,
    /// When PID 1 is to end it.
    until: BootTime,
    pidfd: Option<AsyncFd<OwnedFd>>,
    engine: Handle,
    systemd: Systemd,
    tree: Tree,
    /// The scope that PID 1 holds with the right time limit.
    held: Option<u32>,
    /// How often it was tried, without success, to get its processes into a scope.
    tries: u32,
    began: BootTime,
    /// How long it took to get everything into the scope.
    contained: Option<Duration>,
    /// The invocations of its scopes, by their numbers, as far as PID 1 has told them.
    invocations: BTreeMap<u32, String>,
    activity: Option<Activity>,
    groups: Option<Groups>,
    /// The limit that the held scope was made with, in microseconds; `None` where it was found.
    runtime_max: Option<u64>,
    /// What was told last of what PID 1 holds for the scope, while that stays so.
    told: Option<String>,
    /// How often PID 1 was made to hold the limit again.
    resets: u32,
}

/// What made a session's task look up.
enum Woken {
    MainEnded,
    ScopeEmpty,
    Leisure,
    LookForActivity,
    LookAtGroups,
    Told(ToSession),
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
        let tree = Tree::of(&session);
        Self {
            session,
            until,
            pidfd,
            engine,
            systemd,
            tree,
            held: None,
            tries: 0,
            began: boot_now(),
            contained: None,
            invocations: BTreeMap::new(),
            activity: None,
            groups: None,
            runtime_max: None,
            told: None,
            resets: 0,
        }
    }

    /// Runs until nothing is left of the session.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToSession>,
        waiting: Option<oneshot::Sender<Verdict>>,
    ) {
        let id = self.session.id;
        if let Some(waiting) = waiting {
            let verdict = match self.contain().await {
                Ok(()) => Verdict::Allowed,
                Err(problem) => Verdict::Denied(vec![format!(
                    "jit: {} is refused: it could not be contained ({problem}).",
                    self.session.service
                )]),
            };
            // A caller that has gone is noticed by its pidfd.
            let _ = waiting.send(verdict);
        } else if self.pidfd.is_none() && self.tree.scope.newest().is_none() {
            // Found again after a restart, without its first process: what is left of it can be anywhere.
            let looked = self.tree.look_everywhere().await;
            self.note(looked);
        }
        let mut queue = VecDeque::new();
        let mut woken = None;
        if self.held.is_some() {
            woken = unless_ended(&mut inbox, &mut queue, self.note_invocation()).await.err();
        }
        loop {
            let now = match woken.take().or_else(|| queue.pop_front().map(Woken::Told)) {
                Some(now) => now,
                None => self.wait(&mut inbox).await,
            };
            match now {
                Woken::MainEnded => {
                    self.pidfd = None;
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::ScopeEmpty => {
                    // Something of it lives elsewhere: another module may have moved it, and PID 1 collects a scope
                    // that is empty. The next try comes at leisure.
                    self.held = None;
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::Leisure => {
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                    match unless_ended(&mut inbox, &mut queue, self.contain()).await {
                        Err(end) => woken = Some(end),
                        Ok(Ok(())) => {
                            let found = self.runtime_max.is_none();
                            let look = async {
                                self.note_invocation().await;
                                if found {
                                    // It is from before a restart, and may have been changed meanwhile.
                                    self.compare().await;
                                }
                            };
                            woken = unless_ended(&mut inbox, &mut queue, look).await.err();
                        }
                        Ok(Err(problem)) => {
                            if self.is_over().await {
                                break self.report(EndReport::default()).await;
                            }
                            warn!("session {id} is not in its scope yet; its tag holds it: {problem}");
                        }
                    }
                    self.tries = if self.held.is_some() { 0 } else { self.tries + 1 };
                }
                Woken::LookForActivity => self.look_for_activity().await,
                Woken::LookAtGroups => {
                    woken = unless_ended(&mut inbox, &mut queue, self.look_at_groups()).await.err();
                }
                Woken::Told(ToSession::MindGroups(target, named)) => {
                    self.groups = Some(Groups::new(target, named));
                }
                Woken::Told(ToSession::Compare) => {
                    woken = unless_ended(&mut inbox, &mut queue, self.compare()).await.err();
                }
                Woken::Told(ToSession::Reattach(process, done)) => {
                    self.tree.saw(process.pid);
                    if let Some(generation) =
                        self.held.filter(|generation| self.tree.scope.holds(*generation))
                        && let Err(problem) = self.tree.gather(generation)
                    {
                        warn!("session {id}: {problem}");
                    }
                    // Whoever waited for it may have given up.
                    let _ = done.send(());
                }
                Woken::Told(ToSession::EnteredAgain) => {
                    // What it started under its earlier tag stays with this session.
                    self.pidfd = None;
                    if self.is_over().await {
                        break self.report(EndReport::default()).await;
                    }
                }
                Woken::Told(ToSession::SetDeadline(until)) => {
                    woken = unless_ended(&mut inbox, &mut queue, self.prolong(until)).await.err();
                }
                Woken::Told(ToSession::SetIdleTimeout(idle)) => self.mind_idleness(idle),
                Woken::Told(ToSession::Terminate { manner, due }) => break self.end(manner, due).await,
                Woken::Closed => break,
            }
        }
        debug!("session {id} is over");
    }

    async fn wait(&self, inbox: &mut mpsc::UnboundedReceiver<ToSession>) -> Woken {
        // A scope that is there and empty holds nothing: it is about to be collected.
        let contained = self.held.is_some_and(|generation| self.tree.scope.holds(generation));
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
                if let Err(problem) = self.tree.scope.wait_until_empty(Duration::from_secs(1 << 30)).await {
                    debug!("the scope of session {} cannot be watched: {problem}", self.session.id);
                    pause(MAX_RETRY_INTERVAL).await;
                }
            } else {
                std::future::pending().await
            }
        };
        let leisure = async {
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
            told = inbox.recv() => told.map_or(Woken::Closed, Woken::Told),
            () = main_ended => Woken::MainEnded,
            () = scope_empty => Woken::ScopeEmpty,
            () = leisure => Woken::Leisure,
            () = groups => Woken::LookAtGroups,
            () = activity => Woken::LookForActivity,
        }
    }

    /// Whether nothing is left of it, in its scope or anywhere else.
    async fn is_over(&mut self) -> bool {
        if !self.is_gone() {
            return false;
        }
        if let Err(problem) = self.tree.look_for_strays().await {
            self.note(Err(problem));
            return false;
        }
        self.is_gone()
    }

    /// Whether nothing is left of it where it was seen. What cannot be read is not nothing.
    fn is_gone(&self) -> bool {
        let gone = || -> io::Result<bool> {
            Ok(self.pidfd.is_none() && !self.tree.scope.is_populated()? && self.tree.outside()?.is_empty())
        };
        gone().unwrap_or_else(|problem| {
            error!(
                "it cannot be told whether session {} is over, and so it is not: {problem}",
                self.session.id
            );
            false
        })
    }

    /// Makes the scope and moves everything of the session into it.
    async fn contain(&mut self) -> Result<(), String> {
        if self.pidfd.is_some() {
            self.tree.saw(self.session.main.pid);
        }
        if let Some(generation) = self.held.filter(|generation| self.tree.scope.holds(*generation)) {
            return self.tree.gather(generation).map_err(|error| error.to_string());
        }
        // After a restart there is one, and PID 1 says whether it holds it.
        self.hold(self.tree.scope.newest().unwrap_or(0)).await
    }

    /// Has PID 1 hold a scope of this number, and gathers everything in it.
    async fn hold(&mut self, generation: u32) -> Result<(), String> {
        let mut pids: Vec<u32> = Vec::new();
        if self.pidfd.is_some() {
            pids.push(self.session.main.pid);
        }
        pids.extend(self.tree.outside().map_err(|error| error.to_string())?);
        pids.extend(self.tree.scope.all_pids().map_err(|error| error.to_string())?);
        let mut problem = "none of its processes is there".to_owned();
        for pid in pids {
            let last = self.until.since(boot_now()).max(MIN_LIMIT);
            // Whether or not it comes to be, the reaper is to look there.
            self.tree.scope.add(generation);
            match self.systemd.make_scope(self.session.id, generation, pid, last).await {
                Ok(runtime_max) => {
                    self.held = Some(generation);
                    self.runtime_max = runtime_max;
                    let gathered = self.tree.gather(generation).map_err(|error| error.to_string());
                    if gathered.is_ok() && self.contained.is_none() {
                        self.contained = Some(boot_now().since(self.began));
                    }
                    return gathered;
                }
                // It may have ended meanwhile; another one will do.
                Err(ScopeError::Job { .. }) if process::start_of(pid).is_err() => {
                    problem = format!("process {pid} has ended");
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(problem)
    }

    /// Its window has another end: PID 1 gets another scope with another limit, since it changes none (systemd 252 and
    /// 257: "Cannot set property RuntimeMaxUSec").
    async fn prolong(&mut self, until: BootTime) {
        self.until = until;
        let Some(old) = self.held.take() else { return };
        if let Err(problem) = self.hold(old + 1).await {
            warn!(
                "session {} is still held by the limit of its old window, and is tried again: {problem}",
                self.session.id
            );
        }
        self.note_invocation().await;
    }

    /// Compares what PID 1 holds for the scope with what it was asked for. Whatever was changed is told, and undone with
    /// another scope; where PID 1 cannot be made to hold the limit at all, the session ends.
    async fn compare(&mut self) {
        let Some(found) = self.deviations().await else { return };
        if found.is_none() {
            self.told = None;
            return;
        }
        if self.told.as_ref() == Some(&found.text()) {
            return;
        }
        let old = self.held.unwrap_or(0);
        let mut text = format!("{}: {}", scope_name(self.session.id, old), found.text());
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
                    text += &format!("; set again as {}", scope_name(self.session.id, old + 1));
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
        error!("session {}: {text}", self.session.id);
        let event = Input::ScopeTampered { session: Some(self.session.id), found: text, ends };
        if self.engine.tell(event).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
        self.note_invocation().await;
    }

    /// How what PID 1 holds differs from what it was asked for; `None` where there is nothing to hold, or it cannot be told.
    async fn deviations(&self) -> Option<Deviations> {
        let generation = self.held.filter(|generation| self.tree.scope.holds(*generation))?;
        let scope = scope_name(self.session.id, generation);
        let held = match self.systemd.held(&scope).await {
            Ok(held) => held,
            Err(problem) => {
                warn!("PID 1 does not tell what it holds of {scope}: {problem}");
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

    /// Looks whether a process of it has a group that its role does not give.
    async fn look_at_groups(&mut self) {
        let pids =
            self.tree.outside().and_then(|outside| Ok([outside, self.tree.scope.all_pids()?].concat()));
        let Some(groups) = &mut self.groups else { return };
        let Some(found) = groups.look(pids, self.session.id).await else { return };
        self.groups = None;
        if self.engine.tell(Input::GroupExceeded(self.session.id, found)).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
    }

    /// Asks PID 1 under which invocation the scope runs, while there is one to ask about; the record can do without.
    async fn note_invocation(&mut self) {
        let Some(generation) = self.held.filter(|held| !self.invocations.contains_key(held)) else { return };
        match self.systemd.invocation(self.session.id, generation).await {
            Ok(id) => self.invocations.extend(id.map(|id| (generation, id))),
            Err(problem) => {
                debug!("the invocation of session {}'s scope is not known: {problem}", self.session.id);
            }
        }
    }

    /// Where `/proc` cannot be read, what is known has to do.
    fn note(&self, looked: io::Result<()>) {
        if let Err(problem) = looked {
            error!("session {}: /proc cannot be read: {problem}", self.session.id);
        }
    }

    fn mind_idleness(&mut self, idle: Option<Duration>) {
        let same = self.activity.as_ref().map(Activity::limit) == idle;
        if !same {
            self.activity = idle.map(|limit| Activity::new(limit, &self.session.tty, self.cpu()));
        }
    }

    async fn look_for_activity(&mut self) {
        let cpu = self.cpu();
        let Some(activity) = &mut self.activity else { return };
        let id: SessionId = self.session.id;
        let told = match activity.look(cpu) {
            Idle::Go => Ok(()),
            Idle::Warn(left) => {
                let left = format_duration(Duration::from_secs(left.as_secs().max(1)));
                let line = format!(
                    "jit: nothing has happened in this session for a while; it ends in {left} unless something does."
                );
                terminal::tell(self.session.holder.uid, &self.session.tty, &[line]);
                self.engine.tell(Input::SessionIdle(id)).await
            }
            Idle::End => {
                // The order to end it comes back from the engine.
                self.activity = None;
                self.engine.tell(Input::SessionIdledOut(id)).await
            }
        };
        if told.is_err() {
            debug!("the engine has ended before session {id}");
        }
    }

    /// Processor time used in the scope; what is outside of it cannot be told.
    fn cpu(&self) -> Option<Duration> {
        self.held.and_then(|generation| self.tree.scope.cpu(generation))
    }

    /// Ends it, however often that takes.
    async fn end(&mut self, manner: Manner, due: BootTime) {
        if matches!(manner, Manner::Ask(_)) && !self.tree.scope.is_populated().unwrap_or(true) {
            // What is frozen and ended as a whole leaves the terminal as it was; what is swept up does not.
            let contained = tokio::time::timeout(CONTAIN_LIMIT, self.contain()).await;
            if let Some(problem) = contained.map_or(Some("PID 1 does not answer".to_owned()), Result::err) {
                debug!("session {} ends without a scope: {problem}", self.session.id);
            }
        }
        let scope = self.tree.scope.clone();
        let doomed = Target { scope, tag: self.tree.tag, main: self.session.main, due };
        let mut reaping = Reaping::new(manner);
        let mut first_signal = None;
        let mut tries = 0_u32;
        loop {
            let report = reaper::end(&doomed, &mut reaping, &mut first_signal).await;
            if report.left == 0 {
                return self.report(report).await;
            }
            tries = tries.saturating_add(1);
            // What hangs on a disk for hours is told a dozen times, and not each second.
            if tries.is_power_of_two() {
                error!(
                    "session {} is not proven empty at try {tries}; {} left; trying again",
                    self.session.id, report.left
                );
                if self.engine.tell(Input::SessionStuck(self.session.id, report)).await.is_err() {
                    return;
                }
            }
            reaping.again(Manner::Kill);
            pause(TRY_AGAIN).await;
        }
    }

    async fn report(&self, report: EndReport) {
        let invocations = self.invocations.values().cloned().collect();
        let report = EndReport { contained: self.contained, invocations, ..report };
        if self.engine.tell(Input::SessionGone(self.session.id, report)).await.is_err() {
            debug!("the engine has ended before session {}", self.session.id);
        }
        if !self.tree.scope.known().is_empty() {
            let (id, scope, systemd) = (self.session.id, self.tree.scope.clone(), self.systemd.clone());
            tokio::spawn(async move { leftover::stop(id, &scope, &systemd).await });
        }
    }
}

/// Does something that waits for others, unless the session is told to end meanwhile. What else it is told comes after.
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
                Some(end @ ToSession::Terminate { .. }) => return Err(Woken::Told(end)),
                Some(other) => queue.push_back(other),
                None => return Err(Woken::Closed),
            },
        }
    }
}
