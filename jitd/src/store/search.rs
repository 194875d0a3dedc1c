//! Searches records by an index in a file of its own, which holds only copies of the audit log's facts and may be
//! deleted.
//!
//! The index is not written in the transaction of the records, which would delay decisions. A search updates the index
//! first; a task updates it between searches, so that a search has little left to do. Each hit is compared with the
//! record before it is shown. An index of another store, a damaged one or one of another layout is deleted and rebuilt.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::filter::Filter;
use jit_proto::time::WallTime;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params, params_from_iter};
use serde::Deserialize;

use super::read::signed;
use super::{Reader, StoreError};

/// Layout of the index; an index of another layout is rebuilt.
const LAYOUT: i64 = 1;
/// Records indexed in one transaction; another search waits for one transaction at most.
const PAGE: u64 = 2000;
/// How long a search waits for another one that updates the index.
const WAIT: Duration = Duration::from_secs(20);

/// A narrow copy of the facts that a search filters by. The two indexes find a person's records, and cover a count per
/// day; any other search scans the copy, which has a tenth of the audit log's size.
const TABLES: &str = "
CREATE TABLE facts (
    seq INTEGER PRIMARY KEY, time INTEGER, user TEXT, actor TEXT, role TEXT, event TEXT, outcome TEXT,
    grant_id INTEGER, request INTEGER, session INTEGER
) STRICT;
CREATE INDEX facts_of_user  ON facts (user, seq, time);
CREATE INDEX facts_of_actor ON facts (actor, seq, time);
CREATE TABLE reached (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
";

/// The index beside a store, and the store's records.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    connection: Connection,
    records: Reader,
}

/// The facts of a record that are indexed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    time: Option<String>,
    user: Option<String>,
    actor: Option<String>,
    role: Option<String>,
    event: Option<String>,
    outcome: Option<String>,
    grant: Option<u64>,
    request: Option<u64>,
    session: Option<u64>,
}

