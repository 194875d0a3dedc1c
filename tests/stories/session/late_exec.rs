//! A sudo that passed the check in the window and would run its command after it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::sudos;

const LIMIT: Duration = Duration::from_secs(20);

/// Puts a module behind the gate, in the same stage, that waits: sudo has passed the check and has not run anything.
fn hold_behind_the_gate(host: &Host) -> Result<()> {
    host.write_program(
        "/usr/local/bin/hold",
        "#!/bin/bash\necho here > /var/tmp/line\nread -r < /var/tmp/go\n",
    )?;
    host.root(&["mkfifo", "--mode=666", "/var/tmp/go"])?.ok()?;
    let stack = host.read("/etc/pam.d/sudo")?;
    let gate = "account  [success=ok default=die]  pam_jit.so gate \n";
    ensure!(stack.contains(gate), "the gate's line is another one than this story knows:\n{stack}");
    let hold = format!("{gate}account optional pam_exec.so quiet /usr/local/bin/hold\n");
    host.write("/etc/pam.d/sudo", &stack.replace(gate, &hold))
}

#[test]
fn a_sudo_that_was_stopped_after_the_check_runs_nothing_after_the_window() -> Result<()> {
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            hold_behind_the_gate(host)?;
            for &sudo in sudos(release) {
                host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
                let lifeline = host.lifeline("/var/tmp/line")?;
                let grant = host.grant(DAVE, "ops", "30m")?.to_string();
                let mut dave = host.login(DAVE)?;
                dave.run(&format!("{sudo} -n touch /etc/ran & pid=$!"))?.ok()?;
                lifeline.taken(LIMIT)?;
                dave.run("kill -STOP $pid")?.ok()?;
                host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
                host.no_session_left(LIMIT)?;
                // What held it lets go of it, and it is told to go on.
                host.root(&["timeout", "1", "bash", "-c", "echo go > /var/tmp/go"])?;
                dave.run("kill -CONT $pid")?;
                dave.run_within("wait $pid", LIMIT)?.fails().with_context(|| sudo.to_owned())?;
                ensure!(!host.has("/etc/ran"), "{sudo} ran its command after the window");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What tells afterwards why a command ran: when each sudo was stopped and where, when each file was made, and all records
/// from the grant on. This story failed once in about a hundred runs before it kept these.
fn evidence(host: &Host, grant: &str) -> String {
    let stopped =
        host.root_sh("cat /var/tmp/stopped; stat --format='%n made at %.6W changed at %.6Z' /etc/ran/*");
    let stopped = stopped.map_or_else(|error| format!("{error:#}"), |output| output.text());
    let records = host.records().unwrap_or_default();
    let from = records
        .iter()
        .position(|record| record["grant"].as_u64().is_some_and(|own| own.to_string() == grant))
        .unwrap_or_default();
    let records: Vec<String> = records.iter().skip(from).map(ToString::to_string).collect();
    format!("{stopped}\n{}", records.join("\n"))
}

/// Stopped at many different moments: whatever had not run at the end of the window never does.
#[test]
fn stopped_at_any_moment_it_runs_nothing_after_the_window() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        for &sudo in sudos(Release::Trixie) {
            host.root_sh("rm -rf /etc/ran; mkdir /etc/ran")?.ok()?;
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            let mut dave = host.login(DAVE)?;
            // A pipe with nothing in it is read from for as long as is to be waited.
            dave.run("exec 8<> <(:); pids=; log=/var/tmp/stopped; : >$log")?.ok()?;
            for n in 0..40 {
                let line = format!(
                    "{sudo} -n touch /etc/ran/{n} & pid=$!; pids+=\" $pid\"; read -t 0.0{n:02} -u 8; kill -STOP $pid; \
                     echo \"{n}: pid $pid stopped at $EPOCHREALTIME: $(tr -d '\\0' </proc/$pid/wchan) \
                     $(grep -s State /proc/$pid/status)\" >>$log"
                );
                dave.run(&line)?;
            }
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
            host.no_session_left(LIMIT)
                .with_context(|| format!("{sudo} after the revocation:\n{}", evidence(host, &grant)))?;
            let by_the_end = host.root_sh("ls /etc/ran | sort -n | tr '\\n' ' '")?.ok()?.stdout.clone();
            dave.run("kill -CONT $pids")?;
            dave.run_within("wait", LIMIT)
                .with_context(|| format!("{sudo}: one goes on waiting:\n{}", evidence(host, &grant)))?;
            let afterwards = host.root_sh("ls /etc/ran | sort -n | tr '\\n' ' '")?.ok()?.stdout.clone();
            ensure!(
                by_the_end == afterwards,
                "{sudo}: ran by the end: {by_the_end}; afterwards: {afterwards}\n{}",
                evidence(host, &grant)
            );
            ensure!(
                afterwards.split(' ').count() < 40,
                "{sudo}: none was stopped in time; this story shows nothing"
            );
        }
        Ok(())
    })
}
