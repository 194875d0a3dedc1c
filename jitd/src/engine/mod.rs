//! The one owner of the ledger: takes messages, lets the core decide, commits, and has the effects performed.

pub mod alerting;
pub mod timer;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::SessionId;
use jit_proto::time::{BootTime, WallTime};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::audit::{Sinks, ToSink};
use crate::core::event::{Changed, Commit, DriftUpdate, Durability, Effect, Input, Refusal, Reply, Verdict};
use crate::core::ledger::{EndedBy, Ledger};
use crate::core::policy::Policy;
use crate::core::step::{next_deadline, step};
use crate::core::time::Now;
use crate::engine::alerting::{Alerting, News};
use crate::host::clock::Clock;
use crate::host::terminal;
use crate::notify::ToNotifier;
use crate::retention::ToRetention;
use crate::sessions::Order;
use crate::store::wal::WalSync;
use crate::store::{CommitMeta, KnownHead, SealKeyError, Sent, Store, StoreError, Written};

/// This many events at most share one transaction.
const MAX_BATCH: usize = 128;
/// After a commit that failed, what is due is tried again this much later.
const RETRY: Duration = Duration::from_secs(1);

/// Records and changes are told to the sinks, to the drift scan and to the bus so long after the first of them, or a little
/// later: a sudo that runs nothing is over by then, and those who are woken for it were measured to cost it 1.5 %. Whoever
/// became root by it needs most of that to get there; what they could stop is in the store and on the disk.
pub const NOTIFY_DELAY: Duration = Duration::from_millis(10);

/// A call waits so long for what another module moved to be moved back.
const GATHER_LIMIT: Duration = Duration::from_secs(1);

/// What reaches the engine.
pub enum Message {
    /// Something happened.
    Input(Box<Incoming>),
    /// Somebody wants to look.
    Look(Box<dyn FnOnce(&Inside<'_>) + Send>),
    /// Take away a few of the records that are to go; the answer is whether there are more.
    TakeAway(oneshot::Sender<Result<bool, StoreError>>),
    /// Write down what is left to write, and end.
    Stop(oneshot::Sender<()>),
}

/// An event with what belongs to it but means nothing to the core.
pub struct Incoming {
    /// The event.
    pub event: Input,
    /// The process that knocked.
    pub pidfd: Option<OwnedFd>,
    /// Where the answer goes.
    pub reply: Option<oneshot::Sender<Reply>>,
}

/// What somebody who looks gets to see.
pub struct Inside<'a> {
    /// The state.
    pub ledger: &'a Ledger,
    /// The policy in force.
    pub policy: Option<&'a Arc<Policy>>,
    /// What is closed, and the record.
    pub store: &'a Store,
    /// Where the records go.
    pub sinks: &'a Sinks,
    /// Why the store's files are not those that are open.
    pub lost_files: Option<&'a str>,
    /// When the daemon started.
    pub started_at: WallTime,
    /// The time.
    pub now: Now,
}

impl Inside<'_> {
    /// The last record that every sink has taken: what comes behind it has to stay in the store.
    #[must_use]
    pub fn handed(&self) -> u64 {
        let Sent { syslog, journal, json_lines } = self.sinks.cursors.sent();
        syslog.min(journal).min(json_lines)
    }

    /// What is known to be wrong with the record: sentences for people.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.store.problems();
        problems.extend(self.lost_files.map(str::to_owned));
        problems
    }
}

/// The engine has ended; nothing can be decided any more.
#[derive(Debug, thiserror::Error)]
#[error("jitd is stopping")]
pub struct Stopped;

/// The way to the engine.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<Message>,
}

