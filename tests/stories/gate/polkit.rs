//! The paths beside sudo: pkexec, systemctl and run0 ask jitd through polkit's rule.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::clock::{now, wait_until};
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::{ALICE, DAVE, MALLORY};
use jit_tests::plan::{Plan, Release};

/// What the role of these stories is in.
const ROLE: &str = "[role.paths]\n\
    description = \"The paths beside sudo\"\n\
    members = [\"@webops\"]\n\
    services = [\"sudo\", \"polkit-1\", \"systemctl\"]\n\
    [role.paths.approval]\n\
    from = [\"@leads\"]\n";
const RULE: &str = "/etc/polkit-1/rules.d/00-jitd.rules";
const STACK: &str = "/etc/pam.d/polkit-1";
/// As long as polkit takes at most to read a rule that is put in (inotify).
const READ_WITHIN: Duration = Duration::from_secs(10);
/// A refusal without jitd takes no longer.
const REFUSED_WITHIN: Duration = Duration::from_millis(1500);

/// Puts the rule in, and waits until polkit has read it.
fn enable(host: &Host) -> Result<()> {
    host.write("/etc/jitd/roles.d/paths.toml", ROLE)?;
    // A unit that anybody may look at, and systemctl may restart.
    host.write("/etc/systemd/system/plain.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
    host.root(&["systemctl", "daemon-reload"])?.ok()?;
    host.root(&["systemctl", "start", "plain.service"])?.ok()?;
    host.root(&["systemctl", "reload", "jitd.service"])?.ok()?;
    host.root(&["jitctl", "polkit", "enable"])?.ok()?;
    let before = denials(host)?;
    let mut mallory = host.login(MALLORY)?;
    wait_until("polkit asks jitd", READ_WITHIN, || {
        mallory.run("pkexec --disable-internal-agent true")?.fails()?;
        Ok(denials(host)? > before)
    })
}

fn denials(host: &Host) -> Result<usize> {
    let is_denial = |record: &&serde_json::Value| {
        record["event"] == "access.denied"
            && (record["service"] == "polkit-1" || record["service"] == "systemctl")
    };
    Ok(host.records()?.iter().filter(is_denial).count())
}

/// Each way to root through polkit.
const WAYS: [&str; 9] = [
    "pkexec id -u",
    "pkexec --disable-internal-agent --user root id -u",
    "systemctl restart plain.service",
    "systemctl daemon-reload",
    "systemctl set-environment A=b",
    "systemctl enable --now plain.service",
    "systemd-run --pipe --wait id -u",
    "systemd-run --unit=harmless.service --wait touch /run/made",
    "busctl --system call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager RestartUnit ss \
     plain.service replace",
];
/// Those of systemd 256 and later.
const RUN0: [&str; 4] = [
    "run0 id -u",
    "run0 --unit=harmless.service id -u",
    "run0 --slice=system.slice id -u",
    "run0 --property=Restart=always id -u",
];

fn ways(release: Release) -> impl Iterator<Item = &'static str> {
    let run0: &[&str] = if release == Release::Trixie { &RUN0 } else { &[] };
    WAYS.iter().chain(run0).copied()
}

fn every_way_is_closed_without_a_window(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        enable(host)?;
        let invocation = || host.root(&["systemctl", "show", "-P", "InvocationID", "plain.service"]);
        let before = invocation()?.line().to_owned();
        for user in [DAVE, MALLORY] {
            let mut login = host.login(user)?;
            for way in ways(release) {
                let output = login.run(way)?;
                output.fails().with_context(|| format!("{user}: {way}"))?;
                output.never_says("0\n").with_context(|| format!("{user}: {way}"))?;
            }
        }
        ensure!(!host.has("/run/made"), "something ran");
        ensure!(invocation()?.line() == before, "plain.service was restarted");
        // The person is told why, and what to type.
        let mut dave = host.login_at_terminal(DAVE)?;
        dave.run("pkexec id -u")?.fails()?.says("jit: pkexec is refused: dave has no open window")?;
        dave.run("pkexec id -u")?.says("jitctl request paths")?;
        dave.run("systemctl restart plain.service")?.fails()?.says("jit: systemctl is refused")?;
        if release == Release::Trixie {
            dave.run("run0 id -u")?.fails()?.says("jit: run0 is refused")?.says("use sudo")?;
        }
        // The record names the command line, and the unit.
        let denied = host.record("access.denied", |record| {
            record["service"] == "polkit-1" && record["user"] == "dave" && says(record, "id -u")
        })?;
        ensure!(denied["tty"].as_str().is_some_and(|tty| tty.starts_with("/dev/pts/")), "{denied}");
        host.record("access.denied", |record| {
            record["service"] == "systemctl" && says(record, "plain.service")
        })?;
        Ok(())
    })
}

