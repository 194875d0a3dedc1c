//! The end of a session as a state machine: takes what was seen, returns what to do next.
//!
//! Freeze, list, SIGTERM, grace; freeze, kill all but sudo or su, give that a moment to restore the terminal and close
//! its PAM session, kill the rest; then search all processes for those that had left the cgroup, until a whole pass
//! finds none. If a step fails, the next harder one follows. The end is reported only if it is proven.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::ledger::MainProcess;

/// The paths of sudo and su; a copy elsewhere is an ordinary process.
const SUDO_AND_SU: [&str; 6] = [
    "/usr/bin/sudo",
    "/usr/bin/sudo-rs",
    "/usr/lib/cargo/bin/sudo",
    "/usr/bin/su",
    "/usr/bin/doas",
    "/usr/lib/cargo/bin/su",
];
/// The time between the kill of all others and the kill of sudo or su.
pub const SUDO_LIMIT: Duration = Duration::from_millis(500);
/// Passes over all processes until one finds none.
const MAX_SWEEPS: u32 = 20;
/// Processes named in the record.
pub const MAX_NAMED: usize = 64;

/// The result of ending a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndReport {
    /// Number of processes found.
    pub killed: u64,
    /// Of these, how many had left the session's cgroup.
    pub escaped: u64,
    /// Number of processes that are still alive.
    pub left: u64,
    /// From the time when its end was due until it was proven empty.
    pub took: Duration,
    /// From the time when its end was due to the first signal, if one was sent.
    pub first_signal: Option<Duration>,
    /// From the SIGKILL after the grace until it was proven empty, if it came to that.
    pub kill: Option<Duration>,
    /// From the gate's answer until all its processes were in the scope, if they got there.
    pub contained: Option<Duration>,
    /// The systemd invocations of its scopes, in order, as far as they are known.
    pub invocations: Vec<String>,
    /// The processes, a line each, at most 64.
    pub processes: Vec<String>,
}

/// How much time the end of a session leaves to its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// SIGTERM; SIGKILL after this long.
    Graceful(Duration),
    /// SIGKILL, to sudo or su last: SIGTERM was sent before, or jitd was not running since.
    KillKeepingSudo,
    /// SIGKILL to all at once: no command has begun.
    Immediate,
}

/// A process of the session, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProcess {
    /// Pid and start time.
    pub process: MainProcess,
    /// Its executable, where it could be read.
    pub exe: Option<String>,
    /// Whether it is stopped (proc_pid_stat(5), field 3: T or t).
    pub stopped: bool,
    /// Its line in the record; empty beyond [`MAX_NAMED`].
    pub line: String,
}

impl ListedProcess {
    fn is_sudo_or_su(&self) -> bool {
        self.exe.as_deref().is_some_and(|exe| SUDO_AND_SU.contains(&exe))
    }
}

/// The signals that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// SIGTERM; SIGHUP, since interactive shells ignore SIGTERM; SIGCONT for stopped processes.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Freeze the cgroup, so that the list is complete.
    Freeze,
    /// List the processes in the cgroup.
    List,
    /// Send these signals.
    Signal(Vec<(MainProcess, Sent)>),
    /// Thaw the cgroup.
    Thaw,
    /// Wait until the cgroup is empty, at most this long.
    AwaitEmpty(Duration),
    /// Kill every process in the cgroup (`cgroup.kill`), and wait until it is empty.
    KillAll,
    /// Search all processes for those of the session outside of the cgroup.
    Sweep,
    /// Kill these, and wait until each is dead.
    End(Vec<MainProcess>),
    /// The end: the session has ended, or cannot be proven to have.
    Report(EndReport),
}

/// The result of the last act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Before the first act.
    Begin {
        /// Whether the cgroup has processes.
        populated: bool,
    },
    /// The act was performed or failed; the next step is the same.
    Done,
    /// The processes in the cgroup.
    Listed(Vec<ListedProcess>),
    /// Whether the cgroup was empty in time.
    Empty(bool),
    /// The processes outside of the cgroup.
    Swept(Vec<ListedProcess>),
    /// Number of processes that are still alive.
    Left(u64),
    /// The act could not find out.
    Unknown,
}

/// The state of one session's end.
#[derive(Debug)]
pub struct Reaping {
    manner: Manner,
    step: Step,
    sweeps: u32,
    counted: BTreeSet<(u32, u64)>,
    report: EndReport,
    /// Processes are still in the cgroup, or that is unknown.
    unproven: bool,
}

/// The last act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    FreezeToTerminate,
    ListToTerminate,
    Terminated,
    ThawedForGrace,
    Grace,
    FreezeToKill,
    ListToKill,
    Killed,
    ThawedToKill,
    AwaitSudo,
    KillAll,
    Sweep,
    End,
    Over,
}

