use std::collections::BTreeMap;

use jit_proto::audit::chain::{Broken, Verifier, Whole};
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{Cover, FirstKey, SealKey};
use jit_proto::identity::UserId;
use jit_proto::time::{BootId, BootTime};

use super::*;
use crate::core::alerts::Baseline;
use crate::core::effect::{Commit, Durability};

fn draft(n: u64) -> Draft {
    Draft {
        event: AuditEvent::AccessDenied,
        wall: WallTime(n),
        boot: BootTime(n),
        boot_id: BootId("b".into()),
        facts: Facts { detail: Some(format!("record {n}")), ..Facts::default() },
    }
}

fn kept(wall: u64) -> CommitMeta {
    CommitMeta { highest_wall: WallTime(wall), next_session: 1, sent: Sent::NOTHING }
}

fn durable(drafts: Vec<Draft>) -> Commit {
    Commit { durability: Durability::AtOnce, drafts, ..Commit::default() }
}

/// Verifies the store; an error has how far the chain is intact, and the first problem.
fn verify(store: &Store, keys: &[&FirstKey]) -> Result<Whole, (u64, Broken)> {
    let records = Reader::open(store.path()).unwrap().records(1, u64::MAX >> 1).unwrap();
    let mut verifier = Verifier::default().with_keys(keys.iter().copied().cloned().collect());
    for record in &records {
        verifier.feed(record.as_stored()).map_err(|broken| (verifier.head().seq, broken))?;
    }
    let last = verifier.head().seq;
    verifier.finish(Some(store.head())).map_err(|broken| (last, broken))
}

/// Begins a seal after its own record.
fn seal(store: &mut Store, seed: u8) -> FirstKey {
    let key = SealKey::taking(&mut [seed; 32]);
    let event = if store.seal_first() > 0 { AuditEvent::AuditResealed } else { AuditEvent::AuditSealed };
    let said = Draft { event, facts: Facts { seal_key: Some(key.id()), ..Facts::default() }, ..draft(0) };
    let commit = Commit { seal: Some(key.clone()), ..durable(vec![said]) };
    store.commit(vec![commit], kept(0)).unwrap().key.unwrap();
    FirstKey { first: store.seal_first(), key }
}

fn add(store: &mut Store, records: u64) {
    for n in 0..records {
        let durability = if n % 2 == 0 { Durability::AtOnce } else { Durability::WithTheNext };
        let commit = Commit { durability, ..durable(vec![draft(n)]) };
        store.commit(vec![commit], kept(0)).unwrap().key.unwrap();
    }
}

fn reopened(store: Store) -> Store {
    let path = store.path().to_owned();
    drop(store);
    Store::open(&path).unwrap()
}

/// What jitd does first when the seal is lost.
fn say_so(store: &mut Store) -> String {
    let why = store.seal_lost().unwrap().to_string();
    let said = Draft { event: AuditEvent::AuditUnsealed, ..draft(0) };
    store.commit(vec![durable(vec![said])], kept(0)).unwrap();
    why
}

fn store_with(records: u64) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("jit.db")).unwrap();
    let drafts = (1..=records).map(draft).collect();
    store.commit(vec![durable(drafts)], kept(records)).unwrap();
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
    assert_eq!(reader.verify(Some(&head)).unwrap().unwrap().head, head);
    assert_eq!(reader.records(2, 10).unwrap().len(), 2);
}

#[test]
fn a_commit_that_fails_leaves_nothing_and_the_next_one_goes_through() {
    let (_folder, mut store) = store_with(3);
    let head = store.head().clone();
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let big = Draft { facts: Facts { detail: Some("x".repeat(1 << 16)), ..Facts::default() }, ..draft(4) };
    let full = store.commit(vec![durable(vec![big])], kept(9));
    assert!(full.unwrap_err().to_string().contains("full"));
    assert_eq!(store.head(), &head);
    assert_eq!(store.ledger().unwrap().highest_wall, WallTime(3));
    store.connection.pragma_update(None, "max_page_count", pages + 1000).unwrap();
    store.commit(vec![durable(vec![draft(4)])], kept(4)).unwrap();
    let reader = Reader::open(store.path()).unwrap();
    assert_eq!(reader.verify(Some(store.head())).unwrap().unwrap().head.seq, 4);
}

