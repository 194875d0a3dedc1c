//! Who is speaking: nobody speaks for somebody else from inside a window, counts as two, or lets a job decide.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE, MALLORY, OSCAR, PASSWORD, uid};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);

/// The policy as it is installed: decisions count from logins only.
const STRICT: &str = "grace = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\n";

fn strict(host: &Host) -> Result<()> {
    host.write("/etc/jitd/jitd.toml", STRICT)?;
    host.root(&["systemctl", "reload", "jitd"])?.ok().map(drop)
}

fn ask(person: &mut Login, role: &str) -> Result<String> {
    let asked = person.run(&format!("jitctl --json request {role} --reason 'a reason of my own'"))?;
    Ok(asked.json()?["id"].to_string())
}

fn state(host: &Host, id: &str) -> Result<String> {
    Ok(host.jitctl(&["show", id])?["request"]["state"].as_str().context("a state")?.to_owned())
}

/// The command line, run as somebody else by root inside a window, which writes this login uid first.
fn as_another(name: &str, loginuid: Option<&str>, words: &str) -> String {
    let write = loginuid.map_or(String::new(), |uid| format!("echo {uid} >/proc/self/loginuid; "));
    // The answer of the gate goes out before the process is in its scope.
    let in_scope = "while ! grep -q jit.slice /proc/self/cgroup; do :; done; ";
    format!(
        "sudo -n sh -c '{in_scope}{write}setpriv --reuid {name} --regid {name} --init-groups jitctl {words}'"
    )
}

#[test]
fn who_is_in_a_window_speaks_for_nobody_else() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        strict(host)?;
        let mut dave = host.login(DAVE)?;
        let mut bob = host.login(BOB)?;
        let first = ask(&mut dave, "ops")?;
        bob.run(&format!("jitctl approve {first}"))?.ok()?;
        let own = ask(&mut dave, "twice")?;
        let (bobs, oscars) = (uid(BOB).to_string(), uid(OSCAR).to_string());
        let unset = "4294967295";
        for loginuid in [None, Some(bobs.as_str()), Some(unset)] {
            dave.run(&as_another(BOB, loginuid, &format!("approve {own}")))?.exits(3)?;
            ensure!(state(host, &own)? == "pending", "he approved his own as bob, login uid {loginuid:?}");
            let refused = host.record("command.refused", |record| record["actor"] == "bob")?;
            ensure!(refused["origin"] == "window", "{refused}");
            ensure!(refused["unit"].as_str().is_some_and(|unit| unit.starts_with("jit-")), "{refused}");
            ensure!(refused["session"].is_u64() && refused["exe"] == "/usr/bin/jitctl", "{refused}");
            let written = match loginuid {
                None => refused["loginuid"] == uid(DAVE),
                Some(uid) if uid == unset => refused["loginuid"].is_null(),
                Some(_) => refused["loginuid"] == uid(BOB),
            };
            ensure!(written, "{loginuid:?}: {refused}");
        }
        host.record("alert.raised", |record| record["alert"] == "login-mismatch")?;
        let give = |whom: &str| format!("grant {whom} ops --for 10m --reason \"because I can\"");
        for (loginuid, words) in [
            (None, give(MALLORY)),
            (Some(oscars.as_str()), give(DAVE)),
            (None, format!("revoke {first} --reason \"because I can\"")),
            (None, "revoke --all --reason \"because I can\"".to_owned()),
            (Some(oscars.as_str()), format!("extend {first} --for 10m --reason \"because I can\"")),
            (None, "audit show".to_owned()),
            (None, format!("show {own}")),
            (None, format!("cancel {own}")),
        ] {
            dave.run(&as_another(OSCAR, loginuid, &words))?.exits(3)?;
        }
        dave.run(&as_another(BOB, Some(&bobs), &format!("deny {own} --reason \"because I can\"")))?
            .exits(3)?;
        dave.run(&as_another(BOB, None, "request ops --reason \"because I can\""))?.exits(3)?;
        ensure!(state(host, &own)? == "pending", "he decided on it");
        ensure!(host.jitctl(&["grants"])?.as_array().is_some_and(|live| live.len() == 1), "he granted");

        // What is his own is his in the root shell, too, as the warning before the end says.
        dave.run("sudo -n jitctl status")?.ok()?.says(&first)?;
        dave.run(&format!("sudo -n jitctl show {own}"))?.ok()?;
        let more =
            dave.run(&format!("sudo -n jitctl --json extend {first} --for 10m --reason 'not done yet'"))?;
        ensure!(more.json()?["user"] == "dave", "{more}");
        dave.run(&format!("sudo -n jitctl cancel {own}"))?.ok()?;
        ensure!(state(host, &own)? == "cancelled", "he could not take it back");
        dave.run(&format!("sudo -n jitctl release {first}"))?;
        let released = host.record("grant.released", |record| record["user"] == "dave")?;
        let origin = released["origin"].as_str().unwrap_or_default();
        ensure!(origin.starts_with("window") && released["session"].is_u64(), "{released}");
        dave.run("sudo -n true")?.fails()?;
        Ok(())
    })
}

