//! Tells observers (sinks, notifier, drift scan, bus) after the answers are sent, and syncs the audit log in between.

use std::collections::VecDeque;
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use jit_proto::identity::SessionId;
use tokio::time::Instant;
use tracing::{error, warn};

use super::Engine;
use super::alerting::News;
use super::messages::{ToDrift, ToNotifier, ToSink};
use crate::core::effect::{Changed, DriftUpdate};
use crate::core::input::Input;
use crate::store::Store;

/// The delay from the first record or change until observers are told. A sudo without a long command has ended by then;
/// waking the observers earlier was measured to cost it 1.5 %. A new root process needs most of this time to start, and
/// what it could keep from the observers is in the store and on the disk.
pub const NOTIFY_DELAY: Duration = Duration::from_millis(10);

/// What observers are told once all waiting callers have an answer.
#[derive(Debug, Default)]
pub struct Deferred {
    pub(super) records: Vec<Sealed>,
    pub(super) news: News,
    /// The number of records, from the first, that are on the disk.
    pub(super) synced: usize,
    /// Whether one of those is about a decision.
    pub(super) urgent: bool,
    pub(super) changes: Vec<Changed>,
    /// When the first of these records was written.
    pub(super) since: Option<Instant>,
    pub(super) drift: Vec<DriftUpdate>,
    /// Whether the write-ahead log has to be synced after the answers.
    pub(super) sync: bool,
    /// Whether the last commit was synced already.
    pub(super) synced_at_once: bool,
    /// Sessions that the unsynced records admitted.
    pub(super) admitted: Vec<SessionId>,
}

impl Deferred {
    /// When the first record or change was added; `None` if there is none.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

impl Engine {
    /// Syncs commits that may reach the disk after the answers: waiting for the disk was measured to cost each sudo a
    /// millisecond. Nothing else is decided before the sync, so a session opens only after it.
    pub(super) async fn after_the_answers(&mut self, retry_queue: &mut VecDeque<Input>) {
        tokio::task::yield_now().await;
        let admitted = std::mem::take(&mut self.deferred.admitted);
        if std::mem::take(&mut self.deferred.sync) || self.distrusted {
            // The log is opened by its name: before and after the sync it has to be the file that was written to.
            let check = |store: &mut Store| store.check_files().map_err(|error| error.to_string());
            let synced = check(&mut self.store)
                .and_then(|()| self.wal.sync(self.store.sealer()).map_err(|error| error.to_string()))
                .and_then(|()| check(&mut self.store));
            self.distrusted = synced.is_err();
            match synced {
                Ok(()) => self.deferred.synced = self.deferred.records.len(),
                Err(problem) => {
                    error!("fdatasync of the audit log failed; ending the sessions it admitted: {problem}");
                    retry_queue.push_back(Input::NotOnDisk(admitted));
                }
            }
        }
        let Deferred { records, changes, drift, .. } = &self.deferred;
        let nothing = records.is_empty() && changes.is_empty() && drift.is_empty();
        self.deferred.since = (!nothing).then(|| self.deferred.since.unwrap_or_else(Instant::now));
        if self.deferred.since.is_some_and(|since| since.elapsed() >= NOTIFY_DELAY) {
            self.tell_observers();
        }
    }

    /// Tells the sinks, the drift scan and the bus.
    pub(super) fn tell_observers(&mut self) {
        self.deferred.since = None;
        // The copies off the host are never ahead of the disk.
        if !self.distrusted && !self.deferred.records.is_empty() {
            if self.deferred.synced == self.deferred.records.len()
                && let Err(problem) = self.known_head.keep(self.store.head(), self.clock.now().wall)
            {
                warn!("the head of the audit log could not be written outside of the store: {problem}");
            }
            let _ = self.head.send_replace(self.store.head().seq);
            let mut records = std::mem::take(&mut self.deferred.records);
            let others = records.split_off(std::mem::take(&mut self.deferred.synced));
            let urgent = std::mem::take(&mut self.deferred.urgent);
            for (records, urgent) in [(records, urgent), (others, false)] {
                if !records.is_empty() {
                    self.sinks.tell(&ToSink::Written { records: records.into(), urgent });
                }
            }
        }
        if !self.distrusted && !self.deferred.news.to_tell.is_empty() {
            // The notifier has exited; the audit log has the record.
            let _ = self.notifier.send(ToNotifier::Written(std::mem::take(&mut self.deferred.news.to_tell)));
        }
        self.deferred.changes.extend(self.deferred.news.alerts.drain(..).map(Changed::Alert));
        for update in self.deferred.drift.drain(..) {
            if self.drift.send(ToDrift::Update(update)).is_err() {
                error!("drift scan thread has exited; changes left by sessions are no longer detected");
            }
        }
        for change in self.deferred.changes.drain(..) {
            // The bus has no listener.
            let _ = self.changes.send(change);
        }
    }
}
