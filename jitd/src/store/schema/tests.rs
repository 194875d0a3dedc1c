use std::path::{Path, PathBuf};

use jit_proto::audit::chain::{Head, append};
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::UserId;
use jit_proto::time::{BootId, BootTime, WallTime};
use rusqlite::params;

use super::*;
use crate::core::effect::{Commit, Durability};
use crate::store::{CommitMeta, Reader, Sent, Store, StoreError};

/// Every layout from before layouts had numbers, oldest first, as the jitd of that time created it.
const OLDER: [(&str, &str); 5] = [
    (
        "state and records alone",
        "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, line TEXT NOT NULL) STRICT;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
             highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, sent INTEGER NOT NULL) STRICT;",
    ),
    (
        "with seals",
        "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL) STRICT;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
             highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, seal_first INTEGER NOT NULL DEFAULT 0,
             sent INTEGER NOT NULL) STRICT;",
    ),
    (
        "with retention",
        "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL) STRICT;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
             highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, seal_first INTEGER NOT NULL DEFAULT 0,
             sent INTEGER NOT NULL) STRICT;
         CREATE TABLE pruned (id INTEGER PRIMARY KEY CHECK (id = 1), to_seq INTEGER NOT NULL, to_hash TEXT NOT NULL,
             newest INTEGER NOT NULL, highest_id INTEGER NOT NULL) STRICT;",
    ),
    (
        "with habits",
        "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL) STRICT;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
             highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, seal_first INTEGER NOT NULL DEFAULT 0,
             sent INTEGER NOT NULL) STRICT;
         CREATE TABLE pruned (id INTEGER PRIMARY KEY CHECK (id = 1), to_seq INTEGER NOT NULL, to_hash TEXT NOT NULL,
             newest INTEGER NOT NULL, highest_id INTEGER NOT NULL) STRICT;
         CREATE TABLE habits (uid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
         INSERT INTO habits (uid, body) VALUES (1000, '{\"name\":\"alice\",\"roles\":[\"ops\",\"web\"],\"days\":[]}'),
             (1001, '{\"name\":\"bob\",\"roles\":[\"web\"],\"days\":[]}');",
    ),
    (
        "of 0.1.0",
        "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL) STRICT;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
             highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, seal_first INTEGER NOT NULL DEFAULT 0,
             sent INTEGER NOT NULL, sent_journal INTEGER NOT NULL DEFAULT 3, sent_json_lines INTEGER NOT NULL DEFAULT 2)
             STRICT;
         CREATE TABLE pruned (id INTEGER PRIMARY KEY CHECK (id = 1), to_seq INTEGER NOT NULL, to_hash TEXT NOT NULL,
             newest INTEGER NOT NULL, highest_id INTEGER NOT NULL) STRICT;
         CREATE TABLE habits (uid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
         INSERT INTO habits (uid, body) VALUES (1000, '{\"name\":\"alice\",\"roles\":[\"ops\",\"web\"],\"days\":[]}'),
             (1001, '{\"name\":\"bob\",\"roles\":[\"web\"],\"days\":[]}');",
    ),
];