impl Handle {
    /// A handle, and the inbox that the engine reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, inbox) = mpsc::channel(1024);
        (Self { sender }, inbox)
    }

    /// Sends an event that nobody waits for.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn tell(&self, event: Input) -> Result<(), Stopped> {
        let incoming = Box::new(Incoming { event, pidfd: None, reply: None });
        self.sender.send(Message::Input(incoming)).await.map_err(|_| Stopped)
    }

    /// Sends an event and waits for the answer.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn ask(&self, event: Input, pidfd: Option<OwnedFd>) -> Result<Reply, Stopped> {
        let (reply, answer) = oneshot::channel();
        let incoming = Box::new(Incoming { event, pidfd, reply: Some(reply) });
        self.sender.send(Message::Input(incoming)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Inside<'_>) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |inside: &Inside<'_>| {
            // Whoever asked may have gone meanwhile.
            let _ = reply.send(look(inside));
        });
        self.sender.send(Message::Look(look)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Sends an event that nobody waits for, from a thread that cannot wait either. False if it was not taken.
    #[must_use]
    pub fn tell_at_once(&self, event: Input) -> bool {
        let incoming = Box::new(Incoming { event, pidfd: None, reply: None });
        self.sender.try_send(Message::Input(incoming)).is_ok()
    }

    /// Sends an event that nobody waits for, from a thread of its own.
    ///
    /// # Errors
    /// When the engine has ended.
    pub fn tell_from_thread(&self, event: Input) -> Result<(), Stopped> {
        let incoming = Box::new(Incoming { event, pidfd: None, reply: None });
        self.sender.blocking_send(Message::Input(incoming)).map_err(|_| Stopped)
    }

    /// Sends an event and waits for the answer, on a thread of its own.
    ///
    /// # Errors
    /// When the engine has ended, or has no answer because the event came to nothing.
    pub fn ask_from_thread(&self, event: Input) -> Result<Reply, Stopped> {
        let (reply, answer) = oneshot::channel();
        let incoming = Box::new(Incoming { event, pidfd: None, reply: Some(reply) });
        self.sender.blocking_send(Message::Input(incoming)).map_err(|_| Stopped)?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Looks at the state, from a thread of its own.
    ///
    /// # Errors
    /// When the engine has ended.
    pub fn look_from_thread<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Inside<'_>) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |inside: &Inside<'_>| {
            // Whoever asked may have gone meanwhile.
            let _ = reply.send(look(inside));
        });
        self.sender.blocking_send(Message::Look(look)).map_err(|_| Stopped)?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Has a few of the records taken away that are to go, from a thread of its own; returns whether there are more.
    ///
    /// # Errors
    /// The outer one when the engine has ended; the inner one is what the store says.
    pub fn take_away_from_thread(&self) -> Result<Result<bool, StoreError>, Stopped> {
        let (done, answer) = oneshot::channel();
        self.sender.blocking_send(Message::TakeAway(done)).map_err(|_| Stopped)?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Ends the engine when everything before this is done.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Message::Stop(done)).await.is_ok() {
            // An engine that is gone already has stopped.
            let _ = wait.await;
        }
    }
}

/// What the drift scan is told.
pub enum ToDrift {
    /// By the core.
    Update(DriftUpdate),
    /// The setting `setuid_paths`: below these paths privileged files are looked for. The first scan waits for it.
    Paths(Vec<PathBuf>),
    /// By its own scan thread: the result is ready.
    ScanFinished,
}

/// What the engine works with.
pub struct Engine {
    /// Where state and record are kept.
    pub store: Store,
    /// The clocks.
    pub clock: Clock,
    /// What watches and ends sessions.
    pub sessions: mpsc::UnboundedSender<Order>,
    /// Where the records go.
    pub sinks: Sinks,
    /// Syncs the store's write-ahead log.
    pub wal: WalSync,
    /// What finds privilege that outlives sessions.
    pub drift: std_mpsc::Sender<ToDrift>,
    /// What lets old records go.
    pub retention: std_mpsc::Sender<ToRetention>,
    /// What looks at each record for something to alert to.
    pub alerting: Alerting,
    /// What tells people.
    pub notifier: mpsc::UnboundedSender<ToNotifier>,
    /// What tells the bus.
    pub changes: broadcast::Sender<Changed>,
    /// Where the number of the last record is seen.
    pub head: watch::Sender<u64>,
    /// How often a sign of life goes out.
    pub heartbeat: watch::Sender<Duration>,
    /// What wakes the engine at the next deadline.
    pub deadline: watch::Sender<Option<BootTime>>,
    /// Whether the last commit failed.
    pub failing: bool,
    /// Whether the disk did not take the last that it was to take a little later. Until it does, every answer waits.
    pub distrusted: bool,
    /// Remembers, outside of the store, how far the record has come.
    pub known_head: KnownHead,
    /// Why the store's files are not those that are open; nobody but root is let through.
    pub lost_files: Option<String>,
    /// When the daemon started.
    pub started_at: WallTime,
    /// What is told when everybody who waits has an answer.
    pub later: Deferred,
}

