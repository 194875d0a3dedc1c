//! Holds every session's processes in a scope, reports when they have exited, and ends them on order.

pub mod cgroup;

mod hierarchy;

pub mod systemd;

pub mod logins;

mod groups;

mod idle;

mod limit;

mod leftover;

mod unit_files;

mod tree;

mod containment;

mod reaper;

mod watch;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jit_proto::identity::{GroupId, SessionId, UserId};
use jit_proto::time::BootTime;
use tokio::sync::{mpsc, oneshot, watch as watch_channel};
use tracing::{error, warn};

use crate::core::effect::SessionOrder;
use crate::core::input::Input;
use crate::core::ledger::MainProcess;
use crate::core::session::termination::Manner;
use crate::engine::handle::Handle;
use crate::engine::messages::{SessionWaiter, ToSessions};
use crate::host::clock::pause_as_said;
use crate::host::dpkg::{is_shipped_by, is_unpacked};
use crate::host::process::is_replaced;
use systemd::Systemd;

/// Sessions that are named in a report about files that affect all of them.
const MAX_NAMED: usize = 16;

/// A message to the task of one session.
enum ToSession {
    Reattach(MainProcess, oneshot::Sender<()>),
    /// Its first process called PAM again and belongs to the session of that call.
    EnteredAgain,
    SetDeadline(BootTime),
    WatchGroups(UserId, BTreeSet<GroupId>),
    /// PID 1's properties of its scope may have changed.
    Compare,
    SetIdleTimeout(Option<Duration>),
    Terminate {
        manner: Manner,
        due: BootTime,
    },
}

/// Runs until the engine ends. Each session has a task of its own, so that a stuck one delays no other. PID 1's
/// properties of the scopes are compared when PID 1 reports a change, and at each heartbeat.
pub async fn run(
    mut orders: mpsc::UnboundedReceiver<ToSessions>,
    engine: Handle,
    systemd: Systemd,
    mut signs_of_life: watch_channel::Receiver<Duration>,
) {
    let mut tasks =
        Tasks { sessions: HashMap::new(), newest: HashMap::new(), engine, systemd, files: Arc::default() };
    let (sender, mut changes) = mpsc::channel(256);
    if let Err(problem) = tasks.systemd.changes(sender.clone()).await {
        error!("PID 1 sends no signals about units; scopes are compared at each heartbeat only: {problem}");
    }
    tokio::spawn(async move {
        loop {
            pause_as_said(&mut signs_of_life).await;
            if sender.send(None).await.is_err() {
                return;
            }
        }
    });
    tasks.tell_units_unlike_built().await;
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => tasks.obey(order).await,
                None => return,
            },
            Some(changed) = changes.recv() => match changed {
                Some(session) => drop(tell(&tasks.sessions, session, ToSession::Compare)),
                None => tasks.compare_all().await,
            },
        }
    }
}

struct Tasks {
    sessions: HashMap<SessionId, mpsc::UnboundedSender<ToSession>>,
    /// The session of the last call of each process.
    newest: HashMap<MainProcess, SessionId>,
    engine: Handle,
    systemd: Systemd,
    /// The files that affect jitd's units, as they were when no session was open, or as they were last reported.
    files: Arc<Mutex<Option<unit_files::Files>>>,
}

