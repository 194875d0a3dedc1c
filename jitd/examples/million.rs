//! Fills a store with a million records and measures committing and searching:
//! `cargo run --release -p jitd --example million [-- RECORDS]`. With `--fill FILE RECORDS` it leaves a filled store for
//! `full_store`, which measures the gate's answers on a booted host.
//!
//! The store, the chain and the index are the daemon's own. The records are those of sudo calls of 40 people over a
//! year, 25 bytes of reason and five words of command each. Times are medians.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement is there to be read, and reads a clock"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that fails may stop")]

use std::time::{Duration, Instant};

use jit_proto::audit::chain::Head;
use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{SealKey, Sealer};
use jit_proto::time::{BootId, BootTime, WallTime};
use jitd::core::effect::{Commit, Durability};
use jitd::core::retention::{Pruned, Retention};
use jitd::retention::{batch, segment};
use jitd::store::wal::checkpoint_if_long;
use jitd::store::{CommitMeta, Index, Reader, Sent, Store, catch_up};

/// 2026-01-01 in UTC.
const BEGIN: u64 = 1_767_225_600_000_000;
const DAY: u64 = 86_400_000_000;
const YEAR: u64 = 365 * DAY;
const PEOPLE: u64 = 40;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |word: &String| word.parse::<u64>().expect("a number of records");
    if let [fill, path, records] = words.as_slice()
        && fill == "--fill"
    {
        let mut store = Store::open(std::path::Path::new(path)).unwrap();
        return fill_with(&mut store, number(records));
    }
    let records = words.first().map_or(1_000_000, number);
    let folder = tempfile::tempdir_in(".").expect("a folder on the disk that is to be measured");
    let path = folder.path().join("jit.db");
    let mut store = Store::open(&path).unwrap();

    println!(
        "commit, one decision each, durable, store empty:      {:?}",
        commits(&mut store, records, 2000)
    );
    let begun = Instant::now();
    fill_with(&mut store, records);
    let size = std::fs::metadata(&path).unwrap().len() / 1_000_000;
    println!("{records} records written in {:?}, {size} MB", begun.elapsed());
    println!(
        "commit, one decision each, durable, {records} records: {:?}",
        commits(&mut store, records, 2000)
    );

    let begun = Instant::now();
    catch_up(&path).unwrap();
    let size = std::fs::metadata(folder.path().join("search.db")).unwrap().len() / 1_000_000;
    println!("index made from nothing in {:?}, {size} MB", begun.elapsed());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                catch_up(&path).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        println!(
            "commit, the same, index kept up to date beside it:    {:?}",
            commits(&mut store, records, 2000)
        );
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });

    let day = |n: u64| (Some(BEGIN + n * DAY), Some(BEGIN + (n + 1) * DAY));
    let of = |user: u64, since, until| Filter { user: Some(name(user)), since, until, ..Filter::default() };
    search(&path, "user and day", |n| {
        let (since, until) = day(n * 17 % 365);
        of(n % PEOPLE, since, until)
    });
    search(&path, "user, the first page of everything", |n| of(n % PEOPLE, None, None));
    search(&path, "user and year, whoever is not there", |n| of(PEOPLE + n, Some(BEGIN), Some(BEGIN + YEAR)));
    search(&path, "event and day", |n| {
        let (since, until) = day(n * 17 % 365);
        Filter { event: Some("access.denied".into()), since, until, ..Filter::default() }
    });
    search(&path, "grant", |n| Filter { grant: Some(n * 100), ..Filter::default() });
    search(&path, "text, user and day", |n| {
        let (since, until) = day(n * 17 % 365);
        Filter { text: Some("nginx".into()), ..of(n % PEOPLE, since, until) }
    });
    let begun = Instant::now();
    let nothing = Filter { text: Some("not to be found".into()), ..Filter::default() };
    Index::open(&path).unwrap().search(&nothing, 1, 1000).unwrap();
    println!("search, text in every record, found nowhere:          {:?}", begun.elapsed());

    let begun = Instant::now();
    let (since, until) = day(364);
    let last_day = Filter { since, until, ..Filter::default() };
    let found = Reader::open(&path).unwrap().walk(&last_day, 1, u64::MAX).unwrap().len();
    println!("walk, the last day without the index, {found} found:    {:?}", begun.elapsed());

    let begun = Instant::now();
    let whole = Reader::open(&path).unwrap().verify(Some(store.head())).unwrap();
    whole.unwrap();
    println!("verify, the chain alone:                              {:?}", begun.elapsed());
    remove(&mut store, records);
    let begun = Instant::now();
    Sealer::beginning(1, SealKey::taking(&mut [7; 32])).forward_to(records).unwrap();
    println!("a seal's first key, moved on by {records} records:     {:?}", begun.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}

fn fill_with(store: &mut Store, records: u64) {
    let mut next = store.head().seq;
    while next < records {
        let drafts: Vec<Draft> = (next..(next + 4096).min(records)).map(|n| draft(n, records)).collect();
        next += drafts.len() as u64;
        commit(store, drafts, false);
    }
}

