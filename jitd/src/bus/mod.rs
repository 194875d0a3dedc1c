//! Speaks with people and scripts on the system bus; knows who they are from the bus, and decides nothing.

mod audit;

mod failure;

mod index;

mod manager;

mod signals;

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use jit_proto::identity::{SessionId, UserId};
use jit_proto::names::{BUS_NAME, OBJECT_PATH, SYSTEM_BUS_ADDRESS};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use zbus::message::Header;
use zbus::{Connection, MessageStream, fdo};

pub use failure::{Failure, problem_lines};

use crate::core::event::{Caller, Changed};
use crate::engine::Handle;
use crate::gate::{Behind, Gate};
use crate::people::Nss;
use crate::process;
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
    server.at(OBJECT_PATH, manager::Manager::new(engine.clone(), rules)).await?;
    server.at(OBJECT_PATH, audit::Audit::new(engine.clone())).await?;
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

/// Who sent this message. A sender that cannot be asked about any more is nobody, least of all root (CVE-2021-3560).
async fn caller(connection: &Connection, header: &Header<'_>) -> Result<Caller, Failure> {
    let credentials = credentials(connection, header).await.map_err(Failure::NotAuthorized)?;
    let uid = UserId(credentials.uid);
    let pid = credentials.pid;
    let looked = tokio::task::spawn_blocking(move || {
        let person = Nss.person(uid)?.ok_or_else(|| format!("uid {uid} has no account on this host"))?;
        let pid = pid.ok_or("the bus does not say which process calls")?;
        let (loginuid, audit_session, scope) = whereabouts(pid)
            .map_err(|error| format!("process {pid}, which connected to the bus, cannot be read: {error}"))?;
        Ok(Caller { person, loginuid, audit_session, scope })
    });
    looked
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?
        .map_err(|why: String| Failure::NotAuthorized(why))
}

/// Whose login, which audit session and which elevated session a process belongs to. The bus names the process that
/// connected; where that has ended, others can still speak through its connection, and nobody knows who they are.
fn whereabouts(pid: u32) -> io::Result<(Option<UserId>, Option<u32>, Option<SessionId>)> {
    let pidfd = process::open_pid(pid)?;
    let loginuid = process::loginuid(pid)?;
    let audit_session = process::audit_session(pid)?;
    let scope = process::cgroup_of(pid)?.as_deref().and_then(process::session_in);
    if process::has_ended(pidfd.as_fd())? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
    }
    Ok((loginuid, audit_session, scope))
}

/// The pid of a caller that is root.
///
/// # Errors
/// Says why the caller is not.
pub async fn root_pid(connection: &Connection, header: &Header<'_>) -> Result<u32, String> {
    let credentials = credentials(connection, header).await?;
    match (credentials.uid, credentials.pid) {
        (0, Some(pid)) => Ok(pid),
        (0, None) => Err("the bus does not say which process calls".to_owned()),
        (uid, _) => Err(format!("uid {uid} may not call the gate")),
    }
}

struct Credentials {
    uid: u32,
    pid: Option<u32>,
}

async fn credentials(connection: &Connection, header: &Header<'_>) -> Result<Credentials, String> {
    let sender = header.sender().ok_or("the message has no sender")?.to_owned();
    let bus = fdo::DBusProxy::new(connection).await.map_err(|error| error.to_string())?;
    let known = bus.get_connection_credentials(sender.into()).await;
    let known = known.map_err(|error| format!("the bus does not know the caller any more: {error}"))?;
    let uid = known.unix_user_id().ok_or("the bus does not say who calls")?;
    Ok(Credentials { uid, pid: known.process_id() })
}
