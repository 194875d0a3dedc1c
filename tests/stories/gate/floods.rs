//! Users who cause as much work as they can delay nobody else, and keep nobody from stopping them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::{now, wait_until};
use jit_tests::floods::{Flood, Scene, Times, memory, was_never_ended};
use jit_tests::host::{Host, play};
use jit_tests::people::{ALICE, BOB, DAVE, MALLORY, OSCAR, uid};
use jit_tests::plan::{Plan, Release};

/// Root's revocation in the middle of a flood; the sockets are beside the bus.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);
/// What the daemon has of its own, in bytes.
const MEMORY: u64 = 64_000_000;
/// The median sudo in a flood: longer than this is held up. How many times slower than without the flood it is, is what
/// `make test-hostile` measures.
const SUDO_WITHIN: Duration = Duration::from_secs(1);

/// A handful of the floods; all of them are `make test-hostile`.
#[test]
fn floods_hold_nobody_up_and_are_told() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut scene = Scene::set(host)?;
        let (mut became_root, mut held_up, mut refused) = (0, 0, 0);
        for name in ["show-no-reply", "status-answered", "request-huge", "search-answered", "churn", "sudos"]
        {
            let flood = Flood::named(name).context(name)?;
            let outcome = scene.play(host, flood, Times { rounds: 1, seconds: 6, sudos: 15 })?;
            eprintln!("{outcome}");
            ensure!(outcome.revoke <= REVOKED_WITHIN, "{outcome}");
            ensure!(outcome.sudo.1 <= SUDO_WITHIN, "{outcome}");
            ensure!(outcome.peak <= MEMORY, "{outcome}");
            became_root += outcome.became_root;
            held_up += outcome.held_up;
            refused += outcome.refused;
        }
        eprintln!("{became_root} became root, {held_up} held up, {refused} refused");
        ensure!(became_root == 0 && held_up == 0, "{became_root} became root, {held_up} held up");
        was_never_ended(host)?;
        let told = host.record("limit.reached", |record| record["user"] == MALLORY)?;
        ensure!(told["suppressed"].as_u64() > Some(0), "{told}");
        let alerts =
            of(host, |record| record["event"] == "alert.raised" && record["alert"] == "limit-reached")?;
        ensure!(alerts == 1, "{alerts} alerts of one flood");
        Ok(())
    })
}

/// 250 connections of each of four users ask nothing; a fifth user works on.
#[test]
fn a_thousand_stopped_callers_hold_nobody_up() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("flood")?;
        host.grant(OSCAR, "ops", "30m")?;
        let mut oscar = host.login(OSCAR)?;
        let mut times = || -> Result<Duration> {
            let mut times = Vec::new();
            for _ in 0..31 {
                let sudo = oscar.run("sudo -n true")?;
                sudo.ok()?;
                times.push(sudo.took);
            }
            times.sort_unstable();
            Ok(times[times.len() / 2])
        };
        let quiet = times()?;
        for user in [ALICE, BOB, DAVE, MALLORY] {
            let silent = format!(
                "systemd-run --quiet --collect --unit=silent-{user} --property=LimitNOFILE=4096 \
                 setpriv --ruid={} --euid=0 flood silent 250 120",
                uid(user)
            );
            host.root_sh(&silent)?.ok()?;
        }
        for user in [ALICE, BOB, DAVE, MALLORY] {
            host.record("limit.reached", |record| record["user"] == user)?;
        }
        let flooded = times()?;
        eprintln!("quiet {quiet:?}, with 1,000 silent callers {flooded:?}");
        ensure!(flooded.as_secs_f64() <= 3.0 * quiet.as_secs_f64(), "quiet {quiet:?}, flooded {flooded:?}");
        let alerts =
            of(host, |record| record["event"] == "alert.raised" && record["alert"] == "limit-reached")?;
        ensure!(alerts == 1, "{alerts} alerts");
        let records = of(host, |record| record["event"] == "limit.reached")?;
        ensure!(records == 4, "{records} records of four users in a quarter of an hour");
        let (bytes, _) = memory(host)?;
        ensure!(bytes <= MEMORY, "{bytes} bytes");
        Ok(())
    })
}

/// Stopped in the middle of the account stage, a sudo asks when it goes on, and is answered.
#[test]
fn a_sudo_that_was_stopped_goes_on() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("flood")?;
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        // Longer than the daemon waits for a question, shorter than the module waits for an answer.
        let script = "for n in $(seq 10); do sudo -n true & pid=$!; before=$(cat /proc/$pid/sessionid); \
             while [ \"$(cat /proc/$pid/sessionid 2>/dev/null)\" = \"$before\" ]; do :; done; \
             kill -STOP $pid; timeout 0.8 tail -f /dev/null; kill -CONT $pid; \
             wait $pid || failed=\"$failed $n\"; done; echo \"failed:$failed.\"";
        dave.run(&format!("bash -c '{}'", script.replace('\'', "'\\''")))?.ok()?.says("failed:.")?;
        Ok(())
    })
}

