//! Finds privilege that outlives sessions: compares scans of the host and tells the engine what changed.

mod account_files;
mod diff;
mod finding;
mod grouping;
mod packages;
mod path_text;
mod print;
mod products;
mod scan;
mod schedule;
mod snapshot;
mod state_files;
mod watch_list;
mod wording;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use jit_proto::escape::Escaped;
use jit_proto::identity::SessionId;
use jit_proto::time::BootTime;
use tracing::{error, info, warn};

use crate::core::drift::finding::Changes;
use crate::core::effect::DriftUpdate;
use crate::core::input::Input;
use crate::core::ledger::Session;
use crate::engine::deferred::NOTIFY_DELAY;
use crate::engine::handle::{BlockingHandle, Handle};
use crate::engine::messages::ToDrift;
use crate::host::clock::{Clock, Stopwatch};
use crate::host::priority::lower_priority;
use scan::Scanned;
use schedule::{Action, Findings, Schedule};
use snapshot::{Checked, EntryKind, Snapshot};
use state_files::StateFiles;

/// A scan that takes longer than this is logged as an error: a file system that it reads does not answer.
const HUNG: Duration = Duration::from_secs(600);
/// Nice values of the thread that compares and of the thread that scans (sched(7)).
const NICE: i32 = 10;
const NICE_OF_A_SCAN: i32 = 19;
/// The time to wait before the result of a scan is used, so that the engine's deferred messages about sessions that
/// began during the scan arrive first.
const SETTLE: Duration = NOTIFY_DELAY.saturating_mul(5);

/// The result of the scan thread; `None` if it panicked.
type ScanThread = thread::JoinHandle<Option<Scanned>>;

/// Starts the thread. `found` are the sessions that were open when the daemon ended; those of `ended` did not survive.
/// `folder` holds the state files.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    folder: &Path,
    clock: Clock,
    engine: Handle,
    found: Vec<Session>,
    ended: Vec<SessionId>,
) -> std::io::Result<mpsc::Sender<ToDrift>> {
    let (sender, inbox) = mpsc::channel();
    let (own, engine) = (sender.clone(), engine.blocking());
    let files = StateFiles::in_folder(folder);
    thread::Builder::new().name("drift".into()).spawn(move || {
        lower_priority(NICE);
        let now = clock.now();
        let mut schedule = Schedule::new(files.baseline(), files.open(), &now);
        let mut todo = Vec::new();
        for session in &found {
            todo.extend(schedule.found(session, &now));
        }
        for session in ended {
            schedule.gone(session, &now);
        }
        let mut drift = DriftScan { schedule, files, clock, engine, sender: own, paths: None, scan: None };
        drift.perform(todo);
        drift.run(&inbox);
    })?;
    Ok(sender)
}

struct DriftScan {
    schedule: Schedule,
    files: StateFiles,
    clock: Clock,
    engine: BlockingHandle,
    /// Given to each scan thread, which says that it has finished.
    sender: mpsc::Sender<ToDrift>,
    /// The paths to search for privileged files; the first scan waits for them.
    paths: Option<Vec<PathBuf>>,
    scan: Option<ScanThread>,
}

