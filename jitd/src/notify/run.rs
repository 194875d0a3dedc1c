//! Runs a program for one notification, as a transient service of PID 1: the daemon itself cannot change its user.
//!
//! PID 1 gives the program another user, a clean environment, no privilege and a time limit, at which it ends all its
//! processes. The program reads the notification from a pipe, since every user can read the properties of a unit.

use std::io::{self, PipeReader, Write};
use std::path::Path;
use std::time::Duration;

use jit_proto::time::micros;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use zbus::{Fd, Variant};

use super::queue::Outcome;
use crate::core::notices::Program;
use crate::sessions::systemd::Systemd;

/// From SIGTERM to SIGKILL, when the program takes too long.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// The time beyond the limit that PID 1 has to start and to end the service.
const MORE: Duration = Duration::from_secs(15);
/// The exit status of a program that asks to be run again later (sysexits.h, EX_TEMPFAIL).
const TRY_AGAIN: i32 = 75;

/// A run of a program.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) unit: String,
    pub(super) program: &'a Program,
    pub(super) arguments: &'a [&'a str],
    pub(super) user: &'a str,
    pub(super) limit: Duration,
    pub(super) confinement: Confinement,
}

/// What a program is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confinement {
    /// A read-only system without people's homes, no new privileges, and low limits.
    Strict,
    /// A user and a time limit only: the mail programs of Postfix and Exim are set-group-id and set-user-id, write
    /// their queues, and leave a process behind that delivers.
    MailProgram,
}

/// Runs the program with this input and waits for its end.
pub(super) async fn run(systemd: &Systemd, run: &Run<'_>, input: &str) -> Outcome {
    let stdin = match filled(input) {
        Ok(stdin) => stdin,
        Err(error) => return Outcome::Failed(format!("its input does not fit into a pipe: {error}")),
    };
    let job = match systemd.start_transient(&run.unit, properties(run, &stdin)).await {
        Ok(job) => job,
        Err(error) => return Outcome::Failed(format!("PID 1 did not start it: {error}")),
    };
    drop(stdin);
    let result = systemd.end_of(job.as_str(), run.limit + MORE).await;
    let outcome = if result == "done" { Outcome::Done } else { why(systemd, run, &result).await };
    // Where this fails, PID 1 drops the reference with the daemon's connection.
    let _ = systemd.unref(&run.unit).await;
    outcome
}

/// A pipe with the input in it and its other end closed.
fn filled(input: &str) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    // Nonblocking: nothing reads yet, so an input that does not fit is an error.
    fcntl_setfl(&writer, fcntl_getfl(&writer)? | OFlags::NONBLOCK)?;
    writer.write_all(input.as_bytes())?;
    Ok(reader)
}

/// Why the run failed, from the properties of its unit.
async fn why(systemd: &Systemd, run: &Run<'_>, job: &str) -> Outcome {
    let result = systemd.property(&run.unit, "Service", "Result").await;
    let result = result.ok().and_then(|result| String::try_from(result).ok()).unwrap_or_default();
    let status = systemd.property(&run.unit, "Service", "ExecMainStatus").await;
    let status = status.ok().and_then(|status| i32::try_from(status).ok()).unwrap_or(-1);
    match result.as_str() {
        "exit-code" if status == TRY_AGAIN => Outcome::Deferred("it asked to be run again later".to_owned()),
        "exit-code" => Outcome::Failed(format!("it ended with status {status}")),
        "timeout" => {
            let limit = jit_proto::time::format_duration(run.limit);
            Outcome::Failed(format!("it was killed, because it took longer than {limit}"))
        }
        "signal" | "core-dump" => Outcome::Failed(format!("it was ended by signal {status}")),
        other => Outcome::Failed(format!("its job ended as {job:?} ({other})")),
    }
}

/// The unit (systemd.exec(5), systemd.kill(5)). Only properties that systemd 252 has.
fn properties<'a>(run: &Run<'a>, stdin: &'a PipeReader) -> Vec<(&'a str, Variant<'a>)> {
    let path = |path: &Path| path.display().to_string();
    let mut arguments = vec![path(&run.program.named)];
    arguments.extend(run.arguments.iter().map(|word| (*word).to_owned()));
    let command = vec![(path(&run.program.real), arguments, false)];
    let mut properties = vec![
        ("Description", Variant::from("Just-in-time sudo: tells somebody")),
        ("Type", Variant::from("oneshot")),
        ("ExecStart", Variant::from(command)),
        ("User", Variant::from(run.user.to_owned())),
        ("StandardInputFileDescriptor", Variant::from(Fd::from(stdin))),
        ("WorkingDirectory", Variant::from("/")),
        ("UMask", Variant::from(0o077_u32)),
        ("TimeoutStartUSec", Variant::from(micros(run.limit))),
        ("TimeoutStopUSec", Variant::from(micros(STOP_LIMIT))),
        ("CollectMode", Variant::from("inactive-or-failed")),
        // Keeps the ended unit until its result has been read.
        ("AddRef", Variant::from(true)),
        // Behind every sudo.
        ("Nice", Variant::from(10_i32)),
        ("TasksMax", Variant::from(64_u64)),
    ];
    match run.confinement {
        Confinement::MailProgram => properties.push(("KillMode", Variant::from("process"))),
        Confinement::Strict => properties.extend([
            ("NoNewPrivileges", Variant::from(true)),
            ("CapabilityBoundingSet", Variant::from(0_u64)),
            ("ProtectSystem", Variant::from("strict")),
            ("ProtectHome", Variant::from("yes")),
            ("ProtectProc", Variant::from("invisible")),
            ("PrivateTmp", Variant::from(true)),
            ("PrivateDevices", Variant::from(true)),
            ("ProtectClock", Variant::from(true)),
            ("ProtectKernelTunables", Variant::from(true)),
            ("ProtectKernelModules", Variant::from(true)),
            ("ProtectKernelLogs", Variant::from(true)),
            ("ProtectControlGroups", Variant::from(true)),
            ("RestrictSUIDSGID", Variant::from(true)),
            ("RestrictRealtime", Variant::from(true)),
            // 0: no kind of namespace is allowed.
            ("RestrictNamespaces", Variant::from(0_u64)),
            ("LockPersonality", Variant::from(true)),
            ("KeyringMode", Variant::from("private")),
            ("MemoryMax", Variant::from(256_u64 << 20)),
            ("LimitCORE", Variant::from(0_u64)),
        ]),
    }
    properties
}
