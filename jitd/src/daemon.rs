//! Starts the parts of the daemon, and stops them in order.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jit_proto::audit::known_head;
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::audit::cursor::Cursors;
use crate::bus::BusContext;
use crate::core::input::Input;
use crate::core::policy::Settings;
use crate::core::reconcile;
use crate::engine::Engine;
use crate::engine::alerting::Alerting;
use crate::engine::deferred::Deferred;
use crate::engine::handle::Handle;
use crate::engine::messages::{ToDrift, ToSink};
use crate::engine::timer;
use crate::gate::GateService;
use crate::gate::polkit::PolkitService;
use crate::host::clock::Clock;
use crate::host::sockets;
use crate::host::sockets::Sockets;
use crate::limits::Counter;
use crate::opening::{self, Opened};
use crate::policy::reload::PolicyLoader;
use crate::sessions::systemd::Systemd;
use crate::store::wal::WalSync;
use crate::store::{self, KnownHead};
use crate::{audit, bus, drift, gate, notify, pam_watch, retention, sessions, verification};

/// The folder of the policy.
pub(crate) const POLICY: &str = "/etc/jitd";
/// The path of the store.
pub(crate) const STORE: &str = "/var/lib/jitd/jit.db";

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When a necessary part is missing. PID 1 starts jitd again; until then every sudo is denied.
pub(crate) fn run() -> anyhow::Result<()> {
    // The seal's key is in memory: no core dump (prctl(2), PR_SET_DUMPABLE).
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("core dumps cannot be switched off")?;
    let sockets = sockets::handed().context("the sockets")?;
    // One thread for gate, engine and sessions: a call is finished before a second thread would have woken up.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(serve(sockets))
}

