//! Waits until something changes, over signals, restarts of the daemon and its absence.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use jit_proto::bus::names::{AUDIT_INTERFACE, BUS_NAME, MANAGER_INTERFACE, OBJECT_PATH};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use zbus::{MatchRule, MessageStream, message};

use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// The delay before asking again when the daemon holds its name but did not answer: no signal announces its recovery.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Reports that a request or the audit log may have changed. Signals carry ids only, and anybody can send one, so a
/// signal only means "read again".
#[derive(Debug)]
pub(crate) struct Watch {
    changed: Arc<Notify>,
    /// Dropping the set ends the listeners.
    _listeners: JoinSet<()>,
}

impl Watch {
    /// Subscribes. Changes after this returns are not missed.
    pub(crate) async fn begin(daemon: &Daemon) -> Result<Self, Failure> {
        Self::of(daemon, MANAGER_INTERFACE, "RequestChanged").await
    }

    /// Subscribes to new records.
    pub(crate) async fn for_records(daemon: &Daemon) -> Result<Self, Failure> {
        Self::of(daemon, AUDIT_INTERFACE, "RecordsWritten").await
    }

    async fn of(daemon: &Daemon, interface: &'static str, signal: &'static str) -> Result<Self, Failure> {
        let something_changed = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(BUS_NAME)
            .path(OBJECT_PATH)
            .interface(interface)
            .member(signal)
            .build()?;
        let daemon_came_or_went = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .add_arg(BUS_NAME)
            .build()?;
        let changed = Arc::new(Notify::new());
        let mut listeners = JoinSet::new();
        for rule in [something_changed, daemon_came_or_went] {
            let signals = MessageStream::for_match_rule(rule, daemon.connection(), None).await?;
            listeners.spawn(listen(signals, Arc::clone(&changed)));
        }
        Ok(Self { changed, _listeners: listeners })
    }

    /// Waits until something may have changed since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Reads signals as fast as they arrive, so that a flood of them never blocks the answer to a call.
async fn listen(mut signals: MessageStream, changed: Arc<Notify>) {
    while poll_fn(|context| Pin::new(&mut signals).poll_next(context)).await.is_some() {
        changed.notify_one();
    }
    // The bus is gone: the waiting task finds out by asking.
    changed.notify_one();
}

/// Whether the daemon was absent at the last call; reported once each way.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    absent: bool,
}

impl Absence {
    /// The daemon has answered. Reports that, if it was absent.
    pub(crate) fn ends(&mut self, output: &Output) -> bool {
        let was_absent = std::mem::take(&mut self.absent);
        if was_absent {
            output.talk("jitd answers again");
        }
        was_absent
    }

    /// Waits until it is worth asking again; any failure other than the daemon's absence is returned.
    pub(crate) async fn outlast(
        &mut self,
        failure: Failure,
        daemon: &Daemon,
        watch: &Watch,
        output: &Output,
    ) -> Result<(), Failure> {
        if failure.exit != Exit::Unreachable || daemon.connection().is_closed() {
            return Err(failure);
        }
        if !std::mem::replace(&mut self.absent, true) {
            output.talk(&format!("{failure}; waiting until jitd answers again"));
        }
        // Changed or not, the caller asks again.
        let _ = tokio::time::timeout(AGAIN_AFTER, watch.changed()).await;
        Ok(())
    }
}