impl Tasks {
    async fn obey(&mut self, message: ToSessions) {
        let ToSessions { order, pidfd, waiting } = message;
        match order {
            SessionOrder::Watch { session, until, idle, first: _ } => {
                let waiting = match waiting {
                    Some(SessionWaiter::Gate(gate)) => Some(gate),
                    Some(SessionWaiter::Reattached(_)) | None => None,
                };
                self.sessions.retain(|_, sender| !sender.is_closed());
                if self.sessions.is_empty() {
                    // On a thread of its own: no sudo waits for this.
                    let files = Arc::clone(&self.files);
                    tokio::task::spawn_blocking(move || *lock(&files) = Some(look_at_files()));
                }
                let (sender, inbox) = mpsc::unbounded_channel();
                if idle.is_some() {
                    // The task reads the message when it starts.
                    let _ = sender.send(ToSession::SetIdleTimeout(idle));
                }
                self.sessions.insert(session.id, sender);
                // A process that lives on and calls often would otherwise keep the sessions of all its calls open.
                if let Some(earlier) = self.newest.insert(session.main, session.id) {
                    tell(&self.sessions, earlier, ToSession::EnteredAgain);
                }
                let (engine, systemd) = (self.engine.clone(), self.systemd.clone());
                // The task looks up what it needs after the caller has its answer.
                tokio::spawn(async move {
                    watch::Watch::new(*session, until, pidfd, engine, systemd).run(inbox, waiting).await;
                });
                let sessions = &self.sessions;
                self.newest.retain(|_, session| sessions.contains_key(session));
            }
            SessionOrder::WatchGroups { session, target, named } => {
                tell(&self.sessions, session, ToSession::WatchGroups(target, named));
            }
            SessionOrder::Reattach { session, process } => {
                if let Some(SessionWaiter::Reattached(done)) = waiting {
                    tell(&self.sessions, session, ToSession::Reattach(process, done));
                }
            }
            SessionOrder::SetDeadline { session, until } => {
                tell(&self.sessions, session, ToSession::SetDeadline(until));
            }
            SessionOrder::SetIdleTimeout { session, idle } => {
                tell(&self.sessions, session, ToSession::SetIdleTimeout(idle));
            }
            SessionOrder::Terminate { session, manner, due } => {
                let id = session.id;
                if !tell(&self.sessions, id, ToSession::Terminate { manner, due }) {
                    // Its task has ended because the session has no process left; its report is on the way to the
                    // engine.
                    tracing::debug!("session {id} has ended by itself");
                }
            }
            SessionOrder::EndScope(id) => {
                let systemd = self.systemd.clone();
                tokio::spawn(async move {
                    let scope = cgroup::Scope::of(id);
                    if let Err(error) = scope.kill().await {
                        warn!(
                            "the scope jit-{id}.scope belongs to no session and could not be killed: {error}"
                        );
                    }
                    leftover::stop(id, &scope, &systemd).await;
                });
            }
        }
    }

    /// Tells of our units that are not what this program was built with. An upgrade brings units and program together.
    async fn tell_units_unlike_built(&self) {
        let unlike = unit_files::unlike_built(Path::new("/"));
        if !unlike.is_empty() {
            self.tell_tampered(format!("at the start: {}", unlike.join(", "))).await;
        }
    }

    async fn tell_tampered(&self, found: String) {
        let event = Input::ScopeTampered { session: None, found, ends: false };
        if self.engine.tell(event).await.is_err() {
            tracing::debug!("the engine has ended");
        }
    }

    /// Has every session compare PID 1's properties of its scope, and reports changed files of jitd's units while a
    /// session is open.
    async fn compare_all(&mut self) {
        self.sessions.retain(|_, sender| !sender.is_closed());
        let open: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in &open {
            tell(&self.sessions, *session, ToSession::Compare);
        }
        if open.is_empty() {
            return;
        }
        let files = Arc::clone(&self.files);
        let compared = tokio::task::spawn_blocking(move || {
            let now = look_at_files();
            let before = lock(&files).replace(now.clone());
            // An upgrade replaces this program too; somebody who writes a unit and its checksum does not.
            let root = Path::new("/");
            let is_upgrade = is_replaced() || is_unpacked(root, unit_files::PACKAGE);
            let is_shipped = |path: &Path| is_upgrade && is_shipped_by(root, unit_files::PACKAGE, path);
            before.map_or_else(Vec::new, |before| unit_files::changes(&before, &now, is_shipped))
        });
        let changes = compared.await.unwrap_or_else(|problem| {
            error!("the unit files of jitd cannot be read: {problem}");
            Vec::new()
        });
        if !changes.is_empty() {
            let open: Vec<String> = open.iter().take(MAX_NAMED).map(ToString::to_string).collect();
            let found = format!("while sessions {} were open: {}", open.join(", "), changes.join(", "));
            self.tell_tampered(found).await;
        }
    }
}

fn look_at_files() -> unit_files::Files {
    unit_files::look(Path::new("/"))
}

fn lock(files: &Mutex<Option<unit_files::Files>>) -> MutexGuard<'_, Option<unit_files::Files>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a message to a session's task; false if the task has ended.
fn tell(
    sessions: &HashMap<SessionId, mpsc::UnboundedSender<ToSession>>,
    session: SessionId,
    what: ToSession,
) -> bool {
    sessions.get(&session).is_some_and(|sender| sender.send(what).is_ok())
}

/// Opens the cgroup hierarchy, once.
///
/// # Errors
/// When there is none: no session can be held, and jitd must not start.
pub fn look_for_cgroups() -> std::io::Result<()> {
    hierarchy::root().map(drop)
}

/// The sessions whose scope is there, as found at start.
///
/// # Errors
/// When they cannot be listed.
pub fn scopes() -> std::io::Result<BTreeSet<SessionId>> {
    cgroup::all_scopes()
}
