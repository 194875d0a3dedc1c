//! Prunes a store that stops between any two steps: no record is lost, and none is missing without a record about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::chain::{Broken, Verifier, Whole};
use jit_proto::audit::copies::{Line, read};
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{FirstKey, SealKey};
use jit_proto::identity::{GrantId, Reason, RoleName, UserId};
use jit_proto::time::{BootId, BootTime, WallTime};
use jitd::core::context::Context;
use jitd::core::effect::{Change, Commit, Durability, Effect};
use jitd::core::input::Input;
use jitd::core::ledger::{Grant, GrantState};
use jitd::core::people::Account;
use jitd::core::policy::{Policy, Settings};
use jitd::core::reply::Reply;
use jitd::core::retention::{Retention, Segment};
use jitd::core::step::step;
use jitd::core::time::{Deadline, Now};
use jitd::retention::{RetentionError, batch, segment};
use jitd::store::{CommitMeta, Reader, Sent, Store};
use proptest::prelude::*;

/// One record each half day, in microseconds.
const HALF_DAY: u64 = 12 * 3600 * 1_000_000;
const KEPT: CommitMeta = CommitMeta { highest_wall: WallTime(0), next_session: 1, sent: Sent::NOTHING };

/// The point where the daemon stops.
#[derive(Debug, Clone, Copy)]
enum End {
    /// While the file is written.
    InTheFile,
    /// After the file has its name.
    BehindTheFile,
    /// After the record, and this many transactions that remove records.
    BehindTheRecord(u8),
    /// It does not stop.
    Never,
}

struct World {
    folder: tempfile::TempDir,
    store: Option<Store>,
    key: FirstKey,
    /// The hash of every record that was written.
    written: BTreeMap<u64, String>,
    grants: u64,
    policy: Policy,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let retention = Retention {
            age: Some(Duration::from_secs(50 * 24 * 3600)),
            size: None,
            archive: Some(folder.path().join("archive")),
        };
        let settings = Settings { retention, ..Settings::default() };
        let policy = Policy { digest: "ab".into(), loaded_at: WallTime(0), settings, roles: BTreeMap::new() };
        let store = Some(Store::open(&folder.path().join("jit.db")).unwrap());
        let key = SealKey::taking(&mut [3; 32]);
        let first = FirstKey { first: 2, key: key.clone() };
        let mut world = Self { folder, store, key: first, written: BTreeMap::new(), grants: 0, policy };
        let said = Facts { seal_key: Some(key.id()), ..Facts::default() };
        let drafts = vec![draft(0, AuditEvent::AuditSealed, said)];
        world.commit(Commit { drafts, seal: Some(key), durability: Durability::AtOnce, ..Commit::default() });
        world
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("jit.db")
    }

    fn commit(&mut self, commit: Commit) {
        let written = self.store().commit(vec![commit], KEPT).unwrap();
        written.key.unwrap();
        self.written.extend(written.records.into_iter().map(|record| (record.seq, record.hash)));
    }

    /// Every tenth record with a grant that closes soon.
    fn write(&mut self, count: u64) {
        let next = self.store().head().seq;
        let drafts =
            (next..next + count).map(|n| draft(n, AuditEvent::AccessDenied, Facts::default())).collect();
        let grants = self.grants + 1..=self.grants + count / 10;
        self.grants += count / 10;
        let changes = grants.map(|id| Change::Grant(grant(id, next + id % 10))).collect();
        self.commit(Commit { drafts, changes, ..Commit::default() });
    }

    fn now(&self) -> Now {
        at(self.written.len() as u64)
    }

    /// As the daemon's thread does it, up to the stop.
    fn prune(&mut self, end: End) -> Result<Option<Segment>, RetentionError> {
        while self.store().prune().unwrap() {}
        let (reader, now) = (Reader::open(&self.path()).unwrap(), self.now());
        let (behind, head) = (self.store().pruned().to.clone(), self.store().head().seq);
        let settings = self.policy.settings.retention.clone();
        let Some(batch) = batch(&reader, &settings, &behind, head, now.wall)? else { return Ok(None) };
        if let (End::InTheFile, Some(archive)) = (end, &settings.archive) {
            fs::create_dir_all(archive).unwrap();
            fs::write(archive.join("audit.part"), "{\"seq\":").unwrap();
            return Ok(None);
        }
        let Some(segment) = segment::collect(&reader, &batch, &settings, &behind)? else { return Ok(None) };
        let (End::BehindTheRecord(_) | End::Never) = end else { return Ok(None) };
        let ledger = self.store().ledger().unwrap();
        let event = Input::Prune(Box::new(segment.clone()));
        let (_, effects) = step(ledger, Some(&self.policy), event, &Context::default(), &now);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Reply(Reply::Pruned))));
        for effect in effects {
            if let Effect::Commit(commit) = effect {
                self.commit(commit);
            }
        }
        match end {
            End::BehindTheRecord(times) => {
                (0..times).for_each(|_| {
                    self.store().prune().unwrap();
                });
            }
            _ => while self.store().prune().unwrap() {},
        }
        Ok(Some(segment))
    }

    fn end_suddenly(&mut self) {
        self.store = None;
        self.store = Some(Store::open(&self.path()).unwrap());
        assert!(self.store().seal_lost().is_none());
    }

    fn verify(&self) -> Result<Whole, Broken> {
        verify(&self.path(), &self.key)
    }

    /// Every record that was written is in the archive or in the store, and the store's chain is intact.
    fn check(&mut self) {
        let whole = self.verify().unwrap();
        assert_eq!(whole.doubts, [] as [&str; 0]);
        let behind = self.store().pruned().to.seq;
        assert!(whole.first <= behind + 1, "more was taken than was said");
        let mut there = BTreeMap::new();
        let mut archive = Verifier::default();
        for path in files(&self.folder.path().join("archive")) {
            for line in fs::read_to_string(path).unwrap().lines() {
                let Line::Record(record) = read(line) else { panic!("{line}") };
                if record.seq <= behind {
                    archive.feed(record.as_stored()).unwrap();
                }
                there.insert(record.seq, record.hash);
            }
        }
        assert_eq!(archive.head().seq, behind, "the archive is whole from the first record on");
        let rest = Reader::open(&self.path()).unwrap().records(0, 1 << 40).unwrap();
        there.extend(rest.into_iter().map(|record| (record.seq, record.hash)));
        assert_eq!(there, self.written);
        assert!(self.store().ledger().unwrap().next_id > self.grants, "a number would be used again");
    }
}

