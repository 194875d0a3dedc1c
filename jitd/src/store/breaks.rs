//! What records say is wrong with the audit log itself, kept in a table of its own so that status and verification find it
//! without a search.

use jit_proto::audit::record::{AuditEvent, Draft};
use rusqlite::{Connection, Transaction, params};

use super::Store;

impl Store {
    /// What is wrong with the audit log, as far as records that are still kept say so: sentences for people.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let kept = self.breaks.iter().filter(|(seq, _)| *seq > self.pruned.to.seq);
        kept.map(|(seq, detail)| format!("record {seq} says: {detail}")).collect()
    }
}

/// What a record says is wrong with the audit log, if it is one that does.
pub(super) fn break_of(draft: &Draft) -> Option<String> {
    let says = matches!(
        draft.event,
        AuditEvent::AuditBroken | AuditEvent::AuditRolledBack | AuditEvent::AuditRecovered
    );
    says.then(|| draft.facts.detail.clone().unwrap_or_default())
}

/// Writes it, in the transaction of its record.
pub(super) fn put(transaction: &Transaction<'_>, seq: u64, detail: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO breaks (seq, detail) VALUES (?1, ?2)";
    transaction.prepare_cached(sql)?.execute(params![seq, detail]).map(drop)
}

/// All of them: the record's number, and what it says.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<(u64, String)>> {
    let mut statement = connection.prepare("SELECT seq, detail FROM breaks ORDER BY seq")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use jit_proto::audit::record::Facts;
    use jit_proto::time::{BootId, BootTime, WallTime};

    use super::*;
    use crate::core::event::{Commit, Durability};
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
        drop(store);
        assert_eq!(Store::open(&path).unwrap().problems(), ["record 2 says: it was emptied"]);
    }
}
