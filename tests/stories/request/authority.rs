//! Who may approve, deny and revoke, and who may read what.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE, MALLORY, OSCAR};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::refused;

const LIMIT: Duration = Duration::from_secs(20);

fn ask(person: &mut Login, role: &str) -> Result<String> {
    let asked = person.run(&format!("jitctl --json request {role} --reason 'a secret reason of mine'"))?;
    Ok(asked.json()?["id"].to_string())
}

fn state(host: &Host, id: &str) -> Result<String> {
    Ok(host.jitctl(&["show", id])?["request"]["state"].as_str().context("a state")?.to_owned())
}

#[test]
fn nobody_approves_for_herself() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut alice = host.login(ALICE)?;
        let mut dave = host.login(DAVE)?;
        let id = ask(&mut alice, "peers")?;
        alice.run(&format!("jitctl approve {id}"))?.exits(3)?;
        ensure!(state(host, &id)? == "pending", "she did");
        refused(&alice.run("echo correct-horse | sudo -S sh -c 'id; touch /etc/ran'")?, host)?;
        host.record("command.refused", |record| record["actor"] == "alice" || record["user"] == "alice")?;
        dave.run(&format!("jitctl approve {id}"))?.ok()?;
        ensure!(state(host, &id)? == "approved", "he did not");

        // root's shell is nobody's second pair of eyes either: it is not in the role's approvers.
        let id = ask(&mut dave, "peers")?;
        host.root(&["jitctl", "approve", &id])?.fails()?;
        // Inside a window she is root, and still the one who asked.
        alice.run("echo correct-horse | sudo -S true")?.ok()?;
        let own = ask(&mut alice, "twice")?;
        alice.run(&format!("sudo -n jitctl approve {own}"))?.exits(3)?;
        Ok(())
    })
}

#[test]
fn one_person_in_two_groups_counts_once() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let mut bob = host.login(BOB)?;
        let id = ask(&mut dave, "twice")?;
        bob.run(&format!("jitctl approve {id}"))?.ok()?;
        bob.run(&format!("jitctl approve {id}"))?.exits(3)?;
        ensure!(state(host, &id)? == "pending", "one person was enough");
        refused(&dave.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        host.login(CAROL)?.run(&format!("jitctl approve {id}"))?.ok()?;
        ensure!(state(host, &id)? == "approved", "two people were not enough");
        dave.run("sudo -n true")?.ok()?;
        Ok(())
    })
}

#[test]
fn an_operator_grants_to_others_and_not_to_himself() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut oscar = host.login(OSCAR)?;
        let grant = |whom: &str| format!("jitctl grant {whom} ops --for 10m --reason 'a hand is needed'");
        oscar.run(&grant(OSCAR))?.exits(3)?;
        refused(&oscar.run("sudo -n sh -c 'id; touch /etc/ran'")?, host)?;
        oscar.run(&grant(DAVE))?.ok()?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n true")?.ok()?;
        let started = host.record("grant.started", |record| record["user"] == "dave")?;
        ensure!(
            started["actor"] == "oscar" || started["approvers"].to_string().contains("oscar"),
            "{started}"
        );
        // Neither does root's shell inside a window make an operator of dave, nor the window a longer one.
        for person in [ALICE, BOB, CAROL, DAVE, MALLORY] {
            host.login(person)?.run(&grant(DAVE))?.fails()?;
        }
        for person in [ALICE, DAVE, MALLORY] {
            host.login(person)?.run("jitctl revoke --all --reason 'because I want it'")?.exits(3)?;
        }
        dave.run("sudo -n true")?.ok()?;
        Ok(())
    })
}

#[test]
fn nobody_but_root_calls_the_gate() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.install("hostile")?;
            host.grant(DAVE, "ops", "30m")?;
            for person in [DAVE, OSCAR, MALLORY] {
                let mut person = host.login(person)?;
                person.run("hostile enter socket")?.fails()?.says("Permission denied")?;
                person.run("hostile enter bus")?.fails()?.never_says("allowed")?;
                person
                    .run("busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Gate Enter")?
                    .fails()?;
                person
                    .run("busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Manager Reload")?
                    .fails()?;
                person.run("ls /var/lib/jitd")?.fails()?;
            }
            host.root(&["hostile", "enter", "socket"])?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// The bus names the process that connected. Once that has ended nobody can tell whether its heir is in a window.
#[test]
fn nobody_speaks_for_a_process_that_has_ended() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            host.install("hostile")?;
            host.grant(DAVE, "ops", "30m")?;
            host.login(DAVE)?.run("sudo -n hostile orphan alice ops /var/tmp/answer")?.ok()?;
            wait_until("there is an answer", LIMIT, || Ok(host.has("/var/tmp/answer")))?;
            let answer = host.read("/var/tmp/answer")?;
            // Some buses name a process that has ended, others name none then.
            let unknown = ["which connected to the bus, cannot be read", "does not say which process calls"];
            ensure!(unknown.iter().any(|why| answer.contains(why)), "{answer:?}");
            let grants = host.jitctl(&["grants"])?.to_string();
            ensure!(!grants.contains("alice"), "{grants}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn who_is_no_party_reads_nothing() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut alice = host.login(ALICE)?;
        let mut mallory = host.login(MALLORY)?;
        let id = ask(&mut alice, "twice")?;
        let secret = "a secret reason";
        for line in [
            format!("jitctl show {id}"),
            format!("jitctl --json show {id}"),
            format!("jitctl approve {id}"),
            format!("jitctl deny {id} --reason 'I do not like it'"),
            format!("jitctl cancel {id}"),
            "jitctl audit show".to_owned(),
            "jitctl audit verify".to_owned(),
            "jitctl policy show".to_owned(),
        ] {
            mallory.run(&line)?.fails()?.never_says(secret)?;
        }
        // What she may not see and what is not there answer alike.
        let hidden = mallory.run(&format!("jitctl show {id}"))?;
        let absent = mallory.run("jitctl show 4711")?;
        hidden.exits(4)?;
        absent.exits(4)?;
        let same = hidden.text().replace(&id, "N") == absent.text().replace("4711", "N");
        hidden.holds(same, &format!("the same answer as\n{absent}"))?;
        for line in ["jitctl pending", "jitctl grants", "jitctl sessions", "jitctl status", "jitctl roles"] {
            mallory.run(line)?.ok()?.never_says(secret)?.never_says("alice")?;
        }
        let listening = mallory.start("timeout 5 dbus-monitor --system \"sender='org.jitd.Jit1'\"")?;
        host.login(BOB)?.run(&format!("jitctl approve {id} --comment 'a secret reason'"))?.ok()?;
        mallory.finish(&listening, LIMIT)?.never_says(secret)?.never_says("alice")?;
        // Another asker is no party either, though she may ask for the same role.
        host.login(DAVE)?.run(&format!("jitctl show {id}"))?.exits(4)?.never_says(secret)?;
        // The parties.
        for person in [ALICE, BOB, CAROL, OSCAR] {
            host.login(person)?.run(&format!("jitctl show {id}"))?.ok()?.says(secret)?;
        }
        Ok(())
    })
}