impl DriftScan {
    /// Runs until the engine has ended. Scans run on a thread of their own, so that this thread always receives the
    /// engine's messages.
    fn run(&mut self, inbox: &mpsc::Receiver<ToDrift>) {
        loop {
            let now = self.clock.now();
            let wait = match (self.paths.is_some(), self.schedule.due()) {
                (true, Some(due)) => due.since(now.boot).min(HUNG),
                _ => HUNG,
            };
            let todo = match inbox.recv_timeout(wait) {
                Ok(message) => self.receive(message),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if !self.perform(todo) {
                return;
            }
            let now = self.clock.now();
            self.complain_if_hung(now.boot);
            if self.paths.is_some() {
                let todo = self.schedule.tick(&now);
                if !self.perform(todo) {
                    return;
                }
            }
        }
    }

    fn receive(&mut self, message: ToDrift) -> Vec<Action> {
        match message {
            ToDrift::Update(DriftUpdate::Opened(session)) => self.schedule.opened(&session),
            ToDrift::Update(DriftUpdate::Gone(session)) => {
                self.schedule.gone(session, &self.clock.now());
                Vec::new()
            }
            ToDrift::Update(DriftUpdate::Recorded) => self.schedule.recorded(&self.clock.now()),
            ToDrift::Paths(paths) => {
                if self.paths.as_ref().is_some_and(|known| *known != paths) {
                    self.schedule.paths_changed();
                }
                self.paths = Some(paths);
                Vec::new()
            }
            ToDrift::ScanFinished => match self.scan.take().and_then(|scan| scan.join().ok().flatten()) {
                Some(scanned) => self.scanned(scanned),
                None => {
                    error!("drift scan failed with an internal error; it is repeated");
                    self.schedule.failed(&self.clock.now());
                    Vec::new()
                }
            },
        }
    }

    fn scanned(&mut self, scanned: Scanned) -> Vec<Action> {
        let Scanned { snapshot, amount, took, waited, cpu } = scanned;
        info!(
            "drift scan: {} files at watched paths and {} others in {} ms, {} ms of processor time",
            amount.places,
            amount.walked,
            took.as_millis(),
            cpu.as_millis()
        );
        if self.schedule.is_answerable() {
            log_unseen(&snapshot);
        }
        if let Some(checked) = &snapshot.checked {
            log_checked(checked);
        }
        self.schedule.scanned(snapshot, waited + SETTLE, &self.clock.now())
    }

    /// Performs the actions in order; false once the engine has ended.
    fn perform(&mut self, todo: Vec<Action>) -> bool {
        for action in todo {
            let told = match action {
                Action::Scan => {
                    self.scan(false);
                    continue;
                }
                Action::ScanAndCheck => {
                    self.scan(true);
                    continue;
                }
                Action::WriteOpen => {
                    if let Err(problem) = self.files.write_open(self.schedule.open()) {
                        warn!("drift scan could not write the grants that the next scan covers: {problem}");
                    }
                    continue;
                }
                Action::WriteBaseline => {
                    if let Some(baseline) = self.schedule.baseline()
                        && let Err(problem) = self.files.write_baseline(baseline)
                    {
                        warn!("drift scan could not write its baseline: {problem}");
                    }
                    continue;
                }
                Action::Tell(held, findings) => Input::LeftBehind { held, found: found(findings) },
                Action::TellHost(last, findings) => Input::HostChanged { last, found: found(findings) },
            };
            if self.engine.tell(told).is_err() {
                return false;
            }
        }
        true
    }

    fn scan(&mut self, check: bool) {
        let paths = self.paths.clone().unwrap_or_default();
        let clock = self.clock.clone();
        let sender = self.sender.clone();
        let started = thread::Builder::new().name("drift-scan".into()).spawn(move || {
            lower_priority(NICE_OF_A_SCAN);
            let scanned = catch_unwind(AssertUnwindSafe(|| scan::host(&clock, &paths, check))).ok();
            let settled = Stopwatch::start();
            while settled.elapsed() < SETTLE {
                thread::park_timeout(SETTLE);
            }
            // The receiver is gone only while the daemon stops.
            let _ = sender.send(ToDrift::ScanFinished);
            scanned
        });
        match started {
            Ok(thread) => self.scan = Some(thread),
            Err(problem) => {
                error!("drift scan could not start its thread: {problem}");
                self.schedule.failed(&self.clock.now());
            }
        }
    }

    fn complain_if_hung(&self, now: BootTime) {
        if let Some(since) = self.schedule.scanning_since()
            && now.since(since) >= HUNG
        {
            error!(
                "drift scan has been running for {:?}; a file system that it reads does not answer",
                now.since(since)
            );
        }
    }
}

/// The lines of the findings; the work of package managers is named as such.
fn found(findings: Findings) -> Changes {
    let Findings { all, since, until } = findings;
    let all = packages::explained(Path::new("/"), all);
    Changes { lines: grouping::lines(&all), count: all.len(), since, until }
}

/// Logs paths that could not be read while a grant has sessions that the scan covers.
fn log_unseen(snapshot: &Snapshot) {
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
        warn!("drift scan after sessions could not read {} paths: {}", unseen.len(), Escaped(&named));
    }
}

/// Logs programs that could not be compared with their packages, and those that differ.
fn log_checked(checked: &Checked) {
    info!("drift scan compared {} programs and libraries with their packages", checked.compared);
    if !checked.without.is_empty() {
        let names: Vec<&str> = checked.without.iter().map(String::as_str).collect();
        warn!(
            "these packages came without checksums, so their programs were not compared: {}",
            names.join(", ")
        );
    }
    for (path, package) in &checked.unlike {
        warn!("{} is not what package {package} ships", Escaped(path));
    }
}
