//! Whether a million records slow the gate down: its answers with such a store beside those with an empty one, on a booted
//! Debian 13 host. `cargo build --release -p jitd --example million` first, then
//! `cargo run --release -p jit_tests --bin full_store [-- ROUNDS]`.
//!
//! In each round the daemon is started with one store and then with the other, in turns first, and one caller is refused
//! again and again: connect, decide, commit, answer. What is told is the median of the ratios within the rounds, so that
//! what slows the machine down for a while slows both down. Both stores are in memory: what a disk takes to sync varies by
//! more than what is looked for, and the example measures it. Their indexes are made, and syslog has been handed all of
//! them, before the first round: a host that has been there for years has neither to do.
#![allow(clippy::print_stdout, reason = "a measurement is there to be read")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::Host;
use jit_tests::people::{MALLORY, uid};
use jit_tests::places;
use jit_tests::plan::{Plan, Release};

const RECORDS: u64 = 1_000_000;
/// Of each measurement, behind one of a second that nobody looks at.
const SECONDS: u64 = 2;

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(16), |word| word.parse())?;
    let host = Host::boot(&Plan::new(Release::Trixie).named("full"))?;
    host.install("stopwatch")?;
    let million = fs::read(places::program("examples/million")?)?;
    let put = ["sh", "-c", "cat >/usr/local/bin/million; chmod 755 /usr/local/bin/million"];
    host.root_with(&put, &million, Duration::from_secs(60))?.ok()?;
    host.root_sh(
        "set -e; systemctl stop jitd.service; mkdir -m 700 /run/stores; cp -a /var/lib/jitd /run/stores/empty; \
         cp -a /var/lib/jitd /run/stores/full",
    )?
    .ok()?;
    let records = RECORDS.to_string();
    let fill = ["million", "--fill", "/run/stores/full/jit.db", &records];
    host.root_with(&fill, b"", Duration::from_secs(300))?.ok()?;
    host.root(&["sqlite3", "/run/stores/full/jit.db", "UPDATE state SET sent = head_seq"])?.ok()?;
    for store in STORES {
        begin_with(&host, store)?;
    }
    let mut ratios = Vec::new();
    let mut rates: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let mut rate = [0, 0];
        for store in [round % 2, (round + 1) % 2] {
            begin_with(&host, STORES[store])?;
            refusals(&host, 1)?;
            rate[store] = refusals(&host, SECONDS)?;
            rates[store].push(rate[store]);
        }
        ratios.push(rate[0] as f64 / rate[1] as f64);
    }
    println!(
        "decisions a second in each round: {:?} with an empty store, {:?} with a full one",
        rates[0], rates[1]
    );
    ratios.sort_unstable_by(f64::total_cmp);
    let longer = |part: usize| (ratios[ratios.len() * part / 4] - 1.0) * 100.0;
    let [empty, full] = rates.map(|mut rates| {
        rates.sort_unstable();
        1e6 / rates[rates.len() / 2] as f64
    });
    println!("an answer takes {empty:.0} us with an empty store, {full:.0} us with {RECORDS} records");
    println!(
        "within a round {:+.1} % (median of {rounds} rounds; half of them between {:+.1} and {:+.1} %)",
        longer(2),
        longer(1),
        longer(3)
    );
    Ok(())
}

const STORES: [&str; 2] = ["empty", "full"];

/// Starts the daemon with a store, and waits until its index is up to date.
fn begin_with(host: &Host, store: &str) -> Result<()> {
    let swap = format!(
        "systemctl stop jitd.service; if mountpoint -q /var/lib/jitd; then umount /var/lib/jitd; fi; \
         mount --bind /run/stores/{store} /var/lib/jitd && systemctl start jitd.service"
    );
    let in_the_hosts_own_mounts = ["systemd-run", "--quiet", "--wait", "bash", "-c", &swap];
    host.root_with(&in_the_hosts_own_mounts, b"", Duration::from_secs(120))?.ok()?;
    let reached = format!(
        "test $(sqlite3 /run/stores/{store}/search.db 'SELECT seq FROM reached') -ge \
         $(sqlite3 /run/stores/{store}/jit.db 'SELECT max(seq) FROM records')"
    );
    wait_until(
        "the index is up to date",
        Duration::from_secs(120),
        || Ok(host.root_sh(&reached)?.status == 0),
    )
}

/// How many calls a second were answered.
fn refusals(host: &Host, seconds: u64) -> Result<u64> {
    let mut command = host.command()?;
    let person = format!("--ruid={}", uid(MALLORY));
    command.args(["setpriv", &person, "/usr/local/bin/stopwatch", "refused", &seconds.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?);
    stdout.read_line(&mut String::new())?;
    child.stdin.take().context("a pipe")?.write_all(b"go\n")?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    ensure!(child.wait()?.success(), "the caller failed: {line:?}");
    let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
    let [went_well, 0, _] = numbers[..] else { bail!("the caller said {line:?}") };
    Ok(went_well / seconds)
}
