//! A person's shell on a host: a real login, with its own audit session, that takes one line after the other.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clock::{Deadline, now};
use crate::output::{self, COMMAND_LIMIT, Output};
use crate::stream::Stream;

/// The mark at the beginning and the end of a line's output. It is sent as an escape of printf, so that a terminal's
/// echo is never taken for it.
const MARK: char = '\u{1}';

/// A shell. Its commands read from `/dev/null`, or from its terminal if it has one.
#[derive(Debug)]
pub struct Login {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    terminal: bool,
    lines: u32,
}

/// A line that was typed and is not done yet.
#[derive(Debug)]
pub struct Typed {
    n: u32,
    line: String,
    at: Instant,
}

impl Login {
    pub(crate) fn without_terminal(command: Command, user: &str) -> Result<Self> {
        Self::new(command, user, &["bash", "--noprofile", "--norc"], false)
    }

    pub(crate) fn at_terminal(command: Command, user: &str) -> Result<Self> {
        // script(1) waits for the wrong child when it is the login's first process, which has PAM's helper for one.
        let script = "script --quiet --return --flush --command 'bash --noprofile --norc' /dev/null; exit $?";
        Self::new(command, user, &["bash", "-c", script], true)
    }

    fn new(mut command: Command, user: &str, shell: &[&str], terminal: bool) -> Result<Self> {
        command
            .args(["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=PAMName=login"])
            .args(["--property=WorkingDirectory=~", "--setenv=TERM=dumb", "--setenv=LANG=C.UTF-8"])
            // As pam_systemd sets it for a terminal or for sshd, and not for a job.
            .args(["--setenv=XDG_SESSION_CLASS=user", "--setenv=XDG_SESSION_TYPE=tty"])
            .args(["--setenv=PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"])
            .arg(format!("--uid={user}"))
            .arg("--")
            .args(shell);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a login")?;
        let stdin = child.stdin.take();
        let stdout = Stream::of(child.stdout.take());
        let stderr = Stream::of(child.stderr.take());
        let mut login = Self { child, stdin, stdout, stderr, terminal, lines: 0 };
        if terminal {
            login.type_in("stty -echo; PS1= PS2=; bind 'set enable-bracketed-paste off' 2>/dev/null\n")?;
        }
        login.run("true")?.ok().with_context(|| format!("{user} cannot log in"))?;
        Ok(login)
    }

    /// Types a line and waits until it is done.
    ///
    /// # Errors
    /// When it hangs, or the shell ends; not when the line fails.
    pub fn run(&mut self, line: &str) -> Result<Output> {
        self.run_within(line, COMMAND_LIMIT)
    }

    /// As [`Login::run`], with another limit.
    ///
    /// # Errors
    /// As [`Login::run`].
    pub fn run_within(&mut self, line: &str, limit: Duration) -> Result<Output> {
        let typed = self.start(line)?;
        self.finish(&typed, limit)
    }

    /// Types a line that runs while something else is done; [`Login::finish`] waits for it.
    ///
    /// # Errors
    /// When the shell has ended.
    pub fn start(&mut self, line: &str) -> Result<Typed> {
        self.lines += 1;
        let n = self.lines;
        let quoted = line.replace('\'', "'\\''");
        let input = if self.terminal { "" } else { " </dev/null" };
        self.type_in(&format!(
            "printf '\\001b{n}\\001'; eval '{quoted}'{input}; printf '\\001e{n} %d\\001' $?; printf '\\001e{n}\\001' >&2\n"
        ))?;
        Ok(Typed { n, line: line.to_owned(), at: now() })
    }

    /// Leaves a shell that a started line opened, and waits until that line is done.
    ///
    /// # Errors
    /// As [`Login::run`].
    pub fn exit_from(&mut self, shell: &Typed) -> Result<Output> {
        self.type_in("exit\n")?;
        self.finish(shell, COMMAND_LIMIT)
    }

    /// Waits for the end of a line that was started.
    ///
    /// # Errors
    /// As [`Login::run`].
    pub fn finish(&mut self, typed: &Typed, limit: Duration) -> Result<Output> {
        let deadline = Deadline::after(limit);
        let (n, line) = (typed.n, typed.line.as_str());
        let before = Self::through(&mut self.stdout, &format!("{MARK}e{n} "), deadline);
        let before = before.with_context(|| self.stopped(line, limit))?;
        let status = Self::through(&mut self.stdout, &MARK.to_string(), deadline);
        let status = status.with_context(|| self.stopped(line, limit))?;
        let mark = format!("{MARK}e{n}{MARK}");
        let stream = if self.terminal { &mut self.stdout } else { &mut self.stderr };
        let said = Self::through(stream, &mark, deadline);
        let said = said.with_context(|| self.stopped(line, limit))?;
        let begin = format!("{MARK}b{n}{MARK}");
        let stdout = before.rsplit_once(&begin).map_or(before.as_str(), |(_, after)| after);
        let stdout = stdout.trim_end_matches(&format!("{MARK}e{n} "));
        Ok(Output {
            command: line.to_owned(),
            status: status
                .trim_end_matches(MARK)
                .parse()
                .with_context(|| format!("a status of {line}: {status:?}"))?,
            stdout: stdout.replace("\r\n", "\n"),
            stderr: if self.terminal { String::new() } else { said.trim_end_matches(&mark).to_owned() },
            took: typed.at.elapsed(),
        })
    }

    /// Types characters unchanged.
    ///
    /// # Errors
    /// When the shell has ended.
    pub fn type_in(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the shell was left")?;
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).context("the shell has ended")
    }

    /// Waits until a text is printed, and returns everything up to and including it.
    ///
    /// # Errors
    /// When it is not printed in time.
    pub fn expect(&mut self, text: &str, limit: Duration) -> Result<String> {
        let found = Self::through(&mut self.stdout, text, Deadline::after(limit));
        found
            .map(|seen| seen.replace("\r\n", "\n"))
            .with_context(|| self.stopped(&format!("(waiting for {text:?})"), limit))
    }

    /// Logs out and waits until the login is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub fn leave(mut self) -> Result<()> {
        self.stdin = None;
        output::wait(&mut self.child, Deadline::after(COMMAND_LIMIT)).map(drop)
    }

    fn through(stream: &mut Stream, text: &str, deadline: Deadline) -> Result<String> {
        loop {
            if let Some(taken) = stream.take_through(text.as_bytes()) {
                return Ok(taken);
            }
            if !stream.more(deadline) {
                bail!("{}", if deadline.left().is_some() { "the shell ended" } else { "it hung" });
            }
        }
    }

    fn stopped(&mut self, line: &str, limit: Duration) -> String {
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        format!(
            "    $ {line}\n    not done within {limit:?}; so far\n    stdout| {stdout}\n    stderr| {stderr}"
        )
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.stdin = None;
        // Its host may be gone already; nobody waits for the child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