/// What is told when everybody who waits has an answer.
#[derive(Debug, Default)]
pub struct Deferred {
    records: Vec<Sealed>,
    news: News,
    /// So many of them, the first ones, are on the disk.
    on_the_disk: usize,
    /// One of those tells of a decision.
    urgent: bool,
    changes: Vec<Changed>,
    /// Since when something is to be told.
    since: Option<Instant>,
    drift: Vec<DriftUpdate>,
    /// Something is to be brought onto the disk.
    onto_the_disk: bool,
    /// The last commit is there.
    at_once: bool,
    /// Sessions that were let in with it.
    let_in: Vec<SessionId>,
}

/// An event's effects, waiting for the batch to be committed.
struct Pending {
    event: Input,
    pidfd: Option<OwnedFd>,
    reply: Option<oneshot::Sender<Reply>>,
    effects: Vec<Effect>,
}

/// Refuses whom this would let become root: with the old key still on the disk they could seal anew what is recorded
/// about them. Their session is registered, and ends as one whose sudo has gone.
fn hold_back(pending: &mut Pending, problem: &SealKeyError) {
    let lets_in = pending.effects.iter().any(|effect| matches!(effect, Effect::Watch { .. }));
    if let Input::AccessQuery(query) = &pending.event
        && lets_in
        && let Some(reply) = pending.reply.take()
    {
        let line = format!("jit: {} is refused: the record could not be sealed ({problem}).", query.service);
        // A caller that has gone is refused all the same.
        let _ = reply.send(Reply::Gate(Verdict::Denied(vec![line])));
    }
}

