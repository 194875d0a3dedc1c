//! A PAM stack that does not ask jitd is named by status and policy check, and is an alert.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::play;
use jit_tests::people::{ALICE, DAVE, PASSWORD};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);
const SETTINGS: &str =
    "grace = \"1s\"\nheartbeat = \"1s\"\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\n";
/// It opens `sudo` alone, so that `sudo-i` is its sister and no service of a role.
const ROLE: &str = "[role.ops]\nmembers = [\"dave\", \"alice\"]\nservices = [\"sudo\"]\n[role.ops.approval]\nfrom = [\"bob\"]\n";

#[test]
fn a_stack_that_was_forgotten_is_named_and_each_time_it_breaks_is_an_alert() -> Result<()> {
    let plan = Plan::new(Release::Trixie).with_policy(SETTINGS, &[("ops.toml", ROLE)]);
    play(&plan, |host| {
        // The proof of README: with the password typed, the gate says so.
        let mut alice = host.login_at_terminal(ALICE)?;
        for line in ["sudo true", "sudo -i true"] {
            let typed = alice.start(line)?;
            alice.expect("password for alice: ", LIMIT)?;
            alice.type_in(&format!("{PASSWORD}\n"))?;
            let refused = alice.finish(&typed, LIMIT)?;
            refused.fails()?.says("jit: sudo")?.says("jit: a password does not help")?;
        }
        // The probes of programs: refused with our lines where PAM is asked, and nothing runs.
        let mut dave = host.login(DAVE)?;
        for probe in ["sudo -n true", "sudo -H -S -n -u root /bin/sh -c 'echo BECOME-SUCCESS; id'"] {
            dave.run(probe)?.fails()?.says("jit: a password does not help")?.never_says("uid=0")?;
        }
        dave.run("sudo -v -n")?.fails()?.says("jit:")?;

        host.root(&["jitctl", "status", "--exit-code"])?.ok()?.never_says("NOT GATED")?;
        host.root(&["jitctl", "policy", "check", "--exit-code"])?.ok()?;
        let gated = host.read("/etc/pam.d/sudo-i")?;
        let lines = gated.lines().filter(|line| !line.contains("pam_jit.so"));
        let open: String = lines.map(|line| format!("{line}\n")).collect();
        let alerts = || -> Result<usize> {
            let records = host.records()?;
            let named =
                records.iter().filter(|it| it["alert"] == "stack-broken" && it["service"] == "sudo-i");
            Ok(named.count())
        };
        for nth in 1..=2 {
            host.write("/etc/pam.d/sudo-i", &open)?;
            wait_until("the alert names the service", LIMIT, || Ok(alerts()? == nth))?;
            let status = host.root(&["jitctl", "status", "--exit-code"])?;
            status.exits(1)?.says("NOT GATED: sudo-i lets people become root without a window")?;
            status.says("/etc/pam.d/")?;
            dave.run("jitctl status")?.ok()?.says("NOT GATED: sudo-i")?;
            host.root(&["jitctl", "policy", "check"])?.ok()?.says("warning: sudo-i (no role opens it)")?;
            host.root(&["jitctl", "policy", "check", "--exit-code"])?.exits(1)?;
            let json = host.jitctl(&["policy", "check"])?;
            ensure!(json[0]["severity"] == "warning" && json[0]["line"].as_u64() > Some(0), "{json}");
            // And the proof of README fails, as it should: there is no line of ours.
            let typed = alice.start("sudo -i true")?;
            if nth == 1 {
                alice.expect("password for alice: ", LIMIT)?;
                alice.type_in(&format!("{PASSWORD}\n"))?;
            }
            alice.finish(&typed, LIMIT)?.ok()?.never_says("jit:")?;
            host.write("/etc/pam.d/sudo-i", &gated)?;
            wait_until("its mending is recorded", LIMIT, || {
                let mended = host.records()?;
                Ok(mended.iter().filter(|it| it["event"] == "stack.restored").count() == nth)
            })?;
        }
        host.root(&["jitctl", "status", "--exit-code"])?.ok()?;

        // A policy on disk that is not the one in force, and a role that nobody can get.
        host.write(
            "/etc/jitd/roles.d/ops.toml",
            &ROLE.replace("\"bob\"", "\"dave\"").replace(", \"alice\"", ""),
        )?;
        let check = host.root(&["jitctl", "policy", "check"])?;
        check.ok()?.says("ops.toml:5: role.ops.approval.from: warning: nobody approves their own request")?;
        check.says("these files are not the policy in force")?;
        Ok(())
    })
}
