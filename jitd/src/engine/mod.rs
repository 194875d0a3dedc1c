//! Owns the ledger: receives messages, lets the core decide, commits, and has the effects performed.

pub mod messages;

pub mod snapshot;

pub mod handle;

mod batch;

pub mod deferred;

mod settings;

pub mod alerting;

pub mod timer;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use jit_proto::time::{BootTime, WallTime};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::error;

use crate::audit::fanout::Sinks;
use crate::core::context::Context;
use crate::core::effect::{Changed, Effect, SessionOrder};
use crate::core::input::Input;
use crate::core::ledger::Ledger;
use crate::core::policy::Policy;
use crate::core::step::{next_deadline, step};
use crate::core::time::Now;
use crate::host::clock::Clock;
use crate::host::terminal;
use crate::store::wal::WalSync;
use crate::store::{KnownHead, Store, StoreError};
use alerting::Alerting;
use batch::Pending;
use deferred::{Deferred, NOTIFY_DELAY};
use handle::{Incoming, Message, Waiting};
use messages::{SessionWaiter, ToDrift, ToNotifier, ToRetention, ToSessions, ToSink};
use snapshot::Snapshot;

/// Inputs that share one transaction.
const MAX_BATCH: usize = 128;
/// The delay before the engine retries after a failed commit.
const RETRY: Duration = Duration::from_secs(1);
/// A PAM call waits at most this long for processes that another module moved to return to their scope.
const REATTACH_TIMEOUT: Duration = Duration::from_secs(1);

/// The engine, with the store and the senders to each actor.
pub struct Engine {
    /// State and audit log.
    pub store: Store,
    /// The clocks.
    pub clock: Clock,
    /// To the sessions' task.
    pub sessions: mpsc::UnboundedSender<ToSessions>,
    /// To the sinks' threads.
    pub sinks: Sinks,
    /// Syncs the store's write-ahead log.
    pub wal: WalSync,
    /// To the drift scan.
    pub drift: std_mpsc::Sender<ToDrift>,
    /// To the retention's thread.
    pub retention: std_mpsc::Sender<ToRetention>,
    /// Appends alerts to what is written.
    pub alerting: Alerting,
    /// To the notifier's thread.
    pub notifier: mpsc::UnboundedSender<ToNotifier>,
    /// To the bus: the objects that changed.
    pub changes: broadcast::Sender<Changed>,
    /// The number of the last record.
    pub head: watch::Sender<u64>,
    /// The interval of heartbeats.
    pub heartbeat: watch::Sender<Duration>,
    /// To the timer: the next deadline.
    pub deadline: watch::Sender<Option<BootTime>>,
    /// Whether the last commit failed.
    pub failing: bool,
    /// Whether the last fdatasync failed. Until one succeeds, every answer waits for a sync.
    pub distrusted: bool,
    /// The file outside of the store that holds the last record's number and hash.
    pub known_head: KnownHead,
    /// Why the store's files are not the open ones; while this is set, only root is allowed.
    pub lost_files: Option<String>,
    /// When the daemon started.
    pub started_at: WallTime,
    /// What observers are told after the answers.
    pub deferred: Deferred,
}

