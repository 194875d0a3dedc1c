//! Commits a batch of steps, and performs their effects, or refuses where the commit failed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use tokio::time::Instant;
use tracing::{error, info};

use super::Engine;
use super::handle::Waiting;
use super::messages::{ToNotifier, ToSink};
use crate::core::effect::{Commit, Durability, Effect, SessionOrder};
use crate::core::input::{Input, Stage};
use crate::core::ledger::{EndedBy, Ledger};
use crate::core::policy::Policy;
use crate::core::reply::{Refusal, Reply, Verdict};
use crate::core::step::step;
use crate::core::time::Now;
use crate::store::{CommitMeta, SealKeyError, StoreError, Written};

/// The effects of an input that wait for the commit of the batch.
pub(super) struct Pending {
    pub(super) input: Input,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) waiting: Option<Waiting>,
    pub(super) effects: Vec<Effect>,
}

/// Denies an elevation whose record is not sealed: with the old key still on the disk, the new root process could seal
/// another record in its place. The session is registered, and ends as if its sudo had exited.
fn deny_unsealed(pending: &mut Pending, problem: &SealKeyError) {
    let lets_in = pending.effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::Session(SessionOrder::Watch { .. }) | Effect::Reply(Reply::Gate(Verdict::Observed(_)))
        )
    });
    if let Input::AccessQuery(query) = &pending.input
        && (lets_in || matches!(query.stage, Stage::Authorize { .. }))
        && let Some(waiting) = pending.waiting.take()
    {
        let line = format!("jit: {} is refused: the record could not be sealed ({problem}).", query.service);
        waiting.answer(Reply::Gate(Verdict::Denied(vec![line])));
    }
}

impl Engine {
    /// Repeats the inputs whose commit failed.
    pub(super) fn retry(
        &self,
        retry_queue: &mut VecDeque<Input>,
        ledger: &mut Ledger,
        policy: Option<&Policy>,
        now: &Now,
    ) -> Vec<Pending> {
        let context = self.context(now);
        let steps = retry_queue.drain(..).map(|input| {
            let (next, effects) = step(std::mem::take(ledger), policy, input.clone(), &context, now);
            *ledger = next;
            Pending { input, pidfd: None, waiting: None, effects }
        });
        steps.collect()
    }

    /// Performs the effects of reconciling. If they cannot be written, the engine cannot start.
    pub(super) fn start(&mut self, effects: Vec<Effect>, ledger: &Ledger) -> Result<(), StoreError> {
        let is_commit = |effect: &Effect| matches!(effect, Effect::Commit(_));
        let (commits, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_commit);
        let commits = commits.into_iter().filter_map(|effect| match effect {
            Effect::Commit(commit) => Some(commit),
            _ => None,
        });
        let mut commits: Vec<Commit> = commits.collect();
        commits.iter_mut().for_each(|commit| commit.durability = Durability::AtOnce);
        self.alerting.append_alerts(&mut commits, self.store.head().seq);
        let written = self.store.commit(commits, self.commit_meta(ledger))?;
        self.deferred.news.extend(self.alerting.written());
        self.deferred.records.extend(written.records);
        self.deferred.synced = self.deferred.records.len();
        if let Err(problem) = written.key {
            error!("the seal's key could not be advanced: {problem}");
        }
        for effect in rest {
            self.perform(effect, &mut None, &mut None);
        }
        Ok(())
    }

