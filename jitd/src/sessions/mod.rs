//! Holds every session's processes in a scope of their own, notices when they are gone, and ends them when told to.

pub mod cgroup;

mod hierarchy;

pub mod systemd;

pub mod logins;

mod idle;

mod tree;

mod watch;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::moment::BootTime;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::core::event::Reply;
use crate::core::ledger::{MainProcess, Session};
use crate::core::reaping::Manner;
use crate::engine::Handle;
use systemd::Systemd;

/// What the engine wants done with a session.
pub enum Order {
    /// Watch it from now on.
    Watch {
        /// The session.
        session: Box<Session>,
        /// PID 1 ends it then, if nobody else has.
        until: BootTime,
        /// Nobody typing and nothing running for this long ends it.
        idle: Option<Duration>,
        /// The process that knocked; looked for by its pid if this is not at hand.
        pidfd: Option<OwnedFd>,
        /// An answer that waits until the process is in its scope.
        then: Option<oneshot::Sender<Reply>>,
    },
    /// Look again for its processes outside its scope.
    Gather {
        /// The session.
        session: SessionId,
        /// A process that another module may have moved.
        process: MainProcess,
        /// Learns when it has been looked.
        done: oneshot::Sender<()>,
    },
    /// Its window has another end.
    Prolong {
        /// The session.
        session: SessionId,
        /// PID 1 ends it then.
        until: BootTime,
    },
    /// Nobody typing and nothing running for this long ends it, from now on.
    MindIdleness {
        /// The session.
        session: SessionId,
        /// For how long.
        idle: Option<Duration>,
    },
    /// End it.
    Terminate {
        /// The session.
        session: Box<Session>,
        /// How much time is left to it.
        manner: Manner,
        /// The moment from which its end is measured.
        due: BootTime,
    },
    /// End a scope that no session answers for.
    EndScope(SessionId),
}

/// What one session's own task is told.
enum ToSession {
    Gather(MainProcess, oneshot::Sender<()>),
    Prolong(BootTime),
    MindIdleness(Option<Duration>),
    Terminate { manner: Manner, due: BootTime },
}

/// Runs until the engine ends. Each session has a task of its own, so one that is stuck delays no other.
pub async fn run(mut orders: mpsc::UnboundedReceiver<Order>, engine: Handle, systemd: Systemd) {
    let mut sessions: HashMap<SessionId, mpsc::UnboundedSender<ToSession>> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Watch { session, until, idle, pidfd, then } => {
                let (sender, inbox) = mpsc::unbounded_channel();
                if idle.is_some() {
                    // The task reads it when it begins.
                    let _ = sender.send(ToSession::MindIdleness(idle));
                }
                sessions.insert(session.id, sender);
                let (engine, systemd) = (engine.clone(), systemd.clone());
                // What the watch needs is looked up in its own task, which runs when the caller has its answer.
                tokio::spawn(async move {
                    watch::Watch::new(*session, until, pidfd, engine, systemd).run(inbox, then).await;
                });
                sessions.retain(|_, sender| !sender.is_closed());
            }
            Order::Gather { session, process, done } => {
                tell(&sessions, session, ToSession::Gather(process, done));
            }
            Order::Prolong { session, until } => {
                tell(&sessions, session, ToSession::Prolong(until));
            }
            Order::MindIdleness { session, idle } => {
                tell(&sessions, session, ToSession::MindIdleness(idle));
            }
            Order::Terminate { session, manner, due } => {
                let id = session.id;
                if !tell(&sessions, id, ToSession::Terminate { manner, due }) {
                    // Its task has ended because it found nothing any more; the end is on its way to the engine.
                    tracing::debug!("session {id} has ended by itself");
                }
            }
            Order::EndScope(id) => {
                tokio::spawn(async move {
                    if let Err(error) = cgroup::Scope::of(id).kill().await {
                        warn!(
                            "a scope that no session answers for, jit-{id}.scope, could not be ended: {error}"
                        );
                    }
                });
            }
        }
    }
}

/// Whether a session's task was told. One that has just ended has nothing left to do.
fn tell(
    sessions: &HashMap<SessionId, mpsc::UnboundedSender<ToSession>>,
    session: SessionId,
    what: ToSession,
) -> bool {
    sessions.get(&session).is_some_and(|sender| sender.send(what).is_ok())
}

/// The sessions whose scope is there, as found at start.
///
/// # Errors
/// When there is no cgroup hierarchy, or it cannot be listed: then nothing is known about them.
pub fn scopes() -> std::io::Result<BTreeSet<SessionId>> {
    cgroup::all_scopes()
}