fn verify(path: &Path, key: &FirstKey) -> Result<Whole, Broken> {
    let mut verifier = Verifier::default().with_keys(vec![key.clone()]);
    for record in Reader::open(path).unwrap().records(0, 1 << 40).unwrap() {
        verifier.feed(record.as_stored())?;
    }
    verifier.finish(None)
}

fn files(archive: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(archive) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    files
}

fn at(half_day: u64) -> Now {
    Now { wall: WallTime(half_day * HALF_DAY), boot: BootTime(half_day), boot_id: BootId("b".into()) }
}

fn draft(half_day: u64, event: AuditEvent, facts: Facts) -> Draft {
    let Now { wall, boot, boot_id } = at(half_day);
    Draft { event, wall, boot, boot_id, facts }
}

fn grant(id: u64, half_day: u64) -> Grant {
    let now = at(half_day);
    Grant {
        id: GrantId(id),
        role: RoleName::try_from("ops".to_owned()).unwrap(),
        holder: Account { uid: UserId(1000), name: "alice".into() },
        uids: std::collections::BTreeSet::new(),
        reason: Reason::try_from("it was over long ago".to_owned()).unwrap(),
        ticket: None,
        approvers: Vec::new(),
        starts_at: now.wall,
        ends: Deadline::after(Duration::from_secs(600), &now),
        requested: true,
        unused_until: None,
        warned: None,
        state: GrantState::Expired,
    }
}

fn an_end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::InTheFile),
        Just(End::BehindTheFile),
        (0u8..6).prop_map(End::BehindTheRecord),
        Just(End::Never),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn nothing_is_lost_wherever_it_ends(steps in prop::collection::vec((0u64..400, an_end()), 1..8)) {
        let mut world = World::new();
        for (records, end) in steps {
            world.write(records);
            world.prune(end).unwrap();
            world.end_suddenly();
            world.check();
        }
        world.write(300);
        world.prune(End::Never).unwrap().expect("there is something old");
        world.check();
        let whole = world.verify().unwrap();
        prop_assert_eq!(whole.first, world.store().pruned().to.seq + 1);
        // Fifty days of records stay, and grants that were closed before are removed with the others.
        let left = world.store().grant(1).unwrap();
        prop_assert!(whole.head.seq - whole.first >= 100 && left.is_none());
    }
}

#[test]
fn what_somebody_else_removed_is_not_covered_up() {
    let mut world = World::new();
    world.write(500);
    world.end_suddenly();
    rusqlite::Connection::open(world.path())
        .unwrap()
        .execute("DELETE FROM records WHERE seq < 40", [])
        .unwrap();
    let refused = world.prune(End::Never).unwrap_err();
    assert!(matches!(&refused, RetentionError::Broken(Broken { seq: 1, .. })), "{refused}");
    assert_eq!(world.verify().unwrap_err().seq, 1);
    assert_eq!(files(&world.folder.path().join("archive")), [] as [PathBuf; 0]);
}

