//! Sends D-Bus signals that something changed. Every local user can receive them, so they have numbers and nothing
//! else.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::bus::names::{AUDIT_INTERFACE, MANAGER_INTERFACE, OBJECT_PATH};
use tokio::sync::{broadcast, watch};
use tracing::debug;
use zbus::Connection;

use crate::core::effect::Changed;

/// Sessions whose signals are collected.
const MAX_GATHERED: usize = 64;
/// The time for which signals of sessions are collected, each session once: sessions begin and end with every sudo.
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
            // Listeners read the state again anyway.
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

/// Signals the number of the last record, once for all records of an interval, until the engine ends.
pub(super) async fn tell_heads(connection: Connection, mut heads: watch::Receiver<u64>) {
    let mut pause = Pause::of(GATHER);
    while heads.changed().await.is_ok() {
        pause.pass().await;
        let head = *heads.borrow_and_update();
        emit(&connection, AUDIT_INTERFACE, "RecordsWritten", head).await;
    }
}

/// An interval in which further changes wake nobody: the wake-up would slow down a decision.
pub(super) struct Pause(tokio::time::Interval);

impl Pause {
    pub(super) fn of(time: Duration) -> Self {
        Self(tokio::time::interval(time))
    }

    /// Waits for one interval from now.
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
