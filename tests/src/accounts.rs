//! Accounts without a window, for benchmarks in which every denial has to be recorded: many denials of one account are
//! only counted.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::Host;

const FIRST: u32 = 20_000;

/// Adds this many accounts; returns the first uid, the others follow.
///
/// # Errors
/// When they cannot be added.
pub fn add(host: &Host, count: u32) -> Result<u32> {
    let mut lines = String::new();
    for uid in FIRST..FIRST + count {
        writeln!(lines, "u{uid}:x:{uid}:65534::/nonexistent:/bin/sh")?;
    }
    let add = [
        "sh",
        "-c",
        "cat >>/etc/passwd && sed 's/:.*/:*:1::::::/' /etc/passwd | tail -n \"$0\" >>/etc/shadow",
    ];
    host.root_with(&[&add[..], &[&count.to_string()]].concat(), lines.as_bytes(), Duration::from_secs(30))?
        .ok()?;
    Ok(FIRST)
}

/// How many records the audit log of a host holds.
///
/// # Errors
/// When that cannot be read.
pub fn records(host: &Host) -> Result<u64> {
    let counted = host.root(&["sqlite3", "/var/lib/jitd/jit.db", "SELECT max(seq) FROM records"])?;
    counted.ok()?.line().parse().context("a number of records")
}