/// Whether the command line of a record has this in it.
fn says(record: &serde_json::Value, part: &str) -> bool {
    record["argv"].to_string().contains(part)
}

#[test]
fn every_way_is_closed_without_a_window_on_trixie() -> Result<()> {
    every_way_is_closed_without_a_window(Release::Trixie)
}

#[test]
fn every_way_is_closed_without_a_window_on_bookworm() -> Result<()> {
    every_way_is_closed_without_a_window(Release::Bookworm)
}

fn pkexec_in_a_window(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        enable(host)?;
        let mut alice = host.login_at_terminal(ALICE)?;
        let grant = host.grant(ALICE, "paths", "30m")?.to_string();
        alice.run("pkexec id -u")?.ok()?.says("0")?;
        let place = alice.run(
            "pkexec timeout 20 sh -c 'until grep /jit.slice/jit- /proc/self/cgroup; do sleep 0.1; done'",
        )?;
        place.ok()?.says("/jit.slice/jit-")?;
        let allowed = host.record("access.allowed", |record| {
            record["service"] == "polkit-1" && record["user"] == "alice" && says(record, "cgroup")
        })?;
        host.record("session.opened", |record| {
            record["session"] == allowed["session"] && record["run_as"] == "root"
        })?;
        // What it started is gone at the end, whatever it did to stay.
        let script =
            "setsid --fork sleep 4711; (setsid sleep 4712 &) ; nohup sleep 4713 >/dev/null 2>&1 & sleep 4714";
        let shell = alice.start(&format!("pkexec sh -c '{script}'"))?;
        wait_until("everything runs", Duration::from_secs(10), || Ok(sleepers(host)? == 4))?;
        host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
        alice.finish(&shell, Duration::from_secs(20))?.fails()?;
        let ended = host.record("session.ended", |record| {
            record["service"] == "polkit-1" && record["ended_by"] == "revoked"
        })?;
        ensure!(ended["left"] == 0 && ended["user"] == "alice", "{ended}");
        ensure!(sleepers(host)? == 0, "something is left");
        alice.run("pkexec id -u")?.fails()?.never_says("0\n")?;
        Ok(())
    })
}

fn sleepers(host: &Host) -> Result<usize> {
    let found = host.root(&["pgrep", "--full", "--count", "^sleep 471"])?;
    found.line().parse().with_context(|| found.text())
}

#[test]
fn pkexec_in_a_window_is_contained_and_ended_on_trixie() -> Result<()> {
    pkexec_in_a_window(Release::Trixie)
}

#[test]
fn pkexec_in_a_window_is_contained_and_ended_on_bookworm() -> Result<()> {
    pkexec_in_a_window(Release::Bookworm)
}

/// A role is for the users that it names, and for the services that it names.
fn a_window_opens_what_its_role_says(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        enable(host)?;
        let mut dave = host.login_at_terminal(DAVE)?;
        let grant = host.grant(DAVE, "ops", "30m")?.to_string();
        dave.run("sudo -n id -u")?.ok()?;
        dave.run("pkexec id -u")?.fails()?.says("no open window of dave covers polkit-1")?;
        dave.run("systemctl restart plain.service")?.fails()?.says("covers systemctl")?;
        host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;

        let invocation = || host.root(&["systemctl", "show", "-P", "InvocationID", "plain.service"]);
        let before = invocation()?.line().to_owned();
        host.grant(DAVE, "paths", "30m")?;
        dave.run("systemctl restart plain.service")?.ok()?;
        ensure!(invocation()?.line() != before, "plain.service was not restarted");
        host.record("access.allowed", |record| {
            record["service"] == "systemctl" && says(record, "restart") && says(record, "plain.service")
        })?;
        // What a new unit runs is told to nobody, so no window opens it.
        let run0: &[&str] = if release == Release::Trixie { &RUN0 } else { &[] };
        for way in run0
            .iter()
            .chain(&["systemd-run --wait touch /run/made", "systemd-run --unit=plain2.service --wait id"])
        {
            dave.run(way)?.fails()?.says("jit: run0 is refused")?;
        }
        ensure!(!host.has("/run/made"), "something ran");
        // A unit that has a file cannot be made anew under its name.
        host.root(&["systemctl", "stop", "plain.service"])?.ok()?;
        dave.run("systemd-run --unit=plain.service --wait touch /run/made")?.fails()?;
        ensure!(!host.has("/run/made"), "something ran");
        Ok(())
    })
}

