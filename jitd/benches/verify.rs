//! What a long record costs: verifying it, beside `sha256sum` of the same bytes, and deciding with it in the store.
//!
//! `verify [RECORDS]`, a million if nothing is said. Times are the best of three; a commit's is the median.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]
#![allow(clippy::print_stdout, reason = "what it is for")]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jit_proto::chain::{Sealed, Verifier};
use jit_proto::moment::{BootId, BootTime, WallTime};
use jit_proto::record::{Draft, Event, Facts};
use jit_proto::seal::{FirstKey, SealKey};
use jit_proto::sighting::{Line, read};
use jitd::clock::Stopwatch;
use jitd::core::event::Commit;
use jitd::store::{Kept, Reader, Store};

const KEPT: Kept = Kept { highest_wall: WallTime(1), next_session: 1, sent: 0 };
const COMMITS: usize = 400;

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000_000_u64);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let empty = folder.path().join("empty");
    let full = folder.path().join("full");
    std::fs::create_dir(&empty).unwrap();
    std::fs::create_dir(&full).unwrap();

    let mut store = Store::open(&empty.join("jit.db")).unwrap();
    // Until the journal has been written once from end to end: a file that grows is slower to force to the disk.
    decide(&mut store, 3 * COMMITS);
    let without = decide(&mut store, COMMITS);
    seal(&mut store);
    let with = decide(&mut store, COMMITS);
    println!("a decision's commit, empty store: {} us, sealed {} us", micros(without), micros(with));
    drop(store);

    let mut store = Store::open(&full.join("jit.db")).unwrap();
    let key = seal(&mut store);
    let begun = Stopwatch::start();
    while store.head().seq < count {
        let drafts = (0..1000.min(count - store.head().seq)).map(|n| draft(store.head().seq + n)).collect();
        let commit = Commit { durable: true, drafts, ..Commit::default() };
        store.commit(vec![commit], KEPT).unwrap().key.unwrap();
    }
    println!("{} records were written in {:.1} s", store.head().seq, begun.elapsed().as_secs_f64());

    let path = full.join("jit.db");
    let lines = full.join("lines");
    let export = full.join("export");
    let bytes = write_out(&path, &lines, &export);
    let sum = best(|| {
        let sum = Command::new("sha256sum").arg(&lines).stdout(Stdio::null()).status().unwrap();
        assert!(sum.success());
    });
    println!("sha256sum of their {} MB: {:.2} s", bytes / 1_000_000, sum.as_secs_f64());
    let reader = Reader::open(&path).unwrap();
    let tell = |what: &str, took: Duration| {
        let ratio = took.as_secs_f64() / sum.as_secs_f64();
        println!("{what}: {:.2} s, {ratio:.2} times sha256sum", took.as_secs_f64());
    };
    tell("the chain, in the store", best(|| drop(reader.verify(Some(store.head())).unwrap().unwrap())));
    tell("the chain, in an export", best(|| walk(&export, Vec::new(), count)));
    tell("chain and seals, in an export", best(|| walk(&export, vec![key.clone()], count)));
    decide(&mut store, 3 * COMMITS);
    let later = decide(&mut store, COMMITS);
    let ratio = later.as_secs_f64() / with.as_secs_f64();
    println!(
        "a decision's commit, {count} records: {} us sealed, {ratio:.2} times the empty store",
        micros(later)
    );
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}

/// The median of so many durable commits of one record.
fn decide(store: &mut Store, commits: usize) -> Duration {
    let mut took: Vec<Duration> = (0..commits)
        .map(|_| {
            let drafts = vec![draft(store.head().seq)];
            let begun = Stopwatch::start();
            let commit = Commit { durable: true, drafts, ..Commit::default() };
            store.commit(vec![commit], KEPT).unwrap().key.unwrap();
            begun.elapsed()
        })
        .collect();
    took.sort();
    took[commits / 2]
}

fn seal(store: &mut Store) -> FirstKey {
    let key = SealKey::taking(&mut [7; 32]);
    let said = Facts { seal_key: Some(key.id()), ..Facts::default() };
    let drafts = vec![Draft { event: Event::AuditSealed, facts: said, ..draft(0) }];
    let commit = Commit { durable: true, drafts, seal: Some(key.clone()), ..Commit::default() };
    store.commit(vec![commit], KEPT).unwrap().key.unwrap();
    FirstKey { first: store.seal_first(), key }
}

/// As long as a call of sudo makes it.
fn draft(n: u64) -> Draft {
    let facts = Facts {
        outcome: Some("allowed".into()),
        user: Some(format!("user{}", n % 97)),
        uid: Some(1000),
        loginuid: Some(1000),
        audit_session: Some(4711),
        approvers: Some(vec!["bob".into()]),
        role: Some("web-admin".into()),
        grant: Some(n % 1000),
        session: Some(n),
        service: Some("sudo".into()),
        tty: Some("/dev/pts/3".into()),
        pid: Some(4711),
        argv: Some(["sudo", "systemctl", "restart", "nginx.service"].map(str::to_owned).to_vec()),
        reason: Some("INC-42: nginx is down".into()),
        ticket: Some("INC-42".into()),
        until: Some("2026-11-25T10:30:00.000000Z".into()),
        ..Facts::default()
    };
    let wall = WallTime(1_795_328_475_854_724 + n);
    let boot_id = BootId("0f2c7dcb-5f0a-4f2f-9d3e-0c6b1a1f7a11".into());
    Draft { event: Event::AccessAllowed, wall, boot: BootTime(n), boot_id, facts }
}

/// Writes the lines that are hashed, and an export; returns how many bytes the lines have.
fn write_out(store: &Path, lines: &Path, export: &Path) -> u64 {
    let reader = Reader::open(store).unwrap();
    let [mut plain, mut whole] = [lines, export].map(|path| BufWriter::new(File::create(path).unwrap()));
    let (mut next, mut bytes) = (1, 0);
    loop {
        let page = reader.records(next, 1000).unwrap();
        let Some(last) = page.last() else { break };
        next = last.seq + 1;
        for Sealed { seq, hash, seal, line } in &page {
            bytes += line.len() as u64;
            plain.write_all(line.as_bytes()).unwrap();
            let seal = seal.as_ref().map_or(String::new(), |seal| format!(",\"seal\":\"{seal}\""));
            writeln!(whole, "{{\"seq\":{seq},\"hash\":\"{hash}\"{seal},\"record\":{line}}}").unwrap();
        }
    }
    plain.flush().unwrap();
    whole.flush().unwrap();
    bytes
}

fn walk(export: &Path, keys: Vec<FirstKey>, count: u64) {
    let mut verifier = Verifier::default().with_keys(keys);
    let mut file = BufReader::with_capacity(1 << 16, File::open(export).unwrap());
    let mut line = String::new();
    while file.read_line(&mut line).unwrap() > 0 {
        let Line::Record(record) = read(&line) else { panic!("{line}") };
        verifier.feed(record.as_stored()).unwrap();
        line.clear();
    }
    assert_eq!(verifier.finish(None).unwrap().head.seq, count);
}

fn best(mut what: impl FnMut()) -> Duration {
    let mut run = || {
        let begun = Stopwatch::start();
        what();
        begun.elapsed()
    };
    [run(), run(), run()].into_iter().min().unwrap_or_default()
}

fn micros(time: Duration) -> u128 {
    time.as_micros()
}
