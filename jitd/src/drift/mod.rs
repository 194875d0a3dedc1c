//! Surveys the places where privilege is kept, and tells what sessions have left behind there.

mod schedule;

mod walk;

mod watch_list;

mod notice;

mod privileged;

mod mounts;

mod processes;

mod logins;

mod snapshot;

mod account_files;

mod finding;

mod packages;

mod rank;

mod state_files;

mod reader;

mod text;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::time::BootTime;
use tracing::{debug, error, info, warn};

use crate::core::event::{Input, Survey};
use crate::core::findings::Found;
use crate::core::ledger::Session;
use crate::engine::{Handle, NOTIFY_DELAY};
use crate::host::clock::{Clock, CpuTime, Stopwatch};
use schedule::{Action, Findings, Schedule};
use snapshot::{EntryKind, Snapshot};
use state_files::DriftState;
use walk::Amount;

/// A survey that takes longer than this is complained about; something it looks at does not answer.
const HUNG: Duration = Duration::from_secs(600);
/// The surveyor makes way for those who decide, and a survey for everybody (sched(7)).
const NICE: i32 = 10;
const NICE_TO_ALL: i32 = 19;

/// What the surveyor is told.
pub enum ToSurveyor {
    /// The core wants something surveyed, or has recorded what was found.
    Order(Survey),
    /// Below these paths privileged files are looked for; the first survey waits for this.
    Paths(Vec<PathBuf>),
    /// A survey has come back; `None` if it failed.
    Walked(Option<Box<Walked>>),
}

/// What a survey found, and what it cost.
pub struct Walked {
    snapshot: Snapshot,
    amount: Amount,
    took: Duration,
    /// In which it did nothing.
    waited: Duration,
    cpu: Duration,
}

/// Starts the surveyor's thread. `found` are the sessions that were open when the daemon ended; those of `ended` are no
/// more. `folder` is where it keeps what it compares with.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    folder: &Path,
    clock: Clock,
    engine: Handle,
    found: Vec<Session>,
    ended: Vec<SessionId>,
) -> std::io::Result<mpsc::Sender<ToSurveyor>> {
    let (sender, inbox) = mpsc::channel();
    let own = sender.clone();
    let kept = DriftState::in_(folder);
    thread::Builder::new().name("survey".into()).spawn(move || {
        lower_priority(NICE);
        let now = clock.now();
        let mut course = Schedule::new(kept.baseline(), kept.open(), &now);
        let mut todo = Vec::new();
        for session in &found {
            todo.extend(course.found(session, &now));
        }
        for session in ended {
            course.gone(session, &now);
        }
        let mut surveyor = Surveyor { course, kept, clock, engine, sender: own, paths: None };
        surveyor.perform(todo);
        surveyor.run(&inbox);
    })?;
    Ok(sender)
}

/// What was found is judged so much later: whose session began while it was looked is known by then, although the engine
/// tells of it at leisure.
const SETTLE: Duration = NOTIFY_DELAY.saturating_mul(5);

struct Surveyor {
    course: Schedule,
    kept: DriftState,
    clock: Clock,
    engine: Handle,
    sender: mpsc::Sender<ToSurveyor>,
    paths: Option<Vec<PathBuf>>,
}

