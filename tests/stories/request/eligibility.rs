//! A grant ends when its holder may no longer have it: checked at each call and when the policy is loaded.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::output::Output;
use jit_tests::people::{BOB, DAVE, OSCAR};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::refused;
use crate::session::end::open_shell;

const LIMIT: Duration = Duration::from_secs(20);

fn asked_and_approved(host: &Host, dave: &mut Login, role: &str) -> Result<String> {
    let ask = format!("jitctl --json request {role} --for 30m --reason 'I want to look around'");
    let id = dave.run(&ask)?.json()?["id"].to_string();
    host.login(BOB)?.run(&format!("jitctl approve {id}"))?.ok()?;
    Ok(id)
}

fn withdrawn(host: &Host, grant: &str, saying: &str) -> Result<()> {
    let record = host.record("grant.withdrawn", |record| record["grant"].as_u64() == grant.parse().ok())?;
    ensure!(record["detail"].as_str().is_some_and(|detail| detail.contains(saying)), "{record}");
    host.no_session_left(LIMIT)?;
    let ended = host.record("session.ended", |record| record["grant"].as_u64() == grant.parse().ok())?;
    ensure!(ended["ended_by"] == "withdrawn" && ended["left"] == 0, "{ended}");
    Ok(())
}

#[test]
fn who_leaves_the_group_loses_what_the_group_could_ask_for() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        for reload in [true, false] {
            host.root_sh("gpasswd --add dave webops")?.ok()?;
            // Who somebody is, is remembered for two seconds.
            let mut grant = String::new();
            wait_until("dave is known as a member", LIMIT, || {
                let asked = asked_and_approved(host, &mut dave, "ops");
                grant = asked.unwrap_or_default();
                Ok(!grant.is_empty() && dave.run("sudo -n true")?.status == 0)
            })?;
            let mut terminal = host.login_at_terminal(DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            host.root_sh("gpasswd --delete dave webops")?.ok()?;
            if reload {
                host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
            } else {
                wait_until("the next call is refused", LIMIT, || {
                    Ok(dave.run("sudo -n sh -c 'id; touch /etc/ran'")?.status != 0)
                })?;
            }
            lifeline.let_go(LIMIT)?;
            withdrawn(host, &grant, "no member of role ops")?;
            let output = dave.run("sudo -n sh -c 'id; touch /var/tmp/ran'")?;
            output.fails()?.says("no open window")?;
        }
        // What an operator gave was given to the person, not to a member.
        host.grant(DAVE, "ops", "30m")?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        dave.run("sudo -n true")?.ok()?;
        Ok(())
    })
}

#[test]
fn a_role_that_is_removed_or_narrowed_ends_its_grants() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let roles = host.read("/etc/jitd/roles.d/stories.toml")?;
        let mut dave = host.login(DAVE)?;

        // Without the service that was used.
        let grant = host.grant(DAVE, "ops", "30m")?.to_string();
        let mut terminal = host.login_at_terminal(DAVE)?;
        let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
        host.write("/etc/jitd/roles.d/stories.toml", &roles.replace("\"sudo\", \"sudo-i\", ", ""))?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        lifeline.let_go(LIMIT)?;
        let ended = host.record("session.ended", |record| record["grant"].as_u64() == grant.parse().ok())?;
        ensure!(ended["ended_by"] == "withdrawn" && ended["left"] == 0, "{ended}");
        dave.run("sudo -n true")?.fails()?.says("covers sudo")?;

        // With a shorter window.
        host.write(
            "/etc/jitd/roles.d/stories.toml",
            &roles.replace("\"2h\"", "\"10m\"").replace("\"30m\"", "\"5m\""),
        )?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        let left = host.jitctl(&["grants"])?[0]["remaining_seconds"].as_u64().unwrap_or(0);
        ensure!((590..=600).contains(&left), "{left} s left; the role allows ten minutes");
        host.record("grant.shortened", |record| record["grant"].as_u64() == grant.parse().ok())?;

        // Without the role.
        let mut terminal = host.login_at_terminal(DAVE)?;
        let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
        host.write("/etc/jitd/roles.d/stories.toml", &roles.replace("[role.ops", "[role.other"))?;
        host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
        lifeline.let_go(LIMIT)?;
        withdrawn(host, &grant, "no role ops")
    })
}