#[test]
fn a_deleted_tail_shows_after_a_restart() {
    let (folder, store) = store_with(5);
    store.connection.execute("DELETE FROM records WHERE seq = 5", []).unwrap();
    drop(store);
    let store = Store::open(&folder.path().join("jit.db")).unwrap();
    let (whole_to, broken) = verify(&store, &[]).unwrap_err();
    assert_eq!((whole_to, broken.seq), (4, 5));
}

#[test]
fn records_are_sealed_from_the_one_behind_the_beginning_on() {
    let (_folder, mut store) = store_with(3);
    let first = seal(&mut store, 1);
    assert_eq!(first.first, 5);
    add(&mut store, 5);
    let mut store = reopened(store);
    assert!(store.seal_lost().is_none(), "{:?}", store.seal_lost());
    add(&mut store, 3);
    let whole = verify(&store, &[&first]).unwrap();
    assert_eq!(
        whole.seals.iter().map(|span| (span.to, span.cover)).collect::<Vec<_>>(),
        [(4, Cover::Unsealed), (12, Cover::Fits)]
    );
    let second = seal(&mut store, 2);
    add(&mut store, 2);
    let store = reopened(store);
    assert!(verify(&store, &[&first, &second]).is_ok() && verify(&store, &[]).is_ok());
}

#[test]
fn the_key_file_never_has_a_key_of_a_durable_record() {
    let (_folder, mut store) = store_with(3);
    let first = seal(&mut store, 1);
    add(&mut store, 7);
    let file = std::fs::read_to_string(store.path().with_file_name(key_file::NAME)).unwrap();
    let mut sealer = Sealer::beginning(first.first, first.key.clone());
    for seq in first.first..=store.head().seq {
        sealer.forward_to(seq).unwrap();
        assert!(!file.contains(sealer.key.to_hex().as_str()), "the key of record {seq}");
    }
    sealer.forward_to(store.head().seq + 1).unwrap();
    assert!(file.contains(sealer.key.to_hex().as_str()));
    // A crash leaves an older key, which is advanced.
    let older = Sealer::beginning(first.first, first.key.clone());
    Keeper::of(store.path().with_file_name(key_file::NAME)).keep(&older).unwrap();
    let mut store = reopened(store);
    assert!(store.seal_lost().is_none(), "{:?}", store.seal_lost());
    add(&mut store, 1);
    assert!(verify(&store, &[&first]).is_ok());
}

#[test]
fn a_key_that_is_ahead_or_gone_ends_the_seal_and_that_shows() {
    type Harm = fn(&Path);
    let cases: [(&str, Harm); 3] = [
        ("record 8", |path| {
            let database = Connection::open(path).unwrap();
            let sql = "DELETE FROM records WHERE seq > 7; UPDATE state SET head_seq = 7,
                head_hash = (SELECT hash FROM records WHERE seq = 7)";
            database.execute_batch(sql).unwrap();
        }),
        ("no key", |path| std::fs::remove_file(path.with_file_name(key_file::NAME)).unwrap()),
        ("end of file", |path| std::fs::write(path.with_file_name(key_file::NAME), "").unwrap()),
    ];
    for (why, harm) in cases {
        let (_folder, mut store) = store_with(3);
        let first = seal(&mut store, 1);
        add(&mut store, 6);
        let path = store.path().to_owned();
        drop(store);
        harm(&path);
        let mut store = Store::open(&path).unwrap();
        let ends = store.head().seq + 1;
        let said = say_so(&mut store);
        add(&mut store, 2);
        assert!(said.contains(why) || said.contains("fill whole buffer"), "{said}");
        assert_eq!(verify(&store, &[]).unwrap_err().1.seq, ends);
        assert_eq!(verify(&store, &[&first]).unwrap_err().1.seq, ends);
        let second = seal(&mut store, 2);
        add(&mut store, 2);
        assert!(reopened(store).seal_lost().is_none());
        let store = Store::open(&path).unwrap();
        assert!(verify(&store, &[&second]).is_ok());
    }
}

