//! Flips single bits in every file of a store: whatever is used afterwards is as it was written, every other change is
//! reported, and nothing panics.
//!
//! `flips` flips 400 bits, `flips soak` 20,000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]
#![allow(clippy::print_stdout, reason = "the result is told as libtest does")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jit_proto::audit::chain::Verifier;
use jit_proto::audit::filter::Filter;
use jit_proto::audit::known_head::Remembered;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::audit::seal::{FirstKey, SealKey};
use jit_proto::time::WallTime;
use jitd::core::effect::{Change, Commit, Durability};
use jitd::core::ledger::GrantState;
use jitd::store::{Index, Reader, Store, rolled_back};

mod sample;

use sample::{Dice, META, draft, grant};

const NAME: &str = "every_flipped_bit_is_harmless_or_told";
const FILES: [&str; 5] = ["jit.db", "jit.db-wal", "seal.key", "search.db", "notified"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["soak"] => play(20_000),
        filters if filters.iter().any(|word| !word.starts_with('-') && !NAME.contains(*word)) => {
            println!("test result: ok. 0 passed; 0 failed; 0 ignored; 1 filtered out");
        }
        _ => play(400),
    }
}

/// What was written, and so may be used.
struct World {
    key: FirstKey,
    records: Vec<(u64, String)>,
    grants: BTreeSet<String>,
    known: Remembered,
}

fn play(flips: u64) {
    println!("\nrunning 1 test");
    let (whole, flipped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = written(whole.path());
    let mut dice = Dice::at_random();
    let (mut harmless, mut told) = (0, 0);
    for n in 0..flips {
        for entry in fs::read_dir(flipped.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for name in FILES {
            fs::copy(whole.path().join(name), flipped.path().join(name)).unwrap();
        }
        let name = FILES[usize::try_from(n).unwrap() % FILES.len()];
        let path = flipped.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let (at, bit) = (usize::try_from(dice.roll(bytes.len() as u64)).unwrap(), dice.roll(8));
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let what = format!("{name}, byte {at}, bit {bit}");
        match world.look(flipped.path(), &what) {
            true => harmless += 1,
            false => told += 1,
        }
    }
    println!(
        "test {NAME} ... ok: {flips} bits flipped: {harmless} changed nothing that is used, {told} were told"
    );
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 filtered out");
}

impl World {
    /// Opens the store as the daemon does; true if all is as it was written, false if a change is reported.
    fn look(&self, folder: &Path, what: &str) -> bool {
        let path = folder.join("jit.db");
        // Refused: the gate stays closed.
        let Ok(mut store) = Store::open(&path) else { return false };
        let (Ok(ledger), Ok(_), Ok(_)) = (store.ledger(), store.sent(), store.baselines()) else {
            return false;
        };
        for grant in ledger.grants.values() {
            let grant = serde_json::to_string(grant).unwrap();
            assert!(self.grants.contains(&grant), "{what}: nobody was ever given {grant}");
        }
        let Ok(back) = rolled_back(&store, &self.known) else { return false };
        let Ok(reader) = Reader::open(&path) else { return false };
        let Ok(verified) = reader.verify(Some(store.head())) else { return false };
        let told = back.is_some() || verified.is_err() || store.seal_lost().is_some();
        if !told {
            let records = reader.records(1, 1 << 20).unwrap();
            let records: Vec<_> = records.into_iter().map(|record| (record.seq, record.line)).collect();
            assert_eq!(records, self.records, "{what}: a record is another one, and nobody is told");
            // The store continues to work.
            let commit = Commit {
                durability: Durability::AtOnce,
                drafts: vec![draft(AuditEvent::AccessDenied, Facts::default())],
                ..Commit::default()
            };
            if store.commit(vec![commit], META).is_err() {
                return false;
            }
            let mut verifier = Verifier::default().with_keys(vec![self.key.clone()]);
            for record in reader.records(1, 1 << 20).unwrap() {
                // The holder of the key sees a changed seal; records after it have seals that fit.
                if let Err(broken) = verifier.feed(record.as_stored()) {
                    assert!(broken.seq <= self.known.head.seq, "{what}: {broken}");
                    return false;
                }
            }
        }
        // The index only proposes; the record decides.
        let filter = Filter { user: Some("alice".into()), ..Filter::default() };
        if let Ok(mut index) = Index::open(&path)
            && index.catch_up().is_ok()
            && let Ok(found) = index.search(&filter, 1, 1000)
        {
            for record in found {
                let stored = reader.record(record.seq).ok().flatten();
                assert_eq!(
                    stored.map(|stored| stored.line),
                    Some(record.line),
                    "{what}: made up by the index"
                );
            }
        }
        !told
    }
}

/// A sealed store with live and closed grants and an unfinished WAL, with an index.
fn written(folder: &Path) -> World {
    let live = tempfile::tempdir().unwrap();
    let path = live.path().join("jit.db");
    let mut store = Store::open(&path).unwrap();
    let key = SealKey::taking(&mut [7; 32]);
    let said = draft(AuditEvent::AuditSealed, Facts { seal_key: Some(key.id()), ..Facts::default() });
    let begin = Commit {
        durability: Durability::AtOnce,
        drafts: vec![said],
        seal: Some(key.clone()),
        ..Commit::default()
    };
    store.commit(vec![begin], META).unwrap();
    let key = FirstKey { first: store.seal_first(), key };
    let mut grants = BTreeSet::new();
    for id in 1..=60 {
        // The first ones are in the database, the last ones in its WAL.
        if id == 40 {
            drop(store);
            store = Store::open(&path).unwrap();
        }
        let mut grant = grant(id);
        let mut commit = Commit { durability: Durability::AtOnce, ..Commit::default() };
        grants.insert(serde_json::to_string(&grant).unwrap());
        commit.changes.push(Change::Grant(grant.clone()));
        if id % 3 == 0 {
            grant.state = GrantState::Expired;
            commit.changes.push(Change::Grant(grant));
        }
        let user = if id % 2 == 0 { "alice" } else { "bob" };
        commit.drafts.push(draft(
            AuditEvent::AccessDenied,
            Facts { user: Some(user.into()), grant: Some(id), ..Facts::default() },
        ));
        store.commit(vec![commit], META).unwrap().key.unwrap();
    }
    let mut index = Index::open(&path).unwrap();
    index.catch_up().unwrap();
    drop(index);
    fs::write(live.path().join("notified"), "60\n").unwrap();
    let records = Reader::open(&path).unwrap().records(1, 1 << 20).unwrap();
    let records = records.into_iter().map(|record| (record.seq, record.line)).collect();
    // Copied while it is open, so that the WAL is as after a power cut.
    for name in FILES {
        fs::copy(live.path().join(name), folder.join(name)).unwrap();
    }
    World { key, records, grants, known: Remembered { head: store.head().clone(), at: WallTime(1) } }
}
