//! Speaks with people and scripts on the system bus; knows who they are from the bus, and decides nothing.

mod admission;

mod audit;

mod caller;

mod failure;

mod index;

mod manager;

mod signals;

use std::thread;
use std::time::Duration;

use jit_proto::names::{BUS_NAME, OBJECT_PATH, SYSTEM_BUS_ADDRESS};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use zbus::{Connection, MessageStream};

pub(crate) use caller::root_pid;
pub use failure::{Failure, problem_lines};

use crate::core::event::Changed;
use crate::engine::Handle;
use crate::gate::{Behind, Gate};
use crate::rules::Rules;

/// Calls that are looked at behind the bus at once; more wait. NSS may be slow, and any local user may call.
const MOST_LOOKUPS: usize = 8;

/// Nobody on the bus is waited for longer, PID 1 included.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the system bus.
///
/// # Errors
/// When it is not there.
pub async fn connect() -> zbus::Result<Connection> {
    zbus::connection::Builder::address(SYSTEM_BUS_ADDRESS).method_timeout(ANSWER_LIMIT).build().await
}

/// What the bus is served with.
pub struct Front {
    /// The way to the engine.
    pub engine: Handle,
    /// The policy.
    pub rules: Rules,
    /// The gate.
    pub behind: Behind,
    /// What changed.
    pub changes: broadcast::Receiver<Changed>,
    /// The last record's number.
    pub heads: watch::Receiver<u64>,
}

/// Serves the bus on a thread of its own: any local user can flood the bus, and must not delay the gate by it.
/// `ready` learns when the name is taken, or why not; `lost` when the bus has gone.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    front: Front,
    ready: oneshot::Sender<zbus::Result<()>>,
    lost: mpsc::Sender<()>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MOST_LOOKUPS)
        .build()?;
    thread::Builder::new().name("bus".into()).spawn(move || {
        runtime.block_on(async move {
            let served = serve(front).await;
            let (result, connection) = match served {
                Ok(connection) => (Ok(()), Some(connection)),
                Err(error) => (Err(error), None),
            };
            // Whoever waited has given up, which ends the daemon.
            let _ = ready.send(result);
            if let Some(connection) = connection {
                wait_for_end(&connection).await;
            }
            drop(lost);
        });
    })?;
    Ok(())
}

/// Puts the interfaces up and takes the name.
async fn serve(front: Front) -> zbus::Result<Connection> {
    let Front { engine, rules, behind, changes, heads } = front;
    let connection = connect().await?;
    let server = connection.object_server();
    let admission = admission::Admission::new(engine.clone());
    server.at(OBJECT_PATH, manager::Manager::new(engine.clone(), rules, admission.clone())).await?;
    server.at(OBJECT_PATH, audit::Audit::new(engine.clone(), admission)).await?;
    server.at(OBJECT_PATH, Gate::on_bus(behind)).await?;
    tokio::spawn(signals::forward(connection.clone(), changes));
    tokio::spawn(signals::tell_heads(connection.clone(), heads.clone()));
    tokio::spawn(index::keep(engine.clone(), heads));
    connection.request_name(BUS_NAME).await?;
    Ok(connection)
}

/// Waits until a connection to the bus is no more.
pub async fn wait_for_end(connection: &Connection) {
    let mut messages = MessageStream::from(connection);
    while let Some(Ok(_)) = messages.next().await {}
}
