//! Tells the bus that something changed. Every local user hears it, so it carries numbers and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::names::{MANAGER_INTERFACE, OBJECT_PATH};
use tokio::sync::broadcast;
use tracing::debug;
use zbus::Connection;

use crate::core::event::Changed;

/// More sessions than this are not gathered.
const MOST_GATHERED: usize = 64;
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
                        emit(&connection, "SessionChanged", session).await;
                    }
                    continue;
                }
            }
        };
        match change {
            Ok(Changed::Request(id)) => emit(&connection, "RequestChanged", id.0).await,
            Ok(Changed::Grant(id)) => emit(&connection, "GrantChanged", id.0).await,
            Ok(Changed::LeftBehind(id)) => emit(&connection, "LeftBehind", id.0).await,
            Ok(Changed::Session(id)) => drop(sessions.insert(id.0)),
            Ok(Changed::ClosesSoon(id)) => emit(&connection, "GrantClosesSoon", id.0).await,
            // Whoever listens reads the state anew anyway.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
        if sessions.len() >= MOST_GATHERED {
            for session in std::mem::take(&mut sessions) {
                emit(&connection, "SessionChanged", session).await;
            }
        }
    }
}

async fn emit(connection: &Connection, signal: &str, id: u64) {
    let sent = connection.emit_signal(None::<&str>, OBJECT_PATH, MANAGER_INTERFACE, signal, &(id,)).await;
    if let Err(error) = sent {
        debug!("{signal} {id} was not sent: {error}");
    }
}
