//! Grants that are extended, that overlap, and that announce their end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::play;
use jit_tests::people::{ALICE, BOB, DAVE, OSCAR};
use jit_tests::plan::{Plan, Release};

use crate::session::end::{end_of, open_shell};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_holder_asks_for_more_and_somebody_else_approves() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut alice = host.login(ALICE)?;
        let mut bob = host.login(BOB)?;
        let ask = "jitctl --json request ops --for 10m --reason 'I want to look around'";
        let id = alice.run(ask)?.json()?["id"].to_string();
        bob.run(&format!("jitctl approve {id}"))?.ok()?;
        let before = end_of(host, ALICE)?;

        let more = format!("jitctl --json extend {id} --for 20m --reason 'it takes longer than I thought'");
        let asked = alice.run(&more)?.json()?;
        ensure!(asked["extends"].as_u64() == id.parse().ok() && asked["state"] == "pending", "{asked}");
        alice.run(&more)?.exits(3)?.says("already")?;
        let request = asked["id"].to_string();
        ensure!(end_of(host, ALICE)? == before, "it is longer before anybody approved");
        alice.run(&format!("jitctl approve {request}"))?.exits(3)?;
        bob.run("jitctl pending")?.ok()?.says(&format!("20m more of grant {id}"))?;
        bob.run(&format!("jitctl approve {request}"))?.ok()?;
        // The end is kept on two clocks, which are read one after the other.
        let longer = end_of(host, ALICE)?.saturating_sub(before);
        ensure!(longer.abs_diff(20 * 60 * 1_000_000) < 1000, "not by what was asked for: {longer} us");
        let record = host.record("grant.extended", |record| record["grant"].as_u64() == id.parse().ok())?;
        ensure!(record["request"].as_u64() == request.parse().ok() && record["seconds"] == 1200, "{record}");
        ensure!(record["approvers"].to_string().contains("bob"), "{record}");

        // Never beyond what the role allows at once, never by somebody who is no party to it, never for oneself.
        let most = format!("jitctl extend {id} --for 2h --reason 'much longer than I thought'");
        host.login(OSCAR)?.run(&most)?.ok()?;
        let left = host.jitctl(&["grants"])?[0]["remaining_seconds"].as_u64().context("time left")?;
        ensure!((7190..=7200).contains(&left), "{left} s left; the role allows two hours");
        host.login(OSCAR)?.run(&most)?.exits(3)?.says("all that its role allows")?;
        host.login(DAVE)?.run(&most)?.exits(4)?;
        let own = host.grant(OSCAR, "ops", "10m")?;
        let asked = host.login(OSCAR)?.run(&format!(
            "jitctl --json extend {own} --for 5m --reason 'an operator asks like everybody else'"
        ))?;
        ensure!(asked.json()?["state"] == "pending", "an operator extended a grant of his own");

        // What is asked for a grant that ends is asked for nothing.
        host.root(&["jitctl", "revoke", "--all", "--reason", "a story"])?.ok()?;
        ensure!(host.jitctl(&["pending"])?.as_array().is_some_and(Vec::is_empty), "something is pending");
        alice.run(&more)?.exits(4)?;
        Ok(())
    })
}

#[test]
fn a_session_goes_on_under_another_grant_that_covers_it() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut terminal = host.login_at_terminal(DAVE)?;
            let long = host.grant(DAVE, "peers", "6s")?;
            let first = host.grant(DAVE, "ops", "30m")?.to_string();
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            let end = host.jitctl(&["grants"])?;
            let end = end.as_array().into_iter().flatten().find(|grant| grant["id"] == long);
            let end = end.and_then(|grant| grant["ends_at"].as_str()).context("an end")?;
            let end: u64 = host.root(&["date", "--date", end, "+%s%6N"])?.ok()?.line().parse()?;
            host.root(&["jitctl", "revoke", &first, "--reason", "a story"])?.ok()?;
            let moved = host.record("session.moved", |record| record["grant"] == long)?;
            ensure!(moved["role"] == "peers", "{moved}");
            ensure!(host.jitctl(&["sessions"])?[0]["grant"] == long, "{moved}");
            ensure!(lifeline.is_held()?, "the session ended with the first grant");
            terminal.run("id -u")?.ok()?.says("0")?;
            let gone = lifeline.let_go(LIMIT)?;
            ensure!(gone >= end, "it was cut before the end of the other grant");
            host.no_session_left(LIMIT)?;
            let ended = host.record("session.ended", |record| record["ended_by"] == "expired")?;
            ensure!(ended["left"] == 0 && ended["grant"] == long, "{ended}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A grant that lets one become less covers no session that has become more.
#[test]
fn a_session_does_not_go_on_under_a_grant_that_does_not_cover_it() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut terminal = host.login_at_terminal(DAVE)?;
        host.grant(DAVE, "as-nobody", "30m")?;
        let ops = host.grant(DAVE, "ops", "30m")?.to_string();
        let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
        host.root(&["jitctl", "revoke", &ops, "--reason", "a story"])?.ok()?;
        lifeline.let_go(LIMIT)?;
        host.record("session.ended", |record| record["ended_by"] == "revoked").map(drop)
    })
}

#[test]
fn the_holder_is_told_before_the_window_closes() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.write(
                "/etc/jitd/jitd.toml",
                "grace = \"1s\"\nwarn_before = [\"1h\", \"4s\", \"2s\"]\noperators = [\"@jit-operators\"]\napprove_without_login = true\n",
            )?;
            host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
            let mut terminal = host.login_at_terminal(DAVE)?;
            let heard = "timeout 60 stdbuf -oL busctl --system monitor --match \
                \"type='signal',interface='org.jitd.Jit1.Manager',member='GrantClosesSoon'\" > /var/tmp/heard";
            host.root_sh(&format!("systemd-run --quiet --unit=listen bash -c '{heard}'"))?.ok()?;
            wait_until("somebody listens", LIMIT, || Ok(host.has("/var/tmp/heard")))?;
            let grant = host.grant(DAVE, "ops", "6s")?.to_string();
            let end = end_of(host, DAVE)?;
            terminal.start("sudo bash --norc")?;
            terminal.run("id -u")?.ok()?.says("0")?;
            ensure!(wall_micros() < end - 4_000_000, "the machine is too slow for this story");
            terminal.expect("closes in 4s", LIMIT)?;
            let told = terminal.expect("closes in 2s", LIMIT)?;
            ensure!(told.contains(&format!("jitctl extend {grant} --for")), "{told}");
            ensure!(wall_micros() < end, "it was told after the end");
            host.no_session_left(LIMIT)?;
            let records = host.records()?;
            let warned = records.iter().filter(|record| record["event"] == "grant.warned").count();
            ensure!(warned == 2, "{warned} warnings; a window of six seconds has none of an hour");
            let heard = host.read("/var/tmp/heard")?;
            ensure!(heard.contains("GrantClosesSoon"), "nothing was heard on the bus: {heard}");
            Ok(())
        })?;
    }
    Ok(())
}