impl Index {
    /// Opens the index of a store, `search.db` beside it, and creates it if there is none or it is unusable.
    ///
    /// # Errors
    /// When the store or the index cannot be opened.
    pub fn open(store: &Path) -> Result<Self, StoreError> {
        let path = store.with_file_name("search.db");
        let records = Reader::open(store)?;
        let opened = match open(&path) {
            Err(error) if is_unusable(&error) => {
                // A file that cannot be removed cannot be opened either, and that error is returned.
                for end in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{}{end}", path.display()));
                }
                open(&path)
            }
            other => other,
        };
        match opened {
            Ok(connection) => Ok(Self { path, connection, records }),
            Err(error) => Err(StoreError::Sqlite { path, error }),
        }
    }

    /// Indexes the new records; returns the number of the last one.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn catch_up(&mut self) -> Result<u64, StoreError> {
        loop {
            let (reached, done) = self.take_page()?;
            if done {
                return Ok(reached);
            }
        }
    }

    /// Up to `limit` matching records from `from` on; the last ones if `from` is 0. In order.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn search(&self, filter: &Filter, from: u64, limit: u64) -> Result<Vec<Sealed>, StoreError> {
        let (sql, values) = query(filter, from);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut statement = self.connection.prepare(&sql).map_err(|error| self.sqlite(error))?;
        let mut rows = statement.query(params_from_iter(values)).map_err(|error| self.sqlite(error))?;
        while found.len() < most {
            let Some(row) = rows.next().map_err(|error| self.sqlite(error))? else { break };
            let seq: u64 = row.get(0).map_err(|error| self.sqlite(error))?;
            // The index only proposes; the record decides.
            let record = self.records.record(seq)?;
            found.extend(record.filter(|record| filter.matches(seq, &record.line)));
        }
        if from == 0 {
            found.reverse();
        }
        Ok(found)
    }

    /// One page in one transaction, and whether it was the last one.
    fn take_page(&mut self) -> Result<(u64, bool), StoreError> {
        let Self { path, connection, records } = self;
        let context = |error| StoreError::Sqlite { path: path.clone(), error };
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(context)?;
        let reached = transaction
            .query_row("SELECT seq, hash FROM reached", [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))
            })
            .optional()
            .map_err(context)?;
        let mut last = 0;
        if let Some((seq, hash)) = reached {
            // An index of another audit log is unusable: the store was restored from a copy, or started over.
            if records.record(seq)?.is_some_and(|record| record.hash == hash) {
                last = seq;
            } else {
                transaction.execute_batch("DELETE FROM facts; DELETE FROM reached;").map_err(context)?;
            }
        }
        let page = records.records(last + 1, PAGE)?;
        {
            let sql = "INSERT OR REPLACE INTO facts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            let mut statement = transaction.prepare_cached(sql).map_err(context)?;
            for record in &page {
                // A line that is no record any more is found by its text and by its number.
                let keys: Keys = serde_json::from_str(&record.line).unwrap_or_default();
                let time = keys.time.as_deref().and_then(WallTime::from_rfc3339).map(|time| signed(time.0));
                let numbers = [keys.grant, keys.request, keys.session].map(|number| number.map(signed));
                let [grant, request, session] = numbers;
                let Keys { user, actor, role, event, outcome, .. } = keys;
                let row =
                    params![record.seq, time, user, actor, role, event, outcome, grant, request, session];
                statement.execute(row).map_err(context)?;
            }
        }
        if let Some(record) = page.last() {
            last = record.seq;
            let sql = "INSERT OR REPLACE INTO reached VALUES (1, ?1, ?2)";
            transaction.execute(sql, params![record.seq, record.hash]).map_err(context)?;
        }
        // Records that retention removed are removed from the index.
        let mut forgotten = 0;
        if let Some(first) = records.first()? {
            let sql = "DELETE FROM facts WHERE seq < min(?1, (SELECT min(seq) FROM facts) + ?2)";
            forgotten = transaction.execute(sql, params![first.seq, PAGE]).map_err(context)?;
        }
        transaction.commit().map_err(context)?;
        Ok((last, (page.len() as u64) < PAGE && forgotten == 0))
    }

    fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), error }
    }
}

/// Indexes the new records, on a connection of its own.
///
/// # Errors
/// When that fails; the next search tries again.
pub fn catch_up(store: &Path) -> Result<u64, StoreError> {
    Index::open(store)?.catch_up()
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Not synced: an index that a power cut damaged is rebuilt.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -512)?;
    // Under the unit's sandbox /tmp is read-only.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let layout = |connection: &Connection| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    if layout(&connection)? != LAYOUT {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another connection may have created it meanwhile.
        if layout(&transaction)? != LAYOUT {
            transaction.execute_batch("DROP TABLE IF EXISTS facts; DROP TABLE IF EXISTS reached;")?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        transaction.commit()?;
    }
    Ok(connection)
}

