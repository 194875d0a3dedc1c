//! How a session is brought to its end, as a state machine: what was seen comes in, what to do next goes out.
//!
//! Freeze, list, ask, grace; freeze, kill all but sudo or su, give that a moment to put the terminal right and close
//! its PAM session, kill the rest; then look everywhere for what had left the cgroup, until a whole pass finds nothing.
//! Whatever goes wrong on the way, the next harder step follows; an end is proven, or it is not claimed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::ledger::MainProcess;

/// Where sudo and su are installed; a copy of one elsewhere is a process like any other.
const SUDO_AND_SU: [&str; 6] = [
    "/usr/bin/sudo",
    "/usr/bin/sudo-rs",
    "/usr/lib/cargo/bin/sudo",
    "/usr/bin/su",
    "/usr/bin/doas",
    "/usr/lib/cargo/bin/su",
];
/// From the kill of all others to the kill of sudo or su.
pub const SUDO_LIMIT: Duration = Duration::from_millis(500);
/// Sweeps over all processes until one finds nothing.
const MAX_SWEEPS: u32 = 20;
/// Processes named in the record.
pub const MAX_NAMED: usize = 64;

/// How the end of a session went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndReport {
    /// Processes found.
    pub killed: u64,
    /// Of these, how many had left the session's cgroup.
    pub escaped: u64,
    /// Still there.
    pub left: u64,
    /// From the moment its end was due to proven empty.
    pub took: Duration,
    /// From the moment its end was due to the first signal, where one was sent.
    pub first_signal: Option<Duration>,
    /// From the kill, after the grace, to proven empty, where it came to that.
    pub kill: Option<Duration>,
    /// From the answer of the gate until all of it was in its scope, where it got there.
    pub contained: Option<Duration>,
    /// The systemd invocations of its scopes, in their order, as far as they are known.
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

/// One process of the session, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProcess {
    /// Which.
    pub process: MainProcess,
    /// Its executable, where it could be read.
    pub exe: Option<String>,
    /// Whether it is stopped (proc_pid_stat(5), field 3: T or t).
    pub stopped: bool,
    /// What the record says of it; empty where there are more than are named.
    pub line: String,
}

impl ListedProcess {
    fn is_sudo_or_su(&self) -> bool {
        self.exe.as_deref().is_some_and(|exe| SUDO_AND_SU.contains(&exe))
    }
}

/// A signal that is sent on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// SIGTERM; SIGHUP, which interactive shells heed instead; SIGCONT for what is stopped.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Keep the cgroup from running, so that what is listed is all there is.
    Freeze,
    /// List what is in the cgroup.
    List,
    /// Send these.
    Signal(Vec<(MainProcess, Sent)>),
    /// Let the cgroup run.
    Thaw,
    /// Wait until nothing is in it.
    AwaitEmpty(Duration),
    /// Kill everything in it, whatever that is, and wait until nothing is in it (`cgroup.kill`).
    KillAll,
    /// Look everywhere for what belongs to the session and lives outside of the cgroup.
    Sweep,
    /// Kill these, and wait until each is dead.
    End(Vec<MainProcess>),
    /// It is over, or cannot be proven to be.
    Report(EndReport),
}

/// What came of the last act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Whether there is anything in the cgroup, before the first act.
    Begin {
        /// Something lives in it.
        populated: bool,
    },
    /// It is done, or it could not be; the way on is the same.
    Done,
    /// What the cgroup holds.
    Listed(Vec<ListedProcess>),
    /// Whether it was empty in time.
    Empty(bool),
    /// What lives outside.
    Swept(Vec<ListedProcess>),
    /// How many of these are still not dead.
    Left(u64),
    /// It could not be found out.
    Unknown,
}

/// One session's end in the making.
#[derive(Debug)]
pub struct Reaping {
    manner: Manner,
    step: Step,
    sweeps: u32,
    counted: BTreeSet<(u32, u64)>,
    report: EndReport,
    /// Something is still in the cgroup, or it cannot be told.
    unproven: bool,
}

/// What was asked for last.
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

    /// Whether everything is being killed by now.
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

    /// Takes what came of the last act, and says what to do next.
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
                // What had left the cgroup is named before all others.
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
            // The last sweep found nothing: what could not be seen to die before has died since.
            self.report.left = 0;
        } else {
            self.report.left = self.report.left.max(1);
        }
        self.step = Step::Over;
        Act::Report(self.report.clone())
    }

    /// Counts what was not counted before; returns how many that were.
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
