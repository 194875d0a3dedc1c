//! What stands in the store beside the records: digests of what is loaded at a start, and what is wrong with the record.
//!
//! The records are chained; requests, grants and sessions are not, and a changed byte in one of them could give somebody
//! a window. So each has a digest, and a row that does not agree with it is not used. The digest finds damage; whoever
//! writes to the store as root can make it anew.

use jit_proto::audit::chain::Head;
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::{AuditEvent, Draft};
use rusqlite::types::Type;
use rusqlite::{Connection, Transaction, params};
use sha2::{Digest, Sha256};

/// Bytes of a digest that are kept: 64 bits.
const KEPT: usize = 8;

/// The head that the first two columns of a row hold: number and hash.
///
/// # Errors
/// Also where the second is a text that is no hash.
pub(crate) fn head(row: &rusqlite::Row<'_>) -> rusqlite::Result<Head> {
    let hash: String = row.get(1)?;
    let hash: RecordHash = hash
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    Ok(Head { seq: row.get(0)?, hash })
}

/// A row of requests, grants or sessions.
pub(super) struct Row {
    pub(super) id: u64,
    open: bool,
    pub(super) body: String,
    /// None in a row that was written by a jitd that knew of none.
    digest: Option<String>,
}

impl Row {
    /// From the columns `id, open, body, digest`.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, open: row.get(1)?, body: row.get(2)?, digest: row.get(3)? })
    }

    /// Whether it is what was written, as far as can be known.
    pub(super) fn is_as_written(&self, table: &str) -> bool {
        let expected = || digest(table, self.id, self.open, &self.body);
        self.digest.as_ref().is_none_or(|found| *found == expected())
    }
}

/// The digest of a row.
pub(super) fn digest(table: &str, id: u64, open: bool, body: &str) -> String {
    let digest = Sha256::new()
        .chain_update(table)
        .chain_update([0, u8::from(open)])
        .chain_update(id.to_be_bytes())
        .chain_update(body)
        .finalize();
    hex::encode(digest.get(..KEPT).unwrap_or_default())
}

/// Columns that an older jitd did not have, by their tables. Columns are added and none is changed, so that the older
/// jitd can still open the store.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("records", "seal", "TEXT"),
    ("state", "seal_first", "INTEGER NOT NULL DEFAULT 0"),
    ("state", "seal_next", "TEXT NOT NULL DEFAULT ''"),
    ("requests", "digest", "TEXT"),
    ("grants", "digest", "TEXT"),
    ("sessions", "digest", "TEXT"),
];

/// Adds what a store of an older jitd does not have.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    for (table, column, kind) in COLUMNS {
        let has = connection
            .prepare("SELECT name FROM pragma_table_info(?1) WHERE name = ?2")
            .and_then(|mut statement| statement.exists([table, column]))?;
        if !has {
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}"))?;
        }
    }
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS breaks (seq INTEGER PRIMARY KEY, detail TEXT NOT NULL) STRICT",
    )
}

/// What a record says is wrong with the record itself, if it is one that does.
pub(super) fn break_of(draft: &Draft) -> Option<String> {
    let says = matches!(
        draft.event,
        AuditEvent::AuditBroken | AuditEvent::AuditRolledBack | AuditEvent::AuditRecovered
    );
    says.then(|| draft.facts.detail.clone().unwrap_or_default())
}

/// Keeps that in mind for status and verification.
pub(super) fn put_break(transaction: &Transaction<'_>, seq: u64, detail: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO breaks (seq, detail) VALUES (?1, ?2)";
    transaction.prepare_cached(sql)?.execute(params![seq, detail]).map(drop)
}