    /// Commits a batch and performs its effects; if the commit fails, reloads the state from the store.
    pub(super) fn finish(
        &mut self,
        mut batch: Vec<Pending>,
        ledger: Ledger,
        retry_queue: &mut VecDeque<Input>,
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
                        error!("the seal's key could not be advanced; every sudo is denied: {problem}");
                        batch.iter_mut().for_each(|pending| deny_unsealed(pending, &problem));
                    }
                }
                Err(problem) => {
                    error!(
                        "state and audit log could not be written; every sudo but root's is denied: {problem}"
                    );
                    self.failing = true;
                    if let StoreError::Files(lost) = &problem {
                        self.tell_of_lost_files(&lost.to_string(), &ledger);
                    }
                    let kept = self.store.ledger()?;
                    for pending in batch {
                        self.refuse_uncommitted(pending, &problem, retry_queue);
                    }
                    return Ok(kept);
                }
            }
        }
        self.deferred.records.extend(written);
        if std::mem::take(&mut self.deferred.synced_at_once) {
            self.deferred.synced = self.deferred.records.len();
        }
        for pending in batch {
            let Pending { mut pidfd, mut waiting, effects, .. } = pending;
            for effect in effects {
                match effect {
                    Effect::Notify(change) => self.deferred.changes.push(change),
                    effect => self.perform(effect, &mut pidfd, &mut waiting),
                }
            }
        }
        Ok(ledger)
    }

    /// Writes the commits of a batch, and has them synced in time.
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
        let written = self.store.commit(std::mem::take(commits), self.commit_meta(ledger));
        let written = written.inspect_err(|_| self.alerting.rollback())?;
        self.deferred.news.extend(self.alerting.written());
        if let Some(lost) = self.lost_files.take() {
            info!("the store's files are those that jitd has open again; before: {lost}");
        }
        self.failing = written.key.is_err();
        if durability == Durability::BeforeTheSession {
            self.deferred.sync = true;
            let admitted =
                batch.iter().flat_map(|pending| &pending.effects).filter_map(|effect| match effect {
                    Effect::Session(SessionOrder::Watch { session, .. }) => Some(session.id),
                    _ => None,
                });
            self.deferred.admitted.extend(admitted);
        }
        self.deferred.synced_at_once = durability == Durability::AtOnce;
        self.deferred.urgent |= durability > Durability::WithTheNext;
        Ok(written)
    }

    /// The store's files are gone or cut: says so once, in a record that is sent to the sinks from memory. The store
    /// has that record only if the files return.
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
        match self.store.commit_unchecked(commits, self.commit_meta(ledger)) {
            Ok(written) => {
                let news = self.alerting.written();
                self.deferred.news.alerts.extend(news.alerts);
                self.deferred.since.get_or_insert_with(Instant::now);
                if !news.to_tell.is_empty() {
                    // The notifier has exited; the sinks have the record.
                    let _ = self.notifier.send(ToNotifier::Written(news.to_tell));
                }
                // Earlier records are sent first, or the sinks would look for them in the store.
                let mut records = std::mem::take(&mut self.deferred.records);
                self.deferred.synced = 0;
                records.extend(written.records);
                self.sinks.tell(&ToSink::LastWord(records.into()));
            }
            Err(problem) => {
                self.alerting.rollback();
                error!("the change of the store's files could not be recorded: {problem}");
            }
        }
    }

    fn commit_meta(&self, ledger: &Ledger) -> CommitMeta {
        CommitMeta {
            highest_wall: ledger.highest_wall,
            next_session: ledger.next_session,
            sent: self.sinks.cursors.sent(),
        }
    }

    /// Nothing was written. Waiting callers are refused; inputs that must not be lost are repeated; sessions that have
    /// to end, end.
    fn refuse_uncommitted(
        &mut self,
        pending: Pending,
        problem: &StoreError,
        retry_queue: &mut VecDeque<Input>,
    ) {
        let Pending { input, waiting, effects, .. } = pending;
        for effect in effects {
            if let Effect::Session(SessionOrder::Terminate { session, .. }) = &effect
                && matches!(session.ended_by(), EndedBy::Expired | EndedBy::Parent | EndedBy::Unrecorded)
            {
                self.perform(effect, &mut None, &mut None);
            }
        }
        let reply = match &input {
            // A full disk does not keep root out of the host.
            Input::AccessQuery(query) if query.is_roots_own() => Reply::Gate(Verdict::Allowed),
            Input::AccessQuery(query) => Reply::Gate(Verdict::Denied(vec![format!(
                "jit: {} is refused: it could not be recorded ({problem}).",
                query.service
            )])),
            Input::Command(..) => Reply::Command(Err(Refusal::CannotRecord(format!(
                "not done, because it could not be recorded: {problem}"
            )))),
            _ => {
                if !matches!(input, Input::Tick | Input::Prune(_)) {
                    retry_queue.push_back(input);
                }
                return;
            }
        };
        if let Some(waiting) = waiting {
            waiting.answer(reply);
        }
    }

    /// Writes what remains before the engine stops, and lets the sinks send it.
    pub(super) async fn write_the_rest(&mut self, ledger: &Ledger) {
        let written = self.store.commit(Vec::new(), self.commit_meta(ledger));
        if written.is_ok() {
            self.deferred.synced = self.deferred.records.len();
        }
        if let Err(problem) = written.and_then(|written| Ok(written.key?)) {
            error!("the last state before stopping was not written: {problem}");
        }
        self.tell_observers();
        // So that the last records are not sent again after the start.
        self.sinks.finish().await;
        if let Err(problem) = self.store.commit(Vec::new(), self.commit_meta(ledger)) {
            error!(
                "the sinks' cursors were not written; records may be sent again after the start: {problem}"
            );
        }
    }
}
