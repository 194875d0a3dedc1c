//! Measures a report over most of a long audit log, beside the export of the same period, on a booted Debian 13 host:
//! 300,000 records without the beginning of any grant. `cargo build --release -p jitd --example million` first, then
//! `cargo run --release -p jit_tests --bin long_report [-- JITCTL...]`, with other builds of jitctl to compare.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement is there to be read, and reads a clock"
)]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use jit_tests::clock::wait_until;
use jit_tests::host::Host;
use jit_tests::paths;
use jit_tests::plan::{Plan, Release};

const RECORDS: u64 = 300_000;
/// The end of the period: before the host's own records of today, which come first; a period with record 1 has nothing
/// before it.
const PERIOD: &str = "--since 2026-01-02 --until 2026-11-01";
const LIMIT: Duration = Duration::from_secs(500);

fn main() -> Result<()> {
    let host = Host::boot(&Plan::new(Release::Trixie))?;
    host.root_sh("set -e; systemctl stop jitd.service; cp -a /var/lib/jitd /run/store")?.ok()?;
    put(&host, "million", &fs::read(paths::program("examples/million")?)?)?;
    host.root_with(&["million", "--fill", "/run/store/jit.db", &RECORDS.to_string()], b"", LIMIT)?.ok()?;
    host.root(&["sqlite3", "/run/store/jit.db", "UPDATE state SET sent = head_seq"])?.ok()?;
    let begin = "rm -rf /var/lib/jitd; mv /run/store /var/lib/jitd; systemctl start jitd.service";
    host.root_with(&["systemd-run", "--quiet", "--wait", "bash", "-c", begin], b"", LIMIT)?.ok()?;
    let reached = "test $(sqlite3 /var/lib/jitd/search.db 'SELECT seq FROM reached') -ge $(sqlite3 /var/lib/jitd/jit.db 'SELECT max(seq) FROM records')";
    wait_until("the index is up to date", LIMIT, || Ok(host.root_sh(reached)?.status == 0))?;
    let took = |what: &str, line: &str| {
        let begun = Instant::now();
        let ended = host.root_with(&["sh", "-c", &format!("timeout 480 {line} >/dev/null")], b"", LIMIT);
        let ended = ended.map_or_else(|why| why.to_string(), |output| format!("status {}", output.status));
        println!("{what}: {:.1} s, {ended}", begun.elapsed().as_secs_f64());
    };
    for _ in 0..3 {
        took("export", &format!("jitctl audit export {PERIOD}"));
        took("report", &format!("jitctl report {PERIOD}"));
    }
    for (n, path) in std::env::args().skip(1).enumerate() {
        let name = format!("jitctl-{n}");
        put(&host, &name, &fs::read(&path)?)?;
        took(&format!("report by {path}"), &format!("/usr/local/bin/{name} report {PERIOD}"));
    }
    Ok(())
}

/// Puts a program into the host.
fn put(host: &Host, name: &str, content: &[u8]) -> Result<()> {
    let line = format!("cat >/usr/local/bin/{name}; chmod 755 /usr/local/bin/{name}");
    host.root_with(&["sh", "-c", &line], content, LIMIT)?.ok().map(drop)
}
