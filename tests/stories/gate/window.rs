//! In a window what was requested works, and nothing beyond it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::play;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE, MALLORY, PASSWORD};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::{refused, sudos};

const LIMIT: Duration = Duration::from_secs(10);

fn the_whole_story(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        let mut alice = host.login(ALICE)?;
        let mut bob = host.login(BOB)?;
        let mut carol = host.login(CAROL)?;
        let sudo = format!("echo {PASSWORD} | sudo -S id -u");
        alice.run(&sudo)?.fails()?.says("jit: sudo is refused: alice has no open window")?;

        let ask = "jitctl request web-admin --for 4s --reason 'INC-42 nginx is down' --ticket INC-42";
        let asked = alice.run(ask)?;
        asked.ok()?.says("web-admin")?;
        let id = host.jitctl(&["pending"])?[0]["id"].to_string();
        alice.run(&sudo)?.fails()?.says(&format!("jit: request {id} (web-admin) is waiting for approval"))?;
        bob.run("jitctl pending")?.ok()?.says("alice")?.says("INC-42 nginx is down")?;
        alice.run(&format!("jitctl show {id} --exit-code"))?.exits(6)?;

        let approved = bob.run(&format!("jitctl --json approve {id}"))?.json()?;
        ensure!(approved["state"] == "approved", "{approved}");
        alice.run(&format!("jitctl show {id} --exit-code"))?.exits(0)?;
        for &sudo in sudos(release) {
            alice.run(&format!("echo {PASSWORD} | {sudo} -S id -u"))?.ok()?.says("0")?;
        }
        alice.run("jitctl status")?.ok()?.says("alice holds")?.says("web-admin until")?;

        host.record("grant.expired", |record| record["grant"].as_u64() == id.parse().ok())?;
        let late = alice.run("sudo -n sh -c 'id; touch /etc/ran'")?;
        refused(&late, host)?;
        late.says("jit: sudo is refused: alice has no open window")?;
        alice.run("jitctl status")?.ok()?.says("alice holds no grant")?;

        let events = ["access.denied", "request.made", "request.approved", "grant.started", "access.allowed"];
        for event in events.iter().chain(&["session.opened", "session.ended", "grant.expired"]) {
            host.record(event, |record| record["user"] == "alice")?;
        }
        let allowed = host.record("access.allowed", |record| record["user"] == "alice")?;
        ensure!(allowed["argv"].to_string().contains("id"), "{allowed}");
        ensure!(allowed["loginuid"] == 2001 && allowed["uid"] == 2001, "{allowed}");
        ensure!(allowed["ticket"] == "INC-42" && allowed["role"] == "web-admin", "{allowed}");
        ensure!(allowed["approvers"].to_string().contains("bob"), "{allowed}");
        carol.run("jitctl audit verify")?.ok()?.says("records are whole")?;
        Ok(())
    })
}

#[test]
fn the_whole_story_on_trixie() -> Result<()> {
    the_whole_story(Release::Trixie)
}

#[test]
fn the_whole_story_on_bookworm() -> Result<()> {
    the_whole_story(Release::Bookworm)
}

fn every_way_works(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        host.grant(DAVE, "ops", "30m")?;
        host.grant(ALICE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        let mut alice = host.login(ALICE)?;
        for &sudo in sudos(release) {
            alice.run(&format!("echo {PASSWORD} | {sudo} -S id -un"))?.ok()?.says("root")?;
            alice.run(&format!("{sudo} -n id -un"))?.ok()?.says("root")?;
            for (options, whom) in
                [("", "root"), ("-n", "root"), ("-n -i", "root"), ("-n -u nobody", "nobody")]
            {
                dave.run(&format!("{sudo} {options} id -un"))?.ok()?.says(whom)?;
            }
            dave.run(&format!("{sudo} -n -g shadow id -gn"))?.ok()?.says("shadow")?;
            dave.run(&format!("echo 'id -un' > in; {sudo} -n -s < in"))?.ok()?.says("root")?;
            let mut terminal = host.login_at_terminal(DAVE)?;
            let shell = terminal.start(&format!("{sudo} -s"))?;
            terminal.run("id -un")?.ok()?.says("root")?;
            terminal.exit_from(&shell)?.ok()?;
            let shell = terminal.start(&format!("{sudo} -i"))?;
            terminal.run("pwd")?.ok()?.says("/root")?;
            terminal.exit_from(&shell)?.ok()?;
        }
        dave.run("EDITOR='cp /etc/passwd' sudoedit /etc/edited")?.ok()?;
        ensure!(host.has("/etc/edited"), "sudoedit wrote nothing");
        dave.run("sudo -n -l")?.ok()?;
        dave.run("sudo -n -v")?.ok()?;
        host.no_session_left(LIMIT)?;
        Ok(())
    })
}