#[test]
fn a_store_from_before_the_seal_is_found_by_the_key_beside_it() {
    let (_folder, mut store) = store_with(3);
    let path = store.path().to_owned();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    store = Store::open(&path).unwrap();
    seal(&mut store, 1);
    add(&mut store, 3);
    drop(store);
    std::fs::write(&path, before).unwrap();
    let store = Store::open(&path).unwrap();
    assert!(matches!(store.seal_lost(), Some(SealLost::UnknownSeal { .. })), "{:?}", store.seal_lost());
}

#[test]
fn a_seal_whose_beginning_is_not_written_has_not_begun() {
    let (_folder, mut store) = store_with(3);
    let first = seal(&mut store, 1);
    add(&mut store, 2);
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let big = Draft { facts: Facts { detail: Some("x".repeat(1 << 16)), ..Facts::default() }, ..draft(4) };
    let commit = Commit { seal: Some(SealKey::taking(&mut [2; 32])), ..durable(vec![big]) };
    assert!(store.commit(vec![commit], kept(0)).is_err());
    assert_eq!(store.seal_first(), first.first);
    store.connection.pragma_update(None, "max_page_count", pages + 1000).unwrap();
    add(&mut store, 2);
    let store = reopened(store);
    assert!(store.seal_lost().is_none(), "{:?}", store.seal_lost());
    assert!(verify(&store, &[&first]).is_ok());
}

#[test]
fn a_key_that_cannot_be_moved_on_is_told_and_moved_later() {
    let (_folder, mut store) = store_with(3);
    let first = seal(&mut store, 1);
    let path = store.path().with_file_name(key_file::NAME);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let written = store.commit(vec![durable(vec![draft(4)])], kept(0)).unwrap();
    assert!(written.key.unwrap_err().to_string().contains("seal.key"));
    std::fs::remove_dir(&path).unwrap();
    add(&mut store, 2);
    let store = reopened(store);
    assert!(verify(&store, &[&first]).is_ok() && store.seal_lost().is_none());
}

#[test]
fn habits_are_kept_with_the_records_that_changed_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("jit.db")).unwrap();
    assert!(store.baselines().unwrap().is_empty());
    let baseline =
        Baseline { name: "alice".into(), roles: ["ops".to_owned()].into(), days: [(20_000, 3)].into() };
    let commit = Commit { baselines: vec![(UserId(1000), baseline.clone())], ..durable(vec![draft(1)]) };
    store.commit(vec![commit], kept(0)).unwrap().key.unwrap();
    assert_eq!(reopened(store).baselines().unwrap(), BTreeMap::from([(UserId(1000), baseline)]));
}

#[test]
fn a_key_with_a_right_check_that_does_not_continue_the_seal_is_told() {
    let (_folder, mut store) = store_with(3);
    seal(&mut store, 1);
    add(&mut store, 6);
    let (path, first, next) = (store.path().to_owned(), store.seal_first(), store.head().seq + 1);
    drop(store);
    let other = Sealer { first, next, key: SealKey::taking(&mut [9; 32]) };
    std::fs::remove_file(path.with_file_name(key_file::NAME)).unwrap();
    Keeper::of(path.with_file_name(key_file::NAME)).keep(&other).unwrap();
    let store = Store::open(&path).unwrap();
    assert!(matches!(store.seal_lost(), Some(SealLost::Discontinued { .. })), "{:?}", store.seal_lost());
}

#[test]
fn a_store_that_ends_before_a_known_head_is_told() {
    use jit_proto::audit::known_head::Remembered;
    let (folder, store) = store_with(5);
    let known = Remembered { head: store.head().clone(), at: WallTime(1) };
    assert_eq!(rolled_back(&store, &known).unwrap(), None);
    let earlier = Reader::open(store.path()).unwrap().record(3).unwrap().unwrap();
    let earlier = Remembered { head: Head { seq: 3, hash: earlier.hash.parse().unwrap() }, at: WallTime(1) };
    assert_eq!(rolled_back(&store, &earlier).unwrap(), None);
    let other = Remembered { head: Head { seq: 3, hash: [0x55; 32].into() }, at: WallTime(1) };
    assert!(matches!(rolled_back(&store, &other).unwrap(), Some(RolledBack::Replaced { .. })));
    drop(store);
    std::fs::remove_file(folder.path().join("jit.db")).unwrap();
    let empty = Store::open(&folder.path().join("jit.db")).unwrap();
    assert!(matches!(rolled_back(&empty, &known).unwrap(), Some(RolledBack::Empty(_))));
}