#[test]
fn one_human_with_two_accounts_counts_once_and_never_for_himself() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        strict(host)?;
        let mut dave = host.login(DAVE)?;
        let mut bob = host.login(BOB)?;
        let id = ask(&mut dave, "twice")?;
        let su = |name: &str, words: &str| format!("echo {PASSWORD} | su {name} -c 'jitctl {words}'");
        bob.run(&format!("jitctl approve {id}"))?.ok()?;
        let approved = host.record("request.approved", |record| record["actor"] == "bob")?;
        ensure!(approved["origin"] == "login" && approved["loginuid"] == uid(BOB), "{approved}");
        ensure!(approved["login_session"].is_string() && approved["exe"] == "/usr/bin/jitctl", "{approved}");
        bob.run(&su(CAROL, &format!("approve {id}")))?.exits(3)?;
        ensure!(state(host, &id)? == "pending", "one login was two people");
        let refused = host.record("command.refused", |record| record["actor"] == "carol")?;
        ensure!(refused["origin"] == "other-account" && refused["loginuid"] == uid(BOB), "{refused}");
        // Neither does he approve what he asks for as another, nor as another what he asks for.
        let own =
            bob.run(&su(ALICE, "--json request ops --reason \"asked as alice\""))?.json()?["id"].to_string();
        bob.run(&format!("jitctl approve {own}"))?.exits(3)?;
        ensure!(state(host, &own)? == "pending", "he approved his own");
        let own = ask(&mut dave, "ops")?;
        dave.run(&su(BOB, &format!("approve {own}")))?.exits(3)?;
        dave.run(&su(BOB, &format!("deny {own} --reason \"not mine\"")))?.exits(3)?;
        dave.run(&su(OSCAR, "grant dave ops --for 10m --reason \"because I can\""))?.exits(3)?;
        dave.run(&su(OSCAR, "grant alice ops --for 10m --reason \"because I can\""))?.exits(3)?;
        ensure!(state(host, &own)? == "pending", "he decided on his own");
        // An operator through su pulls the brake all the same.
        dave.run(&su(OSCAR, "revoke --all --reason \"the brake\""))?.ok()?;
        host.login(CAROL)?.run(&format!("jitctl approve {id}"))?.ok()?;
        ensure!(state(host, &id)? == "approved", "two people were not enough");

        // The same with the settings that let such approvals count: a person is one all the same.
        host.write("/etc/jitd/jitd.toml", &format!("{STRICT}approve_as_another_account = true\n"))?;
        host.root(&["systemctl", "reload", "jitd"])?.ok()?;
        host.login(OSCAR)?.run("jitctl policy show")?.ok()?.says("as another account")?;
        let id = ask(&mut dave, "twice")?;
        bob.run(&su(CAROL, &format!("approve {id}")))?.ok()?;
        host.record("alert.raised", |record| record["alert"] == "login-mismatch")?;
        bob.run(&format!("jitctl approve {id}"))?.exits(3)?.says("one person counts once")?;
        dave.run(&su(BOB, &format!("approve {id}")))?.exits(3)?;
        ensure!(state(host, &id)? == "pending", "one login was two people");
        Ok(())
    })
}

#[test]
fn jobs_and_user_units_decide_nothing() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        strict(host)?;
        let mut dave = host.login(DAVE)?;
        let mut bob = host.login(BOB)?;
        let first = ask(&mut dave, "ops")?;
        bob.run(&format!("jitctl approve {first}"))?.ok()?;
        let own = ask(&mut dave, "peers")?;
        let other = ask(&mut dave, "as-nobody")?;
        let refused = |actor: &str, origin: &str| {
            host.record("command.refused", |record| record["actor"] == actor && record["origin"] == origin)
        };
        // In his window he becomes bob, and leaves it to at: atd gives the job bob's login uid.
        let at = format!("sudo -n -u bob sh -c \"cd / && echo 'jitctl approve {other}' | at now\"");
        dave.run(&at)?;
        let record = refused(BOB, "job")?;
        ensure!(record["loginuid"] == uid(BOB) && record["unit"] == "atd.service", "{record}");
        dave.run(&format!("sudo -n -u carol sh -c \"echo '@reboot jitctl approve {other}' | crontab -\""))?;
        host.root(&["crontab", "-l", "-u", CAROL])?.ok()?.says("@reboot")?;
        host.root_sh("rm -f /run/crond.reboot && systemctl restart cron")?.ok()?;
        let record = refused(CAROL, "job")?;
        ensure!(record["unit"] == "cron.service", "{record}");
        bob.run(&format!("systemd-run --user --quiet --collect jitctl approve {other}"))?.ok()?;
        refused(BOB, "user-unit")?;
        for id in [&own, &other] {
            ensure!(state(host, id)? == "pending", "a job approved");
        }
        // Where the settings let jobs decide, the record says that it was one.
        host.write("/etc/jitd/jitd.toml", &format!("{STRICT}approve_without_login = true\n"))?;
        host.root(&["systemctl", "reload", "jitd"])?.ok()?;
        bob.run(&format!("echo 'jitctl approve {other}' | at now"))?.ok()?;
        let approved =
            host.record("request.approved", |record| record["request"].as_u64() == other.parse().ok())?;
        ensure!(approved["origin"] == "job", "{approved}");
        Ok(())
    })
}

