//! The D-Bus interfaces for people and scripts; identifies callers by the bus, and decides nothing.

mod admission;

mod arguments;

mod audit;

mod caller;

mod commands;

mod end;

mod failure;

mod gate;

mod index;

mod intake;

mod manager;

mod operators;

mod policy;

mod refusals;

mod signals;

mod stream;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jit_proto::bus::names::{BUS_NAME, OBJECT_PATH, OPERATOR_SOCKET, SYSTEM_BUS_ADDRESS};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tracing::error;
use zbus::{Connection, MessageStream};

pub use failure::Failure;

use admission::Admission;
use audit::Audit;
use manager::Manager;

use crate::core::effect::Changed;
use crate::engine::handle::Handle;
use crate::gate::GateService;
use crate::host::priority::lower_priority;
use crate::limits::Counter;
use crate::policy::reload::PolicyLoader;
use end::End;
use gate::Gate;
use intake::{Beside, Intake};
use operators::Operators;
use rustix::net::sockopt::set_socket_send_buffer_size;
use stream::LimitedSocket;

/// Threads for lookups on the bus. More than the limits admit, so that no lookup waits for another user's slow one.
const MAX_LOOKUPS: usize = 32;
/// Threads for lookups on the operators' socket.
const MAX_OPERATORS_LOOKUPS: usize = 16;
/// The nice value of the bus's threads: that of ordinary programs. The daemon's own is lower, for the sudos that wait
/// for it (jitd.service, `Nice=`), and a user who floods the bus must not profit from that.
const NICE: i32 = 0;

/// The size of the kernel's send buffer for the bus (socket(7), SO_SNDBUF), in bytes. Messages in it cannot be
/// overtaken: with the kernel's default of 208 KiB, an answer waits behind a second of other users' answers.
const UNSENT: usize = 16 * 1024;

/// The timeout of calls on the bus, also to PID 1.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the system bus.
///
/// # Errors
/// When the bus cannot be reached.
pub async fn connect() -> zbus::Result<Connection> {
    Ok(open(Counter::default(), End::BusForCalls).await?.0)
}

/// A connection to the bus behind an intake, with its tasks.
async fn open(counter: Counter, end: End) -> zbus::Result<(Connection, Arc<Intake>, Beside)> {
    let stream = UnixStream::connect(SYSTEM_BUS_ADDRESS.trim_start_matches("unix:path=")).await?;
    set_socket_send_buffer_size(&stream, UNSENT).map_err(std::io::Error::from)?;
    let (intake, beside) = Intake::new(counter, end);
    let socket = LimitedSocket::new(stream, Arc::clone(&intake), end, None);
    let building = zbus::connection::Builder::socket(socket).method_timeout(ANSWER_LIMIT).build();
    Ok((building.await?, intake, beside))
}

/// The parts that the bus interfaces use.
pub struct BusContext {
    /// The channel to the engine.
    pub engine: Handle,
    /// The policy.
    pub rules: PolicyLoader,
    /// The gate.
    pub gate: GateService,
    /// Changed objects.
    pub changes: broadcast::Receiver<Changed>,
    /// The number of the last record.
    pub heads: watch::Receiver<u64>,
    /// Counts calls above the limits.
    pub counter: Counter,
    /// The operators' socket, if PID 1 holds one.
    pub operators: Option<std::os::unix::net::UnixListener>,
}

/// Serves the bus and the operators' socket, each on a thread of its own: a user who floods the bus must delay neither
/// the gate nor a revocation. `ready` receives whether the name was taken; `lost` receives when the bus has gone.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    context: BusContext,
    ready: oneshot::Sender<zbus::Result<()>>,
    lost: mpsc::Sender<()>,
) -> std::io::Result<()> {
    let BusContext { engine, rules, gate, changes, heads, counter, operators } = context;
    let admission = Admission::new(engine.clone());
    let manager = Manager::new(engine.clone(), rules, admission.clone());
    let audit = Audit::new(engine.clone(), admission);
    if let Some(listener) = operators {
        let (manager, audit, counter) = (manager.clone(), audit.clone(), counter.clone());
        let operators = Operators { manager, audit, counter, heads: heads.clone() };
        let changes = changes.resubscribe();
        on_thread("operators", MAX_OPERATORS_LOOKUPS, || (), async {
            match UnixListener::from_std(listener) {
                Ok(listener) => operators::serve(listener, operators, changes).await,
                Err(problem) => error!("{OPERATOR_SOCKET} is not served: {problem}"),
            }
        })?;
    }
    on_thread("bus", MAX_LOOKUPS, || lower_priority(NICE), async move {
        let served = async {
            let (connection, intake, beside) = open(counter, End::Bus).await?;
            tokio::spawn(beside.run(intake, connection.clone()));
            let server = connection.object_server();
            server.at(OBJECT_PATH, manager).await?;
            server.at(OBJECT_PATH, audit).await?;
            server.at(OBJECT_PATH, Gate::on_bus(gate)).await?;
            tokio::spawn(signals::forward(connection.clone(), changes));
            tokio::spawn(signals::tell_heads(connection.clone(), heads.clone()));
            tokio::spawn(index::keep(engine, heads));
            connection.request_name(BUS_NAME).await?;
            Ok(connection)
        };
        let (result, connection) = match served.await {
            Ok(connection) => (Ok(()), Some(connection)),
            Err(error) => (Err(error), None),
        };
        // The receiver has given up, which ends the daemon.
        let _ = ready.send(result);
        if let Some(connection) = connection {
            wait_for_end(&connection).await;
        }
        drop(lost);
    })
}

/// Runs work on a thread with its own runtime, with this many threads for blocking calls, which inherit what `begin`
/// does to the first one.
fn on_thread(
    name: &str,
    max_blocking: usize,
    begin: impl FnOnce() + Send + 'static,
    work: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(max_blocking)
        .build()?;
    thread::Builder::new().name(name.into()).spawn(move || {
        begin();
        runtime.block_on(work);
    })?;
    Ok(())
}

/// Waits until a connection to the bus is closed.
pub async fn wait_for_end(connection: &Connection) {
    let mut messages = MessageStream::from(connection);
    while let Some(Ok(_)) = messages.next().await {}
}
