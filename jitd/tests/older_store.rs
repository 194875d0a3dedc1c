//! Opens, reads, verifies and writes a store of jitd 0.1.0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_proto::audit::chain::{Verifier, Whole};
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{Cover, FirstKey};
use jit_proto::identity::{GrantId, RequestId, SessionId, UserId};
use jit_proto::time::{BootId, BootTime, WallTime};
use jitd::core::effect::{Commit, Durability};
use jitd::core::ledger::{GrantState, RequestState};
use jitd::store::{CommitMeta, Index, Reader, Sent, Store};

/// A copy of the store of `fixtures/store-0.1.0`; its README describes the history of its host.
fn store_of_0_1_0(folder: &Path) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-0.1.0");
    for name in ["jit.db", "seal.key"] {
        fs::copy(fixture.join(name), folder.join(name)).unwrap();
    }
    folder.join("jit.db")
}

/// Verifies the audit log from its first record, with the seal's first key.
fn verify(store: &Store) -> Whole {
    let keys = FirstKey::read_all(include_str!("fixtures/store-0.1.0/first.key")).unwrap();
    let mut verifier = Verifier::default().with_keys(keys);
    for record in Reader::open(store.path()).unwrap().records(1, 1000).unwrap() {
        verifier.feed(record.as_stored()).unwrap();
    }
    verifier.finish(Some(store.head())).unwrap()
}

#[test]
fn a_store_of_0_1_0_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = store_of_0_1_0(folder.path());
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.head().seq, 24);
    assert!(store.seal_lost().is_none(), "{:?}", store.seal_lost());
    assert_eq!(verify(&store).head.seq, 24);

    // The state that the daemon starts with.
    let ledger = store.ledger().unwrap();
    assert_eq!((ledger.next_id, ledger.next_session), (6, 4));
    assert_eq!(ledger.requests.keys().copied().collect::<Vec<_>>(), [RequestId(4)]);
    assert_eq!(ledger.grants.keys().copied().collect::<Vec<_>>(), [GrantId(1), GrantId(5)]);
    assert_eq!(ledger.grants[&GrantId(1)].holder.name, "alice");
    assert_eq!(ledger.grants[&GrantId(1)].approvers[0].name, "bob");
    let session = &ledger.sessions[&SessionId(3)];
    assert_eq!((session.grant, session.argv.join(" ").as_str()), (GrantId(5), "sudo -n sleep 1000"));
    assert_eq!(store.sent().unwrap(), Sent { syslog: 23, journal: 23, json_lines: 24 });
    assert!(store.baselines().unwrap()[&UserId(2004)].roles.contains("ops"));

    // Closed requests are found by number.
    assert_eq!(store.request(1).unwrap().unwrap().state, RequestState::Approved);
    assert!(
        matches!(store.request(3).unwrap().unwrap().state, RequestState::Denied { by, .. } if by.name == "bob")
    );
    assert!(
        matches!(store.grant(2).unwrap().unwrap().state, GrantState::Revoked { by, .. } if by.name == "root")
    );

    // It continues, under the same seal, also after the next start.
    for seq in 25..=27 {
        let draft = Draft {
            event: AuditEvent::AccessDenied,
            wall: WallTime(1),
            boot: BootTime(1),
            boot_id: BootId("b".into()),
            facts: Facts { user: Some("mallory".into()), ..Facts::default() },
        };
        let commit = Commit { durability: Durability::AtOnce, drafts: vec![draft], ..Commit::default() };
        let meta = CommitMeta { highest_wall: WallTime(1), next_session: 4, sent: store.sent().unwrap() };
        store.commit(vec![commit], meta).unwrap().key.unwrap();
        drop(store);
        store = Store::open(&path).unwrap();
        assert_eq!(store.head().seq, seq);
    }
    let seals: Vec<_> = verify(&store).seals.iter().map(|span| (span.to, span.cover)).collect();
    assert_eq!(seals, [(17, Cover::Unsealed), (27, Cover::Fits)]);

    // The index is made from records of both versions.
    let mut index = Index::open(&path).unwrap();
    index.catch_up().unwrap();
    for (user, records) in [("alice", 3), ("mallory", 3)] {
        let filter = jit_proto::audit::filter::Filter { user: Some(user.into()), ..Default::default() };
        assert_eq!(index.search(&filter, 1, 1000).unwrap().len(), records, "{user}");
    }
}
