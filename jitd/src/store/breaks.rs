//! The problems of the audit log that records report, in a table of their own so that status and verification need no
//! search.

use jit_proto::audit::record::{AuditEvent, Draft};
use rusqlite::{Connection, Transaction, params};

use super::Store;

/// A problem of the audit log, from a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Break {
    /// The number of that record.
    seq: u64,
    detail: String,
    /// Who acknowledged it, when and why; `None` while it is open.
    acknowledged: Option<String>,
}

impl Break {
    fn told(&self) -> String {
        let Self { seq, detail, acknowledged } = self;
        let how = acknowledged.as_ref().map_or(String::new(), |how| format!("; {how}"));
        format!("record {seq} says: {detail}{how}")
    }
}

impl Store {
    /// The open problems of the audit log that records in the store report, as sentences.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.kept_breaks().filter(|one| one.acknowledged.is_none()).map(Break::told).collect()
    }

    /// The acknowledged problems, with who acknowledged them and why, as sentences.
    #[must_use]
    pub fn acknowledged_problems(&self) -> Vec<String> {
        self.kept_breaks().filter(|one| one.acknowledged.is_some()).map(Break::told).collect()
    }

    /// The numbers of the records that report open problems.
    #[must_use]
    pub fn open_problems(&self) -> Vec<u64> {
        self.kept_breaks().filter(|one| one.acknowledged.is_none()).map(|one| one.seq).collect()
    }

    fn kept_breaks(&self) -> impl Iterator<Item = &Break> {
        self.breaks.iter().filter(|one| one.seq > self.pruned.to.seq)
    }
}

/// A change of the known problems by a record.
#[derive(Debug)]
pub(super) enum BreakChange {
    /// A new problem.
    Found(String),
    /// The problem of the record of this number is acknowledged.
    Acknowledged(u64, String),
}

/// The change of the known problems by a record, if there is one.
pub(super) fn change_of(draft: &Draft) -> Option<BreakChange> {
    let facts = &draft.facts;
    match draft.event {
        AuditEvent::AuditBroken | AuditEvent::AuditRolledBack | AuditEvent::AuditRecovered => {
            Some(BreakChange::Found(facts.detail.clone().unwrap_or_default()))
        }
        AuditEvent::AuditAcknowledged => {
            let by = facts.actor.as_deref().unwrap_or_default();
            let reason = facts.reason.as_deref().unwrap_or_default();
            let how = format!("acknowledged by {by} at {}: {reason}", draft.wall.to_rfc3339());
            facts.about.map(|seq| BreakChange::Acknowledged(seq, how))
        }
        _ => None,
    }
}

/// Writes the change, in the transaction of its record.
pub(super) fn put(transaction: &Transaction<'_>, row: u64, change: &BreakChange) -> rusqlite::Result<()> {
    match change {
        BreakChange::Found(detail) => {
            let sql = "INSERT OR REPLACE INTO breaks (seq, detail) VALUES (?1, ?2)";
            transaction.prepare_cached(sql)?.execute(params![row, detail])
        }
        BreakChange::Acknowledged(seq, how) => {
            let sql = "UPDATE breaks SET acknowledged = ?2 WHERE seq = ?1 AND acknowledged IS NULL";
            transaction.prepare_cached(sql)?.execute(params![seq, how])
        }
    }
    .map(drop)
}

/// Applies the change in memory, once it is written.
pub(super) fn remember(breaks: &mut Vec<Break>, row: u64, change: BreakChange) {
    match change {
        BreakChange::Found(detail) => breaks.push(Break { seq: row, detail, acknowledged: None }),
        BreakChange::Acknowledged(seq, how) => {
            if let Some(one) = breaks.iter_mut().find(|one| one.seq == seq) {
                one.acknowledged.get_or_insert(how);
            }
        }
    }
}

/// All problems, in the order of their records.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Break>> {
    let mut statement = connection.prepare("SELECT seq, detail, acknowledged FROM breaks ORDER BY seq")?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Break { seq: row.get(0)?, detail: row.get(1)?, acknowledged: row.get(2)? })
    };
    statement.query_map([], row)?.collect()
}

#[cfg(test)]
mod tests {
    use jit_proto::audit::record::Facts;
    use jit_proto::time::{BootId, BootTime, WallTime};

    use super::*;
    use crate::core::effect::{Commit, Durability};
    use crate::store::{CommitMeta, Sent};

    #[test]
    fn what_is_wrong_with_the_audit_log_is_said_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jit.db");
        let mut store = Store::open(&path).unwrap();
        let draft = |event, detail: Option<&str>| Draft {
            event,
            wall: WallTime(1),
            boot: BootTime(1),
            boot_id: BootId("b".into()),
            facts: Facts { detail: detail.map(str::to_owned), ..Facts::default() },
        };
        let drafts = vec![
            draft(AuditEvent::AccessDenied, None),
            draft(AuditEvent::AuditRolledBack, Some("it was emptied")),
        ];
        let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
        let kept = CommitMeta { highest_wall: WallTime(9), next_session: 7, sent: Sent::NOTHING };
        store.commit(vec![commit], kept).unwrap();
        assert_eq!(store.problems(), ["record 2 says: it was emptied"]);
        assert_eq!(store.open_problems(), [2]);
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.problems(), ["record 2 says: it was emptied"]);
        // The acknowledging person is named after a restart as well; the problem is not open any more, and not
        // acknowledged twice.
        let acknowledged = |by: &str| Draft {
            facts: Facts {
                about: Some(2),
                actor: Some(by.into()),
                reason: Some("restored from a copy".into()),
                ..Facts::default()
            },
            ..draft(AuditEvent::AuditAcknowledged, None)
        };
        let drafts = vec![acknowledged("oscar"), acknowledged("mallory")];
        store
            .commit(vec![Commit { durability: Durability::AtOnce, drafts, ..Commit::default() }], kept)
            .unwrap();
        let told = "record 2 says: it was emptied; acknowledged by oscar at 1970-01-01T00:00:00.000001Z: restored from a copy";
        for store in [store, Store::open(&path).unwrap()] {
            assert_eq!((store.problems().len(), store.open_problems().len()), (0, 0));
            assert_eq!(store.acknowledged_problems(), [told]);
        }
    }
}