#[test]
fn what_somebody_changed_stays_for_whoever_looks_into_it() {
    let mut world = World::new();
    world.write(500);
    let edit = "UPDATE records SET line = replace(line, 'denied', 'dented') WHERE seq = 77";
    rusqlite::Connection::open(world.path()).unwrap().execute(edit, []).unwrap();
    let refused = world.prune(End::Never).unwrap_err();
    assert!(matches!(&refused, RetentionError::Broken(Broken { seq: 77, .. })), "{refused}");
    assert_eq!(Reader::open(&world.path()).unwrap().first().unwrap().unwrap().seq, 1);
}

#[test]
fn one_record_more_than_was_said_is_missed() {
    let mut world = World::new();
    world.write(500);
    let gone = world.prune(End::Never).unwrap().unwrap().to;
    let delete = format!("DELETE FROM records WHERE seq = {}", gone + 1);
    rusqlite::Connection::open(world.path()).unwrap().execute(&delete, []).unwrap();
    assert_eq!(world.verify().unwrap_err().seq, gone + 1);
}

#[test]
fn an_archive_that_others_may_write_gets_nothing_and_nothing_goes() {
    let mut world = World::new();
    world.write(500);
    let archive = world.folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = world.prune(End::Never).unwrap_err();
    assert!(refused.to_string().contains("only root may write"), "{refused}");
    assert_eq!(world.verify().unwrap().first, 1);
    fs::remove_dir(&archive).unwrap();
    fs::write(&archive, "").unwrap();
    assert!(matches!(world.prune(End::Never), Err(RetentionError::Archive { .. })));
}

#[test]
fn without_an_archive_records_go_all_the_same() {
    let mut world = World::new();
    world.policy.settings.retention.archive = None;
    world.write(500);
    let segment = world.prune(End::Never).unwrap().unwrap();
    assert_eq!((segment.from, segment.kept_in), (1, None));
    assert_eq!(world.verify().unwrap().first, segment.to + 1);
    let record = Reader::open(&world.path()).unwrap().record(502).unwrap().unwrap();
    assert!(record.line.contains("not kept") && record.line.contains("\"policy\":\"ab\""), "{}", record.line);
}

#[test]
fn a_file_of_another_record_is_left_alone() {
    let mut world = World::new();
    world.write(500);
    let archive = world.folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let other = archive.join(format!("audit-{:012}-{:012}-{}.jsonl", 1, 90, "5".repeat(64)));
    fs::write(&other, "of the host before it was installed anew").unwrap();
    world.prune(End::Never).unwrap().unwrap();
    assert!(other.exists());
    assert_eq!(files(&archive).len(), 2);
}

#[test]
fn settings_that_changed_meanwhile_let_nothing_go() {
    let mut world = World::new();
    world.write(500);
    let (reader, now) = (Reader::open(&world.path()).unwrap(), world.now());
    let settings = world.policy.settings.retention.clone();
    let behind = world.store().pruned().to.clone();
    let batch = batch(&reader, &settings, &behind, 501, now.wall).unwrap().unwrap();
    let segment = segment::collect(&reader, &batch, &settings, &behind).unwrap().unwrap();
    world.policy.settings.retention.age = None;
    let ledger = world.store().ledger().unwrap();
    let (_, effects) =
        step(ledger, Some(&world.policy), Input::Prune(Box::new(segment)), &Context::default(), &now);
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn nothing_of_what_went_is_left_in_the_file() {
    let mut world = World::new();
    world.write(50);
    let facts =
        Facts { reason: Some("a reason nobody is to read in seven years".into()), ..Facts::default() };
    world.commit(Commit { drafts: vec![draft(51, AuditEvent::RequestMade, facts)], ..Commit::default() });
    world.write(500);
    let holds = |path: &Path| {
        let database = rusqlite::Connection::open(path).unwrap();
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        String::from_utf8_lossy(&fs::read(path).unwrap()).contains("nobody is to read")
    };
    assert!(holds(&world.path()));
    world.prune(End::Never).unwrap().unwrap();
    assert!(!holds(&world.path()));
}

/// As the engine asks for it, beside what it does for others; a bound on it is for a machine that does nothing else.
#[test]
fn a_few_are_taken_at_a_time() {
    let mut world = World::new();
    world.write(2000);
    let before = world.store().head().seq;
    world.prune(End::BehindTheRecord(0)).unwrap().unwrap();
    let path = world.path();
    let first = || Reader::open(&path).unwrap().first().unwrap().unwrap().seq;
    let begun = first();
    assert!(begun > 1 && begun <= 129, "{begun}");
    assert!(world.store().prune().unwrap());
    assert!(first() <= begun + 128 && first() < before);
}
