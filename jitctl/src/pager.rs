//! Long output goes through a pager, as git(1) and systemctl(1) do it: only on a terminal, never with JSON.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anstream::{AutoStream, ColorChoice};
use tokio::signal::unix::{SignalKind, signal};

/// What is run where nothing else is asked for.
const LESS: &str = "/usr/bin/less";
/// `-F`: end at once if all fits on the screen; `-R`: bold stays bold; `-S`: lines are cut, not wrapped, and can be
/// scrolled; `-X`: leave the text on the screen (less(1)).
const LESS_OPTIONS: &str = "FRSX";

/// What the environment says about pagers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Print straight.
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

    /// Root runs less and nothing that a variable names: a rule of sudoers may let somebody run jitctl as root and
    /// keep their environment.
    fn of(pager: Option<&str>, term: Option<&str>, root: bool) -> Self {
        match (term, pager.map(str::trim)) {
            (None | Some("" | "dumb"), _) | (_, Some("" | "cat")) => Self::None,
            (_, Some(pager)) if !root && pager != "less" => Self::Command(pager.to_owned()),
            _ => Self::Less,
        }
    }
}

/// Whether a line of a terminal can be written anew (`TERM`, term(7)).
#[allow(clippy::disallowed_methods, reason = "what a terminal can do is told by the environment")]
pub(crate) fn is_rewritable() -> bool {
    std::env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb"))
}

/// How a shell ends that cannot run a command, or does not find it (sh(1), "Exit status for commands").
const NOT_RUN: [i32; 2] = [126, 127];
/// More than a pipe holds that nobody reads (pipe(7)): once so much is written, the pager has run.
const MAX_UNREAD: usize = 1 << 17;

/// A pager that runs.
#[derive(Debug)]
pub(crate) struct Pager {
    /// What was written as long as it is not known that the pager runs.
    unread: Option<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    bold: bool,
}

impl Pager {
    /// Starts one; none where it cannot be started, since what is to be read is more than how.
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
        // Ctrl-C belongs to the pager from here on; the registration keeps it from ending this process. Where it
        // fails, Ctrl-C ends both.
        let _ = signal(SignalKind::interrupt());
        let stdin = child.stdin.take();
        let bold = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Some(Self { unread: Some(String::new()), child, stdin, bold })
    }

    /// Hands text on.
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

    /// Waits until the reader has left it. Returns what nobody has read, where the pager turned out not to be there.
    pub(crate) fn finish(mut self) -> Option<String> {
        self.stdin = None;
        let status = self.child.wait().ok().and_then(|status| status.code());
        // How a pager that ran ends says nothing about what was printed.
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
            // A pager that is gone already breaks the pipe; what it was given is kept all the same.
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