impl Reaping {
    /// The end of a session, in this manner.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            step: Step::Begin,
            sweeps: 0,
            counted: BTreeSet::new(),
            report: EndReport::default(),
            unproven: false,
        }
    }

    /// Starts over for the same session. Processes that were counted are not counted again.
    pub fn retry(&mut self, manner: Manner) {
        let report = EndReport { left: 0, ..std::mem::take(&mut self.report) };
        let counted = std::mem::take(&mut self.counted);
        *self = Self { counted, report, ..Self::new(manner) };
    }

    /// Whether SIGKILL is being sent to everything.
    #[must_use]
    pub fn kills(&self) -> bool {
        matches!(
            self.step,
            Step::FreezeToKill
                | Step::ListToKill
                | Step::Killed
                | Step::ThawedToKill
                | Step::AwaitSudo
                | Step::KillAll
        )
    }

    /// Takes the result of the last act, and returns the next one.
    #[must_use]
    pub fn next(&mut self, seen: Seen) -> Act {
        match (self.step, seen) {
            (Step::Begin, Seen::Begin { populated: false }) => self.sweep(),
            (Step::Begin, _) if self.manner == Manner::Immediate => self.go(Step::FreezeToKill, Act::Freeze),
            (Step::Begin, _) => match self.manner {
                Manner::Graceful(_) => self.go(Step::FreezeToTerminate, Act::Freeze),
                Manner::KillKeepingSudo | Manner::Immediate => self.go(Step::FreezeToKill, Act::Freeze),
            },

            (Step::FreezeToTerminate, _) => self.go(Step::ListToTerminate, Act::List),
            (Step::ListToTerminate, Seen::Listed(found)) => {
                self.count(&found);
                // A stopped sudo that is continued later would run its command after the window.
                let signals = found.iter().filter_map(|one| match one.is_sudo_or_su() {
                    false => Some((one.process, Sent::Terminate)),
                    true => one.stopped.then_some((one.process, Sent::Kill)),
                });
                self.go(Step::Terminated, Act::Signal(signals.collect()))
            }
            (Step::ListToTerminate, _) => self.go(Step::KillAll, Act::KillAll),
            (Step::Terminated, _) => self.go(Step::ThawedForGrace, Act::Thaw),
            (Step::ThawedForGrace, _) => match self.manner {
                Manner::Graceful(grace) => self.go(Step::Grace, Act::AwaitEmpty(grace)),
                Manner::KillKeepingSudo | Manner::Immediate => self.go(Step::FreezeToKill, Act::Freeze),
            },
            (Step::Grace, Seen::Empty(true)) => self.sweep(),
            (Step::Grace, _) => self.go(Step::FreezeToKill, Act::Freeze),

            (Step::FreezeToKill, _) => self.go(Step::ListToKill, Act::List),
            (Step::ListToKill, Seen::Listed(found)) => {
                self.count(&found);
                let spared = |one: &ListedProcess| one.is_sudo_or_su() && !one.stopped;
                if self.manner == Manner::Immediate || !found.iter().any(spared) {
                    return self.go(Step::KillAll, Act::KillAll);
                }
                let signals = found.iter().filter(|one| !spared(one)).map(|one| (one.process, Sent::Kill));
                self.go(Step::Killed, Act::Signal(signals.collect()))
            }
            (Step::ListToKill, _) => self.go(Step::KillAll, Act::KillAll),
            (Step::Killed, _) => self.go(Step::ThawedToKill, Act::Thaw),
            (Step::ThawedToKill, _) => self.go(Step::AwaitSudo, Act::AwaitEmpty(SUDO_LIMIT)),
            (Step::AwaitSudo, Seen::Empty(true)) => self.sweep(),
            (Step::AwaitSudo, _) => self.go(Step::KillAll, Act::KillAll),
            (Step::KillAll, seen) => {
                self.unproven = seen != Seen::Empty(true);
                self.sweep()
            }

            (Step::Sweep, Seen::Swept(found)) if found.is_empty() => self.over(),
            (Step::Sweep, Seen::Swept(found)) => {
                let named = std::mem::take(&mut self.report.processes);
                self.report.escaped += self.count(&found);
                // Processes that had left the cgroup are named before all others.
                self.report.processes.extend(named);
                self.report.processes.truncate(MAX_NAMED);
                self.go(Step::End, Act::End(found.iter().map(|one| one.process).collect()))
            }
            (Step::Sweep, _) => {
                self.unproven = true;
                self.over()
            }
            (Step::End, seen) => {
                self.report.left = match seen {
                    Seen::Left(left) => left,
                    _ => 1,
                };
                if self.sweeps < MAX_SWEEPS {
                    self.sweep()
                } else {
                    self.report.left = self.report.left.max(1);
                    self.over()
                }
            }
            (Step::Over, _) => self.over(),
        }
    }

    fn go(&mut self, step: Step, act: Act) -> Act {
        self.step = step;
        act
    }

    fn sweep(&mut self) -> Act {
        self.sweeps += 1;
        self.go(Step::Sweep, Act::Sweep)
    }

    fn over(&mut self) -> Act {
        if self.step == Step::Sweep && !self.unproven {
            // The last sweep found nothing: processes that were not seen to die before have died since.
            self.report.left = 0;
        } else {
            self.report.left = self.report.left.max(1);
        }
        self.step = Step::Over;
        Act::Report(self.report.clone())
    }

    /// Counts processes that were not counted before; returns how many those were.
    fn count(&mut self, found: &[ListedProcess]) -> u64 {
        let mut new = 0;
        for one in found {
            if self.counted.insert((one.process.pid, one.process.start)) {
                new += 1;
                if self.report.processes.len() < MAX_NAMED && !one.line.is_empty() {
                    self.report.processes.push(one.line.clone());
                }
            }
        }
        self.report.killed += new;
        new
    }
}

#[cfg(test)]
mod tests;
