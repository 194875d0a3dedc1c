//! Approvers, requesters and sessions are notified at their terminals; a session also of why it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::play;
use jit_tests::login::Login;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);
const SETTINGS: &str = "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\n\
    approve_without_login = true\n";
const ROLE: &str = "[role.ops]\nmembers = [\"dave\", \"alice\"]\ndefault_duration = \"30m\"\n\
    [role.ops.approval]\nfrom = [\"@leads\"]\n";

/// Everything that a terminal has shown and nobody has looked at yet.
fn heard_so_far(person: &mut Login) -> Result<String> {
    // What is typed is not what is waited for.
    let typed = person.start("echo en''d-of-it")?;
    let heard = person.expect("end-of-it", LIMIT)?;
    person.finish(&typed, LIMIT)?;
    Ok(heard)
}

#[test]
fn approvers_and_requester_hear_of_it_and_a_session_is_told_why_it_ends() -> Result<()> {
    let plan = Plan::new(Release::Trixie).with_policy(SETTINGS, &[("ops.toml", ROLE)]);
    play(&plan, |host| {
        let mut bob = host.login_at_terminal(BOB)?;
        let mut carol = host.login_at_terminal(CAROL)?;
        let mut dave = host.login_at_terminal(DAVE)?;
        let mut alice = host.login_at_terminal(ALICE)?;
        // As mesg(1) does it, which Debian does not install everywhere.
        for person in [&mut bob, &mut dave, &mut alice] {
            person.run("chmod g+w \"$(tty)\"")?.ok()?;
        }
        carol.run("chmod g-w \"$(tty)\"")?.ok()?;

        // What somebody writes reaches no terminal as it is.
        let asked = dave.run("jitctl request ops --for 20s --reason \"$(printf 'look \\033[2Jaround')\"");
        let asked = asked?;
        if asked.status == 0 {
            asked.says("who may approve: @leads (bob, carol)")?;
        }
        let asked = dave.run("jitctl request ops --for 20s --reason 'to look around'")?;
        asked.ok()?.says("who may approve: @leads (bob, carol)")?;
        let heard = bob.expect("jit: dave asks for ops for 20s (request", LIMIT)?;
        ensure!(!heard.contains('\u{1b}'), "{heard:?}");
        bob.expect("to look around", LIMIT)?;
        let pending = host.jitctl(&["pending"])?;
        let last = pending.as_array().and_then(|all| all.last()).map(|it| it["id"].to_string());
        let id = last.unwrap_or_default();
        host.root(&["jitctl", "show", &id])?.ok()?.says("@leads (bob, carol)")?;
        bob.run(&format!("jitctl approve --yes {id}"))?.ok()?;
        dave.expect(&format!("jit: request {id} (ops) is approved"), LIMIT)?;
        // She who lets nobody write was told nothing, and neither was somebody whom it does not concern.
        for person in [&mut carol, &mut alice] {
            let heard = heard_so_far(person)?;
            ensure!(!heard.contains("jit:"), "{heard}");
        }

        // The window is taken away: the terminal is told by whom, and how to go on.
        let shell = dave.start("sudo -s")?;
        dave.run("id -u")?.ok()?.says("0")?;
        let mut oscar = host.login("oscar")?;
        oscar.run(&format!("jitctl revoke {id} --reason 'that is enough'"))?.ok()?;
        dave.expect("jit: the window of dave for ops has closed: oscar revoked it: that is enough.", LIMIT)?;
        dave.expect("jit: to go on, type:  jitctl request ops", LIMIT)?;
        dave.finish(&shell, LIMIT)?.fails()?;

        // One that runs out.
        let grant = host.grant(DAVE, "ops", "3s")?;
        let shell = dave.start("sudo -s")?;
        dave.run("id -u")?.ok()?.says("0")?;
        dave.expect("jit: the window of dave for ops has closed: its time is over.", LIMIT)?;
        dave.finish(&shell, LIMIT)?.fails()?;
        wait_until("the grant is over", LIMIT, || {
            Ok(host.records()?.iter().any(|it| it["event"] == "grant.expired" && it["grant"] == grant))
        })?;

        // A denial reaches who asked.
        alice.run("jitctl request ops --reason 'to look around as well'")?.ok()?;
        bob.expect("jit: alice asks for ops", LIMIT)?;
        let pending = host.jitctl(&["pending"])?;
        let of_alice = pending.as_array().and_then(|all| all.iter().find(|it| it["user"] == ALICE)).cloned();
        let id = of_alice.unwrap_or_default()["id"].to_string();
        bob.run(&format!("jitctl deny {id} --reason 'not today'"))?.ok()?;
        alice.expect(&format!("jit: request {id} (ops) is denied by bob: not today"), LIMIT)?;

        // A flood of requests is no flood of lines: ten of one person in ten minutes.
        let script = "for i in $(seq 30); do \
            n=$(jitctl --json request ops --reason \"to ask again, $i\" 2>/dev/null \
                | sed -n 's/.*\"id\": *\\([0-9]*\\).*/\\1/p' | head -n 1); \
            jitctl cancel $n; done; true";
        alice.run(script)?.ok()?;
        host.record("notify.failed", |it| it["detail"].as_str().is_some_and(|why| why.contains("requests")))?;
        let lines = heard_so_far(&mut bob)?.matches("jit: alice asks for").count();
        ensure!((1..=9).contains(&lines), "{lines} lines of one person");
        Ok(())
    })
}