fn is_unusable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// The numbers that the index proposes, in order.
fn query(filter: &Filter, from: u64) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut conditions = Vec::new();
    let mut hold = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    hold("seq >=", Value::Integer(signed(from)));
    let number = |number: u64| Value::Integer(signed(number));
    for (condition, wanted) in [
        ("seq <", filter.before),
        ("time >=", filter.since),
        ("time <", filter.until),
        ("grant_id =", filter.grant),
        ("request =", filter.request),
        ("session =", filter.session),
    ] {
        if let Some(wanted) = wanted {
            hold(condition, number(wanted));
        }
    }
    for (condition, wanted) in
        [("role =", &filter.role), ("event =", &filter.event), ("outcome =", &filter.outcome)]
    {
        if let Some(wanted) = wanted {
            hold(condition, Value::Text(wanted.clone()));
        }
    }
    let conditions = conditions.join(" AND ");
    let order = if from == 0 { "DESC" } else { "ASC" };
    let sql = match &filter.user {
        None => format!("SELECT seq FROM facts WHERE {conditions} ORDER BY seq {order}"),
        Some(user) => {
            values.push(Value::Text(user.clone()));
            let n = values.len();
            // Two index scans that are merged, without a sort.
            format!(
                "SELECT seq FROM facts WHERE user = ?{n} AND {conditions} \
                 UNION SELECT seq FROM facts WHERE actor = ?{n} AND {conditions} ORDER BY seq {order}"
            )
        }
    };
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::super::{CommitMeta, Sent, Store};
    use super::*;
    use crate::core::effect::Commit;
    use jit_proto::audit::record::{AuditEvent, Draft, Facts};
    use jit_proto::time::{BootId, BootTime};
    use proptest::prelude::*;

    const DAY: u64 = 86_400_000_000;

    fn draft(n: u64, user: &str, actor: Option<&str>, event: AuditEvent, day: u64) -> Draft {
        let facts = Facts {
            user: Some(user.to_owned()),
            actor: actor.map(str::to_owned),
            role: Some("ops".into()),
            grant: Some(n % 5),
            reason: Some(format!("reason {n}")),
            ..Facts::default()
        };
        Draft { event, wall: WallTime(day * DAY + n), boot: BootTime(n), boot_id: BootId("b".into()), facts }
    }

    fn write(store: &mut Store, drafts: Vec<Draft>) {
        let kept = CommitMeta { highest_wall: WallTime(0), next_session: 1, sent: Sent::NOTHING };
        store.commit(vec![Commit { drafts, ..Commit::default() }], kept).unwrap();
    }

    fn store_with(drafts: Vec<Draft>) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("jit.db")).unwrap();
        write(&mut store, drafts);
        (folder, store)
    }

    fn found(index: &Index, filter: &Filter, from: u64, limit: u64) -> Vec<u64> {
        index.search(filter, from, limit).unwrap().into_iter().map(|record| record.seq).collect()
    }

    fn of(user: &str) -> Filter {
        Filter { user: Some(user.to_owned()), ..Filter::default() }
    }

    #[test]
    fn what_was_written_since_is_found_too() {
        let (_folder, mut store) = store_with(vec![draft(1, "alice", None, AuditEvent::AccessAllowed, 1)]);
        let mut index = Index::open(store.path()).unwrap();
        assert_eq!(index.catch_up().unwrap(), 1);
        write(&mut store, vec![draft(2, "bob", Some("alice"), AuditEvent::RequestApproved, 1)]);
        assert_eq!(index.catch_up().unwrap(), 2);
        assert_eq!(found(&index, &of("alice"), 1, 10), [1, 2]);
        assert_eq!(found(&index, &of("alice"), 0, 1), [2], "the last one");
        assert_eq!(found(&index, &of("alice"), 2, 10), [2]);
    }

    #[test]
    fn what_was_pruned_leaves_the_index() {
        let drafts = (0..5000).map(|n| draft(n, "alice", None, AuditEvent::AccessAllowed, 1)).collect();
        let (_folder, mut store) = store_with(drafts);
        let mut index = Index::open(store.path()).unwrap();
        index.catch_up().unwrap();
        store.connection.execute("DELETE FROM records WHERE seq <= 4990", []).unwrap();
        write(&mut store, vec![draft(1, "bob", None, AuditEvent::AccessDenied, 2)]);
        assert_eq!(index.catch_up().unwrap(), 5001);
        let left: u64 =
            index.connection.query_row("SELECT count(*) FROM facts", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 11);
        assert_eq!(found(&index, &of("alice"), 1, 100), (4991..=5000).collect::<Vec<_>>());
    }

    #[test]
    fn an_index_of_another_record_is_made_anew() {
        let (folder, store) = store_with(vec![draft(1, "alice", None, AuditEvent::AccessAllowed, 1)]);
        assert_eq!(catch_up(store.path()).unwrap(), 1);
        drop(store);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("jit.db{end}")));
        }
        let mut store = Store::open(&folder.path().join("jit.db")).unwrap();
        write(&mut store, vec![draft(1, "carol", None, AuditEvent::AccessAllowed, 2)]);
        let mut index = Index::open(store.path()).unwrap();
        index.catch_up().unwrap();
        assert_eq!(found(&index, &of("carol"), 1, 10), [1]);
        assert_eq!(found(&index, &of("alice"), 1, 10), [] as [u64; 0]);
    }

    #[test]
    fn a_broken_index_is_made_anew() {
        let (folder, store) = store_with(vec![draft(1, "alice", None, AuditEvent::AccessAllowed, 1)]);
        catch_up(store.path()).unwrap();
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("search.db{end}")));
        }
        std::fs::write(
            folder.path().join("search.db"),
            "no database, but long enough to be read as one".repeat(99),
        )
        .unwrap();
        let mut index = Index::open(store.path()).unwrap();
        index.catch_up().unwrap();
        assert_eq!(found(&index, &of("alice"), 1, 10), [1]);
    }

    #[test]
    fn what_the_record_does_not_say_is_not_shown() {
        let (_folder, store) = store_with(vec![
            draft(1, "alice", None, AuditEvent::AccessAllowed, 1),
            draft(2, "alice", None, AuditEvent::AccessAllowed, 1),
        ]);
        let mut index = Index::open(store.path()).unwrap();
        index.catch_up().unwrap();
        let sql = "UPDATE records SET line = replace(line, 'alice', 'mallory') WHERE seq = 1";
        store.connection.execute(sql, []).unwrap();
        assert_eq!(found(&index, &of("alice"), 1, 10), [2]);
        store.connection.execute("DELETE FROM records WHERE seq = 2", []).unwrap();
        assert_eq!(found(&index, &of("alice"), 1, 10), [] as [u64; 0]);
    }

    fn a_filter() -> impl Strategy<Value = Filter> {
        let who = prop::option::of(prop::sample::select(vec!["alice", "bob", "carol"]));
        let event = prop::option::of(prop::sample::select(vec!["access.allowed", "access.denied"]));
        let bound = || prop::option::of(0u64..5);
        let text = prop::option::of(prop::sample::select(vec!["REASON 1", "2", "nothing"]));
        (who, event, bound(), bound(), bound(), text, prop::option::of(1u64..40)).prop_map(
            |(user, event, since, until, grant, text, before)| Filter {
                user: user.map(str::to_owned),
                event: event.map(str::to_owned),
                since: since.map(|day| day * DAY),
                until: until.map(|day| day * DAY),
                grant,
                text: text.map(str::to_owned),
                before,
                ..Filter::default()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_index_finds_what_reading_everything_finds(
            made in prop::collection::vec((0usize..3, prop::option::of(0usize..3), any::<bool>(), 0u64..4), 1..40),
            filters in prop::collection::vec((a_filter(), 0u64..40, 1u64..50), 1..10),
        ) {
            let people = ["alice", "bob", "carol"];
            let drafts = made.iter().enumerate().map(|(n, (user, actor, allowed, day))| {
                let event = if *allowed { AuditEvent::AccessAllowed } else { AuditEvent::AccessDenied };
                draft(n as u64 + 1, people[*user], actor.map(|actor| people[actor]), event, *day)
            });
            let (_folder, store) = store_with(drafts.collect());
            let mut index = Index::open(store.path()).unwrap();
            index.catch_up().unwrap();
            let all = index.records.records(1, 1000).unwrap();
            for (filter, from, limit) in filters {
                let matching = all.iter().filter(|r| filter.matches(r.seq, &r.line)).map(|r| r.seq);
                let expected: Vec<u64> = if from == 0 {
                    let matching: Vec<u64> = matching.collect();
                    matching[matching.len().saturating_sub(limit as usize)..].to_vec()
                } else {
                    matching.filter(|seq| *seq >= from).take(limit as usize).collect()
                };
                prop_assert_eq!(&found(&index, &filter, from, limit), &expected, "{:?}", filter);
                if from > 0 {
                    let walked = index.records.walk(&filter, from, limit).unwrap();
                    prop_assert_eq!(walked.into_iter().map(|record| record.seq).collect::<Vec<_>>(), expected);
                }
            }
        }
    }
}