#[test]
fn what_is_decided_says_by_whom_and_what_is_not_there_says_nothing_else() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        strict(host)?;
        let mut alice = host.login(ALICE)?;
        let mut dave = host.login(DAVE)?;
        let mut bob = host.login(BOB)?;
        let mut carol = host.login(CAROL)?;
        let mut oscar = host.login(OSCAR)?;
        let mut mallory = host.login(MALLORY)?;
        let approved = ask(&mut alice, "ops")?;
        bob.run(&format!("jitctl approve {approved}"))?.ok()?;
        let denied = ask(&mut alice, "ops")?;
        bob.run(&format!("jitctl deny {denied} --reason 'not today'"))?.ok()?;
        let cancelled = ask(&mut alice, "ops")?;
        alice.run(&format!("jitctl cancel {cancelled}"))?.ok()?;
        let pending = ask(&mut dave, "ops")?;
        carol.run(&format!("jitctl approve {approved}"))?.exits(3)?.says("approved already: by bob at 20")?;
        carol.run(&format!("jitctl deny {approved} --reason 'too late'"))?.exits(3)?.says("by bob at 20")?;
        carol
            .run(&format!("jitctl approve {denied}"))?
            .exits(3)?
            .says("denied by bob at 20")?
            .says("not today")?;
        carol.run(&format!("jitctl approve {cancelled}"))?.exits(3)?.says("cancelled by alice at 20")?;
        alice.run(&format!("jitctl cancel {approved}"))?.exits(3)?.says("approved already: by bob")?;
        alice.run(&format!("jitctl cancel {cancelled}"))?.exits(3)?.says("cancelled by alice")?;
        oscar.run(&format!("jitctl approve {pending}"))?.exits(3)?.says("no approver of that role")?;
        oscar.run(&format!("jitctl cancel {pending}"))?.exits(3)?.says("dave")?;
        for id in [&approved, &denied, &cancelled, &pending] {
            let hidden = mallory.run(&format!("jitctl approve {id}"))?;
            hidden.exits(4)?.never_says("bob")?.never_says("alice")?;
        }

        // No number and no name makes an answer tell more than it should.
        let call = |method: &str, arguments: &str| {
            format!("busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.{method} {arguments}")
        };
        let most = u64::MAX;
        let answer = mallory.run(&call("Manager Show", &format!("t {most}")))?;
        answer.fails()?.never_says("/var/lib")?.says("nothing numbered")?;
        oscar.run(&call("Audit Read", &format!("tt {most} 5")))?.ok()?;
        oscar.run(&call("Audit Search", &format!("a{{sv}}tt 0 {most} {most}")))?.ok()?;
        oscar.run(&format!("jitctl approve {most}"))?.exits(4)?.never_says("/var/lib")?;
        // Who may not grant hears the same of accounts that are there and of those that are not.
        for words in
            ["grant NAME ops --for 10m --reason 'is she there'", "revoke --user NAME --reason 'is she there'"]
        {
            let there = mallory.run(&format!("jitctl {}", words.replace("NAME", ALICE)))?;
            let not_there = mallory.run(&format!("jitctl {}", words.replace("NAME", "nosuchname")))?;
            there.exits(3)?;
            not_there.exits(3)?;
            ensure!(there.stderr == not_there.stderr, "{there}\n{not_there}");
        }
        Ok(())
    })
}

#[test]
fn the_window_of_another_is_told_of_and_the_executable_is_recorded() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        strict(host)?;
        let mut dave = host.login(DAVE)?;
        let mut oscar = host.login(OSCAR)?;
        let mut bob = host.login(BOB)?;
        for person in [&mut dave, &mut oscar] {
            let id = ask(person, "ops")?;
            bob.run(&format!("jitctl approve {id}"))?.ok()?;
        }
        // argv[0] is what the caller says it is.
        dave.run("bash -c 'exec -a /usr/bin/true sudo -n true'")?.ok()?;
        let allowed = host.record("access.allowed", |record| record["user"] == "dave")?;
        ensure!(allowed["exe"] == "/usr/bin/sudo" && allowed["argv"][0] == "/usr/bin/true", "{allowed}");
        ensure!(
            host.records()?.iter().all(|record| record["alert"] != "login-mismatch"),
            "an alert for nothing"
        );
        // dave becomes oscar, who has a window open, and root under that.
        dave.run("sudo -n -u oscar sudo -n true")?.ok()?;
        let used = host.record("access.allowed", |record| record["user"] == "oscar")?;
        ensure!(used["loginuid"] == uid(DAVE), "{used}");
        let alert = host.record("alert.raised", |record| record["alert"] == "login-mismatch")?;
        ensure!(alert["about"] == used["seq"], "{alert}");
        wait_until("the sessions have ended", LIMIT, || {
            Ok(host.jitctl(&["sessions"])?.as_array().is_some_and(Vec::is_empty))
        })?;
        Ok(())
    })
}
