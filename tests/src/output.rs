//! The output and exit status of a command, and assertions that print both when they fail.

use std::fmt;
use std::io::Write;
use std::panic::Location;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::Value;

use crate::clock::{Deadline, now};
use crate::stream::Stream;

/// The time after which an ordinary command on a loaded machine counts as hung.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command.
    pub command: String,
    /// Exit status, as a shell counts it: 128 + N for signal N.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error; empty for a terminal, where both are one.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// It ended with status 0.
    ///
    /// # Errors
    /// When it did not.
    #[track_caller]
    pub fn ok(&self) -> Result<&Self> {
        self.exits(0)
    }

    /// It ended with this status.
    ///
    /// # Errors
    /// When it did not.
    #[track_caller]
    pub fn exits(&self, status: i32) -> Result<&Self> {
        self.holds(self.status == status, &format!("exit status {status}"))
    }

    /// It ended with another status than 0.
    ///
    /// # Errors
    /// When it did not.
    #[track_caller]
    pub fn fails(&self) -> Result<&Self> {
        self.holds(self.status != 0, "an exit status other than 0")
    }

    /// A text is on one of its streams.
    ///
    /// # Errors
    /// When it is not.
    #[track_caller]
    pub fn says(&self, text: &str) -> Result<&Self> {
        self.holds(self.text().contains(text), &format!("the text {text:?}"))
    }

    /// A text is on neither stream.
    ///
    /// # Errors
    /// When it is.
    #[track_caller]
    pub fn never_says(&self, text: &str) -> Result<&Self> {
        self.holds(!self.text().contains(text), &format!("the text {text:?} to be absent"))
    }

    /// It took less than this.
    ///
    /// # Errors
    /// When it took longer.
    #[track_caller]
    pub fn within(&self, limit: Duration) -> Result<&Self> {
        self.holds(self.took < limit, &format!("an end within {limit:?}"))
    }

    /// Checks another condition.
    ///
    /// # Errors
    /// When it does not.
    #[track_caller]
    pub fn holds(&self, holds: bool, expected: &str) -> Result<&Self> {
        if holds { Ok(self) } else { Err(self.complaint(expected)) }
    }

    /// Both streams.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output without the newline at its end.
    #[must_use]
    pub fn line(&self) -> &str {
        self.stdout.trim_end_matches(['\n', '\r'])
    }

    /// Standard output as one JSON document; it ended with status 0.
    ///
    /// # Errors
    /// When it did not, or printed something else.
    #[track_caller]
    pub fn json(&self) -> Result<Value> {
        self.ok()?;
        serde_json::from_str(&self.stdout).map_err(|error| self.complaint(&format!("JSON ({error})")))
    }

    /// Standard output as one JSON document a line; it ended with status 0.
    ///
    /// # Errors
    /// When it did not, or printed something else.
    #[track_caller]
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        self.ok()?;
        let parsed: Result<Vec<Value>, _> = self.stdout.lines().map(serde_json::from_str).collect();
        parsed.map_err(|error| self.complaint(&format!("lines of JSON ({error})")))
    }

    #[track_caller]
    fn complaint(&self, expected: &str) -> Error {
        anyhow!("{}: expected {expected}, but\n{self}", Location::caller())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    $ {}\n    exit status {}, {:?}", self.command, self.status, self.took)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in text.lines() {
                write!(f, "\n    {name}| {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs a command of the build machine to its end.
///
/// # Errors
/// When it cannot be started, or does not end in time; then its process group is killed.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Result<Output> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let typed = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
    let begun = now();
    let deadline = Deadline::after(limit);
    use std::os::unix::process::CommandExt;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {typed}"))?;
    let mut stdout = Stream::of(child.stdout.take());
    let mut stderr = Stream::of(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A command may ignore its input.
        let _ = stdin.write_all(input);
    }
    let status = wait(&mut child, deadline).with_context(|| format!("running {typed}"));
    let took = begun.elapsed();
    // A remaining child may hold the streams open; the output so far counts.
    let rest = Deadline::after(Duration::from_millis(500));
    for stream in [&mut stdout, &mut stderr] {
        while stream.more(rest) {}
    }
    let [stdout, stderr] = [stdout.text(), stderr.text()];
    match status {
        Ok(status) => Ok(Output { command: typed, status, stdout, stderr, took }),
        Err(error) => Err(error.context(format!("stdout: {stdout}\nstderr: {stderr}"))),
    }
}

/// Waits for a child; kills its process group when it does not end in time.
///
/// # Errors
/// When it does not end in time, or cannot be waited for.
pub fn wait(child: &mut Child, deadline: Deadline) -> Result<i32> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
    loop {
        let Some(left) = deadline.left() else {
            // The group first: the command may run in another PID namespace, as a child of this one.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = child.kill();
            let _ = child.wait();
            bail!("it hung and was killed");
        };
        let left = Timespec::try_from(left).context("a limit in range")?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(exit_code(child.wait().context("wait")?)),
            Err(error) => return Err(error).context("poll"),
        }
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