impl Surveyor {
    /// Runs until the engine has ended. It looks at nothing itself, so that it always hears whose sessions begin.
    fn run(&mut self, inbox: &mpsc::Receiver<ToSurveyor>) {
        loop {
            let now = self.clock.now();
            let wait = match (self.paths.is_some(), self.course.due()) {
                (true, Some(due)) => due.since(now.boot).min(HUNG),
                _ => HUNG,
            };
            let todo = match inbox.recv_timeout(wait) {
                Ok(ToSurveyor::Order(Survey::Opened(session))) => self.course.opened(&session),
                Ok(ToSurveyor::Order(Survey::Gone(session))) => {
                    self.course.gone(session, &self.clock.now());
                    Vec::new()
                }
                Ok(ToSurveyor::Order(Survey::Recorded)) => self.course.recorded(&self.clock.now()),
                Ok(ToSurveyor::Paths(paths)) => {
                    if self.paths.as_ref().is_some_and(|known| *known != paths) {
                        self.course.paths_changed();
                    }
                    self.paths = Some(paths);
                    Vec::new()
                }
                Ok(ToSurveyor::Walked(Some(walked))) => self.walked(*walked),
                Ok(ToSurveyor::Walked(None)) => {
                    error!("the places where privilege is kept could not be surveyed; trying again");
                    self.course.failed(&self.clock.now());
                    Vec::new()
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if !self.perform(todo) {
                return;
            }
            let now = self.clock.now();
            self.complain_if_hung(now.boot);
            if self.paths.is_some() {
                let todo = self.course.tick(&now);
                if !self.perform(todo) {
                    return;
                }
            }
        }
    }

    fn walked(&mut self, walked: Walked) -> Vec<Action> {
        let Walked { snapshot, amount, took, waited, cpu } = walked;
        info!(
            "surveyed: {} files in the places where privilege is kept, {} others looked through, {} ms, {} ms of them on the \
             processor",
            amount.places,
            amount.walked,
            took.as_millis(),
            cpu.as_millis()
        );
        if self.course.is_answerable() {
            tell_unseen(&snapshot);
        }
        if let Some(checked) = &snapshot.checked {
            debug!("{} programs were compared with their packages once", checked.compared);
        }
        self.course.walked_and_waited(snapshot, waited, &self.clock.now())
    }

    /// Does what is to be done; false once the engine has ended.
    fn perform(&mut self, todo: Vec<Action>) -> bool {
        for what in todo {
            match what {
                Action::Walk => self.walk(false),
                Action::WalkAndCheck => self.walk(true),
                Action::KeepOpen => {
                    if let Err(problem) = self.kept.keep_open(self.course.open()) {
                        warn!("whose sessions are to be surveyed was not written down: {problem}");
                    }
                }
                Action::KeepBaseline => {
                    if let Some(baseline) = self.course.baseline()
                        && let Err(problem) = self.kept.keep_baseline(baseline)
                    {
                        warn!("what was surveyed was not written down: {problem}");
                    }
                }
                Action::Tell(held, findings) => {
                    if self
                        .engine
                        .tell_from_thread(Input::LeftBehind { held, found: found(findings) })
                        .is_err()
                    {
                        return false;
                    }
                }
                Action::TellHost(last, findings) => {
                    if self
                        .engine
                        .tell_from_thread(Input::HostChanged { last, found: found(findings) })
                        .is_err()
                    {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn walk(&mut self, check: bool) {
        let paths = self.paths.clone().unwrap_or_default();
        let clock = self.clock.clone();
        let sender = self.sender.clone();
        let started = thread::Builder::new().name("survey-walk".into()).spawn(move || {
            let walked = catch_unwind(AssertUnwindSafe(|| look(&clock, &paths, check)));
            let looked = Stopwatch::start();
            while looked.elapsed() < SETTLE {
                thread::park_timeout(SETTLE);
            }
            // The surveyor is gone only when the daemon ends.
            let _ = sender.send(ToSurveyor::Walked(walked.ok().map(Box::new)));
        });
        if let Err(problem) = started {
            error!("there is no thread for a survey: {problem}");
            self.course.failed(&self.clock.now());
        }
    }

    fn complain_if_hung(&self, now: BootTime) {
        if let Some(since) = self.course.walking_since()
            && now.since(since) >= HUNG
        {
            error!(
                "a survey has been under way for {:?}; something it looks at does not answer",
                now.since(since)
            );
        }
    }
}

/// A process that is gone so long after it was first seen is no finding: what administrators run in passing.
const PASSING: Duration = Duration::from_secs(1);

fn look(clock: &Clock, paths: &[PathBuf], check: bool) -> Walked {
    lower_priority(NICE_TO_ALL);
    let (stopwatch, cpu) = (Stopwatch::start(), CpuTime::of_this_thread());
    let first = processes::look(&clock.now(), &logins::known());
    let (mut snapshot, amount) = walk::survey(Path::new("/"), clock.now().boot_id, paths);
    if check {
        let checked = packages::check(Path::new("/"));
        tell_checked(&checked);
        snapshot.checked = Some(checked);
    }
    let took = stopwatch.elapsed();
    while stopwatch.elapsed() < PASSING {
        thread::park_timeout(PASSING);
    }
    let waited = stopwatch.elapsed().saturating_sub(took) + SETTLE;
    // After it was looked: a login that has begun meanwhile is known too.
    let logins = logins::known();
    processes::without_logins(&mut snapshot, &logins);
    snapshot.processes = processes::look(&clock.now(), &logins);
    snapshot.processes.retain(|key, _| first.contains_key(key));
    Walked { snapshot, amount, took, waited, cpu: cpu.elapsed() }
}

/// The lines of the findings, with what package managers did told as that.
fn found(findings: Findings) -> Found {
    let Findings { all, since, until } = findings;
    let all = packages::explained(Path::new("/"), all);
    Found { lines: rank::lines(&all), count: all.len(), since, until }
}

/// Says what was not looked at while somebody's sessions are answerable for what is found.
fn tell_unseen(snapshot: &Snapshot) {
    const MAX_NAMED: usize = 8;
    let all = snapshot.places.iter().chain(&snapshot.privileged);
    let unseen: Vec<String> = all
        .filter_map(|(path, entry)| match &entry.what {
            EntryKind::Unseen { why } => Some(format!("{path} ({why})")),
            _ => None,
        })
        .collect();
    if !unseen.is_empty() {
        let named = unseen.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        warn!(
            "the survey after sessions did not look at {} places: {}",
            unseen.len(),
            jit_proto::escape::Escaped(&named)
        );
    }
}

/// What the comparison with packages could not compare, and what is not as it was shipped.
fn tell_checked(checked: &packages::Checked) {
    info!("{} programs and libraries were compared with their packages", checked.compared);
    if !checked.without.is_empty() {
        let names: Vec<&str> = checked.without.iter().map(String::as_str).collect();
        warn!(
            "these packages came without checksums, so their programs were not compared: {}",
            names.join(", ")
        );
    }
    for (path, package) in &checked.unlike {
        warn!("{} is not what package {package} ships", jit_proto::escape::Escaped(path));
    }
}

/// Lowers the priority of this thread alone (setpriority(2), "C library/kernel differences").
pub(crate) fn lower_priority(nice: i32) {
    if let Err(problem) = rustix::process::setpriority_process(None, nice) {
        debug!("a thread keeps the daemon's own priority: {problem}");
    }
}