/// Refusals of one user are recorded up to a number, and counted from there on; what is let in is recorded always.
#[test]
fn refusals_do_not_fill_the_record() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let mut mallory = host.login(MALLORY)?;
        // What the ledger refuses, and what the table refuses before that.
        for (method, arguments) in [("Revoke", "tsa{sv} 1"), ("RevokeAll", "sa{sv}")] {
            let refusals = format!(
                "seq 250 | xargs -P 8 -I+ busctl --system call org.jitd.Jit1 /org/jitd/Jit1 \
                 org.jitd.Jit1.Manager {method} {arguments} 'a reason that is long enough' 0 >/dev/null 2>&1; true"
            );
            mallory.run(&refusals)?.ok()?;
        }
        host.record("limit.reached", |record| {
            record["user"] == MALLORY && record["detail"].as_str().is_some_and(|why| why.contains("recorded"))
        })?;
        let refused = of(host, |record| record["event"] == "command.refused" && record["actor"] == MALLORY)?;
        ensure!((300..=330).contains(&refused), "{refused} refusals are in the record");
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        dave.run("for n in $(seq 350); do sudo -n true || exit 1; done")?.ok()?;
        let allowed = of(host, |record| record["event"] == "access.allowed" && record["user"] == DAVE)?;
        ensure!(allowed == 350, "{allowed} of 350 are in the record");
        // The daemon's end tells what has not been told.
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        let left = of(host, |record| record["event"] == "limit.reached" && record["user"] == MALLORY)?;
        ensure!(left == 2, "{left} records of what was held back");
        Ok(())
    })
}

/// The operators' socket: who may open it, what it answers, and that it works where the bus does not.
#[test]
fn operators_revoke_while_the_bus_is_stopped() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let grant = host.grant(DAVE, "ops", "30m")?;
        let other = host.grant(DAVE, "ops", "30m")?;
        let stat = host.root(&["stat", "--format=%a %U %G", "/run/jitd/operator.sock"])?;
        stat.ok()?.says("660 root jit-operators")?;
        let mut mallory = host.login(MALLORY)?;
        let mut oscar = host.login(OSCAR)?;
        // A refusal over the socket is the daemon's own, and the caller is the one that the kernel names.
        oscar.run(&format!("jitctl approve {grant}"))?.says("no pending request")?;
        let refused =
            mallory.run("busctl --address=unix:path=/run/jitd/operator.sock introspect org.jitd.Jit1 /")?;
        refused.holds(refused.status != 0, "a stranger opens the operators' socket")?;
        let bus = host.root(&["systemctl", "show", "--property=MainPID", "--value", "dbus.service"])?;
        let bus = bus.stdout.trim().to_owned();
        host.root(&["kill", "-STOP", &bus])?.ok()?;
        let begun = now();
        let revoked =
            host.root(&["jitctl", "revoke", &grant.to_string(), "--reason", "the bus is stopped"])?;
        let by_root = begun.elapsed();
        let by_operator = oscar.run(&format!("jitctl revoke {other} --reason 'the bus is stopped'"))?;
        host.root(&["kill", "-CONT", &bus])?.ok()?;
        revoked.ok()?;
        by_operator.ok()?;
        ensure!(by_root <= REVOKED_WITHIN && by_operator.took <= REVOKED_WITHIN, "{by_root:?} {by_operator}");
        host.record("grant.revoked", |record| record["grant"] == grant && record["actor"] == "root")?;
        host.record("grant.revoked", |record| record["grant"] == other && record["actor"] == OSCAR)?;
        Ok(())
    })
}

