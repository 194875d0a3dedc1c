//! Measures whether a million records slow the gate down: its answers with such a store beside those with an empty one,
//! on a booted Debian 13 host. `cargo build --release -p jitd --example million` first, then `cargo run --release -p
//! jit_tests --bin full_store [-- ROUNDS]`.
//!
//! Two hosts run side by side, one with each store. In each round one caller is denied again and again on one for a
//! moment and then on the other, in alternating order: connect, decide, commit, answer. Each round calls as other
//! accounts than the one before, so that every denial is recorded. The result is the median of the ratios within the
//! rounds, so that a slowdown of the machine affects both. Both stores are in memory: the time of a disk's sync varies
//! by more than the expected difference, and the example measures it. Before the first round the full one's index is
//! made, and syslog has all its records, as on a host that has run for years.
#![allow(clippy::print_stdout, reason = "a measurement is there to be read")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::accounts;
use jit_tests::clock::wait_until;
use jit_tests::host::Host;
use jit_tests::paths;
use jit_tests::plan::{Plan, Release};

const RECORDS: u64 = 1_000_000;
/// Seconds: short compared with a slowdown of the machine.
const MOMENT: &str = "0.15";
/// Pairs of starts.
const STARTS: usize = 15;
/// Accounts per round.
const DENIED: u32 = 3;

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(300), |word| word.parse())?;
    let accounts = DENIED * u32::try_from(rounds + 1)?;
    let ((empty, first), (full, _)) = (with_records(0, accounts)?, with_records(RECORDS, accounts)?);
    let before = accounts::records(&empty)?;
    let mut ratios = Vec::new();
    let mut rates: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        let mut rate = [0, 0];
        for store in [round % 2, (round + 1) % 2] {
            rate[store] = denials([&empty, &full][store], first + DENIED * round as u32)?;
        }
        if round > 0 {
            ratios.push(rate[0] as f64 / rate[1] as f64);
            (0..2).for_each(|store| rates[store].push(rate[store]));
        }
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let longer = |part: usize| (ratios[ratios.len() * part / 4] - 1.0) * 100.0;
    let written: u64 = rates[0].iter().sum();
    let recorded = accounts::records(&empty)? - before;
    ensure!(recorded >= written, "{written} denials, and only {recorded} records");
    let [with_none, with_all] = rates.map(|mut rates| {
        rates.sort_unstable();
        rates[rates.len() / 2] as f64
    });
    println!("answers in {MOMENT} s: {with_none} with an empty store, {with_all} with {RECORDS} records");
    println!(
        "within a round {:+.1} % (median of {rounds} rounds; half of them between {:+.1} and {:+.1} %)",
        longer(2),
        longer(1),
        longer(3)
    );
    println!("the empty store got {recorded} records meanwhile");
    starts(&empty, &full)
}

/// The time from each daemon's start until it is ready, and its memory then; in turns, with one warm-up.
fn starts(empty: &Host, full: &Host) -> Result<()> {
    let (mut ratios, mut seen) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..=STARTS {
        let mut took = [0.0; 2];
        for store in [round % 2, (round + 1) % 2] {
            let started = start([empty, full][store])?;
            took[store] = started.0;
            if round > 0 {
                seen[store].push(started);
            }
        }
        if round > 0 {
            ratios.push(took[1] / took[0]);
        }
    }
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_unstable_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    for (store, name) in [(0, "an empty store"), (1, "a million records")] {
        let of = |part: fn(&(f64, f64)) -> f64| median(seen[store].iter().map(part).collect());
        println!("start to ready with {name}: {:.0} ms, then {:.0} kB", of(|it| it.0), of(|it| it.1));
    }
    println!("with a million records {:.2} times as long (median of {STARTS} pairs)", median(ratios));
    Ok(())
}

/// Milliseconds until PID 1 gets jitd's readiness, and its private memory then, in kB.
fn start(host: &Host) -> Result<(f64, f64)> {
    // PID 1 would take this many starts for a failing daemon.
    let script = "systemctl stop jitd.service && systemctl reset-failed jitd.service; before=$(date +%s%N); \
        systemctl start jitd.service && after=$(date +%s%N) && \
        awk -v t=$((after - before)) '/^RssAnon/ { print t / 1e6, $2 }' /proc/$(systemctl show --value -p MainPID jitd.service)/status";
    let output = host.root_with(&["bash", "-c", script], b"", Duration::from_secs(60))?;
    let numbers: Vec<f64> = output.ok()?.line().split_whitespace().flat_map(str::parse).collect();
    let [took, memory] = numbers[..] else { bail!("the host said {output:?}") };
    Ok((took, memory))
}

/// A host with a store in memory with this many records, all indexed and sent to syslog, and the first uid of its
/// accounts without a window.
fn with_records(records: u64, denied: u32) -> Result<(Host, u32)> {
    let host = Host::boot(&Plan::new(Release::Trixie))?;
    host.install("stopwatch")?;
    let first = accounts::add(&host, denied)?;
    host.root_sh(
        "set -e; systemctl stop jitd.service; cp -a /var/lib/jitd /run/store; \
         systemd-run --quiet --wait mount -t tmpfs -o mode=0700 store /var/lib/jitd",
    )?
    .ok()?;
    if records > 0 {
        let million = fs::read(paths::program("examples/million")?)?;
        let put = ["sh", "-c", "cat >/usr/local/bin/million; chmod 755 /usr/local/bin/million"];
        host.root_with(&put, &million, Duration::from_secs(60))?.ok()?;
        let fill = ["million", "--fill", "/run/store/jit.db", &records.to_string()];
        host.root_with(&fill, b"", Duration::from_secs(300))?.ok()?;
        host.root(&["sqlite3", "/run/store/jit.db", "UPDATE state SET sent = head_seq"])?.ok()?;
    }
    let begin = "mv /run/store/* /var/lib/jitd/ && systemctl start jitd.service";
    host.root_with(
        &["systemd-run", "--quiet", "--wait", "bash", "-c", begin],
        b"",
        Duration::from_secs(120),
    )?
    .ok()?;
    let reached = "test $(sqlite3 /var/lib/jitd/search.db 'SELECT seq FROM reached') -ge $(sqlite3 /var/lib/jitd/jit.db 'SELECT max(seq) FROM records')";
    wait_until("the index is up to date", Duration::from_secs(120), || {
        Ok(host.root_sh(reached)?.status == 0)
    })?;
    Ok((host, first))
}

/// The number of answered calls in a moment.
fn denials(host: &Host, first: u32) -> Result<u64> {
    let mut command = host.command()?;
    command.args(["/usr/local/bin/stopwatch", "denied", MOMENT, &first.to_string(), &DENIED.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?);
    stdout.read_line(&mut String::new())?;
    child.stdin.take().context("a pipe")?.write_all(b"go\n")?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    ensure!(child.wait()?.success(), "the caller failed: {line:?}");
    let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
    let [went_well, 0, _] = numbers[..] else { bail!("the caller said {line:?}") };
    Ok(went_well)
}