/// Prunes the first records as the daemon does, into an archive beside the store, with a decision between two
/// transactions that remove records: measures how long that decision waits, and takes.
fn remove(store: &mut Store, records: u64) {
    let reader = Reader::open(store.path()).unwrap();
    let archive = Some(store.path().with_file_name("archive"));
    let settings = Retention { age: Some(Duration::from_secs(30 * 24 * 3600)), size: None, archive };
    let begun = Instant::now();
    let batch =
        batch(&reader, &settings, &Head::default(), records, WallTime(BEGIN + YEAR)).unwrap().unwrap();
    let segment = segment::collect(&reader, &batch, &settings, &Head::default()).unwrap().unwrap();
    println!("archive, {} records: {:?}", segment.to, begun.elapsed());
    let to = Head { seq: segment.to, hash: segment.hash };
    let prune = Some(Pruned { to, newest: segment.newest });
    let drafts = vec![draft(0, records)];
    let begun = Instant::now();
    let commit_of_it = Commit { durability: Durability::AtOnce, drafts, prune, ..Commit::default() };
    let kept = CommitMeta { highest_wall: WallTime(0), next_session: 1, sent: Sent::NOTHING };
    store.commit(vec![commit_of_it], kept).unwrap();
    println!("the record that says so, with the first of them:      {:?}", begun.elapsed());
    let (mut waits, mut meanwhile) = (Vec::new(), Vec::new());
    loop {
        let begun = Instant::now();
        let more = store.prune().unwrap();
        waits.push(begun.elapsed());
        if waits.len() % 32 == 0 {
            checkpoint_if_long(store.path()).unwrap();
        }
        let made = draft(store.head().seq % records, records);
        let begun = Instant::now();
        commit(store, vec![made], true);
        meanwhile.push(begun.elapsed());
        if !more {
            break;
        }
    }
    let most = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let (longest, times) = (most(&waits), waits.len());
    println!(
        "taking some away, {times} times:                       {:?}, at most {longest:?}",
        median(waits)
    );
    let longest = most(&meanwhile);
    println!(
        "commit, the same, between these:                      {:?}, at most {longest:?}",
        median(meanwhile)
    );
}

fn name(user: u64) -> String {
    format!("person{user:02}")
}

fn draft(n: u64, records: u64) -> Draft {
    let event = match n % 4 {
        0 => AuditEvent::AccessAllowed,
        1 => AuditEvent::SessionOpened,
        2 => AuditEvent::SessionEnded,
        _ => AuditEvent::AccessDenied,
    };
    // Every fourth one belongs to another person, in an order that repeats late.
    let user = n / 4 * 2_654_435_761 % 1_000_003 % PEOPLE;
    let facts = Facts {
        outcome: Some("allowed".into()),
        user: Some(name(user)),
        uid: Some(2000 + user as u32),
        loginuid: Some(2000 + user as u32),
        audit_session: Some(n as u32),
        role: Some("web-admin".into()),
        grant: Some(n / 100),
        session: Some(n / 4),
        approvers: Some(vec![name((user + 1) % PEOPLE)]),
        service: Some("sudo".into()),
        run_as: Some("root".into()),
        tty: Some("/dev/pts/3".into()),
        pid: Some(n as u32),
        argv: Some(["sudo", "-n", "systemctl", "restart", "nginx"].map(str::to_owned).to_vec()),
        reason: Some("INC-42 the web tier is down".into()),
        ticket: Some("INC-42".into()),
        until: Some("2026-11-22T06:21:15.854724Z".into()),
        ..Facts::default()
    };
    let at = YEAR / records.max(1) * n;
    Draft {
        event,
        wall: WallTime(BEGIN + at),
        boot: BootTime(at),
        boot_id: BootId("6f2d4f0e-8c52-4a57-9f5e-0d9a4ad9a7c1".into()),
        facts,
    }
}

fn commit(store: &mut Store, drafts: Vec<Draft>, durable: bool) {
    let kept = CommitMeta { highest_wall: WallTime(0), next_session: 1, sent: Sent::NOTHING };
    let durability = if durable { Durability::AtOnce } else { Durability::WithTheNext };
    store.commit(vec![Commit { durability, drafts, ..Commit::default() }], kept).unwrap();
}

fn commits(store: &mut Store, records: u64, count: u64) -> Duration {
    let mut times = Vec::new();
    for _ in 0..count {
        let made = draft(store.head().seq % records, records);
        let begun = Instant::now();
        commit(store, vec![made], true);
        times.push(begun.elapsed());
    }
    median(times)
}

/// As the daemon does it: opens the index, updates it, searches; all pages.
fn search(path: &std::path::Path, what: &str, filter: impl Fn(u64) -> Filter) {
    let mut times = Vec::new();
    let mut found = 0;
    for n in 0..21 {
        let filter = filter(n);
        let begun = Instant::now();
        let mut index = Index::open(path).unwrap();
        index.catch_up().unwrap();
        found = index.search(&filter, 1, 1000).unwrap().len();
        times.push(begun.elapsed());
    }
    let most = times.iter().max().copied().unwrap_or_default();
    println!("search, {what}: {:?}, at most {most:?}; the last one found {found}", median(times));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