/// The part that all of them have.
const OBJECTS: &str = "
    CREATE TABLE requests (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE grants   (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE sessions (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE INDEX requests_open ON requests (id) WHERE open = 1;
    CREATE INDEX grants_open   ON grants   (id) WHERE open = 1;
    PRAGMA journal_mode = WAL;
    PRAGMA user_version = 1;";

fn draft(n: u64) -> Draft {
    let (wall, boot, boot_id) = (WallTime(n), BootTime(n), BootId("b".into()));
    Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts: Facts::default() }
}

fn commit_one(store: &mut Store) {
    let drafts = vec![draft(6)];
    let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
    let meta = CommitMeta { highest_wall: WallTime(9), next_session: 7, sent: store.sent().unwrap() };
    store.commit(vec![commit], meta).unwrap();
}

/// A store of an older layout with five records and four closed grants, and the head of its chain.
fn older(folder: &Path, tables: &str) -> (PathBuf, Head) {
    let path = folder.join("jit.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!("{tables} {OBJECTS}")).unwrap();
    let grants = [
        (1, 1000, "alice", "ops"),
        (2, 1000, "alice", "web"),
        (3, 1000, "alice", "ops"),
        (4, 1001, "bob", "web"),
    ];
    for (id, uid, name, role) in grants {
        let body = format!(r#"{{"id":{id},"role":"{role}","holder":{{"uid":{uid},"name":"{name}"}}}}"#);
        old.execute("INSERT INTO grants (id, open, body) VALUES (?1, 0, ?2)", params![id, body]).unwrap();
    }
    let mut head = Head::default();
    for n in 1..=5 {
        let record = append(&mut head, draft(n)).unwrap();
        let sql = "INSERT INTO records (seq, hash, line) VALUES (?1, ?2, ?3)";
        old.execute(sql, params![record.seq, record.hash.to_string(), record.line]).unwrap();
    }
    let sql = "INSERT INTO state (id, head_seq, head_hash, highest_wall, next_session, sent) VALUES (1, ?1, ?2, 9, 7, 4)";
    old.execute(sql, params![head.seq, head.hash.to_string()]).unwrap();
    (path, head)
}

/// Tables with their columns, and indexes, of a database.
fn shape(path: &Path) -> Vec<String> {
    let sql = "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || c.pk
        FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'
        UNION ALL SELECT name || ' ' || sql FROM sqlite_master WHERE type = 'index' ORDER BY 1";
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_store_of_each_older_layout_goes_on() {
    let new = tempfile::tempdir().unwrap();
    drop(Store::open(&new.path().join("jit.db")).unwrap());
    for (number, (name, tables)) in (1..).zip(OLDER) {
        let folder = tempfile::tempdir().unwrap();
        let (path, head) = older(folder.path(), tables);
        let mut store = Store::open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(store.head(), &head, "{name}");
        assert!(store.seal_lost().is_none(), "{name}");
        let ledger = store.ledger().unwrap();
        assert_eq!((ledger.next_session, ledger.next_id), (7, 5), "{name}");
        // Earlier records are not sent to the journal and the JSON lines.
        let (journal, json_lines) = if number < 5 { (5, 5) } else { (3, 2) };
        assert_eq!(store.sent().unwrap(), Sent { syslog: 4, journal, json_lines }, "{name}");
        let baselines = store.baselines().unwrap();
        assert_eq!(baselines[&UserId(1000)].roles, ["ops".to_owned(), "web".to_owned()].into(), "{name}");
        assert_eq!((baselines[&UserId(1001)].name.as_str(), baselines.len()), ("bob", 2), "{name}");
        commit_one(&mut store);
        drop(store);
        let mut store = Store::open(&path).unwrap();
        commit_one(&mut store);
        let whole = Reader::open(&path).unwrap().verify(Some(store.head())).unwrap();
        assert_eq!(whole.unwrap().head.seq, 7, "{name}");
        assert_eq!(shape(&path), shape(&new.path().join("jit.db")), "{name}");
    }
}

#[test]
fn an_older_layout_is_the_number_of_its_migrations() {
    for (number, (name, tables)) in (1..).zip(OLDER) {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = older(folder.path(), tables);
        let old = Connection::open(path).unwrap();
        let has = |migration: &&Migration| has_column(&old, migration.adds).unwrap();
        assert_eq!(MIGRATIONS.iter().filter(has).count(), number, "{name}");
        assert!(MIGRATIONS.iter().take(number).all(|migration| has(&migration)), "{name}");
    }
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, head) = older(folder.path(), OLDER[0].1);
    // The last migration creates a table of this name.
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE breaks (other TEXT)").unwrap();
    let before = shape(&path);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Migration { .. }), "{error}");
    assert!(error.to_string().contains("migration 6 of the store (digests) failed"), "{error}");
    assert_eq!(shape(&path), before);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE breaks").unwrap();
    assert_eq!(Store::open(&path).unwrap().head(), &head);
}

#[test]
fn a_store_that_this_jitd_would_misread_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jit.db");
    drop(Store::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", COMPATIBLE + 1).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found, .. } if found == COMPATIBLE + 1), "{error}");
    for said in
        [env!("CARGO_PKG_VERSION"), "its layout is 2", "install that version again", "--recover --force"]
    {
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

#[test]
fn a_store_with_additions_of_a_later_jitd_is_used_and_keeps_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jit.db");
    let mut store = Store::open(&path).unwrap();
    commit_one(&mut store);
    drop(store);
    let later = "UPDATE layout SET number = 99; ALTER TABLE grants ADD COLUMN later TEXT";
    Connection::open(&path).unwrap().execute_batch(later).unwrap();
    let mut store = Store::open(&path).unwrap();
    commit_one(&mut store);
    assert_eq!(number(&Connection::open(&path).unwrap()).unwrap(), Some(99));
}
