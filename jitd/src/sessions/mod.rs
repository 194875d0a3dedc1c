//! Holds every session's processes in a scope of their own, notices when they are gone, and ends them when told to.

pub mod cgroup;

pub mod systemd;

mod tree;

mod watch;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use jit_proto::identity::SessionId;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::core::event::Reply;
use crate::core::ledger::{MainProcess, Session};
use crate::engine::Handle;
use systemd::Systemd;

/// What the engine wants done with a session.
pub enum Order {
    /// Watch it from now on.
    Watch {
        /// The session.
        session: Box<Session>,
        /// PID 1 ends it after this, if nobody else has.
        last: Duration,
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
    },
    /// End it.
    Terminate {
        /// The session.
        session: Box<Session>,
        /// From SIGTERM to SIGKILL.
        grace: Duration,
    },
    /// End a scope that no session answers for.
    EndScope(SessionId),
}

/// What one session's own task is told.
enum ToSession {
    Gather(MainProcess),
    Terminate(Duration),
}

/// Runs until the engine ends. Each session has a task of its own, so one that is stuck delays no other.
pub async fn run(mut orders: mpsc::UnboundedReceiver<Order>, engine: Handle, systemd: Systemd) {
    let mut sessions: HashMap<SessionId, mpsc::UnboundedSender<ToSession>> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Watch { session, last, pidfd, then } => {
                let (sender, inbox) = mpsc::unbounded_channel();
                sessions.insert(session.id, sender);
                let (engine, systemd) = (engine.clone(), systemd.clone());
                // What the watch needs is looked up in its own task, which runs when the caller has its answer.
                tokio::spawn(async move {
                    watch::Watch::new(*session, last, pidfd, engine, systemd).run(inbox, then).await;
                });
                sessions.retain(|_, sender| !sender.is_closed());
            }
            Order::Gather { session, process } => {
                if let Some(sender) = sessions.get(&session) {
                    // A session that has just ended has nothing left to gather.
                    let _ = sender.send(ToSession::Gather(process));
                }
            }
            Order::Terminate { session, grace } => {
                let id = session.id;
                let sent = sessions.get(&id).is_some_and(|s| s.send(ToSession::Terminate(grace)).is_ok());
                if !sent {
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

/// The sessions whose scope is there, as found at start.
#[must_use]
pub fn scopes() -> BTreeSet<SessionId> {
    cgroup::all_scopes()
}
