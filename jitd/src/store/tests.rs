use jit_proto::moment::{BootId, BootTime};
use jit_proto::record::{Draft, Event, Facts};

use super::*;

fn draft(n: u64) -> Draft {
    Draft {
        event: Event::AccessDenied,
        wall: WallTime(n),
        boot: BootTime(n),
        boot_id: BootId("b".into()),
        facts: Facts { detail: Some(format!("record {n}")), ..Facts::default() },
    }
}

fn kept(wall: u64) -> Kept {
    Kept { highest_wall: WallTime(wall), next_session: 1, sent: 0 }
}

fn store_with(records: u64) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("jit.db")).unwrap();
    let drafts = (1..=records).map(draft).collect();
    store
        .commit(vec![Commit { durability: Durability::AtOnce, changes: vec![], drafts }], kept(records))
        .unwrap();
    (folder, store)
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let (folder, store) = store_with(3);
    let head = store.head().clone();
    drop(store);
    let store = Store::open(&folder.path().join("jit.db")).unwrap();
    assert_eq!(store.head(), &head);
    assert_eq!(store.ledger().unwrap().highest_wall, WallTime(3));
    let reader = Reader::open(store.path()).unwrap();
    assert_eq!(reader.verify(Some(&head)).unwrap(), (head, Ok(())));
    assert_eq!(reader.records(2, 10).unwrap().len(), 2);
}

#[test]
fn a_commit_that_fails_leaves_nothing_and_the_next_one_goes_through() {
    let (_folder, mut store) = store_with(3);
    let head = store.head().clone();
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let big = Draft { facts: Facts { detail: Some("x".repeat(1 << 16)), ..Facts::default() }, ..draft(4) };
    let full = store
        .commit(vec![Commit { durability: Durability::AtOnce, changes: vec![], drafts: vec![big] }], kept(9));
    assert!(full.unwrap_err().to_string().contains("full"));
    assert_eq!(store.head(), &head);
    assert_eq!(store.ledger().unwrap().highest_wall, WallTime(3));
    store.connection.pragma_update(None, "max_page_count", pages + 1000).unwrap();
    store
        .commit(
            vec![Commit { durability: Durability::AtOnce, changes: vec![], drafts: vec![draft(4)] }],
            kept(4),
        )
        .unwrap();
    let reader = Reader::open(store.path()).unwrap();
    assert_eq!(reader.verify(Some(store.head())).unwrap().0.seq, 4);
}

#[test]
fn a_deleted_tail_shows_after_a_restart() {
    let (folder, store) = store_with(5);
    store.connection.execute("DELETE FROM records WHERE seq = 5", []).unwrap();
    drop(store);
    let store = Store::open(&folder.path().join("jit.db")).unwrap();
    let (head, result) = Reader::open(store.path()).unwrap().verify(Some(store.head())).unwrap();
    assert_eq!((head.seq, result.unwrap_err().seq), (4, 5));
}

#[test]
fn a_later_layout_is_refused() {
    let (folder, store) = store_with(1);
    store.connection.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    drop(store);
    let error = Store::open(&folder.path().join("jit.db")).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}
