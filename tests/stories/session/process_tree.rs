//! A process tree that resists is gone at the end; the audit log names what had left the cgroup.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::{GRACE, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::session::end::end_of;

const LIMIT: Duration = Duration::from_secs(60);
const TREE: &str = include_str!("../../host/tree.pl");

#[test]
fn a_hostile_tree_of_a_thousand_is_gone_at_the_deadline() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.write("/usr/local/lib/tree.pl", TREE)?;
            let mut dave = host.login(DAVE)?;
            let grant = host.grant(DAVE, "ops", "20s")?;
            let end = end_of(host, DAVE)?;
            let lifeline = host.lifeline("/var/tmp/line")?;
            dave.run("sudo -n perl /usr/local/lib/tree.pl 1000 hostile & true")?.ok()?;
            lifeline.taken(LIMIT)?;
            wait_until("one has left the cgroup", LIMIT, || Ok(host.has("/var/tmp/moved")))?;
            wait_until("the tree is in its scope", LIMIT, || {
                let inside = host.root_sh("cat /sys/fs/cgroup/jit.slice/jit-*.scope/cgroup.procs | wc -l")?;
                Ok(inside.line().parse::<u64>().unwrap_or(0) >= 1000)
            })?;
            ensure!(wall_micros() < end, "the machine is too slow for this story");
            let gone = lifeline.let_go(LIMIT)?;
            let late = Duration::from_micros(gone.saturating_sub(end));
            ensure!(late <= GRACE + Duration::from_secs(2), "gone {late:?} after the end");
            host.no_session_left(LIMIT)?;
            let record = host.record("session.ended", |record| record["grant"] == grant)?;
            let killed = record["killed"].as_u64().context("killed")?;
            ensure!(killed >= 1000 && record["left"] == 0, "{killed} killed, {} left", record["left"]);
            ensure!(record["escaped"].as_u64().unwrap_or(0) >= 1, "nobody escaped: {}", record["escaped"]);
            let first = record["processes"][0].as_str().unwrap_or_default();
            ensure!(first.contains("/evil") && first.contains("sleep 1001"), "named first: {first}");
            // The dead that PID 1 has not reaped yet do not count.
            let living = host.root_sh("ps -eo stat=,comm= | grep -v ^Z | grep -cE ' (perl|sleep)$'")?;
            ensure!(living.line() == "0", "still there: {}", living.text());
            Ok(())
        })?;
    }
    Ok(())
}

/// Two hundred windows that close within one second. How precise that is on a quiet machine `make bench` says.
#[test]
fn many_windows_that_close_at_once_all_close() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let late = jit_tests::precision::measure(host, 200)?;
        ensure!(late.last().is_some_and(|most| *most < 2000), "one waited for another: {late:?}");
        Ok(())
    })
}
