//! Runs inside a host, as the measured user: starts commands and measures their time, or calls the gate.
#![allow(clippy::print_stdout, reason = "what it prints is read by the bench")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jit_proto::bus::names::{GATE_INTERFACE, GATE_SOCKET, OBJECT_PATH};
use jit_proto::pam_protocol::{METHOD_ENTER, OPTION_TAGGED, OUTCOME_ALLOWED, OUTCOME_DENIED};
use jit_tests::clock::{Deadline, now};
use nix::unistd::{Uid, setresuid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, getpid, getuid, pidfd_open};
use zbus::connection::Builder;
use zbus::{Fd, OwnedVariant, Variant};

/// The number of single records of one user's denials within a minute (jitd.toml(5), LIMITS), less a few.
const RECORDED_DENIALS: u32 = 290;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["time"] => time_commands(),
        ["denied", seconds, first, count] => {
            denied(Duration::from_secs_f64(seconds.parse()?), first.parse()?, count.parse()?)
        }
        ["root", seconds] => root(Duration::from_secs_f64(seconds.parse()?)),
        ["allowed", seconds] => again_and_again(Duration::from_secs(seconds.parse()?), sudo_like),
        ["once"] => enter_once(),
        ["kill", cgroup] => kill_cgroup(Path::new(cgroup)),
        _ => bail!(
            "usage: stopwatch time | denied SECONDS FIRST-UID COUNT | root SECONDS | allowed SECONDS | kill CGROUP"
        ),
    }
}

/// For each line `TIMES WORD...` on stdin: runs the command this many times in a row, and prints the nanoseconds and
/// the number of failures.
fn time_commands() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let times: u32 = words.next().unwrap_or_default().parse().with_context(|| line.clone())?;
        let mut command = Command::new(words.next().context("a command")?);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut failed = 0;
        let begun = now();
        for _ in 0..times {
            // `status` is fork, exec and wait, and nothing else.
            failed += u32::from(!command.status()?.success());
        }
        let took = begun.elapsed().as_nanos();
        println!("{took} {failed}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Repeats a function for a while, started by a line on stdin; prints the number of successes and failures, and the
/// longest time in microseconds.
fn again_and_again(duration: Duration, mut what: impl FnMut() -> Result<()>) -> Result<()> {
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    let (mut calls, mut failed, mut longest) = (0_u64, 0_u64, Duration::ZERO);
    let deadline = Deadline::after(duration);
    while deadline.left().is_some() {
        let begun = now();
        match what() {
            Ok(()) => calls += 1,
            Err(_) => failed += 1,
        }
        longest = longest.max(begun.elapsed());
    }
    println!("{calls} {failed} {}", longest.as_micros());
    Ok(())
}

/// Calls as one user after the other, so that each denial gets its own record: many denials of one user are only
/// counted. Started as root; the real uid is the user's, as in sudo.
fn denied(duration: Duration, first: u32, count: u32) -> Result<()> {
    let runtime = runtime()?;
    let mut calls = 0;
    again_and_again(duration, || {
        let user = calls / RECORDED_DENIALS;
        if user >= count {
            bail!("{count} users are too few for so many calls");
        }
        if calls % RECORDED_DENIALS == 0 {
            setresuid(Uid::from_raw(first + user), Uid::from_raw(0), Uid::from_raw(0))?;
        }
        calls += 1;
        enter(&runtime, OUTCOME_DENIED)
    })
}

/// Calls as root, whom the gate allows: each call gets its own record, however many there are.
fn root(duration: Duration) -> Result<()> {
    let runtime = runtime()?;
    again_and_again(duration, || runtime.block_on(async { Box::pin(call(OUTCOME_ALLOWED, false)).await }))
}

/// A process for each call, with an audit session of its own, that exits afterwards, like a sudo.
fn sudo_like() -> Result<()> {
    let once = Command::new("/proc/self/exe").arg("once").stderr(Stdio::null()).status()?;
    if once.success() { Ok(()) } else { bail!("it was refused") }
}

/// Starts an audit session as `pam_jit` does, and enters.
fn enter_once() -> Result<()> {
    fs::write("/proc/self/loginuid", getuid().as_raw().to_string()).context("/proc/self/loginuid")?;
    enter(&runtime()?, OUTCOME_ALLOWED)
}

/// Prints the microseconds from `cgroup.kill` until the cgroup is empty.
fn kill_cgroup(cgroup: &Path) -> Result<()> {
    let begun = now();
    fs::write(cgroup.join("cgroup.kill"), "1")?;
    let events = fs::File::open(cgroup.join("cgroup.events"))?;
    loop {
        let mut bytes = [0; 256];
        let length = rustix::io::pread(&events, &mut bytes, 0)?;
        if String::from_utf8_lossy(&bytes[..length]).contains("populated 0") {
            break;
        }
        let mut polled = [PollFd::new(&events, PollFlags::PRI)];
        poll(&mut polled, None)?;
    }
    println!("{}", begun.elapsed().as_micros());
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// One call on a connection of its own.
fn enter(runtime: &tokio::runtime::Runtime, expected: &str) -> Result<()> {
    runtime.block_on(async { Box::pin(call(expected, expected == OUTCOME_ALLOWED)).await })
}

async fn call(expected: &str, tagged: bool) -> Result<()> {
    let stream = UnixStream::connect(GATE_SOCKET)?;
    stream.set_nonblocking(true)?;
    let connection = Builder::unix_stream(stream).p2p().build().await?;
    let process = pidfd_open(getpid(), PidfdFlags::empty())?;
    let options = HashMap::from([(OPTION_TAGGED, Variant::from(tagged))]);
    let body = (Fd::from(process.as_fd()), "sudo", "dave", "dave", "", options);
    let reply =
        connection.call_method(None::<&str>, OBJECT_PATH, Some(GATE_INTERFACE), METHOD_ENTER, &body).await?;
    let body = reply.body();
    let (outcome, text, _more): (String, Vec<String>, HashMap<String, OwnedVariant>) = body.deserialize()?;
    if outcome != expected {
        bail!("{outcome}: {text:?}");
    }
    Ok(())
}
