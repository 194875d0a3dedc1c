//! A mistake in the policy is named with file, line and key; the policy in force stays.

use anyhow::{Context, Result, ensure};
use jit_tests::host::play;
use jit_tests::people::{CAROL, DAVE};
use jit_tests::plan::{Plan, Release};

const BAD: &str = "/etc/jitd/roles.d/bad.toml";

/// A role that is fine but for the line that is put in.
fn role(line: &str) -> String {
    format!(
        "[role.bad]\ndescription = \"A role\"\nmembers = [\"@webops\"]\n{line}\n[role.bad.approval]\nfrom = [\"@leads\"]\n"
    )
}

#[test]
fn a_mistake_is_named_and_the_running_policy_stays() -> Result<()> {
    let cases: Vec<(&str, String, &str)> = vec![
        ("a typo in a key", role("max_durration = \"1h\""), ":4: role.bad.max_durration:"),
        ("above the ceiling", role("max_duration = \"9h\""), ":4: role.bad.max_duration:"),
        ("an unknown group", role("").replace("@webops", "@wepobs"), ":3: role.bad.members"),
        ("an unknown user", role("").replace("@leads", "bobb"), ":6: role.bad.approval.from"),
        ("no duration", role("max_duration = \"soon\""), ":4: role.bad.max_duration:"),
        ("a wrong type", role("max_duration = 30"), ":4: role.bad.max_duration:"),
        (
            "a default above the most",
            role("default_duration = \"3h\"\nmax_duration = \"1h\""),
            ":4: role.bad.default_duration",
        ),
        ("no approval", "[role.bad]\nmembers = [\"@webops\"]\n".to_owned(), ":1: role.bad"),
        ("a count of nobody", role("") + "count = 0\n", ":7: role.bad.approval.count:"),
        ("a bad pattern", role("ticket = { required = true, pattern = \"(\" }"), ":4: role.bad.ticket"),
        ("no TOML", "[role.bad\n".to_owned(), ":1:"),
        ("a role twice", role("").replace("role.bad", "role.ops"), "role.ops"),
    ];
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let mut carol = host.login(CAROL)?;
        let digest = host.jitctl(&["policy", "show"])?["digest"].clone();
        host.root(&["jitctl", "policy", "check"])?.ok()?;
        host.root(&["systemctl", "reload", "jitd"])?.ok()?;

        let refused = |what: &str, expected: &str| -> Result<()> {
            let named = format!("{BAD}{expected}");
            let context = || what.to_owned();
            let checked = host.root(&["jitctl", "policy", "check"])?;
            checked.exits(1).and_then(|found| found.says(&named)).with_context(context)?;
            host.root(&["/usr/libexec/jitd", "--check"])?.exits(1)?.says(&named).with_context(context)?;
            host.root(&["systemctl", "reload", "jitd"])?.fails().with_context(context)?;
            ensure!(
                host.jitctl(&["policy", "show"])?["digest"] == digest,
                "{what}: another policy is in force"
            );
            Ok(())
        };
        for (what, content, expected) in &cases {
            host.write(BAD, content)?;
            host.root(&["chmod", "644", BAD])?.ok()?;
            let expected = if expected.starts_with(':') { expected } else { "" };
            refused(what, expected)?;
        }
        carol.run("jitctl policy check")?.exits(1)?;
        dave.run("jitctl policy check")?.fails()?;

        host.write(BAD, &role(""))?;
        for (what, script) in [
            ("another owner", format!("chown dave {BAD}")),
            ("writable by all", format!("chown root {BAD}; chmod 666 {BAD}")),
            ("writable by a group", format!("chgrp webops {BAD}; chmod 664 {BAD}")),
            (
                "a link to a user's file",
                format!(
                    "mv {BAD} /home/dave/bad.toml; chown dave /home/dave/bad.toml; ln -s /home/dave/bad.toml {BAD}"
                ),
            ),
        ] {
            host.root_sh(&script)?.ok()?;
            refused(what, "")?;
        }
        host.record("policy.refused", |_| true)?;

        // The policy in force still serves, also after a restart if it can be read then.
        dave.run("jitctl request ops --reason 'I want to look around'")?.ok()?;
        host.root_sh(&format!("rm {BAD} /home/dave/bad.toml"))?.ok()?;
        host.write(BAD, &role("max_duration = \"1h\""))?;
        host.root(&["chmod", "644", BAD])?.ok()?;
        host.root(&["systemctl", "reload", "jitd"])?.ok()?;
        let policy = host.jitctl(&["policy", "show"])?;
        ensure!(policy["digest"] != digest && policy.to_string().contains("\"bad\""), "{policy}");
        host.record("policy.loaded", |record| record["policy"] == policy["digest"])?;
        Ok(())
    })
}

/// With nothing but a bad policy the daemon runs, and refuses.
#[test]
fn a_daemon_without_a_policy_refuses_and_says_why() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.write(BAD, "[role.bad\n")?;
        host.root(&["systemctl", "restart", "jitd.service"])?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n sh -c 'id; touch /etc/ran'")?.fails()?.says("is refused")?.never_says("uid=0")?;
        host.root(&["jitctl", "policy", "check"])?.exits(1)?.says(BAD)?;
        host.root(&["rm", BAD])?.ok()?;
        host.root(&["systemctl", "reload-or-restart", "jitd.service"])?.ok()?;
        host.grant(DAVE, "ops", "10m")?;
        dave.run("sudo -n true")?.ok()?;
        Ok(())
    })
}

#[test]
fn a_role_that_is_gone_from_the_policy_grants_nothing_new() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut dave = host.login(DAVE)?;
        let id = dave.run("jitctl --json request peers --reason 'I want to look around'")?.json()?["id"]
            .to_string();
        let roles = host.read("/etc/jitd/roles.d/stories.toml")?;
        host.write("/etc/jitd/roles.d/stories.toml", &roles.replace("[role.peers", "[role.others"))?;
        host.root(&["systemctl", "reload", "jitd"])?.ok()?;
        host.login("alice")?.run(&format!("jitctl approve {id}"))?.fails()?;
        dave.run("sudo -n true")?.fails()?;
        Ok(())
    })
}