impl Engine {
    /// Runs until it is told to stop. It shares its thread with the callers' tasks: inputs that arrive during a commit
    /// share the next one. `after_start` are the effects of reconciling, performed first.
    ///
    /// # Errors
    /// When the store can be neither written nor read back: the state in memory is then not trustworthy.
    pub async fn run(
        mut self,
        mut ledger: Ledger,
        after_start: Vec<Effect>,
        mut inbox: mpsc::Receiver<Message>,
    ) -> Result<(), StoreError> {
        let mut policy: Option<Arc<Policy>> = None;
        let mut retry_queue: VecDeque<Input> = VecDeque::new();
        self.start(after_start, &ledger)?;
        self.sinks.tell(&ToSink::Stored(self.store.head().seq));
        while let Some(first) = self.next(&mut inbox).await {
            let now = self.clock.now();
            let mut batch = self.retry(&mut retry_queue, &mut ledger, policy.as_deref(), &now);
            let mut stop = None;
            let mut message = Some(first);
            while let Some(current) = message.take() {
                match current {
                    Message::Input(incoming) => {
                        let Incoming { input, pidfd, waiting } = *incoming;
                        if let Input::PolicyLoaded(new, _) = &input {
                            self.apply_settings(new);
                            policy = Some(Arc::clone(new));
                        }
                        let context = self.context(&now);
                        let (next, effects) = step(ledger, policy.as_deref(), input.clone(), &context, &now);
                        ledger = next;
                        batch.push(Pending { input, pidfd, waiting, effects });
                    }
                    Message::Look(look) => {
                        // A reader sees only what is committed.
                        ledger = self.finish(std::mem::take(&mut batch), ledger, &mut retry_queue)?;
                        look(&Snapshot {
                            ledger: &ledger,
                            policy: policy.as_ref(),
                            store: &self.store,
                            cursors: &self.sinks.cursors,
                            lost_files: self.lost_files.as_deref(),
                            started_at: self.started_at,
                            now: now.clone(),
                        });
                    }
                    Message::Sinks(message) => self.sinks.tell(&message),
                    Message::Remove(done) => {
                        ledger = self.finish(std::mem::take(&mut batch), ledger, &mut retry_queue)?;
                        // The asker may have gone meanwhile.
                        let _ = done.send(self.store.prune());
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
            ledger = self.finish(batch, ledger, &mut retry_queue)?;
            self.after_the_answers(&mut retry_queue).await;
            let due = self.next_wake(&ledger, policy.as_deref(), &now, !retry_queue.is_empty());
            // The timer is gone only while jitd stops.
            let _ = self.deadline.send_replace(due);
            if let Some(done) = stop {
                let batch = self.retry(&mut retry_queue, &mut ledger, policy.as_deref(), &now);
                ledger = self.finish(batch, ledger, &mut retry_queue)?;
                self.write_the_rest(&ledger).await;
                let _ = done.send(());
                return Ok(());
            }
        }
        Ok(())
    }

    /// The facts that hold at this moment, beside the input and the time.
    fn context(&self, now: &Now) -> Context {
        let waits = self.sinks.cursors.syslog.waiting_since();
        Context { oldest_unforwarded: waits.map(|since| now.boot.since(since)) }
    }

    /// The next message. Observers are told meanwhile, once their delay has passed.
    async fn next(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Option<Message> {
        while let Some(since) = self.deferred.since() {
            // This clock decides nothing.
            match tokio::time::timeout_at(since + NOTIFY_DELAY, inbox.recv()).await {
                Ok(message) => return message,
                Err(_) => self.tell_observers(),
            }
        }
        inbox.recv().await
    }

    /// When the timer has to wake the engine.
    fn next_wake(
        &self,
        ledger: &Ledger,
        policy: Option<&Policy>,
        now: &Now,
        retries: bool,
    ) -> Option<BootTime> {
        let due = next_deadline(ledger, policy, now);
        // What could not be written stays due; it is retried once a second.
        let retry = now.boot.after(RETRY);
        match (retries, self.failing) {
            (true, _) => Some(retry),
            (false, true) => Some(due.map_or(retry, |due| due.max(retry))),
            (false, false) => due,
        }
    }

    fn perform(&mut self, effect: Effect, pidfd: &mut Option<OwnedFd>, waiting: &mut Option<Waiting>) {
        match effect {
            Effect::Commit(commit) => {
                // `finish` takes the commits out before it performs the rest.
                error!("internal error: a commit of {} records outside of a batch", commit.drafts.len());
            }
            Effect::Session(order) => self.order(order, pidfd, waiting),
            Effect::Tell { holder, terminals, lines } => {
                // Writing to a terminal may block.
                tokio::task::spawn_blocking(move || {
                    terminals.iter().for_each(|tty| terminal::tell(holder, tty, &lines));
                });
            }
            Effect::Notify(changed) => {
                // The bus has no listener.
                let _ = self.changes.send(changed);
            }
            Effect::Drift(update) => self.deferred.drift.push(update),
            Effect::Reply(reply) => {
                if let Some(waiting) = waiting.take() {
                    waiting.answer(reply);
                }
            }
        }
    }

    /// Passes an order on to the sessions, with the process that called PAM and the receiver of the answer.
    fn order(&self, order: SessionOrder, pidfd: &mut Option<OwnedFd>, waiting: &mut Option<Waiting>) {
        let mut message = ToSessions { order, pidfd: None, waiting: None };
        match &message.order {
            SessionOrder::Watch { first, .. } => {
                message.pidfd = pidfd.take();
                // Without an audit session of its own, the process has to be in its scope before the answer.
                if *first
                    && let Some(Waiting::Gate(gate)) = waiting.take_if(|it| matches!(it, Waiting::Gate(_)))
                {
                    message.waiting = Some(SessionWaiter::Gate(gate));
                }
            }
            SessionOrder::Reattach { .. } => {
                // `pam_jit` asks only where a process was moved, so ordinary calls do not wait for this.
                let (done, reattached) = oneshot::channel();
                message.waiting = Some(SessionWaiter::Reattached(done));
                if let Some(Waiting::Gate(gate)) = waiting.take_if(|it| matches!(it, Waiting::Gate(_))) {
                    let (verdict, decided) = oneshot::channel();
                    *waiting = Some(Waiting::Gate(verdict));
                    tokio::spawn(async move {
                        // A session that has just ended moves nothing back; a slow one is still identified by its audit
                        // session.
                        let _ = tokio::time::timeout(REATTACH_TIMEOUT, reattached).await;
                        if let Ok(verdict) = decided.await {
                            // The caller may have gone meanwhile.
                            let _ = gate.send(verdict);
                        }
                    });
                }
            }
            SessionOrder::WatchGroups { .. }
            | SessionOrder::SetDeadline { .. }
            | SessionOrder::SetIdleTimeout { .. }
            | SessionOrder::Terminate { .. }
            | SessionOrder::EndScope(_) => {}
        }
        if self.sessions.send(message).is_err() {
            error!("the sessions' task has exited; open sessions are held by PID 1's time limit alone");
        }
    }
}