/// All that was kept in mind.
pub(super) fn breaks(connection: &Connection) -> rusqlite::Result<Vec<(u64, String)>> {
    let mut statement = connection.prepare("SELECT seq, detail FROM breaks ORDER BY seq")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use jit_proto::audit::chain::{Head, append};
    use jit_proto::audit::record::Facts;
    use jit_proto::time::{BootId, BootTime, WallTime};

    use super::*;
    use crate::core::event::{Commit, Durability};
    use crate::store::{CommitMeta, Reader, Sent, Store, StoreError};

    /// Every layout that a jitd has written, oldest first: what `records` and `state` were.
    const LAYOUTS: [(&str, &str, &str); 3] = [
        (
            "without seals",
            "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, line TEXT NOT NULL) STRICT;",
            "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL,
             head_hash TEXT NOT NULL, highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL,
             sent INTEGER NOT NULL) STRICT;",
        ),
        (
            "with syslog as the only sink",
            "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL) STRICT;",
            "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL,
             head_hash TEXT NOT NULL, highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL,
             sent INTEGER NOT NULL, seal_first INTEGER NOT NULL DEFAULT 0) STRICT;",
        ),
        (
            "without digests",
            "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL) STRICT;",
            "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL,
             head_hash TEXT NOT NULL, highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL,
             sent INTEGER NOT NULL, seal_first INTEGER NOT NULL DEFAULT 0, sent_journal INTEGER NOT NULL DEFAULT 0,
             sent_json_lines INTEGER NOT NULL DEFAULT 0) STRICT;",
        ),
    ];
    const OBJECTS: &str = "
        CREATE TABLE requests (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
        CREATE TABLE grants   (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
        CREATE TABLE sessions (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
        PRAGMA user_version = 1;";

    fn draft(n: u64) -> Draft {
        let (wall, boot, boot_id) = (WallTime(n), BootTime(n), BootId("b".into()));
        Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts: Facts::default() }
    }

    fn commit(store: &mut Store, drafts: Vec<Draft>) {
        let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
        let kept = CommitMeta { highest_wall: WallTime(9), next_session: 7, sent: Sent::NOTHING };
        store.commit(vec![commit], kept).unwrap();
    }

    #[test]
    fn a_store_of_each_earlier_layout_goes_on() {
        for (name, records, state) in LAYOUTS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("jit.db");
            let old = Connection::open(&path).unwrap();
            old.execute_batch(&format!("{records} {state} {OBJECTS}")).unwrap();
            let mut head = Head::default();
            for n in 1..=5 {
                let record = append(&mut head, draft(n)).unwrap();
                let sql = "INSERT INTO records (seq, hash, line) VALUES (?1, ?2, ?3)";
                old.execute(sql, params![record.seq, record.hash, record.line]).unwrap();
            }
            let sql = "INSERT INTO state (id, head_seq, head_hash, highest_wall, next_session, sent)
                VALUES (1, ?1, ?2, 9, 7, 5)";
            old.execute(sql, params![head.seq, head.hash.to_string()]).unwrap();
            drop(old);
            let mut store = Store::open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((store.head(), store.seal_lost()), (&head, None), "{name}");
            assert_eq!(store.ledger().unwrap().next_session, 7, "{name}");
            assert_eq!(store.sent().unwrap().syslog, 5, "{name}");
            commit(&mut store, vec![draft(6)]);
            drop(store);
            let store = Store::open(&path).unwrap();
            let whole = Reader::open(&path).unwrap().verify(Some(store.head())).unwrap();
            assert_eq!(whole.unwrap().head.seq, 6, "{name}");
        }
    }

    #[test]
    fn a_row_that_was_changed_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jit.db");
        drop(Store::open(&path).unwrap());
        let body = r#"{"id":1}"#;
        let put = |open: bool, body: &str, digest: &str| {
            let sql = "INSERT OR REPLACE INTO grants (id, open, body, digest) VALUES (1, ?1, ?2, ?3)";
            Connection::open(&path).unwrap().execute(sql, params![open, body, digest]).unwrap();
        };
        let damaged = || match Store::open(&path).unwrap().ledger().unwrap_err() {
            StoreError::Damaged { table, row, .. } => (table, row) == ("grants", 1),
            // It was taken for what was written, and is no grant.
            _ => false,
        };
        put(true, body, &digest("grants", 1, true, body));
        assert!(!damaged());
        put(true, r#"{"id":3}"#, &digest("grants", 1, true, body));
        assert!(damaged(), "another body");
        put(true, body, &digest("grants", 1, false, body));
        assert!(damaged(), "a window that was closed is open again");
        put(true, body, &digest("sessions", 1, true, body));
        assert!(damaged(), "from another table");
    }

    #[test]
    fn what_is_wrong_with_the_record_is_said_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jit.db");
        let mut store = Store::open(&path).unwrap();
        let facts = Facts { detail: Some("it was emptied".into()), ..Facts::default() };
        commit(&mut store, vec![draft(1), Draft { event: AuditEvent::AuditRolledBack, facts, ..draft(2) }]);
        assert_eq!(store.problems(), ["record 2 says: it was emptied"]);
        drop(store);
        assert_eq!(Store::open(&path).unwrap().problems(), ["record 2 says: it was emptied"]);
    }
}
