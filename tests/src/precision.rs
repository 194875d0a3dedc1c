//! The delay of the first signals when many windows close within one second.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::clock::{wait_until, wall_micros};
use crate::host::Host;

const LIMIT: Duration = Duration::from_secs(120);

/// Creates this many people, each with a grant and a session of a root process under it, whose windows close within one
/// second. Returns the milliseconds from each deadline to the session's first signal, sorted.
///
/// # Errors
/// When the host does not do so, or a session has no record.
pub fn measure(host: &Host, people: usize) -> Result<Vec<u64>> {
    // Only the grants differ in their ends, so everything else is done before.
    host.root_sh(&format!(
        "for n in $(seq {people}); do useradd --no-create-home --groups webops p$n; done; \
         echo '%webops ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-people"
    ))?
    .ok()?;
    let spare = 12 + people as u64 / 8;
    let end = wall_micros() + spare * 1_000_000;
    // Ends spread evenly over one second; jitctl takes spans of milliseconds.
    let script = format!(
        "for n in $(seq {people}); do \
            left=$(( ({end} + n * 1000000 / {people} - $(date +%s%6N)) / 1000 )); \
            jitctl grant p$n ops --for ${{left}}ms --reason 'many windows close at once' || exit 1; \
            systemd-run --quiet --uid=p$n sudo -n sleep 1000 || exit 1; \
         done"
    );
    host.root_with(&["bash", "-c", &script], b"", LIMIT)?.ok()?;
    wait_until("every session is open", LIMIT, || {
        Ok(host.jitctl(&["sessions"])?.as_array().is_some_and(|sessions| sessions.len() >= people))
    })?;
    ensure!(wall_micros() < end, "this machine is too slow for {people} windows in {spare} s");
    host.no_session_left(LIMIT)?;
    let ended: Vec<Value> = host
        .records()?
        .into_iter()
        .filter(|record| record["event"] == "session.ended" && record["ended_by"] == "expired")
        .collect();
    ensure!(ended.len() == people, "{} of {people} sessions ended by their deadline", ended.len());
    ensure!(ended.iter().all(|record| record["left"] == 0), "something is left");
    let mut late = ended
        .iter()
        .map(|record| record["first_signal_ms"].as_u64().with_context(|| format!("no signal: {record}")))
        .collect::<Result<Vec<u64>>>()?;
    late.sort_unstable();
    Ok(late)
}