#[test]
fn every_way_of_sudo_works_in_a_window_on_trixie() -> Result<()> {
    every_way_works(Release::Trixie)
}

#[test]
fn every_way_of_sudo_works_in_a_window_on_bookworm() -> Result<()> {
    every_way_works(Release::Bookworm)
}

#[test]
fn a_window_is_its_holders_alone() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.grant(ALICE, "ops", "30m")?;
        for other in [DAVE, MALLORY] {
            let output = host.login(other)?.run("sudo -n sh -c 'id; touch /etc/ran'")?;
            refused(&output, host)?;
            output.says("is refused")?;
        }
        Ok(())
    })
}

/// The target is known only in the session stage; what is refused there must not run either.
#[test]
fn a_role_for_one_target_opens_no_other() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.grant(DAVE, "as-nobody", "30m")?;
            let mut dave = host.login(DAVE)?;
            for &sudo in sudos(release) {
                dave.run(&format!("{sudo} -n -u nobody id -un"))?.ok()?.says("nobody")?;
                for options in ["", "-u root", "-i", "-u bob", "-g shadow"] {
                    let output = dave.run(&format!("{sudo} -n {options} sh -c 'id; touch /etc/ran'"))?;
                    refused(&output, host)?;
                    output.never_says("uid=2002")?.never_says("(shadow)")?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_released_or_revoked_window_is_closed_at_once() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        dave.run("sudo -n true")?.ok()?;
        let planned = host.jitctl(&["grants"])?[0].clone();
        dave.run("jitctl release")?.ok()?;
        let shown = dave.run(&format!("jitctl --json show {}", planned["id"]))?.json()?["grant"].clone();
        ensure!(shown["state"] == "released", "{shown}");
        ensure!(shown["ends_at"].as_str() < planned["ends_at"].as_str(), "it ended before its time: {shown}");
        refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        let ended = host.record("grant.released", |record| record["user"] == "dave")?;
        ensure!(ended["uid"] == 2004, "{ended}");

        host.grant(DAVE, "ops", "30m")?;
        dave.run("sudo -n true")?.ok()?;
        host.login("oscar")?.run("jitctl revoke --user dave --reason 'enough of it'")?.ok()?;
        refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        let revoked = host.record("grant.revoked", |record| record["user"] == "dave")?;
        ensure!(revoked["actor"] == "oscar" && revoked["detail"] == "enough of it", "{revoked}");
        Ok(())
    })
}

#[test]
fn a_denied_or_cancelled_request_opens_nothing() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let mut bob = host.login(BOB)?;
        let ask = "jitctl --json request ops --reason 'I want to look around'";
        let id = dave.run(ask)?.json()?["id"].to_string();
        bob.run(&format!("jitctl deny {id} --reason 'not today'"))?.ok()?;
        dave.run(&format!("jitctl show {id}"))?.ok()?.says("not today")?;
        bob.run(&format!("jitctl approve {id}"))?.fails()?;
        let id = dave.run(ask)?.json()?["id"].to_string();
        dave.run(&format!("jitctl cancel {id}"))?.ok()?;
        bob.run(&format!("jitctl approve {id}"))?.fails()?;
        refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        Ok(())
    })
}

