//! Surveys the places where privilege is kept, and tells what sessions have left behind there.

mod accounts;

mod course;

mod kept;

mod places;

mod snapshot;

mod text;

mod walk;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::moment::{BootId, BootTime};
use tracing::{debug, error, info, warn};

use crate::clock::{Clock, CpuTime, Stopwatch};
use crate::core::event::{Event, Survey};
use crate::core::ledger::Session;
use crate::engine::{Handle, LEISURE};
use course::{Course, Do};
use kept::Kept;
use snapshot::{Snapshot, lines};
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
    let kept = Kept::in_(folder);
    thread::Builder::new().name("survey".into()).spawn(move || {
        be_nice(NICE);
        let now = clock.now();
        let mut course = Course::new(kept.baseline(), kept.open(), &now);
        let mut todo = Vec::new();
        for session in &found {
            todo.extend(course.found(session, &now));
        }
        for session in ended {
            course.gone(session, &now);
        }
        let mut surveyor =
            Surveyor { course, kept, clock, engine, sender: own, paths: None, cost: String::new() };
        surveyor.perform(todo);
        surveyor.run(&inbox);
    })?;
    Ok(sender)
}

/// What was found is judged so much later: whose session began while it was looked is known by then, although the engine
/// tells of it at leisure.
const SETTLE: Duration = LEISURE.saturating_mul(5);

struct Surveyor {
    course: Course,
    kept: Kept,
    clock: Clock,
    engine: Handle,
    sender: mpsc::Sender<ToSurveyor>,
    paths: Option<Vec<PathBuf>>,
    /// What the last survey cost, for people.
    cost: String,
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
                Ok(ToSurveyor::Order(Survey::Recorded)) => self.course.recorded(),
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

    fn walked(&mut self, walked: Walked) -> Vec<Do> {
        let Walked { snapshot, amount, took, cpu } = walked;
        self.cost = format!(
            "{} files in the places where privilege is kept, {} others looked through, {} ms, {} ms of them on the processor",
            amount.places,
            amount.walked,
            took.as_millis(),
            cpu.as_millis()
        );
        debug!("surveyed: {}", self.cost);
        self.course.walked(snapshot, &self.clock.now())
    }

    /// Does what is to be done; false once the engine has ended.
    fn perform(&mut self, todo: Vec<Do>) -> bool {
        for what in todo {
            match what {
                Do::Walk => self.walk(),
                Do::KeepOpen => {
                    if let Err(problem) = self.kept.keep_open(self.course.open()) {
                        warn!("whose sessions are to be surveyed was not written down: {problem}");
                    }
                }
                Do::KeepBaseline => {
                    if let Some(baseline) = self.course.baseline()
                        && let Err(problem) = self.kept.keep_baseline(baseline)
                    {
                        warn!("what was surveyed was not written down: {problem}");
                    }
                }
                Do::Tell(held, findings) => {
                    let event =
                        Event::LeftBehind { held, findings: lines(&findings), detail: self.cost.clone() };
                    if self.engine.tell_from_thread(event).is_err() {
                        return false;
                    }
                }
                Do::Log(findings) => {
                    for line in lines(&findings) {
                        info!("changed while nobody had a session: {line}");
                    }
                }
            }
        }
        true
    }

    fn walk(&mut self) {
        let paths = self.paths.clone().unwrap_or_default();
        let boot_id = self.clock.now().boot_id;
        let sender = self.sender.clone();
        let started = thread::Builder::new().name("survey-walk".into()).spawn(move || {
            let walked = catch_unwind(AssertUnwindSafe(|| look(boot_id, &paths)));
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

fn look(boot_id: BootId, paths: &[PathBuf]) -> Walked {
    be_nice(NICE_TO_ALL);
    let (stopwatch, cpu) = (Stopwatch::start(), CpuTime::of_this_thread());
    let (snapshot, amount) = walk::survey(Path::new("/"), boot_id, paths);
    Walked { snapshot, amount, took: stopwatch.elapsed(), cpu: cpu.elapsed() }
}

/// Lowers the priority of this thread alone (setpriority(2), "C library/kernel differences").
pub(crate) fn be_nice(nice: i32) {
    if let Err(problem) = rustix::process::setpriority_process(None, nice) {
        debug!("a thread keeps the daemon's own priority: {problem}");
    }
}