#[test]
fn a_locked_account_holds_nothing() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        for (lock, unlock) in [("usermod --lock", "usermod --unlock"), ("chage -E 1", "chage -E -1")] {
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            let mut terminal = host.login_at_terminal(DAVE)?;
            let lifeline = open_shell(host, &mut terminal, "sudo -s")?;
            host.root_sh(&format!("{lock} dave"))?.ok()?;
            host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
            lifeline.let_go(LIMIT)?;
            withdrawn(host, &grant, "is locked")?;
            host.root_sh(&format!("{unlock} dave"))?.ok()?;
        }
        refused(&host.login(DAVE)?.run("sudo -n sh -c 'id; touch /etc/ran'")?, host).map(drop)
    })
}

#[test]
fn who_is_locked_out_decides_nothing_in_a_login_that_was_there_before() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let ask = "jitctl --json request ops --for 30m --reason 'I want to look around'";
        let id = dave.run(ask)?.json()?["id"].to_string();
        let (mut bob, mut oscar) = (host.login(BOB)?, host.login(OSCAR)?);
        for (lock, unlock) in [("usermod --lock", "usermod --unlock"), ("chage -E 1", "chage -E -1")] {
            host.root_sh(&format!("{lock} bob && {lock} oscar && {lock} dave"))?.ok()?;
            let locked = |output: Output| output.exits(3)?.says("is locked or has expired").map(drop);
            locked(bob.run(&format!("jitctl approve {id}"))?)?;
            locked(bob.run(&format!("jitctl deny {id} --reason 'I would like to'"))?)?;
            locked(oscar.run("jitctl grant dave ops --for 10m --reason 'a hand is needed'")?)?;
            locked(oscar.run("jitctl revoke --all --reason 'before I go'")?)?;
            locked(dave.run(ask)?)?;
            dave.run("jitctl status")?.ok()?;
            host.record("command.refused", |record| {
                record["actor"] == "bob" && record["detail"].to_string().contains("locked")
            })?;
            ensure!(host.jitctl(&["grants"])?.as_array().is_some_and(Vec::is_empty), "a window is open");
            host.root_sh(&format!("{unlock} bob && {unlock} oscar && {unlock} dave"))?.ok()?;
        }
        bob.run(&format!("jitctl approve {id}"))?.ok()?;
        dave.run("sudo -n true")?.ok()?;
        Ok(())
    })
}

#[test]
fn who_gets_the_uid_of_somebody_who_was_removed_inherits_nothing() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let grant = host.grant(DAVE, "ops", "30m")?.to_string();
        host.login(DAVE)?.run("sudo -n true")?.ok()?;
        let mut oscar = host.login(OSCAR)?;
        let ask = "jitctl --json request twice --for 30m --reason 'I want to look around'";
        let id = oscar.run(ask)?.json()?["id"].to_string();

        // twice names bob himself beside two groups.
        for (old, new, uid) in [(DAVE, "erin", 2004), (BOB, "fred", 2002)] {
            host.root_sh(&format!(
                "userdel --force {old} && useradd --create-home --uid {uid} {new} \
                 && usermod --password '*' {new} && echo '{new} ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/{new}"
            ))?
            .ok()?;
        }
        let mut erin = host.login("erin")?;
        // Who somebody is, is remembered for two seconds.
        wait_until("erin is not taken for dave", LIMIT, || Ok(erin.run("sudo -n true")?.status != 0))?;
        refused(&erin.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        let record =
            host.record("grant.withdrawn", |record| record["grant"].as_u64() == grant.parse().ok())?;
        ensure!(record["detail"] == "uid 2004 was dave, who was given this, and is erin now", "{record}");
        let mut fred = host.login("fred")?;
        fred.run(&format!("jitctl approve {id}"))?.exits(4)?;
        let shown = host.jitctl(&["show", &id])?;
        ensure!(shown["request"]["approvals"].as_array().is_some_and(Vec::is_empty), "{shown}");
        Ok(())
    })
}