#[test]
fn a_window_opens_what_its_role_says_and_no_more_on_trixie() -> Result<()> {
    a_window_opens_what_its_role_says(Release::Trixie)
}

#[test]
fn a_window_opens_what_its_role_says_and_no_more_on_bookworm() -> Result<()> {
    a_window_opens_what_its_role_says(Release::Bookworm)
}

/// Without jitd nobody is let through, soon, and nobody else waits for long.
#[test]
fn without_jitd_everybody_is_refused_soon() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        enable(host)?;
        // Another rule decides first for mallory.
        let own = "polkit.addRule(function (action, subject) { if (subject.user == 'mallory') return polkit.Result.YES; });\n";
        host.write("/etc/polkit-1/rules.d/00-a.rules", own)?;
        let grant = host.grant(ALICE, "paths", "30m")?.to_string();
        let mut alice = host.login(ALICE)?;
        let mut mallory = host.login(MALLORY)?;
        alice.run("pkexec id -u")?.ok()?;
        wait_until("the other rule is read", READ_WITHIN, || {
            Ok(mallory.run("systemctl restart plain.service")?.status == 0)
        })?;
        let main = host.root(&["systemctl", "show", "-P", "MainPID", "jitd.service"])?.line().to_owned();
        for (halt, resume) in [
            (format!("kill -STOP {main}"), format!("kill -CONT {main}")),
            (
                "systemctl stop jitd.socket jitd-operator.socket jitd-polkit.socket jitd.service".to_owned(),
                "systemctl start jitd.socket jitd-operator.socket jitd-polkit.socket jitd.service".to_owned(),
            ),
        ] {
            host.root_sh(&halt)?.ok()?;
            let asked = alice.start("pkexec id -u")?;
            let began = now();
            mallory.run("systemctl restart plain.service")?.ok()?.within(REFUSED_WITHIN)?;
            let refused = alice.finish(&asked, Duration::from_secs(10))?;
            refused.fails()?.within(REFUSED_WITHIN)?;
            // Nobody is asked for a while after that, so that polkitd does not wait a second for each.
            for _ in 0..10 {
                alice.run("systemctl restart plain.service")?.fails()?;
            }
            ensure!(
                began.elapsed() < Duration::from_secs(8),
                "polkitd waited for each: {:?}",
                began.elapsed()
            );
            host.root_sh(&resume)?.ok()?;
            wait_until("jitd is asked again", READ_WITHIN, || Ok(alice.run("pkexec id -u")?.status == 0))?;
        }
        host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
        Ok(())
    })
}

/// The helper is polkitd's alone, and a subject that is somebody else's process is nobody's.
#[test]
fn the_helper_says_yes_to_polkitd_alone() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        enable(host)?;
        host.grant(DAVE, "paths", "30m")?;
        let mut dave = host.login(DAVE)?;
        let helper = |subject: &str, pid: &str| {
            format!(
                "/usr/libexec/jit-polkit org.freedesktop.systemd1.reload-daemon {subject} {pid} '' '' '' '' ''"
            )
        };
        dave.run(&helper("dave", "$$"))?.fails()?.never_says("yes")?;
        let shell = dave.run("echo $$")?.line().to_owned();
        let as_polkitd = |subject: &str, pid: &str| {
            host.root(&["runuser", "-u", "polkitd", "--", "sh", "-c", &helper(subject, pid)])
        };
        as_polkitd("dave", &shell)?.ok()?.says("yes")?;
        // The pid is another person's, root's, nobody's any more, or none.
        let mut mallory = host.login(MALLORY)?;
        let hers = mallory.run("echo $$")?.line().to_owned();
        for (subject, pid) in [
            ("dave", hers.as_str()),
            ("mallory", &shell),
            ("root", "1"),
            ("dave", "1"),
            ("dave", "4194303"),
            ("dave", "0"),
            ("dave", "-1"),
            ("", &shell),
            ("nobody-of-this-name", &shell),
        ] {
            as_polkitd(subject, pid)?
                .fails()
                .with_context(|| format!("{subject} {pid}"))?
                .never_says("yes")?;
        }
        dave.leave()?;
        as_polkitd("dave", &shell)?.fails()?.never_says("yes")?;
        let short = ["runuser", "-u", "polkitd", "--", "/usr/libexec/jit-polkit", "x"];
        host.root(&short)?.fails()?.never_says("yes")?;
        Ok(())
    })
}