impl Engine {
    /// Runs until it is told to stop. It shares its thread with the callers' tasks: while it commits, they queue up,
    /// and are then committed together. `after_start` are the effects of reconciling, to be performed first.
    ///
    /// # Errors
    /// When the store can be neither written nor read back: the state in memory is then worth nothing.
    pub async fn run(
        mut self,
        mut ledger: Ledger,
        after_start: Vec<Effect>,
        mut inbox: mpsc::Receiver<Message>,
    ) -> Result<(), StoreError> {
        let mut policy: Option<Arc<Policy>> = None;
        let mut again: VecDeque<Input> = VecDeque::new();
        self.start(after_start, &ledger)?;
        self.sinks.tell(&ToSink::Stored(self.store.head().seq));
        while let Some(first) = self.next(&mut inbox).await {
            let now = self.clock.now();
            let mut batch = self.steps(&mut again, &mut ledger, policy.as_deref(), &now);
            let mut stop = None;
            let mut message = Some(first);
            while let Some(current) = message.take() {
                match current {
                    Message::Input(incoming) => {
                        if let Input::PolicyLoaded(new, _) = &incoming.event {
                            self.heartbeat.send_replace(new.settings.sinks.heartbeat);
                            self.sinks.tell(&ToSink::Settings(Arc::new(new.settings.sinks.clone())));
                            let _ = self.drift.send(ToDrift::Paths(new.settings.setuid_paths.clone()));
                            let settings = new.settings.retention.clone();
                            let _ = self.retention.send(ToRetention::Settings(settings));
                            let _ = self.notifier.send(ToNotifier::Policy(Arc::clone(new)));
                            self.alerting.set_rules(&new.settings.alerts);
                            policy = Some(Arc::clone(new));
                        }
                        let Incoming { mut event, pidfd, reply } = *incoming;
                        if let Input::AccessQuery(query) = &mut event {
                            let waits = self.sinks.cursors.syslog.waiting_since();
                            query.unforwarded = waits.map(|since| now.boot.since(since));
                        }
                        let (next, effects) = step(ledger, policy.as_deref(), event.clone(), &now);
                        ledger = next;
                        batch.push(Pending { event, pidfd, reply, effects });
                    }
                    Message::Look(look) => {
                        // Nobody is shown what is not written yet.
                        ledger = self.finish(std::mem::take(&mut batch), ledger, &mut again)?;
                        let (policy, started_at) = (policy.as_ref(), self.started_at);
                        look(&Inside {
                            ledger: &ledger,
                            policy,
                            store: &self.store,
                            sinks: &self.sinks,
                            lost_files: self.lost_files.as_deref(),
                            started_at,
                            now: now.clone(),
                        });
                    }
                    Message::TakeAway(done) => {
                        ledger = self.finish(std::mem::take(&mut batch), ledger, &mut again)?;
                        // Whoever asked may have gone meanwhile.
                        let _ = done.send(self.store.take_away());
                    }
                    Message::Stop(done) => {
                        stop = Some(done);
                        break;
                    }
                }
                if batch.len() < MAX_BATCH {
                    message = inbox.try_recv().ok();
                }
            }
            ledger = self.finish(batch, ledger, &mut again)?;
            self.after_the_answers(&mut again).await;
            // The wake-up may have nobody to take it only while the daemon ends.
            let mut due = next_deadline(&ledger, policy.as_deref(), &now);
            // What is due stays due until it can be written; once a second is often enough to try.
            let retry = now.boot.after(RETRY);
            if !again.is_empty() {
                due = Some(retry);
            } else if self.failing {
                due = Some(due.map_or(retry, |due| due.max(retry)));
            }
            let _ = self.deadline.send_replace(due);
            if let Some(done) = stop {
                let batch = self.steps(&mut again, &mut ledger, policy.as_deref(), &now);
                ledger = self.finish(batch, ledger, &mut again)?;
                let written = self.store.commit(Vec::new(), self.kept(&ledger));
                if written.is_ok() {
                    self.later.on_the_disk = self.later.records.len();
                }
                if let Err(problem) = written.and_then(|written| Ok(written.key?)) {
                    error!("the last state before stopping was not written: {problem}");
                }
                self.tell();
                // So that the last records do not come again after the start.
                self.sinks.finish().await;
                if let Err(problem) = self.store.commit(Vec::new(), self.kept(&ledger)) {
                    error!("how far the sinks have got was not written: {problem}");
                }
                let _ = done.send(());
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next message; what there is to tell is told meanwhile, when its time has come.
    async fn next(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Option<Message> {
        while let Some(since) = self.later.since {
            // Nothing is decided by this clock.
            match tokio::time::timeout_at(since + NOTIFY_DELAY, inbox.recv()).await {
                Ok(message) => return message,
                Err(_) => self.tell(),
            }
        }
        inbox.recv().await
    }

    /// What the events come to that could not be written before.
    fn steps(
        &self,
        again: &mut VecDeque<Input>,
        ledger: &mut Ledger,
        policy: Option<&Policy>,
        now: &Now,
    ) -> Vec<Pending> {
        let steps = again.drain(..).map(|event| {
            let (next, effects) = step(std::mem::take(ledger), policy, event.clone(), now);
            *ledger = next;
            Pending { event, pidfd: None, reply: None, effects }
        });
        steps.collect()
    }

    /// Performs what reconciling came to. If that cannot be written there is nothing to go on from.
    fn start(&mut self, effects: Vec<Effect>, ledger: &Ledger) -> Result<(), StoreError> {
        let is_commit = |effect: &Effect| matches!(effect, Effect::Commit(_));
        let (commits, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_commit);
        let commits = commits.into_iter().filter_map(|effect| match effect {
            Effect::Commit(commit) => Some(commit),
            _ => None,
        });
        let mut commits: Vec<Commit> = commits.collect();
        commits.iter_mut().for_each(|commit| commit.durability = Durability::AtOnce);
        self.alerting.append_alerts(&mut commits, self.store.head().seq);
        let written = self.store.commit(commits, self.kept(ledger))?;
        self.later.news.extend(self.alerting.written());
        self.later.records.extend(written.records);
        self.later.on_the_disk = self.later.records.len();
        if let Err(problem) = written.key {
            error!("the seal's key could not be moved on: {problem}");
        }
        for effect in rest {
            self.perform(effect, &mut None, &mut None);
        }
        Ok(())
    }

    /// Commits a batch and performs what follows; if the commit fails, goes back to what the store says.
    fn finish(
        &mut self,
        mut batch: Vec<Pending>,
        ledger: Ledger,
        again: &mut VecDeque<Input>,
    ) -> Result<Ledger, StoreError> {
        if batch.is_empty() {
            return Ok(ledger);
        }
        let mut commits = Vec::new();
        for pending in &mut batch {
            for effect in std::mem::take(&mut pending.effects) {
                match effect {
                    Effect::Commit(commit) => commits.push(commit),
                    other => pending.effects.push(other),
                }
            }
        }
        let mut written = Vec::new();
        if !commits.is_empty() {
            match self.write(&mut commits, &batch, &ledger) {
                Ok(Written { records, key }) => {
                    written = records;
                    if let Err(problem) = key {
                        error!("the seal's key could not be moved on; nobody is let through: {problem}");
                        batch.iter_mut().for_each(|pending| hold_back(pending, &problem));
                    }
                }
                Err(problem) => {
                    error!("state and audit record could not be written; nothing is let through: {problem}");
                    self.failing = true;
                    if let StoreError::Files(lost) = &problem {
                        self.tell_of_lost_files(&lost.to_string(), &ledger);
                    }
                    let kept = self.store.ledger()?;
                    for pending in batch {
                        self.fail(pending, &problem, again);
                    }
                    return Ok(kept);
                }
            }
        }
        self.later.records.extend(written);
        if std::mem::take(&mut self.later.at_once) {
            self.later.on_the_disk = self.later.records.len();
        }
        for pending in batch {
            let Pending { mut pidfd, mut reply, effects, .. } = pending;
            for effect in effects {
                match effect {
                    Effect::Notify(change) => self.later.changes.push(change),
                    effect => self.perform(effect, &mut pidfd, &mut reply),
                }
            }
        }
        Ok(ledger)
    }

    /// Brings onto the disk what can be there a little later, when those who wait for a decision are on their way: waiting
    /// for the disk was measured to cost each sudo a millisecond. Nothing else is decided before it is done, so a session
    /// opens only then.
    async fn after_the_answers(&mut self, again: &mut VecDeque<Input>) {
        tokio::task::yield_now().await;
        let let_in = std::mem::take(&mut self.later.let_in);
        if std::mem::take(&mut self.later.onto_the_disk) || self.distrusted {
            // The log is opened by its name: both times it has to be the one that was written to.
            let check = |store: &mut Store| store.check_files().map_err(|error| error.to_string());
            let brought = check(&mut self.store)
                .and_then(|()| self.wal.sync(self.store.sealer()).map_err(|error| error.to_string()))
                .and_then(|()| check(&mut self.store));
            self.distrusted = brought.is_err();
            match brought {
                Ok(()) => self.later.on_the_disk = self.later.records.len(),
                Err(problem) => {
                    error!(
                        "the disk does not take the record; whoever was let in with it is ended: {problem}"
                    );
                    again.push_back(Input::NotOnDisk(let_in));
                }
            }
        }
        let Deferred { records, changes, drift, .. } = &self.later;
        let nothing = records.is_empty() && changes.is_empty() && drift.is_empty();
        self.later.since = (!nothing).then(|| self.later.since.unwrap_or_else(Instant::now));
        if self.later.since.is_some_and(|since| since.elapsed() >= NOTIFY_DELAY) {
            self.tell();
        }
    }

    /// Tells the sinks, the drift scan and the bus.
    fn tell(&mut self) {
        self.later.since = None;
        // The copies off the host are never ahead of the disk.
        if !self.distrusted && !self.later.records.is_empty() {
            if self.later.on_the_disk == self.later.records.len()
                && let Err(problem) = self.known_head.keep(self.store.head(), self.clock.now().wall)
            {
                warn!("how far the record has come is not remembered outside of the store: {problem}");
            }
            let _ = self.head.send_replace(self.store.head().seq);
            let mut records = std::mem::take(&mut self.later.records);
            let others = records.split_off(std::mem::take(&mut self.later.on_the_disk));
            let urgent = std::mem::take(&mut self.later.urgent);
            for (records, urgent) in [(records, urgent), (others, false)] {
                if !records.is_empty() {
                    self.sinks.tell(&ToSink::Written { records: records.into(), urgent });
                }
            }
        }
        if !self.distrusted && !self.later.news.to_tell.is_empty() {
            // Nobody is told by a notifier that has ended; the record has it.
            let _ = self.notifier.send(ToNotifier::Written(std::mem::take(&mut self.later.news.to_tell)));
        }
        self.later.changes.extend(self.later.news.alerts.drain(..).map(Changed::Alert));
        for update in self.later.drift.drain(..) {
            if self.drift.send(ToDrift::Update(update)).is_err() {
                error!("drift scan thread has exited; changes left by sessions are no longer detected");
            }
        }
        for change in self.later.changes.drain(..) {
            // Without a listener on the bus there is nobody to tell.
            let _ = self.changes.send(change);
        }
    }

    /// Writes a batch's commits, and sees to it that they get onto the disk in time.
    fn write(
        &mut self,
        commits: &mut Vec<Commit>,
        batch: &[Pending],
        ledger: &Ledger,
    ) -> Result<Written, StoreError> {
        if self.failing || self.distrusted {
            commits.iter_mut().for_each(|commit| commit.durability = Durability::AtOnce);
        }
        let durability = commits.iter().map(|commit| commit.durability).max().unwrap_or_default();
        self.alerting.append_alerts(commits, self.store.head().seq);
        let written = self.store.commit(std::mem::take(commits), self.kept(ledger));
        let written = written.inspect_err(|_| self.alerting.rollback())?;
        self.later.news.extend(self.alerting.written());
        if let Some(lost) = self.lost_files.take() {
            info!("the store's files are those that jitd has open again; before: {lost}");
        }
        self.failing = written.key.is_err();
        if durability == Durability::BeforeTheSession {
            self.later.onto_the_disk = true;
            let let_in =
                batch.iter().flat_map(|pending| &pending.effects).filter_map(|effect| match effect {
                    Effect::Watch { session, .. } => Some(session.id),
                    _ => None,
                });
            self.later.let_in.extend(let_in);
        }
        self.later.at_once = durability == Durability::AtOnce;
        self.later.urgent |= durability > Durability::WithTheNext;
        Ok(written)
    }

    /// The store's files are gone or cut: says so once, in a record that goes to the sinks from memory. Whether it is
    /// kept depends on whether the files come back.
    fn tell_of_lost_files(&mut self, lost: &str, ledger: &Ledger) {
        if self.lost_files.replace(lost.to_owned()).is_some() {
            return;
        }
        let Now { wall, boot, boot_id } = self.clock.now();
        let detail = format!("{lost}; nobody but root is let through");
        let facts = Facts { detail: Some(detail), ..Facts::default() };
        let draft = Draft { event: AuditEvent::AuditBroken, wall, boot, boot_id, facts };
        let commit = Commit { durability: Durability::AtOnce, drafts: vec![draft], ..Commit::default() };
        let mut commits = vec![commit];
        self.alerting.append_alerts(&mut commits, self.store.head().seq);
        match self.store.commit_unchecked(commits, self.kept(ledger)) {
            Ok(written) => {
                let news = self.alerting.written();
                self.later.news.alerts.extend(news.alerts);
                self.later.since.get_or_insert_with(Instant::now);
                if !news.to_tell.is_empty() {
                    // Nobody is told by a notifier that has ended; the sinks have it.
                    let _ = self.notifier.send(ToNotifier::Written(news.to_tell));
                }
                // What was written before goes first, or the sinks would look for it in the store.
                let mut records = std::mem::take(&mut self.later.records);
                self.later.on_the_disk = 0;
                records.extend(written.records);
                self.sinks.tell(&ToSink::LastWord(records.into()));
            }
            Err(problem) => {
                self.alerting.rollback();
                error!("that the store's files are not as they were could not be recorded: {problem}");
            }
        }
    }

    fn kept(&self, ledger: &Ledger) -> CommitMeta {
        CommitMeta {
            highest_wall: ledger.highest_wall,
            next_session: ledger.next_session,
            sent: self.sinks.cursors.sent(),
        }
    }

    fn perform(
        &mut self,
        effect: Effect,
        pidfd: &mut Option<OwnedFd>,
        reply: &mut Option<oneshot::Sender<Reply>>,
    ) {
        match effect {
            Effect::Commit(commit) => {
                // `finish` takes the commits out before it performs the rest.
                error!("a commit of {} records came outside of a batch", commit.drafts.len());
            }
            Effect::Watch { session, until, idle, first } => {
                // Where there is no tag, the answer goes out only when the process is in its scope.
                let then = if first { reply.take() } else { None };
                self.order(Order::Watch { session, until, idle, pidfd: pidfd.take(), then });
            }
            Effect::Reattach { session, process } => {
                // The module asks only where something was moved, so that no usual call waits for this.
                let (done, gathered) = oneshot::channel();
                self.order(Order::Reattach { session, process, done });
                if let Some(waits) = reply.take() {
                    let (answer, answered) = oneshot::channel();
                    *reply = Some(answer);
                    tokio::spawn(async move {
                        // A session that has just ended gathers nothing more, and one that is slow is held by its tag.
                        let _ = tokio::time::timeout(GATHER_LIMIT, gathered).await;
                        if let Ok(answer) = answered.await {
                            // A caller that has gone is told nothing.
                            let _ = waits.send(answer);
                        }
                    });
                }
            }
            Effect::MindGroups { session, target, named } => {
                self.order(Order::MindGroups { session, target, named });
            }
            Effect::SetDeadline { session, until } => self.order(Order::SetDeadline { session, until }),
            Effect::SetIdleTimeout { session, idle } => self.order(Order::SetIdleTimeout { session, idle }),
            Effect::Terminate { session, manner, due } => {
                self.order(Order::Terminate { session, manner, due });
            }
            Effect::EndScope(id) => self.order(Order::EndScope(id)),
            Effect::Tell { holder, terminals, lines } => {
                // A terminal may be slow to take it.
                tokio::task::spawn_blocking(move || {
                    terminals.iter().for_each(|tty| terminal::tell(holder, tty, &lines));
                });
            }
            Effect::Notify(changed) => {
                // Without a listener on the bus there is nobody to tell.
                let _ = self.changes.send(changed);
            }
            Effect::Drift(update) => self.later.drift.push(update),
            Effect::Reply(answer) => {
                if let Some(reply) = reply.take() {
                    // A caller that has gone is told nothing; what it asked for is recorded.
                    let _ = reply.send(answer);
                }
            }
        }
    }

    fn order(&self, order: Order) {
        if self.sessions.send(order).is_err() {
            error!("the sessions' task has ended");
        }
    }

    /// Nothing was written. Whoever waits is refused; what must not be lost comes again; what has to end, ends.
    fn fail(&mut self, pending: Pending, problem: &StoreError, again: &mut VecDeque<Input>) {
        let Pending { event, reply, effects, .. } = pending;
        for effect in effects {
            if let Effect::Terminate { session, .. } = &effect
                && matches!(Effect::why(session), EndedBy::Expired | EndedBy::Parent | EndedBy::Unrecorded)
            {
                self.perform(effect, &mut None, &mut None);
            }
        }
        let answer = match &event {
            // Root is not kept out of its own machine by a full disk.
            Input::AccessQuery(query) if query.is_roots_own() => Reply::Gate(Verdict::Allowed),
            Input::AccessQuery(query) => Reply::Gate(Verdict::Denied(vec![format!(
                "jit: {} is refused: it could not be recorded ({problem}).",
                query.service
            )])),
            Input::Command(..) => Reply::Command(Err(Refusal::CannotRecord(format!(
                "not done, because it could not be recorded: {problem}"
            )))),
            _ => {
                if !matches!(event, Input::Tick | Input::Prune(_)) {
                    again.push_back(event);
                }
                return;
            }
        };
        if let Some(reply) = reply {
            // A caller that has gone is refused all the same.
            let _ = reply.send(answer);
        }
    }
}
