//! Kills a committing process at random points: every acknowledged commit is there afterwards, the chain is intact, and
//! the seals fit the first key.
//!
//! `crash` kills 20 times, `crash soak` 200 times during more than 10,000 commits. `crash child FOLDER` is the process
//! that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]
#![allow(
    clippy::print_stdout,
    reason = "the child acknowledges on stdout, and the result is told as libtest does"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jit_proto::audit::chain::Verifier;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::audit::seal::{FirstKey, SealKey};
use jitd::core::effect::{Change, Commit, Durability};
use jitd::store::{Reader, Store};

mod sample;

use sample::{Dice, META, draft, grant};

const NAME: &str = "what_was_acknowledged_outlives_kill_9";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["child", folder] => commit_until_killed(Path::new(folder)),
        ["soak"] => play(200, 10_000),
        filters if filters.iter().any(|word| !word.starts_with('-') && !NAME.contains(*word)) => {
            println!("test result: ok. 0 passed; 0 failed; 0 ignored; 1 filtered out");
        }
        _ => play(20, 0),
    }
}

/// Kills this many times, and until this many commits were acknowledged.
fn play(kills: u32, commits: u64) {
    println!("\nrunning 1 test");
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path());
    let mut killed = 0;
    while killed < kills || world.commits < commits {
        world.run_and_kill();
        world.check(killed % 2 == 0);
        killed += 1;
    }
    println!(
        "test {NAME} ... ok: killed {killed} times during {} commits of {} records and {} grants; {} times the key \
         in its file lagged behind, {} times something not acknowledged was there",
        world.commits,
        world.records.len(),
        world.grants.len(),
        world.lagged,
        world.more
    );
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 filtered out");
}

/// What the child has acknowledged.
struct World {
    folder: PathBuf,
    dice: Dice,
    key: Option<FirstKey>,
    commits: u64,
    records: BTreeMap<u64, String>,
    grants: Vec<u64>,
    lagged: u32,
    more: u32,
}

impl World {
    fn new(folder: &Path) -> Self {
        let dice = Dice::at_random();
        let (records, grants) = (BTreeMap::new(), Vec::new());
        Self { folder: folder.to_owned(), dice, key: None, commits: 0, records, grants, lagged: 0, more: 0 }
    }

    fn run_and_kill(&mut self) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("child")
            .arg(&self.folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acks = BufReader::new(child.stdout.take().unwrap());
        let most = 1 + self.dice.roll(110);
        let mut line = String::new();
        for _ in 0..most {
            line.clear();
            assert!(acks.read_line(&mut line).unwrap() > 0, "the child ended by itself");
            self.acknowledged(&line);
        }
        // At a random point of its work.
        for _ in 0..self.dice.roll(60_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        loop {
            line.clear();
            if acks.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return;
            }
            self.acknowledged(&line);
        }
    }

    /// `key FIRST HEX`, or `done GRANT SEQ:HASH...`.
    fn acknowledged(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("key") => {
                let first = words.next().unwrap().parse().unwrap();
                let key = SealKey::from_hex(words.next().unwrap()).unwrap();
                assert!(self.key.replace(FirstKey { first, key }).is_none(), "sealed twice");
            }
            Some("done") => {
                self.commits += 1;
                let grant: u64 = words.next().unwrap().parse().unwrap();
                self.grants.extend((grant > 0).then_some(grant));
                for record in words {
                    let (seq, hash) = record.split_once(':').unwrap();
                    self.records.insert(seq.parse().unwrap(), hash.to_owned());
                }
            }
            _ => panic!("the child says {line:?}"),
        }
    }

    /// Every other time the store is left for the next child to open.
    fn check(&mut self, open: bool) {
        let path = self.folder.join("jit.db");
        let reader = Reader::open(&path).unwrap();
        let records = reader.records(1, 1 << 40).unwrap();
        let mut verifier = Verifier::default().with_keys(self.key.iter().cloned().collect());
        for record in &records {
            verifier.feed(record.as_stored()).unwrap();
        }
        let whole = verifier.finish(None).unwrap();
        for (seq, hash) in &self.records {
            let record = records.get(usize::try_from(seq - 1).unwrap()).map(|record| &record.hash);
            assert_eq!(record, Some(hash), "record {seq} was acknowledged");
        }
        let acknowledged = self.records.last_key_value().map_or(0, |(seq, _)| *seq);
        self.more += u32::from(whole.head.seq > acknowledged);
        if self.key.is_some() {
            let file = std::fs::read_to_string(self.folder.join("seal.key")).unwrap();
            let next: u64 = file.split_whitespace().nth(2).unwrap().parse().unwrap();
            assert!(
                next <= whole.head.seq + 1,
                "the key is for {next}, the chain ends at {}",
                whole.head.seq
            );
            self.lagged += u32::from(next < whole.head.seq + 1);
        }
        if open {
            let store = Store::open(&path).unwrap();
            assert!(store.seal_lost().is_none(), "{:?}", store.seal_lost());
            assert_eq!(store.head(), &whole.head);
            for id in &self.grants {
                assert!(store.grant(*id).unwrap().is_some(), "grant {id} was acknowledged");
            }
        }
    }
}

/// Commits in all the ways the daemon does: with a grant and durable, without one, two together, not durable.
fn commit_until_killed(folder: &Path) {
    let mut store = Store::open(&folder.join("jit.db")).unwrap();
    assert!(store.seal_lost().is_none(), "{:?}", store.seal_lost());
    let mut dice = Dice::of(store.head().seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut acks = std::io::stdout().lock();
    if store.seal_first() == 0 {
        let mut bytes = [0; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
        let key = SealKey::taking(&mut bytes);
        let said = Facts { seal_key: Some(key.id()), ..Facts::default() };
        let drafts = vec![draft(AuditEvent::AuditSealed, said)];
        let commit =
            Commit { durability: Durability::AtOnce, drafts, seal: Some(key.clone()), ..Commit::default() };
        store.commit(vec![commit], META).unwrap().key.unwrap();
        writeln!(acks, "key {} {}", store.seal_first(), *key.to_hex()).unwrap();
    }
    loop {
        let mut given = 0;
        let mut commits = Vec::new();
        for _ in 0..1 + dice.roll(3) / 2 {
            let (durable, id) = (dice.roll(3) > 0, store.head().seq + 1);
            let durability = if durable { Durability::AtOnce } else { Durability::WithTheNext };
            let mut commit = Commit { durability, ..Commit::default() };
            if durable && given == 0 && dice.roll(2) == 0 {
                given = id;
                commit.changes.push(Change::Grant(grant(id)));
                commit
                    .drafts
                    .push(draft(AuditEvent::GrantStarted, Facts { grant: Some(id), ..Facts::default() }));
            }
            commit.drafts.push(draft(AuditEvent::SessionOpened, Facts::default()));
            commits.push(commit);
        }
        let written = store.commit(commits, META).unwrap();
        written.key.unwrap();
        let records: Vec<String> =
            written.records.iter().map(|record| format!("{}:{}", record.seq, record.hash)).collect();
        writeln!(acks, "done {given} {}", records.join(" ")).unwrap();
        acks.flush().unwrap();
    }
}