/// Fifty callers at once keep nobody else waiting for long.
#[test]
fn fifty_callers_do_not_keep_others_waiting() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        enable(host)?;
        host.grant(ALICE, "paths", "30m")?;
        let mut alice = host.login(ALICE)?;
        let mut mallory = host.login(MALLORY)?;
        let many = mallory.start("for n in $(seq 50); do pkexec true & done; wait")?;
        alice.run("systemctl restart plain.service")?.ok()?.within(Duration::from_secs(2))?;
        mallory.finish(&many, Duration::from_secs(60))?;
        // Above the limit of a user she is refused unseen, and that is recorded with a count.
        mallory.run_within(
            "for n in $(seq 250); do systemctl restart plain.service; done 2>/dev/null",
            Duration::from_secs(90),
        )?;
        host.record("limit.reached", |record| {
            record["user"] == "mallory" && record["detail"].as_str().is_some_and(|it| it.contains("polkit"))
        })?;
        alice.run("systemctl restart plain.service")?.ok()?;
        Ok(())
    })
}

/// With lines that do not ask, polkit gets no yes: nothing would contain what pkexec starts.
#[test]
fn a_stack_that_does_not_ask_gets_no_yes() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        enable(host)?;
        host.grant(ALICE, "paths", "30m")?;
        let mut alice = host.login_at_terminal(ALICE)?;
        alice.run("pkexec id -u")?.ok()?;
        let stack = host.read(STACK)?;
        host.write(STACK, &host.read("/usr/lib/pam.d/polkit-1")?)?;
        alice.run("pkexec id -u")?.fails()?.says("jit: pkexec is refused")?.never_says("0\n")?;
        // And with a rule that lets everybody pass, the session stage alone keeps them out.
        host.write(STACK, &stack)?;
        host.root(&["rm", RULE])?.ok()?;
        let own = "polkit.addRule(function (action, subject) { return polkit.Result.YES; });\n";
        host.write("/etc/polkit-1/rules.d/00-a.rules", own)?;
        let mut mallory = host.login_at_terminal(MALLORY)?;
        wait_until("the other rule is read", READ_WITHIN, || {
            Ok(mallory.run("systemctl restart plain.service")?.status == 0)
        })?;
        mallory.run("pkexec id -u")?.fails()?.says("jit: pkexec is refused: mallory has no open window")?;
        alice.run("pkexec id -u")?.ok()?.says("0")?;
        Ok(())
    })
}

/// Taken out, polkit is as before, and so it is when the package goes.
#[test]
fn polkit_is_as_before_afterwards() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut mallory = host.login(MALLORY)?;
        let own = "polkit.addRule(function (action, subject) { return polkit.Result.YES; });\n";
        host.write("/etc/polkit-1/rules.d/49-own.rules", own)?;
        wait_until("the other rule is read", READ_WITHIN, || Ok(mallory.run("pkexec id -u")?.status == 0))?;
        for last in [&["jitctl", "polkit", "disable"][..], &["apt-get", "purge", "-y", "jitd"][..]] {
            enable(host)?;
            // Twice is as once.
            host.root(&["jitctl", "polkit", "enable"])?.ok()?;
            mallory.run("pkexec id -u")?.fails()?;
            host.root(last)?.ok()?;
            ensure!(!host.has(RULE) && !host.has(STACK), "something is left");
            ensure!(!host.has("/run/jitd/polkit.sock"), "the socket is left");
            wait_until("polkit decides as before", READ_WITHIN, || {
                Ok(mallory.run("pkexec id -u")?.status == 0)
            })?;
        }
        leftovers(&mut mallory)
    })
}

fn leftovers(login: &mut Login) -> Result<()> {
    let units = login.run("systemctl list-unit-files 'jit*' --no-legend")?;
    if !units.stdout.trim().is_empty() {
        bail!("units are left: {}", units.stdout);
    }
    Ok(())
}