/// What any user can send to one connection on the bus is not taken for the word of PID 1 or logind, and what is no
/// message by the specification does not end the connection.
fn nothing_forged_is_believed(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        host.install("flood")?;
        host.grant(DAVE, "logout", "30m")?;
        let mut dave = host.login(DAVE)?;
        let lifeline = host.lifeline("/var/lib/alive")?;
        dave.run("sudo -n sh -c 'exec 9>/var/lib/alive; echo up >/var/lib/up; sleep 600' >/dev/null 2>&1 &")?
            .ok()?;
        wait_until("it runs", Duration::from_secs(10), || Ok(host.has("/var/lib/up")))?;
        let login = host.record("session.opened", |record| record["user"] == DAVE)?["login_session"].clone();
        let login = login.as_str().context("the session came from a login")?.to_owned();
        let mut mallory = host.login(MALLORY)?;
        let forged = format!(
            "for n in $(seq 0 60); do busctl --system emit --destination=:1.$n /org/freedesktop/login1 \
             org.freedesktop.login1.Manager SessionRemoved so {login} /org/freedesktop/login1/session/_1; done"
        );
        mallory.run(&forged)?.ok()?;
        mallory.run("flood malformed 2")?.ok()?;
        mallory.run("flood signals 2")?.ok()?;
        // The daemon has taken all that came before this on its own connections.
        host.root(&["jitctl", "status"])?.ok()?;
        mallory.run("jitctl status")?.ok()?;
        let open = host.jitctl(&["sessions"])?;
        ensure!(open.as_array().is_some_and(|open| open.len() == 1), "{open}");
        let ended = of(host, |record| record["event"] == "session.ended" && record["user"] == DAVE)?;
        ensure!(ended == 0, "the session was ended");
        was_never_ended(host)?;
        host.record("limit.reached", |record| record["event"] == "limit.reached")?;
        drop(lifeline);
        Ok(())
    })
}

#[test]
fn nothing_forged_is_believed_on_trixie() -> Result<()> {
    nothing_forged_is_believed(Release::Trixie)
}

#[test]
fn nothing_forged_is_believed_on_bookworm() -> Result<()> {
    nothing_forged_is_believed(Release::Bookworm)
}

/// A daemon that hangs is told of in time.
#[test]
fn jitctl_says_within_five_seconds_that_the_daemon_hangs() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let pid = host.root(&["systemctl", "show", "--property=MainPID", "--value", "jitd.service"])?;
        let pid = pid.stdout.trim().to_owned();
        let mut alice = host.login(ALICE)?;
        host.root(&["kill", "-STOP", &pid])?.ok()?;
        let by_bus = alice.run("jitctl status")?;
        let by_socket = host.root(&["jitctl", "status"])?;
        host.root(&["kill", "-CONT", &pid])?.ok()?;
        for output in [by_bus, by_socket] {
            output.says("jitd does not answer")?.within(Duration::from_secs(5))?;
            output.holds(output.status == 5, "the daemon cannot be reached")?;
        }
        host.root(&["systemctl", "mask", "--runtime", "--now", "jitd.socket", "jitd.service"])?.ok()?;
        for output in [alice.run("jitctl status")?, host.root(&["jitctl", "status"])?] {
            output.says("jitd")?.within(Duration::from_secs(5))?;
            output.holds(output.status == 5, "the daemon cannot be reached")?;
        }
        Ok(())
    })
}

/// A process that lives on and asks often costs no more with each call.
#[test]
fn a_process_that_asks_a_thousand_times_leaves_nothing_behind() -> Result<()> {
    play(&Plan::new(Release::Trixie).with_debian(&["pamtester"]), |host| {
        host.grant(DAVE, "ops", "30m")?;
        // As root with dave's real uid, as sudo is: one process for all calls.
        let often = format!(
            "systemd-run --quiet --collect --unit=often --no-block setpriv --ruid={} --euid=0 pamtester sudo dave {}",
            uid(DAVE),
            "acct_mgmt ".repeat(1000)
        );
        host.root_sh(&often)?.ok()?;
        let mut most = 0;
        wait_until("all calls are made", Duration::from_secs(60), || {
            let open = host.jitctl(&["sessions"])?.as_array().map_or(0, Vec::len);
            most = most.max(open);
            let gone = host.root(&["systemctl", "is-active", "often.service"])?.status != 0;
            Ok(gone)
        })?;
        let allowed = of(host, |record| record["event"] == "access.allowed" && record["user"] == DAVE)?;
        ensure!(allowed == 1000, "{allowed} of 1000 calls");
        ensure!(most <= 64, "{most} sessions of one process at once");
        eprintln!("{most} sessions at once at most");
        host.no_session_left(Duration::from_secs(10))
    })
}

/// What the caller's own limit stops is told as the caller's own.
#[test]
fn a_caller_with_too_few_descriptors_is_told_whose_limit_it_is() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        let mut told = 0;
        for limit in 4..=10 {
            let output = dave.run(&format!("bash -c 'ulimit -n {limit}; sudo -n true'"))?;
            if output.text().contains("jit:") && output.status != 0 {
                output.says(&format!(
                    "too many open files in this process: its limit (ulimit -n) is {limit}"
                ))?;
                output.never_says("administrator")?;
                told += 1;
            }
        }
        ensure!(told > 0, "no limit kept the module from asking");
        Ok(())
    })
}

fn of(host: &Host, holds: impl Fn(&serde_json::Value) -> bool) -> Result<usize> {
    Ok(host.records()?.iter().filter(|record| holds(record)).count())
}
