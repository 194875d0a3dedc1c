//! Whether a million records slow the gate down: its answers with such a store beside those with an empty one, on a booted
//! Debian 13 host. `cargo build --release -p jitd --example million` first, then
//! `cargo run --release -p jit_tests --bin full_store [-- ROUNDS]`.
//!
//! In each round the daemon is started with one store and then with the other, in turns first, and one caller is refused
//! again and again for five seconds: connect, decide, commit, answer. What is compared are the medians of the rounds. Both
//! stores are in memory: what a disk takes to sync varies by more than what is looked for, and the example measures it.
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
const SECONDS: u64 = 5;

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(5), |word| word.parse())?;
    let host = Host::boot(&Plan::new(Release::Trixie).named("full"))?;
    host.install("stopwatch")?;
    let million = fs::read(places::program("examples/million")?)?;
    let put = ["sh", "-c", "cat >/usr/local/bin/million; chmod 755 /usr/local/bin/million"];
    host.root_with(&put, &million, Duration::from_secs(60))?.ok()?;
    host.root_sh(
        "set -e; systemctl stop jitd 2>/dev/null; mkdir /run/stores; cp -a /var/lib/jitd /run/stores/empty; \
         cp -a /var/lib/jitd /run/stores/full; \
         systemd-run --quiet --wait mount -t tmpfs -o mode=0700 store /var/lib/jitd",
    )?
    .ok()?;
    let records = RECORDS.to_string();
    let fill = ["million", "--fill", "/run/stores/full/jit.db", &records];
    host.root_with(&fill, b"", Duration::from_secs(300))?.ok()?;
    let mut rates: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for store in [round % 2, (round + 1) % 2] {
            begin_with(&host, ["empty", "full"][store])?;
            rates[store].push(refusals(&host)?);
        }
    }
    println!(
        "decisions a second in each round: {:?} with an empty store, {:?} with a full one",
        rates[0], rates[1]
    );
    let [empty, full] = rates.map(|mut rates| {
        rates.sort_unstable();
        rates[rates.len() / 2]
    });
    let longer = (empty as f64 / full as f64 - 1.0) * 100.0;
    println!("decisions a second, one caller: {empty} with an empty store, {full} with {RECORDS} records");
    println!("an answer takes {:.0} us and {:.0} us: {longer:+.1} %", 1e6 / empty as f64, 1e6 / full as f64);
    Ok(())
}

/// Starts the daemon with a store, and waits until its index is up to date.
fn begin_with(host: &Host, store: &str) -> Result<()> {
    let swap = format!(
        "systemctl stop jitd; rm -rf /var/lib/jitd/*; cp -a /run/stores/{store}/. /var/lib/jitd; systemctl start jitd"
    );
    host.root_with(&["bash", "-c", &swap], b"", Duration::from_secs(120))?.ok()?;
    let reached = "test $(sqlite3 /var/lib/jitd/search.db 'SELECT seq FROM reached') -ge $(sqlite3 /var/lib/jitd/jit.db 'SELECT max(seq) FROM records')";
    wait_until("the index is up to date", Duration::from_secs(120), || Ok(host.root_sh(reached)?.status == 0))
}

/// How many calls a second were answered.
fn refusals(host: &Host) -> Result<u64> {
    let mut command = host.command()?;
    let person = format!("--ruid={}", uid(MALLORY));
    command.args(["setpriv", &person, "/usr/local/bin/stopwatch", "refused", &SECONDS.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?);
    stdout.read_line(&mut String::new())?;
    child.stdin.take().context("a pipe")?.write_all(b"go\n")?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    ensure!(child.wait()?.success(), "the caller failed: {line:?}");
    let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
    let [went_well, 0, _] = numbers[..] else { bail!("the caller said {line:?}") };
    Ok(went_well / SECONDS)
}
