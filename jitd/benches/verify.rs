//! Measures the cost of a long audit log: verification, beside `sha256sum` of the same bytes, and decisions with the
//! log in the store.
//!
//! `verify [RECORDS]`, by default a million.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
#![allow(clippy::print_stdout, reason = "what it is for")]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jit_proto::audit::chain::{Sealed, Verifier};
use jit_proto::audit::copies::{Line, read};
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{FirstKey, SealKey};
use jit_proto::time::{BootId, BootTime, WallTime};
use jitd::core::effect::{Commit, Durability};
use jitd::host::clock::Stopwatch;
use jitd::store::{CommitMeta, Reader, Sent, Store};

const KEPT: CommitMeta = CommitMeta { highest_wall: WallTime(1), next_session: 1, sent: Sent::NOTHING };
const COMMITS: usize = 500;
const ROUNDS: usize = 3;

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000_000_u64);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [mut plain, mut sealed, mut full] = ["plain", "sealed", "full"].map(|name| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Store::open(&folder.join("jit.db")).unwrap()
    });
    seal(&mut sealed);
    let key = seal(&mut full);
    let begun = Stopwatch::start();
    while full.head().seq < count {
        let drafts = (0..1000.min(count - full.head().seq)).map(|n| draft(full.head().seq + n)).collect();
        let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
        full.commit(vec![commit], KEPT).unwrap().key.unwrap();
    }
    println!("{} records were written in {:.1} s", full.head().seq, begun.elapsed().as_secs_f64());
    verifying(&full, key, count);
    deciding([&mut plain, &mut sealed, &mut full], count);
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("most memory: {}", memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}

/// The walks and `sha256sum`, in turns.
fn verifying(full: &Store, key: FirstKey, count: u64) {
    let folder = full.path().parent().unwrap();
    let (lines, export) = (folder.join("lines"), folder.join("export"));
    let bytes = write_out(full.path(), &lines, &export);
    let reader = Reader::open(full.path()).unwrap();
    let sum = || {
        let sum = Command::new("sha256sum").arg(&lines).stdout(Stdio::null()).status().unwrap();
        assert!(sum.success());
    };
    let in_store = || drop(reader.verify(Some(full.head())).unwrap().unwrap());
    let in_export = || walk(&export, Vec::new(), count);
    let with_seals = || walk(&export, vec![key.clone()], count);
    let what: [(&str, &dyn Fn()); 4] = [
        ("sha256sum of the lines", &sum),
        ("the chain, in the store", &in_store),
        ("the chain, in an export", &in_export),
        ("chain and seals, in an export", &with_seals),
    ];
    let mut best = [(Duration::MAX, Duration::MAX); 4];
    for _ in 0..ROUNDS {
        for ((_, what), best) in what.iter().zip(&mut best) {
            let (begun, spent) = (Stopwatch::start(), processor_time());
            what();
            *best = (best.0.min(begun.elapsed()), best.1.min(processor_time() - spent));
        }
    }
    println!(
        "{count} records, {} MB of lines; the best of {ROUNDS} turns, and processor time:",
        bytes / 1_000_000
    );
    for ((name, _), (wall, spent)) in what.iter().zip(&best) {
        let [ratio, of_spent] =
            [wall.as_secs_f64() / best[0].0.as_secs_f64(), spent.as_secs_f64() / best[0].1.as_secs_f64()];
        let (wall, spent) = (wall.as_secs_f64(), spent.as_secs_f64());
        println!(
            "  {name:<30} {wall:5.2} s  {ratio:4.2} times sha256sum   {spent:5.2} s  {of_spent:4.2} times"
        );
    }
}

/// Durable commits of one record in turns: without a seal, with one, and with all the records in the store.
fn deciding(stores: [&mut Store; 3], count: u64) {
    let mut took = [const { Vec::new() }; 3];
    let mut stores = stores.into_iter().collect::<Vec<_>>();
    // Until each journal has been written once from end to end: syncing a growing file is slower.
    for turn in 0..3 * COMMITS {
        for (store, took) in stores.iter_mut().zip(&mut took) {
            let drafts = vec![draft(store.head().seq)];
            let begun = Stopwatch::start();
            let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
            store.commit(vec![commit], KEPT).unwrap().key.unwrap();
            if turn >= 2 * COMMITS {
                took.push(begun.elapsed());
            }
        }
    }
    let [plain, sealed, full] = took.map(|mut took| {
        took.sort();
        took[COMMITS / 2].as_secs_f64() * 1e6
    });
    println!("a decision's commit, the median of {COMMITS}, in turns:");
    println!("  an empty store                 {plain:5.0} us");
    println!("  sealed                         {sealed:5.0} us  {:4.2} times", sealed / plain);
    println!("  sealed, with {count} records {full:5.0} us  {:4.2} times that with few", full / sealed);
}

/// Processor time of this process and of the children it has waited for.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // utime, stime, cutime and cstime in clock ticks, a hundredth of a second each (proc_pid_stat(5)).
    let (_, behind_name) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = behind_name.split(' ').skip(11).take(4).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn seal(store: &mut Store) -> FirstKey {
    let key = SealKey::taking(&mut [7; 32]);
    let said = Facts { seal_key: Some(key.id()), ..Facts::default() };
    let drafts = vec![Draft { event: AuditEvent::AuditSealed, facts: said, ..draft(0) }];
    let commit =
        Commit { durability: Durability::AtOnce, drafts, seal: Some(key.clone()), ..Commit::default() };
    store.commit(vec![commit], KEPT).unwrap().key.unwrap();
    FirstKey { first: store.seal_first(), key }
}

/// A record as long as that of a sudo call.
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
    Draft { event: AuditEvent::AccessAllowed, wall, boot: BootTime(n), boot_id, facts }
}

/// Writes the hashed lines, and an export; returns the number of bytes of the lines.
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