#[test]
fn what_the_role_does_not_allow_cannot_be_asked_for() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        for line in [
            "jitctl request web-admin --reason 'a long enough reason' --ticket BUG-1",
            "jitctl request web-admin --reason 'a long enough reason'",
            "jitctl request web-admin --reason 'short' --ticket INC-1",
            "jitctl request web-admin --for 3h --reason 'a long enough reason' --ticket INC-1",
        ] {
            dave.run(line)?.exits(3)?;
        }
        dave.run("jitctl request no-such-role --reason 'a long enough reason'")?.fails()?;
        host.login(MALLORY)?.run("jitctl request ops --reason 'a long enough reason'")?.fails()?;
        ensure!(host.jitctl(&["pending"])?.as_array().is_some_and(Vec::is_empty), "something is pending");
        Ok(())
    })
}

#[test]
fn a_request_that_waits_learns_of_its_approval() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let asked = dave.start("jitctl request ops --wait --reason 'I want to look around'")?;
        let mut id = String::new();
        wait_until("the request is pending", LIMIT, || {
            id = host.jitctl(&["pending"])?[0]["id"].to_string();
            Ok(id != "null")
        })?;
        host.login(BOB)?.run(&format!("jitctl approve {id} --for 10m"))?.ok()?;
        dave.finish(&asked, LIMIT)?.ok()?;
        let grant = &host.jitctl(&["grants"])?[0];
        let left = grant["remaining_seconds"].as_u64().context("time left")?;
        ensure!((500..=600).contains(&left), "{grant}");
        Ok(())
    })
}

#[test]
fn root_passes_and_is_recorded() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut root = host.login("root")?;
            for &sudo in sudos(release) {
                root.run(&format!("{sudo} -n id -u"))?.ok()?.says("0")?;
                root.run(&format!("{sudo} -n -u alice id -un"))?.ok()?.says("alice")?;
            }
            let record = host.record("access.root", |record| record["service"] == "sudo")?;
            ensure!(record["uid"] == 0, "{record}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn what_is_started_in_a_session_stays_in_its_scope() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).gating(&["sudo", "sudo-i", "su", "runuser-l"]), |host| {
            host.grant(DAVE, "ops", "30m")?;
            let mut terminal = host.login_at_terminal(DAVE)?;
            let shell = terminal.start("sudo -s")?;
            terminal.run("id -u")?.ok()?.says("0")?;
            let session = host.jitctl(&["sessions"])?[0].clone();
            let scope = session["scope"].as_str().context("a scope")?.to_owned();
            ensure!(session["user"] == "dave" && session["run_as"] == "root", "{session}");
            let in_scope = format!("/jit.slice/{scope}");
            // The move follows the answer; PID 1 does it when it gets there.
            wait_until("the shell is in its scope", LIMIT, || {
                Ok(terminal.run("cat /proc/self/cgroup")?.text().contains(&in_scope))
            })?;
            terminal.run("cat /proc/self/sessionid")?.ok()?.says(&session["audit_session"].to_string())?;
            for line in [
                "sudo -n cat /proc/self/cgroup",
                "sudo -n -i cat /proc/self/cgroup",
                "su - -c 'cat /proc/self/cgroup'",
                "runuser -l bob -c 'cat /proc/self/cgroup'",
                "setsid --wait cat /proc/self/cgroup",
                "sudo -n -u bob cat /proc/self/cgroup",
                "sudo -n -g shadow cat /proc/self/cgroup",
                "sudo -n -b sh -c 'cat /proc/self/cgroup > /var/tmp/behind'; while ! grep . /var/tmp/behind; do :; done",
                "sudo -n sudo -n -i cat /proc/self/cgroup",
                "sudo -n su - -c 'cat /proc/self/cgroup'",
                "sudo -n runuser -l bob -c 'cat /proc/self/cgroup'",
            ] {
                terminal.run(line)?.ok()?.says(&in_scope)?;
            }
            let nested = host.record("access.root", |record| record["service"] == "sudo")?;
            ensure!(
                nested["session"] == session["id"] || nested["parent_session"] == session["id"],
                "{nested}"
            );
            terminal.exit_from(&shell)?;
            host.no_session_left(LIMIT)
        })?;
    }
    Ok(())
}
