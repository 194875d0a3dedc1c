//! Applies the alert rules to records before they are written, and adds the alerts to the same transaction.

use std::collections::BTreeMap;

use jit_proto::audit::record::{AuditEvent, Draft};
use jit_proto::identity::UserId;

use crate::core::alerts::{AlertRules, Baseline, Seen, Undo, Watch};
use crate::core::effect::Commit;
use crate::core::notices::{audience, kind_of};

/// The fold over the records, and its state for the transaction in progress.
#[derive(Debug)]
pub struct Alerting {
    watch: Watch,
    rules: AlertRules,
    undo: Vec<Undo>,
    news: News,
}

/// Numbers of records that observers are told about when a transaction is written.
#[derive(Debug, Default)]
pub struct News {
    /// Records that may cause notices.
    pub to_tell: Vec<u64>,
    /// Alerts.
    pub alerts: Vec<u64>,
}

impl News {
    /// Appends other news.
    pub fn extend(&mut self, other: Self) {
        self.to_tell.extend(other.to_tell);
        self.alerts.extend(other.alerts);
    }
}

impl Alerting {
    /// A fold with these baselines. Before the first policy the default rules apply.
    #[must_use]
    pub fn remembering(baselines: BTreeMap<UserId, Baseline>) -> Self {
        let (rules, undo) = (AlertRules::default(), Vec::new());
        Self { watch: Watch::remembering(baselines), rules, undo, news: News::default() }
    }

    /// Sets the rules.
    pub fn set_rules(&mut self, rules: &AlertRules) {
        self.rules = rules.clone();
    }

    /// Appends the alerts to the commits that are written after the record `head`, each after its cause. A seal begins
    /// right after its own record, so alerts about that record get a commit of their own.
    pub fn append_alerts(&mut self, commits: &mut Vec<Commit>, head: u64) {
        let mut seq = head;
        for mut commit in std::mem::take(commits) {
            let mut behind = Vec::new();
            for record in std::mem::take(&mut commit.drafts) {
                seq += 1;
                let (watch, seen) = std::mem::take(&mut self.watch).look(&self.rules, seq, &record);
                self.watch = watch;
                let Seen { alerts, baseline, undo } = seen;
                self.undo.push(undo);
                commit.baselines.extend(baseline);
                self.note(seq, &record);
                commit.drafts.push(record);
                if commit.seal.is_some() {
                    behind.extend(alerts);
                    continue;
                }
                for alert in alerts {
                    seq += 1;
                    self.note(seq, &alert);
                    commit.drafts.push(alert);
                }
            }
            let durability = commit.durability;
            commits.push(commit);
            if !behind.is_empty() {
                for alert in &behind {
                    seq += 1;
                    self.note(seq, alert);
                }
                commits.push(Commit { durability, drafts: behind, ..Commit::default() });
            }
        }
    }

    fn note(&mut self, seq: u64, record: &Draft) {
        if kind_of(record.event, &record.facts).is_some() || audience(record.event, &record.facts).is_some() {
            self.news.to_tell.push(seq);
        }
        if record.event == AuditEvent::AlertRaised {
            self.news.alerts.push(seq);
        }
    }

    /// The transaction was written.
    pub fn written(&mut self) -> News {
        self.undo.clear();
        std::mem::take(&mut self.news)
    }

    /// The transaction failed: resets the fold.
    pub fn rollback(&mut self) {
        self.news = News::default();
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            self.watch = std::mem::take(&mut self.watch).forget(undo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::record::Facts;
    use jit_proto::time::{BootId, BootTime, WallTime};

    fn refusal() -> Draft {
        Draft {
            event: AuditEvent::AccessDenied,
            wall: WallTime(1),
            boot: BootTime(1),
            boot_id: BootId("b".into()),
            facts: Facts { uid: Some(7), ..Facts::default() },
        }
    }

    fn commit(count: usize) -> Vec<Commit> {
        vec![Commit { drafts: vec![refusal(); count], ..Commit::default() }]
    }

    #[test]
    fn an_alert_stands_behind_its_cause_in_the_same_transaction() {
        let mut alerting = Alerting::remembering(BTreeMap::new());
        let mut commits = commit(6);
        alerting.append_alerts(&mut commits, 10);
        let events: Vec<AuditEvent> = commits[0].drafts.iter().map(|draft| draft.event).collect();
        assert_eq!(
            events[4..],
            [AuditEvent::AccessDenied, AuditEvent::AlertRaised, AuditEvent::AccessDenied]
        );
        assert_eq!(commits[0].drafts[5].facts.about, Some(15));
        assert_eq!(alerting.written().alerts, [16]);
    }

    #[test]
    fn a_seal_begins_right_behind_its_record() {
        let mut alerting = Alerting::remembering(BTreeMap::new());
        let sealed = Draft { event: AuditEvent::AuditResealed, ..refusal() };
        let key = jit_proto::audit::seal::SealKey::taking(&mut [7; 32]);
        let mut commits = vec![Commit { drafts: vec![sealed], seal: Some(key), ..Commit::default() }];
        alerting.append_alerts(&mut commits, 10);
        assert_eq!((commits.len(), commits[0].drafts.len(), commits[1].drafts.len()), (2, 1, 1));
        assert_eq!((commits[1].drafts[0].facts.about, alerting.written().alerts), (Some(11), vec![12]));
    }

    #[test]
    fn what_was_not_written_has_not_been_seen() {
        let mut alerting = Alerting::remembering(BTreeMap::new());
        for _ in 0..10 {
            alerting.append_alerts(&mut commit(4), 10);
            alerting.rollback();
        }
        let mut commits = commit(4);
        alerting.append_alerts(&mut commits, 10);
        assert_eq!(commits[0].drafts.len(), 4, "four refusals were written, and no more");
        assert!(alerting.written().alerts.is_empty());
        let mut commits = commit(1);
        alerting.append_alerts(&mut commits, 14);
        assert_eq!(commits[0].drafts.len(), 2, "the fifth");
    }
}