async fn serve(sockets: Sockets) -> anyhow::Result<()> {
    let Sockets { gate: listener, operators, polkit } = sockets;
    let clock = Clock::of_this_boot().context("the boot id")?;
    let path = Path::new(STORE);
    if let Some(folder) = path.parent() {
        let is_private =
            std::fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o700);
        // On a read-only disk the store returns the error, with what to do.
        if !is_private {
            let private = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(folder, private).with_context(|| folder.display().to_string())?;
        }
    }
    let Opened { store, ledger: stored, sent, baselines, lock: _lock } = opening::open(path).await?;
    let cursors = Cursors::at(sent);
    let known_head = KnownHead::at(Path::new(known_head::PATH));
    let rolled_back = match known_head.read() {
        Ok(Some(known)) => store::rolled_back(&store, &known)?.map(|found| found.to_string()),
        // As on a new host.
        Ok(None) => None,
        Err(problem) => Some(format!("how far the record had come cannot be known: {problem}")),
    };
    let were_open: Vec<_> = stored.sessions.values().cloned().collect();
    sessions::look_for_cgroups().context("the cgroup hierarchy")?;
    let scopes = sessions::scopes().unwrap_or_else(|problem| {
        // Known sessions stay: an unreadable scope is not an empty one.
        error!("the scopes of sessions cannot be listed; scopes without a session are not ended: {problem}");
        std::collections::BTreeSet::new()
    });
    let (stored, withdrawn) = match rolled_back {
        Some(problem) => {
            error!("every window is closed: {problem}");
            let (ledger, effect) = reconcile::rolled_back(stored, &problem, &clock.now());
            (ledger, Some(effect))
        }
        None => (stored, None),
    };
    let (ledger, mut after_start) = reconcile::reconcile(stored, &scopes, &clock.now());
    let went_with_the_boot =
        were_open.iter().map(|s| s.id).filter(|id| !ledger.sessions.contains_key(id)).collect();
    after_start.splice(0..0, withdrawn);
    if let Some(problem) = store.seal_lost() {
        error!("the audit log is not sealed from here on: {problem}");
        after_start.insert(0, reconcile::unsealed(&problem.to_string(), &clock.now()));
    }
    // A connection of its own for PID 1, so that a flood of calls does not delay the sessions.
    let connection = bus::connect().await.context("the system bus")?;
    let systemd = Systemd::on(connection.clone()).await.context("PID 1 on the system bus")?;

    let (engine, inbox) = Handle::new();
    let (orders, session_inbox) = mpsc::unbounded_channel();
    let (deadline, deadlines) = watch::channel(None);
    let (changes, changed) = broadcast::channel(1024);
    let (head, heads) = watch::channel(store.head().seq);
    let sinks = audit::start(path, cursors, &engine, &clock).context("the audit sinks")?;
    let (heartbeat, interval) = watch::channel(Settings::default().sinks.heartbeat);
    let wal = WalSync::of(&store);
    let retention = retention::start(path.to_owned(), engine.clone()).context("the retention's thread")?;
    let folder = path.parent().unwrap_or(path);
    let drift = drift::start(folder, clock.clone(), engine.clone(), were_open, went_with_the_boot)
        .context("the thread of the drift scan")?;
    let alerting = Alerting::remembering(baselines);
    let notifier =
        notify::start(path, store.head().seq, clock.clone(), engine.clone()).context("the notifier")?;
    let started_at = clock.now().wall;
    let decider = Engine {
        store,
        clock: clock.clone(),
        sessions: orders,
        sinks,
        wal,
        drift: drift.clone(),
        retention,
        alerting,
        notifier,
        changes,
        head,
        known_head,
        lost_files: None,
        heartbeat,
        deadline,
        failing: false,
        distrusted: false,
        started_at,
        deferred: Deferred::default(),
    };
    let (ended, mut engine_ended) = mpsc::channel::<()>(1);
    tokio::spawn(async move {
        if let Err(problem) = decider.run(ledger, after_start, inbox).await {
            error!("the engine has ended: {problem}");
        }
        drop(ended);
    });
    tokio::spawn(sessions::run(session_inbox, engine.clone(), systemd.clone(), interval.clone()));
    sessions::logins::watch(connection.clone(), engine.clone()).await.context("logind on the system bus")?;
    let (alarm_engine, alarm_clock) = (engine.clone(), clock.clone());
    tokio::spawn(async move {
        if let Err(problem) = timer::run(deadlines, alarm_clock, alarm_engine).await {
            error!("there is no timer for the deadlines: {problem}");
            // Without deadlines no window would end; PID 1 starts jitd again.
            std::process::exit(1);
        }
    });

    let counter = Counter::default();
    tokio::spawn(counter.clone().run(engine.clone()));
    let service = GateService::new(engine.clone(), clock.clone());
    let questions = PolkitService::new(service.clone(), systemd, counter.clone());
    let rules = PolicyLoader::under(Path::new(POLICY), clock);
    engine.tell(Input::Started { version: env!("CARGO_PKG_VERSION") }).await?;
    if rules.reload(&engine).await?.is_err() {
        warn!("without a valid policy every sudo but root's is denied");
        let settings = rules.sinks().await;
        // Without settings records wait: by default they could be sent where nobody reads them, and count as sent.
        match settings {
            Some(settings) => engine.tell_sinks(ToSink::Settings(Arc::new(settings))).await?,
            None => warn!("audit records wait until jitd.toml can be read: it says where they go"),
        }
        // Sessions that are still open are scanned for.
        let _ = drift.send(ToDrift::Paths(Settings::default().setuid_paths));
    }
    let (stop, stopping) = watch::channel(false);
    let listener = UnixListener::from_std(listener).context("the gate's socket")?;
    let gate = tokio::spawn(gate::serve(listener, service.clone(), counter.clone(), stopping));
    if let Some(listener) = polkit {
        let listener = UnixListener::from_std(listener).context("the socket of polkit's rule")?;
        tokio::spawn(gate::polkit::serve(listener, questions));
    }
    let (ready, taken) = oneshot::channel();
    let (lost, mut bus_lost) = mpsc::channel::<()>(1);
    if operators.is_none() {
        warn!("PID 1 holds no operators' socket (jitd-operator.socket); jitctl has the system bus alone");
    }
    let (engine_of_bus, rules_of_bus) = (engine.clone(), rules.clone());
    let front = BusContext {
        engine: engine_of_bus,
        rules: rules_of_bus,
        gate: service,
        changes: changed,
        heads,
        counter,
        operators,
    };
    bus::start(front, ready, lost).context("the bus's thread")?;
    taken.await.context("the bus's thread")?.context("the name on the system bus")?;
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("answers pam_jit and jitctl")]);
    info!("ready");
    tokio::spawn(watchdog(engine.clone()));
    tokio::spawn(audit::send_heartbeats(engine.clone(), interval.clone()));
    tokio::spawn(pam_watch::watch(engine.clone(), interval));
    verification::start(path.to_owned(), engine.clone()).context("the verification's thread")?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = engine_ended.recv() => anyhow::bail!("the engine has ended"),
            // Callers in the socket's queue wait for the next start, which connects to the new bus.
            _ = bus_lost.recv() => anyhow::bail!("the system bus has gone"),
            () = bus::wait_for_end(&connection) => anyhow::bail!("the system bus has gone"),
            // The problems of a policy were logged where it was read.
            _ = hang_up.recv() => drop(rules.reload(&engine).await?),
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    stop.send_replace(true);
    // Calls in progress get their answer; those in the socket's queue get it from the next start.
    if tokio::time::timeout(Duration::from_secs(5), gate).await.is_err() {
        warn!("stopping while callers of the gate wait for an answer");
    }
    engine.tell(Input::Stopping).await?;
    engine.stop().await;
    Ok(())
}

/// Reports to PID 1's watchdog as long as the engine answers.
async fn watchdog(engine: Handle) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(limit / 3);
    loop {
        ticks.tick().await;
        if engine.look(|_| ()).await.is_err() {
            return;
        }
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
