//! Tells the bus that something changed. Every local user hears it, so it carries numbers and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::bus::names::{AUDIT_INTERFACE, MANAGER_INTERFACE, OBJECT_PATH};
use tokio::sync::{broadcast, watch};
use tracing::debug;
use zbus::Connection;

use crate::core::effect::Changed;

/// More sessions than this are not gathered.
const MAX_GATHERED: usize = 64;
/// Sessions come and go with every sudo; their signals are gathered for this long, each session once.
const GATHER: Duration = Duration::from_millis(100);

/// Runs until the engine ends.
pub(super) async fn forward(connection: Connection, mut changes: broadcast::Receiver<Changed>) {
    let mut sessions = BTreeSet::new();
    loop {
        let change = if sessions.is_empty() {
            changes.recv().await
        } else {
            match tokio::time::timeout(GATHER, changes.recv()).await {
                Ok(change) => change,
                Err(_) => {
                    for session in std::mem::take(&mut sessions) {
                        emit(&connection, MANAGER_INTERFACE, "SessionChanged", session).await;
                    }
                    continue;
                }
            }
        };
        match change {
            Ok(Changed::Request(id)) => emit(&connection, MANAGER_INTERFACE, "RequestChanged", id.0).await,
            Ok(Changed::Grant(id)) => emit(&connection, MANAGER_INTERFACE, "GrantChanged", id.0).await,
            Ok(Changed::LeftBehind(id)) => emit(&connection, MANAGER_INTERFACE, "LeftBehind", id.0).await,
            Ok(Changed::Alert(seq)) => emit(&connection, AUDIT_INTERFACE, "AlertRaised", seq).await,
            Ok(Changed::Session(id)) => drop(sessions.insert(id.0)),
            Ok(Changed::ClosesSoon(id)) => {
                emit(&connection, MANAGER_INTERFACE, "GrantClosesSoon", id.0).await
            }
            // Whoever listens reads the state anew anyway.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
        if sessions.len() >= MAX_GATHERED {
            for session in std::mem::take(&mut sessions) {
                emit(&connection, MANAGER_INTERFACE, "SessionChanged", session).await;
            }
        }
    }
}

/// Tells how far the record goes, once for all that is written while signals are gathered; until the engine ends.
pub(super) async fn tell_heads(connection: Connection, mut heads: watch::Receiver<u64>) {
    let mut pause = Pause::of(GATHER);
    while heads.changed().await.is_ok() {
        pause.pass().await;
        let head = *heads.borrow_and_update();
        emit(&connection, AUDIT_INTERFACE, "RecordsWritten", head).await;
    }
}

/// Time in which more may come; what comes meanwhile wakes nobody, since a decision would pay for that.
pub(super) struct Pause(tokio::time::Interval);

impl Pause {
    pub(super) fn of(time: Duration) -> Self {
        Self(tokio::time::interval(time))
    }

    /// Passes once, from now on.
    pub(super) async fn pass(&mut self) {
        self.0.reset();
        self.0.tick().await;
    }
}

async fn emit(connection: &Connection, interface: &str, signal: &str, id: u64) {
    let sent = connection.emit_signal(None::<&str>, OBJECT_PATH, interface, signal, &(id,)).await;
    if let Err(error) = sent {
        debug!("{signal} {id} was not sent: {error}");
    }
}
