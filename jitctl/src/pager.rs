//! Runs a pager for long output, as git(1) and systemctl(1) do: only on a terminal, never with JSON.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anstream::{AutoStream, ColorChoice};
use tokio::signal::unix::{SignalKind, signal};

/// The default pager.
const LESS: &str = "/usr/bin/less";
/// `-F`: exit if all fits on the screen; `-R`: keep bold; `-S`: cut lines instead of wrapping, so that they can be
/// scrolled; `-X`: leave the text on the screen (less(1)).
const LESS_OPTIONS: &str = "FRSX";

/// The choice of a pager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// No pager.
    None,
    /// less(1).
    Less,
    /// A command for the shell, from `$PAGER`.
    Command(String),
}

impl Choice {
    /// The choice of this process.
    #[allow(clippy::disallowed_methods, reason = "a pager is chosen by the environment, as pager(1) has it")]
    pub(crate) fn of_environment() -> Self {
        let text = |name: &str| std::env::var(name).ok();
        Self::of(text("PAGER").as_deref(), text("TERM").as_deref(), rustix::process::geteuid().is_root())
    }

    /// Root runs only less, and no command from a variable: a rule of sudoers may let a user run jitctl as root with
    /// their own environment.
    fn of(pager: Option<&str>, term: Option<&str>, root: bool) -> Self {
        match (term, pager.map(str::trim)) {
            (None | Some("" | "dumb"), _) | (_, Some("" | "cat")) => Self::None,
            (_, Some(pager)) if !root && pager != "less" => Self::Command(pager.to_owned()),
            _ => Self::Less,
        }
    }
}

/// Whether the terminal can rewrite a line (`TERM`, term(7)).
#[allow(clippy::disallowed_methods, reason = "what a terminal can do is told by the environment")]
pub(crate) fn is_rewritable() -> bool {
    std::env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb"))
}

/// The exit statuses of a shell that cannot run a command, or does not find it (sh(1), "Exit status for commands").
const NOT_RUN: [i32; 2] = [126, 127];
/// More than the capacity of a pipe (pipe(7)): once this much is written, the pager has started to read.
const MAX_UNREAD: usize = 1 << 17;

/// A running pager.
#[derive(Debug)]
pub(crate) struct Pager {
    /// The text so far, until the pager is known to run.
    unread: Option<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    bold: bool,
}

impl Pager {
    /// Starts a pager; `None` if it cannot be started, since the text matters more.
    pub(crate) fn start(choice: &Choice) -> Option<Self> {
        let mut command = match choice {
            Choice::None => return None,
            Choice::Less => Command::new(LESS),
            Choice::Command(line) => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(line);
                shell
            }
        };
        // No shell, no editor, no log and no input preprocessor from inside less (less(1), SECURITY).
        command.env("LESS", LESS_OPTIONS).env("LESSSECURE", "1").stdin(Stdio::piped());
        for name in ["LESSOPEN", "LESSCLOSE", "LESSKEY", "LESSKEYIN", "LESSKEY_CONTENT", "LESSEDIT"] {
            command.env_remove(name);
        }
        let mut child = command.spawn().ok()?;
        // Ctrl-C belongs to the pager from here on; the registration keeps it from ending this process. If it fails,
        // Ctrl-C ends both.
        let _ = signal(SignalKind::interrupt());
        let stdin = child.stdin.take();
        let bold = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Some(Self { unread: Some(String::new()), child, stdin, bold })
    }

    /// Writes text to the pager.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        match &mut self.unread {
            Some(unread) if unread.len() < MAX_UNREAD => unread.push_str(text),
            unread => *unread = None,
        }
        if self.bold {
            stdin.write_all(text.as_bytes())
        } else {
            stdin.write_all(anstream::adapter::strip_str(text).to_string().as_bytes())
        }
    }

    /// Waits until the reader has closed it. Returns the unread text if the pager turned out not to exist.
    pub(crate) fn finish(mut self) -> Option<String> {
        self.stdin = None;
        let status = self.child.wait().ok().and_then(|status| status.code());
        // The exit status of a pager that ran says nothing about the output.
        self.unread.filter(|_| status.is_some_and(|code| NOT_RUN.contains(&code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_pager_that_is_not_there_was_given_comes_back() {
        let unread = |command: &str| {
            let mut pager = Pager::start(&Choice::Command(command.to_owned())).unwrap();
            // A pager that has gone breaks the pipe; the text is kept all the same.
            let _ = pager.write("line\n");
            pager.finish()
        };
        assert_eq!(unread("no-such-pager-here -x 2>/dev/null").as_deref(), Some("line\n"));
        assert_eq!(unread("/etc/passwd 2>/dev/null").as_deref(), Some("line\n"), "it is no program");
        assert_eq!(unread("cat >/dev/null"), None);
        assert_eq!(unread("exit 1"), None);
    }

    #[test]
    fn a_pager_is_chosen_by_the_environment_and_root_runs_less_only() {
        let xterm = Some("xterm");
        assert_eq!(Choice::of(None, xterm, false), Choice::Less);
        assert_eq!(Choice::of(Some("less"), xterm, false), Choice::Less);
        assert_eq!(Choice::of(Some("most -s"), xterm, false), Choice::Command("most -s".into()));
        assert_eq!(Choice::of(Some("sh -c id"), xterm, true), Choice::Less);
        for (pager, term) in [(Some("cat"), xterm), (Some(""), xterm), (None, Some("dumb")), (None, None)] {
            assert_eq!(Choice::of(pager, term, false), Choice::None, "{pager:?} {term:?}");
        }
    }
}
